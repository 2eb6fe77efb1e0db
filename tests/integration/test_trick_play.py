# SPDX-License-Identifier: Apache-2.0
"""Trick play in DASH: the key frame of each segment alone."""

import json
import shutil
import urllib.parse
from xml.etree import ElementTree

import pytest
import requests

from conftest import wait_until
from package_node import PackageNode, film_tracks
from test_text import INGEST, MPD, run

SECONDS, SEGMENT_S = 40, 2
KEYS = "http://dashif.org/guidelines/trickmode"


class Node(PackageNode):
    """/film/<path>; /filled/<path> comes in slices, /sealed/<path> is
    encrypted."""

    def __init__(self, folder, root):
        (folder / "keys").write_text(f"* * {'0a' * 16} {'0b' * 16}\n")
        super().__init__(folder, root, f"""
            package_trick_play $arg_trick;
            package_keys {folder}/keys;
            package_plain {folder}/kept segment={SEGMENT_S}s;
            location / {{
                package_root {root};
                location ~ ^/((film|plain)/.*)$ {{ package $1; }}
                location ~ ^/sealed/(.*)$ {{
                    package film/$1;
                    package_encryption cenc;
                }}
                location ~ ^/filled/(.*)$ {{
                    package film/$1;
                    package_fill /slices/;
                    package_slice 1777;
                }}
            }}""")


@pytest.fixture(name="film", scope="module")
def _film(tmp_path_factory):
    """B-frames, two key frames a segment, and late pictures at its end, so
    that the next is decoded at other distances than it is shown."""
    folder = tmp_path_factory.mktemp("keys") / "film" / "1"
    folder.mkdir(parents=True)
    film_tracks(folder, SECONDS, "-vf",
                "settb=1/24000,setpts=PTS+480*gte(mod(N\\,48)\\,45)",
                "-fps_mode", "passthrough", "-enc_time_base", "1/24000")
    shutil.copy(folder / "v0.mp4", folder / "source.mp4")
    plain = folder.parents[1] / "plain" / "1"
    plain.mkdir(parents=True)
    run("ffmpeg", "-v", "error", "-i", folder / "v0.mp4", "-i",
        folder / "a0.mp4", "-map", 0, "-map", 1, "-c", "copy",
        plain / "film.mp4")
    run(INGEST, folder, 1000 * SEGMENT_S, "v0", "a0")
    return folder


@pytest.fixture(name="node", scope="module")
def _node(film, tmp_path_factory):
    with Node(tmp_path_factory.mktemp("node"), film.parents[1]) as node:
        yield node


def frames(path):
    """{time to the ms: digest} of all frames as ffmpeg decodes them."""
    told = run("ffmpeg", "-v", "error", "-i", path, "-map", "0:v", "-fps_mode",
               "passthrough", "-enc_time_base", "1/24000", "-f", "framemd5",
               "-")
    lines = [line.split(",") for line in told.splitlines()
             if not line.startswith("#")]
    return {round(int(line[2]) / 24): line[-1].strip() for line in lines}


def test_only_an_mpd_that_is_asked_for_them_has_them(film, node):
    base = "/film/1/manifest.mpd"
    clear, sealed = node.get(base).text, "/sealed/1/manifest.mpd"
    assert "iframes" not in clear
    for query in ("trick=0", "trick=", "trick=2", "x=trick=1"):
        assert node.get(f"{base}?{query}").text == clear, query
    # ffmpeg takes them for more pictures
    assert [*frames(f"{node.url}{base}").values()] \
        == [*frames(film / "source.mp4").values()]
    asked = node.get(f"{base}?trick=1")
    assert "v0/iframes" in asked.text
    assert node.get(f"{base}?trick=1", headers={
        "If-None-Match": asked.headers["ETag"]}).status_code == 304
    part = node.get(f"{base}?trick=1&start=5&end=9").text
    assert part.count('startNumber="2" presentationTimeOffset="96096"') == 2
    master = "/film/1/master.m3u8"
    assert node.get(f"{master}?trick=1").text == node.get(master).text
    assert node.get(f"{sealed}?trick=1").text == node.get(sealed).text
    assert node.get("/sealed/1/v0/iframes/3.m4s").status_code == 404


@pytest.mark.parametrize("name", ["film", "plain"])
def test_each_is_the_first_frame_of_its_segment_for_as_long_as_that(
        film, node, tmp_path, name):
    top = f"/{name}/1/"
    mpd = ElementTree.fromstring(node.get(f"{top}manifest.mpd?trick=1").content)
    normal, keys = [one for one in mpd.iter(f"{MPD}AdaptationSet")
                    if one.get("contentType") == "video"]
    said = keys.find(f"{MPD}EssentialProperty")
    assert (said.get("schemeIdUri"), said.get("value")) == (
        KEYS, normal.get("id"))
    assert normal.find(f"{MPD}EssentialProperty") is None
    template = keys.find(f"{MPD}SegmentTemplate")
    track = keys.find(f"{MPD}Representation").get("id")
    starts = [0]
    for one in template.iter(f"{MPD}S"):
        for _ in range(1 + int(one.get("r", 0))):
            starts.append(starts[-1] + int(one.get("d")))
    count = len(starts) - 1
    assert count == SECONDS // SEGMENT_S
    alone = tmp_path / "keys.mp4"
    urls = [template.get("initialization")] + [
        template.get("media").replace("$Number$", str(number))
        for number in range(count)]
    alone.write_bytes(b"".join(
        node.get(top + url.replace("$RepresentationID$", track)).content
        for url in urls))
    packets = json.loads(run(
        "ffprobe", "-v", "error", "-of", "json", "-show_entries",
        "packet=pts,flags", alone))["packets"]
    assert packets == [{"pts": start, "flags": "K_"} for start in starts[:-1]]
    source, found = frames(film / "source.mp4"), frames(alone)
    assert len(found) == count
    assert found.items() <= source.items()
    assert [time // 1000 // SEGMENT_S for time in found] == list(range(count))


def test_they_are_answered_as_media_is(node):
    url = "/film/1/v0/iframes/3.m4s"
    answer = node.get(url)
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["ETag"] \
        != node.get("/film/1/v0/3.m4s").headers["ETag"]
    head = requests.head(node.url + url, timeout=20)
    assert int(head.headers["Content-Length"]) == len(answer.content)
    for place in (url, url.replace("/film/", "/filled/")):
        assert node.get(place).content == answer.content
        part = node.get(place, headers={"Range": "bytes=90-1999"})
        assert part.status_code == 206
        assert part.content == answer.content[90:2000]
        assert node.get(place, headers={
            "If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert node.get("/film/1/v0/iframes/init.mp4").content \
        == node.get("/film/1/v0/init.mp4").content
    for path in ("v0/iframes/20.m4s", "a0/iframes/0.m4s", "v0/iframes/0.vtt"):
        assert node.get(f"/film/1/{path}").status_code == 404, path


@pytest.mark.parametrize("player", ["shaka", "dash"])
def test_a_player_takes_them_for_trick_play_and_for_nothing_else(
        node, browser, player):
    url = urllib.parse.quote(f"{node.url}/film/1/manifest.mpd?trick=1", safe="")
    browser.get(f"{node.url}/player.html?player={player}&url={url}")

    def time():
        return browser.execute_script(
            "return document.getElementById('video').currentTime")

    def keys_asked():
        return browser.execute_script(
            "return performance.getEntriesByType('resource')"
            ".filter((one) => one.name.includes('/iframes/')).length")

    wait_until(lambda: time() > 1, 20, "the film", 0.1)
    assert keys_asked() == 0
    if player == "shaka":
        browser.execute_script("trickPlay(8)")
        wait_until(lambda: time() > 20, 20, "trick play", 0.1)
        assert keys_asked() > 3
        browser.execute_script("trickPlay(1)")
        asked, at = keys_asked(), time()
        wait_until(lambda: time() > at + 1, 20, "the film after it", 0.1)
        assert keys_asked() - asked < 3
    assert browser.execute_script("return seen.errors") == []
