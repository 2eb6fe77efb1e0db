# SPDX-License-Identifier: Apache-2.0
"""The load loop without nginx: a manager, agents, and counter files written
by a tool in the meter's place.

    counter-tool -> counter file -> agent -> manager -> agent -> table file
"""

import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest
import requests

from nginx_instance import make_revoked
from relay import Deaf
from stand_in import StandIn

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VODST_BUILD", ROOT / "build"))
MANAGER = BUILD / "programs/manager/vodst-manager"
AGENT = BUILD / "programs/agent/vodst-agent"
TOOL = BUILD / "programs/agent/counter-tool"

ORIGINS = ["origin1", "origin2", "origin3"]
TAG_BITS = 20  # of a term, see core/term.h
# one owner for each 10 req/s, as each node can do 100
SPREAD = ["--spread", "0.10"]
SHORT = [*SPREAD, "--hold", "1s", "--window", "2s", "--node-timeout", "1500ms"]


def wait_for(condition, seconds, what):
    """The first true value of condition(), and how long it took."""
    start = time.monotonic()
    while True:
        value = condition()
        took = time.monotonic() - start
        if value:
            return value, took
        assert took < seconds, f"{what}: not within {seconds} s"
        time.sleep(0.01)


class Child:
    """A process whose standard error goes to a file."""

    def __init__(self, folder, name, *command, **options):
        self.log = pathlib.Path(folder) / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [str(c) for c in command], stderr=log,
                env={**os.environ, "TZ": "UTC"}, **options)

    def text(self):
        return self.log.read_text()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(5)

    def stop(self, number=signal.SIGTERM):
        """Asks it to end, and expects it to end well."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        status = self.process.wait(10)
        assert status == 0, self.text()


class Manager(Child):
    def __init__(self, folder, *options, port=0, name="manager"):
        super().__init__(folder, name, MANAGER, "--listen",
                         f"127.0.0.1:{port}", *options)
        says = f"[{self.process.pid}] info: manager: listen on port "
        wait_for(lambda: says in self.text(), 10, "manager's start")
        self.port = int(self.text().split(says)[1].split()[0])
        self.url = f"http://127.0.0.1:{self.port}"

    def status(self):
        return requests.get(self.url + "/v1/status", timeout=5).json()

    def version(self):
        return tuple(map(int, self.status()["version"].split(".")))

    def content(self, name):
        answer = requests.get(f"{self.url}/v1/contents/{name}", timeout=5)
        return answer.json() if answer.status_code == 200 else {"requests": 0}

    def node_state(self, name):
        states = {n["name"]: n["state"] for n in self.status()["nodes"]}
        return states.get(name)


class Counters:
    """The meter's stand-in for one node."""

    def __init__(self, path):
        self.path = path
        self.process = subprocess.Popen(
            [str(TOOL), str(path)], text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == "ready\n"

    def rate(self, content, rate):
        self.process.stdin.write(f"rate {content} {rate}\n")
        self.process.stdin.flush()

    def add(self, content, count):
        self.process.stdin.write(f"add {content} {count}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "ok\n"

    def stop(self):
        self.process.stdin.close()
        self.process.wait(5)


def read_table(path):
    """What a table file says: {"version", "nodes": {}, "rows": {}}; None
    while there is no whole one."""
    run = subprocess.run([str(TOOL), "--table", str(path)], text=True,
                         stdout=subprocess.PIPE)
    if run.returncode != 0:
        return None
    table = {"nodes": {}, "rows": {}}
    for line in run.stdout.splitlines():
        word, *rest = line.split()
        if word == "version":
            table["version"] = tuple(map(int, rest))
        elif word == "node":
            table["nodes"][rest[0]] = rest[1]
        else:
            table["rows"][rest[0]] = {"level": rest[1],
                                      "owner_count": int(rest[2]),
                                      "cdn_share": int(rest[3])}
    return table


class Node:
    """A counter file, a table file, and the agent between them."""

    def __init__(self, folder, name, manager_urls, *options,
                 role="origin", interval="100ms"):
        self.folder, self.name = pathlib.Path(folder), name
        self.table_path = self.folder / f"{name}.table"
        self.counters_path = self.folder / f"{name}.counters"
        self.options = [
            "--node", name, "--role", role, "--counters", self.counters_path,
            "--table", self.table_path, "--interval", interval,
            "--capacity", "100", *options]
        if role == "origin":
            self.options += ["--url", f"http://{name}.test:80"]
        for url in manager_urls:
            self.options += ["--manager", url]
        self.counters = Counters(self.counters_path)
        self.start()

    def start(self):
        self.agent = Child(self.folder, self.name, AGENT, *self.options)

    def table(self):
        return read_table(self.table_path)

    def level(self, content):
        table = self.table()
        if table is None:
            return None
        return table["rows"].get(content, {"level": "calm"})["level"]

    def close(self):
        self.counters.stop()
        self.agent.stop()


class Loop:
    def __init__(self, folder, manager_options, node_options=()):
        self.folder = folder
        self.manager_options = manager_options
        self.manager = Manager(folder, *manager_options)
        self.nodes = {name: Node(folder, name, [self.manager.url],
                                 *node_options)
                      for name in ORIGINS}
        self.wait_up()

    def wait_up(self):
        wait_for(lambda: all(
            t is not None and sorted(t["nodes"]) == ORIGINS
            and set(t["nodes"].values()) == {"up"}
            for t in (n.table() for n in self.nodes.values())), 10,
            "a table with every origin up on every node")

    def demand(self, content, rate):
        """Requests/s of a content, spread over the origins."""
        for node in self.nodes.values():
            node.counters.rate(content, rate / len(self.nodes))

    def wait_level(self, content, level, seconds):
        """Until every node's table file says so; how long it took."""
        def everywhere():
            return all(n.level(content) == level for n in self.nodes.values())
        return wait_for(everywhere, seconds, f"{content} {level} everywhere")[1]

    def restart_manager(self):
        self.manager = Manager(self.folder, *self.manager_options,
                               port=self.manager.port)

    def close(self):
        for node in self.nodes.values():
            node.close()
        self.manager.stop()


@pytest.fixture
def loop(tmp_path):
    loop = Loop(tmp_path, [*SHORT, "--cdn", "--cdn-whole"])
    yield loop
    loop.close()


def test_programs_tell_how_they_are_used():
    for program in (MANAGER, AGENT):
        name = program.name
        run = lambda *a: subprocess.run([program, *a], text=True,
                                        capture_output=True)
        assert f"usage: {name}" in run("--help").stdout
        assert ".SH EXIT STATUS" in run("--man").stdout
        assert "= " in run("--sample").stdout
        wrong = run("--no-such-option")
        assert wrong.returncode == 2 and "--help" in wrong.stderr
    for option, value in (("--node", "a b"), ("--role", "cache"),
                          ("--manager", "https://x"), ("--check", "x"),
                          ("--url", "")):
        given = {"--node": "a", "--role": "origin", "--counters": "c",
                 "--table": "t", "--url": "http://a:1", option: value}
        bad = subprocess.run([AGENT, *sum(given.items(), ())], text=True,
                             capture_output=True, timeout=10)
        assert bad.returncode == 2 and option in bad.stderr, option


def test_a_taken_port_is_told(tmp_path):
    manager = Manager(tmp_path)
    second = subprocess.run(
        [MANAGER, "--listen", f"127.0.0.1:{manager.port}"], text=True,
        capture_output=True, timeout=10)
    manager.stop(signal.SIGINT)
    assert second.returncode == 1
    assert "in use" in second.stderr


def test_demand_moves_a_content_up_through_the_levels_and_down(loop):
    # capacity 100 each: one owner for each 10 req/s, the CDN over 240
    steps = [(15, "normal"), (60, "hot"), (400, "critical")]
    for rate, level in steps:
        loop.demand("film", rate)
        assert loop.wait_level("film", level, 2.0) <= 2.0
    table = loop.nodes["origin1"].table()
    assert table["rows"]["film"] == {"level": "critical", "owner_count": 3,
                                     "cdn_share": 10000}
    # what the CDN serves shows up as offloaded plays; here it just ends
    loop.demand("film", 0)
    loop.wait_level("film", "calm", 12)
    assert "content film is critical" in loop.manager.text()
    assert "content film is calm" in loop.manager.text()


def test_levels_by_plain_thresholds(tmp_path):
    loop = Loop(tmp_path, [*SHORT, "--cdn", "--policy", "thresholds",
                           "--normal", "20", "--hot", "80", "--critical",
                           "200", "--normal-owners", "2"])
    for rate, level, owners in ((12, "calm", 1), (40, "normal", 2),
                                (120, "hot", 3), (400, "critical", 3)):
        loop.demand("film", rate)
        loop.wait_level("film", level, 3.0)
        wait_for(lambda: len(loop.manager.content("film").get("owners", []))
                 == owners, 3, f"{owners} owners")
    loop.demand("film", 0)
    loop.wait_level("film", "calm", 12)
    loop.close()
    for wrong in (["--policy", "x"], ["--hot", "5"], ["--critical", "20"]):
        bad = subprocess.run([MANAGER, *wrong], text=True, timeout=10,
                             capture_output=True)
        assert bad.returncode == 2 and "--help" in bad.stderr, wrong


def test_other_contents_stay_with_their_one_owner(loop):
    loop.demand("film", 60)
    loop.demand("quiet", 5)
    loop.wait_level("film", "hot", 2.0)
    time.sleep(1)
    assert loop.manager.content("quiet")["level"] == "calm"
    assert len(loop.manager.content("quiet")["owners"]) == 1
    assert sorted(loop.manager.content("film")["owners"]) == ORIGINS
    assert all("quiet" not in n.table()["rows"] for n in loop.nodes.values())


def test_only_the_excess_goes_to_the_cdn_by_share(tmp_path):
    loop = Loop(tmp_path, [*SHORT, "--cdn"])
    loop.demand("film", 400)
    loop.wait_level("film", "critical", 3.0)
    wait_for(lambda: 0.3 < loop.manager.content("film")["cdn_share"] < 0.5,
             5, "a share of 1 - 240/400")
    loop.close()


def test_a_killed_manager_is_missed_by_nobody(loop):
    loop.demand("film", 60)
    loop.wait_level("film", "hot", 2.0)
    held = {name: n.table() for name, n in loop.nodes.items()}
    loop.manager.kill()
    time.sleep(1.5)
    for name, node in loop.nodes.items():
        assert node.agent.process.poll() is None
        table = node.table()
        assert table["rows"] == held[name]["rows"]
        assert table["version"] >= held[name]["version"]
    before = max(n.table()["version"] for n in loop.nodes.values())
    seen = []
    loop.restart_manager()

    def watch():
        tables = [n.table() for n in loop.nodes.values()]
        seen.append([t["version"] for t in tables])
        # the next manager does not call it calm before it knows, nor leave
        # out the nodes that come late
        assert all(t["rows"]["film"]["level"] == "hot" for t in tables)
        assert all(sorted(t["nodes"]) == ORIGINS for t in tables)
        return min(seen[-1]) > before
    wait_for(watch, 6, "a newer table from the next manager")
    for old, new in zip(seen, seen[1:]):
        assert all(n >= o for o, n in zip(old, new))
    assert loop.manager.version()[0] > before[0]
    loop.wait_level("film", "hot", 6)


@pytest.fixture
def holding_loop(tmp_path):
    """What goes up stays up for long."""
    loop = Loop(tmp_path, [*SPREAD, "--hold", "60s", "--window", "2s",
                           "--node-timeout", "1500ms", "--cdn"])
    yield loop
    loop.close()


def test_what_one_manager_held_up_the_next_holds_up(holding_loop):
    loop = holding_loop
    loop.demand("film", 400)
    loop.demand("other", 15)
    loop.wait_level("film", "critical", 3.0)
    loop.wait_level("other", "normal", 3.0)
    loop.demand("film", 0)
    loop.demand("other", 0)
    wait_for(lambda: loop.manager.content("film")["rate"] == 0, 5, "silence")
    held = loop.nodes["origin1"].table()
    loop.manager.kill()
    loop.restart_manager()
    wait_for(lambda: all(n.table()["version"][0] > held["version"][0]
                         for n in loop.nodes.values()), 6, "a newer table")
    for node in loop.nodes.values():
        assert node.table()["rows"] == held["rows"]
        assert node.table()["nodes"] == held["nodes"]
    # once it has a table of its own it takes none, and never a bad one
    told = loop.manager.url + "/v1/table"
    table = loop.nodes["origin1"].table_path.read_bytes()
    assert requests.put(told, table, timeout=5).status_code == 204
    assert requests.put(told, table[:-1], timeout=5).status_code == 400
    assert loop.manager.text().count("go on from table") == 1


def test_a_manager_restarted_at_once_goes_on_above(loop):
    # within the same second its term begins as the one before
    before = max(n.table()["version"] for n in loop.nodes.values())
    loop.manager.kill()
    loop.restart_manager()
    wait_for(lambda: min(n.table()["version"] for n in loop.nodes.values())
             > before, 6, "a newer table")


def test_a_newer_table_on_any_node_is_outgrown(loop):
    # another manager was here: no node would take a table below its own
    term = loop.manager.status()["term"] + (1000 << TAG_BITS)
    report = subprocess.run(
        [TOOL, "--report", loop.nodes["origin1"].counters_path, "origin8",
         "http://origin8.test:80", "1", str(term)],
        capture_output=True).stdout
    assert requests.post(loop.manager.url + "/v1/reports",
                         report).status_code == 200
    rounds = lambda: {n.table()["version"][0] >> TAG_BITS
                      for n in loop.nodes.values()}
    wait_for(lambda: rounds() == {(term >> TAG_BITS) + 1}, 3, "the next round")


def test_a_silent_agent_is_a_node_down_and_comes_back(loop):
    loop.nodes["origin2"].agent.kill()
    _, took = wait_for(
        lambda: loop.nodes["origin1"].table()["nodes"]["origin2"] == "down",
        5, "origin2 down in origin1's table")
    assert 1.0 <= took <= 3.5  # --node-timeout is 1.5 s
    loop.nodes["origin2"].start()
    loop.wait_up()


def test_an_unwell_node_is_down_within_two_seconds(tmp_path):
    is_well = True
    loop = Loop(tmp_path, SHORT)

    def state():
        return loop.nodes["origin1"].table()["nodes"].get("origin4")
    with StandIn(lambda _: (200 if is_well else 503, {}, b"")) as nginx:
        checked = Node(tmp_path, "origin4", [loop.manager.url], "--check",
                       f"{nginx.url}/healthz")
        wait_for(lambda: state() == "up", 5, "origin4 up")
        is_well = False
        _, took = wait_for(lambda: state() == "down", 3, "origin4 down")
        assert took <= 2.0
        is_well = True
        wait_for(lambda: state() == "up", 3, "origin4 up again")
    # nobody listens any more
    _, took = wait_for(lambda: state() == "down", 3, "origin4 down again")
    assert took <= 2.0
    checked.close()
    loop.close()


def test_the_agent_brings_the_revoked_plays(tmp_path):
    """Forward only, and only what is whole; each st-api in turn."""
    loop = Loop(tmp_path, SHORT)
    answers, asked = [], []

    def api(request):
        asked.append(request.path)
        return (200, {}, answers[-1]) if answers else (204, {}, b"")
    file = tmp_path / "revoked"
    with StandIn(lambda _: (500, {}, b"")) as broken, StandIn(api) as well:
        node = Node(tmp_path, "origin4", [loop.manager.url],
                    "--revoked", file, "--api", broken.url, "--api", well.url)
        wait_for(lambda: asked, 5, "another st-api")
        assert asked[0] == "/v1/revocations?after=0"
        assert "cannot fetch revoked plays" in node.agent.text()
        for good in make_revoked(7, 1, 2), make_revoked(9, 3):
            answers.append(good)
            wait_for(lambda: file.exists() and file.read_bytes() == good, 8,
                     "the list")
        wait_for(lambda: asked[-1].endswith("?after=9"), 8, "the next question")
        for bad in (make_revoked(8), make_revoked(10)[:-1], b"nonsense"):
            count = len(asked)
            answers.append(bad)
            wait_for(lambda: len(asked) > count + 1, 10, "it was served")
            assert file.read_bytes() == good
        # the next run goes on where this one was
        node.close()
        answers.clear()
        asked.clear()
        node = Node(tmp_path, "origin4", [loop.manager.url],
                    "--revoked", file, "--api", well.url)
        wait_for(lambda: asked, 5, "the question")
        assert asked[0] == "/v1/revocations?after=9"
        node.close()
    loop.close()


def test_a_list_of_revoked_plays_that_cannot_be_written_is_told_of_once(
        tmp_path):
    """st-api is not to blame, and so the next one is not asked."""
    loop = Loop(tmp_path, SHORT)
    asked = []

    def api(request):
        asked.append(request.path)
        return 200, {}, make_revoked(7, 1)
    folder = tmp_path / "later"
    with StandIn(api) as well, StandIn(lambda _: (500, {}, b"")) as broken:
        node = Node(tmp_path, "origin4", [loop.manager.url], "--revoked",
                    folder / "revoked", "--api", well.url, "--api", broken.url)
        wait_for(lambda: len(asked) > 2, 8, "it tries again")
        folder.mkdir()
        wait_for(lambda: asked[-1].endswith("?after=7"), 8, "it is written")
        text = node.agent.text()
        assert text.count("cannot write") == text.count("can write") == 1
        assert "cannot fetch revoked plays" not in text
        node.close()
    loop.close()


def test_an_agent_outlives_its_managers(tmp_path):
    first = Manager(tmp_path, *SHORT)
    node = Node(tmp_path, "origin1", ["http://127.0.0.1:1", first.url])
    wait_for(node.table, 8, "a table from the second manager of the list")
    held = node.table()["version"]
    first.kill()
    time.sleep(1)
    node.counters.add("film", 10)
    assert node.agent.process.poll() is None
    # a new agent holds the old file, and does not go behind it
    node.agent.stop()
    node.start()
    wait_for(lambda: f"hold table {held[0]}.{held[1]}" in node.agent.text(),
             5, "the table from before")
    second = Manager(tmp_path, *SHORT, port=first.port)
    wait_for(lambda: node.table()["version"] > held, 8, "a newer table")
    # counted while no manager was there, and before this agent started
    wait_for(lambda: second.content("film")["requests"] == 10, 5, "the sum")
    node.close()
    second.stop()


def test_a_jump_does_not_wait_for_the_interval(tmp_path):
    manager = Manager(tmp_path, "--node-timeout", "60s")
    node = Node(tmp_path, "origin1", [manager.url], interval="30s")
    wait_for(lambda: node.table() is not None, 10, "a table")
    node.counters.add("film", 5)
    time.sleep(0.5)
    assert manager.content("film")["requests"] == 0  # no jump
    node.counters.add("film", 20)
    wait_for(lambda: manager.content("film")["requests"] == 25, 2,
             "a report of the jump")
    # how it goes on is told until it fills the Manager's shortest window, and
    # then at intervals again
    time.sleep(1.2)
    node.counters.add("film", 1)
    wait_for(lambda: manager.content("film")["requests"] == 26, 0.4,
             "a report of how it goes on")
    time.sleep(1)
    node.counters.add("film", 1)
    time.sleep(0.5)
    assert manager.content("film")["requests"] == 26
    node.close()
    manager.stop()


def test_no_count_is_lost_between_two_managers(tmp_path):
    first = Manager(tmp_path, *SHORT, name="first")
    second = Manager(tmp_path, *SHORT, name="second")
    node = Node(tmp_path, "origin1", [first.url, second.url])
    node.counters.add("film", 10)
    wait_for(lambda: first.content("film")["requests"] == 10, 5, "10")
    first.process.send_signal(signal.SIGSTOP)
    node.counters.add("film", 5)
    wait_for(lambda: second.content("film")["requests"] == 15, 15, "15")
    node.counters.add("other", 3)
    wait_for(lambda: second.content("other")["requests"] == 3, 5, "3")
    # back to the one that was told nothing of the other content
    first.process.send_signal(signal.SIGCONT)
    second.kill()
    node.counters.add("film", 2)
    wait_for(lambda: first.content("film")["requests"] == 17, 15, "17")
    assert first.content("other")["requests"] == 3
    node.close()
    first.stop()


def test_all_nodes_return_to_the_first_manager_of_the_list(tmp_path):
    first = Manager(tmp_path, *SHORT, name="first")
    second = Manager(tmp_path, *SHORT, name="second")
    nodes = [Node(tmp_path, name, [first.url, second.url]) for name in ORIGINS]

    def all_hold_a_table_of(manager):
        term = manager.status()["term"]
        tables = [n.table() for n in nodes]
        # nobody is called down or left out while they move
        assert all(set(t["nodes"].values()) == {"up"} and
                   sorted(t["nodes"]) == ORIGINS for t in tables if t)
        return all(t and t["version"][0] == term for t in tables)

    def settled():
        tables = [n.table() for n in nodes]
        return all(t and sorted(t["nodes"]) == ORIGINS for t in tables)
    wait_for(settled, 8, "a table of all")
    first.kill()
    wait_for(lambda: all_hold_a_table_of(second), 10, "the second's table")
    first = Manager(tmp_path, *SHORT, port=first.port, name="first")
    wait_for(lambda: all_hold_a_table_of(first), 10, "the first's table")
    # one lost answer moves nothing for long: as a hang of the first does
    first.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: all_hold_a_table_of(second), 15, "the second's table")
    first.process.send_signal(signal.SIGCONT)
    wait_for(lambda: all_hold_a_table_of(first), 15, "the first's table")
    for node in nodes:
        node.close()
    first.stop()
    second.stop()


def test_a_bad_report_is_refused_and_changes_nothing(loop, tmp_path):
    for node in loop.nodes.values():
        node.counters.add("film", 5)
    wait_for(lambda: loop.manager.content("film")["requests"] == 15, 5, "sum")
    good = subprocess.run(
        [TOOL, "--report", loop.nodes["origin1"].counters_path, "origin1",
         "http://origin1.test:80", "99"], capture_output=True).stdout
    bad = [b"", b"x" * 100, good[:-1], good[:50], good + b"x"]
    bad += [good[:i] + bytes([good[i] ^ 0x40]) + good[i + 1:]
            for i in (0, 9, 30, 60, len(good) - 10)]
    for report in bad:
        answer = requests.post(loop.manager.url + "/v1/reports", report)
        assert answer.status_code == 400, report
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == 400
    assert loop.manager.content("film")["requests"] == 15
    metrics = requests.get(loop.manager.url + "/metrics").text
    assert f"vodst_manager_reports_refused_total {len(bad)}\n" in metrics


def test_a_repeated_or_late_report_counts_once(tmp_path):
    manager = Manager(tmp_path, *SHORT)
    counters = Counters(tmp_path / "c")

    def report(sequence):
        return subprocess.run([TOOL, "--report", counters.path, "origin9",
                               "http://o:1", str(sequence)],
                              capture_output=True).stdout

    def post(body):
        answer = requests.post(manager.url + "/v1/reports", body)
        assert answer.status_code == 200
    counters.add("film", 7)
    first = report(1)
    counters.add("film", 4)
    second = report(2)
    for body in (second, first, second, first, first, second):
        post(body)
        assert manager.content("film")["requests"] == 11
    counters.stop()
    manager.stop()


def test_a_replaced_counter_file_counts_from_zero(loop):
    node = loop.nodes["origin1"]
    node.counters.add("film", 5)
    wait_for(lambda: loop.manager.content("film")["requests"] == 5, 5, "5")
    node.counters.stop()
    node.counters = Counters(node.counters_path)  # nginx with another shape
    node.counters.add("film", 3)
    wait_for(lambda: loop.manager.content("film")["requests"] == 8, 5, "8")


def test_a_lost_or_broken_table_file_is_written_anew(loop):
    # nginx keeps what it read; the next table heals the file
    node = loop.nodes["origin1"]
    node.table_path.write_bytes(b"broken")
    loop.demand("film", 60)
    loop.wait_level("film", "hot", 2.5)


def test_a_long_poll_wakes_at_once(loop):
    time.sleep(1.2)  # past the load-only tables of the start
    woken = []

    def poll():
        version = loop.manager.status()["version"]
        answer = requests.get(loop.manager.url + "/v1/table", params={
            "after": version, "wait_ms": 10000}, timeout=15)
        woken.append((time.monotonic(), answer))
    thread = threading.Thread(target=poll)
    thread.start()
    time.sleep(0.5)
    if woken:  # a load-only table came between: again
        thread = threading.Thread(target=poll)
        woken.clear()
        thread.start()
        time.sleep(0.3)
    # a new node is a change that is published at once
    report = subprocess.run(
        [TOOL, "--report", loop.nodes["origin1"].counters_path, "origin7",
         "http://origin7.test:80", "1"], capture_output=True).stdout
    start = time.monotonic()
    assert requests.post(loop.manager.url + "/v1/reports",
                         report).status_code == 200
    thread.join(5)
    when, answer = woken[0]
    assert answer.status_code == 200
    assert when - start < 0.1, when - start
    assert b"origin7" in answer.content
    assert answer.headers["x-vodst-version"]


def test_a_question_for_a_table_that_hangs_is_asked_anew(tmp_path):
    """When an answer to a report says that there is one; else it would hang
    for 35 s."""
    manager = Manager(tmp_path, *SHORT)
    deaf = Deaf(manager.port)
    node = Node(tmp_path, "origin1", [deaf.url])
    wait_for(lambda: manager.node_state("origin1") == "up", 10, "reports")
    time.sleep(1)
    assert node.table() is None
    deaf.is_on = False
    assert wait_for(node.table, 10, "a table")[1] > 0.5
    node.close()
    manager.stop()


def test_a_long_poll_ends_with_nothing(tmp_path):
    manager = Manager(tmp_path, *SHORT)
    start = time.monotonic()
    answer = requests.get(manager.url + "/v1/table?after=0.0&wait_ms=300")
    assert answer.status_code == 204
    assert 0.25 <= time.monotonic() - start < 2
    assert requests.get(manager.url + "/v1/table").status_code == 204
    assert requests.get(manager.url + "/v1/contents/x").status_code == 404
    assert requests.get(manager.url + "/v1/contents/.x").status_code == 400
    for query in ("after=x", "after=1", "after=1.2.3", "after=-1.2",
                  "wait_ms=60001", "wait_ms=1s", "after=99999999999999999999.1"
                  ):
        answer = requests.get(manager.url + "/v1/table?" + query)
        assert answer.status_code == 400, query
    assert requests.get(manager.url + "/healthz").text == "ok\n"
    manager.process.send_signal(signal.SIGHUP)
    time.sleep(0.1)
    assert requests.get(manager.url + "/healthz").text == "ok\n"
    manager.stop()


def test_a_bad_table_is_refused_by_the_agent(tmp_path):
    """A stranger in the manager's place cannot move an agent back or feed it
    garbage."""
    real = Manager(tmp_path, *SHORT)
    node = Node(tmp_path, "origin1", [real.url])
    wait_for(node.table, 5, "a table")
    old_table = node.table_path.read_bytes()
    old_version = node.table()["version"]
    node.counters.rate("film", 50)
    wait_for(lambda: node.table()["version"] > old_version, 5, "a newer one")
    node.counters.rate("film", 0)
    real.kill()
    held = node.table()
    tables = [b"garbage", held and node.table_path.read_bytes()[:-1],
              old_table, b""]
    served = []

    def stranger(request):
        if request.command == "POST":
            request.body()
            return 200, {}, b'{"full": 7}'
        served.append(tables[len(served) % len(tables)])
        return 200, {}, served[-1]

    with StandIn(stranger, real.port):
        wait_for(lambda: len(served) >= len(tables), 15,
                 "every bad table served")
        time.sleep(0.2)
        assert node.table() == held
        assert "refuse a table" in node.agent.text()
        assert "is held" in node.agent.text()
    node.close()
