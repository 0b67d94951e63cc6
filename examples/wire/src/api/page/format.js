// Texts for durations, times, numbers and series, and the parsing of what users type.

const UNITS = { ms: 1, s: 1e3, m: 6e4, h: 36e5, d: 864e5, w: 6048e5, y: 31536e6 };

/** Milliseconds of a PromQL duration such as `1h30m`, or of plain seconds; null if it is neither. */
export function parseDuration(text) {
  text = text.trim();
  if (/^\d+(\.\d+)?$/.test(text)) return Math.round(Number(text) * 1000) || null;
  if (!/^(\d+(ms|[smhdwy]))+$/.test(text)) return null;
  let total = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|[smhdwy])/g)) total += Number(count) * UNITS[unit];
  return total || null;
}

/** The PromQL spelling of a duration in milliseconds. */
export function formatDuration(ms) {
  let text = '';
  for (const unit of ['w', 'd', 'h', 'm', 's', 'ms']) {
    const count = Math.floor(ms / UNITS[unit]);
    if (count > 0) text += count + unit;
    ms -= count * UNITS[unit];
  }
  return text || '0s';
}

const two = (n) => String(n).padStart(2, '0');

/** Local date and time, with milliseconds only where there are some. */
export function formatTime(ms) {
  const d = new Date(ms);
  const fraction = d.getMilliseconds() ? '.' + String(d.getMilliseconds()).padStart(3, '0') : '';
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ` +
    `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}${fraction}`;
}

/** Milliseconds of a local time, an RFC 3339 time or Unix seconds; null if it is none of them. */
export function parseTime(text) {
  text = text.trim();
  if (/^\d+(\.\d+)?$/.test(text)) return Math.round(Number(text) * 1000);
  const ms = /^\d{4}-\d\d-\d\d/.test(text) ? new Date(text.replace(' ', 'T')).getTime() : NaN;
  return Number.isNaN(ms) ? null : ms;
}

/** Label of an axis at `ms`, as detailed as ticks `step` apart need it. */
export function formatTick(ms, step) {
  const d = new Date(ms);
  const midnight = d.getHours() + d.getMinutes() + d.getSeconds() === 0;
  if (step >= UNITS.d || (midnight && step >= UNITS.m)) {
    return d.toLocaleDateString(undefined, { day: 'numeric', month: 'short' });
  }
  const clock = `${two(d.getHours())}:${two(d.getMinutes())}`;
  return step < UNITS.m ? `${clock}:${two(d.getSeconds())}` : clock;
}

const PREFIXES = [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k'], [1, ''], [1e-3, 'm'], [1e-6, 'µ'], [1e-9, 'n']];

/** A function that writes the values of an axis with ticks `step` apart and the given largest magnitude. */
export function axisFormat(step, magnitude) {
  if (magnitude >= 1e15 || (magnitude > 0 && magnitude < 1e-9)) return (v) => v.toExponential(2);
  // Fractions down to a hundredth read better as such than with a prefix.
  const [scale, prefix] = magnitude >= 1e-2 && magnitude < 1e3 ? [1, '']
    : PREFIXES.find(([s]) => magnitude >= s) ?? [1, ''];
  const digits = Math.min(12, Math.max(0, Math.ceil(-Math.log10(step / scale) - 1e-9)));
  return (v) => (v === 0 ? '0' : (v / scale).toFixed(digits) + prefix).replace('-', '−');
}

/** A value with seven significant digits, thousands separated. */
export function formatValue(v) {
  if (Number.isNaN(v)) return 'NaN';
  if (!Number.isFinite(v)) return v > 0 ? '+Inf' : '−Inf';
  const a = Math.abs(v);
  if (a !== 0 && (a >= 1e15 || a < 1e-6)) return v.toExponential(4);
  return v.toLocaleString('en-GB', { maximumSignificantDigits: Number.isInteger(v) ? 15 : a >= 1e7 ? 9 : 7 })
    .replace(/,/g, '\u2009');
}

/** A count such as `12 345` or, when long, `1.2M`. */
export function formatCount(n) {
  if (n < 1e6) return Math.round(n).toLocaleString('en-GB').replace(/,/g, '\u2009');
  const [scale, prefix] = PREFIXES.find(([s]) => n >= s);
  return (n / scale).toPrecision(3) + prefix;
}

const PLAIN_METRIC = /^[a-zA-Z_:][\w:]*$/;
const PLAIN_LABEL = /^[a-zA-Z_]\w*$/;

/** The parts of a series' name as `[kind, text]`; labels in `omit` are left out. */
export function seriesParts(labels, omit = new Set()) {
  const name = labels.__name__;
  const parts = [];
  const pairs = Object.keys(labels).filter((key) => key !== '__name__' && !omit.has(key)).sort();
  const showName = name !== undefined && !omit.has('__name__');
  if (showName && PLAIN_METRIC.test(name)) parts.push(['metric', name]);
  const quotedName = showName && !PLAIN_METRIC.test(name);
  if (quotedName || pairs.length > 0 || parts.length === 0) {
    parts.push(['punct', '{']);
    if (quotedName) parts.push(['metric', JSON.stringify(name)]);
    pairs.forEach((key, i) => {
      if (i > 0 || quotedName) parts.push(['punct', ', ']);
      parts.push(['label', PLAIN_LABEL.test(key) ? key : JSON.stringify(key)]);
      parts.push(['punct', '=']);
      parts.push(['string', JSON.stringify(labels[key])]);
    });
    parts.push(['punct', '}']);
  }
  return parts;
}

/** The name of a series as text. */
export const seriesName = (labels, omit) => seriesParts(labels, omit).map(([, text]) => text).join('');

/** The label names whose value is the same in all of several label sets. */
export function commonLabels(sets) {
  if (sets.length < 2) return new Set();
  return new Set(Object.keys(sets[0]).filter((key) => sets.every((labels) => labels[key] === sets[0][key])));
}
