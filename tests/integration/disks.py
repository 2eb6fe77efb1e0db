# SPDX-License-Identifier: Apache-2.0
"""Small disks that are really full: tmpfs, mounted where nobody else sees it."""

import contextlib
import ctypes
import errno
import os
import pathlib
import subprocess

CLONE_NEWNS = 0x20000
MS_REC, MS_PRIVATE = 0x4000, 0x40000

mounted = []


@contextlib.contextmanager
def private_mounts():
    """What this thread, and what it starts, mounts in here nobody else sees,
    and it is gone with them."""
    libc = ctypes.CDLL(None, use_errno=True)
    folder, root = os.getcwd(), os.open("/", os.O_PATH | os.O_DIRECTORY)
    with open("/proc/thread-self/ns/mnt", "rb") as home:
        assert libc.unshare(CLONE_NEWNS) == 0, \
            f"no mounts of our own: {os.strerror(ctypes.get_errno())}"
        # in a changed root, which is no mount, this fails: where others share
        # in what is mounted, it is gone for them, too, when it is unmounted
        libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None)
        try:
            yield
        finally:
            while mounted:
                subprocess.run(["umount", "-l", mounted.pop()], check=True)
            assert libc.setns(home.fileno(), CLONE_NEWNS) == 0
            # the namespace's own root need not be ours
            os.fchdir(root)
            os.chroot(".")
            os.chdir(folder)
            os.close(root)


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
        mounted.append(self.folder)

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
