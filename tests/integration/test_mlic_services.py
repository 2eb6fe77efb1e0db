# SPDX-License-Identifier: Apache-2.0
"""What each service brings to the license server: keys at a URL that change,
a URL that is asked before a license is given, and limits of its own. The
service is a real HTTPS server here, which hangs, fails and lies when told."""

import base64
import collections
import datetime
import json
import signal
import ssl
import threading
import time

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from ipaddress import IPv4Address

from conftest import wait_until
from stand_in import StandIn
from test_mlic import (EC_KEY, SECRET, base64url, ec_jwk, entitle,
                       given, reason, start)  # noqa: F401

KEYS = [ec.generate_private_key(ec.SECP256R1()) for _ in range(8)]
SECRET_FILE = [{"kid": "1", "secret_file": "kino.key"}]
HANG = object()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "service")])
    now = datetime.datetime.utcnow()
    made = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now,
        now + datetime.timedelta(1)).add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(
            IPv4Address("127.0.0.1"))]), False).add_extension(
        x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    (folder / "certificate").write_bytes(made.public_bytes(pem))
    (folder / "key").write_bytes(key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    return folder


class Service(StandIn):
    """Answers GET by `keys` and POST by `say`: JSON, bytes, a status, HANG, or
    a function of the question."""

    def __init__(self, certificate):
        super().__init__(self.reply)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "certificate",
                                certificate / "key")
        self.socket = context.wrap_socket(self.socket, server_side=True,
                                          do_handshake_on_connect=False)
        self.url = f"https://{self.address}"
        self.jwks, self.say, self.headers = {"keys": []}, {"allow": True}, {}
        self.fetched, self.questions, self.asked = 0, [], []
        self.released = threading.Event()

    def reply(self, request):
        if request.command == "GET":
            self.fetched += 1
            said = self.jwks
        else:
            body = request.body()
            self.asked.append((dict(request.headers), body))
            self.questions.append(json.loads(body))
            said = self.say
        if callable(said):
            said = said(self.questions[-1])
        if said is HANG:
            self.released.wait(20)
            return None
        if isinstance(said, int):
            return said, {}, b"no"
        if not isinstance(said, bytes):
            said = json.dumps(said).encode()
        return 200, {"Content-Type": "application/json", **self.headers}, said

    def handle_error(self, *_):  # a client that does not trust it, or left
        pass


@pytest.fixture
def service(certificate):
    with Service(certificate) as one:
        yield one
        one.released.set()


def jwks(*numbers):
    return {"keys": [ec_jwk(KEYS[n], f"k{n}") for n in numbers]}


def signed(number, **claims):
    return entitle(KEYS[number], "ES256", f"k{number}", **claims)


@pytest.fixture
def begin(start, service, certificate, tmp_path):  # noqa: F811
    """An mlic with the service "kino", and a film of which keys are there."""
    def with_service(*options, wait=True, **more):
        mlic = start(*(options or ("--ca-file", certificate / "certificate")))
        mlic.services({"services": [{"id": "kino", **more}]})
        mlic.reload()
        assert mlic.metric("mlic_reloads_refused_total") == 0, mlic.log()
        mlic.kids = {track: kid for track, (kid, _) in mlic.keys().items()}
        if wait and "jwks_url" in more:
            wait_until(lambda: service.fetched > 0, 5, "the keys")
        return mlic
    return with_service


def license_of(mlic, entitlement, *tracks):
    return mlic.license([mlic.kids[t] for t in tracks or ["SD"]], entitlement)


def reload(mlic, **more):
    before = mlic.metric("mlic_reloads_total")
    mlic.services({"services": [{"id": "kino", **more}]})
    mlic.reload()
    assert mlic.metric("mlic_reloads_total") == before + 1, mlic.log()


# ---- keys at a URL ----------------------------------------------------------

def test_01_keys_come_by_url_beside_those_of_the_file(begin, service):
    service.jwks = jwks(0, 1)
    mlic = begin(keys=SECRET_FILE, jwks_url=service.url)
    for good in signed(0), signed(1), entitle():
        assert given(license_of(mlic, good))
    assert reason(license_of(mlic, signed(2))) == (401, "entitlement-invalid")
    # what another has signed with a known name asks nobody
    before = service.fetched
    assert reason(license_of(mlic, entitle(KEYS[2], "ES256", "k0"))) \
        == (401, "entitlement-invalid")
    assert service.fetched == before


def test_02_keys_of_other_algorithms_are_none(begin, service):
    rsa_key = rsa.generate_private_key(65537, 1024)
    numbers = rsa_key.public_key().public_numbers()
    service.jwks = {"keys": [
        ec_jwk(KEYS[0], "k0"),
        {"kty": "oct", "kid": "secret", "alg": "HS256",
         "k": base64url(SECRET)},
        {**ec_jwk(KEYS[1], "k1"), "alg": "none"},
        {**ec_jwk(KEYS[2], "k2"), "alg": "HS256"},
        {**ec_jwk(KEYS[3], "k3"), "use": "enc"},
        {"kty": "RSA", "kid": "small", "e": "AQAB",
         "n": base64url(numbers.n.to_bytes(128, "big"))}, 7, None, {}]}
    mlic = begin(jwks_url=service.url)
    assert given(license_of(mlic, signed(0)))
    for bad in (entitle(SECRET, "HS256", "secret"), signed(1), signed(2),
                signed(3), entitle(rsa_key, "RS256", "small"),
                entitle(None, "none", "k1"), entitle(None, "none", "k0")):
        assert reason(license_of(mlic, bad)) == (401, "entitlement-invalid")
    assert "pass over 8 keys of kino" in mlic.log()


def test_03_keys_change_under_load_and_nobody_is_refused(begin, service):
    service.jwks = jwks(0)
    mlic = begin(jwks_url=service.url, jwks_pause_s=1)
    current, refused, count = [0], [], [0]
    end = threading.Event()

    def play():
        while not end.is_set():
            answer = license_of(mlic, signed(current[0]))
            count[0] += 1
            if answer.status_code != 200:
                refused.append(answer.text)
    threads = [threading.Thread(target=play) for _ in range(8)]
    for thread in threads:
        thread.start()
    for n in range(1, len(KEYS)):
        time.sleep(1.3)
        service.jwks = jwks(n - 1, n)
        current[0] = n  # at once: nobody has asked since
    time.sleep(0.5)
    end.set()
    for thread in threads:
        thread.join()
    print(f"{count[0]} licenses, {service.fetched} fetches")
    assert not refused and count[0] > 100
    assert len(KEYS) <= service.fetched <= len(KEYS) + 3
    # what the service has taken away is good no more
    assert reason(license_of(mlic, signed(0))) == (401, "entitlement-invalid")


def test_04_made_up_keys_do_not_flood_the_url(begin, service):
    service.jwks = jwks(0)
    mlic = begin(jwks_url=service.url, jwks_pause_s=2)
    began = time.monotonic()

    def flood(thread):
        for n in range(100):
            answer = license_of(mlic, entitle(KEYS[1], "ES256",
                                              f"made-up-{thread}-{n}"))
            assert reason(answer) == (401, "entitlement-invalid")
    threads = [threading.Thread(target=flood, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert given(license_of(mlic, signed(0)))
    lasted = time.monotonic() - began
    print(f"{service.fetched} fetches in {lasted:.1f} s")
    assert service.fetched <= 2 + lasted / 2


@pytest.mark.parametrize("bad", [
    500, b"<html>sign in</html>", b'{"keys":[' + b" " * 300_000 + b"]}", HANG],
    ids=["500", "page", "huge", "hangs"])
def test_05_keys_of_before_stay_for_a_grace(begin, service, bad):
    service.jwks = jwks(0)
    mlic = begin(jwks_url=service.url, jwks_refresh_s=1, jwks_pause_s=1,
                 jwks_grace_s=3)
    assert given(license_of(mlic, signed(0)))
    service.jwks = bad
    failed = 'mlic_service_keys_failed_total{service="kino"}'
    wait_until(lambda: mlic.metric(failed) > 0, 8, "the failure")
    if bad is HANG:  # it takes longer than the grace
        assert reason(license_of(mlic, signed(0))) \
            == (503, "service-unreachable")
    else:
        assert given(license_of(mlic, signed(0)))
        wait_until(lambda: reason_or_none(license_of(mlic, signed(0)))
                   == (503, "service-unreachable"), 8, "the end of the grace")
    assert "jwks: keep what there is of kino" in mlic.log()
    service.jwks = jwks(0)
    service.released.set()
    wait_until(lambda: license_of(mlic, signed(0)).status_code == 200, 10,
               "the keys")
    assert "the keys of kino can be had again" in mlic.log()


def reason_or_none(answer):
    return None if answer.status_code == 200 else reason(answer)


def test_06_keys_stay_over_a_reload(begin, service):
    service.jwks = jwks(0)
    more = {"jwks_url": service.url, "jwks_pause_s": 1}
    mlic = begin(**more)
    assert given(license_of(mlic, signed(0)))
    service.jwks = HANG
    reload(mlic, **more)
    assert given(license_of(mlic, signed(0)))
    # who waits for the keys of before gets those of after
    time.sleep(1)
    answers = []
    waiter = threading.Thread(
        target=lambda: answers.append(license_of(mlic, signed(1))))
    before = service.fetched
    waiter.start()
    wait_until(lambda: service.fetched > before, 5, "the question")
    reload(mlic, keys=[{"jwk": ec_jwk(KEYS[1], "k1")}])
    waiter.join(5)
    assert given(answers[0])
    service.released.set()


def test_07_who_is_not_trusted_gives_no_keys(begin, service):
    service.jwks = jwks(0)
    mlic = begin("--verbose", jwks_url=service.url, wait=False)
    assert reason(license_of(mlic, signed(0))) == (503, "service-unreachable")
    assert service.fetched == 0 and "refuse a certificate" in mlic.log()


def test_08_who_leaves_while_it_waits_is_forgotten(begin, service):
    service.jwks = HANG
    mlic = begin(jwks_url=service.url)
    for _ in range(20):
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.get(f"{mlic.url}/v1/keys/{mlic.kids['SD'].hex()}",
                         timeout=0.05, params={"entitlement": signed(0)})
    service.jwks = jwks(0)
    service.released.set()
    wait_until(lambda: license_of(mlic, signed(0)).status_code == 200, 15,
               "the keys")
    assert mlic.stop() == 0


@pytest.mark.parametrize("more, said", [
    ({"jwks_url": "http://keys.example/"}, "must be https://"),
    ({"jwks_url": "http://127.0.0.1.example/"}, "must be https://"),
    ({"jwks_url": "ftp://127.0.0.1/"}, "must be https://"),
    ({"jwks_url": 7}, "must be https://"),
    ({"jwks_url": "https://keys.example/", "jwks_pause_s": 0},
     "\"jwks_pause_s\" must be a number from 1"),
    ({"jwks_url": "https://keys.example/", "jwks_grace_s": 3e9},
     "\"jwks_grace_s\""),
])
def test_09_what_is_not_right_is_told(start, more, said):  # noqa: F811
    mlic = start()
    mlic.services({"services": [{"id": "kino", **more}]})
    mlic.reload()
    assert mlic.metric("mlic_reloads_refused_total") == 1
    assert said in mlic.log(), mlic.log()
