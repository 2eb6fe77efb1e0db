# SPDX-License-Identifier: Apache-2.0
"""vodst up and down: everything starts, is minded, and ends."""

import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess

import pytest
import requests

from conftest import VODST, group_members, vodst, wait_until
from ports import free_port
from stand_in import StandIn


def ports_of(state):
    nodes = (state["redirectors"] + state["origins"] + state["caches"]
             + [state[name] for name in
                ("storage", "cdn", "varnish", "manager", "api")])
    return [int(node["url"].split(":")[2].split("/")[0]) for node in nodes]


def is_listening(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def minded(start_platform):
    """A platform that a test may break."""
    platform = start_platform()
    yield platform
    platform.stop()


def test_01_up_starts_every_tier_and_down_ends_all(start_platform):
    platform = start_platform("--origins", "2", "--caches", "1")
    state = platform.state
    names = {one["name"] for one in state["processes"]}
    assert names == {
        "storage", "cache1", "manager", "origin1", "origin1-agent", "origin2",
        "origin2-agent", "redirector1", "redirector1-agent", "varnish", "cdn",
        "st-api", "mlic"}
    assert all(is_listening(port) for port in ports_of(state))
    assert {node["state"] for node in platform.status()["nodes"]} == {"up"}
    assert "player page" in platform.output.read_text()
    groups = platform.groups()

    down = vodst("down", "--dir", platform.folder)
    assert down.returncode == 0, down.stderr
    assert platform.process.wait(5) == 0
    assert group_members(groups) == []
    assert not any(is_listening(port) for port in ports_of(state))
    assert not (platform.folder / "vodst.json").exists()

    again = vodst("down", "--dir", platform.folder)
    assert again.returncode == 0 and "nothing runs" in again.stdout


def test_02_secrets_are_private_and_outlive_a_restart(minded, start_platform):
    secrets = minded.folder / "secrets"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    before = {one.name: one.read_bytes() for one in secrets.iterdir()}
    assert set(before) == {"token.keys", "fill", "pull", "admin.key",
                           "manager.key", "storage.password",
                           "storage.htpasswd", "master.keys", "audit.key",
                           "packager.key", "entitlement.key"}
    for one in secrets.iterdir():
        assert stat.S_IMODE(one.stat().st_mode) == 0o600, one
    minded.stop()

    type(minded)(minded.folder, []).stop()
    assert {one.name: one.read_bytes() for one in secrets.iterdir()} == before


def test_03_a_second_up_in_the_folder_says_so(minded):
    second = vodst("up", "--dir", minded.folder, "--port", "auto")
    assert second.returncode == 1
    assert f"as process {minded.process.pid}" in second.stderr
    assert "vodst down" in second.stderr
    assert minded.process.poll() is None


def test_04_a_taken_port_is_named_with_who_needs_it(minded, tmp_path):
    front = ports_of(minded.state)[0]
    failed = vodst("up", "--dir", tmp_path, "--port", front - 2)
    assert failed.returncode == 1
    assert f"port {front} is taken (needed by origin2)" in failed.stderr
    assert "--port" in failed.stderr
    assert not (tmp_path / "vodst.json").exists()


@pytest.mark.parametrize("port", ["0", "65535", "80a", "-1", ""])
def test_05_a_port_that_cannot_be_is_refused(port, tmp_path):
    failed = vodst("up", "--dir", tmp_path, f"--port={port}")
    assert failed.returncode == 1
    assert "it must be 1 to" in failed.stderr


@pytest.mark.parametrize("options, told", [
    (["--address", "localhost"], "must be an IPv4 address"),
    (["--address", "0.0.0.0"], "needs --host"),
    (["--host", "a b;"], "must be a host name"),
    (["--origins", "0"], "origins"),
    (["--dir", 'quo"ted'], "cannot be used"),
])
def test_05_other_options_that_cannot_be_are_refused(options, told, tmp_path):
    failed = vodst("up", "--port", "auto", *options, cwd=tmp_path)
    assert failed.returncode in (1, 2)
    assert told in failed.stderr


def test_06_missing_programs_are_all_named_with_their_packages(tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "ffmpeg").symlink_to(shutil.which("ffmpeg"))
    failed = vodst("up", "--dir", tmp_path / "state", "--port", "auto",
                   env={**os.environ, "VODST_TOOLS": str(tools)})
    assert failed.returncode == 1
    assert "install the Debian package nginx" in failed.stderr
    assert "install the Debian package varnish" in failed.stderr
    assert "package ffmpeg" not in failed.stderr


def test_07_a_program_that_refuses_its_options_is_quoted(tmp_path):
    failed = vodst("up", "--dir", tmp_path, "--port", "auto",
                   "--spread", "lots")
    assert failed.returncode == 1
    assert "manager ended at its start" in failed.stderr
    assert "'lots'" in failed.stderr or '"lots"' in failed.stderr


def test_08_what_dies_is_started_again_with_nothing_left_over(minded):
    for name in ("origin2", "manager", "st-api", "storage", "origin1-agent"):
        before = minded.pid(name)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: minded.pid(name) not in (0, before), 5, name)
        assert group_members({before}) == []
    origin = minded.node("origin2")["url"]

    def answers():
        try:
            return requests.get(origin + "/healthz", timeout=1).ok
        except requests.ConnectionError:
            return False

    wait_until(answers, 5, "origin2")
    wait_until(lambda: {n["state"] for n in minded.status()["nodes"]}
               == {"up"}, 10, "all nodes up")


def test_09_with_no_restart_it_stays_down(start_platform):
    platform = start_platform("--no-restart")
    platform.kill("origin3")
    wait_until(lambda: platform.pid("origin3") == 0, 5, "origin3's end")
    assert "it stays down" in platform.output.read_text()
    platform.stop()


def test_10_killing_up_leaves_nothing_behind(minded):
    groups = minded.groups()
    assert len(group_members(groups)) > len(groups)  # workers among them
    minded.process.kill()
    minded.process.wait(5)
    wait_until(lambda: group_members(groups) == [], 10, "the end of all")
    # and its folder can be used again
    again = type(minded)(minded.folder, [])
    again.stop()


def test_11_detached_it_returns_when_ready_and_runs_on(tmp_path):
    done = vodst("up", "--dir", tmp_path, "--port", "auto", "--detach")
    try:
        assert done.returncode == 0, done.stderr
        assert "VODST is up" in done.stdout
        status = vodst("status", "--dir", tmp_path)
        assert status.returncode == 0, status.stderr
        assert "origin3" in status.stdout and "calm" in status.stdout
    finally:
        down = vodst("down", "--dir", tmp_path)
    assert down.returncode == 0 and "stopped" in down.stdout
    assert vodst("status", "--dir", tmp_path).returncode == 1


def test_12_interrupted_while_it_starts_it_ends_cleanly(tmp_path):
    up = subprocess.Popen([VODST, "up", "--dir", tmp_path, "--port", "auto"],
                          stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL)
    wait_until((tmp_path / "log" / "storage.log").exists, 10, "the start")
    children = pathlib.Path(f"/proc/{up.pid}/task/{up.pid}/children")
    groups = {int(pid) for pid in children.read_text().split()}
    up.send_signal(signal.SIGINT)
    up.wait(20)
    assert group_members(groups) == []
    assert not (tmp_path / "vodst.json").exists()


def test_13_viewers_may_be_given_another_name(start_platform, films):
    platform = start_platform("--address", "0.0.0.0", "--host", "localhost",
                              state=films)
    url = platform.play_url("demo")
    assert url.startswith("http://localhost:")
    answer = requests.get(url, timeout=5)
    assert answer.status_code == 200
    assert answer.url.startswith("http://localhost:")
    # what is behind stays on loopback
    for name in ("storage", "cache1", "manager", "st-api", "varnish"):
        assert platform.node(name)["url"].startswith("http://127.0.0.1:")


def test_14_two_platforms_live_side_by_side(minded, start_platform):
    other = start_platform("--redirectors", "2", "--origins", "1")
    assert not set(ports_of(minded.state)) & set(ports_of(other.state))
    assert [node["name"] for node in other.state["redirectors"]] \
        == ["redirector1", "redirector2"]
    other.stop()
    assert {node["state"] for node in minded.status()["nodes"]} == {"up"}


def test_15_the_front_and_operators_ask_the_manager_that_leads(tmp_path):
    def leads(request):
        key = (tmp_path / "up" / "secrets" / "manager.key").read_text()
        known = request.headers["Authorization"] == f"Bearer {key.strip()}"
        return (200, {}, b'{"term":7}') if known else (401, {}, b"")

    with StandIn(leads) as leader, StandIn(lambda request: (
            307, {"Location": f"{leader.url}{request.path}"}, b"")) as other:
        front = f"127.0.0.1:{free_port()}"
        file = tmp_path / "cluster"
        file.write_text(f"redirector r1 {front}\nmanager m1 {other.address}\n"
                        f"manager m2 {leader.address}\n" + "".join(
                            f"{tier} {tier} 127.0.0.1:{free_port()}\n"
                            for tier in ("origin", "cdn", "varnish", "cache",
                                         "storage", "st-api")))
        up = subprocess.Popen(
            [VODST, "up", "--dir", tmp_path / "up", "--cluster", file,
             "--node", "r1"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: is_listening(int(front.split(":")[1])),
                       what="the front")
            answer = requests.get(f"http://{front}/manager/v1/status",
                                  allow_redirects=False, timeout=5)
            status = vodst("status", "--dir", tmp_path / "up", "--json")
        finally:
            up.send_signal(signal.SIGINT)
            up.wait(20)
    assert answer.status_code == 200 and answer.json() == {"term": 7}
    assert status.stdout == '{"term":7}\n', status.stderr
