# SPDX-License-Identifier: Apache-2.0
"""What is encrypted of films made by FFmpeg, and what FFmpeg makes of it.

FFmpeg's trace_headers is the second opinion on where a header ends. The
program under test is named by the variable CRYPT_DUMP.
"""

import os
import re
import struct
import subprocess

import pytest

CRYPT_DUMP = os.environ["CRYPT_DUMP"]  # meson sets it

H264 = ["-c:v", "libx264", "-preset", "veryfast", "-x264-params"]
HEVC = ["-c:v", "libx265", "-preset", "ultrafast", "-tag:v", "hvc1",
        "-x265-params"]
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
}


def run(*args):
    done = subprocess.run(args, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return done


def ffmpeg(*args):
    done = run("ffmpeg", "-v", "error", "-nostdin", "-xerror", *args)
    assert done.stderr == b"", done.stderr.decode()[-2000:]
    return done.stdout


KEY, KID = "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "00112233445566778899aabbccddeeff"
SOUNDS = {
    "aac": ["-c:a", "aac", "-b:a", "96k"],
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
           "yuv420p", "-threads", "1", str(path))
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


def traced_headers(path):
    """Bits of each slice header, without emulation prevention bytes."""
    text = run("ffmpeg", "-v", "trace", "-nostdin", "-i", str(path), "-c",
               "copy", "-bsf:v", "trace_headers", "-f", "null",
               "-").stderr.decode()
    ends, is_slice = [], False
    for line in re.findall(r"trace_headers @ \w+\] (.*)", text):
        field = re.match(r"(\d+) +\S+ +([01]+) = ", line)
        if line.startswith("Slice "):
            is_slice = True
            ends.append(0)
        elif field and is_slice:
            ends[-1] = int(field.group(1)) + len(field.group(2))
        elif not field:
            is_slice = False
    return ends


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


def test_slice_data_is_the_rest_and_nothing_else(film):
    is_hevc = film.parent.name.startswith("hevc")
    headers = iter(traced_headers(film))
    slices = 0
    for sample, found in subsamples(film):
        expected, clear = [], 0
        for nal in nal_units(sample):
            kind = nal[0] >> 1 & 63 if is_hevc else nal[0] & 31
            if kind < 32 if is_hevc else kind in (1, 5):
                header = escaped_size(nal, (next(headers) + 7) // 8)
                expected.append((clear + 4 + header, len(nal) - header))
                clear, slices = 0, slices + 1
            else:
                clear += 4 + len(nal)
        assert found == expected + ([(clear, 0)] if clear else [])
    assert next(headers, None) is None
    assert slices >= 50


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
