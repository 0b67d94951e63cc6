//! What is wrong with a histogram.

/// Which buckets of a histogram an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Those of positive observations, or all custom ones.
    Positive,
    /// Those of negative observations.
    Negative,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
        })
    }
}

/// Rules that a histogram breaks, or that keep two of them from being combined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistogramError {
    /// The schema is not one that can be computed with.
    #[error("schema {schema} is not valid: exponential ones are -4 to 8, custom buckets are -53")]
    InvalidSchema {
        /// The schema found.
        schema: i32,
    },
    /// The schema is not one that a chunk may hold.
    #[error("schema {schema} is unknown: exponential ones are -9 to 52, custom buckets are -53")]
    UnknownSchema {
        /// The schema found.
        schema: i64,
    },
    /// A span other than the first begins before the one in front of it ends.
    #[error("{side} side: span {span} has the negative offset {offset}")]
    SpanOffset {
        /// Which buckets.
        side: Side,
        /// Index of the span, from zero.
        span: usize,
        /// Its offset.
        offset: i32,
    },
    /// The spans cover another number of buckets than there are.
    #[error("{side} side: spans need {needed} buckets, {found} are there")]
    SpansBucketsMismatch {
        /// Which buckets.
        side: Side,
        /// Number of buckets that the spans cover.
        needed: u64,
        /// Number of buckets found.
        found: usize,
    },
    /// A bucket counts fewer than no observations.
    #[error("{side} side: bucket {bucket} has a negative count")]
    NegativeBucketCount {
        /// Which buckets.
        side: Side,
        /// Index of the bucket in its list, from zero.
        bucket: usize,
    },
    /// The zero bucket counts fewer than no observations.
    #[error("the zero bucket has a negative count")]
    NegativeZeroCount,
    /// The histogram counts fewer than no observations.
    #[error("the count of observations is negative")]
    NegativeCount,
    /// The count of observations is not that of all buckets.
    #[error("{found} observations in buckets, the count says {count}")]
    CountMismatch {
        /// The count of observations as given.
        count: u64,
        /// The sum over all buckets.
        found: u64,
    },
    /// The sum is not a number, so that some observations are in no bucket; yet the buckets hold
    /// more than the count of observations.
    #[error("{found} observations in buckets, the count says {count}, which is too few")]
    CountNotBigEnough {
        /// The count of observations as given.
        count: u64,
        /// The sum over all buckets.
        found: u64,
    },
    /// A custom bound is not a number.
    #[error("custom bound {index} is not a number")]
    CustomBoundNan {
        /// Index of the bound, from zero.
        index: usize,
    },
    /// A custom bound does not exceed the one in front of it.
    #[error("custom bound {index} does not exceed the one before")]
    CustomBoundsOrder {
        /// Index of the bound, from zero.
        index: usize,
    },
    /// The last custom bound is infinite; that one is implied.
    #[error("the last custom bound is infinite")]
    CustomBoundInfinite,
    /// The custom bounds do not reach as far as the spans.
    #[error("{found} custom bounds are too few for spans over {needed} buckets")]
    CustomBoundsTooFew {
        /// Number of buckets from the first one on, gaps included.
        needed: u64,
        /// Number of bounds found.
        found: usize,
    },
    /// A histogram with custom buckets counts observations in a zero bucket.
    #[error("custom buckets exclude a zero count")]
    CustomZeroCount,
    /// A histogram with custom buckets has a zero threshold.
    #[error("custom buckets exclude a zero threshold")]
    CustomZeroThreshold,
    /// A histogram with custom buckets has negative spans.
    #[error("custom buckets exclude negative spans")]
    CustomNegativeSpans,
    /// A histogram with custom buckets has negative buckets.
    #[error("custom buckets exclude negative buckets")]
    CustomNegativeBuckets,
    /// A histogram with an exponential schema has custom bounds.
    #[error("exponential buckets exclude custom bounds")]
    ExponentialCustomBounds,
    /// One histogram has custom buckets, the other exponential ones.
    #[error("custom and exponential buckets do not combine")]
    IncompatibleSchemas,
    /// A resolution can only be reduced, and only that of exponential buckets.
    #[error("resolution cannot be reduced from schema {from} to {to}")]
    Resolution {
        /// The schema of the histogram.
        from: i32,
        /// The schema asked for.
        to: i32,
    },
}
