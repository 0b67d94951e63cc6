//! Giving a series chunks that an earlier run has left: full ones in files, and the open one.

use bytes::Bytes;
use ferula_chunkenc::{Chunk, Error};
use ferula_index::ChunkRef;

use super::cutting::{SAMPLES_PER_CHUNK, longest_span, predicted_span};
use super::full::{ChunkData, Link, Stored};
use super::{SeriesMut, SeriesView};

/// A full chunk that is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkInFile {
    /// Time of the first sample.
    pub(crate) mint: i64,
    /// Time of the last sample.
    pub(crate) maxt: i64,
    /// Where it is.
    pub(crate) at: ChunkRef,
}

/// The chunk that is appended to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OpenChunk {
    /// Time of the first sample.
    pub(crate) mint: i64,
    /// How long after it the chunk is cut, in milliseconds.
    pub(crate) cut_span: u32,
    /// The samples.
    pub(crate) chunk: Chunk,
}

impl SeriesView<'_> {
    /// The chunk that is appended to.
    pub(crate) fn open_chunk(&self) -> Option<OpenChunk> {
        let ChunkData { encoding, data } = self.slot.open.to_data(self.page.cells())?;
        let chunk = Chunk { encoding, data: Bytes::from_owner(data) };
        Some(OpenChunk { mint: self.slot.open_mint, cut_span: self.slot.cut_span, chunk })
    }

    /// Time of the last sample of the full chunks, as long as no open chunk follows them: the log has
    /// not gone beyond it yet.
    pub(crate) fn loaded_until(&self) -> Option<i64> {
        if !self.slot.open.is_empty() {
            return None;
        }
        self.page.full().iter(self.slot.full).next().map(Link::maxt)
    }

    /// The full chunks in time order; `None` if one of them is not in a file.
    pub(crate) fn chunks_in_files(&self) -> Option<Vec<ChunkInFile>> {
        let full = self.page.full();
        let in_file = |link: &Link| match full.stored(link)? {
            Stored::File(at) => Some(ChunkInFile { mint: link.mint(), maxt: link.maxt(), at }),
            Stored::Kept(_) => None,
        };
        let mut chunks: Vec<_> = full.iter(self.slot.full).map(in_file).collect::<Option<_>>()?;
        chunks.reverse();
        Some(chunks)
    }
}

impl SeriesMut<'_> {
    /// Adds a full chunk in place of those that it overlaps: it was written later than they, and goes
    /// on where some earlier run had got to. False if there is no room for its times or its place.
    #[must_use]
    pub(crate) fn load_chunk(&mut self, chunk: ChunkInFile) -> bool {
        let ChunkInFile { mint, maxt, at } = chunk;
        let span = maxt.checked_sub(mint).and_then(|span| u32::try_from(span).ok());
        span.is_some_and(|span| self.page.load_chunk(self.index, mint, span, at))
    }

    /// Forgets all chunks.
    pub(crate) fn clear(&mut self) {
        self.page.clear_slot(self.index);
    }

    /// Has the newest full chunk, whose samples `chunk` are, be the open one again.
    pub(crate) fn reopen(&mut self, chunk: &Chunk, block_range_ms: i64) -> Result<(), Error> {
        let full = self.page.full().iter(self.slot().full).next();
        let Some(mint) = full.map(Link::mint) else { return Ok(()) };
        self.page.resume_chunk(self.index, chunk)?;
        self.page.pop_full(self.index);
        let slot = self.slot_mut();
        slot.open_mint = mint;
        slot.cut_span = longest_span(mint, block_range_ms);
        if slot.open.float_count() > SAMPLES_PER_CHUNK / 4 {
            let mut samples = chunk.iter()?;
            for _ in 1..SAMPLES_PER_CHUNK / 4 {
                samples.next()?;
            }
            let quarter = samples.next()?.map_or(mint, |sample| sample.timestamp);
            let taken = u32::try_from(quarter.saturating_sub(mint)).unwrap_or(u32::MAX);
            slot.cut_span = predicted_span(taken, slot.cut_span);
        }
        Ok(())
    }

    /// Goes on with the chunk that was open when the head was written down.
    pub(crate) fn restore_open(&mut self, open: &OpenChunk) -> Result<(), Error> {
        self.page.resume_chunk(self.index, &open.chunk)?;
        let slot = self.slot_mut();
        (slot.open_mint, slot.cut_span) = (open.mint, open.cut_span);
        Ok(())
    }
}
