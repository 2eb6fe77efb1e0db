# SPDX-License-Identifier: Apache-2.0
"""A film plays, the front answers, and strangers are turned away."""

import base64
import hashlib
import hmac
import http.client
import json
import re
import struct
import subprocess
import time

import pytest
import requests

from conftest import film_make, wait_until
from gstreamer import GStreamer
from token_forms import make_bound, make_cat, make_jwt


@pytest.fixture(scope="module")
def platform(start_platform, films):
    # so much that ffmpeg as fast as it can is no demand to speak of
    return start_platform("--no-restart", "--capacity", "1000000",
                          "--plain-size", "100M", state=films)


# ---- a film plays ----

def media_facts(source):
    """Duration in s and number of frames of the video, by decoding it."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-count_frames",
         "-show_entries", "stream=nb_read_frames:format=duration", "-of",
         "json", source], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    facts = json.loads(done.stdout)
    return (float(facts["format"]["duration"]),
            int(facts["streams"][0]["nb_read_frames"]))


def pictures(source):
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-i", source, "-map", "0:v", "-fps_mode",
         "passthrough", "-f", "framemd5", "-"], capture_output=True, text=True,
        timeout=120)
    assert done.returncode == 0, done.stderr
    return [line.split(",")[5] for line in done.stdout.splitlines()
            if not line.startswith("#")]


@pytest.mark.parametrize("form", ["hls", "dash"])
def test_01_the_whole_film_decodes_without_a_message(platform, form):
    done = subprocess.run(
        ["ffmpeg", "-v", "error", "-xerror", "-i",
         platform.play_url("demo", form), "-map", "0", "-f", "null", "-"],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.parametrize("player", ["playbin", "playbin3"])
def test_01_gstreamer_shows_every_frame_of_the_film(platform, film, tmp_path,
                                                    player):
    shown = GStreamer(platform.play_url("demo"), tmp_path, player).frames()
    source = GStreamer(film.as_uri(), tmp_path).frames()
    # encoded anew: the same times, other pixels
    assert [line.split()[0] for line in shown] \
        == [line.split()[0] for line in source]


# of an MPD's duration ffmpeg reads whole seconds
@pytest.mark.parametrize("form, off", [("hls", 0.05), ("dash", 1)])
def test_02_duration_and_frames_are_those_of_the_source(platform, film, form,
                                                        off):
    duration, frames = media_facts(platform.play_url("demo", form))
    source_duration, source_frames = media_facts(film)
    assert frames == source_frames
    assert duration == pytest.approx(source_duration, abs=off)


def test_02_only_who_steers_is_told_of_other_places(platform):
    plain = requests.get(platform.play_url("demo"), timeout=5).text
    steered = requests.get(platform.play_url("demo", steering=True),
                           timeout=5).text
    assert "://" not in plain and "STEERING" not in plain
    assert "#EXT-X-CONTENT-STEERING:SERVER-URI=" in steered
    plain = requests.get(platform.play_url("demo", "dash"), timeout=5).text
    steered = requests.get(platform.play_url("demo", "dash", steering=True),
                           timeout=5).text
    assert "BaseURL" not in plain and "ContentSteering" not in plain
    assert "<ContentSteering " in steered


def test_02_a_part_of_a_film_is_the_same_from_everywhere(platform):
    token, path = play_parts(platform, "demo")
    owner, = platform.where("redirector1", "demo")["owners"]
    for file in ("master.m3u8", "manifest.mpd", "v0/index.m3u8"):
        places = [f"{url}/p/{token}/{path}".replace("master.m3u8", file)
                  for url in (platform.front, platform.node(owner)["url"],
                              platform.node("cdn")["url"])]
        whole, *_ = answers = {requests.get(place, timeout=5).content
                               for place in places}
        assert len(answers) == 1
        for part in ("start=3", "end=3", "start=3&end=5"):
            answers = {requests.get(place + query, timeout=5).content
                       for place in places
                       for query in (f"?{part}", f"?x=1&{part}&y=1")}
            assert len(answers) == 1 and whole not in answers, (file, part)
        for place in places:
            assert requests.get(f"{place}?start=x",
                                timeout=5).status_code == 400
    trick = {requests.get(place.replace("v0/index.m3u8", "manifest.mpd?trick=1"),
                          timeout=5).content for place in places}
    assert len(trick) == 1 and b"v0/iframes" in trick.pop()
    for place in places:
        key = place.replace("v0/index.m3u8", "v0/iframes/1.m4s")
        assert b"moof" in requests.get(key, timeout=5).content
    segment = places[-1].replace("index.m3u8", "1.m4s")
    for query in ("", "?start=3", "?start=4"):
        answer = requests.get(segment + query, timeout=5)
        assert answer.status_code == 200
    assert answer.headers["X-Cache"] == "HIT"


def test_03_the_answers_say_which_node_served_and_why(platform):
    url = platform.play_url("demo")
    redirect = requests.get(url, allow_redirects=False, timeout=5)
    assert redirect.status_code == 302
    assert redirect.headers["Cache-Control"] == "no-store"
    owner, = platform.where("redirector1", "demo")["owners"]
    assert redirect.headers["Location"].startswith(
        platform.node(owner)["url"] + "/p/")
    master = requests.get(url, timeout=5)
    assert master.status_code == 200
    assert master.headers["X-Vodst-Node"] == owner
    assert "rule=" in master.headers["X-Vodst-Decision"]
    assert master.headers["Access-Control-Allow-Origin"] == "*"
    assert "X-Vodst-Node" in master.headers["Access-Control-Expose-Headers"]


def test_04_the_front_serves_the_player_page_and_the_status(platform):
    page = requests.get(platform.front + "/", timeout=5)
    assert page.status_code == 200
    assert page.headers["Content-Type"].startswith("text/html")
    status = requests.get(platform.front + "/manager/v1/status", timeout=5)
    assert {node["name"] for node in status.json()["nodes"]} >= {
        "origin1", "origin2", "origin3"}
    contents = requests.get(platform.front + "/api/v1/contents", timeout=5)
    assert "demo" in contents.text


# ---- strangers are turned away ----

def play_parts(platform, content):
    """(token, path after it) of a fresh play."""
    match = re.fullmatch(re.escape(platform.front) + r"/p/([^/]+)/(.*)",
                         platform.play_url(content))
    return match.group(1), match.group(2)


def token_make(platform, content, expires, session=1):
    """A token as core/token.h describes it, with the platform's own key."""
    with open(platform.state["api"]["token_keys_file"]) as keys:
        key_id, key = keys.read().split()[:2]
    claims = struct.pack(">BBIQ", 1, int(key_id), expires, session)
    mac = hmac.new(bytes.fromhex(key), claims + content.encode(),
                   hashlib.sha256).digest()[:16]
    return base64.urlsafe_b64encode(claims + mac).decode()


def bad_tokens(platform, content):
    good, _ = play_parts(platform, content)
    flipped = good[:20] + ("A" if good[20] != "A" else "B") + good[21:]
    return {
        "altered": flipped,
        "of another content": play_parts(platform, "quiet")[0],
        "expired": token_make(platform, content, int(time.time()) - 5),
        "no token": "x",
        "empty claims": "A" * 40,
        "cut": good[:-1],
    }


@pytest.mark.parametrize("node", ["redirector1", "origin1", "origin2",
                                  "origin3", "cdn"])
def test_05_a_wrong_token_is_refused_by_every_tier(platform, node):
    url = platform.node(node)["url"]
    good, path = play_parts(platform, "demo")
    made = token_make(platform, "demo", int(time.time()) + 60)
    segment = path.replace("master.m3u8", "v0/0.m4s")
    mpd = path.replace("master.m3u8", "manifest.mpd")
    for rest in (path, segment, mpd):
        # both a token of st-api's and one made here are good ...
        for token in (good, made):
            answer = requests.get(f"{url}/p/{token}/{rest}?hop=9",
                                  allow_redirects=False, timeout=5)
            assert answer.status_code == (302 if node == "redirector1"
                                          else 200)
        # ... and nothing else is, also for what the CDN holds by now
        for kind, token in bad_tokens(platform, "demo").items():
            answer = requests.get(f"{url}/p/{token}/{rest}?hop=9",
                                  allow_redirects=False, timeout=5)
            assert answer.status_code == 403, kind
            assert b"moof" not in answer.content
            assert b"<MPD" not in answer.content


@pytest.mark.parametrize("node", ["redirector1", "origin1", "cdn"])
def test_05b_every_tier_knows_every_form_of_token(platform, node):
    with open(platform.state["api"]["token_keys_file"]) as keys:
        key_id, key = keys.read().split()[:2]
    key, other = bytes.fromhex(key), b"x" * 32
    url = platform.node(node)["url"]
    _, path = play_parts(platform, "demo")
    good = [make_bound(key, "127.0.0.2/32", kid=int(key_id)),
            make_jwt(key, kid=key_id), make_cat(key, key_id)]
    bad = [make_bound(key, "127.0.0.1/32", kid=int(key_id)),
           make_bound(other, "127.0.0.2/32", kid=int(key_id)),
           make_jwt(other, kid=key_id), make_cat(other, key_id),
           make_jwt(key, kid=key_id, cdniuc="regex:.*/p/quiet/.*"),
           make_cat(key, key_id, _312={3: {1: "/p/quiet/"}})]
    for number, token in enumerate(good + bad):
        # each another part: the CDN does not hold it, and pulls with the
        # token, from another address than the viewer's
        viewer = http.client.HTTPConnection(
            url.removeprefix("http://"), timeout=5,
            source_address=("127.0.0.2", 0))
        viewer.request("GET", f"/p/{token}/{path}?hop=9&start={number + 1}")
        expected = 302 if node == "redirector1" else 200
        assert viewer.getresponse().status == (
            expected if token in good else 403), number
        viewer.close()


def test_05c_a_revoked_play_ends_on_every_tier_and_a_renewed_one_goes_on(
        platform):
    plays = [requests.post(platform.front + "/api/v1/playbacks", timeout=5,
                           json={"content": "demo"}).json() for _ in range(2)]
    ids = [f"{platform.front}/api/v1/playbacks/{play['id']}" for play in plays]
    renewed = requests.post(ids[0] + "/renew", timeout=5).json()
    assert renewed["session"] == plays[0]["session"]

    def statuses(play):
        path = play["urls"]["hls"].removeprefix(platform.front)
        return [requests.get(f"{platform.node(node)['url']}{path}?hop=9",
                             allow_redirects=False, timeout=5).status_code
                for node in ("redirector1", "origin1", "origin2", "origin3")]
    assert all(statuses(play) == [302, 200, 200, 200]
               for play in (*plays, renewed))
    assert requests.delete(ids[0], timeout=5).status_code == 204
    wait_until(lambda: statuses(plays[0]) == [403] * 4, 10, "the play's end")
    assert statuses(renewed) == [403] * 4
    assert statuses(plays[1]) == [302, 200, 200, 200]
    assert requests.post(ids[0] + "/renew", timeout=5).status_code == 410


def test_06_what_does_not_exist_is_not_found(platform):
    assert platform.playback("nothing").status_code == 404
    token, path = play_parts(platform, "demo")
    version = path.split("/")[1]
    owner, = platform.where("redirector1", "demo")["owners"]
    for node in (owner, "cdn"):
        url = platform.node(node)["url"]
        for rest in (f"demo/{version}/v0/999.m4s", f"demo/{version}/v9/0.m4s",
                     f"demo/{version}/nothing.m3u8",
                     "demo/nothing/master.m3u8",
                     "demo/nothing/manifest.mpd"):
            answer = requests.get(f"{url}/p/{token}/{rest}", timeout=5)
            assert answer.status_code == 404, (node, rest)
    ghost = token_make(platform, "ghost", int(time.time()) + 60)
    answer = requests.get(f"{platform.front}/p/{ghost}/ghost/1/master.m3u8",
                          timeout=5)
    assert answer.status_code == 404


def test_07_the_inner_tiers_refuse_whoever_lacks_their_secret(platform):
    state = platform.state
    _, path = play_parts(platform, "demo")
    stored = path.replace("master.m3u8", "asset.idx")
    with open(state["storage"]["fill_secret_file"]) as file:
        fill = {"X-Vodst-Fill": file.read()}
    inner = [state["storage"]["url"]]
    inner += [cache["url"] + way for cache in state["caches"]
              for way in ("/media/", "/again/")]
    for url in inner:
        for headers in ({}, {"X-Vodst-Fill": "guess"}, {"X-Vodst-Fill": ""}):
            for method in ("GET", "HEAD"):
                answer = requests.request(method, url + stored, timeout=5,
                                          headers=headers)
                assert answer.status_code == 403, (url, method, headers)
        assert requests.get(url + stored, headers=fill,
                            timeout=5).status_code == 200
        part = requests.get(url + stored, timeout=5,
                            headers={**fill, "Range": "bytes=0-3"})
        assert part.status_code == 206 and len(part.content) == 4
    varnish = state["varnish"]["url"]
    token, path = play_parts(platform, "demo")
    assert requests.get(f"{varnish}/p/{token}/{path}",
                        timeout=5).status_code == 403


def test_08_only_the_password_changes_what_is_stored(platform):
    storage = platform.state["storage"]
    url = storage["url"] + "probe/1/file"
    with open(storage["password_file"]) as file:
        password = file.read()
    with open(storage["fill_secret_file"]) as file:
        fill = {"X-Vodst-Fill": file.read()}
    user = storage["user"]
    for auth in (None, (user, "guess"), ("", "")):
        assert requests.put(url, b"x", auth=auth, headers=fill,
                            timeout=5).status_code == 401
        assert requests.delete(url, auth=auth, headers=fill,
                               timeout=5).status_code == 401
    assert requests.get(url, headers=fill, timeout=5).status_code == 404
    assert requests.put(url, b"x", auth=(user, password),
                        timeout=5).status_code == 201
    assert requests.get(url, headers=fill, timeout=5).content == b"x"
    # one request does not take away more than one version
    for above in ("", "probe/"):
        assert requests.delete(storage["url"] + above, timeout=5,
                               auth=(user, password)).status_code >= 400
    assert requests.delete(url, auth=(user, password),
                           timeout=5).status_code == 204
    for method in ("MKCOL", "MOVE", "COPY", "POST", "PROPFIND"):
        assert requests.request(method, url, auth=(user, password),
                                timeout=5).status_code >= 400, method


def test_09_the_catalogue_is_not_changed_from_outside(platform):
    with open(platform.state["api"]["key_file"]) as file:
        key = {"Authorization": "Bearer " + file.read().strip()}
    url = platform.front + "/api/v1/contents/demo"
    for method in ("PUT", "DELETE"):
        answer = requests.request(method, url, headers=key, timeout=5,
                                  json={"title": "x", "version": "9"})
        assert answer.status_code == 403
    assert requests.get(url, timeout=5).json()["title"] != "x"
    # a list of up to 800 kB that only nodes have a use for
    assert requests.get(platform.front + "/api/v1/revocations",
                        timeout=5).status_code == 404


def test_10_no_log_holds_a_token_or_a_secret(platform):
    token, path = play_parts(platform, "demo")
    for node in (platform.front, platform.node("cdn")["url"]):
        assert requests.get(f"{node}/p/{token}/{path}", timeout=5).ok
    time.sleep(1.2)  # access logs are written every second
    secrets = [one.read_text().split()[-1] for one in
               (platform.folder / "secrets").iterdir()]
    logs = list((platform.folder / "log").iterdir())
    assert any("content=demo" in log.read_text() for log in logs)
    for log in logs:
        text = log.read_text()
        for secret in [token, *secrets]:
            assert secret not in text, log.name


def test_11_a_film_that_nobody_ingested_plays(platform, tmp_path):
    film = film_make(tmp_path / "film.mp4", 4, "160x90")
    storage, api = platform.state["storage"], platform.state["api"]
    with open(storage["password_file"]) as password, \
            open(api["key_file"]) as key, film.open("rb") as data:
        assert requests.put(
            storage["url"] + "plain/1/film.mp4", data, timeout=20,
            auth=(storage["user"], password.read())).status_code == 201
        assert requests.put(
            api["url"] + "/v1/contents/plain", timeout=5,
            headers={"Authorization": "Bearer " + key.read().strip()},
            json={"title": "As it is", "version": "1", "duration_ms": 4000},
        ).status_code == 201
    for form in ("hls", "dash"):
        assert pictures(platform.play_url("plain", form)) == pictures(film)
    hls = platform.play_url("plain").replace("master.m3u8", "ts/master.m3u8")
    assert pictures(hls) == pictures(film)


# ---- the tiers hold what they should ----

def test_12_a_played_film_outlives_storage_and_caches(start_platform, films):
    platform = start_platform("--no-restart", "--origins", "1", state=films)
    play = ["ffmpeg", "-v", "error", "-xerror", "-i",
            platform.play_url("demo"), "-f", "null", "-"]
    assert subprocess.run(play, timeout=60).returncode == 0
    for name in ("storage", "cache1", "cache2"):
        platform.kill(name)
    assert subprocess.run(play, timeout=60).returncode == 0
    platform.stop()


def test_13_plays_may_be_for_services_alone(start_platform, films):
    platform = start_platform("--private", "--origins", "1", state=films)
    with open(platform.state["api"]["key_file"]) as file:
        admin = {"Authorization": "Bearer " + file.read().strip()}
    api = platform.state["api"]["url"]
    asked = {"url": platform.front + "/api/v1/playbacks", "timeout": 5,
             "json": {"content": "demo"}}
    assert requests.post(**asked).status_code == 401
    assert requests.post(**asked, headers=admin).status_code == 401
    requests.put(api + "/v1/services/shop", json={"name": "S"}, timeout=5,
                 headers=admin).raise_for_status()
    key = requests.post(api + "/v1/services/shop/keys", json={}, timeout=5,
                        headers=admin).json()["key"]
    shop = {"Authorization": "Bearer " + key}
    play = requests.post(**asked, headers=shop).json()
    assert requests.get(play["urls"]["hls"], timeout=5).status_code == 200
    url = f"{platform.front}/api/v1/playbacks/{play['id']}"
    assert requests.delete(url, timeout=5).status_code == 401
    assert requests.delete(url, timeout=5, headers=shop).status_code == 204
    wait_until(lambda: requests.get(play["urls"]["hls"], timeout=5).status_code
               == 403, 10, "the play's end")
    platform.stop()
