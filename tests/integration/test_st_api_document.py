# SPDX-License-Identifier: Apache-2.0
"""st-api against its OpenAPI document: each operation is asked rightly and in
thousands of wrong ways, and every answer has to be one that the document knows;
none may be the server's own failure."""

import copy
import json
import pathlib
import random
import re
import socket

import jsonschema
import pytest
import requests

from test_st_api import (ADMIN_KEY, StApi, new_database,  # noqa: F401
                         postgresql)  # noqa: F401

SOURCE = (pathlib.Path(__file__).resolve().parents[2]
          / "programs" / "st-api" / "openapi.json")
DOCUMENT = json.loads(SOURCE.read_text())
PROBLEM = "application/problem+json"
WRONG_FORMS = 60  # of each operation

OPERATIONS = [
    (method, path, operation | {"parameters": item.get("parameters", [])
                                + operation.get("parameters", [])})
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items() if method != "parameters"]
NAMES = [operation["operationId"] for _, _, operation in OPERATIONS]

# what goes wrong elsewhere, for texts of any kind
HOSTILE = ["", " ", ".", "..", "../../etc/passwd", "a/b", "a%00b", "\0", "\n",
           "' OR '1'='1", "'; DROP TABLE contents; --", "\" --", "\\", "$1",
           "?1", "{{7*7}}", "<script>", "é", "\u202e", "\U0001f600",
           "x" * 65, "x" * 5000, "NULL", "true", "0", "-1", "%s%n"]
WRONG_VALUES = [None, True, False, 0, 1, -1, 1.5, 1e308, 2**31, 2**63, -2**63,
                10**30, "", "x", [], [1], {}, {"a": 1}, [[[]]], *HOSTILE]


@pytest.fixture(scope="module")
def api(tmp_path_factory, new_database):  # noqa: F811
    folder = tmp_path_factory.mktemp("st-api")
    secret = folder / "entitlement.key"
    secret.write_text("0f" * 32)
    secret.chmod(0o600)
    one = StApi(folder, "--entitlement-key", secret, database=new_database(),
                public=False)
    yield one
    one.stop()


@pytest.fixture(scope="module")
def key(api):
    api.admin("PUT", "/v1/services/tester", {"name": "T"})
    yield api.admin("POST", "/v1/services/tester/keys", {}).json()["key"]


@pytest.fixture(autouse=True)
def things(api):
    """What the right requests name."""
    tracks = [{"name": "v0", "kind": "video"}]
    for version in "one", "two":
        api.admin("PUT", "/v1/contents/thing", {
            "title": "T", "version": version, "duration_ms": 1,
            "tracks": tracks, "windows": []})
    api.admin("PUT", "/v1/services/thing", {"name": "T"})
    api.admin("PUT", "/v1/campaigns/thing", {
        "name": "T", "starts": 1, "ends": 2, "contents": [{"id": "thing"}]})


def resolve(schema):
    while "$ref" in schema:
        target = DOCUMENT
        for name in schema["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        schema = target
    return schema


def example(schema, rng, depth=0):
    """A value that the schema allows."""
    schema = resolve(schema)
    if "anyOf" in schema:
        return rng.choice(["192.0.2.1", "2001:db8::7"])
    for choices in "enum", "examples":
        if choices in schema:
            return copy.deepcopy(rng.choice(schema[choices]))
    if schema["type"] == "object":
        return {name: example(child, rng, depth + 1)
                for name, child in schema["properties"].items()
                if name in schema["required"] or rng.random() < 0.5}
    if schema["type"] == "array":
        items = [example(schema["items"], rng, depth + 1)
                 for _ in range(rng.choice([1, 1, 2, 5]))]
        for i, item in enumerate(items):  # names differ, ends are later
            if "name" in item:
                item["name"] = f"t{i}"
            elif "id" in item:
                item["id"] = f"t{i}"
            if "starts" in item and "ends" in item:
                item["starts"] = min(item["starts"], item["ends"] - 1) or 1
                item["ends"] = max(item["starts"] + 1, item["ends"])
        return items
    if schema["type"] == "integer":
        low, high = schema["minimum"], schema["maximum"]
        return rng.choice([low, high, rng.randint(low, high)])
    if schema["type"] == "boolean":
        return rng.random() < 0.5
    if schema.get("pattern") == "^[A-Z]{2}$":
        return rng.choice(["DE", "AA", "ZZ"])
    if "maxLength" not in schema:  # an id
        return rng.choice(["thing", "x", "A-b_c.9", "x" * 64])
    return rng.choice(["x", "Fünf \"Tage\" \\ 雪", "'; --", "%s",
                       "x" * schema["maxLength"]])


def body_schema(operation):
    body = operation.get("requestBody")
    return body and body["content"]["application/json"]["schema"]


def ask(api, method, path, body, key, content_type="application/json"):
    headers = {}
    if body is not None:
        headers["Content-Type"] = content_type
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
    if key is not None:
        headers["Authorization"] = f"Bearer {key}".encode()
    return requests.request(method, api.url + path, data=body,
                            headers=headers, timeout=30)


def check(operation, answer, what):
    """The answer is one that the document has, in its form."""
    status = str(answer.status_code)
    assert answer.status_code < 500, (what, answer.text)
    assert status in operation["responses"], (what, status, answer.text)
    response = resolve(operation["responses"][status])
    if "content" not in response:
        assert answer.content == b"", what
        return
    media_type, = response["content"]
    assert answer.headers["Content-Type"].split(";")[0] == media_type, what
    if media_type.endswith("json"):
        schema = response["content"][media_type]["schema"]
        jsonschema.validate(answer.json(), schema | {
            "components": DOCUMENT["components"]})
    if media_type == PROBLEM:
        assert answer.json()["status"] == answer.status_code
        assert answer.json().get("detail"), what


def path_of(path, values):
    return re.sub(r"\{(\w+)\}", lambda m: values[m[1]], path)


RIGHT = {"id": "thing", "version": "two", "service": "thing",
         "campaign": "thing", "key": "0123456789abcdef", "playback": "thing"}


@pytest.fixture
def right(api, key, things):
    """What the path of a right request names, with a play of its own."""
    return RIGHT | {"playback": api.play({"content": "thing"}, key)
                    .json()["id"]}


def key_of(operation, key):
    kinds = [name for one in operation["security"] for name in one]
    return {"admin": ADMIN_KEY, "service": key}.get(kinds[0] if kinds else "")


def test_01_the_document_is_the_routes(api):
    served = api.request("GET", "/v1/openapi.json")
    assert served.json() == DOCUMENT
    assert len(set(NAMES)) == len(NAMES)
    code = (SOURCE.parent / "api.c").read_text()
    routes = set(re.findall(r'^    \{"([A-Z]+)", "(/[^"]*)", \w+\},$', code,
                            re.M))
    assert routes == {(method.upper(), path)
                      for method, path, _ in OPERATIONS}
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for path, item in DOCUMENT["paths"].items():
        known = {m.upper() for m in item if m != "parameters"}
        for method in "GET", "PUT", "POST", "DELETE", "PATCH":
            if method not in known:
                answer = api.request(method, path_of(path, RIGHT))
                assert answer.status_code == 405, (method, path)
                assert known <= set(answer.headers["Allow"].split(", "))


@pytest.mark.parametrize("method, path, operation", OPERATIONS, ids=NAMES)
def test_02_right_requests_are_answered_as_it_says(api, key, right, method,
                                                   path, operation):
    rng = random.Random(operation["operationId"])
    schema = body_schema(operation)
    for _ in range(20 if schema else 1):
        body = example(schema, rng) if schema else None
        if schema and method == "post" and "content" in body:
            body["content"] = "thing"  # and the key is that of "tester"
            body.pop("service", None)
        if schema and "ends" in body:
            body["starts"], body["ends"] = 5, 6
        if schema and "burst" in body:
            body.setdefault("rate_per_s", 5)
        if schema and "plays" in body:
            body.setdefault("viewer", "anna")
        if schema and body.get("device") == "legacy":
            body.pop("scheme", None)
        if schema and any(name.startswith("rule_") for name in body):
            body.setdefault("rule_url", "http://rule.example/")
        # limits are in bytes, of which a character may have several
        if schema and any(isinstance(v, str) and len(v.encode()) > 128
                          for v in body.values()):
            body = json.loads(json.dumps(body).replace("\\u96ea", "x"))
        answer = ask(api, method, path_of(path, right), body,
                     key_of(operation, key))
        check(operation, answer, (path, body))
        expected = {"version_delete": 409, "version_collect": 409,
                    "service_key_delete": 404}
        assert (answer.status_code // 100 == 2 or answer.status_code
                == expected.get(operation["operationId"])), (body, answer.text)


def damaged(body, rng):
    """Something in it is of a wrong type or size, is gone, or is too many."""
    body = copy.deepcopy(body)
    parent, name = body, None
    while True:
        names = (list(parent) if isinstance(parent, dict)
                 else list(range(len(parent))))
        if not names:
            break
        name = rng.choice(names)
        if not isinstance(parent[name], (dict, list)) or rng.random() < 0.4:
            break
        parent = parent[name]
    kind = rng.randrange(4)
    if kind == 0 and isinstance(parent, dict):
        parent[rng.choice(HOSTILE)] = rng.choice(WRONG_VALUES)
    elif kind == 1 and name is not None:
        del parent[name]
    elif name is not None:
        parent[name] = rng.choice(WRONG_VALUES)
    return body


def raw_forms(text):
    return [b"", b"{", text[:-1], text + b"x", b"null", b"[]", b"0", b'""',
            b"\xff\xfe" + text, text.replace(b'"', b"'"),
            b"[" * 30000 + b"]" * 30000, b'{"a":' * 10000 + b"1" + b"}" * 10000,
            b'{"title":"a","title":"b",' + text[1:], b" " * 65537,
            text.replace(b"}", b',"x":' + b"9" * 500 + b"}"),
            b'{"content":"\\ud800"}', b'{"content":"\\u0000"}']


@pytest.mark.parametrize("method, path, operation", OPERATIONS, ids=NAMES)
def test_03_wrong_requests_are_told_so(api, key, right, method, path,
                                       operation):
    rng = random.Random(operation["operationId"])
    schema = body_schema(operation)
    right_key = key_of(operation, key)
    before = ask(api, "get", "/v1/contents/thing", None, None).json()
    wrong = []
    if schema:
        body = example(schema, rng)
        wrong += [(right, raw, right_key, "application/json")
                  for raw in raw_forms(json.dumps(body).encode())]
        wrong += [(right, body, right_key, kind)
                  for kind in ("text/plain", "application/jsonx", "x")]
    for _ in range(WRONG_FORMS if schema or "{" in path else 5):
        values, body = right, schema and example(schema, rng)
        if schema and rng.random() < 0.7:
            body = damaged(body, rng)
        elif "{" in path:
            values = {name: requests.utils.quote(rng.choice(HOSTILE), safe="")
                      for name in right}
        wrong.append((values, body, right_key, "application/json"))
    for bad_key in (None, "", "x", ADMIN_KEY + "x", key[:-1] + "x", "\x01",
                    "é", "x" * 7000):
        wrong.append((right, schema and example(schema, rng), bad_key,
                      "application/json"))
    for values, body, its_key, content_type in wrong:
        target = path_of(path, values)
        answer = ask(api, method, target, body, its_key, content_type)
        what = (method, target[:100], str(body)[:200], its_key)
        # a path with a slash or a dot in it may be another one
        if answer.status_code in (404, 405) and "{" in path:
            assert answer.headers["Content-Type"] == PROBLEM, what
        else:
            check(operation, answer, what)
    if "admin" not in str(operation["security"]):
        assert ask(api, "get", "/v1/contents/thing", None,
                   None).json() == before
    assert api.request("GET", "/healthz").ok


def test_04_queries_are_checked_too(api):
    operation = DOCUMENT["paths"]["/v1/contents"]["get"]
    for name in "limit", "after":
        for value in HOSTILE + ["1e3", "0x10", "+5", "999999999999999999999"]:
            answer = requests.get(api.url + "/v1/contents",
                                  params={name: value}, timeout=10)
            check(operation, answer, (name, value))
    for query in "limit=%zz", "limit=1&limit=2", "&&&", "after=%ff", "=" * 999:
        answer = requests.get(f"{api.url}/v1/contents?{query}", timeout=10)
        check(operation, answer, query)


def test_05_what_is_no_http_ends_no_server(api):
    host, port = api.url.removeprefix("http://").split(":")
    for sent in [b"\x00" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                 b"POST /v1/playbacks HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                 b"POST /v1/playbacks HTTP/1.1\r\nContent-Length: 5\r\n"
                 b"Content-Length: 6\r\n\r\nabcdef",
                 b"GET /%ZZ%00 HTTP/1.1\r\nHost: x\r\n\r\n",
                 b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20000 + b"\r\n"]:
        with socket.create_connection((host, int(port)), timeout=5) as s:
            try:
                s.sendall(sent)
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass  # it may hang up
    assert api.request("GET", "/healthz").ok
    assert api.process.poll() is None
