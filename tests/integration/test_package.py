# SPDX-License-Identifier: Apache-2.0
"""The package module: one film, served from a folder and through a fill
location in front of a storage, well behaved and not."""

import concurrent.futures
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from xml.etree import ElementTree

import pytest
import requests

from disks import Disk, private_mounts
from nginx_instance import BUILD, NginxInstance, wait_for
from ports import free_port

INGEST = BUILD / "modules" / "package" / "package_test_ingest"
SECONDS, RATE = 12, 25
TRACKS = ("v0", "v1", "a0")
MPD = "{urn:mpeg:dash:schema:mpd:2011}"


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def make_film(folder):
    """A film with B-frames in two renditions, and sound, in stored form; what
    the encoder made of it is in `source` beside it."""
    folder.mkdir(parents=True)
    video = ["-c:v", "libx264", "-preset", "veryfast", "-bf", 2, "-g", 50,
             "-sc_threshold", 0, "-pix_fmt", "yuv420p"]
    run("ffmpeg", "-v", "error", "-f", "lavfi", "-i",
        f"testsrc2=s=320x180:r={RATE}:d={SECONDS}", "-f", "lavfi", "-i",
        f"sine=440:r=44100:d={SECONDS}", "-map", "0:v", *video,
        folder / "v0.mp4", "-map", "0:v", "-vf", "scale=160:90", *video,
        folder / "v1.mp4", "-map", "1:a", "-c:a", "aac", folder / "a0.mp4")
    shutil.copytree(folder, folder.with_name("source"))
    run(INGEST, folder, 2000, *TRACKS)


def storage_http(port, root):
    return f"""
    log_format storage '$request_uri $http_range $http_cookie';
    access_log storage.log storage;
    server {{
        listen 127.0.0.1:{port};
        location /media/ {{ alias {root}/; }}
    }}"""


def node_http(port, root, storage_port, more="", cache="cache"):
    """/local/ reads the folder, /fill/ the storage through a cache of slices
    that nothing is aligned to, /raw/ the storage without a cache."""
    return f"""
    log_format kind '$uri $package_kind $status';
    access_log access.log kind;
    sendfile on;
    tcp_nopush on;
    package_slice 20011;
    proxy_cache_path {cache} keys_zone=fill:1m use_temp_path=off;
    map $uri $file {{ volatile; ~^/[a-z]+(?<name>/.*)$ $name; }}
    {more}
    server {{
        listen 127.0.0.1:{port};
        location ~ ^/local/(.*)$ {{
            package $1;
            package_root {root};
        }}
        location ~ ^/fill/(.*)$ {{
            package $1;
            package_fill /slices/ /again/;
        }}
        location ~ ^/raw/(.*)$ {{
            package $1;
            package_fill /uncached/;
        }}
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Range $package_slice_range;
        proxy_connect_timeout 1s;
        proxy_read_timeout 2s;
        location /slices/ {{
            internal;
            proxy_pass http://127.0.0.1:{storage_port}/media/;
            proxy_cache fill;
            proxy_cache_key $file?slice=$arg_slice;
            proxy_cache_valid 200 206 30d;
            proxy_cache_lock on;
        }}
        location /again/ {{
            internal;
            proxy_pass http://127.0.0.1:{storage_port}/media/;
            proxy_cache fill;
            proxy_cache_key $file?slice=$arg_slice;
            proxy_no_cache 1;
            proxy_max_temp_file_size 0;
        }}
        location /uncached/ {{
            internal;
            proxy_pass http://127.0.0.1:{storage_port}/media/;
        }}
    }}"""


class Node(NginxInstance):
    def __init__(self, folder, root, storage_port, more="", cache="cache"):
        port = free_port()
        super().__init__(folder,
                         node_http(port, root, storage_port, more, cache),
                         port, modules=("package",), http_defaults="")
        self.pids = self.worker_pids()

    def get(self, path, **arguments):
        return requests.get(self.url + path, timeout=20, **arguments)

    def lives(self):
        """Its worker is the one it started with."""
        return self.worker_pids() == self.pids


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    root = tmp_path_factory.mktemp("package")
    make_film(root / "film" / "1")
    return root


@pytest.fixture
def root(film, tmp_path):
    """A storage folder that a test may spoil."""
    shutil.copytree(film, tmp_path / "media")
    return tmp_path / "media"


@pytest.fixture
def storage(root, tmp_path):
    port = free_port()
    with NginxInstance(tmp_path / "storage", storage_http(port, root), port,
                       http_defaults="") as instance:
        yield instance


@pytest.fixture
def node(root, storage, tmp_path):
    with Node(tmp_path / "node", root, storage.port) as instance:
        yield instance
        assert instance.lives()
        assert "[alert]" not in instance.log()
        assert "[crit]" not in instance.log()


def storage_reads(storage):
    lines = (storage.folder / "storage.log").read_text().splitlines()
    return [line.split(" ")[0] for line in lines]


def names_of_film(node, source):
    """Every URL of the film, found as a player would."""
    top = f"/{source}/film/1/"
    names = ["master.m3u8", "manifest.mpd"]
    master = node.get(top + "master.m3u8").text
    tracks = re.findall(r'(?:^|URI=")(\w+/)index\.m3u8', master, re.M)
    assert sorted(tracks) == sorted(t + "/" for t in TRACKS)
    keys = re.findall(r'URI="(\w+/iframes\.m3u8)"', master)
    assert sorted(keys) == ["v0/iframes.m3u8", "v1/iframes.m3u8"]
    names += keys
    for track in tracks:
        playlist = node.get(f"{top}{track}index.m3u8").text
        files = re.findall(r"^[^#\n].*$|init\.mp4", playlist, re.M)
        assert len(files) == 1 + SECONDS // 2
        names += [track + name for name in ["index.m3u8", *files]]
    return names


def decoded(url):
    """What the decoder has to say, and what it counted."""
    said = run("ffmpeg", "-v", "error", "-i", url, "-map", "0", "-f", "null",
               "-")
    probe = json.loads(run(
        "ffprobe", "-v", "error", "-count_frames", "-of", "json",
        "-show_entries", "stream=nb_read_frames,duration:format=duration",
        url))
    return said, probe


def is_cut(node, path):
    """The connection ends before the body that was announced."""
    try:
        answer = node.get(path)
    except requests.RequestException:
        return True
    return (answer.status_code == 200
            and len(answer.content) < int(answer.headers["Content-Length"]))


# ---- what is served ----


def test_folder_and_fill_serve_the_same_bytes(node):
    names = names_of_film(node, "local")
    assert names == names_of_film(node, "fill")
    for name in names:
        local, *others = [node.get(f"/{source}/film/1/{name}")
                          for source in ("local", "fill", "raw", "fill")]
        assert local.status_code == 200
        for other in others:
            assert other.status_code == 200
            assert other.content == local.content, name
            for header in ("Content-Length", "Content-Type", "ETag",
                           "Last-Modified"):
                assert other.headers[header] == local.headers[header], name


def test_an_if_in_the_location_keeps_it(root, tmp_path):
    port = free_port()
    with NginxInstance(tmp_path / "node", f"""
            server {{
                listen 127.0.0.1:{port};
                location ~ ^/local/(.*)$ {{
                    package $1;
                    package_root {root};
                    directio 1;
                    if ($http_origin) {{ add_header Seen yes; }}
                }}
            }}""", port, modules=("package",)) as node:
        pids = node.worker_pids()
        for name in ("master.m3u8", "v0/1.m4s"):
            plain, other = (requests.get(f"{node.url}/local/film/1/{name}",
                                         headers=headers, timeout=20)
                            for headers in ({}, {"Origin": "http://a"}))
            assert plain.status_code == other.status_code == 200
            assert plain.content == other.content
            assert other.headers["Seen"] == "yes"
        assert node.worker_pids() == pids


def test_servers_do_not_share_what_their_own_locations_bring(root, tmp_path):
    """The same name, and another film behind it."""
    shutil.copytree(root / "film", tmp_path / "other" / "film")
    (tmp_path / "other" / "film" / "1" / "asset.idx").write_bytes(b"bad")
    (tmp_path / "other" / "film" / "1" / "v0.idx").unlink()
    ports = free_port(), free_port()
    servers = "".join(f"""
        server {{
            listen 127.0.0.1:{port};
            location ~ ^/fill/(.*)$ {{
                package $1;
                package_fill /slices/;
            }}
            location /slices/ {{ internal; alias {place}/; }}
        }}""" for port, place in zip(ports, (root, tmp_path / "other")))
    with NginxInstance(tmp_path / "node", servers, ports[0],
                       modules=("package",)) as node:
        def status(port, name):
            return requests.get(f"http://127.0.0.1:{port}/fill/film/1/{name}",
                                timeout=20).status_code

        for port, wanted in zip(ports, ((200, 200), (502, 404))):
            assert (status(port, "master.m3u8"),
                    status(port, "v0/index.m3u8")) == wanted


def test_types_are_those_of_hls_and_cmaf(node):
    for name, kind in (("master.m3u8", "application/vnd.apple.mpegurl"),
                       ("manifest.mpd", "application/dash+xml"),
                       ("v0/index.m3u8", "application/vnd.apple.mpegurl"),
                       ("v0/iframes.m3u8", "application/vnd.apple.mpegurl"),
                       ("v0/init.mp4", "video/mp4"),
                       ("v0/0.m4s", "video/mp4"),
                       ("a0/init.mp4", "audio/mp4"),
                       ("a0/0.m4s", "audio/mp4")):
        answer = node.get("/local/film/1/" + name)
        assert answer.headers["Content-Type"] == kind


@pytest.mark.parametrize("source", ["local", "fill"])
def test_the_whole_film_decodes_and_counts_as_its_source(node, root, source):
    said, probe = decoded(f"{node.url}/{source}/film/1/master.m3u8")
    assert said == ""
    assert float(probe["format"]["duration"]) == pytest.approx(SECONDS,
                                                               abs=0.001)
    for track in ("v0", "a0"):
        url = f"{node.url}/{source}/film/1/{track}/index.m3u8"
        said, served = decoded(url)
        assert said == ""
        _, source_s = decoded(root / "film" / "source" / f"{track}.mp4")
        frames = [int(p["streams"][0]["nb_read_frames"])
                  for p in (served, source_s)]
        # of a file the demuxer drops the priming frame, of HLS the decoder
        # does: ffprobe counts it then
        assert frames[0] - frames[1] in ((0, 1) if track == "a0" else (0,))
        assert float(served["format"]["duration"]) == pytest.approx(
            float(source_s["format"]["duration"]), abs=0.001)


def frames(source, stream):
    """(time, digest) of each frame, as ffmpeg decodes it; not a word more."""
    said = run("ffmpeg", "-v", "error", "-i", source, "-map", stream, "-f",
               "framemd5", "-")
    return [(line.split(",")[2], line.split(",")[5])
            for line in said.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("stream, track", [("0:v:0", "v0"), ("0:v:1", "v1"),
                                           ("0:a:0", "a0")])
def test_the_mpd_decodes_to_what_hls_and_the_source_do(node, root, stream,
                                                       track):
    top = f"{node.url}/fill/film/1/"
    dash = frames(top + "manifest.mpd", stream)
    assert dash == frames(top + "master.m3u8", stream)
    encoded = frames(root / "film" / "source" / f"{track}.mp4", "0")
    # of a file the demuxer drops the frame of priming, here the decoder does
    assert len(dash) == len(encoded) + (track == "a0")
    assert [one[1] for one in dash[-len(encoded):]] \
        == [one[1] for one in encoded]
    assert track == "a0" or len(dash) == SECONDS * RATE


def test_the_mpd_names_the_segments_that_hls_names(node):
    top = "/local/film/1/"
    mpd = ElementTree.fromstring(node.get(top + "manifest.mpd").content)
    assert mpd.get("mediaPresentationDuration").startswith(f"PT{SECONDS}.")
    seen = set()
    for group in mpd.iter(MPD + "AdaptationSet"):
        template = group.find(MPD + "SegmentTemplate")
        scale = int(template.get("timescale"))
        times = [int(s.get("d")) / scale
                 for s in template.iter(MPD + "S")
                 for _ in range(int(s.get("r", 0)) + 1)]
        for one in group.iter(MPD + "Representation"):
            name = one.get("id")
            playlist = node.get(f"{top}{name}/index.m3u8").text
            assert times == pytest.approx(
                [float(time) for time in re.findall("#EXTINF:(.*),",
                                                    playlist)], abs=2e-6)
            seen.add(name)
    assert seen == set(TRACKS)


def test_head_answers_as_get_without_a_body(node):
    for source in ("local", "fill"):
        for name in ("master.m3u8", "manifest.mpd", "v0/init.mp4",
                     "v0/3.m4s"):
            path = f"/{source}/film/1/{name}"
            head = requests.head(node.url + path, timeout=20)
            whole = node.get(path)
            assert head.status_code == 200
            assert head.content == b""
            assert int(head.headers["Content-Length"]) == len(whole.content)


def test_a_copy_that_is_current_is_not_sent_again(node):
    for source in ("local", "fill"):
        for name in ("master.m3u8", "manifest.mpd", "v0/3.m4s"):
            path = f"/{source}/film/1/{name}"
            tag = node.get(path).headers["ETag"]
            again = node.get(path, headers={"If-None-Match": tag})
            assert (again.status_code, again.content) == (304, b"")
            other = node.get(path, headers={"If-None-Match": '"other"'})
            assert (other.status_code, other.headers["ETag"]) == (200, tag)
            wrong = node.get(path, headers={"If-Match": '"other"'})
            assert wrong.status_code == 412


def test_ranges_of_a_segment(node):
    whole = node.get("/local/film/1/v0/2.m4s").content
    size = len(whole)
    for first, last in ((0, 0), (0, 99), (5, size - 1), (700, 5000),
                        (size - 1, size - 1)):
        part = node.get("/local/film/1/v0/2.m4s",
                        headers={"Range": f"bytes={first}-{last}"})
        assert part.status_code == 206
        assert part.content == whole[first:last + 1]
        assert (part.headers["Content-Range"]
                == f"bytes {first}-{last}/{size}")
    beyond = node.get("/local/film/1/v0/2.m4s",
                      headers={"Range": f"bytes={size}-"})
    assert beyond.status_code == 416
    several = node.get("/local/film/1/v0/2.m4s",
                       headers={"Range": "bytes=0-9,20-29"})
    assert several.status_code == 206
    assert whole[:10] in several.content and whole[20:30] in several.content
    path = "/local/film/1/v0/2.m4s"
    tag = node.get(path).headers["ETag"]
    for value, status in ((tag, 206), ('"other"', 200)):
        part = node.get(path, headers={"Range": "bytes=3-9",
                                       "If-Range": value})
        assert part.status_code == status
        assert part.content == (whole[3:10] if status == 206 else whole)
    # through the fill one range is cut out, and several are the whole
    for ranges, answer in (("bytes=0-99", (206, whole[:100])),
                           ("bytes=0-1,4-5", (200, whole))):
        part = node.get("/fill/film/1/v0/2.m4s", headers={"Range": ranges})
        assert (part.status_code, part.content) == answer


@pytest.mark.parametrize("source", ["local", "fill"])
@pytest.mark.parametrize("path", [
    "film/1/v0/6.m4s", "film/1/v0/4294967295.m4s", "film/1/v0/00.m4s",
    "film/1/v0/-1.m4s", "film/1/v9/index.m3u8", "film/1/v9/0.m4s",
    "film/2/master.m3u8", "none/1/master.m3u8", "film/1/asset.idx",
    "film/2/manifest.mpd", "film/1/v0/manifest.mpd", "film/1/iframes.m3u8",
    "film/1/a0/iframes.m3u8",
    "film/1/v0.mp4", "film/1/v0.idx", "film/1/v0/", "film/1/", "film", "",
    "film/1/v0/init.mp4/", "film/.1/master.m3u8",
])
def test_what_is_not_there_is_not_found(node, source, path):
    assert node.get(f"/{source}/{path}").status_code == 404


def test_a_path_cannot_leave_the_folder(node):
    for path in ("/local/%2e%2e/media/film/1/master.m3u8",
                 "/local/..%2fmedia/film/1/master.m3u8",
                 "/local/film%2f1/master.m3u8%00"):
        with socket.create_connection(("127.0.0.1", node.port)) as line:
            line.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            assert line.recv(100).split()[1] in (b"400", b"404")


def test_only_reading_is_allowed(node):
    for method in ("POST", "PUT", "DELETE"):
        answer = requests.request(method, node.url + "/local/film/1/v0/0.m4s",
                                  data=b"x", timeout=20)
        assert answer.status_code == 405


def test_the_kind_is_there_for_the_log(node):
    for name in ("master.m3u8", "manifest.mpd", "v0/index.m3u8",
                 "v0/iframes.m3u8", "v0/init.mp4", "v0/0.m4s", "nothing"):
        node.get("/local/film/1/" + name)
    log = node.folder / "access.log"
    wait_for(lambda: log.read_text().count("\n") == 7, what="all log lines")
    assert [line.split(" ")[1] for line in log.read_text().splitlines()] == [
        "multivariant", "mpd", "playlist", "iframes", "init", "segment", "-"]


# ---- the fill ----


@pytest.mark.parametrize("size", ["1k", "4093", "63k", "1m"])
def test_segments_are_whole_with_slices_of_any_size(root, storage, tmp_path,
                                                    size):
    with Node(tmp_path / "node", root, storage.port) as node:
        config = node.folder / "nginx.conf"
        config.write_text(config.read_text().replace("20011", size))
        node.reload()
        for track in TRACKS:
            for number in range(SECONDS // 2):
                path = f"film/1/{track}/{number}.m4s"
                assert (node.get("/fill/" + path).content
                        == node.get("/local/" + path).content)


def test_storage_sees_each_slice_once(node, storage, root):
    """Many viewers at once, nothing cached: the fills collapse."""
    names = names_of_film(node, "local")
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(
            lambda name: node.get("/fill/film/1/" + name), names * 4))
    assert {a.status_code for a in answers} == {200}
    sizes = {p.name: p.stat().st_size for p in (root / "film/1").iterdir()}
    expected = {f"/media/film/1/{name}?slice={n}"
                for name, size in sizes.items()
                for n in range(-(-size // 20011))}
    wait_for(lambda: len(storage_reads(storage)) >= len(expected),
             what="the storage's log")
    assert sorted(storage_reads(storage)) == sorted(expected)


def test_the_viewers_headers_stay_with_the_node(node, storage):
    for name in ("v0/index.m3u8", "v0/1.m4s"):
        answer = node.get("/raw/film/1/" + name, headers={
            "Cookie": "secret=1", "Range": "bytes=3-4", "If-Range": '"x"'})
        assert answer.status_code in (200, 206)
    log = (storage.folder / "storage.log").read_text()
    assert "secret" not in log
    assert "bytes=3-4" not in log


def test_an_update_in_the_background_asks_for_the_slice(root, storage,
                                                        tmp_path):
    more = """proxy_cache_use_stale updating;
              proxy_cache_background_update on;"""
    with Node(tmp_path / "node", root, storage.port, more) as node:
        config = node.folder / "nginx.conf"
        config.write_text(config.read_text().replace("206 30d", "206 1s"))
        node.reload()
        first = node.get("/fill/film/1/v0/2.m4s").content
        before = len(storage_reads(storage))
        time.sleep(2.2)  # nginx counts whole seconds
        assert node.get("/fill/film/1/v0/2.m4s").content == first
        wait_for(lambda: len(storage_reads(storage)) > before,
                 what="the update")
        log = (storage.folder / "storage.log").read_text().splitlines()
        assert all(" bytes=" in line for line in log)
        assert node.get("/fill/film/1/v0/2.m4s").content == first


def test_storage_away_is_a_502_and_its_return_is_noticed(root, storage,
                                                         tmp_path):
    with Node(tmp_path / "node", root, storage.port) as node:
        good = node.get("/fill/film/1/v0/0.m4s")
        port = storage.port
        storage.stop()
        assert node.get("/fill/film/1/v1/index.m3u8").status_code == 502
        for headers in ({}, {"Range": "bytes=0-9"}):
            failed = node.get("/fill/film/1/v0/5.m4s", headers=headers)
            assert failed.status_code == 502
            assert "Content-Range" not in failed.headers
        # what was read stays good without it
        assert node.get("/fill/film/1/v0/0.m4s").content == good.content
        with NginxInstance(tmp_path / "storage", storage_http(port, root),
                           port, http_defaults=""):
            for name in ("v1/index.m3u8", "v0/5.m4s"):
                assert node.get("/fill/film/1/" + name).status_code == 200
        assert node.lives()


# ---- bad files ----


def spoil(path, kind):
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes({
        "empty": b"",
        "truncated": content[:-10],
        "one byte": content[:1],
        "longer": content + b"\0",
        "one bit": (content[:middle] + bytes([content[middle] ^ 1])
                    + content[middle + 1:]),
        "noise": bytes(range(256)) * 40,
    }[kind])


@pytest.mark.parametrize("kind", ["empty", "truncated", "one byte", "longer",
                                  "one bit", "noise"])
def test_a_bad_index_is_one_failed_request(node, root, kind):
    spoil(root / "film/1/v0.idx", kind)
    spoil(root / "film/1/asset.idx", kind)
    for source, status in (("local", 500), ("fill", 502), ("raw", 502)):
        for name in ("master.m3u8", "v0/index.m3u8", "v0/init.mp4",
                     "v0/0.m4s"):
            answer = node.get(f"/{source}/film/1/{name}")
            assert answer.status_code == status
        assert node.get(f"/{source}/film/1/v1/0.m4s").status_code == 200
    assert re.search(r'open index ".*/film/1/v0\.idx" failed \(\w', node.log())
    assert re.search(r'open index ".*/asset\.idx" failed \(\w', node.log())


@pytest.mark.parametrize("kind", ["empty", "truncated", "longer"])
def test_a_track_of_another_size_is_not_served(node, root, kind):
    spoil(root / "film/1/v0.mp4", kind)
    assert node.get("/local/film/1/v0/1.m4s").status_code == 500
    assert node.get("/fill/film/1/v0/1.m4s").status_code == 502
    assert node.get("/local/film/1/v0/index.m3u8").status_code == 200
    assert "the index says" in node.log()
    assert re.search(r'read "/slices/film/1/v0\.mp4" at \d+ failed \(\w',
                     node.log())


def test_a_track_that_is_gone_is_not_found(node, root):
    (root / "film/1/v0.mp4").unlink()
    for source in ("local", "fill"):
        assert node.get(f"/{source}/film/1/v0/1.m4s").status_code == 404
        assert node.get(f"/{source}/film/1/a0/1.m4s").status_code == 200


# ---- a storage that misbehaves ----


class OddStorage:
    """Serves a folder by ranges; `behave(path, start, whole, content)` may
    change an answer to (status, headers, body)."""

    def __init__(self, root):
        self.behave = None
        self.delay_s = 0
        self.reads = []
        odd = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                odd.answer(self)

            def log_message(self, *_):
                pass

        self.root = root
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
                                                      Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,),
                         daemon=True).start()

    def answer(self, request):
        path = request.path.split("?")[0]
        self.reads.append(path)
        time.sleep(self.delay_s)
        whole = (self.root / path.removeprefix("/media/")).read_bytes()
        start, last = map(int, re.match(
            r"bytes=(\d+)-(\d+)$", request.headers["Range"]).groups())
        part = whole[start:last + 1]
        status, headers, body = 206, {
            "Content-Range":
                f"bytes {start}-{start + len(part) - 1}/{len(whole)}",
            "Content-Length": str(len(part))}, part
        if self.behave:
            status, headers, body = self.behave(path, start, whole, (
                status, headers, body))
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        try:
            request.wfile.write(body)
        except OSError:
            pass
        request.close_connection = True

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def odd(root):
    storage = OddStorage(root)
    yield storage
    storage.stop()


@pytest.fixture
def odd_node(root, odd, tmp_path):
    with Node(tmp_path / "node", root, odd.port) as instance:
        yield instance
        assert instance.lives()
        assert "[alert]" not in instance.log()


def with_headers(**changes):
    def behave(_path, _start, _whole, answer):
        status, headers, body = answer
        named = {k.replace("_", "-"): v for k, v in changes.items()}
        return status, {k: v for k, v in {**headers, **named}.items()
                        if v is not None}, body
    return behave


def with_body(status, change):
    """The length header says what the body is."""
    def behave(_path, start, whole, answer):
        body = change(start, whole, answer[2])
        return status, {**answer[1], "Content-Length": str(len(body))}, body
    return behave


def with_status(status):
    return lambda *_: (status, {"Content-Length": "3"}, b"no\n")


MISBEHAVIOUR = {
    "the whole file for a range":
        lambda _p, _s, whole, _a: (200, {"Content-Length": str(len(whole))},
                                   whole),
    "no Content-Range": with_headers(Content_Range=None),
    "a Content-Range that is not one":
        with_headers(Content_Range="bytes what/ever"),
    "a Content-Range without a total":
        with_headers(Content_Range="bytes 0-20010/*"),
    "another range": with_headers(Content_Range="bytes 1-20011/372111"),
    "another total": with_headers(Content_Range="bytes 0-20010/99999999999"),
    "a length beside the range":
        with_body(206, lambda _s, _w, body: body + b"x"),
    "fewer bytes than the length":
        lambda _p, _s, _w, a: (a[0], a[1], a[2][:len(a[2]) // 2]),
    "not even a body": lambda _p, _s, _w, a: (a[0], a[1], b""),
    "status 403": with_status(403),
    "status 416": with_status(416),
    "status 500": with_status(500),
    "status 503": with_status(503),
    "a redirect": lambda *_: (302, {"Location": "http://127.0.0.1:1/",
                                    "Content-Length": "0"}, b""),
}


@pytest.mark.parametrize("name", MISBEHAVIOUR)
def test_an_unexpected_answer_is_a_502(odd_node, odd, root, name):
    odd.behave = MISBEHAVIOUR[name]
    is_short = name.startswith(("fewer", "not even"))
    if name != "the whole file for a range":
        assert odd_node.get("/raw/film/1/v0/index.m3u8").status_code == 502
        assert odd_node.get("/fill/film/1/v0/index.m3u8").status_code == 502
    odd.behave = None
    for source in ("raw", "fill"):
        assert odd_node.get(f"/{source}/film/1/v0/0.m4s").status_code == 200
    odd.behave = MISBEHAVIOUR[name]
    for source in ("raw", "fill"):
        path = f"/{source}/film/1/v0/2.m4s"
        if is_short:  # known only after the header went out
            assert is_cut(odd_node, path)
        else:
            assert odd_node.get(path).status_code == 502
    odd.behave = None
    for source in ("raw", "fill"):
        path = "film/1/v0/2.m4s"
        assert (odd_node.get(f"/{source}/{path}").content
                == odd_node.get(f"/local/{path}").content)


def test_a_small_file_may_come_whole(odd_node, odd):
    odd.behave = MISBEHAVIOUR["the whole file for a range"]
    for name in ("master.m3u8", "a0/index.m3u8"):
        assert (odd_node.get("/raw/film/1/" + name).content
                == odd_node.get("/local/film/1/" + name).content)


def test_an_error_page_does_not_become_a_segment(root, odd, tmp_path):
    page = "error_page 500 502 503 504 =200 /page;"
    with Node(tmp_path / "node", root, odd.port,
              "proxy_intercept_errors on;") as node:
        config = node.folder / "nginx.conf"
        config.write_text(config.read_text().replace(
            "location /uncached/ {",
            "location /page { return 200 sorry; }\n"
            "location /uncached/ { " + page))
        node.reload()
        assert node.get("/raw/film/1/v0/index.m3u8").status_code == 200
        odd.behave = with_status(500)
        assert node.get("/raw/film/1/v0/2.m4s").status_code == 502
        assert node.get("/raw/film/1/v1/index.m3u8").status_code == 502


def test_a_failure_after_the_first_slice_cuts_the_line(odd_node, odd):
    assert odd_node.get("/raw/film/1/v0/index.m3u8").status_code == 200
    failed = []

    def behave(_path, start, _whole, answer):
        if start > 100000 and not failed:
            failed.append(start)
            return 500, {"Content-Length": "3"}, b"no\n"
        return answer

    odd.behave = behave
    assert is_cut(odd_node, "/raw/film/1/v0/1.m4s")
    assert failed
    assert (odd_node.get("/raw/film/1/v0/1.m4s").content
            == odd_node.get("/local/film/1/v0/1.m4s").content)


@pytest.mark.parametrize("source", ["raw", "fill"])
@pytest.mark.parametrize("name", ["fewer bytes than the length",
                                  "not even a body", "nothing"])
def test_a_slice_that_breaks_off_is_asked_for_again(odd_node, odd, source,
                                                    name):
    """Of the index as of the media, and nobody notices."""
    broken = []

    def behave(path, start, whole, answer):
        if (path, start) in broken:
            return answer
        broken.append((path, start))
        if name == "nothing":
            raise ConnectionError
        return MISBEHAVIOUR[name](path, start, whole, answer)

    odd.behave = behave
    paths = ("v0/index.m3u8", "v0/1.m4s", "a0/0.m4s", "v1/5.m4s")
    for path in paths:
        answer = odd_node.get(f"/{source}/film/1/{path}")
        assert answer.status_code == 200
        assert answer.content == odd_node.get("/local/film/1/" + path).content
    assert len(broken) > 8
    # the last one's end may be nobody's concern, the viewer having all
    told = odd_node.log().count("broke off")
    assert len(broken) - len(paths) <= told <= len(broken)


def test_only_what_is_wanted_of_a_slice_is_waited_for(odd_node, odd):
    """The slice that a segment ends in may break off behind that."""
    assert odd_node.get("/raw/film/1/a0/index.m3u8").status_code == 200
    size = len(odd_node.get("/local/film/1/a0/0.m4s").content)
    last = (4096 + size) // 20011  # it starts at a page

    def behave(_path, start, _whole, answer):
        if start != last * 20011:
            return answer
        return (*answer[:2], answer[2][:-1])

    odd.behave = behave
    with requests.Session() as viewer:  # one that stays
        assert (viewer.get(odd_node.url + "/raw/film/1/a0/0.m4s").content
                == odd_node.get("/local/film/1/a0/0.m4s").content)
        wait_for(lambda: "broke off" in odd_node.log(), what="a word on it")
    odd.behave = None
    assert odd_node.get("/raw/film/1/v0/index.m3u8").status_code == 200
    assert odd.reads.count("/media/film/1/a0.mp4") == last + 1


def test_a_full_disk_is_passed_by_and_used_again(root, storage, tmp_path):
    with private_mounts():
        disk = Disk(tmp_path / "disk", "1m")
        with Node(tmp_path / "node", root, storage.port,
                  cache=disk.folder / "cache") as node:
            names = names_of_film(node, "local")
            whole = {name: node.get("/local/film/1/" + name).content
                     for name in names}
            disk.fill()
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                for name in names * 2:
                    answers = list(pool.map(lambda _, path=name: node.get(
                        "/fill/film/1/" + path), range(8)))
                    assert {a.status_code for a in answers} == {200}
                    assert {a.content for a in answers} == {whole[name]}
                    # they do not wait for each other's turn to fail
                    assert max(a.elapsed.total_seconds()
                               for a in answers) < 1.5
            assert "No space left on device" in node.log()
            assert node.lives()

            def is_kept():
                reads = len(storage_reads(storage))
                for name in names:
                    assert node.get("/fill/film/1/" + name).content \
                        == whole[name]
                return len(storage_reads(storage)) == reads

            assert not is_kept()
            disk.make_room()
            wait_for(is_kept, 10, "all of it in the cache")


def test_a_slow_storage_is_a_504(odd_node, odd):
    odd.delay_s = 3
    assert odd_node.get("/raw/film/1/v0/index.m3u8").status_code == 504


def test_one_request_loads_the_index_for_all_who_wait(odd_node, odd):
    odd.delay_s = 0.3
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: odd_node.get(
            "/raw/film/1/v1/index.m3u8"), range(16)))
    assert {a.status_code for a in answers} == {200}
    assert len({a.content for a in answers}) == 1
    assert odd.reads.count("/media/film/1/v1.idx") == 1


def test_those_who_wait_share_the_error(odd_node, odd):
    odd.delay_s = 1
    odd.behave = with_status(500)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: odd_node.get(
            "/raw/film/1/v1/index.m3u8"), range(8)))
    assert {a.status_code for a in answers} == {502}
    assert odd.reads.count("/media/film/1/v1.idx") == 1


def test_another_takes_over_when_the_loader_leaves(odd_node, odd):
    odd.delay_s = 1
    path = "/raw/film/1/v1/index.m3u8"
    loader = socket.create_connection(("127.0.0.1", odd_node.port))
    loader.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    wait_for(lambda: odd.reads, what="the first read")
    leaver = socket.create_connection(("127.0.0.1", odd_node.port))
    leaver.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(odd_node.get, path) for _ in range(4)]
        time.sleep(0.3)
        leaver.close()
        loader.close()
        assert {a.result().status_code for a in answers} == {200}
    # the other one that left may have had its turn, too
    assert odd.reads.count("/media/film/1/v1.idx") in (2, 3)


def read_answer(line):
    answer = line.makefile("rb")
    length = 0
    while (header := answer.readline()) != b"\r\n":
        assert header, "the connection was closed"
        if header.startswith(b"Content-Length:"):
            length = int(header.split(b":")[1])
    body = answer.read(length)
    assert len(body) == length
    return body


def test_a_wait_that_ends_twice_at_once_is_answered_once(root, odd, tmp_path):
    """In one turn of the worker the index is there and the viewer's line
    wakes up, and the answer does not leave in one piece."""
    with Node(tmp_path / "node", root, odd.port,
              "limit_rate $arg_rate;") as node:
        config = node.folder / "nginx.conf"
        listen = f"listen 127.0.0.1:{node.port}"
        config.write_text(config.read_text().replace(listen,
                                                     f"{listen} sndbuf=4k"))
        node.reload()
        worker, = node.worker_pids()
        with socket.socket() as waiter, socket.create_connection(
                ("127.0.0.1", node.port)) as loader:
            waiter.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            waiter.connect(("127.0.0.1", node.port))
            waiter.sendall(b"GET /local/film/1/v0/3.m4s HTTP/1.1\r\n"
                           b"Host: x\r\n\r\n")
            time.sleep(0.2)  # its line fills up: nginx watches it for writing
            read_answer(waiter)
            odd.delay_s = 0.5
            loader.sendall(b"GET /raw/film/1/v1/index.m3u8?rate=1m HTTP/1.1"
                           b"\r\nHost: x\r\n\r\n")
            wait_for(lambda: odd.reads, what="the read of the index")
            waiter.sendall(b"GET /raw/film/1/v1/index.m3u8?rate=100 HTTP/1.1"
                           b"\r\nHost: x\r\n\r\n")
            time.sleep(0.2)
            os.kill(worker, signal.SIGSTOP)
            time.sleep(0.6)
            waiter.sendall(b"G")
            os.kill(worker, signal.SIGCONT)
            assert read_answer(waiter) == read_answer(loader)
        assert node.worker_pids() == [worker]


# ---- viewers, many and odd ones ----


def test_over_http2_the_bytes_are_the_same(root, storage, tmp_path):
    with Node(tmp_path / "node", root, storage.port) as node:
        port = free_port()
        config = node.folder / "nginx.conf"
        listen = f"listen 127.0.0.1:{node.port};"
        config.write_text(config.read_text().replace(
            listen, f"{listen} listen 127.0.0.1:{port} http2;"))
        node.reload()
        names = names_of_film(node, "local")
        for name in names:
            whole = node.get("/local/film/1/" + name).content
            for source in ("local", "fill", "raw"):
                url = f"http://127.0.0.1:{port}/{source}/film/1/{name}"
                version = run("curl", "-sS", "--fail", "-o", tmp_path / "got",
                              "--http2-prior-knowledge", "-w",
                              "%{http_version}", url)
                assert version == "2"
                assert (tmp_path / "got").read_bytes() == whole, url


def test_viewers_that_leave_or_dawdle_do_no_harm(odd_node, odd):
    odd.delay_s = 0.05
    whole = odd_node.get("/local/film/1/v0/3.m4s").content
    for source in ("local", "raw", "fill"):
        request = (f"GET /{source}/film/1/v0/3.m4s HTTP/1.0\r\n\r\n").encode()
        for wanted in (0, 1, 500, 30000):
            with socket.create_connection(("127.0.0.1", odd_node.port)) as s:
                s.sendall(request)
                while wanted > 0 and (got := s.recv(wanted)):
                    wanted -= len(got)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect(("127.0.0.1", odd_node.port))
            s.sendall(request)
            got = b""
            while part := s.recv(2000):
                got += part
                time.sleep(0.001)
            assert got.split(b"\r\n\r\n", 1)[1] == whole


def test_a_rate_limit_holds_across_slices(root, storage, tmp_path):
    with Node(tmp_path / "node", root, storage.port,
              "limit_rate 40k;") as node:
        start = time.monotonic()
        limited = node.get("/fill/film/1/v0/3.m4s").content
        assert time.monotonic() - start > 0.7 * len(limited) / 40960 - 1
        assert len(limited) > 50000
        assert limited == node.get("/local/film/1/v0/3.m4s").content


@pytest.mark.parametrize("memory", ["4k", "20k"])
def test_more_indexes_than_there_is_memory_for(root, storage, tmp_path,
                                               memory):
    """Contents beyond package_index_memory push each other out; those larger
    than all of it are refused."""
    for number in range(8):
        (root / f"copy{number}").symlink_to(root / "film")
    with Node(tmp_path / "node", root, storage.port,
              f"package_index_memory {memory};") as node:
        paths = [f"/{source}/copy{number}/1/{track}/1.m4s"
                 for source in ("local", "fill") for number in range(8)
                 for track in TRACKS] * 3
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda p: (p, node.get(p)), paths))
        bodies = {}
        for path, answer in answers:
            assert answer.status_code == 200, path
            bodies.setdefault(path[-8:], set()).add(answer.content)
        assert all(len(b) == 1 for b in bodies.values())
        assert node.lives()
    with Node(tmp_path / "node", root, storage.port,
              "package_index_memory 300;") as node:
        assert node.get("/local/film/1/v0/1.m4s").status_code == 500
        assert node.get("/fill/film/1/v0/1.m4s").status_code == 502
        assert "over the stated limit" in node.log()
        assert "larger than allowed" in node.log()


# ---- configuration ----


@pytest.mark.parametrize("lines,reason", [
    ("location / { package $uri; }", 'needs a "package_root"'),
    ("location / { package $uri; package_root /x; package_fill /y/; }",
     "second source"),
    ("location / { package $uri; package_fill y/; }", "with a slash"),
    ("location / { package $uri; package_fill /y; }", "with a slash"),
    ("location / { package $uri; package_fill /y/ /z; }", "with a slash"),
    ("location / { package $uri; package $uri; package_root /x; }",
     "duplicate"),
    ("location / { package $uri; package_root ''; }", "empty value"),
    ("package_slice 100; location / { package $uri; package_root /x; }",
     "at least 1024"),
    ("location / { package; }", "number of arguments"),
])
def test_a_bad_configuration_is_refused_with_its_reason(node, lines, reason):
    node.configure(f"server {{ listen 127.0.0.1:{node.port}; {lines} }}")
    status, said = node.check()
    assert status != 0
    assert reason in said
    assert re.search(r"nginx\.conf:\d+", said)


def test_a_source_of_the_server_is_inherited_and_overridden(root, storage,
                                                            tmp_path):
    with Node(tmp_path / "node", root, storage.port) as node:
        text = node_http(node.port, root, storage.port)
        text = text.replace(f"package_root {root};", "")
        text = f"package_root {root}/;\n{text}"
        node.configure(text)
        node.reload()
        for source in ("local", "fill"):
            answer = node.get(f"/{source}/film/1/v0/0.m4s")
            assert answer.status_code == 200


def test_a_reload_under_load_loses_nothing(node):
    stop = threading.Event()
    statuses = []

    def watch():
        while not stop.is_set():
            for source in ("local", "fill"):
                statuses.append(
                    node.get(f"/{source}/film/1/v0/1.m4s").status_code)

    threads = [threading.Thread(target=watch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        node.reload()
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) == {200}
    node.pids = node.worker_pids()
