# SPDX-License-Identifier: Apache-2.0
"""Films that nobody ingested: one film.mp4, as FFmpeg writes it, is served like
any other from its first touch on; what is made for that is made once, kept, and
found again."""

import concurrent.futures
import os
import re
import shutil
import socket
import struct
import subprocess

import pytest
import requests

from disks import Disk, private_mounts
from mp4_text import webvtt_add
from nginx_instance import NginxInstance, wait_for
from ports import free_port

SECONDS, RATE, SEGMENT_S = 9, 25, 2
COUNT = 5  # segments
KEY = "0f1e2d3c4b5a69788796a5b4c3d2e100"
KEYS = "".join(f"* {kind} {number}0112233445566778899aabbccddeeff {KEY}\n"
               for number, kind in enumerate(("video", "audio")))
SHAPES = {
    "last": [],
    "first": ["-movflags", "+faststart"],
    "fragmented": ["-movflags", "frag_keyframe+empty_moov+default_base_moof"],
}


def output(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True,
                          check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ffmpeg(*arguments):
    return output("ffmpeg", "-v", "error", "-nostdin", "-y", *arguments)


class Node(NginxInstance):
    """/<scheme>/<path>; /far/<path> comes out of a storage, in slices that
    nothing is aligned to."""

    def __init__(self, folder, films, workers=2, size="1g"):
        port, storage = free_port(), free_port()
        (folder / "keys").write_text(KEYS)
        super().__init__(folder, f"""
            log_format storage "$uri $http_range";
            server {{
                listen 127.0.0.1:{storage};
                access_log {folder}/storage.log storage;
                location / {{ root {films}; }}
            }}
            package_plain {folder}/kept size={size} segment={SEGMENT_S}s;
            package_keys {folder}/keys;
            server {{
                listen 127.0.0.1:{port};
                location ~ ^/far/(.*)$ {{
                    package $1;
                    package_fill /slices/;
                    package_slice 20011;
                }}
                location ~ ^/([a-z]+)/(.*)$ {{
                    package $2;
                    package_root {films};
                    package_encryption $1;
                }}
                location ^~ /slices/ {{
                    internal;
                    proxy_pass http://127.0.0.1:{storage}/;
                    proxy_set_header Range $package_slice_range;
                }}
            }}""", port, modules=("package",), workers=workers)
        self.kept = folder / "kept"

    def get(self, path, status=200):
        answer = requests.get(f"{self.url}/{path}", timeout=20)
        assert answer.status_code == status, self.log()
        return answer

    def track(self, film, track, scheme="off"):
        playlist = self.get(f"{scheme}/{film}/{track}/index.m3u8").text
        names = re.findall(r"^\d+\.m4s$", playlist, re.M)
        return b"".join(self.get(f"{scheme}/{film}/{track}/{name}").content
                        for name in ["init.mp4", *names])

    def asked(self):
        """What the storage was asked for so far."""
        return (self.folder / "storage.log").read_text().splitlines()

    def kept_films(self):
        return [p for p in self.kept.iterdir() if p.is_dir()]


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """<shape>/1/film.mp4: B-frames, and two sounds with priming in between."""
    root = tmp_path_factory.mktemp("films")
    made = root / "made.mp4"
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=192x108:r={RATE}:d={SECONDS}",
           "-f", "lavfi", "-i", f"sine=440:r=44100:d={SECONDS}",
           "-f", "lavfi", "-i", f"sine=880:r=48000:d={SECONDS}",
           "-map", "0", "-map", "1", "-map", "2", "-c:v", "libx264",
           "-preset", "veryfast", "-bf", 3, "-g", SEGMENT_S * RATE,
           "-sc_threshold", 0, "-pix_fmt", "yuv420p", "-c:a", "aac",
           "-metadata:s:a:0", "language=deu", made)
    for shape, options in SHAPES.items():
        (root / shape / "1").mkdir(parents=True)
        ffmpeg("-i", made, "-map", 0, "-c", "copy", *options,
               root / shape / "1" / "film.mp4")
    return root


@pytest.fixture(scope="module")
def node(tmp_path_factory, films):
    with Node(tmp_path_factory.mktemp("node"), films) as instance:
        yield instance
        assert "[alert]" not in instance.log()


def digests(source, *options):
    said = ffmpeg(*options, "-i", source, "-map", "0:v", "-fps_mode",
                  "passthrough", "-f", "framemd5", "-").decode()
    return [line.split(",")[5] for line in said.splitlines()
            if not line.startswith("#")]


def pcm(source, stream="0:a:0"):
    return ffmpeg("-i", source, "-map", stream, "-f", "s16le", "-")


def film_of(films, name):
    folder = films / name / "1"
    folder.mkdir(parents=True)
    return folder / "film.mp4"


@pytest.mark.parametrize("shape", SHAPES)
def test_frames_in_hls_and_dash_are_those_of_the_film(node, films, shape):
    film = films / shape / "1" / "film.mp4"
    for top in ("master.m3u8", "manifest.mpd"):
        url = f"{node.url}/off/{shape}/1/{top}"
        assert digests(url) == digests(film)
        # what is before the sound, its priming, comes out of segments, too
        assert pcm(film) in pcm(url)
    # an empty moov tells of no edit: the delay of B-frames is shown
    late = 0.08 if shape == "fragmented" else 0
    master = node.get(f"off/{shape}/1/master.m3u8").text
    assert 'LANGUAGE="deu"' in master and "a1/index.m3u8" in master
    for track in ("v0", "a0", "a1"):
        playlist = node.get(f"off/{shape}/1/{track}/index.m3u8").text
        lengths = list(map(float, re.findall(r"#EXTINF:([\d.]+)", playlist)))
        assert len(lengths) == COUNT
        assert SECONDS - 0.001 < sum(lengths) < SECONDS + late + 0.001


def test_answers_are_those_of_files(node):
    url = f"{node.url}/off/last/1/v0/2.m4s"
    whole = requests.get(url, timeout=20)
    assert whole.status_code == 200
    assert whole.headers["Content-Type"] == "video/mp4"
    part = requests.get(url, headers={"Range": "bytes=100-199"}, timeout=20)
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    assert part.headers["ETag"] == whole.headers["ETag"]
    head = requests.head(url, timeout=20)
    assert head.headers["Content-Length"] == str(len(whole.content))
    for path in (f"v0/{COUNT}.m4s", "v1/0.m4s", "v1/index.m3u8",
                 "s0/index.m3u8"):
        node.get(f"off/last/1/{path}", 404)
    node.get("off/none/1/master.m3u8", 404)


def test_it_has_the_text_tracks_of_its_file(node, films):
    film = film_of(films, "texts")
    shutil.copy(films / "last" / "1" / "film.mp4", film)
    webvtt_add(film, [(1500, 4250, "line:0", "One"), (8000, 20000, "", "Two")],
               "fra", "forced-subtitle")
    master = node.get("off/texts/1/master.m3u8").text
    assert ('LANGUAGE="fra",DEFAULT=NO,AUTOSELECT=YES,FORCED=YES,'
            'URI="s0/index.m3u8"\n') in master
    assert node.get("off/texts/1/s0/index.m3u8").text.count("#EXTINF") == COUNT
    one = "00:00:01.500 --> 00:00:04.250 line:0\nOne\n\n"
    two = "00:00:08.000 --> 00:00:20.000\nTwo\n\n"
    head = "\n\nSTYLE\n::cue { color: lime }\n\n"
    whole = node.get("off/texts/1/s0/all.vtt")
    assert whole.text == "WEBVTT" + head + one + two
    for number, cues in enumerate((one, one, one, "", two)):
        text = node.get(f"off/texts/1/s0/{number}.vtt").text
        assert text.startswith("WEBVTT\nX-TIMESTAMP-MAP=")
        assert text.endswith(head + cues)
    # whose file is made again when the folder had to go
    for name in ("0.vtt", "all.vtt", "0-0.vtt"):
        for kept in node.kept_films():
            shutil.rmtree(kept)
        node.get(f"off/texts/1/s0/{name}")
    node.get("off/texts/1/s0/0.m4s", 404)
    node.get("off/texts/1/s0/5.vtt", 404)
    # all over a film that is far
    assert "SUBTITLES" not in node.get("far/texts/1/master.m3u8").text
    data = film.read_bytes()
    at = data.index(b"vttc") - 4
    film_of(films, "texts-spoiled").write_bytes(
        data[:at] + b"\0\0\1\0" + data[at + 4:])
    node.get("off/texts-spoiled/1/master.m3u8", 500)
    assert f"box 'vttc' at byte {at}" in node.log().splitlines()[-1]


@pytest.mark.parametrize("scheme", ("cenc", "cbcs"))
def test_it_can_be_encrypted(node, films, tmp_path, scheme):
    """Which takes the subsamples, found when a segment is first asked for."""
    out = tmp_path / "out.mp4"
    out.write_bytes(node.track("first/1", "v0", scheme))
    film = films / "first" / "1" / "film.mp4"
    # seeking, FFmpeg reads ahead to the subsamples of the next fragment
    assert digests(out, "-seekable", 0, "-decryption_key", KEY) \
        == digests(film)
    assert b"senc" in out.read_bytes()
    assert node.track("first/1", "a0", scheme) != node.track("first/1", "a0")


def test_a_picture_of_too_many_slices_plays_in_the_clear(node, films):
    """Their subsamples have no room in the map."""
    film = film_of(films, "slices")
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=64x1600:r={RATE}:d=2,noise=alls=99",
           "-c:v", "libx264", "-preset", "ultrafast", "-slices", 100,
           "-pix_fmt", "yuv420p", film)
    assert digests(f"{node.url}/off/slices/1/master.m3u8") == digests(film)
    node.get("cbcs/slices/1/v0/0.m4s", 500)
    assert "not supported" in node.log().splitlines()[-1]


@pytest.mark.parametrize("place", ("off", "far"))
def test_it_has_transport_streams(node, films, place):
    film = film_of(films, f"ts-{place}")
    shutil.copy(films / "last" / "1" / "film.mp4", film)
    url = f"{node.url}/{place}/ts-{place}/1/ts/"
    muxed, = set(re.findall(r"^(v0~a0/)index.m3u8$",
                            requests.get(url + "master.m3u8", timeout=20).text,
                            re.M))
    # its segments first, of which none is made yet
    for number in range(COUNT):
        part = requests.get(f"{url}{muxed}{number}.ts", timeout=20)
        assert part.status_code == 200 and part.content[::188][:1] == b"G"
        assert len(part.content) % 188 == 0
    assert requests.get(f"{url}{muxed}{COUNT}.ts",
                        timeout=20).status_code == 404
    assert digests(f"{url}{muxed}index.m3u8") == digests(film)
    heard, source = pcm(f"{url}{muxed}index.m3u8"), pcm(film)
    # behind the priming, which no edit list passes over there
    assert source[4096:40960] in heard
    assert digests(f"{url}v0/index.m3u8") == digests(film)
    assert requests.get(f"{url}a1/0.ts", timeout=20).status_code == 200


def test_viewers_that_come_at_once_wait_for_one_making(node, films):
    shutil.copy(films / "first" / "1" / "film.mp4", film_of(films, "new"))
    before = set(node.kept_films())
    paths = ["master.m3u8", "manifest.mpd", "v0/index.m3u8", "a0/init.mp4",
             "v0/1.m4s", "a0/1.m4s", "a1/4.m4s"] * 8
    with concurrent.futures.ThreadPoolExecutor(28) as threads:
        answers = list(threads.map(
            lambda path: node.get(f"off/new/1/{path}").content, paths))
    for path, answer in zip(paths, answers):
        assert answer == answers[paths.index(path)]
        assert answer == node.get(f"off/first/1/{path}").content
    made, = set(node.kept_films()) - before
    assert sorted(p.name for p in made.iterdir()) == [
        "a0.1", "a0.idx", "a0.places", "a1.4", "a1.idx", "a1.places",
        "asset.idx", "v0.1", "v0.idx", "v0.places"]


def test_viewers_that_leave_take_nothing_with_them(node, films):
    shutil.copy(films / "first" / "1" / "film.mp4", film_of(films, "left"))
    for number in range(60):
        path = ("v0/0.m4s", "a0/index.m3u8", "a0/3.m4s")[number % 3]
        line = socket.create_connection(("127.0.0.1", node.port))
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                        struct.pack("ii", 1, 0))
        line.sendall(f"GET /off/left/1/{path} HTTP/1.1\r\nHost: a\r\n\r\n"
                     .encode())
        line.close()
    assert node.get("off/left/1/v0/0.m4s").content \
        == node.get("off/first/1/v0/0.m4s").content


def test_a_bad_film_is_named_once_and_remembered(node, films):
    film = film_of(films, "bad")
    whole = (films / "first" / "1" / "film.mp4").read_bytes()
    at = whole.index(b"stsz") - 4
    film.write_bytes(whole[:at] + b"\0\0\0\7" + whole[at + 4:])
    for _ in range(3):
        for path in ("master.m3u8", "v0/index.m3u8", "a0/0.m4s"):
            node.get(f"off/bad/1/{path}", 500)
    told = [line for line in node.log().splitlines() if "bad/1" in line]
    assert len(told) == 1
    assert f"box 'stsz' at byte {at}" in told[0]

    film = film_of(films, "short")
    film.write_bytes(whole[:len(whole) // 2])
    node.get("off/short/1/master.m3u8", 500)
    assert "truncated file" in node.log().splitlines()[-1]
    film = film_of(films, "text")
    film.write_text("no film at all, but long enough to look at\n")
    node.get("off/text/1/v0/index.m3u8", 500)
    node.get("off/first/1/v0/index.m3u8")


def first_iv(segment):
    at = segment.index(b"senc") + 12  # behind flags and the count
    return segment[at:at + 8]


def test_a_changed_film_is_another_one(node, films):
    film = film_of(films, "changed")
    shutil.copy(films / "first" / "1" / "film.mp4", film)
    before = node.get("off/changed/1/v0/0.m4s")
    sealed = node.get("cenc/changed/1/v0/0.m4s").content
    ffmpeg("-i", films / "last" / "1" / "film.mp4", "-map", 0, "-c", "copy",
           "-t", 3, film)
    playlist = node.get("off/changed/1/v0/index.m3u8").text
    assert playlist.count("#EXTINF") == 2
    after = node.get("off/changed/1/v0/0.m4s")
    assert after.headers["ETag"] != before.headers["ETag"]
    node.get("off/changed/1/v0/4.m4s", 404)
    # the key may be the same: its IVs are not
    assert first_iv(node.get("cenc/changed/1/v0/0.m4s").content) \
        != first_iv(sealed)


def marks(folder):
    return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns)
            for p in folder.rglob("*") if p.is_file()}


def test_what_was_made_is_found_after_a_restart(films, tmp_path):
    with Node(tmp_path, films) as first:
        want = first.track("last/1", "a0")
        kept = marks(first.kept)
    with Node(tmp_path, films) as second:
        assert second.track("last/1", "a0") == want
        assert marks(second.kept) == kept
        # what is spoiled is made anew
        index, = second.kept.glob("*/asset.idx")
        index.write_bytes(index.read_bytes()[:-1])
        second.get("off/last/1/master.m3u8")
        assert marks(second.kept) != kept
        modified = second.get("off/last/1/a0/0.m4s").headers["Last-Modified"]
        film = films / "last" / "1" / "film.mp4"
        assert modified == output(
            "date", "-u", "-R", "-d", f"@{int(film.stat().st_mtime)}"
        ).decode().strip().replace("+0000", "GMT")
    with Node(tmp_path, films, size="1") as third:  # the manager looks at once
        wait_for(lambda: not third.kept_films(), what="an empty folder")
        assert third.track("last/1", "a0") == want
        assert third.track("last/1", "v0")


def test_on_a_full_disk_the_film_used_last_has_the_room(films, tmp_path):
    with private_mounts():
        disk = Disk(tmp_path / "kept", "800k")
        with Node(tmp_path, films) as node:
            for shape in ("last", "fragmented", "last", "first"):
                for track in ("v0", "a0", "a1"):
                    assert node.track(f"{shape}/1", track)
            assert len(node.kept_films()) < 3
            disk.fill()
            for folder in node.kept_films():
                shutil.rmtree(folder)
            disk.fill()
            node.get("off/last/1/master.m3u8", 500)
            assert "No space left on device" in node.log().splitlines()[-1]
            disk.make_room()
            node.get("off/last/1/v0/0.m4s")


# ---- behind a fill location ----


@pytest.mark.parametrize("shape", SHAPES)
def test_a_far_film_has_the_answers_of_a_near_one(node, shape):
    names = ["master.m3u8", "manifest.mpd", "v0/index.m3u8", "v0/iframes.m3u8"]
    for name in names:
        assert node.get(f"far/{shape}/1/{name}").content \
            == node.get(f"off/{shape}/1/{name}").content
    for track in ("v0", "a0", "a1"):
        assert node.track(f"{shape}/1", track, "far") \
            == node.track(f"{shape}/1", track)
    before = node.asked()
    node.track(f"{shape}/1", "v0", "far")
    assert node.asked() == before


def test_of_a_far_film_is_read_what_is_watched(node, films):
    film = film_of(films, "watched")
    shutil.copy(films / "last" / "1" / "film.mp4", film)
    before = len(node.asked())
    node.get("far/watched/1/master.m3u8")
    node.get("far/watched/1/a0/index.m3u8")
    node.get("far/watched/1/a0/2.m4s")
    read = 20011 * (len(node.asked()) - before)
    assert read < film.stat().st_size


def test_far_films_that_are_not_there_or_bad_or_changed(node, films):
    node.get("far/none/1/master.m3u8", 404)
    whole = (films / "first" / "1" / "film.mp4").read_bytes()
    at = whole.index(b"stsz") - 4
    film_of(films, "far-bad").write_bytes(
        whole[:at] + b"\0\0\0\7" + whole[at + 4:])
    node.get("far/far-bad/1/v0/index.m3u8", 500)
    assert f"box 'stsz' at byte {at}" in node.log().splitlines()[-1]

    film = film_of(films, "far-changed")
    shutil.copy(films / "first" / "1" / "film.mp4", film)
    with requests.Session() as line:  # to one worker
        for number, status in ((0, 200), (1, 502), (1, 200)):
            answer = line.get(
                f"{node.url}/far/far-changed/1/v0/{number}.m4s", timeout=20)
            assert answer.status_code == status
            film.write_bytes(whole[:-1] + b"x")
            os.utime(film, (1, 1))
