# SPDX-License-Identifier: Apache-2.0
"""Thumbnails: ingest makes them, and players find the one of a time."""

import re
import subprocess
import urllib.parse

import pytest
import requests

from conftest import wait_until
from test_ingest import Place
from test_st_api import StApi
from test_text import Node

SECONDS, INTERVAL_S, TILES = 55, 2, 25
WIDTH, HEIGHT = 64, 36


def shade_of(second):
    """The film is brighter each second; of full range in a JPEG."""
    return 3 * second * 255 / 219


@pytest.fixture(name="stored", scope="module")
def _stored(tmp_path_factory):
    """The place, and the folder of the film in its storage."""
    folder = tmp_path_factory.mktemp("thumbnails")
    film = folder / "film.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i",
         f"color=black:s={2 * WIDTH}x{2 * HEIGHT}:r=25:d={SECONDS},"
         "geq=lum='16+3*floor(T)':cb=128:cr=128", "-c:v", "libx264",
         "-preset", "ultrafast", "-qp", "4", "-g", "50", film], check=True)
    api = StApi(folder)
    place = Place(api, folder)
    _, made = place.ingest(
        film, "film", "--ladder", HEIGHT * 2, "--segment", "3s", "--thumbnails",
        f"{INTERVAL_S}s", "--thumbnail-size", WIDTH)
    (made.parent / "1").symlink_to(made)
    yield place, film, made
    api.stop()


@pytest.fixture(name="node", scope="module")
def _node(stored, tmp_path_factory):
    with Node(tmp_path_factory.mktemp("node"), stored[2].parents[1]) as node:
        yield node


def shades(path):
    """How bright the middle of each thumbnail of a sheet is, by ffmpeg."""
    pixels = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt",
         "gray", "-"], capture_output=True, check=True).stdout
    assert len(pixels) == 5 * WIDTH * 5 * HEIGHT
    return [pixels[(row * HEIGHT + HEIGHT // 2) * 5 * WIDTH
                   + column * WIDTH + WIDTH // 2]
            for row in range(5) for column in range(5)]


def test_each_thumbnail_is_the_picture_of_its_time(node, tmp_path):
    playlist = node.get("/film/1/i0/index.m3u8").text
    assert re.findall("#EXTINF:(.*),", playlist) == ["50.000000", "5.000000"]
    found = []
    for number in range(2):
        answer = node.get(f"/film/1/i0/{number}.jpg")
        assert answer.headers["Content-Type"] == "image/jpeg"
        sheet = tmp_path / f"{number}.jpg"
        sheet.write_bytes(answer.content)
        found += shades(sheet)
    for number, shade in enumerate(found[:-(-SECONDS // INTERVAL_S)]):
        assert abs(shade - shade_of(number * INTERVAL_S)) < 2, number
    assert set(found[29:]) == {0}


def test_a_sheet_is_answered_as_media_is(node):
    url = "/film/1/i0/1.jpg"
    answer = node.get(url)
    head = requests.head(node.url + url, timeout=20)
    assert int(head.headers["Content-Length"]) == len(answer.content)
    assert node.get(url, headers={"Range": "bytes=2-8"}).content \
        == answer.content[2:9]
    assert node.get(url, headers={
        "If-None-Match": answer.headers["ETag"]}).status_code == 304
    assert node.get("/filled/1/i0/1.jpg").content == answer.content
    for path in ("i0/2.jpg", "i0/0.m4s", "i0/init.mp4", "i0/all.vtt",
                 "i0/iframes.m3u8", "v0/0.jpg"):
        assert node.get(f"/film/1/{path}").status_code == 404, path


def test_a_part_has_thumbnails_one_by_one(node, tmp_path):
    """From 15 to 27 s, so the first and the last are seen for a second."""
    part = "start=15.000000&end=27.000000"
    master = node.get("/film/1/master.m3u8?start=15&end=25").text
    assert re.findall('IMAGE-STREAM-INF.*URI="(.*)"', master) \
        == [f"i1/index.m3u8?{part}"]
    playlist = node.get(f"/film/1/i1/index.m3u8?{part}").text
    assert re.findall(r"#EXTINF:(.*),\n.*\n(.*)\n", playlist) \
        == [("1.000000", "7.jpg")] \
        + [("2.000000", f"{n}.jpg") for n in range(8, 13)] \
        + [("1.000000", "13.jpg")]
    sheet = tmp_path / "sheet.jpg"
    sheet.write_bytes(node.get("/film/1/i0/0.jpg").content)
    for number in range(7, 14):
        alone = tmp_path / "alone.jpg"
        alone.write_bytes(node.get(f"/film/1/i1/{number}.jpg").content)
        pixels = subprocess.run(
            ["ffmpeg", "-v", "error", "-i", alone, "-f", "rawvideo",
             "-pix_fmt", "gray", "-"], capture_output=True, check=True).stdout
        assert len(pixels) == WIDTH * HEIGHT
        assert abs(pixels[len(pixels) // 2] - shades(sheet)[number]) < 2
    for name in ("master.m3u8", "manifest.mpd"):
        assert "i1" not in node.get(f"/film/1/{name}").text
        assert "i0" not in node.get(f"/film/1/{name}?start=15").text


@pytest.mark.parametrize("player, file, start", [
    ("dash", "manifest.mpd", 0), ("shaka", "manifest.mpd", 0),
    ("shaka", "master.m3u8", 0), ("dash", "manifest.mpd?start=9", 9),
    ("shaka", "manifest.mpd?start=9", 9), ("shaka", "master.m3u8?start=9", 9)])
def test_a_player_finds_the_thumbnail_of_a_time(node, browser, player, file,
                                                start):
    url = urllib.parse.quote(f"{node.url}/film/1/{file}", safe="")
    browser.get(f"{node.url}/player.html?player={player}&url={url}")
    wait_until(lambda: browser.execute_script(
        "return document.getElementById('video').currentTime") > 0.2, 20,
        "the film")
    for time in (0, 1.9, 2, 11.1, 45.8, 49.9, 50.1, 54.8):
        if time + start > SECONDS:
            continue
        number = int((time + start) / INTERVAL_S)
        found = browser.execute_async_script(
            "const done = arguments[1];"
            "thumbnailAt(arguments[0]).then(done, (e) => done(String(e)))",
            time)
        if start > 0:
            assert found["url"].endswith(f"/film/1/i1/{number}.jpg")
            assert found["sheet"] == [WIDTH, HEIGHT]
            assert abs(found["red"] - shade_of(number * INTERVAL_S)) < 3
            continue
        assert found["url"].endswith(f"/film/1/i0/{number // TILES}.jpg")
        assert found["sheet"] == [5 * WIDTH, 5 * HEIGHT]
        assert (found["width"], found["height"]) == (WIDTH, HEIGHT)
        assert abs(found["red"] - shade_of(number * INTERVAL_S)) < 3, found
    assert browser.execute_script("return seen.errors") == []


def test_the_same_film_has_the_same_thumbnails_and_none_where_none_are_wanted(
        stored):
    place, film, made = stored
    names = {path.name for path in made.iterdir()}
    assert names == {"asset.idx", "v0.mp4", "v0.idx", "i0.sheets", "i0.idx",
                     "i1.sheets", "i1.idx"}
    options = ["--ladder", HEIGHT * 2, "--segment", "3s"]
    _, again = place.ingest(film, "again", *options, "--thumbnails",
                            f"{INTERVAL_S}s", "--thumbnail-size", WIDTH)
    assert again.name == made.name
    _, copied = place.ingest(film, "copied", "--copy", "--thumbnails",
                             f"{INTERVAL_S}s", "--thumbnail-size", WIDTH)
    for name in ("i0.sheets", "i0.idx", "i1.sheets", "i1.idx"):
        assert (copied / name).read_bytes() == (made / name).read_bytes(), name
    _, plain = place.ingest(film, "plain", *options, "--no-thumbnails")
    assert {path.name for path in plain.iterdir()} \
        == {"asset.idx", "v0.mp4", "v0.idx"}
