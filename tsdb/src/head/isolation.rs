//! Which batches a reader sees.
//!
//! Batches get ascending numbers in the order in which they are logged, and a batch becomes
//! visible only with all batches before it. What a reader sees is therefore one number, the newest
//! batch that was visible when it began. Series keep track of their last batches only as far back
//! as some open reader needs it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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
    /// How many readers read the head from which time on.
    froms: BTreeMap<i64, usize>,
}

impl Isolation {
    /// Makes all batches up to `batch` visible to readers that begin from now on.
    pub(crate) fn publish(&self, batch: BatchId) {
        let mut visible = self.state.lock();
        visible.newest = visible.newest.max(batch);
    }

    /// The newest visible batch.
    pub(crate) fn newest(&self) -> BatchId {
        self.state.lock().newest
    }

    /// The batch up to which every open and every future reader sees.
    pub(crate) fn oldest_reader(&self) -> BatchId {
        let visible = self.state.lock();
        visible.readers.keys().next().copied().unwrap_or(visible.newest)
    }

    /// What open readers see and future ones may see.
    pub(crate) fn read_views(&self, views: &mut Views) {
        let visible = self.state.lock();
        views.newest = visible.newest;
        views.readers.clear();
        views.readers.extend(visible.readers.keys());
    }

    /// The earliest time from which an open reader reads; `None` without readers.
    pub(crate) fn oldest_from(&self) -> Option<i64> {
        self.state.lock().froms.keys().next().copied()
    }

    /// Begins to read what is visible now, from the time `from` on.
    pub(crate) fn begin(self: &Arc<Self>, from: i64) -> ReadGuard {
        let mut visible = self.state.lock();
        let seen = visible.newest;
        *visible.readers.entry(seen).or_default() += 1;
        *visible.froms.entry(from).or_default() += 1;
        ReadGuard { isolation: Arc::clone(self), seen, from }
    }
}

/// What open readers see, and from where on future ones may.
#[derive(Debug, Default)]
pub(crate) struct Views {
    /// The newest batch that open readers see, each once, ascending.
    readers: Vec<BatchId>,
    /// The newest visible batch: future readers see this one or a later one.
    newest: BatchId,
}

impl Views {
    /// Tells whether every open and every future reader sees a batch.
    pub(crate) fn all_see(&self, batch: BatchId) -> bool {
        batch <= self.readers.first().copied().unwrap_or(self.newest)
    }

    /// Tells whether some open or future reader may see the batch `before`, but not the later batch
    /// `batch`.
    pub(crate) fn may_tell_apart(&self, before: BatchId, batch: BatchId) -> bool {
        let first = self.readers.partition_point(|seen| *seen < before);
        batch > self.newest || self.readers.get(first).is_some_and(|seen| *seen < batch)
    }

    /// What readers see that see what is given.
    #[cfg(test)]
    pub(crate) fn of(readers: impl IntoIterator<Item = u64>, newest: u64) -> Self {
        Self { readers: readers.into_iter().map(BatchId).collect(), newest: BatchId(newest) }
    }
}

/// Keeps what one reader sees; ends with it.
#[derive(Debug)]
pub(crate) struct ReadGuard {
    isolation: Arc<Isolation>,
    seen: BatchId,
    from: i64,
}

impl ReadGuard {
    /// The time from which on this reader reads the head; blocks hold what is older.
    pub(crate) fn from(&self) -> i64 {
        self.from
    }

    /// The newest batch that this reader sees.
    pub(crate) fn seen(&self) -> BatchId {
        self.seen
    }
}

impl Drop for ReadGuard {
    fn drop(&mut self) {
        let mut visible = self.isolation.state.lock();
        take_one(&mut visible.readers, self.seen);
        take_one(&mut visible.froms, self.from);
    }
}

fn take_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}
