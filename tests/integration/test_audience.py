# SPDX-License-Identifier: Apache-2.0
"""vodst audience: emulated players see what viewers see, and tell of it."""

import json
import os
import signal
import subprocess
import time

import pytest

from conftest import VODST, vodst, wait_until
from nginx_instance import NginxInstance
from ports import free_port
from stand_in import StandIn

FILM_S = 30
SEGMENTS = 8  # of 4 s; the last is shorter
TRACK_REQUESTS = 2 + SEGMENTS  # playlist and init segment beside them


@pytest.fixture(scope="module")
def platform(start_platform, film):
    # so much capacity that everything stays calm: one owner for each content
    platform = start_platform("--no-restart", "--capacity", "100000")
    platform.ingest(film, "film", "--ladder", "360,240", "--segment", "4s")
    return platform


# Answers that a healthy platform never gives, from files that are no film:
# players count bytes and look at none.
ODD_NODES = """
server {
    listen 127.0.0.1:%(port)d;
    root %(root)s;
    location /good/ { add_header X-Vodst-Node good; }
    location /moved/ { add_header X-Vodst-Node moved; }
    location ~ ^/moved/(.*[.]m4s)$ { return 302 ../good/$1; }
    location ~ ^/loops/.*[.]m4s$ { return 302 $request_uri; }
    location ~ ^/sick/.*[.]m4s$ { return 503; }
    location ~ ^/denied/.*[.]m4s$ { return 403; }
}
"""

MASTER = """#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=1000000
index.m3u8
"""
MEDIA = "#EXTM3U\n" + "".join(f"#EXTINF:1,\n{n}.m4s\n" for n in range(4))


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd")
    root.chmod(0o755)
    for name in ("good", "moved", "loops", "sick", "denied", "live", "html"):
        (root / name).mkdir()
        (root / name / "master.m3u8").write_text(MASTER)
        (root / name / "index.m3u8").write_text(
            {"live": MEDIA, "html": "<html>"}.get(
                name, MEDIA + "#EXT-X-ENDLIST\n"))
        for n in range(4):
            (root / name / f"{n}.m4s").write_bytes(b"x" * 1000)
    port = free_port()
    with NginxInstance(root / "nginx", ODD_NODES % {"port": port, "root": root},
                       port) as nginx:
        yield nginx


def audience(platform, *options, **run):
    done = vodst("audience", "--dir", platform.folder, "--json", *options,
                 **run)
    return done, json.loads(done.stdout)


def owner(platform, content="film"):
    owners = platform.where("redirector1", content)["owners"]
    assert len(owners) == 1
    return owners[0]


def test_01_plays_reach_their_end_from_the_owner(platform):
    began = time.monotonic()
    done, report = audience(platform, "--content", "film", "--players", 20,
                            "--speed", 10)
    assert done.returncode == 0, done.stderr
    # at the pace of playback: not before the film is over
    assert time.monotonic() - began >= FILM_S / 10
    assert report["plays"] == {"started": 20, "finished": 20, "failed": 0,
                               "playing": 0, "turned_away": 0}
    assert report["errors"] == {} and report["recoveries"] == 0
    assert report["stalls"]["count"] == 0
    assert 0 < report["start_ms"]["p50"] <= report["start_ms"]["max"] < 2000
    # one redirect opens the play; picture and sound come from the owner
    assert report["redirects"] == 20 and report["moves"] == 0
    served = report["nodes"][owner(platform)]
    assert set(report["nodes"]) == {owner(platform)}
    assert served["plays"] == 20
    assert served["requests"] == 20 * (1 + 2 * TRACK_REQUESTS)
    assert report["contents"]["film"]["plays"] == 20
    assert report["contents"]["film"]["nodes"] == report["nodes"]


def test_02_the_rendition_is_the_one_asked_for(platform):
    size = {}
    for rendition in ("best", "worst", "0", "1"):
        done, report = audience(platform, "--content", "film", "--players", 1,
                                "--speed", 60, "--rendition", rendition)
        assert done.returncode == 0, done.stderr
        size[rendition] = report["bytes"]
    assert size["best"] > size["worst"]
    # to the token in the playlists' addresses, and nothing more
    assert abs(size["best"] - size["0"]) < 2000
    assert abs(size["worst"] - size["1"]) < 2000


def test_03_a_short_watch_loads_no_more_than_its_buffer(platform):
    done, report = audience(platform, "--content", "film", "--players", 3,
                            "--speed", 4, "--watch", "6s", "--buffer", "4s")
    assert done.returncode == 0, done.stderr
    assert report["plays"]["finished"] == 3
    # two segments of each track reach over 6 s
    assert report["nodes"][owner(platform)]["requests"] <= 3 * (1 + 2 * 4)


def test_04_a_playback_url_is_played_without_st_api(platform):
    url = platform.play_url("film")
    done = vodst("audience", "--url", url, "--players", 2, "--speed", 30,
                 "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert report["plays"]["finished"] == 2


def test_05_plays_keep_coming_while_the_run_lasts(platform):
    done, report = audience(platform, "--content", "film", "--rate", 20,
                            "--players", 15, "--speed", 10, "--duration",
                            "5s")
    assert done.returncode == 0, done.stderr
    plays = report["plays"]
    assert 4900 <= report["duration_ms"] <= 7000
    # 20 a second would come; 15 fit at a time, for 3 s each
    assert 15 < plays["started"] <= 45
    assert plays["turned_away"] > 0
    assert plays["started"] == plays["finished"] + plays["playing"]
    assert plays["playing"] <= 15


def test_06_an_audience_comes_within_its_ramp_and_is_replaced(platform):
    done, report = audience(platform, "--content", "film", "--players", 10,
                            "--ramp", "2s", "--watch", "10s", "--speed", 10,
                            "--duration", "4s")
    assert done.returncode == 0, done.stderr
    assert report["plays"]["started"] > 20
    assert report["plays"]["playing"] == 10


def test_07_an_unknown_content_is_a_failed_play(platform):
    done, report = audience(platform, "--content", "nothing-here",
                            "--players", 3)
    assert done.returncode == 1
    assert report["plays"]["failed"] == 3
    assert report["errors"] == {"http_4xx": 3}
    assert report["redirects"] == 0


def test_08_weights_share_the_plays(platform, film):
    platform.ingest(film, "other", "--ladder", "240", "--segment", "4s")
    done, report = audience(platform, "--content", "film=4", "--content",
                            "other", "--players", 50, "--watch", "1s",
                            "--speed", 10)
    assert done.returncode == 0, done.stderr
    plays = {name: content["plays"]
             for name, content in report["contents"].items()}
    assert sum(plays.values()) == 50
    assert plays["film"] > 2 * plays["other"] > 0


def test_09_an_interrupt_ends_it_early_with_the_report(platform):
    run = subprocess.Popen(
        [VODST, "audience", "--dir", platform.folder, "--content", "film",
         "--players", "5", "--json"], stdout=subprocess.PIPE, text=True)
    time.sleep(2)
    assert run.poll() is None
    run.send_signal(signal.SIGINT)
    report = json.loads(run.communicate(timeout=5)[0])
    assert run.returncode == 0
    assert report["plays"]["playing"] == 5
    assert report["duration_ms"] < 5000


@pytest.mark.parametrize("options, reason", [
    (["--content", "film"], "--dir, --api or --url"),
    (["--api", "http://127.0.0.1:1"], "--content"),
    (["--api", "ftp://x", "--content", "film"], "--api begins with http://"),
    (["--url", "x"], "--url begins with http://"),
    (["--url", "http://x/", "--content", "film"], "leave out --content"),
    (["--api", "http://x", "--content", "a=0"], "weight"),
    (["--api", "http://x", "--content", "a=b"], "weight"),
    (["--api", "http://x", "--content", "a", "--rendition", "good"],
     "--rendition"),
    (["--api", "http://x", "--content", "a", "--players", "0"], "players"),
])
def test_10_wrong_use_is_told(options, reason):
    done = vodst("audience", *options)
    assert done.returncode == 2
    assert reason in done.stderr
    assert done.stdout == ""


def test_11_a_platform_that_is_not_there_is_told(tmp_path):
    done = vodst("audience", "--dir", tmp_path, "--content", "film")
    assert done.returncode == 1
    assert "is the platform up?" in done.stderr

    done = vodst("audience", "--api", "http://127.0.0.1:1/api", "--content",
                 "film", "--players", 1, "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert report["plays"]["failed"] == 1
    assert report["errors"]["connect"] > 1


def test_12_file_limits_are_told_before_anything_is_asked(platform):
    # root may raise its own limit, unless it lacks this capability
    confine = [] if os.geteuid() != 0 else \
        ["setpriv", "--bounding-set", "-sys_resource"]
    done = subprocess.run(
        [*confine, "sh", "-c", 'ulimit -n 200; exec "$@"', "sh", VODST,
         "audience", "--api", platform.front + "/api", "--content", "film",
         "--players", "5000"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "ulimit -n" in done.stderr and done.stdout == ""


def test_13_segments_that_moved_are_followed_and_counted(odd):
    done = vodst("audience", "--url", odd.url + "/moved/master.m3u8",
                 "--players", 2, "--speed", 10, "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert report["moves"] == report["redirects"] == 2 * 4
    assert report["nodes"]["moved"]["requests"] == 2 * 2
    assert report["nodes"]["good"]["requests"] == 2 * 4
    assert report["nodes"]["good"]["bytes"] == 2 * 4 * 1000
    assert report["nodes"]["good"]["plays"] == 2


def test_14_what_cannot_be_played_fails_under_its_name(odd):
    kinds = {"loops": "redirect", "sick": "http_5xx", "denied": "http_4xx",
             "live": "playlist", "html": "playlist", "absent": "http_4xx"}
    runs = {name: subprocess.Popen(
        [VODST, "audience", "--url", f"{odd.url}/{name}/master.m3u8",
         "--players", "1", "--json"], stdout=subprocess.PIPE, text=True)
        for name in kinds}
    for name, run in runs.items():
        report = json.loads(run.communicate(timeout=60)[0])
        assert run.returncode == 1, name
        assert set(report["errors"]) == {kinds[name]}, name
        assert report["plays"]["failed"] == 1
        assert report["recoveries"] == 0


@pytest.mark.parametrize("length", [4090, 4096, 5000])
def test_15_a_url_that_is_too_long_with_what_a_retry_adds(length):
    done = vodst("audience", "--url", "http://127.0.0.1:9/".ljust(length, "x"),
                 "--players", 1, "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["plays"]["failed"] == 1


def test_16_plays_recover_when_their_origin_is_killed(platform):
    first = owner(platform)
    run = subprocess.Popen(
        [VODST, "audience", "--dir", platform.folder, "--content", "film",
         "--players", "30", "--speed", "2", "--json"],
        stdout=subprocess.PIPE, text=True)
    time.sleep(3)
    platform.kill(first)
    wait_until(lambda: owner(platform) != first, 5, "another owner")
    report = json.loads(run.communicate(timeout=60)[0])
    assert run.returncode == 0, report
    assert report["plays"]["finished"] == 30
    assert report["plays"]["failed"] == 0
    assert report["recoveries"] == 30
    assert report["errors"]["connect"] >= 30
    assert report["nodes"][first]["plays"] == 30
    assert report["nodes"][owner(platform)]["requests"] > 30


def test_16_a_player_leaves_a_node_that_hangs_before_its_buffer_is_empty():
    hung = []

    def answer(request):
        """Segments of 2 s, the fifth of which hangs the first time."""
        name = request.path.split("?")[0].split("/")[-1]
        if name == "4.m4s" and not hung:
            hung.append(name)
            time.sleep(20)
            return None
        return 200, {}, {"master.m3u8": MASTER, "index.m3u8": "#EXTM3U\n"
                         + "".join(f"#EXTINF:2,\n{n}.m4s\n" for n in range(10))
                         + "#EXT-X-ENDLIST\n"}.get(name, "x").encode()

    with StandIn(answer) as node:
        done = vodst(
            "audience", "--url",
            f"{node.url}/master.m3u8",
            "--players", 1, "--watch", "11s", "--buffer", "6s", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert report["errors"] == {"timeout": 1} and report["recoveries"] == 1
    assert report["stalls"]["count"] == 0
