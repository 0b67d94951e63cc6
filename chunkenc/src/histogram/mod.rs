//! Native histograms: distributions in buckets of a resolution given by a schema.

/// Whether a histogram may be the first after a counter reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterResetHint {
    /// Not known; the histogram has to be compared with the one before.
    #[default]
    Unknown,
    /// There was a reset in front of it.
    Reset,
    /// There was none.
    NotReset,
    /// The histogram is a gauge, to which resets mean nothing.
    Gauge,
}

/// A run of neighbouring buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Buckets between the end of the previous span and this one; the index of the first bucket for
    /// the first span.
    pub offset: i32,
    /// Number of buckets.
    pub length: u32,
}

/// A native histogram whose counts are floats.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatHistogram {
    /// Whether it may follow a counter reset.
    pub counter_reset_hint: CounterResetHint,
    /// Resolution of the buckets.
    pub schema: i32,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// Observations in all.
    pub count: f64,
    /// Sum of all observations.
    pub sum: f64,
    /// Where the buckets of positive observations are.
    pub positive_spans: Vec<Span>,
    /// Where the buckets of negative observations are.
    pub negative_spans: Vec<Span>,
    /// Counts of the positive buckets.
    pub positive_buckets: Vec<f64>,
    /// Counts of the negative buckets.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds of custom buckets.
    pub custom_values: Vec<f64>,
}
