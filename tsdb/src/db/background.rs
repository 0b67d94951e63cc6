//! The thread that maintains a database; it belongs to the database and ends in its `close`.

use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Shared;
use crate::error::Error;

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
    /// Starts the thread, which looks for work once per `interval`.
    pub(super) fn start(shared: Arc<Shared>, interval: Duration) -> Result<Self, Error> {
        let signal = Arc::new(Signal::default());
        let dir = shared.dir.clone();
        let thread = {
            let signal = Arc::clone(&signal);
            Builder::new().name("ferula-tsdb".to_owned()).spawn(move || {
                while !signal.wait(interval) {
                    // What failed is tried again at the next turn; the statistics tell of it.
                    let failure = shared.maintain().err();
                    *shared.failure.lock() = failure.map(|error| error.to_string_with_causes());
                }
            })
        };
        let thread = thread.map_err(Error::io("start a thread for", &dir))?;
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
