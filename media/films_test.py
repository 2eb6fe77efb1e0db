# SPDX-License-Identifier: Apache-2.0
"""Films made by FFmpeg, packaged, and read back by FFmpeg.

The program under test is named by the variable CMAF_DUMP; the films are a few
seconds long and cover what encoders vary: order of frames, key frames, rates,
where moov is, priming of sound.
"""

import functools
import json
import os
import re
import struct
import subprocess

import pytest

CMAF_DUMP = os.environ["CMAF_DUMP"]  # meson sets it

# video: rate, encoder options, muxer options
FILMS = {
    "b_frames_23_976": dict(
        rate="24000/1001", seconds=11,
        video=["-c:v", "libx264", "-preset", "veryfast", "-bf", "3",
               "-force_key_frames", "expr:gte(t,n_forced*4)"],
        sound=["-ar", "44100", "-ac", "1"], mux=[]),
    "moov_first_pyramid": dict(
        rate="25", seconds=9,
        video=["-c:v", "libx264", "-preset", "veryfast", "-bf", "5",
               "-b_strategy", "0", "-g", "50", "-sc_threshold", "0"],
        sound=["-ar", "48000", "-ac", "6"], mux=["-movflags", "+faststart"]),
    "odd_gops": dict(
        rate="30", seconds=10,
        video=["-c:v", "libx264", "-preset", "ultrafast", "-g", "37"],
        sound=["-ar", "22050", "-ac", "2"], mux=[]),
    "open_gops": dict(
        rate="25", seconds=9,
        video=["-c:v", "libx264", "-preset", "veryfast", "-bf", "3",
               "-x264-params", "open-gop=1:keyint=50:scenecut=0:b-adapt=0"],
        sound=["-ar", "44100", "-ac", "2"], mux=[]),
    "hevc": dict(
        rate="24", seconds=5,
        video=["-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
               "log-level=none:keyint=24:bframes=3", "-tag:v", "hvc1"],
        sound=["-ar", "32000", "-ac", "1"], mux=[]),
    "short": dict(
        rate="25", seconds=0.2,
        video=["-c:v", "libx264", "-preset", "veryfast"],
        sound=["-ar", "44100", "-ac", "2"], mux=[]),
}


def run(*args):
    done = subprocess.run(args, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert done.stderr == b"", done.stderr.decode()[-2000:]
    return done.stdout


def ffmpeg(*args):
    return run("ffmpeg", "-v", "error", "-nostdin", "-xerror", *args)


def probe(path, *args):
    out = run("ffprobe", "-v", "error", "-of", "json", *args, str(path))
    return json.loads(out)


@functools.cache
def packets(path):
    found = probe(path, "-show_packets", "-select_streams", "0")["packets"]
    return [(p["pts"], p["dts"], int(p["size"]), p["flags"][0])
            for p in found]


def extinfs(playlist):
    return [float(x) for x in
            re.findall(r"^#EXTINF:([0-9.]+),$", playlist, re.M)]


def boxes(data):
    """The types of the boxes at the top; they fill the bytes exactly."""
    types, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        assert 8 <= size <= len(data) - at
        types.append(kind.decode())
        at += size
    return types


class Film:
    def __init__(self, folder, name):
        spec = FILMS[name]
        self.seconds = spec["seconds"]
        self.video, self.sound = folder / "v.mp4", folder / "a.mp4"
        self.out = folder / "out"
        length = f"d={spec['seconds']}"
        ffmpeg("-f", "lavfi", "-i",
               f"testsrc2=s=192x108:r={spec['rate']}:{length}",
               *spec["video"], "-pix_fmt", "yuv420p", "-threads", "1",
               *spec["mux"], str(self.video))
        ffmpeg("-f", "lavfi", "-i", f"sine=f=330:r=48000:{length}",
               *spec["sound"], "-c:a", "aac", "-b:a", "96k", *spec["mux"],
               str(self.sound))
        run(CMAF_DUMP, str(self.out), "4000", f"v0={self.video}",
            f"a0={self.sound}")

    def segments(self, track):
        count = len(list((self.out / track).glob("*.m4s")))
        return [self.out / track / f"{n}.m4s" for n in range(count)]


@pytest.fixture(scope="module", params=FILMS)
def film(request, tmp_path_factory):
    return Film(tmp_path_factory.mktemp(request.param), request.param)


def test_every_picture_is_the_source_s_at_the_source_s_time(film):
    source = ffmpeg("-i", str(film.video), "-f", "framemd5", "-")
    packaged = ffmpeg("-i", str(film.out / "v0/all.mp4"),
                      "-f", "framemd5", "-")
    assert packaged == source


def test_sound_is_the_source_s_behind_its_priming(film):
    """FFmpeg passes over the priming in a plain MP4, and gives it out (before
    time 0) in a fragmented one; it does so with what its own muxer writes.
    The length of the last frame only a plain MP4 can bound."""
    decode = ["-f", "s16le", "-"]
    channels = probe(film.sound, "-show_streams")["streams"][0]["channels"]
    source = ffmpeg("-i", str(film.sound), *decode)
    packaged = ffmpeg("-i", str(film.out / "a0/all.mp4"), *decode)
    priming = 1024 * 2 * channels
    heard = packaged[priming:]
    assert heard[:len(source)] == source
    assert len(heard) - len(source) < priming


def test_packets_have_the_times_and_sizes_of_the_source(film):
    for track, source in (("v0", film.video), ("a0", film.sound)):
        packaged = packets(film.out / track / "all.mp4")
        assert packaged == packets(source)


def test_each_segment_starts_where_the_one_before_ended(film):
    for track in ("v0", "a0"):
        init = (film.out / track / "init.mp4").read_bytes()
        playlist = (film.out / track / "index.m3u8").read_text()
        start = 0.0
        for segment, duration in zip(film.segments(track), extinfs(playlist)):
            one = film.out / track / "one.mp4"
            one.write_bytes(init + segment.read_bytes())
            found = probe(one, "-show_packets", "-show_streams")
            assert found["packets"][0]["flags"][0] == "K"
            first = min(float(p["pts_time"]) for p in found["packets"])
            if start == 0 and track == "a0":
                first += 1024 / int(found["streams"][0]["sample_rate"])
            assert first == pytest.approx(start, abs=2e-5)
            start += duration


def test_playlists_sum_up_to_the_source_s_duration(film):
    for track, source in (("v0", film.video), ("a0", film.sound)):
        playlist = (film.out / track / "index.m3u8").read_text()
        durations = extinfs(playlist)
        assert len(durations) == len(film.segments(track))
        wanted = float(probe(source, "-show_streams")["streams"][0]["duration"])
        assert sum(durations) == pytest.approx(wanted, abs=0.001)
        target = int(re.search(r"TARGETDURATION:(\d+)", playlist).group(1))
        assert all(round(d) <= target for d in durations)


def test_segments_are_cut_about_every_four_seconds(film):
    playlist = (film.out / "v0/index.m3u8").read_text()
    sound = (film.out / "a0/index.m3u8").read_text()
    pictures, frames = extinfs(playlist), extinfs(sound)
    assert max(pictures) < 6
    assert len(pictures) == max(1, len(frames))
    # a picture of an open GOP is shown before the key frame it follows
    for a, b in list(zip(pictures, frames))[:-1]:
        assert a == pytest.approx(b, abs=0.2)


def test_boxes_stand_in_the_order_of_cmaf(film):
    for track in ("v0", "a0"):
        assert boxes((film.out / track / "init.mp4").read_bytes()) \
            == ["ftyp", "moov"]
        for segment in film.segments(track):
            assert boxes(segment.read_bytes()) == ["styp", "moof", "mdat"]


def test_the_multivariant_playlist_plays_whole(film):
    master = film.out / "master.m3u8"
    ffmpeg("-i", str(master), "-f", "null", "-")
    found = probe(master, "-count_packets", "-show_streams", "-show_format")
    counts = {s["codec_type"]: int(s["nb_read_packets"])
              for s in found["streams"]}
    assert counts["video"] == len(packets(film.video))
    assert counts["audio"] == len(packets(film.sound))
    start = {s["codec_type"]: float(s["start_time"])
             for s in found["streams"]}
    assert start["video"] == pytest.approx(0, abs=1e-5)
    assert -0.05 < start["audio"] <= 0
    assert float(found["format"]["duration"]) \
        == pytest.approx(sum(extinfs(
            (film.out / "v0/index.m3u8").read_text())), abs=0.1)


def test_a_film_cut_off_is_refused_with_the_box(film):
    whole = film.video.read_bytes()
    cut = film.video.with_name("cut.mp4")
    for left in (len(whole) * 9 // 10, len(whole) - 1, 100, 0):
        cut.write_bytes(whole[:left])
        done = subprocess.run(
            [CMAF_DUMP, str(film.out.with_name("none")), "4000", f"v0={cut}"],
            capture_output=True, text=True)
        assert done.returncode == 1
        assert re.search(r"cut\.mp4: box '.{4}' at \d+: .+", done.stderr)
