#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks load_loop.pml with Spin: the model itself, or all of its mutants.

check.py holds [-DNAME...]   no error in any state that can be reached
check.py ends [-DNAME...]    no run goes on for ever
check.py mutants             each mutant breaks the property it should
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

MODEL = pathlib.Path(__file__).resolve().parent / "load_loop.pml"
MEMORY_MB = 1900
SKIPPED = 77  # Meson's
MUTANTS = [  # flags, the property that they break
    (["-DMUTANT_BACKWARDS"], "forward"),
    (["-DMUTANT_FORGET"], "forward"),
    (["-DMUTANT_TERM"], "unique"),
    (["-DMUTANT_SUM"], "sums"),
    (["-DMUTANT_BASE"], "progress"),
    (["-DMUTANT_OUTGROW"], "progress"),
    (["-DSTATIC", "-DMUTANT_BACKWARDS"], "forward"),
    (["-DSTATIC", "-DMUTANT_FORGET"], "forward"),
    (["-DSTATIC", "-DMUTANT_TERM"], "unique"),
    (["-DSTATIC", "-DMUTANT_SUM"], "sums"),
    (["-DSTATIC", "-DMUTANT_BASE"], "progress"),
    (["-DSTATIC", "-DMUTANT_STAY"], "progress"),
]


def pan(flags, compiler_flags, arguments):
    """What the verifier made of the model says."""
    with tempfile.TemporaryDirectory() as folder:
        def run(*command, may_fail=False):
            done = subprocess.run(command, cwd=folder, text=True,
                                  stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            if done.returncode != 0 and not may_fail:
                sys.exit(f"{' '.join(command)}:\n{done.stdout}")
            return done.stdout
        run("spin", "-a", *flags, str(MODEL))
        # all state is shared: there is no order of steps to leave out
        run("cc", "-w", "-DNOREDUCE", "-DNOBOUNDCHECK",
            f"-DMEMLIM={MEMORY_MB}", *compiler_flags, "-o", "pan", "pan.c")
        return run("./pan", *arguments, may_fail=True)


def figures(output):
    states = re.search(r"^\s*(\S+) states, stored", output, re.M)
    seconds = re.search(r"elapsed time (\S+) seconds", output)
    megabytes = re.search(r"(\S+)\s+total actual memory", output)
    return (f"{int(float(states[1]))} states, "
            f"{seconds[1] if seconds else '0'} s, {megabytes[1]} MB")


def check_model(flags, compiler_flags, arguments):
    output = pan(flags, compiler_flags, arguments)
    is_complete = not re.search(
        r"not completed|max search depth|truncated|limit reached", output)
    if "errors: 0" not in output or not is_complete:
        sys.exit(output)
    print(" ".join(flags), figures(output))


def check_mutants():
    survivors = []
    for flags, broken in MUTANTS:
        output = pan(flags, ["-O0", "-DSAFETY"], ["-m10000"])
        found = re.search(r"assertion violated (\w+)", output)
        name = found[1] if found else "nothing"
        print(f"{' '.join(flags)} breaks {name}: {figures(output)}")
        if name != broken:
            survivors.append(f"{' '.join(flags)} should break {broken}")
    output = pan(["-DMUTANT_IDLE", "-DFAULTS=0"], ["-O0", "-DNP"],
                 ["-l", "-m100000"])
    if "non-progress cycle" not in output:
        survivors.append("-DMUTANT_IDLE should go on for ever")
    sys.exit("\n".join(survivors) or 0)


def main():
    what, flags = sys.argv[1], sys.argv[2:]
    if not shutil.which("spin"):
        print("spin is not installed: ./dev deps")
        sys.exit(SKIPPED)
    if what == "holds":
        check_model(flags, ["-O2", "-DSAFETY"], ["-m10000"])
    elif what == "ends":
        # no state is marked as progress, so each cycle is one without
        check_model(flags, ["-O2", "-DNP"], ["-l", "-m100000"])
    else:
        check_mutants()


if __name__ == "__main__":
    main()
