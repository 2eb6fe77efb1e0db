# SPDX-License-Identifier: Apache-2.0
"""nginx's own configure builds a module of what the module's `config` lists:
the sources that Meson's module is linked of, or it would not load.

    config_test.py MODULE.so...
"""

import pathlib
import re
import subprocess
import sys
import tempfile

FOLDER = pathlib.Path(__file__).resolve().parent


def listed(name):
    """By the config, as configure runs it."""
    with tempfile.TemporaryDirectory() as folder:
        auto = pathlib.Path(folder, "auto")
        auto.mkdir()
        (auto / "module").write_text('echo "$ngx_module_srcs"\n')
        said = subprocess.run(
            ["sh", "-euc", f"ngx_addon_dir={FOLDER / name} CFLAGS=\n"
             f". {FOLDER / name / 'config'}"], cwd=folder, check=True,
            capture_output=True, text=True).stdout
    paths = [pathlib.Path(path) for path in said.split()]
    assert all(path.is_file() for path in paths), paths
    return {path.name for path in paths}


def linked(module):
    """By the module's symbols, one of each source."""
    said = subprocess.run(["readelf", "-sW", module], check=True,
                          capture_output=True, text=True).stdout
    return set(re.findall(r" FILE +LOCAL +DEFAULT +ABS (\S+\.c)$", said, re.M))


def main():
    for module in map(pathlib.Path, sys.argv[1:]):
        name = re.fullmatch("ngx_http_(.*)_module", module.stem)[1]
        # the table of the module, and the C library's start
        ours = {source for source in linked(module)
                if not re.search(r"_modules\.c$|^crt", source)}
        assert ours == listed(name), \
            f"modules/{name}/config: {sorted(ours ^ listed(name))}"


main()
