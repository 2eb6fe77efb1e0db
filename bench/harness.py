# SPDX-License-Identifier: Apache-2.0
"""What the benches share: a Zipf load from wrk, and CPU time per request of
two or more locations of one nginx against each other.

The variants are locations of one nginx, answered by one worker: where a process
lands in memory is worth up to ten percent here, more than what is measured, and
so hits all alike. Each round starts nginx anew, warms it, then measures short
slices in the order A B C, C B A, ..., so that what drifts hits all alike too.
The worker has one core, wrk the other.
"""

import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

TREE = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TREE / "tests" / "integration"))

from nginx_instance import NginxInstance  # noqa: E402
from ports import free_port  # noqa: E402

CONTENTS = 50_000
REQUESTS = 200_000  # sampled once; wrk goes round and round through them
CONNECTIONS = 32
# For large answers. With more, the kernel receives for wrk now in the worker's
# time and now in wrk's: the same answers cost 430 or 900 us. What lies unread
# in sockets at the end is work that no byte is counted for: that is little so
# as well.
CONNECTIONS_LARGE = int(os.environ.get("BENCH_CONNECTIONS", 2))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 11))
CYCLES = int(os.environ.get("BENCH_CYCLES", 3))  # in a round
SLICE_S = int(os.environ.get("BENCH_SLICE_S", 1))

WRK_SCRIPT = """\
local requests, at = {}, 0
function init(args)
    for line in io.lines(args[2]) do
        requests[#requests + 1] = wrk.format("GET", args[1] .. line)
    end
end
function request()
    at = at + 1
    if at > #requests then at = 1 end
    return requests[at]
end
function done(summary, latency)
    local e = summary.errors
    io.write(string.format(
        '\\n{"requests": %d, "bytes": %d, "errors": %d, "p99_us": %d}\\n',
        summary.requests, summary.bytes,
        e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(99)))
end
"""


def content_name(i):
    return f"movie-{i:06d}"


def zipf_sample(count=REQUESTS, contents=CONTENTS, seed=1):
    """Indexes of contents, 0 the most asked for, weight 1/rank."""
    weights = [1 / rank for rank in range(1, contents + 1)]
    return random.Random(seed).choices(range(contents), weights, k=count)


def scratch_folder():
    """On memory, so that no disk is in what is measured."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="vodst-bench-", dir=where)


def cpu_ns(pid):
    """Time on a CPU so far, user and system, by the scheduler's account."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
        return int(f.read().split()[0])


class Load:
    """wrk over a list of paths, the same for every variant but for the prefix
    that names its location."""

    def __init__(self, folder, paths):
        self.script = pathlib.Path(folder) / "zipf.lua"
        self.script.write_text(WRK_SCRIPT)
        self.paths = pathlib.Path(folder) / "paths"
        self.paths.write_text("\n".join(paths) + "\n")

    def run(self, nginx, prefix, seconds):
        """Returns (CPU ns of the worker per request, what wrk counted)."""
        (worker,) = nginx.worker_pids()
        before = cpu_ns(worker)
        done = subprocess.run(
            [*pinned(1), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s",
             "-s", str(self.script), nginx.url, "--", prefix, str(self.paths)],
            capture_output=True, text=True, check=True)
        spent = cpu_ns(worker) - before
        seen = json.loads(done.stdout.strip().rpartition("\n")[2])
        if seen["errors"]:
            raise RuntimeError(f"{seen['errors']} errors: {done.stdout}")
        return spent / seen["requests"], seen


def pinned(core):
    return ["taskset", "-c", str(core)] if os.cpu_count() > 1 else []


def affinity():
    return "worker_cpu_affinity 01;" if os.cpu_count() > 1 else ""


def start(folder, http, modules=()):
    """An nginx of one worker; http takes {port}."""
    port = free_port()
    return NginxInstance(
        folder, http.replace("{port}", str(port)), port, modules,
        main=f"{affinity()} error_log /dev/null crit;",
        http_defaults="access_log off; default_type text/plain; sendfile on;"
                      " keepalive_requests 1000000000;")


def compare(load, begin, variants):
    """begin: starts the nginx. variants: name -> prefix of its location, the
    baseline first; "again", a second location that does the same as the
    baseline, has the ratio that says what the others are worth. Returns
    name -> ratio to the baseline: the median over the rounds of the median
    of a round's cycles. Prints the way."""
    names = list(variants)
    base = names[0]
    ratios = {name: [] for name in names}
    costs = {name: [] for name in names}
    for number in range(1, ROUNDS + 1):
        cycles = []
        nginx = begin()
        try:
            for prefix in variants.values():
                load.run(nginx, prefix, 1)
            for cycle in range(CYCLES):
                order = names[::-1] if cycle % 2 else names
                cycles.append({name: load.run(nginx, variants[name],
                                              SLICE_S)[0]
                               for name in order})
        finally:
            nginx.stop()
        for name in names:
            costs[name] += [cycle[name] for cycle in cycles]
            ratios[name].append(statistics.median(
                cycle[name] / cycle[base] for cycle in cycles))
        print(f"round {number}: " + ", ".join(
            f"{name} {ratios[name][-1]:.3f}" for name in names), flush=True)
    for name in names:
        print(f"{name}: {statistics.median(costs[name]) / 1000:.2f} us "
              "CPU/request, ratios "
              + " ".join(f"{r:.3f}" for r in sorted(ratios[name])))
    return {name: statistics.median(r) for name, r in ratios.items()}
