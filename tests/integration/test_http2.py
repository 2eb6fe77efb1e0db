# SPDX-License-Identifier: Apache-2.0
"""The package module over HTTP/2, on TLS and in the clear: what HTTP/1.1
answers, byte for byte, many streams at once on one connection. curl is the
other side."""

import os
import re
import socket
import struct
import subprocess
import time

import pytest
import requests

from nginx_instance import wait_for
from package_node import SLICES_KEPT, PackageNode
from ports import free_port
from test_package import INGEST, make_film, run

SEGMENTS = 6
KEYS = f"* video {'0a' * 16} {'1a' * 16}\n* audio {'0b' * 16} {'1b' * 16}\n"
PLACES = [f"{source}/{scheme}" for source in ("local", "fill")
          for scheme in ("off", "cenc", "cbcs", "aes-128")]


def make_noise(folder):
    """Segments of a megabyte."""
    folder.mkdir(parents=True)
    run("ffmpeg", "-v", "error", "-f", "lavfi", "-i",
        "testsrc2=s=640x360:r=25:d=4,noise=alls=60:allf=t", "-f", "lavfi",
        "-i", "sine=440:r=44100:d=4", "-map", "0:v", "-c:v", "libx264",
        "-preset", "ultrafast", "-b:v", "4M", "-g", "50", "-pix_fmt", "yuv420p",
        folder / "v0.mp4", "-map", "1:a", "-c:a", "aac", folder / "a0.mp4")
    run(INGEST, folder, 2000, "v0", "a0")


def names(place):
    """All that a film has there."""
    is_clear = place.endswith("off")
    found = []
    if not place.endswith("aes-128"):
        found += ["master.m3u8", "manifest.mpd"]
        for track in ("v0", "v1", "a0"):
            found += [f"{track}/index.m3u8", f"{track}/init.mp4"]
            found += [f"{track}/{n}.m4s" for n in range(SEGMENTS)]
        found += ["v0/iframes.m3u8"] if is_clear else []
    if is_clear or place.endswith("aes-128"):
        for tracks in ("v0~a0", "a0"):
            found.append(f"ts/{tracks}/index.m3u8")
            found += [f"ts/{tracks}/{n}.ts" for n in range(SEGMENTS)]
    return found


class Node(PackageNode):
    """Both versions, each on a port of its own."""

    def __init__(self, folder, root):
        port_2, self.port_2_clear = free_port(), free_port()
        self.url_2 = f"https://127.0.0.1:{port_2}"
        folder.mkdir(parents=True)
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes",
            "-keyout", folder / "tls.key", "-out", folder / "tls.crt",
            "-subj", "/CN=localhost")
        (folder / "keys").write_text(KEYS)
        super().__init__(folder, root, f"""
            listen 127.0.0.1:{port_2} ssl http2;
            listen 127.0.0.1:{self.port_2_clear} http2;
            ssl_certificate {folder}/tls.crt;
            ssl_certificate_key {folder}/tls.key;
            sendfile on;
            output_buffers 1 32k;
            package_slice 20011;
            package_keys {folder}/keys;
            package_key_uri /key/$package_kid;
            location ~ ^/local/([a-z0-9-]+)/(.*)$ {{
                package $2;
                package_root {root};
                package_encryption $1;
            }}
            location ~ ^/fill/([a-z0-9-]+)/(.*)$ {{
                package $2;
                package_fill /slices/;
                package_encryption $1;
            }}
            location ~ ^/large/([a-z0-9-]+)/(.*)$ {{
                package $2;
                package_fill /slices/;
                package_slice 200003;
                package_encryption $1;
            }}""", SLICES_KEPT)


@pytest.fixture(name="node", scope="module")
def _node(tmp_path_factory):
    root = tmp_path_factory.mktemp("http2")
    make_film(root / "film" / "1")
    make_noise(root / "noise" / "1")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MALLOC_PERTURB_", "165")  # what is freed is spoilt
        node = Node(root / "node", root)
    with node:
        pids = node.worker_pids()
        yield node
        assert node.worker_pids() == pids
        assert "[alert]" not in node.log()


def fetch(node, folder, requests_, *options):
    """All of them at once, on one connection: (status, headers, body) of each.
    A request is (path, lines of curl's configuration)."""
    lines = []
    for number, (path, more) in enumerate(requests_):
        lines += [f'url = "{node.url_2}{path}"', f'output = "{folder}/{number}"',
                  f'dump-header = "{folder}/{number}.head"',
                  'write-out = "%{http_version} %{num_connects}\\n"',
                  "http2", "insecure", "max-time = 30", "silent", *more, "next"]
    (folder / "config").write_text("\n".join(lines[:-1]))
    done = subprocess.run(
        ["curl", "--parallel", "--parallel-max", "100", *options, "-K",
         folder / "config"], capture_output=True, text=True, timeout=120,
        check=False)
    assert done.returncode == 0, done.stderr
    told = done.stdout.split("\n")[:-1]
    assert [line.split()[0] for line in told] == ["2"] * len(requests_)
    assert sum(int(line.split()[1]) for line in told) == 1
    found = []
    for number in range(len(requests_)):
        head = (folder / f"{number}.head").read_text()
        body = folder / str(number)
        found.append((int(head.split()[1]),
                      dict(re.findall(r"^([\w-]+): (.*)$", head, re.M)),
                      body.read_bytes() if body.exists() else b""))
    return found


def same(found, wanted):
    """An answer over HTTP/2 and one over HTTP/1.1."""
    status, headers, body = found
    assert status == wanted.status_code, wanted.url
    assert body == wanted.content, wanted.url
    for name in ("Content-Length", "Content-Type", "Content-Range", "ETag",
                 "Last-Modified", "Accept-Ranges"):
        assert headers.get(name.lower()) == wanted.headers.get(name), name


@pytest.mark.parametrize("place", PLACES)
def test_every_byte_is_http_1_s(node, tmp_path, place):
    paths = [f"/{place}/film/1/{name}" for name in names(place)]
    found = fetch(node, tmp_path, [(path, []) for path in paths])
    for path, answer in zip(paths, found):
        assert answer[0] == 200 and answer[2], path
        same(answer, requests.get(node.url + path, timeout=20))


@pytest.mark.parametrize("place", PLACES)
def test_ranges_heads_and_errors_are_http_1_s(node, tmp_path, place):
    name = "ts/v0~a0/1.ts" if place.endswith("aes-128") else "v0/1.m4s"
    path = f"/{place}/film/1/{name}"
    whole = requests.get(node.url + path, timeout=20)
    size = len(whole.content)
    ranges = ["0-0", "5-60000", f"{size - 7}-", "-100", f"100-{size + 9}",
              f"{size}-"]
    tag = whole.headers["ETag"].replace('"', '\\"')
    found = fetch(node, tmp_path, [
        *((path, [f'range = "{text}"']) for text in ranges),
        (path, [f'header = "If-None-Match: {tag}"']),
        (path, ["head"]), (path.replace("1.", "9999."), [])])
    for text, answer in zip(ranges, found):
        same(answer, requests.get(node.url + path, timeout=20, headers={
            "Range": f"bytes={text}"}))
    assert found[6][0] == 304 and found[6][2] == b""
    assert found[7][0] == 200
    assert int(found[7][1]["content-length"]) == size
    assert found[8][0] == 404


def open_files(node):
    (pid,) = node.worker_pids()
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_viewers_who_go_away_leave_nothing(node, tmp_path):
    """Connections with many streams under way are cut; those that stay get all
    of it."""
    paths = [f"/{place}/film/1/{name}" for place in PLACES
             for name in names(place) if name.endswith(("1.m4s", "1.ts"))]
    before = open_files(node)
    cut = [subprocess.Popen(
        ["curl", "--http2", "--insecure", "--silent", "--parallel",
         "--limit-rate", "20k", "--max-time", "30",
         *(part for path in paths for part in ("-o", "/dev/null",
                                               node.url_2 + path))],
        stdout=subprocess.DEVNULL) for _ in range(8)]
    try:
        wait_for(lambda: open_files(node) >= before + 8, 10)
        time.sleep(0.3)
        found = fetch(node, tmp_path, [(path, []) for path in paths])
    finally:
        for client in cut:
            client.kill()
            client.wait()
    for path, answer in zip(paths, found):
        same(answer, requests.get(node.url + path, timeout=20))
    wait_for(lambda: open_files(node) <= before, 10)


# ---- in the clear, where nginx sends files and buffers by itself ----

@pytest.mark.parametrize("scheme", ["off", "cenc", "cbcs", "aes-128"])
@pytest.mark.parametrize("pace", ["1G", "1M"])
def test_large_slices_in_the_clear(node, tmp_path, scheme, pace):
    name = "ts/v0~a0/1.ts" if scheme == "aes-128" else "v0/1.m4s"
    path = f"/large/{scheme}/noise/1/{name}"
    wanted = requests.get(node.url + path, timeout=20).content
    assert len(wanted) > 200003
    subprocess.run(["curl", "--silent", "--http2-prior-knowledge",
                    "--max-time", "30", "--limit-rate", pace, "--output",
                    tmp_path / "out",
                    f"http://127.0.0.1:{node.port_2_clear}{path}"], check=True)
    assert (tmp_path / "out").read_bytes() == wanted


def frame(kind, flags, stream, payload=b""):
    return (struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
            + struct.pack(">I", stream) + payload)


def literal(name, value):
    return (b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value)


def data_of(line):
    """Bytes of DATA frames until nothing more comes."""
    raw = b""
    line.settimeout(0.4)
    try:
        while piece := line.recv(1 << 20):
            raw += piece
    except TimeoutError:
        pass
    data = b""
    while len(raw) >= 9:
        size = int.from_bytes(raw[:3], "big")
        if raw[3] == 0:
            data += raw[9:9 + size]
        raw = raw[9 + size:]
    return data


@pytest.mark.parametrize("path", [
    "local/off/film/1/v0/1.m4s", "local/cenc/film/1/v0/1.m4s",
    "local/cbcs/film/1/v0/1.m4s", "local/aes-128/film/1/ts/v0~a0/1.ts",
    "local/off/film/1/master.m3u8", "fill/off/film/1/v0/1.m4s",
    "fill/cenc/film/1/v0/1.m4s", "fill/aes-128/film/1/ts/v0~a0/1.ts"])
def test_a_condition_that_fails_is_the_whole_answer(node, path):
    """Its page waits for a window to open: nothing may come behind it."""
    with socket.create_connection(("127.0.0.1", node.port_2_clear)) as line:
        no_window = struct.pack(">HI", 4, 0)
        head = b"".join(literal(name, value) for name, value in (
            (b":method", b"GET"), (b":scheme", b"http"),
            (b":path", f"/{path}".encode()), (b":authority", b"a"),
            (b"if-match", b'"x"')))
        line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                     + frame(4, 0, 0, no_window) + frame(1, 5, 1, head))
        assert data_of(line) == b""
        more = struct.pack(">I", 3000000)
        line.sendall(frame(8, 0, 1, more) + frame(8, 0, 0, more))
        data = data_of(line)
    assert b"412 Precondition Failed" in data
    assert data.endswith(b"</html>\r\n")
