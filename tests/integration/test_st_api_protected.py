# SPDX-License-Identifier: Apache-2.0
"""Plays of protected films at st-api: their scheme, their entitlement and what
it says, kept over renewals; services' JWTs limit it. A real license server
takes the entitlements."""

import time
import urllib.parse

import jwt
import pytest

from conftest import wait_until
from test_mlic import Mlic
from test_st_api import StApi, problem
from test_st_api_services import EC, key_put, make, public

SECRET, OTHER = bytes(range(32)), bytes(range(1, 33))
LICENSES = "http://licenses.example/clearkey"


def start(folder, *options, **named):
    folder.mkdir(exist_ok=True)
    key = folder / "entitlement.key"
    key.write_text(SECRET.hex() + "\n")
    key.chmod(0o600)
    api = StApi(folder, "--entitlement-key", key, "--license",
                f"clearkey={LICENSES}", *options, **named)
    for content, is_protected in (("film", True), ("free", False)):
        answer = api.admin("PUT", f"/v1/contents/{content}", {
            "title": "T", "version": "v1", "duration_ms": 60000,
            "tracks": [{"name": "v0", "kind": "video"},
                       {"name": "i0", "kind": "thumbnails"}],
            "protected": is_protected})
        assert answer.status_code in (200, 201), answer.text
    return api


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    one = start(tmp_path_factory.mktemp("st-api"))
    yield one
    one.stop()


def play(api, content="film", **more):
    answer = api.play({"content": content, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()


def claims(answer, secret=SECRET, kid="1"):
    text = answer["entitlement"]
    assert jwt.get_unverified_header(text) == {"alg": "HS256", "kid": kid}
    return jwt.decode(text, secret, ["HS256"], audience="mlic")


def folders(answer):
    """Of its URLs, below the version; an entitlement as ENTITLEMENT."""
    def folder(url):
        path = urllib.parse.urlsplit(url).path.split("/", 5)[5]
        return path.replace(answer.get("entitlement", "-"), "ENTITLEMENT")
    return {form: folder(url) for form, url in answer["urls"].items()}


def test_01_a_protected_film_comes_with_its_entitlement(api):
    answer = play(api)
    assert answer["scheme"] == "cbcs"
    assert answer["drm"] == {"clearkey": {"license_url": LICENSES}}
    assert folders(answer) == {"hls": "cbcs/master.m3u8",
                               "dash": "cbcs/manifest.mpd",
                               "thumbnails": "cbcs/i0/index.m3u8"}
    told = claims(answer)
    assert told == {"iss": "st-api", "aud": "mlic", "exp": answer["expires"],
                    "content": "film", "version": "v1",
                    "play": answer["session"],
                    "jti": f"{answer['session']}-{answer['expires']}"}


@pytest.mark.parametrize("more, scheme, urls", [
    ({"scheme": "cenc"}, "cenc",
     {"hls": "cenc/master.m3u8", "dash": "cenc/manifest.mpd"}),
    ({"scheme": "cenc", "quality": "SD"}, "cenc",
     {"hls": "cenc-sd/master.m3u8", "dash": "cenc-sd/manifest.mpd"}),
    ({"quality": "UHD", "key_uris": True}, "cbcs",
     {"hls": "cbcs~ENTITLEMENT/master.m3u8", "dash": "cbcs/manifest.mpd"}),
    ({"scheme": "aes-128", "quality": "HD"}, "aes-128",
     {"hls": "aes-128-hd~ENTITLEMENT/ts/master.m3u8"}),
    ({"device": "legacy"}, "aes-128",
     {"hls": "aes-128~ENTITLEMENT/ts/master.m3u8"}),
    ({"device": "apple", "steering": True}, "cbcs",
     {"hls": "cbcs/master.m3u8"}),
])
def test_02_the_scheme_is_a_folder(api, more, scheme, urls):
    answer = play(api, **more)
    assert answer["scheme"] == scheme
    assert {**urls, "thumbnails": urls["hls"].split("/")[0].split("~")[0]
            + "/i0/index.m3u8"} == folders(answer)


def test_03_what_is_not_protected_is_clear_unless_asked(api):
    answer = play(api, "free")
    assert answer["scheme"] == "clear" and "drm" not in answer
    assert "entitlement" not in answer
    assert folders(answer)["hls"] == "master.m3u8"
    answer = play(api, "free", scheme="cenc")
    assert folders(answer)["dash"] == "cenc/manifest.mpd"
    assert claims(answer)["content"] == "free" and "clearkey" in answer["drm"]


def test_04_the_entitlement_says_what_was_asked(api):
    told = claims(play(api, quality="HD", plays=2, viewer="anna",
                       single_use=True))
    assert told["classes"] == ["AUDIO", "SD", "HD"]
    assert told["plays"] == 2 and told["single_use"] is True
    assert len(told["sub"]) == 32 and "anna" not in str(told)
    assert claims(play(api, viewer="anna"))["sub"] == told["sub"]
    assert claims(play(api, viewer="hanna"))["sub"] != told["sub"]


@pytest.mark.parametrize("body, said", [
    ({"content": "film", "scheme": "clear"}, "sent to nobody"),
    ({"content": "film", "plays": 1}, "who is missing"),
    ({"content": "film", "device": "legacy", "scheme": "cbcs"}, "legacy"),
])
def test_05_what_cannot_be_is_told(api, body, said):
    assert said in problem(api.play(body), 422)


@pytest.mark.parametrize("field, value", [
    ("scheme", "CENC"), ("scheme", 1), ("quality", "4K"), ("plays", 0),
    ("plays", 1001), ("plays", "1"), ("single_use", 1), ("key_uris", "yes")])
def test_06_wrong_values_are_refused(api, field, value):
    assert field in problem(api.play({"content": "film", field: value}), 400)


def test_07_a_renewed_play_has_the_same_terms(api):
    first = play(api, scheme="cenc", quality="SD", viewer="anna", plays=3,
                 single_use=True, key_uris=True)
    time.sleep(1.1)
    answer = api.request("POST", f"/v1/playbacks/{first['id']}/renew")
    assert answer.status_code == 200, answer.text
    again = answer.json()
    assert folders(again) == folders(first)
    before, now = claims(first), claims(again)
    assert now["exp"] > before["exp"] and now["jti"] != before["jti"]
    changed = ("exp", "jti")
    assert {k: v for k, v in now.items() if k not in changed} == {
        k: v for k, v in before.items() if k not in changed}
    refused = api.request("POST", f"/v1/playbacks/{first['id']}/renew",
                          {"quality": "UHD"})
    assert "quality" in problem(refused, 400)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    one = start(tmp_path_factory.mktemp("shop"), public=False)
    one.admin("PUT", "/v1/services/shop", {"name": "S"})
    assert key_put(one, "shop", public(EC[0], kid="k1")).status_code == 201
    yield one
    one.stop()


def test_08_a_services_jwt_limits_its_viewer(shop):
    granted = make(sub="anna", quality="HD", plays=2)
    answer = shop.play({"content": "film"}, granted)
    assert answer.status_code == 201, answer.text
    told = claims(answer.json())
    assert told["classes"] == ["AUDIO", "SD", "HD"] and told["plays"] == 2
    less = shop.play({"content": "film", "quality": "SD", "plays": 1}, granted)
    assert claims(less.json())["classes"] == ["AUDIO", "SD"]
    assert claims(less.json())["plays"] == 1
    for more in ({"quality": "UHD"}, {"plays": 3}):
        assert "is not good for" in problem(
            shop.play({"content": "film", **more}, granted), 403)
    # nor by renewing what was had before it was so
    free = shop.play({"content": "film", "quality": "UHD"},
                     make(sub="anna")).json()
    renewed = shop.request("POST", f"/v1/playbacks/{free['id']}/renew",
                           key=granted)
    assert "this quality" in problem(renewed, 403)
    for wrong in ({"quality": "4K"}, {"plays": 0}, {"plays": 1, "sub": None}):
        assert shop.play({"content": "film"},
                         make(**{"sub": "anna", **wrong})
                         ).status_code == 401


def test_09_the_key_is_read_again(tmp_path):
    api = start(tmp_path)
    try:
        file = tmp_path / "entitlement.key"
        file.write_text("short")
        api.process.send_signal(1)
        wait_until(lambda: "keep the old ones" in api.log(), what="a refusal")
        claims(play(api))
        file.write_text(OTHER.hex())
        api.process.send_signal(1)
        wait_until(lambda: "read again" in api.log(), what="a new key")
        claims(play(api), OTHER)
    finally:
        api.stop()


def test_10_without_a_key_all_is_as_before(tmp_path):
    api = StApi(tmp_path, "--license", f"clearkey={LICENSES}")
    try:
        api.admin("PUT", "/v1/contents/film", {
            "title": "T", "version": "v1", "duration_ms": 1,
            "protected": True})
        answer = play(api)
        assert folders(answer)["hls"] == "master.m3u8"
        assert "scheme" not in answer and "entitlement" not in answer
        assert answer["drm"] == {"clearkey": {"license_url": LICENSES}}
        for more in ({"scheme": "cbcs"}, {"quality": "SD"}, {"key_uris": True},
                     {"plays": 1, "viewer": "v"}, {"single_use": True}):
            assert "--entitlement-key" in problem(
                api.play({"content": "film", **more}), 422)
    finally:
        api.stop()


def test_11_a_license_server_takes_it(tmp_path, api):
    mlic = Mlic(tmp_path)
    try:
        mlic.private("st-api.key", SECRET.hex())
        mlic.services({"services": [{"id": "st-api", "keys": [
            {"kid": "1", "secret_file": "st-api.key"}]}]})
        mlic.reload()
        kids = [kid for kid, _ in mlic.keys("film/v1").values()]
        answer = mlic.license(kids, play(api, quality="SD", plays=1,
                                               viewer="anna")["entitlement"])
        assert answer.status_code == 200, answer.text
        assert "class-not-entitled" in answer.headers["X-Keys-Refused"]
        other = mlic.license(kids, play(api, "free", scheme="cbcs")[
            "entitlement"])
        assert other.json()["reason"] == "content-not-entitled"
    finally:
        mlic.stop()
