# SPDX-License-Identifier: Apache-2.0
"""The license server alone: packagers get keys, viewers get those that their
entitlement allows, and whoever is refused is told why; all of it is written
down. On a file and on PostgreSQL."""

import base64
import datetime
import hashlib
import hmac
import itertools
import json
import os
import pathlib
import random
import re
import signal
import string
import subprocess
import time
import uuid
from xml.etree import ElementTree

import jwt
import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.x509.oid import NameOID

from conftest import BUILD, wait_until
from postgresql_server import PostgreSQL

MLIC = BUILD / "programs" / "mlic" / "mlic"
PACKAGER_KEY = "packager-key-0123456789"
MASTERS = {n: hashlib.sha256(f"master {n}".encode()).hexdigest()
           for n in range(1, 9)}
SECRET = bytes(range(64, 96))
OTHER_SECRET = bytes(range(96, 128))
AUDIT_KEY = bytes(range(32, 64))
CPIX = "{urn:dashif:org:cpix}"
PSKC = "{urn:ietf:params:xml:ns:keyprov:pskc}"
ENC = "{http://www.w3.org/2001/04/xmlenc#}"
WIDEVINE = "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"
PLAYREADY = "9a04f079-9840-4286-ab92-e65be0885f95"
FAIRPLAY = "94ce86fb-07ff-4f43-adb8-93d2fa968ca2"

EC_KEY = ec.generate_private_key(ec.SECP256R1())


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def ec_jwk(key, kid):
    numbers = key.public_key().public_numbers()
    return {"kty": "EC", "crv": "P-256", "kid": kid,
            "x": base64url(numbers.x.to_bytes(32, "big")),
            "y": base64url(numbers.y.to_bytes(32, "big"))}


SERVICES = {"services": [
    {"id": "kino", "keys": [{"kid": "1", "secret_file": "kino.key"},
                            {"jwk": ec_jwk(EC_KEY, "ec")}]},
    {"id": "club", "issuer": "https://club.example",
     "keys": [{"kid": "1", "secret_file": "club.key"}], "plays": 2,
     "rules": [{"classes": ["UHD"], "systems": ["clearkey", "identity"],
                "refuse": True}]},
    {"id": "slow", "keys": [{"kid": "1", "secret_file": "kino.key"}],
     "rate_per_s": 1, "burst": 3},
]}


class Mlic:
    def __init__(self, folder, *options, database=None):
        self.folder, self.log_path = folder, folder / "mlic.log"
        self.database = database or folder / "mlic.db"
        self.audit = folder / "audit"
        if not (folder / "services").exists():
            self.private("masters", f"1 {MASTERS[1]}\n")
            self.private("audit.key", AUDIT_KEY.hex() + "\n")
            self.private("kino.key", SECRET.hex() + "\n")
            self.private("club.key", OTHER_SECRET.hex() + "\n")
            self.private("packager.key", PACKAGER_KEY + "\n")
            self.services(SERVICES)
        with self.log_path.open("w") as log:
            self.process = subprocess.Popen(
                [MLIC, "serve", "--listen", "127.0.0.1:0", "--database",
                 self.database,
                 *([] if "--master-keys" in options
                   else ["--master-keys", folder / "masters"]), "--services", folder / "services", "--audit", self.audit,
                 *([] if "--audit-key" in options
                   else ["--audit-key", folder / "audit.key"]),
                 "--packager-key", folder / "packager.key", *options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            port = wait_until(self.port, 10, "mlic")
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

    def private(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)

    def services(self, services):
        (self.folder / "services").write_text(
            services if isinstance(services, str) else json.dumps(services))

    def reload(self):
        before = self.metric("mlic_reloads_total") + self.metric(
            "mlic_reloads_refused_total")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.metric("mlic_reloads_total") + self.metric(
            "mlic_reloads_refused_total") > before, 5, "the reload")

    def metric(self, name):
        text = requests.get(self.url + "/metrics", timeout=5).text
        found = re.search(rf"^{re.escape(name)} (\d+)$", text, re.M)
        return int(found[1]) if found else 0

    def cpix(self, document, key=PACKAGER_KEY, **headers):
        return requests.post(
            self.url + "/v1/cpix", data=document, timeout=10,
            headers={"Authorization": f"Bearer {key}", **headers})

    def keys(self, content="film/v1", scheme="cenc",
             tracks=("SD", "HD", "UHD", "AUDIO")):
        """{track: (kid, key)} of a packager."""
        kids = {track: str(uuid.uuid5(uuid.NAMESPACE_URL,
                                      f"{content}{scheme}{track}"))
                for track in tracks}
        answer = self.cpix(document(content, scheme, kids))
        assert answer.status_code == 200, answer.text
        found = {kid: key for kid, key, _ in clear_keys(answer.content)}
        return {track: (bytes.fromhex(kid.replace("-", "")), found[kid])
                for track, kid in kids.items()}

    def license(self, kids, entitlement, **options):
        body = {"kids": [base64url(kid) for kid in kids], "type": "temporary",
                **options}
        headers = {"Authorization": f"Bearer {entitlement}"} \
            if entitlement else {}
        return requests.post(self.url + "/v1/licenses/clearkey", timeout=10,
                             data=json.dumps(body), headers=headers)

    def lines(self):
        return [json.loads(line)
                for line in self.audit.read_text().splitlines()]

    def verify(self, *paths, key="audit.key", after=None):
        return subprocess.run(
            [MLIC, "audit", "--json", "--audit-key", self.folder / key,
             *(["--after", after] if after else []),
             *(paths or [self.audit])], capture_output=True, text=True,
            timeout=20)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(10)


def document(content, scheme, kids, systems=(WIDEVINE,), certificate=None,
             period=None):
    """What a packager asks: {track: kid}."""
    def each(text):
        return "".join(text.format(track=track, kid=kid)
                       for track, kid in kids.items())
    attribute = f' commonEncryptionScheme="{scheme}"' if scheme else ""
    delivery = "" if certificate is None else (
        '<c:DeliveryDataList><c:DeliveryData id="p"><c:DeliveryKey>'
        '<d:X509Data><d:X509Certificate>' + base64.b64encode(
            certificate.public_bytes(serialization.Encoding.DER)).decode()
        + "</d:X509Certificate></d:X509Data></c:DeliveryKey></c:DeliveryData>"
        "</c:DeliveryDataList>")
    parts = {FAIRPLAY: '<c:HLSSignalingData playlist="media"/>'
                       '<c:HLSSignalingData playlist="master"/>'}
    whole = ("<c:PSSH/><c:ContentProtectionData></c:ContentProtectionData>"
             '<c:HLSSignalingData playlist="media"> </c:HLSSignalingData>'
             '<c:HLSSignalingData playlist="master"/>')
    listed = "".join(each(
        f'<c:DRMSystem kid="{{kid}}" systemId="{system}">'
        f'{parts.get(system, whole)}</c:DRMSystem>') for system in systems)
    periods = "" if period is None else (
        '<c:ContentKeyPeriodList><c:ContentKeyPeriod id="p" index="'
        f'{period}"/></c:ContentKeyPeriodList>')
    chosen = "" if period is None else '<c:KeyPeriodFilter periodId="p"/>'
    rules = "".join(
        f'<c:ContentKeyUsageRule kid="{kid}" intendedTrackType="{track}">'
        f'{chosen}<c:{"Audio" if "AUDIO" in track else "Video"}Filter/>'
        "</c:ContentKeyUsageRule>" for track, kid in kids.items())
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<c:CPIX contentId="'
        f'{content}" version="2.3" xmlns:c="urn:dashif:org:cpix" '
        'xmlns:d="http://www.w3.org/2000/09/xmldsig#">' + delivery
        + "<c:ContentKeyList>"
        + each(f'<c:ContentKey kid="{{kid}}"{attribute}/>')
        + f"</c:ContentKeyList><c:DRMSystemList>{listed}</c:DRMSystemList>"
        + periods + f"<c:ContentKeyUsageRuleList>{rules}"
        "</c:ContentKeyUsageRuleList></c:CPIX>")


def clear_keys(text):
    """(kid, key, explicitIV) of each."""
    for key in ElementTree.fromstring(text).iter(CPIX + "ContentKey"):
        value = key.find(f"{CPIX}Data/{PSKC}Secret/{PSKC}PlainValue").text
        yield key.get("kid"), base64.b64decode(value), key.get("explicitIV")


def entitle(secret=SECRET, algorithm="HS256", kid="1", **claims):
    now = int(time.time())
    claims = {"iss": "kino", "aud": "mlic", "iat": now, "exp": now + 600,
              "sub": "viewer", "content": "film", **claims}
    return jwt.encode({k: v for k, v in claims.items() if v is not None},
                      secret, algorithm, {"kid": kid})


def reason(answer):
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["reason"]


def given(answer):
    """{kid: key} of a license."""
    assert answer.status_code == 200, answer.text

    def read(text):
        return base64.urlsafe_b64decode(text + "==")
    assert answer.json()["type"] == "temporary"
    return {read(key["kid"]): read(key["k"]) for key in answer.json()["keys"]}


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory):
    server = PostgreSQL(tmp_path_factory.mktemp("postgresql") / "s").start()
    yield server
    server.stop()


SCHEMAS = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    if request.param == "sqlite":
        return None
    server = request.getfixturevalue("postgresql")
    return server.schema(f"m{next(SCHEMAS)}")


@pytest.fixture
def start(tmp_path):
    started = []

    def begin(*options, folder=tmp_path, **named):
        started.append(Mlic(folder, *options, **named))
        return started[-1]
    yield begin
    for one in started:
        one.stop()


@pytest.fixture
def mlic(start, database):
    return start(database=database)


# ---- packagers --------------------------------------------------------------

def test_01_a_packager_gets_its_document_with_keys(mlic):
    kids = {track: str(uuid.uuid4()) for track in ("SD+HD1", "UHD", "AUDIO")}
    asked = document("film/v1", "cbcs", kids, (WIDEVINE, PLAYREADY, FAIRPLAY),
                     period=7)
    answer = mlic.cpix(asked, **{"X-Speke-Version": "2.0"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/xml"
    assert answer.headers["X-Speke-Version"] == "2.0"
    assert answer.headers["X-Speke-User-Agent"]
    assert answer.headers["Cache-Control"] == "no-store"
    keys = {kid: (key, iv) for kid, key, iv in clear_keys(answer.content)}
    assert set(keys) == set(kids.values())
    assert len(set(keys.values())) == 3
    assert all(len(key) == 16 and len(base64.b64decode(iv)) == 16
               for key, iv in keys.values())
    # all else is as it was sent, and in its order
    before = [e.tag for e in ElementTree.fromstring(asked).iter()]
    after = [e.tag for e in ElementTree.fromstring(answer.content).iter()]
    rest = iter(after)
    assert all(tag in rest for tag in before)
    for system in ElementTree.fromstring(answer.content).iter(
            CPIX + "DRMSystem"):
        parts = {(e.tag.split("}")[1], e.get("playlist")): e.text
                 for e in system}
        for (name, _), text in parts.items():
            assert text and base64.b64decode(text.strip()), name
        if system.get("systemId") == FAIRPLAY:
            continue
        pssh = parts["PSSH", None]
        assert base64.b64decode(pssh)[4:8] == b"pssh"
        assert uuid.UUID(system.get("systemId")).bytes \
            == base64.b64decode(pssh)[12:28]
        told = ElementTree.fromstring(
            base64.b64decode(parts["ContentProtectionData", None]))
        assert told.text == pssh
    # the same again, and the same from a server that starts anew
    assert mlic.cpix(asked).content == answer.content


def test_02_keys_are_encrypted_to_whom_the_document_names(mlic):
    private = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "packager")])
    now = datetime.datetime.utcnow()
    certificate = x509.CertificateBuilder(
        name, name, private.public_key(), 1, now,
        now + datetime.timedelta(1)).sign(private, hashes.SHA256())
    kids = {"VIDEO": str(uuid.uuid4()), "AUDIO": str(uuid.uuid4())}
    clear = {kid: key for kid, key, _ in clear_keys(
        mlic.cpix(document("film/v1", "cenc", kids)).content)}
    answer = mlic.cpix(document("film/v1", "cenc", kids,
                                certificate=certificate))
    assert answer.status_code == 200, answer.text
    root = ElementTree.fromstring(answer.content)

    def values(place):
        return [base64.b64decode(e.text) for e in place.iter(
            ENC + "CipherValue")]

    def unwrap(place):
        return private.decrypt(values(place)[0], padding.OAEP(
            padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))
    document_key = unwrap(next(root.iter(CPIX + "DocumentKey")))
    mac_key = unwrap(next(root.iter(CPIX + "MACMethod")))
    assert next(root.iter(PSKC + "PlainValue"), None) is None
    for key in root.iter(CPIX + "ContentKey"):
        cipher = values(key)[0]
        mac = base64.b64decode(next(key.iter(PSKC + "ValueMAC")).text)
        assert mac == hmac.new(mac_key, cipher, "sha512").digest()
        opened = Cipher(algorithms.AES(document_key),
                        modes.CBC(cipher[:16])).decryptor()
        value = opened.update(cipher[16:]) + opened.finalize()
        assert value == clear[key.get("kid")] + bytes([16]) * 16


def broken(change):
    kids = {"VIDEO": "0f083e4e-b831-4a3d-917e-ce78076e54aa",
            "AUDIO": "041fdd3a-7f5e-4848-a7cb-65e97758e9a0"}
    return change(document("bad/v1", "cenc", kids, (WIDEVINE,)))


BROKEN = {
    "version": (lambda d: d.replace("2.3", "2.4"), "2.3"),
    "no key": (lambda d: re.sub("<c:ContentKey .*?/>", "", d), "kid"),
    "no system": (lambda d: re.sub("<c:DRMSystem .*</c:DRMSystem>", "", d),
                  "no DRMSystem"),
    "no rule": (lambda d: re.sub("<c:ContentKeyUsageRule .*</c:ContentKeyUsage"
                                 "Rule>", "", d), "no ContentKeyUsageRule"),
    "no filter": (lambda d: re.sub("<c:(Video|Audio)Filter/>", "", d),
                  "Filter"),
    "no scheme": (lambda d: d.replace(' commonEncryptionScheme="cenc"', ""),
                  "commonEncryptionScheme"),
    "a scheme": (lambda d: d.replace('"cenc"', '"cens"'), "neither"),
    "fairplay": (lambda d: d.replace(WIDEVINE, FAIRPLAY), "FairPlay"),
    "system": (lambda d: d.replace(WIDEVINE, str(uuid.uuid4())), "DRMSystem"),
    "all": (lambda d: d.replace('"VIDEO"', '"ALL"'), "ALL"),
    "type": (lambda d: d.replace('"VIDEO"', '"SOUND"'), "intendedTrackType"),
    "twice": (lambda d: d.replace("0f083e4e-b831-4a3d-917e-ce78076e54aa",
                                  "041fdd3a-7f5e-4848-a7cb-65e97758e9a0"),
              "same kid"),
    "content": (lambda d: d.replace("bad/v1", "../v1"), "contentId"),
    "signed": (lambda d: d.replace("</c:CPIX>", "<d:Signature/></c:CPIX>"),
               "signed"),
    "doctype": (lambda d: d.replace("?>", '?><!DOCTYPE c [<!ENTITY a "b">]>'),
                "document type"),
    "cut": (lambda d: d[:-20], ""),
    "empty": (lambda d: "", ""),
    "a key": (lambda d: d.replace('commonEncryptionScheme="cenc"/>',
                                  'commonEncryptionScheme="cenc"><c:Data/>'
                                  "</c:ContentKey>"), "already"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_03_a_document_that_is_not_right_makes_no_key(start, case):
    mlic = start()
    change, said = BROKEN[case]
    answer = mlic.cpix(broken(change), **{"X-Speke-Version": "2.0"})
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["detail"], answer.text
    assert mlic.metric("mlic_keys") == 0
    assert mlic.cpix(broken(lambda d: d)).status_code == 200


def test_04_packagers_show_their_key(mlic):
    kids = {"VIDEO": str(uuid.uuid4())}
    for key in ("", "x", PACKAGER_KEY + "x", PACKAGER_KEY[:-1]):
        answer = mlic.cpix(document("film/v1", "cenc", kids), key=key)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert mlic.metric("mlic_keys") == 0
    # a KID is of one thing
    assert mlic.cpix(document("film/v1", "cenc", kids)).status_code == 200
    for content, scheme, period in (("film/v2", "cenc", None),
                                    ("film/v1", "cbcs", None),
                                    ("film/v1", "cenc", 3)):
        answer = mlic.cpix(document(content, scheme, kids, period=period))
        assert answer.status_code == 409, answer.text


# ---- viewers ----------------------------------------------------------------

def test_10_a_viewer_gets_what_the_entitlement_allows(mlic):
    keys = mlic.keys()
    kids = [kid for kid, _ in keys.values()]
    answer = mlic.license(kids, entitle())
    assert given(answer) == dict(keys.values())
    assert answer.headers["Cache-Control"] == "no-store"
    assert "X-Keys-Refused" not in answer.headers
    # by a public key, too
    assert given(mlic.license(kids, entitle(EC_KEY, "ES256", "ec"))) \
        == dict(keys.values())
    # with an SD right the rest plays
    answer = mlic.license(kids, entitle(classes=["SD", "AUDIO"]))
    assert given(answer) == dict((keys["SD"], keys["AUDIO"]))
    assert sorted(answer.headers["X-Keys-Refused"].split(", ")) == sorted(
        f"{keys[track][0].hex()} class-not-entitled" for track in ("HD", "UHD"))
    # the key in a URL, for HLS
    kid, key = keys["HD"]
    answer = requests.get(f"{mlic.url}/v1/keys/{kid.hex()}", timeout=5,
                          params={"entitlement": entitle()})
    assert (answer.status_code, answer.content) == (200, key)
    assert answer.headers["Cache-Control"] == "no-store"


def test_11_who_is_refused_is_told_why(mlic):
    keys = mlic.keys()
    uhd, sd = keys["UHD"][0], keys["SD"][0]
    other = mlic.keys("other/v1")["SD"][0]
    now = int(time.time())
    for refused, entitlement, kid in (
            ("no-entitlement", None, sd),
            ("entitlement-invalid", "x", sd),
            ("entitlement-invalid", entitle(OTHER_SECRET), sd),
            ("entitlement-invalid", entitle(kid="2"), sd),
            ("entitlement-invalid", entitle(aud="st-api"), sd),
            ("entitlement-invalid", entitle(exp=None), sd),
            ("entitlement-invalid", entitle(content=None), sd),
            ("entitlement-invalid", entitle(colour="red"), sd),
            ("entitlement-invalid", entitle(classes=["8K"]), sd),
            ("entitlement-invalid", entitle(classes=[]), sd),
            ("entitlement-invalid", entitle(single_use=True), sd),
            ("entitlement-invalid", entitle(plays=1), sd),
            ("entitlement-expired", entitle(exp=now - 100), sd),
            ("entitlement-expired", entitle(nbf=now + 100), sd),
            ("service-unknown", entitle(iss="nobody"), sd),
            ("content-not-entitled", entitle(content="other"), sd),
            ("content-not-entitled", entitle(version="v2"), sd),
            ("content-not-entitled", entitle(), other),
            ("class-not-entitled", entitle(classes=["SD"]), uhd),
            ("key-unknown", entitle(), bytes(16)),
            ("network-not-entitled", entitle(network="192.0.2.0/24"), sd),
            ("security-too-low", entitle(security={"UHD": "hardware"}), uhd),
            ("security-too-low", entitle(output="hdcp-1"), sd)):
        answer = mlic.license([kid], entitlement)
        status, code = reason(answer)
        assert code == refused, (refused, answer.text)
        assert status == {"key-unknown": 404, "no-entitlement": 401,
                          "entitlement-invalid": 401, "service-unknown": 401,
                          "entitlement-expired": 401}.get(refused, 403)
        assert mlic.lines()[-1]["decision"] == refused
    answer = mlic.license([sd], entitle(), type="persistent-license")
    assert reason(answer) == (403, "persistence-not-entitled")
    answer = mlic.license([sd], entitle(persistent=True),
                          type="persistent-license")
    assert answer.json()["type"] == "persistent-license"
    # of a service that allows no UHD in software, and fewer plays
    club = dict(secret=OTHER_SECRET, iss="https://club.example", play="p1")
    assert reason(mlic.license([uhd], entitle(**club))) == (
        403, "system-not-allowed")
    assert given(mlic.license([sd], entitle(**club)))
    assert reason(mlic.license([sd], entitle(**{**club, "play": None}))) == (
        401, "entitlement-invalid")


def test_12_requests_that_are_not_understood_are_told(mlic):
    def post(body, system="clearkey"):
        return requests.post(f"{mlic.url}/v1/licenses/{system}", data=body,
                             headers={"Authorization": f"Bearer {entitle()}"},
                             timeout=5)
    for body in ("", "{}", "[]", '{"kids":[]}', '{"kids":["x"]}',
                 '{"kids":[1]}', '{"kids":["AAAAAAAAAAAAAAAAAAAAAA=="]}',
                 '{"kids":["AAAAAAAAAAAAAAAAAAAAAA"],"type":"x"}',
                 '{"kids":["AAAAAAAAAAAAAAAAAAAAAA"],"kids":[]}'):
        answer = post(body)
        assert answer.status_code == 400, (body, answer.text)
    many = [base64url(i.to_bytes(16, "big")) for i in range(129)]
    assert post(json.dumps({"kids": many})).status_code == 413
    for system in ("identity", "nobody"):
        assert post("{}", system).status_code == 404
    assert requests.get(f"{mlic.url}/v1/keys/xyz", timeout=5, params={
        "entitlement": entitle()}).status_code == 400


def test_13_an_entitlement_that_is_good_once_gives_each_key_once(mlic):
    keys = mlic.keys()
    sd, audio = keys["SD"][0], keys["AUDIO"][0]
    once = entitle(single_use=True, jti="one")
    assert given(mlic.license([sd], once))
    assert reason(mlic.license([sd], once)) == (403, "entitlement-used")
    answer = mlic.license([sd, audio], once)
    assert set(given(answer)) == {audio}
    assert reason(mlic.license([sd, audio], once))[1] == "entitlement-used"
    assert given(mlic.license([sd], entitle(single_use=True, jti="two")))
    # of another service it is another one, though it is called the same
    assert given(mlic.license([sd], entitle(
        iss="slow", single_use=True, jti="one")))


def test_14_as_many_play_at_once_as_may(start, database):
    mlic = start("--lease", "2s", database=database)
    kid = mlic.keys()["SD"][0]

    def play(name, viewer="viewer", **claims):
        return entitle(plays=2, play=name, sub=viewer, **claims)

    def heartbeat(method, entitlement):
        return requests.request(method, mlic.url + "/v1/play", timeout=5,
                                headers={"Authorization":
                                         f"Bearer {entitlement}"})
    assert given(mlic.license([kid], play("a")))
    assert given(mlic.license([kid], play("b")))
    assert given(mlic.license([kid], play("b")))
    assert reason(mlic.license([kid], play("c"))) == (403, "too-many-plays")
    assert given(mlic.license([kid], play("c", "another")))
    # one that is over makes room
    assert heartbeat("DELETE", play("b")).status_code == 204
    assert given(mlic.license([kid], play("c")))
    # one that goes on keeps its place, one that died does not
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert heartbeat("PUT", play("a")).json() == {"lease_s": 2}
        time.sleep(0.5)
    assert given(mlic.license([kid], play("d")))
    assert reason(mlic.license([kid], play("e"))) == (403, "too-many-plays")
    answer = heartbeat("PUT", play("c"))
    assert answer.status_code == 404 and "has ended" in answer.text
    assert heartbeat("PUT", entitle()).status_code == 400


def test_15_a_service_asks_as_often_as_it_may(start):
    mlic = start()
    kid = mlic.keys()["SD"][0]
    slow = entitle(iss="slow")
    start_s = time.monotonic()
    answers = [mlic.license([kid], slow) for _ in range(8)]
    refused = [a for a in answers if a.status_code == 429]
    assert all(reason(a)[1] == "rate-exceeded" and a.headers["Retry-After"]
               for a in refused)
    assert 3 <= 8 - len(refused) <= 3 + time.monotonic() - start_s + 1
    assert given(mlic.license([kid], entitle()))


# ---- secrets ----------------------------------------------------------------

def test_20_ten_thousand_altered_entitlements_open_nothing(start):
    mlic = start()
    kid = mlic.keys()["SD"][0]
    rng = random.Random(6)
    good = entitle()
    ec_good = entitle(EC_KEY, "ES256", "ec")
    public = json.dumps(ec_jwk(EC_KEY, "ec"))

    def forged(header, claims, secret=b""):
        text = ".".join(base64url(json.dumps(p).encode())
                        for p in (header, claims))
        mac = hmac.new(secret, text.encode(), "sha256").digest()
        return f"{text}.{base64url(mac)}", f"{text}."
    claims = jwt.decode(good, options={"verify_signature": False})
    tries = []
    for alg in ("none", "None", "NONE", "HS256", "HS384", "ES256", "RS256", ""):
        for name in ("1", "ec", "", None):
            header = {"alg": alg, "kid": name, "typ": "JWT"}
            tries += forged(header, claims)
            tries += forged(header, claims, public.encode())
            tries += forged({**header, "jwk": ec_jwk(EC_KEY, "ec")}, claims)
    letters = string.ascii_letters + string.digits + "-_.="
    while len(tries) < 10_000:
        text = list(rng.choice((good, ec_good)))
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            at = rng.randrange(len(text))
            kind = rng.randrange(3)
            if kind == 0:
                text[at] = rng.choice(letters)
            elif kind == 1:
                del text[at]
            else:
                text.insert(at, rng.choice(letters))
        tries.append("".join(text))
    session = requests.Session()
    body = json.dumps({"kids": [base64url(kid)]})
    opened = 0
    for text in tries:
        if text in (good, ec_good):
            continue
        answer = session.post(mlic.url + "/v1/licenses/clearkey", data=body,
                              headers={"Authorization": f"Bearer {text}"},
                              timeout=5)
        opened += answer.status_code == 200
    assert opened == 0
    assert given(mlic.license([kid], good))


def test_21_no_key_is_where_it_does_not_belong(mlic, database):
    keys = mlic.keys()
    for kid, _ in keys.values():
        mlic.license([kid], entitle())
        mlic.license([kid], entitle(content="other"))
    mlic.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "read again" in mlic.log(), 5, "the reload")
    seen = mlic.log() + mlic.audit.read_text()
    if database is None:
        mlic.stop()
        seen += "".join(p.read_bytes().decode("latin-1")
                        for p in mlic.folder.glob("mlic.db*"))
    for _, key in keys.values():
        for text in (key.decode("latin-1"), key.hex(), base64url(key),
                     base64.b64encode(key).decode()):
            assert text not in seen
    for secret in (SECRET.hex(), MASTERS[1], PACKAGER_KEY, AUDIT_KEY.hex(),
                   "viewer@"):
        assert secret not in seen


def test_22_it_leaves_no_core_and_locks_its_memory(start):
    mlic = start()
    mlic.keys()
    pid = mlic.process.pid
    with open(f"/proc/{pid}/limits", encoding="ascii") as limits:
        core = next(line for line in limits if "core file" in line)
    assert core.split()[4:6] == ["0", "0"]
    if "cannot be locked" not in mlic.log():
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            locked = next(line for line in status if "VmLck" in line)
        assert int(locked.split()[1]) > 1000


def memory_of(pid):
    """What a process has in memory, by whoever may look into it."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, \
            open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            span, rights = line.split()[:2]
            begin, end = (int(x, 16) for x in span.split("-"))
            if "w" not in rights or "[v" in line:
                continue
            try:
                memory.seek(begin)
                yield memory.read(end - begin)
            except OSError:
                continue


def test_23_what_was_given_is_not_kept_in_memory(start):
    if os.geteuid() != 0:
        pytest.skip("only root may look")
    mlic = start()
    keys = mlic.keys()
    for kid, _ in keys.values():
        assert given(mlic.license([kid], entitle()))
    # the buffers of connections go with them, and so does what others wrote over
    for _ in range(50):
        mlic.license([bytes(16)], entitle())
    time.sleep(0.2)
    found = {track for chunk in memory_of(mlic.process.pid)
             for track, (_, key) in keys.items()
             if key in chunk or base64url(key).encode() in chunk}
    assert found == set()


# ---- the master key ---------------------------------------------------------

def test_30_a_new_master_key_takes_over_beside_servers(mlic):
    keys = {track: key for content in ("a/v1", "b/v1", "c/v1")
            for track, key in mlic.keys(content).items()}
    before = dict(mlic.keys("a/v1").values())

    def rewrap(*options):
        return subprocess.run(
            [MLIC, "rewrap", "--database", mlic.database, "--master-keys",
             mlic.folder / "masters", "--json", *options], text=True,
            capture_output=True, timeout=60)
    mlic.private("masters", f"2 {MASTERS[2]}\n1 {MASTERS[1]}\n")
    mlic.reload()
    assert mlic.metric("mlic_keys_old") == 12
    assert json.loads(rewrap("--dry-run").stdout) == {
        "keys": 12, "old": 12, "rewrapped": 0}
    new = mlic.keys("d/v1")  # is under the new one at once
    assert mlic.metric("mlic_keys_old") == 12
    done = rewrap()
    assert json.loads(done.stdout) == {"keys": 16, "old": 12, "rewrapped": 12}
    assert mlic.metric("mlic_keys_old") == 0
    mlic.private("masters", f"2 {MASTERS[2]}\n")
    mlic.reload()
    assert dict(mlic.keys("a/v1").values()) == before
    assert given(mlic.license([new["SD"][0]], entitle(content="d")))
    # without it nothing is to be had, and that is told
    mlic.private("masters", f"3 {MASTERS[3]}\n")
    mlic.reload()
    answer = mlic.license([new["SD"][0]], entitle(content="d"))
    assert answer.status_code == 503 and answer.headers["Retry-After"]
    assert "master key 2, which is not held" in mlic.log()
    mlic.private("masters", "3 nonsense\n")
    mlic.reload()
    assert mlic.metric("mlic_reloads_refused_total") == 1
    assert keys


def test_31_killed_in_the_middle_every_key_is_readable(start):
    mlic = start()
    contents = [f"film{i}/v1" for i in range(150)]
    before = {c: mlic.keys(c) for c in contents}
    number = 1
    for kill in range(20):
        number, old = number + 1, number
        mlic.private("masters", f"{number} "
                     + hashlib.sha256(f"r{number}".encode()).hexdigest() + "\n"
                     f"{old} " + (MASTERS[1] if old == 1 else hashlib.sha256(
                         f"r{old}".encode()).hexdigest()) + "\n")
        command = [MLIC, "rewrap", "--database", mlic.database,
                   "--master-keys", mlic.folder / "masters"]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
        time.sleep(0.001 + 0.002 * kill)
        child.kill()
        child.wait()
        mlic.reload()
        content = contents[kill]
        assert mlic.keys(content) == before[content]
        assert subprocess.run(command, capture_output=True,
                              timeout=60).returncode == 0
        mlic.reload()
        assert mlic.metric("mlic_keys_old") == 0
    assert {c: mlic.keys(c) for c in contents} == before


SOFTHSM = pathlib.Path("/usr/lib/softhsm/libsofthsm2.so")


@pytest.mark.skipif(not SOFTHSM.exists(), reason="there is no SoftHSM")
def test_32_master_keys_may_stay_in_a_device(start, tmp_path, monkeypatch):
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tmp_path / "softhsm2.conf").write_text(
        f"directories.tokendir = {tokens}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    pin = "pin-of-16-letters"
    subprocess.run(["softhsm2-util", "--init-token", "--free", "--label",
                    "vodst", "--so-pin", "12345678", "--pin", pin],
                   check=True, capture_output=True)

    def make(number):
        subprocess.run(["pkcs11-tool", "--module", SOFTHSM, "--login", "--pin",
                        pin, "--token-label", "vodst", "--keygen", "--key-type",
                        "AES:32", "--label", "mlic", "--id", f"{number:08x}"],
                       check=True, capture_output=True)
    make(1)
    secret = tmp_path / "pin"
    secret.write_text(pin + "\n")
    secret.chmod(0o600)

    def uri(token="vodst", source=secret):
        return (f"pkcs11:token={token};object=mlic?module-path={SOFTHSM}"
                f"&pin-source=file:{source}")
    mlic = start("--master-keys", uri())
    keys = mlic.keys()
    assert given(mlic.license([keys["SD"][0]], entitle()))
    make(2)
    mlic.reload()
    assert mlic.metric("mlic_keys_old") == 4
    done = subprocess.run([MLIC, "rewrap", "--database", mlic.database,
                           "--master-keys", uri()], capture_output=True,
                          text=True, timeout=20)
    assert "4 wrapped anew" in done.stdout, done.stderr
    assert mlic.metric("mlic_keys_old") == 0
    assert given(mlic.license([keys["SD"][0]], entitle())) == dict(
        [keys["SD"]])
    wrong = tmp_path / "wrong"
    wrong.write_text("not-this-pin-at-all\n")
    wrong.chmod(0o600)
    for place, said in ((uri("nobody"), "no device"),
                        (uri(source=wrong), "CKR_PIN_INCORRECT"),
                        ("pkcs11:token=vodst", "pin-source"),
                        ("pkcs11:%%", "RFC 7512")):
        done = subprocess.run([MLIC, "rewrap", "--database", mlic.database,
                               "--master-keys", place], capture_output=True,
                              text=True, timeout=20)
        assert done.returncode == 1 and (
            said in done.stderr or "PIN" in done.stderr), done.stderr


# ---- the audit --------------------------------------------------------------

def test_40_every_decision_is_written_down(start):
    mlic = start()
    keys = mlic.keys()
    kid = keys["UHD"][0]
    mlic.license([kid], entitle(sub="viewer@home"))
    mlic.license([kid], entitle(sub="viewer@home", classes=["SD"]))
    mlic.license([kid], None)
    lines = mlic.lines()
    assert [line["n"] for line in lines] == list(range(1, 8))
    assert [line["decision"] for line in lines] == ["granted"] * 5 + [
        "class-not-entitled", "no-entitlement"]
    assert {line["system"] for line in lines[:4]} == {"cpix"}
    granted, refused = lines[4:6]
    assert granted["viewer"] == refused["viewer"] and granted["viewer"]
    assert (granted["service"], granted["content"], granted["version"],
            granted["kid"]) == ("kino", "film", "v1", kid.hex())
    assert "viewer@home" not in mlic.audit.read_text()
    told = json.loads(mlic.verify().stdout)
    assert told == {"good": True, "lines": 7, "mac": lines[-1]["mac"]}


def test_41_what_was_changed_is_seen(start):
    mlic = start()
    mlic.keys()
    mlic.stop()
    text = mlic.audit.read_text()
    lines = text.splitlines(keepends=True)
    mac = json.loads(lines[-1])["mac"]
    for changed, bad in (
            (text.replace("granted", "refused", 1), 1),
            (lines[0] + lines[2] + lines[3], 2),
            (lines[0] + lines[2] + lines[1] + lines[3], 2),
            (text + lines[-1], 5),
            (text + lines[0], 5),
            (text.replace('"n":3', '"n":4'), 3),
            (text[:-30] + "\n", 4),
            ("\n" + text, 1)):
        mlic.audit.write_text(changed)
        done = mlic.verify()
        assert done.returncode == 1 and f"line {bad} " in done.stderr, changed
    mlic.audit.write_text(text)
    assert mlic.verify().returncode == 0
    mlic.private("other.key", MASTERS[1] + "\n")
    assert mlic.verify(key="other.key").returncode == 1
    # cut off at its end it is good as far as it goes: its last MAC tells
    mlic.audit.write_text("".join(lines[:2]))
    assert json.loads(mlic.verify().stdout)["mac"] != mac


def test_42_it_goes_on_behind_what_is_there(start):
    mlic = start()
    mlic.keys()
    mlic.process.kill()
    mlic.process.wait()
    with mlic.audit.open("a") as file:
        file.write('{"n":5,"at":17')  # a crash in the middle of a line
    again = start(folder=mlic.folder)
    assert "torn line" in again.log()
    again.keys()
    assert json.loads(again.verify().stdout)["lines"] == 8
    # moved away, it goes on in a new file
    moved = mlic.folder / "audit.1"
    again.audit.rename(moved)
    again.reload()
    again.keys()
    assert json.loads(again.verify(moved, again.audit).stdout)["lines"] == 12
    assert again.verify(again.audit).returncode == 1  # begins in the middle
    last = json.loads(moved.read_text().splitlines()[-1])["mac"]
    assert again.verify(again.audit, after=last).returncode == 0
    # somebody else's is not written to
    again.stop()
    again.audit.write_text(again.audit.read_text().replace("granted",
                                                           "refused"))
    with pytest.raises(AssertionError, match="was changed"):
        start(folder=mlic.folder)


def test_43_all_servers_of_a_database_have_one_audit_key(start, database,
                                                         tmp_path):
    def begin(name, *options, key=AUDIT_KEY):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "keys").mkdir(exist_ok=True)
        (folder / "keys" / "audit.key").write_text(key.hex() + "\n")
        (folder / "keys" / "audit.key").chmod(0o600)
        return start(*options, "--audit-key", folder / "keys" / "audit.key",
                     folder=folder, database=where)
    where = database or tmp_path / "shared.db"
    other = bytes(range(1, 33))
    one, two = begin("one"), begin("two")
    with pytest.raises(AssertionError, match="refuse .*three/keys/audit.key "
                       r"\(the database is of another audit key.*"
                       "--new-audit-key"):
        begin("three", key=other)
    assert one.stop() == two.stop() == 0
    # all are stopped, their audits moved away: a new key
    for mlic in one, two:
        mlic.audit.rename(mlic.folder / "audit.old")
    one = begin("one", "--new-audit-key", key=other)
    assert "leave --new-audit-key out" in one.log()
    two = begin("two", key=other)
    kid, _ = one.keys()["SD"]
    assert given(two.license([kid], entitle()))
    with pytest.raises(AssertionError, match="another audit key"):
        begin("three")


# ---- its configuration ------------------------------------------------------

@pytest.mark.parametrize("services, said", [
    ("{", ":1 ("),
    ('{"services": [}', ":1 ("),
    ('{"services": {}}', "must be a list"),
    ({"services": [{}]}, "services[0]: \"id\""),
    ({"services": [{"id": "a"}]}, "services[0]: it has no key"),
    ({"services": [{"id": "a", "keys": [{"kid": "1"}]}]}, "keys[0]"),
    ({"services": [{"id": "a", "keys": [
        {"kid": "1", "secret_file": "none"}]}]}, "secret_file"),
    ({"services": [{"id": "a", "keys": [{"jwk": {"kty": "oct"}}]}]}, "P-256"),
    ({"services": [{"id": "a", "colour": 1}]}, "unknown name \"colour\""),
    ({"services": [SERVICES["services"][0]] * 2}, "two services"),
    ({"services": [{**SERVICES["services"][0], "rules": [{"x": 1}]}]},
     "services[0].rules[0]: unknown name"),
    ({"services": [{**SERVICES["services"][0], "plays": 0}]}, "\"plays\""),
])
def test_50_services_that_are_not_right_are_told(start, services, said):
    mlic = start()
    mlic.services(services)
    mlic.reload()
    assert mlic.metric("mlic_reloads_refused_total") == 1
    assert said in mlic.log(), mlic.log()
    # those of before go on
    kid = mlic.keys()["SD"][0]
    assert given(mlic.license([kid], entitle()))


def test_51_files_with_secrets_are_private(start, tmp_path):
    mlic = start()
    mlic.stop()
    for name in ("masters", "audit.key", "kino.key"):
        (tmp_path / name).chmod(0o640)
        with pytest.raises(AssertionError, match="chmod 600"):
            start(folder=tmp_path)
        (tmp_path / name).chmod(0o600)
    start(folder=tmp_path)


def test_52_the_command_tells_how_it_is_used():
    def run(*arguments):
        return subprocess.run([MLIC, *arguments], capture_output=True,
                              text=True, timeout=10)
    assert run().returncode == 2
    assert "usage: mlic COMMAND" in run("--help").stdout
    assert run("nothing").returncode == 2
    for command in ("serve", "rewrap", "audit"):
        assert f"usage: mlic {command}" in run(command, "--help").stdout
        assert ".SH EXIT STATUS" in run(command, "--man").stdout
