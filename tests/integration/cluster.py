# SPDX-License-Identifier: Apache-2.0
"""A cluster on one machine: each server in a network namespace of its own,
with its own address, tied together by a bridge in one more.

Nothing outside these namespaces is touched: they have no names, belong to a
process each, and are gone with it. So are the disks that machines have of their
own.
"""

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess

import requests

from conftest import VODST, group_members, process_end, wait_until
from consul_cluster import CONSUL
from disks import Disk

FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"),
                None)
NETWORK = "10.77.0."
CLONE_NEWNET = 0x40000000


def which(program):
    return shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin")


def namespace_of(pid):
    return os.readlink(f"/proc/{pid}/ns/net")


class Namespace:
    """A network namespace, kept by a process that sleeps in it."""

    def __init__(self):
        self.keeper = subprocess.Popen(["unshare", "--net", "sleep",
                                        "infinity"])
        wait_until(lambda: namespace_of(self.keeper.pid)
                   != namespace_of(os.getpid()), 5, "a network namespace")
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *command):
        return ["nsenter", f"--net=/proc/{self.keeper.pid}/ns/net",
                *map(str, command)]

    def run(self, *command):
        done = subprocess.run(self.command(*command), text=True,
                              capture_output=True, timeout=60)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    @contextlib.contextmanager
    def entered(self):
        """This thread, and what it starts, is in there."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net", "rb") as home, \
                open(f"/proc/{self.keeper.pid}/ns/net", "rb") as there:
            assert libc.setns(there.fileno(), CLONE_NEWNET) == 0
            try:
                yield
            finally:
                assert libc.setns(home.fileno(), CLONE_NEWNET) == 0

    def close(self):
        self.keeper.kill()
        self.keeper.wait()


class Network:
    """Machines on one bridge."""

    def __init__(self):
        self.switch = Namespace()
        self.switch.run("ip", "link", "add", "bridge", "type", "bridge")
        self.switch.run("ip", "link", "set", "bridge", "up")
        self.count = 0

    def machine(self):
        """A namespace, and its address."""
        self.count += 1
        machine = Namespace()
        port = f"port{self.count}"
        address = f"{NETWORK}{self.count}"
        self.switch.run("ip", "link", "add", port, "type", "veth", "peer",
                        "name", "eth0", "netns", machine.keeper.pid)
        self.switch.run("ip", "link", "set", port, "master", "bridge", "up")
        machine.run("ip", "address", "add", address + "/24", "dev", "eth0")
        machine.run("ip", "link", "set", "eth0", "up")
        return machine, address


class Machine:
    """One machine of the cluster: `vodst up` for the servers that run there,
    and a Consul agent."""

    def __init__(self, network, folder, servers):
        self.namespace, self.address = network.machine()
        self.folder = pathlib.Path(folder)
        self.servers = servers
        self.said = self.folder.with_suffix(".out")
        self.process = self.consul = self.disk = None
        self.clock = self.folder / "clock"  # "+3600": an hour ahead
        self.clock.write_text("+0")

    def environment(self):
        """With a clock that can be set. nginx forgets its environment unless
        it is told to keep it."""
        clock = {"LD_PRELOAD": str(FAKETIME),
                 "FAKETIME_TIMESTAMP_FILE": str(self.clock),
                 "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                 "FAKETIME_NO_CACHE": "1"}
        tools = self.folder / "tools"
        tools.mkdir()
        kept = " ".join(f"env {name};" for name in clock)
        (tools / "nginx").write_text(
            f'#!/bin/sh\nexec {which("nginx")} -g "{kept}" "$@"\n')
        (tools / "nginx").chmod(0o755)
        for name in ("varnishd", "ffmpeg"):
            (tools / name).symlink_to(which(name))
        return {**os.environ, **clock, "VODST_TOOLS": str(tools)}

    def start(self, cluster_file, options, has_clock=False):
        """Waits for nothing: machines start in any order."""
        nodes = [f"--node={server}" for server in self.servers]
        with self.said.open("w") as output:
            self.process = subprocess.Popen(
                self.namespace.command(VODST, "up", "--dir", self.folder,
                                       "--cluster", cluster_file, *nodes,
                                       *options),
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                env=self.environment() if has_clock else None)

    def consul_start(self, servers):
        """A server if this machine is one of them, else a client agent."""
        is_server = self in servers
        folder = self.folder / "consul"
        folder.mkdir(exist_ok=True)
        config = folder / "config.json"
        config.write_text(json.dumps({
            "node_name": self.servers[0], "server": is_server,
            "data_dir": str(folder / "data"), "bind_addr": self.address,
            "client_addr": "127.0.0.1",
            "ports": {"serf_wan": -1, "dns": -1, "grpc": -1},
            "performance": {"raft_multiplier": 1},
            "gossip_lan": {"probe_interval": "300ms",
                           "probe_timeout": "200ms", "suspicion_mult": 3},
            "disable_update_check": True, "disable_host_node_id": True,
            "log_level": "WARN", "retry_interval": "1s",
            "retry_join": [server.address for server in servers],
            **({"bootstrap_expect": len(servers)} if is_server else {})}))
        with (folder / "log").open("ab") as log:
            self.consul = subprocess.Popen(
                self.namespace.command(CONSUL, "agent", "-config-file",
                                       config),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def consul_kill(self):
        self.consul.kill()
        self.consul.wait()

    def is_raft_leader(self):
        done = subprocess.run(
            self.namespace.command(
                "curl", "-s", "-m", "2",
                "http://127.0.0.1:8500/v1/status/leader"),
            capture_output=True, text=True, check=False)
        return done.stdout.strip('"\n') == self.address + ":8300"

    def is_ready(self):
        assert self.process.poll() is None, self.output()
        return (self.folder / "vodst.json").exists()

    def output(self):
        return self.said.read_text()

    @property
    def state(self):
        return json.loads((self.folder / "vodst.json").read_text())

    def pid(self, process):
        """0 while it does not run."""
        return next(one["pid"] for one in self.state["processes"]
                    if one["name"] == process)

    def kill(self, process):
        os.killpg(wait_until(lambda: self.pid(process), 10, process),
                  signal.SIGKILL)

    def log(self, name):
        return (self.folder / "log" / f"{name}.log").read_text()

    def drop_cache(self):
        """So that its nginx reads everything anew; its index files stay in the
        memory of its workers."""
        for file in (self.folder / "cache").glob("*/*/*/*"):
            file.unlink()

    def cut(self, *addresses):
        """Nothing goes to or comes from there until `mend`; none: anywhere."""
        self.rules("drop", addresses)

    def lose(self, percent):
        """So many packets of all that come and go are lost."""
        self.rules(f"numgen random mod 100 < {percent} drop", ())

    def rules(self, verdict, addresses):
        self.mend()
        where = [(f"ip saddr {address} {verdict}", f"ip daddr {address} "
                  f"{verdict}") for address in addresses]
        if not addresses:
            where = [('iifname "eth0" ' + verdict, 'oifname "eth0" ' + verdict)]
        come, go = zip(*where)
        text = "table inet fault {\n"
        for hook, rules in (("input", come), ("output", go)):
            text += (f"chain {hook} {{ type filter hook {hook} priority 0;\n"
                     + "\n".join(rules) + "\n}\n")
        rules = self.folder / "fault.nft"
        rules.write_text(text + "}\n")
        self.namespace.run("nft", "-f", rules)

    def mend(self):
        self.namespace.run("nft", "flush", "ruleset")

    def stop(self):
        if self.consul is not None:
            self.consul_kill()
        if self.process is not None:
            process_end(self.process)


class Cluster:
    """Servers are "TIER NAME" in lists, a list a machine. `consul` names those
    whose machines have Consul's servers; then each node and Manager has an
    agent. `clock` names one whose clock can be set; `disks` has the sizes of
    those that have one of their own (within private_mounts)."""

    def __init__(self, folder, films, machines, options=(), consul=(),
                 clock=None, disks=()):
        self.folder = pathlib.Path(folder)
        self.network = Network()
        self.machines = {}  # by the name of each of its servers
        self.options = list(options)
        lines = []
        for servers in machines:
            names = [server.split()[1] for server in servers]
            home = self.folder / names[0]
            home.mkdir()
            disk = Disk(home, disks[names[0]]) if names[0] in disks else None
            machine = Machine(self.network, home, names)
            machine.disk = disk
            for server in servers:
                tier, name = server.split()
                port = {"manager": 7100, "st-api": 7200, "mlic": 7300,
                        "varnish": 6081}.get(tier, 80)
                lines.append(f"{tier} {name} {machine.address}:{port}"
                             f" http://{machine.address}:{port}")
                self.machines[name] = machine
            shutil.copytree(films / "secrets", home / "secrets")
            if "storage" in names:
                shutil.copytree(films / "storage", home / "storage")
            if "st-api" in names:
                for file in films.glob("catalogue.db*"):
                    shutil.copy(file, home)
        self.file = self.folder / "cluster"
        self.file.write_text("\n".join(lines) + "\n")
        self.viewer = self.network.machine()[0]
        self.clock = clock
        self.consul_servers = [self.machines[name] for name in consul]
        if consul:
            self.options += ["--coordination", "consul"]

    def start(self):
        every = set(self.machines.values())
        for machine in every if self.consul_servers else ():
            if machine in self.consul_servers or machine.servers[0].startswith(
                    ("origin", "redirector", "manager")):
                machine.consul_start(self.consul_servers)
        for machine in every:
            machine.start(self.file, self.options,
                          self.clock in machine.servers)
        for machine in every:
            wait_until(machine.is_ready, 60, "\n".join(
                f"{one.servers}: {one.output()}" for one in every))

    def url(self, name):
        machine = self.machines[name]
        port = ":7100" if name.startswith("manager") else ""
        return f"http://{machine.address}{port}"

    @property
    def front(self):
        return self.url("redirector1")

    def ask(self, manager, path):
        """As a node does; None where nobody answers."""
        key = (self.machines[manager].folder / "secrets/manager.key"
               ).read_text().strip()
        try:
            return requests.get(self.url(manager) + path, timeout=2,
                                headers={"Authorization": "Bearer " + key},
                                allow_redirects=False)
        except requests.RequestException:
            return None

    def leads(self):
        """The Manager that answers by itself, and its answer."""
        return next(((name, answer.json()) for name in self.machines
                     if name.startswith("manager")
                     and (answer := self.ask(name, "/v1/status")) is not None
                     and answer.status_code == 200), (None, None))

    def leader(self):
        """None: there is none now."""
        return self.leads()[0]

    def status(self):
        return self.leads()[1]

    def where(self, node, content):
        answer = requests.get(f"{self.url(node)}/where/{content}", timeout=5)
        answer.raise_for_status()
        return answer.json()

    def play_url(self, content):
        answer = requests.post(self.front + "/api/v1/playbacks",
                               json={"content": content}, timeout=5)
        assert answer.status_code == 201, answer.text
        return answer.json()["urls"]["hls"]

    def audience(self, *options):
        return Audience(self.front + "/api", options)

    def stop(self):
        groups = set()
        for machine in set(self.machines.values()):
            with contextlib.suppress(OSError):
                groups |= {one["pid"] for one in machine.state["processes"]}
        try:
            for machine in set(self.machines.values()):
                machine.stop()
        finally:
            for machine in set(self.machines.values()):
                machine.namespace.close()
            self.viewer.close()
            self.network.switch.close()
        assert group_members(groups - {0}) == []


class Audience:
    """`vodst audience` under way."""

    def __init__(self, api, options):
        self.process = subprocess.Popen(
            [VODST, "audience", "--api", api, "--json", *map(str, options)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    def report(self, timeout=120):
        output, errors = self.process.communicate(timeout=timeout)
        assert output, errors
        return json.loads(output)
