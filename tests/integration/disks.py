# SPDX-License-Identifier: Apache-2.0
"""Small disks that are really full: tmpfs, mounted where nobody else sees it."""

import contextlib
import ctypes
import errno
import os
import pathlib
import subprocess

CLONE_NEWNS = 0x20000


@contextlib.contextmanager
def private_mounts():
    """What this thread, and what it starts, mounts in here nobody else sees,
    and it is gone with them."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder = os.getcwd()
    with open("/proc/thread-self/ns/mnt", "rb") as home:
        assert libc.unshare(CLONE_NEWNS) == 0, \
            f"no mounts of our own: {os.strerror(ctypes.get_errno())}"
        try:
            mount("--make-rprivate", "/")
            yield
        finally:
            assert libc.setns(home.fileno(), CLONE_NEWNS) == 0
            os.chdir(folder)


def mount(*arguments):
    done = subprocess.run(["mount", *map(str, arguments)], text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


class Disk:
    """Within private_mounts: a folder with so much room."""

    def __init__(self, folder, size):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.filler = self.folder / "filler"
        mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.folder)

    def fill(self):
        """To the last byte."""
        piece = bytes(1 << 20)
        with self.filler.open("ab", buffering=0) as file:
            while True:
                try:
                    file.write(piece)
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                    return

    def room(self):
        """In bytes: what was written, found no room and was taken back."""
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_bsize

    def make_room(self):
        self.filler.unlink()
