// SPDX-License-Identifier: Apache-2.0
/* What Widevine's published message (WidevinePsshData, of Shaka Packager) says of
 * the data of each PSSH box in base64, read by protobuf.js: a line of JSON each,
 * bytes in hex, the scheme by its letters. A field that the message has not is
 * an error: written anew, what was read has as many bytes. */
import protobuf from 'protobufjs/light.js';

const message = protobuf.Root.fromJSON({ nested: { WidevinePsshData: {
  fields: {
    algorithm: { id: 1, type: 'int32' },
    key_ids: { id: 2, type: 'bytes', rule: 'repeated' },
    provider: { id: 3, type: 'string' },
    content_id: { id: 4, type: 'bytes' },
    policy: { id: 6, type: 'string' },
    crypto_period_index: { id: 7, type: 'uint32' },
    grouped_license: { id: 8, type: 'bytes' },
    protection_scheme: { id: 9, type: 'uint32' },
  },
} } }).lookupType('WidevinePsshData');

const SYSTEM = 'edef8ba979d64acea3c827dcd51d21ed';

function read(text) {
  const box = Buffer.from(text, 'base64');
  /* size, "pssh", version 0 and flags, system, size of the data */
  if (box.length < 32 || box.readUInt32BE(0) !== box.length
      || box.toString('latin1', 4, 8) !== 'pssh' || box.readUInt32BE(8) !== 0
      || box.toString('hex', 12, 28) !== SYSTEM
      || box.readUInt32BE(28) !== box.length - 32)
    throw new Error('no box of Widevine, of version 0');
  const decoded = message.decode(box.subarray(32));
  if (message.encode(decoded).finish().length !== box.length - 32)
    throw new Error('fields that WidevinePsshData has not');
  const out = message.toObject(decoded, { arrays: true });
  out.key_ids = out.key_ids.map((id) => Buffer.from(id).toString('hex'));
  if ('protection_scheme' in out) {
    const letters = Buffer.alloc(4);
    letters.writeUInt32BE(out.protection_scheme);
    out.protection_scheme = letters.toString('latin1');
  }
  return out;
}

for (const text of process.argv.slice(2))
  console.log(JSON.stringify(read(text)));
