//! What stops a query before its end: cancellation, time, and the number of samples in memory.
//!
//! The crate reads no clock of its own. A caller who wants timeouts hands in a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::FloatHistogram;

use crate::Error;

/// A source of time for timeouts.
pub trait Clock: Send + Sync {
    /// Milliseconds since some fixed moment, never going back.
    fn now_ms(&self) -> u64;
}

/// Stops a running query from another thread.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle {
    cancelled: Arc<AtomicBool>,
}

impl CancelHandle {
    /// Makes the query end with [`Error::Cancelled`] soon.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Tells whether the query was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// The limits of one running query, and how close it is to them.
pub(crate) struct Limits {
    cancel: CancelHandle,
    deadline: Option<(Arc<dyn Clock>, u64)>,
    max_samples: usize,
    held: AtomicUsize,
    peak: AtomicUsize,
    read: AtomicU64,
}

impl Limits {
    pub(crate) fn new(
        cancel: CancelHandle,
        clock: Option<&Arc<dyn Clock>>,
        timeout_ms: u64,
        max_samples: usize,
    ) -> Self {
        let deadline =
            clock.map(|clock| (Arc::clone(clock), clock.now_ms().saturating_add(timeout_ms)));
        Self {
            cancel,
            deadline,
            max_samples,
            held: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            read: AtomicU64::new(0),
        }
    }

    /// Fails if the query was cancelled or ran out of time. Called once per series, and within the
    /// windows of long ones.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match &self.deadline {
            Some((clock, at)) if clock.now_ms() >= *at => Err(Error::Timeout),
            _ => Ok(()),
        }
    }

    /// Fails if `n_samples` could never be held, before anything is allocated for them.
    pub(crate) fn check_size(&self, n_samples: usize) -> Result<(), Error> {
        if n_samples > self.max_samples {
            return Err(Error::TooManySamples { limit: self.max_samples });
        }
        Ok(())
    }

    /// Counts samples that came from the storage.
    pub(crate) fn count_read(&self, n_samples: usize) {
        self.read.fetch_add(n_samples as u64, Ordering::Relaxed);
    }

    /// Counts `n_samples` more as held in memory.
    pub(crate) fn hold(&self, n_samples: usize) -> Result<(), Error> {
        let held = self.held.fetch_add(n_samples, Ordering::Relaxed).saturating_add(n_samples);
        self.peak.fetch_max(held, Ordering::Relaxed);
        if held > self.max_samples {
            return Err(Error::TooManySamples { limit: self.max_samples });
        }
        Ok(())
    }

    /// Counts `n_samples` as no longer held.
    pub(crate) fn release(&self, n_samples: usize) {
        self.held.fetch_sub(n_samples, Ordering::Relaxed);
    }

    /// Counts the samples of a batch as held.
    pub(crate) fn hold_batch(&self, batch: &SampleBatch) -> Result<(), Error> {
        self.hold(weight_of_batch(batch))
    }

    /// Counts the samples of a batch as no longer held.
    pub(crate) fn release_batch(&self, batch: &SampleBatch) {
        self.release(weight_of_batch(batch));
    }

    pub(crate) fn samples_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    pub(crate) fn peak_samples(&self) -> u64 {
        self.peak.load(Ordering::Relaxed) as u64
    }
}

/// The number of samples that a histogram counts as: as many floats, with their times, would take up
/// the same memory.
pub(crate) fn weight(histogram: &FloatHistogram) -> usize {
    histogram.size_bytes().div_ceil(size_of::<f64>() + size_of::<i64>())
}

fn weight_of_batch(batch: &SampleBatch) -> usize {
    if !batch.has_histograms() {
        return batch.len();
    }
    let weights = (0..batch.len()).map(|at| batch.histogram(at).map_or(1, |h| weight(h)));
    weights.fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stopped(AtomicU64);

    impl Clock for Stopped {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn holding_past_the_limit_fails_and_peak_is_kept() {
        let limits = Limits::new(CancelHandle::default(), None, 0, 10);
        limits.hold(8).unwrap();
        limits.release(4);
        limits.hold(6).unwrap();
        assert!(matches!(limits.hold(1), Err(Error::TooManySamples { limit: 10 })));
        assert_eq!(limits.peak_samples(), 11);
    }

    #[test]
    fn histograms_count_by_their_size() {
        let limits = Limits::new(CancelHandle::default(), None, 0, 1000);
        let mut batch = SampleBatch::new();
        batch.push(0, 1.0);
        let small = FloatHistogram::default();
        let large = FloatHistogram { positive_buckets: vec![0.0; 320], ..small.clone() };
        assert_eq!(weight(&large), weight(&small) + 160);
        batch.push_histogram(1, Arc::new(large));
        limits.hold_batch(&batch).unwrap();
        assert!(limits.peak_samples() > 161);
        limits.release_batch(&batch);
        limits.hold(1000).unwrap();
    }

    #[test]
    fn time_and_cancellation_stop_a_query() {
        let clock = Arc::new(Stopped(AtomicU64::new(5)));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let cancel = CancelHandle::default();
        let limits = Limits::new(cancel.clone(), Some(&shared), 10, 1);
        limits.check().unwrap();
        clock.0.store(15, Ordering::Relaxed);
        assert!(matches!(limits.check(), Err(Error::Timeout)));
        cancel.cancel();
        assert!(matches!(limits.check(), Err(Error::Cancelled)));
    }
}
