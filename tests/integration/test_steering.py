# SPDX-License-Identifier: Apache-2.0
"""Content steering: what playlists and MPDs declare, what the redirector
answers, and that hls.js, dash.js and Shaka Player change origin by it in the
middle of a play. What does not steer is moved by the redirect of each
segment."""

import collections
import concurrent.futures
import json
import pathlib
import re
import subprocess
import time
import urllib.parse
from xml.etree import ElementTree

import pytest

from browser import PLAYER_LOCATIONS
from conftest import film_make
from gstreamer import GStreamer
from http_probe import ask
from nginx_cluster import Cluster, Node
from nginx_instance import BUILD, sign, wait_for

INGEST = BUILD / "modules" / "package" / "package_test_ingest"
FILM_S, SEGMENT_S, TTL_S = 60, 2, 10
NAMES = ("origin1", "origin2", "origin3")
HLS, DASH = "v1/master.m3u8", "v1/manifest.mpd"
MPD = "{urn:mpeg:dash:schema:mpd:2011}"

REDIRECTOR = f"""
    redirect_cdn CDN;
    location /steering/ {{ redirect_steering /steering/ ttl={TTL_S}s; }}
    {PLAYER_LOCATIONS}
"""

ORIGIN = """
    location /p/ {
        redirect /p/;
        package $redirect_path;
        package_root FILMS;
        package_pathways $redirect_pathways;
    }
"""


class Steered(Cluster):
    """With a CDN's edge of its own; every part knows the others' URLs only
    once all run, so the configuration is written twice."""

    def __init__(self, folder, films):
        self.films = films
        origin = ORIGIN.replace("FILMS", str(films))
        more = {"modules": ("redirect", "package")}
        super().__init__(folder, NAMES, origin, **more)
        self.cdn = self.start(Node(
            folder, "cdn", "redirect_self cdn;" + origin,
            "redirect_node cdn http://127.0.0.1:1;", **more))
        self.settle(self.redirector, "location /p/ { redirect /p/; }"
                    + REDIRECTOR.replace("CDN", self.cdn.url))
        for name, node in self.origins.items():
            self.settle(node, f"redirect_self {name};{origin}"
                        f"redirect_cdn {self.cdn.url};"
                        "redirect_pull $http_x_pull;"
                        f"redirect_pathways {self.redirector.url}/steering/;")

    @staticmethod
    def settle(node, inside):
        """The server's own part anew; what stands before it stays."""
        text = (node.folder / "nginx.conf").read_text()
        head = text.rpartition("access_log off; }")[0]
        (node.folder / "nginx.conf").write_text(
            head + "access_log off; }\n" + inside + "}\n}\n")
        status, said = node.check()
        assert status == 0, said
        node.reload()

    def publish(self, version, rows=(), only=None, **states):
        nodes = [node.name for node in self.running if node is not self.cdn]
        super().publish(version, rows, only or nodes, **states)

    def master(self, content, session=1, file=HLS):
        """(the playlist or MPD, the URL that gave it)."""
        answer, url, _ = self.follow(self.redirector.url
                                     + self.path(content, session, file))
        assert answer.status == 200
        return answer, url

    def steer(self, uri, **arguments):
        if arguments:
            uri += "&" + urllib.parse.urlencode(arguments)
        assert uri.startswith(self.redirector.url)
        return ask(self.redirector.port, uri[len(self.redirector.url):])


@pytest.fixture(name="films", scope="module")
def _films(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    film = film_make(root / "film.mp4", FILM_S, "320x180")
    folder = root / "film" / "v1"
    folder.mkdir(parents=True)
    for track, stream in (("v0", "0:v"), ("a0", "0:a")):
        subprocess.run(["ffmpeg", "-v", "error", "-i", film, "-map", stream,
                        "-c", "copy", folder / f"{track}.mp4"], check=True)
    (root / "film" / "v1" / "v1.mp4").write_bytes(
        (folder / "v0.mp4").read_bytes())
    subprocess.run([INGEST, folder, str(1000 * SEGMENT_S), "v0", "v1", "a0"],
                   check=True)
    return root


@pytest.fixture(name="cluster")
def _cluster(tmp_path, films):
    cluster = Steered(tmp_path, films)
    cluster.publish("1.1")
    yield cluster
    cluster.stop()


@pytest.fixture(name="calm", scope="module")
def _calm(tmp_path_factory, films):
    """For tests that only ask: nothing happens to it."""
    cluster = Steered(tmp_path_factory.mktemp("calm"), films)
    cluster.publish("1.1")
    yield cluster
    cluster.stop()


def attributes(line):
    return {name: value.strip('"') for name, value in re.findall(
        r'([A-Z-]+)=("[^"]*"|[^,]*)', line.partition(":")[2])}


def steering_of(playlist):
    line = next(line for line in playlist.splitlines()
                if line.startswith("#EXT-X-CONTENT-STEERING:"))
    return attributes(line)


def pathways_of(playlist, base):
    """pathway -> the URLs of its variants' and sound's playlists."""
    found = collections.defaultdict(set)
    groups = {}
    lines = playlist.splitlines()
    for line, following in zip(lines, lines[1:] + [""]):
        said = attributes(line)
        if line.startswith("#EXT-X-MEDIA:"):
            groups[said["GROUP-ID"]] = urllib.parse.urljoin(base, said["URI"])
        elif line.startswith("#EXT-X-STREAM-INF:"):
            found[said["PATHWAY-ID"]] |= {
                urllib.parse.urljoin(base, following), groups[said["AUDIO"]]}
    return found


# ---- the playlist ----

def test_a_playlist_declares_owners_and_the_cdn_with_what_plays(calm):
    answer, url = calm.master("film")
    owner = calm.owner("film")
    playlist = answer.body.decode()
    assert "no-store" in answer.headers["cache-control"]
    said = steering_of(playlist)
    assert said["PATHWAY-ID"] == owner
    pathways = pathways_of(playlist, url)
    assert set(pathways) >= {owner, "cdn"} and len(pathways) == 3
    nodes = {**calm.origins, "cdn": calm.cdn}
    for name, urls in pathways.items():
        assert len(urls) == 3 # two variants and the sound
        for one in urls:
            assert one.startswith(nodes[name].url + "/p/")
            # a new play at a node that owns nothing is sent on, and plays
            answer, _, _ = calm.follow(one)
            assert answer.status == 200 and b"#EXTINF" in answer.body


class Mpd:
    """What an MPD says of its places; `base` is what it was asked for."""

    def __init__(self, text, base):
        root = ElementTree.fromstring(text)
        self.places = [(one.get("serviceLocation"),
                        urllib.parse.urljoin(base, one.text))
                       for one in root.iter(MPD + "BaseURL")]
        self.steering = root.find(MPD + "ContentSteering")
        template = root.find(".//" + MPD + "SegmentTemplate")
        self.files = [template.get(name).replace("$RepresentationID$", "v0")
                      .replace("$Number$", "0")
                      for name in ("initialization", "media")]
        self.sets = [[one.get("id") for one in group.iter(
            MPD + "Representation")] for group in root.iter(
                MPD + "AdaptationSet")]


def test_an_mpd_declares_what_the_playlist_does(calm):
    owner = calm.owner("film")
    playlist, url = calm.master("film")
    said = steering_of(playlist.body.decode())
    answer, url = calm.master("film", file=DASH)
    assert answer.headers["content-type"] == "application/dash+xml"
    assert "no-store" in answer.headers["cache-control"]
    mpd = Mpd(answer.body, url)
    assert mpd.steering.text == said["SERVER-URI"]
    assert mpd.steering.get("defaultServiceLocation") == owner
    nodes = {**calm.origins, "cdn": calm.cdn}
    assert {name for name, _ in mpd.places} \
        == set(pathways_of(playlist.body.decode(), url))
    # dash.js reads nothing behind a relative one
    assert mpd.places[-1][0] == owner
    assert mpd.sets == [["v0", "v1"], ["a0"]]
    for name, base in mpd.places:
        assert base.startswith(nodes[name].url + "/p/")
        for file in mpd.files:
            answer = ask(nodes[name].port, base[len(nodes[name].url):] + file)
            assert answer.status == 200, (name, file)


def test_the_mpd_of_a_spilled_play_says_so(calm):
    other = next(node for name, node in calm.origins.items()
                 if name != calm.owner("film"))
    path = calm.path("film", 2, DASH) + "?hop=1&spill=1"
    mpd = Mpd(ask(other.port, path).body, other.url + path)
    assert re.search(r"\?pathways=[a-z0-9,]+&moved=\d+$", mpd.steering.text)


def test_an_mpd_of_a_lone_node_has_no_steering(cluster):
    alone = cluster.origins["origin1"]
    Steered.settle(alone, "redirect_self origin1;" + ORIGIN.replace(
        "FILMS", str(cluster.films)))
    path = cluster.path("film", file=DASH) + "?hop=2"
    answer = ask(alone.port, path)
    assert answer.headers.get("cache-control") is None
    mpd = Mpd(answer.body, alone.url + path)
    assert mpd.places == [] and mpd.steering is None
    assert mpd.files == ["v0/init.mp4", "v0/0.m4s"]


def test_a_pathway_keeps_who_fled_to_it_though_its_table_names_another(
        cluster):
    answer, url = cluster.master("film")
    owner = cluster.owner("film")
    name, urls = next((name, urls) for name, urls in
                      pathways_of(answer.body.decode(), url).items()
                      if name not in (owner, "cdn"))
    node = cluster.origins[name]
    cluster.origins[owner].stop()
    for one in urls:
        path = one[len(node.url):]
        assert ask(node.port, path).status == 200
        segment = path.partition("?")[0].replace("index.m3u8", "0.m4s")
        answer = ask(node.port, segment)
        assert answer.status == 200 and answer.decision["rule"] == "stay"


def test_what_a_cdn_pulls_starts_on_the_cdn(calm):
    node = calm.origins[calm.owner("film")]
    answer = ask(node.port, calm.path("film"), headers={"X-Pull": "1"})
    said = steering_of(answer.body.decode())
    assert said["PATHWAY-ID"] == "cdn"
    assert node.name in pathways_of(answer.body.decode(), node.url + "/p/")
    assert "moved=" not in said["SERVER-URI"]


def test_a_playlist_of_a_lone_node_has_no_steering(cluster):
    alone = cluster.origins["origin1"]
    assert b"STEERING" not in ask(cluster.cdn.port,
                                  cluster.path("film")).body
    Steered.settle(alone, "redirect_self origin1;" + ORIGIN.replace(
        "FILMS", str(cluster.films)))
    answer = ask(alone.port, cluster.path("film") + "?hop=2")
    assert answer.status == 200 and b"STEERING" not in answer.body
    assert answer.headers.get("cache-control") is None


# ---- the answer ----

def test_the_answer_is_for_hls_and_dash_and_never_ends_a_players_steering(
        calm):
    answer, _ = calm.master("film")
    uri = steering_of(answer.body.decode())["SERVER-URI"]
    owner = calm.owner("film")
    answer = calm.steer(uri) # as Shaka does first
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "no-store"
    manifest = answer.json()
    assert manifest["VERSION"] == 1 and manifest["TTL"] == TTL_S
    assert manifest["PATHWAY-PRIORITY"][0] == owner
    assert len(manifest["PATHWAY-PRIORITY"]) == 3
    assert manifest["SERVICE-LOCATION-PRIORITY"] \
        == manifest["PATHWAY-PRIORITY"]
    # and what it says to ask next is good for the same
    again = calm.steer(manifest["RELOAD-URI"], _HLS_pathway=owner,
                       _HLS_throughput="5000000").json()
    assert again == manifest
    again = calm.steer(manifest["RELOAD-URI"], _DASH_pathway=f'"{owner}"',
                       _DASH_throughput="1").json()
    assert again == manifest


def test_a_token_that_ran_out_is_steered_but_gets_no_media(calm):
    token, = sign(calm.redirector.folder / "keys", [("film", 1)],
                  int(time.time()) - 10)
    answer = ask(calm.redirector.port, f"/steering/{token}/film")
    assert answer.status == 200
    assert len(answer.json()["PATHWAY-PRIORITY"]) >= 2
    for node in calm.running:
        for file in ("master.m3u8", "v0/index.m3u8", "v0/0.m4s"):
            assert ask(node.port, f"/p/{token}/film/v1/{file}").status == 403


@pytest.mark.parametrize("path, status", [
    ("/steering/" + "A" * 40 + "/film", 403),
    ("/steering/TOKEN/other", 403),
    ("/steering/TOKEN/film?pathways=a,,b", 400),
    ("/steering/TOKEN/film?told=%0d%0aX", 400),
    ("/steering/TOKEN/film?moved=-1", 400),
    ("/steering/TOKEN/film?_HLS_pathway=%", 400),
    ("/steering/TOKEN/film?x=" + "y" * 2000, 400),
    ("/steering/TOKEN/film/x", 400),
    ("/steering/TOKEN/", 400),
    ("/steering//film", 400),
    ("/steering/", 400),
    ("/steering/TOKEN/film?_HLS_pathway=nobody&y=%22", 200),
])
def test_a_bad_question_is_refused_with_what_no_player_stops_at(
        calm, path, status):
    token = calm.path("film").split("/")[2]
    answer = ask(calm.redirector.port, path.replace("TOKEN", token))
    assert answer.status == status


def test_the_answer_follows_the_table(cluster):
    owner = cluster.owner("film")
    answer, _ = cluster.master("film")
    uri = steering_of(answer.body.decode())["SERVER-URI"]

    def order(uri):
        return cluster.steer(uri).json()["PATHWAY-PRIORITY"]

    assert order(uri)[0] == owner
    cluster.publish("1.2", **{owner: "draining"})
    second = order(uri)[0]
    assert second not in (owner, "cdn") and order(uri)[-1] == owner
    reload = cluster.steer(uri).json()["RELOAD-URI"]
    # it has moved: the owner's return does not move it again
    cluster.publish("1.3")
    assert order(uri)[0] == owner
    assert order(reload)[0] == second
    # but a failure does
    cluster.publish("1.4", **{second: "down"})
    assert order(reload)[0] == owner
    # and critical contents go to the CDN
    cluster.publish("1.5", [("film", "critical", 3, 10000)])
    assert order(uri)[0] == "cdn"
    assert order(reload)[0] == second


def test_a_spilled_play_is_not_steered_back_at_once(calm):
    other = next(node for name, node in calm.origins.items()
                 if name != calm.owner("film"))
    answer = ask(other.port, calm.path("film", 3) + "?hop=1&spill=1")
    said = steering_of(answer.body.decode())
    assert said["PATHWAY-ID"] == other.name
    manifest = calm.steer(said["SERVER-URI"]).json()
    assert manifest["PATHWAY-PRIORITY"][0] == other.name
    since = int(re.search(r"moved=(\d+)", manifest["RELOAD-URI"])[1])
    later = manifest["RELOAD-URI"].replace(str(since), str(since - 301))
    assert calm.steer(later).json()["PATHWAY-PRIORITY"][0] \
        == calm.owner("film")


# ---- players ----

class Playing:
    def __init__(self, driver, cluster, player, file=HLS):
        self.driver = driver
        self.cluster = cluster
        url = urllib.parse.quote(cluster.redirector.url
                                 + cluster.path("film", 1, file), safe="")
        driver.get(f"{cluster.redirector.url}/player.html"
                   f"?player={player}&url={url}")

    def seen(self):
        return self.driver.execute_script(
            "return {...window.seen, now: Date.now(),"
            " time: document.getElementById('video').currentTime,"
            " frames: document.getElementById('video')"
            ".getVideoPlaybackQuality().totalVideoFrames}")

    def until(self, condition, seconds, what):
        try:
            return wait_for(lambda: (seen := self.seen()) and condition(seen)
                            and seen, seconds, what, 0.1)
        except TimeoutError as error:
            raise AssertionError(f"{error}: {self.seen()}") from None

    def host(self, name):
        node = self.cluster.cdn if name == "cdn" \
            else self.cluster.origins[name]
        return node.url.removeprefix("http://")

    def moves_to(self, name, before):
        """Waits until segments are asked from a node; seconds it took."""
        host = self.host(name)
        seen = self.until(lambda seen: any(
            one["asked"] == host for one in seen["segments"]
            if one["at"] > before["now"]), TTL_S + 2 * SEGMENT_S + 2,
            f"segments from {name}")
        first = next(one["at"] for one in seen["segments"]
                     if one["asked"] == host and one["at"] > before["now"])
        return (first - before["now"]) / 1000


@pytest.mark.parametrize("player, file", [
    ("hls", HLS), ("shaka", HLS), ("dash", DASH), ("shaka", DASH)])
def test_a_player_changes_origin_within_one_ttl_without_a_stall(
        cluster, browser, player, file):
    first = cluster.owner("film")
    playing = Playing(browser, cluster, player, file)
    before = playing.until(lambda seen: seen["time"] > 3 and seen["steering"],
                           20, "3 s of the film")
    assert {one["answered"] for one in before["segments"]} \
        == {playing.host(first)}

    # the node itself does not hear of it, so that it redirects nobody and
    # steering alone moves the play
    others = [name for name in ("redirector", *NAMES) if name != first]
    cluster.publish("1.2", only=others, **{first: "draining"})
    second = cluster.owner("film")
    took = playing.moves_to(second, before)
    # asked every TTL, and then the segment under way ends first
    assert took <= TTL_S + 2 * SEGMENT_S, took

    # back again within five minutes, it is not moved back
    cluster.publish("1.3")
    asked = len(playing.seen()["steering"])
    seen = playing.until(lambda seen: len(seen["steering"]) >= asked + 2, 30,
                         "two more steering manifests")
    assert seen["steering"][-1]["order"][0] == second
    # both video and sound come from there and from nowhere else
    late = [one for one in seen["segments"] if one["at"] > seen["now"] - 6000]
    assert {one["asked"] for one in late} == {playing.host(second)}
    assert {one["answered"] for one in late} == {playing.host(second)}
    assert seen["stalls"] == 0 and seen["errors"] == []
    # and what was played is all that there was to play
    assert seen["time"] > before["time"] + took + TTL_S
    assert seen["frames"] > 24 * (seen["time"] - 1)


def test_hls_js_goes_to_the_cdn_when_the_film_becomes_critical(cluster,
                                                               browser):
    playing = Playing(browser, cluster, "hls")
    before = playing.until(lambda seen: seen["time"] > 3, 20, "the film")
    cluster.publish("1.2", [("film", "critical", 3, 10000)])
    assert playing.moves_to("cdn", before) <= TTL_S + 2 * SEGMENT_S
    seen = playing.until(lambda seen: seen["time"] > before["time"] + 20, 40,
                         "playing on")
    assert seen["stalls"] == 0 and seen["errors"] == []


@pytest.mark.parametrize("player, file", [("hls", HLS), ("dash", DASH)])
def test_a_player_outlives_its_origin_by_the_pathways_it_knows(
        cluster, browser, player, file):
    first = cluster.origins[cluster.owner("film")]
    playing = Playing(browser, cluster, player, file)
    before = playing.until(lambda seen: seen["time"] > 3 and seen["steering"],
                           20, "the film")
    second = before["steering"][-1]["order"][1]
    first.stop()
    playing.moves_to(second, before)
    seen = playing.until(lambda seen: seen["time"] > before["time"] + 20, 40,
                         "playing on")
    assert seen["stalls"] == 0


@pytest.mark.parametrize("player", ["dash", "shaka"])
def test_an_mpd_plays_to_its_end_and_no_further(cluster, browser, player):
    playing = Playing(browser, cluster, player, DASH)
    playing.until(lambda seen: seen["time"] > 1, 20, "the film")
    browser.execute_script("document.getElementById('video').playbackRate = 4")
    seen = playing.until(lambda seen: seen["end"], 60, "the end")
    assert seen["end"]["time"] == pytest.approx(FILM_S, abs=0.05)
    # each is decoded once; a seek would decode some twice, or jump a gap
    assert seen["seeks"] == 0
    assert seen["end"]["frames"] == 24 * FILM_S
    assert seen["errors"] == []
    assert not [one for node in cluster.running for one in node.requests()
                if one[1] == 404 and one[2].startswith("/p/")]


# ---- a player without steering ----

def test_ffmpeg_is_moved_by_the_redirect_of_each_segment(cluster, tmp_path):
    first = cluster.owner("film")
    url = cluster.redirector.url + cluster.path("film")
    # at four times the pace of the film, from one rendition; it asks for
    # ranges, all of a file each
    ffmpeg = subprocess.Popen(
        ["ffmpeg", "-v", "error", "-nostdin", "-readrate", "4",
         "-i", url, "-map", "0:v:0", "-map", "0:a:0", "-c", "copy", "-f", "framecrc",
         tmp_path / "frames"], stderr=subprocess.PIPE, text=True)

    def served(name, after):
        return [one for one in cluster.origins[name].requests()
                if one[1] == 206 and one[2].endswith(".m4s")
                and one[0] > after]

    wait_for(lambda: len(served(first, 0)) > 8, what="some segments")
    cluster.publish("1.2", **{first: "draining"})
    second = cluster.owner("film")
    moved_at = time.time() + 1
    wait_for(lambda: len(served(second, moved_at)) > 8,
             what="segments from the other node")
    _, said = ffmpeg.communicate(timeout=60)
    # it remarks that a redirect names another host than its connection's
    remarks = [line for line in said.splitlines()
               if "Cannot reuse HTTP connection for different host" not in line]
    assert ffmpeg.returncode == 0 and remarks == [], remarks
    assert served(first, moved_at) == []
    frames = [line for line in
              (tmp_path / "frames").read_text().splitlines()
              if line.startswith("0,")]
    assert len(frames) == 24 * FILM_S
    # every segment of every play was answered well somewhere
    for node in cluster.origins.values():
        assert {one[1] for one in node.requests()} <= {200, 206, 302}


@pytest.mark.parametrize("player", ["playbin", "playbin3"])
def test_gstreamer_is_moved_by_the_redirect_of_each_segment(
        cluster, films, tmp_path, player):
    first = cluster.owner("film")
    # at four times the pace of the film
    playing = GStreamer(cluster.redirector.url + cluster.path("film"),
                        tmp_path, player, 0.01)

    def served(name, after=0):
        return [one for one in cluster.origins[name].requests()
                if one[1] == 200 and one[2].endswith(".m4s")
                and one[0] > after]

    wait_for(lambda: len(served(first)) > 8, what="some segments")
    cluster.publish("1.2", **{first: "draining"})
    second = cluster.owner("film")
    moved_at = time.time() + 1
    shown = playing.frames()
    assert served(first, moved_at) == [] and len(served(second)) > 8
    source = GStreamer((films / "film.mp4").as_uri(), tmp_path).frames()
    assert len(shown) == 24 * FILM_S and shown == source
    for node in cluster.origins.values():
        assert {one[1] for one in node.requests()} <= {200, 302}
