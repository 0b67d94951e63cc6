//! The lines in which the golden files write histograms.

use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Histogram, Span};

/// Parses the elements of a comma-separated list, which is `-` if there are none.
fn list<T>(text: &str, parse: impl Fn(&str) -> T) -> Vec<T> {
    if text == "-" { Vec::new() } else { text.split(',').map(parse).collect() }
}

/// Parses the bits of a float.
pub(crate) fn float(text: &str) -> f64 {
    f64::from_bits(u64::from_str_radix(text, 16).unwrap())
}

fn spans(text: &str) -> Vec<Span> {
    list(text, |span| {
        let (offset, length) = span.split_once(':').unwrap();
        Span::new(offset.parse().unwrap(), length.parse().unwrap())
    })
}

fn hint(text: &str) -> CounterResetHint {
    use CounterResetHint::{Gauge, NotReset, Reset, Unknown};
    [Unknown, Reset, NotReset, Gauge][text.parse::<usize>().unwrap()]
}

fn fields(line: &str) -> [&str; 11] {
    line.split(' ').collect::<Vec<_>>().try_into().unwrap()
}

/// Parses a histogram of floats.
pub(crate) fn float_histogram(line: &str) -> FloatHistogram {
    let fields = fields(line);
    FloatHistogram {
        counter_reset_hint: hint(fields[0]),
        schema: fields[1].parse().unwrap(),
        zero_threshold: float(fields[2]),
        zero_count: float(fields[3]),
        count: float(fields[4]),
        sum: float(fields[5]),
        positive_spans: spans(fields[6]),
        positive_buckets: list(fields[7], float),
        negative_spans: spans(fields[8]),
        negative_buckets: list(fields[9], float),
        custom_values: list(fields[10], float).into(),
    }
}

/// Parses a histogram of integers.
pub(crate) fn histogram(line: &str) -> Histogram {
    let fields = fields(line);
    Histogram {
        counter_reset_hint: hint(fields[0]),
        schema: fields[1].parse().unwrap(),
        zero_threshold: float(fields[2]),
        zero_count: fields[3].parse().unwrap(),
        count: fields[4].parse().unwrap(),
        sum: float(fields[5]),
        positive_spans: spans(fields[6]),
        positive_buckets: list(fields[7], |n| n.parse().unwrap()),
        negative_spans: spans(fields[8]),
        negative_buckets: list(fields[9], |n| n.parse().unwrap()),
        custom_values: list(fields[10], float).into(),
    }
}
