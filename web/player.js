// SPDX-License-Identifier: Apache-2.0
/*
 * Plays a content with hls.js and keeps it playing when its node fails.
 *
 * The playback URL leads through the redirector to a node that serves; hls.js
 * then takes everything from that node. When the node fails, the playback URL
 * is asked again, and what follows is loaded from the node it leads to now:
 * the paths below a playback are the same on every node, so only the place
 * changes, and what is buffered plays on.
 */

import { bufferControllerOf } from './hls-buffers.js';
import { refusalText, licensesWatch, PlaceInTheLimit } from './licenses.js';

const RECOVERIES_MAX = 6; // in a row, without a segment between them
const BACK_OFF_MS = 300;
const BACK_OFF_MAX_MS = 4000;
const BUFFER_S = 20;
const ERRORS_MAX = 2; // of requests in a row, before the node is left

// A dead host refuses at once, a sick one is given a few seconds; whatever
// lasts longer is better loaded from another node than waited for.
const policy = (firstByteMs, loadMs) => ({
  default: {
    maxTimeToFirstByteMs: firstByteMs,
    maxLoadTimeMs: loadMs,
    timeoutRetry: { maxNumRetry: 0, retryDelayMs: 0, maxRetryDelayMs: 0 },
    errorRetry: { maxNumRetry: 2, retryDelayMs: 250, maxRetryDelayMs: 1000 },
  },
});

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/* "http://host/p/TOKEN/ID/VERSION/" of the playlist in that folder. */
const placeOf = (url) => new URL('.', url).href;

/* "ID/VERSION": what of a place is the same on every node, for any token. */
const filmOf = (place) => place.split('/').slice(-3).join('/');

const isFilmGone = (error) => error.status === 404;

class PlayError extends Error {
  constructor(title, advice, status = 0) {
    super(title);
    this.advice = advice;
    this.status = status;
  }
}

/* The play as st-api answers it; `more` are fields of what it is asked. */
async function playbackAsk(content, viewer, steering, more) {
  let response;
  try {
    response = await fetch('api/v1/playbacks', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ content, viewer, steering, ...more }),
      signal: AbortSignal.timeout(8000),
    });
  } catch {
    throw new PlayError('The platform does not answer.',
      'Check that it runs (vodst status) and try again.');
  }
  if (response.status === 404) {
    throw new PlayError(`There is no film “${content}”.`,
      'Choose another, or bring it in with vodst ingest.', 404);
  }
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new PlayError('The platform refused this play.',
      problem.detail || `It answered ${response.status}; try again later.`,
      response.status);
  }
  return response.json();
}

/*
 * Events (CustomEvent, told in `detail`): segment {node, url, isVideo},
 * renditions {names, chosen}, rendition {index, name}, recovering {attempt},
 * recovered {node}, failed {title, advice}, protection {scheme}, license {status,
 * given, refused, reason}, see licenses.js.
 */
export class Player extends EventTarget {
  #video;
  #steers; // follows content steering, and knows every place from the start
  #viewer = `page-${crypto.getRandomValues(new Uint32Array(2)).join('')}`;
  #content = null;
  #playbackUrl = null;
  #play = null; // as st-api answered it
  #limit = null; // where plays at once are limited
  #firstPlace = null; // where hls.js believes everything to lie
  #place = null; // where it lies now
  #errors = 0;
  #attempts = 0;
  #isRecovering = false;
  #mediaRecoveries = 0;
  #rendition = -1; // the viewer's choice; -1: hls.js chooses
  #run = 0; // tells an open play's late answers from the next play's

  hls = null;
  more = {}; // asked for with each play: { scheme, quality, ... }

  constructor(video, steers = true) {
    super();
    this.#video = video;
    this.#steers = steers;
  }

  /* Who counts where plays at once are limited; else each page is a viewer. */
  viewerSet(viewer) {
    this.#viewer = viewer;
  }

  #tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  async open(content) {
    this.close();
    const run = this.#run;
    this.#content = content;
    if (!window.Hls || !window.Hls.isSupported()) {
      this.#fail(window.Hls
        ? new PlayError('This browser cannot play the film.',
          'It lacks Media Source Extensions: use a current one.')
        : new PlayError('The player library is not there.',
          'Install it with: npm ci --ignore-scripts (in web/).'));
      return;
    }
    try {
      await this.#ask();
      if (run === this.#run) this.#load(this.#playbackUrl, -1, true);
    } catch (error) {
      if (run === this.#run) this.#fail(error);
    }
  }

  /* The play, or the same one under a new token. */
  async #ask() {
    const run = this.#run;
    this.#limit?.leave();
    const play = await playbackAsk(this.#content, this.#viewer, this.#steers,
      this.more);
    if (run !== this.#run) return;
    this.#play = play;
    this.#playbackUrl = play.urls.hls;
    this.#limit = play.entitlement && new PlaceInTheLimit(play);
    this.#tell('protection', { scheme: play.scheme });
  }

  close() {
    this.#run++;
    this.#limit?.leave();
    this.#limit = this.#play = null;
    this.hls?.destroy();
    this.hls = null;
    this.#playbackUrl = this.#firstPlace = this.#place = null;
    this.#errors = this.#attempts = this.#mediaRecoveries = 0;
    this.#isRecovering = false;
    this.#rendition = -1;
  }

  /* -1 leaves the choice to hls.js. What is buffered further on is replaced. */
  setRendition(index) {
    this.#rendition = index;
    if (this.hls) this.hls.nextLevel = index;
  }

  /* A failed request makes hls.js forget the viewer's choice. */
  #renditionHold() {
    if (this.#rendition >= 0 && this.hls.autoLevelEnabled) {
      this.hls.loadLevel = this.#rendition;
    }
  }

  #fail(error) {
    this.hls?.stopLoad();
    this.#tell('failed', {
      title: error.message,
      advice: error.advice || 'Try again; if it stays so, see the logs.',
    });
  }

  /* From the beginning: position -1. A film that is replaced stands still. */
  #load(url, position, plays) {
    this.hls?.destroy();
    this.#firstPlace = this.#place = null;
    const hls = new window.Hls({
      startPosition: position,
      maxBufferLength: BUFFER_S,
      maxMaxBufferLength: BUFFER_S, // or it takes as much as 60 MB hold
      bufferController: bufferControllerOf(window.Hls),
      cmcd: {}, // nodes count and log whether the buffer ran dry
      manifestLoadPolicy: policy(5000, 10000),
      playlistLoadPolicy: policy(5000, 10000),
      fragLoadPolicy: policy(6000, 30000),
      ...licensesWatch(this.#play, (exchange) =>
        this.#tell('license', exchange)),
      xhrSetup: (xhr, url) => {
        const placed = this.#placed(url);
        if (placed !== url) xhr.open('GET', placed, true);
      },
    });
    const { Events } = window.Hls;
    hls.on(Events.MANIFEST_LOADED, (_, data) => {
      this.#firstPlace = this.#place =
        placeOf(data.networkDetails?.responseURL || data.url);
    });
    hls.on(Events.MANIFEST_PARSED, () => {
      this.#renditionHold();
      this.#tell('renditions', {
        chosen: this.#rendition,
        names: hls.levels.map((_, index) => this.#renditionName(index)),
      });
    });
    hls.on(Events.LEVEL_SWITCHED, (_, data) => this.#tell('rendition',
      { index: data.level, name: this.#renditionName(data.level) }));
    hls.on(Events.FRAG_LOADED, (_, data) => this.#segmentLoaded(data));
    hls.on(Events.ERROR, (_, data) => this.#errorHeard(data));
    this.hls = hls;
    hls.loadSource(url);
    hls.attachMedia(this.#video);
    // may stay pending until the first frame, or be refused by the browser's
    // autoplay rule: the controls are there for that
    if (plays) this.#video.play().catch(() => {});
  }

  /*
   * Goes on where the play is. Where hls.js waited for a playlist as it was
   * stopped, it would believe itself before its first segment, and count its
   * buffer from here on without ever noticing that it plays: with a full buffer
   * it would load nothing more. To have it skip the seek to the start tells it
   * that it is past that.
   */
  #loadOn() {
    const hasBegun = this.#video.buffered.length > 0;
    this.hls.startLoad(hasBegun ? this.#video.currentTime
      : this.hls.config.startPosition, hasBegun);
  }

  #placed(url) {
    return this.#firstPlace && this.#place !== this.#firstPlace
      && url.startsWith(this.#firstPlace)
      ? this.#place + url.slice(this.#firstPlace.length) : url;
  }

  #renditionName(index) {
    const level = this.hls?.levels[index];
    if (!level) return '–';
    const rate = `${(level.bitrate / 1e6).toFixed(1)} Mbit/s`;
    return level.height ? `${level.height}p, ${rate}` : rate;
  }

  #segmentLoaded(data) {
    const request = data.networkDetails;
    const url = request?.responseURL || data.frag.url;
    const node = request?.getResponseHeader?.('X-Vodst-Node')
      || new URL(url).host;
    this.#errors = 0;
    this.#renditionHold();
    const isVideo = data.frag.type === 'main';
    this.#tell('segment', { node, url, isVideo });
    if (isVideo && this.#attempts > 0) {
      this.#attempts = 0;
      this.#tell('recovered', { node });
    }
  }

  #errorHeard(data) {
    const { ErrorTypes } = window.Hls;
    if (data.type === ErrorTypes.KEY_SYSTEM_ERROR) {
      if (!data.fatal) return; // of a rendition: another is taken
      this.#fail(new PlayError('There is no license for this play.',
        refusalText(data) || `The player says: ${data.details}.`));
      return;
    }
    if (data.type === ErrorTypes.NETWORK_ERROR) {
      // a node that hangs has had its time already
      const hangs = data.details.endsWith('TimeOut');
      if (data.fatal || hangs || ++this.#errors >= ERRORS_MAX) {
        this.#recover(hangs);
      }
      return;
    }
    if (!data.fatal) return;
    if (data.type === ErrorTypes.MEDIA_ERROR && this.#mediaRecoveries++ < 2) {
      this.hls.recoverMediaError();
      return;
    }
    this.#fail(new PlayError('The film cannot be decoded.',
      `The player says: ${data.details}.`));
  }

  async #recover(hangs) {
    if (this.#isRecovering) return;
    this.#isRecovering = true;
    const run = this.#run;
    this.hls.stopLoad();
    let error = null;
    do {
      if (this.#attempts === RECOVERIES_MAX) {
        this.#isRecovering = false;
        this.#attempts = 0;
        this.#fail(error || new PlayError('No node serves this film now.',
          'Try again in a moment; it goes on where it stopped.'));
        return;
      }
      const wait = Math.min(BACK_OFF_MS * 2 ** this.#attempts, BACK_OFF_MAX_MS);
      await sleep(wait * (0.5 + Math.random()));
      if (run !== this.#run) return;
      this.#attempts++;
      this.#tell('recovering', { attempt: this.#attempts });
      // a node that refuses is soon known to be down; one that hangs may be
      // well for all but this viewer, and another is asked for at once
      error = await this.#move(run, this.#attempts - (hangs ? 0 : 1));
      hangs ||= error?.hangs;
      if (run !== this.#run) return;
    } while (error && !isFilmGone(error));
    this.#isRecovering = false;
    this.#errors = 0;
    if (error) this.#fail(error);
  }

  /* Finds a node by way of the playback URL, another one with each retry, and
   * goes on there. */
  async #move(run, retries) {
    const again = () => {
      const url = new URL(this.#playbackUrl);
      if (retries > 0) url.searchParams.set('retry', retries);
      return url.href;
    };
    try {
      let response = await fetch(again(),
        { cache: 'no-store', signal: AbortSignal.timeout(5000) });
      if (run !== this.#run) return null;
      if (response.status === 403) {
        // the token has run out: the same play under a new one
        await this.#ask();
        if (run !== this.#run) return null;
        response = await fetch(again(),
          { cache: 'no-store', signal: AbortSignal.timeout(5000) });
        if (run !== this.#run) return null;
      }
      if (!response.ok) {
        return new PlayError('The film cannot be reached now.',
          `The answer was ${response.status}; try again in a moment.`);
      }
      const place = placeOf(response.url);
      if (!this.#firstPlace || filmOf(place) !== filmOf(this.#firstPlace)) {
        this.#load(again(), this.#video.currentTime || -1,
          !this.#video.paused);
      } else {
        this.#place = place;
        this.#renditionHold();
        this.#loadOn();
      }
      return null;
    } catch (error) {
      if (error instanceof PlayError) return error;
      const unreached = new PlayError('The film cannot be reached now.',
        'Its nodes do not answer; try again in a moment.');
      unreached.hangs = error.name === 'TimeoutError';
      return unreached;
    }
  }

  /* After a failure, on the viewer's word: on from the same position. */
  async retry() {
    if (!this.#playbackUrl) {
      if (this.#content) await this.open(this.#content);
      return;
    }
    this.#errors = this.#attempts = this.#mediaRecoveries = 0;
    await this.#recover(false);
  }
}
