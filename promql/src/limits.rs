//! What stops a query before its end: cancellation, time, and what it holds in memory.
//!
//! Bytes are drawn from a [`Ledger`]; beside them, samples are counted, as Prometheus does. The
//! crate reads no clock of its own. A caller who wants timeouts hands in a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::FloatHistogram;

use crate::Error;
use crate::ledger::{Ledger, Site};

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

/// What a query may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) timeout_ms: u64,
    pub(crate) max_samples: usize,
    pub(crate) max_bytes: usize,
}

/// The limits of one running query, and how close it is to them.
pub(crate) struct Limits {
    text: String,
    cancel: CancelHandle,
    deadline: Option<(Arc<dyn Clock>, u64)>,
    bounds: Bounds,
    held: AtomicUsize,
    peak: AtomicUsize,
    read: AtomicU64,
    ledger: Ledger,
}

impl Limits {
    /// Limits of the query `text`, whose time begins now.
    pub(crate) fn new(
        text: &str,
        cancel: CancelHandle,
        clock: Option<&Arc<dyn Clock>>,
        bounds: Bounds,
    ) -> Self {
        let end = |clock: &Arc<dyn Clock>| clock.now_ms().saturating_add(bounds.timeout_ms);
        let deadline = clock.map(|clock| (Arc::clone(clock), end(clock)));
        Self {
            text: text.to_owned(),
            cancel,
            deadline,
            bounds,
            held: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            read: AtomicU64::new(0),
            ledger: Ledger::new(bounds.max_bytes),
        }
    }

    /// Fails if the query was cancelled, ran out of time, or took more memory than it may. Called
    /// once per series, and within whatever may take long.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if let Some(site) = self.ledger.overdrawn_by() {
            return Err(self.too_much(site));
        }
        match &self.deadline {
            Some((clock, at)) if clock.now_ms() >= *at => Err(Error::Timeout),
            _ => Ok(()),
        }
    }

    /// The bytes of the query.
    #[inline]
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The error of asking for too much memory.
    pub(crate) fn too_much(&self, site: Site) -> Error {
        let (line, column) = site.span.line_column(&self.text);
        let Site { what, span } = site;
        Error::TooMuchMemory { limit_bytes: self.ledger.max_bytes(), what, span, line, column }
    }

    /// Fails if `n_samples` could never be held, before anything is allocated for them.
    pub(crate) fn check_size(&self, n_samples: usize) -> Result<(), Error> {
        if n_samples > self.bounds.max_samples {
            return Err(Error::TooManySamples { limit: self.bounds.max_samples });
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
        if held > self.bounds.max_samples {
            return Err(Error::TooManySamples { limit: self.bounds.max_samples });
        }
        Ok(())
    }

    /// Counts `n_samples` as no longer held.
    pub(crate) fn release(&self, n_samples: usize) {
        self.held.fetch_sub(n_samples, Ordering::Relaxed);
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

/// Bytes that a batch takes up.
pub(crate) fn batch_bytes(batch: &SampleBatch) -> usize {
    let of_times = batch.len() * (size_of::<i64>() + size_of::<f64>());
    if !batch.has_histograms() {
        return of_times;
    }
    let histograms = (0..batch.len()).filter_map(|at| batch.histogram(at));
    let entries = batch.len() * size_of::<Option<Arc<FloatHistogram>>>();
    of_times + entries + histograms.map(|histogram| histogram.size_bytes()).sum::<usize>()
}

/// The number of samples that a batch counts as.
pub(crate) fn weight_of_batch(batch: &SampleBatch) -> usize {
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

    fn limits(cancel: &CancelHandle, clock: Option<&Arc<dyn Clock>>, max_samples: usize) -> Limits {
        let bounds = Bounds { timeout_ms: 10, max_samples, max_bytes: 0 };
        Limits::new("", cancel.clone(), clock, bounds)
    }

    #[test]
    fn holding_past_the_limit_fails_and_peak_is_kept() {
        let limits = limits(&CancelHandle::default(), None, 10);
        limits.hold(8).unwrap();
        limits.release(4);
        limits.hold(6).unwrap();
        assert!(matches!(limits.hold(1), Err(Error::TooManySamples { limit: 10 })));
        assert_eq!(limits.peak_samples(), 11);
    }

    #[test]
    fn histograms_count_by_their_size() {
        let mut batch = SampleBatch::new();
        batch.push(0, 1.0);
        let small = FloatHistogram::default();
        let large = FloatHistogram { positive_buckets: vec![0.0; 320], ..small.clone() };
        assert_eq!(weight(&large), weight(&small) + 160);
        let large = Arc::new(large);
        batch.push_histogram(1, Arc::clone(&large));
        assert_eq!(weight_of_batch(&batch), 1 + weight(&large));
    }

    #[test]
    fn time_and_cancellation_stop_a_query() {
        let clock = Arc::new(Stopped(AtomicU64::new(5)));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let cancel = CancelHandle::default();
        let limits = limits(&cancel, Some(&shared), 1);
        limits.check().unwrap();
        clock.0.store(15, Ordering::Relaxed);
        assert!(matches!(limits.check(), Err(Error::Timeout)));
        cancel.cancel();
        assert!(matches!(limits.check(), Err(Error::Cancelled)));
    }
}
