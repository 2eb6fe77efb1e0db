# SPDX-License-Identifier: Apache-2.0
"""What each program does when its disk is full: it says so, goes on with what
it has, and is well again by itself when there is room (docs/runbook/
disk-full.md). The cluster's test has the same with plays."""

import os
import signal

import pytest
import requests

from conftest import Platform, vodst, wait_until
from disks import Disk, private_mounts
from http_probe import flood
from nginx_instance import Counters, NginxInstance
from ports import free_port
from test_loop import AGENT, SHORT, Child, Loop, read_table
from test_st_api import ADMIN_KEY, StApi

NO_SPACE = "No space left on device"

METER = """
meter_file {file} contents={contents};
server {{
    listen 127.0.0.1:{port};
    keepalive_requests 10000;
    location ~ ^/m/(?<content>[^/]+)$ {{ meter $content; return 200 "ok."; }}
}}
"""


@pytest.fixture(name="disk")
def _disk(tmp_path):
    with private_mounts():
        yield lambda size: Disk(tmp_path / "disk", size)


# ---- nginx and its counter file ----

def meter_start(tmp_path, file, contents):
    port = free_port()
    return NginxInstance(tmp_path, METER.format(
        file=file, contents=contents, port=port), port, ("meter",))


def test_a_counter_file_without_room_is_no_start(disk, tmp_path):
    with pytest.raises(RuntimeError) as refused:
        meter_start(tmp_path / "nginx", disk("1m").folder / "counters", 400000)
    assert "meter: no room for" in str(refused.value)
    assert os.listdir(tmp_path / "disk") == []


def assert_counts(nginx, disk, path):
    workers = nginx.worker_pids()
    disk.fill()
    flood(nginx.port, [f"/m/c{n}" for n in range(5000)])
    wait_until(lambda: len(Counters(path).contents) == 5000, 5, "all of them")
    assert nginx.worker_pids() == workers


def test_a_counter_file_counts_on_a_full_disk(disk, tmp_path):
    disk = disk("1m")
    path = disk.folder / "counters"
    with meter_start(tmp_path / "nginx", path, 5000) as nginx:
        assert_counts(nginx, disk, path)


def test_a_counter_file_without_its_zeros_gets_them_or_is_refused(disk,
                                                                  tmp_path):
    """A copy, by a tool that leaves out what is zero."""
    disk = disk("1m")
    path = disk.folder / "counters"
    meter_start(tmp_path / "before", path, 5000).stop()
    size = path.stat().st_size
    header = path.read_bytes()[:4096]
    path.write_bytes(header)
    os.truncate(path, size)
    disk.fill()
    with pytest.raises(RuntimeError) as refused:
        meter_start(tmp_path / "full", path, 5000)
    assert "has holes, and there is no room" in str(refused.value)
    disk.make_room()
    with meter_start(tmp_path / "nginx", path, 5000) as nginx:
        assert path.read_bytes()[:64] == header[:64]
        assert_counts(nginx, disk, path)


# ---- the agent, and the Manager ----

def test_an_agent_goes_on_with_the_table_before(disk, tmp_path):
    disk = disk("1m")
    table = disk.folder / "table"
    loop = Loop(tmp_path, [*SHORT, "--cdn"])
    agent = None
    try:
        loop.nodes["origin1"].counters.add("film", 1)
        agent = Child(tmp_path, "late", AGENT, "--node", "late", "--role",
                      "redirector", "--manager", loop.manager.url,
                      "--interval", "100ms", "--counters",
                      tmp_path / "late.counters", "--table", table)
        wait_until(lambda: read_table(table), 5, "a table")
        disk.fill()
        loop.demand("film", 200)
        loop.wait_level("film", "hot", 10)
        before = read_table(table)
        wait_until(lambda: "cannot write" in agent.text(), 5, "the message")
        newest = loop.manager.version()
        wait_until(lambda: loop.manager.version() > newest, 10, "newer ones")
        assert read_table(table) == before
        assert sorted(os.listdir(disk.folder)) == ["filler", "table"]
        assert loop.manager.node_state("late") == "up"
        disk.make_room()
        wait_until(lambda: "film" in read_table(table)["rows"], 5, "the table")
        assert agent.text().count(NO_SPACE) == 1
        assert agent.text().count(f"can write {table} again") == 1
    finally:
        if agent is not None:
            agent.stop()
        loop.close()


def test_a_manager_refuses_an_override_that_it_cannot_keep(disk, tmp_path):
    disk = disk("1m")
    loop = Loop(tmp_path, [*SHORT, "--overrides",
                           disk.folder / "overrides.json"])

    def drain(node):
        return vodst("override", "--manager", loop.manager.url, "--for", "1h",
                     "node", node)

    try:
        assert drain("origin1").returncode == 0
        kept = (disk.folder / "overrides.json").read_text()
        disk.fill()
        refused = drain("origin2")
        assert refused.returncode == 1
        assert "the override is not kept" in refused.stderr
        assert NO_SPACE in loop.manager.text()
        assert (disk.folder / "overrides.json").read_text() == kept
        wait_until(lambda: loop.manager.node_state("origin1") == "draining",
                   5, "a drained node")
        assert loop.manager.node_state("origin2") == "up"
        disk.make_room()
        assert drain("origin2").returncode == 0
        wait_until(lambda: loop.manager.node_state("origin2") == "draining",
                   5, "a drained node")
    finally:
        loop.close()


# ---- st-api ----

def test_plays_start_while_the_catalogue_cannot_grow(disk, tmp_path):
    disk = disk("1m")
    (disk.folder / "log").symlink_to(tmp_path / "st-api.log")
    api = StApi(disk.folder)
    try:
        api.put("demo")
        for turn in ("as it fills", "after a crash", "after a stop"):
            if turn != "as it fills":
                api.process.send_signal(signal.SIGKILL if turn ==
                                        "after a crash" else signal.SIGTERM)
                api.process.wait()
                disk.fill()
                api = StApi(disk.folder)
            disk.fill()
            assert api.play({"content": "demo"}).status_code == 201, turn
            refused = api.request(
                "PUT", "/v1/contents/other",
                {"title": "x" * 200, "version": "1", "duration_ms": 1},
                ADMIN_KEY)
            assert refused.status_code in (500, 503), refused.text
            assert "cannot be read or written" in refused.json()["detail"]
            assert api.request("GET", "/v1/contents/other").status_code == 404
            assert api.request("GET", "/healthz").status_code == 200
            assert "full" in api.log() or "disk I/O error" in api.log()
            disk.make_room()
            api.put("demo")
        api.put("other")
        assert api.play({"content": "other"}).status_code == 201
    finally:
        api.stop()


# ---- vodst up ----

def test_what_dies_on_a_full_disk_is_started_again(disk, tmp_path, film):
    disk = disk("400m")
    platform = Platform(disk.folder / "state", ["--origins", "1", "--caches",
                                                "1", "--redirectors", "1"],
                        tmp_path / "up.out")
    try:
        platform.ingest(film, "film", "--ladder", "180")
        disk.fill()
        before = {name: platform.pid(name)
                  for name in ("st-api", "manager", "origin1-agent")}
        for pid in before.values():
            os.kill(pid, signal.SIGKILL)
        said = wait_until(lambda: (text := platform.output.read_text())
                          .count("runs again") == len(before) and text, 10,
                          "all of them again")
        assert said.count("cannot write") == 1 and NO_SPACE in said
        assert {name: platform.pid(name) for name in before} == before
        wait_until(lambda: platform.playback("film").status_code == 201, 10,
                   "plays")
        refused = vodst("ingest", film, "--dir", platform.folder, "--id",
                        "other", "--ladder", "180")
        assert refused.returncode == 1
        assert "storage refuses to take" in refused.stderr
        assert platform.playback("other").status_code == 404
        disk.make_room()
        wait_until(lambda: all(platform.pid(name) not in (0, pid)
                               for name, pid in before.items()), 5,
                   "vodst.json")
        assert platform.output.read_text().count("again\n") == 1
        platform.ingest(film, "other", "--ladder", "180")
        assert platform.playback("other").status_code == 201
    finally:
        platform.stop()


def test_a_process_runs_without_the_log_that_cannot_be_made(tmp_path):
    with private_mounts():
        platform = Platform(tmp_path, ["--origins", "1", "--caches", "1"])
        try:
            Disk(tmp_path / "log", "64k,nr_inodes=1")
            pid = platform.pid("manager")
            platform.kill("manager")
            wait_until(lambda: platform.pid("manager") not in (0, pid), 10,
                       "the manager")
            wait_until(lambda: requests.get(
                platform.front + "/manager/v1/status",
                timeout=5).status_code == 200, 10, "its status")
            said = platform.output.read_text()
            assert f"log/manager.log ({NO_SPACE}), manager has no log" in said
        finally:
            platform.stop()
