# SPDX-License-Identifier: Apache-2.0
"""A node that serves films of a folder with the package module. It is its own
storage, too: what comes through a fill it asks itself for."""

import subprocess

import requests

from browser import PLAYER_LOCATIONS
from nginx_instance import NginxInstance
from ports import free_port

# for `http`: slices stay where they came
SLICES_KEPT = """
    proxy_cache_path cache keys_zone=fill:1m use_temp_path=off;
    proxy_cache fill;
    proxy_cache_key $uri?$package_slice_range;
    proxy_cache_valid 200 206 30d;
"""


class PackageNode(NginxInstance):
    """`server` stands in its server{}, where package_fill names /slices/, and
    `http` before that."""

    def __init__(self, folder, root, server, http=""):
        port = free_port()
        super().__init__(folder, f"""
            {http}
            server {{
                listen 127.0.0.1:{port};
                {server}
                location /slices/ {{
                    internal;
                    proxy_set_header Range $package_slice_range;
                    proxy_pass http://127.0.0.1:{port}/stored/;
                }}
                location /stored/ {{ alias {root}/; }}
                {PLAYER_LOCATIONS}
            }}""", port, modules=("package",))

    def get(self, path, **arguments):
        return requests.get(self.url + path, timeout=20, **arguments)


def film_tracks(folder, seconds, *video, gop=24):
    """v0.mp4, with B-frames and a rate that no millisecond divides, and a0.mp4
    with priming."""
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i",
         f"testsrc2=s=320x180:r=24000/1001:d={seconds}", "-f", "lavfi", "-i",
         f"sine=440:r=44100:d={seconds}", "-map", "0:v", *video, "-c:v",
         "libx264", "-preset", "veryfast", "-bf", "3", "-g", str(gop),
         "-sc_threshold", "0", "-pix_fmt", "yuv420p", folder / "v0.mp4",
         "-map", "1:a", "-c:a", "aac", folder / "a0.mp4"], check=True)
