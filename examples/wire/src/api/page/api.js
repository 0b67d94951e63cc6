// Requests to the HTTP API under `api/v1/`, relative to the page so that a path prefix in front of it is kept.

/** How far the server's clock is ahead of ours, in ms; differences below two seconds count as none. */
let skew = 0;

/** The server's idea of the present, in ms. */
export const serverNow = () => Date.now() + skew;

export class ApiError extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

/** Sends a request and returns the whole answer: `data`, `warnings`, `infos`. */
export async function request(path, { params = {}, signal, method = 'GET' } = {}) {
  const body = new URLSearchParams();
  for (const [key, value] of Object.entries(params)) {
    for (const item of [value].flat()) if (item !== undefined && item !== null) body.append(key, item);
  }
  const url = new URL(`api/v1/${path}`, document.baseURI);
  if (method === 'GET') url.search = body;
  let response;
  try {
    response = await fetch(url, { method, signal, body: method === 'GET' ? undefined : body });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError('unreachable', 'The server does not answer.');
  }
  noteClock(response.headers.get('Date'));
  let answer;
  try {
    answer = await response.json();
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(`HTTP ${response.status}`, response.statusText || 'The answer is not JSON.');
  }
  if (answer.status !== 'success') throw new ApiError(answer.errorType ?? `HTTP ${response.status}`, answer.error ?? '');
  return answer;
}

function noteClock(date) {
  const server = date ? Date.parse(date) : NaN;
  if (Number.isNaN(server)) return;
  // The header counts whole seconds, so it lags by half a second on average.
  const difference = server + 500 - Date.now();
  skew = Math.abs(difference) < 2000 ? 0 : difference;
}

/** The values without labels of the server's own metrics by name, null if it does not answer. */
export async function ownMetrics() {
  try {
    const text = await (await fetch(new URL('metrics', document.baseURI))).text();
    return new Map(Array.from(text.matchAll(/^([a-z]\w*) (\S+)$/gm), ([, name, value]) => [name, Number(value)]));
  } catch {
    return null;
  }
}

const seconds = (ms) => (ms / 1000).toFixed(3);

export const instantQuery = (query, time, signal) =>
  request('query', { params: { query, time: time === null ? undefined : seconds(time) }, signal, method: 'POST' });

export const rangeQuery = (query, start, end, step, signal) => request('query_range', {
  params: { query, start: seconds(start), end: seconds(end), step: seconds(step) }, signal, method: 'POST',
});

const cache = new Map();
const CACHE_MS = 30_000;

async function cached(path, params) {
  const key = path + JSON.stringify(params);
  const hit = cache.get(key);
  if (hit && Date.now() - hit.at < CACHE_MS) return hit.values;
  const values = request(path, { params }).then((answer) => answer.data ?? [], () => []);
  cache.set(key, { at: Date.now(), values });
  return values;
}

const matching = (metric) => ({ 'match[]': metric ? `{__name__=${JSON.stringify(metric)}}` : undefined });

export const metricNames = () => cached('label/__name__/values', { limit: 50_000 });
export const labelNames = (metric) => cached('labels', { ...matching(metric), limit: 1000 });
export const labelValues = (label, metric) =>
  cached(`label/${pathName(label)}/values`, { ...matching(metric), limit: 5000 });

/** A label name as the API takes it in a path: names beyond the old alphabet are escaped. */
function pathName(name) {
  if (/^[a-zA-Z_]\w*$/.test(name)) return name;
  const escaped = Array.from(name, (c) => (c === '_' ? '__' : /\w/.test(c) ? c : `_${c.codePointAt(0).toString(16)}_`));
  return `U__${escaped.join('')}`;
}
