//! Samples in memory, by series, until they are written aside.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use ferula_index::Labels;

use super::run::Entry;
use crate::block::EncodedChunk;
use crate::error::Error;
use crate::recode::{Recoded, Recoder, Value};

/// Samples that are encoded at once; a multiple of those in a chunk.
const SLICE_SAMPLES: usize = 120 * 64;

/// Bytes that a series takes beside its labels and samples, about: twice in tables, and counts.
const SERIES_BYTES: usize = 160;

/// Samples by series.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    by_labels: HashMap<Labels, usize>,
    series: Vec<(Labels, Vec<Recoded>)>,
    /// The series that was appended to last: mostly the next sample is of the same or of the one after.
    last: usize,
    bytes: usize,
}

/// Why samples could not be written aside.
#[derive(Debug)]
pub(super) enum DrainError {
    Encode(ferula_chunkenc::Error),
    Write(Error),
}

impl Buffer {
    pub(super) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Memory that is taken, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, labels: &Labels, sample: Recoded) {
        let is_last = self.series.get(self.last).is_some_and(|(last, _)| last == labels);
        if !is_last {
            self.last = match self.by_labels.get(labels) {
                Some(at) => *at,
                None => {
                    let at = self.series.len();
                    self.by_labels.insert(labels.clone(), at);
                    self.series.push((labels.clone(), Vec::new()));
                    self.bytes += SERIES_BYTES + labels.size_bytes();
                    at
                }
            };
        }
        if let Value::Histogram(histogram) = &sample.value {
            self.bytes += size_of_val(&**histogram) + histogram.heap_bytes();
        }
        let samples = &mut self.series[self.last].1;
        let before = samples.capacity();
        samples.push(sample);
        self.bytes += (samples.capacity() - before) * size_of::<Recoded>();
    }

    /// Hands all samples to `write`, by block range, labels and time; of several of a series at the same
    /// time the one that came first.
    pub(super) fn drain(
        self,
        range_ms: i64,
        mut write: impl FnMut(&Entry) -> Result<(), Error>,
    ) -> Result<(), DrainError> {
        drop(self.by_labels);
        let mut series = self.series;
        series.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let mut queue = BinaryHeap::new();
        let mut rest: Vec<_> = series
            .into_iter()
            .map(|(labels, mut samples)| {
                // Stable, so that what came first stays first.
                samples.sort_by_key(|sample| sample.timestamp);
                samples.dedup_by_key(|sample| sample.timestamp);
                (labels, samples.into_iter().peekable())
            })
            .collect();
        let start_of = |time: i64| time.div_euclid(range_ms) * range_ms;
        for (at, (_, samples)) in rest.iter_mut().enumerate() {
            if let Some(first) = samples.peek() {
                queue.push(Reverse((start_of(first.timestamp), at)));
            }
        }
        while let Some(Reverse((start, at))) = queue.pop() {
            let (labels, samples) = &mut rest[at];
            let mut chunks = Vec::new();
            loop {
                let mut recoder = Recoder::default();
                let mut n = 0;
                while n < SLICE_SAMPLES
                    && let Some(sample) = samples.next_if(|one| start_of(one.timestamp) == start)
                {
                    recoder.push(sample);
                    n += 1;
                }
                if n == 0 {
                    break;
                }
                encode(&mut recoder, &mut chunks).map_err(DrainError::Encode)?;
            }
            if let Some(next) = samples.peek() {
                queue.push(Reverse((start_of(next.timestamp), at)));
            }
            let entry = Entry { start, labels: labels.clone(), chunks };
            write(&entry).map_err(DrainError::Write)?;
        }
        Ok(())
    }
}

fn encode(
    recoder: &mut Recoder,
    chunks: &mut Vec<EncodedChunk>,
) -> Result<(), ferula_chunkenc::Error> {
    recoder.merge(&[]);
    recoder.encode(chunks)
}
