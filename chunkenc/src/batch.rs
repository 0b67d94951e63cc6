//! Columns of decoded samples: what chunks are decoded into and what the query engine reads.

use crate::Sample;

/// A run of decoded samples of one series, as parallel columns in time order.
///
/// Decoders append to a batch and engines read whole columns from it, so that no call is made per
/// sample. A batch is meant to be cleared and filled again.
#[derive(Clone, Debug, Default)]
pub struct SampleBatch {
    timestamps: Vec<i64>,
    values: Vec<f64>,
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
    }

    /// Makes room for `additional` more samples.
    pub fn reserve(&mut self, additional: usize) {
        self.timestamps.reserve(additional);
        self.values.reserve(additional);
    }

    /// Appends one sample.
    #[inline]
    pub fn push(&mut self, timestamp: i64, value: f64) {
        self.timestamps.push(timestamp);
        self.values.push(value);
    }

    /// Appends columns of equal length.
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
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Iterates over the samples in time order.
    pub fn iter(&self) -> impl Iterator<Item = Sample> + '_ {
        self.timestamps.iter().zip(&self.values).map(|(&t, &v)| Sample::new(t, v))
    }
}
