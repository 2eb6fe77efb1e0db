#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The rules of the tree that no compiler checks.

Includes point one way, each public header compiles alone, every source names
its licence, every ADR and folder that a document links to is there, and a
module's config names all of its sources.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent
MAY_INCLUDE = {
    "core": {"core"},
    "media": {"core", "media"},
    "platform": {"core", "media", "platform"},
    "modules": {"core", "media", "modules"},
    "programs": {"core", "media", "platform", "programs"},
}
FORBIDDEN_CALLS = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets)\s*\(")


def tracked():
    """What git tracks, or would: new files count before they are added."""
    out = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=TOP, capture_output=True, text=True, check=True).stdout
    return [TOP / line for line in out.splitlines() if (TOP / line).is_file()]


def check_includes(path, text):
    folder = path.relative_to(TOP).parts[0]
    if folder not in MAY_INCLUDE:
        return
    for included in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.M):
        target = included.split("/")[0]
        if target in MAY_INCLUDE and target not in MAY_INCLUDE[folder]:
            yield f"{folder}/ must not include {included}"
        if "/" not in included and (TOP / "core" / included).exists():
            yield f"write the folder too: {included}"


def check_source(path, text):
    head = "\n".join(text.splitlines()[:2])
    if "SPDX-License-Identifier: Apache-2.0" not in head:
        yield "no SPDX line at the top"
    for call in FORBIDDEN_CALLS.findall(text):
        yield f"{call}() has no bound; use buffer_* or snprintf"
    yield from check_includes(path, text)


def check_header_alone(path):
    if path.relative_to(TOP).parts[0] not in ("core", "media", "platform"):
        return
    guard = str(path.relative_to(TOP)).upper()
    guard = re.sub(r"[^A-Z0-9]", "_", guard)
    if guard not in path.read_text():
        yield f"the guard should be {guard}"
    run = subprocess.run(
        ["cc", "-std=gnu11", "-D_GNU_SOURCE", "-fsyntax-only", f"-I{TOP}",
         "-x", "c", "-include", str(path), "/dev/null"],
        capture_output=True, text=True)
    if run.returncode != 0:
        yield "does not compile alone: " + run.stderr.strip()[:300]


def check_links(path, text):
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target and not (path.parent / target).exists():
            yield f"links to {target}, which is not there"


def check_config(path):
    """What nginx's own build would compile; `auto/module` reads it there."""
    folder = path.parent
    with tempfile.TemporaryDirectory() as auto:
        pathlib.Path(auto, "auto").mkdir()
        pathlib.Path(auto, "auto/module").write_text("echo $ngx_module_srcs")
        run = subprocess.run(
            ["sh", "-c", '. "$0"', str(path)], cwd=auto, check=True,
            env={"ngx_addon_dir": str(folder)}, capture_output=True, text=True)
    named = {pathlib.Path(name).resolve() for name in run.stdout.split()}
    own = {source for source in folder.glob("*.c")
           if not re.search(r"_(test|fuzz)\.c$|_test_", source.name)}
    for source in own - named:
        yield f"does not name {source.name}"
    for source in named:
        if not source.exists():
            yield f"names {source}, which is not there"


def main():
    problems, count = [], 0
    for path in tracked():
        checks = []
        if path.suffix in (".c", ".h"):
            text = path.read_text()
            checks.append(check_source(path, text))
            if path.suffix == ".h":
                checks.append(check_header_alone(path))
        elif path.suffix == ".md":
            checks.append(check_links(path, path.read_text()))
        elif path.match("modules/*/config"):
            checks.append(check_config(path))
        count += bool(checks)
        for check in checks:
            problems += [f"{path.relative_to(TOP)}: {p}" for p in check]
    print("\n".join(problems) or f"{count} files are tidy")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
