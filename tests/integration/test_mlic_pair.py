# SPDX-License-Identifier: Apache-2.0
"""Two license servers on one PostgreSQL, killed in turn while players play: no
play is refused, but that requests on the connections of the one that died go to
the other; and over both no viewer has more plays than it may."""

import contextlib
import itertools
import math
import random
import subprocess
import threading
import time

import pytest
import requests

from conftest import FAULTS, wait_until
from nginx_instance import NginxInstance
from ports import free_port
from postgresql_server import PostgreSQL
from test_mlic import (AUDIT_KEY, MASTERS, MLIC, Mlic, base64url, entitle, given,
                       reason)

LEASE_S = 5
PLACES = 3  # of each viewer
# viewer: its players. Those of "crowd" are more than its places.
PLAYERS = {"calm-1": PLACES, "calm-2": PLACES, "crowd": 2 * PLACES}


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory):
    server = PostgreSQL(tmp_path_factory.mktemp("postgresql") / "s").start()
    yield server
    server.stop()


class Pair:
    """Two servers, each with a folder and an audit of its own; what they are
    configured with is the same, the audit's key, too: viewers are counted by
    a hash with it."""

    def __init__(self, folder, database):
        self.folder, self.database = folder, database
        self.ports = [free_port(), free_port()]
        self.servers = [None, None]
        for which in (0, 1):
            self.start(which)

    def start(self, which):
        folder = self.folder / f"mlic{which}"
        folder.mkdir(exist_ok=True)
        self.servers[which] = Mlic(
            folder, "--lease", f"{LEASE_S}s", "--listen",
            f"127.0.0.1:{self.ports[which]}", database=self.database)

    def kill(self, which):
        self.servers[which].process.kill()
        self.servers[which].process.wait()

    def urls(self):
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    def stop(self):
        for server in self.servers:
            if server is not None:
                server.stop()


@pytest.fixture
def pair(tmp_path, postgresql):
    started = Pair(tmp_path, postgresql.schema(f"m{time.monotonic_ns()}"))
    yield started
    started.stop()


class Client:
    """Asks any of the URLs, and the next one where the connection breaks."""

    def __init__(self, urls, seed):
        self.urls, self.random = urls, random.Random(seed)
        self.session = requests.Session()
        self.broken = []  # (when, URL)

    def ask(self, method, path, entitlement, **more):
        order = self.random.sample(self.urls, len(self.urls))
        for url in order:
            try:
                return self.session.request(
                    method, url + path, timeout=10, **more,
                    headers={"Authorization": f"Bearer {entitlement}"})
            except requests.ConnectionError:
                self.broken.append((time.time(), url))
        raise AssertionError(f"none of {order} answers")

    def license(self, kid, entitlement):
        return self.ask("POST", "/v1/licenses/clearkey", entitlement,
                        json={"kids": [base64url(kid)]})


class Plays:
    """Which plays last for sure: from when a player learns that it has one to
    when it gives it back, or its lease ends."""

    def __init__(self):
        self.lock = threading.Lock()
        self.last, self.most = {}, {}

    def lasts(self, viewer, play, asked_s):
        with self.lock:
            mine = self.last.setdefault(viewer, {})
            mine[play] = math.floor(asked_s) + LEASE_S
            now = time.time()
            count = sum(end > now for end in mine.values())
            self.most[viewer] = max(self.most.get(viewer, 0), count)

    def over(self, viewer, play):
        with self.lock:
            del self.last[viewer][play]


class Player(threading.Thread):
    def __init__(self, number, viewer, urls, kid, plays, stop):
        super().__init__()
        self.viewer, self.number = viewer, number
        self.client = Client(urls, number)
        self.kid, self.plays, self.is_over = kid, plays, stop
        self.granted, self.refused, self.odd = 0, 0, []

    def run(self):
        try:
            for count in itertools.count():
                if self.is_over.is_set():
                    return
                self.play(f"{self.number}-{count}")
        except Exception as error:  # a thread's own is seen by nobody
            self.odd.append(repr(error))

    def play(self, name):
        right = entitle(plays=PLACES, play=name, sub=self.viewer)
        asked_s = time.time()
        answer = self.client.license(self.kid, right)
        if answer.status_code == 403:
            self.refused += 1
            if reason(answer)[1] != "too-many-plays":
                self.odd.append(answer.text)
            return
        if answer.status_code != 200:
            self.odd.append(answer.text)
            return
        self.granted += 1
        self.plays.lasts(self.viewer, name, asked_s)
        for _ in range(self.client.random.randrange(4)):
            time.sleep(0.01)
            asked_s = time.time()
            answer = self.client.ask("PUT", "/v1/play", right)
            if answer.status_code != 200:
                self.odd.append(answer.text)
                return
            self.plays.lasts(self.viewer, name, asked_s)
        self.plays.over(self.viewer, name)  # nobody knows when in the request
        answer = self.client.ask("DELETE", "/v1/play", right)
        if answer.status_code != 204:
            self.odd.append(answer.text)


@contextlib.contextmanager
def played(urls, kid):
    """Players of all viewers at once; ends them, and waits for that."""
    plays, stop, players = Plays(), threading.Event(), []
    for viewer, count in PLAYERS.items():
        players += [Player(f"{viewer}-{i}", viewer, urls, kid, plays, stop)
                    for i in range(count)]
    for player in players:
        player.start()
    try:
        yield plays, players
    finally:
        stop.set()
        for player in players:
            player.join(60)


def kill_in_turn(pair, players):
    """Both are killed under load and started again; (when, URL) of each."""
    killed = []
    for which in (0, 1):
        time.sleep(1.5)
        killed.append((time.time(), pair.urls()[which]))
        pair.kill(which)
        before = [player.granted for player in players]
        wait_until(lambda: all(p.granted > b for p, b in zip(players, before)),
                   20, "all players go on at the other")
        pair.start(which)
        wait_until(lambda: requests.get(pair.urls()[which] + "/v1/health",
                                        timeout=5).ok, 10, "its return")
    time.sleep(1)
    return killed


def judge(pair, plays, players):
    FAULTS.append(
        "license servers killed: "
        f"{sum(p.granted for p in players)} plays granted, "
        f"{sum(p.refused for p in players)} refused for too many, "
        f"{sum(len(p.client.broken) for p in players)} connections broken, "
        f"at once at most {plays.most}")
    assert not (odd := {p.number: p.odd for p in players if p.odd}), odd
    for player in players:
        assert player.granted > 5, player.number
        if player.viewer != "crowd":
            assert player.refused == 0, player.number
    assert plays.most.keys() == PLAYERS.keys()
    assert all(most <= PLACES for most in plays.most.values()), plays.most
    # the limit was come to: it is not that nobody asked
    assert sum(p.refused for p in players) > 20
    assert plays.most["crowd"] == PLACES
    for server in pair.servers:
        assert server.verify().returncode == 0
        assert server.metric("mlic_failures_total") == 0


def test_01_one_of_two_dies_and_players_go_to_the_other(pair):
    kid = pair.servers[0].keys()["SD"][0]
    with played(pair.urls(), kid) as (plays, players):
        killed = kill_in_turn(pair, players)
    judge(pair, plays, players)
    # nothing broke but what went to the one that was dead
    broken = [b for player in players for b in player.client.broken]
    assert broken
    for when, url in broken:
        assert any(url == dead and when >= begun for begun, dead in killed)


def test_02_behind_nginx_players_see_nothing_of_it(pair, tmp_path):
    """A request goes to the other even when it was sent to the one that died:
    asked twice for the same play, the answer is the same. max_fails=0: of two
    that fail one after the other, nginx would else take both for dead and ask
    neither."""
    kid = pair.servers[0].keys()["SD"][0]
    port = free_port()
    upstream = "".join(f"server 127.0.0.1:{p} max_fails=0; "
                       for p in pair.ports)
    http = f"""
    upstream mlic {{ {upstream} keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://mlic;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_connect_timeout 2s;
            proxy_next_upstream error timeout non_idempotent;
            proxy_next_upstream_tries 2;
        }}
    }}"""
    with NginxInstance(tmp_path / "nginx", http, port) as nginx:
        with played([nginx.url], kid) as (plays, players):
            kill_in_turn(pair, players)
    judge(pair, plays, players)
    assert not any(player.client.broken for player in players)


def test_03_what_died_with_a_server_frees_its_places(pair):
    kid = pair.servers[0].keys()["SD"][0]
    dies, other = pair.servers

    def ask(server, play):
        return server.license([kid], entitle(plays=PLACES, play=play))
    for play in range(PLACES):
        assert given(ask(dies, f"lost-{play}"))
    taken = time.time()
    pair.kill(0)
    refused = 0
    while (answer := ask(other, "new")).status_code != 200:
        assert reason(answer) == (403, "too-many-plays")
        assert time.time() < taken + LEASE_S + 2
        refused += 1
        time.sleep(0.05)
    assert refused > 5
    # not before the leases ended, which are of whole seconds
    assert time.time() >= taken + LEASE_S - 1.5
    time.sleep(1)  # the last of them ends
    for play in range(PLACES):
        assert given(ask(other, f"new-{play}" if play else "new"))
    assert reason(ask(other, "more")) == (403, "too-many-plays")
    # back, it counts what the other has given
    pair.start(0)
    assert given(ask(pair.servers[0], "new"))
    for play in range(1, PLACES):
        assert given(ask(other, f"new-{play}"))
    assert reason(ask(pair.servers[0], "more")) == (403, "too-many-plays")


def test_04_a_new_master_key_takes_over_at_both(pair):
    """Held by both before either wraps under it: what one makes the other can
    always read."""
    made = {}

    def ask_both():
        content = f"film{len(made)}"
        maker = pair.servers[len(made) % 2]
        made[content] = maker.keys(content + "/v1")["SD"]
        for server in pair.servers:
            for name, (kid, key) in made.items():
                answer = server.license([kid], entitle(content=name))
                assert given(answer) == {kid: key}

    def hold(*numbers):
        text = "".join(f"{n} {MASTERS[n]}\n" for n in numbers)
        for server in pair.servers:
            server.private("masters", text)
            server.reload()
            ask_both()
            ask_both()
    ask_both()
    hold(1, 2)
    hold(2, 1)
    assert pair.servers[0].metric("mlic_keys_old") > 0
    subprocess.run([MLIC, "rewrap", "--database", pair.database,
                    "--master-keys", pair.servers[0].folder / "masters"],
                   check=True, capture_output=True, timeout=60)
    for server in pair.servers:
        assert server.metric("mlic_keys_old") == 0
    hold(2)
    for server in pair.servers:
        assert server.metric("mlic_failures_total") == 0


def test_05_the_database_goes_and_comes_back(tmp_path):
    server = PostgreSQL(tmp_path / "postgresql").start()
    pair = Pair(tmp_path, server.uri)
    try:
        kid = pair.servers[0].keys()["SD"][0]
        server.stop()
        for mlic in pair.servers:
            answer = mlic.license([kid], entitle())
            assert answer.status_code == 503 and answer.headers["Retry-After"]
            assert requests.get(mlic.url + "/v1/health",
                                timeout=10).status_code == 503
        server.start()
        for mlic in pair.servers:
            wait_until(lambda: mlic.license([kid], entitle()).ok, 10,
                       "licenses again")
    finally:
        pair.stop()
        server.stop()


def test_06_a_viewer_is_found_in_the_audit(pair):
    """As the runbook says."""
    one = pair.servers[0]
    kid = one.keys()["SD"][0]
    assert given(one.license([kid], entitle(sub="me@home")))
    told = subprocess.run(
        ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt",
         "hexkey:" + AUDIT_KEY.hex()], input=b"viewer kino/me@home",
        capture_output=True, check=True, timeout=10).stdout.decode()
    assert one.lines()[-1]["viewer"] == told.split()[-1][:32]
