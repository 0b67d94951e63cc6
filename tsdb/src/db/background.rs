//! The threads that maintain a database; they belong to the database and end in its `close`.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Shared;
use crate::error::Error;

/// Longest time between two attempts at work that fails, if the interval is not longer.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// A running thread.
#[derive(Debug)]
pub(super) struct Background {
    signal: Arc<Signal>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Signal {
    is_stopped: Mutex<bool>,
    stopped: Condvar,
}

impl Background {
    /// Starts a thread, which looks for work once per `interval`. `work` tells whether it could be
    /// done.
    pub(super) fn start(
        name: &str,
        shared: &Arc<Shared>,
        interval: Duration,
        work: impl Fn(&Shared) -> bool + Send + 'static,
    ) -> Result<Self, Error> {
        let signal = Arc::new(Signal::default());
        let thread = {
            let (signal, shared) = (Arc::clone(&signal), Arc::clone(shared));
            Builder::new().name(name.to_owned()).spawn(move || {
                let mut pause = interval;
                while !signal.wait(pause) {
                    // What failed is tried again at a later turn; the statistics tell of it.
                    let is_done = work(&shared);
                    pause = next_pause(pause, interval, !is_done);
                }
            })
        };
        let thread = thread.map_err(Error::io("start a thread for", &shared.dir))?;
        Ok(Self { signal, thread })
    }

    /// Ends the thread, after the work that it is at.
    pub(super) fn stop(self) {
        *self.signal.is_stopped.lock() = true;
        self.signal.stopped.notify_all();
        // A thread that panicked has left its message on standard error.
        let _ = self.thread.join();
    }
}

/// How long to wait after a turn: twice as long after each one that failed, for a block that cannot
/// be made costs as much as one that can.
fn next_pause(pause: Duration, interval: Duration, has_failed: bool) -> Duration {
    if has_failed { pause.saturating_mul(2).min(MAX_PAUSE.max(interval)) } else { interval }
}

impl Signal {
    /// Waits for the interval to pass, or for the end; tells which it was.
    fn wait(&self, interval: Duration) -> bool {
        let mut is_stopped = self.is_stopped.lock();
        if !*is_stopped {
            self.stopped.wait_for(&mut is_stopped, interval);
        }
        *is_stopped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_less_and_less_often() {
        let interval = Duration::from_secs(1);
        let mut pauses = vec![interval];
        for has_failed in [true, true, true, true, true, true, true, false] {
            pauses.push(next_pause(pauses[pauses.len() - 1], interval, has_failed));
        }
        let seconds: Vec<u64> = pauses.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60, 1]);
        let daily = Duration::from_secs(86_400);
        assert_eq!(next_pause(daily, daily, true), daily);
    }
}
