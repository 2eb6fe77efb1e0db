# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the integration tests: the whole platform on free ports.

A test module says which platform it wants:

    @pytest.fixture(scope="module")
    def platform(start_platform):
        return start_platform("--origins", "2")
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("VODST_BUILD", ROOT / "build"))
VODST = BUILD / "programs" / "vodst" / "vodst"

# a line for each fault that plays went through
FAULTS = []


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "alone: holds a figure for a machine without other work")


def pytest_terminal_summary(terminalreporter):
    for line in FAULTS:
        terminalreporter.write_line(line)


def wait_until(condition, timeout=10.0, what="it", pause=0.02):
    """The first true value of condition(), or a failure that names what."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(pause)


def vodst(*arguments, timeout=120, **options):
    """Runs the command line; its output is text."""
    return subprocess.run([VODST, *map(str, arguments)], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=timeout, **options)


def widevine_data(*boxes):
    """What another's reader of Protocol Buffers sees in Widevine's PSSH boxes,
    in base64."""
    done = subprocess.run(
        ["node", ROOT / "tests" / "players" / "widevine.mjs", *boxes],
        stdout=subprocess.PIPE, text=True, check=True, timeout=20)
    return [json.loads(line) for line in done.stdout.splitlines()]


def process_end(process):
    """Asks it to end, which takes it a moment; killed, it is a failure."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def group_members(groups):
    """The processes, zombies apart, that belong to these process groups."""
    members = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[2]) in groups:
            members.append(int(entry.name))
    return members


class Platform:
    """A running `vodst up`, as vodst.json describes it."""

    def __init__(self, folder, options, output=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.output = output or self.folder / "up.out"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [VODST, "up", "--dir", self.folder, "--port", "auto",
                 *map(str, options)],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            wait_until(self.is_ready, 60, "vodst up")
        except BaseException:
            self.stop()
            raise

    def is_ready(self):
        assert self.process.poll() is None, self.output.read_text()
        return (self.folder / "vodst.json").exists()

    @property
    def state(self):
        return json.loads((self.folder / "vodst.json").read_text())

    @property
    def front(self):
        return self.state["front"]

    @property
    def origins(self):
        return [origin["name"] for origin in self.state["origins"]]

    def node(self, name):
        """The entry of a redirector, origin, cache, ... by its name."""
        for value in self.state.values():
            nodes = value if isinstance(value, list) else [value]
            for node in nodes:
                if isinstance(node, dict) and node.get("name") == name \
                        and "url" in node:
                    return node
        raise KeyError(name)

    def pid(self, process):
        """0 while it does not run."""
        return next(one["pid"] for one in self.state["processes"]
                    if one["name"] == process)

    def groups(self):
        """Each process leads a group: itself and its children."""
        return {one["pid"] for one in self.state["processes"] if one["pid"]}

    def kill(self, process):
        """Kills a process with its children, as a crash of a node would."""
        os.killpg(self.pid(process), signal.SIGKILL)

    def status(self):
        answer = requests.get(self.node("manager")["url"] + "/v1/status",
                              timeout=5)
        answer.raise_for_status()
        return answer.json()

    def row(self, content):
        """The manager's row of a content, or None: it is calm."""
        return next((row for row in self.status()["contents"]
                     if row["id"] == content), None)

    def where(self, node, content):
        """What a node knows of a content."""
        answer = requests.get(f"{self.node(node)['url']}/where/{content}",
                              timeout=5)
        answer.raise_for_status()
        return answer.json()

    def playback(self, content, **more):
        return requests.post(self.front + "/api/v1/playbacks",
                             json={"content": content, **more}, timeout=5)

    def play_url(self, content, form="hls", **more):
        answer = self.playback(content, **more)
        assert answer.status_code == 201, answer.text
        return answer.json()["urls"][form]

    def ingest(self, film, content, *options):
        done = vodst("ingest", film, "--dir", self.folder, "--id", content,
                     "--preset", "ultrafast", *options)
        assert done.returncode == 0, done.stdout + done.stderr

    def log(self, name):
        return (self.folder / "log" / f"{name}.log").read_text()

    def stop(self):
        process_end(self.process)


@pytest.fixture(scope="module")
def start_platform(tmp_path_factory):
    """Starts platforms with options of `vodst up`; all end with the module.
    `state` is a folder whose films, catalogue and secrets it begins with."""
    started = []

    def start(*options, state=None):
        folder = tmp_path_factory.mktemp("platform")
        if state is not None:
            shutil.copytree(state, folder, dirs_exist_ok=True)
        platform = Platform(folder, options)
        started.append(platform)
        return platform

    yield start
    for platform in started:
        platform.stop()


@pytest.fixture(scope="session")
def films(tmp_path_factory, film):
    """A state folder with the films "demo", of two renditions, "popular" and
    "quiet", in segments of 2 s."""
    state = tmp_path_factory.mktemp("films")
    platform = Platform(tmp_path_factory.mktemp("ingest"), [])
    try:
        short = ["--segment", "2s"]
        platform.ingest(film, "demo", "--ladder", "360,180", *short)
        for content in ("popular", "quiet"):
            platform.ingest(film, content, "--ladder", "180", *short)
    finally:
        platform.stop()
    for name in ("storage", "secrets"):
        shutil.copytree(platform.folder / name, state / name)
    for file in platform.folder.glob("catalogue.db*"):
        shutil.copy(file, state)
    return state


def film_make(path, seconds, size="640x360", rate=24):
    subprocess.run(
        ["ffmpeg", "-v", "error", "-y", "-nostdin",
         "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}",
         "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
         "-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast",
         "-pix_fmt", "yuv420p", "-g", str(2 * rate),
         "-c:a", "aac", "-b:a", "96k", path], check=True)
    return path


@pytest.fixture(scope="session")
def film(tmp_path_factory):
    """30 s, 640x360, 24 frames a second, with sound."""
    return film_make(tmp_path_factory.mktemp("film") / "film.mp4", 30)


@pytest.fixture(name="browser", scope="module")
def _browser(tmp_path_factory):
    # few test files have one, and Selenium takes its time to load
    from browser import chromium
    with chromium(tmp_path_factory.mktemp("browser")) as driver:
        yield driver
