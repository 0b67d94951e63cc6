// The store: what it holds, which labels have the most series, its blocks, and the memory of the process.

import { ownMetrics, request } from './api.js';
import { el } from './dom.js';
import { formatCount, formatDuration, formatTime } from './format.js';
import { bytes } from './plan.js';

const DAY = 86_400_000;

const tile = (text, what) => el('div', 'tile', {}, el('b', '', {}, text), el('span', '', {}, what));

const span = (from, to) => (to > from ? formatDuration(Math.max(1000, Math.round((to - from) / 1000) * 1000)) : '0s');

/** A list of counts with bars; `query` makes the expression that a name leads to, if it leads to one. */
function counts(title, list, query, onQuery, format = formatCount) {
  const most = Math.max(1, ...list.map((entry) => entry.value));
  const rows = list.map(({ name, value }) => {
    const text = query ? el('button', 'linkish', { type: 'button', onclick: () => onQuery(query(name)) }, name) : name;
    return el('tr', '', {}, el('td', '', {}, text), el('td', 'number', {}, format(value)),
      el('td', 'bar-cell', {}, el('meter', '', { min: 0, max: most, value, 'aria-label': `${value} of ${most}` })));
  });
  return el('section', 'counts', {}, el('h2', '', {}, title),
    rows.length ? el('table', '', {}, el('tbody', '', {}, ...rows)) : el('p', 'nothing', {}, 'Nothing.'));
}

function blocks(list) {
  if (list.length === 0) return el('p', 'nothing', {}, 'There are no blocks yet: all samples are in the head.');
  const heads = ['Block', 'From', 'Length', 'Series', 'Samples', 'Level', 'Format'];
  const row = (block) => el('tr', '', {},
    ...[block.ulid, formatTime(block.minTime)].map((text) => el('td', '', {}, text)),
    ...[span(block.minTime, block.maxTime), formatCount(block.stats.numSeries ?? 0), formatCount(block.stats.numSamples ?? 0),
      String(block.compaction?.level ?? 1)].map((text) => el('td', 'number', {}, text)),
    el('td', '', {}, block.ferula?.format ?? 'prometheus'));
  const newest = [...list].sort((a, b) => b.minTime - a.minTime);
  return el('div', 'scroll', {}, el('table', 'blocks', {},
    el('thead', '', {}, el('tr', '', {}, ...heads.map((text, i) => el('th', i > 1 && i < 6 ? 'number' : '', { scope: 'col' }, text)))),
    el('tbody', '', {}, ...newest.map(row))));
}

const quote = (name) => JSON.stringify(name);

/** Shows the store in `root`; `onQuery` gets the expression that a press asks for. */
export async function showStore(root, limit, onQuery, signal) {
  const [{ data }, all, metrics] = await Promise.all([
    request('status/tsdb', { params: { limit }, signal }),
    request('status/tsdb/blocks', { signal }),
    ownMetrics(),
  ]);
  const head = data.headStats;
  const { minTime, maxTime } = head;
  const stored = all.data.blocks;
  const samples = stored.reduce((n, block) => n + (block.stats.numSamples ?? 0), 0);
  const tiles = [
    tile(formatCount(head.numSeries), 'series in the head'),
    tile(formatCount(head.chunkCount), 'chunks'),
    tile(formatCount(head.numLabelPairs), 'label pairs'),
    tile(maxTime > minTime && maxTime - minTime < 400 * DAY ? span(minTime, maxTime) : '–', 'in the head'),
    tile(formatCount(stored.length), 'blocks'),
    tile(formatCount(samples), 'samples in blocks'),
  ];
  const resident = metrics?.get('process_resident_memory_bytes');
  if (resident) tiles.push(tile(bytes(resident), 'resident memory'));
  for (const [name, what] of [['ferula_tsdb_block_size_bytes', 'of blocks'], ['ferula_tsdb_wal_size_bytes', 'of log']]) {
    const size = metrics?.get(name);
    if (size !== undefined) tiles.push(tile(bytes(size), what));
  }
  root.replaceChildren(
    el('div', 'tiles', {}, ...tiles),
    el('div', 'count-grid', {},
      counts('Series by metric', data.seriesCountByMetricName, (name) => `{__name__=${quote(name)}}`, onQuery),
      counts('Series by label pair', data.seriesCountByLabelValuePair, (pair) => {
        const at = pair.indexOf('=');
        return `topk(20, count by (__name__) ({${quote(pair.slice(0, at))}=${quote(pair.slice(at + 1))}}))`;
      }, onQuery),
      counts('Values by label', data.labelValueCountByLabelName, (name) => `topk(20, count by (${quote(name)}) ({${quote(name)}!=""}))`, onQuery),
      counts('Memory by label', data.memoryInBytesByLabelName, null, onQuery, bytes)),
    el('h2', '', {}, 'Blocks'),
    blocks(stored));
  return `${formatCount(head.numSeries)} series`;
}

