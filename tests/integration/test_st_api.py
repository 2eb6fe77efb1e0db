# SPDX-License-Identifier: Apache-2.0
"""st-api alone: plays get signed URLs, the catalogue is kept, in a file or in
PostgreSQL, and whatever is sent to it gets an answer that says what is wrong."""

import base64
import concurrent.futures
import hashlib
import hmac
import itertools
import json
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import threading
import time

import pytest
import requests

from conftest import BUILD, wait_until
from postgresql_server import PostgreSQL

ST_API = BUILD / "programs" / "st-api" / "st-api"
ADMIN_KEY = "admin-key-0123456789"
SECRETS = {1: bytes(range(32)), 2: bytes(range(32, 64))}


class StApi:
    def __init__(self, folder, *options, database=None, public=True):
        self.folder = folder
        self.keys, self.admin_key = folder / "keys", folder / "admin.key"
        self.log_path = folder / "log"
        if not self.keys.exists():
            self.write_keys(1)
            self.admin_key.write_text(ADMIN_KEY + "\n")
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [ST_API, "--listen", "127.0.0.1:0", "--database",
                 database or folder / "catalogue.db", "--keys", self.keys,
                 "--playback-url", "http://play.example:8080/", "--admin-key",
                 self.admin_key, *["--public"] * public, *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            port = wait_until(self.port, 10, "st-api")
        except BaseException:
            self.stop()
            raise
        self.url = f"http://127.0.0.1:{port}"

    def port(self):
        assert self.process.poll() is None, self.log()
        found = re.search(r"on port (\d+)", self.log())
        return int(found[1]) if found else None

    def log(self):
        return self.log_path.read_text()

    def write_keys(self, *ids):
        self.keys.write_text("".join(f"{i} {SECRETS[i].hex()}\n" for i in ids))

    def request(self, method, path, body=None, key=None, **headers):
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return requests.request(method, self.url + path, data=body,
                                headers=headers, timeout=10)

    def put(self, content, title="A film", version="0123456789ab",
            duration_ms=60000):
        answer = self.request("PUT", f"/v1/contents/{content}",
                              {"title": title, "version": version,
                               "duration_ms": duration_ms}, ADMIN_KEY)
        assert answer.status_code in (200, 201), answer.text
        return answer

    def play(self, body, key=None):
        return self.request("POST", "/v1/playbacks", body, key)

    def admin(self, method, path, body=None):
        return self.request(method, path, body, ADMIN_KEY)

    def metrics(self):
        lines = self.request("GET", "/metrics").text.splitlines()
        return {line.split()[0]: int(line.split()[1])
                for line in lines if not line.startswith("#")}

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(10)


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory):
    folder = tmp_path_factory.mktemp("postgresql")
    server = PostgreSQL(folder / "server").start()
    yield server
    server.stop()


SCHEMAS = itertools.count()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new_database(request):
    """Gives an empty one; None is a file in the folder of st-api."""
    if request.param == "sqlite":
        return lambda: None
    server = request.getfixturevalue("postgresql")
    return lambda: server.schema(f"s{next(SCHEMAS)}")


@pytest.fixture(scope="module")
def api(tmp_path_factory, new_database):
    one = StApi(tmp_path_factory.mktemp("st-api"), database=new_database())
    yield one
    one.stop()


def starter(folder, database):
    started = []

    def start(*options, public=True):
        started.append(StApi(folder, *options, database=database,
                             public=public))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def own_api(tmp_path, new_database):
    """One that a test may stop, reload and start again."""
    yield from starter(tmp_path, new_database())


@pytest.fixture
def sqlite_api(tmp_path):
    yield from starter(tmp_path, None)


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    text = answer.json()
    assert text["status"] == status
    return text["detail"]


def token_of(url):
    return url.split("/p/")[1].split("/")[0]


def token_read(text):
    raw = base64.urlsafe_b64decode(text)
    assert len(raw) == 30
    version, key, expires, session = struct.unpack(">BBIQ", raw[:14])
    return version, key, expires, session, raw


# ---- plays ----

def test_01_a_play_gets_a_signed_url_that_expires(api):
    api.put("demo", version="cafe00000001")
    before = int(time.time())
    answer = api.play({"content": "demo", "viewer": "anna"})
    assert answer.status_code == 201
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    play = answer.json()
    assert set(play) == {"id", "content", "session", "expires", "urls"}
    assert play["content"] == "demo"
    token = token_of(play["urls"]["hls"])
    assert play["urls"]["hls"] == ("http://play.example:8080/p/" + token
                                   + "/demo/cafe00000001/master.m3u8")
    assert play["urls"]["dash"] == ("http://play.example:8080/p/" + token
                                    + "/demo/cafe00000001/manifest.mpd")
    assert set(play["urls"]) == {"hls", "dash"}
    version, key, expires, session, raw = token_read(token)
    assert (version, key) == (1, 1)
    assert expires == play["expires"]
    assert before + 6 * 3600 <= expires <= time.time() + 6 * 3600
    assert f"{session:016x}" == play["session"]
    mac = hmac.new(SECRETS[1], raw[:14] + b"demo", hashlib.sha256).digest()
    assert raw[14:] == mac[:16]


def test_02_every_play_is_a_session_of_its_own(api):
    api.put("demo")
    plays = [api.play({"content": "demo"}).json() for _ in range(20)]
    assert len({play["session"] for play in plays}) == 20
    assert len({play["id"] for play in plays}) == 20


@pytest.mark.parametrize("body, hls, dash", [
    ({}, "", ""), ({"steering": False, "trick_play": False}, "", ""),
    ({"steering": True}, "?steering=1", "?steering=1"),
    ({"trick_play": True}, "", "?trick=1"),
    ({"steering": True, "trick_play": True}, "?steering=1",
     "?steering=1&trick=1")])
def test_02_a_player_asks_for_what_it_can_do(api, body, hls, dash):
    api.put("demo")
    urls = api.play({"content": "demo", **body}).json()["urls"]
    assert urls["hls"].endswith(".m3u8" + hls)
    assert urls["dash"].endswith(".mpd" + dash)


@pytest.mark.parametrize("device, hls, dash", [
    ("any", "/master.m3u8", "/manifest.mpd"), ("apple", "/master.m3u8", None),
    ("android", "/master.m3u8", "/manifest.mpd"),
    ("tv", "/master.m3u8", "/manifest.mpd"),
    ("legacy", "/ts/master.m3u8", None)])
def test_02_a_device_is_told_what_it_can_play(api, device, hls, dash):
    api.put("demo", version="v1")
    urls = api.play({"content": "demo", "device": device}).json()["urls"]
    assert urls["hls"].endswith("/demo/v1" + hls)
    assert urls.get("dash", "").endswith("/demo/v1" + dash if dash else "")
    assert ("dash" in urls) == (dash is not None)


def test_02_thumbnails_are_told_where_there_are_any(api):
    api.put("plain-film")
    assert "thumbnails" not in api.play({"content": "plain-film"}) \
        .json()["urls"]
    for version in "v1", "v2":
        api.admin("PUT", "/v1/contents/pictured", {
            "title": "T", "version": version, "duration_ms": 1, "tracks": [
                {"name": "v0", "kind": "video"},
                {"name": "t" + version, "kind": "thumbnails"}]})
    urls = api.play({"content": "pictured"}).json()["urls"]
    assert urls["thumbnails"] == urls["hls"].replace("master.m3u8",
                                                     "tv2/index.m3u8")


def test_02_a_protected_content_says_where_licences_are(own_api):
    api = own_api("--license", "clearkey=https://license.example/clearkey",
                  "--license", "fairplay=https://license.example/fps",
                  "--license", "widevine=https://license.example/w")

    def drm(content, **more):
        return api.play({"content": content, **more}).json().get("drm")

    def put(**more):
        return api.admin("PUT", "/v1/contents/secret", {
            "title": "T", "version": "v1", "duration_ms": 1, **more}).json()
    assert put()["id"] == "secret" and drm("secret") is None
    assert put(protected=True)["protected"] is True
    assert put()["protected"] is True  # not told: as it was
    assert api.request("GET", "/v1/contents/secret").json()["protected"] is True
    of = {name: {"license_url": f"https://license.example/{path}"}
          for name, path in (("widevine", "w"), ("fairplay", "fps"),
                             ("clearkey", "clearkey"))}
    assert drm("secret") == of
    assert drm("secret", device="apple") == {"fairplay": of["fairplay"]}
    assert drm("secret", device="tv") == {"widevine": of["widevine"]}
    assert drm("secret", device="legacy") == {}
    assert "protected" not in put(protected=False)
    assert drm("secret") is None


def test_02_the_same_key_is_the_same_play(own_api):
    api = own_api()
    api.put("demo", version="v1")
    body = {"content": "demo", "viewer": "anna"}

    def play(key, body=body):
        return api.request("POST", "/v1/playbacks", body,
                           **{"Idempotency-Key": key})
    first = play("8e03978e")
    assert first.status_code == 201
    api.put("demo", version="v2")
    again = play("8e03978e")
    assert again.status_code == 201 and again.json() == first.json()
    assert play("another").json()["session"] != first.json()["session"]
    assert api.play(body).json()["session"] != first.json()["session"]
    assert "differs from this one" in problem(
        play("8e03978e", {"content": "demo"}), 422)
    assert play("8e03978e").json() == first.json()
    for bad in "", "x" * 256, "a b":
        assert "Idempotency-Key must be" in problem(play(bad), 400)


def test_02_a_play_that_is_asked_for_again_is_as_it_was(own_api):
    api = own_api()

    def put(version, *tracks):
        return api.admin("PUT", "/v1/contents/demo", {
            "title": "T", "version": version, "duration_ms": 1,
            "tracks": [{"name": "v0", "kind": "video"}, *tracks]})

    def play(key):
        return api.request("POST", "/v1/playbacks", {"content": "demo"},
                           **{"Idempotency-Key": key})
    put("v1", {"name": "t1", "kind": "thumbnails"})
    one = play("one").json()
    put("v2", {"name": "t2", "kind": "thumbnails"})
    assert "/v1/t1/" in play("one").json()["urls"]["thumbnails"]
    two = play("two").json()
    put("v3")
    assert play("one").json() == one and play("two").json() == two
    assert api.request("DELETE", f"/v1/playbacks/{two['id']}") \
        .status_code == 204
    assert "was revoked" in problem(play("two"), 410)
    assert play("one").json() == one
    three = play("three").json()
    assert api.request("DELETE", f"/v1/playbacks/{three['id']}") \
        .status_code == 204
    assert "was revoked" in problem(play("three"), 410)


def test_02_a_key_is_its_services_own(own_api):
    api = own_api(public=False)
    api.put("demo")
    sessions = []
    for service in "one", "two":
        api.admin("PUT", f"/v1/services/{service}", {"name": "S"})
        key = api.admin("POST", f"/v1/services/{service}/keys", {}).json()
        sessions.append(api.request(
            "POST", "/v1/playbacks", {"content": "demo"}, key["key"],
            **{"Idempotency-Key": "same"}).json()["session"])
    assert sessions[0] != sessions[1]


def test_02_of_many_at_once_with_a_key_there_is_one_play(own_api):
    api = own_api()
    api.put("demo")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        plays = list(pool.map(lambda _: api.request(
            "POST", "/v1/playbacks", {"content": "demo"},
            **{"Idempotency-Key": "k"}).text, range(64)))
    assert len(set(plays)) == 1, plays[:3]


def renew(api, play, body=None, key=None):
    return api.request("POST", f"/v1/playbacks/{play['id']}/renew", body, key)


def revoked(api, after=0):
    """Number and sessions; None: nothing newer."""
    answer = api.request("GET", f"/v1/revocations?after={after}")
    if answer.status_code == 204:
        return None
    count, number = struct.unpack("<4xIQ", answer.content[8:24])
    assert answer.content[:8] == b"VODSTRVK" and len(answer.content) \
        == 32 + 8 * count
    return number, struct.unpack(f"<{count}Q", answer.content[24:-8])


def listed(api, after=0):
    """The same, once st-api has looked again: each second."""
    return wait_until(lambda: revoked(api, after), 2.5, "a newer list")


def test_02_a_play_is_renewed_on_its_own_version(own_api):
    api = own_api("--token-ttl", "100s")
    api.put("demo", version="v1", duration_ms=1000)
    play = api.play({"content": "demo", "device": "legacy", "region": "DE",
                     "steering": True}).json()
    time.sleep(1.1)
    answer = renew(api, play)
    assert answer.status_code == 200
    later = answer.json()
    assert later["session"] == play["session"]
    assert play["expires"] < later["expires"] <= time.time() + 100
    assert later["urls"]["hls"].partition("/demo/")[2] \
        == play["urls"]["hls"].partition("/demo/")[2]
    assert token_of(later["urls"]["hls"]) != token_of(play["urls"]["hls"])
    assert later["id"] != play["id"]
    api.put("demo", version="v2", duration_ms=1000)
    replaced = time.time()
    time.sleep(1.1)
    last = renew(api, later).json()
    assert "/demo/v1/" in last["urls"]["hls"]
    # and no longer than its files are sure to be there
    assert replaced + 98 <= last["expires"] <= replaced + 101
    assert renew(api, last, {"address": "192.0.2.1"}).status_code == 200
    assert 'unknown field "content"' in problem(
        renew(api, last, {"content": "demo"}), 400)
    api.admin("DELETE", "/v1/contents/demo")
    problem(renew(api, last), 404)


def test_02_who_asked_for_a_play_renews_and_revokes_it(own_api):
    api = own_api(public=False)
    api.put("demo")
    keys = {}
    for service in "one", "two":
        api.admin("PUT", f"/v1/services/{service}", {"name": "S"})
        keys[service] = api.admin(
            "POST", f"/v1/services/{service}/keys", {}).json()["key"]
    play = api.play({"content": "demo"}, keys["one"]).json()
    path = f"/v1/playbacks/{play['id']}"
    problem(renew(api, play, key=keys["two"]), 404)
    problem(api.request("DELETE", path, key=keys["two"]), 404)
    for key in None, "nonsense":
        problem(renew(api, play, key=key), 401)
        problem(api.request("DELETE", path, key=key), 401)
    assert renew(api, play, key=keys["one"]).status_code == 200
    for bad in (play["id"][:-1], play["id"] + "0", "B" + play["id"][1:],
                play["id"].replace("~demo~", "~another~"), play["session"]):
        problem(renew(api, {"id": bad}, key=keys["one"]), 404)
        problem(api.request("DELETE", f"/v1/playbacks/{bad}", key=ADMIN_KEY),
                404)
    assert revoked(api) is None
    other = api.play({"content": "demo"}, keys["two"]).json()
    assert api.request("DELETE", path, key=keys["one"]).status_code == 204
    assert api.request("DELETE", f"/v1/playbacks/{other['id']}",
                       key=ADMIN_KEY).status_code == 204
    two = {int(one["session"], 16) for one in (play, other)}
    number, sessions = wait_until(  # st-api looks each second
        lambda: (found := revoked(api)) and set(found[1]) == two and found,
        2.5, "both in the list")
    assert set(sessions) == {int(play["session"], 16),
                             int(other["session"], 16)}
    assert list(sessions) == sorted(sessions)
    assert revoked(api, number) is None and revoked(api, number - 1) is not None
    assert "was revoked" in problem(renew(api, play, key=keys["one"]), 410)
    # once more is as good
    assert api.request("DELETE", path, key=keys["one"]).status_code == 204
    later, again = listed(api, number)
    assert later > number and again == sessions
    assert api.metrics()["st_api_playbacks_revoked_total"] == 3


def test_02_a_play_that_is_over_is_not_renewed(own_api):
    api = own_api("--token-ttl", "1s")
    api.put("demo", duration_ms=1)
    play = api.play({"content": "demo"}).json()
    time.sleep(2.1)
    assert "has ended" in problem(renew(api, play), 410)
    # which is not known of one that is revoked: another id may go on with it
    assert api.request("DELETE", f"/v1/playbacks/{play['id']}") \
        .status_code == 204
    assert listed(api)[1] == (int(play["session"], 16),)


def test_02_a_renewed_play_is_revoked_by_its_first_id(own_api):
    api = own_api("--token-ttl", "4s", public=False)
    api.put("demo", duration_ms=1)
    keys = {}
    for service in "one", "two":
        api.admin("PUT", f"/v1/services/{service}", {"name": "S"})
        keys[service] = api.admin(
            "POST", f"/v1/services/{service}/keys", {}).json()["key"]
    first = api.play({"content": "demo"}, keys["one"]).json()
    while time.time() < first["expires"] - 1:
        time.sleep(0.05)
    later = renew(api, first, key=keys["one"]).json()
    while time.time() < first["expires"]:
        time.sleep(0.05)
    path = f"/v1/playbacks/{first['id']}"
    assert "has ended" in problem(renew(api, first, key=keys["one"]), 410)
    problem(renew(api, first, key=keys["two"]), 404)
    problem(api.request("DELETE", path, key=keys["two"]), 404)
    assert api.request("DELETE", path, key=keys["one"]).status_code == 204
    assert "was revoked" in problem(renew(api, later, key=keys["one"]), 410)
    assert listed(api)[1] == (int(first["session"], 16),)
    # for as long as a node whose redirect_keys has the largest late= takes it
    if (api.folder / "catalogue.db").exists():
        with sqlite3.connect(api.folder / "catalogue.db") as catalogue:
            ends, = catalogue.execute("SELECT ends FROM revocations").fetchone()
        assert ends >= later["expires"] + 3600


def test_02_a_renewal_follows_the_viewer(own_api):
    api = own_api("--token-network", "24/64")
    api.put("demo")
    play = api.play({"content": "demo", "address": "192.0.2.7"}).json()
    assert "address" in problem(renew(api, play), 400)
    home, away = (token_of(renew(api, play, {"address": address}).json()
                           ["urls"]["hls"])
                  for address in ("192.0.2.9", "198.51.100.1"))
    assert len(home) == len(away) == 44 and home != away


def test_03_an_unknown_content_is_not_found(api):
    detail = problem(api.play({"content": "no-such"}), 404)
    assert detail == 'no content "no-such" in the catalogue'


@pytest.mark.parametrize("body, expected", [
    (b"", "the body is empty"),
    (b'{"content": "demo",\n  }', "bad JSON at line 2, column 3"),
    (b"\xff\xfe", "bad JSON at line 1"),
    (b"[" * 60000, "bad JSON"),
    (b"[]", "must be a JSON object"),
    (b"{}", 'field "content" is missing'),
    (b'{"content": 5}', 'field "content" must be a string'),
    (b'{"content": "../etc"}', 'field "content" must be 1 to 64'),
    (b'{"content": "demo", "content": "x"}', "a field is given twice"),
    (b'{"content": "demo", "colour": "red"}', 'unknown field "colour"'),
    (b'{"content": "demo", "device": "radio"}',
     'field "device" must be any, apple, android, tv or legacy'),
    (b'{"content": "demo", "device": 1}', 'field "device" must be any'),
    (b'{"content": "demo", "viewer": ""}', 'field "viewer" must be 1 to 128'),
])
def test_04_what_is_wrong_with_a_request_is_named(api, body, expected):
    assert expected in problem(api.play(body), 400)


def test_05_other_types_and_sizes_are_refused(api):
    answer = api.request("POST", "/v1/playbacks", '{"content":"demo"}',
                         **{"Content-Type": "text/plain"})
    assert "application/json" in problem(answer, 415)
    answer = requests.post(api.url + "/v1/playbacks", timeout=5)
    assert answer.status_code == 415
    answer = api.request("POST", "/v1/playbacks", '{"content":"none"}',
                         **{"Content-Type": "Application/JSON; charset=utf-8"})
    assert answer.status_code == 404
    assert api.play(b" " * (64 * 1024 + 1)).status_code == 413
    assert api.request("GET", "/v1/playbacks").status_code == 405
    assert api.request("GET", "/v2").status_code == 404


# ---- the catalogue ----

def test_06_only_the_admin_key_changes_the_catalogue(api):
    body = {"title": "T", "version": "v", "duration_ms": 1}
    for method in ("PUT", "DELETE"):
        answer = api.request(method, "/v1/contents/locked", body)
        assert "Authorization: Bearer" in problem(answer, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        for key in ("wrong", ADMIN_KEY + "x", ADMIN_KEY[:-1],
                    ADMIN_KEY.upper(), ""):
            answer = api.request(method, "/v1/contents/locked", body, key)
            assert answer.status_code in (401, 403)
    assert api.request("GET", "/v1/contents/locked").status_code == 404
    # a key that is shown must be right, also where none is needed
    assert problem(api.request("GET", "/v1/contents", key="wrong"), 403)
    assert api.request("GET", "/v1/contents", key=ADMIN_KEY).ok


def test_07_a_content_is_added_replaced_and_removed(api):
    title = 'Fünf "Tage" \\ \u96ea'
    answer = api.put("film-1", title, "aaaaaaaaaaaa", 5000)
    assert answer.status_code == 201
    first = answer.json()
    assert first["title"] == title and first["version"] == "aaaaaaaaaaaa"
    assert first["duration_ms"] == 5000
    assert abs(first["created"] - time.time()) < 10
    assert api.request("GET", "/v1/contents/film-1").json() == first

    answer = api.put("film-1", "New", "bbbbbbbbbbbb", 6000)
    assert answer.status_code == 200
    assert answer.json()["created"] == first["created"]
    url = api.play({"content": "film-1"}).json()["urls"]["hls"]
    assert "/film-1/bbbbbbbbbbbb/" in url

    answer = api.request("DELETE", "/v1/contents/film-1", key=ADMIN_KEY)
    assert answer.status_code == 204 and answer.content == b""
    for method in ("GET", "DELETE"):
        answer = api.request(method, "/v1/contents/film-1", key=ADMIN_KEY)
        assert problem(answer, 404)
    assert api.play({"content": "film-1"}).status_code == 404


@pytest.mark.parametrize("content, body, expected", [
    ("x", {"title": "T", "version": "v"}, 'field "duration_ms" is missing'),
    ("x", {"title": "T", "version": "a/b", "duration_ms": 1},
     'field "version" must be'),
    ("x", {"title": "", "version": "v", "duration_ms": 1},
     'field "title" must be 1 to 200'),
    ("x", {"title": "é" * 101, "version": "v", "duration_ms": 1},
     'field "title" must be 1 to 200'),
    ("x", {"title": "T", "version": "v", "duration_ms": 1.5},
     'field "duration_ms" must be an integer'),
    ("x", {"title": "T", "version": "v", "duration_ms": 1, "id": "y"},
     'unknown field "id"'),
    ("x%2Fy", {"title": "T", "version": "v", "duration_ms": 1},
     "an id in the path is"),
    (".x", {"title": "T", "version": "v", "duration_ms": 1},
     "an id in the path is"),
    ("x" * 65, {"title": "T", "version": "v", "duration_ms": 1},
     "an id in the path is"),
])
def test_08_a_bad_content_changes_nothing(api, content, body, expected):
    before = api.request("GET", "/v1/contents").json()
    answer = api.request("PUT", f"/v1/contents/{content}", body, ADMIN_KEY)
    assert expected in problem(answer, 400)
    assert api.request("GET", "/v1/contents").json() == before


def test_09_the_list_comes_in_pages(own_api):
    api = own_api()
    ids = sorted(f"c{i:03d}" for i in range(25))
    for content in reversed(ids):
        api.put(content)
    seen, after, pages = [], None, 0
    while after is not None or pages == 0:
        path = "/v1/contents?limit=10" + (f"&after={after}" if after else "")
        page = api.request("GET", path).json()
        seen += [content["id"] for content in page["contents"]]
        after = page["next"]
        pages += 1
    assert (seen, pages) == (ids, 3)
    assert len(api.request("GET", "/v1/contents").json()["contents"]) == 25
    exact = api.request("GET", "/v1/contents?limit=25").json()
    assert exact["next"] is None
    for query in ("limit=0", "limit=1001", "limit=-1", "limit=abc", "limit=",
                  "limit=1e2", "after=..", "after="):
        assert api.request("GET", "/v1/contents?" + query).status_code == 400


def test_09_a_version_that_was_replaced_stays_until_no_play_is_on_it(own_api):
    api = own_api("--token-ttl=1s")
    tracks = [{"name": "a0", "kind": "audio", "language": "de",
               "label": "Deutsch", "channels": 2, "codecs": "mp4a.40.2"},
              {"name": "v0", "kind": "video", "codecs": "avc1.64001f",
               "width": 1280, "height": 720, "bandwidth": 3000000}]
    answer = api.request("PUT", "/v1/contents/demo",
                         {"title": "T", "version": "one", "duration_ms": 5,
                          "tracks": tracks}, ADMIN_KEY)
    assert answer.status_code == 201
    one = api.request("GET", "/v1/contents/demo/versions/one").json()
    assert one["tracks"] == tracks
    assert "retired" not in one and one["duration_ms"] == 5

    path = "/v1/contents/demo/versions/one"
    assert "is played" in problem(api.request("DELETE", path, key=ADMIN_KEY),
                                  409)
    api.put("demo", version="two")
    assert problem(api.request("DELETE", path, key=ADMIN_KEY), 409)
    versions = api.request("GET", "/v1/contents/demo/versions").json()
    assert [version["version"] for version in versions["versions"]] == [
        "one", "two"]
    assert abs(versions["versions"][0]["retired"] - time.time()) < 10

    def retired():
        answer = api.request("GET", "/v1/retired-versions", key=ADMIN_KEY)
        return [(version["content"], version["version"])
                for version in answer.json()["versions"]]

    wait_until(lambda: retired() == [("demo", "one")], 5, "its last token")
    listed = "/v1/retired-versions?after="
    for after, left in [("1/demo/one", 1), ("999999999999/a/a", 0)]:
        page = api.admin("GET", listed + after).json()
        assert len(page["versions"]) == left and page["next"] is None
    for after in "", "x", "1", "1/a", "1/a/", "1//a", "1/a/b/c", "/a/b", \
            "-1/a/b", "1" * 19 + "/a/b", "1/.a/b", f"1/{'a' * 65}/b":
        assert "after" in problem(api.admin("GET", listed + after), 400)
    assert api.request("DELETE", path, key=ADMIN_KEY).status_code == 204
    assert problem(api.request("DELETE", path, key=ADMIN_KEY), 404)
    assert retired() == []
    assert problem(api.request("GET", path), 404)
    assert api.play({"content": "demo"}).status_code == 201

    for method, path in [("GET", "/v1/retired-versions"), ("DELETE", path)]:
        assert problem(api.request(method, path), 401)
    assert problem(api.request("GET", "/v1/contents/none/versions"), 404)
    assert problem(api.request("GET", "/v1/contents/demo/versions/.x"), 400)


def retired_of(api):
    answer = api.admin("GET", "/v1/retired-versions")
    assert answer.status_code == 200
    return {version["version"]: version.get("collecting", False)
            for version in answer.json()["versions"]}


def test_09_a_version_that_is_taken_away_is_not_played_again(own_api):
    api = own_api("--token-ttl=1s")
    path = "/v1/contents/demo/versions/"
    for version in "one", "two":
        api.put("demo", version=version, duration_ms=5)
    assert "may still be on it" in problem(
        api.admin("POST", path + "one/collect"), 409)
    assert "is played" in problem(api.admin("POST", path + "two/collect"), 409)
    assert "no version" in problem(api.admin("POST", path + "six/collect"),
                                   404)
    wait_until(lambda: retired_of(api) == {"one": False}, 5, "its last token")
    for _ in range(2):
        answer = api.admin("POST", path + "one/collect")
        assert answer.status_code == 204 and answer.content == b""
    assert retired_of(api) == {"one": True}
    assert api.request("GET", path + "one").json()["collecting"] is True
    assert "collecting" not in api.request("GET", path + "two").json()

    # what was not there can be left, and begun again
    assert api.admin("DELETE", path + "one/collect").status_code == 204
    assert retired_of(api) == {"one": False}
    assert "no version" in problem(api.admin("DELETE", path + "six/collect"),
                                   404)
    assert problem(api.request("DELETE", path + "one/collect"), 401)
    assert api.admin("POST", path + "one/collect").status_code == 204

    # it does not come back meanwhile, and what would bring it changes nothing
    before = api.request("GET", "/v1/contents/demo").json()
    again = {"title": "Another", "version": "one", "duration_ms": 7,
             "windows": [{"starts": 1, "ends": 2}],
             "tracks": [{"name": "v0", "kind": "video"}]}
    assert "is being taken away" in problem(
        api.admin("PUT", "/v1/contents/demo", again), 409)
    assert api.request("GET", "/v1/contents/demo").json() == before
    assert api.request("GET", path + "one").json()["duration_ms"] == 5
    assert "tracks" not in api.request("GET", path + "one").json() \
        or api.request("GET", path + "one").json()["tracks"] == []
    assert "is being taken away" in problem(
        api.admin("POST", path + "one/keep"), 409)
    assert api.play({"content": "demo"}).status_code == 201

    # also with longer tokens, of which one would be good still
    api.stop()
    api = own_api("--token-ttl=1h")
    assert retired_of(api) == {"one": True}
    assert api.admin("POST", path + "one/collect").status_code == 204
    assert api.admin("DELETE", path + "one").status_code == 204
    assert problem(api.admin("DELETE", path + "one"), 404)
    assert api.admin("PUT", "/v1/contents/demo", again).status_code == 200
    assert api.request("GET", "/v1/contents/demo").json()["version"] == "one"
    for action in "collect", "keep":
        assert problem(api.request("POST", path + f"one/{action}"), 401)
        assert problem(api.admin("POST", path + f".x/{action}"), 400)


def test_09_a_version_that_is_stored_again_is_kept(own_api):
    api = own_api("--token-ttl=2s")
    path = "/v1/contents/demo/versions/"
    for version in "one", "two":
        api.put("demo", version=version, duration_ms=5)
    played = api.request("GET", path + "two").json()
    for version in "one", "two":
        answer = api.admin("POST", path + f"{version}/keep")
        assert answer.status_code == 204 and answer.content == b""
    assert api.request("GET", path + "two").json() == played
    assert problem(api.admin("POST", path + "six/keep"), 404)
    wait_until(lambda: retired_of(api) == {"one": False}, 6, "its last token")
    before = api.request("GET", path + "one").json()["retired"]
    assert api.admin("POST", path + "one/keep").status_code == 204
    assert retired_of(api) == {}
    assert api.request("GET", path + "one").json()["retired"] > before
    assert problem(api.admin("POST", path + "one/collect"), 409)
    # and a lifetime later it goes
    wait_until(lambda: retired_of(api) == {"one": False}, 6, "its last token")
    assert api.admin("POST", path + "one/collect").status_code == 204


# ---- services ----

def test_09_a_play_needs_the_key_of_a_service(own_api):
    api = own_api(public=False)
    api.put("demo")
    play = {"content": "demo"}
    answer = api.play(play)
    assert "key of a service" in problem(answer, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert problem(api.play(play, ADMIN_KEY), 401)  # it opens other doors

    assert problem(api.admin("POST", "/v1/services/kino/keys", {}), 404)
    answer = api.admin("PUT", "/v1/services/kino", {"name": "Kino Zürich"})
    assert answer.status_code == 201
    made = api.admin("POST", "/v1/services/kino/keys", {})
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    first = made.json()
    assert re.fullmatch(r"[0-9a-f]{16}\.[0-9a-f]{64}", first["key"])
    assert api.play(play, first["key"]).status_code == 201
    assert api.play(play | {"service": "kino"}, first["key"]).ok
    assert "not one of" in problem(
        api.play(play | {"service": "other"}, first["key"]), 403)

    # altered anywhere it is nobody's
    for at in 0, 15, 16, 17, 80:
        other = "1" if first["key"][at] != "1" else "2"
        altered = first["key"][:at] + other + first["key"][at + 1:]
        assert problem(api.play(play, altered), 401)
    for altered in first["key"][:-1], first["key"] + "0", ".", "x" * 5000:
        assert problem(api.play(play, altered), 401)

    # rotation: both are good, then the new one alone
    second = api.admin("POST", "/v1/services/kino/keys",
                       {"expires": int(time.time()) + 3600}).json()
    assert api.play(play, first["key"]).ok and api.play(play, second["key"]).ok
    path = "/v1/services/kino/keys/"
    assert api.admin("DELETE", path + first["id"]).status_code == 204
    assert problem(api.admin("DELETE", path + first["id"]), 404)
    assert problem(api.play(play, first["key"]), 401)
    assert api.play(play, second["key"]).ok

    service = api.admin("GET", "/v1/services/kino").json()
    assert service["name"] == "Kino Zürich"
    assert service["keys"] == [{"id": second["id"], "expires":
                                second["expires"],
                                "created": second["created"]}]
    assert first["key"].split(".")[1] not in api.log()

    # one that has expired, and a service that is gone
    old = api.admin("POST", "/v1/services/kino/keys", {"expires": 1}).json()
    assert problem(api.play(play, old["key"]), 401)
    assert api.admin("DELETE", "/v1/services/kino").status_code == 204
    assert problem(api.play(play, second["key"]), 401)
    assert problem(api.admin("DELETE", "/v1/services/kino"), 404)
    assert api.admin("GET", "/v1/services").json() == {"services": []}


def test_09_a_service_asks_as_often_as_it_may(own_api):
    api = own_api()
    api.put("demo")
    api.admin("PUT", "/v1/services/slow", {"name": "S", "rate_per_s": 2,
                                           "burst": 5})
    api.admin("PUT", "/v1/services/free", {"name": "F"})
    slow, free = (api.admin("POST", f"/v1/services/{name}/keys", {}).json()
                  ["key"] for name in ("slow", "free"))
    start = time.monotonic()
    answers = [api.play({"content": "demo"}, slow) for _ in range(10)]
    assert all(answer.ok for answer in answers[:5])
    # of others that is no concern, and a change does not fill it up again
    assert all(api.play({"content": "demo"}, free).ok for _ in range(20))
    assert api.play({"content": "demo"}).ok
    api.admin("PUT", "/v1/services/free", {"name": "Free"})
    answers += [api.play({"content": "demo"}, slow) for _ in range(10)]
    refused = [answer for answer in answers if not answer.ok]
    assert all(problem(answer, 429) and int(answer.headers["Retry-After"]) == 1
               for answer in refused)
    # the five, and two a second, however long all this took
    assert len(answers) - len(refused) <= 5 + 2 * (time.monotonic() - start)
    wait_until(lambda: api.play({"content": "demo"}, slow).ok, 5, "its turn")
    assert api.metrics()["st_api_requests_limited_total"] >= 6


def test_09_a_content_is_there_for_some_in_some_places(own_api):
    api = own_api()
    for name in "kino", "club":
        api.admin("PUT", f"/v1/services/{name}", {"name": name})
    kino, club = (api.admin("POST", f"/v1/services/{name}/keys", {}).json()
                  ["key"] for name in ("kino", "club"))
    now = int(time.time())
    body = {"title": "T", "version": "v", "duration_ms": 1,
            "windows": [{"service": "kino", "region": "DE"},
                        {"service": "club", "ends": now - 1},
                        {"service": "club", "starts": now + 3600}]}
    assert api.admin("PUT", "/v1/contents/demo", body).ok
    windows = api.request("GET", "/v1/contents/demo").json()["windows"]
    assert len(windows) == 3
    assert all(window in body["windows"] for window in windows)
    play = {"content": "demo"}
    assert api.play(play | {"region": "DE"}, kino).ok
    for asked, key in [(play, None), (play, kino), (play, club),
                       (play | {"region": "FR"}, kino),
                       (play | {"region": "DE"}, club),
                       (play | {"region": "DE"}, None)]:
        assert "not available" in problem(api.play(asked, key), 403)
    assert api.metrics()["st_api_playbacks_closed_total"] == 6

    campaign = {"name": "Summer", "starts": now - 5, "ends": now + 3600,
                "service": "club", "contents": [{"id": "demo"}]}
    path = "/v1/campaigns/summer"
    assert api.admin("PUT", path, campaign).status_code == 201
    assert api.admin("GET", path).json() == {"id": "summer"} | campaign
    assert api.play(play, club).ok
    assert problem(api.play(play, kino), 403)
    listed = api.admin("GET", "/v1/campaigns").json()
    assert [one["id"] for one in listed["campaigns"]] == ["summer"]
    assert api.admin("DELETE", path).status_code == 204
    assert problem(api.play(play, club), 403)

    api.put("demo")  # says nothing of windows
    assert problem(api.play(play, club), 403)
    assert api.admin("PUT", "/v1/contents/demo", body | {"windows": []}).ok
    assert api.play(play, club).ok and api.play(play).ok

    for wrong, expected in [
            ({"windows": [{"region": "de"}]}, "two capital letters"),
            ({"windows": [{"starts": 5, "ends": 5}]}, "windows[0]: it ends"),
            ({"windows": {}}, "must be a list of 0 to 64"),
            ({"windows": [{"from": 5}]}, 'windows[0]: unknown field "from"')]:
        assert expected in problem(
            api.admin("PUT", "/v1/contents/demo", body | wrong), 400)
    for wrong, expected in [
            ({"ends": now - 5}, "ends before it starts"),
            ({"contents": [{"id": "a"}, {"id": "a"}]}, "is there already"),
            ({"contents": None}, "must be a list of 0 to 1000")]:
        assert expected in problem(api.admin("PUT", path, campaign | wrong),
                                   400)


def test_09_services_are_the_admins(api):
    for method, path, body in [
            ("GET", "/v1/services", None), ("GET", "/v1/services/x", None),
            ("PUT", "/v1/services/x", {"name": "X"}),
            ("DELETE", "/v1/services/x", None),
            ("POST", "/v1/services/x/keys", {}),
            ("DELETE", "/v1/services/x/keys/0123456789abcdef", None)]:
        assert problem(api.request(method, path, body), 401)
        assert problem(api.request(method, path, body, "wrong"), 403)
    for body, expected in [
            ({}, 'field "name" is missing'),
            ({"name": "X", "rate_per_s": 0}, "must be an integer from 1"),
            ({"name": "X", "rate_per_s": 1000001}, "from 1 to 1000000"),
            ({"name": "X", "burst": 5}, 'nothing without "rate_per_s"')]:
        assert expected in problem(api.admin("PUT", "/v1/services/x", body),
                                   400)
    assert problem(api.admin("PUT", "/v1/services/.x", {"name": "X"}), 400)
    assert problem(api.admin("GET", "/v1/services/x"), 404)
    assert problem(api.admin("DELETE", "/v1/services/x/keys/"
                             "0123456789abcdef"), 404)
    assert problem(api.admin("POST", "/v1/services/x/keys",
                             {"expires": -1}), 400)


# ---- the daemon ----

def test_10_the_catalogue_survives_a_crash(own_api):
    api = own_api()
    api.put("kept")
    api.process.kill()
    api.process.wait()
    api = own_api()
    assert api.play({"content": "kept"}).status_code == 201
    assert api.metrics()["st_api_contents"] == 1
    assert api.stop() == 0


def test_11_keys_are_reloaded_together_or_not_at_all(own_api):
    api = own_api()
    api.put("demo")

    def key_used():
        return token_read(token_of(api.play({"content": "demo"}).json()
                                   ["urls"]["hls"]))[1]

    def reload(metric):
        before = api.metrics()[metric]
        api.process.send_signal(signal.SIGHUP)
        wait_until(lambda: api.metrics()[metric] == before + 1, 5, metric)

    assert key_used() == 1
    api.write_keys(2, 1)
    reload("st_api_key_reloads_total")
    assert key_used() == 2

    for bad in ("", "1 nothex\n", "999 " + "0" * 64 + "\n"):
        api.keys.write_text(bad)
        reload("st_api_key_reloads_refused_total")
        assert key_used() == 2
    assert f"refuse {api.keys}:1" in api.log()
    assert "keep the old ones" in api.log()

    # good token keys beside a bad admin key: neither is taken
    api.write_keys(1)
    api.admin_key.write_text("short\n")
    reload("st_api_key_reloads_refused_total")
    assert key_used() == 2
    api.put("still")
    api.admin_key.write_text("another-key-0123456789\n")
    reload("st_api_key_reloads_total")
    assert key_used() == 1
    assert api.request("DELETE", "/v1/contents/still",
                       key=ADMIN_KEY).status_code == 403
    for secret in SECRETS.values():
        assert secret.hex() not in api.log()
    assert ADMIN_KEY not in api.log()


def test_12_a_locked_database_is_told_and_gets_over(sqlite_api):
    api = sqlite_api()
    api.put("demo")
    other = sqlite3.connect(api.folder / "catalogue.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    body = {"title": "T", "version": "v", "duration_ms": 1}
    answer = api.request("PUT", "/v1/contents/x", body, ADMIN_KEY)
    assert problem(answer, 503) and answer.headers["Retry-After"] == "1"
    assert api.play({"content": "demo"}).status_code == 201  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    assert api.put("x").status_code == 201
    assert api.metrics()["st_api_failures_total"] == 1


def test_12_a_database_that_fails_is_told_as_one_that_is_away(sqlite_api):
    api = sqlite_api()
    api.put("demo")
    other = sqlite3.connect(api.folder / "catalogue.db", isolation_level=None)
    other.execute("DROP TABLE plays_asked")
    other.close()
    answer = api.request("POST", "/v1/playbacks", {"content": "demo"},
                         **{"Idempotency-Key": "k"})
    assert "cannot be read" in problem(answer, 503)
    assert answer.headers["Retry-After"] == "1"


def test_12_a_server_that_is_away_is_told_and_gets_over(tmp_path, postgresql):
    api = StApi(tmp_path, database=postgresql.schema("away"))
    try:
        api.put("demo")
        postgresql.stop()
        assert "cannot be read" in problem(api.play({"content": "demo"}), 503)
        assert problem(api.request("GET", "/healthz"), 503)
        assert "st_api_contents" not in api.metrics()
        # what it holds is handed out while it is young: nodes then ask another
        since = time.monotonic()
        assert revoked(api) is None
        wait_until(lambda: api.request("GET", "/v1/revocations").status_code
                   != 204, 15, "an end to it")
        assert time.monotonic() - since > 5
        assert "too old" in problem(api.request("GET", "/v1/revocations"), 503)
        postgresql.start()
        wait_until(lambda: api.request("GET", "/v1/revocations").status_code
                   == 204, 15, "the list")
        # each connection is tried again by itself
        for _ in range(10):
            wait_until(lambda: api.play({"content": "demo"}).status_code
                       == 201, 10, "a play")
        wait_until(lambda: api.request(
            "DELETE", "/v1/contents/demo", key=ADMIN_KEY).status_code == 204,
            10, "a change")
    finally:
        api.stop()


def test_12_two_share_a_catalogue_and_one_may_die(tmp_path, postgresql):
    uri = postgresql.schema("shared")
    for name in "a", "b":
        (tmp_path / name).mkdir()
    one, two = (StApi(tmp_path / name, database=uri) for name in "ab")
    try:
        one.admin("PUT", "/v1/services/kino", {"name": "Kino"})
        key = one.admin("POST", "/v1/services/kino/keys", {}).json()
        one.put("demo")
        wait_until(lambda: two.play({"content": "demo"}, key["key"]).ok, 5,
                   "a key that the other one made")
        path = f"/v1/services/kino/keys/{key['id']}"
        assert one.admin("DELETE", path).status_code == 204
        wait_until(lambda: two.play({"content": "demo"}, key["key"])
                   .status_code == 401, 5, "a key that it removed")
        one.admin("DELETE", "/v1/contents/demo")
        for i in range(10):
            (one, two)[i % 2].put(f"c{i}")
        assert one.metrics()["st_api_contents"] == 10
        seen = [api.request("GET", "/v1/contents").json() for api in (one, two)]
        assert seen[0] == seen[1] and len(seen[0]["contents"]) == 10
        one.process.kill()
        for i in range(10):
            assert two.play({"content": f"c{i}"}).status_code == 201
        assert two.put("c10").status_code == 201
    finally:
        one.stop()
        two.stop()


def test_12_one_of_two_is_killed_under_load(tmp_path, postgresql):
    """Who has a connection to it loses the one request that is on its way;
    what was answered is kept."""
    uri = postgresql.schema("killed")
    for name in "a", "b":
        (tmp_path / name).mkdir()
    one, two = (StApi(tmp_path / name, database=uri) for name in "ab")
    for i in range(20):
        one.put(f"c{i:02d}")
    is_over = threading.Event()

    def client(number):
        """Half of them begin at each; writes are of contents of one's own."""
        urls = [one.url, two.url] if number % 2 else [two.url, one.url]
        session, at, plays, failed = requests.Session(), 0, 0, []
        versions, asked = {}, {}
        while not is_over.is_set():
            write = number >= 12 and plays % 4 == 3
            content = f"w{number}-{plays % 40}" if write \
                else f"c{plays % 20:02d}"
            try:
                if write:
                    asked.setdefault(content, set()).add(f"v{plays}")
                    answer = session.put(
                        f"{urls[at]}/v1/contents/{content}", timeout=10,
                        json={"title": "W", "version": f"v{plays}",
                              "duration_ms": 1000},
                        headers={"Authorization": f"Bearer {ADMIN_KEY}"})
                    assert answer.status_code in (200, 201), answer.text
                    versions[content] = f"v{plays}"
                    asked[content] = set()
                else:
                    answer = session.post(f"{urls[at]}/v1/playbacks",
                                          timeout=10,
                                          json={"content": content})
                    assert answer.status_code == 201, answer.text
                plays += 1
            except requests.ConnectionError:
                failed.append(urls[at])
                at, session = 1 - at, requests.Session()
        return plays, failed, versions, asked

    try:
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            clients = [pool.submit(client, number) for number in range(16)]
            time.sleep(2)
            one.process.kill()
            time.sleep(2)
            is_over.set()
            results = [client.result() for client in clients]
        assert all(plays > 50 for plays, *_ in results)
        # once each, of the eight that were at the one that died
        assert sorted(url for _, failed, *_ in results for url in failed) \
            == [one.url] * 8
        for _, _, versions, asked in results:
            for content, version in versions.items():
                kept = two.request("GET", f"/v1/contents/{content}").json()
                assert kept["version"] in {version} | asked[content]
        assert sum(len(versions) for _, _, versions, _ in results) > 20
    finally:
        is_over.set()
        one.stop()
        two.stop()


def test_12_a_catalogue_of_an_older_program_is_taken_over(sqlite_api,
                                                          tmp_path):
    old = sqlite3.connect(tmp_path / "catalogue.db")
    old.executescript(
        "CREATE TABLE contents(id TEXT PRIMARY KEY NOT NULL, title TEXT NOT "
        "NULL, version TEXT NOT NULL, duration_ms INTEGER NOT NULL, created "
        "INTEGER NOT NULL, updated INTEGER NOT NULL) WITHOUT ROWID;"
        "INSERT INTO contents VALUES('demo', 'T', 'old', 5, 6, 7);"
        "PRAGMA user_version = 1")
    old.close()
    api = sqlite_api()
    assert "/demo/old/" in api.play({"content": "demo"}).json()["urls"]["hls"]
    api.put("demo", version="new")
    versions = api.request("GET", "/v1/contents/demo/versions").json()
    assert [version["version"] for version in versions["versions"]] == [
        "old", "new"]
    assert api.metrics()["st_api_contents"] == 1


def test_13_health_and_metrics(api):
    assert api.request("GET", "/healthz").text == "ok\n"
    api.put("metered")
    before = api.metrics()
    api.play({"content": "metered"})
    api.play({"content": "not-there"})
    api.play({})
    after = api.metrics()
    for name in ("playbacks_total", "playbacks_unknown_total",
                 "requests_invalid_total"):
        assert after["st_api_" + name] == before["st_api_" + name] + 1
    text = api.request("GET", "/metrics").text
    for name in after:
        assert f"# HELP {name} " in text and f"# TYPE {name} " in text


def test_14_a_bad_start_says_why(tmp_path):
    keys, admin = tmp_path / "keys", tmp_path / "admin"
    keys.write_text(f"1 {SECRETS[1].hex()}\n")
    admin.write_text(ADMIN_KEY)
    (tmp_path / "junk").write_text("this is no database\n" * 100)

    def start(**changed):
        options = {"listen": "127.0.0.1:0", "database": tmp_path / "db",
                   "keys": keys, "admin-key": admin,
                   "playback-url": "http://127.0.0.1:1"} | changed
        return subprocess.run(
            [ST_API, *(f"--{name}={value}" for name, value
                       in options.items() if value is not None)],
            capture_output=True, text=True, timeout=10)

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for changed, status, expected in [
                ({"listen": address}, 1, address.split(":")[1]),
                ({"keys": tmp_path / "none"}, 1, "none"),
                ({"admin-key": tmp_path / "none"}, 1, "none"),
                ({"database": tmp_path / "no" / "db"}, 1, "no/db"),
                ({"database": tmp_path / "junk"}, 1, "not a database"),
                ({"database": "postgresql://u:secret@127.0.0.1:1/db"}, 1,
                 "postgresql://127.0.0.1:1/db: connect failed"),
                ({"playback-url": "play.example"}, 2, "--playback-url"),
                ({"playback-url": None}, 2, "playback-url"),
                ({"token-ttl": "soon"}, 2, "token-ttl"),
                ({"token-form": "paseto"}, 2, "token-form"),
                ({"token-network": "24"}, 2, "token-network"),
                ({"token-network": "33/64"}, 2, "token-network"),
                ({"token-form": "jwt", "token-network": "24/64"}, 1,
                 "needs jwe=")]:
            done = start(**changed)
            assert done.returncode == status, (changed, done)
            assert expected in done.stderr, (changed, done)
            assert "secret" not in done.stderr


@pytest.mark.parametrize("option", ["--help", "--man", "--sample"])
def test_15_every_option_is_explained(option):
    done = subprocess.run([ST_API, option], capture_output=True, text=True)
    assert done.returncode == 0
    for name in ("listen", "database", "keys", "playback-url", "token-ttl",
                 "token-form", "token-network", "admin-key"):
        assert name in done.stdout.replace("\\-", "-")


def test_16_a_bound_play_needs_to_know_its_viewer(own_api):
    api = own_api("--token-network", "24/64")
    api.put("demo")

    def bits(answer):
        assert answer.status_code == 201, answer.text
        token = re.search(r"/p/([\w-]{44})/", answer.json()["urls"]["hls"])[1]
        return tuple(base64.urlsafe_b64decode(token)[14:17])
    assert "\"address\" is missing" in problem(api.play({"content": "demo"}),
                                               400)
    assert bits(api.play({"content": "demo", "address": "192.0.2.1"})) \
        == (4, 24, 0)
    # by the nginx before it, unless the caller knows better
    body = {"content": "demo"}
    assert bits(api.request("POST", "/v1/playbacks", body, **{
        "X-Real-IP": "2001:db8::1"})) == (6, 64, 0)
    assert bits(api.request("POST", "/v1/playbacks", {
        **body, "address": "192.0.2.1"}, **{
            "X-Real-IP": "2001:db8::1"})) == (4, 24, 0)


def test_17_keys_of_which_none_signs_are_refused(own_api):
    api = own_api()
    api.put("demo")
    api.keys.write_text("9 es256 MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQ"
                        "kf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54"
                        "WK84zV2sxXs7LtkBoN79R9Q==\n")
    api.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "none of its keys signs" in api.log(), 5, "the refusal")
    assert api.play({"content": "demo"}).status_code == 201
