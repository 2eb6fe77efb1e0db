# SPDX-License-Identifier: Apache-2.0
"""vodst ingest: other encoders, ladders that are measured, loudness, and films
that are hard to take."""

import json
import subprocess

import pytest

from disks import Disk, private_mounts
from test_ingest import (  # noqa: F401, pylint: disable=unused-import
    api, fake_tools, ffmpeg, key_frame_times, picture, place, probe)


def hdr_make(path, transfer="smpte2084"):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2", "-c:v",
           "libx265", "-preset", "ultrafast", "-x265-params",
           "log-level=none", "-pix_fmt", "yuv420p10le", "-color_primaries",
           "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc",
           "-tag:v", "hvc1", path)
    return path


@pytest.mark.parametrize("codec", ["hevc", "av1"])
def test_01_key_frames_of_all_codecs_are_at_the_same_times(place, codec):
    film = place.folder / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=24000/1001:d=4", "-c:v",
           "libx264", "-preset", "ultrafast", film)
    options = ["--segment", "1s", "--ladder", "90,64", "--no-thumbnails"]
    _, folder = place.ingest(film, "film", *options)
    expected = key_frame_times(folder / "v0.mp4")
    result, folder = place.ingest(film, "film", *options, "--codec", codec)
    assert result["frames"] == picture(film)[0]
    for name in ("v0.mp4", "v1.mp4"):
        stream = probe(folder / name)["streams"][0]
        assert stream["codec_name"] == codec
        assert stream["pix_fmt"] == "yuv420p"
        assert picture(folder / name)[0] == result["frames"]
        assert key_frame_times(folder / name) == expected
    again, _ = place.ingest(film, "film", *options, "--codec", codec)
    assert again["version"] == result["version"]  # of one thread
    # and in pieces, whose sample entries must be one
    done = place.run(film, "film", *options, "--codec", codec, "--piece", "2s",
                     "--json")
    assert done.returncode == 0 and "fit together" not in done.stdout
    version = json.loads(done.stdout.splitlines()[-1])["version"]
    path = place.root / "film" / version / "v0.mp4"
    assert key_frame_times(path) == expected
    assert picture(path)[0] == result["frames"]


@pytest.mark.parametrize("codec, transfer, code", [
    ("hevc", "smpte2084", 16), ("hevc", "arib-std-b67", 18),
    ("av1", "smpte2084", 16)])
def test_02_a_high_dynamic_range_stays_where_it_can(place, codec, transfer,
                                                    code):
    film = hdr_make(place.folder / "film.mp4", transfer)
    result, folder = place.ingest(film, "film", "--segment", "1s", "--codec",
                                  codec, "--thumbnails", "1s")
    stream = probe(folder / "v0.mp4")["streams"][0]
    assert stream["pix_fmt"] == "yuv420p10le"
    assert [stream[f"color_{what}"] for what in
            ("primaries", "transfer", "space")] \
        == ["bt2020", transfer, "bt2020nc"]
    assert result["frames"] == 50
    # for players that read boxes alone, and for VIDEO-RANGE
    assert b"colrnclx\0\x09\0" + bytes([code]) + b"\0\x09" \
        in (folder / "v0.mp4").read_bytes()


def test_03_an_ffmpeg_that_cannot_map_tones_says_what_can_be_done(place):
    film = hdr_make(place.folder / "film.mp4")
    environment = fake_tools(place.folder, ffmpeg=(
        "echo \"[AVFilterGraph] No such filter: 'zscale'\" >&2; exit 1\n"))
    error = place.refused(film, "bad", env=environment)
    assert "--codec hevc" in error and "zscale" in error


def loudness(path):
    said = subprocess.run(
        ["ffmpeg", "-hide_banner", "-nostats", "-i", path, "-af", "ebur128",
         "-f", "null", "-"], capture_output=True, text=True, check=True).stderr
    return float(said.rsplit("I:", 1)[1].split()[0])


def test_04_loudness_is_left_alone_unless_asked(place):
    film = place.folder / "film.m4a"
    ffmpeg("-f", "lavfi", "-i", "sine=d=5:r=48000,volume=0.2", "-f", "lavfi",
           "-i", "anullsrc=d=5", "-map", 0, "-map", 1, film)
    _, folder = place.ingest(film, "film")
    assert loudness(folder / "a0.mp4") == pytest.approx(loudness(film),
                                                        abs=0.3)
    _, folder = place.ingest(film, "film", "--loudness", "-23")
    assert loudness(folder / "a0.mp4") == pytest.approx(-23, abs=0.5)
    assert loudness(folder / "a1.mp4") <= -70  # silence has none
    assert probe(folder / "a0.mp4")["streams"][0]["sample_rate"] == "48000"


# ---- ladders ----

def test_05_ten_minutes_of_black_are_one_cheap_rendition(place):
    film = place.folder / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=black:s=640x360:r=2:d=600", "-c:v",
           "libx264", "-preset", "ultrafast", "-g", 250, film)
    result, folder = place.ingest(film, "black", "--ladder", "auto",
                                  "--segment", "10s", "--no-thumbnails")
    assert result["duration_ms"] == 600000 and result["segments"] == 60
    assert [one["height"] for one in result["renditions"]] == [360]
    assert picture(folder / "v0.mp4")[0] == 1200
    assert (folder / "v0.mp4").stat().st_size * 8 / 600 < 30000


def test_06_a_ladder_is_what_the_film_needs(place):
    film = place.folder / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=3,noise=alls=40:"
           "allf=t", "-c:v", "libx264", "-preset", "ultrafast", "-crf", 10,
           film)
    done = place.run(film, "film", "--ladder", "auto", "--segment", "1s",
                     "--json")
    assert done.returncode == 0, done.stdout
    lines = list(map(json.loads, done.stdout.splitlines()))
    heights = [one["height"] for one in lines[-1]["renditions"]]
    assert heights[0] == 360 and len(heights) > 1
    told, = [line["text"] for line in lines if line["event"] == "note"
             and line["text"].startswith("measured: ")]
    for height in heights:
        assert f"x{height} " in told
    # nothing of the measuring is stored
    assert {name.split("/")[2].split(".")[0] for name in place.stored()
            if "/v" in name} == {f"v{i}" for i in range(len(heights))}


# ---- around it ----

def test_07_a_full_disk_is_told_and_nothing_stays(place):
    """Where it is encoded, and where it is stored."""
    film = place.folder / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=4,noise=alls=60:"
           "allf=t", "-c:v", "libx264", "-preset", "ultrafast", film)
    options = ["--ladder", "180", "--crf", 10, "--no-thumbnails"]
    with private_mounts():
        for size, expected in [
                ("100k", "the disk is full where the film is encoded"),
                ("450k", "No space left on device")]:
            place.temp = Disk(place.folder / size, size).folder
            assert expected in place.refused(film, "bad", *options)
        place.temp = place.folder / "temp"
        place.root = Disk(place.folder / "full", "200k").folder
        place.storage = [f"--storage={place.root}"]
        error = place.refused(film, "bad", *options)
        assert "No space left on device" in error
        assert list(place.root.iterdir()) == []
