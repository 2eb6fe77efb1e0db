# SPDX-License-Identifier: Apache-2.0
"""Films as MPEG transport streams, made by ts_dump and read by others: FFmpeg
sees the source's pictures and sound at the source's times to the tick, over
all borders; GStreamer and hls.js play, AES-128 included."""

import functools
import http.server
import json
import os
import re
import subprocess
import threading

import pytest

from conftest import BUILD, ROOT, wait_until
from gstreamer import GStreamer

TS_DUMP = BUILD / "media" / "ts_dump"
SECOND = 90000
START = 10 * SECOND  # presentation time 0
KEY = "000102030405060708090a0b0c0d0eff"

X264 = ["-c:v", "libx264", "-preset", "ultrafast"]
AAC = ["-c:a", "aac", "-b:a", "96k"]

# rate, length, options of the encoders
FILMS = {
    "b-frames": dict(
        rate="24000/1001", seconds=11, sound=[*AAC, "-ar", "44100"],
        video=["-c:v", "libx264", "-preset", "veryfast", "-bf", "3",
               "-force_key_frames", "expr:gte(t,n_forced*4)"]),
    "pyramid": dict(
        rate="25", seconds=9, sound=[*AAC, "-ar", "48000", "-ac", "6"],
        video=["-c:v", "libx264", "-preset", "veryfast", "-bf", "5",
               "-b_strategy", "0", "-g", "50", "-sc_threshold", "0"]),
    "odd-gops": dict(
        rate="30", seconds=10, sound=[*AAC, "-ar", "22050", "-ac", "1"],
        video=[*X264, "-g", "37"]),
    "open-gops": dict(
        rate="25", seconds=9, sound=[*AAC, "-ar", "44100", "-ac", "1"],
        video=["-c:v", "libx264", "-preset", "veryfast", "-bf", "3",
               "-x264-params",
               "open-gop=1:keyint=50:scenecut=0:b-adapt=0"]),
    "own-auds": dict(
        rate="30000/1001", seconds=8, sound=[*AAC, "-ar", "32000"],
        video=[*X264, "-bf", "2", "-g", "60", "-x264-params",
               "aud=1:slices=3"]),
    "hevc": dict(
        rate="24", seconds=8, sound=[*AAC, "-ar", "48000"],
        video=["-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
               "log-level=none:keyint=48:bframes=3", "-tag:v", "hvc1"]),
    "hevc-own-auds": dict(
        rate="50", seconds=4, sound=[*AAC, "-ar", "24000"],
        video=["-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
               "log-level=none:keyint=50:bframes=0:aud=1:slices=2",
               "-tag:v", "hvc1"]),
    "gap": dict(  # of 4 s without a picture
        rate="25", seconds=12, sound=[*AAC, "-ar", "48000"], apart=4.1,
        video=["-vf", "select='not(between(t,3,7))'", "-fps_mode", "vfr",
               *X264, "-bf", "2", "-g", "40"]),
    "ac-3": dict(
        rate="25", seconds=8, sound=["-c:a", "ac3", "-ar", "48000"],
        video=[*X264, "-g", "50"]),
    "e-ac-3": dict(
        rate="25", seconds=8, sound=["-c:a", "eac3", "-ar", "48000"],
        video=[*X264, "-g", "50"]),
    "mp3": dict(
        rate="25", seconds=8, sound=["-c:a", "libmp3lame", "-ar", "44100"],
        video=[*X264, "-g", "50"]),
    "short": dict(
        rate="25", seconds=0.2, sound=[*AAC, "-ar", "44100"], video=X264),
}


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True,
                          stdin=subprocess.DEVNULL, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert done.stderr == b"", done.stderr.decode()[-2000:]
    return done.stdout


def ffmpeg(*arguments):
    return run("ffmpeg", "-v", "warning", "-nostdin", "-xerror",
               "-allowed_extensions", "ALL", *arguments)


def decode(path, *arguments):
    if path.suffix == ".m3u8":
        arguments = ["-i", path, *arguments]
        return ffmpeg(*arguments)
    return run("ffmpeg", "-v", "warning", "-nostdin", "-xerror", "-i", path,
               *arguments)


def pictures(path):
    """A digest of each decoded picture."""
    text = decode(path, "-map", "0:v", "-fps_mode", "passthrough",
                  "-f", "framemd5", "-").decode()
    return [line.split(",")[5].strip() for line in text.splitlines()
            if line and line[0] != "#"]


def sound(path, codec="pcm_s16le"):
    return decode(path, "-map", "0:a", "-c:a", codec, "-f", "s16le", "-")


@functools.cache
def packets(path, kind):
    found = json.loads(run(
        "ffprobe", "-v", "warning", "-of", "json", "-show_packets",
        "-show_streams", "-select_streams", kind, path))
    return found["streams"][0], found["packets"]


def transport(data):
    """Of each packet: PID, counter, whether a PES packet starts, its payload,
    and the clock."""
    assert len(data) % 188 == 0
    for at in range(0, len(data), 188):
        p = data[at:at + 188]
        assert p[0] == 0x47
        start, clock = 4, None
        if p[3] & 0x20:
            start += 1 + p[4]
            if p[4] > 0 and p[5] & 0x10:
                clock = int.from_bytes(p[6:10], "big") << 1 | p[10] >> 7
        yield ((p[1] & 31) << 8 | p[2], p[3] & 15, bool(p[1] & 0x40),
               p[start:], clock)


class Film:
    def __init__(self, folder, name):
        spec = FILMS[name]
        self.apart = spec.get("apart", 0.1)  # s between pictures, at most
        self.video, self.sound = folder / "v.mp4", folder / "a.mp4"
        self.out = folder / "out"
        length = f"d={spec['seconds']}"
        run("ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i",
            f"testsrc2=s=192x108:r={spec['rate']}:{length}", *spec["video"],
            "-pix_fmt", "yuv420p", "-threads", "1", self.video)
        run("ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i",
            f"sine=f=330:b=4:r=48000:{length}", *spec["sound"], self.sound)
        run(TS_DUMP, self.out, "4000", f"v0={self.video}", f"a0={self.sound}")

    def whole(self, tracks):
        return self.out / tracks / "all.ts"

    def segments(self, tracks):
        count = len(list((self.out / tracks).glob("*.ts"))) - 1
        return [self.out / tracks / f"{n}.ts" for n in range(count)]


@pytest.fixture(scope="module", params=FILMS)
def film(request, tmp_path_factory):
    return Film(tmp_path_factory.mktemp(request.param), request.param)


# ---- what is decoded ----


def test_every_picture_is_the_source_s(film):
    source = pictures(film.video)
    for tracks in ("v0", "v0~a0"):
        assert pictures(film.whole(tracks)) == source
        assert pictures(film.out / tracks / "index.m3u8") == source
    assert pictures(film.out / "master.m3u8") == source


def test_sound_is_the_source_s_behind_its_priming(film):
    stream, frames = packets(film.sound, "a")
    priming = -frames[0]["pts"] * 2 * stream["channels"]
    frame = frames[0]["duration"] * 2 * stream["channels"]
    assert priming > 0 and stream["time_base"] == f"1/{stream['sample_rate']}"
    source = sound(film.sound)
    for path in (film.whole("a0"), film.whole("v0~a0"),
                 film.out / "a0" / "index.m3u8", film.out / "master.m3u8"):
        heard = sound(path)[priming:]
        assert heard[:len(source)] == source
        assert len(heard) - len(source) < frame


# ---- when ----


def stream_time(packet, stream, name):
    """A time of the source in the stream, by the one rule of rounding."""
    num, den = map(int, stream["time_base"].split("/"))
    assert num == 1
    return START + (packet[name] * 2 * SECOND + den) // (2 * den)


def test_each_picture_has_its_time_to_the_tick(film):
    stream, source = packets(film.video, "v")
    wanted = [(stream_time(p, stream, "pts"), stream_time(p, stream, "dts"),
               p["flags"][0]) for p in source]
    for tracks in ("v0", "v0~a0"):
        found = [(p["pts"], p["dts"], p["flags"][0])
                 for p in packets(film.whole(tracks), "v")[1]]
        assert found == wanted


def test_each_frame_of_sound_has_its_time(film):
    """To the tick where a PES packet starts, as at each border. Between, FFmpeg
    adds up what it rounds."""
    stream, source = packets(film.sound, "a")
    wanted = [stream_time(p, stream, "pts") for p in source]
    for tracks in ("a0", "v0~a0"):
        found = packets(film.whole(tracks), "a")[1]
        assert len(found) == len(wanted)
        for packet, time in zip(found, wanted):
            is_start = "side_data_list" in packet
            assert abs(packet["pts"] - time) <= (0 if is_start else 3)
        starts = [p["pts"] for p in found if "side_data_list" in p]
        assert len(starts) > len(found) / 5


def test_each_segment_starts_where_the_one_before_ended(film):
    for tracks, kind in (("v0", "v"), ("a0", "a"), ("v0~a0", "v"),
                         ("v0~a0", "a")):
        whole = [p["dts"] for p in packets(film.whole(tracks), kind)[1]]
        at = 0
        for segment in film.segments(tracks):
            one = packets(segment, kind)[1]
            assert one[0]["flags"][0] == "K"
            assert one[0]["dts"] == whole[at]
            at += len(one)
        assert at == len(whole)


def test_sound_is_in_sync_within_a_millisecond(film):
    """Measured by what is decoded: the first picture and the first frame that
    is wholly behind the priming, and the last ones, are as in the source."""
    def times(path, kind):
        found = json.loads(run(
            "ffprobe", "-v", "warning", "-of", "json", "-select_streams",
            kind, "-show_entries", "frame=pts_time", "-show_frames", path))
        return [float(f["pts_time"]) for f in found["frames"]]

    muxed = film.whole("v0~a0")
    silent = sum(p["pts"] + p["duration"] <= 0
                 for p in packets(film.sound, "a")[1])
    seen, heard = times(muxed, "v"), times(muxed, "a")[silent:]
    shown, played = times(film.video, "v"), times(film.sound, "a")
    played = [t for t in played if t >= 0]
    assert 1 < len(played) <= len(heard)
    for found, wanted, first in ((seen, shown, 0), (heard, played, 1)):
        for at in first, len(wanted) - 1:
            assert abs(found[at] - START / SECOND - wanted[at]) < 0.001


# ---- packets ----


@pytest.mark.parametrize("tracks", ["v0", "a0", "v0~a0"])
def test_no_counter_jumps_and_the_clock_goes_on(film, tracks):
    counters, clock = {}, None
    for pid, counter, _, payload, now in transport(
            film.whole(tracks).read_bytes()):
        assert len(payload) > 0
        if pid in counters:
            assert counter == (counters[pid] + 1) % 16
        counters[pid] = counter
        if now is not None:
            if clock is not None:
                assert 0 < now - clock <= SECOND * film.apart
            clock = now
    assert len(counters) == (4 if "~" in tracks else 3)


def test_what_comes_is_there_before_it_is_needed(film):
    """By the clock: no more than a second before its decoding, or longer where
    there is no picture to bring a clock."""
    clock = None
    for pid, _, is_start, payload, now in transport(
            film.whole("v0~a0").read_bytes()):
        if now is not None:
            clock = now
        if is_start and payload[:3] == b"\0\0\1":
            at = 14 if payload[7] & 0x40 else 9
            b = payload[at:at + 5]
            time = ((b[0] & 14) << 29 | b[1] << 22 | (b[2] & 254) << 14
                    | b[3] << 7 | b[4] >> 1)
            assert 0 < time - clock < SECOND * (0.9 + film.apart), hex(pid)


# ---- playlists ----


def extinfs(path):
    return [float(x) for x in re.findall(r"^#EXTINF:([0-9.]+),$",
                                         path.read_text(), re.M)]


def test_playlists_say_what_the_segments_are(film):
    for tracks, source in (("v0", film.video), ("a0", film.sound),
                           ("v0~a0", film.video)):
        durations = extinfs(film.out / tracks / "index.m3u8")
        assert len(durations) == len(film.segments(tracks))
        wanted = float(packets(source, tracks[0])[0]["duration"])
        assert sum(durations) == pytest.approx(wanted, abs=0.001)


def test_no_segment_is_over_the_bandwidth_that_is_said(film):
    master = (film.out / "master.m3u8").read_text()
    assert "v0~a0/index.m3u8" in master
    average = int(re.search(r"AVERAGE-BANDWIDTH=(\d+)", master).group(1))
    sizes = [s.stat().st_size for s in film.segments("v0~a0")]
    durations = extinfs(film.out / "v0~a0" / "index.m3u8")
    if sum(durations) > 1:
        assert sum(sizes) * 8 / sum(durations) <= average


# ---- encryption ----


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return Film(tmp_path_factory.mktemp("plain"), "b-frames")


@pytest.fixture(scope="module")
def sealed(plain):
    folder = plain.out.with_name("sealed")
    subprocess.run([TS_DUMP, folder, "4000", f"v0={plain.video}",
                    f"a0={plain.sound}"], check=True,
                   env={**os.environ, "TS_DUMP_KEY": KEY})
    return folder


def test_aes_128_decodes_with_the_key(plain, sealed):
    source = pictures(plain.video)
    assert pictures(sealed / "v0~a0" / "index.m3u8") == source
    assert pictures(sealed / "master.m3u8") == source
    assert sound(sealed / "a0" / "index.m3u8") == sound(plain.whole("a0"))


def test_aes_128_is_openssl_s(plain, sealed):
    for number, segment in enumerate(plain.segments("v0~a0")):
        opened = run("openssl", "aes-128-cbc", "-d", "-K", KEY, "-iv",
                     f"{number:032x}", "-in",
                     sealed / "v0~a0" / segment.name)
        assert opened == segment.read_bytes()


# ---- players ----


PAGE = b"""<!DOCTYPE html><video id="video" muted></video>
<script src="/hls.js"></script><script>
const video = document.getElementById('video');
const seen = window.seen = { errors: [], stalls: 0 };
video.addEventListener('waiting', () => {
  if (video.currentTime > 0.5 && video.currentTime < video.duration - 0.5)
    seen.stalls++;
});
const hls = new Hls();
hls.on(Hls.Events.ERROR, (_, data) => {
  // its time 0 is that of the first decoding: the first picture is later, and
  // on a slow machine it tells of passing over that
  if (data.details !== 'bufferSeekOverHole' || video.currentTime > 0.5)
    seen.errors.push(data.details);
});
hls.loadSource(new URLSearchParams(location.search).get('url'));
hls.attachMedia(video);
video.play();
</script>"""


@pytest.fixture(scope="module")
def site(plain, sealed):
    """The folders, hls.js and a page that plays ?url=."""
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=plain.out.parent)

        def do_GET(self):
            if self.path.startswith("/page"):
                self.say(PAGE, "text/html")
            elif self.path == "/hls.js":
                self.say((ROOT / "web/node_modules/hls.js/dist/hls.js")
                         .read_bytes(), "text/javascript")
            elif self.path == "/favicon.ico":
                self.say(b"", "image/x-icon")
            else:
                super().do_GET()

        def say(self, body, kind):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    Handler.extensions_map = {".m3u8": "application/vnd.apple.mpegurl",
                              ".ts": "video/mp2t"}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("player", ["playbin", "playbin3"])
@pytest.mark.parametrize("folder", ["out", "sealed"])
def test_gstreamer_shows_every_picture(plain, site, folder, player, tmp_path):
    played = GStreamer(f"{site}/{folder}/master.m3u8", tmp_path, player)
    assert len(played.frames()) == len(pictures(plain.video))


@pytest.mark.parametrize("folder", ["out", "sealed"])
def test_hls_js_plays_and_seeks(site, browser, folder):
    def look():
        return browser.execute_script(
            "return {...window.seen, time: video.currentTime, ended: "
            "video.ended, length: video.duration, frames: "
            "video.getVideoPlaybackQuality().totalVideoFrames, dropped: "
            "video.getVideoPlaybackQuality().corruptedVideoFrames}")

    def until(condition, what):
        def seen():
            now = look()
            if "errors" not in now:
                return None  # the page is not there yet
            assert now["errors"] == [] and now["dropped"] == 0, now
            return now if condition(now) else None
        return wait_until(seen, 30, what, 0.1)

    browser.get(f"{site}/page?url=/{folder}/master.m3u8")
    seen = until(lambda s: s["time"] > 5, "5 s of the film")
    # two borders' worth of pictures, and none skipped
    assert seen["frames"] >= 5 * 23
    assert seen["length"] == pytest.approx(11.011, abs=0.1)
    assert seen["stalls"] == 0
    browser.execute_script("video.currentTime = 9")
    until(lambda s: s["ended"], "the end")
