# SPDX-License-Identifier: Apache-2.0
"""HE-AAC, which no encoder of Debian makes: AAC-LC of half the rate as FFmpeg
encodes it, with the smallest spectral band replication behind each frame that
ISO/IEC 14496-3 knows (§4.4.2.8): one envelope of one band."""

import struct
import subprocess

RATE = 24000  # of AAC-LC; twice that is heard
# AudioSpecificConfig (§1.6.2.1) of one channel: SBR, or parametric stereo, and
# what it is upon; or behind that of AAC-LC, where older players stop reading
CONFIGS = {
    "he-aac": "00101 0110 0001 0011 00010 000",
    "he-aac-behind": "00010 0110 0001 000 01010110111 00101 1 0011",
    "he-aac-v2": "11101 0110 0001 0011 00010 000",
}
# header: amplitudes, start, stop, crossover, reserved, then what is not as
# usual: linear scale, wide bands, one of noise
HEADER = "1 0 0011 1110 101 00 1 0 00 1 00"
# frame: one envelope, coded by frequency, as is the noise; inverse filter;
# the band's level and the noise's
FRAME = "0 00 00 0 0 0 00 0000100 11110 0"
STEREO = "1 0010 10 1 0 0 0 0 01 0000000"  # of no parameters


def packed(bits):
    bits = bits.replace(" ", "")
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def extended(frame, is_stereo):
    """With a fill element in front of the end, which is the last three ones."""
    bits = f"{int.from_bytes(frame, 'big'):0{8 * len(frame)}b}".rstrip("0")
    assert bits.endswith("111")
    payload = packed("1101" + HEADER + FRAME + (STEREO if is_stereo else "0"))
    assert len(payload) < 15
    return packed(bits[:-3] + f"110{len(payload):04b}"
                  + "".join(f"{byte:08b}" for byte in payload) + "111")


def frames(adts):
    while adts:
        assert adts[1] & 1  # no checksum
        size = int.from_bytes(adts[3:6], "big") >> 5 & 0x1fff
        yield adts[:7], adts[7:size]
        adts = adts[size:]


def config_replace(path, config):
    """In the esds of a file whose moov is the last box."""
    file = bytearray(path.read_bytes())
    at = file.rindex(b"esds")
    grown = len(config) - 2
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"mp4a",
                 b"esds"):
        start = file.rindex(name, 0, at + 4) - 4
        size, = struct.unpack_from(">I", file, start)
        struct.pack_into(">I", file, start, size + grown)
    for tag in (b"\3\x80\x80\x80", b"\4\x80\x80\x80", b"\5\x80\x80\x80"):
        at = file.index(tag, at) + 4
        file[at] += grown
    assert file[at] == len(config)
    file[at + 1:at + 3] = config
    path.write_bytes(file)


def he_aac_make(name, source, out):
    """A film of the sound of a source of lavfi."""
    ffmpeg = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
    lc = subprocess.run([*ffmpeg, "-f", "lavfi", "-i", source, "-ar", str(RATE),
                         "-c:a", "aac", "-f", "adts", "-"], check=True,
                        capture_output=True).stdout
    adts = b""
    for header, frame in frames(lc):
        frame = extended(frame, name == "he-aac-v2")
        size = (len(frame) + 7) << 5
        head = bytearray(header)
        head[3] = head[3] & 0xfc | size >> 16
        head[4] = size >> 8 & 0xff
        head[5] = size & 0xe0 | head[5] & 0x1f
        adts += bytes(head) + frame
    subprocess.run([*ffmpeg, "-f", "aac", "-i", "-", "-c", "copy", "-f", "mp4",
                    out], input=adts, check=True)
    config_replace(out, packed(CONFIGS[name]))
