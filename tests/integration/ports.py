# SPDX-License-Identifier: Apache-2.0
"""Ports of loopback for servers that tests start."""

import fcntl
import os
import pathlib
import socket
import tempfile

# Below those the kernel gives to connections (from 32768), which could have one
# before its server binds it, and above those of `vodst up --port auto`.
FIRST, COUNT = 30100, 2600


def _is_free(port):
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:  # gossip uses both
        with socket.socket(type=kind) as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def free_ports(count):
    """Ports given to nobody else, also not to tests of other processes: each
    is the next of a counter that all share."""
    state = pathlib.Path(tempfile.gettempdir(), f"vodst-ports.{os.getuid()}")
    ports = []
    with state.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        given = int(file.read() or 0)
        while len(ports) < count:
            port = FIRST + given % COUNT
            given += 1
            if _is_free(port):
                ports.append(port)
        file.truncate(0)
        file.write(str(given))
    return ports


def free_port():
    return free_ports(1)[0]
