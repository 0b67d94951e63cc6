//! Threads that help queries, for programs that have no pool of their own.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::{fmt, io};

use ferula_promql::Threads;
use parking_lot::{Condvar, Mutex};

type Task = Box<dyn FnOnce() + Send>;

/// A few threads that compute parts of queries, to be handed to
/// [`EngineOptions::threads`](ferula_promql::EngineOptions::threads). They end when this is dropped.
///
/// ```
/// use std::sync::Arc;
/// use ferula_promql::{Engine, EngineOptions};
/// use ferula_tsdb::QueryThreads;
///
/// let threads = Arc::new(QueryThreads::for_this_machine()?);
/// let engine = Engine::new(EngineOptions::default().threads(threads));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct QueryThreads {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    closed: bool,
}

impl QueryThreads {
    /// Starts `n_threads` threads.
    ///
    /// # Errors
    /// If the operating system has no more.
    pub fn new(n_threads: usize) -> io::Result<Self> {
        let mut started = Self { queue: Arc::default(), threads: Vec::with_capacity(n_threads) };
        for number in 0..n_threads {
            let queue = Arc::clone(&started.queue);
            let thread = thread::Builder::new().name(format!("query-{number}"));
            started.threads.push(thread.spawn(move || queue.work())?);
        }
        Ok(started)
    }

    /// Starts one thread for each processor but one, on which a query runs itself.
    ///
    /// # Errors
    /// If the operating system has no more.
    pub fn for_this_machine() -> io::Result<Self> {
        Self::new(thread::available_parallelism().map_or(0, NonZero::get).saturating_sub(1))
    }
}

impl Queue {
    fn work(&self) {
        while let Some(task) = self.next() {
            // What panics here shows in the query that the task belongs to.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(task));
        }
    }

    fn next(&self) -> Option<Task> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(task) = state.tasks.pop_front() {
                return Some(task);
            }
            self.changed.wait(&mut state);
        }
    }
}

impl Threads for QueryThreads {
    fn count(&self) -> usize {
        self.threads.len()
    }

    fn spawn(&self, task: Task) {
        self.queue.state.lock().tasks.push_back(task);
        self.queue.changed.notify_one();
    }
}

impl Drop for QueryThreads {
    fn drop(&mut self) {
        let tasks = {
            let mut state = self.queue.state.lock();
            state.closed = true;
            std::mem::take(&mut state.tasks)
        };
        self.queue.changed.notify_all();
        drop(tasks);
        for thread in self.threads.drain(..) {
            // The last query may drop its engine on one of these threads.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for QueryThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryThreads").field("n_threads", &self.threads.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn tasks_run_on_all_threads_and_those_that_panic_take_none_with_them() {
        let threads = QueryThreads::new(2).unwrap();
        for _ in 0..8 {
            threads.spawn(Box::new(|| std::panic::resume_unwind(Box::new(()))));
        }
        let (first, met) = mpsc::channel();
        let (second, also) = mpsc::channel();
        // Each waits for the other.
        threads.spawn(Box::new(move || {
            second.send(()).unwrap();
            met.recv().unwrap();
        }));
        let (done, is_done) = mpsc::channel();
        threads.spawn(Box::new(move || {
            also.recv().unwrap();
            first.send(()).unwrap();
            done.send(()).unwrap();
        }));
        is_done.recv().unwrap();
    }
}
