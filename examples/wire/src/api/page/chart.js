// The graph: lines over time on a canvas, with axes, a crosshair, zooming by dragging and a view that glides while live.

import { serverNow } from './api.js';
import { el, spans } from './dom.js';
import { axisFormat, formatTick, formatTime, formatValue, seriesParts } from './format.js';

const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800,
  1209600, 2592000, 7776000, 31536000].map((s) => s * 1000);
const TOP = 10;
const RIGHT = 14;
const BOTTOM = 26;
const TOOLTIP_ROWS = 12;

/** The distance of the ticks of an axis: 1, 2 or 5 times a power of ten, at most `most` of them over `range`. */
function niceStep(range, most) {
  const raw = range / most;
  const power = 10 ** Math.floor(Math.log10(raw));
  return power * ([1, 2, 5, 10].find((m) => m * power >= raw * (1 - 1e-9)));
}

export class Chart {
  #canvas;
  #tooltip;
  #onZoom;
  #series = [];
  #start = 0;
  #end = 0;
  #step = 1000;
  #glideLag = null;
  #pointer = null;
  #drag = null;
  #emphasis = null;
  #frame = 0;
  #timer = 0;
  #told = '';
  #colors = null;
  #omit = new Set();
  hidden = new Set();

  constructor(canvas, tooltip, onZoom) {
    this.#canvas = canvas;
    this.#tooltip = tooltip;
    this.#onZoom = onZoom;
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener('pointermove', (event) => this.#move(event.offsetX, event.offsetY));
    canvas.addEventListener('pointerleave', () => this.#leave());
    canvas.addEventListener('pointerdown', (event) => {
      if (event.button !== 0 || event.pointerType === 'touch') return;
      canvas.setPointerCapture(event.pointerId);
      this.#drag = event.offsetX;
    });
    canvas.addEventListener('pointerup', (event) => this.#drop(event.offsetX));
    canvas.addEventListener('keydown', (event) => this.#onKey(event));
    canvas.addEventListener('blur', () => this.#leave());
    document.addEventListener('visibilitychange', () => this.draw());
  }

  get width() {
    return this.#canvas.clientWidth;
  }

  /**
   * Shows series of `{ key, labels, color, times, values }` between `start` and `end`, all in ms. With `glideLag` the
   * view keeps moving, ending that many ms before the present.
   */
  show(series, { start, end, step, glideLag, omit }) {
    this.#series = series;
    this.#start = start;
    this.#end = end;
    this.#step = step;
    this.#omit = omit;
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    const points = series.reduce((n, s) => n + s.times.length, 0);
    this.#glideLag = calm || points > 60_000 ? null : glideLag;
    this.draw();
  }

  /** Draws one series strongly and the others faintly; null draws all alike. */
  emphasize(key) {
    this.#emphasis = key;
    this.draw();
  }

  restyle() {
    this.#colors = null;
    this.draw();
  }

  draw() {
    if (this.#frame === 0) this.#frame = requestAnimationFrame(() => this.#onFrame());
  }

  #onFrame() {
    this.#frame = 0;
    if (this.#glideLag !== null && this.#canvas.offsetParent && !document.hidden) {
      // One pixel of movement is worth a frame, and thirty frames a second are enough.
      const pixelMs = (this.#end - this.#start) / Math.max(1, this.width);
      const due = Math.max(33, Math.min(pixelMs / 2, 1000));
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.draw(), due);
    }
    this.#paint();
  }

  #view() {
    if (this.#glideLag === null) return [this.#start, this.#end];
    const end = serverNow() - this.#glideLag;
    return [end - (this.#end - this.#start), end];
  }

  #color(name) {
    if (!this.#colors) {
      const style = getComputedStyle(this.#canvas);
      const probe = el('span', '', { hidden: true });
      this.#canvas.after(probe);
      this.#colors = new Map([['font', style.fontFamily]]);
      for (const key of ['grid', 'axis', 'muted', 'text', 'surface', 'accent', ...Array.from({ length: 12 }, (_, i) => `series-${i}`)]) {
        probe.style.color = `var(--${key})`;
        this.#colors.set(key, getComputedStyle(probe).color);
      }
      probe.remove();
    }
    return this.#colors.get(name);
  }

  #visible() {
    return this.#series.filter((s) => !this.hidden.has(s.key));
  }

  #valueRange(start, end) {
    let low = Infinity;
    let high = -Infinity;
    for (const { times, values } of this.#visible()) {
      for (let i = 0; i < times.length; i += 1) {
        const v = values[i];
        if (times[i] < start || times[i] > end || !Number.isFinite(v)) continue;
        if (v < low) low = v;
        if (v > high) high = v;
      }
    }
    if (low > high) return [0, 1];
    if (low === high) {
      const room = Math.abs(low) || 1;
      return low >= 0 ? [0, low + room * 0.5] : [low - room * 0.5, 0];
    }
    // The baseline is shown where it costs little of the height.
    if (low > 0 && low < high * 0.5) low = 0;
    if (high < 0 && high > low * 0.5) high = 0;
    return [low, high];
  }

  #layout() {
    const canvas = this.#canvas;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    const [start, end] = this.#view();
    let [low, high] = this.#valueRange(start, end);
    const tick = niceStep(high - low, Math.max(2, Math.floor((height - TOP - BOTTOM) / 56)));
    low = Math.floor(low / tick + 1e-9) * tick;
    high = Math.ceil(high / tick - 1e-9) * tick;
    const write = axisFormat(tick, Math.max(Math.abs(low), Math.abs(high)));
    const ticks = [];
    for (let i = Math.round(low / tick); i <= Math.round(high / tick); i += 1) ticks.push([i * tick, write(i * tick)]);
    const context = canvas.getContext('2d');
    context.font = `11px ${this.#color('font')}`;
    const left = Math.max(34, Math.ceil(Math.max(...ticks.map(([, text]) => context.measureText(text).width))) + 14);
    const x = (t) => left + ((t - start) / (end - start)) * (width - left - RIGHT);
    const y = (v) => TOP + ((high - v) / (high - low)) * (height - TOP - BOTTOM);
    const timeAt = (px) => start + ((px - left) / (width - left - RIGHT)) * (end - start);
    return { width, height, start, end, low, ticks, left, x, y, timeAt, right: width - RIGHT, bottom: height - BOTTOM };
  }

  #paint() {
    const canvas = this.#canvas;
    if (!canvas.offsetParent) return;
    const scale = window.devicePixelRatio || 1;
    const [pixelWidth, pixelHeight] = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
    if (canvas.width !== pixelWidth || canvas.height !== pixelHeight) Object.assign(canvas, { width: pixelWidth, height: pixelHeight });
    const context = canvas.getContext('2d');
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const layout = this.#layout();
    context.clearRect(0, 0, layout.width, layout.height);
    this.#paintAxes(context, layout);
    context.save();
    context.beginPath();
    context.rect(layout.left, TOP - 4, layout.right - layout.left, layout.bottom - TOP + 8);
    context.clip();
    this.#paintLines(context, layout);
    context.restore();
    if (this.#series.length === 0) {
      context.font = `13px ${this.#color('font')}`;
      context.textAlign = 'center';
      context.fillStyle = this.#color('muted');
      context.fillText('No series in this range', (layout.left + layout.right) / 2, (TOP + layout.bottom) / 2);
    }
    if (this.#drag !== null && this.#pointer) {
      context.fillStyle = this.#color('accent');
      context.globalAlpha = 0.16;
      context.fillRect(Math.min(this.#drag, this.#pointer.x), TOP, Math.abs(this.#pointer.x - this.#drag), layout.bottom - TOP);
      context.globalAlpha = 1;
    }
    this.#paintCrosshair(context, layout);
  }

  #paintAxes(context, { width, height, start, end, ticks, left, right, bottom, x, y }) {
    context.lineWidth = 1;
    context.textBaseline = 'middle';
    context.textAlign = 'right';
    for (const [value, text] of ticks) {
      const py = Math.round(y(value)) + 0.5;
      context.strokeStyle = this.#color(value === 0 ? 'axis' : 'grid');
      context.beginPath();
      context.moveTo(left, py);
      context.lineTo(right, py);
      context.stroke();
      context.fillStyle = this.#color('muted');
      context.fillText(text, left - 8, py);
    }
    const step = TIME_STEPS.find((s) => ((right - left) * s) / (end - start) >= 84) ?? TIME_STEPS.at(-1);
    // Ticks fall on round local times, whatever the zone's offset.
    const offset = new Date(start).getTimezoneOffset() * 60_000;
    context.textAlign = 'center';
    for (let t = Math.ceil((start - offset) / step) * step + offset; t <= end; t += step) {
      const px = Math.round(x(t)) + 0.5;
      context.strokeStyle = this.#color('grid');
      context.beginPath();
      context.moveTo(px, TOP);
      context.lineTo(px, bottom + 4);
      context.stroke();
      const text = formatTick(t, step);
      const half = context.measureText(text).width / 2;
      context.fillStyle = this.#color('muted');
      context.fillText(text, Math.min(Math.max(px, half), width - half), (bottom + 4 + height) / 2 + 1);
    }
  }

  #paintLines(context, layout) {
    const visible = this.#visible();
    const alone = visible.length === 1 && layout.low === 0;
    context.lineJoin = 'round';
    context.lineCap = 'round';
    const emphasis = this.#emphasis ?? this.#pointer?.nearest ?? null;
    const strong = visible.filter((s) => s.key === emphasis);
    for (const series of [...visible.filter((s) => s.key !== emphasis), ...strong]) {
      const isStrong = series.key === emphasis;
      context.globalAlpha = this.#emphasis && strong.length > 0 && !isStrong ? 0.18 : 1;
      context.strokeStyle = context.fillStyle = this.#color(`series-${series.color}`);
      context.lineWidth = isStrong ? 2.5 : visible.length > 40 ? 1 : 1.6;
      for (const [from, to] of this.#runs(series, layout)) {
        context.beginPath();
        if (from === to) {
          context.arc(layout.x(series.times[from]), layout.y(series.values[from]), 2, 0, 2 * Math.PI);
          context.fill();
          continue;
        }
        for (let i = from; i <= to; i += 1) context.lineTo(layout.x(series.times[i]), layout.y(series.values[i]));
        context.stroke();
        if (alone) {
          context.lineTo(layout.x(series.times[to]), layout.bottom);
          context.lineTo(layout.x(series.times[from]), layout.bottom);
          context.globalAlpha = 0.09;
          context.fill();
          context.globalAlpha = 1;
        }
      }
    }
    context.globalAlpha = 1;
  }

  /** Index ranges of finite points without a gap between them, as far as the view shows them. */
  #runs({ times, values }, { start, end }) {
    const runs = [];
    let from = -1;
    let last = -1;
    for (let i = 0; i < times.length; i += 1) {
      if (times[i] < start - 2 * this.#step || times[i] > end + 2 * this.#step || !Number.isFinite(values[i])) continue;
      if (last >= 0 && (last !== i - 1 || times[i] - times[last] > this.#step * 1.5)) {
        runs.push([from, last]);
        from = i;
      } else if (from < 0) {
        from = i;
      }
      last = i;
    }
    if (from >= 0) runs.push([from, last]);
    return runs;
  }

  #paintCrosshair(context, layout) {
    if (!this.#pointer || this.#drag !== null) {
      this.#tooltip.hidden = true;
      return;
    }
    // Steps are counted from the start of the data, so the crosshair always stands on points.
    const aim = layout.timeAt(Math.min(Math.max(this.#pointer.x, layout.left), layout.right));
    let time = null;
    const rows = [];
    for (const series of this.#visible()) {
      const i = nearestIndex(series.times, aim);
      if (i >= 0 && Math.abs(series.times[i] - aim) <= this.#step && (time === null || Math.abs(series.times[i] - aim) < Math.abs(time - aim))) {
        time = series.times[i];
      }
    }
    if (time === null) {
      this.#tooltip.hidden = true;
      return;
    }
    for (const series of this.#visible()) {
      const i = nearestIndex(series.times, time);
      if (i >= 0 && series.times[i] === time) rows.push({ series, value: series.values[i] });
    }
    const px = Math.round(layout.x(time)) + 0.5;
    context.strokeStyle = this.#color('muted');
    context.lineWidth = 1;
    context.setLineDash([3, 3]);
    context.beginPath();
    context.moveTo(px, TOP);
    context.lineTo(px, layout.bottom);
    context.stroke();
    context.setLineDash([]);
    for (const { series, value } of rows) {
      if (!Number.isFinite(value)) continue;
      context.beginPath();
      context.arc(px, layout.y(value), 3.5, 0, 2 * Math.PI);
      context.fillStyle = this.#color(`series-${series.color}`);
      context.strokeStyle = this.#color('surface');
      context.lineWidth = 1.5;
      context.fill();
      context.stroke();
    }
    const nearest = this.#nearest(rows, layout);
    if (nearest !== this.#pointer.nearest) {
      this.#pointer.nearest = nearest;
      this.draw();
    }
    // Gliding moves the crosshair in every frame, but what there is to tell changes rarely.
    const told = JSON.stringify([time, nearest, rows.map(({ series, value }) => [series.key, String(value)])]);
    if (told !== this.#told || this.#tooltip.hidden) this.#fillTooltip(time, rows, nearest);
    this.#told = told;
    this.#placeTooltip(px, layout);
  }

  #nearest(rows, layout) {
    if (this.#pointer.y === null) return null;
    let best = null;
    let distance = 24;
    for (const { series, value } of rows) {
      const d = Math.abs(layout.y(value) - this.#pointer.y);
      if (d < distance) [best, distance] = [series.key, d];
    }
    return best;
  }

  #fillTooltip(time, rows, nearest) {
    rows.sort((a, b) => (Number.isNaN(a.value) ? 1 : Number.isNaN(b.value) ? -1 : b.value - a.value));
    const at = Math.max(0, rows.findIndex(({ series }) => series.key === nearest));
    const from = Math.max(0, Math.min(at - TOOLTIP_ROWS / 2, rows.length - TOOLTIP_ROWS));
    const shown = rows.slice(from, from + TOOLTIP_ROWS).map(({ series, value }) => el('div', series.key === nearest ? 'row nearest' : 'row', {},
      el('i', `swatch color-${series.color}`), el('span', 'name', {}, ...spans(seriesParts(series.labels, this.#omit))),
      el('b', '', {}, formatValue(value))));
    const more = rows.length - shown.length;
    this.#tooltip.replaceChildren(el('time', '', {}, formatTime(time)), ...shown, ...(more > 0 ? [el('small', '', {}, `and ${more} more`)] : []));
    this.#tooltip.hidden = false;
  }

  #placeTooltip(px, layout) {
    const { offsetWidth, offsetHeight } = this.#tooltip;
    const left = px + 14 + offsetWidth <= layout.width ? px + 14 : Math.max(0, px - 14 - offsetWidth);
    const wanted = (this.#pointer.y ?? layout.height / 3) - offsetHeight / 2;
    this.#tooltip.style.left = `${left}px`;
    this.#tooltip.style.top = `${Math.max(0, Math.min(wanted, layout.height - offsetHeight))}px`;
  }

  #move(x, y) {
    this.#pointer = { x, y, nearest: this.#pointer?.nearest ?? null };
    this.draw();
  }

  #leave() {
    this.#pointer = null;
    this.#drag = null;
    this.draw();
  }

  #drop(x) {
    const from = this.#drag;
    this.#drag = null;
    if (from === null) return;
    if (Math.abs(x - from) > 6) {
      const layout = this.#layout();
      const clamp = (px) => layout.timeAt(Math.min(Math.max(px, layout.left), layout.right));
      this.#onZoom(Math.round(clamp(Math.min(x, from))), Math.round(clamp(Math.max(x, from))));
    }
    this.draw();
  }

  #onKey(event) {
    if (event.key === 'Escape') return this.#leave();
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!direction) return;
    event.preventDefault();
    const layout = this.#layout();
    const points = (event.shiftKey ? 10 : 1) * direction;
    const at = layout.timeAt(this.#pointer?.x ?? layout.right) + points * this.#step;
    this.#move(Math.min(Math.max(layout.x(at), layout.left), layout.right), null);
  }
}

/** Index of the element of ascending `times` nearest to `aim`, -1 if there is none. */
function nearestIndex(times, aim) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < aim) low = middle + 1;
    else high = middle;
  }
  if (low === times.length) return low - 1;
  return low > 0 && aim - times[low - 1] <= times[low] - aim ? low - 1 : low;
}
