//! Makes a case that differs smaller, as long as it still differs.

use ferula_promql::ast::Expr;
use ferula_promql::parser::{ParseOptions, parse_with};

use crate::case::{Case, Time};
use crate::data::Data;

/// Shrinks a case and its samples while `differs` says that they do.
pub(crate) fn shrink(
    mut data: Data,
    mut case: Case,
    mut differs: impl FnMut(&Data, &Case) -> bool,
) -> (Data, Case) {
    loop {
        let before = size(&data, &case);
        for query in smaller_queries(&case.query) {
            let smaller = Case { query, ..case.clone() };
            if differs(&data, &smaller) {
                case = smaller;
                break;
            }
        }
        for time in smaller_times(case.time) {
            let smaller = Case { time, ..case.clone() };
            if differs(&data, &smaller) {
                case = smaller;
                break;
            }
        }
        let mut width = data.series.len().div_ceil(2);
        while width > 0 {
            let mut at = 0;
            while at < data.series.len() {
                let mut smaller = data.clone();
                smaller.series.drain(at..(at + width).min(data.series.len()));
                if differs(&smaller, &case) {
                    data = smaller;
                } else {
                    at += width;
                }
            }
            width /= 2;
        }
        // Samples matter once there are few series.
        if data.series.len() < 6 {
            data = fewer_samples(data, |data| differs(data, &case));
        }
        if size(&data, &case) == before {
            return (data, case);
        }
    }
}

fn size(data: &Data, case: &Case) -> usize {
    let is_sample = |value: &&String| **value != "_";
    let samples = data.series.iter().map(|s| s.values.iter().filter(is_sample).count() + 1);
    let (start, end, step) = case.time.bounds();
    let steps = if step == 0 { 0 } else { (end - start) / step + 1 };
    samples.sum::<usize>() + case.query.len() + usize::try_from(steps).unwrap_or(0)
}

/// Removes samples in runs that become shorter.
fn fewer_samples(mut data: Data, mut differs: impl FnMut(&Data) -> bool) -> Data {
    for series in 0..data.series.len() {
        let n_samples = data.series[series].values.len();
        let mut width = n_samples.div_ceil(2);
        while width > 0 {
            for start in (0..n_samples).step_by(width) {
                let mut smaller = data.clone();
                let end = (start + width).min(n_samples);
                let run = &mut smaller.series[series].values[start..end];
                if run.iter().all(|value| value == "_") {
                    continue;
                }
                run.fill("_".to_owned());
                if let Some(starts) = smaller.series[series].starts.get_mut(start..end) {
                    starts.fill(None);
                }
                if differs(&smaller) {
                    data = smaller;
                }
            }
            width /= 2;
        }
    }
    data
}

fn smaller_times(time: Time) -> Vec<Time> {
    let Time::Range { start, end, step } = time else { return Vec::new() };
    let n_steps = (end - start) / step;
    let mut times = vec![Time::Instant(start), Time::Instant(start + n_steps * step)];
    if n_steps > 0 {
        let middle = start + n_steps / 2 * step;
        times.push(Time::Range { start, end: middle, step });
        times.push(Time::Range { start: middle, end, step });
        times.push(Time::Range { start: start + step, end, step });
        times.push(Time::Range { start, end: end - step, step });
    }
    times
}

/// Texts in which a part of the query stands for something larger.
fn smaller_queries(query: &str) -> Vec<String> {
    let Ok(expr) = parse_with(query, &ParseOptions::ALL) else { return Vec::new() };
    let mut texts = Vec::new();
    replace(query, &expr, &mut texts);
    texts.sort_by_key(String::len);
    texts.retain(|text| text.len() < query.len());
    texts
}

fn replace(query: &str, expr: &Expr, texts: &mut Vec<String>) {
    let (before, after) = (&query[..expr.span.start], &query[expr.span.end..]);
    for child in below(expr) {
        texts.push(format!("{before}{}{after}", &query[child.span.start..child.span.end]));
    }
    for child in expr.children() {
        replace(query, child, texts);
    }
}

/// All parts of an expression but itself.
pub(crate) fn below(expr: &Expr) -> Vec<&Expr> {
    let mut parts = Vec::new();
    for child in expr.children() {
        parts.push(child);
        parts.extend(below(child));
    }
    parts
}
