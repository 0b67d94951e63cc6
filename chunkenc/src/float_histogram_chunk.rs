//! Float histograms in chunks: all counts XORed, encodings 3 and 6 of
//! Prometheus.
//!
//! The layout is described in `docs/formats/chunks.md`.

use crate::bits::{BitReader, BitWriter};
use crate::histogram::{CounterResetHint, EXPONENTIAL_SCHEMA_MAX, FloatHistogram};
use crate::histogram_appender::{ChunkAppender, CutReason};
use crate::histogram_codec::{Codec, Shape};
use crate::histogram_iterator::ChunkHistograms;
use crate::histogram_layout::Layout;
use crate::xor::XorValue;
use crate::{Encoding, Error};

/// Appends float histograms to an open chunk.
pub type FloatHistogramAppender = ChunkAppender<FloatHistogram>;

/// Reads the float histograms of a chunk.
pub type FloatHistogramIterator<'a> = ChunkHistograms<'a, FloatHistogram>;

/// The numbers of the last float histogram.
#[derive(Clone, Debug, Default)]
pub(crate) struct FloatState {
    count: XorValue,
    zero_count: XorValue,
    sum: XorValue,
    buckets: [Vec<XorValue>; 2],
}

impl Codec for FloatHistogram {
    const ENCODINGS: [Encoding; 2] = [Encoding::FloatHistogram, Encoding::FloatHistogramSt];
    const FIRST_BITS: (usize, usize) = (64, 192);

    type State = FloatState;
    type Count = f64;

    fn sum(&self) -> f64 {
        self.sum
    }

    fn hint(&self) -> CounterResetHint {
        self.counter_reset_hint
    }

    fn shape(&self) -> Shape<'_> {
        Shape {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            spans: [&self.positive_spans, &self.negative_spans],
            n_buckets: [self.positive_buckets.len(), self.negative_buckets.len()],
            custom_values: &self.custom_values,
        }
    }

    fn bucket_counts(&self) -> [Vec<f64>; 2] {
        [self.positive_buckets.clone(), self.negative_buckets.clone()]
    }

    fn set_buckets(&mut self, layout: &Layout, counts: [Vec<f64>; 2]) {
        [self.positive_spans, self.negative_spans] = layout.spans.clone();
        [self.positive_buckets, self.negative_buckets] = counts;
    }

    fn marker(sum: f64) -> Self {
        Self { sum, ..Self::default() }
    }

    fn write_first(&self, bits: &mut BitWriter) -> FloatState {
        let mut write = |&value: &f64| {
            bits.write_bits(value.to_bits(), 64);
            XorValue::first(value)
        };
        FloatState {
            count: write(&self.count),
            zero_count: write(&self.zero_count),
            sum: write(&self.sum),
            buckets: [&self.positive_buckets, &self.negative_buckets]
                .map(|counts| counts.iter().map(&mut write).collect()),
        }
    }

    fn write_next(&self, bits: &mut BitWriter, state: &mut FloatState) {
        state.count.write(bits, self.count);
        state.zero_count.write(bits, self.zero_count);
        state.sum.write(bits, self.sum);
        // A staleness marker has no buckets.
        let counts = self.positive_buckets.iter().chain(&self.negative_buckets);
        for (bucket, &count) in state.buckets.iter_mut().flatten().zip(counts) {
            bucket.write(bits, count);
        }
    }

    fn read_first(bits: &mut BitReader<'_>, n_buckets: [usize; 2]) -> FloatState {
        let mut read = || XorValue::first(f64::from_bits(bits.read_bits(64)));
        FloatState {
            count: read(),
            zero_count: read(),
            sum: read(),
            buckets: n_buckets.map(|n| (0..n).map(|_| read()).collect()),
        }
    }

    fn read_next(bits: &mut BitReader<'_>, state: &mut FloatState) -> Result<(), Error> {
        state.count.read(bits)?;
        state.zero_count.read(bits)?;
        let sum = state.sum.read(bits)?;
        if !crate::stale::is_stale(sum) {
            for bucket in state.buckets.iter_mut().flatten() {
                bucket.read(bits)?;
            }
        }
        Ok(())
    }

    fn fill(&mut self, layout: &Layout, state: &FloatState, hint: CounterResetHint) {
        self.counter_reset_hint = hint;
        self.schema = layout.schema;
        self.zero_threshold = layout.zero_threshold;
        self.zero_count = state.zero_count.get();
        self.count = state.count.get();
        self.sum = state.sum.get();
        let [positive, negative] = &state.buckets;
        self.positive_spans.clone_from(&layout.spans[0]);
        self.negative_spans.clone_from(&layout.spans[1]);
        for (own, buckets) in
            [(&mut self.positive_buckets, positive), (&mut self.negative_buckets, negative)]
        {
            own.clear();
            own.extend(buckets.iter().map(|bucket| bucket.get()));
        }
        self.custom_values = layout.custom_values.clone();
    }

    fn into_float(self) -> FloatHistogram {
        self
    }

    fn reduce_reserved_resolution(&mut self) -> Result<(), Error> {
        if self.schema > EXPONENTIAL_SCHEMA_MAX {
            self.reduce_resolution(EXPONENTIAL_SCHEMA_MAX)?;
        }
        Ok(())
    }

    fn last_sum(state: &FloatState) -> f64 {
        state.sum.get()
    }

    fn last_bucket_counts(state: &FloatState) -> [Vec<f64>; 2] {
        let [positive, negative] = &state.buckets;
        [positive, negative].map(|side| side.iter().map(|bucket| bucket.get()).collect())
    }

    fn is_count_reset(&self, state: &FloatState) -> bool {
        self.count < state.count.get()
    }

    fn is_zero_count_reset(&self, state: &FloatState) -> bool {
        self.zero_count < state.zero_count.get()
    }

    fn header_after_cut(reason: CutReason) -> CounterResetHint {
        match reason {
            CutReason::CounterReset => CounterResetHint::Reset,
            _ => CounterResetHint::Unknown,
        }
    }

    fn header_of_next(reason: Option<CutReason>) -> CounterResetHint {
        match reason {
            Some(CutReason::CounterReset) => CounterResetHint::Reset,
            _ => CounterResetHint::NotReset,
        }
    }
}
