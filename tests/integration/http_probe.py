# SPDX-License-Identifier: Apache-2.0
"""Small HTTP clients for tests of the nginx modules: one request as it is
answered, without following anything, and a flood whose counts are exact."""

import concurrent.futures
import http.client
import json
import os
import socket

PIPELINED = 64  # requests under way on one connection of a flood


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = {k.lower(): v for k, v in response.getheaders()}
        self.names = [k.lower() for k, _ in response.getheaders()]
        self.body = body
        self.location = self.headers.get("location")

    def json(self):
        return json.loads(self.body)

    @property
    def decision(self):
        """X-Vodst-Decision as a dict."""
        text = self.headers.get("x-vodst-decision", "")
        return dict(part.split("=", 1) for part in text.split())


def ask(port, path, method="GET", headers=None, body=None):
    """Returns when the server has closed: with lingering_close off that is
    after it logged, and metered, the request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.connect()
    with socket.socket(fileno=os.dup(connection.sock.fileno())) as other:
        try:
            connection.request(method, path, body=body, headers={
                "Connection": "close", **(headers or {})})
            response = connection.getresponse()
            answer = Answer(response, response.read())
            other.settimeout(10)
            other.recv(1)
            return answer
        finally:
            connection.close()


def _flood_one(port, paths):
    """Returns (answers, bytes received); every answer must be a 2xx or 3xx."""
    answers = received = 0
    for at in range(0, len(paths), 50_000):
        part = paths[at:at + 50_000]
        with socket.create_connection(("127.0.0.1", port), 30) as s:
            for i in range(0, len(part), PIPELINED):
                batch = part[i:i + PIPELINED]
                last = i + PIPELINED >= len(part)
                s.sendall(b"".join(
                    b"GET %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (
                        path.encode(),
                        b"Connection: close\r\n"
                        if last and n == len(batch) - 1 else b"")
                    for n, path in enumerate(batch)))
                waited, seen = len(batch), b""
                while last or seen.count(b"\r\n\r\n") < waited \
                        or not seen.endswith(b"."):
                    piece = s.recv(1 << 20)
                    if not piece:
                        break
                    seen += piece
                good = seen.count(b"HTTP/1.1 2") + seen.count(b"HTTP/1.1 3")
                assert good == waited, seen[:300]
                answers += good
                received += len(seen)
    return answers, received


def flood(port, paths, connections=8):
    """Asks for every path once, over several connections at a time. The
    bodies must end in a full stop and hold no empty line."""
    paths = list(paths)
    parts = [paths[i::connections] for i in range(connections)]
    with concurrent.futures.ThreadPoolExecutor(connections) as pool:
        done = list(pool.map(lambda p: _flood_one(port, p),
                             [p for p in parts if p]))
    return sum(d[0] for d in done), sum(d[1] for d in done)
