# SPDX-License-Identifier: Apache-2.0
"""OpenStack Swift with its S3 API, all in one process: a store that verifies
signatures and checksums and knows multipart uploads.

    s3_server.py FOLDER PORT HOST ACCESS-KEY SECRET-KEY

There is one of each of Swift's servers, and one device, FOLDER/devices/d, on a
file system with extended attributes. PORT answers once all is ready. HOST is
what buckets are before in names of hosts.
"""

import os
import pathlib
import socket
import sys

import eventlet
import eventlet.patcher
import eventlet.wsgi

eventlet.patcher.monkey_patch(all=False, socket=True, select=True,
                              thread=True, time=True)

# patched first
from swift.common import utils  # noqa: E402
from swift.common import wsgi  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402

KINDS = ("account", "container", "object")

SERVER = """
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
fallocate_reserve = 0
log_name = {kind}

[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
"""

# an access key is ACCOUNT:USER
PROXY = """
[DEFAULT]
swift_dir = {folder}
log_name = proxy

[pipeline:main]
pipeline = s3api tempauth slo proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:s3api]
use = egg:swift#s3api
storage_domain = {host}
location = us-east-1

[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{user} = {secret} .admin

[filter:slo]
use = egg:swift#slo
"""


class Cache:
    """What Swift asks of memcached, of one process."""

    def __init__(self):
        self.values = {}

    def get(self, key, *_, **__):
        return self.values.get(key)

    def set(self, key, value, *_, **__):
        self.values[key] = value

    def delete(self, key, *_, **__):
        self.values.pop(key, None)


def listener(port):
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind(("127.0.0.1", port))
    one.listen(256)
    return one


def ring_write(folder, kind, port):
    builder = RingBuilder(4, 1, 0)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port,
                     "device": "d", "weight": 1})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{kind}.ring.gz"))


def app_load(folder, kind, text):
    path = folder / f"{kind}.conf"
    path.write_text(text)
    return wsgi.loadapp(str(path))


def main():
    folder, port, host, access, secret = sys.argv[1:]
    folder = pathlib.Path(folder)
    (folder / "devices/d").mkdir(parents=True, exist_ok=True)
    utils.HASH_PATH_SUFFIX = b"vodst"
    account, user = access.split(":")
    quiet = open(os.devnull, "w")
    listeners = {kind: listener(0) for kind in KINDS}
    for kind, one in listeners.items():
        ring_write(folder, kind, one.getsockname()[1])
        app = app_load(folder, kind, SERVER.format(folder=folder, kind=kind))
        eventlet.spawn(eventlet.wsgi.server, one, app, log=quiet)
    cache, proxy = Cache(), app_load(folder, "proxy", PROXY.format(
        folder=folder, host=host, account=account, user=user, secret=secret))

    def front(environ, start_response):
        environ["swift.cache"] = cache
        return proxy(environ, start_response)

    eventlet.wsgi.server(listener(int(port)), front, log=sys.stderr,
                         keepalive=True)


main()
