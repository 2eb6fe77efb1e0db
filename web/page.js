// SPDX-License-Identifier: Apache-2.0
/* The page: joins the player, what the platform says, and what is seen. */

import { Player } from './player.js';
import { contentsAsk, pollStatus, pollWhere } from './system.js';

const EVENTS_MAX = 100;

const $ = (id) => document.getElementById(id);
const video = $('video');
// "?steering=0" plays as a player does that knows no content steering
const player = new Player(video,
  new URLSearchParams(location.search).get('steering') !== '0');

let content = null;
let node = null; // that served the latest segment
let where = null; // the latest answer of /where/
let served = new Map(); // node: segments
let stalls = 0;

/* An element with attributes and children; text is always only text. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function show(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function log(text, kind = '') {
  const now = new Date();
  const time = make('time', { datetime: now.toISOString() },
    now.toTimeString().slice(0, 8));
  $('events').prepend(
    make('li', {}, time, make('span', { class: kind }, text)));
  while ($('events').children.length > EVENTS_MAX) {
    $('events').lastElementChild.remove();
  }
}

const levelBadge = (level) =>
  make('span', { class: 'level', 'data-level': level }, level);

const percent = (share) => `${Math.round(share * 100)} %`;
const perSecond = (rate) => (rate < 10 ? rate.toFixed(1) : rate.toFixed(0));

function lengthText(ms) {
  const seconds = Math.round(ms / 1000);
  const pad = (n) => String(n).padStart(2, '0');
  const clock = `${Math.floor(seconds / 60) % 60}:${pad(seconds % 60)}`;
  return seconds < 3600 ? clock
    : `${Math.floor(seconds / 3600)}:${clock.padStart(5, '0')}`;
}

/* ---- choosing ---- */

function markChosen() {
  for (const button of $('contents').querySelectorAll('button')) {
    button.setAttribute('aria-pressed', String(button.dataset.id === content));
  }
}

function problemHide() {
  $('problem').hidden = true;
}

function choose(id, title = id) {
  content = id;
  player.more.scheme = $('scheme').value || undefined; // left out of JSON then
  node = where = null;
  served = new Map();
  stalls = 0;
  problemHide();
  show('title', title);
  document.title = `${title} · VODST`;
  for (const fact of ['node', 'owners', 'owner-count', 'cdn-share', 'rate',
    'version', 'rendition', 'served']) show(fact, '–');
  $('level').hidden = true;
  $('hint').hidden = true;
  $('quality').disabled = true;
  $('licenses').hidden = true;
  $('exchanges').replaceChildren();
  $('quality').replaceChildren(make('option', { value: -1 }, 'auto'));
  history.replaceState(null, '', `#${encodeURIComponent(id)}`);
  markChosen();
  log(`asked for “${title}”`);
  player.open(id);
}

async function contentsShow(after) {
  let listing;
  try {
    listing = await contentsAsk(after);
  } catch {
    if (!after) {
      $('contents').replaceChildren(make('li', {},
        'The list of films cannot be had: is the platform up?'));
      setTimeout(contentsShow, 3000);
    }
    return;
  }
  if (!after) $('contents').replaceChildren();
  for (const film of listing.contents) {
    const button = make('button', { type: 'button', 'data-id': film.id },
      film.title || film.id,
      make('small', {}, `${film.id} · ${lengthText(film.duration_ms)}`));
    button.addEventListener('click',
      () => choose(film.id, film.title || film.id));
    $('contents').append(make('li', {}, button));
  }
  if (!$('contents').children.length) {
    $('contents').append(make('li', {},
      'No films yet: bring one in with vodst ingest FILE --id ID.'));
    setTimeout(contentsShow, 3000);
  }
  markChosen();
  $('more').hidden = !listing.next;
  $('more').onclick = () => contentsShow(listing.next);
}

/* ---- what the player tells ---- */

player.addEventListener('segment', ({ detail }) => {
  served.set(detail.node, (served.get(detail.node) || 0) + 1);
  show('served', [...served].map(([name, n]) => `${name} ${n}`).join(', '));
  // of sound and picture under way at once, one tells where the viewer is
  if (!detail.isVideo) return;
  if (node && node !== detail.node) {
    log(`moved from ${node} to ${detail.node}`);
  } else if (!node) {
    log(`${detail.node} serves`);
  }
  node = detail.node;
  show('node', node);
});

player.addEventListener('renditions', ({ detail }) => {
  $('quality').replaceChildren(make('option', { value: -1 }, 'auto'),
    ...detail.names.map((name, i) => make('option', { value: i }, name)));
  $('quality').value = String(detail.chosen);
  $('quality').disabled = false;
});

player.addEventListener('rendition', ({ detail }) => {
  show('rendition', detail.name);
  log(`rendition: ${detail.name}`);
});

player.addEventListener('protection', ({ detail }) => {
  const isClear = !detail.scheme || detail.scheme === 'clear';
  $('licenses').hidden = isClear;
  if (isClear) return;
  show('scheme-told', `encrypted by ${detail.scheme}, keys by ClearKey`);
});

const keysText = (n) => (n === 1 ? '1 key' : `${n} keys`);

player.addEventListener('license', ({ detail }) => {
  const line = (text, kind = '') => $('exchanges').append(
    make('li', {}, make('span', { class: kind }, text)));
  if (detail.status === 200) {
    line(`${keysText(detail.given.length)} given: ${detail.given.join(', ')}`,
      'good');
  } else {
    line(`refused (${detail.status}): ${detail.reason || 'no reason told'}`,
      'bad');
  }
  for (const { kid, reason } of detail.refused) {
    line(`no key ${kid}: ${reason}`, 'bad');
  }
});

player.addEventListener('recovering', ({ detail }) => {
  log(`${node || 'the node'} fails, asking for another`
    + ` (attempt ${detail.attempt})`, 'bad');
});

player.addEventListener('recovered', ({ detail }) => {
  problemHide();
  log(`recovered: ${detail.node} goes on`, 'good');
});

player.addEventListener('failed', ({ detail }) => {
  show('problem-title', detail.title);
  show('problem-advice', detail.advice);
  $('problem').hidden = false;
  log(detail.title, 'bad');
});

function bufferedAhead() {
  const { buffered, currentTime } = video;
  let end = currentTime;
  for (let i = 0; i < buffered.length; i++) {
    if (buffered.start(i) <= currentTime + 0.1) {
      end = Math.max(end, buffered.end(i));
    }
  }
  return end - currentTime;
}

video.addEventListener('waiting', () => {
  // a slow decoder waits too, with segments at hand
  if (video.currentTime > 0 && !video.seeking && bufferedAhead() < 0.5) {
    stalls++;
    log('waiting for segments', 'bad');
  }
});

video.addEventListener('timeupdate',
  () => show('buffer', `${bufferedAhead().toFixed(0)} s`));

/* ---- what the platform tells ---- */

function whereCompare(before, now) {
  if (before.level !== now.level) {
    log(`level changed: ${before.level} → ${now.level}`);
  }
  if (before.owners.join() !== now.owners.join()) {
    log(`owner set: ${now.owners.join(', ') || 'none'}`);
  }
}

pollWhere(() => content, (answer) => {
  if (!answer) {
    show('version', 'no answer');
    return;
  }
  if (where) whereCompare(where, answer);
  where = answer;
  $('level').hidden = false;
  $('level').dataset.level = answer.level;
  show('level', answer.level);
  show('owners', answer.owners.join(', ') || 'none');
  show('owner-count',
    `${answer.owner_count} of ${answer.nodes.length}`);
  show('cdn-share', percent(answer.cdn_share));
  show('rate', `${perSecond(answer.rate)} requests/s`);
  show('version', answer.version);
});

function stateCell(state) {
  const kind = state === 'up' ? 'good' : 'bad';
  return make('td', {}, make('span', { class: kind }, state));
}

function loadCell(load) {
  const meter = make('meter', {
    min: 0, max: 1, low: 0.7, high: 0.9, optimum: 0, value: load,
    'aria-label': 'load',
  });
  return make('td', {}, meter, percent(load));
}

function nodeRow(n) {
  return make('tr', { class: n.name === node ? 'serving' : '' },
    make('td', {}, n.name), make('td', {}, n.role), stateCell(n.state),
    loadCell(n.load), make('td', { class: 'number' }, perSecond(n.rate)),
    make('td', { class: 'number' }, perSecond(n.capacity)),
    make('td', { class: 'number' }, `${(n.silent_ms / 1000).toFixed(1)} s`));
}

function contentRow(c) {
  return make('tr', { class: c.id === content ? 'serving' : '' },
    make('td', {}, c.id), make('td', {}, levelBadge(c.level)),
    make('td', { class: 'number' }, String(c.owner_count)),
    make('td', {}, (c.owners || []).join(', ')),
    make('td', { class: 'number' }, percent(c.cdn_share)),
    make('td', { class: 'number' }, perSecond(c.rate)));
}

pollStatus((status) => {
  $('platform').classList.toggle('bad', !status);
  if (!status) {
    show('platform', 'the manager does not answer: the nodes go on with the'
      + ' last load table');
    return;
  }
  const up = status.nodes.filter((n) => n.state === 'up').length;
  show('platform', `${up} of ${status.nodes.length} nodes up · load table`
    + ` ${status.version}`);
  $('nodes').replaceChildren(...status.nodes.map(nodeRow));
  $('levels').replaceChildren(...(status.contents.length
    ? status.contents.map(contentRow)
    : [make('tr', {}, make('td', { colspan: 6 },
      'All calm: each content has its one owner.'))]));
});

/* ---- hands on ---- */

$('quality').addEventListener('change',
  () => player.setRendition(Number($('quality').value)));
$('scheme').addEventListener('change', () => {
  if (content) choose(content, $('title').textContent);
});
$('problem-retry').addEventListener('click', () => {
  problemHide();
  player.retry();
});
$('open').addEventListener('submit', (event) => {
  event.preventDefault();
  choose($('content').value.trim());
});

contentsShow();
const asked = decodeURIComponent(location.hash.slice(1));
if (asked) choose(asked);

/* for the console and for tests */
window.vodst = {
  get hls() { return player.hls; },
  get node() { return node; },
  get where() { return where; },
  get stalls() { return stalls; },
  player,
};
