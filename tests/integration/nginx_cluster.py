# SPDX-License-Identifier: Apache-2.0
"""A redirector and origins, each an nginx of its own on loopback, with load
tables that the test writes: no Manager, no agent."""

import time

from nginx_instance import (NginxInstance, make_table, owners_of,
                            sign, wait_for, write_atomic)
from ports import free_port
from http_probe import ask

KEYS = "7 " + "a1" * 32 + "\n"

COMMON = """
redirect_table table;
redirect_table_interval 20ms;
redirect_keys keys;
log_format plays '$msec $status $uri $args $redirect_session $redirect_rule';
server {{
    listen 127.0.0.1:{port};
    lingering_close off;
    access_log plays.log plays;
    location /where/ {{ redirect_explain /where/; access_log off; }}
"""


class Node(NginxInstance):
    """Named; `inside` is more of its server{}, `outside` of its http{}."""

    def __init__(self, folder, name, inside, outside="", **more):
        self.name = name
        folder = folder / name
        folder.mkdir(parents=True)
        (folder / "keys").write_text(KEYS)
        port = free_port()
        super().__init__(folder,
                         outside + COMMON.format(port=port) + inside + "}",
                         port, **{"modules": ("redirect",), **more})

    def publish(self, version, nodes, rows=()):
        write_atomic(self.folder / "table", make_table(version, nodes, rows))
        wait_for(lambda: ask(self.port, "/where/x").json()["version"]
                 == version, what=f"table {version} at {self.name}")

    def requests(self):
        """(time, status, uri, args, session, rule) of each, as logged."""
        lines = (self.folder / "plays.log").read_text().splitlines()
        return [(float(line.split(" ")[0]), int(line.split(" ")[1]),
                 *line.split(" ")[2:]) for line in lines]


class Cluster:
    """`origin` is the inside of each origin's server{}."""

    def __init__(self, folder, names, origin, outside="", redirector="",
                 **more):
        self.running = []
        self.origins = {}
        try:
            self.redirector = self.start(
                Node(folder, "redirector",
                     "location /p/ { redirect /p/; }" + redirector))
            for name in names:
                self.origins[name] = self.start(
                    Node(folder, name, f"redirect_self {name};" + origin,
                         outside, **more))
        except BaseException:
            self.stop()
            raise

    def start(self, node):
        self.running.append(node)
        return node

    def nodes(self, **states):
        """As make_table wants them; states: origin1="draining"."""
        return {name: (node.url, {"state": states.get(name, "up")})
                for name, node in self.origins.items()}

    def publish(self, version, rows=(), only=None, **states):
        """To all, or to those named only."""
        for node in self.running:
            if only is None or node.name in only:
                node.publish(version, self.nodes(**states), rows)

    def owner(self, content):
        return owners_of(self.redirector.folder / "table",
                         content)[content][0]

    def paths(self, content, sessions, file="v1/master.m3u8"):
        tokens = sign(self.redirector.folder / "keys",
                      [(content, session) for session in sessions],
                      int(time.time()) + 600)
        return [f"/p/{token}/{content}/{file}" for token in tokens]

    def path(self, content, session=1, file="v1/master.m3u8"):
        return self.paths(content, [session], file)[0]

    def node_at(self, url):
        return next(node for node in self.running
                    if url.startswith(node.url + "/"))

    def follow(self, url, redirects_max=12):
        """(answer, the URL that gave it, redirects)."""
        for redirects in range(redirects_max):
            node = self.node_at(url)
            answer = ask(node.port, url[len(node.url):])
            if answer.status != 302:
                return answer, url, redirects
            url = answer.location
        raise AssertionError(f"{redirects_max} redirects: {url}")

    def stop(self):
        for node in self.running:
            node.stop()
