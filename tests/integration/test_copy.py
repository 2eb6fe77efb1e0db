# SPDX-License-Identifier: Apache-2.0
"""vodst ingest --copy: films come out as they went in, picture by picture and
tick by tick, hard ones too, and as they do when nobody ingested them; what
cannot be copied is refused by file, box and time."""

import functools
import json
import os
import re
import shutil
import struct
import subprocess

import pytest
import requests

from nginx_instance import NginxInstance
from ports import free_port
from test_ingest import Place
from test_inputs import PICTURES, SOUNDS
from test_st_api import StApi

SEGMENT_S = 6
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
B_FRAMES = [*X264, "-bf", 2, "-b_strategy", 0, "-sc_threshold", 0]
AAC = ["-c:a", "aac"]


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True,
                          text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ffmpeg(*arguments):
    return run("ffmpeg", "-v", "error", "-y", "-nostdin", *arguments)


def picture(seconds, rate=25, size="128x72"):
    return ["-f", "lavfi", "-i", f"testsrc2=s={size}:r={rate}:d={seconds}"]


def noise(seconds, seed=1):
    """No two frames of it are the same."""
    return ["-f", "lavfi", "-i",
            f"anoisesrc=r=48000:d={seconds}:a=0.3:seed={seed}"]


# ---- films ----


LANGUAGES = {"aac": "eng", "ac-3": "deu", "e-ac-3": "fra", "opus": "jpn",
             "flac": "und", "mp3": "tlh"}


def film_of_six_sounds(out):
    inputs, outputs = [], []
    for i, (name, language) in enumerate(LANGUAGES.items()):
        codec = [f"{word.removesuffix(':a')}:a:{i}" if str(word)[0] == "-"
                 else word for word in SOUNDS[name][0]]
        inputs += noise(8, i)
        outputs += ["-map", i + 1, *codec, f"-metadata:s:a:{i}",
                    f"language={language}"]
    ffmpeg(*picture(8), *inputs, "-map", 0, *outputs, *B_FRAMES, "-g", 50,
           "-strict", -2, out)


def film_of(codec):
    def make(out):
        options, mux, _ = PICTURES[codec]
        ffmpeg(*picture(8, 24), *noise(8), *options, *AAC, "-g", 48,
               *([] if "-pix_fmt" in options else ["-pix_fmt", "yuv420p"]),
               *mux, out)
    return make


def film_with(*options, late=None, seconds=8):
    """B-frames and priming, so with edit lists."""
    def make(out):
        whole = out.with_suffix(".part.mp4")
        ffmpeg(*picture(seconds), *noise(seconds), *B_FRAMES, "-g", 50, *AAC,
               whole)
        shift = {"picture": ["-itsoffset", 0.4, "-i", whole, "-i", whole],
                 "sound": ["-i", whole, "-itsoffset", 0.3, "-i", whole],
                 None: ["-i", whole, "-i", whole]}[late]
        ffmpeg(*shift, "-map", "0:v", "-map", "1:a", "-c", "copy", *options,
               out)
    return make


def film_cut_at_a_key_frame(out):
    whole = out.with_suffix(".whole.mp4")
    film_with(seconds=12)(whole)
    ffmpeg("-ss", 2, "-i", whole, "-c", "copy", out)


def film_of_odd_gops(out):
    """Of 4.33 s, where segments should be of 6."""
    ffmpeg(*picture(27, 30), *noise(27), *B_FRAMES, "-g", 130, *AAC, out)


def film_with_a_gap(out):
    """4 s without a picture."""
    ffmpeg(*picture(16), *noise(16), "-vf", "select='not(between(t,3,7))'",
           "-fps_mode", "vfr", *B_FRAMES, "-g", 40, *AAC, out)


def film_of_one_frame(out):
    ffmpeg(*picture(1, 1), *X264, out)


def film_of_ten_hours(out):
    """And of 100,000 key frames."""
    part = out.with_suffix(".part.mp4")
    ffmpeg(*picture(36, "25/9", "16x16"), *X264, "-g", 1, part)
    ffmpeg("-stream_loop", 999, "-i", part, "-c", "copy", out)


def boxes(data):
    at = 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        yield kind, data[at + 8:at + size]
        at += size


def box_moved(kind, body, by):
    """With what it points to `by` bytes farther on, in 64 bits."""
    if kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        body = b"".join(box_moved(k, b, by) for k, b in boxes(body))
    elif kind == b"stco":
        offsets = struct.unpack(f">{len(body) // 4 - 2}I", body[8:])
        kind = b"co64"
        body = body[:8] + b"".join(struct.pack(">Q", o + by) for o in offsets)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def film_of_five_gigabytes(out):
    """In one mdat, most of it a hole, and moov behind it."""
    small, hole = out.with_suffix(".small.mp4"), 5 << 30
    film_with()(small)
    data = small.read_bytes()
    by_kind = dict(boxes(data))
    media = by_kind[b"mdat"]
    with out.open("wb") as file:
        file.write(data[:struct.unpack(">I", data[:4])[0]])
        file.write(struct.pack(">I4sQ", 1, b"mdat", 16 + hole + len(media)))
        file.seek(hole, os.SEEK_CUR)
        by = file.tell() - data.index(media)
        file.write(media + box_moved(b"moov", by_kind[b"moov"], by))


# name: (maker, whether its pictures are decoded and compared)
FILMS = {
    "six-sounds": (film_of_six_sounds, True),
    "hevc": (film_of("hevc"), True),
    "av1": (film_of("av1"), True),
    "vp9": (film_of("vp9"), True),
    "b-frames": (film_with("-movflags", "+faststart"), True),
    "late-picture": (film_with(late="picture"), True),
    "late-sound": (film_with(late="sound"), True),
    "cut": (film_cut_at_a_key_frame, True),
    "offsets-below-0": (film_with("-movflags", "negative_cts_offsets"), True),
    "fragmented": (film_with(
        "-movflags", "frag_keyframe+empty_moov+default_base_moof+delay_moov"),
        True),
    "odd-gops": (film_of_odd_gops, True),
    "gap": (film_with_a_gap, True),
    "one-frame": (film_of_one_frame, True),
    "five-gigabytes": (film_of_five_gigabytes, True),
    "ten-hours": (film_of_ten_hours, False),
}
IN_SYNC = ("b-frames", "late-picture", "late-sound", "cut", "gap",
           "offsets-below-0", "fragmented", "five-gigabytes")


@pytest.fixture(name="house", scope="module")
def _house(tmp_path_factory):
    """/ingested/ID/VERSION/... and, of the same films, /plain/NAME/1/..."""
    folder = tmp_path_factory.mktemp("copy")
    api = StApi(folder)
    place = Place(api, folder)
    place.made = {}
    port = free_port()
    with NginxInstance(folder / "node", f"""
            package_plain {folder}/kept segment={SEGMENT_S}s;
            server {{
                listen 127.0.0.1:{port};
                location ~ ^/ingested/(.*)$ {{
                    package $1;
                    package_root {place.root};
                }}
                location ~ ^/plain/(.*)$ {{
                    package $1;
                    package_root {folder}/films;
                }}
            }}""", port, modules=("package",)) as place.node:
        yield place
        assert "[alert]" not in place.node.log()
    api.stop()


class Film:
    def __init__(self, house, name):
        self.name, self.house = name, house
        self.source = house.folder / "films" / name / "1" / "film.mp4"
        self.source.parent.mkdir(parents=True)
        FILMS[name][0](self.source)
        # nothing is encoded, so FFmpeg need not be there
        done = house.run(self.source, name, "--copy", "--json", "--segment",
                         f"{SEGMENT_S}s", env={"PATH": "/nonexistent"})
        assert done.returncode == 0, done.stdout + done.stderr
        self.events = [json.loads(line) for line in done.stdout.splitlines()]
        self.result = self.events[-1]
        self.folder = house.root / name / self.result["version"]
        self.ingested = f"{house.node.url}/ingested/{name}/" \
                        f"{self.result['version']}/"
        self.plain = f"{house.node.url}/plain/{name}/1/"

    def tracks(self):
        return sorted(path.stem for path in self.folder.glob("*.mp4"))


def film_named(house, name):
    if name not in house.made:
        house.made[name] = Film(house, name)
    return house.made[name]


@pytest.fixture(name="film", scope="module", params=FILMS)
def _film(request, house):
    return film_named(house, request.param)


def get(url):
    answer = requests.get(url, timeout=20)
    assert answer.status_code == 200, url
    return answer


def stream_of(track):
    return f"{track[0]}:{track[1:]}"


@functools.cache
def probed(path, stream):
    said = run("ffprobe", "-v", "error", "-of", "csv=p=0", "-select_streams",
               stream, "-show_packets", "-show_data_hash", "md5",
               "-show_entries", "packet=pts_time,flags,data_hash", path)
    return re.findall(r"^(-?[\d.]+),(\w+),(?:Skip[^\n]*\n,)?(MD5:\w+)", said,
                      re.M)


def packets(path, stream):
    """(time, hash of its bytes) of each, as it is decoded."""
    return [(float(time), digest) for time, _, digest in probed(path, stream)]


def digests(source):
    said = ffmpeg("-i", source, "-map", "0:v:0", "-fps_mode", "passthrough",
                  "-f", "framemd5", "-")
    return [line.split(",")[5] for line in said.splitlines()
            if not line.startswith("#")]


# ---- what comes out ----


def test_frames_in_hls_and_dash_are_those_of_the_film(film):
    if not FILMS[film.name][1]:
        return
    wanted = digests(film.source)
    for top in ("master.m3u8", "manifest.mpd"):
        assert digests(film.ingested + top) == wanted, top


def test_each_packet_is_the_film_s_at_the_film_s_time(film):
    for track in film.tracks():
        ours = packets(film.folder / f"{track}.mp4", "0")
        theirs = packets(film.source, stream_of(track))
        assert len(ours) > 0
        assert [digest for _, digest in ours] \
            == [digest for _, digest in theirs]
        for (a, _), (b, _) in zip(ours, theirs):
            assert a == pytest.approx(b, abs=2e-5)


def test_no_segment_is_empty_or_longer_than_is_said(film):
    """And each picture's begins at a key frame of the film's own, the first one
    behind each 6 s."""
    for track in film.tracks():
        playlist = get(f"{film.ingested}{track}/index.m3u8").text
        lengths = list(map(float, re.findall(r"#EXTINF:([\d.]+)", playlist)))
        target = int(re.search(r"TARGETDURATION:(\d+)", playlist)[1])
        assert min(lengths) > 0 and round(max(lengths)) <= target
        assert re.findall(r"^(\d+)\.m4s$", playlist, re.M) \
            == list(map(str, range(len(lengths))))
        if track != "v0":
            continue
        keys = [float(time) for time, flags, _ in probed(film.source, "v:0")
                if "K" in flags]
        cuts, at = [0], 0
        for key in keys[1:]:
            if key >= (cuts[-1] // SEGMENT_S + 1) * SEGMENT_S - 1e-6:
                cuts.append(key)
        for length, cut in zip(lengths, cuts):
            assert at == pytest.approx(cut, abs=0.001)
            at += length
        assert len(lengths) == len(cuts)


def test_what_nobody_ingested_is_the_same(film):
    for track in film.tracks():
        playlist = get(f"{film.ingested}{track}/index.m3u8").text
        names = re.findall(r"^\d+\.m4s$", playlist, re.M)
        for name in ["index.m3u8", *names[:5], *names[-5:]]:
            assert get(f"{film.ingested}{track}/{name}").content \
                == get(f"{film.plain}{track}/{name}").content


# ---- picture and sound ----


@functools.cache
def decoded(source):
    """Of each stream, hash by hash, the times of what is seen and heard."""
    said = ffmpeg("-copyts", "-i", source, "-map", "0:v:0", "-map", "0:a:0",
                  "-fps_mode", "passthrough", "-f", "framemd5", "-")
    ticks = {stream: eval_ratio(ratio) for stream, ratio in
             re.findall(r"^#tb (\d): (\S+)$", said, re.M)}
    times = {"0": {}, "1": {}}
    for line in said.splitlines():
        if not line.startswith("#"):
            stream, _, pts, _, _, digest = map(str.strip, line.split(","))
            times[stream].setdefault(digest, int(pts) * ticks[stream])
    return times


def eval_ratio(text):
    above, below = map(int, text.split("/"))
    return above / below


@pytest.mark.parametrize("top", ("master.m3u8", "manifest.mpd",
                                 "ts/master.m3u8"))
@pytest.mark.parametrize("name", IN_SYNC)
def test_picture_and_sound_are_as_far_apart_as_in_the_film(house, name, top):
    film = film_named(house, name)
    wanted, found = decoded(film.source), decoded(film.ingested + top)
    moved = []
    for stream in ("0", "1"):
        both = [digest for digest in wanted[stream] if digest in found[stream]]
        assert len(both) > 0.9 * len(wanted[stream])
        moved += [found[stream][d] - wanted[stream][d]
                  for d in (both[0], both[len(both) // 2], both[-1])]
    assert max(moved) - min(moved) < 0.001, moved


def starts_and_sound(source):
    """How much later the sound starts than the picture, and its samples."""
    starts = []
    for stream in ("v:0", "a:0"):
        said = run("ffprobe", "-v", "error", "-of", "csv=p=0", "-read_intervals",
                   "%+#9", "-select_streams", stream, "-show_entries",
                   "frame=pts_time", source)
        starts.append(float(said.split()[0].strip(",")))
    pcm = subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-i", str(source), "-map",
         "0:a:0", "-ac", "1", "-f", "s16le", "-t", "2", "-"],
        capture_output=True, check=True).stdout
    return starts[1] - starts[0], memoryview(pcm).cast("h")


@pytest.mark.parametrize("name", ("b-frames", "late-picture", "late-sound"))
def test_an_encoded_film_is_in_sync(house, name):
    """Where in our sound a piece of the film's is found, by correlation."""
    source = film_named(house, name).source
    result, _ = house.ingest(source, f"encoded-{name}", "--ladder", "64",
                             "--no-thumbnails")
    after, samples = starts_and_sound(source)
    piece = samples[48000:49000]
    for top in ("master.m3u8", "manifest.mpd", "ts/master.m3u8"):
        ours_after, ours = starts_and_sound(
            f"{house.node.url}/ingested/encoded-{name}/{result['version']}/"
            f"{top}")
        expected = 48000 + round((after - ours_after) * 48000)
        likeness = {at: sum(a * b for a, b in zip(piece, ours[at:at + 1000]))
                    for at in range(expected - 300, expected + 300)}
        found = max(likeness, key=likeness.get)
        assert likeness[found] > 0.5 * sum(a * a for a in piece)
        assert abs(found - expected) < 48, top


# ---- several files ----


def rendition(out, height, gop, seconds=12, rate=30, sound=False):
    ffmpeg(*picture(seconds, rate, f"{height * 2}x{height}"),
           *(noise(seconds) if sound else []), *B_FRAMES, "-g", gop, *AAC, out)
    return out


def test_files_whose_key_frames_line_up_are_renditions(house):
    folder = house.folder
    low = rendition(folder / "low.mp4", 64, 60, sound=True)
    high = rendition(folder / "high.mp4", 128, 120, sound=True)
    half = rendition(folder / "half.mp4", 96, 60, rate=15)
    deutsch = folder / "deutsch.mp4"
    ffmpeg(*noise(12, 2), *AAC, "-metadata:s:a", "language=ger", deutsch)
    result, stored = house.ingest(low, "renditions", high, half, deutsch,
                                  "--copy", "--segment", "3s")
    assert [r["height"] for r in result["renditions"]] == [128, 96, 64]
    assert result["audio"] == 2 and result["segments"] == 3
    for track, source in (("v0", high), ("v1", half), ("v2", low)):
        assert packets(stored / f"{track}.mp4", "0") == packets(source, "v")
    assert packets(stored / "a0.mp4", "0") == packets(low, "a")
    assert packets(stored / "a1.mp4", "0") == packets(deutsch, "a")
    url = f"{house.node.url}/ingested/renditions/{result['version']}/"
    playlists = [get(f"{url}v{i}/index.m3u8").text for i in range(3)]
    assert playlists[0] == playlists[1] == playlists[2]
    assert [float(x) for x in re.findall(r"EXTINF:([\d.]+)", playlists[0])] \
        == [4, 4, 4]
    assert 'LANGUAGE="de"' in get(url + "master.m3u8").text
    done = house.run(low, "renditions", high, "--copy", "--json")
    assert any("high.mp4: 1 of its sounds left out" in
               json.loads(line).get("text", "")
               for line in done.stdout.splitlines())

    # what is stored is a film itself
    again, _ = house.ingest(stored / "v0.mp4", "again", stored / "a0.mp4",
                            "--copy", "--segment", "3s")
    there = house.root / "again" / again["version"]
    for name in ("v0.mp4", "v0.idx", "a0.mp4"):
        assert (there / name).read_bytes() == (stored / name).read_bytes()


def test_sound_alone_is_cut_to_the_end_of_the_longest(house):
    short, long = house.folder / "short.m4a", house.folder / "long.m4a"
    ffmpeg(*noise(10), *AAC, short)
    ffmpeg(*noise(60, 2), *AAC, "-metadata:s:a", "language=ger", long)
    result, _ = house.ingest(short, "sounds", long, "--copy", "--segment",
                             f"{SEGMENT_S}s")
    both = house.folder / "films" / "sounds" / "1" / "film.mp4"
    both.parent.mkdir(parents=True)
    ffmpeg("-i", short, "-i", long, "-map", 0, "-map", 1, "-c", "copy", both)
    for url in (f"{house.node.url}/ingested/sounds/{result['version']}/",
                f"{house.node.url}/plain/sounds/1/"):
        for track, count in (("a0", 2), ("a1", 10)):
            playlist = get(f"{url}{track}/index.m3u8").text
            assert playlist.count("#EXTINF:") == count
            assert f"#EXT-X-TARGETDURATION:{SEGMENT_S}\n" in playlist


def test_files_that_do_not_line_up_are_told_by_file_and_time(house):
    folder = house.folder
    best = rendition(folder / "best.mp4", 128, 60)
    other = rendition(folder / "other.mp4", 64, 50)
    error = house.refused(best, "bad", other, "--copy")
    assert f"{other} has no key frame at 0:04.000, where {best} has one" \
        in error
    assert "Leave out --copy" in error
    short = rendition(folder / "short.mp4", 64, 60, seconds=9)
    error = house.refused(best, "bad", short, "--copy")
    assert f"{best} ends at 0:12.000, and {short} at 0:09.000" in error


# ---- what cannot be copied ----


def broken(house, name, change):
    """A film of which one box was changed."""
    path = house.folder / name
    data = bytearray(film_named(house, "b-frames").source.read_bytes())
    at = change(data)
    path.write_bytes(data)
    return path, at


def find(data, kind):
    return data.index(kind) - 4


def absurd_count(data):
    at = find(data, b"stsz")
    data[at + 16:at + 20] = b"\xff\xff\xff\xf0"
    return at


def box_in_itself(data):
    at = find(data, b"minf")
    data[at:at + 4] = b"\x7f\xff\xff\xff"
    return at


def overlapping_samples(data):
    at = find(data, b"stco")
    data[at + 20:at + 24] = data[at + 16:at + 20]
    return at


def last_byte_gone(data):
    del data[-1]
    return data.rindex(b"stco") - 4


@pytest.mark.parametrize("change, box, reason", [
    (absurd_count, "stsz", "too small for its sample count"),
    (box_in_itself, "minf", "larger than"),
    (overlapping_samples, "stco", "samples overlap"),
    (last_byte_gone, "stco", "truncated file"),
])
def test_a_broken_film_is_named_by_box_and_place(house, change, box, reason):
    path, at = broken(house, f"{change.__name__}.mp4", change)
    error = house.refused(path, "bad", "--copy")
    assert f"box '{box}' at byte {at}: " in error and reason in error
    # and so it is where nobody ingested it, and the worker lives on
    film = house.folder / "films" / change.__name__ / "1" / "film.mp4"
    film.parent.mkdir(parents=True)
    shutil.copy(path, film)
    workers = house.node.worker_pids()
    answer = requests.get(
        f"{house.node.url}/plain/{change.__name__}/1/master.m3u8", timeout=20)
    assert answer.status_code == 500
    assert f"box '{box}' at byte {at}: " in house.node.log()
    assert house.node.worker_pids() == workers


def other_container(out):
    ffmpeg(*picture(1), *X264, out)


def other_picture(out):
    ffmpeg(*picture(1), "-c:v", "mpeg4", out)


def other_sound(out):
    ffmpeg(*picture(1), *noise(1), *X264, "-c:a", "pcm_s16le", out)


def cut_between_key_frames(out):
    whole = out.with_suffix(".whole.mp4")
    film_with(seconds=6)(whole)
    ffmpeg("-ss", 1, "-i", whole, "-c", "copy", out)


@pytest.mark.parametrize("make, ending, reason", [
    (other_container, "mkv", "is neither MP4 nor QuickTime"),
    (other_picture, "mp4", "video codec is not H.264, HEVC, AV1 or VP9"),
    (other_sound, "mov", "audio codec is not"),
    (cut_between_key_frames, "mp4", "edit starts between two key frames"),
])
def test_what_cannot_be_copied_is_told_with_the_remedy(house, make, ending,
                                                       reason):
    path = house.folder / f"{make.__name__}.{ending}"
    make(path)
    error = house.refused(path, "bad", "--copy")
    assert reason in error and "leave out --copy, and it is encoded" in error
    assert str(path) in error
    house.ingest(path, make.__name__)  # which is so


# ---- what it shows ----


def test_steps_and_tracks_are_told(house):
    film = film_named(house, "six-sounds")
    events = film.events
    assert [e["step"] for e in events if e["event"] == "step_done"] \
        == ["probe", "check", "thumbnails", "copy", "store", "publish"]
    notes = [e["text"] for e in events if e["event"] == "note"]
    assert notes[-1] == "so there are no thumbnails" \
        and notes[-2].startswith("ffprobe is missing")
    assert notes[0] == f"v0: {film.source}, 128x72, avc1.4d400a, 0:08"
    assert notes[2] == f"a1: {film.source}, de, ac-3, 0:08"
    assert film.result["frames"] == 200 and film.result["audio"] == 6
    master = get(film.ingested + "master.m3u8").text
    for language in ("en", "de", "fr", "ja", "tlh"):
        assert f'LANGUAGE="{language}"' in master


def test_several_films_at_once_are_wrong_use(house):
    film = film_named(house, "b-frames").source
    error = house.refused(film, "bad", film, status=2)
    assert "2 files given, expected one" in error and "--copy" in error
