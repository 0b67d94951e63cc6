//! What the log holds of a batch.

use ferula_chunkenc::histogram::{FloatHistogram, Histogram};
use ferula_index::SeriesRef;
use ferula_wal::record::histograms::{RefHistogram, encode, encode_custom, encode_v2};
use ferula_wal::record::metadata::RefMetadata;
use ferula_wal::record::{exemplars, metadata, samples, samples_v2};

use super::batch::{Batch, Part, PendingHistogram};
use super::metadata::Described;
use crate::histogram::NativeHistogram;
use crate::metadata::Metadata;

/// The records of one batch at a time, in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Records {
    buffers: Vec<Vec<u8>>,
    n_used: usize,
}

impl Records {
    /// Encodes a batch: its metadata, its samples part by part, then its exemplars.
    pub(super) fn encode(&mut self, batch: &Batch) {
        self.n_used = 0;
        let described = &batch.notes.metadata;
        if !described.is_empty() {
            let entries = described.iter().map(|(series, described)| entry_of(*series, described));
            self.add(|record| metadata::encode(entries, record));
        }
        for Part { floats, started, histograms } in batch.parts() {
            let (floats, started) = (&batch.floats[floats], &batch.started[started]);
            if !floats.is_empty() {
                self.add(|record| samples::encode(floats.iter().copied(), record));
            }
            if !started.is_empty() {
                self.add(|record| samples_v2::encode(started.iter().copied(), record));
            }
            let histograms = &batch.histograms[histograms];
            if !histograms.is_empty() {
                self.encode_histograms(histograms);
            }
        }
        let noted = &batch.notes.exemplars;
        if !noted.is_empty() {
            // Behind the samples, so that whoever follows the log knows of those first.
            self.add(|record| exemplars::encode(noted, record));
        }
    }

    /// Those with start timestamps have records of their own.
    fn encode_histograms(&mut self, histograms: &[PendingHistogram]) {
        let is_started = |pending: &&PendingHistogram| pending.start != 0;
        let plain = || histograms.iter().filter(move |pending| !is_started(pending));
        let integers = || plain().filter_map(integer);
        let floats = || plain().filter_map(float);
        self.add(|record| _ = encode(integers(), record));
        self.add(|record| encode_custom(integers(), record));
        self.add(|record| _ = encode(floats(), record));
        self.add(|record| encode_custom(floats(), record));
        let started = || histograms.iter().filter(is_started);
        if started().any(|pending| pending.histogram.is_integer()) {
            self.add(|record| encode_v2(started().filter_map(integer), record));
        }
        if started().any(|pending| !pending.histogram.is_integer()) {
            self.add(|record| encode_v2(started().filter_map(float), record));
        }
    }

    /// Adds what `encode` writes, if it writes anything.
    fn add(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        if self.n_used == self.buffers.len() {
            self.buffers.push(Vec::new());
        }
        let record = &mut self.buffers[self.n_used];
        record.clear();
        encode(record);
        self.n_used += usize::from(!record.is_empty());
    }

    /// The records, in the order in which they are to be applied.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.buffers[..self.n_used].iter().map(Vec::as_slice)
    }

    /// The record, if it is the only one.
    pub(super) fn single(&self) -> Option<&[u8]> {
        self.iter().next().filter(|_| self.n_used == 1)
    }
}

fn entry_of(series: SeriesRef, described: &Described) -> RefMetadata<'_> {
    let Metadata { metric_type, unit, help } = &described.metadata;
    RefMetadata { series, metric_type: *metric_type, unit: unit.into(), help: help.into() }
}

fn integer(pending: &PendingHistogram) -> Option<RefHistogram<'_, Histogram>> {
    match &pending.histogram {
        NativeHistogram::Integer(histogram) => Some(entry(pending, histogram)),
        NativeHistogram::Float(_) => None,
    }
}

fn float(pending: &PendingHistogram) -> Option<RefHistogram<'_, FloatHistogram>> {
    match &pending.histogram {
        NativeHistogram::Float(histogram) => Some(entry(pending, histogram)),
        NativeHistogram::Integer(_) => None,
    }
}

fn entry<'a, H>(pending: &PendingHistogram, histogram: &'a H) -> RefHistogram<'a, H> {
    let &PendingHistogram { series, start, timestamp, .. } = pending;
    RefHistogram { series, start_timestamp: start, timestamp, histogram }
}
