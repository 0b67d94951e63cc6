//! A native histogram of either kind, as it is appended.

use ferula_chunkenc::histogram::{
    EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MAX_RESERVED, FloatHistogram, Histogram,
    HistogramError,
};
use ferula_chunkenc::stale;

/// A native histogram with integer or with float counts.
#[derive(Clone, Debug)]
pub enum NativeHistogram {
    /// Integer counts, as targets expose them.
    Integer(Histogram),
    /// Float counts, as rules compute them.
    Float(FloatHistogram),
}

impl From<Histogram> for NativeHistogram {
    fn from(histogram: Histogram) -> Self {
        Self::Integer(histogram)
    }
}

impl From<FloatHistogram> for NativeHistogram {
    fn from(histogram: FloatHistogram) -> Self {
        Self::Float(histogram)
    }
}

impl NativeHistogram {
    /// A staleness marker among histograms with integer counts, or with float counts.
    pub(crate) fn stale_marker(is_integer: bool) -> Self {
        let sum = stale::STALE_NAN;
        if is_integer {
            Self::Integer(Histogram { sum, ..Histogram::default() })
        } else {
            Self::Float(FloatHistogram { sum, ..FloatHistogram::default() })
        }
    }

    /// The sum, which tells a staleness marker.
    pub(crate) fn sum(&self) -> f64 {
        match self {
            Self::Integer(histogram) => histogram.sum,
            Self::Float(histogram) => histogram.sum,
        }
    }

    /// The same with float counts.
    pub(crate) fn into_float(self) -> FloatHistogram {
        match self {
            Self::Integer(histogram) => histogram.to_float(),
            Self::Float(histogram) => histogram,
        }
    }

    /// Tells whether the counts are integers.
    pub(crate) fn is_integer(&self) -> bool {
        matches!(self, Self::Integer(_))
    }

    /// What decides on the record of the log that a histogram goes into.
    pub(crate) fn kind(&self) -> (bool, bool) {
        match self {
            Self::Integer(histogram) => (true, histogram.uses_custom_buckets()),
            Self::Float(histogram) => (false, histogram.uses_custom_buckets()),
        }
    }

    /// Tells whether both have the same counts, sum and layout.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.equals(b),
            (Self::Float(a), Self::Float(b)) => a.equals(b),
            _ => false,
        }
    }

    /// Checks whether the parts fit together, and brings reserved resolutions down to the finest one
    /// that is computed with. Of a staleness marker only the sum counts.
    pub(crate) fn normalize(&mut self) -> Result<(), HistogramError> {
        let (sum, schema) = match self {
            Self::Integer(histogram) => (histogram.sum, histogram.schema),
            Self::Float(histogram) => (histogram.sum, histogram.schema),
        };
        if stale::is_stale(sum) {
            *self = Self::stale_marker(self.is_integer());
            return Ok(());
        }
        if schema > EXPONENTIAL_SCHEMA_MAX && schema <= EXPONENTIAL_SCHEMA_MAX_RESERVED {
            match self {
                Self::Integer(histogram) => histogram.reduce_resolution(EXPONENTIAL_SCHEMA_MAX)?,
                Self::Float(histogram) => histogram.reduce_resolution(EXPONENTIAL_SCHEMA_MAX)?,
            }
        }
        match self {
            Self::Integer(histogram) => histogram.validate(),
            Self::Float(histogram) => histogram.validate(),
        }
    }

    /// Bytes of memory beside its own.
    pub(crate) fn heap_bytes(&self) -> usize {
        fn bytes<T>(list: &Vec<T>) -> usize {
            list.capacity() * size_of::<T>()
        }
        match self {
            Self::Integer(h) => {
                bytes(&h.positive_spans)
                    + bytes(&h.negative_spans)
                    + bytes(&h.positive_buckets)
                    + bytes(&h.negative_buckets)
            }
            Self::Float(h) => {
                bytes(&h.positive_spans)
                    + bytes(&h.negative_spans)
                    + bytes(&h.positive_buckets)
                    + bytes(&h.negative_buckets)
            }
        }
    }
}
