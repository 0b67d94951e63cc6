// From the answer to a range query to what a chart draws.

import { commonLabels, seriesName } from './format.js';

const COLORS = 12;

/** Most series that are drawn. */
export const MAX_DRAWN = 2000;

/** Keeps the colour of a series as long as the expression is the same. */
export class SeriesReader {
  #expr = null;
  #colors = new Map();

  /** The series of an answer: `{ drawn, omit, notes, count, points, isNew }`, `isNew` with another expression. */
  read(result, expr) {
    const isNew = this.#expr !== expr;
    if (isNew) {
      this.#expr = expr;
      this.#colors = new Map();
    }
    let histograms = 0;
    const series = [];
    for (const { metric, values, histograms: own } of result) {
      if (own) histograms += 1;
      if (!values) continue;
      const key = seriesName(metric);
      if (!this.#colors.has(key)) this.#colors.set(key, this.#colors.size % COLORS);
      series.push({
        key, labels: metric, color: this.#colors.get(key),
        times: Float64Array.from(values, ([time]) => Math.round(time * 1000)),
        values: Float64Array.from(values, ([, value]) => Number(value.replace('Inf', 'Infinity'))),
      });
    }
    const notes = [];
    if (series.length > MAX_DRAWN) notes.push(`Only the first ${MAX_DRAWN} of ${series.length} series are drawn.`);
    if (histograms > 0) notes.push(`${histograms} series of native histograms cannot be drawn; the table shows them.`);
    return {
      drawn: series.slice(0, MAX_DRAWN), omit: commonLabels(series.map((s) => s.labels)), notes, isNew,
      count: series.length, points: series.reduce((n, s) => n + s.times.length, 0),
    };
  }
}
