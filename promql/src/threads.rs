//! Threads that a query may use besides the one that runs it.

/// Threads of the caller's, on which queries have series computed.
///
/// The engine starts no thread of its own. It hands over tasks that may be run now, later, or not
/// at all: the thread that runs a query does whatever nobody else has begun with, so a pool that is
/// busy makes queries slower and nothing else. Tasks do not wait for tasks that were not begun.
/// Answers do not depend on which thread computes what.
pub trait Threads: Send + Sync {
    /// How many tasks can run at once, beside the thread that hands them over. A query hands over no
    /// more than that at a time.
    fn count(&self) -> usize;

    /// Runs `task` on another thread.
    fn spawn(&self, task: Box<dyn FnOnce() + Send>);
}
