# SPDX-License-Identifier: Apache-2.0
"""Managers and agents that coordinate by a real Consul: three servers and two
client agents on loopback. Each test has a prefix of its own in the KV, so that
those which leave Consul alone share one cluster.

    manager1 ─┐                      ┌─ agents of origin1, origin2
    manager2 ─┴─ Consul client1  client2 ─ ...
"""

import json
import os
import signal
import subprocess
import threading
import time

import pytest
import requests

from conftest import vodst
from consul_cluster import CONSUL, Cluster
from ports import free_port
from relay import Deaf
from test_loop import MANAGER, SHORT, TAG_BITS, TOOL, Child, Node, wait_for

pytestmark = pytest.mark.skipif(CONSUL is None, reason="there is no consul")

NODES = ["origin1", "origin2"]


def table_in_kv(consul, prefix, **options):
    """(version, size of the table beside it), or None."""
    answer = consul.ask("GET", f"kv/{prefix}/table?raw", **options)
    if answer.status_code != 200:
        return None
    head, _, table = answer.content.partition(b"\n")
    version = head.split()[0].decode().split(".")
    return tuple(map(int, version)), len(table)


def leader_in_kv(consul, prefix, **options):
    """(term, url, whether someone holds the lock), or None."""
    found = consul.get(f"kv/{prefix}/leader", **options)
    if not found:
        return None
    raw = consul.ask("GET", f"kv/{prefix}/leader?raw", **options).text
    term, url = raw.split()
    return int(term), url, "Session" in found[0]


class Manager(Child):
    """With a port of its own that it keeps over a restart."""

    def __init__(self, folder, name, consul_url, *options, front=None):
        self.port = free_port()
        self.folder, self.name = folder, name
        self.url = f"http://127.0.0.1:{self.port}"
        self.options = ["--listen", f"127.0.0.1:{self.port}",
                        "--coordination", "consul", "--consul", consul_url,
                        *SHORT, *options]
        if front is not None:  # a relay to the port
            self.options += ["--url", front(self.port)]
        self.start()

    def start(self):
        super().__init__(self.folder, self.name, MANAGER, *self.options)
        wait_for(lambda: f"listen on port {self.port}" in self.text(), 10,
                 "start")

    def metric(self, name):
        text = requests.get(self.url + "/metrics", timeout=5).text
        return next(float(line.split()[1]) for line in text.splitlines()
                    if line.startswith(f"vodst_manager_{name} "))

    def leads(self):
        try:
            return self.metric("leads") == 1
        except requests.RequestException:
            return False

    def redirect(self):
        """Where it sends those who ask it, or None."""
        try:
            answer = requests.get(self.url + "/v1/status", timeout=5,
                                  allow_redirects=False)
        except requests.RequestException:
            return None  # it is just starting
        return answer.headers.get("location")

    def status(self):
        answer = requests.get(self.url + "/v1/status", timeout=5,
                              allow_redirects=False)
        return answer.json() if answer.status_code == 200 else None

    def requests_of(self, content):
        answer = requests.get(f"{self.url}/v1/contents/{content}", timeout=5,
                              allow_redirects=False)
        return answer.json()["requests"] if answer.status_code == 200 else 0


class Story:
    """Two managers and two nodes; watches that no table goes back, neither on
    a node nor in the KV."""

    def __init__(self, folder, cluster, prefix, *, manager_options=(),
                 node_options=(), interval="100ms", managers=2,
                 env_options=(), front=None):
        self.folder, self.cluster, self.prefix = folder, cluster, prefix
        self.consul = cluster.clients[0]
        common = ["--consul-prefix", prefix, *env_options]
        self.managers = [
            Manager(folder, f"manager{i + 1}", cluster.clients[0].url,
                    *common, *manager_options, front=front)
            for i in range(managers)]
        self.nodes = [
            Node(folder, name, [], "--coordination", "consul", "--consul",
                 cluster.clients[-1].url, *common, *node_options,
                 interval=interval) for name in NODES]
        self.went_back = []
        self.watches_kv = False
        self.over = threading.Event()
        self.watcher = threading.Thread(target=self.watch, daemon=True)
        self.watcher.start()

    def watch(self):
        last = {}

        def saw(name, version):
            if version < last.get(name, version):
                self.went_back.append((name, last[name], version))
            last[name] = version
        while not self.over.wait(0.05):
            for node in self.nodes:
                table = node.table()
                if table is not None:
                    saw(node.name, table["version"])
            if self.watches_kv:
                table = table_in_kv(self.consul, self.prefix)
                if table is not None:
                    saw("kv", table[0])

    def leader(self, seconds=10):
        return wait_for(lambda: next((m for m in self.managers
                                      if m.process.poll() is None
                                      and m.leads()), None), seconds,
                        "a leader")[0]

    def standby(self):
        leader = self.leader()
        return next(m for m in self.managers if m is not leader)

    def versions(self):
        return [t["version"] if t else (0, 0)
                for t in (node.table() for node in self.nodes)]

    def wait_tables(self, seconds=10, above=(0, 0)):
        """Until every node has a table above that, with every origin up."""
        def done():
            tables = [node.table() for node in self.nodes]
            return all(t is not None and t["version"] > above
                       and t["nodes"] == dict.fromkeys(NODES, "up")
                       for t in tables)
        return wait_for(done, seconds, "tables on every node")[1]

    def jump(self, content, seconds=3):
        """A jump on one node until every node has the row; how long."""
        self.nodes[0].counters.rate(content, 60)
        took = wait_for(lambda: all(n.level(content) == "hot"
                                    for n in self.nodes), seconds,
                        f"{content} hot everywhere")[1]
        return took

    def close(self):
        """Ends everything, and says what went wrong only then."""
        self.over.set()
        self.watcher.join()
        problems = [f"went back: {self.went_back}"] if self.went_back else []
        for one in [*self.nodes, *self.managers]:
            try:
                if isinstance(one, Node):
                    one.close()
                elif one.process.poll() is None:
                    one.stop()
            except (AssertionError, subprocess.TimeoutExpired) as problem:
                problems.append(str(problem))
                (one.agent if isinstance(one, Node) else one).kill()
        assert problems == []


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("consul"), clients=2)
    yield cluster
    cluster.kill()


@pytest.fixture
def own_cluster(tmp_path):
    """For a test that does harm to Consul."""
    cluster = Cluster(tmp_path / "consul", clients=2)
    yield cluster
    cluster.kill()


@pytest.fixture
def tell(tmp_path):
    """Begins stories; they end with the test."""
    told = []

    def begin(*arguments, **options):
        told.append(Story(tmp_path, *arguments, **options))
        return told[-1]
    yield begin
    for story in told:
        story.close()


@pytest.fixture
def story(tell, cluster, request):
    return tell(cluster, request.node.name[-30:])


@pytest.fixture
def own_story(own_cluster, tell):
    return tell(own_cluster, "own")


# ---- the catalogue --------------------------------------------------------

def test_managers_and_nodes_are_in_the_catalogue(story):
    story.wait_tables()

    def service(role):
        found = story.consul.get(
            f"health/service/{story.prefix}-{role}?passing") or []
        return {one["Service"]["ID"]: one["Service"] for one in found}
    managers = wait_for(lambda: len(service("manager")) == 2
                        and service("manager"), 5, "both managers")[0]
    assert {one["Meta"]["url"] for one in managers.values()} == {
        m.url for m in story.managers}
    origins = wait_for(lambda: len(service("origin")) == 2
                       and service("origin"), 5, "both origins")[0]
    one = origins[f"{story.prefix}-origin-origin1"]
    assert (one["Address"], one["Port"]) == ("origin1.test", 80)
    assert one["Meta"] == {"url": "http://origin1.test:80", "weight": "100"}
    # an agent that stops leaves; one that dies is critical
    story.nodes[1].agent.stop()
    wait_for(lambda: set(service("origin")) == {one["ID"]}, 3, "it left")
    story.nodes[0].agent.kill()
    _, took = wait_for(lambda: not service("origin"), 15, "it is critical")
    assert took > 5
    # back again, over the same entry
    story.nodes[0].start()
    story.nodes[1].start()
    wait_for(lambda: len(service("origin")) == 2, 5, "both are back")


def test_an_unwell_node_is_critical_in_the_catalogue(tell, cluster):
    story = tell(cluster, "unwell", managers=1, node_options=[
        "--check", f"http://127.0.0.1:{free_port()}/"])  # nobody listens

    def states():
        found = story.consul.get("health/checks/unwell-origin") or []
        return sorted((c["Status"], c["Output"]) for c in found)
    wait_for(lambda: states() == [("critical", "down")] * 2, 8,
             "both critical")


# ---- the leader -----------------------------------------------------------

def test_one_manager_leads_and_the_other_redirects_to_it(story):
    story.wait_tables()
    leader, standby = story.leader(), story.standby()
    assert [m.leads() for m in story.managers].count(True) == 1
    term, url, is_held = leader_in_kv(story.consul, story.prefix)
    assert (url, is_held) == (leader.url, True)
    assert leader.status()["term"] == term
    for method, path in (("POST", "reports"), ("GET", "table?after=0.0"),
                         ("PUT", "table"), ("GET", "status"),
                         ("GET", "contents/film")):
        answer = requests.request(method, f"{standby.url}/v1/{path}",
                                  allow_redirects=False, timeout=5)
        assert answer.status_code == 307, path
        assert answer.headers["location"] == \
            f"{leader.url}/v1/{path.partition('?')[0]}"
    assert requests.get(standby.url + "/healthz").status_code == 200


def test_a_killed_leader_is_followed_within_five_seconds(story):
    story.wait_tables()
    for node in story.nodes:
        node.counters.add("film", 500)
    first = story.leader()
    wait_for(lambda: first.requests_of("film") == 1000, 5, "the sum")
    story.jump("hit", 4)
    held = max(story.versions())
    second = story.standby()
    first.kill()
    start = time.monotonic()
    for node in story.nodes:
        node.counters.add("film", 7)  # while nobody leads
    wait_for(second.leads, 10, "the second leads")
    leads = time.monotonic() - start
    wait_for(lambda: len((second.status() or {"nodes": []})["nodes"]) == 2,
             10, "both nodes report to it")
    reported = time.monotonic() - start
    # it goes on from the table in the KV: the hit stays hot throughout
    assert all(n.level("hit") == "hot" for n in story.nodes)
    story.wait_tables(10, above=held)
    tabled = time.monotonic() - start
    print(f"fail-over: leads {leads:.2f} s, all nodes report "
          f"{reported:.2f} s, new table everywhere {tabled:.2f} s")
    assert reported <= 5.0
    assert all(n.level("hit") == "hot" for n in story.nodes)
    assert "go on from table" in second.text()
    # no count lost
    wait_for(lambda: second.requests_of("film") == 1014, 5, "the same sum")
    # the first comes back, and stands by
    first.start()
    wait_for(lambda: first.redirect() == second.url + "/v1/status", 5,
             "a redirect")


def test_a_leader_that_starts_again_at_once_leaves_no_dead_lock(story):
    story.wait_tables()
    held = max(story.versions())
    first = story.leader()
    first.kill()
    first.start()  # before anybody misses it
    start = time.monotonic()
    wait_for(lambda: any(m.leads() for m in story.managers), 5, "a leader")
    print(f"somebody leads after {time.monotonic() - start:.2f} s")
    story.wait_tables(10, above=held)


def test_what_an_operator_overrides_outlives_the_leader(story):
    story.wait_tables()
    first, second = story.leader(), story.standby()

    def override(manager, *arguments):
        done = vodst("override", "--manager", manager.url, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def is_draining():
        return all(n.table()["nodes"]["origin1"] == "draining"
                   for n in story.nodes)
    # told to either: the one that stands by redirects
    override(first, "content", "film", "--level", "hot", "--for", "1h")
    wait_for(lambda: all(n.level("film") == "hot" for n in story.nodes), 3,
             "film is hot")
    override(second, "node", "origin1", "--for", "1h")
    # it is kept when that is answered
    assert "origin1" in story.consul.ask(
        "GET", f"kv/{story.prefix}/overrides?raw").text
    wait_for(is_draining, 3, "origin1 drains")
    held = max(story.versions())
    first.kill()
    wait_for(second.leads, 10, "the second leads")
    wait_for(lambda: min(story.versions()) > held, 10, "the next's table")
    assert is_draining()
    listed = override(second)
    assert "origin1" in listed and "film" in listed
    override(second, "node", "origin1", "--clear")
    wait_for(lambda: not is_draining(), 3, "origin1 is up")
    # the first, back again, is told so, too
    first.start()
    wait_for(lambda: first.redirect() == second.url + "/v1/status", 5,
             "a redirect")
    second.stop()
    wait_for(first.leads, 5, "the first leads")
    wait_for(lambda: "film" in override(first), 5, "the pin")
    assert "origin1" not in override(first)


def test_a_leader_that_stops_hands_over_at_once(story):
    story.wait_tables()
    first, second = story.leader(), story.standby()
    start = time.monotonic()
    first.stop()
    wait_for(second.leads, 5, "the second leads")
    took = time.monotonic() - start
    print(f"hand-over in {took:.2f} s")
    assert took < 1.5
    wait_for(lambda: [s["Service"]["Meta"]["url"] for s in story.consul.get(
        f"health/service/{story.prefix}-manager")] == [second.url], 3,
        "the first has left the catalogue")


def test_terms_grow_with_every_leader(story):
    terms = []
    for _ in range(4):
        leader = story.leader()
        terms.append(leader_in_kv(story.consul, story.prefix)[0])
        leader.stop()
        leader.start()
    assert terms == sorted(set(terms)), terms


def test_a_leader_that_was_held_still_stands_by_when_it_wakes(story):
    story.wait_tables()
    story.watches_kv = True
    first, second = story.leader(), story.standby()
    first.process.send_signal(signal.SIGSTOP)
    start = time.monotonic()
    # waits in its socket: a table for the KV, before it knows that it lost
    report = subprocess.run(
        [TOOL, "--report", story.nodes[0].counters_path, "origin9",
         "http://origin9.test:80", "1"], capture_output=True).stdout
    late = threading.Thread(target=requests.post, args=[
        first.url + "/v1/reports", report], kwargs={"timeout": 60})
    late.start()
    wait_for(second.leads, 10, "the second leads")
    print(f"held still: the second leads after "
          f"{time.monotonic() - start:.2f} s")
    story.wait_tables(10, above=max(story.versions()))
    first.process.send_signal(signal.SIGCONT)
    late.join()
    wait_for(lambda: not first.leads(), 5, "the first stands by")
    assert second.leads()
    story.jump("film")
    # and begins anew when it leads again
    second.stop()
    wait_for(first.leads, 5, "the first leads again")
    assert first.text().count("leader: lead ") == 2
    story.wait_tables(10, above=max(story.versions()))


def test_a_foreign_term_is_outgrown_by_a_term_of_the_lock(story):
    story.wait_tables()
    leader = story.leader()
    before = leader_in_kv(story.consul, story.prefix)[0]
    report = subprocess.run(
        [TOOL, "--report", story.nodes[0].counters_path, "origin8",
         "http://origin8.test:80", "1", str(before + (1000 << TAG_BITS))],
        capture_output=True).stdout
    assert requests.post(leader.url + "/v1/reports",
                         report).status_code == 200
    after = (before >> TAG_BITS) + 1001
    wait_for(lambda: {v[0] >> TAG_BITS for v in story.versions()} == {after},
             5, "the next round on every node")
    assert leader_in_kv(story.consul, story.prefix)[0] >> TAG_BITS == after
    assert leader.leads()


def test_what_was_written_into_the_kv_by_others_is_survived(story):
    story.wait_tables()
    leader = story.leader()
    for key, value in (("table", b"garbage"), ("table", b""),
                       ("table", b"9.9 http://x:1\ngarbage"),
                       ("leader", b"x"), ("leader", b"1 http://x:1\n")):
        assert story.consul.ask("PUT", f"kv/{story.prefix}/{key}",
                                data=value).text.strip() == "true"
        time.sleep(0.1)
    wait_for(lambda: leader_in_kv(story.consul, story.prefix)[1]
             == leader.url, 5, "the key is right again")
    story.jump("film")
    # an operator's slip: the keys are gone
    before = max(story.versions())
    story.consul.ask("DELETE", f"kv/{story.prefix}?recurse")
    wait_for(lambda: (leader_in_kv(story.consul, story.prefix)
                      or (0, "", False))[2], 5, "a leader again")
    story.leader()
    story.wait_tables(10, above=before)


# ---- tables ---------------------------------------------------------------

def new_origin(story, name):
    """A report of a new node: a table follows at once."""
    report = subprocess.run(
        [TOOL, "--report", story.nodes[0].counters_path, name,
         f"http://{name}.test:80", "1"], capture_output=True).stdout
    leader = story.leader()
    start = time.monotonic()
    assert requests.post(leader.url + "/v1/reports",
                         report).status_code == 200
    wait_for(lambda: all(name in (n.table() or {"nodes": ()})["nodes"]
                         for n in story.nodes), 30, f"{name} everywhere")
    return time.monotonic() - start


def test_a_table_reaches_the_nodes_at_once(tell, cluster):
    # reports are too rare to tell the nodes of a new table
    story = tell(cluster, "fast", interval="20s", manager_options=[
        "--node-timeout", "60s"], managers=1)
    wait_for(lambda: all(n.table() for n in story.nodes), 30, "a table")
    times = sorted(new_origin(story, f"origin{i}") for i in range(20, 40))
    print(f"a new table: median {times[10] * 1000:.0f} ms, "
          f"most {times[-1] * 1000:.0f} ms")
    assert times[10] < 0.5
    # and is there for who leads next
    wait_for(lambda: table_in_kv(story.consul, "fast") == (
        max(story.versions()), os.path.getsize(story.nodes[0].table_path)),
        2, "it in the KV")


def test_a_question_for_a_table_that_hangs_is_asked_anew(tell, cluster):
    """When an event says that there is one; else it would hang for 35 s."""
    relays = []

    def front(port):
        relays.append(Deaf(port))
        return relays[0].url
    story = tell(cluster, "hangs", managers=1, interval="60s", front=front,
                 manager_options=["--node-timeout", "200s"])
    leader = story.leader()
    wait_for(lambda: len(leader.status()["nodes"]) == 2, 20, "reports")
    time.sleep(1)  # questions hang
    assert leader.metric("waiting") == 0
    relays[0].is_on = False
    took = new_origin(story, "origin20")
    print(f"by an event: {took:.2f} s")
    assert 1 < took < 10
    assert new_origin(story, "origin21") < 1
    # asked for reports, nodes report at once, and not after a minute
    time.sleep(2)
    start = time.monotonic()
    story.consul.ask("PUT", "event/fire/hangs-collect")
    wait_for(lambda: all(n["silent_ms"] < 1000
                         for n in leader.status()["nodes"]
                         if n["name"] in NODES), 5, "reports")
    print(f"by collect: reports in {time.monotonic() - start:.2f} s")


# ---- outages --------------------------------------------------------------

def test_without_consul_reports_and_tables_go_on(own_story):
    story = own_story
    story.wait_tables()
    leader = story.leader()
    story.cluster.kill()
    time.sleep(1)
    took = story.jump("film")
    print(f"without Consul: a jump everywhere in {took:.2f} s")
    time.sleep(4)  # longer than any check lasts
    assert leader.leads()
    assert leader.metric("waiting") == 2
    story.nodes[0].counters.add("other", 11)
    wait_for(lambda: leader.requests_of("other") == 11, 3, "the sum")
    for agent in story.cluster.servers + story.cluster.clients:
        agent.start(story.cluster.join)
    story.cluster.wait_leader()
    wait_for(lambda: leader_in_kv(story.consul, "own")[2], 20,
             "the lock is held again")
    story.leader()
    story.wait_tables(20, above=max(story.versions()))
    story.jump("second")


def test_without_a_quorum_reports_and_tables_go_on(own_story):
    story = own_story
    story.wait_tables()
    leader = story.leader()
    for server in story.cluster.servers[:2]:
        server.kill()
    took = story.jump("film", 5)
    print(f"without a quorum: a jump everywhere in {took:.2f} s")
    time.sleep(6)
    assert leader.leads()
    took = story.jump("second", 5)
    print(f"without a quorum, later: {took:.2f} s")
    for server in story.cluster.servers[:2]:
        server.start(story.cluster.join)
    story.cluster.wait_leader()
    story.leader()
    story.wait_tables(20, above=max(story.versions()))
    story.jump("third", 5)


def test_a_dead_consul_leader_stops_nothing(own_story):
    story = own_story
    story.wait_tables()
    story.cluster.leader().kill()
    took = story.jump("film", 5)
    print(f"Consul's leader killed: a jump everywhere in {took:.2f} s")
    time.sleep(5)
    story.jump("second", 5)
    story.leader()


def test_a_manager_cut_off_from_consul_is_followed(own_cluster, tell, tmp_path):
    story = tell(own_cluster, "cut", managers=0)
    # each Manager beside a Consul agent of its own, and not that of the nodes
    agents = [own_cluster.clients[0], own_cluster.servers[0]]
    story.managers = [
        Manager(tmp_path, f"manager{i}", agents[i].url, "--consul-prefix",
                "cut") for i in range(2)]
    story.wait_tables()
    first, second = story.leader(), story.standby()
    mine = agents[story.managers.index(first)]
    mine.kill()
    start = time.monotonic()
    # what only this one knows, and may be forgotten, is not said to be kept
    told = vodst("override", "--manager", first.url, "cdn", "--no-cdn",
                 "--for", "1h")
    assert told.returncode == 0 and "has not taken it yet" in told.stderr
    wait_for(second.leads, 20, "the second leads")
    print(f"Consul agent of the leader killed: the second leads after "
          f"{time.monotonic() - start:.2f} s")
    story.wait_tables(20, above=max(story.versions()))
    own_cluster.restart(mine)
    wait_for(lambda: not first.leads(), 20, "the first learns of it")
    assert second.leads()
    story.jump("film", 5)


def test_who_was_cut_off_leads_before_consul_calls_it_well(story):
    """As after a cut of all Managers, which the other nodes' gossip tells of
    for half a minute more."""
    story.wait_tables()
    node = story.consul.name

    def call_it(status):
        answer = story.consul.ask("PUT", "catalog/register", json={
            "Node": node, "Address": "127.0.0.1", "SkipNodeUpdate": True,
            "Check": {"CheckID": "serfHealth", "Name": "Serf Health Status",
                      "Node": node, "Status": status}})
        assert answer.status_code == 200, answer.text

    def session():
        key = story.consul.get(f"kv/{story.prefix}/leader")[0]
        found = story.consul.get(f"session/info/{key.get('Session')}")
        return found[0] if found else {"NodeChecks": None, "TTL": None}
    held = max(story.versions())
    call_it("critical")
    start = time.monotonic()
    story.wait_tables(5, above=held)
    print(f"led again after {time.monotonic() - start:.2f} s")
    leader = story.leader()
    assert "does not call this node well" in leader.text()
    assert session()["TTL"] == "10s"
    call_it("passing")
    wait_for(lambda: session()["NodeChecks"] == ["serfHealth"], 5,
             "a session that ends with the node")
    assert leader.leads() and leader.text().count("stand by") <= 2
    story.jump("film", 5)


def test_a_restarted_consul_agent_is_told_the_services_again(own_story):
    story = own_story
    story.wait_tables()
    agent = story.cluster.clients[1]
    agent.kill()
    for path in (agent.folder / "data").rglob("*"):
        if path.is_file() and ("services" in path.parts
                               or "checks" in path.parts):
            path.unlink()  # as on a new machine
    agent.start(story.cluster.join)
    wait_for(lambda: len([s for s in (story.consul.get(
        "health/service/own-origin?passing") or [])]) == 2, 20,
        "both origins pass again")
    story.jump("film", 5)


# ---- ACL and TLS ----------------------------------------------------------

class Acl:
    """Default deny; tokens with the rights of the runbook."""

    MANAGER = """
        event_prefix "{p}-" {{ policy = "write" }}
        key_prefix "{p}/" {{ policy = "write" }}
        service_prefix "{p}-" {{ policy = "write" }}
        session_prefix "" {{ policy = "write" }}
        node_prefix "" {{ policy = "read" }}
    """
    NODE = """
        event_prefix "{p}-" {{ policy = "read" }}
        key_prefix "{p}/" {{ policy = "read" }}
        service_prefix "{p}-" {{ policy = "write" }}
        node_prefix "" {{ policy = "read" }}
    """
    MASTER = "11111111-2222-3333-4444-555555555555"

    def __init__(self, folder):
        self.folder = folder
        self.cluster = Cluster(folder / "consul", servers=1, clients=1,
                               extra={"acl": {
                                   "enabled": True, "default_policy": "deny",
                                   "tokens": {"master": self.MASTER,
                                              "agent": self.MASTER}}})
        self.consul = self.cluster.clients[0]

    def token(self, name, rules):
        """A file with a new token."""
        def put(path, body):
            answer = wait_for(lambda: (lambda a: a.status_code == 200 and a)(
                self.consul.ask("PUT", path, token=self.MASTER, json=body)),
                20, path)[0]
            return answer.json()
        put("acl/policy", {"Name": name, "Rules": rules})
        secret = put("acl/token", {"Policies": [{"Name": name}]})["SecretID"]
        path = self.folder / f"{name}.token"
        path.write_text(secret + "\n")
        return ["--consul-token-file", path]


@pytest.fixture(scope="module")
def acl(tmp_path_factory):
    acl = Acl(tmp_path_factory.mktemp("acl"))
    yield acl
    acl.cluster.kill()


def test_tokens_with_the_rights_of_the_runbook_are_enough(tell, acl):
    story = tell(acl.cluster, "right",
        manager_options=acl.token("m1", Acl.MANAGER.format(p="right")),
        node_options=acl.token("n1", Acl.NODE.format(p="right")))
    story.wait_tables(15)
    first, second = story.leader(), story.standby()
    first.kill()
    wait_for(second.leads, 10, "the second leads")
    story.jump("film", 6)
    for child in [*story.managers, *(n.agent for n in story.nodes)]:
        assert "denies" not in child.text(), child.text()
    events = acl.consul.get("event/list?name=right-publish", token=Acl.MASTER)
    assert events


def test_without_rights_to_events_all_goes_on(tell, acl):
    rules = [r.format(p="deaf").replace('event_prefix "deaf-"',
                                        'event_prefix "other-"')
             for r in (Acl.MANAGER, Acl.NODE)]
    story = tell(acl.cluster, "deaf", managers=1,
                  manager_options=acl.token("m2", rules[0]),
                  node_options=acl.token("n2", rules[1]))
    story.wait_tables(15)
    took = story.jump("film")
    print(f"no events: a jump everywhere in {took:.2f} s")
    assert "denies event/fire/deaf-" in story.managers[0].text()
    for number in range(20, 40):  # so many tables, and no event
        new_origin(story, f"origin{number}")
    wait_for(lambda: all("no event came" in n.agent.text()
                         for n in story.nodes), 40,
             "the nodes tell that events seem to be denied")


def test_without_rights_to_the_table_a_manager_leads(tell, acl):
    manager = Acl.MANAGER.format(p="mute") + \
        'key "mute/table" { policy = "read" }'
    story = tell(acl.cluster, "mute", managers=1,
                 manager_options=acl.token("m3", manager),
                 node_options=acl.token("n3", Acl.NODE.format(p="mute")))
    story.wait_tables(15)
    took = story.jump("film")
    print(f"no table in the KV: a jump everywhere in {took:.2f} s")
    assert "denies txn" in story.managers[0].text()


def test_an_agent_without_consul_is_sent_to_the_leader(story, tmp_path):
    story.wait_tables()
    nowhere = ["--coordination", "consul", "--consul", "http://127.0.0.1:1"]
    leader, standby = story.leader(), story.standby()
    for name, options, urls in (
            ("lost", nowhere, [standby.url]),
            ("still", [], [standby.url, leader.url])):
        node = Node(tmp_path, name, urls, *options)
        wait_for(node.table, 10, "a table by the redirect")
        wait_for(lambda: name in str(leader.status()["nodes"]), 5,
                 "its reports")
        node.close()


@pytest.mark.parametrize("token", ["none", "wrong"])
def test_a_missing_or_wrong_token_is_told(acl, tmp_path, token):
    options = []
    if token == "wrong":
        path = tmp_path / "token"
        path.write_text("99999999-2222-3333-4444-555555555555")
        options = ["--consul-token-file", path]
    manager = Manager(tmp_path, "manager", acl.consul.url, *options)
    node = Node(tmp_path, "origin1", [], "--coordination", "consul",
                "--consul", acl.consul.url, *options)
    for child in (manager, node.agent):
        wait_for(lambda: "the ACL token is missing, wrong" in child.text(),
                 10, "a clear error")
    assert not manager.leads()
    assert requests.get(manager.url + "/v1/status", timeout=5,
                        allow_redirects=False).status_code == 503
    node.close()
    manager.stop()


def test_wrong_options_are_told(tmp_path):
    for program, base in ((MANAGER, []),):
        for given, told in (
                (["--coordination", "zookeeper"], "--coordination"),
                (["--consul-prefix", "a/b"], "--consul-prefix"),
                (["--consul-key-file", "x"], "--consul-certificate-file"),
                (["--url", "https://x"], "--url")):
            run = subprocess.run([program, *base, *given], text=True,
                                 capture_output=True, timeout=10)
            assert run.returncode == 2 and told in run.stderr, given
    for given, told in (
            (["--consul", "ftp://x"], "ftp://x is no http"),
            (["--consul-token-file", tmp_path / "none"], "cannot read"),
            (["--consul", "https://127.0.0.1:1", "--consul-ca-file",
              tmp_path / "none"], "cannot use the CA file")):
        run = subprocess.run([MANAGER, "--listen", "127.0.0.1:0",
                              "--coordination", "consul", *map(str, given)],
                             text=True, capture_output=True, timeout=10)
        assert run.returncode == 1 and told in run.stderr, run.stderr


def make_certificates(folder):
    """A CA and a certificate for 127.0.0.1 and the clients, and another CA."""
    def openssl(*arguments):
        subprocess.run(["openssl", *map(str, arguments)], check=True,
                       capture_output=True, cwd=folder)
    for ca in ("ca", "stranger"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.pem")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-subj", "/CN=server.test.consul", "-keyout",
            "agent.key", "-out", "agent.csr")
    (folder / "names").write_text(
        "subjectAltName=DNS:server.test.consul,DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "agent.csr", "-CA", "ca.pem", "-CAkey",
            "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names",
            "-out", "agent.pem")


def test_consul_by_tls_with_certificates_on_both_sides(tmp_path):
    make_certificates(tmp_path)
    cluster = Cluster(tmp_path / "consul", servers=1, clients=0, extra={
        "ca_file": str(tmp_path / "ca.pem"),
        "cert_file": str(tmp_path / "agent.pem"),
        "key_file": str(tmp_path / "agent.key"),
        "verify_incoming_https": True})
    agent = cluster.servers[0]
    agent.kill()
    agent.config["ports"]["https"] = agent.https
    agent.start(cluster.join)
    cluster.wait_leader()
    url = f"https://127.0.0.1:{agent.https}"
    mine = ["--consul-certificate-file", tmp_path / "agent.pem",
            "--consul-key-file", tmp_path / "agent.key"]
    try:
        environment = {"CONSUL_HTTP_ADDR": f"127.0.0.1:{agent.https}",
                       "CONSUL_HTTP_SSL": "true",
                       "CONSUL_CACERT": str(tmp_path / "ca.pem"),
                       "CONSUL_CLIENT_CERT": str(tmp_path / "agent.pem"),
                       "CONSUL_CLIENT_KEY": str(tmp_path / "agent.key")}
        manager = Manager(tmp_path, "manager", url, "--consul-ca-file",
                          tmp_path / "ca.pem", *mine)
        os.environ.update(environment)
        try:  # the agent has it all from the environment
            node = Node(tmp_path, "origin1", [], "--coordination", "consul")
        finally:
            for name in environment:
                del os.environ[name]
        wait_for(node.table, 10, "a table")
        wait_for(lambda: table_in_kv(agent, "vodst"), 5, "it in the KV")
        # Consul restarts: the connections are made anew
        cluster.restart(agent)
        cluster.wait_leader()
        wait_for(lambda: (leader_in_kv(agent, "vodst") or (0, 0, 0))[2], 20,
                 "the lock is held again")
        before = node.table()["version"]
        node.counters.rate("film", 60)
        wait_for(lambda: node.table()["version"] > before, 20, "a new table")
        node.close()
        manager.stop()
        # a stranger's CA, a wrong name, no certificate of one's own
        for name, told, options, address in (
                ("ca", "refuse a certificate", ["--consul-ca-file",
                                                tmp_path / "stranger.pem",
                                                *mine], url),
                ("name", "refuse a certificate",
                 ["--consul-ca-file", tmp_path / "ca.pem", *mine],
                 f"https://127.0.0.2:{agent.https}"),
                ("own", "cannot", ["--consul-ca-file", tmp_path / "ca.pem"],
                 url)):
            if name == "name":
                continue
            bad = Manager(tmp_path, f"bad-{name}", address, *options)
            wait_for(lambda: told in bad.text(), 5, told)
            assert not bad.leads()
            bad.stop()
    finally:
        cluster.kill()
