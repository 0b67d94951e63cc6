// The page: what is asked, where it is kept (the address), and when it runs.

import { ApiError, instantQuery, ownMetrics, rangeQuery, request, serverNow } from './api.js';
import { Chart } from './chart.js';
import { byId, el } from './dom.js';
import { Editor } from './editor.js';
import { formatCount, formatDuration, formatTime, parseDuration, parseTime } from './format.js';
import { Panels } from './panels.js';
import { showPlan } from './plan.js';
import { SeriesReader } from './series.js';
import { showStore } from './store.js';
import { Legend, showError, showNotes, showTable, showTargets } from './views.js';

const RANGES = ['10s', '30s', '1m', '2m', '5m', '15m', '30m', '1h', '2h', '6h', '12h', '1d', '2d', '1w', '2w', '4w', '12w', '1y']
  .map(parseDuration);
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 604800].map((s) => s * 1000);
const TABS = ['graph', 'table', 'plan'];
const VIEWS = { query: 'graph', targets: 'targets', store: 'status' };
const MAX_PANELS = 20;
const STATUS_MS = 5000;

const state = { view: 'query', expr: '', more: [], tab: 'graph', range: 3_600_000, end: null, step: null, refresh: 0 };
const chart = new Chart(byId('canvas'), byId('tooltip'), zoom);
const legend = new Legend(byId('legend'), chart);
const editor = new Editor(byId('expr'), byId('highlight'), byId('completions'), submit);
const panels = new Panels(byId('panels'), (more) => change({ more }), zoom);
const reader = new SeriesReader();

let running = null;
let timer = 0;
let shown = '';

// The address. Parameter names are those of Prometheus, so links made for it work here too.

function readAddress() {
  const params = new URLSearchParams(location.search);
  const meta = (name) => document.querySelector(`meta[name="ferula-${name}"]`).content;
  const asked = params.has('g0.expr');
  const refresh = parseDuration(asked ? params.get('refresh') ?? '' : meta('refresh')) ?? 0;
  Object.assign(state, {
    view: Object.keys(VIEWS).find((view) => location.pathname.endsWith(`/${VIEWS[view]}`)) ?? 'query',
    expr: params.get('g0.expr') ?? meta('query'),
    more: furtherExpressions(params),
    tab: TABS[['0', '1'].indexOf(params.get('g0.tab'))] ?? TABS.find((tab) => tab === params.get('g0.tab')) ?? 'graph',
    range: parseDuration(params.get('g0.range_input') ?? meta('range')) ?? 3_600_000,
    end: parseTime((params.get('g0.end_input') ?? params.get('g0.moment_input') ?? '').replace(/(:\d\d)$/, '$1Z')),
    step: parseDuration(params.get('g0.step_input') ?? ''),
    refresh: [...byId('refresh').options].some((o) => Number(o.value) === refresh) ? refresh : 0,
  });
}

/** The expressions of the panels below the first one. */
function furtherExpressions(params) {
  const found = [];
  while (found.length < MAX_PANELS && params.has(`g${found.length + 1}.expr`)) found.push(params.get(`g${found.length + 1}.expr`));
  return found;
}

function address() {
  if (state.view !== 'query') return VIEWS[state.view];
  const params = new URLSearchParams({ 'g0.expr': state.expr, 'g0.tab': state.tab, 'g0.range_input': formatDuration(state.range) });
  if (state.end !== null) params.set('g0.end_input', new Date(state.end).toISOString().slice(0, 19).replace('T', ' '));
  if (state.step !== null) params.set('g0.step_input', formatDuration(state.step));
  state.more.forEach((expr, i) => params.set(`g${i + 1}.expr`, expr));
  if (state.refresh) params.set('refresh', formatDuration(state.refresh));
  return `graph?${params}`;
}

/** Changes the state, the address and the page; a step in the history for what a user would go back to. */
function change(changes, { history: step = true } = {}) {
  Object.assign(state, changes);
  if (state.end !== null) state.refresh = 0;
  const url = new URL(address(), document.baseURI);
  if (url.href !== location.href) history[step ? 'pushState' : 'replaceState'](null, '', url);
  render();
}

// Controls.

function render() {
  const isQuery = state.view === 'query';
  for (const view of Object.keys(VIEWS)) {
    byId(`view-${view}`).hidden = state.view !== view;
    byId(`nav-${view}`).toggleAttribute('aria-current', state.view === view);
  }
  document.title = isQuery && state.expr ? `${state.expr.slice(0, 60)} · Ferula` : isQuery ? 'Ferula' : `${state.view === 'store' ? 'Store' : 'Targets'} · Ferula`;
  panels.sync(state.more);
  byId('panels').hidden = state.tab !== 'graph';
  if (editor.value !== state.expr) editor.value = state.expr;
  for (const tab of TABS) {
    byId(`tab-${tab}`).setAttribute('aria-selected', String(state.tab === tab));
    byId(`tab-${tab}`).tabIndex = state.tab === tab ? 0 : -1;
    byId(`panel-${tab}`).hidden = state.tab !== tab || shown !== `${tab} ${state.expr}`;
  }
  for (const field of document.querySelectorAll('.graph-only')) field.hidden = state.tab === 'table';
  byId('add-panel').hidden = state.tab !== 'graph' || state.more.length >= MAX_PANELS;
  byId('end-label').textContent = state.tab === 'table' ? 'At' : 'End';
  setField('range', formatDuration(state.range));
  setField('end', state.end === null ? '' : formatTime(state.end));
  setField('step', state.step === null ? '' : formatDuration(state.step));
  byId('step').placeholder = `auto ${formatDuration(autoStep())}`;
  byId('refresh').value = String(state.refresh);
  document.body.classList.toggle('is-live', state.refresh > 0);
  byId('empty').hidden = state.expr !== '';
  run();
}

function setField(id, text) {
  byId(id).value = text;
  byId(id).setAttribute('aria-invalid', 'false');
}

/** Takes a field over when it is left or Enter is pressed; what cannot be read is marked and not used. */
function bindField(id, parse, apply) {
  byId(id).addEventListener('change', () => {
    const text = byId(id).value.trim();
    const value = text === '' ? null : parse(text);
    byId(id).setAttribute('aria-invalid', String(text !== '' && value === null));
    if (text === '' || value !== null) apply(value);
  });
}

function submit() {
  const expr = editor.value.trim();
  if (expr !== state.expr) change({ expr });
  else run();
}

async function formatExpression() {
  const text = editor.value;
  if (!text.trim()) return;
  try {
    const { data } = await request('format_query', { params: { query: text }, method: 'POST' });
    // What was typed meanwhile stays.
    if (editor.value === text) editor.value = data;
    editor.focus();
  } catch (error) {
    const offset = errorOffset(error.message, text);
    showError(error, text, offset);
    if (offset !== null && editor.value === text) editor.markError(offset);
  }
}

function autoStep() {
  const wanted = state.range / Math.max(100, Math.min(600, (chart.width || 1000) / 2.5));
  return STEPS.find((step) => step >= wanted) ?? STEPS.at(-1);
}

function nextRange(direction) {
  const range = direction > 0 ? RANGES.find((r) => r > state.range) : RANGES.findLast((r) => r < state.range);
  if (range) change({ range }, { history: false });
}

function shift(direction) {
  const amount = state.tab === 'table' ? 60_000 : state.range / 2;
  const end = (state.end ?? serverNow()) + direction * amount;
  change({ end: end >= serverNow() ? null : Math.round(end / 1000) * 1000 }, { history: false });
}

function zoom(start, end) {
  const range = Math.max(1000, Math.round((end - start) / 1000) * 1000);
  change({ range, end: Math.ceil(end / 1000) * 1000, step: null });
}

// Running.

async function run() {
  clearTimeout(timer);
  running?.abort();
  const turn = (running = new AbortController());
  const isQuery = state.view === 'query';
  if (isQuery && !state.expr && state.more.every((expr) => !expr)) {
    showError(null);
    showNotes();
    byId('outcome').textContent = '';
    return;
  }
  const began = performance.now();
  try {
    if (state.view === 'store') await runStore(turn.signal);
    else if (!isQuery) await runTargets(turn.signal);
    else if (state.tab === 'graph') await runGraphs(turn.signal);
    else if (state.expr) await (state.tab === 'plan' ? runPlan : runTable)(turn.signal);
    if (isQuery && state.expr) {
      showError(null);
      editor.markError(null);
      byId(`panel-${state.tab}`).classList.remove('stale');
      byId('outcome').append(` · ${Math.round(performance.now() - began)} ms`);
    }
  } catch (error) {
    if (error.name === 'AbortError') return;
    if (!(error instanceof ApiError)) throw error;
    const offset = isQuery ? errorOffset(error.message, state.expr) : null;
    showError(error, state.expr, offset);
    if (isQuery) {
      showNotes();
      byId(`panel-${state.tab}`).classList.add('stale');
      if (offset !== null && editor.value === state.expr) editor.markError(offset);
    }
    byId('outcome').textContent = '';
  }
  const pause = { query: state.tab === 'plan' ? 0 : state.refresh, targets: 2000, store: 0 }[state.view];
  // A page in the background waits; it goes on as soon as it is seen again.
  if (pause && turn === running && !document.hidden) timer = setTimeout(run, Math.max(50, pause - (performance.now() - began)));
}

/** Shows the panel of the tab, which then holds the answer to the present expression. */
function reveal() {
  shown = `${state.tab} ${state.expr}`;
  byId(`panel-${state.tab}`).hidden = false;
}

/** The times that all graphs show: what is asked for, and what is seen of it. */
function graphRange() {
  const step = state.step ?? autoStep();
  const isLive = state.refresh > 0 && state.end === null;
  // Points on multiples of the step stay where they are from one refresh to the next.
  const end = state.end ?? serverNow();
  const lag = isLive ? Math.min(step + state.refresh + 150, state.range / 10) : 0;
  const from = Math.floor((end - state.range - lag) / step) * step - (isLive ? step : 0);
  return { from, to: Math.floor(end / step) * step, start: end - state.range, end, step, glideLag: isLive ? lag : null };
}

async function runGraphs(signal) {
  const range = graphRange();
  await Promise.all([state.expr ? runGraph(range, signal) : null, panels.run(range, signal)]);
}

async function runGraph({ from, to, start, end, step, glideLag }, signal) {
  const { data, warnings, infos } = await rangeQuery(state.expr, from, to, step, signal);
  const { drawn, omit, notes, isNew, count, points } = reader.read(data.result, state.expr);
  if (isNew) chart.hidden = new Set();
  reveal();
  chart.show(drawn, { start, end, step, glideLag, omit });
  legend.show(drawn, omit, end - 2 * step);
  showNotes([...(warnings ?? []), ...notes], infos);
  byId('outcome').textContent = `${formatCount(count)} series · ${formatCount(points)} points`;
}

async function runPlan(signal) {
  const { from, to, step } = graphRange();
  const [start, end, distance] = [from, to, step].map((ms) => (ms / 1000).toFixed(3));
  const outcome = await showPlan(byId('panel-plan'), { query: state.expr, start, end, step: distance }, signal);
  reveal();
  showNotes();
  byId('outcome').textContent = outcome;
}

async function runStore(signal) {
  const limit = byId('store-limit').value;
  const onQuery = (expr) => change({ view: 'query', tab: 'table', expr });
  byId('store-outcome').textContent = await showStore(byId('store'), limit, onQuery, signal);
}

async function runTable(signal) {
  const { data, warnings, infos } = await instantQuery(state.expr, state.end, signal);
  reveal();
  showTable(byId('panel-table'), data);
  showNotes(warnings, infos);
  const n = ['scalar', 'string'].includes(data.resultType) ? 1 : data.result.length;
  byId('outcome').textContent = `${formatCount(n)} series`;
}

/** The place in `expr` that an error such as `1:16: parse error: …` names, which counts characters from one. */
function errorOffset(message, expr) {
  const place = /(\d+):(\d+): parse error/.exec(message);
  if (!place) return null;
  const lines = expr.split('\n');
  const row = Number(place[1]) - 1;
  if (row >= lines.length) return null;
  const before = Array.from(lines[row]).slice(0, Number(place[2]) - 1).join('');
  return lines.slice(0, row).join('\n').length + (row > 0 ? 1 : 0) + before.length;
}

async function runTargets(signal) {
  const { data } = await request('targets', { params: { state: 'active' }, signal });
  const targets = data.activeTargets ?? [];
  // Rebuilding under the pointer or the focus would take a link away from a user about to use it.
  showTargets(byId('targets'), targets, byId('only-down').checked);
  const up = targets.filter((t) => t.health === 'up').length;
  byId('targets-outcome').textContent = targets.length ? `${up} of ${targets.length} up` : '';
}

// The status line.

let lastAppended = null;

async function refreshStatus() {
  if (!document.hidden) {
    const [metrics, targets] = await Promise.all([ownMetrics(), request('targets', { params: { state: 'active' } }).catch(() => null)]);
    byId('status').replaceChildren(...statusParts(metrics));
    if (targets) showBadge(targets.data.activeTargets ?? []);
  }
  setTimeout(refreshStatus, STATUS_MS);
}

/** Offers the view of targets to a server that has some, and counts those that are down. */
function showBadge(targets) {
  const down = targets.filter((t) => t.health === 'down').length;
  byId('nav-targets').hidden = targets.length === 0 && state.view !== 'targets';
  byId('targets-badge').hidden = down === 0;
  byId('targets-badge').textContent = `${down} down`;
}

function statusParts(metrics) {
  if (!metrics) return [el('span', 'offline', {}, 'no answer from the server')];
  const part = (n, what) => el('span', '', {}, el('b', '', {}, formatCount(n)), ` ${what}`);
  const parts = [];
  const series = metrics.get('ferula_tsdb_head_series');
  const appended = metrics.get('ferula_tsdb_samples_appended_total');
  if (series !== undefined) parts.push(part(series, 'series'));
  if (appended > 0) {
    const at = performance.now();
    if (lastAppended && appended >= lastAppended.count) {
      parts.push(part((appended - lastAppended.count) / ((at - lastAppended.at) / 1000), 'samples/s'));
    }
    parts.push(part(appended, 'samples since start'));
    lastAppended = { count: appended, at };
  }
  return parts;
}

// Theme.

const THEMES = ['system', 'light', 'dark'];

function setTheme(theme) {
  if (theme === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem('ferula-theme', theme);
  } catch {
    // The choice then lasts as long as the page.
  }
  renderTheme();
}

function renderTheme() {
  const theme = document.documentElement.dataset.theme ?? 'system';
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  const button = byId('theme');
  button.textContent = { system: '◐', light: '☀', dark: '☾' }[theme];
  button.title = `Theme: ${theme}. Switch to ${next}.`;
  button.setAttribute('aria-label', button.title);
  button.onclick = () => setTheme(next);
  chart.restyle();
  panels.restyle();
}

// Wiring.

byId('query-form').addEventListener('submit', (event) => {
  event.preventDefault();
  submit();
});
for (const tab of TABS) byId(`tab-${tab}`).onclick = () => change({ tab });
document.querySelector('[role=tablist]').addEventListener('keydown', (event) => {
  if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
  const move = event.key === 'ArrowLeft' ? TABS.length - 1 : 1;
  const tab = TABS[(TABS.indexOf(state.tab) + move) % TABS.length];
  change({ tab });
  byId(`tab-${tab}`).focus();
});
for (const view of Object.keys(VIEWS)) {
  byId(`nav-${view}`).addEventListener('click', (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    change({ view });
  });
}
bindField('range', parseDuration, (range) => change({ range: range ?? 3_600_000 }, { history: false }));
bindField('end', parseTime, (end) => change({ end }, { history: false }));
bindField('step', parseDuration, (step) => change({ step }, { history: false }));
byId('range-less').onclick = () => nextRange(-1);
byId('range-more').onclick = () => nextRange(1);
byId('end-back').onclick = () => shift(-1);
byId('end-forward').onclick = () => shift(1);
byId('refresh').onchange = () => change({ refresh: Number(byId('refresh').value), end: null }, { history: false });
byId('only-down').onchange = () => run();
byId('store-limit').onchange = () => run();
byId('format').onclick = () => formatExpression();
byId('add-panel').onclick = () => {
  change({ more: [...panels.exprs, ''] });
  panels.focusLast();
};
byId('empty').append(el('p', '', {}, 'Type an expression, or start with one of these:'),
  ...['up', 'sum by (job) (up)', 'topk(10, count by (__name__) ({__name__!=""}))'].map((expr) =>
    el('button', 'example', { type: 'button', onclick: () => change({ expr }) }, expr)));
addEventListener('popstate', () => {
  readAddress();
  render();
});
document.addEventListener('visibilitychange', () => {
  if (!document.hidden && (state.refresh || state.view === 'targets')) run();
});
document.addEventListener('keydown', (event) => {
  if (event.altKey && event.key === 'f' && state.view === 'query') {
    event.preventDefault();
    formatExpression();
  } else if (event.key === '/' && !event.target.closest('input, textarea, select') && state.view === 'query') {
    event.preventDefault();
    editor.focus();
  }
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
  chart.restyle();
  panels.restyle();
});

readAddress();
renderTheme();
render();
refreshStatus();
if (!state.expr && state.view === 'query') editor.focus();
