// What is shown as a list: the legend, the table of an instant query, messages and targets.

import { serverNow } from './api.js';
import { byId, el, spans } from './dom.js';
import { commonLabels, formatDuration, formatTime, formatValue, seriesParts } from './format.js';

const ROWS = 100;

/** Rows up to a bound, and a button for the rest. */
function bounded(items, row, container, limit = ROWS) {
  container.append(...items.slice(0, limit).map(row));
  if (items.length > limit) {
    const more = el('button', 'more', { type: 'button' }, `Show ${Math.min(items.length - limit, 1000)} more of ${items.length}`);
    more.onclick = () => {
      more.remove();
      bounded(items.slice(limit), row, container, 1000);
    };
    container.append(more);
  }
}

/** Shows an error with a caret below its place in the expression. */
export function showError(error, expr, offset) {
  const box = byId('message-error');
  const same = JSON.stringify(error && [error.kind, error.message, expr]);
  // While live the same error comes again and again; it is announced once.
  if (box.dataset.shown === same) return;
  box.dataset.shown = same;
  if (!error) return box.replaceChildren();
  const parts = [el('strong', '', {}, error.kind.replaceAll('_', ' ')), ' ', error.message];
  if (offset !== null) {
    const from = expr.lastIndexOf('\n', offset - 1) + 1;
    const to = expr.indexOf('\n', offset);
    const line = expr.slice(from, to < 0 ? undefined : to);
    parts.push(el('pre', '', {}, `${line}\n${' '.repeat(offset - from)}^`));
  }
  box.replaceChildren(el('div', 'message error', {}, ...parts));
}

/** Shows warnings and infos. */
export function showNotes(warnings = [], infos = []) {
  const strip = (text) => text.replace(/^PromQL (info|warning): /, '');
  byId('message-notes').replaceChildren(
    ...warnings.map((text) => el('div', 'message warning', {}, el('strong', '', {}, 'warning'), ' ', strip(text))),
    ...infos.map((text) => el('div', 'message info', {}, el('strong', '', {}, 'info'), ' ', strip(text))),
  );
}

/** The legend of a chart: a press toggles a series, with Ctrl, Shift or Alt it shows that one alone. */
export class Legend {
  #root;
  #chart;
  #showAll = null;
  #keys = '';
  #values = new Map();

  constructor(root, chart) {
    this.#root = root;
    this.#chart = chart;
  }

  /** Lists series; the value of one that has ended before `since` is left out. */
  show(series, omit, since) {
    const keys = JSON.stringify(series.map((s) => s.key));
    // While live only the values change, so that focus and scrolling stay where they are.
    if (keys !== this.#keys) {
      this.#keys = keys;
      this.#build(series, omit);
    }
    for (const { key, times, values } of series) {
      const cell = this.#values.get(key);
      if (cell) cell.textContent = times.length > 0 && times.at(-1) >= since ? formatValue(values.at(-1)) : '–';
    }
  }

  #build(series, omit) {
    this.#values.clear();
    const rows = el('div', 'legend');
    bounded(series, (s) => this.#row(s, series, omit), rows);
    const head = [];
    if (omit.size > 0) {
      const common = Object.fromEntries([...omit].map((key) => [key, series[0].labels[key]]));
      head.push(el('span', 'common', {}, 'all ', ...spans(seriesParts(common))));
    }
    if (series.length > 1) {
      this.#showAll = el('button', 'ghost', { type: 'button', hidden: true, onclick: () => this.#set(new Set()) }, 'Show all');
      head.push(this.#showAll);
      head.push(el('span', 'hint', {}, 'click hides a series, Ctrl-click shows it alone'));
    }
    this.#root.replaceChildren(el('div', 'legend-head', {}, ...head), rows);
    this.#set(this.#chart.hidden);
  }

  #row({ key, labels, color }, all, omit) {
    const value = el('span', 'value');
    this.#values.set(key, value);
    const row = el('button', '', {
      type: 'button', 'aria-pressed': String(!this.#chart.hidden.has(key)),
      onmouseenter: () => this.#chart.emphasize(key), onmouseleave: () => this.#chart.emphasize(null),
      onfocus: () => this.#chart.emphasize(key), onblur: () => this.#chart.emphasize(null),
      onclick: (event) => {
        const hidden = new Set(this.#chart.hidden);
        if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) {
          this.#set(new Set(all.map((s) => s.key).filter((other) => other !== key)));
        } else {
          if (!hidden.delete(key)) hidden.add(key);
          this.#set(hidden);
        }
      },
    }, el('i', `swatch color-${color}`), el('span', 'name', {}, ...spans(seriesParts(labels, omit))), value);
    row.dataset.key = key;
    return row;
  }

  #set(hidden) {
    this.#chart.hidden = hidden;
    if (this.#showAll) this.#showAll.hidden = hidden.size === 0;
    for (const row of this.#root.querySelectorAll('[data-key]')) {
      row.setAttribute('aria-pressed', String(!hidden.has(row.dataset.key)));
    }
    this.#chart.draw();
  }
}

const histogramText = ({ count, sum, buckets = [] }) => {
  const range = ([rule, low, high, n]) => `${rule === 1 || rule === 3 ? '[' : '('}${low}, ${high}${rule === 0 || rule === 3 ? ']' : ')'} ${n}`;
  return [`count ${count}`, `sum ${sum}`, ...buckets.map(range)].join('\n');
};

const pointText = ([time, value], isHistogram) =>
  `${isHistogram ? histogramText(value) : value} @ ${formatTime(time * 1000)}`;

/** The rows `[labels, value as text, number to sort by]` of any result. */
function rowsOf({ resultType, result }) {
  if (resultType === 'scalar' || resultType === 'string') return [[null, result[1], NaN]];
  return result.map(({ metric, value, histogram, values = [], histograms = [] }) => {
    if (value) return [metric, value[1], Number(value[1].replace('Inf', 'Infinity'))];
    if (histogram) return [metric, histogramText(histogram[1]), Number(histogram[1].count)];
    return [metric, [...values.map((p) => pointText(p)), ...histograms.map((p) => pointText(p, true))].join('\n'), values.length];
  });
}

let byValue = 0;

/** The table of an instant query. A press on the head of the values sorts by them. */
export function showTable(root, data) {
  const rows = rowsOf(data);
  if (rows.length === 0) return root.replaceChildren(el('p', 'nothing', {}, 'No series at this time.'));
  if (byValue !== 0) rows.sort((a, b) => byValue * ((Number.isNaN(a[2]) ? -Infinity : a[2]) - (Number.isNaN(b[2]) ? -Infinity : b[2])));
  const body = el('tbody');
  const sort = el('button', 'ghost', {
    type: 'button',
    onclick: () => {
      byValue = byValue === 0 ? -1 : byValue === -1 ? 1 : 0;
      showTable(root, data);
    },
  }, ['Value ↑', 'Value', 'Value ↓'][1 - byValue]);
  const table = el('table', '', {},
    el('thead', '', {}, el('tr', '', {}, el('th', '', { scope: 'col' }, 'Series'),
      el('th', 'number', { scope: 'col', 'aria-sort': ['descending', 'none', 'ascending'][byValue + 1] }, sort))), body);
  bounded(rows, ([labels, text]) => el('tr', '', {},
    el('td', '', {}, ...(labels ? spans(seriesParts(labels)) : [data.resultType])), el('td', 'number', {}, text)), body);
  const more = body.querySelector('.more');
  if (more) table.append(el('tfoot', '', {}, el('tr', '', {}, el('td', '', { colSpan: 2 }, more))));
  root.replaceChildren(table);
}

const age = (time) => {
  const ms = serverNow() - Date.parse(time);
  if (Number.isNaN(ms) || ms > 1e11) return 'never';
  return ms < 60_000 ? `${Math.max(0, ms / 1000).toFixed(1)} s ago` : `${formatDuration(Math.floor(ms / 60_000) * 60_000)} ago`;
};

/** The targets by scrape pool. */
export function showTargets(root, targets, onlyDown) {
  const pools = Map.groupBy(targets.filter((t) => !onlyDown || t.health !== 'up'), (t) => t.scrapePool);
  if (pools.size === 0) return root.replaceChildren(el('p', 'nothing', {}, targets.length ? 'All targets are up.' : 'This server scrapes nothing.'));
  root.replaceChildren(...[...pools].sort(([a], [b]) => (a < b ? -1 : 1)).map(([pool, members]) => {
    members.sort((a, b) => (a.scrapeUrl < b.scrapeUrl ? -1 : 1));
    const up = members.filter((t) => t.health === 'up').length;
    const omit = commonLabels(members.map((m) => m.labels));
    const rows = members.map((t) => el('tr', '', {},
      el('td', '', {}, el('a', '', { href: webUrl(t.scrapeUrl), rel: 'noreferrer' }, t.scrapeUrl)),
      el('td', '', {}, el('span', `state ${['up', 'down'].includes(t.health) ? t.health : 'unknown'}`, {}, t.health)),
      el('td', '', {}, ...spans(seriesParts(t.labels, omit)),
        ...(t.lastError ? [el('div', 'target-error', {}, t.lastError)] : [])),
      el('td', 'number', {}, age(t.lastScrape)),
      el('td', 'number', {}, `${(t.lastScrapeDuration * 1000).toFixed(1)} ms`),
      el('td', 'number', {}, t.scrapeInterval ?? '')));
    const heads = ['Endpoint', 'State', 'Labels', 'Last scrape', 'Took', 'Every'];
    return el('section', 'pool', {},
      el('h2', '', {}, pool, ' ', el('small', '', {}, `${up} of ${members.length} up`)),
      el('div', 'scroll', {}, el('table', 'targets', {},
        el('thead', '', {}, el('tr', '', {}, ...heads.map((text, i) => el('th', i > 2 ? 'number' : '', { scope: 'col' }, text)))),
        el('tbody', '', {}, ...rows))));
  }));
}

/** A link only for web addresses: a scrape URL comes from configuration, but another scheme has no place here. */
const webUrl = (url) => (/^https?:/i.test(url) ? url : '#');
