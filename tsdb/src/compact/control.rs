//! Steering a compaction from outside: how far it is, how fast it may go, when it has to stop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::Error;

/// Bytes of chunks between two pauses.
const PAUSE_EVERY_BYTES: u64 = 1 << 20;

/// How far a compaction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// Blocks that become one.
    pub sources: u64,
    /// Series of the sources that were read.
    pub series_done: u64,
    /// Series of the sources.
    pub series: u64,
    /// Bytes of chunks that were written.
    pub chunk_bytes: u64,
}

/// What a running compaction shares with its owner.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// Bytes of chunks written per second at most.
    bytes_per_second: Option<u64>,
    /// Whether a compaction runs, and of how many blocks.
    sources: AtomicU64,
    series_done: AtomicU64,
    series: AtomicU64,
    chunk_bytes: AtomicU64,
    unpaused_bytes: AtomicU64,
    is_cancelled: Mutex<bool>,
    cancelled: Condvar,
}

impl Control {
    /// Lets compactions write `bytes_per_second` at most.
    pub(crate) fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, ..Self::default() }
    }

    /// Ends what runs, and whatever would begin.
    pub(crate) fn cancel(&self) {
        *self.is_cancelled.lock() = true;
        self.cancelled.notify_all();
    }

    /// How far the compaction is that runs, if one does.
    pub(crate) fn progress(&self) -> Option<Progress> {
        let progress = Progress {
            sources: self.sources.load(Ordering::Relaxed),
            series_done: self.series_done.load(Ordering::Relaxed),
            series: self.series.load(Ordering::Relaxed),
            chunk_bytes: self.chunk_bytes.load(Ordering::Relaxed),
        };
        (progress.sources > 0).then_some(progress)
    }

    /// Notes that a compaction of this many blocks runs from now on, or none.
    pub(crate) fn set_running(&self, sources: usize) {
        for counter in [&self.series_done, &self.series, &self.chunk_bytes, &self.unpaused_bytes] {
            counter.store(0, Ordering::Relaxed);
        }
        self.sources.store(sources as u64, Ordering::Relaxed);
    }

    /// Notes how many series there are to read.
    pub(super) fn begin(&self, series: u64) {
        self.series.store(series, Ordering::Relaxed);
    }

    /// Notes what was done, and waits if it was done too fast.
    ///
    /// # Errors
    /// [`Error::Closed`] if the compaction is to end.
    pub(super) fn advance(&self, series: u64, chunk_bytes: u64) -> Result<(), Error> {
        self.series_done.fetch_add(series, Ordering::Relaxed);
        self.chunk_bytes.fetch_add(chunk_bytes, Ordering::Relaxed);
        let unpaused = self.unpaused_bytes.fetch_add(chunk_bytes, Ordering::Relaxed) + chunk_bytes;
        let mut is_cancelled = self.is_cancelled.lock();
        if unpaused >= PAUSE_EVERY_BYTES && !*is_cancelled {
            self.unpaused_bytes.store(0, Ordering::Relaxed);
            if let Some(rate) = self.bytes_per_second {
                let pause_us = unpaused.saturating_mul(1_000_000) / rate.max(1);
                self.cancelled.wait_for(&mut is_cancelled, Duration::from_micros(pause_us));
            }
        }
        if *is_cancelled { Err(Error::Closed) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn bytes_take_the_time_that_they_may_be_written_in() {
        let rate = PAUSE_EVERY_BYTES * 20;
        let (control, start) = (Control::new(Some(rate)), Instant::now());
        control.set_running(1);
        for _ in 0..8 {
            control.advance(1, PAUSE_EVERY_BYTES / 4).unwrap();
        }
        assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
        let progress = control.progress().unwrap();
        assert_eq!((progress.series_done, progress.chunk_bytes), (8, 2 * PAUSE_EVERY_BYTES));
    }

    #[test]
    fn who_cancels_does_not_wait_for_a_pause() {
        let control = Control::new(Some(1));
        std::thread::scope(|scope| {
            let paused = scope.spawn(|| control.advance(1, PAUSE_EVERY_BYTES));
            control.cancel();
            assert!(matches!(paused.join().unwrap(), Err(Error::Closed)));
        });
    }
}
