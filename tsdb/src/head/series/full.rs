//! The chunks of a series that are not appended to any more: a list, newest first.

use std::sync::Arc;

use ferula_chunkenc::Encoding;

use super::pool::{Linked, NONE, Pool};

/// The bytes of a chunk.
#[derive(Clone, Debug)]
pub(super) struct ChunkData {
    pub(super) encoding: Encoding,
    pub(super) data: Arc<[u8]>,
}

/// A full chunk in the list of its series: 24 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    mint: i64,
    /// Where its bytes are kept.
    place: u64,
    /// From the first to the last sample, in milliseconds.
    span: u32,
    next: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self { mint: 0, place: 0, span: 0, next: NONE }
    }
}

impl Linked for Link {
    fn next(&self) -> u32 {
        self.next
    }

    fn set_next(&mut self, next: u32) {
        self.next = next;
    }
}

impl Link {
    pub(super) fn mint(&self) -> i64 {
        self.mint
    }

    pub(super) fn maxt(&self) -> i64 {
        self.mint.saturating_add_unsigned(u64::from(self.span))
    }
}

/// The full chunks of all series of a page.
#[derive(Debug, Default)]
pub(super) struct FullChunks {
    links: Pool<Link>,
    /// Those that are kept in memory.
    kept: Option<Box<Kept>>,
}

/// Chunks in memory by number.
#[derive(Debug, Default)]
struct Kept {
    chunks: Vec<Option<ChunkData>>,
    free: Vec<u32>,
    size_bytes: usize,
}

impl Kept {
    fn add(&mut self, data: ChunkData) -> u32 {
        self.size_bytes += data.data.len();
        let number = self.free.pop().unwrap_or_else(|| {
            self.chunks.push(None);
            u32::try_from(self.chunks.len() - 1).expect("a page has fewer chunks than bytes")
        });
        self.chunks[number as usize] = Some(data);
        number
    }

    fn take(&mut self, number: u32) -> Option<ChunkData> {
        let taken = self.chunks.get_mut(number as usize)?.take()?;
        self.size_bytes -= taken.data.len();
        self.free.push(number);
        Some(taken)
    }

    fn is_empty(&self) -> bool {
        self.free.len() == self.chunks.len()
    }

    fn list_bytes(&self) -> usize {
        let slots = self.chunks.capacity() * size_of::<Option<ChunkData>>();
        size_of::<Self>() + slots + self.free.capacity() * size_of::<u32>()
    }
}

impl FullChunks {
    /// Puts a chunk in front of the list that begins with `first`. It is newer than all of them.
    pub(super) fn push(&mut self, first: &mut u32, mint: i64, span: u32, data: ChunkData) {
        let place = u64::from(self.kept.get_or_insert_default().add(data));
        let taken = self.links.take();
        *self.links.get_mut(taken) = Link { mint, place, span, next: *first };
        *first = taken;
    }

    /// The bytes of a chunk.
    pub(super) fn data(&self, link: &Link) -> Option<&ChunkData> {
        let number = usize::try_from(link.place).ok()?;
        self.kept.as_ref()?.chunks.get(number)?.as_ref()
    }

    /// The list that begins with `first`: newest first.
    pub(super) fn iter(&self, first: u32) -> impl Iterator<Item = &Link> {
        let at = |number: u32| (number != NONE).then(|| self.links.get(number));
        std::iter::successors(at(first), move |link| at(link.next))
    }

    /// Removes the chunks whose samples all lie before `mint`.
    pub(super) fn truncate(&mut self, first: &mut u32, mint: i64) {
        let (mut kept, mut next) = (NONE, *first);
        while next != NONE && self.links.get(next).maxt() >= mint {
            (kept, next) = (next, self.links.get(next).next);
        }
        if kept == NONE {
            *first = NONE;
        } else {
            self.links.get_mut(kept).set_next(NONE);
        }
        while next != NONE {
            let link = *self.links.get(next);
            self.take_data(link.place);
            self.links.give_back(next, next, 1);
            next = link.next;
        }
    }

    fn take_data(&mut self, place: u64) -> Option<ChunkData> {
        let number = u32::try_from(place).ok()?;
        let kept = self.kept.as_mut()?;
        let taken = kept.take(number);
        if kept.is_empty() {
            self.kept = None;
        }
        taken
    }

    /// Removes all chunks of a list.
    pub(super) fn clear(&mut self, first: &mut u32) {
        self.truncate(first, i64::MAX);
    }

    /// Number of chunks.
    pub(super) fn len(&self) -> usize {
        self.links.n_used()
    }

    /// Bytes of the lists.
    pub(super) fn list_bytes(&self) -> usize {
        self.links.size_bytes() + self.kept.as_ref().map_or(0, |kept| kept.list_bytes())
    }

    /// Bytes of chunks that are kept in memory.
    pub(super) fn kept_bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.size_bytes)
    }

    /// Moves the lists to memory of their size, if most of what they have is free.
    pub(super) fn shrink<'a>(&mut self, firsts: impl Iterator<Item = &'a mut u32>) {
        if !self.links.is_sparse() {
            return;
        }
        let mut moved = Self::default();
        for first in firsts {
            let list: Vec<Link> = self.iter(*first).copied().collect();
            *first = NONE;
            for link in list.into_iter().rev() {
                if let Some(data) = self.take_data(link.place) {
                    moved.push(first, link.mint, link.span, data);
                }
            }
        }
        *self = moved;
    }
}
