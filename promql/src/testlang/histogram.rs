//! Native histograms in short notation.
//!
//! `{{schema:1 count:3 sum:5 z_bucket:1 z_bucket_w:0.001 buckets:[1 1] offset:-2}}`: what is left
//! out is zero. `n_buckets` and `n_offset` are those of negative observations, `custom_values` the
//! bounds of custom buckets, and `counter_reset_hint` is `unknown`, `reset`, `not_reset` or `gauge`.

use std::sync::Arc;

use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Span};

use super::series::signed_number;
use super::series::{MAX_VALUES, SeriesError, SeriesValue, count, excerpt, is_blank, push};

/// Parses one item, which may stand for several values: `{{…}}`, `{{…}}x2`, `{{…}}+{{…}}x2`.
pub(super) fn item<'a>(
    text: &'a str,
    values: &mut Vec<SeriesValue>,
) -> Result<&'a str, SeriesError> {
    let (first, rest) = notation(text)?;
    let sign = rest.chars().next().filter(|c| matches!(c, '+' | '-'));
    let (step, rest) = match sign {
        Some(_) => {
            let (step, rest) = notation(&rest[1..])?;
            (Some(step), rest)
        }
        None => (None, rest),
    };
    let end = rest.find(is_blank).unwrap_or(rest.len());
    let (repeat, behind) = rest.split_at(end);
    let fail = || SeriesError::Value { text: excerpt(text) };
    let Some(step) = step else {
        let n = if repeat.is_empty() { 1 } else { count(repeat).ok_or_else(fail)? + 1 };
        let Notation { histogram, is_hint_set } = first;
        let histogram = Arc::new(histogram);
        push(values, n, || SeriesValue::Histogram {
            histogram: Arc::clone(&histogram),
            is_hint_set,
        })?;
        return Ok(behind);
    };
    let n_steps = count(repeat).ok_or_else(fail)?;
    progression(first.histogram, &step, sign == Some('-'), n_steps, values)?;
    Ok(behind)
}

/// Appends a histogram and what comes out when another one is added to it, or subtracted, several
/// times over.
fn progression(
    first: FloatHistogram,
    step: &Notation,
    is_falling: bool,
    n_steps: usize,
    values: &mut Vec<SeriesValue>,
) -> Result<(), SeriesError> {
    let n_buckets = |histogram: &FloatHistogram| {
        histogram.positive_buckets.len() + histogram.negative_buckets.len()
    };
    // Every histogram has buckets of its own.
    let size = (1 + n_buckets(&first) + n_buckets(&step.histogram)).saturating_mul(n_steps + 1);
    if size > MAX_VALUES - values.len().min(MAX_VALUES) {
        return Err(SeriesError::TooManyValues { limit: MAX_VALUES });
    }
    // The hint of the step tells whether that of the results matters.
    let is_hint_set = step.is_hint_set;
    let mut current = Arc::new(first);
    for _ in 0..n_steps {
        if current.schema > step.histogram.schema {
            return Err(SeriesError::Progression { reason: "the step has a coarser schema" });
        }
        let mut next = FloatHistogram::clone(&current);
        let combined = if is_falling {
            next.subtract(&step.histogram).is_ok()
        } else {
            next.add(&step.histogram).is_ok()
        };
        if !combined {
            return Err(SeriesError::Progression { reason: "the schemas do not mix" });
        }
        values.push(SeriesValue::Histogram { histogram: current, is_hint_set });
        current = Arc::new(next);
    }
    values.push(SeriesValue::Histogram { histogram: current, is_hint_set });
    Ok(())
}

/// A histogram as it is written.
#[derive(Debug, Default)]
struct Notation {
    histogram: FloatHistogram,
    /// Whether its counter reset hint is given.
    is_hint_set: bool,
}

/// Parses one histogram, and gives the text behind it.
fn notation(text: &str) -> Result<(Notation, &str), SeriesError> {
    let fail = |expected, found| SeriesError::Histogram { expected, found: excerpt(found) };
    let inside = text.strip_prefix("{{").ok_or_else(|| fail("\"{{\"", text))?;
    let end = inside.find("}}").ok_or_else(|| fail("\"}}\"", inside))?;
    let mut fields = Fields::default();
    let mut rest = inside[..end].trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once(':').ok_or_else(|| fail("a key", rest))?;
        let end = match after.strip_prefix('[') {
            Some(list) => 2 + list.find(']').ok_or_else(|| fail("\"]\"", after))?,
            None => after.find(is_blank).unwrap_or(after.len()),
        };
        let (value, behind) = after.split_at(end);
        let key = key.to_ascii_lowercase();
        let field = fields.set(&key, value).ok_or_else(|| fail("a key", rest))?;
        field.ok_or_else(|| fail("a value, once", after))?;
        rest = behind.trim_start();
    }
    Ok((fields.into_notation(), &inside[end + 2..]))
}

/// What is written of a histogram.
#[derive(Debug, Default)]
struct Fields {
    schema: Option<i32>,
    sum: Option<f64>,
    count: Option<f64>,
    zero_count: Option<f64>,
    zero_threshold: Option<f64>,
    custom_values: Option<Vec<f64>>,
    buckets: Option<Vec<f64>>,
    offset: Option<i32>,
    negative_buckets: Option<Vec<f64>>,
    negative_offset: Option<i32>,
    hint: Option<CounterResetHint>,
}

impl Fields {
    /// Sets a field. `None` if there is no such, `Some(None)` if it cannot have the value or has
    /// one already.
    fn set(&mut self, key: &str, value: &str) -> Option<Option<()>> {
        Some(match key {
            "schema" => once(&mut self.schema, value.parse().ok()),
            "sum" => once(&mut self.sum, number(value)),
            "count" => once(&mut self.count, number(value)),
            "z_bucket" => once(&mut self.zero_count, number(value)),
            "z_bucket_w" => once(&mut self.zero_threshold, number(value)),
            "custom_values" => once(&mut self.custom_values, numbers(value)),
            "buckets" => once(&mut self.buckets, numbers(value)),
            "offset" => once(&mut self.offset, value.parse().ok()),
            "n_buckets" => once(&mut self.negative_buckets, numbers(value)),
            "n_offset" => once(&mut self.negative_offset, value.parse().ok()),
            "counter_reset_hint" => once(&mut self.hint, hint(value)),
            _ => return None,
        })
    }

    fn into_notation(self) -> Notation {
        let (positive_spans, positive_buckets) = buckets(self.buckets, self.offset);
        let (negative_spans, negative_buckets) =
            buckets(self.negative_buckets, self.negative_offset);
        let histogram = FloatHistogram {
            counter_reset_hint: self.hint.unwrap_or_default(),
            schema: self.schema.unwrap_or_default(),
            zero_threshold: self.zero_threshold.unwrap_or_default(),
            zero_count: self.zero_count.unwrap_or_default(),
            count: self.count.unwrap_or_default(),
            sum: self.sum.unwrap_or_default(),
            positive_spans,
            negative_spans,
            positive_buckets,
            negative_buckets,
            custom_values: self.custom_values.unwrap_or_default().into(),
        };
        Notation { histogram, is_hint_set: self.hint.is_some() }
    }
}

fn once<T>(field: &mut Option<T>, value: Option<T>) -> Option<()> {
    if field.is_some() {
        return None;
    }
    *field = Some(value?);
    Some(())
}

fn buckets(counts: Option<Vec<f64>>, offset: Option<i32>) -> (Vec<Span>, Vec<f64>) {
    let counts = counts.unwrap_or_default();
    let spans = match u32::try_from(counts.len()) {
        Ok(length) if length > 0 => vec![Span { offset: offset.unwrap_or_default(), length }],
        _ => Vec::new(),
    };
    (spans, counts)
}

fn number(text: &str) -> Option<f64> {
    match signed_number(text) {
        Some((value, "")) => Some(value),
        _ => None,
    }
}

fn numbers(text: &str) -> Option<Vec<f64>> {
    let list = text.strip_prefix('[')?.strip_suffix(']')?;
    list.split_whitespace().map(number).collect()
}

fn hint(text: &str) -> Option<CounterResetHint> {
    match text.to_ascii_lowercase().as_str() {
        "unknown" => Some(CounterResetHint::Unknown),
        "reset" => Some(CounterResetHint::Reset),
        "not_reset" => Some(CounterResetHint::NotReset),
        "gauge" => Some(CounterResetHint::Gauge),
        _ => None,
    }
}
