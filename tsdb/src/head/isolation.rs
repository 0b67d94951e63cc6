//! Which batches a reader sees.
//!
//! Batches get ascending numbers in the order in which they are logged, and a batch becomes
//! visible only with all batches before it. What a reader sees is therefore one number, the newest
//! batch that was visible when it began. Series keep track of their last batches only as far back
//! as some open reader needs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Number of a batch, in the order of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BatchId(pub(crate) u64);

impl BatchId {
    /// What was read back from the log is visible to everyone.
    pub(crate) const REPLAYED: Self = Self(0);
}

/// Which batches are visible, and to whom.
#[derive(Debug, Default)]
pub(crate) struct Isolation {
    state: Mutex<Visible>,
}

#[derive(Debug, Default)]
struct Visible {
    /// The newest visible batch.
    newest: BatchId,
    /// How many readers see up to which batch.
    readers: BTreeMap<BatchId, usize>,
}

impl Isolation {
    /// Makes all batches up to `batch` visible to readers that begin from now on.
    pub(crate) fn publish(&self, batch: BatchId) {
        let mut visible = self.state.lock();
        visible.newest = visible.newest.max(batch);
    }

    /// The batch up to which every open and every future reader sees.
    pub(crate) fn oldest_reader(&self) -> BatchId {
        let visible = self.state.lock();
        visible.readers.keys().next().copied().unwrap_or(visible.newest)
    }

    /// Begins to read what is visible now.
    pub(crate) fn begin(self: &Arc<Self>) -> ReadGuard {
        let mut visible = self.state.lock();
        let seen = visible.newest;
        *visible.readers.entry(seen).or_default() += 1;
        ReadGuard { isolation: Arc::clone(self), seen }
    }
}

/// Keeps what one reader sees; ends with it.
#[derive(Debug)]
pub(crate) struct ReadGuard {
    isolation: Arc<Isolation>,
    seen: BatchId,
}

impl ReadGuard {
    /// The newest batch that this reader sees.
    pub(crate) fn seen(&self) -> BatchId {
        self.seen
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        let mut visible = self.isolation.state.lock();
        if let Some(count) = visible.readers.get_mut(&self.seen) {
            *count -= 1;
            if *count == 0 {
                visible.readers.remove(&self.seen);
            }
        }
    }
}
