//! The chunks of a series that are not appended to any more: a list, newest first.
//!
//! A chunk that is full is kept in memory until it is written to the files of the head, and for
//! good where the head has none.

use std::sync::Arc;

use ferula_chunkenc::Encoding;
use ferula_index::ChunkRef;

use super::pool::{Linked, NONE, Pool};

/// The bytes of a chunk.
#[derive(Clone, Debug)]
pub(super) struct ChunkData {
    pub(super) encoding: Encoding,
    pub(super) data: Arc<[u8]>,
}

/// Where the bytes of a chunk are: the ref of a chunk in a file, or with the highest bit the number
/// of one that is kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u64);

impl Place {
    const KEPT: Self = Self(1 << 63);

    fn kept(number: u32) -> Self {
        Self(Self::KEPT.0 | u64::from(number))
    }

    /// `None` for the refs of files that are numbered from 2^31 on.
    fn file(chunk: ChunkRef) -> Option<Self> {
        (chunk.0 < Self::KEPT.0).then_some(Self(chunk.0))
    }

    fn as_kept(self) -> Option<u32> {
        let number = self.0.checked_sub(Self::KEPT.0)?;
        Some(u32::try_from(number).expect("made of 32 bits"))
    }
}

/// What is known of the bytes of a chunk.
#[derive(Clone, Debug)]
pub(super) enum Stored {
    /// They are in memory.
    Kept(ChunkData),
    /// They are in a file.
    File(ChunkRef),
}

/// A full chunk in the list of its series: 24 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    mint: i64,
    place: Place,
    /// From the first to the last sample, in milliseconds.
    span: u32,
    next: u32,
}

impl Default for Link {
    fn default() -> Self {
        Self { mint: 0, place: Place::KEPT, span: 0, next: NONE }
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
        let place = Place::kept(self.kept.get_or_insert_default().add(data));
        self.link(first, Link { mint, place, span, next: *first });
    }

    /// Puts a chunk that is in a file in front of the list that begins with `first`, in place of
    /// those that it goes over. False if it cannot be kept.
    pub(super) fn push_stored(
        &mut self,
        first: &mut u32,
        mint: i64,
        span: u32,
        chunk: ChunkRef,
    ) -> bool {
        let Some(place) = Place::file(chunk) else { return false };
        while *first != NONE && self.links.get(*first).maxt() >= mint {
            self.pop(first);
        }
        self.link(first, Link { mint, place, span, next: *first });
        true
    }

    /// Removes the newest chunk of the list that begins with `first`.
    pub(super) fn pop(&mut self, first: &mut u32) {
        if *first != NONE {
            let link = *self.links.get(*first);
            self.take_data(link.place);
            self.links.give_back(*first, *first, 1);
            *first = link.next;
        }
    }

    fn link(&mut self, first: &mut u32, link: Link) {
        let taken = self.links.take();
        *self.links.get_mut(taken) = link;
        *first = taken;
    }

    /// The bytes of a chunk.
    pub(super) fn stored(&self, link: &Link) -> Option<Stored> {
        let Some(number) = link.place.as_kept() else {
            return Some(Stored::File(ChunkRef(link.place.0)));
        };
        let data = self.kept.as_ref()?.chunks.get(number as usize)?.as_ref()?;
        Some(Stored::Kept(data.clone()))
    }

    /// Number of chunks that are kept in memory.
    pub(super) fn n_kept(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.chunks.len() - kept.free.len())
    }

    /// Notes that a chunk of the list that begins with `first` is in a file, and no longer keeps
    /// it. Does nothing if it is gone.
    pub(super) fn note_written(&mut self, first: u32, mint: i64, chunk: ChunkRef) {
        let mut next = first;
        while next != NONE {
            let link = self.links.get_mut(next);
            if link.mint == mint {
                if let Some(place) = Place::file(chunk) {
                    let before = std::mem::replace(&mut link.place, place);
                    self.take_data(before);
                }
                return;
            }
            next = link.next;
        }
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

    fn take_data(&mut self, place: Place) -> Option<ChunkData> {
        let number = place.as_kept()?;
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
                match self.take_data(link.place) {
                    Some(data) => moved.push(first, link.mint, link.span, data),
                    None => moved.link(first, Link { next: *first, ..link }),
                }
            }
        }
        *self = moved;
    }
}
