# SPDX-License-Identifier: Apache-2.0
"""The stored form: a track file that any player plays as it lies there, and
an index that is small beside it."""

import json
import pathlib
import re
import shutil
import struct
import subprocess

import pytest

from nginx_instance import BUILD
from package_node import PackageNode, film_tracks

INGEST = BUILD / "modules" / "package" / "package_test_ingest"
SECONDS = 11
PRIVATE_MAX = 500_000  # bytes, of the index of a film of 2 hours


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True,
                          text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def ffmpeg(*arguments):
    return run("ffmpeg", "-v", "error", "-nostdin", "-xerror", *arguments)


def ingest(folder, segment_ms, *tracks):
    """What the encoder made is kept in `source`."""
    shutil.copytree(folder, folder.with_name("source"))
    run(INGEST, folder, segment_ms, *tracks)


def serving(folder, root):
    return PackageNode(folder, root, f"""
        location / {{
            package_root {root};
            location ~ ^/(.*)$ {{ package $1; }}
        }}""")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "film" / "1"
    folder.mkdir(parents=True)
    film_tracks(folder, SECONDS, gop=48)
    ingest(folder, 2000, "v0", "a0")
    return folder


def frames(path, stream="0"):
    """(time, digest) of each frame, as ffmpeg decodes it; not a word more."""
    said = ffmpeg("-i", path, "-map", stream, "-f", "framemd5", "-")
    return [(line.split(",")[2], line.split(",")[5])
            for line in said.splitlines() if not line.startswith("#")]


def boxes(data):
    """(type, offset, size) of the boxes at the top."""
    found, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        assert 8 <= size <= len(data) - at
        found.append((kind.decode(), at, size))
        at += size
    return found


# ---- the track file ----


def test_any_player_shows_every_frame_of_a_track_file(film):
    source = film.with_name("source")
    assert frames(film / "v0.mp4") == frames(source / "v0.mp4")
    # of a plain file the demuxer drops the frame of priming
    sound = frames(film / "a0.mp4")
    assert [one[1] for one in sound[1:]] \
        == [one[1] for one in frames(source / "a0.mp4")]


def test_packets_have_the_times_and_sizes_of_the_source(film):
    for track in ("v0", "a0"):
        told = [json.loads(run(
            "ffprobe", "-v", "error", "-of", "json", "-show_packets",
            "-show_entries", "packet=pts,dts,size,flags", folder
            / f"{track}.mp4"))["packets"]
            for folder in (film, film.with_name("source"))]
        for one in told[0] + told[1]:
            # of a plain file the frame of priming is marked for dropping
            one["flags"] = one["flags"][0]
            one.pop("side_data_list", None)
        assert told[0] == told[1]


def test_a_track_file_can_be_sought_in(film):
    told = ffmpeg("-ss", 7, "-i", film / "v0.mp4", "-frames:v", 1, "-f",
                  "framemd5", "-").splitlines()[-1]
    want = ffmpeg("-ss", 7, "-i", film.with_name("source") / "v0.mp4",
                  "-frames:v", 1, "-f", "framemd5", "-").splitlines()[-1]
    assert told == want


def test_what_is_served_lies_in_the_track_file_as_it_is(film, tmp_path):
    with serving(tmp_path / "node", film.parents[1]) as node:
        for track in ("v0", "a0"):
            stored = (film / f"{track}.mp4").read_bytes()
            found = boxes(stored)
            kinds = [kind for kind, _, _ in found]
            assert kinds == ["ftyp", "moov"] \
                + ["free", "styp", "moof", "mdat"] * (len(kinds) // 4)
            init = node.get(f"/film/1/{track}/init.mp4").content
            assert stored.startswith(init)
            assert found[2][1] == len(init)
            starts = [at for kind, at, _ in found if kind == "styp"]
            assert all(start % 4096 == 0 for start in starts)
            ends = [at + size for kind, at, size in found if kind == "mdat"]
            playlist = node.get(f"/film/1/{track}/index.m3u8").text
            assert playlist.count("#EXTINF") == len(starts)
            for number, (start, end) in enumerate(zip(starts, ends)):
                served = node.get(f"/film/1/{track}/{number}.m4s").content
                assert served == stored[start:end]


def test_each_range_of_the_iframe_playlist_is_one_picture(film, tmp_path):
    """The one of the source with that time; a decoder needs no more."""
    keys = iter(frames_of_keys(film.with_name("source") / "v0.mp4"))
    with serving(tmp_path / "node", film.parents[1]) as node:
        top = "/film/1/v0/"
        playlist = node.get(top + "iframes.m3u8").text
        assert "#EXT-X-I-FRAMES-ONLY\n" in playlist
        init = node.get(top + "init.mp4").content
        found = re.findall(r"^#EXT-X-BYTERANGE:(\d+)@0\n(\d+\.m4s)$", playlist,
                           re.M)
        assert len(found) == playlist.count("#EXTINF") == 6
        for length, name in found:
            part = node.get(top + name,
                            headers={"Range": f"bytes=0-{int(length) - 1}"})
            assert part.status_code == 206
            one = tmp_path / "one.mp4"
            one.write_bytes(init + part.content)
            said = subprocess.run(
                ["ffmpeg", "-v", "quiet", "-i", one, "-frames:v", "1", "-f",
                 "framemd5", "-"], capture_output=True, text=True, check=True)
            shown = [line.split(",")[5] for line in said.stdout.splitlines()
                     if not line.startswith("#")]
            assert shown == [next(keys)]
    assert next(keys, None) is None


def frames_of_keys(path):
    said = ffmpeg("-skip_frame", "nokey", "-i", path, "-map", "0", "-vsync",
                  "0", "-f", "framemd5", "-")
    return [line.split(",")[5] for line in said.splitlines()
            if not line.startswith("#")]


# ---- what it takes ----


def private_bytes(pid):
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(n) * 1024 for n in
               re.findall(r"^Private_\w+:\s+(\d+) kB$", text, re.M))


@pytest.fixture(scope="module")
def long_film(tmp_path_factory):
    """Two hours in segments of 4 s. What is in the pictures does not matter:
    one GOP is encoded, and repeated."""
    folder = tmp_path_factory.mktemp("long") / "film" / "1"
    folder.mkdir(parents=True)
    part, sound = folder.parents[1] / "v.mp4", folder.parents[1] / "a.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x36:r=24:d=4", "-c:v", "libx264",
           "-preset", "ultrafast", "-bf", 2, "-g", 96, "-pix_fmt", "yuv420p",
           part)
    ffmpeg("-stream_loop", 1799, "-i", part, "-c", "copy", folder / "v0.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=440:r=48000:d=4", "-c:a", "aac", "-b:a",
           "32k", sound)
    ffmpeg("-stream_loop", -1, "-i", sound, "-t", 7200, "-c", "copy",
           folder / "a0.mp4")
    ingest(folder, 4000, "v0", "a0")
    return folder


def test_the_index_of_two_hours_is_small_in_the_file_and_in_a_worker(
        long_film, tmp_path):
    names = [f"{t}.idx" for t in ("v0", "a0")] + ["asset.idx"]
    assert sum((long_film / n).stat().st_size for n in names) < PRIVATE_MAX / 2
    root = long_film.parents[1]
    (root / "other").symlink_to(root / "film")
    used = []
    with serving(tmp_path / "node", root) as node:
        worker, = node.worker_pids()
        # the first content brings in what the worker has but once
        for content in ("other", "film"):
            before = private_bytes(worker)
            for name in ("master.m3u8", "manifest.mpd", "v0/index.m3u8",
                         "v0/iframes.m3u8", "v0/init.mp4", "v0/1799.m4s", "a0/index.m3u8",
                         "a0/init.mp4", "a0/1000.m4s"):
                answer = node.get(f"/{content}/1/{name}")
                assert answer.status_code == 200, name
            used.append(private_bytes(worker) - before)
        assert node.get("/film/1/v0/index.m3u8").text.count(".m4s") == 1800
    assert 0 < used[1] <= PRIVATE_MAX
