# SPDX-License-Identifier: Apache-2.0
"""The platform on fourteen machines, and what breaks between them. Of every
fault: how many plays failed, and how often one stood still."""

import base64
import re
import subprocess
import time
from email.utils import parsedate_to_datetime

import pytest
import requests

from cluster import Cluster
from conftest import FAULTS, VODST, wait_until
from disks import private_mounts

MACHINES = [["redirector redirector1"], ["redirector redirector2"],
            *[[f"origin origin{n}"] for n in range(1, 5)],
            ["cache cache1"], ["cache cache2"], ["storage storage"],
            ["cdn cdn", "varnish varnish"], ["manager manager1"],
            ["manager manager2"], ["st-api st-api"], ["mlic mlic"]]
ORIGINS = [f"origin{n}" for n in range(1, 5)]
NODES = ["redirector1", "redirector2", *ORIGINS]
MANAGERS = ["manager1", "manager2"]
CACHES = ["cache1", "cache2"]
CONSUL_SERVERS = ["st-api", "storage", "cdn"]
# with room for an origin's counter file, and for films
SLICE = 1 << 20
DISKS = {name: "192m" for name in ORIGINS + CACHES}

# so much capacity that every content stays calm, with its one owner
OPTIONS = ["--interval", "200ms", "--node-timeout", "1500ms", "--capacity",
           "1000000"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, films):
    with private_mounts():
        cluster = Cluster(tmp_path_factory.mktemp("cluster"), films, MACHINES,
                          OPTIONS, CONSUL_SERVERS, "origin1", DISKS)
        with cluster.viewer.entered():
            try:
                cluster.start()
                wait_until(lambda: is_whole(cluster), 40, "all nodes up")
                yield cluster
            finally:
                cluster.stop()


def is_whole(cluster):
    """Every node is up, and acts on the same table."""
    status = cluster.status()
    try:
        # none, or a Manager's word that it stands by
        states = [node["state"] for node in (status or {}).get("nodes", [])]
        known = [cluster.where(node, "demo") for node in NODES]
    except OSError:
        return False
    versions = {one["version"] for one in known}
    # the Manager's word, and the table's
    return states == ["up"] * len(NODES) \
        and len(versions) == 1 and versions != {"0.0"} \
        and {node["name"] for node in known[0]["nodes"]
             if node["state"] == "up"} >= set(ORIGINS)


def owner_of(cluster, content):
    return cluster.where("redirector1", content)["owners"][0]


def told(name, audience):
    """What became of the plays during a fault; also in the tests' summary."""
    report = audience.report()
    plays = report["plays"]
    FAULTS.append(f"FAULT {name}: plays={plays['started']} failed="
                  f"{plays['failed']} stalls={report['stalls']['count']}")
    print(FAULTS[-1], f"recoveries={report['recoveries']}")
    return report


def all_well(name, audience):
    report = told(name, audience)
    assert report["plays"]["failed"] == 0, report
    assert report["plays"]["finished"] >= 12
    assert report["stalls"]["count"] == 0, report


class Fault:
    """Plays that go on while something breaks, with what became of them."""

    def __init__(self, cluster):
        self.audience = cluster.audience(
            "--content", "demo", "--players", "6", "--watch", "12s",
            "--buffer", "6s")
        time.sleep(3)

    def outcome(self, name):
        report = told(name, self.audience)
        assert report["plays"]["failed"] == 0, report
        assert report["plays"]["finished"] == 6, report
        return report


def test_01_a_film_plays_whole(cluster):
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-xerror", "-i",
         cluster.play_url("demo"), "-f", "null", "-"],
        capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""


def test_01_a_film_is_encrypted_by_keys_of_the_license_server(cluster):
    play = requests.post(cluster.front + "/api/v1/playbacks", timeout=5, json={
        "content": "demo", "scheme": "cbcs"}).json()
    playlist = requests.get(play["urls"]["hls"], timeout=5).text
    kids = re.findall(r"KEYID=0x([0-9a-f]{32})", playlist)
    license = requests.post(
        play["drm"]["clearkey"]["license_url"], timeout=5, json={"kids": [
            base64.urlsafe_b64encode(bytes.fromhex(kid)).decode().rstrip("=")
            for kid in kids]},
        headers={"Authorization": "Bearer " + play["entitlement"]})
    assert len(license.json()["keys"]) == len(kids) == 2


def test_02_a_stranger_is_no_node(cluster):
    for path in ("/v1/status", "/v1/table", "/v1/reports"):
        answer = requests.get(cluster.url("manager1") + path, timeout=5)
        assert answer.status_code == 401


def test_03_each_program_may_be_killed(cluster):
    owner, leader = owner_of(cluster, "demo"), cluster.leader()
    kills = [("redirector1", "redirector1-agent"), (owner, owner + "-agent"),
             (leader, leader), (leader, leader + "-front"),
             ("st-api", "st-api"), ("st-api", "st-api-front"),
             ("cache1", "cache1"), ("storage", "storage"), ("cdn", "varnish"),
             ("cdn", "cdn"), (owner, owner), ("redirector2", "redirector2")]
    audience = cluster.audience("--content", "demo", "--players", "6",
                                "--duration", "30s", "--watch", "10s",
                                "--buffer", "6s")
    for server, program in kills:
        time.sleep(2)
        cluster.machines[server].kill(program)
        print(f"kill -9 {program}")
    owner = cluster.machines[owner]
    owner.consul_kill()
    print("kill -9 of its Consul agent")
    time.sleep(2)
    owner.consul_start(cluster.consul_servers)
    all_well("kill -9 of each program", audience)
    wait_until(lambda: is_whole(cluster), 20, "all nodes up again")


def test_04_managers_cut_off(cluster):
    fault = Fault(cluster)
    for manager in MANAGERS:
        cluster.machines[manager].cut()
    report = fault.outcome("managers cut off")
    assert report["stalls"]["count"] == 0
    assert cluster.play_url("quiet")
    for manager in MANAGERS:
        cluster.machines[manager].mend()
    wait_until(lambda: is_whole(cluster), 30, "all nodes up again")


def test_05_an_origin_that_managers_do_not_reach_is_left(cluster):
    owner = owner_of(cluster, "demo")
    fault = Fault(cluster)
    cluster.machines[owner].cut(*(cluster.machines[manager].address
                                  for manager in MANAGERS))
    wait_until(lambda: cluster.where("redirector1", "demo")["owners"]
               != [owner], 8, "another owner")
    report = fault.outcome("an origin cut off from managers")
    assert report["stalls"]["count"] == 0
    cluster.machines[owner].mend()
    wait_until(lambda: owner_of(cluster, "demo") == owner, 30,
               "the owner of before")
    wait_until(lambda: is_whole(cluster), 30, "all nodes up again")


def test_06_plays_leave_an_origin_that_viewers_do_not_reach(cluster):
    owner = owner_of(cluster, "demo")
    viewer = cluster.viewer.run("hostname", "-I").split()[0]
    fault = Fault(cluster)
    cluster.machines[owner].cut(viewer)
    report = fault.outcome("an origin cut off from viewers")
    assert report["recoveries"] == 6 and report["stalls"]["count"] == 0
    cluster.machines[owner].mend()


def test_07_loss_of_packets_slows_and_breaks_nothing(cluster):
    owner, leader = owner_of(cluster, "demo"), cluster.leader()
    fault = Fault(cluster)
    for name in (owner, leader):
        cluster.machines[name].lose(30)
    fault.outcome("30 % packet loss")
    for name in (owner, leader):
        cluster.machines[name].mend()
    wait_until(lambda: is_whole(cluster), 30, "all nodes up again")


def test_08_operators_override_on_the_managers_machine_alone(cluster):
    leader = cluster.leader()
    machine = cluster.machines[leader]
    key = (machine.folder / "secrets/manager.key").read_text().strip()
    for path in ("/v1/overrides", "/v1/overrides/nodes/origin1",
                 "/v1//overrides/nodes/origin1", "/v1/x/../overrides/cdn",
                 "/v1/%6fverrides/nodes/origin1"):
        refused = machine.namespace.run(
            "curl", "-s", "--path-as-is", "-o", "/dev/null", "-w",
            "%{http_code}", "-X", "PUT", "-d", '{"for_s": 60}', "-H",
            "Authorization: Bearer " + key, cluster.url(leader) + path)
        assert refused == "403", path

    def state():
        return {node["name"]: node["state"]
                for node in cluster.status()["nodes"]}["origin1"]
    machine.namespace.run(VODST, "override", "--dir", machine.folder, "node",
                          "origin1", "--for", "1h")
    wait_until(lambda: state() == "draining", 5, "origin1 drains")
    machine.namespace.run(VODST, "override", "--dir", machine.folder, "node",
                          "origin1", "--clear")
    wait_until(lambda: is_whole(cluster), 10, "all nodes up again")


def test_09_another_manager_leads_within_5_s(cluster):
    leader = cluster.leader()
    versions = {node: version_of(cluster, node) for node in NODES}
    fault = Fault(cluster)
    cluster.machines[leader].cut()
    start = time.monotonic()
    wait_until(lambda: cluster.leader() not in (None, leader), 5,
               "another leader")
    print(f"another Manager leads after {time.monotonic() - start:.1f} s")
    report = fault.outcome("the leading Manager cut off")
    assert report["stalls"]["count"] == 0
    wait_until(lambda: is_whole(cluster), 10, "all nodes with the new leader")
    for node in NODES:
        assert version_of(cluster, node) > versions[node]
    cluster.machines[leader].mend()
    # the old one comes back to stand by
    wait_until(lambda: (answer := cluster.ask(leader, "/v1/status"))
               is not None and answer.status_code == 307, 15, "a standby")


def version_of(cluster, node):
    version = cluster.where(node, "demo")["version"]
    return tuple(int(part) for part in version.split("."))


def test_10_consul_without_its_leader_its_quorum_and_at_all(cluster):
    leader = next(server for server in cluster.consul_servers
                  if server.is_raft_leader())
    servers = [leader, *(server for server in cluster.consul_servers
                         if server is not leader)]
    audience = cluster.audience("--content", "demo", "--players", "6",
                                "--duration", "20s", "--watch", "8s",
                                "--buffer", "6s")
    for server in servers:
        time.sleep(5)
        server.consul_kill()
        print("one of Consul's servers is killed, the leader first")
    time.sleep(3)
    assert cluster.play_url("quiet")
    all_well("Consul without its leader, its quorum, and at all", audience)
    for server in servers:
        server.consul_start(cluster.consul_servers)
    wait_until(lambda: any(server.is_raft_leader() for server in servers), 30,
               "a Consul leader")
    wait_until(lambda: is_whole(cluster), 30, "all nodes up again")


def test_11_a_clock_that_jumps_breaks_nothing(cluster):
    node = cluster.machines["origin1"]
    audience = cluster.audience("--content", "demo", "--content", "popular",
                                "--content", "quiet", "--players", "6",
                                "--duration", "18s", "--watch", "8s",
                                "--buffer", "6s")
    for step in ("+3600", "-3600", "+0"):
        time.sleep(3)
        node.clock.write_text(step)
        time.sleep(1)
        date = requests.get(cluster.url("origin1") + "/healthz",
                            timeout=5).headers["Date"]
        off = parsedate_to_datetime(date).timestamp() - time.time()
        assert abs(off - int(step)) < 3
        assert is_whole(cluster)
    all_well("a clock stepped by an hour", audience)
    wait_until(lambda: is_whole(cluster), 10, "all nodes up")


def test_12_an_origin_whose_disk_is_full_passes_the_film_on(cluster):
    owner = owner_of(cluster, "demo")
    node = cluster.machines[owner]
    fault = Fault(cluster)
    node.drop_cache()
    node.disk.fill()
    begun = Fault(cluster)
    for name, plays in (("disk full on an origin", fault),
                        ("plays begin at an origin with a full disk", begun)):
        report = plays.outcome(name)
        assert report["stalls"]["count"] == 0 and report["errors"] == {}
        # it is as good an owner as before
        assert list(report["nodes"]) == [owner], report["nodes"]
    assert node.disk.room() < SLICE
    node.disk.make_room()
    wait_until(lambda: is_whole(cluster), 10, "all nodes with one table")


def test_13_caches_whose_disks_are_full_pass_the_film_on(cluster):
    machines = [cluster.machines[name]
                for name in (owner_of(cluster, "demo"), *CACHES)]
    fault = Fault(cluster)
    for machine in machines:
        machine.drop_cache()
    for machine in machines[1:]:
        machine.disk.fill()
    report = fault.outcome("disks full on both caches")
    assert report["stalls"]["count"] == 0 and report["errors"] == {}
    # and with none that could keep anything
    machines[0].drop_cache()
    machines[0].disk.fill()
    report = Fault(cluster).outcome("disks full on an origin and both caches")
    assert report["stalls"]["count"] == 0 and report["errors"] == {}
    for machine in machines:
        assert machine.disk.room() < SLICE, machine.servers
        machine.disk.make_room()
    wait_until(lambda: is_whole(cluster), 10, "all nodes with one table")
