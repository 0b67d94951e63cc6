//! OpenMetrics texts of any length, read in parts: samples with their times.
//!
//! What Prometheus's `create-blocks-from openmetrics` reads, with one difference: times are rounded to
//! the nearest millisecond rather than cut. Exemplars, units and help texts are read and passed over. A text
//! without `# EOF` at its end is refused, for some of it may be missing.
//!
//! A part of one MiB is in memory at a time, cut at a line feed.

use std::borrow::Cow;
use std::io::Read;

use ferula_index::Labels;

use super::text::{Entry, TextParser};
use super::{MetricType, ParseError, ParseProblem};

/// Longest line, in bytes.
pub const MAX_LINE_BYTES: usize = PART_BYTES;

const PART_BYTES: usize = 1 << 20;

/// A sample of a text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TimedSample<'a> {
    /// The series, its name included.
    pub labels: &'a Labels,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The value; every NaN is the normal one.
    pub value: f64,
    /// The line, counted from 1.
    pub line: usize,
}

/// What keeps a text from being read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError<E: std::error::Error + 'static> {
    /// The input cannot be read.
    #[error("cannot read the text")]
    Io(#[source] std::io::Error),
    /// The text is not OpenMetrics with times.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Whoever takes the samples does not take this one.
    #[error("line {line}")]
    Taken {
        /// The line, counted from 1.
        line: usize,
        /// Why not.
        #[source]
        source: E,
    },
}

/// Reads a text and hands each of its samples to `take`. `on_read` is called with how many bytes were
/// read.
///
/// ```
/// use ferula_wire::exposition::openmetrics::read;
///
/// let mut found = Vec::new();
/// let text = b"# TYPE up gauge\nup{job=\"a\"} 1 1.5\n# EOF\n";
/// read::<std::fmt::Error>(&text[..], &mut |_| {}, &mut |sample| {
///     found.push((sample.labels.to_string(), sample.timestamp, sample.value));
///     Ok(())
/// })?;
/// assert_eq!(found, [(r#"{__name__="up", job="a"}"#.to_owned(), 1500, 1.0)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// See [`ReadError`]. Samples before the place in question were handed on.
pub fn read<E: std::error::Error + 'static>(
    mut input: impl Read,
    on_read: &mut dyn FnMut(u64),
    take: &mut dyn FnMut(TimedSample<'_>) -> Result<(), E>,
) -> Result<(), ReadError<E>> {
    let mut state = State { line: 1, kind: MetricType::Untyped, is_ended: false, last: None };
    let (mut part, mut held) = (vec![0; 2 * PART_BYTES], 0);
    let mut n_read = 0;
    loop {
        let n = match input.read(&mut part[held..]) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            n => n.map_err(ReadError::Io)?,
        };
        held += n;
        n_read += n as u64;
        let end = match n {
            0 => held,
            _ => part[..held].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1),
        };
        // Small reads are gathered, as those of a pipe are.
        if n > 0 && held < PART_BYTES {
            continue;
        }
        if n > 0 && held - end > MAX_LINE_BYTES {
            let limit = MAX_LINE_BYTES;
            return Err(state.error(ParseProblem::LineTooLong { limit }).into());
        }
        state.read(&part[..end], take)?;
        on_read(n_read);
        part.copy_within(end..held, 0);
        held -= end;
        if n == 0 {
            break;
        }
    }
    match state.is_ended {
        true => Ok(()),
        false => Err(state.error(ParseProblem::NoEnd).into()),
    }
}

struct State {
    line: usize,
    kind: MetricType,
    is_ended: bool,
    /// Text and labels of the series read last: mostly the next sample is of the same one.
    last: Option<(Vec<u8>, MetricType, Labels)>,
}

impl State {
    fn error(&self, problem: ParseProblem) -> ParseError {
        ParseError { line: self.line, problem }
    }

    fn read<E: std::error::Error + 'static>(
        &mut self,
        part: &[u8],
        take: &mut dyn FnMut(TimedSample<'_>) -> Result<(), E>,
    ) -> Result<(), ReadError<E>> {
        let mut parser = TextParser::openmetrics_part(part, self.line, self.kind);
        loop {
            self.line = parser.line();
            let Some(entry) = parser.next_entry()? else { break };
            if self.is_ended {
                return Err(self.error(ParseProblem::BehindEnd).into());
            }
            match entry {
                Entry::Sample(sample) => {
                    let missing = || self.error(ParseProblem::NoTimestamp);
                    let timestamp = sample.timestamp.ok_or_else(missing)?;
                    let kind = parser.kind();
                    let is_last = self.last.as_ref().is_some_and(|(series, of_kind, _)| {
                        series == sample.series && *of_kind == kind
                    });
                    if !is_last {
                        let labels = labels_of(parser.labels()).map_err(|error| {
                            self.error(ParseProblem::Labels { found: error.to_string() })
                        })?;
                        self.last = Some((sample.series.to_vec(), kind, labels));
                    }
                    let (_, _, labels) = self.last.as_ref().expect("it was set");
                    let (value, line) = (sample.value, self.line);
                    take(TimedSample { labels, timestamp, value, line })
                        .map_err(|source| ReadError::Taken { line, source })?;
                }
                Entry::End => self.is_ended = true,
                Entry::Help { .. } | Entry::Type { .. } | Entry::Unit { .. } => {}
            }
        }
        (self.line, self.kind) = (parser.line(), parser.kind());
        Ok(())
    }
}

/// Labels with an empty value are as if they were not there.
fn labels_of(pairs: Vec<(Cow<'_, str>, Cow<'_, str>)>) -> Result<Labels, ferula_index::Error> {
    Labels::from_pairs(
        pairs.iter().filter(|(_, value)| !value.is_empty()).map(|(n, v)| (&**n, &**v)),
    )
}

#[cfg(test)]
mod tests {
    use std::fmt::Error as Refusal;

    use super::*;

    type Found = Vec<(String, i64, f64)>;

    fn found(text: &[u8]) -> Result<Found, ReadError<Refusal>> {
        let mut found = Vec::new();
        read(text, &mut |_| {}, &mut |sample| {
            found.push((sample.labels.to_string(), sample.timestamp, sample.value));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn times_are_seconds_and_exemplars_are_passed_over() {
        let text = "# TYPE a histogram\n# UNIT a_seconds seconds\n# HELP a Text.\n\
                    a_bucket{le=\"1\"} 5 1700000000.123 # {trace=\"x y\"} 0.5 1700000000\n\
                    a_bucket{le=\"+Inf\"} 5 -0.001\n# TYPE b stateset\nb{b=\"\"} 1 0\n\
                    {\"ü p\",x=\"\\n\"} NaN 1e3 # {} 1\n# EOF";
        let found = found(text.as_bytes()).expect("it is right");
        let series: Vec<_> =
            found.iter().map(|(labels, time, _)| (labels.as_str(), *time)).collect();
        assert_eq!(
            series,
            [
                (r#"{__name__="a_bucket", le="1.0"}"#, 1_700_000_000_123),
                (r#"{__name__="a_bucket", le="+Inf"}"#, -1),
                (r#"{__name__="b"}"#, 0),
                (r#"{__name__="ü p", x="\n"}"#, 1_000_000),
            ]
        );
        assert!(found[3].2.is_nan());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (text, line, problem) in [
            ("a 1 1\nb 2\n# EOF\n", 2, "no timestamp"),
            ("a 1 1\n", 2, "without # EOF"),
            ("", 1, "without # EOF"),
            ("a 1 1\n# EOF\na 1 2\n", 3, "behind # EOF"),
            ("a 1 1\na 1 x\n# EOF\n", 2, "timestamp"),
            ("a 1 1e300\n# EOF\n", 1, "out of range"),
            ("a 1 NaN\n# EOF\n", 1, "out of range"),
            ("a 1 1 2\n# EOF\n", 1, "exemplar"),
            ("a{b=\"1\",b=\"2\"} 1 1\n# EOF\n", 1, "labels"),
            ("a{b=\"1} 1 1\n# EOF\n", 1, "not closed"),
        ] {
            let error = found(text.as_bytes()).expect_err(text).to_string();
            assert!(error.starts_with(&format!("line {line}: ")), "{text:?}: {error}");
            assert!(error.contains(problem), "{text:?}: {error}");
        }
    }

    #[test]
    fn long_texts_are_read_in_parts() {
        let mut text = Vec::new();
        for i in 0..100_000 {
            text.extend(format!("a{{n=\"{}\"}} {i} {i}\n", i / 100).into_bytes());
        }
        assert!(text.len() > 2 * PART_BYTES);
        text.extend(b"# EOF\n");
        let found = found(&text).expect("it is right");
        assert!(
            found
                .iter()
                .zip(0..)
                .all(|((_, time, value), i)| *time == i * 1000 && *value == i as f64)
        );
        assert_eq!(found.len(), 100_000);
        let line = [b"a{b=\"".to_vec(), vec![b'x'; 2 * PART_BYTES], b"\"} 1 1\n# EOF\n".to_vec()];
        let error = self::found(&line.concat()).expect_err("it is too long").to_string();
        assert!(error.contains("line is longer"), "{error}");
    }
}
