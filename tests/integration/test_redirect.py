# SPDX-License-Identifier: Apache-2.0
"""Where nginx sends a play, and why: the redirect module with real load
tables, keys and tokens."""

import collections
import http.client
import os
import re
import resource
import time

import pytest

from http_probe import ask
from nginx_instance import (NginxInstance, make_revoked, make_table,
                            owners_of, sign, wait_for, write_atomic)
from ports import free_port

NODES = {f"origin{i}": f"http://origin{i}.example:80{i}0" for i in range(1, 6)}
NODES_BY_URL = {url: name for name, url in NODES.items()}
KEYS = "7 " + "a1" * 32 + "\n3 " + "b2" * 32 + "\n"

HTTP = """
redirect_table table;
redirect_table_interval 20ms;
redirect_revoked revoked;
redirect_keys keys;
{nodes}
log_format why "$redirect_content|$redirect_path|$redirect_rest|"
    "$redirect_session|$redirect_level|$redirect_rule|$redirect_node|"
    "$redirect_version|$redirect_offloaded|$redirect_decision";
server {{
    listen 127.0.0.1:{port};
    lingering_close off;
    access_log why.log why;
    redirect_cdn http://cdn.example;
    location /p/ {{ redirect /p/; }}
    location /open/ {{ redirect /open/ token=off; }}
    location /where/ {{ redirect_explain /where/; }}
}}
server {{
    listen 127.0.0.1:{port};
    server_name origin2;
    redirect_self origin2;
    redirect_cdn http://cdn.example;
    location /p/ {{ redirect /p/; try_files /film =404; }}
    location /where/ {{ redirect_explain /where/; }}
}}
server {{
    listen 127.0.0.1:{port};
    server_name stranger;
    redirect_self stranger;
    redirect_hops $http_x_hops max=1;
    location /p/ {{ redirect /p/; try_files /film =404; }}
}}
"""


class Redirect(NginxInstance):
    """One nginx that is a redirector, the origin "origin2", and an origin
    that no table lists."""

    def __init__(self, folder, table=None, nodes=""):
        (folder / "keys").write_text(KEYS)
        (folder / "html").mkdir(exist_ok=True)
        (folder / "html" / "film").write_text("the film")
        port = free_port()
        if table is not None:
            write_atomic(folder / "table", table)
        super().__init__(folder, HTTP.format(port=port, nodes=nodes), port,
                         ("redirect",), main="user root;"
                         if os.geteuid() == 0 else "")

    def token(self, content, session=1, expires=None):
        expires = int(time.time()) + 600 if expires is None else expires
        return sign(self.folder / "keys", [(content, session)], expires)[0]

    def play(self, content, session=1, host=None, args="", **more):
        headers = {**({"Host": host} if host else {}),
                   **more.pop("headers", {})}
        return ask(self.port, f"/p/{self.token(content, session)}/{content}"
                              f"/v1/master.m3u8{args}", headers=headers,
                   **more)

    def goes_to(self, content, sessions):
        """How many of the sessions are sent to which node."""
        tokens = sign(self.folder / "keys", [(content, s) for s in sessions],
                      int(time.time()) + 600)
        count = collections.Counter()
        for token in tokens:
            answer = ask(self.port, f"/p/{token}/{content}/v1/master.m3u8")
            assert answer.status == 302
            url = answer.location.partition("/p/")[0]
            count[NODES_BY_URL.get(url, url)] += 1
        return count

    def owners(self, *contents):
        return owners_of(self.folder / "table", *contents)

    def publish(self, *table):
        """A table as the agent writes it; returns when it is acted on."""
        write_atomic(self.folder / "table", make_table(*table))
        wait_for(lambda: self.version() == table[0], what=f"table {table[0]}")

    def version(self):
        return ask(self.port, "/where/any").json()["version"]


@pytest.fixture(name="redirect")
def _redirect(tmp_path):
    running = []

    def start(*table, **more):
        running.append(Redirect(tmp_path, make_table(*table) if table
                                else None, **more))
        return running[-1]

    yield start
    for nginx in running:
        nginx.stop()


def sessions(count):
    return [(i * 0x9e3779b97f4a7c15 + 1) % 2**64 for i in range(count)]


# ---- a calm content ----

def test_a_calm_content_goes_to_its_only_owner(redirect):
    nginx = redirect("7.12", NODES)
    (owner,) = nginx.owners("demo")["demo"]
    answer = nginx.play("demo", 0x1234)

    token = nginx.token("demo", 0x1234)
    assert answer.status == 302 and answer.body == b""
    assert re.fullmatch(re.escape(NODES[owner])
                        + r"/p/[\w-]{40}/demo/v1/master\.m3u8\?hop=1",
                        answer.location)
    assert len(token) == 40
    assert answer.headers["content-length"] == "0"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "X-Vodst-Decision" in answer.headers[
        "access-control-expose-headers"]
    assert answer.decision == {"level": "calm", "k": "1", "node": owner,
                               "rule": "only", "version": "7.12"}
    assert set(nginx.goes_to("demo", sessions(50))) == {owner}


def test_contents_spread_over_all_nodes(redirect):
    nginx = redirect("1.1", NODES)
    names = [f"c{i}" for i in range(500)]
    count = collections.Counter(
        owners[0] for owners in nginx.owners(*names).values())
    assert set(count) == set(NODES) and min(count.values()) > 50


def test_query_is_kept_and_hop_replaced(redirect):
    nginx = redirect("1.1", NODES)

    def query(args):
        return nginx.play("demo", args=args).location.partition("?")[2]
    assert query("?a=1&b=2") == "a=1&b=2&hop=1"
    assert query("?a=1&hop=1&b=2") == "a=1&b=2&hop=2"
    assert query("?hop=1&hop=9") == "hop=2"
    assert query("?shop=1") == "shop=1&hop=1"
    assert query("?hop=x") == "hop=1"
    assert query("?hop=99999999999") == "hop=999"


def test_escapes_in_the_path_come_out_escaped(redirect):
    nginx = redirect("1.1", NODES)
    token = nginx.token("demo")
    answer = ask(nginx.port, f"/p/{token}/d%65mo/v1/100%25%3Fx.m3u8")
    assert answer.status == 302
    assert answer.location.endswith(f"/p/{token}/demo/v1/100%25%3Fx.m3u8"
                                    "?hop=1")


def test_head_and_preflight_and_other_methods(redirect):
    nginx = redirect("1.1", NODES)
    assert nginx.play("demo", method="HEAD").status == 302
    preflight = nginx.play("demo", method="OPTIONS")
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "GET" in preflight.headers["access-control-allow-methods"]
    refused = nginx.play("demo", method="POST", body=b"x")
    assert refused.status == 405
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS"


# ---- more than one owner ----

def test_plays_spread_over_exactly_the_owner_set(redirect):
    nginx = redirect("7.12", NODES, [("demo", "normal", 3)])
    owners = nginx.owners("demo")["demo"]
    count = nginx.goes_to("demo", sessions(300))
    assert len(owners) == 3 and set(count) == set(owners)
    assert min(count.values()) > 60


def test_hot_goes_everywhere_and_others_stay(redirect):
    nginx = redirect("7.12", NODES, [("demo", "hot", 5)])
    assert set(nginx.goes_to("demo", sessions(200))) == set(NODES)
    assert set(nginx.goes_to("other", sessions(50))) == set(
        nginx.owners("other")["other"])


def test_a_session_stays_where_it_is(redirect):
    nginx = redirect("7.12", NODES, [("demo", "hot", 5)])
    for session in sessions(10):
        assert len(nginx.goes_to("demo", [session] * 5)) == 1


def test_the_less_loaded_of_two_gets_it(redirect):
    nodes = {"origin1": (NODES["origin1"], {"load": 9000}),
             "origin2": (NODES["origin2"], {"load": 1000})}
    nginx = redirect("7.12", nodes, [("demo", "normal", 2)])
    assert nginx.goes_to("demo", sessions(60)) == {"origin2": 60}
    rules = {nginx.play("demo", s).decision["rule"] for s in sessions(20)}
    assert rules == {"less-loaded", "sticky"}


@pytest.mark.parametrize("state", ["down", "draining", "full"])
def test_nobody_is_sent_to_a_node_that_should_not_serve(redirect, state):
    nodes = {**NODES, "origin3": (NODES["origin3"], {"state": state})}
    nginx = redirect("7.12", nodes, [("demo", "hot", 5)])
    assert set(nginx.goes_to("demo", sessions(100))) == (set(NODES)
                                                        - {"origin3"})


def test_the_cdn_gets_its_share(redirect):
    nginx = redirect("7.12", NODES, [("demo", "critical", 5, 2500),
                                     ("all", "critical", 5, 10000)])
    count = nginx.goes_to("demo", sessions(400))
    assert 60 < count["http://cdn.example"] < 140
    assert set(count) == {*NODES, "http://cdn.example"}
    answer = nginx.play("all", args="?hop=1")
    assert answer.location.startswith("http://cdn.example/p/")
    assert "hop=" not in answer.location
    assert answer.decision["node"] == "cdn"
    assert answer.decision["rule"] == "offload"


# ---- an origin ----

def content_owned_by(nginx, node, owned=True):
    names = [f"c{i}" for i in range(50)]
    return next(c for c, owners in nginx.owners(*names).items()
                if (owners[0] == node) == owned)


def test_an_origin_serves_what_it_owns(redirect):
    nginx = redirect("7.12", NODES)
    content = content_owned_by(nginx, "origin2")
    answer = nginx.play(content, host="origin2")
    assert (answer.status, answer.body) == (200, b"the film")
    assert answer.headers["x-vodst-node"] == "origin2"
    assert answer.decision["rule"] == "owner"
    assert answer.decision["node"] == "origin2"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert len(answer.names) == len(set(answer.names))


def test_an_origin_redirects_what_it_does_not_own(redirect):
    nginx = redirect("7.12", NODES)
    content = content_owned_by(nginx, "origin2", owned=False)
    (owner,) = nginx.owners(content)[content]
    answer = nginx.play(content, host="origin2", args="?hop=1")
    assert answer.status == 302
    assert answer.location.startswith(NODES[owner] + "/p/")
    assert answer.location.endswith("?hop=2")
    assert answer.headers["x-vodst-node"] == "origin2"


def test_at_the_hop_limit_an_origin_serves(redirect):
    nginx = redirect("7.12", NODES)
    content = content_owned_by(nginx, "origin2", owned=False)
    answer = nginx.play(content, host="origin2", args="?hop=2")
    assert (answer.status, answer.body) == (200, b"the film")
    assert answer.decision["rule"] == "hop-limit"


def test_an_origin_sends_nobody_to_the_cdn(redirect):
    nginx = redirect("7.12", NODES, [("demo", "critical", 5, 10000)])
    assert nginx.play("demo", host="origin2").status == 200


def test_an_origin_that_is_not_in_the_table_owns_nothing(redirect):
    nginx = redirect("7.12", NODES)
    answer = nginx.play("demo", host="stranger")
    assert answer.status == 302
    assert answer.headers["x-vodst-node"] == "stranger"
    # its own hop variable and limit
    answer = nginx.play("demo", host="stranger", headers={"X-Hops": "1"})
    assert answer.status == 200
    assert answer.decision["rule"] == "hop-limit"


# ---- the table file ----

def test_without_a_table_the_configured_nodes_are_used(redirect):
    nginx = redirect(nodes="redirect_node origin4 http://origin4.example:8040;"
                           "redirect_node origin5 http://origin5.example:8050"
                           " weight=200;")
    answer = nginx.play("demo")
    assert answer.status == 302 and answer.decision["version"] == "0.0"
    assert set(nginx.goes_to("demo", sessions(20))) <= {"origin4", "origin5"}
    nginx.publish("1.1", {"origin1": NODES["origin1"]})
    assert nginx.goes_to("demo", [1]) == {"origin1": 1}


def test_with_neither_the_answer_is_503(redirect):
    nginx = redirect()
    # an origin with no better answer serves, a redirector asks the CDN
    assert nginx.play("demo", host="stranger").status == 200
    assert nginx.play("demo").decision["node"] == "cdn"
    nginx.configure(HTTP.format(port=nginx.port, nodes="").replace(
        "redirect_cdn http://cdn.example;", ""))
    nginx.reload()
    answer = nginx.play("demo")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.decision["rule"] == "no-node"


def test_a_cdn_that_is_forbidden_is_no_resort(redirect):
    down = {name: (url, {"state": "draining"}) for name, url in NODES.items()}
    nginx = redirect("7.12", down, [("demo", "calm", 1, 0, "no-cdn")])
    assert nginx.play("demo").status == 503
    assert nginx.play("demo", args="?retry=1").status == 503
    assert nginx.play("other").decision["node"] == "cdn"


def test_a_new_table_is_acted_on_without_a_reload(redirect):
    nginx = redirect("7.12", NODES)
    workers = nginx.worker_pids()
    assert len(nginx.goes_to("demo", sessions(30))) == 1
    nginx.publish("7.13", NODES, [("demo", "hot", 5)])
    assert len(nginx.goes_to("demo", sessions(100))) == 5
    nginx.publish("8.1", NODES)
    assert len(nginx.goes_to("demo", sessions(30))) == 1
    assert nginx.worker_pids() == workers
    assert "refused" not in nginx.log()


def flipped(data):
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


@pytest.mark.parametrize("damage, reason", [
    (lambda data: data[:len(data) // 2], "input ends too early"),
    (flipped, "checksum does not match"),
    (lambda data: b"", "input ends too early"),
    (lambda data: b"<html>" * 200, ""),
])
def test_a_bad_table_is_refused_once_and_the_old_one_stays(redirect, damage,
                                                           reason):
    nginx = redirect("7.12", NODES, [("demo", "hot", 5)])
    good = make_table("7.13", NODES)
    # in place, as whoever does not know better writes
    (nginx.folder / "table").write_bytes(damage(good))
    wait_for(lambda: ask(nginx.port, "/where/demo").json()
             and "refused" in nginx.log())
    for _ in range(5):
        time.sleep(0.03)
        assert nginx.play("demo").decision["version"] == "7.12"
    assert len(nginx.goes_to("demo", sessions(60))) == 5
    refused = [line for line in nginx.log().splitlines() if "refused" in line]
    assert len(refused) == 1
    assert "table\" refused (" in refused[0] and reason in refused[0]
    assert "version 7.12 stays" in refused[0]

    write_atomic(nginx.folder / "table", good)
    wait_for(lambda: nginx.version() == "7.13")


def test_truncating_the_held_file_in_place_harms_nothing(redirect):
    nginx = redirect("7.12", NODES)
    workers = nginx.worker_pids()
    os.truncate(nginx.folder / "table", 10)
    time.sleep(0.05)
    assert nginx.play("demo").decision["version"] == "7.12"
    (nginx.folder / "table").unlink()
    time.sleep(0.05)
    assert nginx.play("demo").decision["version"] == "7.12"
    assert nginx.worker_pids() == workers


@pytest.mark.parametrize("older", ["7.11", "6.99"])
def test_a_version_never_goes_back(redirect, older):
    nginx = redirect("7.12", NODES)
    write_atomic(nginx.folder / "table", make_table(older, NODES))
    wait_for(lambda: nginx.version() and "older than what is held"
             in nginx.log())
    assert nginx.version() == "7.12"
    nginx.publish("7.13", NODES)


def test_a_reload_reads_the_table_anew(redirect):
    nginx = redirect("7.12", NODES)
    write_atomic(nginx.folder / "table", make_table("7.11", NODES))
    nginx.reload()
    assert nginx.version() == "7.11"


# ---- tokens and paths ----

def altered(token, at):
    return token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1:]


def test_a_wrong_token_is_403(redirect):
    nginx = redirect("7.12", NODES)
    token = nginx.token("demo")

    def status(token, content="demo", host="x"):
        answer = ask(nginx.port, f"/p/{token}/{content}/v1/master.m3u8",
                     headers={"Host": host})
        if answer.status != 302:
            assert answer.headers["access-control-allow-origin"] == "*"
            assert answer.headers["cache-control"] == "no-store"
            assert answer.location is None
        return answer.status, answer.headers["x-vodst-decision"]

    assert status(token)[0] == 302
    for host in ("x", "origin2"):
        for at in (0, 1, 3, 8, 15, 20, 30, 39):
            assert status(altered(token, at), host=host) == (403,
                                                             "refused=token")
        assert status(token, "other", host) == (403, "refused=token")
        assert status(token[:-1], host=host) == (403, "refused=token")
        assert status("x", host=host) == (403, "refused=token")
        late = nginx.token("demo", expires=int(time.time()) - 1)
        assert status(late, host=host) == (403, "refused=token-expired")


def revoke(nginx, list_, taken):
    write_atomic(nginx.folder / "revoked", list_)
    wait_for(lambda: nginx.play("demo") and taken in nginx.log(), what=taken)


def test_a_revoked_play_is_403_on_every_tier(redirect):
    nginx = redirect("7.12", NODES)
    assert nginx.play("demo", 5).status == 302
    revoke(nginx, make_revoked(10, 5, 7), "2 revoked plays taken (number 10)")
    for host in None, "origin2", "stranger":
        for content in "demo", "another":
            for session in 5, 7:
                answer = nginx.play(content, session, host)
                assert answer.status == 403
                assert answer.headers["x-vodst-decision"] \
                    == "refused=token-revoked"
            assert nginx.play(content, 6, host).status in (200, 302)
    revoke(nginx, make_revoked(11), "0 revoked plays taken (number 11)")
    assert nginx.play("demo", 5).status == 302


def test_a_list_that_a_worker_has_no_descriptor_for_is_taken_later(redirect):
    nginx = redirect("7.12", NODES)
    revoke(nginx, make_revoked(10, 5), "1 revoked plays taken")
    client = http.client.HTTPConnection("127.0.0.1", nginx.port)
    path = f"/p/{nginx.token('demo', 6)}/demo/v1/master.m3u8"

    def looked():
        client.request("GET", path)
        return client.getresponse().read() is not None
    looked()  # the connection has its descriptor
    worker, = nginx.worker_pids()
    limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        write_atomic(nginx.folder / "revoked", make_revoked(11, 6))
        wait_for(lambda: looked() and "those before stay" in nginx.log())
        for _ in range(10):
            looked()
            time.sleep(0.02)
        assert nginx.log().count("those before stay") == 1
    finally:
        resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)
    wait_for(lambda: looked() and "(number 11)" in nginx.log())
    client.close()
    assert nginx.play("demo", 6).status == 403


def test_a_bad_list_of_revoked_plays_is_refused_and_the_old_one_stays(redirect):
    nginx = redirect("7.12", NODES)
    revoke(nginx, make_revoked(10, 5), "1 revoked plays taken")
    good = make_revoked(11)
    for bad, reason in ((flipped(good), "checksum does not match"),
                        (good[:-1], "input ends too early"),
                        (b"", "input ends too early"),
                        (make_table("7.13", NODES), "invalid value"),
                        (make_revoked(9), "older than what is held")):
        before = nginx.log().count("refused (")
        write_atomic(nginx.folder / "revoked", bad)
        wait_for(lambda: nginx.play("demo")
                 and nginx.log().count("refused (") > before)
        time.sleep(0.06)
        assert nginx.play("demo", 5).status == 403
        refused = [line for line in nginx.log().splitlines()
                   if "refused (" in line][before:]
        assert len(refused) == 1 and reason in refused[0], refused
    (nginx.folder / "revoked").unlink()
    time.sleep(0.06)
    assert nginx.play("demo", 5).status == 403
    revoke(nginx, good, "number 11")
    assert nginx.play("demo", 5).status == 302


def test_a_token_of_an_unknown_key_is_403(redirect):
    nginx = redirect("7.12", NODES)
    other = nginx.folder / "other-keys"
    expires = int(time.time()) + 600
    for keys, status in (("9 " + "c3" * 32, 403), ("7 " + "c3" * 32, 403),
                         ("3 " + "b2" * 32, 302)):
        other.write_text(keys + "\n")
        token = sign(other, [("demo", 1)], expires)[0]
        assert ask(nginx.port,
                   f"/p/{token}/demo/v1/x.m3u8").status == status


@pytest.mark.parametrize("path", [
    "", "x", "x/", "x/demo", "x/demo/", "x/demo/..", "x/demo/%2e%2e",
    "x/.demo/v1/x", "x/de%20mo/v1/x", "x/demo/v1/x%0d%0aSet-Cookie:a",
    "x/demo/v1/", "x/" + "d" * 65 + "/v1/x", "x/demo/v1/%ff",
])
def test_a_malformed_path_is_404(redirect, path):
    nginx = redirect("7.12", NODES)
    answer = ask(nginx.port, f"/open/{path}")
    assert answer.status == 404
    assert "set-cookie" not in answer.headers


def test_token_off_takes_any_token_as_the_session(redirect):
    nginx = redirect("7.12", NODES, [("demo", "hot", 5)])

    def goes(token):
        return ask(nginx.port, f"/open/{token}/demo/v1/x.m3u8").location
    assert goes("a") == goes("a")
    assert goes("a").endswith("/open/a/demo/v1/x.m3u8?hop=1")
    assert len({goes(f"t{i}").partition("/open/")[0] for i in range(60)}) == 5


# ---- why ----

def test_explain_says_what_would_be_done(redirect):
    nodes = {**NODES, "origin1": (NODES["origin1"],
                                  {"state": "down", "load": 1234})}
    nginx = redirect("7.12", nodes, [("demo", "critical", 4, 2500)])
    said = ask(nginx.port, "/where/demo")
    assert said.status == 200
    assert said.headers["content-type"] == "application/json"
    said = said.json()
    assert said["content"] == "demo" and said["level"] == "critical"
    assert said["owners"] == nginx.owners("demo")["demo"]
    assert said["owner_count"] == len(said["owners"]) == 4
    assert said["cdn_share"] == 0.25 and said["rate"] == 1
    assert said["node"] is None and said["version"] == "7.12"
    assert said["nodes"][0] == {"name": "origin1", "url": NODES["origin1"],
                                "state": "down", "load": 0.1234}
    assert [n["name"] for n in said["nodes"]] == sorted(NODES)

    here = ask(nginx.port, "/where/other", headers={"Host": "origin2"}).json()
    assert here["node"] == "origin2" and here["level"] == "calm"
    assert ask(nginx.port, "/where/.x").status == 404
    assert ask(nginx.port, "/where/demo", "POST").status == 405
    assert ask(nginx.port, "/where/demo", "HEAD").body == b""


def test_the_log_variables_say_why(redirect):
    nginx = redirect("7.12", NODES, [("demo", "critical", 5, 10000)])
    nginx.play("demo", 0xabc)
    nginx.play("calm1", 0xabc)
    ask(nginx.port, "/p/x/demo/v1/x.m3u8")
    ask(nginx.port, "/where/demo")
    (owner,) = nginx.owners("calm1")["calm1"]
    assert (nginx.folder / "why.log").read_text().splitlines() == [
        "demo|demo/v1/master.m3u8|v1/master.m3u8|0000000000000abc|critical|"
        "offload|cdn|7.12|1|"
        "level=critical k=5 node=cdn rule=offload version=7.12",
        "calm1|calm1/v1/master.m3u8|v1/master.m3u8|0000000000000abc|calm|"
        f"only|{owner}|7.12|0|"
        f"level=calm k=1 node={owner} rule=only version=7.12",
        "-|-|-|-|-|-|-|-|-|refused=token",
        "-|-|-|-|-|-|-|-|-|-",
    ]


# ---- decision records ----

RECORD_FORMAT = "log_format record '$msec $redirect_record';"
RECORD_LOG = "access_log record.log record if=$redirect_record;"


def records(nginx):
    """Of each line, what it says."""
    lines = (nginx.folder / "record.log").read_text().splitlines()
    return [dict(part.split("=", 1) for part in line.split(" ")[1:])
            for line in lines]


def start_recording(redirect, directive):
    nginx = redirect("7.12", {name: (url, {"load": 1000 * i})
                              for i, (name, url) in enumerate(NODES.items())},
                     [("film", "hot", 5), ("hit", "critical", 5, 10000)])
    nginx.configure(directive + RECORD_FORMAT + HTTP.format(
        port=nginx.port, nodes="").replace(
            "access_log why.log why;", "").replace(
                "server {", f"server {{ lingering_close off; {RECORD_LOG}")
        .replace("    lingering_close off;\n", ""))
    nginx.reload()
    return nginx


def test_a_record_says_why_a_viewer_was_sent_there(redirect):
    nginx = start_recording(redirect, "redirect_record;")
    answer = nginx.play("film", 0xabc)
    (one,) = records(nginx)
    assert {name: one[name] for name in answer.decision} == answer.decision
    assert one["content"] == "film" and one["session"] == f"{0xabc:016x}"
    assert one["at"] == "-" and one["hop"] == "0" and one["spill"] == "0"
    assert one["rate"] == "1.0" and one["cdn_share"] == "0.00"
    owners = dict(part.split(":") for part in one["owners"].split(","))
    assert owners == {f"origin{i + 1}": f"{i / 10:.2f}" for i in range(5)}
    assert owners[one["node"]] == one["load"]
    # of the CDN, and of an origin; none of what is served or refused
    nginx.play("hit")
    assert records(nginx)[-1]["node"] == "cdn"
    assert records(nginx)[-1]["cdn_share"] == "1.00"
    content = content_owned_by(nginx, "origin2", owned=False)
    nginx.play(content, host="origin2", args="?hop=1")
    assert records(nginx)[-1]["at"] == "origin2"
    assert records(nginx)[-1]["hop"] == "1"
    nginx.play(content_owned_by(nginx, "origin2"), host="origin2")
    ask(nginx.port, "/p/x/film/v1/master.m3u8")
    assert len(records(nginx)) == 3


def test_records_are_sampled_by_session_and_limited(redirect):
    nginx = start_recording(redirect, "redirect_record sample=10 rate=1000r/s;")
    for _ in range(2):
        nginx.goes_to("film", sessions(300))
    count = collections.Counter(one["session"] for one in records(nginx))
    assert 10 <= len(count) <= 60 and set(count.values()) == {2}


def test_records_are_few_however_many_redirects(redirect):
    nginx = start_recording(redirect, "redirect_record rate=3r/s;")
    begun = time.time()
    nginx.goes_to("film", sessions(400))
    assert 3 <= len(records(nginx)) <= 3 * (time.time() - begun + 2)


# ---- configuration ----

@pytest.mark.parametrize("wrong, complaint", [
    ("redirect_node a origin.example;", "invalid URL"),
    ("redirect_node a http://a/;", "without a slash at the end"),
    ("redirect_node a http://a; redirect_node a http://b;",
     'node "a" cannot be used'),
    ("redirect_node a http://a weight=0;", 'invalid parameter "weight=0"'),
    ("redirect_keys no-such-file;", "cannot open key file"),
    ("redirect_keys bad-keys;", '/bad-keys":2 (invalid value)'),
    ("server { location /p/ { redirect /p/; } }",
     'needs "redirect_keys", or "token=off"'),
    ("redirect_capacity 100;", 'invalid parameter "100"'),
    ("redirect_capacity 0r/s;", 'invalid parameter "0r/s"'),
    ("redirect_capacity 10r/s 10;", 'invalid parameter "10"'),
    ("redirect_capacity 10r/s 10tbit/s;", 'invalid parameter "10tbit/s"'),
    ("redirect_record sample=0;", 'invalid parameter "sample=0"'),
    ("redirect_record rate=5;", 'invalid parameter "rate=5"'),
    ("redirect_record all;", 'invalid parameter "all"'),
    ("server { redirect_self " + "x" * 64 + "; }", "longer than"),
    ("redirect_pathways http://a/s;", "ends with a slash"),
    ("redirect_pathways a/;", "invalid URL"),
    ("server { location /s/ { redirect_steering /s/; } }",
     '"redirect_steering" needs "redirect_keys"'),
    ("server { location /s/ { redirect_steering /s/ ttl=5s; } }",
     'invalid parameter "ttl=5s"'),
    ("server { location /p/ { redirect p token=off; } }",
     "needs a prefix that starts and ends with a slash"),
])
def test_a_wrong_configuration_is_named(redirect, wrong, complaint):
    nginx = redirect()
    (nginx.folder / "bad-keys").write_text("# one\n1 zz\n")
    nginx.configure(wrong)
    status, said = nginx.check()
    assert status == 1 and complaint in said, said
