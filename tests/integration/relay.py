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
            threading.Thread(target=self.serve, args=(client,),
                             daemon=True).start()

    def serve(self, client):
        """Closed by one thread alone, once no other has to do with it: the
        number of a closed descriptor is soon another's."""
        with client:
            try:
                server = socket.create_connection(("127.0.0.1", self.to), 10)
            except OSError:
                return
            with server:
                server.settimeout(None)
                back = threading.Thread(target=self.pump, args=(
                    server, client, lambda data: data), daemon=True)
                back.start()
                if not self.pump(client, server, self.passed):
                    for one in client, server:
                        self.reset(one)
                back.join()

    def passed(self, data):
        with self.lock:
            self.total += len(data)
            self.heard += data
            total = self.total
        return self.sent(data, total)

    @staticmethod
    def pump(source, target, passes):
        """False: broken off."""
        try:
            while data := source.recv(65536):
                data = passes(data)
                if data is None:
                    return False
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    @staticmethod
    def reset(one):
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it is over already

    def stop(self):
        # a thread may sit in accept()
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


class Deaf:
    """A relay to a Manager that swallows nodes' questions for tables, which
    then hang, as long as it is told to."""

    def __init__(self, port):
        self.is_on = True
        self.url = Relay(port, self.sent).url

    def sent(self, data, _):
        return b"" if self.is_on and b"GET /v1/table" in data else data
