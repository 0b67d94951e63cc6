// Further panels below the first one: an expression and its graph each, over the same time.

import { ApiError, rangeQuery } from './api.js';
import { Chart } from './chart.js';
import { el } from './dom.js';
import { Editor } from './editor.js';
import { formatCount } from './format.js';
import { SeriesReader } from './series.js';
import { Legend } from './views.js';

let numbers = 0;

class Panel {
  #reader = new SeriesReader();
  #editor;
  #chart;
  #legend;
  #outcome;
  #message;
  #body;

  constructor(onRun, onRemove, onZoom) {
    const list = el('ul', 'completions', { id: `completions-${(numbers += 1)}`, role: 'listbox', hidden: true, 'aria-label': 'Completions' });
    const input = el('textarea', '', {
      rows: 1, spellcheck: false, placeholder: 'PromQL expression', role: 'combobox', 'aria-label': 'PromQL expression',
      'aria-autocomplete': 'list', 'aria-expanded': 'false', 'aria-controls': list.id,
    });
    const highlight = el('pre', '', { 'aria-hidden': 'true' });
    const canvas = el('canvas', '', { tabIndex: 0, role: 'img', 'aria-label': 'Graph of the result. Arrow keys move the crosshair, dragging zooms.' });
    const tooltip = el('div', 'tooltip', { hidden: true, 'aria-live': 'polite' });
    const legend = el('div', 'legend-of-panel');
    this.#outcome = el('p', 'outcome', { role: 'status' });
    this.#message = el('div', '', { role: 'alert' });
    this.#body = el('div', '', { hidden: true }, el('div', 'chart', {}, canvas, tooltip), legend);
    const remove = el('button', 'ghost', { type: 'button', title: 'Remove this panel', 'aria-label': 'Remove this panel', onclick: onRemove }, '✕');
    this.root = el('section', 'panel', {},
      el('form', 'query', { autocomplete: 'off', onsubmit: (event) => (event.preventDefault(), onRun()) },
        el('div', 'editor', {}, highlight, input, list), remove),
      this.#outcome, this.#message, this.#body);
    this.#editor = new Editor(input, highlight, list, onRun);
    this.#chart = new Chart(canvas, tooltip, onZoom);
    this.#legend = new Legend(legend, this.#chart);
  }

  get expr() {
    return this.#editor.value.trim();
  }

  set expr(text) {
    if (this.expr !== text) this.#editor.value = text;
  }

  focus() {
    this.#editor.focus();
  }

  restyle() {
    this.#chart.restyle();
  }

  async run({ from, to, start, end, step, glideLag }, signal) {
    const { expr } = this;
    this.#body.hidden ||= expr === '';
    if (expr === '') return;
    try {
      const { data, warnings, infos } = await rangeQuery(expr, from, to, step, signal);
      const { drawn, omit, notes, count, points, isNew } = this.#reader.read(data.result, expr);
      if (isNew) this.#chart.hidden = new Set();
      this.#body.hidden = false;
      this.#body.classList.remove('stale');
      this.#chart.show(drawn, { start, end, step, glideLag, omit });
      this.#legend.show(drawn, omit, end - 2 * step);
      const all = [...(warnings ?? []), ...notes, ...(infos ?? [])];
      this.#message.replaceChildren(...all.map((text) => el('div', 'message warning', {}, text)));
      this.#outcome.textContent = `${formatCount(count)} series · ${formatCount(points)} points`;
    } catch (error) {
      if (error.name === 'AbortError') return;
      if (!(error instanceof ApiError)) throw error;
      this.#body.classList.add('stale');
      this.#outcome.textContent = '';
      this.#message.replaceChildren(el('div', 'message error', {}, error.message));
    }
  }
}

export class Panels {
  #root;
  #panels = [];
  #onChange;
  #onZoom;

  /** `onChange` gets the expressions when they change. */
  constructor(root, onChange, onZoom) {
    this.#root = root;
    this.#onChange = onChange;
    this.#onZoom = onZoom;
  }

  get exprs() {
    return this.#panels.map((panel) => panel.expr);
  }

  /** Shows a panel for each of the expressions. */
  sync(exprs) {
    while (this.#panels.length > exprs.length) this.#panels.pop().root.remove();
    while (this.#panels.length < exprs.length) {
      const panel = new Panel(() => this.#onChange(this.exprs), () => this.#remove(panel), this.#onZoom);
      this.#panels.push(panel);
      this.#root.append(panel.root);
    }
    exprs.forEach((expr, i) => (this.#panels[i].expr = expr));
  }

  #remove(panel) {
    this.#panels.splice(this.#panels.indexOf(panel), 1);
    panel.root.remove();
    this.#onChange(this.exprs);
  }

  focusLast() {
    this.#panels.at(-1)?.focus();
  }

  run(range, signal) {
    return Promise.all(this.#panels.map((panel) => panel.run(range, signal)));
  }

  restyle() {
    this.#panels.forEach((panel) => panel.restyle());
  }
}
