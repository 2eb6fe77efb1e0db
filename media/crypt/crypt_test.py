# SPDX-License-Identifier: Apache-2.0
"""What is encrypted of films made by FFmpeg, and what FFmpeg makes of it.

FFmpeg's trace_headers is the second opinion on where a header ends. The
program under test is named by the variable CRYPT_DUMP.
"""

import functools
import os
import re
import struct
import subprocess

import pytest

CRYPT_DUMP = os.environ["CRYPT_DUMP"]  # meson sets it

H264 = ["-c:v", "libx264", "-preset", "veryfast", "-x264-params"]
HEVC = ["-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1",
        "-x265-params"]
AV1 = ["-c:v", "libaom-av1", "-cpu-used", "8", "-g", "20", "-b:v", "400k"]
VP9 = ["-c:v", "libvpx-vp9", "-cpu-used", "8", "-g", "20", "-b:v", "400k"]
FILMS = {
    "h264_slices": H264 + ["slices=5:weightp=2:bframes=3:keyint=30"],
    "h264_pyramid": H264 + ["bframes=5:b-pyramid=normal:weightb=1:ref=4:"
                            "b-adapt=0:open-gop=1:keyint=20:direct=auto"],
    "h264_cavlc": H264 + ["cabac=0:8x8dct=0:bframes=0:keyint=15:no-deblock=1"],
    "h264_interlaced": H264 + ["tff=1:bframes=2:keyint=20:ref=3"],
    "h264_intra_refresh": H264 + ["intra-refresh=1:keyint=20"],
    "hevc": HEVC + ["log-level=none:keyint=25:bframes=3"],
    "hevc_slices": HEVC + ["log-level=none:slices=3:keyint=20:weightb=1:"
                           "bframes=4:b-pyramid=1:ref=4"],
    "hevc_no_filters": HEVC + ["log-level=none:no-sao=1:no-deblock=1:"
                               "bframes=0:keyint=10:temporal-layers=1"],
    "hevc_open_gop": HEVC + ["log-level=none:open-gop=1:keyint=12:bframes=3:"
                             "repeat-headers=1"],
    "av1_tiles": AV1 + ["-tiles", "2x2", "-lag-in-frames", "19"],
    "av1_segments": AV1 + ["-usage", "realtime", "-aq-mode", "3"],
    "av1_screen": AV1 + ["-aom-params", "tune-content=screen:lossless=1"],
    "av1_few_tools": AV1 + ["-usage", "realtime", "-enable-cdef", "0",
                            "-aom-params", "sb-size=128:enable-order-hint=0:"
                            "enable-global-motion=0"],
    "av1_svt": ["-c:v", "libsvtav1", "-preset", "12", "-g", "20", "-svtav1-"
                "params", "film-grain=10"],
    "vp9_superframes": VP9 + ["-deadline", "good", "-auto-alt-ref", "1",
                              "-lag-in-frames", "16", "-aq-mode", "1"],
    "vp9_tiles": VP9 + ["-deadline", "realtime", "-tile-columns", "1",
                        "-tile-rows", "1", "-error-resilient", "1"],
    "vp9_444": VP9 + ["-deadline", "realtime", "-profile:v", "1",
                      "-lossless", "1"],
}
TILES = {"av1_tiles": 4}


def run(*args):
    done = subprocess.run(args, capture_output=True, timeout=120,
                          env=os.environ | {"SVT_LOG": "0"})
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done


def ffmpeg(*args):
    done = run("ffmpeg", "-v", "error", "-nostdin", "-xerror", *args)
    assert done.stderr == b"", done.stderr.decode()[-2000:]
    return done.stdout


KEY, KID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "00112233445566778899aabbccddeeff"
SOUNDS = {
    "aac": ["-c:a", "aac", "-b:a", "96k"],
    "ac_3": ["-c:a", "ac3"],
    "e_ac_3": ["-c:a", "eac3"],
    "flac": ["-c:a", "flac", "-strict", "-2"],
    "mp3": ["-c:a", "libmp3lame"],
    "opus": ["-c:a", "libopus"],
}


@pytest.fixture(scope="module", params=SOUNDS)
def sound(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "sound.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=f=330:r=48000:d=3",
           *SOUNDS[request.param], str(path))
    return path


@pytest.fixture(scope="module", params=FILMS)
def film(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "film.mp4"
    fade = "testsrc2=s=416x240:r=25:d=2,fade=out:20:25"  # weights
    ffmpeg("-f", "lavfi", "-i", fade, *FILMS[request.param], "-pix_fmt",
           "yuv444p" if request.param == "vp9_444" else "yuv420p",
           "-threads", "1", str(path))
    return path


def subsamples(path):
    """Of each sample its bytes and [(clear, rest), ...]."""
    film, found = path.read_bytes(), []
    for line in run(CRYPT_DUMP, "subsamples",
                    str(path)).stdout.decode().split("\n")[:-1]:
        offset, size, *pairs = line.split(" ")
        pairs = [tuple(map(int, pair.split("+"))) for pair in pairs]
        start = int(offset)
        found.append((film[start:start + int(size)], pairs))
    return found


def traced(path):
    """What FFmpeg reads of headers: titles, and (name, value, end in bits)."""
    text = run("ffmpeg", "-v", "trace", "-nostdin", "-nostats", "-i",
               str(path), "-c", "copy", "-bsf:v", "trace_headers", "-f",
               "null", "-").stderr.decode()
    for line in re.findall(r"trace_headers @ \w+\] (.*)", text):
        field = re.match(r"(\d+) +(\S+) +([01]*) = (-?\d+)", line)
        if field:
            yield (field[2], int(field[4]), int(field[1]) + len(field[3]))
        else:
            yield line


def traced_slices(path):
    """Bits of each slice header, without emulation prevention bytes."""
    ends, is_slice = [], False
    for line in traced(path):
        if isinstance(line, tuple):
            if is_slice:
                ends[-1] = line[2]
        else:
            is_slice = line.startswith("Slice ")
            if is_slice:
                ends.append(0)
    return ends


def traced_units(path, *titles):
    """Of each unit that begins with a title the fields, and `end`: the bytes
    that they take."""
    units = []
    for line in traced(path):
        if isinstance(line, tuple):
            if units:
                units[-1][line[0]] = line[1]
                units[-1]["end"] = (line[2] + 7) // 8
        elif line in titles:
            units.append({"end": 0})
    return units


def escaped_size(nal, size):
    """Bytes of the NAL unit that `size` bytes of its payload take."""
    at = zeros = 0
    while size > 0:
        if zeros >= 2 and nal[at] == 3:
            at, zeros = at + 1, 0
            continue
        zeros = zeros + 1 if nal[at] == 0 else 0
        at, size = at + 1, size - 1
    return at


def nal_units(sample):
    at = 0
    while at < len(sample):
        size = struct.unpack_from(">I", sample, at)[0]
        yield sample[at + 4:at + 4 + size]
        at += 4 + size


def slices_expected(sample, headers, is_hevc):
    clear = 0
    for nal in nal_units(sample):
        kind = nal[0] >> 1 & 63 if is_hevc else nal[0] & 31
        if kind < 32 if is_hevc else kind in (1, 5):
            header = escaped_size(nal, (next(headers) + 7) // 8)
            yield clear + 4 + header, len(nal) - header
            clear = 0
        else:
            clear += 4 + len(nal)
    if clear:
        yield clear, 0


def tiles_expected(sample, headers, tiles):
    at = clear = 0
    while at < len(sample):
        kind, body = sample[at] >> 3 & 15, at + 1 + (sample[at] >> 2 & 1)
        size = shift = 0
        while True:
            size |= (sample[body] & 127) << shift
            shift, body = shift + 7, body + 1
            if not sample[body - 1] & 128:
                break
        end = body + size
        if kind in (4, 6):
            header = next(headers)
            start, width = (at + header["end"],
                            header.get("tile_size_bytes_minus1", 0) + 1)
            for left in range(tiles - 1, -1, -1):
                size = end - start
                if left:
                    size = 1 + int.from_bytes(sample[start:start + width],
                                              "little")
                    start += width
                yield clear + start - at, size
                at, clear, start = start + size, 0, start + size
        else:
            clear += end - at
        at = end
    if clear:
        yield clear, 0


def frames_expected(sample, headers):
    marker, sizes, clear = sample[-1], [len(sample)], 0
    if marker >> 5 == 6:
        count, width = (marker & 7) + 1, (marker >> 3 & 3) + 1
        index = sample[-1 - count * width:-1]
        sizes = [int.from_bytes(index[i:i + width], "little")
                 for i in range(0, len(index), width)]
    for size in sizes:
        header = next(headers)
        clear += header["end"]
        if not header["show_existing_frame"]:
            yield clear, size - header["end"]
            clear = 0
    clear += len(sample) - sum(sizes)
    if clear:
        yield clear, 0


def test_slice_data_is_the_rest_and_nothing_else(film):
    name = film.parent.name.rstrip("0123456789")
    if name.startswith("av1"):
        headers = iter([unit for unit in traced_units(film, "OBU header")
                        if unit["obu_type"] in (4, 6)])
    elif name.startswith("vp9"):
        headers = iter([unit for unit in traced_units(film, "Frame",
                                                      "Superframe Index")
                        if "frame_marker" in unit])
    else:
        headers = iter(traced_slices(film))
    encrypted_parts = 0
    for sample, found in subsamples(film):
        if name.startswith("av1"):
            expected = tiles_expected(sample, headers, TILES.get(name, 1))
        elif name.startswith("vp9"):
            expected = frames_expected(sample, headers)
        else:
            expected = slices_expected(sample, headers,
                                       name.startswith("hevc"))
        assert found == list(expected)
        encrypted_parts += sum(rest > 0 for _, rest in found)
    assert next(headers, None) is None
    assert encrypted_parts >= 50


def encrypted(path, scheme, lead="-"):
    out = path.with_name(f"{scheme}{lead}.mp4")
    run(CRYPT_DUMP, scheme, str(path), KEY, KID, lead, str(out))
    return out


def packets_md5(path, *args):
    """Size and hash of what the demuxer gives out, decrypted with a key. When it can
    seek it reads ahead to the next fragment, and takes its subsamples."""
    text = run("ffmpeg", "-v", "quiet", "-nostdin", *args, "-seekable", "0",
               "-i", str(path), "-c", "copy", "-f", "framemd5",
               "-").stdout.decode()
    return re.findall(r"^0,(?: *-?\d+,){3} *(\d+), ([0-9a-f]{32})", text, re.M)


@functools.cache
def frames_md5(path, *args):
    """A digest of each frame that is decoded, with a key."""
    text = run("ffmpeg", "-v", "error", "-nostdin", "-xerror", *args,
               "-seekable", "0", "-i", str(path), "-fps_mode", "passthrough",
               "-f", "framemd5", "-").stdout.decode()
    return re.findall(r"^0,.*, ([0-9a-f]{32})", text, re.M)


@pytest.mark.parametrize("scheme", ["cenc", "cbcs"])
def test_with_the_key_it_decodes_to_the_frames_of_the_film(film, scheme):
    shown = frames_md5(film)
    assert len(shown) >= 50
    assert frames_md5(encrypted(film, scheme), "-decryption_key",
                      KEY) == shown


@pytest.mark.parametrize("scheme", ["cenc", "cbcs"])
def test_a_player_with_the_key_gets_every_sample_back(film, scheme):
    out = encrypted(film, scheme)
    source = packets_md5(film)
    assert packets_md5(out, "-decryption_key", KEY) == source
    assert packets_md5(out, "-decryption_key", KID) != source
    plain = packets_md5(out)
    for clear in set(plain) & set(source):
        assert int(clear[0]) < 250  # its slices are smaller than a block


@pytest.mark.parametrize("scheme", ["cenc", "cbcs"])
def test_the_lead_is_clear_and_nothing_else(film, scheme):
    """FFmpeg knows no keys of fragments: the key is not for it to use."""
    plain = packets_md5(encrypted(film, scheme, "1"))
    source = packets_md5(film)
    same = [a == b for a, b in zip(plain, source, strict=True)
            if int(a[0]) >= 250]
    assert 5 <= sum(same) < len(same)
    assert same == sorted(same, reverse=True)


@pytest.mark.parametrize("scheme", ["cenc", "cbcs"])
def test_sound_is_encrypted_whole(sound, scheme):
    out = encrypted(sound, scheme)
    source = packets_md5(sound)
    assert packets_md5(out, "-decryption_key", KEY) == source
    assert not set(packets_md5(out)) & set(source)
