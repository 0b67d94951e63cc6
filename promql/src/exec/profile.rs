//! What the operators of one run do, part by part of the plan.
//!
//! Nothing is looked at unless somebody asks: an operator is wrapped where it is made, and then each of
//! its reads costs two looks at the clock.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ferula_chunkenc::SampleBatch;

use super::batch::{Column, SeriesMeta};
use super::{BoxOperator, Operator};
use crate::Error;
use crate::limits::Clock;
use crate::plan::Node;
use crate::storage::SeriesSet;

/// Series that are read to estimate how many samples a selection has.
const ESTIMATE_SERIES: usize = 4;

/// The profile of one run.
pub(crate) struct Profile {
    clock: Option<Arc<dyn Clock>>,
    /// Samples of selections are estimated.
    estimates: bool,
    /// By the address of the part of the plan, which stays where it is meanwhile.
    parts: Mutex<HashMap<usize, Arc<PartStats>>>,
}

/// What was done for a part of the plan, and for the parts of it.
#[derive(Debug, Default)]
pub(crate) struct PartStats {
    /// Series that it has.
    n_series: AtomicU64,
    /// Values that were read.
    n_values: AtomicU64,
    /// Samples that were read from the storage, or are estimated to be.
    n_samples: AtomicU64,
    /// Milliseconds.
    time_ms: AtomicU64,
}

/// The same, read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PartCounts {
    pub(crate) n_series: u64,
    pub(crate) n_values: u64,
    pub(crate) n_samples: u64,
    pub(crate) time_ms: u64,
}

impl Profile {
    pub(crate) fn new(clock: Option<Arc<dyn Clock>>, estimates: bool) -> Self {
        Self { clock, estimates, parts: Mutex::default() }
    }

    /// What is noted of a part of the plan. Parts that are evaluated several times add up.
    pub(crate) fn part(&self, node: &Node) -> Arc<PartStats> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(parts.entry(std::ptr::from_ref(node).addr()).or_default())
    }

    /// What was noted of a part of the plan.
    pub(crate) fn counts(&self, node: &Node) -> PartCounts {
        let part = self.part(node);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        PartCounts {
            n_series: read(&part.n_series),
            n_values: read(&part.n_values),
            n_samples: read(&part.n_samples),
            time_ms: read(&part.time_ms),
        }
    }

    /// Makes the operator of a part, and sees to it that what it does is noted.
    pub(super) fn measured(
        self: &Arc<Self>,
        node: &Node,
        make: impl FnOnce() -> Result<BoxOperator, Error>,
    ) -> Result<BoxOperator, Error> {
        let stats = self.part(node);
        let start = self.now_ms();
        let inner = make()?;
        stats.time_ms.fetch_add(self.now_ms().saturating_sub(start), Ordering::Relaxed);
        stats.n_series.fetch_add(inner.series().len() as u64, Ordering::Relaxed);
        Ok(Box::new(Measured { inner, stats, profile: Arc::clone(self) }))
    }

    fn now_ms(&self) -> u64 {
        self.clock.as_ref().map_or(0, |clock| clock.now_ms())
    }

    /// Notes how many samples a selection is likely to have, if estimates are asked for.
    pub(super) fn estimate(&self, stats: &PartStats, set: &dyn SeriesSet) {
        let n_read = set.len().min(ESTIMATE_SERIES);
        if !self.estimates || n_read == 0 {
            return;
        }
        let mut batch = SampleBatch::new();
        for at in 0..n_read {
            // A series that cannot be read is told when the query is run.
            let _ = set.read(at * set.len() / n_read, &mut batch);
        }
        let estimate = batch.len() as u64 * set.len() as u64 / n_read as u64;
        stats.n_samples.fetch_add(estimate, Ordering::Relaxed);
    }
}

impl PartStats {
    /// Counts samples that came from the storage.
    pub(super) fn count_samples(&self, n_samples: usize) {
        self.n_samples.fetch_add(n_samples as u64, Ordering::Relaxed);
    }
}

/// An operator whose reads are counted.
struct Measured {
    inner: BoxOperator,
    stats: Arc<PartStats>,
    profile: Arc<Profile>,
}

impl Operator for Measured {
    fn series(&self) -> &[SeriesMeta] {
        self.inner.series()
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        let start = self.profile.now_ms();
        self.inner.read(index, out)?;
        let time_ms = self.profile.now_ms().saturating_sub(start);
        self.stats.time_ms.fetch_add(time_ms, Ordering::Relaxed);
        self.stats.n_values.fetch_add(out.count() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn metric_name(&self, index: usize) -> String {
        self.inner.metric_name(index)
    }

    fn fork(&self) -> Option<BoxOperator> {
        let (stats, profile) = (Arc::clone(&self.stats), Arc::clone(&self.profile));
        Some(Box::new(Self { inner: self.inner.fork()?, stats, profile }))
    }
}
