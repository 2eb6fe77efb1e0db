# SPDX-License-Identifier: Apache-2.0
"""Playback tokens of every form, at every kind of tier, against other
implementations: PyJWT and the JWE of python3-cryptography, CBOR by python3-cbor2
and, where npm has fetched it, the Common Access Tokens of @eyevinn/cat."""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import re
import subprocess
import time

import cbor2
import jwt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from http_probe import ask
from nginx_instance import TREE, NginxInstance, make_table
from ports import free_port
from test_st_api import StApi
from token_forms import cose, make_cat, make_jwt, padded, unpadded

OTHER_CAT = TREE / "tests" / "tokens"
SECRET, OLD, HIDING, NEW = (byte * 32 for byte in (
    b"\xa1", b"\xb2", b"\xc3", b"\xd4"))
TIERS = ("redirector", "origin", "edge")
PATH = "demo/v1/master.m3u8"

# One nginx for all tiers: their names are in the request.
HTTP = """
redirect_table table;
redirect_keys keys early=10s late=3s;
real_ip_header X-Real-IP;
set_real_ip_from 127.0.0.1;
log_format plays '$status content=$redirect_content rest=$redirect_rest '
                 'session=$redirect_session $redirect_decision';
access_log plays.log plays;
server {{
    listen 127.0.0.1:{port};
    server_name redirector;
    lingering_close off;
    location /p/ {{ redirect /p/; }}
    location /steering/ {{ redirect_steering /steering/; }}
}}
server {{
    listen 127.0.0.1:{port};
    server_name origin;
    lingering_close off;
    redirect_self origin;
    redirect_client $http_x_told;
    location /p/ {{
        redirect /p/;
        package $redirect_path;
        package_root stored;
    }}
}}
server {{
    listen 127.0.0.1:{port};
    server_name edge;
    lingering_close off;
    redirect_self edge;
    redirect_pull $server_name;  # it serves whatever is asked
    proxy_cache held;
    proxy_cache_key $redirect_path;
    proxy_cache_valid any 10s;
    proxy_set_header Host behind;
    location /p/ {{ redirect /p/; proxy_pass http://127.0.0.1:{port}; }}
}}
server {{
    listen 127.0.0.1:{port};
    server_name behind;
    access_log off;
    location / {{ return 200 "media"; }}
}}
"""


class Tiers(NginxInstance):
    def __init__(self, folder):
        self.private = ec.generate_private_key(ec.SECP256R1())
        public = base64.b64encode(self.private.public_key().public_bytes(
            serialization.Encoding.DER,
            serialization.PublicFormat.SubjectPublicKeyInfo)).decode()
        (folder / "keys").write_text(
            f"7 {SECRET.hex()} jwe={HIDING.hex()}\n"
            f"3 {OLD.hex()} kid=old iss=shop\n"
            f"9 es256 {public} kid=elsewhere\n")
        port = free_port()
        (folder / "table").write_bytes(make_table("7.12", {
            "origin": f"http://origin:{port}"}))
        (folder / "stored").mkdir()
        super().__init__(
            folder, HTTP.format(port=port), port, ("redirect", "package"),
            http_defaults="proxy_cache_path held keys_zone=held:1m;"
                          " default_type text/plain;")

    def play(self, token, tier="origin", path=PATH, **headers):
        answer = ask(self.port, f"/p/{token}/{path}", headers={
            "Host": tier, **{k.replace("_", "-"): v
                             for k, v in headers.items()}})
        assert answer.status in (200, 302, 403, 404)
        return answer

    def takes(self, token, tier="origin", path=PATH, **headers):
        """The token is taken, whatever comes of it: nothing is stored."""
        return self.play(token, tier, path, **headers).status != 403


@pytest.fixture(scope="module", name="tiers")
def _tiers(tmp_path_factory):
    with Tiers(tmp_path_factory.mktemp("tiers")) as nginx:
        yield nginx


@pytest.fixture(name="issuer")
def _issuer(tmp_path, tiers):
    """st-api with these options, and the URLs it answers."""
    running = []

    def issue(*options, content="demo", duration_ms=60000, **asked):
        (tmp_path / "keys").write_text((tiers.folder / "keys").read_text())
        (tmp_path / "admin.key").write_text("admin-key-0123456789\n")
        running.append(StApi(tmp_path, *options))
        api = running[-1]
        api.put(content, version="v1", duration_ms=duration_ms)
        play = api.play({"content": content, **asked}).json()
        play["token"], play["path"] = re.fullmatch(
            r"http://play.example:8080/p/([^/]+)/(.*)",
            play["urls"]["hls"]).groups()
        return play

    yield issue
    for api in running:
        api.stop()


def read_cat(token, secret=SECRET):
    """Claims of an authentic one, and its key's id."""
    protected, unprotected, payload, mac = \
        cbor2.loads(padded(token)).value.value
    structure = cbor2.dumps(["MAC0", protected, b"", payload])
    assert hmac.digest(secret, structure, "sha256") == mac
    headers = {**cbor2.loads(protected), **unprotected}
    assert headers[1] == 5
    return cbor2.loads(payload), headers[4].decode()


def altered(token):
    for at in range(0, len(token), 5):
        yield token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1:]
    yield token[:-1]
    yield token + "A"


@pytest.mark.parametrize("form", ["compact", "jwt", "cat"])
def test_every_tier_takes_what_st_api_issues_and_nothing_altered(
        tiers, issuer, form):
    play = issuer("--token-form", form)
    assert re.fullmatch({"compact": r"[\w-]{40}", "jwt": r"[\w-]+(\.[\w-]+){2}",
                         "cat": r"[\w-]{100,200}"}[form], play["token"])
    for tier in TIERS:
        assert tiers.takes(play["token"], tier, play["path"]), tier
        assert not tiers.takes(play["token"], tier, "other/v1/x.m3u8"), tier
    for token in altered(play["token"]):
        assert not tiers.takes(token, path=play["path"])
    assert ask(tiers.port, f"/steering/{play['token']}/demo",
               headers={"Host": "redirector"}).status == 200
    assert ask(tiers.port, f"/steering/{play['token']}/other",
               headers={"Host": "redirector"}).status == 403
    # the session is the one that st-api said, and the token is nowhere
    log = (tiers.folder / "plays.log").read_text()
    assert f"session={play['session']}" in log
    assert play["token"] not in log
    held = b"".join(p.read_bytes() for p in (tiers.folder / "held").rglob("*")
                    if p.is_file())
    assert b"KEY: demo/v1/master.m3u8" in held
    assert play["token"].encode() not in held


def test_an_issued_jwt_is_one_for_pyjwt(issuer):
    play = issuer("--token-form", "jwt", content="a.b_c-d")
    assert jwt.get_unverified_header(play["token"]) == {"alg": "HS256",
                                                       "kid": "7"}
    claims = jwt.decode(play["token"], SECRET, ["HS256"],
                        options={"require": ["exp"]})
    assert claims["exp"] == play["expires"] and claims["cdniv"] == 1
    assert claims["sid"] == play["session"]
    kind, pattern = claims["cdniuc"].split(":", 1)
    assert kind == "regex"
    for uri, is_match in (("http://h:80/p/a.b_c-d/v1/0.m4s?hop=1", True),
                          ("http://h/p/aXb_c-d/v1/0.m4s", False),
                          ("http://h/x?http://h/p/a.b_c-d/0.m4s", False)):
        assert bool(re.search(pattern, uri)) == is_match
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(play["token"], OLD, ["HS256"])


def test_jwts_of_pyjwt_are_judged_at_every_tier(tiers):
    now = int(time.time())
    good = [make_jwt(SECRET),
            make_jwt(SECRET, nbf=now + 5),  # clocks differ
            make_jwt(SECRET, exp=now - 1),
            make_jwt(tiers.private, "ES256", "elsewhere"),
            make_jwt(OLD, kid="old", iss="shop"),
            make_jwt(SECRET, sub="x", cdnicrit="exp,cdniuc", cdnistt=0)]
    bad = [make_jwt(OLD),
           make_jwt(tiers.private, "ES256", "7"),
           make_jwt(SECRET, kid="elsewhere"),
           make_jwt(None, "none"),
           make_jwt(b"x" * 32, "HS512"),
           make_jwt(SECRET, exp=now - 60), make_jwt(SECRET, nbf=now + 60),
           make_jwt(SECRET, cdniuc=r"regex:https?://[^/]*/p/other/.*"),
           make_jwt(SECRET, cdniuc="hash:sha-256;" + unpadded(b"x" * 32)),
           make_jwt(SECRET, jti="once"), make_jwt(SECRET, iss="nobody"),
           make_jwt(SECRET, cdnicrit="mine"),
           make_jwt(SECRET, cdnistt=1, cdniets=30),
           make_jwt(SECRET, cdniip="192.0.2.0/24")]
    for tier in TIERS:
        assert [tiers.takes(t, tier) for t in good] == [True] * len(good)
        assert [tiers.takes(t, tier) for t in bad] == [False] * len(bad)
    exact = hashlib.sha256(b"http://origin/p/demo/v1/a.m4s?b=1").digest()
    token = make_jwt(SECRET, cdniuc="hash:sha-256;" + unpadded(exact))
    assert tiers.takes(token, path="demo/v1/a.m4s?b=1")
    assert not tiers.takes(token, path="demo/v1/a.m4s?b=2")
    # a path that says one thing and means another
    assert not tiers.takes(make_jwt(SECRET), path="demo/../other/v1/x.m3u8")
    assert not tiers.takes(make_jwt(SECRET),
                           path="demo/%2e%2e/other/v1/x.m3u8")


def test_a_jwt_hides_the_network_it_is_bound_to(tiers, issuer):
    play = issuer("--token-form", "jwt", "--token-network", "24/64",
                  address="192.0.2.77")
    header, key, nonce, sealed, tag = jwt.decode(
        play["token"], SECRET, ["HS256"])["cdniip"].split(".")
    assert json.loads(padded(header)) == {"alg": "dir", "enc": "A256GCM"}
    assert key == ""
    assert AESGCM(HIDING).decrypt(
        padded(nonce), padded(sealed) + padded(tag), header.encode()) \
        == b"192.0.2.0/24"
    nonce = os.urandom(12)
    sealed = AESGCM(HIDING).encrypt(nonce, b"2001:db8::/32",
                                                   header.encode())
    other = make_jwt(SECRET, cdniip=".".join([header, "", *map(unpadded, (
        nonce, sealed[:-16], sealed[-16:]))]))
    assert tiers.takes(other, X_Real_IP="2001:db8:1::1")
    assert not tiers.takes(other, X_Real_IP="2001:db9:1::1")


@pytest.mark.parametrize("form", ["compact", "jwt", "cat"])
def test_a_token_is_bound_to_its_viewers_network_at_every_tier(
        tiers, issuer, form):
    play = issuer("--token-form", form, "--token-network", "24/64",
                  address="192.0.2.77")
    for tier in TIERS:
        assert tiers.takes(play["token"], tier, X_Real_IP="192.0.2.200")
        assert not tiers.takes(play["token"], tier, X_Real_IP="192.0.3.77")
        assert not tiers.takes(play["token"], tier, X_Real_IP="2001:db8::1")
        assert not tiers.takes(play["token"], tier)
    # where a CDN pulls, it says for whom
    assert tiers.takes(play["token"], X_Told="192.0.2.9")
    assert not tiers.takes(play["token"], X_Told="192.0.3.9",
                           X_Real_IP="192.0.2.9")
    assert not tiers.takes(play["token"], X_Told="nobody",
                           X_Real_IP="192.0.2.9")


def test_an_issued_cat_is_one_for_cbor2(issuer):
    play = issuer("--token-form", "cat", "--token-network", "20/56",
                  address="2001:db8:1:22ff::1")
    claims, kid = read_cat(play["token"])
    assert kid == "7"
    assert claims.pop(311) == [cbor2.CBORTag(54, [56, bytes.fromhex(
        "20010db8000122")])]
    assert claims == {4: play["expires"], 7: bytes.fromhex(play["session"]),
                      310: 1, 312: {3: {1: "/p/demo/"}}}


def test_cats_made_by_cbor2_are_judged_at_every_tier(tiers):
    now = int(time.time())

    def es256(structure):
        return b"".join(n.to_bytes(32, "big") for n in
                        utils.decode_dss_signature(tiers.private.sign(
                            structure, ec.ECDSA(hashes.SHA256()))))
    claims = cbor2.dumps({4: now + 600, 312: {3: {1: "/p/demo/"}}})
    signed = cose(18, {1: -7, 4: b"elsewhere"}, {}, claims, es256)
    good = [make_cat(SECRET), signed, make_cat(OLD, "old", _1="shop"),
            make_cat(SECRET, _5=now + 5), make_cat(SECRET, _4=now - 1),
            make_cat(SECRET, _313=["GET"], _308=0, _323={0: 0}),
            make_cat(SECRET, _311=[65000, cbor2.CBORTag(
                52, [8, b"\x7f\x00\x00\x00"])])]
    bad = [make_cat(OLD), make_cat(SECRET, "8"), make_cat(SECRET, "elsewhere"),
           cose(18, {1: -7, 4: b"7"}, {}, claims, es256),
           make_cat(SECRET, _5=now + 60), make_cat(SECRET, _4=now - 60),
           make_cat(SECRET, _312={3: {1: "/p/other/"}}),
           make_cat(SECRET, _312={}),
           make_cat(SECRET, _308=1), make_cat(SECRET, _313=["PUT"]),
           make_cat(SECRET, _311=[cbor2.CBORTag(52, [24, b"\xc0\x00\x02"])]),
           make_cat(SECRET, _1="nobody"), make_cat(SECRET, _316=["SE"]),
           make_cat(SECRET, _999=1)]
    for tier in TIERS:
        assert [tiers.takes(t, tier) for t in good] == [True] * len(good)
        assert [tiers.takes(t, tier) for t in bad] == [False] * len(bad)


def other_cat(jobs):
    done = subprocess.run(["node", str(OTHER_CAT / "cat.mjs")],
                          input=json.dumps(jobs), capture_output=True,
                          text=True, check=True)
    return json.loads(done.stdout)


def test_cats_of_another_implementation_are_taken_and_ours_by_it(
        tiers, issuer):
    now = int(time.time())
    ours = issuer("--token-form", "cat", "--token-network", "32/64",
                  address="192.0.2.77")
    key = {"kid": "7", "key": SECRET.hex()}
    catu = {"path": {"prefix-match": "/p/demo/"},
            "scheme": {"exact-match": "http"}}
    url = f"http://h/p/{ours['path']}"
    claims, elsewhere, false_key, good, far, over = other_cat([
        {"read": ours["token"], "url": url, "ip": "192.0.2.77", **key},
        {"read": ours["token"], "url": "http://h/p/other/x",
         "ip": "192.0.2.77", **key},
        {"read": ours["token"], "url": url, "ip": "192.0.2.77", "kid": "7",
         "key": OLD.hex()},
        {"make": {"exp": now + 600, "catu": catu, "cti": "0b71",
                  "catnip": ["192.0.2.0/24", 65000]}, **key},
        {"make": {"exp": now + 600, "catu": {"path": {
            "prefix-match": "/p/other/"}}}, **key},
        {"make": {"exp": now - 60, "catu": catu}, **key}])
    assert claims["exp"] == ours["expires"]
    assert claims["cti"] == ours["session"]
    assert claims["catnip"] == ["192.0.2.77"]
    assert "not allowed" in elsewhere["error"] and "error" in false_key
    for tier in TIERS:
        assert tiers.takes(good, tier, X_Real_IP="192.0.2.1")
        assert not tiers.takes(good, tier, X_Real_IP="192.0.3.1")
        assert not tiers.takes(far, tier)
        assert not tiers.takes(over, tier)


def test_a_token_outlives_its_film(issuer):
    film_s = 10 * 3600
    play = issuer("--token-ttl", "1h", duration_ms=film_s * 1000)
    assert 0 <= time.time() + film_s * 1.5 - play["expires"] < 60


def test_keys_are_rotated_under_plays(tiers, issuer):
    before = issuer("--token-form", "cat")["token"]
    keys = (tiers.folder / "keys").read_text()
    try:
        # the new one first: it signs as soon as st-api has it
        (tiers.folder / "keys").write_text(f"8 {NEW.hex()}\n{keys}")
        tiers.reload()
        after = issuer("--token-form", "cat")["token"]
        assert read_cat(after, NEW)[1] == "8"
        for tier in TIERS:
            assert tiers.takes(before, tier) and tiers.takes(after, tier)
        (tiers.folder / "keys").write_text(f"8 {NEW.hex()}\n")
        tiers.reload()
        assert not tiers.takes(before) and tiers.takes(after)
    finally:
        (tiers.folder / "keys").write_text(keys)
        tiers.reload()


@pytest.mark.parametrize("words, said", [
    ("early=x", "invalid parameter"), ("late=2h", "invalid parameter"),
    ("soon=1s", "invalid parameter"), ("early=1h late=0s", "successful"),
])
def test_how_far_clocks_may_differ_is_checked(tmp_path, tiers, words, said):
    conf = (tiers.folder / "nginx.conf").read_text()
    path = pathlib.Path(tmp_path / "nginx.conf")
    path.write_text(conf.replace("keys early=10s late=3s", f"keys {words}"))
    (tmp_path / "keys").write_text((tiers.folder / "keys").read_text())
    done = subprocess.run(["nginx", "-p", str(tmp_path), "-e",
                           str(tmp_path / "error.log"), "-t", "-c",
                           str(path)], capture_output=True, text=True,
                          check=False)
    assert said in done.stderr
