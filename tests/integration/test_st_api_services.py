# SPDX-License-Identifier: Apache-2.0
"""How services ask for plays beside keys: JWTs that they sign by themselves,
made here by PyJWT, and rules of their own, asked over HTTP."""

import base64
import json
import socket
import sqlite3
import threading
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from stand_in import StandIn
from test_st_api import (StApi, new_database, own_api,  # noqa: F401
                         postgresql, problem, renew, token_of)  # noqa: F401

EC = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
RSA = rsa.generate_private_key(65537, 2048)
ALGORITHMS = {"ES256": jwt.algorithms.ECAlgorithm,
              "RS256": jwt.algorithms.RSAAlgorithm}


def public(key, **more):
    algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
    return {**json.loads(ALGORITHMS[algorithm].to_jwk(key.public_key())),
            **more}


def number(value):
    size = (value.bit_length() + 7) // 8
    return base64.urlsafe_b64encode(value.to_bytes(size, "big")) \
        .rstrip(b"=").decode()


class In(float):
    """So many seconds from when it is used."""


def dated(claims):
    return {name: time.time() + float(value) if isinstance(value, In)
            else value for name, value in claims.items()}


def make(key=EC[0], kid="k1", algorithm="ES256", headers=None, **claims):
    claims = {"iss": "shop", "aud": "st-api", "exp": int(time.time()) + 60,
              **dated(claims)}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, key,
                      algorithm, headers={"kid": kid, **(headers or {})})


def service_put(api, service, **more):
    return api.admin("PUT", f"/v1/services/{service}", {"name": "S", **more})


def key_put(api, service, jwk, **more):
    return api.admin("POST", f"/v1/services/{service}/keys",
                     {"jwk": jwk, **more})


@pytest.fixture(name="shop")
def _shop(own_api):  # noqa: F811
    api = own_api(public=False)
    for content in "demo", "other":
        api.put(content)
    service_put(api, "shop")
    assert key_put(api, "shop", public(EC[0], kid="k1")).status_code == 201
    return api


# ---- JWTs ----

def test_01_a_jwt_asks_for_a_play(shop):
    play = shop.play({"content": "demo"}, make()).json()
    assert play["urls"]["hls"].endswith("/demo/0123456789ab/master.m3u8")
    assert "~shop~" in play["id"]
    assert renew(shop, play, key=make()).status_code == 200
    assert shop.request("DELETE", f"/v1/playbacks/{play['id']}",
                        key=make()).status_code == 204
    rsa_key = key_put(shop, "shop", public(RSA)).json()
    assert "key" not in rsa_key and rsa_key["jwk"] == public(RSA)
    assert shop.play({"content": "demo"}, make(
        RSA, rsa_key["id"], "RS256")).status_code == 201
    listed = shop.admin("GET", "/v1/services/shop").json()["keys"]
    assert {key["jwk"]["kty"] for key in listed} == {"EC", "RSA"}


@pytest.mark.parametrize("claims", [
    {"aud": ["else", "st-api"]}, {"nbf": In(-5)}, {"iat": In(0)},
    {"exp": In(-30)}, {"exp": In(60.5)}, {"jti": "x", "anything": [1, {}]},
    {"contents": ["other", "demo"]}, {"sub": "anna"}, {"region": "DE"}])
def test_02_claims_that_hold(shop, claims):
    assert shop.play({"content": "demo"}, make(**claims)).status_code == 201


@pytest.mark.parametrize("claims", [
    {"iss": None}, {"iss": "another"}, {"iss": 7}, {"aud": None},
    {"aud": "else"}, {"aud": []}, {"aud": 7}, {"exp": None}, {"exp": "soon"},
    {"exp": -1}, {"exp": In(-90)}, {"nbf": In(300)}, {"nbf": "x"},
    {"iat": In(300)}, {"contents": "demo"}, {"contents": [1]},
    {"contents": ["x"] * 65}, {"contents": [""]}, {"sub": ""},
    {"sub": "x" * 129}, {"sub": 5}, {"sub": "a\nb"}, {"region": "de"},
    {"region": "DEU"}])
def test_03_claims_that_do_not(shop, claims):
    if claims.get("iss", "") is None or claims.get("iss") == 7 \
            or claims.get("sub") == 5:
        # PyJWT makes none such
        text = jwt.api_jws.encode(json.dumps(
            {"iss": "shop", "aud": "st-api", "exp": int(time.time()) + 60,
             **claims}).encode(), EC[0], "ES256", headers={"kid": "k1"})
    else:
        text = make(**claims)
    problem(shop.play({"content": "demo"}, text), 401)


def without_signature(text):
    return ".".join(text.split(".")[:2]) + "."


def header_set(text, **header):
    head, rest = text.split(".", 1)
    known = json.loads(base64.urlsafe_b64decode(head + "=="))
    known.update(header)
    return base64.urlsafe_b64encode(json.dumps(known).encode()) \
        .rstrip(b"=").decode() + "." + rest


def test_04_tokens_that_nobody_signed(shop):
    good = make()
    secret = base64.urlsafe_b64decode(public(EC[0])["x"] + "==")
    confused = jwt.encode({"iss": "shop", "aud": "st-api",
                           "exp": int(time.time()) + 60}, secret, "HS256",
                          headers={"kid": "k1"})
    none = jwt.encode({"iss": "shop", "aud": "st-api",
                       "exp": int(time.time()) + 60}, None, "none",
                      headers={"kid": "k1"})
    for bad in (make(EC[1]), make(kid="k2"), make(kid=""), confused, none,
                make(RSA, algorithm="RS256"), without_signature(good),
                header_set(good, alg="none"), header_set(good, alg="HS256"),
                make(headers={"crit": ["exp"], "exp": 1}),
                good + "A", good[:-2], "a.b.c", "..", "." * 9000,
                "eyJ" + "A" * 7000):
        assert shop.play({"content": "demo"}, bad).status_code == 401, bad
    at = len(good) // 3
    for i in range(0, len(good), 7):
        flipped = good[:i] + ("A" if good[i] != "A" else "B") + good[i + 1:]
        if flipped.split(".")[:2] != good.split(".")[:2] or i < len(good) - 2:
            problem(shop.play({"content": "demo"}, flipped), 401)
    assert at and shop.play({"content": "demo"}, good).status_code == 201


def test_05_a_jwt_is_for_what_it_says(shop):
    only = make(contents=["other"], sub="anna", region="DE")
    assert "not good for this content" in problem(
        shop.play({"content": "demo"}, only), 403)
    assert "not good for this viewer" in problem(
        shop.play({"content": "other", "viewer": "bob"}, only), 403)
    assert "not good for this region" in problem(
        shop.play({"content": "other", "region": "FR"}, only), 403)
    play = shop.play({"content": "other", "viewer": "anna", "region": "DE"},
                     only).json()
    assert "~shop~DE~" in play["id"]
    assert "~shop~DE~" in shop.play({"content": "other"}, only).json()["id"]
    problem(shop.play({"content": "demo"}, make(contents=[])), 403)
    # nor does it renew or end what it could not have asked for
    demo = shop.play({"content": "demo"}, make()).json()
    problem(renew(shop, demo, key=only), 404)
    problem(shop.request("DELETE", f"/v1/playbacks/{demo['id']}", key=only),
            404)
    assert renew(shop, play, key=only).status_code == 200


def test_05_an_idempotency_key_is_its_viewers_own(shop):
    def session(**claims):
        answer = shop.request("POST", "/v1/playbacks", {"content": "demo"},
                              make(**claims), **{"Idempotency-Key": "same"})
        assert answer.status_code == 201, answer.text
        return answer.json()["session"]
    claims = [{"sub": "anna"}, {"sub": "ben"}, {}, {"region": "DE"},
              {"sub": "anna", "region": "DE"}, {"sub": "DE"}]
    sessions = [session(**each) for each in claims]
    assert len(set(sessions)) == len(claims)
    assert sessions == [session(**each) for each in claims]


def test_06_keys_change_over(shop):
    """Two keys of one name, and one that ends."""
    assert key_put(shop, "shop", public(EC[1], kid="k1")).status_code == 201
    for key in EC:
        assert shop.play({"content": "demo"}, make(key)).status_code == 201
    first, = (key for key in shop.admin("GET", "/v1/services/shop").json()
              ["keys"] if key["jwk"]["x"] == public(EC[0])["x"])
    shop.admin("DELETE", f"/v1/services/shop/keys/{first['id']}")
    problem(shop.play({"content": "demo"}, make(EC[0])), 401)
    assert shop.play({"content": "demo"}, make(EC[1])).status_code == 201
    key_put(shop, "shop", public(EC[0], kid="old"),
            expires=int(time.time()) - 1)
    problem(shop.play({"content": "demo"}, make(EC[0], "old")), 401)


@pytest.mark.parametrize("jwk, reason", [
    ({}, "must be an EC key"), ({"kty": "oct", "k": "AAAA"}, "must be"),
    (7, "must be an object"), ("x", "must be an object"),
    ({"kty": "EC", "crv": "P-384"}, "must be an EC key of P-256"),
    ({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, "make no key"),
    ({**public(EC[0]), "x": "A=" + public(EC[0])["x"][2:]}, "make no key"),
    ({**public(EC[0]), "y": None}, "make no key"),
    ({**public(RSA), "n": public(RSA)["n"] + "*"}, "make no key"),
    ({**public(EC[0]), "d": "AAAA"}, "must be a public key"),
    ({**public(EC[0]), "alg": "ES384"}, "another algorithm"),
    ({**public(EC[0]), "kid": "x" * 65}, "a \"kid\" that is no text"),
    ({**public(EC[0]), "kid": 5}, "a \"kid\" that is no text"),
    ({**public(EC[0]), "x5c": ["A" * 3000]}, "up to 2048 bytes"),
    (public(rsa.generate_private_key(65537, 1024)), "2048 bits"),
    (public(rsa.generate_private_key(3, 2048)), "an odd exponent"),
    ({**public(RSA), "e": "AQ"}, "an odd exponent"),
    ({**public(RSA), "e": "AA"}, "an odd exponent"),
    ({**public(RSA), "e": "AQAC"}, "an odd exponent"),
    ({**public(RSA), "n": number(2 ** 2047)}, "an even modulus"),
    ({**public(RSA), "n": number(2 ** 2047 - 1)}, "2048 bits")])
def test_07_a_bad_public_key_is_told_so(shop, jwk, reason):
    before = shop.admin("GET", "/v1/services/shop").json()
    assert reason in problem(key_put(shop, "shop", jwk), 400)
    assert shop.admin("GET", "/v1/services/shop").json() == before


# ---- rules ----

class Rule(StandIn):
    """`says` is what it answers: a dictionary, a status, or None to hang up."""

    def __init__(self):
        super().__init__(self.judge)
        self.says, self.asked, self.pause = {"allow": True}, [], 0

    def judge(self, request):
        assert request.command == "POST"
        assert request.headers["Content-Type"] == "application/json"
        self.asked.append(json.loads(request.body()))
        time.sleep(self.pause)
        if self.says is None:
            return None
        if isinstance(self.says, int):
            return self.says, {}, b""
        said = self.says if isinstance(self.says, bytes) \
            else json.dumps(self.says).encode()
        return 200, {}, said


@pytest.fixture(name="rule")
def _rule():
    with Rule() as rule:
        yield rule


@pytest.fixture(name="ruled")
def _ruled(own_api, rule):  # noqa: F811
    """st-api, and a key of a service with a rule."""
    api = own_api(public=False)
    for content in "demo", "other":
        api.put(content)
    service_put(api, "shop", rule_url=rule.url + "/may", rule_ttl_s=30,
                rule_timeout_ms=500)
    key = api.admin("POST", "/v1/services/shop/keys", {}).json()["key"]
    return api, key


def test_11_a_rule_decides_and_is_remembered(ruled, rule):
    api, key = ruled
    body = {"content": "demo", "viewer": "anna", "region": "DE"}
    assert api.play(body, key).status_code == 201
    assert rule.asked == [{"service": "shop", **body}]
    rule.says = {"allow": False}
    assert api.play(body, key).status_code == 201  # as it was told before
    assert len(rule.asked) == 1
    for other in ({"content": "other"}, {"viewer": "bob"}, {"region": "FR"}):
        detail = problem(api.play({**body, **other}, key), 403)
        assert "does not let this viewer play" in detail
    assert len(rule.asked) == 4
    problem(api.play({"content": "demo"}, key), 403)
    assert rule.asked[-1] == {"service": "shop", "content": "demo"}
    metrics = api.metrics()
    assert metrics["st_api_playbacks_refused_total"] == 4
    assert metrics["st_api_rules_asked_total"] == 5
    assert metrics["st_api_rules_remembered_total"] == 1


def test_12_the_rule_says_for_how_long(ruled, rule):
    api, key = ruled
    rule.says = {"allow": True, "ttl_s": 0}
    for n in range(1, 4):
        assert api.play({"content": "demo"}, key).status_code == 201
        assert len(rule.asked) == n
    rule.says = {"allow": True, "ttl_s": 1}
    api.play({"content": "demo"}, key)
    assert api.play({"content": "demo"}, key).status_code == 201
    assert len(rule.asked) == 4
    time.sleep(2.1)
    rule.says = {"allow": False, "ttl_s": 10**9}  # no longer than rule_ttl_s
    problem(api.play({"content": "demo"}, key), 403)
    assert len(rule.asked) == 5


@pytest.mark.parametrize("says", [
    None, 500, 404, 302, b"", b"true", b"{", b"[]", {"allow": "yes"}, {},
    {"allow": True, "ttl_s": -1}, {"allow": True, "ttl_s": "x"},
    b'{"allow": false, "allow": true}', b"x" * 5000])
def test_13_a_rule_that_fails_refuses_by_default(ruled, rule, says):
    api, key = ruled
    rule.says = says
    answer = api.play({"content": "demo"}, key)
    assert "does not say" in problem(answer, 503)
    assert answer.headers["Retry-After"] == "1"
    assert "the rule of service shop fails" in api.log()
    service_put(api, "shop", rule_url=rule.url, rule_default="allow")
    assert api.play({"content": "demo"}, key).status_code == 201


def test_14_a_rule_that_hangs_is_not_waited_for(ruled, rule):
    api, key = ruled
    assert api.play({"content": "other"}, key).status_code == 201
    rule.pause = 2
    begin = time.monotonic()
    problem(api.play({"content": "demo"}, key), 503)
    assert 0.4 < time.monotonic() - begin < 1.5
    # what it once said still counts, beyond its time
    assert api.play({"content": "other"}, key).status_code == 201


def test_15_an_answer_of_before_helps_over_a_failure(ruled, rule):
    api, key = ruled
    rule.says = {"allow": True, "ttl_s": 0}
    assert api.play({"content": "demo"}, key).status_code == 201
    rule.says = 500
    assert api.play({"content": "demo"}, key).status_code == 201
    assert len(rule.asked) == 2
    problem(api.play({"content": "other"}, key), 503)


def test_16_a_renewal_asks_again(ruled, rule):
    api, key = ruled
    rule.says = {"allow": True, "ttl_s": 0}
    play = api.play({"content": "demo", "viewer": "anna"}, key).json()
    assert renew(api, play, {"viewer": "anna"}, key).status_code == 200
    assert rule.asked[0] == rule.asked[1]
    rule.says = {"allow": False}
    problem(renew(api, play, {"viewer": "anna"}, key), 403)


def test_17_who_leaves_is_forgotten(ruled, rule):
    """Viewers who do not wait for the rule do no harm."""
    api, key = ruled
    rule.pause = 0.3
    for n in range(5):
        with pytest.raises(Exception, match="[Tt]imed out|timeout"):
            import requests
            requests.post(api.url + "/v1/playbacks", timeout=0.05,
                          json={"content": "demo", "viewer": f"v{n}"},
                          headers={"Authorization": f"Bearer {key}"})
    time.sleep(0.6)
    rule.pause = 0
    assert api.play({"content": "demo"}, key).status_code == 201
    assert api.process.poll() is None


@pytest.mark.parametrize("more, reason", [
    ({"rule_url": "ftp://x"}, 'field "rule_url" must be http'),
    ({"rule_url": "http://"}, 'field "rule_url" must be http'),
    ({"rule_url": "http://x/\r\nHost: y"}, 'field "rule_url" must be'),
    ({"rule_ttl_s": 5}, 'without "rule_url"'),
    ({"rule_default": "allow"}, 'without "rule_url"'),
    ({"rule_url": "http://x/", "rule_default": "maybe"},
     'field "rule_default" must be refuse or allow'),
    ({"rule_url": "http://x/", "rule_timeout_ms": 10001},
     'field "rule_timeout_ms" must be'),
    ({"rule_url": "http://x/", "rule_ttl_s": 86401},
     'field "rule_ttl_s" must be')])
def test_18_a_bad_rule_is_told_so(shop, more, reason):
    before = shop.admin("GET", "/v1/services/shop").json()
    assert reason in problem(service_put(shop, "shop", **more), 400)
    assert shop.admin("GET", "/v1/services/shop").json() == before
    whole = {"rule_url": "https://x.example/y?z=1", "rule_timeout_ms": 7,
             "rule_ttl_s": 8, "rule_default": "allow"}
    assert service_put(shop, "shop", **whole).json().items() >= whole.items()
    assert "rule_url" not in service_put(shop, "shop").json()


@pytest.mark.parametrize("change", ["rule_url", "rule_ttl_s"])
def test_19_an_answer_is_of_the_rule_that_gave_it(ruled, rule, change):
    """What is remembered counts no more once the admin names another rule, or
    has answers hold for less."""
    api, key = ruled
    assert api.play({"content": "demo"}, key).status_code == 201
    whole = {"rule_url": rule.url + "/may", "rule_ttl_s": 30}
    service_put(api, "shop", **{
        **whole, change: {"rule_url": rule.url, "rule_ttl_s": 5}[change]})
    rule.says = {"allow": False}
    problem(api.play({"content": "demo"}, key), 403)
    assert len(rule.asked) == 2
    rule.says = 500
    service_put(api, "shop", rule_url=rule.url + "/new")
    problem(api.play({"content": "demo"}, key), 503)
    assert len(rule.asked) == 3


def test_20_a_rule_that_fails_is_told_once(ruled, rule):
    """And once that it answers again: not with each question, of which there
    may be thousands in a second, nor where it answers now and then."""
    api, key = ruled
    refuses = {"allow": False}
    for i, (says, status) in enumerate((
            (500, 503), (None, 503), (b"", 503), (refuses, 403), (500, 503),
            (refuses, 403))):
        rule.says = says
        for viewer in f"a{i}", f"b{i}":
            problem(api.play({"content": "demo", "viewer": viewer}, key),
                    status)
    assert api.metrics()["st_api_rules_failed_total"] == 8
    assert api.log().count("service shop fails (its answer is not 200)") == 1
    assert api.log().count("service shop") == 1
    time.sleep(5.1)
    rule.says = {"allow": True}
    for content in "demo", "other":
        assert api.play({"content": content, "viewer": "new"},
                        key).status_code == 201
    assert api.log().count("service shop answers again") == 1
    rule.says = 500
    problem(api.play({"content": "demo", "viewer": "other"}, key), 503)
    assert api.log().count("service shop fails") == 2


def test_20_a_rule_that_closes_its_connections_late_fails_nobody(own_api):
    """HTTP/1.0, and the connection is closed a moment after the answer: it
    looks as if it could be used again."""
    api = own_api(public=False)
    api.put("demo")
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def answer(connection):
            with connection:
                head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
                if not body:
                    connection.recv(65536)
                asked.append(head)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 14"
                                   b"\r\n\r\n{\"allow\":true}")
                time.sleep(0.05)

        def serve():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(connection,),
                                 daemon=True).start()
        threading.Thread(target=serve, daemon=True).start()
        service_put(api, "shop", rule_timeout_ms=2000,
                    rule_url=f"http://127.0.0.1:{listening.getsockname()[1]}/")
        key = api.admin("POST", "/v1/services/shop/keys", {}).json()["key"]
        for viewer in range(20):
            answered = api.play({"content": "demo", "viewer": f"v{viewer}"}, key)
            assert answered.status_code == 201, answered.text
        listening.shutdown(socket.SHUT_RDWR)
    assert len(asked) == 20
    assert api.metrics()["st_api_rules_failed_total"] == 0


def services_insert(folder, count):
    with sqlite3.connect(folder / "catalogue.db") as database:
        database.executemany(
            "INSERT INTO services(id, name, rate_per_s, burst, created)"
            " VALUES(?, 'S', 0, 0, 0)", ((f"x{i}",) for i in range(count)))
    database.close()


def test_21_more_services_than_can_be_held_are_refused(tmp_path):
    api = StApi(tmp_path, public=False)
    services_insert(tmp_path, 16384)
    assert "there are 16384 services already" in problem(
        service_put(api, "more"), 503)
    assert api.admin("GET", "/v1/services/more").status_code == 404
    problem(api.admin("POST", "/v1/services/more/keys", {}), 404)
    assert service_put(api, "x7", rate_per_s=5).status_code == 200
    assert api.admin("DELETE", "/v1/services/x8").status_code == 204
    assert service_put(api, "more").status_code == 201
    api.stop()
    api = StApi(tmp_path, public=False)
    assert api.admin("GET", "/v1/services/more").status_code == 200
    api.stop()
    services_insert_one = sqlite3.connect(tmp_path / "catalogue.db")
    with services_insert_one as database:
        database.execute("INSERT INTO services(id, name, rate_per_s, burst,"
                         " created) VALUES('x8', 'S', 0, 0, 0)")
    services_insert_one.close()
    with pytest.raises(AssertionError, match="cannot load the services"):
        StApi(tmp_path, public=False)
