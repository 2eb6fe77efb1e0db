# SPDX-License-Identifier: Apache-2.0
"""Protected films through the whole platform: ingest, packager, st-api and the
license server; in Chromium's players, FFmpeg and GStreamer. Nobody gets them in
the clear, and who may not have a key is told why."""

import base64
import contextlib
import hashlib
import json
import re
import subprocess
import time
import urllib.parse
import uuid
from xml.etree import ElementTree

import jwt
import pytest
import requests

from browser import PLAYER_LOCATIONS, chromium
from conftest import wait_until
from gstreamer import GStreamer
from nginx_instance import NginxInstance
from ports import free_port

FILM_S = 12
SCHEMES = ("cenc", "cbcs")
PLAYERS = (("shaka", "dash"), ("dash", "dash"), ("hls", "hls"),
           ("shaka", "hls"))
CENC = "{urn:mpeg:cenc:2013}"
SD, UHD = 360, 1200  # lines


def run(*words, **options):
    return subprocess.run([str(word) for word in words], check=True,
                          capture_output=True, timeout=300, **options).stdout


@pytest.fixture(name="source", scope="module")
def _source(tmp_path_factory):
    """Renditions of two classes, and sound: as they are stored."""
    folder = tmp_path_factory.mktemp("source")
    for name, size in (("v0", f"{UHD}x{UHD}"), ("v1", f"640x{SD}")):
        run("ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i",
            f"testsrc2=s={size}:r=12:d={FILM_S}", "-c:v", "libx264", "-preset",
            "ultrafast", "-g", "24", "-keyint_min", "24", "-sc_threshold", "0",
            "-pix_fmt", "yuv420p", "-tune", "fastdecode",
            *(["-maxrate", "4M", "-bufsize", "4M"] if name == "v0" else []),
            folder / f"{name}.mp4")
    run("ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i",
        f"sine=f=440:b=4:r=48000:d={FILM_S}", "-c:a", "aac", "-b:a", "96k",
        folder / "a0.mp4")
    return folder


@pytest.fixture(name="platform", scope="module")
def _platform(start_platform, source):
    platform = start_platform("--no-restart", "--capacity", "100000")
    files = [str(source / f"{name}.mp4") for name in ("v1", "a0")]
    platform.ingest(source / "v0.mp4", "film", *files, "--copy", "--protected",
                    "--segment", "2s", "--no-thumbnails")
    platform.ingest(source / "v1.mp4", "free", files[1], "--copy",
                    "--segment", "2s", "--no-thumbnails")
    return platform


@pytest.fixture(name="page", scope="module")
def _page(tmp_path_factory):
    """Where player.html is: at another origin than the platform."""
    port = free_port()
    with NginxInstance(tmp_path_factory.mktemp("page"), f"""
            server {{ listen 127.0.0.1:{port}; {PLAYER_LOCATIONS} }}""",
                       port) as nginx:
        yield nginx


@pytest.fixture(name="chrome", scope="module")
def _chrome(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("chrome"), log=True) as driver:
        yield driver


def play_ask(platform, scheme, content="film", **more):
    answer = platform.playback(content, scheme=scheme, **more)
    assert answer.status_code == 201, answer.text
    return answer.json()


def get(url, **options):
    return requests.get(url, timeout=10, **options)


def secret(platform, name="entitlement.key"):
    return bytes.fromhex(
        (platform.folder / "secrets" / name).read_text().strip())


def entitle(platform, play, **changes):
    """The play's entitlement with other claims, signed as st-api does."""
    claims = jwt.decode(play["entitlement"],
                        options={"verify_signature": False})
    claims = {**claims, **changes}
    return jwt.encode({k: v for k, v in claims.items() if v is not None},
                      secret(platform), "HS256", {"kid": "1"})


class Play:
    """A player in Chromium with a play that st-api answered."""

    def __init__(self, chrome, page, platform, player, form, play,
                 entitlement=None):
        self.chrome = chrome
        entitlement = entitlement or play["entitlement"]
        arguments = {"player": player, "url": play["urls"][form],
                     "entitlement": entitlement}
        if (player, form) != ("shaka", "hls"):
            arguments["license"] = play["drm"]["clearkey"]["license_url"]
        if entitlement != play["entitlement"]:
            arguments["url"] = arguments["url"].replace(play["entitlement"],
                                                        entitlement)
        chrome.get("about:blank")
        chrome.get_log("browser")
        chrome.get(f"{page.url}/player.html?"
                   + urllib.parse.urlencode(arguments))

    def seen(self):
        return self.chrome.execute_script("""
            const video = document.getElementById('video');
            return {...window.seen, time: video.currentTime,
                    height: video.videoHeight, error: video.error?.message,
                    frames: video.getVideoPlaybackQuality().totalVideoFrames};
            """)

    def until(self, condition, what, timeout=30):
        try:
            return wait_until(
                lambda: (lambda seen: seen if condition(seen) else None)(
                    self.seen()), timeout, what, 0.1)
        except AssertionError as error:
            seen = {**self.seen(), "segments": len(self.seen()["segments"])}
            raise AssertionError(
                f"{error}: {seen} {self.chrome.get_log('browser')}") from None

    def plays(self, seconds=2):
        return self.until(
            lambda seen: seen["time"] > seconds and seen["frames"] > 12,
            "the film plays")

    def refused(self):
        """The first answer that is no license, as (status, reason)."""
        def refusals(seen):
            return [one for one in seen["licenses"] if one["status"] != 200]
        one = refusals(self.until(refusals, "a refusal"))[0]
        return one["status"], json.loads(one["answer"])["reason"]

    def shows_nothing(self):
        time.sleep(1)
        assert self.seen()["time"] == 0


@pytest.fixture(name="start")
def _start(chrome, page, platform):
    def begin(player, form, scheme, entitlement=None, claims=None, **more):
        if (player, form) == ("shaka", "hls"):
            more["key_uris"] = True
        play = play_ask(platform, scheme, **more)
        if claims:
            entitlement = entitle(platform, play, **claims)
        return Play(chrome, page, platform, player, form, play, entitlement)
    yield begin
    chrome.get("about:blank")


# ---- it plays ----

@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("player, form", PLAYERS)
def test_01_a_protected_film_plays(start, player, form, scheme):
    seen = start(player, form, scheme).plays()
    assert {one["status"] for one in seen["licenses"]} == {200}
    assert seen["stalls"] == 0


def keys_of(platform, play, kids):
    """{kid: key} in hex digits, by the license protocol."""
    def text(kid):
        return base64.urlsafe_b64encode(bytes.fromhex(kid)).decode().rstrip("=")
    answer = requests.post(
        play["drm"]["clearkey"]["license_url"], timeout=10,
        headers={"Authorization": "Bearer " + play["entitlement"]},
        json={"kids": [text(kid) for kid in kids], "type": "temporary"})
    assert answer.status_code == 200, answer.text
    return {base64.urlsafe_b64decode(one["kid"] + "==").hex():
            base64.urlsafe_b64decode(one["k"] + "==").hex()
            for one in answer.json()["keys"]}


def track_file(url, track):
    """Init segment and segments, as players get them."""
    base = url.rpartition("/")[0] + f"/{track}/"
    playlist = get(base + "index.m3u8")
    assert playlist.status_code == 200
    names = ["init.mp4", *re.findall(r"^\d+\.m4s$", playlist.text, re.M)]
    assert len(names) > 5
    return b"".join(get(base + name).content for name in names)


def frames(path, *options):
    said = run("ffmpeg", "-v", "error", "-nostdin", "-xerror", *options,
               "-seekable", "0", "-i", path, "-fps_mode", "passthrough", "-f",
               "framemd5", "-", text=True)
    return re.findall(r"^0,.*, ([0-9a-f]{32})$", said, re.M)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_02_ffmpeg_decrypts_with_keys_got_by_the_protocol(platform, source,
                                                          tmp_path, scheme):
    """Every frame is that of the file which was ingested."""
    play = play_ask(platform, scheme)
    root = ElementTree.fromstring(get(play["urls"]["dash"]).content)
    kids = {uuid.UUID(one.get(CENC + "default_KID")).hex
            for one in root.iter() if one.get(CENC + "default_KID")}
    keys = keys_of(platform, play, kids)
    assert keys.keys() == kids and len(set(keys.values())) == 3
    for track in ("v0", "v1", "a0"):
        out = tmp_path / f"{track}.mp4"
        out.write_bytes(track_file(play["urls"]["hls"], track))
        kid = out.read_bytes().partition(b"tenc")[2][8:24].hex()
        expected = frames(source / f"{track}.mp4")
        got = frames(out, "-decryption_key", keys[kid])
        if track == "a0":  # of fragments comes the frame of priming, too
            got = got[len(got) - len(expected):]
        assert got == expected and len(expected) > 100


# ---- AES-128 ----

def test_03_aes_128_plays_in_ffmpeg(platform, source):
    url = play_ask(platform, "aes-128")["urls"]["hls"]
    said = run("ffmpeg", "-v", "error", "-nostdin", "-xerror", "-i", url,
               "-map", "0:v:0", "-map", "0:a:0", "-f", "framemd5", "-",
               text=True)
    pictures = re.findall(r"^0,.*, ([0-9a-f]{32})$", said, re.M)
    assert pictures == frames(source / "v0.mp4")


@pytest.mark.parametrize("player", ["playbin", "playbin3"])
def test_04_aes_128_plays_in_gstreamer(platform, tmp_path, player):
    url = play_ask(platform, "aes-128")["urls"]["hls"]
    assert len(GStreamer(url, tmp_path, player).frames()) == 12 * FILM_S


def test_05_aes_128_plays_in_hls_js(start):
    seen = start("hls", "hls", "aes-128").plays()
    assert seen["licenses"] and seen["errors"] == []


# ---- it does not ----

@pytest.mark.parametrize("player, form", PLAYERS)
@pytest.mark.parametrize("claims, refused", [
    ({"iss": "somebody"}, (401, "service-unknown")),
    ({"exp": 1000000000}, (401, "entitlement-expired")),
    ({"content": "free"}, (403, "content-not-entitled")),
])
def test_06_who_may_not_is_told_why(start, player, form, claims, refused):
    play = start(player, form, "cbcs", claims=claims)
    assert play.refused() == refused
    play.shows_nothing()


@pytest.mark.parametrize("player, form", PLAYERS)
def test_07_an_entitlement_is_good_once(start, platform, chrome, page, player,
                                        form):
    play = play_ask(platform, "cenc", single_use=True,
                    key_uris=(player, form) == ("shaka", "hls"))
    Play(chrome, page, platform, player, form, play).plays()
    again = Play(chrome, page, platform, player, form, play)
    assert again.refused() == (403, "entitlement-used")
    again.shows_nothing()


@pytest.mark.parametrize("player, form", PLAYERS)
def test_08_with_an_sd_right_sd_plays(start, player, form):
    seen = start(player, form, "cbcs", quality="SD").plays()
    assert seen["height"] == SD
    refused = [one["refused"] for one in seen["licenses"] if one["refused"]]
    assert all(re.fullmatch(r"[0-9a-f]{32} class-not-entitled", one)
               for line in refused for one in line.split(", "))


@pytest.mark.parametrize("player, form", [("shaka", "dash"), ("shaka", "hls")])
def test_10_sd_plays_with_an_sd_right_and_the_manifest_of_all(start, player,
                                                              form):
    """In hls.js and dash.js it does not always (ADR 46)."""
    play = start(player, form, "cbcs", claims={"classes": ["SD", "AUDIO"]})
    assert play.plays(2)["height"] == SD


def test_11_uhd_is_refused_with_an_sd_right(platform):
    play = play_ask(platform, "cbcs", quality="SD")
    every = play_ask(platform, "cbcs")
    assert "/v0/" not in get(play["urls"]["hls"]).text
    assert "/cbcs-sd/" in play["urls"]["dash"]
    assert b'"v0"' not in get(play["urls"]["dash"]).content
    init = get(every["urls"]["hls"].rpartition("/")[0] + "/v0/init.mp4").content
    kid = init.partition(b"tenc")[2][8:24]
    text = base64.urlsafe_b64encode(kid).decode().rstrip("=")
    answer = requests.post(
        play["drm"]["clearkey"]["license_url"], json={"kids": [text]},
        headers={"Authorization": "Bearer " + play["entitlement"]}, timeout=5)
    assert (answer.status_code, answer.json()["reason"]) == (
        403, "class-not-entitled")
    assert answer.headers["X-Keys-Refused"] == f"{kid.hex()} class-not-entitled"


@pytest.mark.parametrize("player, form", PLAYERS)
def test_09_one_play_too_many_is_refused(start, platform, player, form):
    viewer = f"viewer-{player}-{form}"
    license_of = []
    for _ in range(2):
        play = play_ask(platform, "cenc", viewer=viewer, plays=2)
        root = ElementTree.fromstring(get(play["urls"]["dash"]).content)
        kids = {uuid.UUID(one.get(CENC + "default_KID")).hex
                for one in root.iter() if one.get(CENC + "default_KID")}
        assert len(keys_of(platform, play, kids)) == 3
        license_of.append(play)
    third = start(player, form, "cenc", viewer=viewer, plays=2)
    assert third.refused() == (403, "too-many-plays")
    third.shows_nothing()
    # one of them ends, and there is a place
    ended = requests.delete(
        f"{platform.front}/license/v1/play", timeout=5, headers={
            "Authorization": "Bearer " + license_of[0]["entitlement"]})
    assert ended.status_code == 204
    start(player, form, "cenc", viewer=viewer, plays=2).plays(1)


# ---- nothing leaves in the clear ----

def test_12_no_tier_sends_it_in_the_clear(platform):
    play = play_ask(platform, "cbcs")
    for url in play["urls"].values():
        clear = url.replace("/cbcs/", "/")
        assert clear != url
        assert get(clear).status_code == 404
        assert get(clear.rpartition("/")[0] + "/v0/0.m4s").status_code == 404
        assert get(clear.rpartition("/")[0]
                   + "/ts/master.m3u8").status_code == 404
    # whose folder is none
    for other in ("CBCS", "off", "cbcs~", "clear", "cens"):
        assert get(play["urls"]["hls"].replace("/cbcs/", f"/{other}/")
                   ).status_code == 404, other
    refused = platform.playback("film", scheme="clear")
    assert refused.status_code == 422, refused.text
    # nor does the CDN, which asks in the same way
    token, path = re.search(r"/p/([^/]+)/(.*)/cbcs/",
                            play["urls"]["hls"]).groups()
    cdn = platform.node("cdn")["url"]
    assert get(f"{cdn}/p/{token}/{path}/master.m3u8").status_code == 404
    assert get(f"{cdn}/p/{token}/{path}/cbcs/master.m3u8").status_code == 200


def test_13_a_film_that_is_not_protected_plays_in_any_way(start, platform):
    clear = platform.playback("free").json()
    assert clear["scheme"] == "clear" and "entitlement" not in clear
    assert "EXT-X-KEY" not in get(clear["urls"]["hls"]).text
    for scheme in SCHEMES:
        start("shaka", "dash", scheme, content="free").plays()


def test_14_the_cdn_keeps_segments_for_all_and_playlists_for_one(platform):
    cdn = platform.node("cdn")["url"]
    bodies = []
    for _ in range(2):
        play = play_ask(platform, "cbcs", key_uris=True)
        base = cdn + re.search(r"/p/.*/", play["urls"]["hls"])[0] + "v1/"
        playlist = get(base + "index.m3u8")
        assert play["entitlement"] in playlist.text
        assert playlist.headers.get("X-Cache") != "HIT"
        segment = get(base + "0.m4s")
        bodies.append((segment.headers["X-Cache"],
                       hashlib.md5(segment.content).hexdigest()))
    assert bodies[1] == ("HIT", bodies[0][1])


def test_15_no_entitlement_is_in_a_log_of_ours(platform):
    play = play_ask(platform, "cbcs", key_uris=True)
    base = play["urls"]["hls"].rpartition("/")[0]
    uri = re.search(r'URI="([^"]+)"', get(base + "/v1/index.m3u8").text)[1]
    assert play["entitlement"] in uri and len(get(uri).content) == 16
    claims = play["entitlement"].split(".")[1]
    wait_until(lambda: "rest=" in platform.log("origin1.access")
               + platform.log("origin2.access")
               + platform.log("origin3.access"), what="the log")
    time.sleep(1.2)  # it is written each second
    for file in (platform.folder / "log").iterdir():
        assert claims not in file.read_text(), file.name


def test_16_steering_keeps_to_the_scheme(platform):
    url = play_ask(platform, "cbcs", steering=True)["urls"]["hls"]
    playlist = get(url).text
    variants = re.findall(r"^(?!#).*index\.m3u8.*$", playlist, re.M)
    absolute = [one for one in variants if one.startswith("http")]
    assert absolute and all("/cbcs/" in one for one in absolute)
    for one in absolute:
        assert "EXT-X-KEY" in get(one).text


def test_17_packagers_alone_get_keys_and_not_by_the_front(platform):
    for path in ("v1/cpix", "metrics", "v1/health", "by/x/keys/",
                 "v1/licenses/../cpix"):
        assert get(f"{platform.front}/license/{path}").status_code in (
            400, 401, 404, 405), path
    origin = platform.node("origin1")["url"]
    assert get(f"{origin}/keys/film").status_code == 404


# ---- the player page ----

@pytest.fixture(name="viewer")
def _viewer(chrome, platform):
    """The page with a film chosen, after a script in it."""
    def begin(script="", scheme="", content="film"):
        chrome.get("about:blank")
        chrome.get(platform.front + "/")
        wait_until(lambda: chrome.execute_script("return !!window.vodst"),
                   what="the page")
        chrome.execute_script(f"""
            const scheme = document.getElementById('scheme');
            scheme.value = '{scheme}';
            {script};
            document.getElementById('content').value = '{content}';
            document.querySelector('#open button').click();""")
    yield begin
    chrome.get("about:blank")


def page_seen(chrome):
    return chrome.execute_script("""
        const video = document.getElementById('video');
        const text = (id) => document.getElementById(id).textContent.trim();
        return { time: video.currentTime, height: video.videoHeight,
          problem: document.getElementById('problem').hidden ? null
            : text('problem'),
          has_licenses: !document.getElementById('licenses').hidden,
          scheme: text('scheme-told'), exchanges: [...document
            .querySelectorAll('#exchanges li')].map((one) => one.textContent) };
        """)


def page_until(chrome, condition, what, timeout=30):
    def look():
        seen = page_seen(chrome)
        return seen if condition(seen) else None
    try:
        return wait_until(look, timeout, what, 0.1)
    except AssertionError as error:
        raise AssertionError(f"{error}: {page_seen(chrome)}") from None


@pytest.mark.parametrize("scheme", SCHEMES)
def test_20_the_page_plays_and_shows_the_license_exchange(chrome, viewer,
                                                          scheme):
    viewer(scheme=scheme)
    seen = page_until(chrome, lambda seen: seen["time"] > 3, "it plays")
    assert seen["problem"] is None and scheme in seen["scheme"]
    assert re.fullmatch(r"4 keys given: [0-9a-f]{32}(, [0-9a-f]{32}){3}",
                        seen["exchanges"][0])


def test_21_the_page_plays_in_the_clear_what_is_not_protected(chrome, viewer):
    viewer(scheme="clear", content="free")
    seen = page_until(chrome, lambda seen: seen["time"] > 1, "it plays")
    assert not seen["has_licenses"]
    viewer(scheme="clear")
    seen = page_until(chrome, lambda seen: seen["problem"], "a refusal")
    assert "is sent to nobody with" in seen["problem"]
    viewer(scheme="cenc", content="free")
    seen = page_until(chrome, lambda seen: seen["time"] > 1, "it plays")
    assert seen["has_licenses"]


def test_22_the_page_says_why_there_is_no_license(chrome, viewer, platform):
    """Each refusal by its own reason, as the server gives it."""
    play = play_ask(platform, "cbcs", single_use=True)
    used = entitle(platform, play)
    box = get(play["urls"]["hls"].rpartition("/")[0] + "/v0/init.mp4"
              ).content.partition(b"pssh")[2][20:]  # of ClearKey: a count, KIDs
    count = int.from_bytes(box[:4], "big")
    kids = [box[4 + 16 * n:20 + 16 * n].hex() for n in range(count)]
    assert len(keys_of(platform, play, kids)) == 4
    for entitlement, status, reason in (
            (used + "A", 401, "entitlement-invalid"),
            (entitle(platform, play, iss="other"), 401, "service-unknown"),
            (entitle(platform, play, exp=1), 401, "entitlement-expired"),
            (used, 403, "entitlement-used"),
            (entitle(platform, play, content="free"), 403,
             "content-not-entitled")):
        viewer(f"""
            const {{ fetch }} = window;
            window.fetch = async (...asked) => {{
              const answer = await fetch(...asked);
              return String(asked[0]).endsWith('v1/playbacks')
                ? Response.json({{ ...await answer.json(),
                  entitlement: '{entitlement}' }}) : answer;
            }}""", "cbcs")
        seen = page_until(chrome, lambda seen: seen["problem"], reason)
        assert f"({reason})" in seen["problem"]
        assert f"refused ({status}): {reason}" in seen["exchanges"]
        assert seen["time"] == 0


def test_23_the_page_plays_sd_with_an_sd_right(chrome, viewer):
    viewer("vodst.player.more.quality = 'SD'")
    seen = page_until(chrome, lambda seen: seen["time"] > 3, "it plays")
    assert seen["height"] == SD and seen["problem"] is None
    assert seen["exchanges"][0].startswith("2 keys given")
    refused = [one for one in seen["exchanges"] if one.startswith("no key")]
    assert len(refused) == 2
    assert all(one.endswith(": class-not-entitled") for one in refused)


def test_24_the_page_gives_its_place_back(chrome, viewer, platform):
    """One play at once: a second viewer's page is told so, until the first is
    closed."""
    once = "vodst.player.more.plays = 1"
    chrome.switch_to.window(chrome.window_handles[0])
    viewer(once + "; vodst.player.viewerSet('one')")
    page_until(chrome, lambda seen: seen["time"] > 1, "it plays")
    first = chrome.current_window_handle
    chrome.switch_to.new_window("tab")
    try:
        viewer(once + "; vodst.player.viewerSet('one')")
        seen = page_until(chrome, lambda seen: seen["problem"], "a refusal")
        assert "too-many-plays" in seen["problem"]
        second = chrome.current_window_handle
        chrome.switch_to.window(first)
        chrome.get("about:blank")
        chrome.switch_to.window(second)
        viewer(once + "; vodst.player.viewerSet('one')")
        page_until(chrome, lambda seen: seen["time"] > 1, "it plays")
    finally:
        for handle in chrome.window_handles:
            if handle != first:
                chrome.switch_to.window(handle)
                chrome.get("about:blank")
                chrome.close()
        chrome.switch_to.window(first)


# ---- without it ----

def test_30_without_the_license_server_what_is_known_plays(platform):
    """Keys that a packager holds are good while it is away."""
    play = play_ask(platform, "cbcs")
    base = get(play["urls"]["hls"]).url.rpartition("/")[0]
    assert get(f"{base}/v1/0.m4s").status_code == 200
    platform.kill("mlic")
    wait_until(lambda: not platform.pid("mlic"), what="mlic is gone")
    with contextlib.suppress(requests.ConnectionError):
        assert requests.post(
            play["drm"]["clearkey"]["license_url"], timeout=5,
            json={"kids": []}).status_code in (502, 503, 504)
    assert get(f"{base}/v1/1.m4s").status_code == 200
