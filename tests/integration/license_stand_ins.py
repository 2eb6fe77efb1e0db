# SPDX-License-Identifier: Apache-2.0
"""Stand-ins for the services that make vendors' licenses. They are none of
those: what they give is no license and no device takes it. They hold to the
form in which such a service is asked, and show what reached it."""

import base64
import datetime
import hashlib
import ipaddress
import json
import ssl
import threading

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.x509.oid import NameOID

from stand_in import StandIn


def certificate(folder, name, address="127.0.0.1", key=None):
    """A certificate of its own and its key, for an address: their paths."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.utcnow()
    made = x509.CertificateBuilder(
        subject, subject, key.public_key(), x509.random_serial_number(),
        now - datetime.timedelta(1), now + datetime.timedelta(1)
    ).add_extension(x509.SubjectAlternativeName(
        [x509.IPAddress(ipaddress.ip_address(address))]), False
    ).add_extension(x509.BasicConstraints(True, None), True
                    ).sign(key, hashes.SHA256())
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    return paths


class Upstream:
    """HTTPS; `asked` has (headers, body) of each request. `answer(body)` gives
    (status, headers, body) or None."""

    def __init__(self, folder, answer, client_ca=None):
        self.asked, self.answer = [], answer
        self.ca, key = certificate(folder, "upstream")
        self.server = StandIn(self.handle)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca, key)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        self.server.socket = context.wrap_socket(self.server.socket,
                                                 server_side=True)
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()
        self.url = f"https://127.0.0.1:{self.server.server_address[1]}/make"

    def handle(self, request):
        body = request.body()
        self.asked.append((request.headers, body))
        return self.answer(body)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


WIDEVINE_KEY, WIDEVINE_IV = bytes(range(32)), bytes(range(32, 48))


def widevine_service(body):
    """In place of a cloud license service: takes what is signed, as it says, by
    "stand-in"."""
    whole = json.loads(body)
    request = base64.b64decode(whole["request"])
    digest = hashlib.sha1(request).digest()
    cipher = Cipher(algorithms.AES(WIDEVINE_KEY),
                    modes.CBC(WIDEVINE_IV)).encryptor()
    signature = cipher.update(digest + bytes([12]) * 12) + cipher.finalize()
    if whole["signer"] != "stand-in" or base64.b64decode(
            whole["signature"]) != signature:
        return 200, {}, b'{"status":"SIGNATURE_FAILED"}'
    kids = b" ".join(base64.b64decode(key["key_id"]) for key in
                     json.loads(request)["content_key_specs"])
    return 200, {}, json.dumps({
        "status": "OK", "license": base64.b64encode(
            b"stand-in license " + kids).decode()}).encode()


def playready_back_end(body):
    """In place of a Windows Server with PlayReady's Server SDK."""
    asked = json.loads(body)
    assert base64.b64decode(asked["challenge"]).startswith(b"<?xml")
    kids = " ".join(key["kid"] for key in asked["keys"])
    return 200, {"Content-Type": "text/xml"}, (
        f"<StandInLicense>{kids}</StandInLicense>").encode()
