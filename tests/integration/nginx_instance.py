# SPDX-License-Identifier: Apache-2.0
"""A real nginx with our modules, in a folder and on ports of its own.

Tests and benches write the http{} block; this adds what makes it run alone,
waits until it answers, and ends it by its process id. The build folder is
VODST_BUILD, or build/ of the tree. With VODST_SANITIZED set the modules come
from a build with -Db_sanitize=address,undefined: nginx, which is not, then
needs the runtime loaded before it.
"""

import os
import pathlib
import signal
import socket
import subprocess
import time

TREE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VODST_BUILD", TREE / "build")).resolve()
TABLE_TOOL = BUILD / "modules" / "vodst-table"
TEMPORARY_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def wait_for(condition, seconds=10, what="a condition", pause=0.02):
    """Returns the condition's first true value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} s for {what}")
        time.sleep(pause)


def environment(folder):
    """What nginx is started with. Reports of a sanitizer go to files
    "sanitizer.PID" in the folder, and end the process."""
    if not os.environ.get("VODST_SANITIZED"):
        return None
    libraries = [subprocess.run(["gcc", f"-print-file-name=lib{name}.so"],
                                capture_output=True, text=True,
                                check=True).stdout.strip()
                 for name in ("asan", "ubsan")]
    report = f"log_path={folder}/sanitizer"
    return {**os.environ, "LD_PRELOAD": ":".join(libraries),
            # nginx leaks by its nature, and every module has a
            # ngx_module_order
            "ASAN_OPTIONS": f"detect_leaks=0:detect_odr_violation=0:{report}",
            "UBSAN_OPTIONS": f"halt_on_error=1:print_stacktrace=1:{report}"}


class NginxInstance:
    """Starts at once; also a context manager. `http` is the inside of http{},
    `modules` short names ("meter"), `port` one it listens on."""

    def __init__(self, folder, http, port, modules=(), workers=1, main="",
                 http_defaults="access_log off; default_type text/plain;"):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.modules = modules
        self.workers = workers
        self.main = main
        self.http_defaults = http_defaults
        self.error_log = self.folder / "error.log"
        self.configure(http)
        self.process = subprocess.Popen(
            self.command(), env=environment(self.folder),
            stderr=subprocess.DEVNULL)
        try:
            wait_for(self._answers, what="nginx to listen")
            wait_for(lambda: len(self.worker_pids()) == workers,
                     what="the workers")
        except TimeoutError:
            self.stop()
            raise RuntimeError(f"nginx did not start:\n{self.log()}") from None

    def command(self, *arguments):
        return ["nginx", "-p", str(self.folder), "-e", str(self.error_log),
                "-c", str(self.folder / "nginx.conf"), *arguments]

    def configure(self, http):
        """Writes the configuration; a running nginx takes it on reload()."""
        load = "".join(
            f"load_module {BUILD}/modules/ngx_http_{m}_module.so;\n"
            for m in self.modules)
        paths = "".join(f"{p}_temp_path {self.folder}/{p};\n"
                        for p in TEMPORARY_PATHS)
        user = "user root;" if os.geteuid() == 0 else ""
        if "user " in self.main:
            user = ""
        (self.folder / "nginx.conf").write_text(f"""\
{load}
daemon off; {user}
worker_processes {self.workers};
pid {self.folder}/nginx.pid;
error_log {self.error_log} info;
{self.main}
events {{ worker_connections 1024; }}
http {{
{paths}
{self.http_defaults}
{http}
}}
""")

    def _answers(self):
        if self.process.poll() is not None:
            raise TimeoutError
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def check(self):
        """nginx -t: its exit status and what it said."""
        done = subprocess.run(self.command("-t"), capture_output=True,
                              env=environment(self.folder), text=True,
                              check=False)
        return done.returncode, done.stderr

    def log(self):
        try:
            return self.error_log.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def worker_pids(self):
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path, encoding="ascii") as children:
            pids = [int(p) for p in children.read().split()]
        return [p for p in pids if "worker" in process_title(p)
                and "shutting" not in process_title(p)]

    def reload(self):
        """HUP, and waits until only new workers take connections."""
        before = set(self.worker_pids())
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: (now := set(self.worker_pids()))
                 and not now & before and len(now) == self.workers,
                 what="new workers")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        reports = [p.read_text() for p in self.folder.glob("sanitizer*")]
        if reports:
            raise RuntimeError("\n".join(reports))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def process_title(pid):
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as f:
            return f.read().replace("\0", " ")
    except OSError:
        return ""


# ---- the files processes share, through tools/vodst-table.c ----

def table_tool(*arguments, given=b""):
    done = subprocess.run([str(TABLE_TOOL), *map(str, arguments)], input=given,
                          capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode())
    return done.stdout


def make_revoked(number, *sessions):
    return table_tool("revoked", number,
                      given="".join(f"{s:x}\n" for s in sessions).encode())


def make_table(version, nodes, rows=()):
    """nodes: name -> url or (url, dict of weight, load, state);
    rows: (content, level, owner_count[, cdn_share[, "no-cdn"]])."""
    lines = [f"version {version}"]
    for name, node in nodes.items():
        url, more = (node, {}) if isinstance(node, str) else node
        lines.append(f"node {name} {url} {more.get('weight', 100)} "
                     f"{more.get('load', 0)} {more.get('state', 'up')}")
    for content, level, owner_count, *more in rows:
        share, *words = more or [0]
        lines.append(" ".join(map(str, ["row", content, level, owner_count,
                                        share, 1000, *words])))
    return table_tool("make", given="\n".join(lines).encode() + b"\n")


def write_atomic(path, data):
    path = pathlib.Path(path)
    aside = path.with_name(path.name + ".new")
    aside.write_bytes(data)
    os.rename(aside, path)


def owners_of(table_path, *contents):
    """content -> names of its owners, best first."""
    lines = table_tool("owners", table_path,
                       given="\n".join(contents).encode()).decode().split("\n")
    return {line.split()[0]: line.split()[1:] for line in lines if line}


def sign(keys_path, plays, expires):
    """Tokens for (content, session) pairs."""
    lines = "".join(f"{content} {session:x}\n" for content, session in plays)
    return table_tool("sign", keys_path, expires,
                      given=lines.encode()).decode().split()


class Counters:
    """What a counter file says: boot, overflow, used, and by content
    (requests, bytes, starts, offloaded, starved)."""

    def __init__(self, path):
        self.contents = {}
        for line in table_tool("counters", path).decode().splitlines():
            word, *rest = line.split()
            if word == "content":
                self.contents[rest[0]] = tuple(map(int, rest[1:]))
            elif word == "boot":
                self.boot = rest[0]
            else:
                setattr(self, word, int(rest[0]))

    def requests(self):
        return {c: v[0] for c, v in self.contents.items()}
