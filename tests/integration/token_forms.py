# SPDX-License-Identifier: Apache-2.0
"""Playback tokens by other implementations: JWTs by PyJWT, Common Access Tokens
of python3-cbor2's CBOR, compact ones by hand."""

import base64
import hmac
import ipaddress
import struct
import time

import cbor2
import jwt


def unpadded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def padded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def claims_jwt(**more):
    return {"cdniv": 1, "exp": int(time.time()) + 600,
            "cdniuc": r"regex:https?://[^/]*/p/demo/.*", **more}


def make_jwt(key, algorithm="HS256", kid="7", **more):
    return jwt.encode(claims_jwt(**more), key, algorithm, {"kid": kid})


def cose(tag, protected, unprotected, payload, sign):
    protected = cbor2.dumps(protected)
    context = {17: "MAC0", 18: "Signature1"}[tag]
    structure = cbor2.dumps([context, protected, b"", payload])
    return unpadded(cbor2.dumps(cbor2.CBORTag(61, cbor2.CBORTag(
        tag, [protected, unprotected, payload, sign(structure)]))))


def make_cat(key, kid="7", **claims):
    """Claims by label: _5=... is nbf."""
    claims = {4: int(time.time()) + 600, 310: 1, 312: {3: {1: "/p/demo/"}},
              **{int(k[1:]): v for k, v in claims.items()}}
    return cose(17, {1: 5}, {4: kid.encode()}, cbor2.dumps(claims),
                lambda text: hmac.digest(key, text, "sha256"))


def make_bound(key, network, content="demo", kid=7):
    """A compact one that is bound to a network, as core/token.c has it."""
    network = ipaddress.ip_network(network)
    claims = struct.pack(">BBIQBBB", 2, kid, int(time.time()) + 600, 1,
                         network.version, network.prefixlen, 0)
    address = network.network_address.packed.ljust(16, b"\0")
    mac = hmac.digest(key, claims + content.encode() + address, "sha256")
    return base64.urlsafe_b64encode(claims + mac[:16]).decode()
