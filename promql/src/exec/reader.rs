//! Reading series of a storage, and what the samples that are read take up.

use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_index::Labels;

use super::batch::SeriesMeta;
use super::context::METADATA_LABELS;
use super::metas::{CHECK_EVERY, Metas};
use super::{Context, stats};
use crate::Error;
use crate::ledger::Charge;
use crate::limits::{self, Limits};
use crate::storage::{Room, SeriesSet, StorageError};

/// Bytes of a sample: time and number.
const SAMPLE_BYTES: usize = size_of::<i64>() + size_of::<f64>();

/// Samples after which time and cancellation are looked at.
const CHECK_SAMPLES: usize = 1 << 14;

/// Labels of all series of a set: at least those with the `needed` names and those that describe the
/// metric, if there are any given.
pub(super) fn metas(
    set: &dyn SeriesSet,
    needed: Option<&[&str]>,
    context: &Context,
) -> Result<Metas, Error> {
    let needed = needed.map(|names| [names, &METADATA_LABELS].concat());
    metas_with(set, needed.as_deref(), context)
}

/// Labels of all series of a set: at least those with the `needed` names, if there are any given.
pub(super) fn metas_with(
    set: &dyn SeriesSet,
    needed: Option<&[&str]>,
    context: &Context,
) -> Result<Metas, Error> {
    let mut metas = Metas::builder(context, set.len())?;
    let mut at = 0;
    while at < set.len() {
        let end = set.len().min(at + CHECK_EVERY);
        for labels in set.labels_in(at..end, needed) {
            metas.push_made(SeriesMeta::new(labels))?;
        }
        at = end;
    }
    Ok(metas.build())
}

/// What a batch of samples takes up, and the samples that it counts as.
pub(crate) struct BatchCharge {
    charge: Charge,
    /// Bytes of a sample, what is computed from it on the way included.
    sample_bytes: usize,
    /// Samples that there is room for.
    room: usize,
    /// Samples that are counted as held: as many as the largest series had.
    held: usize,
    /// Samples whose histograms are counted, and the bytes of these.
    seen: usize,
    histogram_bytes: usize,
    /// Samples there were when time and cancellation were last looked at.
    checked: usize,
}

impl BatchCharge {
    /// A charge for an empty batch, of whose samples each takes `scratch` bytes more.
    pub(crate) fn new(scratch: usize, context: &Context) -> Self {
        Self {
            charge: context.charge("samples of a series"),
            sample_bytes: SAMPLE_BYTES + scratch,
            room: 0,
            held: 0,
            seen: 0,
            histogram_bytes: 0,
            checked: 0,
        }
    }

    /// Empties the batch, whose memory is kept.
    pub(crate) fn clear(&mut self, batch: &mut SampleBatch) {
        batch.clear();
        (self.seen, self.checked) = (0, 0);
        self.charge.lower_by(std::mem::take(&mut self.histogram_bytes));
    }

    /// Takes memory for `n_samples` more.
    pub(crate) fn reserve(&mut self, batch: &SampleBatch, n_samples: usize) -> Result<(), Error> {
        self.count_histograms(batch)?;
        let needed = batch.len().saturating_add(n_samples);
        if needed > self.room {
            // As much as a list grows that has too little room.
            let room = needed.max(self.room.saturating_mul(2));
            self.charge.add_each(room - self.room, self.sample_bytes)?;
            self.room = room;
        }
        if needed.saturating_sub(self.checked) >= CHECK_SAMPLES {
            self.checked = needed;
            self.limits().check()?;
        }
        Ok(())
    }

    /// Counts what the batch holds now.
    pub(crate) fn settle(&mut self, batch: &SampleBatch) -> Result<(), Error> {
        self.reserve(batch, 0)?;
        let weight = limits::weight_of_batch(batch);
        if weight > self.held {
            let more = weight - self.held;
            self.held = weight;
            self.limits().hold(more)?;
        }
        Ok(())
    }

    fn count_histograms(&mut self, batch: &SampleBatch) -> Result<(), Error> {
        if !batch.has_histograms() {
            return Ok(());
        }
        let new = self.seen..batch.len();
        let sizes = new.clone().map(|at| batch.histogram(at).map_or(0, |h| h.size_bytes()));
        let bytes = sizes.sum::<usize>() + new.len() * size_of::<usize>();
        self.charge.add(bytes)?;
        self.histogram_bytes += bytes;
        self.seen = batch.len();
        Ok(())
    }

    fn limits(&self) -> &Arc<Limits> {
        self.charge.limits()
    }
}

impl Room for BatchCharge {
    fn make(&mut self, batch: &SampleBatch, n_samples: usize) -> Result<(), StorageError> {
        Ok(self.reserve(batch, n_samples)?)
    }
}

impl Drop for BatchCharge {
    fn drop(&mut self) {
        self.limits().release(self.held);
    }
}

/// Reads the series of a set, one at a time.
pub(super) struct Reader {
    set: Arc<dyn SeriesSet>,
    /// Buckets of histograms are left behind.
    stats_only: bool,
    charge: BatchCharge,
    scratch: usize,
    context: Context,
}

impl Reader {
    /// A reader for someone who needs `scratch` bytes more for each sample.
    pub(super) fn new(
        set: Arc<dyn SeriesSet>,
        stats_only: bool,
        scratch: usize,
        context: &Context,
    ) -> Self {
        let charge = BatchCharge::new(scratch, context);
        Self { set, stats_only, charge, scratch, context: context.clone() }
    }

    /// Labels of the series at `index`.
    pub(super) fn labels(&self, index: usize) -> Labels {
        self.set.labels(index)
    }

    /// Another reader of the same series.
    pub(super) fn fork(&self) -> Self {
        Self::new(Arc::clone(&self.set), self.stats_only, self.scratch, &self.context)
    }

    /// Replaces what `batch` holds by the samples of the series at `index`.
    pub(super) fn read(&mut self, index: usize, batch: &mut SampleBatch) -> Result<(), Error> {
        self.context.limits.check()?;
        self.charge.clear(batch);
        let read = self.set.read_within(index, batch, &mut self.charge);
        read.map_err(Error::of_storage)?;
        self.context.limits.count_read(batch.len());
        if let Some(stats) = &self.context.stats {
            stats.count_samples(batch.len());
        }
        if self.stats_only {
            stats::leave_buckets(batch);
        }
        self.charge.settle(batch)
    }
}
