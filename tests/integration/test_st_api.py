# SPDX-License-Identifier: Apache-2.0
"""st-api alone: plays get signed URLs, the catalogue is kept, and whatever is
sent to it gets an answer that says what is wrong."""

import base64
import hashlib
import hmac
import json
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import time

import pytest
import requests

from conftest import BUILD, wait_until

ST_API = BUILD / "programs" / "st-api" / "st-api"
ADMIN_KEY = "admin-key-0123456789"
SECRETS = {1: bytes(range(32)), 2: bytes(range(32, 64))}


class StApi:
    def __init__(self, folder, *options):
        self.folder = folder
        self.keys, self.admin_key = folder / "keys", folder / "admin.key"
        self.log_path = folder / "log"
        if not self.keys.exists():
            self.write_keys(1)
            self.admin_key.write_text(ADMIN_KEY + "\n")
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [ST_API, "--listen", "127.0.0.1:0", "--database",
                 folder / "catalogue.db", "--keys", self.keys,
                 "--playback-url", "http://play.example:8080/", "--admin-key",
                 self.admin_key, *options],
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

    def play(self, body):
        return self.request("POST", "/v1/playbacks", body)

    def metrics(self):
        lines = self.request("GET", "/metrics").text.splitlines()
        return {line.split()[0]: int(line.split()[1])
                for line in lines if not line.startswith("#")}

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(10)


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    one = StApi(tmp_path_factory.mktemp("st-api"))
    yield one
    one.stop()


@pytest.fixture
def own_api(tmp_path):
    """One that a test may stop, reload and start again."""
    started = []

    def start(*options):
        started.append(StApi(tmp_path, *options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


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
    (b'{"content": "demo", "device": "tv"}', 'unknown field "device"'),
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
     "a content id is"),
    (".x", {"title": "T", "version": "v", "duration_ms": 1},
     "a content id is"),
    ("x" * 65, {"title": "T", "version": "v", "duration_ms": 1},
     "a content id is"),
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


def test_12_a_locked_database_is_told_and_gets_over(own_api):
    api = own_api()
    api.put("demo")
    other = sqlite3.connect(api.folder / "catalogue.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    body = {"title": "T", "version": "v", "duration_ms": 1}
    answer = api.request("PUT", "/v1/contents/x", body, ADMIN_KEY)
    assert problem(answer, 503)
    assert api.play({"content": "demo"}).status_code == 201  # reading goes on
    other.execute("ROLLBACK")
    other.close()
    assert api.put("x").status_code == 201
    assert api.metrics()["st_api_failures_total"] == 1


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
