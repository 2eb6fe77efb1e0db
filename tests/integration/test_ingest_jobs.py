# SPDX-License-Identifier: Apache-2.0
"""vodst ingest --jobs: a list of films, several at a time, each as if it were
alone; a list that was interrupted goes on."""

import json
import shutil
import signal
import subprocess

import pytest

from conftest import VODST, film_make, wait_until
from ports import free_port
from test_ingest import (  # noqa: F401, pylint: disable=unused-import
    FAST, api, fake_tools, place)

SMALL = ["--ladder", "64", "--segment", "1s", "--no-thumbnails"]


@pytest.fixture(scope="module", name="film")
def _film(tmp_path_factory):
    return film_make(tmp_path_factory.mktemp("film") / "film.mp4", 2, "80x64",
                     12)


class List:
    def __init__(self, place):
        self.place, self.path = place, place.folder / "list.jsonl"
        self.results = place.folder / "list.jsonl.results"

    def write(self, *jobs):
        self.path.write_text("# films\n\n" + "".join(
            json.dumps(job, default=str) + "\n" for job in jobs))

    def command(self, *options):
        place = self.place
        return [VODST, "ingest", "--jobs", self.path, *place.storage,
                *place.api_options, "--temp", place.temp, "--patience", "1s",
                "--retry-pause=200ms", *FAST, *SMALL, *options]

    def run(self, *options, **more):
        done = subprocess.run(list(map(str, self.command(*options))),
                              capture_output=True, text=True, timeout=120,
                              stdin=subprocess.DEVNULL, check=False, **more)
        return done

    def ended(self):
        return {one["id"]: one for one in
                map(json.loads, self.results.read_text().splitlines())}


@pytest.fixture(name="films")
def _films(place):
    return List(place)


def test_01_one_that_fails_does_not_stop_the_others(place, films, film):
    bad = place.folder / "bad.mp4"
    bad.write_text("no film")
    films.write({"film": film, "id": "one", "title": "The first"},
                {"film": bad, "id": "bad"},
                {"film": [film], "id": "two", "copy": True},
                {"film": film, "id": "three", "crf": 30, "segment": "2s"})
    done = films.run("--workers", 2, "--json")
    assert done.returncode == 1, done.stdout + done.stderr
    events = list(map(json.loads, done.stdout.splitlines()))
    assert events[-1] == {"event": "jobs_done", "jobs": 4, "done": 3,
                          "before": 0, "failed": 1}
    results = films.ended()
    assert results["bad"]["event"] == "job_failed"
    assert results["bad"]["attempts"] == 1  # it will be no film later
    assert "bad.mp4 is not a film" in results["bad"]["message"]
    for content in ("one", "two", "three"):
        assert results[content]["event"] == "job_done"
        assert place.entry(content)["version"] == results[content]["version"]
    assert place.entry("one")["title"] == "The first"
    assert list(place.temp.iterdir()) == []
    told = {(e["id"], e["step"]) for e in events if e["event"] == "step"
            and "id" in e}
    assert {("one", "encode"), ("two", "copy")} <= told

    # again: what is done is not done again, unless its line is another
    films.write({"film": film, "id": "one", "title": "The first"},
                {"film": film, "id": "bad"},
                {"film": [film], "id": "two", "copy": True},
                {"film": film, "id": "three", "crf": 31, "segment": "2s"})
    before = place.entry("three")["version"]
    done = films.run()
    assert done.returncode == 0, done.stderr
    assert "2 of 4 were done before" in done.stderr
    assert "4 of 4 playable, 0 failed" in done.stdout
    assert films.ended()["bad"]["event"] == "job_done"
    assert place.entry("three")["version"] != before
    assert place.entry("one")["version"] == results["one"]["version"]


def test_02_what_may_be_over_later_is_tried_again(place, films, film):
    """The storage is a folder that cannot be made until the second time."""
    blocked = place.folder / "blocked"
    blocked.write_text("a file")
    counter = place.folder / "count"
    real = shutil.which("ffprobe")
    environment = fake_tools(place.folder, ffprobe=(
        f'echo x >>{counter}; [ "$(wc -l <{counter})" -lt 3 ] || rm -f '
        f'{blocked}; exec {real} "$@"\n'))
    place.storage = [f"--storage={blocked}"]
    films.write({"film": film, "id": "late"})
    done = films.run(env=environment)
    assert done.returncode == 0, done.stderr
    assert films.ended()["late"]["attempts"] == 3
    assert "late: failed (cannot make the storage folder" in done.stderr
    # and given up after so many
    place.storage = [f"--storage=http://127.0.0.1:{free_port()}/"]
    films.write({"film": film, "id": "never"})
    done = films.run("--retries", 1)
    assert done.returncode == 1
    result = films.ended()["never"]
    assert result["attempts"] == 2
    assert "storage does not answer" in result["message"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_03_a_list_that_was_interrupted_goes_on(place, films, film, number):
    slow = fake_tools(place.folder, ffmpeg=(
        'case "$*" in *slow*) sleep 60;; esac\n'
        f'exec {shutil.which("ffmpeg")} "$@"\n'))
    again = place.folder / "slow.mp4"
    again.write_bytes(film.read_bytes())
    films.write({"film": film, "id": "a"}, {"film": again, "id": "b"})
    process = subprocess.Popen(list(map(str, films.command())), env=slow,
                               stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    wait_until(lambda: films.results.exists()
               and "job_done" in films.results.read_text(), 30, "the first")
    wait_until(lambda: list(place.temp.iterdir()), 20, "the second")
    second = films.run()
    assert second.returncode == 1 and "being done already" in second.stderr
    process.send_signal(number)
    assert process.wait(20) == (-9 if number == signal.SIGKILL else 130)
    if number == signal.SIGKILL:  # half a line of a result
        with films.results.open("a") as file:
            file.write('{"id":"b","event":"job_do')
    first = place.entry("a")
    done = films.run()
    assert done.returncode == 0, done.stderr
    assert "1 of 2 were done before" in done.stderr
    assert place.entry("a") == first and place.entry("b") is not None
    assert list(place.temp.iterdir()) == []


def test_04_a_list_that_is_wrong_is_refused_before_anything(place, films,
                                                            film):
    for jobs, expected in [
            ([], "there are no jobs in it"),
            ([{"id": "x"}], 'expected "film"'),
            ([{"film": film}], 'expected "id"'),
            ([{"film": film, "id": "a/b"}], 'expected "id"'),
            ([{"film": film, "id": "x"}, {"film": film, "id": "x"}],
             "is there twice: x"),
            ([{"film": film, "id": "x", "colour": "red"}],
             "has no option colour"),
            ([{"film": film, "id": "x", "workers": 2}],
             "has no option workers"),
            ([{"film": film, "id": "x", "copy": "yes"}],
             "another type than expected: copy")]:
        films.write(*jobs)
        done = films.run()
        assert done.returncode == 2, (jobs, done.stderr)
        assert expected in done.stderr
        if jobs:
            assert f"list.jsonl:{len(jobs) + 2}:" in done.stderr
    films.path.write_text("{film}\n")
    assert "list.jsonl:1: expected one JSON object" in films.run().stderr
    assert not films.results.exists() and place.entry("x") is None
    done = films.run(film)
    assert done.returncode == 2 and "said in the list" in done.stderr
