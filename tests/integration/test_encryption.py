# SPDX-License-Identifier: Apache-2.0
"""Encrypted segments of the package module: FFmpeg gets every sample back
with the key and none without, from a folder and through a fill location, in
whole and in ranges; what is slow or killed costs nothing."""

import base64
import functools
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from xml.etree import ElementTree

import pytest
import requests

from browser import PLAYER_LOCATIONS
from conftest import widevine_data
from nginx_instance import NginxInstance, wait_for
from ports import free_port
from test_package import INGEST, make_film, run, storage_http

VIDEO_KEY = "0f1e2d3c4b5a69788796a5b4c3d2e100"
AUDIO_KEY = "1f1e2d3c4b5a69788796a5b4c3d2e100"
VIDEO_KID = "00112233445566778899aabbccddeeff"
AUDIO_KID = "10112233445566778899aabbccddeeff"
WIDEVINE = bytes.fromhex("edef8ba979d64acea3c827dcd51d21ed")
KEYS = f"""# of the film alone
film video {VIDEO_KID} {VIDEO_KEY}
film audio {AUDIO_KID} {AUDIO_KEY}
"""
CENC = "{urn:mpeg:cenc:2013}"
DASH = "{urn:mpeg:dash:schema:mpd:2011}"
SCHEMES, SOURCES, TRACKS = ("cenc", "cbcs"), ("local", "fill"), ("v0", "a0")


def base64url(hexadecimal):
    return base64.urlsafe_b64encode(
        bytes.fromhex(hexadecimal)).decode().rstrip("=")


# what a licence server of ClearKey answers, whatever it is asked
LICENSE = json.dumps({"type": "temporary", "keys": [
    {"kty": "oct", "kid": base64url(kid), "k": base64url(key)}
    for kid, key in ((VIDEO_KID, VIDEO_KEY), (AUDIO_KID, AUDIO_KEY))]})

def node_http(port, root, storage_port):
    """/<source>/<scheme>/<path>"""
    return f"""
    access_log off;
    sendfile on;
    package_slice 20011;
    package_keys keys;
    package_drm widevine playready fairplay clearkey;
    output_buffers 1 32k;
    proxy_cache_path cache keys_zone=fill:1m use_temp_path=off;
    map $uri $file {{ volatile; ~^/[a-z]+(?<name>/.*)$ $name; }}
    server {{
        listen 127.0.0.1:{port};
        location ~ ^/local/([a-z]+)/(.*)$ {{
            package $2;
            package_root {root};
            package_encryption $1;
        }}
        location ~ ^/copied/([a-z]+)/(.*)$ {{
            package $2;
            package_root {root};
            package_encryption $1;
            sendfile off;
        }}
        location ~ ^/threads/([a-z]+)/(.*)$ {{
            package $2;
            package_root {root};
            package_encryption $1;
            aio threads;
        }}
        location ~ ^/fill/([a-z]+)/(.*)$ {{
            package $2;
            package_fill /slices/;
            package_encryption $1;
        }}
        location ~ ^/lead/([a-z]+)/(.*)$ {{
            package $2;
            package_root {root};
            package_encryption $1;
            package_clear_lead 2;
        }}
        location ~ ^/player/([a-z]+)/(.*)$ {{
            package $2;
            package_root {root};
            package_encryption $1;
            package_drm clearkey=/license;
        }}
        location ~ ^/header/([a-z]+)/(.*)$ {{
            package $2;
            package_root {root};
            package_encryption $1;
            package_drm playready=https://rights.example/?a&b
                        playready-ui=https://pay.example/
                        playready-service=AH+03juKbUGbHl1V/QIwRA==;
        }}
        location ~ ^/started/([a-z]+)/(.*)$ {{
            package $2;
            package_root {root};
            package_encryption $1;
            package_drm clearkey=/license;
            package_clear_lead 1;
        }}
        location = /license {{
            default_type application/json;
            return 200 '{LICENSE}';
        }}
        {PLAYER_LOCATIONS}
        location ~ ^/large/([a-z]+)/(.*)$ {{
            package $2;
            package_fill /slices/;
            package_slice 1m;
            package_encryption $1;
        }}
        location /slices/ {{
            internal;
            proxy_pass http://127.0.0.1:{storage_port}/media/;
            proxy_set_header Range $package_slice_range;
            proxy_cache fill;
            proxy_cache_key $file?$package_slice_range;
            proxy_cache_valid 200 206 30d;
        }}
    }}"""


class Node(NginxInstance):
    def __init__(self, folder, root, storage_port):
        port = free_port()
        folder.mkdir(parents=True)
        (folder / "keys").write_text(KEYS)
        (folder / "conf").mkdir(exist_ok=True)
        (folder / "conf" / "keys").write_text(KEYS)
        super().__init__(folder, node_http(port, root, storage_port), port,
                         modules=("package",), http_defaults="")

    def get(self, path, **arguments):
        return requests.get(self.url + path, timeout=20, **arguments)

    def file(self, place, track):
        """Init segment and segments of a track, as one file."""
        out = self.get(f"/{place}/film/1/{track}/init.mp4").content
        playlist = self.get(f"/{place}/film/1/{track}/index.m3u8").text
        for name in re.findall(r"^\d+\.m4s$", playlist, re.M):
            answer = self.get(f"/{place}/film/1/{track}/{name}")
            assert answer.status_code == 200
            out += answer.content
        return out


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    root = tmp_path_factory.mktemp("encryption")
    make_film(root / "film" / "1")
    shutil.copytree(root / "film", root / "stranger")
    return root


@pytest.fixture
def node(film, tmp_path):
    port = free_port()
    with NginxInstance(tmp_path / "storage", storage_http(port, film), port,
                       http_defaults=""):
        with Node(tmp_path / "node", film, port) as instance:
            yield instance


def packets(path, *options):
    """Sizes and hashes; without seeking, which makes FFmpeg read ahead to
    the subsamples of the next fragment."""
    done = subprocess.run(["ffmpeg", "-v", "quiet", "-nostdin", *options,
                           "-seekable", "0", "-i", str(path), "-c", "copy",
                           "-f", "framemd5", "-"], capture_output=True,
                          text=True, timeout=60, check=False)
    return re.findall(r"^0,(?: *-?\d+,){3} *(\d+), ([0-9a-f]{32})",
                      done.stdout, re.M)


@functools.cache
def frames(path, *options):
    """A digest of each frame that is decoded."""
    said = run("ffmpeg", "-v", "error", "-nostdin", "-xerror", *options,
               "-seekable", "0", "-i", path, "-fps_mode", "passthrough", "-f",
               "framemd5", "-")
    return re.findall(r"^0,.*, ([0-9a-f]{32})$", said, re.M)


def key_of(track):
    return AUDIO_KEY if track == "a0" else VIDEO_KEY


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("track", TRACKS)
def test_the_key_gives_every_sample_back(node, film, tmp_path, source, scheme,
                                         track):
    """And so every frame of the source; of a fragmented file comes the frame of
    priming, too."""
    out, clear = tmp_path / "out.mp4", tmp_path / "clear.mp4"
    out.write_bytes(node.file(f"{source}/{scheme}", track))
    clear.write_bytes(node.file(f"{source}/off", track))
    expected = packets(clear)
    assert len(expected) >= 300
    assert packets(out, "-decryption_key", key_of(track)) == expected
    wrong = packets(out, "-decryption_key", VIDEO_KID)
    assert not {p for p in wrong if int(p[0]) > 64} & set(expected)
    assert not {p for p in packets(out) if int(p[0]) > 64} & set(expected)
    shown = frames(film / "film" / "source" / f"{track}.mp4")
    priming = 1 if track == "a0" else 0
    assert len(shown) >= 300
    assert frames(out, "-decryption_key", key_of(track))[priming:] == shown


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_same_bytes_come_from_everywhere(node, scheme):
    assert (node.file(f"local/{scheme}", "v0")
            == node.file(f"fill/{scheme}", "v0"))


@pytest.mark.parametrize("place", ["local/cenc", "fill/cbcs", "fill/off",
                                   "local/off"])
def test_ranges_are_cut_from_what_is_sent(node, place):
    path = f"/{place}/film/1/v0/1.m4s"
    whole = node.get(path)
    size = len(whole.content)
    assert whole.headers["Accept-Ranges"] == "bytes"
    for text, start, end in (("0-0", 0, 1), ("5-60000", 5, 60001),
                             (f"{size - 7}-", size - 7, size),
                             ("-100", size - 100, size),
                             (f"100-{size + 9}", 100, size)):
        part = node.get(path, headers={"Range": f"bytes={text}"})
        assert part.status_code == 206
        assert part.content == whole.content[start:end]
        assert (part.headers["Content-Range"]
                == f"bytes {start}-{end - 1}/{size}")
        assert part.headers["ETag"] == whole.headers["ETag"]
    refused = node.get(path, headers={"Range": f"bytes={size}-"})
    assert refused.status_code == 416
    assert refused.headers["Content-Range"] == f"bytes */{size}"
    for odd in ("bytes=9-3", "lines=0-1", "bytes=a-"):
        if place == "local/off":
            break  # nginx's own business
        assert node.get(path, headers={"Range": odd}).content == whole.content
    for condition, status in ((whole.headers["ETag"], 206),
                              (whole.headers["Last-Modified"], 206),
                              ('"0000"', 200)):
        part = node.get(path, headers={"Range": "bytes=0-99",
                                       "If-Range": condition})
        assert part.status_code == status


def test_a_head_and_a_tag_are_of_what_would_be_sent(node):
    tags = set()
    for place in ("local/off", "local/cenc", "local/cbcs"):
        for name in ("0.m4s", "1.m4s", "init.mp4"):
            path = f"/{place}/film/1/v0/{name}"
            whole = node.get(path)
            head = requests.head(node.url + path, timeout=20)
            assert (int(head.headers["Content-Length"])
                    == len(whole.content))
            assert head.headers["ETag"] == whole.headers["ETag"]
            tags.add(whole.headers["ETag"])
            again = node.get(path,
                             headers={"If-None-Match": head.headers["ETag"]})
            assert again.status_code == 304 and not again.content
    assert len(tags) == 9


def test_a_film_without_a_key_is_never_sent_in_the_clear(node):
    for name in ("v0/0.m4s", "v0/init.mp4", "v0/index.m3u8", "master.m3u8",
                 "manifest.mpd"):
        for source in SOURCES:
            assert node.get(f"/{source}/cenc/stranger/1/{name}"
                            ).status_code == 500, (source, name)
    assert node.get("/local/cemc/film/1/v0/0.m4s").status_code == 500
    assert node.get("/local/off/stranger/1/v0/0.m4s").status_code == 200


@pytest.mark.parametrize("scheme,method", [("cenc", "SAMPLE-AES-CTR"),
                                           ("cbcs", "SAMPLE-AES")])
def test_playlists_name_the_keys(node, scheme, method):
    for track, kid in (("v0", VIDEO_KID), ("a0", AUDIO_KID)):
        text = node.get(f"/local/{scheme}/film/1/{track}/index.m3u8").text
        keys = re.findall(r"^#EXT-X-KEY:.*$", text, re.M)
        assert len(keys) == (4 if scheme == "cbcs" else 3)
        assert all(f"METHOD={method}," in key for key in keys)
        assert any(f"KEYID=0x{kid}," in key for key in keys)
        assert text.index("#EXT-X-KEY") < text.index("#EXT-X-MAP")
        assert (f"skd://{kid}" in text) == (scheme == "cbcs")
    master = node.get(f"/local/{scheme}/film/1/master.m3u8").text
    assert master.count("#EXT-X-SESSION-KEY") == 2 * len(keys)


def test_a_playready_header_says_where_licenses_are(node):
    said = ("</PROTECTINFO><LA_URL>https://rights.example/?a&amp;b</LA_URL>"
            "<LUI_URL>https://pay.example/</LUI_URL>"
            "<DS_ID>AH+03juKbUGbHl1V/QIwRA==</DS_ID></DATA></WRMHEADER>")
    init = node.get("/header/cenc/film/1/v0/init.mp4")
    assert init.status_code == 200 and said.encode("utf-16-le") in init.content
    mpd = node.get("/header/cenc/film/1/manifest.mpd").text
    boxes = [base64.b64decode(text) for text in
             re.findall(r"pssh[^>]*>([A-Za-z0-9+/=]+)<", mpd)]
    assert boxes and all(said.encode("utf-16-le") in box for box in boxes)
    playlist = node.get("/header/cenc/film/1/v0/index.m3u8").text
    objects = re.findall(r'charset=UTF-16;base64,([^"]+)"', playlist)
    assert len(objects) == 1
    assert said.encode("utf-16-le") in base64.b64decode(objects[0])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_protobuf_reads_widevine_s_data_in_init_segments(node, scheme):
    for track, kid in (("v0", VIDEO_KID), ("a0", AUDIO_KID)):
        init = node.get(f"/local/{scheme}/film/1/{track}/init.mp4").content
        at = init.index(b"pssh" + bytes(4) + WIDEVINE) - 4
        box = init[at:at + int.from_bytes(init[at:at + 4], "big")]
        assert widevine_data(base64.b64encode(box)) == [{
            "key_ids": [kid], "protection_scheme": scheme}]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_mpd_names_the_keys(node, scheme):
    mpd = ElementTree.fromstring(
        node.get(f"/local/{scheme}/film/1/manifest.mpd").content)
    found = {}
    for key_set in mpd.iter(f"{DASH}AdaptationSet"):
        first, *others = key_set.findall(f"{DASH}ContentProtection")
        assert first.get("value") == scheme
        assert len(others) == 3
        for representation in key_set.iter(f"{DASH}Representation"):
            found[representation.get("id")] = \
                first.get(f"{CENC}default_KID").replace("-", "")
    assert found == {"v0": VIDEO_KID, "v1": VIDEO_KID, "a0": AUDIO_KID}


def test_subtitles_are_clear_and_key_frames_have_no_list(tmp_path):
    folder = tmp_path / "film" / "1"
    folder.mkdir(parents=True)
    run("ffmpeg", "-v", "error", "-f", "lavfi", "-i",
        "testsrc2=s=160x90:r=24:d=4", "-c:v", "libx264", "-g", "24",
        "-pix_fmt", "yuv420p", folder / "v0.mp4")
    (folder / "s0.srt").write_text(
        "1\n00:00:01,000 --> 00:00:02,000\nWords\n")
    run(INGEST, folder, "1000", "v0", "s0.srt:en:English")
    with Node(tmp_path / "node", tmp_path, free_port()) as node:
        for scheme in SCHEMES:
            base = f"/local/{scheme}/film/1"
            for name in ("index.m3u8", "1.vtt", "all.vtt"):
                text = node.get(f"{base}/s0/{name}")
                assert text.status_code == 200
                assert text.content == \
                    node.get(f"/local/off/film/1/s0/{name}").content
            master = node.get(f"{base}/master.m3u8").text
            assert "TYPE=SUBTITLES" in master and "I-FRAME" not in master
            assert f"KEYID=0x{VIDEO_KID}" in master
            assert f"KEYID=0x{'0' * 32}" not in master
            assert node.get(f"{base}/v0/iframes.m3u8").status_code == 404
            mpd = ElementTree.fromstring(
                node.get(f"{base}/manifest.mpd").content)
            assert [len(s.findall(f"{DASH}ContentProtection")) > 0
                    for s in mpd.iter(f"{DASH}AdaptationSet")
                    ] == [True, False]
        clear = node.get("/local/off/film/1/master.m3u8").text
        assert "I-FRAME" in clear
        assert node.get("/local/off/film/1/v0/iframes.m3u8").status_code == 200


def test_the_lead_is_clear(node):
    for scheme in SCHEMES:
        for n in range(4):
            name = f"film/1/v0/{n}.m4s"
            sealed = node.get(f"/lead/{scheme}/{name}").content
            clear = node.get(f"/local/off/{name}").content
            body = clear.index(b"mdat") + 4
            is_same = sealed.endswith(clear[body:])
            assert is_same == (n < 2)
            assert b"seig" in sealed and (b"senc" in sealed) == (n >= 2)


def memory_kb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return int(re.search(r"Private_Dirty: +(\d+)", file.read())[1])


def stalled_client(node, path):
    """Asks and takes nothing."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", node.port))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: n\r\n\r\n".encode())
    return client


def take(client, size):
    while size > 0:
        size -= len(client.recv(min(size, 1 << 16)))


@pytest.fixture(scope="module", name="big")
def _big(film):
    """A large film, so that nothing of it fits the sockets' buffers."""
    folder = film / "film" / "2"
    folder.mkdir()
    run("ffmpeg", "-v", "error", "-f", "lavfi", "-i",
        "nullsrc=s=640x360:r=25:d=4,geq=random(1)*255:128:128",
        "-c:v", "libx264", "-preset", "ultrafast", "-qp", 10, "-g", 100,
        "-pix_fmt", "yuv420p", folder / "v0.mp4")
    run(INGEST, folder, 4000, "v0")
    return folder


def body(answer):
    """As a digest: a failed comparison is to say little."""
    return hashlib.sha256(answer.content).hexdigest()


@pytest.mark.parametrize("scheme", ["cenc", "cbcs"])
@pytest.mark.usefixtures("big")
def test_pages_copies_and_threads_give_the_same_bytes(node, scheme):
    for part in ({}, {"Range": "bytes=1000003-5000011"}):
        bodies = {body(node.get(f"/{place}/{scheme}/film/2/v0/0.m4s",
                                headers=part))
                  for place in ("local", "copied", "threads", "large")}
        assert len(bodies) == 1


def test_a_file_that_is_cut_off_meanwhile_ends_only_that_answer(node, big):
    cut = big.with_name("3")
    shutil.copytree(big, cut)
    pids = node.worker_pids()
    client = stalled_client(node, "/local/cenc/film/3/v0/0.m4s")
    take(client, 1 << 20)
    os.truncate(cut / "v0.mp4", 6 << 20)
    got = 0
    while piece := client.recv(1 << 16):
        got += len(piece)
    assert (1 << 20) < got < (7 << 20)
    assert "read of a segment failed" in node.log()
    assert node.get("/local/cenc/film/2/v0/0.m4s").status_code == 200
    assert node.worker_pids() == pids


@pytest.mark.parametrize("place", ["local/cenc", "local/cbcs", "copied/cenc",
                                   "large/cenc", "large/cbcs"])
@pytest.mark.usefixtures("big")
def test_stalled_clients_cost_little_and_killed_ones_nothing(node, place):
    path = f"/{place}/film/2/v0/0.m4s"
    size = len(node.get(path).content)
    assert size > 16 << 20
    pids = node.worker_pids()
    (pid,) = pids
    before = memory_kb(pid)
    clients = [stalled_client(node, path) for _ in range(64)]
    wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) > 64, 10)
    for client in clients[32:]:
        take(client, 4 << 20)  # some slices
    time.sleep(2)
    most = memory_kb(pid)
    per_client = (most - before) / 64
    assert per_client <= 64
    assert most <= 64 << 10
    for client in clients[:32]:
        client.close()
    for client in clients[32:]:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        head = client.recv(1 << 16, socket.MSG_PEEK)
        client.recv(len(head))
        client.close()
    wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) < 64, 10)
    # what is freed may stay with malloc: never more than 64 took at once
    for _ in range(6):
        more = [stalled_client(node, path) for _ in range(64)]
        time.sleep(0.5)
        for client in more:
            client.close()
        assert len(node.get(path).content) == size
        wait_for(lambda: len(os.listdir(f"/proc/{pid}/fd")) < 64, 10)
    assert memory_kb(pid) <= most + 1024
    assert node.worker_pids() == pids


SEEN = """
const video = document.getElementById('video');
return { time: video.currentTime, errors: window.seen.errors,
  frames: video.getVideoPlaybackQuality().totalVideoFrames,
  hasKeys: !!video.mediaKeys };
"""


@pytest.mark.parametrize("player,name", [("shaka", "manifest.mpd"),
                                         ("dash", "manifest.mpd"),
                                         ("hls", "master.m3u8")])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("place", ["player", "started"])
def test_players_play_with_clearkey(node, browser, place, scheme, player,
                                    name):
    browser.get(f"{node.url}/player.html?player={player}&license=/license"
                f"&url=/{place}/{scheme}/film/1/{name}")
    seen = {}

    def plays():
        seen.update(browser.execute_script(SEEN))
        return seen["time"] > 5 and seen["frames"] > 60
    try:
        wait_for(plays, 30, player, 0.1)
    except TimeoutError:
        raise AssertionError(f"{player} stands still: {seen}") from None
    assert seen["hasKeys"]
