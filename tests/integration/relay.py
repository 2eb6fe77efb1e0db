# SPDX-License-Identifier: Apache-2.0
"""A relay of TCP connections that listens in, and does to what a client sends
what a network may do."""

import socket
import struct
import threading


RESET = struct.pack("ii", 1, 0)


class Relay:
    """`sent(data, total)` gets what a client sent, of all so far this much, and
    gives what is passed on; None breaks the connection off."""

    def __init__(self, port, sent=None):
        self.to, self.sent = port, sent or (lambda data, total: data)
        self.lock, self.total, self.heard = threading.Lock(), 0, bytearray()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.to), 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for one, other, passes in (client, server, self.passed), \
                    (server, client, lambda data: data):
                threading.Thread(target=self.pump, args=(one, other, passes),
                                 daemon=True).start()

    def passed(self, data):
        with self.lock:
            self.total += len(data)
            self.heard += data
            total = self.total
        return self.sent(data, total)

    @staticmethod
    def pump(source, target, passes):
        try:
            while data := source.recv(65536):
                data = passes(data)
                if data is None:
                    break
                target.sendall(data)
        except OSError:
            pass
        for one in source, target:
            try:
                # so that neither goes on sending to nobody
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                one.shutdown(socket.SHUT_RDWR)
                one.close()
            except OSError:
                pass

    def stop(self):
        # a thread may sit in accept()
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
