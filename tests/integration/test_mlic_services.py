# SPDX-License-Identifier: Apache-2.0
"""What each service brings to the license server: keys at a URL that change,
a URL that is asked before a license is given, and limits of its own. The
service is a real HTTPS server here, which hangs, fails and lies when told."""

import base64
import collections
import datetime
import hmac
import json
import random
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
from test_mlic import (SECRET, base64url, ec_jwk, entitle,
                       database, given, postgresql, reason,  # noqa: F401
                       start)  # noqa: F401

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
            said = said(*self.questions[-1:])
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
    def with_service(*options, wait=True, database=None, **more):
        mlic = start(*(options or ("--ca-file", certificate / "certificate")),
                     database=database)
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
    assert mlic.stop() == 0, mlic.log()


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


# ---- a service that is asked before a license -------------------------------

CALLBACK_SECRET = bytes(range(200, 240))


@pytest.fixture
def asked(begin, service, tmp_path):
    """An mlic whose service is asked."""
    def with_callback(database=None, **more):
        path = tmp_path / "callback.key"
        path.write_text(CALLBACK_SECRET.hex() + "\n")
        path.chmod(0o600)
        options = callback_of(service, **more)
        return begin(keys=SECRET_FILE, callback=options, database=database)
    return with_callback


def callback_of(service, **more):
    return {"url": service.url + "/may", "secret_file": "callback.key", **more}


def callback_metric(mlic, name):
    return mlic.metric(f'mlic_callback_{name}{{service="kino"}}')


def state(mlic):
    return ("asked", "one tries", "nobody asks")[
        callback_metric(mlic, "breaker")]


def test_20_the_service_is_told_who_asks_for_what(asked, service):
    mlic = asked()
    token = entitle(play="p1", network="127.0.0.0/8")
    answer = requests.post(
        mlic.url + "/v1/licenses/clearkey", timeout=5,
        headers={"Authorization": f"Bearer {token}",
                 "X-Real-IP": "127.0.0.9"},
        data=json.dumps({"kids": [base64url(mlic.kids[t])
                                  for t in ("SD", "AUDIO")]}))
    assert len(given(answer)) == 2
    (headers, body), = service.asked
    assert json.loads(body) == {
        "service": "kino", "viewer": "viewer", "content": "film",
        "version": "v1", "classes": ["SD", "AUDIO"], "play": "p1",
        "network": "127.0.0.0/8"}
    # the service can tell that it is mlic, and that it is now
    signed_by = hmac.new(CALLBACK_SECRET, headers["X-Mlic-Time"].encode()
                         + b"." + body, "sha256").hexdigest()
    assert headers["X-Mlic-Signature"] == "sha256=" + signed_by
    assert abs(int(headers["X-Mlic-Time"]) - time.time()) < 5
    # for an identity key as well, and not where nothing is to be had
    assert requests.get(f"{mlic.url}/v1/keys/{mlic.kids['UHD'].hex()}",
                        params={"entitlement": entitle()}).status_code == 200
    assert service.questions[1] == {
        "service": "kino", "viewer": "viewer", "content": "film",
        "version": "v1", "classes": ["UHD"]}
    assert reason(license_of(mlic, entitle(classes=["SD"]), "UHD")) \
        == (403, "class-not-entitled")
    assert reason(license_of(mlic, entitle(content="other"))) \
        == (403, "content-not-entitled")
    assert len(service.questions) == 2
    assert CALLBACK_SECRET.hex() not in mlic.log()


def test_21_it_may_refuse_and_say_why(asked, service):
    mlic = asked()
    service.say = {"allow": False, "reason": "the month is not paid"}
    answer = license_of(mlic, entitle())
    assert reason(answer) == (403, "service-refused")
    assert "the month is not paid" in answer.json()["detail"]
    line = mlic.lines()[-1]
    assert line["decision"] == "service-refused" and line["viewer"] \
        and line["content"] == "film" and "viewer" not in line["viewer"]
    service.say = {"allow": False}
    assert reason(license_of(mlic, entitle())) == (403, "service-refused")
    service.say = {"allow": True}
    assert given(license_of(mlic, entitle()))


def test_22_it_may_narrow_and_not_widen(asked, service):
    mlic = asked()
    service.say = {"allow": True, "classes": ["SD", "UHD"], "license_s": 9999}
    answer = license_of(mlic, entitle(classes=["SD", "HD"]), "SD", "HD", "UHD")
    assert set(given(answer)) == {mlic.kids["SD"]}
    refused = dict(part.split() for part in
                   answer.headers["X-Keys-Refused"].split(", "))
    assert refused == {mlic.kids["HD"].hex(): "service-refused",
                       mlic.kids["UHD"].hex(): "class-not-entitled"}
    service.say = {"allow": True, "classes": []}
    assert reason(license_of(mlic, entitle())) == (403, "service-refused")


@pytest.mark.parametrize("bad", [
    500, 302, 204, b"", b"yes", b"[]", b'{"allow":"true"}',
    b'{"allow":false,"allow":true}', {"allow": True, "country": "DE"},
    {"allow": True, "classes": ["8K"]}, {"allow": True, "license_s": 0},
    b'{"allow":true,"reason":"' + b" " * 10_000 + b'"}', HANG],
    ids=["500", "302", "204", "empty", "text", "list", "text for true",
         "twice", "unknown", "class", "none", "huge", "hangs"])
def test_23_what_is_no_answer_refuses(asked, service, bad):
    mlic = asked(timeout_ms=300)
    service.say = bad
    began = time.monotonic()
    answer = license_of(mlic, entitle())
    assert time.monotonic() - began < 2
    assert reason(answer) == (503, "service-unreachable")
    assert answer.headers["Retry-After"]
    assert mlic.lines()[-1]["decision"] == "service-unreachable"
    assert "callback: kino does not answer (" in mlic.log()
    service.say = {"allow": True}
    assert given(license_of(mlic, entitle()))


def test_24_others_do_not_wait_for_one_that_hangs(asked, service):
    mlic = asked(timeout_ms=3000, failures=1000)
    mlic.services({"services": [
        {"id": "kino", "keys": SECRET_FILE, "callback": callback_of(
            service, timeout_ms=3000)},
        {"id": "club", "keys": SECRET_FILE}]})
    mlic.reload()
    service.say = HANG
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(
        license_of(mlic, entitle()))) for _ in range(20)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(service.questions) == 20, 5, "the questions")
    slowest = 0
    for _ in range(50):
        began = time.monotonic()
        assert given(license_of(mlic, entitle(iss="club")))
        slowest = max(slowest, time.monotonic() - began)
    for thread in threads:
        thread.join()
    print(f"the slowest took {slowest * 1000:.1f} ms")
    assert slowest < 0.5
    assert [reason(a)[1] for a in answers] == ["service-unreachable"] * 20


def test_25_after_failures_nobody_asks_then_one_tries(asked, service):
    mlic = asked(timeout_ms=500, failures=3, pause_s=1)
    service.say = 500
    for _ in range(3):
        assert state(mlic) == "asked"
        license_of(mlic, entitle())
    assert state(mlic) == "nobody asks"
    assert "ask kino no more for 1000 ms (3 failures in a row" in mlic.log()
    for _ in range(20):
        assert reason(license_of(mlic, entitle())) \
            == (503, "service-unreachable")
    assert len(service.questions) == 3
    # the one that tries fails: another pause
    time.sleep(1.1)
    for _ in range(5):
        license_of(mlic, entitle())
    assert len(service.questions) == 4 and state(mlic) == "nobody asks"
    # one tries while the others are refused at once
    service.say = lambda _: (time.sleep(0.3), {"allow": True})[1]
    time.sleep(1.1)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(
        license_of(mlic, entitle()))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert collections.Counter(a.status_code for a in answers) \
        == {200: 1, 503: 9}
    assert len(service.questions) == 5 and state(mlic) == "asked"
    assert "callback: kino answers again" in mlic.log()
    assert given(license_of(mlic, entitle()))


def test_26_the_breaker_stays_open_over_a_reload(asked, service):
    mlic = asked(failures=1, pause_s=3600)
    service.say = 500
    license_of(mlic, entitle())
    service.say = {"allow": True}
    reload(mlic, keys=SECRET_FILE, callback=callback_of(
        service, failures=1, pause_s=3600))
    assert state(mlic) == "nobody asks"
    assert reason(license_of(mlic, entitle())) == (503, "service-unreachable")
    # another URL is another service's word
    reload(mlic, keys=SECRET_FILE, callback={
        **callback_of(service), "url": service.url + "/other"})
    assert given(license_of(mlic, entitle()))
    reload(mlic, keys=SECRET_FILE)
    assert given(license_of(mlic, entitle()))
    assert len(service.questions) == 2


def test_27_who_waits_over_a_reload_is_judged_by_the_new(
        asked, service, database):  # noqa: F811
    mlic = asked(database, timeout_ms=10_000)
    service.say = HANG
    answers = []

    def ask():
        answers.append(license_of(mlic, entitle(), "SD", "HD"))
    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(service.questions) == 5, 5, "the questions")
    # the same URL: they go on waiting, for the same answer
    reload(mlic, keys=SECRET_FILE, callback=callback_of(
        service, timeout_ms=10_000, failures=7))
    time.sleep(0.2)
    assert not answers and len(service.questions) == 5
    # another: it is asked
    service.say = {"allow": True, "classes": ["SD"]}
    reload(mlic, keys=SECRET_FILE, callback={
        **callback_of(service), "url": service.url + "/other"})
    for thread in threads:
        thread.join(5)
    assert all(set(given(a)) == {mlic.kids["SD"]} for a in answers)
    assert len(answers) == 5 and len(service.questions) == 10


def test_28_answers_are_remembered_as_long_as_both_say(asked, service):
    mlic = asked(max_age_s=2)

    def count(**claims):
        before = len(service.questions)
        answer = license_of(mlic, entitle(**claims),
                            *claims.pop("tracks", ["SD"]))
        return len(service.questions) - before, answer.status_code
    assert [count() for _ in range(2)] == [(1, 200)] * 2  # nobody says so
    service.say = {"allow": True, "max_age": 3600}
    assert count() == (1, 200)
    for _ in range(3):
        assert count() == (0, 200)
    # another question
    assert count(sub="another") == (1, 200)
    before = len(service.questions)
    license_of(mlic, entitle(), "SD", "HD")
    license_of(mlic, entitle(), "HD")
    assert len(service.questions) == before + 2
    # nobody knows whose answer it is
    assert [count(sub=None) for _ in range(2)] == [(1, 200)] * 2
    time.sleep(2)
    assert count() == (1, 200)  # the configuration's bound
    service.say, service.headers = {"allow": True}, {
        "Cache-Control": "private, max-age=60"}
    assert [count(sub="b") for _ in range(2)] == [(1, 200), (0, 200)]
    service.headers = {"Cache-Control": "no-store"}
    service.say = {"allow": True, "max_age": 60}
    assert [count(sub="c") for _ in range(2)] == [(1, 200)] * 2
    service.headers, service.say = {}, {"allow": False, "max_age": 60}
    assert [count(sub="d") for _ in range(2)] == [(1, 403), (0, 403)]
    assert callback_metric(mlic, "remembered_total") == 5


def test_29_what_was_allowed_may_hold_when_it_fails(asked, service):
    mlic = asked(timeout_ms=300, failures=2, pause_s=3600, fail="cached",
                 stale_s=3)
    service.say = {"allow": True, "classes": ["SD"]}
    assert given(license_of(mlic, entitle()))
    allowed_s = time.monotonic()
    service.say = {"allow": False, "reason": "no"}
    assert reason(license_of(mlic, entitle(sub="b"))) \
        == (403, "service-refused")
    service.say = 500
    # what was allowed and as it was, whether it is asked or not
    for _ in range(4):
        answer = license_of(mlic, entitle())
        assert set(given(answer)) == {mlic.kids["SD"]}
    assert state(mlic) == "nobody asks"
    assert reason(license_of(mlic, entitle(sub="b"))) \
        == (503, "service-unreachable")
    assert reason(license_of(mlic, entitle(sub="c"))) \
        == (503, "service-unreachable")
    assert callback_metric(mlic, "stale_total") == 4
    time.sleep(max(0, 3.1 - (time.monotonic() - allowed_s)))
    assert reason(license_of(mlic, entitle())) == (503, "service-unreachable")


def test_30_who_leaves_while_it_is_asked_is_forgotten(
        asked, service, database):  # noqa: F811
    mlic = asked(database, timeout_ms=1000, failures=1000)
    service.say = HANG
    for _ in range(20):
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.get(f"{mlic.url}/v1/keys/{mlic.kids['SD'].hex()}",
                         timeout=0.05, params={"entitlement": entitle()})
    mlic.process.send_signal(signal.SIGHUP)
    time.sleep(1.2)
    service.say = {"allow": True}
    assert given(license_of(mlic, entitle()))
    service.say = HANG
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.get(f"{mlic.url}/v1/keys/{mlic.kids['SD'].hex()}",
                     timeout=0.05, params={"entitlement": entitle()})
    assert mlic.stop() == 0, mlic.log()


@pytest.mark.parametrize("more, said", [
    ({"url": "http://service.example/"}, "services[0].callback: \"url\" must"),
    ({"url": None}, "\"url\" must be https://"),
    ({"secret_file": None}, "a \"secret_file\""),
    ({"secret_file": "short"}, "64 hex digits"),
    ({"secret_file": "open"}, "chmod 600"),
    ({"timeout_ms": 0}, "\"timeout_ms\""), ({"failures": 0}, "\"failures\""),
    ({"fail": "allow"}, "none of \"refuse\", \"cached\""),
    ({"stale_s": 5}, "is for \"fail\": \"cached\""),
    ({"retries": 1}, "unknown name \"retries\"")])
def test_31_what_is_not_right_is_told(start, service, more, said):  # noqa: F811
    mlic = start()
    mlic.private("callback.key", CALLBACK_SECRET.hex() + "\n")
    mlic.private("short", "00" * 31 + "\n")
    mlic.private("open", CALLBACK_SECRET.hex() + "\n")
    (mlic.folder / "open").chmod(0o644)
    mlic.services({"services": [{"id": "kino", "keys": SECRET_FILE,
                                 "callback": callback_of(service, **more)}]})
    mlic.reload()
    assert mlic.metric("mlic_reloads_refused_total") == 1
    assert said in mlic.log(), mlic.log()


def test_32_who_leaves_at_any_time_is_forgotten(begin, service, database,
                                                tmp_path):  # noqa: F811
    """Also where it waited for keys, for the database and for the service."""
    path = tmp_path / "callback.key"
    path.write_text(CALLBACK_SECRET.hex() + "\n")
    path.chmod(0o600)
    rng = random.Random(48)
    service.jwks = lambda *_: (time.sleep(0.02), jwks(0, 1))[1]
    service.say = lambda _: (time.sleep(rng.random() / 10),
                             {"allow": True})[1]
    mlic = begin(database=database, jwks_url=service.url, jwks_pause_s=1,
                 jwks_refresh_s=1, callback=callback_of(service))
    end = time.monotonic() + 4

    def leave():
        while time.monotonic() < end:
            try:
                requests.get(f"{mlic.url}/v1/keys/{mlic.kids['SD'].hex()}",
                             timeout=rng.random() / 10 + 0.001,
                             params={"entitlement": signed(rng.randrange(3))})
            except requests.exceptions.RequestException:
                pass
    threads = [threading.Thread(target=leave) for _ in range(8)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        time.sleep(0.7)
        mlic.reload()
    for thread in threads:
        thread.join()
    service.say = {"allow": True}
    assert given(license_of(mlic, signed(0)))
    assert mlic.stop() == 0, mlic.log()


def test_33_it_may_be_stopped_at_any_time(begin, service, certificate,
                                          database, tmp_path):  # noqa: F811
    """With questions to the database and to services under way, and keys and
    licenses that are waited for."""
    path = tmp_path / "callback.key"
    path.write_text(CALLBACK_SECRET.hex() + "\n")
    path.chmod(0o600)
    rng = random.Random(49)
    service.jwks = lambda *_: (time.sleep(rng.random() / 20), jwks(0, 1))[1]
    service.say = lambda _: (time.sleep(rng.random() / 10),
                             {"allow": True})[1]
    ca = certificate / "certificate"
    for _ in range(8):
        mlic = begin("--ca-file", ca, "--widevine-url", service.url,
                     "--widevine-ca", ca, "--widevine-signer", "s",
                     "--widevine-key", widevine_key(tmp_path),
                     database=database, jwks_url=service.url, jwks_pause_s=1,
                     jwks_refresh_s=1, callback=callback_of(service),
                     wait=False)
        threads = [threading.Thread(target=ask_on, args=(mlic, n, rng))
                   for n in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(rng.random() / 2)
        if rng.random() < 0.3:
            mlic.process.send_signal(signal.SIGHUP)
        assert mlic.stop() == 0, mlic.log()
        for thread in threads:
            thread.join()


def widevine_key(folder):
    path = folder / "widevine.key"
    path.write_text(f"{bytes(32).hex()}:{bytes(16).hex()}\n")
    path.chmod(0o600)
    return path


def ask_on(mlic, number, rng):
    """Until nobody answers; some leave before."""
    kid = mlic.kids["SD"]
    data = bytes([0x12, 16]) + kid
    challenge = bytes([8, 1, 0x12, 24, 0x12, 22, 10, 20, 10, 18]) + data
    while mlic.process.poll() is None:
        timeout = rng.choice([5, rng.random() / 10 + 0.001])
        token = signed(rng.randrange(3), sub=f"viewer-{number}", play="p")
        try:
            if number % 2:
                requests.post(mlic.url + "/v1/licenses/widevine",
                              data=challenge, timeout=timeout,
                              headers={"Authorization": f"Bearer {token}"})
            else:
                requests.get(f"{mlic.url}/v1/keys/{kid.hex()}",
                             timeout=timeout, params={"entitlement": token})
        except requests.exceptions.RequestException:
            pass


# ---- limits of its own ------------------------------------------------------

def key_of(mlic, entitlement, track="SD"):
    return requests.get(f"{mlic.url}/v1/keys/{mlic.kids[track].hex()}",
                        params={"entitlement": entitlement}, timeout=5)


def test_40_a_service_names_its_systems_and_what_they_must_keep(begin):
    mlic = begin(keys=SECRET_FILE, systems=["identity", "widevine"])
    assert key_of(mlic, entitle()).status_code == 200
    assert reason(license_of(mlic, entitle())) == (403, "system-not-allowed")
    for more in {"security": "hardware"}, {"output": "hdcp-1"}:
        reload(mlic, keys=SECRET_FILE, **more)
        assert reason(license_of(mlic, entitle())) == (403, "security-too-low")
        assert reason(key_of(mlic, entitle())) == (403, "security-too-low")
    # beside rules, and an entitlement cannot loosen it
    reload(mlic, keys=SECRET_FILE, systems=["clearkey"],
           security="software", rules=[{"classes": ["UHD"], "refuse": True}])
    assert given(license_of(mlic, entitle(security="software")))
    assert reason(license_of(mlic, entitle(), "UHD")) \
        == (403, "system-not-allowed")
    assert reason(license_of(mlic, entitle(security="hardware"))) \
        == (403, "security-too-low")


def test_41_limits_are_each_service_s_own(begin):
    mlic = begin(keys=SECRET_FILE)
    mlic.services({"services": [
        {"id": "kino", "keys": SECRET_FILE, "rate_per_s": 1,
         "burst": 20},
        {"id": "club", "keys": SECRET_FILE, "plays": 1}]})
    mlic.reload()
    answers = [license_of(mlic, entitle()) for _ in range(50)]
    refused = [a for a in answers if a.status_code != 200]
    assert 20 < len(refused) <= 30
    assert {reason(a) for a in refused} == {(429, "rate-exceeded")}

    def play(name):
        return license_of(mlic, entitle(iss="club", play=name))
    assert given(play("a")) and given(play("a"))
    assert reason(play("b")) == (403, "too-many-plays")
    # the rate goes on over a reload, so that one is no way around it
    mlic.reload()
    assert 429 in [license_of(mlic, entitle()).status_code for _ in range(9)]


@pytest.mark.parametrize("more, said", [
    ({"systems": []}, "\"systems\" must be a list"),
    ({"systems": ["vhs"]}, "\"systems\"[0] is none of \"clearkey\""),
    ({"security": "vault"}, "\"security\" is none of \"software\""),
    ({"output": True}, "\"output\" is none of"),
    ({"rules": [{}] * 63}, "more than 62 rules"),
    ({"rate_per_s": 0}, "\"rate_per_s\" must be a number from 1")])
def test_42_limits_that_are_not_right_are_told(start, more, said):  # noqa: F811
    mlic = start()
    mlic.services({"services": [{"id": "kino", "keys": SECRET_FILE, **more}]})
    mlic.reload()
    assert mlic.metric("mlic_reloads_refused_total") == 1
    assert said in mlic.log(), mlic.log()
