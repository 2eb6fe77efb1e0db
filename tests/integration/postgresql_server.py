#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL in a temporary folder, on a Unix socket there.

As a program: postgresql_server.py COMMAND...  runs the command beside one,
with its URI in VODST_TEST_POSTGRESQL and its process id in
VODST_TEST_POSTGRESQL_PID.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# Debian keeps the server's programs out of PATH.
BIN = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), default=None,
          key=lambda path: int(path.parent.name))


class PostgreSQL:
    """As root it runs as the user that Debian's package makes, since it
    refuses to be root, and may still pass through folders that are root's."""

    def __init__(self, folder):
        assert BIN is not None, "install Debian's package postgresql"
        self.folder = pathlib.Path(folder)
        self.data = self.folder / "data"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.user = "postgres"
        self.process = None
        self.as_user = []
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres",
                            "--clear-groups", "--inh-caps=+dac_read_search",
                            "--ambient-caps=+dac_read_search",
                            # for access() too
                            "--securebits=+no_setuid_fixup"]
        subprocess.run(
            [*self.as_user, BIN / "initdb", "-D", self.data, "-A", "trust",
             "-U", self.user, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync",
             "--no-instructions"],
            check=True, stdout=subprocess.DEVNULL, cwd=self.folder)

    @property
    def uri(self):
        return f"postgresql://{self.user}@/postgres?host={self.folder}"

    def start(self):
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.as_user, BIN / "postgres", "-D", self.data, "-k",
                 self.folder, "-h", "", "-F", "-c", "max_connections=50",
                 "-c", "shared_buffers=32MB"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                cwd=self.folder)
        deadline = time.monotonic() + 30
        while subprocess.run(
                [BIN / "pg_isready", "-q", "-h", self.folder],
                check=False).returncode != 0:
            log = (self.folder / "log").read_text()
            assert self.process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.02)
        return self

    def schema(self, name):
        """The URI of a database that is a schema of its own, and empty."""
        subprocess.run([BIN / "psql", "-q", "-d", self.uri, "-c",
                        f"CREATE SCHEMA {name}"], check=True)
        return f"{self.uri}&options=-csearch_path%3D{name}"

    def stop(self):
        """At once: connections are cut."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)


def main():
    with tempfile.TemporaryDirectory(prefix="vodst-postgresql.") as folder:
        server = PostgreSQL(pathlib.Path(folder, "server"))
        try:
            server.start()
            environment = {**os.environ, "VODST_TEST_POSTGRESQL": server.uri,
                           "VODST_TEST_POSTGRESQL_PID":
                           str(server.process.pid)}
            return subprocess.run(sys.argv[1:], env=environment,
                                  check=False).returncode
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main())
