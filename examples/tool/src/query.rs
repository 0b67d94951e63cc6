//! `ferula query`: a PromQL expression over a directory.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::FloatHistogram;
use ferula_index::labels::is_legacy_metric_name;
use ferula_index::{Labels, LabelsBuilder, METRIC_NAME};
use ferula_promql::{Engine, EngineOptions, Error, QueryResult, Value};
use ferula_tsdb::Db;
use ferula_wire::api::query_json;
use ferula_wire::cli::{self, Failure};

use crate::Outcome;
use crate::output::{self, Output};

/// Flags of `ferula query`.
#[derive(Args, Debug)]
pub(crate) struct Flags {
    /// Data directory.
    dir: PathBuf,

    /// PromQL expression.
    expression: String,

    /// When to evaluate, in Unix seconds or RFC 3339; now if absent.
    #[arg(long, value_name = "TIME", value_parser = cli::parse_time)]
    time: Option<i64>,

    /// First step of a range query, in Unix seconds or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = cli::parse_time, conflicts_with = "time",
          requires_all = ["end", "step"])]
    start: Option<i64>,

    /// End of a range query, in Unix seconds or RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = cli::parse_time, requires = "start")]
    end: Option<i64>,

    /// Distance of the steps of a range query, in seconds or with a unit as in 1m30s.
    #[arg(long, value_name = "DURATION", value_parser = cli::parse_duration, requires = "start")]
    step: Option<i64>,

    #[command(flatten)]
    output: Output,
}

/// Writes the answer to standard output, warnings and infos to standard error.
pub(crate) fn run(flags: &Flags) -> Result<Outcome, Failure> {
    output::check_store(&flags.dir)?;
    let db = Arc::new(Db::open_read_only(&flags.dir)?);
    let engine = Engine::new(EngineOptions::default());
    let text = flags.expression.as_str();
    let query = match (flags.start, flags.end, flags.step) {
        (Some(start), Some(end), Some(step)) => engine.range(db, text, start, end, step),
        _ => engine.instant(db, text, flags.time.unwrap_or_else(cli::now_ms)),
    }
    .map_err(with_excerpt)?;
    if flags.output.json {
        let mut json = query_json(&query)?;
        json.push(b'\n');
        io::stdout().lock().write_all(&json)?;
        return Ok(Outcome::Done);
    }
    let result = query.run()?;
    for annotation in result.annotations.iter() {
        eprintln!("{}", annotation.text(text));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    write(&mut out, &result)?;
    out.flush()?;
    Ok(Outcome::Done)
}

/// Adds the line of the expression, with the place marked, to what is wrong with it.
fn with_excerpt(error: Error) -> Failure {
    match error {
        Error::Parse(error) => format!("{error:#}").into(),
        error => error.into(),
    }
}

fn write(out: &mut impl Write, result: &QueryResult) -> io::Result<()> {
    match &result.value {
        Value::Scalar(sample) => {
            writeln!(out, "scalar: {} @[{}]", Number(sample.value), Seconds(sample.timestamp))
        }
        Value::String { timestamp, text } => {
            writeln!(out, "string: {text:?} @[{}]", Seconds(*timestamp))
        }
        Value::Vector(samples) => samples.iter().try_for_each(|sample| {
            let (series, time) = (Series(&sample.labels), Seconds(sample.timestamp));
            match &sample.histogram {
                Some(histogram) => writeln!(out, "{series} => {} @[{time}]", Buckets(histogram)),
                None => writeln!(out, "{series} => {} @[{time}]", Number(sample.value)),
            }
        }),
        Value::Matrix(all) => all.iter().try_for_each(|series| {
            writeln!(out, "{} =>", Series(&series.labels))?;
            write_samples(out, &series.samples)
        }),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "a value of a kind not known here")),
    }
}

/// Writes a line for each sample, the floats first, as promtool does.
fn write_samples(out: &mut impl Write, samples: &SampleBatch) -> io::Result<()> {
    for (i, sample) in samples.iter().enumerate() {
        if samples.histogram(i).is_none() {
            writeln!(out, "{} @[{}]", Number(sample.value), Seconds(sample.timestamp))?;
        }
    }
    for (i, timestamp) in samples.timestamps().iter().enumerate() {
        if let Some(histogram) = samples.histogram(i) {
            writeln!(out, "{} @[{}]", Buckets(histogram), Seconds(*timestamp))?;
        }
    }
    Ok(())
}

/// A histogram, with its buckets that are not empty.
struct Buckets<'a>(&'a FloatHistogram);

impl fmt::Display for Buckets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let histogram = self.0;
        let [count, sum] = [histogram.count, histogram.sum].map(|value| {
            if value.is_finite() { format!("{value:.6}") } else { Number(value).to_string() }
        });
        write!(f, "Count: {count}, Sum: {sum}, Buckets: [")?;
        let buckets = histogram.all_buckets().filter(|bucket| bucket.count != 0.0);
        for (i, bucket) in buckets.enumerate() {
            let separator = if i > 0 { " " } else { "" };
            // Bounds may have an exponent, counts have none.
            let text = bucket.to_string();
            let bounds = text.rsplit_once(':').map_or("", |(bounds, _)| bounds);
            write!(f, "{separator}{bounds}:{}", Number(bucket.count))?;
        }
        f.write_str("]")
    }
}

/// A value, with as many digits as tell it apart and no exponent.
struct Number(f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            value => write!(f, "{value}"),
        }
    }
}

/// Milliseconds, written as seconds.
struct Seconds(i64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let ms = self.0.unsigned_abs();
        write!(f, "{sign}{}", ms / 1000)?;
        match ms % 1000 {
            0 => Ok(()),
            fraction => write!(f, ".{fraction:03}"),
        }
    }
}

/// A series as one would select it: the metric's name in front where that is possible.
struct Series<'a>(&'a Labels);

impl fmt::Display for Series<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.metric_name();
        if name.is_empty() || !is_legacy_metric_name(name) {
            return write!(f, "{}", self.0);
        }
        let mut rest = LabelsBuilder::from_labels(self.0);
        rest.remove(METRIC_NAME);
        match rest.build() {
            Ok(rest) if rest.is_empty() => f.write_str(name),
            Ok(rest) => write!(f, "{name}{rest}"),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use ferula_chunkenc::histogram::Span;

    use super::*;

    #[test]
    fn values_and_times_have_no_exponent() {
        for (value, text) in [
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (-0.5, "-0.5"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(Number(value).to_string(), text);
        }
        for (ms, text) in [(1500, "1.500"), (-1, "-0.001"), (60_000, "60"), (-61_000, "-61")] {
            assert_eq!(Seconds(ms).to_string(), text);
        }
    }

    #[test]
    fn histograms_follow_the_floats() {
        let histogram = FloatHistogram {
            count: 2_000_001.0,
            sum: 3.25,
            zero_threshold: 0.001,
            zero_count: 1.0,
            positive_spans: vec![Span { offset: 0, length: 2 }],
            positive_buckets: vec![0.0, 2_000_000.0],
            ..FloatHistogram::default()
        };
        let mut samples = SampleBatch::new();
        samples.push_histogram(1000, Arc::new(histogram));
        samples.push(2000, 0.5);
        samples.push_histogram(3000, Arc::default());
        let mut out = Vec::new();
        write_samples(&mut out, &samples).expect("memory takes all");
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "0.5 @[2]\n\
             Count: 2000001.000000, Sum: 3.250000, Buckets: [[-0.001,0.001]:1 (1,2]:2000000] @[1]\n\
             Count: 0.000000, Sum: 0.000000, Buckets: [] @[3]\n"
        );
    }

    #[test]
    fn names_stand_in_front_where_they_can() {
        for (pairs, text) in [
            (vec![("__name__", "up")], "up"),
            (vec![("__name__", "up"), ("job", "a")], r#"up{job="a"}"#),
            (vec![("job", "a")], r#"{job="a"}"#),
            (vec![("__name__", "ü p")], r#"{__name__="ü p"}"#),
            (vec![], "{}"),
        ] {
            let labels = Labels::from_pairs(pairs).expect("valid labels");
            assert_eq!(Series(&labels).to_string(), text);
        }
    }
}
