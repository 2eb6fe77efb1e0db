// SPDX-License-Identifier: Apache-2.0
/* What GPAC's MP4Box.js reads of each file named, an init segment and segments
 * one behind the other: a line of JSON with the boxes and their fields, the
 * samples, and what it complained of. */
import { readFileSync } from 'node:fs';
import { createFile, Log } from 'mp4box';

/* Of its own doing: it does not know that files have a styp for each segment,
 * and reads on behind FLAC's last metadata block instead of before it. */
const USUAL = /multiple boxes of type styp|box 'dfLa' read \d+ more bytes/;

const isBox = (value) => value !== null && typeof value === 'object'
  && !Array.isArray(value) && !ArrayBuffer.isView(value);

function described(box) {
  const out = { boxes: [], entries: [] };
  for (const [name, value] of Object.entries(box)) {
    if (['number', 'string'].includes(typeof value)) out[name] = value;
    else if (name === 'data') continue;
    else if (ArrayBuffer.isView(value)) out[name] = Array.from(value);
    else if (Array.isArray(value) && value.every((v) => !isBox(v)))
      out[name] = value;
  }
  out.type ??= box.type ?? box.grouping_type;
  out.boxes = (box.boxes ?? []).map(described);
  out.entries = (box.entries ?? []).filter(isBox).map(described);
  return out;
}

function read(path) {
  const complaints = [];
  console.warn = console.error = (...words) => {
    const text = words.slice(1).join(' ');
    if (!USUAL.test(text)) complaints.push(text);
  };
  const bytes = readFileSync(path);
  const buffer = bytes.buffer.slice(bytes.byteOffset,
    bytes.byteOffset + bytes.length);
  buffer.fileStart = 0;
  const file = createFile(true);
  file.appendBuffer(buffer, true);
  file.flush();
  const [track] = file.getInfo().tracks;
  return {
    complaints,
    codec: track.codec,
    timescale: track.timescale,
    boxes: file.boxes.map(described),
    samples: file.getTrackSamplesInfo(track.id).map((s) => ({
      dts: s.dts, cts: s.cts, duration: s.duration, size: s.size,
      offset: s.offset, isSync: s.is_sync, fragment: s.moof_number,
    })),
  };
}

Log.setLogLevel(Log.warn);
for (const path of process.argv.slice(2))
  process.stdout.write(`${JSON.stringify(read(path))}\n`);
