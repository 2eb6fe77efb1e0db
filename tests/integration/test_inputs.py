# SPDX-License-Identifier: Apache-2.0
"""Films of every kind that the packager takes, made by FFmpeg's encoders and
muxer, come out of an origin as they went in: the same frames, at the same
times, in HLS and in DASH, in the clear and encrypted; and what it does not take
is refused by name."""

import functools
import json
import re
import shutil
import struct
import subprocess
from fractions import Fraction

import pytest
import requests

from browser import PLAYER_LOCATIONS
from he_aac import CONFIGS as HE_AAC, he_aac_make
from nginx_instance import BUILD, TREE, NginxInstance, wait_for
from ports import free_port

INGEST = BUILD / "modules" / "package" / "package_test_ingest"
BOXES = TREE / "tests" / "players" / "boxes.mjs"
SECONDS, RATE, GOP = 3, 24, 24

X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", 2, "-b_strategy", 0]
X265 = ["-c:v", "libx265", "-preset", "ultrafast", "-x265-params",
        f"log-level=none:keyint={GOP}:min-keyint={GOP}:open-gop=0"]
FRAGMENTS = ["-movflags", "frag_keyframe+empty_moov+default_base_moof"]


def color(primaries, transfer, matrix):
    return ["-color_primaries", primaries, "-color_trc", transfer,
            "-colorspace", matrix]


# name: (codec and its options, options of the muxer, codecs text)
PICTURES = {
    "h264": (X264, ["-movflags", "+faststart"], "avc1.4d400a"),
    "h264-moov-last": (X264, [], "avc1.4d400a"),
    "h264-fragmented": (X264, FRAGMENTS, "avc1.4d400a"),
    "h264-fragmented-by-offset": (
        X264, ["-movflags", "frag_keyframe+empty_moov"], "avc1.4d400a"),
    "h264-half-fragmented": (X264, ["-movflags", "frag_keyframe"],
                             "avc1.4d400a"),
    "h264-offsets-below-0": (
        X264, ["-movflags", "negative_cts_offsets"], "avc1.4d400a"),
    "h264-fragments-below-0": (
        X264, ["-movflags", "frag_keyframe+empty_moov+default_base_moof"
               "+negative_cts_offsets"], "avc1.4d400a"),
    "h264-uneven": (
        [*X264, "-vf", "settb=1/90000,setpts=PTS+1500*mod(N\\,3)"
         "+9000*gt(N\\,30)", "-fps_mode", "vfr", "-enc_time_base", "1/90000"],
        [], "avc1.4d400a"),
    "h264-late": (X264, [], "avc1.4d400a"),
    "h264-on-its-side": (X264, ["-metadata:s:v", "rotate=90"], "avc1.4d400a"),
    "h264-quicktime": (X264, ["-f", "mov"], "avc1.4d400a"),
    "hevc": (X265, ["-tag:v", "hvc1"], "hvc1.1.6.L30.90"),
    "hevc-hev1": (X265, ["-tag:v", "hev1", *FRAGMENTS], "hev1.1.6.L30.90"),
    "hevc-pq": ([*X265, "-pix_fmt", "yuv420p10le",
                 *color("bt2020", "smpte2084", "bt2020nc")],
                ["-tag:v", "hvc1"], "hvc1.2.4.L30.90"),
    "av1": (["-c:v", "libaom-av1", "-cpu-used", 8, "-usage", "realtime"],
            [], "av01.0.00M.08"),
    "av1-hlg": (["-c:v", "libsvtav1", "-preset", 12, "-pix_fmt",
                 "yuv420p10le", *color("bt2020", "arib-std-b67", "bt2020nc")],
                FRAGMENTS, "av01.0.00M.10.0.110.09.18.09.0"),
    "vp9": (["-c:v", "libvpx-vp9", "-cpu-used", 8, "-deadline", "realtime"],
            [], "vp09.00.10.08"),
}
SOUNDS = {
    "aac": (["-c:a", "aac"], [], "mp4a.40.2"),
    "aac-fragmented": (["-c:a", "aac"], FRAGMENTS, "mp4a.40.2"),
    "aac-5.1": (["-c:a", "aac", "-ac", 6], [], "mp4a.40.2"),
    "aac-late": (["-c:a", "aac"], [], "mp4a.40.2"),
    "aac-quicktime": (["-c:a", "aac"], ["-f", "mov"], "mp4a.40.2"),
    "he-aac": ([], [], "mp4a.40.5"),
    "he-aac-behind": ([], [], "mp4a.40.5"),
    "he-aac-v2": ([], [], "mp4a.40.29"),
    "ac-3": (["-c:a", "ac3", "-ac", 6], [], "ac-3"),
    "e-ac-3": (["-c:a", "eac3"], [], "ec-3"),
    "opus": (["-c:a", "libopus"], [], "opus"),
    "flac": (["-c:a", "flac"], [], "fLaC"),
    "flac-96k": (["-c:a", "flac", "-ar", 96000], [], "fLaC"),
    "mp3": (["-c:a", "libmp3lame"], [], "mp4a.40.34"),
    "mp3-quicktime": (["-c:a", "libmp3lame"], ["-f", "mov"], "mp4a.40.34"),
}
LATE = ["-itsoffset", "0.3"]
# what HLS knows to put into a transport stream
CARRIED = ("h264", "hevc", "aac", "he-aac", "ac-3", "e-ac-3", "mp3")
SCHEMES = ("cenc", "cbcs")
KEY, KID = "0f1e2d3c4b5a69788796a5b4c3d2e100", "00112233445566778899aabbccddeeff"


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def ffmpeg(*arguments):
    return run("ffmpeg", "-v", "error", "-y", "-nostdin", *arguments)


def probe(source, *arguments):
    return json.loads(run("ffprobe", "-v", "error", "-of", "json",
                          *arguments, source))


def encode(source, name, out, options, mux):
    """As "-itsoffset" on one of two inputs does: this track starts later."""
    plain = out.with_suffix(".plain.mkv")
    ffmpeg("-f", "lavfi", "-i", source, *options, plain)
    late = LATE if name.endswith("-late") else []
    ffmpeg(*late, "-i", plain, "-c", "copy", "-strict", -2, *mux,
           *([] if "-f" in mux else ["-f", "mp4"]), out)


def picture(name, out):
    options, mux, _ = PICTURES[name]
    encode(f"testsrc2=s=128x72:r={RATE}:d={SECONDS}", name, out,
           [*options, "-g", GOP, "-keyint_min", GOP, "-sc_threshold", 0,
            *([] if "-pix_fmt" in options else ["-pix_fmt", "yuv420p"])], mux)


def sound(name, out):
    options, mux, _ = SOUNDS[name]
    source = f"sine=440:r=48000:d={SECONDS}"
    if name in HE_AAC:
        he_aac_make(name, source, out)
    else:
        encode(source, name, out, options, mux)


def pairs():
    """Each picture with a sound, and each sound with a picture."""
    pictures, sounds = list(PICTURES), list(SOUNDS)
    for i in range(max(len(pictures), len(sounds))):
        yield pictures[i % len(pictures)], sounds[i % len(sounds)]


class Film:
    def __init__(self, folder, url, video, audio):
        self.video, self.audio = video, audio
        self.sources = {"v0": folder / "v0.source", "a0": folder / "a0.source"}
        picture(video, self.sources["v0"])
        sound(audio, self.sources["a0"])
        (folder / "1").mkdir()
        for track, source in self.sources.items():
            shutil.copy(source, folder / "1" / f"{track}.mp4")
        run(INGEST, folder / "1", 1000, "v0", "a0")
        self.folder = folder
        self.url = f"{url}/{folder.name}/1/"

    def sealed(self, scheme):
        """Where it is encrypted."""
        return self.url.replace(f"/{self.folder.name}/",
                                f"/{scheme}/{self.folder.name}/")

    @functools.cached_property
    def shown(self):
        """All pictures of the source."""
        return digests(self.sources["v0"], "0:v")

    @functools.cached_property
    def heard(self):
        """All that there is to hear: a fragmented file has the priming, too,
        which is before the sound."""
        return pcm(self.url + "manifest.mpd")

    def text(self, name):
        answer = requests.get(self.url + name, timeout=20)
        assert answer.status_code == 200
        return answer.text

    def whole(self, track, scheme=None):
        """Init segment and segments one behind the other, and their count."""
        names = re.findall(r"^\d+\.m4s$", self.text(f"{track}/index.m3u8"),
                           re.M)
        path = self.folder / f"{track}.{scheme or 'whole'}"
        url = self.sealed(scheme) if scheme else self.url
        with path.open("wb") as out:
            for name in ["init.mp4", *names]:
                answer = requests.get(f"{url}{track}/{name}", timeout=20)
                assert answer.status_code == 200
                out.write(answer.content)
        return path, len(names)


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    port = free_port()
    http = f"""
    package_root {folder}/films;
    package_keys {folder}/keys;
    package_key_uri /key;
    server {{
        listen 127.0.0.1:{port};
        location = /key {{ alias {folder}/key; }}
        {PLAYER_LOCATIONS}
        location ~ ^/(cenc|cbcs|aes-128)/(.*)$ {{
            package $2;
            package_encryption $1;
        }}
        location ~ ^/(.*)$ {{ package $1; }}
    }}"""
    (folder / "films").mkdir()
    (folder / "keys").write_text(f"* * {KID} {KEY}\n")
    (folder / "key").write_bytes(bytes.fromhex(KEY))
    with NginxInstance(folder / "node", http, port,
                       modules=("package",)) as instance:
        instance.films = folder / "films"
        yield instance
        assert "[alert]" not in instance.log()


@pytest.fixture(scope="module", params=list(pairs()),
                ids=lambda pair: "+".join(pair))
def film(request, origin):
    folder = origin.films / "_".join(request.param).replace(".", "-")
    folder.mkdir()
    return Film(folder, origin.url, *request.param)


def digests(source, stream, *options):
    """Of each frame, as ffmpeg decodes and turns it."""
    said = ffmpeg(*options, "-i", source, "-map", stream, "-fps_mode",
                  "passthrough", "-f", "framemd5", "-")
    return [line.split(",")[5].strip() for line in said.splitlines()
            if not line.startswith("#")]


def packets(source):
    """(time, length in s, size) of each packet. One that FFmpeg knows no length
    of is as long as the last of which there is another behind."""
    found = probe(source, "-show_packets", "-show_entries",
                  "packet=pts_time,duration_time,size")["packets"]
    times = sorted(float(p["pts_time"]) for p in found)
    usual = times[-1] - times[-2]
    return sorted((float(p["pts_time"]), float(p.get("duration_time", usual)),
                   int(p["size"])) for p in found)


def source_packets(film, track):
    """FFmpeg moves all pictures of a fragmented file with offsets below 0 by
    the lowest of them: these are late in the source only."""
    found = packets(film.sources[track])
    late = found[0][0] if track == "v0" \
        and film.video == "h264-fragments-below-0" else 0
    return [(time - late, length, size) for time, length, size in found]


def test_hls_and_dash_decode_to_the_frames_of_the_source(film):
    for top in ("master.m3u8", "manifest.mpd"):
        assert digests(film.url + top, "0:v") == film.shown, top
    source = pcm(film.sources["a0"])
    assert len(source) > 0
    assert source in film.heard
    assert pcm(film.url + "master.m3u8") == film.heard


def pcm(source, *options):
    done = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", *options, "-i",
                           str(source), "-map", "0:a", "-f", "s16le", "-"],
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("scheme", SCHEMES)
def test_with_the_key_it_decodes_to_the_frames_of_the_source(film, scheme):
    for name in ("v0/0.m4s", "a0/0.m4s"):
        assert requests.get(film.sealed(scheme) + name, timeout=20).content \
            != requests.get(film.url + name, timeout=20).content
    mpd, key = film.sealed(scheme) + "manifest.mpd", ["-cenc_decryption_key",
                                                      KEY]
    assert digests(mpd, "0:v", *key) == film.shown
    assert pcm(mpd, *key) == film.heard


def test_aes_128_decodes_to_the_frames_of_the_source(film):
    """A transport stream knows of no turn of the picture."""
    plain = ["-noautorotate"]
    url = film.sealed("aes-128") + "ts/master.m3u8"
    if film.video.startswith(CARRIED):
        assert digests(url, "0:v", *plain) \
            == digests(film.sources["v0"], "0:v", *plain)
    if film.audio.startswith(CARRIED):
        assert pcm(film.sources["a0"]) in pcm(url)


def test_every_packet_has_its_time_to_the_tick(film):
    """And so picture and sound are as far apart as in the source."""
    for track in film.sources:
        whole, count = film.whole(track)
        ours, theirs = packets(whole), source_packets(film, track)
        assert [size for *_, size in ours] == [size for *_, size in theirs]
        for (a, *_), (b, *_) in zip(ours, theirs):
            assert a == pytest.approx(b, abs=2e-5)
        if track == "v0":
            assert count == SECONDS


def ticks(source, *options):
    """Exact times of each packet, in s, of pictures and of sound."""
    found = probe(source, *options, "-show_packets", "-show_entries",
                  "packet=stream_index,pts,dts:stream=codec_type,time_base")
    times = {}
    for packet in found["packets"]:
        stream = found["streams"][packet["stream_index"]]
        unit = Fraction(stream["time_base"])
        times.setdefault(stream["codec_type"], []).append(
            (packet["pts"] * unit, packet["dts"] * unit))
    return times


def test_times_go_on_over_the_borders_of_segments(film):
    """As FFmpeg puts them together by the playlist or the MPD: to the tick
    those of the fragments, which the test before compares to the source's."""
    wanted = {}
    for track in film.sources:
        wanted |= ticks(film.whole(track)[0])
    assert len(wanted["video"]) == SECONDS * RATE
    assert ticks(film.url + "master.m3u8") == wanted
    for url in film.url, *map(film.sealed, SCHEMES):
        found = ticks(url + "manifest.mpd", "-cenc_decryption_key", KEY)
        for kind, times in wanted.items():
            # FFmpeg's DASH ends with the track that ends first
            assert 0 <= len(times) - len(found[kind]) <= 20
            assert found[kind] == times[:len(found[kind])]


def test_playlists_last_as_long_as_the_source(film):
    for track in film.sources:
        playlist = film.text(f"{track}/index.m3u8")
        lengths = [float(x) for x in
                   re.findall(r"#EXTINF:([\d.]+)", playlist)]
        target = int(re.search(r"TARGETDURATION:(\d+)", playlist).group(1))
        assert all(round(x) <= target for x in lengths)
        ours, last = sum(lengths), source_packets(film, track)[-1]
        if film.video == "h264-uneven" and track == "v0":
            # lengths are of decoding: the edit list knows the last picture's
            assert last[0] < ours < last[0] + 0.2
            continue
        assert ours == pytest.approx(last[0] + last[1], abs=0.001)


def test_codecs_are_named_and_shown_sizes_told(film):
    master, mpd = film.text("master.m3u8"), film.text("manifest.mpd")
    video, audio = PICTURES[film.video][2], SOUNDS[film.audio][2]
    assert f'CODECS="{video},{audio}"' in master
    assert f'codecs="{video}"' in mpd and f'codecs="{audio}"' in mpd
    size = (72, 128) if film.video == "h264-on-its-side" else (128, 72)
    assert "RESOLUTION={}x{}".format(*size) in master
    assert 'width="{}" height="{}"'.format(*size) in mpd
    wanted = {"hevc-pq": "PQ", "av1-hlg": "HLG"}.get(film.video)
    if wanted:
        assert f"VIDEO-RANGE={wanted}" in master
        assert "TransferCharacteristics" in mpd
    else:
        assert not re.search("VIDEO-RANGE=(PQ|HLG)", master)
    # FFmpeg writes 2 for any MP3, and only its frames know better
    channels = {"aac-5.1": 6, "he-aac-v2": 2, "ac-3": 6,
                "mp3": 2}.get(film.audio, 1)
    assert f'CHANNELS="{channels}"' in master
    assert ("F801" in mpd) == (film.audio == "ac-3")


def test_a_turned_picture_is_still_turned(film):
    whole, _ = film.whole("v0")
    found = probe(whole, "-show_streams")["streams"][0]
    theirs = probe(film.sources["v0"], "-show_streams")["streams"][0]
    turns = [[side.get("rotation") for side in one.get("side_data_list", [])]
             for one in (found, theirs)]
    assert turns[0] == turns[1]
    assert bool(turns[0]) == (film.video == "h264-on-its-side")
    assert (found["width"], found["height"]) == (128, 72)


# ---- another reader ----

def boxes(box, *names):
    """Those at this place below the box."""
    found = [box]
    for name in names:
        found = [b for one in found for b in one["boxes"] + one["entries"]
                 if b["type"] == name]
    return found


def sample_infos(data, moof, iv_size):
    """IV and subsamples, (clear, encrypted), of each sample, by what saiz and
    saio say of senc."""
    (saiz,), (saio,), (senc,) = (boxes(moof, "traf", name)
                                 for name in ("saiz", "saio", "senc"))
    at = moof["start"] + saio["offset"][0]
    assert at == senc["start"] + 16
    sizes = saiz["sample_info_size"] \
        or [saiz["default_sample_info_size"]] * saiz["sample_count"]
    assert len(sizes) == int.from_bytes(data[at - 4:at], "big")
    for size in sizes:
        iv, rest = data[at:at + iv_size], data[at + iv_size:at + size]
        assert (len(rest) > 0) == bool(senc["flags"] & 2)
        if rest:
            assert len(rest) == 2 + 6 * int.from_bytes(rest[:2], "big")
        yield iv, [struct.unpack_from(">HI", rest, i)
                   for i in range(2, len(rest), 6)]
        at += size
    assert at == senc["start"] + senc["size"]


def samples_are_protected(film, track, scheme, file, data):
    is_video = track == "v0"
    (entry,) = boxes(file["boxes"][1], "trak", "mdia", "minf", "stbl", "stsd",
                     "encv" if is_video else "enca")
    (sinf,) = boxes(entry, "sinf")
    (frma,), (schm,), (tenc,) = (boxes(sinf, *path) for path in (
        ["frma"], ["schm"], ["schi", "tenc"]))
    codec = PICTURES[film.video][2] if is_video else SOUNDS[film.audio][2]
    assert frma["data_format"].lower() == codec.split(".")[0].lower()
    assert schm["scheme_type"] == scheme
    assert tenc["default_isProtected"] == 1 and tenc["default_KID"] == KID
    iv_size = tenc["default_Per_Sample_IV_Size"]
    if scheme == "cenc":
        assert iv_size == 8
    else:
        assert iv_size == 0 and tenc["default_constant_IV_size"] == 16
        assert (tenc["default_crypt_byte_block"],
                tenc["default_skip_byte_block"]) == (
                    (1, 9) if is_video else (0, 0))
    if iv_size == 0 and not is_video:
        return  # each sample whole, by the one IV
    infos = [info for moof in file["boxes"] if moof["type"] == "moof"
             for info in sample_infos(data, moof, iv_size)]
    assert len(infos) == len(file["samples"])
    assert iv_size == 0 or len({iv for iv, _ in infos}) == len(infos)
    for (_, parts), sample in zip(infos, file["samples"]):
        if is_video:
            assert sum(map(sum, parts)) == sample["size"]
            if scheme == "cenc":
                assert all(sealed % 16 == 0 for _, sealed in parts)
        else:
            assert parts == []
    assert not is_video or sum(sealed for _, parts in infos
                               for _, sealed in parts) > 0


def test_gpac_reads_every_segment(film):
    """Its MP4Box.js has no complaint, finds the samples where FFmpeg does, and
    what is encrypted as it has to be."""
    paths = {(track, scheme): film.whole(track, scheme)[0]
             for track in film.sources for scheme in (None, *SCHEMES)}
    told = run("node", BOXES, *paths.values()).splitlines()
    for ((track, scheme), path), line in zip(paths.items(), told, strict=True):
        file, data = json.loads(line), path.read_bytes()
        assert file["complaints"] == []
        kinds = [box["type"] for box in file["boxes"]]
        assert kinds == ["ftyp", "moov"] \
            + ["styp", "moof", "mdat"] * (len(kinds) // 3)
        samples = file["samples"]
        for number, moof in enumerate(b for b in file["boxes"]
                                      if b["type"] == "moof"):
            (tfdt,) = boxes(moof, "traf", "tfdt")
            first = next(s for s in samples if s["fragment"] == number + 1)
            assert tfdt["baseMediaDecodeTime"] == first["dts"]
        # where it can seek it reads ahead to the next fragment's subsamples
        found = probe(path, "-seekable", "0", "-decryption_key", KEY,
                      "-show_packets", "-show_entries",
                      "packet=pts,dts,size,pos,flags")["packets"]
        zero = found[0]["dts"] - samples[0]["dts"]
        late = found[0]["pts"] - samples[0]["cts"]
        assert [(p["dts"] - zero, p["pts"] - late, p["size"], p["pos"],
                 p["flags"][0] == "K") for p in found] == [
            (s["dts"], s["cts"], str(s["size"]), str(s["offset"]), s["isSync"])
            for s in samples]
        if scheme:
            samples_are_protected(film, track, scheme, file, data)


# ---- cut by copying ----

def cut(out, start):
    """The film from `start` s on, as ffmpeg cuts it without encoding: by an
    edit list."""
    picture("h264", out.with_suffix(".whole.mp4"))
    ffmpeg("-ss", start, "-i", out.with_suffix(".whole.mp4"), "-c", "copy",
           "-f", "mp4", out)


def test_a_film_cut_at_a_key_frame_starts_there(origin):
    folder = origin.films / "cut"
    (folder / "1").mkdir(parents=True)
    source = folder / "1" / "v0.mp4"
    cut(source, 1)
    shutil.copy(source, folder / "source.mp4")
    run(INGEST, folder / "1", 1000, "v0")
    url = f"{origin.url}/cut/1/master.m3u8"
    assert len(digests(url, "0:v")) == (SECONDS - 1) * RATE
    assert digests(url, "0:v") == digests(folder / "source.mp4", "0:v")


def test_a_film_cut_between_key_frames_is_refused_by_name(tmp_path):
    cut(tmp_path / "v0.mp4", 1.5)
    done = subprocess.run([INGEST, tmp_path, "1000", "v0"], text=True,
                          capture_output=True, check=False)
    assert done.returncode != 0
    assert "elst: edit starts between two key frames" in done.stderr


# ---- Chromium ----

CMAF, STREAMS = ("hls", "master.m3u8"), ("hls", "ts/master.m3u8")
DASH = [("shaka", "manifest.mpd"), ("dash", "manifest.mpd")]
# its Media Source takes no MP3 in MP4, however it is called
DECODED = {"he-aac": [CMAF, STREAMS, *DASH], "he-aac-v2": [CMAF, STREAMS],
           "opus": [CMAF, *DASH], "flac": [CMAF, *DASH], "mp3": [STREAMS]}
PLAYED = [f"{player}-{audio}/1/{top}" for audio, players in DECODED.items()
          for player, top in players]


@pytest.fixture(name="frames", scope="module")
def _frames(origin, browser):
    """Each player with each sound, all at once: a film takes its time."""
    picture("h264", origin.films / "silent.mp4")
    for audio in DECODED:
        folder = origin.films / audio / "1"
        folder.mkdir(parents=True)
        shutil.copy(origin.films / "silent.mp4", folder / "v0.mp4")
        sound(audio, folder / "a0.mp4")
        run(INGEST, folder, 1000, "v0", "a0")
    browser.get(f"{origin.url}/nothing")
    browser.execute_script("""
        for (const id of arguments[0]) {
          const [, player, url] = id.match(/(.*?)-(.*)/);
          document.body.append(Object.assign(document.createElement('iframe'),
            { id, src: `/player.html?player=${player}&url=/${url}` }));
        }""", PLAYED)


@pytest.mark.parametrize("name", PLAYED)
def test_chromium_decodes_the_sound(frames, browser, name):
    seen = {"time": 0}

    def is_played():
        seen.update(browser.execute_script("""
            const { video, seen } =
              document.getElementById(arguments[0]).contentWindow;
            return seen && { ...seen, time: video.currentTime,
              decoded: video.webkitAudioDecodedByteCount };
            """, name) or {})
        return seen["time"] > SECONDS - 0.5

    try:
        wait_for(is_played, 20)
    except TimeoutError:
        raise AssertionError(f"stands still: {seen}") from None
    # time 0 of a transport stream is that of the first decoding
    holes = {"bufferSeekOverHole"} if "/ts/" in name else set()
    assert set(seen["errors"]) <= holes
    assert seen["decoded"] > 1000
