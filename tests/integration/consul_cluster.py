# SPDX-License-Identifier: Apache-2.0
"""A real Consul cluster on loopback, on free ports, in a temporary folder."""

import json
import pathlib
import shutil
import signal
import subprocess
import time

import requests

from ports import free_ports

CONSUL = shutil.which("consul")


class Agent:
    """One Consul process. `extra` goes into its configuration."""

    def __init__(self, folder, name, is_server, server_count, extra):
        self.folder = pathlib.Path(folder) / name
        self.folder.mkdir(parents=True)
        self.name = name
        self.http, self.serf, self.rpc, self.https = free_ports(4)
        self.url = f"http://127.0.0.1:{self.http}"
        self.log = self.folder / "log"
        self.process = None
        self.config = {
            "node_name": name, "server": is_server, "datacenter": "test",
            "data_dir": str(self.folder / "data"),
            "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1",
            "ports": {"http": self.http, "serf_lan": self.serf,
                      "server": self.rpc, "serf_wan": -1, "dns": -1,
                      "grpc": -1},
            "performance": {"raft_multiplier": 1},
            "disable_update_check": True, "disable_remote_exec": True,
            "enable_script_checks": False, "disable_host_node_id": True,
            "leave_on_terminate": False, "skip_leave_on_interrupt": True,
            "log_level": "WARN", "retry_interval": "1s",
            # a server that knows of others too late would wait 30 s
            **({"bootstrap_expect": server_count} if is_server else {}),
            **extra,
        }

    def start(self, join):
        self.config["retry_join"] = join
        path = self.folder / "config.json"
        path.write_text(json.dumps(self.config))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [CONSUL, "agent", "-config-file", str(path)], stdout=log,
                stderr=log, stdin=subprocess.DEVNULL)

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(10)

    def stop(self):
        """Holds it still, as a machine that hangs would be."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def ask(self, method, path, token=None, **options):
        headers = {} if token is None else {"X-Consul-Token": token}
        return requests.request(method, f"{self.url}/v1/{path}", timeout=15,
                                headers=headers, **options)

    def get(self, path, **options):
        answer = self.ask("GET", path, **options)
        return answer.json() if answer.status_code == 200 else None


class Cluster:
    def __init__(self, folder, servers=3, clients=1, extra=None):
        extra = extra or {}
        self.servers = [Agent(folder, f"server{i + 1}", True, servers, extra)
                        for i in range(servers)]
        self.clients = [Agent(folder, f"client{i + 1}", False, 0, extra)
                        for i in range(clients)]
        self.join = [f"127.0.0.1:{one.serf}" for one in self.servers]
        try:
            for one in self.servers + self.clients:
                one.start(self.join)
            self.wait_leader()
        except BaseException:
            self.kill()
            raise

    def restart(self, agent):
        agent.kill()
        agent.start(self.join)

    def leader(self):
        """The server that leads, or None."""
        for one in self.servers:
            if one.process.poll() is not None:
                continue
            try:
                text = one.ask("GET", "status/leader").json()
            except (requests.RequestException, ValueError):
                continue
            for other in self.servers:
                if text == f"127.0.0.1:{other.rpc}":
                    return other
        return None

    def is_whole(self):
        """Every agent reaches a leader and answers for all of them."""
        for one in self.servers + self.clients:
            assert one.process.poll() is None, one.log.read_text()[-3000:]
            try:
                if not one.ask("GET", "status/leader").json():
                    return False
            except (requests.RequestException, ValueError):
                return False
        return True

    def wait_leader(self, seconds=90):
        end = time.monotonic() + seconds
        while self.leader() is None or not self.is_whole():
            assert time.monotonic() < end, "consul: no leader"
            time.sleep(0.1)

    def kill(self):
        for one in self.clients + self.servers:
            one.kill()
