//! Integer histograms in chunks: differences of differences of all counts, encodings 2 and 5 of
//! Prometheus.
//!
//! The layout is described in `docs/formats/chunks.md`.

use crate::bits::{BitReader, BitWriter};
use crate::histogram::{
    CounterResetHint, EXPONENTIAL_SCHEMA_MAX, FloatHistogram, Histogram, to_counts, to_deltas,
};
use crate::histogram_appender::{ChunkAppender, CutReason};
use crate::histogram_codec::{Codec, Shape};
use crate::histogram_iterator::ChunkHistograms;
use crate::histogram_layout::Layout;
use crate::varbit::{read_int, read_uint, write_int, write_uint};
use crate::xor::XorValue;
use crate::{Encoding, Error};

/// Appends integer histograms to an open chunk.
pub type HistogramAppender = ChunkAppender<Histogram>;

/// Reads the integer histograms of a chunk.
pub type HistogramIterator<'a> = ChunkHistograms<'a, Histogram>;

/// A number and its last change.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changing {
    value: i64,
    change: i64,
}

impl Changing {
    pub(crate) fn first(value: i64) -> Self {
        Self { value, change: 0 }
    }

    pub(crate) fn value(self) -> i64 {
        self.value
    }

    /// Writes how the change changed.
    pub(crate) fn write(&mut self, bits: &mut BitWriter, value: i64) {
        let change = value.wrapping_sub(self.value);
        write_int(bits, change.wrapping_sub(self.change));
        *self = Self { value, change };
    }

    pub(crate) fn read(&mut self, bits: &mut BitReader<'_>) -> i64 {
        self.change = self.change.wrapping_add(read_int(bits));
        self.value = self.value.wrapping_add(self.change);
        self.value
    }
}

/// The numbers of the last integer histogram. Buckets are coded as they are held: as differences
/// between neighbours, which in turn change from sample to sample.
#[derive(Clone, Debug, Default)]
pub(crate) struct IntegerState {
    count: Changing,
    zero_count: Changing,
    sum: XorValue,
    buckets: [Vec<Changing>; 2],
}

impl Codec for Histogram {
    const ENCODINGS: [Encoding; 2] = [Encoding::Histogram, Encoding::HistogramSt];
    const FIRST_BITS: (usize, usize) = (1, 66);

    type State = IntegerState;
    type Count = i64;

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

    fn bucket_counts(&self) -> [Vec<i64>; 2] {
        [to_counts(&self.positive_buckets), to_counts(&self.negative_buckets)]
    }

    fn set_buckets(&mut self, layout: &Layout, counts: [Vec<i64>; 2]) {
        [self.positive_spans, self.negative_spans] = layout.spans.clone();
        [self.positive_buckets, self.negative_buckets] = counts.map(|counts| to_deltas(&counts));
    }

    fn marker(sum: f64) -> Self {
        Self { sum, ..Self::default() }
    }

    fn write_first(&self, bits: &mut BitWriter) -> IntegerState {
        write_uint(bits, self.count);
        write_uint(bits, self.zero_count);
        bits.write_bits(self.sum.to_bits(), 64);
        let write = |deltas: &Vec<i64>| {
            let write = |&delta: &i64| {
                write_int(bits, delta);
                Changing::first(delta)
            };
            deltas.iter().map(write).collect()
        };
        IntegerState {
            count: Changing::first(self.count.cast_signed()),
            zero_count: Changing::first(self.zero_count.cast_signed()),
            sum: XorValue::first(self.sum),
            buckets: [&self.positive_buckets, &self.negative_buckets].map(write),
        }
    }

    fn write_next(&self, bits: &mut BitWriter, state: &mut IntegerState) {
        if self.is_stale() {
            // Counts are written as changing no faster than before, whatever comes of that:
            // nothing but further markers can follow.
            write_int(bits, 0);
            write_int(bits, 0);
            state.sum.write(bits, self.sum);
            return;
        }
        state.count.write(bits, self.count.cast_signed());
        state.zero_count.write(bits, self.zero_count.cast_signed());
        state.sum.write(bits, self.sum);
        let deltas = self.positive_buckets.iter().chain(&self.negative_buckets);
        for (bucket, &delta) in state.buckets.iter_mut().flatten().zip(deltas) {
            bucket.write(bits, delta);
        }
    }

    fn read_first(bits: &mut BitReader<'_>, n_buckets: [usize; 2]) -> IntegerState {
        let count = Changing::first(read_uint(bits).cast_signed());
        let zero_count = Changing::first(read_uint(bits).cast_signed());
        let sum = XorValue::first(f64::from_bits(bits.read_bits(64)));
        let mut read = |n| (0..n).map(|_| Changing::first(read_int(bits))).collect();
        let buckets = n_buckets.map(&mut read);
        IntegerState { count, zero_count, sum, buckets }
    }

    fn read_next(bits: &mut BitReader<'_>, state: &mut IntegerState) -> Result<(), Error> {
        state.count.read(bits);
        state.zero_count.read(bits);
        let sum = state.sum.read(bits)?;
        if !crate::stale::is_stale(sum) {
            for bucket in state.buckets.iter_mut().flatten() {
                bucket.read(bits);
            }
        }
        Ok(())
    }

    fn fill(&mut self, layout: &Layout, state: &IntegerState, hint: CounterResetHint) {
        self.counter_reset_hint = hint;
        self.schema = layout.schema;
        self.zero_threshold = layout.zero_threshold;
        self.zero_count = state.zero_count.value.cast_unsigned();
        self.count = state.count.value.cast_unsigned();
        self.sum = state.sum.get();
        let [positive, negative] = &state.buckets;
        self.positive_spans.clone_from(&layout.spans[0]);
        self.negative_spans.clone_from(&layout.spans[1]);
        for (own, buckets) in
            [(&mut self.positive_buckets, positive), (&mut self.negative_buckets, negative)]
        {
            own.clear();
            own.extend(buckets.iter().map(|bucket| bucket.value));
        }
        self.custom_values = layout.custom_values.clone();
    }

    fn into_float(self) -> FloatHistogram {
        self.to_float()
    }

    fn reduce_reserved_resolution(&mut self) -> Result<(), Error> {
        if self.schema > EXPONENTIAL_SCHEMA_MAX {
            self.reduce_resolution(EXPONENTIAL_SCHEMA_MAX)?;
        }
        Ok(())
    }

    fn last_sum(state: &IntegerState) -> f64 {
        state.sum.get()
    }

    fn last_bucket_counts(state: &IntegerState) -> [Vec<i64>; 2] {
        let deltas = |side: &Vec<Changing>| side.iter().map(|bucket| bucket.value).collect();
        let [positive, negative] = &state.buckets;
        [positive, negative].map(deltas).map(|deltas: Vec<i64>| to_counts(&deltas))
    }

    fn is_count_reset(&self, state: &IntegerState) -> bool {
        self.count < state.count.value.cast_unsigned()
    }

    fn is_zero_count_reset(&self, state: &IntegerState) -> bool {
        self.zero_count < state.zero_count.value.cast_unsigned()
    }

    fn header_after_cut(reason: CutReason) -> CounterResetHint {
        match reason {
            CutReason::CounterReset => CounterResetHint::Reset,
            CutReason::Layout | CutReason::Stale => CounterResetHint::Unknown,
            CutReason::Kind => CounterResetHint::NotReset,
        }
    }

    fn header_of_next(reason: Option<CutReason>) -> CounterResetHint {
        reason.map_or(CounterResetHint::NotReset, Self::header_after_cut)
    }
}
