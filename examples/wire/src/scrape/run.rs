//! The life of one target's task: when it scrapes, and what it leaves when it ends.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval_at, sleep};

use super::append::Appends;
use super::error::TargetState;
use super::fetch::Fetcher;
use super::metrics::Metrics;
use super::target::{Outcome, Target};
use crate::error::chain;
use crate::store::Store;

/// A scrape that starts this much too late, or a hundredth of the interval if that is less, is
/// stored under the time it should have started at. Timestamps that are exactly the interval apart
/// take less space.
const TIMESTAMP_TOLERANCE: Duration = Duration::from_millis(2);

/// Whether a target is scraped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is.
    Running,
    /// It is not known any more: its series end, unless it comes back before.
    Removed,
    /// The server stops: its series go on when it comes back.
    Shutdown,
}

/// What a task is to do.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) target: Arc<Target>,
    pub(super) fetcher: Fetcher,
    pub(super) ending: Ending,
}

/// Keeps a task from ending while it is told to go on.
#[derive(Debug, Default)]
pub(super) struct Gate {
    is_closed: Mutex<bool>,
}

impl Gate {
    /// Does something unless the task has ended.
    pub(super) fn while_open<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let is_closed = self.is_closed.lock();
        (!*is_closed).then(work)
    }

    /// Ends the task, unless it was told something that it has not seen.
    fn close(&self, commands: &watch::Receiver<Command>) -> bool {
        let mut is_closed = self.is_closed.lock();
        // Without a sender nobody tells anything any more.
        *is_closed = !commands.has_changed().unwrap_or(false);
        *is_closed
    }
}

/// One target's task.
pub(super) struct Runner {
    pub(super) store: Arc<dyn Store>,
    pub(super) metrics: Metrics,
    /// Whether it is stored since when series have been counting.
    pub(super) has_starts: bool,
    pub(super) append_slots: Arc<Semaphore>,
    pub(super) commands: watch::Receiver<Command>,
    pub(super) gate: Arc<Gate>,
}

impl Runner {
    /// Scrapes until told to end.
    pub(super) async fn run(mut self) {
        // Not taken for seen: it may have been told to end before it began.
        let mut command = self.commands.borrow().clone();
        let mut appends = Appends::new(&command.target, self.has_starts);
        let mut ticker = ticker(&command.target);
        let mut aligned: Option<SystemTime> = None;
        loop {
            let is_due = tokio::select! {
                biased;
                changed = self.commands.changed() => match changed {
                    Ok(()) => false,
                    // Nobody is left to tell.
                    Err(_) => return,
                },
                _ = ticker.tick(), if command.ending == Ending::Running => true,
            };
            if !is_due {
                let new = self.commands.borrow_and_update().clone();
                let old = std::mem::replace(&mut command, new);
                if command.target.interval_and_timeout().0 != old.target.interval_and_timeout().0 {
                    ticker = self::ticker(&command.target);
                    aligned = None;
                }
                appends.adopt(&old.target, &command.target);
                match command.ending {
                    Ending::Running => {}
                    Ending::Shutdown => return,
                    Ending::Removed if appends.is_new() => {
                        if self.gate.close(&self.commands) {
                            return;
                        }
                    }
                    Ending::Removed => {
                        match self.end(appends, &command.target, &mut ticker).await {
                            // It has come back.
                            Some(next) => appends = next,
                            None => return,
                        }
                    }
                }
                continue;
            }
            let now = SystemTime::now();
            let time = align(&mut aligned, now, interval(&command.target));
            match self.scrape(appends, &command, time).await {
                Ok(Some(next)) => appends = next,
                Ok(None) => return,
                Err(panic) => {
                    tracing::error!(target = command.target.url(), %panic, "scraping ended");
                    return;
                }
            }
        }
    }

    /// Waits until the server stops.
    async fn stopped(commands: &watch::Receiver<Command>) {
        // What another receiver has seen is new to this one's owner.
        let mut commands = commands.clone();
        let _ = commands.wait_for(|command| command.ending == Ending::Shutdown).await;
    }

    /// Scrapes once; yields nothing if the server stopped before there was a page.
    async fn scrape(
        &self,
        mut appends: Appends,
        command: &Command,
        time: SystemTime,
    ) -> Result<Option<Appends>, JoinError> {
        let start = Instant::now();
        let page = tokio::select! {
            biased;
            () = Self::stopped(&self.commands) => return Ok(None),
            page = command.fetcher.fetch(&command.target) => page,
        };
        let slot = self.append_slots.clone().acquire_owned().await;
        let (store, target, metrics) =
            (self.store.clone(), command.target.clone(), self.metrics.clone());
        let work = spawn_blocking(move || {
            let timestamp = unix_ms(time);
            let (counts, error, committed) =
                appends.scrape(&*store, &target, page, timestamp, || start.elapsed());
            metrics.count(&counts, error.is_some());
            if let Err(error) = committed {
                tracing::error!(target = target.url(), error = chain(&error), "scrape not stored");
            }
            let state = error.as_ref().map_or(TargetState::Up, |error| error.state());
            let error = error.map(|error| chain(&error)).unwrap_or_default();
            let limited_labels = appends.limited_labels();
            let (start, duration) = (Some(time), start.elapsed());
            note(&target, Outcome { state, error, start, duration, limited_labels });
            drop(slot);
            appends
        });
        work.await.map(Some)
    }

    /// Marks all series of a removed target stale, at the time of the scrape that would have been
    /// next. Waits two intervals and a bit for it to come back, and yields what it goes on with then.
    async fn end(
        &mut self,
        mut appends: Appends,
        target: &Arc<Target>,
        ticker: &mut Interval,
    ) -> Option<Appends> {
        let waits = async {
            ticker.tick().await;
            let time = SystemTime::now();
            ticker.tick().await;
            sleep(interval(target) / 10).await;
            time
        };
        let mut commands = self.commands.clone();
        let time = tokio::select! {
            biased;
            told = commands.wait_for(|command| command.ending != Ending::Removed) => {
                return told.is_ok().then_some(appends);
            }
            time = waits => time,
        };
        if !self.gate.close(&self.commands) {
            return Some(appends);
        }
        let store = self.store.clone();
        let work = spawn_blocking(move || appends.end(&*store, unix_ms(time)));
        if let Ok(Err(error)) = work.await {
            tracing::error!(target = target.url(), error = chain(&error), "target not ended");
        }
        None
    }
}

fn interval(target: &Target) -> Duration {
    let (interval_ms, _) = target.interval_and_timeout();
    Duration::from_millis(interval_ms.unsigned_abs())
}

/// Ticks at the target's place in its interval.
fn ticker(target: &Target) -> Interval {
    let interval = interval(target);
    let offset = target.offset(SystemTime::now(), interval);
    let mut ticker = interval_at(tokio::time::Instant::now() + offset, interval);
    // A scrape that takes too long makes the next one late, but none after that.
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticker
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
fn note(target: &Target, new: Outcome) {
    let (state, error) = (new.state, new.error.clone());
    let old = target.set_outcome(new);
    if !error.is_empty() && error != old.error {
        tracing::warn!(target = target.url(), job = target.job_name(), error, "scrape failed");
    } else if state == TargetState::Up && !old.error.is_empty() {
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
