// SPDX-License-Identifier: Apache-2.0
/* What Shaka Player's own sources read of a PSSH box in base64: a line of JSON
 * with the systems and, of PlayReady, the header's version and KIDs. The classes
 * are not exported by its builds. */
import { readFileSync, readdirSync } from 'node:fs';
import vm from 'node:vm';

const root = new URL('node_modules/shaka-player/lib/', import.meta.url);
const sources = {};
for (const name of readdirSync(root, { recursive: true })) {
  if (!name.endsWith('.js')) continue;
  const text = readFileSync(new URL(name, root), 'utf8');
  for (const [, provided] of text.matchAll(/^goog\.provide\('(.*)'\)/gm))
    sources[provided] = text;
}

const context = vm.createContext({ console, TextDecoder, atob, btoa });
context.window = context.globalThis = context;
const done = new Set(['goog.asserts', 'shaka.log']);
const place = (name) => name.split('.').reduce(
  (at, part) => at[part] ??= {}, context);
const nothing = new Proxy({}, { get: () => () => {} });
context.goog = {
  provide: (name) => place(name.slice(0, name.lastIndexOf('.'))),
  require: load, requireType() {}, asserts: nothing, DEBUG: false,
};
context.shaka = { log: nothing };
function load(name) {
  if (done.has(name)) return;
  done.add(name);
  vm.runInContext(sources[name], context, { filename: name });
}
load('shaka.util.Pssh');
load('shaka.drm.PlayReady');
const { Pssh } = context.shaka.util;
const box = new Uint8Array(Buffer.from(process.argv[2], 'base64'));
const read = new Pssh(box);
const out = { systems: read.systemIds, kids: [] };
if (read.systemIds[0].startsWith('9a04f079')) {
  const header = context.shaka.drm.PlayReady.getPlayReadyHeaderObject_(
    Pssh.getPsshData(box));
  out.version = header.attributes.version;
  const walk = (node) => {
    if (node.tagName === 'KID') out.kids.push(node.attributes.VALUE);
    for (const child of node.children ?? []) walk(child);
  };
  walk(header);
}
console.log(JSON.stringify(out));
