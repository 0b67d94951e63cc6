//! A sample of a page in any format.

use std::borrow::Cow;

use ferula_tsdb::NativeHistogram;

use super::text::{ExemplarLine, TextParser};

/// Names and values of labels.
pub(crate) type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// A sample, and what its series is known by from scrape to scrape.
#[derive(Clone, Debug)]
pub(crate) struct Sample<'a> {
    /// Text that is the same for the same series of a target, and another one for any other.
    pub(crate) series: &'a [u8],
    pub(crate) value: SampleValue,
    /// Time in milliseconds, if the page tells it.
    pub(crate) timestamp: Option<i64>,
    /// Since when the series has been counting, in milliseconds; zero if that is not known.
    pub(crate) start: i64,
}

/// The value of a sample.
#[derive(Clone, Debug)]
pub(crate) enum SampleValue {
    Float(f64),
    Histogram(Box<NativeHistogram>),
}

/// What is asked of a sample only where it is wanted.
pub(crate) trait SampleSource {
    /// Labels, the metric name first.
    fn labels(&self) -> Pairs<'_>;

    /// Exemplars, those without a time included.
    fn exemplars(&self) -> Vec<ExemplarLine<'_>>;
}

impl SampleSource for TextParser<'_> {
    fn labels(&self) -> Pairs<'_> {
        self.labels()
    }

    fn exemplars(&self) -> Vec<ExemplarLine<'_>> {
        self.exemplar_line().into_iter().collect()
    }
}
