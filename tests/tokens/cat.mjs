// SPDX-License-Identifier: Apache-2.0
// Common Access Tokens by another implementation. Reads a JSON list of jobs
// from standard input and writes the list of their results:
//
//   {"make": {claims}, "kid": "7", "key": HEX}    the token
//   {"read": TOKEN, "kid": "7", "key": HEX, "url": URL, "ip": ADDRESS}
//                                                 its claims, when the token is
//                                                 authentic and acceptable
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// not its index, which would also load what counts tokens in a database
const { CommonAccessTokenFactory } =
  createRequire(import.meta.url)('./node_modules/@eyevinn/cat/lib/cat.js');

async function make({ make, kid, key }) {
  const token = CommonAccessTokenFactory.fromDict(make);
  await token.mac({ k: Buffer.from(key, 'hex'), kid }, 'HS256');
  return Buffer.from(token.raw).toString('base64url');
}

async function read({ read, kid, key, url, ip }) {
  const token = await CommonAccessTokenFactory.fromMacedToken(
    read, { k: Buffer.from(key, 'hex'), kid }, true);
  await token.isAcceptable({ url: new URL(url), ip });
  return token.claims;
}

const results = [];
for (const job of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    results.push(job.make ? await make(job) : await read(job));
  } catch (error) {
    results.push({ error: String(error) });
  }
}
process.stdout.write(JSON.stringify(results));
