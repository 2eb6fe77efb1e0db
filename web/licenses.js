// SPDX-License-Identifier: Apache-2.0
/*
 * The license exchange of a protected play: hls.js asks for keys with ClearKey,
 * and shows the entitlement that st-api gave with the play. What is asked and
 * answered is told, without the keys.
 */

const CLEARKEY = 'org.w3.clearkey';

const bytesText = (body) => (typeof body === 'string' ? body
  : new TextDecoder().decode(body));

function json(body) {
  try {
    return JSON.parse(bytesText(body)) || {};
  } catch {
    return {};
  }
}

/* base64url as the hex digits that the server's log has */
const kidHex = (kid) => Array.from(
  atob(kid.replaceAll('-', '+').replaceAll('_', '/')),
  (c) => c.charCodeAt(0).toString(16).padStart(2, '0')).join('');

/* "<kid> <reason>, ..." of keys that were left out. */
const refusedRead = (header) => (header || '').split(', ').filter(Boolean)
  .map((one) => {
    const [kid, reason] = one.split(' ');
    return { kid, reason };
  });

function exchangeRead(xhr) {
  const answer = json(xhr.response);
  return {
    status: xhr.status,
    given: (answer.keys || []).map((key) => kidHex(key.kid)),
    refused: refusedRead(xhr.getResponseHeader('X-Keys-Refused')),
    reason: answer.reason || null,
  };
}

/* What hls.js is configured with; `told` hears of each exchange. */
export function licensesWatch(play, told) {
  const url = play.drm?.clearkey?.license_url;
  const bearer = (xhr) => {
    xhr.setRequestHeader('Authorization', `Bearer ${play.entitlement}`);
    xhr.addEventListener('load', () => told(exchangeRead(xhr)));
  };
  return play.entitlement && url ? {
    emeEnabled: true,
    drmSystems: { [CLEARKEY]: { licenseUrl: url } },
    licenseXhrSetup: bearer,
  } : {};
}

/* Why an error of hls.js's was no license, or ''. */
export function refusalText(data) {
  const { detail, reason } = json(data.networkDetails?.response ?? '');
  if (detail) return `The license server says: ${detail} (${reason}).`;
  return window.isSecureContext ? ''
    : 'Browsers play protected films on pages by https:// alone.';
}

const claimsOf = (jwt) => json(atob(jwt.split('.')[1]
  .replaceAll('-', '+').replaceAll('_', '/')));

/*
 * Where plays at once are limited, one counts as long as its player says so, and
 * is to say when it ends: else its place is taken until its lease is over.
 */
export class PlaceInTheLimit {
  #url;
  #headers;
  #timer = 0;

  constructor(play) {
    const license = play.drm?.clearkey?.license_url;
    if (!license || !claimsOf(play.entitlement).plays) return;
    this.#url = new URL('../play', license).href;
    this.#headers = { Authorization: `Bearer ${play.entitlement}` };
    this.#wait(5);
    window.addEventListener('pagehide', this.leave);
  }

  #wait(seconds) {
    this.#timer = setTimeout(async () => {
      let lease = 15;
      try {
        lease = (await (await this.#ask('PUT')).json()).lease_s || lease;
      } catch { /* it is asked again */ }
      if (this.#timer) this.#wait(lease / 3);
    }, seconds * 1000);
  }

  #ask(method) {
    return fetch(this.#url, { method, headers: this.#headers,
      keepalive: true });
  }

  leave = () => {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = 0;
    window.removeEventListener('pagehide', this.leave);
    this.#ask('DELETE').catch(() => {});
  };
}
