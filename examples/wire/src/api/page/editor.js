// The expression field: highlighting, marking of errors and completion of names.

import { labelNames, labelValues, metricNames } from './api.js';
import { el } from './dom.js';

const AGGREGATIONS = new Set(('avg bottomk count count_values group limit_ratio limitk max min quantile stddev stdvar sum ' +
  'topk').split(' '));
const KEYWORDS = new Set(('and anchored atan2 bool by end fill fill_left fill_right group_left group_right ignoring inf nan ' +
  'offset on or smoothed start unless without').split(' '));
const FUNCTIONS = ('abs absent absent_over_time acos acosh asin asinh atan atanh avg_over_time ceil changes clamp clamp_max ' +
  'clamp_min cos cosh count_over_time day_of_month day_of_week day_of_year days_in_month deg delta deriv exp ' +
  'first_over_time floor histogram_avg histogram_count histogram_fraction histogram_quantile histogram_stddev ' +
  'histogram_stdvar histogram_sum hour idelta increase irate label_join label_replace last_over_time ln log10 log2 ' +
  'max_over_time min_over_time minute month pi predict_linear present_over_time quantile_over_time rad rate resets round ' +
  'scalar sgn sin sinh sort sort_desc sqrt stddev_over_time stdvar_over_time sum_over_time tan tanh time timestamp vector ' +
  'year').split(' ');

const TOKEN = new RegExp([
  /(?<comment>#.*)/, /(?<string>"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?|`[^`]*`?)/,
  /(?<number>0x[\da-f_]+|(?:\d+(?:ms|[smhdwy]))+|\d[\d_]*(?:\.\d*)?(?:e[+-]?\d+)?)/,
  /(?<word>[a-z_:][\w:.]*)/, /(?<punct>[{}()[\],])/, /(?<operator>[-+*/%^=!<>~@]+)/,
].map((r) => r.source).join('|'), 'gi');

/** The tokens of an expression as `{ kind, text, at }`; what is between them is space or unknown. */
function tokens(text) {
  const found = [];
  let braces = 0;
  for (const match of text.matchAll(TOKEN)) {
    let [kind] = Object.entries(match.groups).find(([, value]) => value !== undefined);
    const word = match[0];
    if (word === '{') braces += 1;
    if (word === '}') braces -= 1;
    if (kind === 'word') {
      const lower = word.toLowerCase();
      const call = /^\s*\(/.test(text.slice(match.index + word.length));
      if (braces > 0) kind = 'label';
      else if (AGGREGATIONS.has(lower) || KEYWORDS.has(lower)) kind = 'keyword';
      else kind = call ? 'function' : 'metric';
    }
    found.push({ kind, text: word, at: match.index });
  }
  return found;
}

/** What can be completed at the end of `text`: `{ what, prefix, metric, label }`. */
function contextOf(text) {
  const found = tokens(text);
  const last = found.at(-1);
  const open = [];
  let metric = null;
  let label = null;
  found.forEach((token, i) => {
    if (token.text === '{') {
      metric = found[i - 1]?.kind === 'metric' ? found[i - 1].text : null;
      open.push('{');
    } else if (token.text === '(') {
      open.push(/^(by|without|on|ignoring|group_left|group_right)$/i.test(found[i - 1]?.text) ? 'names' : '(');
    } else if (token.text === '}' || token.text === ')') {
      open.pop();
    } else if (token.kind === 'label') {
      label = token.text;
    }
  });
  const touching = last && last.at + last.text.length === text.length ? last : null;
  const inside = open.at(-1);
  if (touching?.kind === 'comment') return null;
  if (touching?.kind === 'string') {
    const closed = touching.text.length > 1 && touching.text.at(-1) === touching.text[0];
    return inside === '{' && !closed && label ? { what: 'value', prefix: touching.text.slice(1), metric, label } : null;
  }
  const prefix = /[\w:.]*$/.exec(text)[0];
  if (/^\d/.test(prefix) || (prefix === '' && inside !== '{' && inside !== 'names')) return null;
  if (inside === '{') return /[{,]$/.test(text.slice(0, text.length - prefix.length).trimEnd()) ? { what: 'label', prefix, metric } : null;
  return inside === 'names' ? { what: 'label', prefix, metric: null } : { what: 'name', prefix };
}

/** The best `limit` of `candidates` for what was typed: prefixes first, then names that contain it. */
function rank(candidates, typed, limit = 12) {
  const needle = typed.toLowerCase();
  const starts = [];
  const contains = [];
  for (const candidate of candidates) {
    const at = candidate.text.toLowerCase().indexOf(needle);
    if (at === 0) starts.push(candidate);
    else if (at > 0) contains.push(candidate);
    if (starts.length >= limit) break;
  }
  return [...starts, ...contains].slice(0, limit);
}

export class Editor {
  #input;
  #highlight;
  #list;
  #items = [];
  #chosen = -1;
  #context = null;
  #turn = 0;
  #error = null;

  constructor(input, highlight, list, onRun) {
    this.#input = input;
    this.#highlight = highlight;
    this.#list = list;
    input.addEventListener('input', () => {
      this.#error = null;
      this.#paint();
      this.#suggest();
    });
    input.addEventListener('keydown', (event) => this.#onKey(event, onRun));
    input.addEventListener('blur', () => this.#close());
    input.addEventListener('click', () => this.#close());
    // A press on the list must not take the focus from the field before the click arrives.
    list.addEventListener('pointerdown', (event) => event.preventDefault());
    new ResizeObserver(() => this.#fit()).observe(input.parentElement);
  }

  get value() {
    return this.#input.value;
  }

  set value(text) {
    this.#input.value = text;
    this.#error = null;
    this.#close();
    this.#paint();
  }

  focus() {
    this.#input.focus();
  }

  /** Underlines the text from `offset`; null takes the mark away. */
  markError(offset) {
    this.#error = offset;
    this.#input.setAttribute('aria-invalid', String(offset !== null));
    this.#paint();
  }

  #paint() {
    const text = this.#input.value;
    const nodes = [];
    let done = 0;
    const add = (to, className) => {
      const wrong = this.#error !== null && done <= this.#error && this.#error < to;
      if (to > done) nodes.push(el('span', wrong ? `${className} wrong` : className, {}, text.slice(done, to)));
      done = to;
    };
    for (const token of tokens(text)) {
      add(token.at, '');
      add(token.at + token.text.length, `tok-${token.kind}`);
    }
    add(text.length, '');
    // A trailing newline has no height in a pre unless something follows it.
    this.#highlight.replaceChildren(...nodes, '\u200b');
    this.#fit();
  }

  #fit() {
    this.#input.style.height = 'auto';
    this.#input.style.height = `${this.#highlight.offsetHeight}px`;
  }

  #onKey(event, onRun) {
    const open = this.#items.length > 0;
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (open && this.#chosen >= 0 && !event.ctrlKey && !event.metaKey) {
        this.#accept(this.#chosen);
      } else {
        this.#close();
        onRun();
      }
    } else if (open && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
      event.preventDefault();
      const n = this.#items.length;
      this.#choose(event.key === 'ArrowDown' ? (this.#chosen + 1) % n : (Math.max(this.#chosen, 0) + n - 1) % n);
    } else if (open && event.key === 'Tab' && !event.shiftKey) {
      event.preventDefault();
      this.#accept(Math.max(this.#chosen, 0));
    } else if (open && event.key === 'Escape') {
      event.preventDefault();
      this.#close();
    } else if (event.key === ' ' && event.ctrlKey) {
      event.preventDefault();
      this.#suggest(true);
    }
  }

  async #suggest(asked = false) {
    const turn = (this.#turn += 1);
    const { selectionStart, selectionEnd, value } = this.#input;
    const context = selectionStart === selectionEnd ? contextOf(value.slice(0, selectionStart)) : null;
    const wanted = context ?? (asked ? { what: 'name', prefix: '' } : null);
    if (!wanted) return this.#close();
    const candidates = await this.#candidates(wanted);
    if (turn !== this.#turn) return;
    const found = rank(candidates, wanted.prefix);
    if (found.length === 0 || (found.length === 1 && found[0].text === wanted.prefix)) return this.#close();
    this.#context = wanted;
    this.#items = found;
    this.#chosen = -1;
    this.#list.replaceChildren(...found.map((item, i) => el('li', '', {
      id: `${this.#list.id}-${i}`, role: 'option', 'aria-selected': 'false', onclick: () => this.#accept(i),
    }, el('span', `tok-${item.kind}`, {}, item.text), el('small', '', {}, item.hint))));
    this.#list.hidden = false;
    this.#input.setAttribute('aria-expanded', 'true');
  }

  async #candidates({ what, metric, label }) {
    if (what === 'label') return (await labelNames(metric)).map((text) => ({ text, kind: 'label', hint: 'label' }));
    if (what === 'value') return (await labelValues(label, metric)).map((text) => ({ text, kind: 'string', hint: label }));
    const metrics = (await metricNames()).map((text) => ({ text, kind: 'metric', hint: 'metric' }));
    return [
      ...Array.from(AGGREGATIONS, (text) => ({ text, kind: 'keyword', hint: 'aggregation' })),
      ...FUNCTIONS.map((text) => ({ text, kind: 'function', hint: 'function' })),
      ...metrics,
    ];
  }

  #choose(i) {
    this.#chosen = i;
    Array.from(this.#list.children).forEach((item, k) => item.setAttribute('aria-selected', String(k === i)));
    this.#list.children[i].scrollIntoView({ block: 'nearest' });
    this.#input.setAttribute('aria-activedescendant', `${this.#list.id}-${i}`);
  }

  #accept(i) {
    const { text, kind } = this.#items[i];
    const { prefix, what } = this.#context;
    const input = this.#input;
    const from = input.selectionStart - prefix.length;
    const quote = input.value[from - 1];
    const inserted = what === 'value' ? (quote === '`' ? text : JSON.stringify(text).slice(1, -1)) + quote
      : kind === 'metric' && !/^[a-z_:][\w:]*$/i.test(text) ? `{${JSON.stringify(text)}}` : text;
    this.#close();
    input.focus();
    input.setSelectionRange(from, input.selectionEnd);
    // Unlike setRangeText this keeps the undo history of the field.
    if (!document.execCommand('insertText', false, inserted)) input.setRangeText(inserted, from, input.selectionEnd, 'end');
    this.#close();
    this.#paint();
  }

  #close() {
    this.#turn += 1;
    this.#items = [];
    this.#chosen = -1;
    this.#list.hidden = true;
    this.#input.setAttribute('aria-expanded', 'false');
    this.#input.removeAttribute('aria-activedescendant');
  }
}
