# SPDX-License-Identifier: Apache-2.0
"""Runs vodst-sim for the benches that need no machine: its figures are the
same everywhere and beside whatever else runs."""

import json
import os
import pathlib
import subprocess

TREE = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("VODST_BUILD", TREE / "build"))

# Virtual; with demand that is measured by reports a minute costs much more.
DURATION = os.environ.get("BENCH_DURATION", "30m")
DURATION_MEASURED = os.environ.get("BENCH_DURATION", "5m")


def run(*flags, **options):
    """The figures of one simulation; NaN where there was nothing to measure."""
    given = [f"--{name.replace('_', '-')}={value}"
             for name, value in options.items()]
    done = subprocess.run(
        [BUILD / "programs" / "sim" / "vodst-sim", "--json", *flags, *given],
        check=True, stdout=subprocess.PIPE, text=True)
    return {name: float("nan") if value is None else value
            for name, value in json.loads(done.stdout).items()}
