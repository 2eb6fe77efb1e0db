# SPDX-License-Identifier: Apache-2.0
"""Parts of a film: start= and end= of playlists and MPDs."""

import json
import re
import shutil
import urllib.parse

import pytest
import requests

from browser import PLAYER_LOCATIONS
from conftest import wait_until
from nginx_instance import NginxInstance
from ports import free_port
from test_encryption import base64url
from test_text import CUES_SCRIPT, INGEST, run

SECONDS, SEGMENT_S, RATE = 30, 2, 24000 / 1001
BORDER_S = 2.002  # from one to the next
# the part from 9 s to 17 s: segments 4 to 8
PART, FIRST, END = "start=9&end=17", 4, 9
START_S, PART_S = FIRST * BORDER_S, (END - FIRST) * BORDER_S
TRACK_PART = f"start={START_S:.6f}&end={START_S + PART_S:.6f}"
PERIOD = 3  # segments of one key
KIDS = [f"{period}0112233445566778899aabbccddeeff" for period in range(5)]
LICENSE = json.dumps({"type": "temporary", "keys": [
    {"kty": "oct", "kid": base64url(kid), "k": base64url(kid[::-1])}
    for kid in KIDS]})


class Node(NginxInstance):
    """/<encryption>/<path>; below /periods/ keys change."""

    def __init__(self, folder, root):
        port = free_port()
        (folder / "key").mkdir()
        (folder / "key" / KIDS[0]).write_bytes(bytes.fromhex(KIDS[0][::-1]))
        (folder / "keys").write_text("".join(
            f"* *:{period} {kid} {kid[::-1]}\n"
            for period, kid in enumerate(KIDS)))
        super().__init__(folder, f"""
            package_root {root};
            package_plain {folder}/kept segment={SEGMENT_S}s;
            package_keys {folder}/keys;
            package_key_uri /key/$package_kid;
            package_drm clearkey=/license;
            server {{
                listen 127.0.0.1:{port};
                location ~ ^/(off|cenc|cbcs|aes-128)/(.*)$ {{
                    package $2;
                    package_encryption $1;
                }}
                location ~ ^/far/(.*)$ {{
                    package $1;
                    package_fill /fill/;
                }}
                location /fill/ {{
                    internal;
                    proxy_set_header Range $package_slice_range;
                    proxy_pass http://127.0.0.1:{port}/stored/;
                }}
                location /stored/ {{ alias {root}/; }}
                location ~ ^/periods/(.*)$ {{
                    package $1;
                    package_encryption cenc;
                    package_key_period {PERIOD};
                }}
                location /key/ {{ root {folder}; }}
                location = /license {{
                    default_type application/json;
                    return 200 '{LICENSE}';
                }}
                {PLAYER_LOCATIONS}
            }}""", port, modules=("package",), http_defaults="")

    def get(self, path, **arguments):
        return requests.get(f"{self.url}/{path}", timeout=20, **arguments)


@pytest.fixture(name="films", scope="module")
def _films(tmp_path_factory):
    """It is brighter each segment, and each frame is another; a subtitle in
    the middle of each segment says its number. `plain` nobody ingested."""
    root = tmp_path_factory.mktemp("clip")
    folder, plain = root / "film" / "1", root / "plain" / "1"
    folder.mkdir(parents=True)
    plain.mkdir(parents=True)
    run("ffmpeg", "-v", "error", "-f", "lavfi", "-i",
        f"color=black:s=128x72:r=24000/1001:d={SECONDS},geq=lum='if(lt(Y,16),"
        f"mod(7*N+X,200),16+12*floor((T+0.001)/{BORDER_S}))':cb=128:cr=128",
        "-f", "lavfi", "-i", f"sine=440:r=44100:d={SECONDS}", "-map", "0:v",
        "-c:v", "libx264", "-preset", "ultrafast", "-qp", 4, "-bf", 2, "-g",
        24, "-sc_threshold", 0, folder / "v0.mp4", "-map", "1:a", "-c:a",
        "aac", folder / "a0.mp4")
    run("ffmpeg", "-v", "error", "-i", folder / "v0.mp4", "-i",
        folder / "a0.mp4", "-map", 0, "-map", 1, "-c", "copy",
        plain / "film.mp4")
    shutil.copy(folder / "v0.mp4", folder / "source.mp4")
    (folder / "s0.srt").write_text("".join(
        f"{n}\n00:00:{int(n * BORDER_S) + 1:02},000 --> "
        f"00:00:{int(n * BORDER_S) + 1:02},500\nsegment {n}\n\n"
        for n in range(15)))
    run(INGEST, folder, 1000 * SEGMENT_S, "v0", "a0", "s0.srt:en:English")
    return root


@pytest.fixture(name="node", scope="module")
def _node(films, tmp_path_factory):
    with Node(tmp_path_factory.mktemp("node"), films) as node:
        yield node


def test_an_ingested_film_from_afar_is_not_taken_for_a_plain_one(node):
    """Also not when two indexes are fetched for one answer."""
    url = "film/1/ts/v0~a0/4.ts"
    assert node.get(f"far/{url}").content == node.get(f"off/{url}").content


def rate(node, top, track):
    """Bits a second of the segments that the track's playlist names: of all,
    and of the one with most."""
    playlist = node.get(f"{top}{track}/index.m3u8?{TRACK_PART}").text
    found = [(8 * len(node.get(f"{top}{track}/{name}").content), float(time))
             for time, name in re.findall("#EXTINF:(.*),\n(.*)", playlist)]
    assert len(found) == END - FIRST
    return sum(bits for bits, _ in found) / sum(time for _, time in found), \
        max(bits / time for bits, time in found)


@pytest.mark.parametrize("top", ("off/film/1/", "far/film/1/", "off/plain/1/"))
def test_bandwidths_of_a_part_are_those_of_its_segments(node, top):
    average, peak = (sum(both) for both in zip(rate(node, top, "v0"),
                                               rate(node, top, "a0")))
    pattern = "STREAM-INF:BANDWIDTH=(\\d+),AVERAGE-BANDWIDTH=(\\d+),"
    found = re.search(pattern, node.get(f"{top}master.m3u8?{PART}").text)
    assert int(found[1]) == pytest.approx(peak, abs=3)
    assert int(found[2]) == pytest.approx(average, abs=3)
    whole = re.search(pattern, node.get(f"{top}master.m3u8").text)
    assert abs(int(whole[2]) - average) > 100
    mpd = node.get(f"{top}manifest.mpd?{PART}").text
    assert sum(map(int, re.findall('<Representation id="[va]0".* '
                                   'bandwidth="(\\d+)"', mpd))) \
        == pytest.approx(peak, abs=3)


def test_a_part_of_what_is_not_there_has_the_answer_of_the_whole(node, films):
    gone = films / "gone" / "1"
    gone.mkdir(parents=True)
    shutil.copy(films / "film" / "1" / "asset.idx", gone)
    for top in ("off", "far"):
        for name in ("master.m3u8", "manifest.mpd"):
            url = f"{top}/gone/1/{name}"
            assert node.get(url).status_code == 200
            assert node.get(f"{url}?{PART}").status_code == 404
            assert node.get(f"{top}/none/1/{name}?{PART}").status_code == 404


def digests(source, *options):
    told = run("ffmpeg", "-v", "error", *options, "-i", source, "-map", "0:v:0",
               "-fps_mode", "passthrough", "-f", "framemd5", "-")
    return [line.split(",")[-1].strip() for line in told.splitlines()
            if not line.startswith("#")]


@pytest.mark.parametrize("top, kinds", [
    ("off/film/1/", ("a0/index", "s0/index", "v0/iframes", "v0/index")),
    ("off/film/1/ts/", ("s0/index", "v0~a0/index")),
    ("aes-128/film/1/ts/", ("s0/index", "v0~a0/index")),
    ("cbcs/film/1/", ("a0/index", "s0/index", "v0/index")),
    ("off/plain/1/", ("a0/index", "v0/iframes", "v0/index"))])
def test_playlists_of_a_part_name_the_segments_of_the_film(node, top, kinds):
    master = node.get(f"{top}master.m3u8?{PART}").text
    urls = re.findall(r'^(?:v0.*)|(?<=,URI=")[^"]*m3u8[^"]*', master, re.M)
    assert sorted(urls) == [f"{name}.m3u8?{TRACK_PART}" for name in kinds]
    for url in urls:
        playlist = node.get(top + url).text
        whole = node.get(top + url.split("?")[0]).text
        numbers = re.findall(r"^(\d+)\.\w+$", playlist, re.M)
        assert numbers == [str(n) for n in range(FIRST, END)]
        assert f"#EXT-X-MEDIA-SEQUENCE:{FIRST}\n" in playlist
        for what in ("#EXT-X-KEY", "#EXT-X-MAP"):
            assert re.findall(what + ".*", playlist) \
                == re.findall(what + ".*", whole)
        body = playlist[playlist.index("#EXTINF"):]
        assert body.removesuffix("#EXT-X-ENDLIST\n") in whole
        answer = node.get(top + url)
        assert node.get(top + url, headers={
            "If-None-Match": answer.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize("url, options", [
    ("off/film/1/master.m3u8", []), ("off/film/1/manifest.mpd", []),
    ("off/film/1/ts/master.m3u8", []), ("aes-128/film/1/ts/master.m3u8", []),
    ("off/plain/1/master.m3u8", []), ("off/plain/1/manifest.mpd", []),
    ("cenc/film/1/manifest.mpd", ["-cenc_decryption_key", KIDS[0][::-1]]),
    ("cbcs/film/1/manifest.mpd", ["-cenc_decryption_key", KIDS[0][::-1]])])
def test_ffmpeg_decodes_the_frames_of_that_part(films, node, url, options):
    first, end = round(START_S * RATE), round((START_S + PART_S) * RATE)
    want = digests(films / "film" / "1" / "source.mp4")[first:end]
    assert len(want) == 240
    assert digests(f"{node.url}/{url}?{PART}", *options) == want


def test_a_part_begins_with_the_key_of_its_period(node):
    playlist = node.get(f"periods/film/1/v0/index.m3u8?{TRACK_PART}").text
    found = re.findall(r'KEYID=0x([0-9a-f]*),|^(\d+)\.m4s$', playlist, re.M)
    assert found == [(KIDS[1], ""), ("", "4"), ("", "5"),
                     (KIDS[2], ""), ("", "6"), ("", "7"), ("", "8")]


@pytest.mark.parametrize("query", [
    "start=", "start=x", "start=-1", "end=0", "start=5&end=5", "start=1e1",
    "start=9&end=4", "start=1&start=2", "start=31", "start=1000000001"])
def test_what_is_no_part_is_a_bad_request(node, query):
    for name in ("master.m3u8", "manifest.mpd", "v0/index.m3u8",
                 "v0/iframes.m3u8", "ts/master.m3u8", "ts/v0~a0/index.m3u8"):
        assert node.get(f"off/film/1/{name}?{query}").status_code == 400, name
    for name in ("v0/init.mp4", "v0/4.m4s", "s0/all.vtt", "ts/v0~a0/4.ts"):
        assert node.get(f"off/film/1/{name}?{query}").content \
            == node.get(f"off/film/1/{name}").content, name


SEEN = """
const video = document.getElementById('video');
const canvas = document.createElement('canvas').getContext('2d');
canvas.drawImage(video, 0, 0);
const at = [video.videoWidth / 2, video.videoHeight / 2];
return { red: canvas.getImageData(at[0], at[1], 1, 1).data[0],
  time: video.currentTime, length: video.duration, ended: video.ended,
  ready: !video.seeking && video.readyState >= 3, keys: !!video.mediaKeys };
"""


@pytest.mark.parametrize("player, file", [
    ("hls", "off/film/1/master.m3u8"), ("shaka", "off/film/1/master.m3u8"),
    ("dash", "off/film/1/manifest.mpd"), ("shaka", "off/film/1/manifest.mpd"),
    ("hls", "aes-128/film/1/ts/master.m3u8"),
    ("shaka", "periods/film/1/manifest.mpd")])
def test_a_player_plays_the_part_from_its_start_to_its_end(
        node, browser, player, file):
    url = urllib.parse.quote(f"{node.url}/{file}?{PART}", safe="")
    is_sealed = file.startswith("periods")  # no canvas shows its pictures
    license_url = "/license" if is_sealed else ""
    browser.get(f"{node.url}/player.html?player={player}&url={url}"
                f"&license={license_url}")

    def seen():
        return browser.execute_script(SEEN)

    wait_until(lambda: 0.2 < seen()["time"] < 2, 20, "the part")
    assert abs(seen()["length"] - PART_S) < 0.1
    assert seen()["keys"] == is_sealed
    browser.execute_script("document.getElementById('video').pause()")
    browser.execute_script("subtitlesShow('en')")
    for number in (8, 4, 6):
        browser.execute_script(
            "document.getElementById('video').currentTime = arguments[0]",
            int(number * BORDER_S) + 1.25 - START_S)
        shade = 12 * number * 255 / 219
        wait_until(lambda: seen()["ready"] and (
            is_sealed or abs(seen()["red"] - shade) < 4), 20,
            f"segment {number}")
        wait_until(lambda: [text for _, _, text in browser.execute_script(
            CUES_SCRIPT, True)] == [f"segment {number}"], 20,
            f"the subtitle of segment {number}")
    browser.execute_script(
        "const video = document.getElementById('video');"
        "video.currentTime = arguments[0]; video.play()",
        PART_S - 0.6)
    wait_until(lambda: seen()["ended"], 20, "the end")
    # hls.js's words for a load that a seek ends, and for its way to the first
    # picture, which B-frames make a little later than its decoding
    assert set(browser.execute_script("return seen.errors")) \
        <= {"aborted", "bufferSeekOverHole"}
