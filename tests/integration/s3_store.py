# SPDX-License-Identifier: Apache-2.0
"""An S3-compatible storage for tests: OpenStack Swift's, with what a test
wants to know of it asked for by requests that this signs by itself."""

import hashlib
import hmac
import os
import pathlib
import re
import subprocess
import tempfile
import time
import urllib.parse

import requests

from conftest import process_end, wait_until
from ports import free_port

ACCESS_KEY, SECRET_KEY = "vodst:films", "s3-secret"
SERVER = pathlib.Path(__file__).with_name("s3_server.py")


def folder_make(folder):
    """Swift keeps what it knows of an object in extended attributes, which a
    file system in memory may not have."""
    folder.mkdir()
    try:
        os.setxattr(folder, "user.test", b"1")
        return folder, None
    except OSError:
        other = tempfile.TemporaryDirectory(dir="/var/tmp")
        return pathlib.Path(other.name), other


class S3Store:
    def __init__(self, folder, *buckets, port=None):
        self.folder, self.other = folder_make(folder)
        self.port = port or free_port()
        self.log = folder / "server.log"
        self.url = f"http://127.0.0.1:{self.port}"
        # what is under .localhost is this machine, to libcurl too
        self.host = "s3.localhost"
        self.start()
        for bucket in buckets:
            assert self.request("PUT", f"/{bucket}").ok

    def start(self):
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                ["/usr/bin/python3", SERVER, self.folder, str(self.port),
                 self.host, ACCESS_KEY, SECRET_KEY],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self.is_up, 30, "the S3 server")

    def is_up(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return requests.get(self.url, timeout=5).status_code == 404
        except requests.ConnectionError:
            return False

    def stop(self):
        process_end(self.process)
        if self.other is not None:
            self.other.cleanup()

    def request(self, method, path, query=None, body=b"", headers=None):
        """AWS Signature Version 4, written down once more."""
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        query = urllib.parse.urlencode(sorted((query or {}).items()),
                                       quote_via=urllib.parse.quote)
        digest = hashlib.sha256(body).hexdigest()
        signed = {"host": f"127.0.0.1:{self.port}",
                  "x-amz-content-sha256": digest, "x-amz-date": now}
        names = ";".join(signed)
        canonical = "\n".join(
            [method, path, query,
             *(f"{name}:{value}" for name, value in signed.items()), "",
             names, digest])
        scope = f"{now[:8]}/us-east-1/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", now, scope,
                          hashlib.sha256(canonical.encode()).hexdigest()])
        key = b"AWS4" + SECRET_KEY.encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        mac = hmac.digest(key, text.encode(), "sha256").hex()
        return requests.request(
            method, f"{self.url}{path}{'?' if query else ''}{query}",
            data=body, timeout=30, headers={
                **signed, **(headers or {}), "Authorization":
                f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope},"
                f"SignedHeaders={names},Signature={mac}"})

    def objects(self, bucket="films", prefix=""):
        """{name: bytes}"""
        answer = self.request("GET", f"/{bucket}", {"prefix": prefix})
        answer.raise_for_status()
        contents = re.findall("<Contents>(.*?)</Contents>",
                              answer.content.decode(), re.S)
        return {re.search("<Key>(.*?)</Key>", one)[1]:
                int(re.search("<Size>(.*?)</Size>", one)[1])
                for one in contents}

    def read(self, name, bucket="films"):
        answer = self.request("GET", f"/{bucket}/{name}")
        answer.raise_for_status()
        return answer.content

    def uploads(self, bucket="films"):
        """Names of the objects of which uploads in parts are under way."""
        answer = self.request("GET", f"/{bucket}", {"uploads": ""})
        answer.raise_for_status()
        return re.findall("<Upload><Key>(.*?)</Key>", answer.text)

    def clear(self, bucket="films"):
        for name in self.objects(bucket):
            path = urllib.parse.quote(f"/{bucket}/{name}", safe="/~")
            assert self.request("DELETE", path).ok
