// SPDX-License-Identifier: Apache-2.0
/*
 * What the platform says of itself, asked again and again while the page is
 * seen: how one content is placed (/where/ID), and all nodes (the manager's
 * status).
 */

const PERIOD_MS = 1000;
const TIMEOUT_MS = 3000;

async function ask(path) {
  const response = await fetch(path,
    { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${response.status}`);
  return response.json();
}

/* Calls `take` with each answer, or with null where there is none. */
function poll(pathNow, take) {
  const step = async () => {
    const path = pathNow();
    if (path && !document.hidden) {
      const answer = await ask(path).catch(() => null);
      if (path === pathNow()) take(answer);
    }
    setTimeout(step, PERIOD_MS);
  };
  step();
}

export const pollWhere = (contentNow, take) => poll(() => {
  const content = contentNow();
  return content ? `where/${encodeURIComponent(content)}` : null;
}, take);

export const pollStatus = (take) => poll(() => 'manager/v1/status', take);

export async function contentsAsk(after) {
  const query = new URLSearchParams({ limit: 24 });
  if (after) query.set('after', after);
  return ask(`api/v1/contents?${query}`);
}
