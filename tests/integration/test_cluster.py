# SPDX-License-Identifier: Apache-2.0
"""The platform on thirteen machines, and what breaks between them. Of every
fault: how many plays failed, and how often one stood still."""

import subprocess
import time

import pytest
import requests

from cluster import Cluster
from conftest import FFMPEG_HOSTS, VODST, wait_until

MACHINES = [["redirector redirector1"], ["redirector redirector2"],
            *[[f"origin origin{n}"] for n in range(1, 5)],
            ["cache cache1"], ["cache cache2"], ["storage storage"],
            ["cdn cdn", "varnish varnish"], ["manager manager1"],
            ["manager manager2"], ["st-api st-api"]]
ORIGINS = [f"origin{n}" for n in range(1, 5)]
NODES = ["redirector1", "redirector2", *ORIGINS]

# so much capacity that every content stays calm, with its one owner
OPTIONS = ["--interval", "200ms", "--node-timeout", "1500ms", "--capacity",
           "1000000"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, films):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), films, MACHINES,
                      OPTIONS)
    with cluster.viewer.entered():
        try:
            cluster.start()
            wait_until(lambda: is_whole(cluster), 20, "all nodes up")
            yield cluster
        finally:
            cluster.stop()


def is_whole(cluster):
    """Every node is up, and acts on the same table."""
    try:
        states = [node["state"] for node in cluster.status()["nodes"]]
        versions = {cluster.where(node, "demo")["version"] for node in NODES}
    except OSError:
        return False
    return states == ["up"] * len(NODES) and len(versions) == 1 \
        and versions != {"0.0"}


def owner_of(cluster, content):
    return cluster.where("redirector1", content)["owners"][0]


def told(report):
    plays, stalls = report["plays"], report["stalls"]["count"]
    print(f"{plays['started']} plays, {plays['failed']} failed, {stalls} "
          f"stalls, {report['recoveries']} recoveries")


class Fault:
    """Plays that go on while something breaks, with what became of them."""

    def __init__(self, cluster, *options):
        self.audience = cluster.audience(
            "--content", "demo", "--players", "6", "--watch", "14s",
            "--buffer", "6s", *options)
        time.sleep(4)

    def outcome(self, name):
        report = self.audience.report()
        print(name, end=": ")
        told(report)
        assert report["plays"]["failed"] == 0, report
        assert report["plays"]["finished"] == 6, report
        return report


def test_01_a_film_plays_whole(cluster):
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-xerror", *FFMPEG_HOSTS, "-i",
         cluster.play_url("demo"), "-f", "null", "-"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stderr == ""


def test_02_a_stranger_is_no_node(cluster):
    for path in ("/v1/status", "/v1/table", "/v1/reports"):
        answer = requests.get(cluster.url("manager1") + path, timeout=5)
        assert answer.status_code == 401


def test_03_each_program_may_be_killed(cluster):
    owner = owner_of(cluster, "demo")
    kills = [("redirector1", "redirector1-agent"), (owner, owner + "-agent"),
             ("manager1", "manager1"), ("manager1", "manager1-front"),
             ("st-api", "st-api"), ("st-api", "st-api-front"),
             ("cache1", "cache1"), ("storage", "storage"), ("cdn", "varnish"),
             ("cdn", "cdn"), (owner, owner), ("redirector2", "redirector2")]
    audience = cluster.audience("--content", "demo", "--players", "6",
                                "--duration", "40s", "--watch", "10s",
                                "--buffer", "6s")
    for server, program in kills:
        time.sleep(2)
        cluster.machines[server].kill(program)
        print(f"kill -9 {program}")
    report = audience.report()
    told(report)
    assert report["plays"]["failed"] == 0, report
    assert report["plays"]["finished"] >= 18
    assert report["stalls"]["count"] == 0, report
    wait_until(lambda: is_whole(cluster), 20, "all nodes up again")


def test_04_managers_cut_off(cluster):
    fault = Fault(cluster)
    for manager in ("manager1", "manager2"):
        cluster.machines[manager].cut()
    report = fault.outcome("managers cut off")
    assert report["stalls"]["count"] == 0
    assert cluster.play_url("quiet")
    for manager in ("manager1", "manager2"):
        cluster.machines[manager].mend()
    wait_until(lambda: is_whole(cluster), 30, "all nodes up again")


def test_05_an_origin_that_managers_do_not_reach_is_left(cluster):
    owner = owner_of(cluster, "demo")
    fault = Fault(cluster)
    cluster.machines[owner].cut(*(cluster.machines[manager].address
                                  for manager in ("manager1", "manager2")))
    wait_until(lambda: cluster.where("redirector1", "demo")["owners"]
               != [owner], 8, "another owner")
    report = fault.outcome("an origin cut off from managers")
    assert report["stalls"]["count"] == 0
    cluster.machines[owner].mend()
    wait_until(lambda: is_whole(cluster), 30, "all nodes up again")
    assert owner_of(cluster, "demo") == owner


def test_06_plays_leave_an_origin_that_viewers_do_not_reach(cluster):
    owner = owner_of(cluster, "demo")
    viewer = cluster.viewer.run("hostname", "-I").split()[0]
    fault = Fault(cluster, "--timeout", "3s")
    cluster.machines[owner].cut(viewer)
    report = fault.outcome("an origin cut off from viewers")
    assert report["recoveries"] == 6 and report["stalls"]["count"] == 0
    cluster.machines[owner].mend()


def test_07_loss_of_packets_slows_and_breaks_nothing(cluster):
    owner = owner_of(cluster, "demo")
    fault = Fault(cluster)
    for name in (owner, "manager1"):
        cluster.machines[name].lose(30)
    fault.outcome("30 % packet loss")
    for name in (owner, "manager1"):
        cluster.machines[name].mend()
    wait_until(lambda: is_whole(cluster), 30, "all nodes up again")


def test_08_operators_override_on_the_managers_machine_alone(cluster):
    machine = cluster.machines["manager1"]
    key = (machine.folder / "secrets/manager.key").read_text().strip()
    for path in ("/v1/overrides", "/v1/overrides/nodes/origin1",
                 "/v1//overrides/nodes/origin1", "/v1/x/../overrides/cdn",
                 "/v1/%6fverrides/nodes/origin1"):
        refused = machine.namespace.run(
            "curl", "-s", "--path-as-is", "-o", "/dev/null", "-w",
            "%{http_code}", "-X", "PUT", "-d", '{"for_s": 60}', "-H",
            "Authorization: Bearer " + key, cluster.url("manager1") + path)
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
