# SPDX-License-Identifier: Apache-2.0
"""The player page in headless Chromium: it plays, seeks, switches
renditions, tells who serves, and goes on when its origin is killed."""

import re

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from browser import chromium
from conftest import film_make, wait_until

FILM_S = 90  # much longer than what the page buffers

SEEN = """
const video = document.getElementById('video');
const text = (id) => document.getElementById(id).textContent.trim();
const end = video.buffered.length
  ? video.buffered.end(video.buffered.length - 1) : 0;
return {
  time: video.currentTime, paused: video.paused, ended: video.ended,
  frames: video.getVideoPlaybackQuality().totalVideoFrames,
  height: video.videoHeight, buffered: end,
  node: text('node'), level: text('level'), owners: text('owners'),
  owner_count: text('owner-count'), version: text('version'),
  title: text('title'), rendition: text('rendition'),
  platform: text('platform'), nodes: text('nodes'),
  problem: document.getElementById('problem').hidden ? null : text('problem'),
  events: [...document.querySelectorAll('#events li span')]
    .map((one) => one.textContent).reverse(),
  stalls: window.vodst ? window.vodst.stalls : 0, mark: window.mark || null,
};
"""


class Page:
    """The page as a viewer has it before them."""

    def __init__(self, driver):
        self.driver = driver

    def seen(self):
        return self.driver.execute_script(SEEN)

    def run(self, script):
        return self.driver.execute_script(script)

    def until(self, condition, timeout=15, what="the page"):
        """What is seen when the condition holds; never past a problem."""
        def look():
            seen = self.seen()
            assert seen["problem"] is None, seen
            return seen if condition(seen) else None
        try:
            return wait_until(look, timeout, what, 0.1)
        except AssertionError as error:
            raise AssertionError(f"{error}; seen: {self.seen()}") from None

    def plays_on(self, seconds=3):
        """Time and decoded pictures go on from here."""
        before = self.seen()
        return self.until(
            lambda seen: seen["time"] >= before["time"] + seconds
            and seen["frames"] > before["frames"] + 10,
            what=f"{seconds} s more after {before}")

    def complaints(self):
        return [entry["message"] for entry in self.driver.get_log("browser")
                if entry["level"] == "SEVERE"]


@pytest.fixture(scope="module")
def platform(start_platform, tmp_path_factory):
    platform = start_platform("--no-restart", "--capacity", "100000",
                              "--origins", "4")  # of which three are killed
    film = film_make(tmp_path_factory.mktemp("film") / "film.mp4", FILM_S)
    platform.ingest(film, "film", "--title", "A long film", "--ladder",
                    "360,240", "--segment", "4s")
    platform.film = film
    return platform


@pytest.fixture(name="driver", scope="module")
def _driver(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser"),
                  "--window-size=1400,1100", log=True) as driver:
        yield driver


@pytest.fixture
def page(platform, driver):
    """The page anew; what the one before complained of is forgotten."""
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get(platform.front + "/")
    return Page(driver)


def film_choose(page):
    button = wait_until(
        lambda: page.driver.find_elements(
            By.CSS_SELECTOR, "#contents button[data-id=film]"), 10,
        "the film in the list")[0]
    assert "A long film" in button.text and "1:30" in button.text
    button.click()
    return page.until(lambda seen: seen["time"] >= 3 and seen["frames"] > 0,
                      what="3 s of the film")


def test_01_the_film_is_listed_and_plays(page):
    seen = film_choose(page)
    assert seen["title"] == "A long film"
    assert seen["height"] in (240, 360)
    assert seen["frames"] >= 48
    page.plays_on()
    assert page.complaints() == []


def test_02_it_seeks_forward_and_back(page):
    film_choose(page)
    for target in (60, 20):
        page.run(f"document.getElementById('video').currentTime = {target}")
        seen = page.until(
            lambda seen: target + 2 <= seen["time"] < target + 20,
            what=f"playing at {target} s")
        assert seen["time"] < target + 6
        page.plays_on(1)
    assert page.complaints() == []


def test_03_it_plays_to_the_very_end(page):
    film_choose(page)
    page.run(f"document.getElementById('video').currentTime = {FILM_S - 5}")
    seen = page.until(lambda seen: seen["ended"], what="the end")
    assert abs(seen["time"] - FILM_S) < 0.5
    assert page.complaints() == []


def test_04_it_switches_renditions(page):
    film_choose(page)
    quality = Select(page.driver.find_element(By.ID, "quality"))
    assert len(quality.options) == 3  # auto, and each rendition
    for height in (240, 360, 240):
        name = next(option.text for option in quality.options
                    if option.text.startswith(f"{height}p"))
        quality.select_by_visible_text(name)
        page.until(lambda seen: seen["height"] == height
                   and seen["rendition"] == name, 20, name)
        page.plays_on(1)
    assert page.complaints() == []


def test_05_the_panel_tells_what_the_platform_says(page, platform):
    seen = film_choose(page)
    seen = page.until(lambda seen: seen["level"], what="the level")
    where = platform.where("redirector1", "film")
    assert seen["level"] == where["level"] == "calm"
    assert seen["owners"] == ", ".join(where["owners"])
    assert seen["owner_count"] == \
        f"{where['owner_count']} of {len(where['nodes'])}"
    assert seen["node"] == where["owners"][0]
    term = where["version"].partition(".")[0]
    assert seen["version"].partition(".")[0] == term != "0"
    assert f"{seen['node']} serves" in seen["events"]
    page.until(lambda seen: all(name in seen["nodes"]
                                for name in platform.origins),
               what="the table of nodes")
    assert "nodes up" in page.seen()["platform"]
    log = platform.folder / "log" / f"{seen['node']}.access.log"
    wait_until(lambda: re.search(r" sid=[0-9a-f-]{36} br=\d+ bl=\d+",
                                 log.read_text()), 5,
               "what the player says of itself, in the node's log")


def test_06_what_is_not_there_is_told_with_what_to_do(page):
    page.driver.find_element(By.ID, "content").send_keys("nothing-here")
    page.driver.find_element(By.CSS_SELECTOR, "#open button").click()
    told = wait_until(lambda: page.seen()["problem"], 5, "the message")
    assert "no film “nothing-here”" in told and "Choose another" in told
    # and the page is as usable as before
    page.driver.find_element(By.CSS_SELECTOR,
                             "#contents button[data-id=film]").click()
    page.until(lambda seen: seen["time"] >= 3 and seen["frames"] > 0)


@pytest.mark.parametrize("steers", [True, False])
def test_07_a_killed_origin_interrupts_nothing(page, platform, steers):
    if not steers:
        page.driver.get(platform.front + "/?steering=0")
    film_choose(page)
    page.run("window.mark = 'not reloaded'")
    # a full buffer, as after some seconds of any play
    before = page.until(lambda seen: seen["buffered"] - seen["time"] > 15,
                        what="a buffer")
    first = before["node"]
    platform.kill(first)
    seen = page.until(lambda seen: seen["node"] != first, 20,
                      "another node that serves")
    second = seen["node"]
    assert second in platform.where("redirector1", "film")["owners"]
    assert f"moved from {first} to {second}" in seen["events"]
    # who knows no other pathway asks the playback URL again
    assert steers or f"recovered: {second} goes on" in seen["events"]

    # what was buffered from the first plays over into what the second gave
    seen = page.until(lambda seen: seen["time"] > before["buffered"] + 1, 40,
                      "what the second node gave")
    assert seen["stalls"] == 0
    assert seen["mark"] == "not reloaded"
    page.run("document.getElementById('video').currentTime = 75")
    page.until(lambda seen: seen["time"] >= 77, what="a seek after the move")
    assert page.until(lambda seen: seen["owners"] == second)["node"] == second


def test_08_a_buffer_that_is_full_at_the_move_is_filled_again(page, platform):
    film_choose(page)
    page.until(lambda seen: seen["buffered"] - seen["time"] > 15,
               what="a buffer")
    first = page.seen()["node"]
    platform.kill(first)
    # the move comes as hls.js wants less than it has, and waits for the
    # playlist of a rendition that was not needed so far
    page.run("""
        const {hls, player} = window.vodst;
        const other = hls.levels.findIndex((_, i) => i !== hls.loadLevel);
        hls.config.maxMaxBufferLength = 8;
        hls.levels[other].details = undefined;
        hls.once('hlsLevelLoading',
          () => queueMicrotask(() => player.retry()));
        hls.nextAutoLevel = other;
    """)
    seen = page.until(lambda seen: seen["node"] != first, 25,
                      "another node that serves")
    # at 8 s it asked for more, of which 4 s came
    assert 6 < seen["buffered"] - seen["time"] < 13, seen
    assert seen["stalls"] == 0


def test_09_a_play_outlives_its_token_and_its_version(page, platform):
    film_choose(page)
    page.run("document.getElementById('video').currentTime = 40")
    page.until(lambda seen: seen["time"] >= 41, what="a seek")
    platform.ingest(platform.film, "film", "--title", "A long film",
                    "--ladder", "240", "--segment", "4s")
    # the token runs out, and the node is lost at the same time
    page.run("""
        const ask = window.fetch;
        window.fetch = (url, ...rest) => String(url).includes('/master.m3u8')
          ? (window.fetch = ask, Promise.resolve(new Response('',
            { status: 403 }))) : ask(url, ...rest);
        window.vodst.player.retry();
    """)
    seen = page.until(lambda seen: seen["height"] == 240
                      and seen["time"] > 40, 20, "the new version")
    assert not seen["paused"]
    page.plays_on()
