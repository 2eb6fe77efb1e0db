# SPDX-License-Identifier: Apache-2.0
"""Origins that act on their own: one at its limit passes new plays on, plays
under way stay or move once, however old the table is."""

import collections
import concurrent.futures
import time

import pytest

from http_probe import ask
from nginx_cluster import Cluster

ORIGIN = """
    location /p/ {
        redirect /p/;
        return 200 "media";
    }
"""
NAMES = ("origin1", "origin2", "origin3", "origin4")


@pytest.fixture(name="cluster")
def _cluster(tmp_path):
    running = []

    def start(outside="", names=NAMES, **more):
        running.append(Cluster(tmp_path, names, ORIGIN, outside, **more))
        return running[-1]

    yield start
    for cluster in running:
        cluster.stop()


def busiest_second(requests):
    times = sorted(at for at, status, *_ in requests if status == 200)
    return max((sum(1 for t in times if start <= t < start + 1)
                for start in times), default=0)


# ---- the limit ----

def play(cluster, content, session, segments, pause):
    """As a player does: the playlist through the redirector, the rest from
    whoever gave it. (node, failures, segments that were redirected)."""
    url = cluster.redirector.url + cluster.path(content, session)
    answer, url, _ = cluster.follow(url)
    failed, moved = int(answer.status != 200), 0
    base = url.partition("?")[0].rpartition("/")[0]
    for number in range(segments):
        if number >= segments // 2:
            time.sleep(pause)
        answer, _, redirects = cluster.follow(f"{base}/v0/{number}.m4s")
        failed += answer.status != 200
        moved += redirects > 0
    return cluster.node_at(base + "/").name, failed, moved


def test_a_node_at_its_limit_passes_new_plays_on_and_none_fails(cluster):
    capacity = 60
    cluster = cluster(f"redirect_capacity {capacity}r/s;")
    # the only table there is: one owner, nobody loaded
    cluster.publish("1.1")
    owner = cluster.owner("film")
    plays = 60
    with concurrent.futures.ThreadPoolExecutor(plays) as pool:
        started = []
        for session in range(plays):
            started.append(pool.submit(play, cluster, "film", session + 1, 12,
                                       1))
            time.sleep(0.1)
        ended = [one.result() for one in started]
    assert sum(failed for _, failed, _ in ended) == 0
    # plays under way were left where they are
    assert sum(moved for _, _, moved in ended) == 0
    by_node = collections.Counter(name for name, *_ in ended)
    assert by_node[owner] >= 2
    assert len(by_node) >= 3, by_node
    for node in cluster.origins.values():
        assert busiest_second(node.requests()) <= 1.25 * capacity, by_node
    spilled = [one for node in cluster.origins.values()
               for one in node.requests() if one[5] == "spill"]
    assert len(spilled) >= sum(n for name, n in by_node.items()
                               if name != owner)


def test_a_crowd_of_one_instant_is_spread_before_it_asks_for_segments(cluster):
    cluster = cluster("redirect_capacity 110r/s;")
    cluster.publish("1.1")
    by_node = collections.Counter()
    for path in cluster.paths("film", range(1, 41)):
        answer, url, _ = cluster.follow(cluster.redirector.url + path)
        assert answer.status == 200
        by_node[cluster.node_at(url).name] += 1
    # a start is 11 requests: after 10 starts a node is full
    assert max(by_node.values()) <= 12 and len(by_node) == 4, by_node


def test_below_its_limit_the_owner_takes_all(cluster):
    cluster = cluster("redirect_capacity 1000r/s;")
    cluster.publish("1.1")
    owner = cluster.owner("film")
    ended = [play(cluster, "film", session, 4, 0) for session in range(1, 21)]
    assert ended == [(owner, 0, 0)] * 20


def fill(node, cluster, content="other", count=30):
    """Takes the node to its limit with plays that it must serve."""
    for path in cluster.paths(content, range(1000, 1000 + count)):
        assert ask(node.port, path + "?hop=2&spill=8").status == 200


def test_the_spill_rides_in_the_url_and_ends(cluster):
    cluster = cluster("redirect_capacity 20r/s;")
    cluster.publish("1.1")
    owner = cluster.origins[cluster.owner("film")]
    for node in cluster.origins.values():
        fill(node, cluster)
    path = cluster.path("film")
    answer = ask(owner.port, path + "?hop=1&x=y")
    assert answer.status == 302 and answer.decision["rule"] == "spill"
    assert answer.location.endswith("?x=y&hop=1&spill=1")
    # all are full: somebody serves in the end
    answer, _, redirects = cluster.follow(owner.url + cluster.path("film", 2))
    assert answer.status == 200 and redirects == 8
    assert answer.decision["rule"] in ("spilled", "owner")


def test_what_is_sent_counts_as_well(cluster):
    cluster = cluster("redirect_capacity 10000r/s 200kbit/s;")
    cluster.publish("1.1")
    owner = cluster.origins[cluster.owner("film")]
    # answers of some 500 bytes: a kibibyte each as it is counted
    fill(owner, cluster, "film", 40)
    answer = ask(owner.port, cluster.path("film", 5))
    assert answer.status == 302 and answer.decision["rule"] == "spill"


def test_the_limit_is_forgotten_when_the_load_is_gone(cluster):
    cluster = cluster("redirect_capacity 20r/s;")
    cluster.publish("1.1")
    owner = cluster.origins[cluster.owner("film")]
    fill(owner, cluster)
    pace = ask(owner.port, "/where/film").json()["pace"]
    assert pace["full"] and pace["requests"] >= 30
    assert ask(owner.port, cluster.path("film", 5)).status == 302
    time.sleep(1.2)
    assert ask(owner.port, "/where/film").json()["pace"] \
        == {"requests": 0, "bits": 0, "full": False}
    assert ask(owner.port, cluster.path("film", 6)).status == 200


PULL = {"X-Pull": "1"}


def test_a_full_node_serves_whom_a_cdn_sent_and_nobody_who_says_so(cluster):
    cluster = cluster("redirect_capacity 20r/s; redirect_pull $http_x_pull;")
    cluster.publish("1.1")
    for node in cluster.origins.values():
        fill(node, cluster)
        path = cluster.path("film", 5)
        answer = ask(node.port, path + "?hop=99")
        assert answer.status == 302 and answer.decision["rule"] == "spill"
        assert ask(node.port, path, headers=PULL).status == 200
        assert ask(node.port, path, headers={"X-Pull": "0"}).status == 302


def test_what_a_cdn_pulls_is_load_and_no_play(cluster):
    cluster = cluster("redirect_capacity 20r/s; redirect_pull $http_x_pull;")
    cluster.publish("1.1")
    owner = cluster.origins[cluster.owner("film")]
    for _ in range(30):
        assert ask(owner.port, cluster.path("film", 5),
                   headers=PULL).status == 200
    assert ask(owner.port, "/where/film").json()["pace"]["full"]
    answer = ask(owner.port, cluster.path("film", 5))
    assert answer.status == 302 and answer.decision["rule"] == "spill"


def test_workers_share_what_they_know_and_a_reload_keeps_it(cluster):
    cluster = cluster("redirect_capacity 20r/s;", workers=2)
    cluster.publish("1.1")
    owner = cluster.origins[cluster.owner("film")]
    under_way = cluster.path("film", 7)
    assert ask(owner.port, under_way).status == 200
    fill(owner, cluster, count=60)
    for _ in range(20): # whichever worker it comes to
        assert ask(owner.port, under_way).status == 200
    owner.reload()
    fill(owner, cluster, count=60)
    for _ in range(20):
        assert ask(owner.port, under_way).status == 200
    assert ask(owner.port, cluster.path("film", 8)).status == 302


# ---- plays under way ----

def segment(cluster, node, session=1, number=0, args=""):
    return ask(node.port, cluster.path("film", session, f"v1/v0/{number}.m4s")
               + args)


def test_a_drain_moves_plays_at_a_segment_and_breaks_none(cluster):
    cluster = cluster()
    cluster.publish("1.1")
    owner = cluster.origins[cluster.owner("film")]
    for session in range(20):
        assert segment(cluster, owner, session).status == 200
    cluster.publish("1.2", **{owner.name: "draining"})
    heir = cluster.owner("film")
    assert heir != owner.name
    for number in range(1, 4):
        for session in range(20):
            url = owner.url + cluster.path("film", session,
                                           f"v1/v0/{number}.m4s")
            answer, url, redirects = cluster.follow(url)
            assert answer.status == 200 and redirects == 1
            assert cluster.node_at(url).name == heir
    # the drain is over within five minutes: who moved does not move back
    cluster.publish("1.3")
    answer = segment(cluster, owner, 3, 9)
    assert answer.decision["rule"] == "moved"
    assert answer.decision["node"] == heir
    assert segment(cluster, cluster.origins[heir], 3, 9).status == 200
    assert segment(cluster, owner, 777).status == 200
    # but does when the node it moved to fails
    cluster.publish("1.4", **{heir: "down"})
    assert segment(cluster, owner, 3, 10).decision["rule"] == "owner"


def test_a_draining_node_with_nobody_else_goes_on_serving(cluster):
    cluster = cluster(names=("origin1",))
    cluster.publish("1.1")
    cluster.publish("1.2", origin1="draining")
    assert segment(cluster, cluster.origins["origin1"]).status == 200


def test_a_changing_owner_set_moves_nobody_to_and_fro(cluster):
    cluster = cluster()
    cluster.publish("1.1", [("film", "hot", 4)])
    nodes = list(cluster.origins.values())
    for i, node in enumerate(nodes):
        assert segment(cluster, node, 100 + i).status == 200
    # owned by one, by all, by one ...: plays stay where they came to
    for turn in range(4):
        cluster.publish(f"2.{turn}", [("film", "hot", 4)] if turn % 2 else [])
        for i, node in enumerate(nodes):
            answer = segment(cluster, node, 100 + i, turn + 1)
            assert answer.status == 200
            assert answer.decision["rule"] in ("owner", "stay")
    # who is new goes to the owner
    cluster.publish("3.1")
    owner = cluster.owner("film")
    for node in nodes:
        answer = segment(cluster, node, 200)
        assert answer.decision["node"] == owner


def test_disagreeing_tables_make_one_move_of_it(cluster):
    cluster = cluster()
    cluster.publish("1.1")
    first = cluster.owner("film")
    cluster.publish("1.2", only=("redirector",), **{first: "down"})
    second = cluster.owner("film")
    # `first` alone believes that `second` owns the film, the rest the reverse
    cluster.publish("1.2", only=(first,), **{first: "draining"})
    seen = []
    for number in range(6):
        url = cluster.origins[first].url \
            + cluster.path("film", 1, f"v1/v0/{number}.m4s")
        answer, url, redirects = cluster.follow(url)
        assert answer.status == 200 and redirects <= 2
        seen.append(cluster.node_at(url).name)
    assert len(set(seen)) == 1, seen


def test_a_spilled_play_stays_where_it_was_taken(cluster):
    cluster = cluster("redirect_capacity 20r/s;")
    cluster.publish("1.1")
    owner = cluster.origins[cluster.owner("film")]
    fill(owner, cluster)
    answer, url, redirects = cluster.follow(owner.url + cluster.path("film", 5))
    taker = cluster.node_at(url)
    assert redirects == 1 and taker is not owner
    time.sleep(1.2) # the owner has room again
    for number in range(3):
        answer = segment(cluster, taker, 5, number)
        assert answer.status == 200
        assert answer.decision["rule"] == "spilled"
    # nor does the owner take it back when it is asked
    assert segment(cluster, owner, 5, 4).decision["node"] == taker.name


# ---- what a viewer does not reach ----

def test_retries_lead_elsewhere_and_the_play_stays_there(cluster):
    cluster = cluster()
    cluster.publish("1.1")
    owner = cluster.owner("film")
    path = cluster.path("film")
    names = []
    for retry in range(len(NAMES)):
        answer = ask(cluster.redirector.port, f"{path}?retry={retry}&x=y")
        assert answer.status == 302
        assert answer.location.endswith(
            "?x=y&hop=1" if retry == 0 else "?x=y&spill=1")
        assert answer.decision["rule"] == ("retry" if retry else "only")
        names.append(answer.decision["node"])
    assert names[0] == owner and sorted(names) == sorted(NAMES)

    # who takes it keeps it, though the owner is well
    url = cluster.redirector.url + path + "?retry=1"
    answer, at, _ = cluster.follow(url)
    assert answer.status == 200 and cluster.node_at(at).name == names[1]
    base = at.partition("?")[0].rpartition("/")[0]
    answer, _, redirects = cluster.follow(base + "/v0/1.m4s")
    assert (answer.status, redirects) == (200, 0)
