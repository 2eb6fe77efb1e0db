# SPDX-License-Identifier: Apache-2.0
"""Demand moves plays: calm, normal, hot, critical, and back."""

import collections
import json
import socket
import subprocess
import threading
import time
import urllib.parse

import pytest
import requests

from conftest import VODST, wait_until

# An origin carries 600 requests/s, so one more owner stands for 60, and the
# CDN helps above 1440.
CAPACITY = 600
STEPS = [("normal", 2, 95), ("hot", 3, 260), ("critical", 3, 1650)]
PLAYS = ["--requests-per-play", "13"]


@pytest.fixture(scope="module")
def platform(start_platform, films):
    return start_platform("--capacity", CAPACITY, "--hold", "1s",
                          "--cdn-whole", *PLAYS, state=films)


class Demand:
    """Asks all origins for one small file of a content, so often a second in
    all. Each serves it, as the hops say that it was redirected often."""

    TICK_S = 0.02

    def __init__(self, platform, content):
        url = urllib.parse.urlsplit(platform.play_url(content))
        self.request = (f"GET {url.path}?hop=9 HTTP/1.1\r\n"
                        f"Host: vodst\r\n\r\n").encode()
        self.rate = 0
        self.failures = []
        self.is_over = threading.Event()
        self.threads = [
            threading.Thread(target=self.run, args=(origin["url"],),
                             daemon=True)
            for origin in platform.state["origins"]]
        for thread in self.threads:
            thread.start()

    def run(self, origin):
        try:
            self.ask(urllib.parse.urlsplit(origin))
        except (OSError, AssertionError) as error:
            self.failures.append(f"{origin}: {error}")

    def ask(self, url):
        connection = socket.create_connection((url.hostname, url.port), 5)
        answers = connection.makefile("rb")
        owed = 0.0
        next_tick = time.monotonic()
        while not self.is_over.is_set():
            owed += self.rate / len(self.threads) * self.TICK_S
            connection.sendall(self.request * int(owed))
            for _ in range(int(owed)):
                self.answer_read(answers)
            owed -= int(owed)
            next_tick += self.TICK_S
            time.sleep(max(0, next_tick - time.monotonic()))
        connection.close()

    @staticmethod
    def answer_read(answers):
        status = answers.readline()
        assert status.startswith(b"HTTP/1.1 200 "), status
        length = 0
        while (line := answers.readline()) != b"\r\n":
            assert line, "the connection was closed"
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        assert len(answers.read(length)) == length

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join()


def nodes_of(platform):
    return ["redirector1", *platform.origins]


def seen(platform, content):
    """What all nodes hold of a content: (level, owners in order); None while
    they differ."""
    views = [platform.where(node, content) for node in nodes_of(platform)]
    facts = {(view["level"], tuple(view["owners"])) for view in views}
    return facts.pop() if len(facts) == 1 else None


def level_seen(platform, content):
    """What all nodes agree on; None while they differ."""
    view = seen(platform, content)
    return view[0] if view else None


def host_of(url):
    return "http://" + urllib.parse.urlsplit(url).netloc


def new_plays(platform, content, count=30):
    """How many of these new plays each host was given."""
    hosts = collections.Counter()
    for _ in range(count):
        answer = requests.get(platform.play_url(content), timeout=5,
                              allow_redirects=False)
        assert answer.status_code == 302
        hosts[host_of(answer.headers["Location"])] += 1
    return hosts


def assert_calm(platform, content):
    level, owners = seen(platform, content)
    assert level == "calm" and len(owners) == 1
    assert set(new_plays(platform, content, 5)) == {
        platform.node(owners[0])["url"]}


def test_01_without_demand_every_content_has_one_owner(platform):
    for content in ("demo", "popular", "quiet"):
        assert_calm(platform, content)
    assert platform.status()["contents"] == []


@pytest.mark.alone
def test_02_each_step_of_demand_is_seen_everywhere_within_2_s(platform):
    quiet = seen(platform, "quiet")
    demand = Demand(platform, "popular")
    before = seen(platform, "popular")[1]
    took = {}
    try:
        for level, owner_count, rate in STEPS:
            demand.rate = rate
            start = time.monotonic()
            # not so often that the questions are in the demand's way
            wait_until(lambda: level_seen(platform, "popular") == level,
                       5, level, 0.05)
            took[level] = time.monotonic() - start
            _, owners = seen(platform, "popular")
            assert len(owners) == owner_count
            # the set grew at its end: no copy that was warm is given up
            assert owners[:len(before)] == before
            before = owners

            hosts = new_plays(platform, "popular")
            if level == "critical":
                assert set(hosts) == {platform.node("cdn")["url"]}
            else:
                assert set(hosts) == {platform.node(owner)["url"]
                                      for owner in owners}
            assert seen(platform, "quiet") == quiet
            # it stays while the demand does
            assert seen(platform, "popular") == (level, owners)
        assert demand.failures == []
    finally:
        demand.stop()
    print("seen everywhere after", took)
    assert max(took.values()) < 2, took


def test_03_at_critical_the_cdn_serves_and_verifies(platform):
    demand = Demand(platform, "popular")
    demand.rate = STEPS[-1][2]
    try:
        wait_until(lambda: level_seen(platform, "popular") == "critical",
                   5, "critical")
        url = platform.play_url("popular")
        first = requests.get(url, timeout=5)
        again = requests.get(platform.play_url("popular"), timeout=5)
        for answer in (first, again):
            assert answer.status_code == 200
            assert answer.headers["X-Vodst-Node"] == "cdn"
        assert again.headers["X-Cache"] == "HIT" and again.text == first.text
        mpds = [requests.get(platform.play_url("popular", "dash"), timeout=5)
                for _ in range(2)]
        assert mpds[1].headers["X-Cache"] == "HIT"
        assert mpds[1].text == mpds[0].text and "<MPD" in mpds[0].text
        # pathways name tokens: such a manifest is one viewer's, and only that
        for _ in range(2):
            mpd = requests.get(platform.play_url("popular", "dash",
                                                 steering=True), timeout=5)
            assert mpd.headers["X-Cache"] == "MISS"
            assert '<ContentSteering defaultServiceLocation="cdn"' in mpd.text
        steered = [requests.get(platform.play_url("popular", steering=True),
                                timeout=5) for _ in range(2)]
        for answer in steered:
            assert answer.headers["X-Cache"] == "MISS"
            assert "#EXT-X-CONTENT-STEERING:" in answer.text
            media = requests.get(answer.url.replace("master", "v0/index"),
                                 timeout=5)
            assert media.status_code == 200
        assert media.headers["X-Cache"] == "HIT"
        decode = subprocess.run(
            ["ffmpeg", "-v", "error", "-xerror", "-i", url, "-f",
             "null", "-"],
            capture_output=True, text=True, timeout=60)
        assert decode.returncode == 0 and decode.stderr == ""
        assert requests.get(first.url.replace("/p/", "/p/x", 1),
                            timeout=5).status_code == 403
    finally:
        demand.stop()


def test_04_when_the_demand_is_gone_all_is_calm_again(platform):
    wait_until(lambda: level_seen(platform, "popular") == "calm", 20,
               "calm")
    assert_calm(platform, "popular")
    wait_until(lambda: platform.status()["contents"] == [], 5, "no rows")


def test_05_a_growing_audience_goes_through_every_level(start_platform, films):
    # an owner for each 30 requests/s, hot above 150, the CDN above 480: a play
    # makes about 13, most of them as it starts, and must be no step of its own
    platform = start_platform("--origins", "6", "--capacity", "100", "--spread",
                              "0.3", "--hold", "5s", *PLAYS, state=films)
    audience = subprocess.Popen(
        [VODST, "audience", "--dir", platform.folder, "--content", "popular",
         "--players", "800", "--rate", "50", "--ramp", "26s", "--duration",
         "34s", "--watch", "6s", "--buffer", "4s", "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    try:
        quiet = seen(platform, "quiet")
        levels = []
        while audience.poll() is None:
            level = level_seen(platform, "popular")
            if level is not None and level not in levels[-1:]:
                levels.append(level)
            assert seen(platform, "quiet") == quiet
            time.sleep(0.05)
        output, errors = audience.communicate()
    finally:
        audience.kill()
    assert audience.returncode == 0, errors
    assert levels == ["calm", "normal", "hot", "critical"]
    report = json.loads(output)
    assert report["plays"]["failed"] == 0, output
    assert report["plays"]["finished"] > 100
    assert set(report["contents"]["popular"]["nodes"]) == {
        *platform.origins, "cdn"}
    wait_until(lambda: level_seen(platform, "popular") == "calm", 20,
               "calm")
