# SPDX-License-Identifier: Apache-2.0
"""What an operator decides by hand goes before what the manager would."""

import json
import subprocess
import time

import pytest
import requests

from conftest import VODST, vodst, wait_until
from nginx_instance import table_tool
from test_faults import (OPTIONS, assert_plays, audience_end, audience_start,
                         new_play_node, owner_of)
from test_loop import ORIGINS, SHORT, Loop, wait_for


@pytest.fixture
def loop(tmp_path):
    """Counter files, agents and a manager, without nginx."""
    loop = Loop(tmp_path, [*SHORT, "--cdn", "--overrides",
                           tmp_path / "overrides.json"])
    yield loop
    loop.close()


def override(loop, *arguments):
    return vodst("override", "--manager", loop.manager.url, *arguments)


def say(loop, *arguments):
    done = override(loop, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def states(loop):
    """Of the nodes, as every node's table says; None: they differ."""
    tables = [tuple(sorted(n.table()["nodes"].items()))
              for n in loop.nodes.values()]
    return dict(tables[0]) if len(set(tables)) == 1 else None


def test_01_a_pinned_level_is_everywhere_until_its_time_is_over(loop):
    assert "Nothing" in say(loop)
    said = say(loop, "content", "film", "--level", "hot", "--for", "3s")
    assert "film" in said and "level hot" in said
    assert loop.wait_level("film", "hot", 1.0) <= 1.0
    assert sorted(loop.manager.content("film")["owners"]) == ORIGINS
    assert "film" in say(loop)
    # 3 s, and the hold time of 1 s
    loop.wait_level("film", "calm", 6)
    assert "Nothing" in say(loop)
    say(loop, "content", "film", "--level", "normal", "--owners", "2",
        "--for", "1h")
    loop.wait_level("film", "normal", 1.0)
    assert len(loop.manager.content("film")["owners"]) == 2
    say(loop, "content", "film", "--clear")
    loop.wait_level("film", "calm", 4)


def test_02_a_drained_node_and_a_restart_of_the_manager(loop):
    say(loop, "node", "origin2", "--for", "1h")
    drained = {"origin1": "up", "origin2": "draining", "origin3": "up"}
    wait_for(lambda: states(loop) == drained, 1.0, "origin2 drains")
    assert loop.manager.node_state("origin2") == "draining"
    loop.manager.kill()
    loop.restart_manager()
    # within the same second its term may have to follow the one before
    wait_for(lambda: {n.table()["version"][0] for n in loop.nodes.values()}
             == {loop.manager.status()["term"]}, 8, "the next's table")
    assert states(loop) == drained
    listed = json.loads(say(loop, "--json"))["overrides"]
    assert [o["name"] for o in listed] == ["origin2"]
    assert time.time() + 3500 < listed[0]["until"] <= time.time() + 3601
    say(loop, "node", "origin2", "--clear")
    wait_for(lambda: states(loop) == dict.fromkeys(ORIGINS, "up"), 1.0, "up")
    assert json.loads((loop.folder / "overrides.json").read_text()) == []


def test_03_the_cdn_gets_what_the_operator_lets_it(loop):
    loop.demand("film", 400)
    loop.wait_level("film", "critical", 3.0)
    say(loop, "cdn", "--budget-share", "0.2", "--for", "1h")
    wait_for(lambda: 0.1 < loop.manager.content("film")["cdn_share"] <= 0.2, 3,
             "a fifth to the CDN")
    say(loop, "content", "film", "--no-cdn", "--for", "1h")
    loop.wait_level("film", "hot", 1.0)
    say(loop, "content", "film", "--clear")
    loop.wait_level("film", "critical", 2.0)
    say(loop, "cdn", "--no-cdn", "--for", "1h")
    loop.wait_level("film", "hot", 1.0)


def shown(loop):
    """The lines of each node's table."""
    return [table_tool("show", given=n.table_path.read_bytes()).decode()
            .splitlines() for n in loop.nodes.values()]


def test_04_nobody_is_led_to_a_cdn_that_is_forbidden(loop):
    loop.demand("film", 1)
    say(loop, "content", "film", "--no-cdn", "--for", "1h")
    wait_for(lambda: all(
        "row film calm 1 0 0 no-cdn" in lines for lines in shown(loop)), 1.0,
             "a calm row")
    assert not any("no-cdn" in lines for lines in shown(loop))
    say(loop, "content", "film", "--clear")
    wait_for(lambda: not any("film" in line for lines in shown(loop)
                             for line in lines), 1.0, "no row")
    say(loop, "cdn", "--no-cdn", "--for", "3s")
    wait_for(lambda: all("no-cdn" in lines for lines in shown(loop)), 1.0,
             "none for all")
    wait_for(lambda: not any("no-cdn" in lines for lines in shown(loop)), 5.0,
             "it is over")


def test_05_what_makes_no_sense_is_refused(loop):
    api = loop.manager.url + "/v1/overrides"
    for path, body, status in (
            ("/contents/film", b"{", 400), ("/contents/film", b"{}", 400),
            ("/contents/film", b'{"for_s":5,"level":"warm"}', 400),
            ("/contents/.film", b'{"for_s":5,"level":"hot"}', 400),
            ("/contents/" + "a" * 65, b'{"for_s":5,"level":"hot"}', 400),
            ("/nodes/a%2fb", b'{"for_s":5}', 400),
            ("/cdn", b'{"for_s":5}', 400), ("", b'{"for_s":5}', 405),
            ("/cdn/x", b'{"for_s":5}', 404)):
        answer = requests.put(api + path, body, timeout=5)
        assert answer.status_code == status, (path, body, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == status
    assert requests.delete(api + "/cdn", timeout=5).status_code == 404
    assert requests.get(api + "/nodes/origin1", timeout=5).status_code == 404
    assert requests.get(api, timeout=5).json() == {"overrides": []}
    refused = override(loop, "content", "film", "--level", "warm", "--for",
                       "1h")
    assert refused.returncode == 1 and "calm, normal" in refused.stderr
    for wrong in (["film"], ["content"], ["content", "a/b"], ["cdn", "x"],
                  ["node", "origin1"]):
        bad = override(loop, *wrong)
        assert bad.returncode == 2 and "--help" in bad.stderr, wrong


def test_06_the_command_tells_how_it_is_used(tmp_path):
    assert "usage: vodst override" in vodst("override", "--help").stdout
    assert ".SH OPTIONS" in vodst("override", "--man").stdout
    nothing = vodst("override", "--dir", tmp_path)
    assert nothing.returncode == 1 and "--manager" in nothing.stderr


def test_07_a_drained_origin_gets_no_new_play_and_breaks_none(start_platform,
                                                              films):
    platform = start_platform(*OPTIONS, state=films)
    owner = owner_of(platform, "demo")
    drained = platform.node(owner)["url"]
    assert new_play_node(platform, "demo") == drained
    audience = audience_start(platform, "--content", "demo", "--players", "8",
                              "--watch", "14s", "--buffer", "4s")
    time.sleep(4)
    done = vodst("override", "--dir", platform.folder, "node", owner, "--for",
                 "1h")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: new_play_node(platform, "demo") != drained, 2,
               "new plays elsewhere")
    for _ in range(20):
        assert new_play_node(platform, "demo") != drained
        assert_plays(platform, "demo")
    report = audience_end(audience)
    assert report["plays"]["failed"] == 0, report
    assert report["plays"]["finished"] == 8
    assert report["stalls"]["count"] == 0
    assert owner in report["nodes"]
    platform.stop()
