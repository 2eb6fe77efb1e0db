# SPDX-License-Identifier: Apache-2.0
"""What breaks does not stop plays."""

import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.parse

import pytest
import requests

from conftest import VODST, wait_until

# so much capacity that every content stays calm, with its one owner
OPTIONS = ["--interval", "200ms", "--node-timeout", "1500ms", "--capacity",
           "1000000"]


@pytest.fixture
def platform(start_platform, films):
    """Each test breaks one of its own."""
    platform = start_platform(*OPTIONS, "--no-restart", state=films)
    yield platform
    platform.stop()


def owner_of(platform, content):
    return platform.where("redirector1", content)["owners"][0]


def new_play_node(platform, content):
    """The URL of the node that a new play is sent to."""
    answer = requests.get(platform.play_url(content), timeout=5,
                          allow_redirects=False)
    assert answer.status_code == 302, answer.status_code
    return "http://" + urllib.parse.urlsplit(answer.headers["Location"]).netloc


def assert_plays(platform, content):
    answer = requests.get(platform.play_url(content), timeout=5)
    assert answer.status_code == 200
    assert answer.text.startswith("#EXTM3U")


def audience_start(platform, *options):
    return subprocess.Popen(
        [VODST, "audience", "--dir", platform.folder, "--json", *options],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)


def audience_end(audience):
    output, errors = audience.communicate(timeout=60)
    assert audience.returncode == 0, output + errors
    return json.loads(output)


def test_01_without_a_manager_plays_start_and_go_on(platform):
    audience = audience_start(platform, "--content", "demo", "--players", "5",
                              "--duration", "6s", "--watch", "4s",
                              "--buffer", "2s")
    time.sleep(1)
    platform.kill("manager")
    time.sleep(2)
    assert_plays(platform, "demo")
    report = audience_end(audience)
    assert report["plays"]["failed"] == 0
    assert report["plays"]["finished"] >= 5
    assert report["stalls"]["count"] == 0
    assert_plays(platform, "quiet")


def test_02_a_manager_that_returns_goes_on_from_there(start_platform, films):
    platform = start_platform(*OPTIONS, state=films)
    before = {node: platform.where(node, "demo")["version"]
              for node in ("redirector1", *platform.origins)}
    platform.kill("manager")

    def are_newer():
        return all(version_of(platform.where(node, "demo")["version"])
                   > version_of(before[node]) for node in before)

    def version_of(text):
        return tuple(int(part) for part in text.split("."))

    wait_until(are_newer, 10, "newer tables everywhere")
    assert {node["state"] for node in platform.status()["nodes"]} == {"up"}
    platform.stop()


def test_03_plays_leave_an_origin_that_dies(platform):
    owner = owner_of(platform, "demo")
    dead = platform.node(owner)["url"]
    assert new_play_node(platform, "demo") == dead
    audience = audience_start(platform, "--content", "demo", "--players", "8",
                              "--watch", "14s", "--buffer", "4s")
    time.sleep(4)
    platform.kill(owner)
    start = time.monotonic()
    wait_until(lambda: new_play_node(platform, "demo") != dead, 5,
               "new plays elsewhere")
    print("new plays avoid it after", time.monotonic() - start)
    for _ in range(10):
        assert new_play_node(platform, "demo") != dead
        assert_plays(platform, "demo")
    report = audience_end(audience)
    assert report["plays"]["failed"] == 0, report
    assert report["plays"]["finished"] == 8
    assert report["stalls"]["count"] == 0, report
    assert report["recoveries"] > 0
    assert owner in report["nodes"] and len(report["nodes"]) >= 2


def test_04_without_agents_nginx_serves_on(platform):
    owner = owner_of(platform, "demo")
    url = platform.play_url("demo")
    media = requests.get(url, timeout=5).url
    for node in ("redirector1", *platform.origins):
        platform.kill(node + "-agent")
    # long enough for the manager to count every node as down
    wait_until(lambda: {node["state"] for node in platform.status()["nodes"]}
               == {"down"}, 10, "nodes down")
    assert requests.get(media, timeout=5).status_code == 200
    assert_plays(platform, "demo")
    assert_plays(platform, "quiet")
    assert owner_of(platform, "demo") == owner


def table_break(table, how):
    """Puts a broken table in place of the file, as a bad disk would."""
    whole = table.read_bytes()
    broken = {
        "truncated": whole[:len(whole) // 2],
        "empty": b"",
        "of another kind": b"hello, table\n" * 20,
        "with a bit flipped": whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:],
    }[how]
    new = table.with_name("table.broken")
    new.write_bytes(broken)
    new.rename(table)


@pytest.mark.parametrize("how", ["truncated", "empty", "of another kind",
                                 "with a bit flipped"])
def test_05_a_broken_table_is_refused_and_the_old_one_stays(platform, how):
    for node in ("redirector1", "origin1"):
        # its agent would put the next table in place
        os.kill(platform.pid(node + "-agent"), signal.SIGSTOP)
        before = platform.where(node, "demo")
        folder = platform.node(node)["folder"]
        log_before = platform.log(node)
        table_break(pathlib.Path(folder) / "table", how)
        wait_until(lambda: platform.where(node, "demo")
                   and "refused" in platform.log(node)[len(log_before):], 5,
                   "the refusal in the log")
        after = platform.where(node, "demo")
        assert after["version"] == before["version"]
        assert after["owners"] == before["owners"]
        assert_plays(platform, "demo")
        told = platform.log(node)[len(log_before):]
        assert "table" in told and told.count("refused") == 1, told
        os.kill(platform.pid(node + "-agent"), signal.SIGCONT)


def test_06_an_older_table_is_refused(platform):
    node = platform.node("redirector1")
    table = pathlib.Path(node["folder"]) / "table"
    older = table.read_bytes()
    version = platform.where("redirector1", "demo")["version"]
    # a change of the nodes makes a newer one
    platform.kill("origin3")
    wait_until(lambda: platform.where("redirector1", "demo")["version"]
               != version, 5, "a newer table")
    os.kill(platform.pid("redirector1-agent"), signal.SIGSTOP)
    version = platform.where("redirector1", "demo")["version"]
    new = table.with_name("table.older")
    new.write_bytes(older)
    new.rename(table)
    wait_until(lambda: platform.where("redirector1", "demo")
               and "refused" in platform.log("redirector1"), 5, "the refusal")
    assert platform.where("redirector1", "demo")["version"] == version
    os.kill(platform.pid("redirector1-agent"), signal.SIGCONT)


def test_07_a_cache_that_dies_is_passed_by(platform):
    platform.kill("cache1")
    for content in ("demo", "popular", "quiet"):
        decode = subprocess.run(
            ["ffmpeg", "-v", "error", "-xerror", "-i",
             platform.play_url(content), "-f", "null", "-"],
            capture_output=True, text=True, timeout=60)
        assert decode.returncode == 0 and decode.stderr == ""


def test_08_a_redirector_without_nodes_says_so_or_names_the_cdn(platform):
    for origin in platform.origins:
        platform.kill(origin)
    wait_until(lambda: {node["state"] for node in platform.status()["nodes"]
                        if node["role"] == "origin"} == {"down"}, 10,
               "all origins down")
    answer = requests.get(platform.play_url("demo"), timeout=5,
                          allow_redirects=False)
    assert answer.status_code in (302, 503)
    if answer.status_code == 503:
        assert int(answer.headers["Retry-After"]) > 0
