# SPDX-License-Identifier: Apache-2.0
"""Subtitles: what ffmpeg reads in the file that came in is what it reads in
what goes out, whole and in segments, and players show it at its times."""

import re
import subprocess
import urllib.parse
from xml.etree import ElementTree

import pytest
import requests

from conftest import film_make, wait_until
from mp4_text import webvtt_add
from nginx_instance import BUILD
from package_node import PackageNode, film_tracks
from test_ingest import FAST, Place
from test_st_api import StApi

INGEST = BUILD / "modules" / "package" / "package_test_ingest"
SECONDS, SEGMENT_S = 12, 2
MPD = "{urn:mpeg:dash:schema:mpd:2011}"

# Over cuts, at cuts, two at once, out of order, and behind the end.
SUBRIP = """1
00:00:00,500 --> 00:00:01,900
One, <i>leaning</i>.

2
00:00:03,000 --> 00:00:07,250
- Three,
- over two cuts & more.

4
00:00:08,000 --> 00:00:10,000
From cut to cut: é, ß, €.

3
00:00:05,001 --> 00:00:05,999
Meanwhile

5
00:00:11,500 --> 00:00:20,000
Longer than the film

6
00:00:30,000 --> 00:00:31,000
Never
"""
CUES = [
    (500, 1900, "One, <i>leaning</i>."),
    (3000, 7250, "- Three,\n- over two cuts & more."),
    (5001, 5999, "Meanwhile"),
    (8000, 10000, "From cut to cut: é, ß, €."),
    (11500, 20000, "Longer than the film"),
]
WEBVTT = """WEBVTT made by hand

STYLE
::cue { color: yellow }

NOTE nobody sees this

a name
00:01.000 --> 00:04.000 line:0 align:start
<b>Eins</b>

00:00:09.999 --> 00:00:10.001
kurz
"""


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True,
                          text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def milliseconds(text):
    parts = [float(part) for part in text.replace(",", ".").split(":")]
    return round(1000 * sum(part * 60 ** i
                            for i, part in enumerate(reversed(parts))))


def cues_by_ffmpeg(path, *options, track=0):
    """[(start, end, text)] as ffmpeg's demuxer and decoder have them; what
    stands behind a STYLE they do not read."""
    if path.suffix == ".vtt":
        text = path.read_text()
        path = path.with_suffix(".plain.vtt")
        path.write_text(re.sub("STYLE\n(.+\n)*\n", "", text))
    told = run("ffmpeg", "-v", "error", *options, "-i", path, "-map",
               f"0:s:{track}", "-c:s", "webvtt", "-f", "webvtt", "-")
    cues = []
    for block in told.replace("\r", "").split("\n\n")[1:]:
        times, _, text = block.strip("\n").partition("\n")
        if times:
            start, end = (milliseconds(time) for time in
                          re.findall(r"[\d:.]+", times)[:2])
            cues.append((start, end, text.replace("&amp;", "&")))
    return cues


class Node(PackageNode):
    def __init__(self, folder, root):
        super().__init__(folder, root, f"""
            location / {{
                package_root {root};
                location ~ ^/film/(.*)$ {{ package film/$1; }}
                location ~ ^/filled/(.*)$ {{
                    package film/$1;
                    package_fill /slices/;
                }}
            }}""")


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """B-frames, so that no time is 0 by luck, and two tracks of subtitles."""
    folder = tmp_path_factory.mktemp("text") / "film" / "1"
    folder.mkdir(parents=True)
    film_tracks(folder, SECONDS)
    (folder / "s0.srt").write_text(SUBRIP)
    (folder / "s1.vtt").write_text(WEBVTT)
    run(INGEST, folder, 1000 * SEGMENT_S, "v0", "a0", "s0.srt:en:English",
        "s1.vtt:de:Deutsch")
    return folder


@pytest.fixture(name="node", scope="module")
def _node(film, tmp_path_factory):
    with Node(tmp_path_factory.mktemp("node"), film.parents[1]) as node:
        yield node


# ---- what is served ----


def test_ffmpeg_reads_in_the_whole_what_it_read_in_the_source(
        film, node, tmp_path):
    for source, name in (("s0.srt", "s0"), ("s1.vtt", "s1")):
        out = tmp_path / f"{name}.vtt"
        out.write_bytes(node.get(f"/film/1/{name}/all.vtt").content)
        want = [cue for cue in cues_by_ffmpeg(film / source)
                if cue[0] < 1000 * SECONDS]
        assert len(want) == (5 if name == "s0" else 2)
        assert cues_by_ffmpeg(out) == sorted(want)
    assert cues_by_ffmpeg(tmp_path / "s0.vtt") == CUES


def test_each_encoding_gives_the_same_subtitles(tmp_path):
    """Of the film only the video's cuts matter."""
    want = None
    for number, encoding in enumerate(
            ("utf-8", "utf-8-sig", "utf-16", "cp1252")):
        folder = tmp_path / str(number)
        folder.mkdir()
        run("ffmpeg", "-v", "error", "-f", "lavfi", "-i",
            f"testsrc2=s=64x36:r=5:d={SECONDS}", "-c:v", "libx264", "-preset",
            "ultrafast", "-g", 10, folder / "v0.mp4")
        (folder / "s0.srt").write_bytes(
            SUBRIP.replace("\n", "\r\n").encode(encoding))
        run(INGEST, folder, 1000 * SEGMENT_S, "v0", "s0.srt:en:English")
        options = ("-sub_charenc", encoding) if encoding == "cp1252" else ()
        assert [cue for cue in sorted(cues_by_ffmpeg(folder / "s0.srt",
                                                     *options))
                if cue[0] < 1000 * SECONDS] == CUES
        stored = (folder / "s0.text").read_bytes()
        want = want or stored
        assert stored == want


def test_segments_have_the_times_of_the_video_and_the_cues_seen_in_them(
        node, tmp_path):
    def durations(track):
        return [float(n) for n in re.findall(
            r"#EXTINF:([\d.]+),",
            node.get(f"/film/1/{track}/index.m3u8").text)]

    playlist = node.get("/film/1/s0/index.m3u8")
    assert playlist.headers["Content-Type"] == "application/vnd.apple.mpegurl"
    assert "EXT-X-MAP" not in playlist.text
    assert durations("s0") == durations("v0")
    start = 0
    for number, duration in enumerate(durations("s0")):
        answer = node.get(f"/film/1/s0/{number}.vtt")
        assert answer.headers["Content-Type"] == "text/vtt"
        text = answer.content.decode()
        assert text.startswith(
            "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n\n")
        part = tmp_path / f"{number}.vtt"
        # which ffmpeg takes for a cue
        part.write_text(re.sub("X-TIMESTAMP-MAP.*\n", "", text))
        end = start + 1000 * duration
        assert cues_by_ffmpeg(part) == [
            cue for cue in CUES if cue[0] < end and cue[1] > start]
        start = end
    assert number == 5
    style = "WEBVTT\n\nSTYLE\n::cue { color: yellow }\n\n"
    assert node.get("/film/1/s1/all.vtt").text.startswith(style)
    assert node.get("/film/1/s1/3.vtt").text.endswith(style[8:])


def test_a_part_is_a_file_whose_times_count_from_its_start(node, tmp_path):
    """Segments are 2.002 s; the part starts in a subtitle, and ends in one."""
    out = tmp_path / "part.vtt"
    out.write_bytes(node.get("/film/1/s0/2-4.vtt").content)
    assert cues_by_ffmpeg(out) == [
        (0, 3246, CUES[1][2]), (997, 1995, "Meanwhile"),
        (3996, 5996, CUES[3][2])]
    out.write_bytes(node.get("/film/1/s1/0-1.vtt").content)
    assert cues_by_ffmpeg(out) == [(1000, 4000, "<b>Eins</b>")]


def test_text_is_answered_as_media_is(node):
    whole = node.get("/film/1/s0/all.vtt")
    assert whole.headers["Content-Type"] == "text/vtt"
    for path in ("all.vtt", "1-3.vtt", "2.vtt"):
        url = f"/film/1/s0/{path}"
        answer = node.get(url)
        head = requests.head(node.url + url, timeout=20)
        assert int(head.headers["Content-Length"]) == len(answer.content)
        part = node.get(url, headers={"Range": "bytes=3-9"})
        assert part.status_code == 206
        assert part.content == answer.content[3:10]
        assert node.get(url, headers={
            "If-None-Match": answer.headers["ETag"]}).status_code == 304
        filled = node.get(f"/filled/1/s0/{path}")
        assert filled.content == answer.content
        assert filled.headers["ETag"] == answer.headers["ETag"]
    assert whole.headers["ETag"] != answer.headers["ETag"]
    for path in ("s0/0.m4s", "s0/init.mp4", "s0/6.vtt", "v0/0.vtt",
                 "v0/all.vtt", "s2/all.vtt", "s0/4-6.vtt", "v0/0-1.vtt"):
        assert node.get(f"/film/1/{path}").status_code == 404, path


def test_the_manifests_name_them(node):
    master = node.get("/film/1/master.m3u8").text
    assert ('#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="subs",NAME="English",'
            'LANGUAGE="en",DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,'
            'URI="s0/index.m3u8"\n') in master
    assert master.count('SUBTITLES="subs"') == 1
    mpd = ElementTree.fromstring(node.get("/film/1/manifest.mpd").content)
    found = [(one.get("lang"), one.findtext(f"{MPD}Label"),
              one.findtext(f"{MPD}Representation/{MPD}BaseURL"))
             for one in mpd.iter(f"{MPD}AdaptationSet")
             if one.get("mimeType") == "text/vtt"]
    assert found == [("en", "English", "s0/all.vtt"),
                     ("de", "Deutsch", "s1/all.vtt")]


# ---- ingest ----


@pytest.fixture(name="place")
def _place(tmp_path):
    api = StApi(tmp_path)
    yield Place(api, tmp_path)
    api.stop()


def test_ingest_stores_subtitles_beside_the_film(place, tmp_path):
    film = film_make(tmp_path / "film.mp4", SECONDS, "160x90", 25)
    (tmp_path / "a.srt").write_bytes(SUBRIP.encode("cp1252"))
    (tmp_path / "b.vtt").write_text(WEBVTT)
    result, folder = place.ingest(
        film, "demo", "--ladder", "90", "--segment", f"{SEGMENT_S}s", *FAST,
        "--subtitles", f"{tmp_path}/a.srt:eng:English: for all",
        "--subtitles", f"{tmp_path}/b.vtt")
    assert {path.name for path in folder.iterdir()} >= {
        "s0.text", "s0.idx", "s1.text", "s1.idx"}
    assert sum(path.stat().st_size for path in folder.iterdir()) \
        == result["bytes"]
    with served_as(folder, tmp_path / "node") as node:
        master = node.get("/film/1/master.m3u8").text
        assert 'NAME="English: for all",LANGUAGE="en",' in master
        assert 'NAME="s1",DEFAULT' in master
        whole = tmp_path / "whole.vtt"
        whole.write_bytes(node.get("/film/1/s0/all.vtt").content)
        assert cues_by_ffmpeg(whole) == CUES
        assert node.get("/film/1/s0/index.m3u8").text.count("#EXTINF") \
            == node.get("/film/1/v0/index.m3u8").text.count("#EXTINF")


OTHER = """1
00:00:01,000 --> 00:00:04,000
<b>Eins</b>

2
00:00:09,999 --> 00:00:10,001
kurz
"""
TRACK = [(500, 1900, "", "Un"), (3000, 7250, "line:0", "Trois"),
         (5001, 5999, "", "<i>Deux</i> & demi"), (9000, 9500, "", "Cinq")]


def film_with_texts(tmp_path, *options):
    """Two tracks of tx3g by FFmpeg, and one of wvtt."""
    plain = film_make(tmp_path / "plain.mp4", SECONDS, "160x90", 25)
    film = tmp_path / "film.mp4"
    (tmp_path / "a.srt").write_text(SUBRIP)
    (tmp_path / "b.srt").write_text(OTHER)
    run("ffmpeg", "-v", "error", "-i", plain, "-i", tmp_path / "a.srt", "-i",
        tmp_path / "b.srt", "-map", "0", "-map", 1, "-map", 2, "-c", "copy",
        "-c:s", "mov_text", "-metadata:s:s:0", "language=eng",
        "-metadata:s:s:1", "language=ger", "-disposition:s:1", "forced",
        *options, film)
    webvtt_add(film, TRACK, "fra", "forced-subtitle")
    return film


def ends_by_packets(film, track, cues):
    """Of fragments ffmpeg reads no lengths: there a cue ends where the next
    sample starts."""
    starts = [round(1000 * float(time)) for time in run(
        "ffprobe", "-v", "error", "-select_streams", f"s:{track}",
        "-show_entries", "packet=pts_time", "-of", "csv=p=0", film).split()]
    return [(start, end if end > start else starts[starts.index(start) + 1],
             text) for start, end, text in cues]


def served_as(folder, path):
    (folder.parent / "1").symlink_to(folder)
    (folder.parents[1] / "film").symlink_to(folder.parent)
    return Node(path, folder.parents[1])


@pytest.mark.parametrize("options", [
    (), ("-movflags", "frag_keyframe+empty_moov+default_base_moof")])
def test_ingest_takes_the_text_tracks_of_the_film(place, tmp_path, options):
    film = film_with_texts(tmp_path, *options)
    (tmp_path / "c.srt").write_text(SUBRIP)
    _, folder = place.ingest(
        film, "demo", "--ladder", "90", "--segment", f"{SEGMENT_S}s", *FAST,
        "--no-thumbnails", "--subtitles", f"{tmp_path}/c.srt:it",
        "--forced-subtitles", f"{tmp_path}/c.srt:it:Cartelli")
    out = tmp_path / "out.vtt"
    with served_as(folder, tmp_path / "node") as node:
        def served(track):
            text = node.get(f"/film/1/{track}/all.vtt").content
            out.write_bytes(text)
            return cues_by_ffmpeg(out)

        found = re.findall(
            'SUBTITLES,.*LANGUAGE="(..)",DEFAULT=NO,AUTOSELECT=YES,FORCED=(.)',
            node.get("/film/1/master.m3u8").text)
        assert found == [("en", "N"), ("de", "Y"), ("fr", "Y"), ("it", "N"),
                         ("it", "Y")]
        mpd = ElementTree.fromstring(
            node.get("/film/1/manifest.mpd").content)
        assert [one.find(f"{MPD}Role").get("value")
                for one in mpd.iter(f"{MPD}AdaptationSet")
                if one.get("mimeType") == "text/vtt"] == [
                    "subtitle", "forced-subtitle", "forced-subtitle",
                    "subtitle", "forced-subtitle"]
        for track in (0, 1):
            want = cues_by_ffmpeg(film, track=track)
            assert len(want) == (6 if track == 0 else 2)
            assert served(f"s{track}") == [
                cue for cue in ends_by_packets(film, track, want)
                if cue[0] < 1000 * SECONDS]
        assert served("s2") == [(start, end, text)
                                for start, end, _, text in TRACK]
        assert "line:0\nTrois\n" in out.read_text()
        assert "STYLE\n::cue { color: lime }\n" in out.read_text()
        assert served("s3") == CUES


def test_ingest_names_the_place_of_a_bad_text_track(place, tmp_path):
    film = film_with_texts(tmp_path)
    data = bytearray(film.read_bytes())
    at = data.index(b"vttc") - 4
    data[at + 2] = 1
    film.write_bytes(data)
    said = place.refused(film, "demo")
    assert f"track 99, box 'vttc' at byte {at}: " in said
    assert "encode" not in said


@pytest.mark.parametrize("given, text, said", [
    ("a.srt", "1\n00:00:01,000 -> 00:00:02,000\nHi\n",
     "a.srt: line 2: neither WebVTT nor SubRip"),
    ("a.srt", "", "a.srt: no subtitles are in it"),
    ("b.srt", "", "b.srt: No such file or directory"),
    ("a.srt:e n", SUBRIP, "expected FILE[:LANGUAGE[:LABEL]]"),
    ("a.srt:abcdefghijklmnop", SUBRIP, "expected FILE[:LANGUAGE[:LABEL]]"),
    ('a.srt:en:"', SUBRIP, "the label cannot stand in a playlist"),
])
def test_ingest_refuses_bad_subtitles_before_it_encodes(
        place, tmp_path, given, text, said):
    film = film_make(tmp_path / "film.mp4", 2, "160x90", 25)
    (tmp_path / "a.srt").write_text(text)
    done = place.run(film, "demo", *FAST, "--subtitles", f"{tmp_path}/{given}")
    assert done.returncode == 1
    assert said in done.stderr
    assert "encode" not in done.stderr
    assert place.entry("demo") is None


# ---- players ----


CUES_SCRIPT = """
    const cues = [...document.getElementById('video').textTracks]
      .filter((track) => track.mode !== 'disabled')
      .flatMap((track) => [...(arguments[0] ? track.activeCues
                                            : track.cues) || []]);
    return cues.map((c) => [c.startTime, c.endTime,
      c.getCueAsHTML ? c.getCueAsHTML().textContent : c.text]);
"""


@pytest.mark.parametrize("player, file", [
    ("hls", "master.m3u8"), ("shaka", "master.m3u8"),
    ("dash", "manifest.mpd"), ("shaka", "manifest.mpd")])
def test_a_player_shows_each_cue_at_its_time(node, browser, player, file):
    url = urllib.parse.quote(f"{node.url}/film/1/{file}", safe="")
    browser.get(f"{node.url}/player.html?player={player}&url={url}")

    def time():
        return browser.execute_script(
            "return document.getElementById('video').currentTime")

    wait_until(lambda: time() > 0.2, 20, "the film")
    browser.execute_script("subtitlesShow('en')")
    plain = [(start, end, re.sub("<.>|</.>", "", text))
             for start, end, text in CUES]

    def found(is_active):
        return sorted({(round(1000 * start), round(1000 * end), text)
                       for start, end, text in browser.execute_script(
                           CUES_SCRIPT, is_active)})

    browser.execute_script("document.getElementById('video').pause()")
    for at, texts in ((5.5, plain[1:3]), (9, plain[3:4]), (0.7, plain[:1]),
                      (2.5, []), (6.5, plain[1:2]), (11.7, plain[4:])):
        browser.execute_script(
            "document.getElementById('video').currentTime = arguments[0]", at)
        wait_until(lambda: [cue[1:] for cue in found(True)]
                   == [cue[1:] for cue in texts], 20,
                   f"{texts} at {at} s")
        assert found(True) == texts
    assert set(found(False)) <= set(plain)
    # hls.js's word for a load that a seek ends
    assert set(browser.execute_script("return seen.errors")) <= {"aborted"}
