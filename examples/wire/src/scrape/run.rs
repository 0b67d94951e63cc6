//! The life of one target's task: when it scrapes, and what it leaves when it ends.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval_at, sleep};

use super::append::Appends;
use super::fetch::Fetcher;
use super::metrics::Metrics;
use super::target::{Health, Outcome, Target};
use crate::error::chain;
use crate::store::Store;

/// A scrape that starts this much too late, or a hundredth of the interval if that is less, is
/// stored under the time it should have started at. Timestamps that are exactly the interval apart
/// take less space.
const TIMESTAMP_TOLERANCE: Duration = Duration::from_millis(2);

/// Why a target is not scraped any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is still.
    Running,
    /// The configuration has it no longer: its series end.
    Removed,
    /// The server stops: its series go on when it comes back.
    Shutdown,
}

/// One target's task.
pub(super) struct Runner {
    pub(super) target: Arc<Target>,
    pub(super) store: Arc<dyn Store>,
    pub(super) fetcher: Fetcher,
    pub(super) metrics: Metrics,
    /// Whether it is stored since when series have been counting.
    pub(super) has_starts: bool,
    pub(super) append_slots: Arc<Semaphore>,
    pub(super) ending: watch::Receiver<Ending>,
}

impl Runner {
    /// Scrapes until told to end.
    pub(super) async fn run(mut self) {
        let (interval_ms, _) = self.target.interval_and_timeout();
        let interval = Duration::from_millis(interval_ms.unsigned_abs());
        let mut appends = Appends::new(&self.target, self.has_starts);
        let offset = self.target.offset(SystemTime::now(), interval);
        let mut ticker = interval_at(tokio::time::Instant::now() + offset, interval);
        // A scrape that takes too long makes the next one late, but none after that.
        ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut aligned: Option<SystemTime> = None;
        loop {
            if !self.next_tick(&mut ticker).await {
                break;
            }
            let now = SystemTime::now();
            let time = align(&mut aligned, now, interval);
            match self.scrape(appends, time).await {
                Ok(Some(next)) => appends = next,
                Ok(None) => return,
                Err(panic) => {
                    tracing::error!(target = self.target.url(), %panic, "scraping ended");
                    return;
                }
            }
        }
        if *self.ending.borrow() == Ending::Removed && aligned.is_some() {
            self.end(appends, &mut ticker, interval).await;
        }
    }

    /// Waits for the time of the next scrape; tells that there is none by `false`.
    async fn next_tick(&mut self, ticker: &mut Interval) -> bool {
        tokio::select! {
            biased;
            _ = self.ending.wait_for(|ending| *ending != Ending::Running) => false,
            _ = ticker.tick() => true,
        }
    }

    /// Scrapes once; yields nothing if the server stopped before there was a page.
    async fn scrape(
        &mut self,
        mut appends: Appends,
        time: SystemTime,
    ) -> Result<Option<Appends>, JoinError> {
        let start = Instant::now();
        let page = tokio::select! {
            biased;
            _ = self.ending.wait_for(|ending| *ending == Ending::Shutdown) => return Ok(None),
            page = self.fetcher.fetch(&self.target) => page,
        };
        let slot = self.append_slots.clone().acquire_owned().await;
        let (store, target, metrics) =
            (self.store.clone(), self.target.clone(), self.metrics.clone());
        let work = spawn_blocking(move || {
            let timestamp = unix_ms(time);
            let (counts, error, committed) =
                appends.scrape(&*store, &target, page, timestamp, || start.elapsed());
            metrics.count(&counts, error.is_some());
            if let Err(error) = committed {
                tracing::error!(target = target.url(), error = chain(&error), "scrape not stored");
            }
            note(&target, error.map(|error| chain(&error)), time, start.elapsed());
            drop(slot);
            appends
        });
        work.await.map(Some)
    }

    /// Marks all series of a removed target stale, at the time of the scrape that would have been
    /// next. Waits two intervals and a bit, so that a target that comes back is not ended.
    async fn end(mut self, mut appends: Appends, ticker: &mut Interval, interval: Duration) {
        let waits = async {
            ticker.tick().await;
            let time = SystemTime::now();
            ticker.tick().await;
            sleep(interval / 10).await;
            time
        };
        let time = tokio::select! {
            biased;
            _ = self.ending.wait_for(|ending| *ending == Ending::Shutdown) => return,
            time = waits => time,
        };
        let (store, target) = (self.store, self.target);
        let work = spawn_blocking(move || appends.end(&*store, unix_ms(time)));
        if let Ok(Err(error)) = work.await {
            tracing::error!(target = target.url(), error = chain(&error), "target not ended");
        }
    }
}

/// The time a scrape is stored under: that of the grid of earlier ones if it is near enough.
fn align(aligned: &mut Option<SystemTime>, now: SystemTime, interval: Duration) -> SystemTime {
    let mut grid = *aligned.get_or_insert(now);
    let late = now.duration_since(grid).unwrap_or_default();
    if late >= interval {
        // Not by steps: a clock that was set may be ahead by any number of intervals.
        let rest = late.as_nanos() % interval.as_nanos().max(1);
        grid = now - Duration::from_nanos(u64::try_from(rest).unwrap_or(0));
    }
    *aligned = Some(grid);
    let tolerance = TIMESTAMP_TOLERANCE.min(interval / 100);
    match now.duration_since(grid) {
        Ok(late) if late > tolerance => now,
        // Clocks that were set back are followed.
        Err(early) if early.duration() > tolerance => now,
        _ => grid,
    }
}

/// Notes the outcome of a scrape, and logs it if it is another one than before.
fn note(target: &Target, error: Option<String>, start: SystemTime, duration: Duration) {
    let health = if error.is_none() { Health::Up } else { Health::Down };
    let error = error.unwrap_or_default();
    let new = Outcome { health, error: error.clone(), start: Some(start), duration };
    let old = target.set_outcome(new);
    if !error.is_empty() && error != old.error {
        tracing::warn!(target = target.url(), job = target.job_name(), error, "scrape failed");
    } else if health == Health::Up && old.health == Health::Down {
        tracing::info!(target = target.url(), job = target.job_name(), "scrape works again");
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrapes_that_are_a_little_late_keep_to_the_grid() {
        let interval = Duration::from_secs(1);
        let at = |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms);
        let mut aligned = None;
        for (now, stored) in [
            (5_003, 5_003),
            (6_004, 6_003),
            (7_005, 7_003),
            (8_006, 8_006),
            (11_004, 11_003),
            (3_000, 3_000),
            (12_003, 12_003),
            (1 << 45, 1 << 45),
            ((1 << 45) + 172, (1 << 45) + 171),
        ] {
            assert_eq!(align(&mut aligned, at(now), interval), at(stored), "{now}");
        }
    }
}
