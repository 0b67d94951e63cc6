//! Which batches appended to the series of a page, as far as some reader may not see them.
//!
//! Samples arrive in ascending time, so what a reader may see of a series is a prefix of it: the
//! samples up to the newest one before the first batch that it does not see. That time is noted
//! when a batch appends to a series for the first time, and kept while a reader may need it.

use super::super::isolation::{BatchId, Views};
use super::PAGE_LEN;

/// The batches of one page.
#[derive(Debug, Default)]
pub(super) struct Isolated {
    /// The newest batch that appended to a series of the page.
    batch: BatchId,
    /// The series that it appended to, by slot. Each knows its newest time before that.
    members: u64,
    /// The same of earlier batches, oldest first. Nearly always none.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 24 in each page")]
    earlier: Option<Box<Vec<Earlier>>>,
}

#[derive(Clone, Copy, Debug)]
struct Earlier {
    batch: BatchId,
    /// Time of the newest sample before that batch, `i64::MIN` if there was none.
    newest_before: i64,
    slot: u8,
}

impl Isolated {
    /// The newest batch that appended to a series of the page.
    #[inline]
    pub(super) fn batch(&self) -> BatchId {
        self.batch
    }

    /// Begins a batch. `newest_before` gives the time that the series in a slot noted for the
    /// batch before.
    pub(super) fn begin(
        &mut self,
        batch: BatchId,
        views: &Views,
        newest_before: impl Fn(u8) -> i64,
    ) {
        if views.all_see(self.batch) {
            self.earlier = None;
        } else {
            let earlier = self.earlier.get_or_insert_default();
            let members = (0..64).filter(|slot| self.members & 1 << slot != 0);
            earlier.extend(members.map(|slot| {
                let newest_before = newest_before(slot);
                Earlier { batch: self.batch, newest_before, slot }
            }));
            let mut before = [BatchId::REPLAYED; PAGE_LEN];
            earlier.retain(|entry| {
                let before = &mut before[usize::from(entry.slot)];
                let is_needed = views.may_tell_apart(*before, entry.batch);
                *before = entry.batch;
                is_needed
            });
            if earlier.is_empty() {
                self.earlier = None;
            }
        }
        (self.batch, self.members) = (batch, 0);
    }

    /// Notes that the newest batch appends to the series in `slot`. Tells whether it is the first
    /// time.
    #[inline]
    pub(super) fn note(&mut self, slot: u8) -> bool {
        let before = self.members;
        self.members |= 1 << slot;
        before != self.members
    }

    /// Time of the newest sample of the series in `slot` that a reader of `seen` may see, as far as
    /// batches hide some; `None` if none does. `newest_before` is what the series noted.
    pub(super) fn newest_seen(&self, slot: u8, newest_before: i64, seen: BatchId) -> Option<i64> {
        if self.batch <= seen {
            return None;
        }
        let mut earlier = self.earlier.iter().flat_map(|earlier| earlier.iter());
        let first = earlier.find(|entry| entry.slot == slot && entry.batch > seen);
        let is_member = self.members & 1 << slot != 0;
        first.map(|entry| entry.newest_before).or(is_member.then_some(newest_before))
    }

    /// Forgets the series in `slot`, which is removed.
    pub(super) fn forget(&mut self, slot: u8) {
        self.members &= !(1 << slot);
        if let Some(earlier) = &mut self.earlier {
            earlier.retain(|entry| entry.slot != slot);
        }
    }

    /// Bytes on the heap.
    pub(super) fn size_bytes(&self) -> usize {
        self.earlier.as_ref().map_or(0, |earlier| earlier.capacity() * size_of::<Earlier>())
    }
}
