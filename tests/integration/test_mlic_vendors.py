# SPDX-License-Identifier: Apache-2.0
"""Licenses of systems whose licenses others make: what their services are told,
and what players get. The services are stand-ins (license_stand_ins.py)."""

import base64
import hashlib
import json
import subprocess
import threading
import time
import uuid
from xml.etree import ElementTree

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

import license_stand_ins
from conftest import BUILD, ROOT, wait_until, widevine_data
from test_mlic import (CPIX, PLAYREADY, WIDEVINE, Mlic, document, entitle,
                       reason)

NS = "http://schemas.microsoft.com/DRM/2007/03/"
BACK_END_KEY = "back-end-key-0123456789"
PLAYERS = ROOT / "tests" / "players"


@pytest.fixture
def upstream(tmp_path):
    one = license_stand_ins.Upstream(
        tmp_path, license_stand_ins.playready_back_end)
    yield one
    one.stop()


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(*options):
        path = tmp_path / "back-end.key"
        path.write_text(BACK_END_KEY + "\n")
        path.chmod(0o600)
        started.append(Mlic(tmp_path, *options))
        return started[-1]
    yield begin
    for one in started:
        one.stop()


def playready(upstream, *more):
    return ("--playready-url", upstream.url, "--playready-ca", upstream.ca,
            "--playready-key", upstream.ca.parent / "back-end.key", *more)


def challenge(kids):
    """As PlayReady clients from version 3 on write it, but for what they encrypt
    and sign."""
    listed = "".join(
        '<KID ALGID="AESCTR" VALUE="'
        f'{base64.b64encode(uuid.UUID(bytes=kid).bytes_le).decode()}"></KID>'
        for kid in kids)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\r\n<soap:Envelope xmlns:soap='
        '"http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
        f'<AcquireLicense xmlns="{NS}protocols"><challenge><Challenge xmlns="'
        f'{NS}protocols/messages"><LA xmlns="{NS}protocols" Id="SignedData">'
        "<Version>4</Version><ContentHeader><WRMHEADER xmlns="
        f'"{NS}PlayReadyHeader" version="4.3.0.0"><DATA><PROTECTINFO><KIDS>'
        f"{listed}</KIDS></PROTECTINFO></DATA></WRMHEADER></ContentHeader>"
        "</LA></Challenge></challenge></AcquireLicense></soap:Body>"
        "</soap:Envelope>").encode()


def ask(mlic, system, body, entitlement):
    return requests.post(
        f"{mlic.url}/v1/licenses/{system}", data=body, timeout=10,
        headers={"Authorization": f"Bearer {entitlement}"} if entitlement
        else {})


# ---- PlayReady --------------------------------------------------------------

def test_01_a_back_end_makes_playready_licenses(start, upstream):
    mlic = start(*playready(upstream))
    keys = mlic.keys()
    kids = [keys[track][0] for track in ("SD", "UHD", "AUDIO")]
    body = challenge(kids)
    answer = ask(mlic, "playready", body, entitle(
        classes=["SD", "AUDIO"], license_s=300, playback_s=7200,
        persistent=True, output={"SD": "hdcp-2.2"},
        security={"SD": "hardware"}))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "text/xml; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Keys-Refused"] == (
        f"{kids[1].hex()} class-not-entitled")
    given = [str(uuid.UUID(bytes=kid)) for kid in (kids[0], kids[2])]
    assert answer.text == f"<StandInLicense>{' '.join(given)}</StandInLicense>"
    (headers, asked), = upstream.asked
    assert headers["Authorization"] == f"Bearer {BACK_END_KEY}"
    assert headers["Content-Type"] == "application/json"
    asked = json.loads(asked)
    assert base64.b64decode(asked["challenge"]) == body
    rights = {key["kid"]: key["rights"] for key in asked["keys"]}
    assert [base64.b64decode(key["key"]) for key in asked["keys"]] == [
        keys["SD"][1], keys["AUDIO"][1]]
    assert rights[given[0]] == {
        "security_level": 3000, "persistent": True, "expire_after_s": 300,
        "expire_after_first_play_s": 7200, "hdcp_type": 1,
        "output": {"compressed_digital_video": 500,
                   "uncompressed_digital_video": 300, "analog_video": 200}}
    assert rights[given[1]]["security_level"] == 2000
    assert rights[given[1]]["output"]["uncompressed_digital_video"] == 100
    lines = [line for line in mlic.lines() if line["system"] == "playready"]
    assert [line["decision"] for line in lines] == [
        "granted", "class-not-entitled", "granted"]


def test_02_without_an_end_a_license_ends_with_its_entitlement(start,
                                                               upstream):
    mlic = start(*playready(upstream))
    kid, _ = mlic.keys()["SD"]
    assert ask(mlic, "playready", challenge([kid]),
               entitle(exp=int(time.time()) + 100)).status_code == 200
    rights = json.loads(upstream.asked[0][1])["keys"][0]["rights"]
    assert 90 <= rights["expire_after_s"] <= 100
    assert "expire_after_first_play_s" not in rights


def test_03_who_is_refused_is_not_told_to_the_back_end(start, upstream):
    mlic = start(*playready(upstream))
    kid, _ = mlic.keys()["UHD"]
    body = challenge([kid])
    assert reason(ask(mlic, "playready", body, None)) == (
        401, "no-entitlement")
    assert reason(ask(mlic, "playready", body, entitle(classes=["SD"]))) == (
        403, "class-not-entitled")
    assert reason(ask(mlic, "playready", body, entitle(content="other"))) == (
        403, "content-not-entitled")
    for wrong, said in ((b"", "well-formed"), (b"<a/>", "no WRMHEADER"),
                        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
                         "document type")):
        answer = ask(mlic, "playready", wrong, entitle())
        assert answer.status_code == 400 and said in answer.json()["detail"]
    assert upstream.asked == []


def test_04_a_back_end_that_fails_is_told(start, upstream):
    mlic = start(*playready(upstream, "--upstream-timeout", "500ms"))
    kid, _ = mlic.keys()["SD"]

    def said():
        answer = ask(mlic, "playready", challenge([kid]), entitle())
        return answer.status_code, answer.json()["detail"]
    upstream.answer = lambda _: (500, {}, b"secret of the back end")
    assert said() == (
        502, "the service that makes playready licenses answered 500")
    upstream.answer = lambda _: None
    assert said()[0] == 502
    upstream.answer = lambda _: time.sleep(2)
    assert said() == (504, "the service that makes playready licenses did not "
                      "answer in time")
    # and meanwhile others are answered
    assert requests.get(mlic.url + "/v1/health", timeout=1).status_code == 200
    assert mlic.metric("mlic_upstream_failures_total") == 3
    upstream.stop()
    assert said()[0] == 502


def test_05_a_back_end_is_not_just_anyone(start, upstream, tmp_path):
    (tmp_path / "other").mkdir()
    other, _ = license_stand_ins.certificate(tmp_path / "other", "upstream")
    mlic = start("--playready-url", upstream.url, "--playready-ca", other)
    kid, _ = mlic.keys()["SD"]
    assert ask(mlic, "playready", challenge([kid]),
               entitle()).status_code == 502
    assert upstream.asked == []


def test_06_a_certificate_is_shown_to_a_back_end(start, tmp_path):
    (tmp_path / "own").mkdir()
    own, key = license_stand_ins.certificate(tmp_path / "own", "mlic")
    upstream = license_stand_ins.Upstream(
        tmp_path, license_stand_ins.playready_back_end, client_ca=own)
    mlic = start(*playready(upstream), "--playready-certificate", own,
                 "--playready-certificate-key", key)
    kid, _ = mlic.keys()["SD"]
    assert ask(mlic, "playready", challenge([kid]),
               entitle()).status_code == 200
    upstream.stop()


def test_07_what_is_not_set_up_is_not_there(start):
    mlic = start()
    answer = ask(mlic, "playready", b"", entitle())
    assert answer.status_code == 404
    assert "playready" in answer.json()["detail"]
    mlic.stop()
    with pytest.raises(AssertionError, match="must be https"):
        start("--playready-url", "http://192.0.2.1/make")


# ---- Widevine ---------------------------------------------------------------

def field(number, value):
    if isinstance(value, int):
        return bytes([number << 3, value])
    size = len(value)
    return bytes([number << 3 | 2]) + (
        bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    ) + value


def widevine_challenge(kids, license_type=1):
    """As Widevine clients begin it, but for who they are and their signature."""
    data = b"".join(field(2, kid) for kid in kids)
    content = field(1, data) + field(2, license_type) + field(3, bytes(16))
    return field(1, 1) + field(2, field(1, b"client") + field(
        2, field(1, content)) + field(3, 1)) + field(3, bytes(20))


def widevine(upstream, key=None):
    path = upstream.ca.parent / "widevine.key"
    path.write_text((key or license_stand_ins.WIDEVINE_KEY).hex() + ":"
                    + license_stand_ins.WIDEVINE_IV.hex() + "\n")
    path.chmod(0o600)
    upstream.answer = license_stand_ins.widevine_service
    return ("--widevine-url", upstream.url, "--widevine-ca", upstream.ca,
            "--widevine-key", path, "--widevine-signer", "stand-in")


def test_08_a_signed_request_makes_widevine_licenses(start, upstream):
    mlic = start(*widevine(upstream))
    keys = mlic.keys()
    kids = [keys[track][0] for track in ("SD", "UHD", "AUDIO")]
    body = widevine_challenge(kids)
    answer = ask(mlic, "widevine", body, entitle(
        classes=["SD", "AUDIO"], license_s=300, output={"SD": "hdcp-1"},
        security="hardware"))
    assert answer.status_code == 200, answer.text
    assert answer.content == b"stand-in license " + kids[0] + b" " + kids[2]
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Keys-Refused"] == (
        f"{kids[1].hex()} class-not-entitled")
    asked = json.loads(base64.b64decode(
        json.loads(upstream.asked[0][1])["request"]))
    assert base64.b64decode(asked["payload"]) == body
    assert base64.b64decode(asked["content_id"]) == b"film"
    assert asked["provider"] == "stand-in"
    assert asked["policy_overrides"] == {
        "can_play": True, "can_persist": False, "can_renew": False,
        "license_duration_seconds": 300}
    sd, audio = asked["content_key_specs"]
    assert base64.b64decode(sd["key"]) == keys["SD"][1]
    assert (sd["security_level"], audio["security_level"]) == (5, 3)
    assert sd["required_output_protection"] == {"hdcp": "HDCP_V1"}
    assert audio["required_output_protection"] == {"hdcp": "HDCP_NONE"}


def test_09_widevine_refusals_and_failures(start, upstream):
    mlic = start(*widevine(upstream))
    kid, _ = mlic.keys()["UHD"]
    body = widevine_challenge([kid])
    assert reason(ask(mlic, "widevine", body, entitle(classes=["SD"]))) == (
        403, "class-not-entitled")
    assert reason(ask(mlic, "widevine", widevine_challenge([kid], 2),
                      entitle())) == (403, "persistence-not-entitled")
    for wrong, said in ((b"", "no message"), (b"\x08\x04", "certificate"),
                        (body[:20], "no message"),
                        (widevine_challenge([]), "key_ids"),
                        (widevine_challenge([b"short"]), "16 bytes")):
        answer = ask(mlic, "widevine", wrong, entitle())
        assert answer.status_code == 400, answer.text
        assert said in answer.json()["detail"], answer.text
    assert upstream.asked == []
    for bad in (b"", b"[]", b'{"status":"OK"}', b'{"status":"OK","license":'
                b'"???="}', b'{"status":"NO"}'):
        upstream.answer = lambda _, bad=bad: (200, {}, bad)
        answer = ask(mlic, "widevine", body, entitle())
        assert answer.status_code == 502, bad


def test_10_a_wrong_signature_is_refused_by_the_service(start, upstream):
    mlic = start(*widevine(upstream, bytes(32)))
    kid, _ = mlic.keys()["SD"]
    answer = ask(mlic, "widevine", widevine_challenge([kid]), entitle())
    assert (answer.status_code, answer.json()["detail"]) == (
        502, "the service that makes widevine licenses refused")


# ---- FairPlay ---------------------------------------------------------------

ASK = bytes(range(100, 116))
SK, R1, SEED, R2 = (hashlib.sha512(name).digest()[:size] for name, size in (
    (b"sk", 16), (b"r1", 44), (b"seed", 16), (b"r2", 21)))
TRANSACTION = 0x47aa7ad3440577de


def aes(key, mode, data, decrypt=False):
    cipher = Cipher(algorithms.AES(key), mode)
    one = cipher.decryptor() if decrypt else cipher.encryptor()
    return one.update(data) + one.finalize()


def block(tag, value):
    filler = bytes(-len(value) % 16)
    return (tag.to_bytes(8, "big") + len(value + filler).to_bytes(4, "big")
            + len(value).to_bytes(4, "big") + value + filler)


def spc(certificate, asset, integrity=bytes(16)):
    """As a player would, with the stand-in's D function."""
    dask = bytes(a ^ R2[i % len(R2)] for i, a in enumerate(ASK))
    session = aes(dask, modes.CBC(bytes(16)), SK + bytes(20) + R1 + bytes(16))
    payload = b"".join(block(*one) for one in (
        (0x3d1a10b8bffac2ec, bytes(16) + session),
        (0xb349d4809e910687, integrity), (0x89c90f12204106b2, SEED),
        (0x71b5595ac1521133, R2), (0x1bf7f53f5d5d5a1f, asset),
        (TRANSACTION, b"12345678"),
        (0x19f9d4e5ab7609cb, TRANSACTION.to_bytes(8, "big"))))
    key, iv = bytes(range(16)), bytes(range(16, 32))
    wrapped = certificate.public_key().encrypt(key, padding.OAEP(
        padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))
    return ((1).to_bytes(4, "big") + bytes(4) + iv + wrapped
            + certificate.fingerprint(hashes.SHA1())
            + len(payload).to_bytes(4, "big")
            + aes(key, modes.CBC(iv), payload))


def ckc_blocks(ckc):
    assert ckc[:8] == (1).to_bytes(4, "big") + bytes(4)
    assert int.from_bytes(ckc[24:28], "big") == len(ckc) - 28
    key = aes(hashlib.sha1(R1).digest()[:16], modes.ECB(), SEED)
    plain = aes(key, modes.CBC(ckc[8:24]), ckc[28:], decrypt=True)
    blocks = {}
    while plain:
        size, value = (int.from_bytes(plain[at:at + 4], "big")
                       for at in (8, 12))
        blocks[int.from_bytes(plain[:8], "big")] = plain[16:16 + value]
        plain = plain[16 + size:]
    return blocks


@pytest.fixture
def fairplay(start, tmp_path):
    (tmp_path / "fps").mkdir()
    pem, key = license_stand_ins.certificate(
        tmp_path / "fps", "fps", key=rsa.generate_private_key(65537, 1024))
    key.chmod(0o600)
    ask_path = tmp_path / "fps" / "ask"
    ask_path.write_text(ASK.hex() + "\n")
    ask_path.chmod(0o600)
    mlic = start("--fairplay-plugin",
                 BUILD / "programs" / "mlic" / "fairplay_stand_in.so",
                 "--fairplay-certificate", pem, "--fairplay-key", key,
                 "--fairplay-ask", ask_path)
    return mlic, x509.load_pem_x509_certificate(pem.read_bytes())


@pytest.mark.parametrize("form", ("skd://{}", "{}"))
def test_11_a_ckc_has_the_key_under_the_sessions(fairplay, form):
    mlic, certificate = fairplay
    assert "not Apple's" in mlic.log()
    kid, key = mlic.keys(scheme="cbcs")["SD"]
    answer = ask(mlic, "fairplay", spc(certificate, form.format(
        kid.hex()).encode()), entitle(license_s=300, output="hdcp-2.2"))
    assert answer.status_code == 200, answer.text
    blocks = ckc_blocks(answer.content)
    assert aes(SK, modes.ECB(), blocks[0x58b38165af0e3d5a][16:],
               decrypt=True) == key
    assert blocks[0xea74c4645d5efee9] == R1
    assert blocks[TRANSACTION] == b"12345678"
    assert blocks[0x47acf6a418cd091a][:12] == (
        (300).to_bytes(4, "big") + bytes(4) + (0x1a4bde7e).to_bytes(4, "big"))
    assert blocks[0x2e52f1530d8ddb4a][:8].hex() == "285a0863bba8e1d3"


def test_12_fairplay_refusals(fairplay):
    mlic, certificate = fairplay
    kid, _ = mlic.keys(scheme="cbcs")["UHD"]
    whole = spc(certificate, kid.hex().encode())
    assert reason(ask(mlic, "fairplay", whole, entitle(classes=["SD"]))) == (
        403, "class-not-entitled")
    for wrong, said in (
            (b"", "no SPC"), (whole[:-1], "size"),
            (b"\0\0\0\2" + whole[4:], "version"),
            (whole[:152] + bytes(20) + whole[172:], "another certificate"),
            (whole[:24] + bytes(128) + whole[152:], "cannot be decrypted"),
            (whole[:176] + bytes(16) + whole[192:], "blocks"),
            (spc(certificate, b"skd://film"), "skd://"),
            (spc(certificate, kid.hex().encode(), b"1" * 16), "not whole")):
        answer = ask(mlic, "fairplay", wrong, entitle())
        assert answer.status_code // 100 in (4, 5), answer.text
        assert said in answer.json()["detail"], answer.text


# ---- what packagers are given, in another's parser --------------------------

def test_13_shaka_reads_the_boxes_that_packagers_get(start):
    mlic = start()
    kids = {"SD": str(uuid.uuid4()), "AUDIO": str(uuid.uuid4())}
    answer = mlic.cpix(document("film/v1", "cenc", kids, (WIDEVINE, PLAYREADY)))
    seen = []
    for system in ElementTree.fromstring(answer.content).iter(
            CPIX + "DRMSystem"):
        read = json.loads(subprocess.run(
            ["node", PLAYERS / "protection.mjs", system.find(
                CPIX + "PSSH").text], capture_output=True, text=True,
            check=True, timeout=20).stdout)
        name = system.get("systemId")
        assert read["systems"] == [name.replace("-", "")]
        if name == PLAYREADY:
            assert read["version"] == "4.3.0.0"
            assert [str(uuid.UUID(bytes_le=base64.b64decode(kid)))
                    for kid in read["kids"]] == [system.get("kid")]
            seen.append(system.get("kid"))
    assert sorted(seen) == sorted(kids.values())


@pytest.mark.parametrize("scheme", ("cenc", "cbcs"))
def test_14_protobuf_reads_widevine_s_data_that_packagers_get(start, scheme):
    mlic = start()
    kids = {track: str(uuid.uuid4()) for track in ("SD", "UHD", "AUDIO")}
    answer = mlic.cpix(document("film/v1", scheme, kids))
    systems = list(ElementTree.fromstring(answer.content).iter(
        CPIX + "DRMSystem"))
    assert len(systems) == 3
    for system in systems:
        assert widevine_data(system.find(CPIX + "PSSH").text) == [{
            "key_ids": [system.get("kid").replace("-", "")],
            "protection_scheme": scheme}]


# ---- read again -------------------------------------------------------------

def test_15_secrets_are_read_again_and_requests_keep_theirs(start, upstream,
                                                            tmp_path):
    mlic = start(*playready(upstream, "--upstream-timeout", "10s"))
    kid, _ = mlic.keys()["SD"]
    path, slow = tmp_path / "back-end.key", threading.Event()

    def said():
        answer = ask(mlic, "playready", challenge([kid]), entitle())
        return answer.status_code, upstream.asked[-1][0]["Authorization"]

    def hold(body):
        slow.wait(10)
        return license_stand_ins.playready_back_end(body)
    upstream.answer, answers = hold, []
    waiter = threading.Thread(target=lambda: answers.append(said()[0]))
    waiter.start()
    wait_until(lambda: upstream.asked, 5, "the question")
    path.write_text("another-key-0123456789\n")
    mlic.reload()
    upstream.answer = license_stand_ins.playready_back_end
    assert said() == (200, "Bearer another-key-0123456789")
    time.sleep(1.5)  # what is held is not swept
    slow.set()
    waiter.join()
    assert answers == [200]
    # all or nothing
    path.write_text("too short\n")
    mlic.private("packager.key", "another-packager-key\n")
    mlic.reload()
    assert mlic.metric("mlic_reloads_refused_total") == 1
    assert "back-end.key" in mlic.log()
    assert said() == (200, "Bearer another-key-0123456789")
    assert mlic.keys()
    assert mlic.stop() == 0, mlic.log()


def test_16_a_signer_that_was_changed_signs_after_a_reload(start, upstream):
    mlic = start(*widevine(upstream, bytes(32)))
    kid, _ = mlic.keys()["SD"]
    body = widevine_challenge([kid])
    assert ask(mlic, "widevine", body, entitle()).status_code == 502
    widevine(upstream)
    mlic.reload()
    assert ask(mlic, "widevine", body, entitle()).status_code == 200


def test_17_fairplay_s_ask_is_read_again(fairplay, tmp_path):
    mlic, certificate = fairplay
    kid, _ = mlic.keys(scheme="cbcs")["SD"]
    whole = spc(certificate, kid.hex().encode())
    path = tmp_path / "fps" / "ask"
    path.write_text(bytes(16).hex() + "\n")
    mlic.reload()
    answer = ask(mlic, "fairplay", whole, entitle())
    assert "not whole" in answer.json()["detail"]
    path.write_text("none\n")
    mlic.reload()
    assert mlic.metric("mlic_reloads_refused_total") == 1
    path.write_text(ASK.hex() + "\n")
    mlic.reload()
    assert ask(mlic, "fairplay", whole, entitle()).status_code == 200
