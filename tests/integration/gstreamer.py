# SPDX-License-Identifier: Apache-2.0
"""GStreamer's player, which follows redirects and does not steer."""

import subprocess


class GStreamer:
    """Plays a URL to its end, `frame_s` for each frame: 0 is as fast as it
    can. `player` is playbin or playbin3: each has an HLS of its own. Nothing
    waits for the first sound: playbin at times stands still before that, in
    FFmpeg's own transport streams as well (ADR 25)."""

    def __init__(self, url, folder, player="playbin3", frame_s=0):
        self.shown = folder / "frames"
        pace = f"identity sleep-time={int(frame_s * 1e6)}"
        with self.shown.open("w") as shown:
            self.process = subprocess.Popen(
                ["gst-launch-1.0", "-q", player, f"uri={url}",
                 f"video-sink={pace} ! checksumsink",
                 "audio-sink=fakesink sync=false async=false"],
                stdin=subprocess.DEVNULL, stdout=shown,
                stderr=subprocess.PIPE, text=True)

    def frames(self, timeout=120):
        """Of the whole film, with no complaint: the time of each and a digest
        of its pixels."""
        _, said = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0 and said == "", said
        return self.shown.read_text().splitlines()
