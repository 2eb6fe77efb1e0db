# SPDX-License-Identifier: Apache-2.0
"""Chromium without a screen, and the players of tests/players for nginx to
serve to it."""

import contextlib

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from nginx_instance import TREE

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage",
         "--autoplay-policy=no-user-gesture-required")

MODULES = f"{TREE}/tests/players/node_modules"
# player.html and /players/NAME.js, for the block of a server
PLAYER_LOCATIONS = f"""
    location = /player.html {{ root {TREE}/tests/players; types {{
        text/html html; }} }}
    location = /players/hls.js {{
        alias {TREE}/web/node_modules/hls.js/dist/hls.js; }}
    location = /players/hls-buffers.js {{
        alias {TREE}/web/hls-buffers.js; types {{ text/javascript js; }} }}
    location = /players/shaka.js {{
        alias {MODULES}/shaka-player/dist/shaka-player.compiled.js; }}
    location = /players/dash.js {{
        alias {MODULES}/dashjs/dist/modern/umd/dash.all.min.js; }}
"""


@contextlib.contextmanager
def chromium(folder, *flags, log=False):
    """A driver of one with a profile of its own in the folder; `log`: what
    pages write to the console can be asked for."""
    options = Options()
    options.binary_location = "/usr/bin/chromium"
    for flag in (*FLAGS, *flags, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    if log:
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"),
                              options=options)
    try:
        yield driver
    finally:
        driver.quit()
