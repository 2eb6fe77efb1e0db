# SPDX-License-Identifier: Apache-2.0
"""vodst collect: the files of versions that nobody plays any more go, those of
all others stay, and whatever happens on the way, the next run ends it."""

import base64
import ctypes
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import threading
import time

import pytest
import requests

from conftest import ROOT, VODST, film_make, vodst, wait_until
from nginx_instance import NginxInstance
from ports import free_port
from relay import Relay
from s3_store import ACCESS_KEY, SECRET_KEY, S3Store
from stand_in import StandIn
from test_st_api import StApi, retired_of

FILES = ["a0.idx", "a0.mp4", "v0.idx", "v0.mp4", "asset.idx"]


class Folder:
    """Storage that is a folder; {"CONTENT/VERSION/FILE": bytes} is in it."""

    def __init__(self, root):
        self.root, self.options = root, [f"--storage={root}"]
        root.mkdir(parents=True, exist_ok=True)

    def put(self, name):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)

    def names(self):
        return {str(path.relative_to(self.root))
                for path in self.root.rglob("*") if path.is_file()}

    def folders(self):
        return {str(path.relative_to(self.root))
                for path in self.root.rglob("*") if path.is_dir()}

    def stop(self):
        pass


class Http(Folder):
    """The storage tier's nginx, as it is deployed."""

    def __init__(self, folder):
        super().__init__(folder / "www/media")
        text = (ROOT / "deploy/nginx/storage.conf.in").read_text()
        text = text[text.index('map "$request_method'):
                    text.index("@include health.inc@")] + "}"
        password = hashlib.sha1(b"pass word").digest()
        (folder / "passwords").write_text(
            "ingest:{SHA}" + base64.b64encode(password).decode() + "\n")
        (folder / "password").write_text("pass word\n")
        self.port = free_port()
        for name, value in {"fill_secret": "fill-secret",
                            "listen": f"127.0.0.1:{self.port}",
                            "storage_root": folder / "www",
                            "storage_htpasswd": folder / "passwords"}.items():
            text = text.replace(f"@{name}@", str(value))
        self.folder = folder
        self.nginx = NginxInstance(folder / "nginx", text, self.port)
        self.at(f"http://127.0.0.1:{self.port}")

    def at(self, url):
        self.options = [f"--storage={url}/media/", "--storage-user=ingest",
                        f"--storage-password-file={self.folder}/password"]

    def stop(self):
        self.nginx.stop()


class Bucket:
    def __init__(self, folder, store):
        self.store, self.folder, self.port = store, folder, store.port
        (folder / "credentials").write_text(
            f"aws_access_key_id = {ACCESS_KEY}\n"
            f"aws_secret_access_key = {SECRET_KEY}\n")
        self.at(store.url)

    def at(self, url):
        self.options = ["--storage=s3://films/vod", f"--s3-endpoint={url}",
                        f"--s3-credentials-file={self.folder}/credentials"]

    def put(self, name):
        assert self.store.request("PUT", f"/films/vod/{name}",
                                  body=name.encode()).ok

    def names(self):
        return {name.removeprefix("vod/")
                for name in self.store.objects(prefix="vod/")}

    def stop(self):
        self.store.clear()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    one = S3Store(tmp_path_factory.mktemp("s3") / "s3", "films")
    yield one
    one.stop()


@pytest.fixture
def storage(request, tmp_path):
    kind = getattr(request, "param", "folder")
    one = (Folder(tmp_path / "storage") if kind == "folder"
           else Http(tmp_path) if kind == "http"
           else Bucket(tmp_path, request.getfixturevalue("store")))
    yield one
    one.stop()


def each(*kinds):
    return pytest.mark.parametrize("storage", kinds, indirect=True)


@pytest.fixture
def api(tmp_path):
    (tmp_path / "api").mkdir()
    one = StApi(tmp_path / "api", "--token-ttl=1s")
    yield one
    one.stop()


class Stand:
    def __init__(self, api, storage, folder):
        self.api, self.storage, self.url = api, storage, api.url
        self.folder = folder

    def put(self, content, *versions, files=FILES):
        """Each replaces the one before."""
        for version in versions:
            for name in files:
                self.storage.put(f"{content}/{version}/{name}")
            self.api.put(content, version=version, duration_ms=5)

    def command(self, *more):
        return ["collect", *self.storage.options, f"--api={self.url}",
                f"--api-key-file={self.api.admin_key}", *more]

    def collect(self, *more, status=0, **options):
        done = vodst(*self.command(*more), **options)
        assert done.returncode == status, done.stdout + done.stderr
        assert SECRET_KEY not in done.stderr and "pass word" not in done.stderr
        return done

    def start(self, *more):
        return subprocess.Popen([VODST, *map(str, self.command(*more))],
                                stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)

    def retired(self):
        answer = self.api.admin("GET", "/v1/retired-versions").json()
        return sorted(f"{one['content']}/{one['version']}"
                      for one in answer["versions"])

    def wait_retired(self, *names):
        wait_until(lambda: self.retired() == sorted(names), 10,
                   "their last tokens")

    def is_left(self, *versions, files=FILES):
        """These are there whole, and nothing else is."""
        assert self.storage.names() == {f"{version}/{name}"
                                        for version in versions
                                        for name in files}


@pytest.fixture
def stand(api, storage, tmp_path):
    return Stand(api, storage, tmp_path)


@pytest.fixture
def relay():
    """Makes relays, which end with the test."""
    made = []

    def make(port, sent=None):
        made.append(Relay(port, sent))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def port_of(url):
    return int(url.rpartition(":")[2])


ASKED = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.1\r\n")


def events(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


# ---- what goes and what stays ----

@each("folder", "http", "s3")
def test_01_what_nobody_plays_goes_and_the_rest_stays(stand):
    many = FILES[:-1] + [f"t{i}.text" for i in range(25)] + FILES[-1:]
    stand.put("demo", "one", files=many)
    stand.put("demo", "two")
    stand.put("demo-2", "one")  # of a name that begins so, too
    stand.put("gone", "x")
    stand.storage.put("demo/one2/asset.idx")  # an ingest is at it
    assert stand.api.admin("DELETE", "/v1/contents/gone").ok
    stand.wait_retired("demo/one", "gone/x")
    before = stand.storage.names()

    shown = stand.collect("--dry-run").stdout
    assert re.search(r"^demo/one, retired \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
                     shown, re.M) and "gone/x, " in shown
    assert "2 versions would be taken away" in shown
    dry = events(stand.collect("--dry-run", "--json"))
    assert [one["event"] for one in dry] == [
        "step", "would_collect", "would_collect", "step_done", "done"]
    assert stand.storage.names() == before
    assert retired_of(stand.api) == {"one": False, "x": False}

    done = stand.collect("--json")
    told = events(done)
    assert [(one["content"], one["version"]) for one in told
            if one["event"] == "collected"] in (
        [("demo", "one"), ("gone", "x")], [("gone", "x"), ("demo", "one")])
    assert told[-1] == {"event": "done", "dry_run": False, "collected": 2,
                        "skipped": 0, "failed": 0}
    assert stand.storage.names() == {
        f"{one}/{name}" for one in ("demo/two", "demo-2/one")
        for name in FILES} | {"demo/one2/asset.idx"}
    assert stand.retired() == []
    assert stand.api.request(
        "GET", "/v1/contents/demo/versions/one").status_code == 404
    assert stand.api.request("GET", "/v1/contents/gone/versions") \
        .status_code == 404
    if type(stand.storage) is Folder:
        assert "gone" not in stand.storage.folders()

    again = stand.collect()
    assert again.stdout == "0 versions were taken away, 0 stay, 0 failed\n"


@each("folder", "http", "s3")
def test_02_what_is_not_there_is_forgotten_where_one_says_so(stand):
    stand.put("demo", "one", "two")
    stand.put("none", "one", "two", files=[])
    stand.wait_retired("demo/one", "none/one")
    done = stand.collect("--forget-missing")
    assert "of none/one nothing was in" in done.stderr
    assert "demo/one nothing" not in done.stderr
    assert "2 versions were taken away" in done.stdout
    stand.is_left("demo/two")
    assert stand.retired() == []


def test_03_tokens_that_are_good_keep_the_files(stand):
    stand.put("demo", "one")
    play = stand.api.play({"content": "demo"}).json()
    stand.put("demo", "two")
    assert "0 versions" in stand.collect().stdout  # at once
    assert time.time() <= play["expires"] + 1
    stand.is_left("demo/one", "demo/two")
    stand.wait_retired("demo/one")
    assert time.time() > play["expires"]
    stand.collect()
    stand.is_left("demo/two")


def test_04_more_than_st_api_lists_at_a_time(stand):
    database = sqlite3.connect(stand.api.folder / "catalogue.db", timeout=10)
    with database:
        database.executemany(
            "INSERT INTO versions(content, version, duration_ms, created,"
            " retired) VALUES('old', ?, 1, 1, 1)",
            [(f"v{i}",) for i in range(1100)])
    database.close()
    stand.storage.put("old/v1099/asset.idx")
    assert len(stand.retired()) == 1000
    done = stand.collect("--json", "--forget-missing")
    assert events(done)[-1]["collected"] == 1100
    assert stand.retired() == []
    stand.is_left()


def test_04_a_thousand_that_fail_do_not_stop_those_behind_them(stand):
    database = sqlite3.connect(stand.api.folder / "catalogue.db", timeout=10)
    with database:
        database.executemany(
            "INSERT INTO versions(content, version, duration_ms, created,"
            " retired) VALUES(?, ?, 1, 1, ?)",
            [("old", f"v{i:04}", 1) for i in range(1000)]
            + [("old", "v9999", 1), ("fine", "one", 2), ("late", "one", 2)])
    database.close()
    for name in "old/v9999", "fine/one", "late/one":
        stand.storage.put(f"{name}/asset.idx")
    shown = stand.collect("--dry-run").stdout
    assert "1003 versions would be taken away" in shown
    done = stand.collect("--json", status=1)
    assert events(done)[-1] == {"event": "done", "dry_run": False,
                                "collected": 3, "skipped": 0, "failed": 1000}
    assert stand.retired() == [f"old/v{i:04}" for i in range(1000)]
    stand.is_left()


# ---- what happens meanwhile ----

@each("folder", "http", "s3")
def test_11_a_version_that_is_played_again_stays(stand, relay):
    stand.put("demo", "one", "two")
    stand.put("other", "one", "two")
    stand.wait_retired("demo/one", "other/one")

    def sent(data, total):
        if b"/demo/versions/one/collect" in data:
            stand.api.put("demo", version="one", duration_ms=5)
        return data

    stand.url = relay(port_of(stand.api.url), sent).url
    done = stand.collect()
    assert "demo/one stays (409: version \"one\" is played" in done.stderr
    assert "1 versions were taken away, 1 stay, 0 failed" in done.stdout
    stand.is_left("demo/one", "demo/two", "other/two")
    assert stand.api.request("GET", "/v1/contents/demo").json()["version"] \
        == "one"


@each("folder", "http", "s3")
def test_12_killed_at_any_moment_the_next_run_ends_it(stand, relay):
    """Before the n-th request reaches whom it is for, or as it does."""
    # a run that is killed later ends several, and there is one for the last
    contents = [f"c{i}" for i in range(45)]
    for content in contents:
        stand.put(content, "one", "two")
    stand.wait_retired(*(f"{content}/one" for content in contents))
    left, is_done, lock = [0], [False], threading.Lock()
    running = [None]

    def sent(data, total):
        with lock:
            for _ in ASKED.findall(data):
                left[0] -= 1
                if left[0] == 0:
                    running[0].kill()
                    running[0].wait()
                    return data if is_done[0] else None
        return data

    stand.url = relay(port_of(stand.api.url), sent).url
    direct = list(stand.storage.options)
    if hasattr(stand.storage, "port"):
        stand.storage.at(relay(stand.storage.port, sent).url)
    kills = 0
    for moment in range(1, 11):
        for done in False, True:
            with lock:
                left[0], is_done[0] = moment, done
                running[0] = stand.start()
            running[0].communicate(timeout=60)
            kills += running[0].returncode == -signal.SIGKILL
            with lock:
                left[0] = 0
            time.sleep(0.1 if done else 0)  # what was asked last is done
            known, names = stand.retired(), stand.storage.names()
            for content in contents:
                assert {f"{content}/two/{name}" for name in FILES} <= names
                if f"{content}/one" not in known:
                    assert not any(name.startswith(f"{content}/one/")
                                   for name in names)
                elif f"{content}/one/asset.idx" not in names:
                    # what is not whole cannot be played again
                    path = f"/v1/contents/{content}"
                    assert stand.api.admin("PUT", path, {
                        "title": "T", "version": "one", "duration_ms": 5}) \
                        .status_code == 409
    assert kills == 20
    stand.url, stand.storage.options = stand.api.url, direct
    stand.collect()
    stand.is_left(*(f"{content}/two" for content in contents))
    assert stand.retired() == []


@each("http", "s3")
def test_13_a_storage_that_is_away_is_waited_for(stand, relay):
    stand.put("demo", "one", "two")
    stand.put("other", "one", "two")
    stand.wait_retired("demo/one", "other/one")
    down = [True]

    def sent(data, total):
        return None if down[0] and b"DELETE " in data else data

    stand.storage.at(relay(stand.storage.port, sent).url)
    started = time.monotonic()
    done = stand.collect("--patience=2s", status=75)
    assert time.monotonic() - started < 15
    # one has waited for all
    assert done.stderr.count("waiting for") == 2
    assert done.stderr.count("vodst collect: storage does not answer") == 2
    assert "0 versions were taken away, 0 stay, 2 failed" in done.stdout
    assert retired_of(stand.api) == {"one": True}
    assert stand.api.admin("PUT", "/v1/contents/demo", {
        "title": "T", "version": "one", "duration_ms": 5}).status_code == 409
    stand.is_left("demo/one", "demo/two", "other/one", "other/two")

    # and comes back while it is waited for
    threading.Timer(1, lambda: down.__setitem__(0, False)).start()
    done = stand.collect("--patience=20s")
    assert "waiting for" in done.stderr
    stand.is_left("demo/two", "other/two")


def test_13_an_st_api_that_is_away_is_told(stand):
    stand.put("demo", "one", "two")
    stand.url = f"http://127.0.0.1:{free_port()}"
    done = stand.collect("--patience=1s", status=75)
    assert "vodst collect: st-api does not answer at" in done.stderr
    stand.url = stand.api.url
    wrong = stand.folder / "wrong.key"
    wrong.write_text("wrong-key-0123456789\n")
    done = stand.collect(f"--api-key-file={wrong}", status=1)
    assert "st-api refuses the list of retired versions (403" in done.stderr
    stand.is_left("demo/one", "demo/two")


def test_14_one_that_fails_does_not_stop_the_others(stand):
    """A storage that refuses one content, and does not do half of another."""
    asked = []

    def answer(request):
        asked.append((request.command, request.path))
        if request.command == "HEAD":
            return 403, {}, b""
        if "/locked/" in request.path:
            return 403, {}, b""
        if request.path == "/media/half/one/":
            return 207, {}, b"<multistatus/>"
        return 204, {}, b""

    for content in "locked", "half", "fine":
        stand.put(content, "one", "two", files=[])
    stand.wait_retired("locked/one", "half/one", "fine/one")
    with StandIn(answer) as server:
        stand.storage.options = [f"--storage={server.url}/media"]
        done = stand.collect("--json", status=1)
    assert events(done)[-1] == {"event": "done", "dry_run": False,
                                "collected": 1, "skipped": 0, "failed": 2}
    assert "storage refuses to take away" in done.stderr
    assert "/media/locked/one/asset.idx (403: not allowed)" in done.stderr
    assert "/media/half/one/ (HTTP status 207)" in done.stderr
    assert stand.retired() == ["half/one", "locked/one"]
    # what makes it readable goes first
    for content in "half", "fine":
        deleted = [path for method, path in asked if method == "DELETE"
                   and f"/{content}/" in path]
        assert deleted == [f"/media/{content}/one/asset.idx",
                           f"/media/{content}/one/"]


def test_15_a_signal_ends_it_between_two_requests(stand, relay):
    stand.put("demo", "one", "two")
    stand.wait_retired("demo/one")
    held, go_on = threading.Event(), threading.Event()

    def sent(data, total):
        if b"/collect " in data:
            held.set()
            go_on.wait(20)
        return data

    stand.url = relay(port_of(stand.api.url), sent).url
    one = stand.start()
    assert held.wait(20)
    one.send_signal(signal.SIGTERM)
    said = one.communicate(timeout=20)[1]
    go_on.set()
    assert one.returncode == 128 + signal.SIGTERM and "interrupted" in said
    stand.url = stand.api.url
    stand.collect()
    stand.is_left("demo/two")


def test_14_a_store_without_collections_keeps_a_version_on_the_list(stand):
    """Where files have paths, and a folder is nothing by itself."""
    has = {f"/media/demo/one/{name}" for name in FILES}

    def answer(request):
        if request.command == "PUT":
            request.body()
            has.add(request.path)
            return 201, {}, b""
        if request.path not in has:
            return 404, {}, b""
        if request.command == "DELETE":
            has.remove(request.path)
        return 204, {}, b""

    stand.put("demo", "one", "two", files=[])
    stand.wait_retired("demo/one")
    with StandIn(answer) as server:
        stand.storage.options = [f"--storage={server.url}/media"]
        for _ in range(2):  # another run does not take it as gone either
            done = stand.collect(status=1)
            assert "/media/demo/one/ (404): DELETE of collections is needed" \
                in done.stderr
            assert retired_of(stand.api) == {"one": True}
            assert "/media/demo/one/v0.mp4" in has


def test_14_a_folder_that_went_before_its_answer_came_is_ended_next(
        stand, tmp_path, relay):
    storage = stand.storage = Http(tmp_path / "http")
    stand.put("demo", "one", "two")
    stand.wait_retired("demo/one")

    def sent(data, total):
        if b"DELETE /media/demo/one/ " in data:
            shutil.rmtree(storage.root / "demo/one")
        return data

    direct = list(storage.options)
    try:
        storage.at(relay(storage.port, sent).url)
        stand.collect(status=1)
        storage.options = direct
        assert retired_of(stand.api) == {"one": True}
        stand.collect()
        stand.is_left("demo/two")
    finally:
        storage.stop()


def deleted_in(folder, action):
    """Names in the order in which they went from it (inotify(7))."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(fd, bytes(folder), 0x200) > 0  # IN_DELETE
    action()
    data, names = os.read(fd, 65536), []
    os.close(fd)
    while data:
        size, = struct.unpack_from("I", data, 12)
        names.append(data[16:16 + size].rstrip(b"\0").decode())
        data = data[16 + size:]
    return [name for name in names if name]


def test_16_what_makes_a_version_readable_goes_first(stand):
    many = [f"t{i}.text" for i in range(40)] + FILES
    stand.put("demo", "one", files=many)
    stand.put("demo", "two")
    stand.wait_retired("demo/one")
    gone = deleted_in(stand.storage.root / "demo/one", stand.collect)
    assert gone[0] == "asset.idx" and sorted(gone) == sorted(many)


def test_17_what_is_forgotten_does_not_come_back_after_a_power_cut(stand):
    """The folder that had what went is on the disk before st-api is told: of
    a content of which nothing is left, that of all contents."""
    stand.put("demo", "one", "two")
    stand.put("gone", "x")
    assert stand.api.admin("DELETE", "/v1/contents/gone").ok
    stand.wait_retired("demo/one", "gone/x")
    trace = stand.folder / "trace"
    subprocess.run(["strace", "-f", "-y", "-o", trace, "-e",
                    "trace=unlink,rmdir,unlinkat,fsync,sendto,write,writev",
                    VODST, *map(str, stand.command())],
                   check=True, timeout=60, capture_output=True)
    for content, left in ("demo", f"{stand.storage.root}/demo"), \
            ("gone", f"{stand.storage.root}"):
        _, gone, after = trace.read_text().partition(
            f'DELETE /v1/contents/{content}/')[0].rpartition(
            f'{content}"' if content == "gone" else "asset.idx")
        assert gone and re.search(rf"fsync\(\d+<{re.escape(left)}/?>\) += 0",
                                  after), after


# ---- what is wrong ----

def test_21_a_storage_that_cannot_be_the_right_one_is_refused(stand):
    stand.put("demo", "one", "two")
    stand.wait_retired("demo/one")
    where = stand.folder / "elsewhere"
    stand.storage.options = [f"--storage={where}"]
    done = stand.collect(status=1)
    assert "cannot find the storage folder" in done.stderr \
        and "--storage" in done.stderr
    assert not where.exists()
    assert retired_of(stand.api) == {"one": False}
    right, stand.storage.options = stand.storage.options, []
    assert "--storage" in stand.collect(status=2).stderr
    stand.storage.options = right
    for more, said in [("--patience=x", "--patience"),
                       ("x", "expected 0"), ("--colour=red", "--colour")]:
        assert said in stand.collect(more, status=2).stderr


@each("folder", "http", "s3")
def test_21_a_wrong_storage_loses_no_version(stand):
    """However often it is tried: a timer would."""
    stand.put("demo", "one", "two")
    stand.put("other", "one", "two")
    stand.wait_retired("demo/one", "other/one")
    right = stand.storage.options
    wrong = str(right[0]) + ("/" * (right[0][-1] != "/")) + "elsewhere"
    if type(stand.storage) is Folder:
        (stand.storage.root / "elsewhere").mkdir()
    for _ in range(3):
        stand.storage.options = [wrong, *right[1:]]
        done = stand.collect(status=1)
        assert "0 versions were taken away, 0 stay, 2 failed" in done.stdout
        for name in "demo/one", "other/one":
            assert f"of {name} nothing was in" in done.stderr
        assert "--storage" in done.stderr and "--forget-missing" in done.stderr
        assert stand.retired() == ["demo/one", "other/one"]
        assert retired_of(stand.api) == {"one": False}
    stand.is_left("demo/one", "demo/two", "other/one", "other/two")
    stand.storage.options = right
    assert "2 versions were taken away" in stand.collect().stdout
    stand.is_left("demo/two", "other/two")


@pytest.mark.parametrize("listed", [
    b"nothing", b"[]", b'{"versions":{}}', b'{"versions":[{}]}',
    b'{"versions":[{"content":"..","version":"one"}]}',
    b'{"versions":[{"content":"demo","version":"../../other"}]}',
    b'{"versions":[{"content":"demo","version":""}]}',
    b'{"versions":[{"content":"demo","version":7}]}',
    b'{"versions":[],"next":"1/a/b&x"}'])
def test_22_what_is_no_list_changes_nothing(stand, listed):
    stand.put("demo", "one", "two")
    asked = []

    def answer(request):
        asked.append(request.command)
        return 200, {}, listed

    with StandIn(answer) as server:
        stand.url = server.url
        done = stand.collect(status=1)
    assert "is that st-api?" in done.stderr and asked == ["GET"]
    stand.is_left("demo/one", "demo/two")


@each("s3")
def test_23_what_no_ingest_put_there_is_left_to_people(stand):
    stand.put("demo", "one", "two")
    stand.put("other", "one", "two")
    stand.storage.put("demo/one/notes/today.txt")
    stand.wait_retired("demo/one", "other/one")
    done = stand.collect(status=1)
    assert '"vod/demo/one/notes/today.txt" under s3://films/vod/demo/one/' \
        in done.stderr and "by hand" in done.stderr
    assert stand.retired() == ["demo/one"]
    names = stand.storage.names()
    assert "demo/one/notes/today.txt" in names
    assert "demo/one/asset.idx" not in names and "other/one/a0.mp4" not in names
    stand.storage.store.request("DELETE",
                                "/films/vod/demo/one/notes/today.txt")
    stand.collect()
    stand.is_left("demo/two", "other/two")


@pytest.mark.parametrize("listed", [
    "vod/other/two/asset.idx", "vod/demo/one/../two/asset.idx",
    "vod/demo/one/?x", "vod/demo/one", "", "vod/demo/one/%2e%2e/x"])
def test_24_a_store_that_lists_what_was_not_asked_for_deletes_nothing(
        stand, listed):
    stand.put("demo", "one", "two", files=[])
    stand.wait_retired("demo/one")
    asked = []

    def answer(request):
        asked.append((request.command, request.path))
        if request.command == "DELETE":
            return 204, {}, b""
        return 200, {}, ("<ListBucketResult><Contents><Key>" + listed
                         + "</Key></Contents></ListBucketResult>").encode()

    (stand.folder / "credentials").write_text(
        "aws_access_key_id = a\naws_secret_access_key = b\n")
    with StandIn(answer) as server:
        stand.storage.options = [
            "--storage=s3://films/vod", f"--s3-endpoint={server.url}",
            f"--s3-credentials-file={stand.folder}/credentials"]
        done = stand.collect(status=1)
    assert "which no ingest put there" in done.stderr
    assert [path for method, path in asked if method == "DELETE"] == [
        "/films/vod/demo/one/asset.idx"]


def test_25_a_store_that_lists_what_is_gone_is_asked_again(stand):
    stand.put("demo", "one", "two", files=[])
    stand.wait_retired("demo/one")
    late = [3]

    def answer(request):
        if request.command == "DELETE":
            return 204, {}, b""
        is_there = "max-keys=10" in request.path and late[0] > 0
        late[0] -= is_there
        return 200, {}, ("<ListBucketResult>" + is_there * (
            "<Contents><Key>vod/demo/one/v0.mp4</Key></Contents>")
            + "</ListBucketResult>").encode()

    (stand.folder / "credentials").write_text(
        "aws_access_key_id = a\naws_secret_access_key = b\n")
    with StandIn(answer) as server:
        stand.storage.options = [
            "--storage=s3://films/vod", f"--s3-endpoint={server.url}",
            f"--s3-credentials-file={stand.folder}/credentials"]
        late[0] = 10**6
        done = stand.collect("--patience=1s", status=75)
        assert "still lists \"vod/demo/one/v0.mp4\"" in done.stderr
        late[0] = 3
        stand.collect("--patience=10s")
    assert stand.retired() == []


# ---- against an ingest of the same version ----

class Ingest:
    def __init__(self, stand, film):
        self.stand, self.film = stand, film

    def command(self, *more):
        stand = self.stand
        return ["ingest", self.film, "--copy", "--no-thumbnails", "--id",
                "demo", *stand.storage.options, f"--api={stand.url}",
                f"--api-key-file={stand.api.admin_key}", "--temp",
                stand.folder, "--json", *more]

    def run(self, *more, status=0):
        done = vodst(*self.command(*more))
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1]).get("version"), \
            done.stderr

    def start(self, *more):
        return subprocess.Popen([VODST, *map(str, self.command(*more))],
                                stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return film_make(tmp_path_factory.mktemp("film") / "film.mp4", 2,
                     "160x90", 24)


@pytest.fixture
def ingest(stand, film):
    return Ingest(stand, film)


def is_whole(stand, names, version):
    """As it was first stored, and playable."""
    assert {name for name in stand.storage.names()
            if name.startswith(f"demo/{version}/")} == names
    assert stand.api.request("GET", "/v1/contents/demo").json()["version"] \
        == version


@each("folder", "http", "s3")
def test_31_what_is_stored_again_is_not_taken_away(stand, ingest):
    version, _ = ingest.run()
    names = stand.storage.names()
    stand.put("demo", "two")
    stand.wait_retired(f"demo/{version}")
    # begun, and left so: an ingest waits until somebody ends it
    path = f"/v1/contents/demo/versions/{version}/collect"
    assert stand.api.admin("POST", path).status_code == 204
    first, = [name for name in names if name.endswith("/asset.idx")]
    if isinstance(stand.storage, Folder):
        (stand.storage.root / first).unlink()
    one = ingest.start("--patience=60s")
    said = []
    for line in one.stdout:
        said.append(line)
        if "being taken away" in line:
            break
    assert one.poll() is None
    assert "1 versions were taken away" in stand.collect().stdout
    rest = one.communicate(timeout=60)
    assert one.returncode == 0, rest
    is_whole(stand, names, version)
    # and it is not there for ever to wait
    stand.put("demo", "two")
    stand.wait_retired(f"demo/{version}")
    assert stand.api.admin("POST", path).status_code == 204
    _, said = ingest.run("--patience=1s", status=1)
    assert "is still being taken away: let `vodst collect` end that" in said
    stand.collect()
    ingest.run()
    is_whole(stand, names, version)


def test_32_an_ingest_keeps_what_it_is_about_to_store(stand, ingest, relay):
    """A collection that begins between an ingest's storing and publishing."""
    version, _ = ingest.run()
    names = stand.storage.names()
    stand.put("demo", "two")
    stand.wait_retired(f"demo/{version}")
    keeps, tried = [0], []

    def sent(data, total):
        if b"/keep " in data:
            keeps[0] += 1
        if b"PUT /v1/contents/demo " in data:
            tried.append(stand.collect())
        return data

    stand.url = relay(port_of(stand.api.url), sent).url
    one = ingest.start()
    rest = one.communicate(timeout=60)
    assert one.returncode == 0 and keeps[0] == 2, rest
    assert "0 versions were taken away" in tried[0].stdout
    is_whole(stand, names, version)


def test_33_one_that_stores_for_longer_than_tokens_are_good(stand, ingest,
                                                            relay):
    version, _ = ingest.run()
    names = stand.storage.names()
    stand.put("demo", "two")
    stand.wait_retired(f"demo/{version}")
    keeps = [0]

    def sent(data, total):
        if b"/keep " in data:
            keeps[0] += 1
            if keeps[0] == 2:  # it has stored, and is slow
                stand.url = stand.api.url
                stand.wait_retired(f"demo/{version}")
                stand.collect()
        return data

    stand.url = relay(port_of(stand.api.url), sent).url
    _, said = ingest.run(status=1)
    assert "was taken away while it was stored: run the same command again" \
        in said
    assert stand.api.request("GET", "/v1/contents/demo").json()["version"] \
        == "two"
    stand.is_left("demo/two")
    ingest.run()
    is_whole(stand, names, version)


def test_34_an_ingest_begins_where_the_contents_folder_just_went(
        stand, ingest):
    """It has opened the folder, and waits for the lock that a collection has
    which takes the folder away, as the last version in it went."""
    content = stand.storage.root / "demo"
    content.mkdir()
    held = os.open(content, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    one = ingest.start()
    fds = pathlib.Path(f"/proc/{one.pid}/fd")

    def has_opened():
        return any(os.path.realpath(fd) == str(content)
                   for fd in fds.iterdir())

    wait_until(has_opened, 20, "an ingest that waits")
    time.sleep(0.2)
    content.rmdir()
    os.close(held)
    rest = one.communicate(timeout=60)
    assert one.returncode == 0, rest
    assert len(stand.storage.names()) > 4


# ---- on a platform ----

def test_41_a_state_folder_says_where(start_platform, film):
    """Its own storage, whose files go while the version that is played is
    asked for."""
    platform = start_platform("--origins", "1")
    copied = "--copy", "--no-thumbnails"
    platform.ingest(film, "demo", *copied)
    platform.ingest(film, "demo", *copied, "--segment", "1s")
    root = platform.folder / "storage/media/demo"
    assert len(list(root.iterdir())) == 2
    before = vodst("collect", "--dir", platform.folder)
    assert before.returncode == 0, before.stderr
    assert "0 versions were taken away" in before.stdout
    # as if it had been so for a day
    database = sqlite3.connect(platform.folder / "catalogue.db", timeout=10)
    with database:
        database.execute("UPDATE versions SET retired = retired - 86400"
                         " WHERE retired > 0")
    database.close()
    done = vodst("collect", "--dir", platform.folder)
    assert done.returncode == 0, done.stderr
    assert "1 versions were taken away" in done.stdout
    left, = root.iterdir()
    assert (left / "asset.idx").exists()
    played = requests.get(platform.play_url("demo"), timeout=10)
    assert played.ok and "#EXTM3U" in played.text
    assert f"/demo/{left.name}/" in played.url
