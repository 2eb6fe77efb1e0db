# SPDX-License-Identifier: Apache-2.0
"""WebVTT as a track of an MP4 (ISO/IEC 14496-30), which FFmpeg does not write:
added to a film that it wrote, moov last or in fragments."""

import struct

TRACK = 99
IDENTITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind.encode()) + body


def full(kind, flags, *parts):
    return box(kind, struct.pack(">I", flags), *parts)


def words(*numbers):
    return struct.pack(f">{len(numbers)}I", *numbers)


def boxes(data):
    """[(type, bytes)] of what lies behind one another."""
    out, at = [], 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        out.append((kind.decode(), data[at:at + size]))
        at += size
    return out


def samples_of(cues):
    """[(duration, bytes)] of [(start, end, settings, text)], in ms: one for
    each stretch in which the same cues are seen."""
    times = sorted({0} | {time for cue in cues for time in cue[:2]})
    out = []
    for start, end in zip(times, times[1:]):
        seen = [box("vttc", box("sttg", settings.encode()) if settings else b"",
                    box("payl", text.encode()))
                for first, last, settings, text in cues
                if first < end and last > start]
        out.append((end - start, b"".join(seen) or box("vtte")))
    return out


def track_of(samples, offset, language, role):
    letters = [ord(letter) & 31 for letter in language]
    packed = letters[0] << 10 | letters[1] << 5 | letters[2]
    head = b"WEBVTT\n\nSTYLE\n::cue { color: lime }"
    table = box(
        "stbl",
        full("stsd", 0, words(1), box("wvtt", bytes(6), b"\0\1",
                                      box("vttC", head))),
        full("stts", 0, words(len(samples)),
             *(words(1, duration) for duration, _ in samples)),
        full("stsc", 0, words(1, 1, len(samples), 1) if samples
             else words(0)),
        full("stsz", 0, words(0, len(samples)),
             *(words(len(data)) for _, data in samples)),
        full("stco", 0, words(1, offset) if samples else words(0)))
    kind = full("kind", 0, b"urn:mpeg:dash:role:2011\0", role.encode(), b"\0")
    return box(
        "trak",
        full("tkhd", 3, words(0, 0, TRACK, 0, 0), bytes(16), IDENTITY,
             words(0, 0)),
        box("mdia",
            full("mdhd", 0, words(0, 0, 1000, 0),
                 struct.pack(">HH", packed, 0)),
            full("hdlr", 0, bytes(4), b"text", bytes(13)),
            box("minf", full("nmhd", 0),
                box("dinf", full("dref", 0, words(1), full("url ", 1))),
                table)),
        box("udta", kind) if role else b"")


def fragment_of(number, start, samples):
    def moof(offset):
        return box(
            "moof", full("mfhd", 0, words(number)),
            box("traf", full("tfhd", 0x20000, words(TRACK)),
                full("tfdt", 0, words(start)),
                full("trun", 0x301, words(len(samples), offset),
                     *(words(duration, len(data))
                       for duration, data in samples))))
    return (moof(len(moof(0)) + 8)
            + box("mdat", *(data for _, data in samples)))


def webvtt_add(film, cues, language, role=""):
    samples = samples_of(cues)
    parts = [part for part in boxes(film.read_bytes()) if part[0] != "mfra"]
    moov = boxes(dict(parts)["moov"][8:])
    is_fragmented = "mvex" in dict(moov)
    before = b"".join(data for kind, data in parts if kind != "moov")
    track = track_of([] if is_fragmented else samples, len(before) + 8,
                     language, role)
    moov = box("moov", *(
        box("mvex", data[8:], full("trex", 0, words(TRACK, 1, 0, 0, 0)))
        if kind == "mvex" else data for kind, data in moov), track)
    if not is_fragmented:  # whose offsets stay where moov is last
        assert parts[-1][0] == "moov"
        film.write_bytes(before + box("mdat", *(data for _, data in samples))
                         + moov)
        return
    half = len(samples) // 2
    start = sum(duration for duration, _ in samples[:half])
    film.write_bytes(
        b"".join(moov if kind == "moov" else data for kind, data in parts)
        + fragment_of(1000, 0, samples[:half])
        + fragment_of(1001, start, samples[half:]))
