# SPDX-License-Identifier: Apache-2.0
"""Films in S3-compatible storage: put there by ingest whatever happens on the
way, read from there by the caches, and played."""

import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest
import requests

from conftest import Platform, VODST, vodst, wait_until
from nginx_instance import BUILD, NginxInstance, environment
from ports import free_port, free_ports
from relay import Relay
from s3_store import ACCESS_KEY, SECRET_KEY, S3Store
from stand_in import StandIn
from test_ingest import ffmpeg
from test_st_api import StApi

PART = 5 << 20  # bytes, as small as parts may be
CREDENTIALS = f"""# of the tests
[default]
aws_access_key_id = {ACCESS_KEY}
aws_secret_access_key = {SECRET_KEY}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    one = S3Store(tmp_path_factory.mktemp("s3") / "s3", "films")
    yield one
    one.stop()


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    one = StApi(tmp_path_factory.mktemp("st-api"))
    yield one
    one.stop()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """8 s of noise: 11 to 15 MB, three parts."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    ffmpeg("-f", "lavfi", "-i",
           "testsrc2=s=320x180:r=24:d=8,noise=alls=100:allf=t", "-f", "lavfi",
           "-i", "sine=d=8", "-c:v", "libx264", "-preset", "ultrafast",
           "-b:v", "13M", "-minrate", "13M", "-maxrate", "13M", "-bufsize",
           "2M", "-g", "48", "-pix_fmt", "yuv420p", "-c:a", "aac", path)
    assert 2 * PART < path.stat().st_size < 3 * PART
    return path


class Place:
    """Where a test ingests to. It copies: what counts is what is put."""

    def __init__(self, store, api, film, folder):
        self.store, self.api, self.film = store, api, film
        self.folder, self.endpoint = folder, store.url
        self.credentials = folder / "credentials"
        self.credentials.write_text(CREDENTIALS)
        self.storage, self.content = "s3://films/vod", folder.name[-60:]

    def command(self, *more):
        return ["ingest", self.film, "--copy", "--no-thumbnails", "--id",
                self.content, "--storage", self.storage, "--s3-endpoint",
                self.endpoint, "--api", self.api.url, "--api-key-file",
                self.api.admin_key, "--temp", self.folder, "--s3-part-size",
                "5M", *(["--s3-credentials-file", self.credentials]
                        if self.credentials else []), *more]

    def ingest(self, *more, **options):
        """Its version."""
        done = vodst(*self.command("--json", *more), **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout.splitlines()[-1])["version"]

    def refused(self, *more, status=1, **options):
        done = vodst(*self.command(*more), **options)
        assert done.returncode == status, done.stdout + done.stderr
        self.is_clean()
        assert SECRET_KEY not in done.stdout + done.stderr
        return done.stderr

    def is_clean(self):
        assert self.store.objects() == {} and self.store.uploads() == []
        assert not self.api.request("GET",
                                    f"/v1/contents/{self.content}").ok

    def is_stored(self, files):
        """All of them, byte by byte, and no more. Where."""
        version = self.api.request(
            "GET", f"/v1/contents/{self.content}").json()["version"]
        base = f"vod/{self.content}/{version}/"
        assert self.store.objects() == {base + name: len(data)
                                        for name, data in files.items()}
        for name, data in files.items():
            assert self.store.read(base + name) == data, name
        assert self.store.uploads() == []
        return base

    def start(self):
        return subprocess.Popen([VODST, *map(str, self.command())],
                                stdin=subprocess.DEVNULL, text=True,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE)


@pytest.fixture
def place(store, api, film, tmp_path):
    one = Place(store, api, film, tmp_path)
    yield one
    store.clear()


@pytest.fixture(scope="module")
def files(api, film, tmp_path_factory):
    """{name: bytes} of what ingest puts into a folder."""
    folder = tmp_path_factory.mktemp("folder")
    done = vodst("ingest", film, "--copy", "--no-thumbnails", "--id", "demo",
                 "--storage", folder, "--api", api.url, "--api-key-file",
                 api.admin_key, "--temp", folder)
    assert done.returncode == 0, done.stderr
    one, = (folder / "demo").iterdir()
    return {path.name: path.read_bytes() for path in one.iterdir()}


@pytest.fixture
def relay(store, place):
    """Between ingest and the storage; a test says what it does."""
    one = Relay(store.port)
    place.endpoint = one.url
    yield one
    one.stop()


def calls(store, since=0):
    """(method, path and query, status) of what the storage was asked."""
    return [(one[0], one[1], int(one[2])) for one in re.findall(
        r'"([A-Z]+) (\S+) HTTP/1.[01]" (\d+)', store.log.read_text()[since:])]


# ---- ingest ----

def test_01_a_version_is_put_whole_and_in_parts(place, store, files):
    since = store.log.stat().st_size
    place.ingest()
    made = calls(store, since)
    base = place.is_stored(files)
    puts = [path for method, path, status in made if method == "PUT"]
    assert len([path for path in puts if "partNumber" in path]) == 3
    assert all(status < 300 or method == "HEAD" for method, _, status in made)
    # what makes it readable is last
    assert puts[-1].endswith("/asset.idx")

    # what is there is left alone
    since = store.log.stat().st_size
    place.ingest()
    assert {method for method, _, _ in calls(store, since)} == {"GET", "HEAD"}

    # and what is not, or is not whole, put again
    lost, cut = f"/films/{base}a0.mp4", f"/films/{base}v0.idx"
    assert store.request("DELETE", lost).ok
    assert store.request("PUT", cut, body=b"x").ok
    since = store.log.stat().st_size
    place.ingest()
    assert {path for method, path, _ in calls(store, since)
            if method == "PUT"} == {lost, cut}
    place.is_stored(files)


def test_02_a_bucket_before_the_name_of_the_host(place, store, files):
    place.endpoint = f"http://{store.host}:{store.port}"
    place.credentials = None
    place.ingest("--s3-addressing", "virtual-hosted", "--s3-region",
                 "us-east-1", env={
                     **os.environ, "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                     "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                     "AWS_SESSION_TOKEN": "a/token+=",
                     "AWS_REGION": "elsewhere"})
    place.is_stored(files)


def test_03_what_is_wrong_is_told_with_what_to_do(place, store):
    good, url = place.credentials.read_text(), place.endpoint
    place.credentials.write_text(good.replace(SECRET_KEY, "another"))
    said = place.refused()
    assert "403 SignatureDoesNotMatch" in said \
        and "--s3-credentials-file" in said and "another" not in said
    place.credentials.write_text(good + "aws_secret_access_key = x y\n")
    assert f"{place.credentials}:5: " in place.refused()
    place.credentials.write_text(good)

    place.storage = "s3://flims/vod"
    said = place.refused()
    assert "404 NoSuchBucket" in said and "make the bucket" in said
    place.storage = "s3://films/../vod"
    assert "expected a prefix" in place.refused(status=2)
    place.storage = "s3://films/vod"

    said = place.refused("--s3-region", "eu-central-1")
    assert "AuthorizationHeaderMalformed" in said and "us-east-1" in said \
        and "--s3-region" in said
    place.endpoint = f"http://127.0.0.1:{free_port()}"
    started = time.monotonic()
    assert f"storage does not answer at {place.endpoint[7:]}" \
        in place.refused()
    assert time.monotonic() - started < 5  # before anything was made
    place.endpoint = url + "/path"
    assert "expected an endpoint" in place.refused(status=2)
    place.endpoint = url
    assert "5M" in place.refused("--s3-part-size", "4M", status=2)

    if not os.environ.get("VODST_SANITIZED"):  # which must be loaded first
        late = subprocess.run(["faketime", "-f", "-1h", VODST,
                               *map(str, place.command())], text=True,
                              capture_output=True, timeout=60)
        assert late.returncode == 1 \
            and "RequestTimeTooSkewed" in late.stderr \
            and "clock" in late.stderr, late.stderr
        place.is_clean()
    place.credentials = None
    assert "AWS_ACCESS_KEY_ID" in place.refused(
        status=2, env={"PATH": os.environ["PATH"]})


def test_04_a_storage_that_is_down_for_a_while_is_waited_for(
        place, relay, store, files):
    down = threading.Event()

    def sent(data, total):
        if total < 7 << 20 or down.is_set():
            return data
        down.set()
        store.process.kill()
        store.process.wait()
        # it takes its time
        threading.Thread(target=store.start).start()
        return None

    relay.sent = sent
    place.ingest()
    assert down.is_set()
    wait_until(store.is_up, 10, "the store")
    place.is_stored(files)


def test_05_what_a_killed_run_left_goes_with_the_next(
        place, relay, store, files):
    held = threading.Event()
    go_on = threading.Event()

    def sent(data, total):
        if total > 7 << 20:
            held.set()
            go_on.wait(30)
        return data

    relay.sent = sent
    one = place.start()
    assert held.wait(30)
    one.kill()
    one.communicate()
    go_on.set()
    # begun, in parts, and nothing of it to be seen
    assert len(store.uploads()) == 1 and store.objects() == {}
    relay.sent = lambda data, total: data
    place.ingest()
    place.is_stored(files)


def test_06_one_that_is_told_to_stop_takes_its_parts_away(place, relay):
    held = threading.Event()

    def sent(data, total):
        if total > 7 << 20 and not held.is_set():
            held.set()
            time.sleep(0.5)
        return data

    relay.sent = sent
    one = place.start()
    assert held.wait(30)
    one.send_signal(signal.SIGTERM)
    said = one.communicate(timeout=30)[1]
    assert one.returncode == 128 + signal.SIGTERM and "interrupted" in said
    place.is_clean()


def test_07_what_is_altered_on_the_way_is_noticed(place, relay, store, files):
    altered, times = [], 1

    def sent(data, total):
        # of a body, in the midst of the first large file
        if total > 3 << 20 and len(data) > 60000 and len(altered) < times \
                and b"HTTP/1.1" not in data:
            altered.append(total)
            data = data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]
        return data

    relay.sent = sent
    place.ingest()
    assert len(altered) == 1
    place.is_stored(files)
    store.clear()

    altered, times = [], 10**6
    place.content = "altered"
    said = place.refused()
    assert "BadDigest" in said and "altered on the way" in said


class Moody:
    """A storage that answers what Swift does not when asked."""

    def __init__(self):
        self.sizes, self.parts, self.deleted = {}, {}, []
        self.slow = self.broken_joins = 0  # so often
        self.may_read, self.lost = True, 0  # bytes of each object

    @staticmethod
    def error(status, code):
        return status, {}, f"<Error><Code>{code}</Code><Message>it is so" \
            "</Message></Error>".encode()

    def answer(self, request):
        method, (path, _, query) = request.command, request.path.partition("?")
        body = request.body()
        if method == "HEAD":
            if not self.may_read:
                return 403, {}, b""
            size = self.sizes.get(path)
            return (404, {}, b"") if size is None else \
                (200, {"Content-Length": str(size - self.lost)}, b"")
        if method == "GET":
            return 200, {}, b"<ListMultipartUploadsResult/>"
        if method == "DELETE":
            self.deleted.append(request.path)
            return 204, {}, b""
        if self.slow > 0:
            self.slow -= 1
            return self.error(503, "SlowDown")
        if method == "PUT" and "partNumber=" in query:
            self.parts[query] = len(body)
            return 200, {"ETag": '"a&b"' if self.slow < 0 else '"e"'}, b""
        if method == "PUT":
            self.sizes[path] = len(body)
            return 200, {}, b""
        if "uploads=" in query:
            return 200, {}, b"<InitiateMultipartUploadResult><UploadId>i/d+" \
                b"</UploadId></InitiateMultipartUploadResult>"
        if self.broken_joins > 0:
            self.broken_joins -= 1
            return self.error(200, "InternalError")
        self.sizes[path] = sum(self.parts.values())
        return 200, {}, b"<CompleteMultipartUploadResult/>"


@pytest.fixture
def moody(place):
    one = Moody()
    with StandIn(one.answer) as server:
        place.endpoint = server.url
        yield one


def test_11_a_storage_that_is_overloaded_is_given_time(place, moody, files):
    # an error after a 200, which was sent so that nobody hangs up meanwhile
    moody.slow, moody.broken_joins = 1, 1
    place.ingest()
    assert sorted(moody.sizes.values()) == sorted(map(len, files.values()))
    assert len(moody.parts) == 3 and moody.deleted == []
    assert all(one.endswith("uploadId=i%2Fd%2B") for one in moody.parts)


def test_12_what_was_put_is_read_back_or_taken_away(place, moody):
    moody.lost = 1
    said = place.refused()
    assert re.search(r"v0\.mp4 was stored with \d+ bytes instead of \d+", said)
    assert len(moody.deleted) == 1 and moody.deleted[0].endswith("/v0.mp4")
    moody.lost, moody.may_read = 0, False
    said = place.refused()
    assert "403" in said and "must be allowed to read" in said
    # of an answer that would be no XML
    moody.may_read, moody.slow, moody.sizes = True, -1, {}
    assert "no ETag" in place.refused()
    assert moody.deleted[-2].endswith("?uploadId=i%2Fd%2B")


# ---- what the caches read ----

def cache_conf(folder, port, endpoint, credentials, region=""):
    return f"""
    proxy_cache_path {folder}/cache keys_zone=fill:1m;
    s3_credentials {credentials};
    {region}
    upstream storage {{ server {endpoint[7:]}; keepalive 4; }}
    map $uri $file {{ volatile; ~^/(media|past)(?<name>/.*)$ $name; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            slice 1m;
            s3_sign /films$file host={endpoint[7:]} range=$slice_range;
            proxy_pass http://storage$s3_path;
            proxy_pass_request_headers off;
            proxy_http_version 1.1;
            proxy_set_header Host {endpoint[7:]};
            proxy_set_header Connection "";
            proxy_set_header Range $slice_range;
            proxy_set_header Authorization $s3_authorization;
            proxy_set_header x-amz-date $s3_date;
            proxy_set_header x-amz-content-sha256 $s3_content_sha256;
            proxy_set_header x-amz-security-token $s3_security_token;
            proxy_cache fill;
            proxy_cache_lock on;
            proxy_cache_key $file$slice_range;
            proxy_cache_valid 200 206 1h;
        }}
        location /past/ {{
            s3_sign /films$file host={endpoint[7:]};
            proxy_pass http://storage$s3_path;
            proxy_set_header Host {endpoint[7:]};
            proxy_set_header Authorization $s3_authorization;
            proxy_set_header x-amz-date $s3_date;
            proxy_set_header x-amz-content-sha256 $s3_content_sha256;
            proxy_set_header x-amz-security-token $s3_security_token;
        }}
    }}"""


def test_08_ranges_are_read_in_slices_that_are_signed(place, store, tmp_path):
    data = os.urandom(2_500_000)
    # it is signed, too
    with place.credentials.open("a") as file:
        file.write("aws_session_token = a/token+=\n")
    for name in ("plain", "a%20b%2Bc~%C3%A4%24%25"):
        assert store.request("PUT", f"/films/{name}", body=data).ok
    port = free_port()
    with NginxInstance(tmp_path / "nginx", cache_conf(
            tmp_path, port, store.url, place.credentials), port,
            modules=["s3"]) as nginx:
        since = store.log.stat().st_size
        for name in ("plain", "a%20b%2Bc~%C3%A4%24%25"):
            url = f"{nginx.url}/media/{name}"
            for first, last in (0, 0), (1048570, 1048580), (2000000, 2499999):
                answer = requests.get(url, timeout=10, headers={
                    "Range": f"bytes={first}-{last}"})
                assert answer.status_code == 206
                assert answer.content == data[first:last + 1]
            assert requests.get(url, timeout=10).content == data
            head = requests.head(url, timeout=10)
            assert head.status_code == 200
            assert head.headers["Content-Length"] == str(len(data))
            # neither slices nor a cache, which would make a GET of it
            past = f"{nginx.url}/past/{name}"
            assert requests.get(past, timeout=10).content == data
            assert requests.head(past, timeout=10).headers["Content-Length"] \
                == str(len(data))
        # each slice once, and what went past; logged once it is over
        want = sorted(one for name in ("plain", "a%20b%2Bc~%C3%A4%24%25")
                      for one in [("GET", f"/films/{name}", 206)] * 3
                      + [("GET", f"/films/{name}", 200),
                         ("HEAD", f"/films/{name}", 200)])
        wait_until(lambda: sorted(calls(store, since)) == want, 5,
                   "the storage's log")
        assert requests.get(f"{nginx.url}/media/none",
                            timeout=10).status_code == 404
        assert requests.post(f"{nginx.url}/past/plain", data=b"x",
                             timeout=10).status_code >= 400

        # a reload takes new credentials, and refuses what are none
        good = place.credentials.read_text()
        place.credentials.write_text("[default]\naws_access_key_id\n")
        nginx.process.send_signal(signal.SIGHUP)
        wait_until(lambda: f"s3: {place.credentials}:2: expected NAME"
                   in nginx.error_log.read_text(), 10, "the refusal")
        assert requests.get(f"{nginx.url}/past/plain", timeout=10).ok
        place.credentials.write_text(good.replace(SECRET_KEY, "other-secret"))
        nginx.process.send_signal(signal.SIGHUP)
        wait_until(lambda: requests.get(f"{nginx.url}/past/plain",
                                        timeout=10).status_code == 403,
                   10, "the new credentials")
        said = nginx.error_log.read_text()
    assert SECRET_KEY not in said and "other-secret" not in said
    assert "signs GET and HEAD only" in said


def test_09_a_wrong_configuration_is_refused_with_its_line(place, tmp_path):
    other = tmp_path / "other"
    other.write_text("[default]\naws_access_key_id = A\n"
                     "aws_secret_access_key = top secret\n")
    for http, text in (
            (f"s3_credentials {other};", f"s3: {other}:3: the value is"),
            (f"s3_credentials {tmp_path}/none;", "s3: cannot open"),
            (f"s3_credentials {tmp_path};", "s3: cannot read"),
            (f"s3_credentials {place.credentials};\n"
             f"s3_credentials {place.credentials};", "is duplicate"),
            ("server { location / {\ns3_sign /a host=b; } }",
             '"s3_sign" needs "s3_credentials"'),
            ("server { location / {\ns3_sign a host=b; } }",
             "begins with a slash"),
            ("server { location / {\ns3_sign /a range=b; } }",
             "needs a host="),
            ("server { location / {\ns3_sign /a host=; } }", "is empty"),
            ("server { location / {\ns3_sign /a host=b size=c; } }",
             'invalid parameter "size=c"')):
        (tmp_path / "nginx.conf").write_text(
            f"load_module {BUILD}/modules/ngx_http_s3_module.so;\n"
            f"events {{}}\nhttp {{\n{http}\n}}\n")
        done = subprocess.run(
            ["/usr/sbin/nginx", "-t", "-e", "stderr", "-p", tmp_path, "-c",
             tmp_path / "nginx.conf", "-g", f"pid {tmp_path}/pid;"],
            capture_output=True, text=True, timeout=30,
            env=environment(tmp_path))
        assert done.returncode == 1 and text in done.stderr, done.stderr
        assert re.search(r"nginx\.conf:\d+", done.stderr), done.stderr
        assert "top secret" not in done.stderr


# ---- the whole platform ----

@pytest.fixture
def tls(store, tmp_path):
    """(its port, the certificate's file, a relay): the storage behind https,
    and between these one that listens in."""
    port, relay = free_port(), Relay(store.port)
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout",
         tmp_path / "tls.key", "-out", tmp_path / "tls.pem"],
        capture_output=True, text=True, timeout=30)
    assert made.returncode == 0, made.stderr
    nginx = NginxInstance(tmp_path / "tls", f"""
        server {{
            listen 127.0.0.1:{port} ssl;
            ssl_certificate {tmp_path}/tls.pem;
            ssl_certificate_key {tmp_path}/tls.key;
            client_max_body_size 0;
            location / {{
                proxy_pass {relay.url};
                proxy_set_header Host $http_host;
                proxy_request_buffering off;
                proxy_http_version 1.1;
            }}
        }}""", port)
    yield port, tmp_path / "tls.pem", relay
    nginx.stop()
    relay.stop()


def test_10_a_film_is_played_out_of_a_bucket(place, store, files, tls,
                                             tmp_path):
    port, certificate, relay = tls
    place.endpoint = f"https://localhost:{port}"
    assert "does not answer" in place.refused()  # nobody vouches for it
    assert "cannot read CA file" in place.refused("--s3-ca-file",
                                                  tmp_path / "none")
    ports = free_ports(7)
    tiers = ("redirector", "origin", "cdn", "varnish", "cache", "manager",
             "st-api")
    cluster = tmp_path / "cluster"
    cluster.write_text("".join(
        f"{tier} {tier} 127.0.0.1:{port}\n"
        for tier, port in zip(tiers, ports))
        + f"storage bucket s3://films/vod {place.endpoint} us-east-1\n")
    state = tmp_path / "state"
    done = vodst("up", "--cluster", cluster, "--dir", state)
    assert done.returncode == 1 \
        and f"{state}/secrets/s3.credentials" in done.stderr, done.stderr
    (state / "secrets/s3.credentials").write_text(CREDENTIALS)
    (state / "secrets/s3.ca.pem").write_bytes(certificate.read_bytes())
    platform = Platform(state, ["--cluster", cluster])
    try:
        assert platform.state["storage"]["url"] == "s3://films/vod/"
        platform.ingest(place.film, "demo", "--copy", "--no-thumbnails",
                        "--s3-part-size", "5M")
        assert [name.split("/")[1] for name in store.objects()] \
            == ["demo"] * len(files)
        relay.heard.clear()
        played = subprocess.run(
            ["ffmpeg", "-v", "error", "-nostdin", "-xerror", "-i",
             platform.play_url("demo"), "-map", "0:v", "-f", "framemd5", "-"],
            capture_output=True, text=True, timeout=60)
        assert played.returncode == 0 and played.stderr == ""
        frames = [line for line in played.stdout.splitlines()
                  if not line.startswith("#")]
        assert len(frames) == 8 * 24
        own = subprocess.run(
            ["ffmpeg", "-v", "error", "-nostdin", "-i", place.film, "-map",
             "0:v", "-f", "framemd5", "-"],
            capture_output=True, text=True, timeout=60)
        assert [line.split(",")[-1] for line in frames] == [
            line.split(",")[-1] for line in own.stdout.splitlines()
            if not line.startswith("#")]
        # what the bucket was asked: signed, in slices, and none of our secrets
        asked = bytes(relay.heard).split(b"\r\n\r\n")[:-1]
        fill = (state / "secrets/fill").read_bytes().strip()
        assert len(asked) > 10
        for one in asked:
            assert one.startswith(b"GET /films/vod/demo/")
            assert b"\r\nAuthorization: AWS4-HMAC-SHA256 " in one
            assert b"\r\nRange: bytes=" in one
            assert b"SignedHeaders=host;range;x-amz-content-sha256;" in one
            assert fill not in one and b"X-Vodst" not in one
        logs = "".join(path.read_text(errors="replace")
                       for path in (state / "log").iterdir())
        assert SECRET_KEY not in logs and "AWS4-HMAC" not in logs

        # what was played is held: the bucket may go
        relay.sent = lambda data, total: None
        answer = requests.get(platform.play_url("demo"), timeout=10)
        assert answer.ok and "#EXTM3U" in answer.text
    finally:
        platform.stop()
