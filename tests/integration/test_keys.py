# SPDX-License-Identifier: Apache-2.0
"""Which key encrypts what: one for each class of renditions, another in each
period. FFmpeg gets each period back with its own key alone; players get the
keys of ClearKey that they ask for and no others."""

import base64
import hashlib
import hmac
import json
import os
import re
import shutil
import socket
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import pytest

from browser import PLAYER_LOCATIONS
from nginx_instance import NginxInstance, wait_for
from ports import free_port
from stand_in import StandIn
from test_encryption import CENC, DASH, SEEN, base64url, packets
from test_package import INGEST, run

import requests

SCHEMES = ("cenc", "cbcs")
CLASS_OF = {"v0": "hd", "v1": "sd", "a0": "audio"}
PERIOD, PERIODS = 3, 4  # segments; of a film of 12


def kid_of(name, period=None):
    """A KID says what it is of: class and period; ff: of all."""
    number = "ff" if period is None else f"{period:02x}"
    return f"{name.encode().hex():<010}{number}".rjust(32, "0")


def key_of(kid):
    return f"{int(kid, 16) ^ (1 << 128) - 1:032x}"


def key_lines():
    """film/1 has keys by period, all other versions one for each class."""
    names = [(f"film/1 {name}:{period}", kid_of(name, period))
             for name in set(CLASS_OF.values()) for period in range(PERIODS)]
    names += [(f"film {name}", kid_of(name))
              for name in set(CLASS_OF.values())]
    names += [("short audio:0", kid_of("short"))]
    return "".join(f"{name} {kid} {key_of(kid)}\n" for name, kid in names)


def all_kids():
    return [line.split()[2] for line in key_lines().splitlines()]


class License:
    """Of ClearKey: the keys that are asked for, or all that there are."""

    def __init__(self):
        self.asked, self.gives_all = set(), False

    def __call__(self, request):
        kids = {base64.urlsafe_b64decode(kid + "==").hex()
                for kid in json.loads(request.body())["kids"]}
        self.asked.update(kids)
        answer = json.dumps({"type": "temporary", "keys": [
            {"kty": "oct", "kid": base64url(kid), "k": base64url(key_of(kid))}
            for kid in (all_kids() if self.gives_all else kids)]}).encode()
        return 200, {"Content-Type": "application/json"}, answer


def node_http(port, root, license_url):
    return f"""
    access_log off;
    package_root {root};
    package_drm widevine playready fairplay clearkey=/license;
    package_keys keys;
    server {{
        listen 127.0.0.1:{port};
        location ~ ^/classes/([a-z]+)/(.*)$ {{
            package $2;
            package_encryption $1;
        }}
        location ~ ^/periods/([a-z]+)/(.*)$ {{
            package $2;
            package_encryption $1;
            package_key_period {PERIOD};
        }}
        location = /license {{ proxy_pass {license_url}; }}
        {PLAYER_LOCATIONS}
    }}"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """The film twice: version 1 has keys by period."""
    root = tmp_path_factory.mktemp("keys")
    folder = root / "film" / "1"
    folder.mkdir(parents=True)
    video = ["-c:v", "libx264", "-preset", "ultrafast", "-g", 24,
             "-sc_threshold", 0, "-pix_fmt", "yuv420p"]
    run("ffmpeg", "-v", "error", "-f", "lavfi", "-i",
        "testsrc2=s=1280x720:r=24:d=12", "-f", "lavfi", "-i",
        "sine=440:r=48000:d=12", "-map", "0:v", *video, folder / "v0.mp4",
        "-map", "0:v", "-vf", "scale=320:180", *video, folder / "v1.mp4",
        "-map", "1:a", "-c:a", "aac", folder / "a0.mp4")
    run(INGEST, folder, 1000, "v0", "v1", "a0")
    for name in ("film/2", "short/1"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(folder)
    home = root / "node"
    home.mkdir()
    (home / "keys").write_text(key_lines())
    port = free_port()
    with StandIn(License()) as license_server:
        http = node_http(port, root, license_server.url)
        with NginxInstance(home, http, port, modules=("package",),
                           http_defaults="") as instance:
            instance.license = license_server.answer
            instance.root = root
            instance.get = lambda path: requests.get(instance.url + path,
                                                     timeout=20)
            yield instance


def boxes(content):
    """Types of the boxes that it consists of, and what is in them."""
    found = []
    while content:
        size = int.from_bytes(content[:4], "big")
        assert 8 <= size <= len(content)
        found.append((content[4:8].decode(), content[8:size]))
        content = content[size:]
    return found


def tenc_kid(init):
    """default_KID of the track's tenc."""
    at = init.index(b"tenc") + 4 + 4 + 4
    return init[at:at + 16].hex()


def mpd_kids(node, path):
    """The default KID of each representation, and each set's properties."""
    mpd = ElementTree.fromstring(node.get(path).content)
    kids, sets = {}, []
    for key_set in mpd.iter(f"{DASH}AdaptationSet"):
        first = key_set.find(f"{DASH}ContentProtection")
        sets.append((key_set.get("id"), [
            p.get("value")
            for p in key_set.findall(f"{DASH}SupplementalProperty")
            if "switching" in p.get("schemeIdUri")]))
        for representation in key_set.iter(f"{DASH}Representation"):
            kids[representation.get("id")] = \
                first.get(f"{CENC}default_KID").replace("-", "")
    return kids, sets


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_class_of_renditions_has_its_key(node, scheme):
    base = f"/classes/{scheme}/film/2"
    expected = {track: kid_of(name) for track, name in CLASS_OF.items()}
    for track, kid in expected.items():
        assert tenc_kid(node.get(f"{base}/{track}/init.mp4").content) == kid
        text = node.get(f"{base}/{track}/index.m3u8").text
        assert set(re.findall("KEYID=0x([0-9a-f]*)", text)) == {kid}
    master = node.get(f"{base}/master.m3u8").text
    assert set(re.findall("#EXT-X-SESSION-KEY.*KEYID=0x([0-9a-f]*)", master)
               ) == set(expected.values())
    kids, sets = mpd_kids(node, f"{base}/manifest.mpd")
    assert kids == expected
    assert sets == [("1", ["2"]), ("2", ["1"]), (None, [])]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("track", ["v0", "a0"])
def test_each_period_needs_its_own_key(node, tmp_path, scheme, track):
    base = f"/periods/{scheme}/film/1/{track}"
    init = node.get(f"{base}/init.mp4").content
    kids = [kid_of(CLASS_OF[track], p) for p in range(PERIODS)]
    assert tenc_kid(init) == kids[0]
    file, found = tmp_path / "film.mp4", []
    for period, kid in enumerate(kids):
        segments = [node.get(f"{base}/{n}.m4s").content for n in
                    range(period * PERIOD, (period + 1) * PERIOD)]
        for segment in segments:
            (_, (_, moof), _) = parts = boxes(segment)
            assert [name for name, _ in parts] == ["styp", "moof", "mdat"]
            assert [name for name, _ in boxes(moof)] == [
                "mfhd", "traf", "pssh", "pssh", "pssh"]
            entry = moof[moof.index(b"sgpd"):]
            assert entry[8:12] == b"seig"
            assert entry[23] == (8 if scheme == "cenc" else 0)
            assert entry[24:40].hex() == kid
            assert moof.count(bytes.fromhex(kid)) >= 3
        # FFmpeg knows of no groups: it is told by the init segment
        own = init.replace(bytes.fromhex(kids[0]), bytes.fromhex(kid))
        file.write_bytes(own + b"".join(segments))
        found += packets(file, "-decryption_key", key_of(kid))
    other = packets(file, "-decryption_key", key_of(kids[0]))
    clear = f"/classes/off/film/1/{track}"
    file.write_bytes(b"".join(
        node.get(f"{clear}/{name}").content for name in
        ["init.mp4"] + [f"{n}.m4s" for n in range(PERIOD * PERIODS)]))
    expected = packets(file)
    assert len(expected) > 280 and found == expected
    assert not {p for p in other if int(p[0]) > 64} & set(expected)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_texts_name_the_key_of_each_period(node, scheme):
    base = f"/periods/{scheme}/film/1"
    for track, name in CLASS_OF.items():
        text = node.get(f"{base}/{track}/index.m3u8").text
        found = re.findall(r'KEYID=0x([0-9a-f]*),KEYFORMAT="org.w3.clearkey"'
                           r"|^(\d+)\.m4s$", text, re.M)
        expected = []
        for segment in range(PERIOD * PERIODS):
            if segment % PERIOD == 0:
                expected.append((kid_of(name, segment // PERIOD), ""))
            expected.append(("", str(segment)))
        assert found[:len(expected)] == expected
        boxes = node.get(f"{base}/{track}/init.mp4").content
        for period in range(PERIODS):
            assert bytes.fromhex(kid_of(name, period)) in boxes
    kids, _ = mpd_kids(node, f"{base}/manifest.mpd")
    assert kids == {t: kid_of(name, 0) for t, name in CLASS_OF.items()}
    master = node.get(f"{base}/master.m3u8").text
    assert set(re.findall("#EXT-X-SESSION-KEY.*KEYID=0x([0-9a-f]*)", master)
               ) == set(kids.values())


def test_a_period_without_a_key_is_never_sent_in_the_clear(node):
    base = "/periods/cenc/short/1/a0"
    assert node.get(f"{base}/0.m4s").status_code == 200
    for name in (f"{PERIOD}.m4s", "index.m3u8", "init.mp4"):
        assert node.get(f"{base}/{name}").status_code == 500
    assert "no key for track a0" in node.log()
    assert node.get("/periods/cenc/film/1/a0/4000000000.m4s"
                    ).status_code == 404


@pytest.mark.parametrize("player,place,scheme", [
    ("shaka", "classes", "cenc"), ("shaka", "periods", "cenc"),
    ("shaka", "periods", "cbcs"), ("dash", "classes", "cbcs"),
    ("dash", "periods", "cenc"), ("hls", "periods", "cenc"),
    ("hls", "periods", "cbcs")])
def test_players_get_the_keys_they_need(node, browser, player, place, scheme):
    """hls.js asks for the first key of a film alone, dash.js for those of the
    first period: they are given all."""
    node.license.asked.clear()
    node.license.gives_all = player != "shaka"
    version = 1 if place == "periods" else 2
    name = "master.m3u8" if player == "hls" else "manifest.mpd"
    browser.get(f"{node.url}/player.html?player={player}&license=/license"
                f"&url=/{place}/{scheme}/film/{version}/{name}")
    seen = {}

    def plays():
        seen.update(browser.execute_script(
            "document.getElementById('video').playbackRate = 4;" + SEEN))
        return seen["time"] > 10.5 and seen["frames"] > 100
    try:
        wait_for(plays, 30)
    except TimeoutError:
        raise AssertionError(f"{player} stands still: {seen}, asked for "
                             f"{node.license.asked}") from None
    assert seen["hasKeys"]
    if player == "shaka":
        assert node.license.asked == {
            kid_of(name, period) for name in CLASS_OF.values()
            for period in (range(PERIODS) if place == "periods" else [None])}


# ---- a key server ----

DS = "{http://www.w3.org/2000/09/xmldsig#}"
ENC = "{http://www.w3.org/2001/04/xmlenc#}"
CPIX = "{urn:dashif:org:cpix}"
PSKC = "{urn:ietf:params:xml:ns:keyprov:pskc}"


WIDEVINE = "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"
PLAYREADY = "9a04f079-9840-4286-ab92-e65be0885f95"
FAIRPLAY = "94ce86fb-07ff-4f43-adb8-93d2fa968ca2"


def given(tag, playlist, kid, system):
    if tag == f"{CPIX}PSSH":
        data = f"box of {kid}".encode()
        return b"".join((
            (32 + len(data)).to_bytes(4, "big"), b"pssh", bytes(4),
            uuid.UUID(system).bytes, len(data).to_bytes(4, "big"), data))
    if tag == f"{CPIX}ContentProtectionData":
        return f'<p:mark xmlns:p="urn:p">{system} {kid}</p:mark>'.encode()
    tag = "SESSION-KEY" if playlist == "master" else "KEY"
    return (f'#EXT-X-{tag}:METHOD=SAMPLE-AES,URI="given:{kid}",'
            f'KEYFORMAT="{system}"\n').encode()


def openssl(*args, data=b""):
    return subprocess.run(("openssl", *map(str, args)), input=data,
                          capture_output=True, check=True).stdout


def below(element, *path):
    """The last of new elements in each other."""
    for name in path:
        element = ElementTree.SubElement(element, name)
    return element


def cipher_value(element, algorithm, value):
    below(element, f"{ENC}EncryptionMethod").set("Algorithm",
                                                 ENC[1:-1] + algorithm)
    below(element, f"{ENC}CipherData", f"{ENC}CipherValue").text = \
        base64.b64encode(value).decode()


class KeyServer:
    """In a key server's place: it fills the document that it gets, with KIDs
    of its own that say what they are for. `mode` is what else it may do."""

    def __init__(self):
        self.mode, self.asked, self.headers = "fill", [], None

    def __call__(self, request):
        document = ElementTree.fromstring(request.body())
        self.asked.append(document)
        self.headers = request.headers
        if self.mode == "fail":
            return 500, {}, b"out of order"
        if self.mode == "hang up":
            return None
        if self.mode == "slow":
            time.sleep(1)
        if self.mode == "lie":
            return 200, {}, b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"
        kids = self.fill(document)
        is_sealed = document.find(f"{CPIX}DeliveryDataList") is not None
        if is_sealed and self.mode != "open":
            self.seal(document, self.mode == "forge")
        if self.mode in ("give", "give half a box"):
            self.give(document, kids, self.mode != "give")
        return 200, {"Content-Type": "application/xml"}, \
            ElementTree.tostring(document)

    def seal(self, document, is_forged):
        """Encrypts the keys to the certificate in the request, as SPEKE v2
        spells it, by the openssl program and Python's hmac."""
        (delivery,) = document.iter(f"{CPIX}DeliveryData")
        (certificate,) = delivery.findall(
            f"{CPIX}DeliveryKey/{DS}X509Data/{DS}X509Certificate")
        self.certificate.write_bytes(openssl(
            "x509", "-inform", "DER", data=base64.b64decode(certificate.text)))
        document_key, mac_key = os.urandom(32), os.urandom(64)
        value = below(delivery, f"{CPIX}DocumentKey", f"{CPIX}Data",
                      f"{PSKC}Secret", f"{PSKC}EncryptedValue")
        method = below(delivery, f"{CPIX}MACMethod")
        method.set("Algorithm",
                   "http://www.w3.org/2001/04/xmldsig-more#hmac-sha512")
        for element, secret in (
                (value, document_key),
                (below(method, f"{CPIX}Key", f"{PSKC}EncryptedValue"),
                 mac_key)):
            cipher_value(element, "rsa-oaep-mgf1p", openssl(
                "pkeyutl", "-encrypt", "-certin", "-inkey", self.certificate,
                "-pkeyopt", "rsa_padding_mode:oaep", data=secret))
        for secret in document.iterfind(f".//{CPIX}ContentKey//{PSKC}Secret"):
            (plain,) = secret
            secret.remove(plain)
            iv = os.urandom(16)
            cipher = iv + openssl(
                "enc", "-aes-256-cbc", "-K", document_key.hex(), "-iv",
                iv.hex(), data=base64.b64decode(plain.text))
            mac = hmac.digest(mac_key, cipher, hashlib.sha512)
            if is_forged:
                cipher = cipher[:-1] + bytes([cipher[-1] ^ 1])
            cipher_value(below(secret, f"{PSKC}EncryptedValue"), "aes256-cbc",
                         cipher)
            below(secret, f"{PSKC}ValueMAC").text = \
                base64.b64encode(mac).decode()

    @staticmethod
    def give(document, kids, is_half):
        """What tells players of each key, all of it another than ours."""
        for system in document.iter(f"{CPIX}DRMSystem"):
            kid = kids[system.get("kid")]
            system.set("kid", str(uuid.UUID(kid)))
            for part in system:
                text = given(part.tag, part.get("playlist"), kid,
                             system.get("systemId"))
                part.text = base64.b64encode(
                    text[:-1] if is_half else text).decode()

    @staticmethod
    def fill(document):
        kids = {}
        for rule in document.iter(f"{CPIX}ContentKeyUsageRule"):
            period = rule.find(f"{CPIX}KeyPeriodFilter")
            number = 0 if period is None else \
                int(period.get("periodId").split("_")[1])
            kid = kid_of(rule.get("intendedTrackType").lower(), number)
            kids[rule.get("kid")] = kid
            rule.set("kid", str(uuid.UUID(kid)))
        for key in document.iter(f"{CPIX}ContentKey"):
            kid = kids[key.get("kid")]
            key.set("kid", str(uuid.UUID(kid)))
            value = ElementTree.SubElement(ElementTree.SubElement(
                ElementTree.SubElement(key, f"{CPIX}Data"),
                f"{PSKC}Secret"), f"{PSKC}PlainValue")
            value.text = base64.b64encode(bytes.fromhex(key_of(kid))).decode()
        return kids


def server_http(port, root, key_server):
    return f"""
    access_log access.log;
    package_root {root};
    package_drm widevine playready fairplay;
    server {{
        listen 127.0.0.1:{port};
        location ~ ^/classes/([a-z]+)/(.*)$ {{
            package $2;
            package_encryption $1;
            package_key_server /keys/ valid=1s;
        }}
        location ~ ^/periods/([a-z]+)/(.*)$ {{
            package $2;
            package_encryption $1;
            package_key_server /keys/;
            package_key_period {PERIOD};
        }}
        location ~ ^/brief/([a-z]+)/(.*)$ {{
            package $2;
            package_encryption $1;
            package_key_server /keys/ valid=1s;
            package_key_period {PERIOD};
        }}
        location ~ ^/sealed/([a-z]+)/(.*)$ {{
            package $2;
            package_encryption $1;
            package_key_server /keys/;
            package_key_certificate cert.pem key.pem;
            package_key_period {PERIOD};
            package_drm playready;
        }}
        location ~ ^/fill/([a-z]+)/(.*)$ {{
            package $2;
            package_fill /slices/;
            package_encryption $1;
            package_key_server /keys/;
            package_key_period {PERIOD};
        }}
        location /media/ {{ alias {root}/; }}
        location /slices/ {{
            internal;
            proxy_pass http://127.0.0.1:{port}/media/;
            proxy_set_header Range $package_slice_range;
        }}
        location /keys/ {{
            internal;
            proxy_pass {key_server.url}/speke/v2.0/copyProtection?;
            proxy_buffering off;
        }}
    }}"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A certificate and its key, cert.pem and key.pem."""
    folder = tmp_path_factory.mktemp("pair")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj",
            "/CN=packager", "-keyout", folder / "key.pem", "-out",
            folder / "cert.pem")
    return folder


@pytest.fixture
def served(node, pair, tmp_path):
    """A node that has its keys from a key server."""
    port = free_port()
    shutil.copytree(pair, tmp_path / "served")
    with StandIn(KeyServer()) as key_server:
        key_server.answer.certificate = tmp_path / "certificate.pem"
        http = server_http(port, node.root, key_server)
        with NginxInstance(tmp_path / "served", http, port,
                           modules=("package",),
                           http_defaults="") as instance:
            instance.keys = key_server.answer
            instance.get = lambda path: requests.get(instance.url + path,
                                                     timeout=20)
            yield instance


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_key_server_is_asked_once_for_all_keys(served, node, tmp_path,
                                                 scheme):
    """And what is encrypted with its keys is what a key file's would give."""
    for track in CLASS_OF:
        base = f"/periods/{scheme}/film/1/{track}"
        for name in ("index.m3u8", "init.mp4", "0.m4s", "11.m4s"):
            answer = served.get(f"{base}/{name}")
            assert answer.status_code == 200
            if name.endswith(".m4s"):
                kid = kid_of(CLASS_OF[track], int(name[:-4]) // PERIOD)
                assert bytes.fromhex(kid) in answer.content
                ours, theirs = (
                    n.get(f"{base}/{name}").content for n in (served, node))
                assert ours[ours.index(b"mdat"):] == \
                    theirs[theirs.index(b"mdat"):]
    assert served.get(f"/periods/{scheme}/film/1/master.m3u8"
                      ).status_code == 200
    assert served.get(f"/periods/{scheme}/film/1/manifest.mpd"
                      ).status_code == 200
    (document,) = served.keys.asked
    headers = served.keys.headers
    assert headers["X-Speke-Version"] == "2.0"
    assert headers["Content-Type"] == "application/xml"
    assert document.tag == f"{CPIX}CPIX"
    assert (document.get("contentId"), document.get("version")) == \
        ("film/1", "2.3")
    assert [child.tag for child in document] == [
        f"{CPIX}{name}List" for name in ("ContentKey", "DRMSystem",
                                         "ContentKeyPeriod",
                                         "ContentKeyUsageRule")]
    kids = [key.get("kid") for key in document.iter(f"{CPIX}ContentKey")]
    assert len(kids) == len(set(kids)) == 4 * 16
    assert served.get(f"/classes/{scheme}/film/1/v0/0.m4s"
                      ).status_code == 200
    assert len(served.keys.asked) == 1 # the same keys
    # neither keys nor the server's address is told to anyone
    secret = key_of(kid_of("hd", 0))
    for file in served.folder.rglob("*"):
        if file.is_file() and file.suffix in (".log", ""):
            content = file.read_bytes()
            assert bytes.fromhex(secret) not in content
            assert base64.b64encode(bytes.fromhex(secret)) not in content


def test_what_a_key_server_gives_for_players_is_told_them(served):
    """Of each of the film's keys in the init segment and the MPD, of its own
    in each fragment and before each period of a playlist; nothing of ours."""
    served.keys.mode = "give"
    base = "/periods/cbcs/film/1"

    def box(kid, system):
        return given(f"{CPIX}PSSH", None, kid, system)
    # a location that tells another system asks for itself
    init = served.get("/sealed/cbcs/film/1/v0/init.mp4").content
    assert init.endswith(b"".join(box(kid_of("hd", period), PLAYREADY)
                                  for period in range(PERIODS)))
    assert init.count(b"pssh") == PERIODS
    for track, name in CLASS_OF.items():
        kids = [kid_of(name, period) for period in range(PERIODS)]
        init = served.get(f"{base}/{track}/init.mp4").content
        assert init.endswith(b"".join(box(kid, system)
                                      for system in (WIDEVINE, PLAYREADY)
                                      for kid in kids))
        assert init.count(b"pssh") == 2 * PERIODS
        (_, (_, moof), _) = boxes(served.get(f"{base}/{track}/4.m4s").content)
        assert moof.endswith(box(kids[1], WIDEVINE) + box(kids[1], PLAYREADY))
        assert moof.count(b"pssh") == 2
        text = served.get(f"{base}/{track}/index.m3u8").text
        found = re.findall(r'^#EXT-X-KEY.*"given:(.*)",.*"(.*)"$', text, re.M)
        assert found == [(kid, system) for kid in kids for system in
                         (WIDEVINE, PLAYREADY, FAIRPLAY)]
        assert text.count("#EXT-X-KEY") == len(found)
    text = served.get(f"{base}/master.m3u8").text
    found = re.findall(r'^#EXT-X-SESSION-KEY.*"given:(.*)",.*"(.*)"$', text,
                       re.M)
    assert set(found) == {(kid_of(name, 0), system)
                          for name in CLASS_OF.values()
                          for system in (WIDEVINE, PLAYREADY, FAIRPLAY)}
    assert text.count("#EXT-X-SESSION-KEY") == len(found) == 9
    mpd = ElementTree.fromstring(served.get(f"{base}/manifest.mpd").content)
    for key_set in mpd.iter(f"{DASH}AdaptationSet"):
        first, *others = key_set.findall(f"{DASH}ContentProtection")
        kid = first.get(f"{CENC}default_KID").replace("-", "")
        assert [(other.get("schemeIdUri"), other.find("{urn:p}mark").text)
                for other in others] == [
            (f"urn:uuid:{system}", f"{system} {kid[:-2]}{period:02x}")
            for system in (WIDEVINE, PLAYREADY) for period in range(PERIODS)]
    assert len(served.keys.asked) == 2


def test_what_would_break_segments_is_not_taken(served):
    served.keys.mode = "give half a box"
    assert served.get("/classes/cbcs/film/2/v0/init.mp4").status_code == 503
    assert ('the keys of "film/2" failed (status 200, invalid value: a PSSH is '
            'not made of whole pssh boxes of its system)') in served.log()


def test_keys_may_come_encrypted_to_a_certificate(served, node):
    base = "film/1/v0/11.m4s"
    ours = served.get(f"/sealed/cenc/{base}").content
    theirs = node.get(f"/periods/cenc/{base}").content
    assert ours[ours.index(b"mdat"):] == theirs[theirs.index(b"mdat"):]
    assert served.keys.certificate.read_text() == \
        (served.folder / "cert.pem").read_text()
    (document,) = served.keys.asked
    assert not list(document.iter(f"{PSKC}PlainValue"))


@pytest.mark.parametrize("mode,reason", [
    ("forge", "checksum does not match: an encrypted key's ValueMAC"),
    ("open", "not allowed: a key is in the clear")])
def test_keys_that_anyone_may_have_changed_or_read_are_not_taken(
        served, mode, reason):
    served.keys.mode = mode
    assert served.get("/sealed/cenc/film/1/v0/0.m4s").status_code == 503
    assert reason in served.log()


def test_one_request_at_a_time_asks_for_keys(served):
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(
            lambda n: served.get(f"/periods/cenc/film/2/v0/{n % 12}.m4s"),
            range(48)))
    assert {a.status_code for a in answers} == {200}
    assert len(served.keys.asked) == 1


@pytest.mark.parametrize("mode", ["fail", "hang up", "lie"])
def test_without_keys_viewers_are_told_to_come_again(served, mode):
    served.keys.mode = mode
    for _ in range(3):
        answer = served.get("/classes/cenc/film/2/v0/0.m4s")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
    assert served.get("/classes/off/film/2/v0/0.m4s").status_code == 200
    assert len(served.keys.asked) <= 2 # a broken line is tried again
    assert served.log().count('ask for the keys of "film/2" failed') == 1
    if mode != "fail":
        return
    served.keys.mode = "fill"
    wait_for(lambda: served.get("/classes/cenc/film/2/v0/0.m4s"
                                ).status_code == 200, 10)


def test_old_keys_serve_while_the_key_server_is_away(served):
    path = "/classes/cenc/film/2/v0/0.m4s"
    first = served.get(path).content
    served.keys.mode = "fail"
    time.sleep(2.1)  # valid=1s
    for _ in range(3):
        answer = served.get(path)
        assert answer.status_code == 200 and answer.content == first
    assert len(served.keys.asked) == 2


def test_old_keys_are_asked_for_with_all_their_periods(served):
    path = "/brief/cenc/film/1/v0/11.m4s"
    first = served.get(path).content
    time.sleep(2.1)
    assert served.get("/classes/cenc/film/1/v0/0.m4s").status_code == 200
    before, after = served.keys.asked
    assert ElementTree.tostring(after) == ElementTree.tostring(before)
    assert served.get(path).content == first


def test_who_asks_and_goes_away_holds_up_nobody(served):
    served.keys.mode = "slow"
    path = "/classes/cenc/film/2/v0/0.m4s"
    with socket.create_connection(("127.0.0.1", served.port)) as first, \
            ThreadPoolExecutor(1) as pool:
        first.sendall(f"GET {path} HTTP/1.1\r\nHost: n\r\n\r\n".encode())
        wait_for(lambda: served.keys.asked)
        second = pool.submit(served.get, path)
        time.sleep(0.2)
        first.close()
        assert second.result().status_code == 200
    assert len(served.keys.asked) == 2


def test_keys_and_media_may_both_come_from_elsewhere(served):
    for name in ("v0/4.m4s", "a0/11.m4s", "v1/init.mp4", "v1/index.m3u8",
                 "manifest.mpd"):
        path = f"cbcs/film/1/{name}"
        head = requests.head(f"{served.url}/fill/{path}", timeout=20)
        there = served.get(f"/fill/{path}")
        assert there.status_code == head.status_code == 200
        assert there.content == served.get(f"/periods/{path}").content
        assert int(head.headers["Content-Length"]) == len(there.content)
    assert len(served.keys.asked) == 1


def test_a_location_has_one_source_of_keys(served):
    http = (served.folder / "nginx.conf").read_text()
    for wrong, reason in (
            ("package_keys keys; package_key_server /keys/;", "second source"),
            ("package_key_server /keys;", "end with a slash"),
            ("package_key_server /keys/ valid=x;", "invalid time"),
            ("package_key_server /keys/ often;", "unknown parameter"),
            ("package_key_certificate none.pem key.pem;", "cannot be opened"),
            ("package_key_certificate cert.pem cert.pem;",
             "no private key in PEM")):
        (served.folder / "keys").write_text("")
        (served.folder / "nginx.conf").write_text(
            http.replace("package_drm", wrong + " package_drm", 1))
        status, said = served.check()
        assert status != 0 and reason in said
