# SPDX-License-Identifier: Apache-2.0
"""The counter file as nginx keeps it: what counts, how exactly, and what
becomes of it over reloads, faults and a full house."""

import collections
import os
import random
import shutil
import signal
import subprocess
import threading
import time
import urllib.parse

import pytest

from http_probe import ask, flood
from nginx_instance import (Counters, NginxInstance, table_tool,
                            wait_for)
from ports import free_port

SERVER = """
meter_file counters {shape};
server {{
    listen 127.0.0.1:{port};
    keepalive_requests 1000000;
    lingering_close off;
    location ~ ^/m/(?<content>[^/]+)$ {{ meter $content; return 200 "ok."; }}
    {more}
}}
"""


@pytest.fixture(name="meter")
def _meter(tmp_path):
    """Starts an nginx that meters; ended with the test."""
    running = []

    def start(shape="contents=2000", more="", workers=2, main="", before=""):
        port = free_port()

        def http(new_shape, new_more=""):
            return before + SERVER.format(port=port, shape=new_shape,
                                          more=new_more)
        nginx = NginxInstance(tmp_path, http(shape, more), port, ("meter",),
                              workers=workers, main=main)
        nginx.http = http
        nginx.counters = lambda: Counters(tmp_path / "counters")
        running.append(nginx)
        return nginx

    yield start
    for nginx in running:
        nginx.stop()


def test_counts_are_exact_over_two_workers(meter):
    nginx = meter()
    chosen = random.Random(7).choices(
        range(500), [1 / (r + 1) for r in range(500)], k=40_000)
    answers, received = flood(nginx.port, [f"/m/c{c}" for c in chosen])

    assert answers == 40_000
    counters = nginx.counters()
    assert counters.requests() == {
        f"c{c}": n for c, n in collections.Counter(chosen).items()}
    assert sum(v[1] for v in counters.contents.values()) == received
    assert counters.overflow == 0


def test_only_what_was_served_counts(meter):
    nginx = meter(before="map $arg_cdn $to_cdn { default $arg_cdn; }", more="""
        location ~ ^/gone/(?<content>[^/]+)$ { meter $content; return 404; }
        location ~ ^/moved/(?<content>[^/]+)$ { meter $content; return 302 /; }
        location ~ ^/start/(?<content>[^/]+)$ {
            meter $content start redirects offloaded=$to_cdn;
            return 302 http://x/;
        }
        location ~ ^/off/(?<content>[^/]+)$ { meter off; return 200 "ok."; }
        location ~ ^/file/(?<content>[^/]+)$ { meter $content; alias FILE; }
    """.replace("FILE", __file__))
    port = nginx.port
    assert ask(port, "/gone/gone").status == 404
    assert ask(port, "/moved/moved").status == 302
    assert ask(port, "/off/off").status == 200
    assert ask(port, "/m/.hidden").status == 200
    assert ask(port, "/m/" + "x" * 65).status == 200
    assert ask(port, "/start/play").status == 302
    assert ask(port, "/start/play?cdn=0").status == 302
    assert ask(port, "/start/play?cdn=1").status == 302
    served = ask(port, "/file/film")
    assert ask(port, "/file/film", "HEAD").status == 200
    assert ask(port, "/file/film", headers={
        "If-None-Match": served.headers["etag"]}).status == 304
    assert ask(port, "/file/film", headers={
        "Range": "bytes=0-9"}).status == 206

    contents = nginx.counters().contents
    assert set(contents) == {"play", "film"}
    requests, _, *flags = contents["play"]
    assert (requests, *flags) == (3, 3, 1, 0)
    assert contents["film"][0] == 4
    assert contents["film"][1] > len(served.body)
    assert contents["film"][2:] == (0, 0, 0)


def test_what_players_say_is_logged_and_counted(meter):
    nginx = meter(before="""
        log_format says '$cmcd_sid|$cmcd_bl|$cmcd_bs|$cmcd_mtp|$cmcd_com_x';
        """, more="""
        location ~ ^/says/(?<content>[^/]+)$ {
            access_log says.log says;
            meter $content starved=$cmcd_bs;
            return 200 "ok.";
        }""")
    said = urllib.parse.quote('bl=2300,bs,mtp=25400,sid="a,b"')
    for path, headers in (
            (f"/says/film?x=1&CMCD={said}&steering=1", {}),
            ("/says/film", {"CMCD-Request": "bl=0,mtp=100",
                            "CMCD-Status": "bs", "CMCD-Session": 'sid="s"'}),
            ("/says/film?CMCD=bl%3D5", {}),
            ("/says/film?CMCD=" + urllib.parse.quote('sid="open,bs'), {}),
            ("/says/film?CMCD=%", {}),
            ("/says/film", {})):
        assert ask(nginx.port, path, headers=headers).status == 200
    assert (nginx.folder / "says.log").read_text().splitlines() == [
        "a,b|2300|1|25400|-", "s|0|1|100|-", "-|5|-|-|-", "-|-|-|-|-",
        "-|-|-|-|-", "-|-|-|-|-"]
    assert nginx.counters().contents["film"][::4] == (6, 2)


def test_http2_is_counted_with_its_bytes(meter):
    second = free_port()
    nginx = meter(more=f"listen 127.0.0.1:{second} http2;")
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    subprocess.run(["curl", "-fsS", "--http2-prior-knowledge", "-o",
                    os.devnull, f"http://127.0.0.1:{second}/m/two"],
                   check=True, timeout=10)
    wait_for(lambda: nginx.counters().contents)
    assert nginx.counters().contents["two"][0] == 1
    assert nginx.counters().contents["two"][1] > len("ok.")


def test_reload_keeps_boot_and_counts(meter):
    nginx = meter()
    flood(nginx.port, ["/m/a"] * 300)
    before = nginx.counters()
    nginx.reload()
    flood(nginx.port, ["/m/a"] * 200 + ["/m/b"] * 10)

    after = nginx.counters()
    assert after.boot == before.boot
    assert after.requests() == {"a": 500, "b": 10}


def test_another_shape_is_a_new_file_and_a_new_boot(meter):
    nginx = meter()
    flood(nginx.port, ["/m/a"] * 5)
    before = nginx.counters()
    nginx.configure(nginx.http("contents=3000"))
    nginx.reload()
    ask(nginx.port, "/m/b")

    after = nginx.counters()
    assert after.boot != before.boot
    assert after.requests() == {"b": 1}
    assert "is not adopted (made for another shape)" in nginx.log()
    assert [p.name for p in nginx.folder.glob("counters*")] == ["counters"]


def test_a_refused_reload_changes_nothing(meter):
    nginx = meter()
    ask(nginx.port, "/m/a")
    before = nginx.counters()
    nginx.configure(nginx.http("contents=3000", "no_such_directive;"))
    nginx.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "no_such_directive" in nginx.log())
    ask(nginx.port, "/m/a")

    assert nginx.counters().boot == before.boot
    assert nginx.counters().requests() == {"a": 2}
    assert [p.name for p in nginx.folder.glob("counters*")] == ["counters"]


def broken_header(data):
    return b"\xff" * 16 + data[16:]


def cut_short(data):
    return data[:5000]


@pytest.mark.parametrize("damage", [broken_header, cut_short, lambda _: b""])
def test_a_broken_file_is_replaced_with_a_warning(meter, damage):
    nginx = meter()
    ask(nginx.port, "/m/a")
    boot = nginx.counters().boot
    nginx.stop()
    path = nginx.folder / "counters"
    path.write_bytes(damage(path.read_bytes()))

    nginx = meter()
    ask(nginx.port, "/m/b")
    assert nginx.counters().boot != boot
    assert nginx.counters().requests() == {"b": 1}
    assert "is not adopted" in nginx.log()


def test_a_full_file_counts_overflow_and_serves_on(meter):
    nginx = meter(shape="contents=100")
    answers, _ = flood(nginx.port, [f"/m/c{i}" for i in range(1000)])
    assert answers == 1000
    counters = nginx.counters()
    assert counters.used == 100
    assert counters.overflow == 900
    kept = next(iter(counters.contents))
    ask(nginx.port, f"/m/{kept}")
    assert nginx.counters().contents[kept][0] == 2


def test_a_killed_worker_loses_nothing_that_was_counted(meter):
    nginx = meter()
    flood(nginx.port, ["/m/a"] * 100)
    workers = nginx.worker_pids()
    os.kill(workers[0], signal.SIGKILL)
    wait_for(lambda: set(nginx.worker_pids()) - set(workers)
             and len(nginx.worker_pids()) == 2)
    flood(nginx.port, ["/m/a"] * 100)
    assert nginx.counters().requests() == {"a": 200}


def test_the_file_belongs_to_the_workers_user(meter):
    if os.geteuid() != 0:
        pytest.skip("needs root, as a master that changes its user does")
    nginx = meter(main="user nobody nogroup;")
    ask(nginx.port, "/m/a")
    st = (nginx.folder / "counters").stat()
    assert (st.st_uid, st.st_mode & 0o777) == (65534, 0o640)
    assert nginx.counters().requests() == {"a": 1}


def test_checking_a_configuration_makes_no_file(meter):
    nginx = meter()
    nginx.stop()
    (nginx.folder / "counters").unlink()
    status, said = nginx.check()
    assert status == 0, said
    assert not list(nginx.folder.glob("counters*"))


@pytest.mark.parametrize("more, complaint", [
    ("meter $content now;", 'invalid parameter "now"'),
    ("meter content;", '"content" is not a variable'),
    ("meter off start;", 'takes no parameters with "off"'),
])
def test_a_wrong_directive_is_named(meter, more, complaint):
    nginx = meter()
    nginx.configure(nginx.http("contents=2000", more))
    status, said = nginx.check()
    assert status == 1 and complaint in said and "nginx.conf:" in said


@pytest.mark.parametrize("shape, complaint", [
    ("contents=0", 'invalid value "contents=0"'),
    ("contents=200000000", "allowed are 1 to 100000000"),
    ("rows=5", 'invalid parameter "rows=5"'),
])
def test_a_wrong_shape_is_named(meter, shape, complaint):
    nginx = meter()
    nginx.configure(nginx.http(shape))
    status, said = nginx.check()
    assert status == 1 and complaint in said


def test_370000_contents_are_read_while_nginx_works(meter):
    """Reading holds nobody up: the longest answer while the file is read over
    and over stays far under the time one reading takes of a lock."""
    nginx = meter(shape="contents=400000")
    flood(nginx.port, (f"/m/movie-{i:07d}" for i in range(370_000)))
    assert nginx.counters().used == 370_000

    path = nginx.folder / "counters"
    stop = threading.Event()
    readings = []

    def read():
        while not stop.is_set():
            out = table_tool("counters", path)
            readings.append(out.count(b"\n") - 3)

    reader = threading.Thread(target=read)
    reader.start()
    waits = []
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        began = time.monotonic()
        ask(nginx.port, "/m/movie-0000001")
        waits.append(time.monotonic() - began)
    stop.set()
    reader.join()

    assert len(readings) >= 2 and set(readings) == {370_000}
    assert nginx.counters().contents["movie-0000001"][0] == 1 + len(waits)
    waits.sort()
    assert waits[len(waits) * 99 // 100] < 0.1
