# SPDX-License-Identifier: Apache-2.0
"""Transport streams from the package module: what test_ts.py proves of a
stream is served byte for byte, from a folder and through a fill location, in
the clear and in AES-128, and players play it from there."""

import concurrent.futures
import json
import os
import random
import re
import time

import pytest
import requests

from gstreamer import GStreamer
from nginx_instance import wait_for
from package_node import SLICES_KEPT, PackageNode
from test_encryption import memory_kb, stalled_client
from test_package import INGEST
from test_ts import START, TS_DUMP, packets, pictures, run, sound, stream_time

VIDEO_KEY, VIDEO_KID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "0a" * 16
AUDIO_KEY, AUDIO_KID = "1f1e2d3c4b5a69788796a5b4c3d2e1f0", "0b" * 16
# of "turns", the same film, the pictures' key is another in each period
PERIOD, LEAD = 2, 1  # segments
TURNS = [(f"{0xa0 + n:x}" * 16, f"{0x60 + n:x}" * 16) for n in range(3)]
KEYS = f"""film video {VIDEO_KID} {VIDEO_KEY}
film audio {AUDIO_KID} {AUDIO_KEY}
turns audio {AUDIO_KID} {AUDIO_KEY}
""" + "".join(f"turns video:{n} {kid} {key}\n"
              for n, (kid, key) in enumerate(TURNS))
SECONDS, SEGMENTS = 11, 6
PRIMING = 2 * 1024  # bytes: samples of one channel
PLACES = ("local/off", "fill/off", "local/aes-128", "fill/aes-128")


class Node(PackageNode):
    """/<source>/<encryption>/<path>; slices that nothing is aligned to, so that
    each piece of sound is of several."""

    def __init__(self, folder, root):
        for name, key in ((VIDEO_KID, VIDEO_KEY), (AUDIO_KID, AUDIO_KEY),
                          *TURNS):
            (folder / "key").mkdir(parents=True, exist_ok=True)
            (folder / "key" / name).write_bytes(bytes.fromhex(key))
        (folder / "keys").write_text(KEYS)
        super().__init__(folder, root, f"""
            sendfile on;
            output_buffers 1 16k;
            package_keys {folder}/keys;
            package_key_uri /key/$package_kid;
            location ~ ^/local/([a-z0-9-]+)/(.*)$ {{
                package $2;
                package_root {root};
                package_encryption $1;
            }}
            location ~ ^/fill/([a-z0-9-]+)/(.*)$ {{
                package $2;
                package_fill /slices/;
                package_slice 20011;
                package_encryption $1;
            }}
            location ~ ^/large/([a-z0-9-]+)/(.*)$ {{
                package $2;
                package_fill /slices/;
                package_encryption $1;
            }}
            location ~ ^/(turns|one-uri)/aes-128/(.*)$ {{
                package $2;
                package_root {root};
                package_encryption aes-128;
                package_key_period {PERIOD};
                package_clear_lead {LEAD};
                location ~ ^/one-uri/[^/]*/(.*)$ {{
                    package $1;
                    package_key_uri /key/one;
                }}
            }}
            location ~ ^/nowhere/(.*)$ {{
                package $1;
                package_root {root};
                package_encryption aes-128;
                package_key_uri "";
            }}
            location /key/ {{ root {folder}; }}""", SLICES_KEPT)


@pytest.fixture(name="film", scope="module")
def _film(tmp_path_factory):
    """B-frames, a rate that no millisecond divides, two languages, and tracks
    that cannot be transport streams; as it came in in `source`, and as
    test_ts.py sees it in `dumped`."""
    folder = tmp_path_factory.mktemp("ts") / "film" / "1"
    source = folder.with_name("source")
    source.mkdir(parents=True)
    run("ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i",
        f"testsrc2=s=320x180:r=24000/1001:d={SECONDS}", "-f", "lavfi", "-i",
        f"sine=f=330:b=4:r=44100:d={SECONDS}", "-f", "lavfi", "-i",
        f"sine=f=550:b=2:r=48000:d={SECONDS}", "-map", "0:v", "-c:v",
        "libx264", "-preset", "veryfast", "-bf", "3", "-g", "48",
        "-sc_threshold", "0", "-pix_fmt", "yuv420p", source / "v0.mp4",
        "-map", "1:a", "-c:a", "aac", "-b:a", "160k", "-metadata:s:a",
        "language=eng", source / "a0.mp4", "-map", "2:a", "-c:a", "aac",
        "-b:a", "64k", "-metadata:s:a", "language=deu", source / "a1.mp4",
        "-map", "2:a", "-c:a", "flac", "-strict", "-2", source / "a2.mp4")
    (source / "s0.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nWords\n")
    run("cp", "-r", source, folder)
    run(INGEST, folder, "2000", "v0", "a0", "a1", "a2", "s0.srt:en:English")
    folder.parent.with_name("turns").symlink_to(folder.parent)
    run(TS_DUMP, folder.with_name("dumped"), "2000",
        *(f"{n}={source}/{n}.mp4" for n in ("v0", "a0", "a1")))
    return folder


@pytest.fixture(name="node", scope="module")
def _node(film, tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    with Node(folder, film.parents[1]) as node:
        pids = node.worker_pids()
        yield node
        assert node.worker_pids() == pids


def opened(sealed, number, tmp_path, key=VIDEO_KEY):
    """OpenSSL is the other opinion."""
    path = tmp_path / "sealed"
    path.write_bytes(sealed)
    return run("openssl", "aes-128-cbc", "-d", "-K", key, "-iv",
               f"{number:032x}", "-in", path)


# ---- bytes ----


@pytest.mark.parametrize("place", PLACES)
def test_every_byte_is_the_transport_stream_s(film, node, place, tmp_path):
    for tracks in ("v0", "v0~a0", "a1"):
        if "aes" in place and tracks == "a1":
            continue  # another key
        for number in range(SEGMENTS):
            answer = node.get(f"/{place}/film/1/ts/{tracks}/{number}.ts")
            assert answer.status_code == 200
            assert answer.headers["Content-Type"] == "video/mp2t"
            assert int(answer.headers["Content-Length"]) \
                == len(answer.content)
            wanted = (film.with_name("dumped") / tracks / f"{number}.ts"
                      ).read_bytes()
            said = answer.content
            if "aes" in place:
                assert said != wanted
                said = opened(said, number, tmp_path)
            assert said == wanted


def test_playlists_are_the_transport_stream_s(film, node):
    dumped = film.with_name("dumped")
    for source in ("local", "fill"):
        for tracks in ("v0", "v0~a0", "a1"):
            clear = node.get(f"/{source}/off/film/1/ts/{tracks}/index.m3u8")
            assert clear.headers["Content-Type"] \
                == "application/vnd.apple.mpegurl"
            assert clear.text == (dumped / tracks / "index.m3u8").read_text()
            kid = AUDIO_KID if tracks == "a1" else VIDEO_KID
            sealed = node.get(
                f"/{source}/aes-128/film/1/ts/{tracks}/index.m3u8").text
            lines = sealed.splitlines(keepends=True)
            key = f'#EXT-X-KEY:METHOD=AES-128,URI="/key/{kid}"\n'
            lines.remove(key)
            assert "".join(lines) == clear.text
            assert sealed.index(key) < sealed.index("#EXTINF")
        master = node.get(f"/{source}/off/film/1/ts/master.m3u8").text
        assert re.findall(r"^[^#].*$", master, re.M) == ["v0~a0/index.m3u8"]
        assert 'SUBTITLES="subs"' in master and 'URI="s0/index.m3u8"' in master
        assert 'LANGUAGE="deu",' in master and 'URI="a1/index.m3u8"' in master
        assert "a2" not in master
        assert node.get(f"/{source}/aes-128/film/1/ts/master.m3u8"
                        ).text == master


def test_each_period_has_its_key_and_the_lead_has_none(film, node, tmp_path):
    top = "/turns/aes-128/turns/1/ts/v0~a0"
    said = re.findall(r'^#EXT-X-KEY:METHOD=(?:AES-128,URI="/key/)?(\w+)"?$'
                      r"|^(\d+)\.ts$", node.get(f"{top}/index.m3u8").text,
                      re.M)
    assert said == [("NONE", ""), ("", "0"), (TURNS[0][0], ""), ("", "1"),
                    (TURNS[1][0], ""), ("", "2"), ("", "3"),
                    (TURNS[2][0], ""), ("", "4"), ("", "5")]
    tags = set()
    for number in range(SEGMENTS):
        answer = node.get(f"{top}/{number}.ts")
        wanted = (film.with_name("dumped") / "v0~a0" / f"{number}.ts"
                  ).read_bytes()
        tags |= {answer.headers["ETag"],
                 node.get(f"/local/off/turns/1/ts/v0~a0/{number}.ts"
                          ).headers["ETag"]}
        if number < LEAD:
            assert answer.content == wanted
        else:
            assert opened(answer.content, number, tmp_path,
                          TURNS[number // PERIOD][1]) == wanted
    assert len(tags) == 2 * SEGMENTS
    others = "/turns/aes-128/turns/1/ts"
    sound_list = node.get(f"{others}/a1/index.m3u8").text
    assert re.findall(r"^#EXT-X-KEY.*$", sound_list, re.M) == [
        "#EXT-X-KEY:METHOD=NONE",
        f'#EXT-X-KEY:METHOD=AES-128,URI="/key/{AUDIO_KID}"']
    assert "EXT-X-KEY" not in node.get(f"{others}/s0/index.m3u8").text
    before = len(node.log())
    assert node.get("/one-uri/aes-128/turns/1/ts/v0/index.m3u8"
                    ).status_code == 500
    assert "package_key_uri is the same for two keys" in node.log()[before:]


@pytest.mark.parametrize("place", [*PLACES, "local/cbcs"])
def test_subtitles_have_the_stream_s_time(node, place):
    top = f"/{place}/film/1"
    playlist = node.get(f"{top}/ts/s0/index.m3u8").text
    assert re.findall(r"^[^#].*$", playlist, re.M) \
        == [f"{n}.vtt" for n in range(SEGMENTS)]
    assert "EXT-X-KEY" not in playlist
    for number in range(SEGMENTS):
        stored = node.get(f"{top}/s0/{number}.vtt")
        path = f"{top}/ts/s0/{number}.vtt"
        sent = node.get(path)
        assert sent.headers["Content-Type"] == "text/vtt"
        assert ("Words" in sent.text) == (number == 0)
        assert sent.text == stored.text.replace("MPEGTS:0\n",
                                                f"MPEGTS:{START}\n")
        assert sent.headers["ETag"] != stored.headers["ETag"]
        part = node.get(path, headers={"Range": "bytes=9-60"})
        assert (part.status_code, part.content) == (206, sent.content[9:61])


@pytest.mark.parametrize("place", PLACES)
def test_ranges_are_cut_from_what_is_sent(node, place):
    path = f"/{place}/film/1/ts/v0~a0/1.ts"
    whole = node.get(path)
    size = len(whole.content)
    assert whole.headers["Accept-Ranges"] == "bytes"
    for text, start, end in (("0-0", 0, 1), ("5-60000", 5, 60001),
                             (f"{size - 7}-", size - 7, size),
                             ("-100", size - 100, size)):
        part = node.get(path, headers={"Range": f"bytes={text}"})
        assert part.status_code == 206
        assert part.content == whole.content[start:end]
        assert (part.headers["Content-Range"]
                == f"bytes {start}-{end - 1}/{size}")
    assert node.get(path, headers={"Range": f"bytes={size}-"}
                    ).status_code == 416
    for condition, status in ((whole.headers["ETag"], 206), ('"0000"', 200)):
        part = node.get(path, headers={"Range": "bytes=0-99",
                                       "If-Range": condition})
        assert part.status_code == status


def test_a_head_and_a_tag_are_of_what_would_be_sent(node):
    tags = set()
    for encryption in ("off", "aes-128"):
        for name in ("v0~a0/0.ts", "v0~a1/0.ts", "v0~a0/1.ts", "v0/0.ts",
                     "a0/0.ts"):
            found = set()
            for source in ("local", "fill"):
                path = f"/{source}/{encryption}/film/1/ts/{name}"
                whole = node.get(path)
                head = requests.head(node.url + path, timeout=20)
                assert (int(head.headers["Content-Length"])
                        == len(whole.content))
                tag = whole.headers["ETag"]
                assert head.headers["ETag"] == tag
                again = node.get(path, headers={"If-None-Match": tag})
                assert again.status_code == 304 and not again.content
                found.add(tag)
            assert len(found) == 1
            tags |= found
    clear = node.get("/local/off/film/1/v0/0.m4s").headers["ETag"]
    assert len(tags | {clear}) == 11


def test_what_cannot_be_a_transport_stream_is_not_found(node):
    def said(path, status=404):
        before = len(node.log())
        assert node.get(path).status_code == status, path
        return node.log()[before:]

    ts = "/local/off/film/1/ts"
    for name in ("a2/0.ts", "v0~a2/0.ts", "a2/index.m3u8", "s0/0.ts",
                 "v0~s0/0.ts", "s0~v0/index.m3u8", "a0~v0/0.ts", "v0~v0/0.ts", "a0~a1/index.m3u8"):
        assert "as a transport stream refused" in said(f"{ts}/{name}"), name
    for name in (f"v0~a0/{SEGMENTS}.ts", "v1/0.ts", "v0~a9/0.ts",
                 "v9~a0/index.m3u8", "index.m3u8", "v0/0.m4s", "v0/0.vtt",
                 f"s0/{SEGMENTS}.vtt"):
        said(f"{ts}/{name}")
    for scheme in ("cenc", "cbcs"):
        for name in ("master.m3u8", "v0~a0/index.m3u8", "v0~a0/0.ts"):
            assert "which have no other encryption" in said(
                f"/local/{scheme}/film/1/ts/{name}")
    for name in ("master.m3u8", "manifest.mpd", "v0/index.m3u8", "v0/0.m4s",
                 "v0/init.mp4", "v0/iframes.m3u8"):
        assert "aes-128 is of transport streams" in said(
            f"/local/aes-128/film/1/{name}")
    assert "package_key_uri is no URI" in said(
        "/nowhere/film/1/ts/v0/index.m3u8", 500)


# ---- what plays ----


@pytest.mark.parametrize("place,content", [
    *((place, "film") for place in PLACES), ("turns/aes-128", "turns")])
def test_ffmpeg_gets_every_picture_and_all_sound(film, node, place, content):
    """Warnings apart: it says that it leaves subtitles out."""
    source = film.with_name("source")
    url = f"{node.url}/{place}/{content}/1/ts/master.m3u8"
    told = run("ffmpeg", "-v", "error", "-nostdin", "-xerror", "-i", url,
               "-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5",
               "-").decode()
    assert [line.split(",")[5].strip() for line in told.splitlines()
            if line and line[0] != "#"] == pictures(source / "v0.mp4")
    for name, language in (("a0", "eng"), ("a1", "deu")):
        wanted = sound(source / f"{name}.mp4")
        heard = run("ffmpeg", "-v", "error", "-nostdin", "-xerror", "-i",
                    url, "-map", f"0:m:language:{language}", "-f", "s16le",
                    "-")
        assert heard[PRIMING:PRIMING + len(wanted)] == wanted


@pytest.mark.parametrize("place", PLACES[1:3])
def test_times_go_on_to_the_tick(film, node, place):
    """Over the borders of segments, as FFmpeg's HLS puts them together."""
    url = f"{node.url}/{place}/film/1/ts/v0~a0/index.m3u8"
    stream, source = packets(film.with_name("source") / "v0.mp4", "v")
    found = json.loads(run("ffprobe", "-v", "warning", "-of", "json",
                           "-show_packets", "-select_streams", "v", url))
    assert [(p["pts"], p["dts"]) for p in found["packets"]] == [
        (stream_time(p, stream, "pts"), stream_time(p, stream, "dts"))
        for p in source]
    assert found["packets"][0]["pts"] == START


@pytest.mark.parametrize("player", ["playbin", "playbin3"])
@pytest.mark.parametrize("place", PLACES[1:3])
def test_gstreamer_shows_every_picture(film, node, place, player, tmp_path):
    url = f"{node.url}/{place}/film/1/ts/master.m3u8"
    played = GStreamer(url, tmp_path, player)
    assert len(played.frames()) \
        == len(packets(film.with_name("source") / "v0.mp4", "v")[1])


@pytest.mark.parametrize("place,content,language", [
    ("fill/off", "film", "deu"), ("local/aes-128", "film", "eng"),
    ("turns/aes-128", "turns", "eng")])
def test_hls_js_plays_and_seeks(node, browser, place, content, language):
    """The sound in the stream, or a rendition of its own."""
    browser.get(f"{node.url}/player.html?player=hls"
                f"&url=/{place}/{content}/1/ts/master.m3u8")
    seen = {}

    def until(is_true, what):
        def look():
            seen.update(browser.execute_script(
                "return {...window.seen, time: video.currentTime, ended: "
                "video.ended, frames: video.getVideoPlaybackQuality()"
                ".totalVideoFrames, types: [...new Set(window.seen.segments"
                ".map((s) => s.type))], cues: [...video.textTracks].flatMap("
                "(t) => [...(t.cues || [])]).map((c) => c.startTime)}"))
            return is_true(seen)
        try:
            wait_for(look, 30, what, 0.1)
        except TimeoutError:
            raise AssertionError(f"no {what}: {seen}") from None

    until(lambda s: s["time"] > 2.5 and s["frames"] > 48, "picture")
    if language == "deu":
        browser.execute_script("window.soundChoose('deu')")
    else:
        browser.execute_script("window.subtitlesShow('en')")
        until(lambda s: len(s["cues"]) == 1, "subtitle")
        assert seen["cues"][0] == pytest.approx(1, abs=0.1)
    browser.execute_script("video.currentTime = 9")
    until(lambda s: s["ended"], "end")
    assert ("audio" in seen["types"]) == (language == "deu")
    # its time 0 is that of the first decoding; and what was under way when the
    # sound was chosen
    assert set(seen["errors"]) <= {"bufferSeekOverHole", "aborted"}


LATE = """
const listen = SourceBuffer.prototype.addEventListener;
SourceBuffer.prototype.addEventListener = function (type, hear, ...more) {
  return listen.call(this, type, type !== 'updateend' ? hear
    : (event) => setTimeout(() => hear.call(this, event), 30), ...more);
};
"""


def test_hls_js_forgets_no_append_whose_end_it_hears_late(node, browser):
    """What a busy machine does to it now and then (web/hls-buffers.js)."""
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument",
                                     {"source": LATE})
    try:
        test_hls_js_plays_and_seeks(node, browser, "fill/off", "film", "deu")
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument",
                                script)


# ---- what it takes ----


def test_what_is_sealed_together_is_as_if_alone(node):
    """Of many viewers at once, some of whom leave."""
    paths = [f"/{source}/aes-128/film/1/ts/v0{sound}/{number}.ts"
             for source in ("local", "fill") for sound in ("", "~a0", "~a1")
             for number in range(5)]
    alone = {path: node.get(path).content for path in paths}
    assert min(map(len, alone.values())) > 2000

    def view(seed):
        choose = random.Random(seed)
        with requests.Session() as line:
            for _ in range(40):
                path = choose.choice(paths)
                start = choose.choice([0, 0, 16, 1001])
                if choose.random() < 0.2:
                    stalled_client(node, path).close()
                got = line.get(node.url + path, timeout=20, headers={
                    "Range": f"bytes={start}-"} if start else {}).content
                assert got == alone[path][start:]

    with concurrent.futures.ThreadPoolExecutor(12) as viewers:
        list(viewers.map(view, range(12)))


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("place", ["local/off", "local/aes-128", "large/off",
                                   "large/aes-128"])
def test_stalled_clients_cost_little_and_killed_ones_nothing(film, node,
                                                             place):
    big = film.parents[1] / "film" / "2"
    if not big.exists():
        big.mkdir()
        run("ffmpeg", "-v", "error", "-f", "lavfi", "-i",
            "nullsrc=s=640x360:r=25:d=4,geq=random(1)*255:128:128", "-f",
            "lavfi", "-i", "anoisesrc=r=48000:d=4", "-map", "0:v", "-c:v",
            "libx264", "-preset", "ultrafast", "-qp", "10", "-g", "100",
            "-pix_fmt", "yuv420p", big / "v0.mp4", "-map", "1:a", "-c:a",
            "aac", "-b:a", "256k", big / "a0.mp4")
        run(INGEST, big, "4000", "v0", "a0")
    path = f"/{place}/film/2/ts/v0~a0/0.ts"
    size = len(node.get(path).content)
    assert size > 16 << 20
    (pid,) = node.worker_pids()
    files = open_files(pid)

    def stall():
        clients = [stalled_client(node, path) for _ in range(64)]
        wait_for(lambda: open_files(pid) > files + 64, 10)
        time.sleep(1)
        return clients

    before = memory_kb(pid)
    clients = stall()
    most = memory_kb(pid)
    assert (most - before) / 64 <= 64
    assert most <= 64 << 10
    for client in clients:
        client.close()
    wait_for(lambda: open_files(pid) <= files, 10)
    for client in stall():
        client.close()
    wait_for(lambda: open_files(pid) <= files, 10)
    assert memory_kb(pid) <= most + 1024
    assert len(node.get(path).content) == size
