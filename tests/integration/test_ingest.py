# SPDX-License-Identifier: Apache-2.0
"""vodst ingest: films of many kinds become playable, what is no film is
refused, and a failure leaves nothing behind."""

import base64
import hashlib
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import VODST, film_make, vodst, wait_until
from nginx_instance import NginxInstance
from ports import free_port
from stand_in import StandIn
from test_st_api import StApi

# one thread: the same film gives the same bytes
FAST = ["--preset", "ultrafast", "--threads", "1"]


def ffmpeg(*arguments):
    done = subprocess.run(["ffmpeg", "-v", "error", "-y", "-nostdin",
                           *map(str, arguments)], capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def probe(path, *options):
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-of", "json", "-show_streams",
         "-show_format", *options, path], capture_output=True, text=True,
        timeout=60)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return json.loads(done.stdout)


def picture(path):
    """(frames as decoded, duration in s, width, height)"""
    stream = probe(path, "-select_streams", "v:0", "-count_frames")["streams"]
    return (int(stream[0]["nb_read_frames"]),
            float(stream[0].get("duration", 0)), stream[0]["width"],
            stream[0]["height"])


def heard_from(stream):
    """When its sound starts, in s: of a CMAF track FFmpeg gives out the
    encoder's priming, too, before time 0."""
    return float(stream["start_time"]) + 1024 / int(stream["sample_rate"])


def key_frame_times(path):
    packets = probe(path, "-select_streams", "v:0", "-show_entries",
                    "packet=pts_time,flags")["packets"]
    return [float(p["pts_time"]) for p in packets if "K" in p["flags"]]


class Place:
    """Where a test ingests to: st-api, a storage, and a folder for the files
    under way."""

    def __init__(self, api, folder):
        self.api, self.folder = api, folder
        self.root = folder / "storage"
        self.temp = folder / "temp"
        self.temp.mkdir()
        self.storage = [f"--storage={self.root}"]
        self.api_options = [f"--api={api.url}",
                            f"--api-key-file={api.admin_key}"]

    def command(self, film, content, *options):
        return ["ingest", film, "--id", content, *self.storage,
                *self.api_options, "--temp", self.temp, "--patience", "4s",
                *FAST, *options]

    def run(self, film, content, *options, **more):
        return vodst(*self.command(film, content, *options), **more)

    def ingest(self, film, content, *options):
        """What came of it: the last line of its JSON, and the folder."""
        done = self.run(film, content, "--json", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        assert result["event"] == "done"
        entry = self.entry(content)
        assert entry["version"] == result["version"]
        assert entry["duration_ms"] == result["duration_ms"]
        return result, self.root / content / result["version"]

    def entry(self, content):
        answer = self.api.request("GET", f"/v1/contents/{content}")
        return answer.json() if answer.ok else None

    def stored(self):
        return sorted(str(path.relative_to(self.root))
                      for path in self.root.rglob("*") if path.is_file())

    def refused(self, film, content, *options, status=1, **more):
        """The error, after looking that nothing is left of it."""
        stored, entry = self.stored(), self.entry(content)
        done = self.run(film, content, *options, **more)
        assert done.returncode == status, done.stdout + done.stderr
        self.is_clean(stored, content, entry)
        assert "vodst ingest: " in done.stderr
        return done.stderr

    def is_clean(self, stored, content, entry=None):
        assert self.stored() == stored
        assert self.entry(content) == entry
        assert list(self.temp.iterdir()) == []


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    one = StApi(tmp_path_factory.mktemp("st-api"))
    yield one
    one.stop()


@pytest.fixture
def place(api, tmp_path):
    return Place(api, tmp_path)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """9 s of 320x180 at 24000/1001 with sound in two languages."""
    path = tmp_path_factory.mktemp("film") / "A film.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x180:r=24000/1001:d=9",
           "-f", "lavfi", "-i", "sine=440:r=44100:d=9",
           "-f", "lavfi", "-i", "sine=880:r=48000:d=9",
           "-map", 0, "-map", 1, "-map", 2, "-c:v", "libx264", "-preset",
           "ultrafast", "-metadata:s:a:0", "language=eng",
           "-metadata:s:a:1", "language=ger", path)
    return path


STORAGE = """
server {{
    listen 127.0.0.1:{port};
    root {root};
    client_max_body_size {body_max};
    location /media/ {{
        if ($may_read = 0) {{ return 403; }}
        dav_methods PUT DELETE;
        create_full_put_path on;
        access_log {log} puts;
        limit_except GET {{
            auth_basic storage;
            auth_basic_user_file {passwords};
        }}
    }}
}}
"""
STORAGE_MAPS = """
log_format puts '$request_method $uri $status';
map "$request_method $http_x_vodst_fill" $may_read {
    default 0;
    "~^(GET|HEAD) fill-secret$" 1;
    "~^(PUT|DELETE) " 1;
}
"""


@pytest.fixture
def nginx_place(place):
    """Storage is nginx with WebDAV: writing needs a password, reading the
    fill secret."""
    started = []

    def start(body_max="0"):
        port, folder = free_port(), place.folder
        password = hashlib.sha1(b"pass word").digest()
        (folder / "passwords").write_text(
            "ingest:{SHA}" + base64.b64encode(password).decode() + "\n")
        (folder / "password").write_text("pass word\n")
        (folder / "fill").write_text("fill-secret\n")
        (folder / "www/media").mkdir(parents=True)
        place.root = folder / "www/media"
        place.log = folder / "puts.log"
        started.append(NginxInstance(
            folder / "nginx", STORAGE_MAPS + STORAGE.format(
                port=port, root=folder / "www", log=place.log,
                passwords=folder / "passwords", body_max=body_max), port))
        place.url = f"http://127.0.0.1:{port}/media/"
        place.storage = [
            f"--storage={place.url}", "--storage-user=ingest",
            f"--storage-password-file={folder}/password",
            f"--fill-secret-file={folder}/fill"]
        return place

    yield start
    for one in started:
        one.stop()


# ---- a film becomes playable ----

def test_01_renditions_match_the_film_and_each_other(place, film):
    result, folder = place.ingest(film, "demo", "--ladder", "180,120,1080")
    frames, duration, _, _ = picture(film)
    tracks = ["v0", "v1", "a0", "a1"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [t + e for t in tracks for e in (".mp4", ".idx")]
        + ["asset.idx", "i0.idx", "i0.sheets", "i1.idx", "i1.sheets"])
    assert picture(folder / "v0.mp4") == (frames, duration, 320, 180)
    assert picture(folder / "v1.mp4") == (frames, duration, 214, 120)
    assert result["frames"] == frames
    # the longer of picture and sound, in ms
    assert result["duration_ms"] == pytest.approx(duration * 1000, abs=60)
    assert result["segments"] == 3 and result["audio"] == 2
    assert result["title"] == place.entry("demo")["title"] == "A film"
    told = {track["name"]: track for track in place.entry(
        f"demo/versions/{result['version']}")["tracks"]}
    assert {name: track["kind"] for name, track in told.items()} == {
        "v0": "video", "v1": "video", "a0": "audio", "a1": "audio",
        "i0": "thumbnails", "i1": "thumbnails"}
    assert (told["v1"]["width"], told["v1"]["height"]) == (214, 120)
    assert told["v0"]["codecs"].startswith("avc1.")
    assert told["v0"]["bandwidth"] > told["v1"]["bandwidth"] > 0

    keys = key_frame_times(folder / "v0.mp4")
    assert keys == key_frame_times(folder / "v1.mp4")
    # at the first frame at or after each 2 s, and nowhere else
    assert [int(key // 2) for key in keys] == [0, 1, 2, 3, 4]
    assert all(key % 2 < 1 / 23 for key in keys)

    for name, language_free in (("a0", 44100), ("a1", 48000)):
        stream, = probe(folder / f"{name}.mp4")["streams"]
        assert stream["codec_name"] == "aac"
        assert int(stream["sample_rate"]) == language_free
        assert float(stream["duration"]) == pytest.approx(9, abs=0.05)
        assert heard_from(stream) == pytest.approx(0, abs=1e-6)
    video = probe(folder / "v0.mp4")["streams"][0]
    assert video["pix_fmt"] == "yuv420p"
    assert video["r_frame_rate"] == "24000/1001"
    assert video["time_base"] == "1/24000"
    assert list(place.temp.iterdir()) == []


def test_02_the_same_film_is_the_same_version(place, film):
    first, folder = place.ingest(film, "demo", "--ladder", "120")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    again, _ = place.ingest(film, "demo", "--ladder", "120")
    assert again["version"] == first["version"]
    assert re.fullmatch("[0-9a-f]{12}", first["version"])
    assert before == {path: path.stat().st_mtime_ns
                      for path in folder.iterdir()}
    other, _ = place.ingest(film, "demo", "--ladder", "120", "--crf", 30,
                            "--title", "Übung")
    assert other["version"] != first["version"]
    assert place.entry("demo")["title"] == "Übung"
    assert sorted(p.name for p in (place.root / "demo").iterdir()) \
        == sorted([first["version"], other["version"]])


def test_03_storage_behind_http_gets_the_files_and_asset_last(nginx_place,
                                                              film):
    place = nginx_place()
    result, folder = place.ingest(film, "demo", "--ladder", "120")
    names = ["v0.mp4", "v0.idx", "a0.mp4", "a0.idx", "a1.mp4", "a1.idx",
             "i0.sheets", "i0.idx", "i1.sheets", "i1.idx", "asset.idx"]
    base = f"/media/demo/{result['version']}/"
    calls = [line.split() for line in place.log.read_text().splitlines()]
    assert [uri for method, uri, status in calls if method == "PUT"] \
        == [base + name for name in names]
    assert all(status == "201" for method, _, status in calls
               if method == "PUT")
    for name in names:  # seen missing before, and read back after
        heads = [(method, status) for method, uri, status in calls
                 if uri == base + name]
        assert heads == [("HEAD", "404"), ("PUT", "201"), ("HEAD", "200"),
                         ("GET", "200")]
    assert sum(path.stat().st_size for path in folder.iterdir()) \
        == result["bytes"]
    place.log.write_text("")
    place.ingest(film, "demo", "--ladder", "120")
    assert "PUT" not in place.log.read_text()

    # half of it was lost: only that half is put again
    (folder / "a0.mp4").write_bytes(b"x")
    (folder / "v0.idx").unlink()
    place.ingest(film, "demo", "--ladder", "120")
    assert place.log.read_text().count("PUT") == 2


def test_04_without_the_fill_secret_it_works_unverified(nginx_place, film):
    place = nginx_place()
    place.storage.pop()
    place.ingest(film, "demo", "--ladder", "120")


def test_05_a_state_folder_says_where(nginx_place, film):
    place = nginx_place()
    (place.folder / "vodst.json").write_text(json.dumps({
        "pid": 1, "front": "http://127.0.0.1:1",
        "storage": {"url": place.url, "user": "ingest",
                    "password_file": f"{place.folder}/password",
                    "fill_secret_file": f"{place.folder}/fill"},
        "api": {"url": place.api.url,
                "key_file": str(place.api.admin_key)}}))
    place.storage, place.api_options = ["--dir", place.folder], []
    place.ingest(film, "from-state", "--ladder", "120")
    place.storage = ["--dir", place.folder / "elsewhere"]
    done = place.run(film, "from-state")
    assert done.returncode == 1 and "vodst up --dir" in done.stderr


# ---- films of many kinds ----

def source_plain(path):
    film_make(path, 5, "160x90", 25)


def source_matroska(path):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=24000/1001:d=5", "-f",
           "lavfi", "-i", "sine=d=5", "-c:v", "libx264", "-preset",
           "ultrafast", "-c:a", "libopus", path)


def source_variable_rate(path):
    """Every third frame is missing for a while."""
    ffmpeg("-f", "lavfi", "-i",
           "testsrc2=s=160x90:r=30:d=5,select='not(between(t,1,3)*eq(mod(n,3)"
           ",1))'", "-fps_mode", "vfr", "-c:v", "libx264", "-preset",
           "ultrafast", path)


def source_late_picture(path):
    """The picture begins 0.4 s after the sound."""
    ffmpeg("-itsoffset", 0.4, "-f", "lavfi", "-i",
           "testsrc2=s=160x90:r=25:d=5", "-f", "lavfi", "-i", "sine=d=5.4",
           "-fps_mode", "passthrough", "-c:v", "libx264", "-preset",
           "ultrafast", path)
    assert float(probe(path)["streams"][0]["start_time"]) == 0.4


def source_late_sound(path):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=5", "-itsoffset",
           1, "-f", "lavfi", "-i", "sine=d=3", "-c:v", "libx264", "-preset",
           "ultrafast", path)


def source_b_frames(path):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=50:d=5", "-f", "lavfi",
           "-i", "sine=d=5", "-c:v", "libx264", "-preset", "medium", "-bf", 3,
           path)


def source_silent(path):
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=162x91:r=25:d=5", "-c:v",
           "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv444p", path)


def source_old(path):
    """MPEG-2 interlaced with AC-3 5.1, in a transport stream."""
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=176x144:r=50:d=5,interlace",
           "-f", "lavfi", "-i", "anoisesrc=d=5:r=48000:a=0.1", "-c:v",
           "mpeg2video", "-flags", "+ildct+ilme", "-c:a", "ac3", "-ac", 6,
           path)


def source_upright(path):
    plain = path.with_name("plain.mp4")
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x180:r=25:d=5", "-c:v",
           "libx264", "-preset", "ultrafast", plain)
    ffmpeg("-i", plain, "-c", "copy", "-metadata:s:v", "rotate=90", path)


@pytest.mark.parametrize("make, ending, size, seconds", [
    (source_plain, "mp4", (160, 90), 5),
    (source_matroska, "mkv", (160, 90), 5),
    (source_variable_rate, "mp4", (160, 90), 5),
    (source_variable_rate, "mkv", (160, 90), 5),
    (source_late_picture, "mp4", (160, 90), 5),
    (source_late_sound, "mp4", (160, 90), 5),
    (source_b_frames, "mp4", (160, 90), 5),
    (source_b_frames, "ts", (160, 90), 5),
    (source_b_frames, "flv", (160, 90), 5),
    (source_silent, "mp4", (162, 92), 5),
    (source_plain, "avi", (160, 90), 5),
    (source_old, "ts", (176, 144), 5),
    (source_upright, "mov", (180, 320), 5),
])
def test_06_every_frame_of_any_film_is_kept(place, make, ending, size,
                                            seconds):
    film = place.folder / f"film.{ending}"
    make(film)
    result, folder = place.ingest(film, "film", "--segment", "2s")
    frames = picture(film)[0]
    made = picture(folder / "v0.mp4")
    assert made[0] == frames == result["frames"]
    assert made[1] == pytest.approx(seconds, abs=0.06)
    assert made[2:] == size
    stream = probe(folder / "v0.mp4")["streams"][0]
    assert float(stream["start_time"]) == 0
    assert result["segments"] == 3
    if result["audio"]:
        stream = probe(folder / "a0.mp4")["streams"][0]
        assert heard_from(stream) == pytest.approx(0, abs=1e-6)
        assert float(stream["duration"]) == pytest.approx(seconds, abs=0.11)
        assert stream["channels"] <= 2


@pytest.mark.parametrize("transfer", ["smpte2084", "arib-std-b67"])
def test_06_a_high_dynamic_range_becomes_the_standard_one(place, transfer):
    film = place.folder / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=2", "-c:v",
           "libx265", "-preset", "ultrafast", "-x265-params",
           "log-level=none", "-pix_fmt", "yuv420p10le", "-color_primaries",
           "bt2020", "-color_trc", transfer, "-colorspace", "bt2020nc",
           "-tag:v", "hvc1", film)
    result, folder = place.ingest(film, "film", "--segment", "1s")
    assert result["frames"] == picture(film)[0]
    stream = probe(folder / "v0.mp4")["streams"][0]
    assert stream["pix_fmt"] == "yuv420p"
    assert [stream[f"color_{what}"] for what in
            ("primaries", "transfer", "space")] == ["bt709"] * 3


def test_06_five_sounds_of_a_fragmented_film_keep_their_languages(place):
    film = place.folder / "film.mp4"
    languages = ["eng", "deu", "fra", "jpn", "tlh"]
    sounds = [a for i in range(5) for a in
              ("-f", "lavfi", "-i", f"sine=f={220 * (i + 1)}:d=3")]
    maps = [a for i in range(5) for a in
            ("-map", f"{i + 1}:a", f"-metadata:s:a:{i}",
             f"language={languages[i]}")]
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=3", *sounds,
           "-map", "0:v", *maps, "-c:v", "libx264", "-preset", "ultrafast",
           "-movflags", "frag_keyframe+empty_moov+default_base_moof", film)
    result, folder = place.ingest(film, "film", "--segment", "1s")
    assert result["frames"] == 75 and result["audio"] == 5
    found = [probe(folder / f"a{i}.mp4")["streams"][0] for i in range(5)]
    assert all(heard_from(one) == pytest.approx(0, abs=1e-6)
               for one in found)
    # told in two letters where there are, for which mdhd has no place
    boxes = [(folder / f"a{i}.mp4").read_bytes() for i in range(5)]
    for language, box in zip(("en", "de", "fr", "ja"), boxes):
        assert b"elng\0\0\0\0" + language.encode() + b"\0" in box
    assert found[4]["tags"]["language"] == "tlh"


@pytest.mark.parametrize("ending", ["m4a", "mp3", "flac", "wav"])
def test_07_sound_alone_is_playable(place, ending):
    film = place.folder / f"song.{ending}"
    cover = place.folder / "cover.png"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x64", "-frames:v", 1, cover)
    with_cover = ["-i", cover, "-map", 0, "-map", 1, "-disposition:v",
                  "attached_pic"] if ending in ("mp3", "flac") else []
    ffmpeg("-f", "lavfi", "-i", "sine=d=9:r=32000", *with_cover, film)
    result, folder = place.ingest(film, "song")
    assert sorted(path.name for path in folder.iterdir()) \
        == ["a0.idx", "a0.mp4", "asset.idx"]
    assert result["frames"] == 0 and result["renditions"] == []
    assert result["segments"] == 3
    assert result["duration_ms"] == pytest.approx(9000, abs=60)


# ---- what is no film ----

def broken_empty(path, film):
    path.write_bytes(b"")


def broken_without_index(path, film):
    data = film.read_bytes()
    assert data.rfind(b"moov") > len(data) // 2
    path.write_bytes(data[:len(data) // 2])


def broken_media(path, film):
    whole = path.with_name("whole.mp4")
    ffmpeg("-i", film, "-c", "copy", "-movflags", "faststart", whole)
    path.write_bytes(whole.read_bytes()[:-5000])


def broken_matroska(path, film):
    whole = path.with_name("whole.mkv")
    ffmpeg("-i", film, "-c", "copy", whole)
    data = whole.read_bytes()
    path.write_bytes(data[:len(data) // 2])


def broken_garbage(path, film):
    path.write_bytes(hashlib.shake_256(b"x").digest(300000))


def broken_boxes(path, film):
    """Wild sizes all over the index."""
    data = bytearray(film.read_bytes())
    for at in range(data.rfind(b"moov") + 8, len(data) - 8, 7):
        data[at] ^= 0xa5
    path.write_bytes(data)


def text(path, film):
    path.write_text("This is a text, not a film.\n" * 100)


def playlist(path, film):
    path.write_text(f"#EXTM3U\n#EXTINF:9,\n{film}\n#EXT-X-ENDLIST\n")


def playlist_of_files(path, film):
    path.write_text(f"ffconcat version 1.0\nfile '{film}'\n")


def still(path, film):
    ffmpeg("-i", film, "-frames:v", 1, "-f", "image2", path)


def subtitles(path, film):
    path.write_text("1\n00:00:00,000 --> 00:00:09,000\nhello\n")


@pytest.mark.parametrize("make, name, expected", [
    (broken_empty, "zero.mp4", "is empty"),
    (broken_without_index, "cut.mp4", "its index (moov) is missing"),
    (broken_media, "cut.mp4", "truncated file"),
    (broken_matroska, "cut.mkv", "is truncated or damaged"),
    (broken_garbage, "noise.mp4", "is not a film"),
    (broken_garbage, "noise.bin", "is not a film"),
    (broken_boxes, "wild.mp4", "wild.mp4"),
    (text, "text.txt", "is not a film"),
    (text, "text.mp4", "is not a film"),
    (text, "text", "is not a film"),
    (playlist, "list.m3u8", "is not a film"),
    (playlist, "list.mp4", "is not a film"),
    (playlist_of_files, "list.ffconcat", "is not a film"),
    (still, "still.png", "is not a film"),
    (still, "still.jpg", "is not a film"),
    (subtitles, "titles.srt", "is not a film"),
])
def test_08_what_is_no_film_is_refused(place, film, make, name, expected):
    path = place.folder / name
    make(path, film)
    assert expected in place.refused(path, "bad")


def test_09_files_that_cannot_be_read_are_told(place):
    assert "No such file" in place.refused(place.folder / "none.mp4", "bad")
    assert "is not a file" in place.refused(place.folder, "bad")


def test_10_names_are_only_names(place, film):
    short = place.folder / "short.mp4"
    ffmpeg("-i", film, "-t", 1, "-map", "0:v", "-c", "copy", short)
    for name in ("-dash.mp4", "concat:x|y.mp4", "http:a'b;c.mp4",
                 "%d fünf \udcff.mp4", "new\nline.mp4"):
        path = place.folder / name
        shutil.copy(short, path)
        done = place.run(path.name if name[0] != "-" else f"./{name}", "named",
                         "--ladder", "64", "--json", cwd=place.folder)
        assert done.returncode == 0, (name, done.stdout, done.stderr)
        path.unlink()
    assert place.entry("named")["title"] == "named"  # no control characters


# ---- what fails around it ----

def fake_tools(folder, **scripts):
    """A PATH where some programs are others."""
    tools = folder / "tools"
    tools.mkdir()
    for name, script in scripts.items():
        path = tools / name
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)
    return os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"}


def test_11_missing_ffmpeg_is_told(place, film):
    empty = place.folder / "empty"
    empty.mkdir()
    error = place.refused(film, "bad", env=os.environ | {"PATH": str(empty)})
    assert "ffprobe is missing" in error and "apt install ffmpeg" in error
    (empty / "ffprobe").symlink_to(shutil.which("ffprobe"))
    error = place.refused(film, "bad", env=os.environ | {"PATH": str(empty)})
    assert "ffmpeg is missing" in error and "apt install ffmpeg" in error


def test_12_ffmpegs_own_words_are_shown(place, film):
    environment = fake_tools(place.folder, ffmpeg=(
        "echo half > v0.mp4; for i in 1 2 3; do echo reason $i >&2; done\n"
        "exit 187\n"))
    error = place.refused(film, "bad", env=environment)
    assert "exit status 187" in error and "reason 1\nreason 3" in \
        error.replace("reason 2\n", "")
    (place.folder / "tools/ffmpeg").write_text("#!/bin/sh\nkill -9 $$\n")
    assert "exit status 137" in place.refused(film, "bad", env=environment)
    # says it is done, and is not
    (place.folder / "tools/ffmpeg").write_text("#!/bin/sh\nexit 0\n")
    assert "v0.mp4" in place.refused(film, "bad", env=environment)
    (place.folder / "tools/ffmpeg").write_text(
        "#!/bin/sh\nfor i in 0 1 2; do echo x > v$i.mp4; done; exit 0\n")
    assert "broken" in place.refused(film, "bad", env=environment)


def test_13_dropped_frames_are_noticed(place, film):
    real = shutil.which("ffmpeg")
    environment = fake_tools(
        place.folder, ffmpeg=f'{real} "$@"; echo drop_frames=3; '
                             'echo progress=end\n')
    assert "dropped 3" in place.refused(film, "bad", "--ladder", "64",
                                        env=environment)


def test_14_a_storage_that_refuses_leaves_nothing(nginx_place, film):
    place = nginx_place(body_max="20k")
    # the small files would fit: what was put before is taken away again
    error = place.refused(film, "bad", "--ladder", "180,64")
    assert "refuses to take" in error and "413" in error


def test_14_a_wrong_storage_password_is_told(nginx_place, film):
    place = nginx_place()
    (place.folder / "password").write_text("wrong\n")
    error = place.refused(film, "bad", "--ladder", "64")
    assert "refuses to take" in error and "user or password refused" in error


def test_15_a_storage_that_is_not_there_is_told_before_encoding(place, film):
    port = free_port()
    place.storage = [f"--storage=http://127.0.0.1:{port}/media/"]
    environment = fake_tools(place.folder, ffmpeg="exit 1")
    error = place.refused(film, "bad", env=environment)
    assert f"storage does not answer at http://127.0.0.1:{port}" in error
    blocked = place.folder / "blocked"
    blocked.write_text("a file")
    place.storage = [f"--storage={blocked}"]
    assert "storage folder" in place.refused(film, "bad", env=environment)


def test_16_an_api_that_refuses_is_told_before_encoding(place, film):
    environment = fake_tools(place.folder, ffmpeg="exit 1")
    wrong = place.folder / "wrong.key"
    wrong.write_text("wrong-key-0123456789\n")
    url = place.api.url
    place.api_options = [f"--api={url}", f"--api-key-file={wrong}"]
    error = place.refused(film, "bad", env=environment)
    assert "st-api refuses bad (403" in error and "admin key" in error
    place.api_options = [f"--api=http://127.0.0.1:{free_port()}",
                         f"--api-key-file={wrong}"]
    assert "st-api does not answer" in place.refused(film, "bad",
                                                     env=environment)


@pytest.fixture
def moody_api():
    """Knows no content, and answers PUT as it is told."""
    def answer(request):
        if request.command in ("GET", "POST"):
            return 404, {}, b'{"detail":"not today"}'
        request.body()
        api.puts += 1
        return api.mood and (api.mood, {}, b'{"detail":"not today"}')

    with StandIn(answer) as api:
        api.puts, api.mood = 0, 400
        yield api


@pytest.mark.parametrize("kind", ["folder", "http"])
def test_17_what_is_stored_goes_when_it_cannot_be_published(
        kind, place, nginx_place, moody_api, film):
    if kind == "http":
        nginx_place()
    key = place.api_options[1]
    place.api_options = [f"--api={moody_api.url}", key]
    error = place.refused(film, "bad", "--ladder", "64")
    assert "400: not today" in error and moody_api.puts == 1
    moody_api.mood = 503  # may be over in a moment: asked again
    error = place.refused(film, "bad", "--ladder", "64")
    assert "503: not today" in error and moody_api.puts == 5
    if kind == "folder":
        assert list(place.root.iterdir()) == []
    # asked, and no answer came: it may be playable, so the files stay
    moody_api.mood = None
    done = place.run(film, "bad", "--ladder", "64")
    assert done.returncode == 1 and "may have taken" in done.stderr
    assert any(name.endswith("asset.idx") for name in place.stored())
    assert list(place.temp.iterdir()) == []


def test_18_what_played_before_plays_on_after_a_failure(place, film):
    first, folder = place.ingest(film, "demo", "--ladder", "64")
    environment = fake_tools(place.folder, ffmpeg="exit 1")
    place.refused(film, "demo", "--ladder", "90", env=environment)
    assert place.entry("demo")["version"] == first["version"]
    assert (folder / "asset.idx").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_19_a_signal_ends_it_and_its_child(place, number):
    film = film_make(place.folder / "long.mp4", 60, "640x360", 30)
    process = subprocess.Popen(
        [VODST, *map(str, place.command(film, "bad", "--preset",
                                        "veryslow"))],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    children = f"/proc/{process.pid}/task/{process.pid}/children"

    def ffmpeg_started():
        return list(place.temp.glob("*/v0.mp4"))

    wait_until(ffmpeg_started, 20, "ffmpeg")
    child, = map(int, pathlib.Path(children).read_text().split())
    began = time.monotonic()
    process.send_signal(number)
    _, error = process.communicate(timeout=20)
    assert time.monotonic() - began < 10
    assert process.returncode == 128 + number
    assert "interrupted" in error
    assert not pathlib.Path(f"/proc/{child}").exists()
    place.is_clean([], "bad")


def test_20_a_signal_while_storing_takes_everything_back(place, film):
    """The storage reads slowly; what it has is deleted again."""
    stored, deleted = [], []

    def answer(request):
        if request.command == "DELETE":
            deleted.append(request.path)
            return 204, {}, b""
        if request.command == "PUT":
            if len(stored) == 2:
                time.sleep(30)
            request.body()
            stored.append(request.path)
            return 201, {}, b""
        if request.path not in stored:
            return 404, {}, b""
        name = request.path.rsplit("/", 1)[1]
        size, = [path.stat().st_size for path
                 in place.temp.glob(f"*/{name}")]
        return 200, {"Content-Length": str(size)}, b""

    with StandIn(answer) as storage:
        place.storage = [f"--storage={storage.url}/media"]
        process = subprocess.Popen(
            [VODST, *map(str, place.command(film, "bad", "--ladder", "64"))],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: len(stored) == 2, 30, "two files stored")
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
        assert process.returncode == 130
        assert set(stored) <= set(deleted) and len(deleted) == 3
        place.is_clean([], "bad")


# ---- what it shows ----

def test_21_json_lines_tell_every_step(place, film):
    done = place.run(film, "demo", "--json", "--ladder", "180", "--preset",
                     "slow")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    steps = [e["step"] for e in events if e["event"] == "step_done"]
    assert steps == ["probe", "check", "encode", "index", "store", "publish"]
    assert done.stderr == ""
    done = place.run(place.folder / "none.mp4", "demo", "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["event"] == "error" and last["step"] == "probe"
    assert "none.mp4" in last["message"]


def test_22_a_terminal_gets_a_bar(place):
    film = film_make(place.folder / "film.mp4", 8, "640x360", 30)
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [VODST, *map(str, place.command(film, "demo", "--preset", "medium"))],
        stdout=end, stderr=end)
    os.close(end)
    shown = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    assert process.wait(60) == 0
    shown = shown.decode()
    bars = re.findall(r"encode   \[=*>? *\] +(\d+) %  [\d.]+x  [\d:]+ left",
                      shown)
    assert len(bars) >= 3
    assert [int(b) for b in bars] == sorted(int(b) for b in bars)
    assert "encode   done in" in shown and "demo is playable" in shown


def test_23_wrong_use_says_what_is_right(place, film):
    for changed, expected in [
            (["--id", ".x"], "--id"),
            (["--id", "a/b"], "--id"),
            (["--ladder", "720,abc"], "--ladder"),
            (["--ladder", "10"], "--ladder"),
            (["--preset", "warp"], "--preset"),
            (["--segment", "100ms"], "segment"),
            (["--crf", "99"], "crf"),
            (["--title", "x" * 201], "--title"),
            (["--storage", "ftp://x"], "--storage"),
            (["--storage-user", "u"], "belong together"),
            (["--api", "x"], "--api"),
            (["--colour", "red"], "colour"),
            (["second.mp4"], "")]:
        done = place.run(film, "wrong-use", *changed)
        assert done.returncode == 2, (changed, done.stderr)
        assert expected in done.stderr
    place.is_clean([], "wrong-use")


def test_24_what_must_be_said_is_asked_for(place, film):
    for options, expected in [
            ([], "id"),
            (["--id", "x"], "--storage"),
            (["--id", "x", "--storage", "/x"], "--api"),
            (["--id", "x", "--storage", "/x", "--api", "http://x"],
             "--api-key-file")]:
        done = vodst("ingest", film, *options)
        assert done.returncode == 2 and expected in done.stderr
    help_text = vodst("ingest", "--help")
    assert help_text.returncode == 0 and "--ladder" in help_text.stdout
