//! What tells the coding of integer histograms from that of float histograms.

use std::fmt;
use std::sync::Arc;

use crate::bits::{BitReader, BitWriter};
use crate::histogram::{CounterResetHint, FloatHistogram, Histogram, Span};
use crate::histogram_appender::CutReason;
use crate::histogram_layout::Layout;
use crate::{Encoding, Error};

/// Histograms that chunks hold: [`Histogram`] and [`FloatHistogram`].
#[expect(private_bounds, reason = "the bound is what keeps others from implementing it")]
pub trait ChunkHistogram: Codec {}

impl ChunkHistogram for Histogram {}
impl ChunkHistogram for FloatHistogram {}

/// The layout of a histogram, borrowed from it: positive buckets first, negative ones second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) schema: i32,
    pub(crate) zero_threshold: f64,
    pub(crate) spans: [&'a [Span]; 2],
    pub(crate) n_buckets: [usize; 2],
    pub(crate) custom_values: &'a Arc<[f64]>,
}

impl Shape<'_> {
    pub(crate) fn to_layout(self) -> Layout {
        Layout {
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            spans: self.spans.map(<[Span]>::to_vec),
            custom_values: Arc::clone(self.custom_values),
        }
    }
}

/// How histograms are taken apart, coded, and put together again.
pub(crate) trait Codec: Clone + Default {
    /// Encodings without and with start timestamps.
    const ENCODINGS: [Encoding; 2];

    /// Bits that the first sample takes at least: for each bucket, and for counts and sum.
    const FIRST_BITS: (usize, usize);

    /// Numbers of the last sample, and what is needed to code the next one against them.
    type State: Clone + fmt::Debug + Default;

    /// Counts of buckets, absolute.
    type Count: Copy + Default + PartialOrd;

    fn sum(&self) -> f64;

    fn hint(&self) -> CounterResetHint;

    /// What must be the same for all histograms of a chunk, and how many buckets there are.
    fn shape(&self) -> Shape<'_>;

    /// Absolute counts of the buckets of each side.
    fn bucket_counts(&self) -> [Vec<Self::Count>; 2];

    /// Replaces the buckets of each side.
    fn set_buckets(&mut self, layout: &Layout, counts: [Vec<Self::Count>; 2]);

    /// A staleness marker: a histogram with nothing but a sum.
    fn marker(sum: f64) -> Self;

    /// Writes all numbers of the first sample.
    fn write_first(&self, bits: &mut BitWriter) -> Self::State;

    /// Writes all numbers of a later sample of the same layout, or of a staleness marker.
    fn write_next(&self, bits: &mut BitWriter, state: &mut Self::State);

    /// Reads all numbers of the first sample.
    fn read_first(bits: &mut BitReader<'_>, n_buckets: [usize; 2]) -> Self::State;

    /// Reads all numbers of a later sample.
    fn read_next(bits: &mut BitReader<'_>, state: &mut Self::State) -> Result<(), Error>;

    /// Makes the last sample; `self` lends its memory.
    fn fill(&mut self, layout: &Layout, state: &Self::State, hint: CounterResetHint);

    /// The same with float counts.
    fn into_float(self) -> FloatHistogram;

    /// Merges buckets of a resolution that is only reserved.
    fn reduce_reserved_resolution(&mut self) -> Result<(), Error>;

    fn last_sum(state: &Self::State) -> f64;

    fn last_bucket_counts(state: &Self::State) -> [Vec<Self::Count>; 2];

    /// Tells whether this sample counts fewer observations than the last one.
    fn is_count_reset(&self, state: &Self::State) -> bool;

    /// Tells whether the zero bucket of this sample counts fewer observations than the last one.
    fn is_zero_count_reset(&self, state: &Self::State) -> bool;

    /// What the header says of a chunk that was begun because the last one could not go on.
    fn header_after_cut(reason: CutReason) -> CounterResetHint;

    /// What the header says of a chunk that follows one which could go on, but for the reason.
    fn header_of_next(reason: Option<CutReason>) -> CounterResetHint;
}

/// Counts at the indexes `from`, for the indexes `to`, which contain them.
pub(crate) fn spread<C: Copy + Default>(from: &[i64], counts: &[C], to: &[i64]) -> Vec<C> {
    let mut buckets = from.iter().zip(counts).peekable();
    let count_at = |index| buckets.next_if(|&(at, _)| at == index);
    to.iter().map(count_at).map(|bucket| bucket.map_or(C::default(), |(_, &c)| c)).collect()
}
