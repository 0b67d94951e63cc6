//! Columns of decoded samples: what chunks are decoded into and what the query engine reads.

mod column;

use std::ops::Range;
use std::sync::Arc;

use self::column::SparseColumn;
use crate::histogram::FloatHistogram;
use crate::{Sample, stale};

/// A run of decoded samples of one series, as parallel columns in time order.
///
/// Decoders append to a batch and engines read whole columns from it, so that no call is made per
/// sample. A batch is meant to be cleared and filled again.
///
/// A sample is a float or a native histogram. The column of histograms is made by the first of
/// them, so that batches of floats do without; [`has_histograms`](Self::has_histograms) tells which
/// kind of batch it is. Likewise there are start timestamps only in batches in which a sample has
/// one.
#[derive(Clone, Debug, Default)]
pub struct SampleBatch {
    timestamps: Vec<i64>,
    values: Vec<f64>,
    histograms: SparseColumn<Option<Arc<FloatHistogram>>>,
    /// Zero for none.
    start_timestamps: SparseColumn<i64>,
}

impl SampleBatch {
    /// Makes an empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes all samples, keeping the memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
        self.histograms.truncate(0);
        self.start_timestamps.truncate(0);
    }

    /// Makes room for `additional` more samples.
    pub fn reserve(&mut self, additional: usize) {
        self.timestamps.reserve(additional);
        self.values.reserve(additional);
    }

    /// Appends one float sample.
    #[inline]
    pub fn push(&mut self, timestamp: i64, value: f64) {
        self.timestamps.push(timestamp);
        self.values.push(value);
    }

    /// Appends one histogram sample.
    ///
    /// A staleness marker is pushed as a float even where it ends a series of histograms.
    pub fn push_histogram(&mut self, timestamp: i64, histogram: Arc<FloatHistogram>) {
        self.histograms.set(self.len(), Some(histogram));
        self.push(timestamp, stale::NORMAL_NAN);
    }

    /// Says since when the last sample has been counting, in milliseconds since the Unix epoch;
    /// zero for unknown.
    ///
    /// # Panics
    /// If there are no samples.
    pub fn set_last_start_timestamp(&mut self, start: i64) {
        let last = self.len().checked_sub(1).expect("a start timestamp is that of a sample");
        self.start_timestamps.set(last, start);
    }

    /// Says since when the last samples have been counting, as many as there are `starts`.
    pub(crate) fn set_last_start_timestamps(&mut self, starts: &[i64]) {
        let from = self.len().checked_sub(starts.len()).expect("there are as many samples");
        self.start_timestamps.extend_from_slice(from, starts);
    }

    /// Appends the samples of `other` whose indexes are in `range`.
    ///
    /// # Panics
    /// If the range exceeds the samples of `other`.
    pub fn extend_from_batch(&mut self, other: &Self, range: Range<usize>) {
        let before = self.len();
        self.histograms.extend_from_slice(before, other.histograms.slice(&range));
        self.start_timestamps.extend_from_slice(before, other.start_timestamps.slice(&range));
        self.timestamps.extend_from_slice(&other.timestamps[range.clone()]);
        self.values.extend_from_slice(&other.values[range]);
    }

    /// Appends columns of equal length, of float samples.
    ///
    /// # Panics
    /// If the columns differ in length.
    pub fn extend_from_columns(&mut self, timestamps: &[i64], values: &[f64]) {
        assert_eq!(timestamps.len(), values.len(), "columns of one batch have one length");
        self.timestamps.extend_from_slice(timestamps);
        self.values.extend_from_slice(values);
    }

    /// Appends `additional` zero samples and hands out their columns for a decoder to fill.
    pub(crate) fn extend_zeroed(&mut self, additional: usize) -> (&mut [i64], &mut [f64]) {
        let before = self.len();
        self.timestamps.resize(before + additional, 0);
        self.values.resize(before + additional, 0.0);
        (&mut self.timestamps[before..], &mut self.values[before..])
    }

    /// Removes every sample from index `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.timestamps.truncate(len);
        self.values.truncate(len);
        self.histograms.truncate(len);
        self.start_timestamps.truncate(len);
    }

    /// Removes the samples at `range`; those behind it move up.
    ///
    /// # Panics
    /// If the range is not within the batch.
    pub fn remove(&mut self, range: Range<usize>) {
        self.timestamps.drain(range.clone());
        self.values.drain(range.clone());
        self.histograms.remove(&range);
        self.start_timestamps.remove(&range);
    }

    /// The columns of timestamps and values, with what room they have beyond; what is a histogram or has
    /// a start timestamp is not told any more.
    pub fn into_columns(self) -> (Vec<i64>, Vec<f64>) {
        (self.timestamps, self.values)
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Tells whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Timestamps in milliseconds since the Unix epoch, ascending.
    pub fn timestamps(&self) -> &[i64] {
        &self.timestamps
    }

    /// Values, one per timestamp, staleness markers included.
    ///
    /// That of a histogram sample is a NaN that means nothing and is no staleness marker.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Tells whether any sample is a histogram.
    #[inline]
    pub fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// The histogram of the sample at `index`; `None` if it is a float sample.
    #[inline]
    pub fn histogram(&self, index: usize) -> Option<&Arc<FloatHistogram>> {
        self.histograms.get(index)?.as_ref()
    }

    /// Tells whether any sample has a start timestamp.
    #[inline]
    pub fn has_start_timestamps(&self) -> bool {
        !self.start_timestamps.is_empty()
    }

    /// Since when the samples have been counting, in milliseconds since the Unix epoch, zero for
    /// unknown. Ends with the last sample of which it is known.
    pub fn start_timestamps(&self) -> &[i64] {
        self.start_timestamps.slice(&(0..self.len()))
    }

    /// Since when the sample at `index` has been counting, in milliseconds since the Unix epoch;
    /// zero if that is unknown.
    #[inline]
    pub fn start_timestamp(&self, index: usize) -> i64 {
        self.start_timestamps.get(index).copied().unwrap_or_default()
    }

    /// Iterates over the samples in time order, as if all were floats: see
    /// [`values`](Self::values).
    pub fn iter(&self) -> impl Iterator<Item = Sample> + '_ {
        self.timestamps.iter().zip(&self.values).map(|(&t, &v)| Sample::new(t, v))
    }
}

impl Extend<Sample> for SampleBatch {
    fn extend<I: IntoIterator<Item = Sample>>(&mut self, samples: I) {
        let samples = samples.into_iter();
        self.reserve(samples.size_hint().0);
        for sample in samples {
            self.push(sample.timestamp, sample.value);
        }
    }
}

impl FromIterator<Sample> for SampleBatch {
    fn from_iter<I: IntoIterator<Item = Sample>>(samples: I) -> Self {
        let mut batch = Self::new();
        batch.extend(samples);
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(batch: &SampleBatch) -> Vec<bool> {
        (0..batch.len()).map(|i| batch.histogram(i).is_some()).collect()
    }

    #[test]
    fn histograms_keep_their_places_among_floats() {
        let histogram = Arc::new(FloatHistogram::default());
        let mut batch = SampleBatch::new();
        batch.push(1, 1.0);
        assert!(!batch.has_histograms());
        batch.push_histogram(2, Arc::clone(&histogram));
        batch.push(3, 3.0);
        batch.push_histogram(4, histogram);
        batch.extend_from_columns(&[5], &[5.0]);
        assert_eq!(kinds(&batch), [false, true, false, true, false]);
        assert_eq!(batch.histogram(5), None);
        assert!(!stale::is_stale(batch.values()[1]));

        let mut part = SampleBatch::new();
        part.extend_from_batch(&batch, 0..1);
        assert!(!part.has_histograms());
        part.extend_from_batch(&batch, 1..3);
        part.extend_from_batch(&batch, 3..5);
        assert_eq!(part.timestamps(), [1, 2, 3, 4, 5]);
        assert_eq!(kinds(&part), kinds(&batch));

        batch.truncate(3);
        batch.push_histogram(6, Arc::default());
        assert_eq!(kinds(&batch), [false, true, false, true]);
        batch.truncate(1);
        assert!(!batch.has_histograms());
        part.remove(0..2);
        assert_eq!(part.timestamps(), [3, 4, 5]);
        assert_eq!(kinds(&part), [false, true, false]);
        part.remove(1..3);
        assert!(part.timestamps() == [3] && !part.has_histograms());
        part.clear();
        assert!(!part.has_histograms());
    }

    #[test]
    fn start_timestamps_stay_with_their_samples() {
        let mut batch = SampleBatch::new();
        for t in 0..6 {
            batch.push(t, 0.0);
            if t % 2 == 1 {
                batch.set_last_start_timestamp(-t);
            }
        }
        let starts = |batch: &SampleBatch| -> Vec<i64> {
            (0..batch.len()).map(|i| batch.start_timestamp(i)).collect()
        };
        assert_eq!(starts(&batch), [0, -1, 0, -3, 0, -5]);
        let mut part = SampleBatch::new();
        part.extend_from_batch(&batch, 0..1);
        assert!(!part.has_start_timestamps());
        part.extend_from_batch(&batch, 1..5);
        assert_eq!(starts(&part), [0, -1, 0, -3, 0]);
        assert_eq!(part.start_timestamps(), [0, -1, 0, -3]);
        part.remove(1..3);
        assert_eq!(starts(&part), [0, -3, 0]);
        part.truncate(1);
        assert!(!part.has_start_timestamps());
        part.push(9, 0.0);
        part.set_last_start_timestamp(0);
        assert!(!part.has_start_timestamps());
    }
}
