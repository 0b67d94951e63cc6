// The plan of a query as a tree: what each part reads, gives and takes.

import { request } from './api.js';
import { el } from './dom.js';
import { formatCount } from './format.js';

const bytes = (n) => (n < 1024 ? `${n} B` : n < 1024 ** 2 ? `${(n / 1024).toFixed(1)} KiB`
  : n < 1024 ** 3 ? `${(n / 1024 ** 2).toFixed(1)} MiB` : `${(n / 1024 ** 3).toFixed(2)} GiB`);

/** Asks for the plan of `params`, runs it, and shows it in `root`; resolves to what it came to in a line. */
export async function showPlan(root, params, signal) {
  const { data } = await request('query_analyze', { params, signal, method: 'POST' });
  const { parts, samplesRead, peakSamples, memoryBytes } = data;
  const most = Math.max(1, ...parts.map((part) => part.timeMs));
  const row = (part, i) => {
    const isLeaf = (parts[i + 1]?.depth ?? 0) <= part.depth;
    const share = el('meter', '', { min: 0, max: most, value: part.timeMs, 'aria-label': 'Share of the time' });
    const name = el('div', 'plan-part', {},
      ...Array.from({ length: part.depth }, () => el('i', 'plan-indent', { 'aria-hidden': 'true' })),
      el('div', '', {}, el('small', `plan-kind${isLeaf ? ' plan-leaf' : ''}`, {}, part.kind), ' ', el('code', '', {}, part.text)));
    return el('tr', '', { 'aria-level': String(part.depth + 1), role: 'row' },
      el('td', '', {}, name),
      ...[part.series, part.values, part.samples].map((n) => el('td', 'number', {}, n ? formatCount(n) : '–')),
      el('td', 'number plan-time', {}, `${part.timeMs} ms `, share));
  };
  const heads = ['Part', 'Series', 'Values', 'Samples read', 'Time'];
  root.replaceChildren(el('div', 'scroll', {}, el('table', 'plan', { role: 'treegrid', 'aria-label': 'Plan of the query' },
    el('thead', '', {}, el('tr', '', {}, ...heads.map((text, i) => el('th', i > 0 ? 'number' : '', { scope: 'col' }, text)))),
    el('tbody', '', {}, ...parts.map(row)))));
  return `${formatCount(samplesRead)} samples read · ${formatCount(peakSamples)} held at most · ${bytes(memoryBytes)}`;
}

export { bytes };
