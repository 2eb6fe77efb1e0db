# SPDX-License-Identifier: Apache-2.0
"""Runs vodst-sim for the benches that need no machine: its figures are the
same everywhere and beside whatever else runs."""

import concurrent.futures
import json
import os
import pathlib
import subprocess

TREE = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("VODST_BUILD", TREE / "build"))

# Virtual; with demand that is measured by reports a minute costs much more.
DURATION = os.environ.get("BENCH_DURATION", "30m")
DURATION_MEASURED = os.environ.get("BENCH_DURATION", "5m")
# Of the nodes' names: what a node owns follows from its name.
NAME_SETS = int(os.environ.get("BENCH_NAME_SETS", "6"))


def run(*flags, **options):
    """The figures of one simulation; NaN where there was nothing to measure."""
    given = [f"--{name.replace('_', '-')}={value}"
             for name, value in options.items()]
    done = subprocess.run(
        [BUILD / "programs" / "sim" / "vodst-sim", "--json", *flags, *given],
        check=True, stdout=subprocess.PIPE, text=True)
    return {name: float("nan") if value is None else value
            for name, value in json.loads(done.stdout).items()}


def run_each(*flags, names, **options):
    """The figures with each set of names, on all cores."""
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(
            lambda name_set: run(*flags, names=name_set, **options), names))
