# SPDX-License-Identifier: Apache-2.0
"""vodst ingest is killed, cut off and lied to: the same command goes on where
it was, and nothing half-made is ever seen."""

import hashlib
import json
import pathlib
import random
import shutil
import signal
import subprocess
import time

import pytest

from conftest import VODST, film_make, wait_until
from stand_in import StandIn
from test_ingest import (  # noqa: F401, pylint: disable=unused-import
    api, fake_tools, ffmpeg, nginx_place, place, probe)

KILLS = 20
SMALL = ["--ladder", "90,64", "--segment", "1s", "--thumbnails", "1s",
         "--piece", "1s"]


@pytest.fixture(scope="module", name="film")
def _film(tmp_path_factory):
    return film_make(tmp_path_factory.mktemp("film") / "film.mp4", 4,
                     "160x90", 24)


def digests(folder):
    return {str(path.relative_to(folder)):
            hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.rglob("*") if path.is_file()}


class Run:
    """One ingest whose steps can be waited for."""

    def __init__(self, place, film, content, *options):
        self.process = subprocess.Popen(
            [VODST, *map(str, place.command(film, content, "--json",
                                            *options))],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.events = []

    def read(self):
        line = self.process.stdout.readline()
        if line:
            self.events.append(json.loads(line))
        return line

    def until(self, step):
        """True when the step begins, False when the run has ended before."""
        while self.read():
            if self.events[-1] == {"event": "step", "step": step}:
                return True
        return False

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        return self.end()

    def end(self):
        while self.read():
            pass
        self.process.stdout.close()
        return self.process.wait(60)


def steps_of(events):
    return {event["step"]: event["seconds"] for event in events
            if event["event"] == "step_done"}


# ---- killed ----

@pytest.mark.parametrize("kind", ["folder", "http"])
def test_01_killed_at_any_moment_it_goes_on(kind, place, nginx_place, film):
    """At moments spread over all steps, of a content that is playable
    already."""
    if kind == "http":
        nginx_place()
    dice = random.Random(f"kill {kind}")
    old, _ = place.ingest(film, "demo", *SMALL, "--crf", 40)
    old_files = digests(place.root)
    whole = Run(place, film, "demo", *SMALL)
    assert whole.end() == 0
    new, took = whole.events[-1]["version"], steps_of(whole.events)
    files = digests(place.root)
    assert len(took) == 6 and new != old["version"]
    places, resumed = list(took) * KILLS, 0
    for number in range(KILLS // 2):
        shutil.rmtree(place.root / "demo" / new)
        place.api.put("demo", version=old["version"])
        run = Run(place, film, "demo", *SMALL)
        step = places[number]
        assert run.until(step)
        time.sleep(dice.random() * took[step])
        run.kill()
        # what is playable is there as it was, or all of the new one is
        assert place.entry("demo")["version"] in (old["version"], new)
        now = digests(place.root)
        assert {name: now.get(name) for name in old_files} == old_files
        if place.entry("demo")["version"] == new:
            assert now == files
        again = Run(place, film, "demo", *SMALL)
        assert again.end() == 0, (step, again.events)
        assert again.events[-1]["version"] == new, step
        assert place.entry("demo")["version"] == new
        assert digests(place.root) == files, step
        assert list(place.temp.iterdir()) == [], step
        resumed += any("before this one" in event.get("text", "")
                       for event in again.events)
    assert resumed >= 3  # those that were killed behind the encoder


def test_01_a_copy_that_was_killed_goes_on(place, film):
    dice = random.Random("kill copy")
    options = ["--copy", "--segment", "1s", "--thumbnails", "1s"]
    whole = Run(place, film, "demo", *options)
    assert whole.end() == 0
    files, took = digests(place.root), steps_of(whole.events)
    for step in ("thumbnails", "copy", "store", "publish"):
        shutil.rmtree(place.root / "demo")
        run = Run(place, film, "demo", *options)
        assert run.until(step)
        time.sleep(dice.random() * took[step])
        run.kill()
        assert Run(place, film, "demo", *options).end() == 0
        assert digests(place.root) == files, step
        assert list(place.temp.iterdir()) == []


def packets(path):
    told = probe(path, "-show_packets", "-show_entries",
                 "packet=pts,dts,duration,flags")["packets"]
    return [(one["pts"], one["dts"], one["flags"]) for one in told]


def film_plain(path):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x90:r=24000/1001:d=7", "-f",
           "lavfi", "-i", "sine=d=7", "-c:v", "libx264", "-preset", "medium",
           "-bf", 3, "-g", 70, path)


def film_late(path):
    ffmpeg("-itsoffset", 0.4, "-f", "lavfi", "-i",
           "testsrc2=s=160x90:r=25:d=7", "-f", "lavfi", "-i", "sine=d=7.4",
           "-fps_mode", "passthrough", "-c:v", "libx264", "-x264-params",
           "open-gop=1:keyint=40", path)


def film_interlaced(path):
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x96:r=50:d=7,interlace", "-c:v",
           "mpeg2video", "-flags", "+ildct+ilme", "-bf", 2, path)


@pytest.mark.parametrize("make, ending", [
    (film_plain, "mp4"), (film_plain, "mkv"), (film_late, "mp4"),
    (film_interlaced, "mkv")])
def test_01_pieces_are_the_film_to_the_tick(place, make, ending):
    film = place.folder / f"film.{ending}"
    make(film)
    options = ["--segment", "1s", "--ladder", "90", "--crf", 30]
    at_once, folder = place.ingest(film, "film", *options)
    times = packets(folder / "v0.mp4")
    done = place.run(film, "film", *options, "--piece", "2s", "--json")
    assert done.returncode == 0, done.stdout
    assert "fit together" not in done.stdout
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["version"] != at_once["version"]  # encoders of their own
    assert packets(place.root / "film" / result["version"] / "v0.mp4") == times
    for what in ("frames", "duration_ms", "segments"):
        assert result[what] == at_once[what]
    one, other = [digests(place.root / "film" / version)
                  for version in (at_once["version"], result["version"])]
    assert [name for name in one if one[name] != other[name]
            and name[0] in "ai"] == ["asset.idx"]


def test_01_pieces_that_were_made_are_not_made_again(place, film):
    """By counting the encoder's runs."""
    log = place.folder / "runs"
    environment = fake_tools(place.folder, ffmpeg=(
        f'echo run >>{log}; [ "$(wc -l <{log})" != 3 ] || kill -9 $PPID\n'
        f'exec {shutil.which("ffmpeg")} "$@"\n'))
    assert place.run(film, "demo", *SMALL, env=environment).returncode == -9
    again = place.run(film, "demo", *SMALL, env=environment)
    assert again.returncode == 0
    assert "2 of 4 pieces were encoded by a run before this one" \
        in again.stderr
    # two pieces and one that was killed, two and sound and thumbnails
    assert log.read_text().count("run") == 3 + 2 + 1


def test_02_another_way_takes_away_what_was_left(nginx_place, film):
    """Killed while it put files, and never asked for again."""
    place = nginx_place()
    old, _ = place.ingest(film, "demo", *SMALL, "--crf", 40)
    old_files = digests(place.root)
    run = Run(place, film, "demo", *SMALL, "--crf", 41)  # as no other test
    assert run.until("publish")
    run.kill()
    left = set(digests(place.root)) - set(old_files)
    assert len(list(place.temp.iterdir())) == 1
    assert any(name.endswith("asset.idx") for name in left)
    new, _ = place.ingest(film, "demo", *SMALL, "--crf", 45)
    assert list(place.temp.iterdir()) == []
    stored = {pathlib.Path(name).parts[1] for name in digests(place.root)}
    # st-api may have taken what was killed: then it is a version, and stays
    killed, = {pathlib.Path(name).parts[1] for name in left}
    is_known = place.entry(f"demo/versions/{killed}") is not None
    assert stored == {old["version"], new["version"], *[killed] * is_known}


def test_03_two_of_the_same_do_not_meet(place, film):
    slow = fake_tools(place.folder, ffmpeg="exec sleep 30")
    first = subprocess.Popen(
        [VODST, *map(str, place.command(film, "demo", *SMALL))], env=slow,
        stderr=subprocess.DEVNULL)
    wait_until(lambda: list(place.temp.iterdir()), 20, "its folder")
    try:
        time.sleep(0.1)
        second = place.run(film, "demo", *SMALL)
        assert second.returncode == 1
        assert "is being ingested as demo already" in second.stderr
        # as another content it may
        place.ingest(film, "other", *SMALL)
    finally:
        first.terminate()
        first.wait(20)
    assert list(place.temp.iterdir()) == []


def test_04_what_is_to_be_tried_again_keeps_what_was_done(place, film):
    blocked = place.folder / "blocked"
    run = Run(place, film, "demo", *SMALL, "--keep-work", "--storage", blocked)
    assert run.until("index")
    run.process.terminate()
    assert run.end() == 128 + signal.SIGTERM
    kept, = place.temp.iterdir()
    assert (kept / "steps.json").exists() and (kept / "a0.mp4").exists()
    place.ingest(film, "demo", *SMALL)
    assert list(place.temp.iterdir()) == []
    # there is nothing to come back for
    bad = place.folder / "bad.mp4"
    bad.write_bytes(film.read_bytes()[:-3000])
    assert place.run(bad, "demo", "--keep-work").returncode == 1
    assert list(place.temp.iterdir()) == []


def test_05_a_film_that_changes_meanwhile_is_refused(place, film):
    changing = place.folder / "film.mp4"
    shutil.copy(film, changing)
    real = shutil.which("ffmpeg")
    environment = fake_tools(place.folder,
                             ffmpeg=f'{real} "$@"; touch {changing}')
    error = place.refused(changing, "bad", *SMALL, env=environment)
    assert "film.mp4 changed while it was read" in error


# ---- the storage ----

class Shelf:
    """A storage in memory that keeps what comes as `keep` changes it."""

    def __init__(self):
        self.files, self.puts, self.keep = {}, [], lambda name, body: body
        self.gone = lambda request: False

    def answer(self, request):
        if self.gone(request):
            return None
        if request.command == "PUT":
            self.puts.append(request.path)
            self.files[request.path] = self.keep(request.path, request.body())
            return 201, {}, b""
        if request.command == "DELETE":
            return (204 if self.files.pop(request.path, None) else 404), {}, b""
        body = self.files.get(request.path)
        if body is None:
            return 404, {}, b""
        if request.command == "HEAD":
            return 200, {"Content-Length": str(len(body))}, b""
        return 200, {}, body


@pytest.fixture(name="shelf")
def _shelf(place):
    one = Shelf()
    with StandIn(one.answer) as server:
        place.storage = [f"--storage={server.url}/media"]
        yield one


def test_06_a_size_alone_is_not_taken_for_the_file(place, shelf, film):
    """What a broken PUT left may be as long as the file."""
    def cut_once(name, body):
        if name.endswith("v0.mp4") and shelf.puts.count(name) == 1:
            return body[:len(body) // 2] + bytes(len(body) - len(body) // 2)
        return body

    shelf.keep = cut_once
    result = place.run(film, "demo", *SMALL)
    assert result.returncode == 0, result.stderr
    assert "v0.mp4 has other bytes than it should have" in result.stderr
    assert [name.rsplit("/", 1)[1] for name in shelf.puts].count("v0.mp4") == 2
    assert shelf.puts[-1].endswith("asset.idx")
    whole = dict(shelf.files)
    # the same of a run before this one
    name = next(name for name in whole if name.endswith("a0.mp4"))
    shelf.files[name] = bytes(len(whole[name]))
    shelf.puts.clear()
    assert place.run(film, "demo", *SMALL).returncode == 0
    assert shelf.puts == [name] and shelf.files == whole


def test_07_a_storage_that_keeps_other_bytes_is_refused(place, shelf, film):
    shelf.keep = lambda name, body: body[:-1] + b"x" \
        if name.endswith("v1.idx") else body
    done = place.run(film, "liar", *SMALL)
    assert done.returncode == 1
    assert "its checksum is not that of what was put" in done.stderr
    assert shelf.files == {} and place.entry("liar") is None
    assert not any(name.endswith("asset.idx") for name in shelf.puts)


def test_08_a_storage_that_goes_away_is_waited_for(place, shelf, film):
    """It hangs up in the middle of a file, and comes back after a while."""
    since = []

    def gone(request):
        if request.command == "PUT" and len(shelf.puts) == 3 and not since:
            since.append(time.monotonic())
            request.rfile.read(100)
        return bool(since) and time.monotonic() - since[0] < 2

    shelf.gone = gone
    done = place.run(film, "demo", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "waiting for http://127.0.0.1" in done.stderr
    assert "for at most 0:0" in done.stderr
    assert place.entry("demo") is not None
    # it may be gone for longer than one has patience
    shelf.files.clear()
    since[0] = time.monotonic() + 60
    shelf.gone = lambda request: request.command == "PUT" \
        and request.path.endswith("a0.mp4")
    done = place.run(film, "again", *SMALL, "--patience", "1s")
    assert done.returncode == 1
    assert "storage does not answer" in done.stderr
    assert shelf.files == {} and list(place.temp.iterdir()) == []
