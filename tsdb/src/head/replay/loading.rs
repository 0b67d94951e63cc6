//! Taking over the full chunks that an earlier run has left in files.
//!
//! Chunks are put into their series before the log is read, which then goes over their samples
//! without encoding them again. They count only as far as the log vouches for them: it must have a
//! sample at the end of each series' last chunk, or after it. A chunk may have reached the disk
//! although its last batch did not reach the log, and nothing of a batch may be seen then.

use ferula_chunkenc::Encoding;
use ferula_index::SeriesRef;

use super::known::KnownSeries;
use crate::error::Error;
use crate::head::Head;
use crate::head::chunk_files::{ChunkFiles, FoundChunk};
use crate::head::series::{ChunkInFile, SeriesView, page_number};
use crate::head::stripes::PageCursor;

/// Takes over chunks one by one.
#[derive(Debug)]
pub(crate) struct ChunkLoader<'a> {
    head: &'a Head,
    valid_from: i64,
    pages: PageCursor,
    loaded: Loaded,
}

/// What was taken over.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Number of chunks.
    pub(crate) n_chunks: u64,
    /// Where the chunks of each series end.
    pub(super) known: KnownSeries,
    /// Times of the earliest and latest sample.
    pub(super) mint: i64,
    pub(super) maxt: i64,
    /// Whether a chunk could not be taken over, so that none may be.
    is_unusable: bool,
}

impl Default for Loaded {
    fn default() -> Self {
        Self {
            n_chunks: 0,
            known: KnownSeries::default(),
            mint: i64::MAX,
            maxt: i64::MIN,
            is_unusable: false,
        }
    }
}

impl Loaded {
    /// Whether no chunk may be taken over.
    pub(super) fn is_unusable(&self) -> bool {
        self.is_unusable
    }
}

impl<'a> ChunkLoader<'a> {
    /// Begins with an empty head that takes samples from `valid_from` on.
    pub(crate) fn new(head: &'a Head, valid_from: i64) -> Self {
        Self { head, valid_from, pages: PageCursor::default(), loaded: Loaded::default() }
    }

    /// Takes over a chunk, unless all of it is in blocks.
    pub(crate) fn add(&mut self, found: &FoundChunk) {
        let &FoundChunk { series, at, mint, maxt, is_ooo, .. } = found;
        // No later series may take this for its own.
        self.head.note_ref(series);
        if is_ooo || maxt < self.valid_from || !Head::serves(found.encoding) {
            return;
        }
        let chunk = ChunkInFile { mint, maxt, at };
        let load = |pages: &mut PageCursor| {
            let page = pages.page_of(&self.head.stripes, series)?;
            page.change(|page| page.series_mut(series).map(|mut found| found.load_chunk(chunk)))
        };
        let loaded = load(&mut self.pages).or_else(|| {
            self.head.stripes.insert(series);
            self.pages.page_anew(&self.head.stripes, series);
            load(&mut self.pages)
        });
        self.loaded.is_unusable |= !loaded.unwrap_or(false);
        self.loaded.n_chunks += 1;
        self.loaded.known.add_chunk(series, maxt);
        self.loaded.mint = self.loaded.mint.min(mint.max(self.valid_from));
        self.loaded.maxt = self.loaded.maxt.max(maxt);
    }

    /// What was taken over.
    pub(crate) fn finish(self) -> Loaded {
        self.loaded
    }
}

impl Head {
    /// Gives the chunks that were found under the ref `alias` to `series`, which it stands for. False
    /// if they overlap those that it has.
    pub(super) fn adopt_chunks(&self, alias: SeriesRef, series: SeriesRef) -> bool {
        let chunks_of = |series: SeriesRef| {
            let page = self.stripes.page(page_number(series))?;
            let page = page.lock();
            let view = page.view(series)?;
            Some((view.is_empty(), view.chunks_in_files().unwrap_or_default()))
        };
        let Some((_, mut chunks)) = chunks_of(alias) else { return true };
        if let Some(page) = self.stripes.page(page_number(alias)) {
            page.change(|page| page.series_mut(alias).map(|mut found| found.clear()));
        }
        if chunks.is_empty() {
            return true;
        }
        let Some((true, own)) = chunks_of(series) else { return false };
        chunks.extend(own);
        chunks.sort_unstable_by_key(|chunk| chunk.mint);
        if chunks.windows(2).any(|pair| pair[0].maxt >= pair[1].mint) {
            return false;
        }
        let Some(page) = self.stripes.page(page_number(series)) else { return false };
        page.change(|page| {
            let Some(mut found) = page.series_mut(series) else { return false };
            found.clear();
            chunks.into_iter().all(|chunk| found.load_chunk(chunk))
        })
    }

    /// Has series go on with their last full chunk that the log does not go beyond, and removes what
    /// was made for chunks alone. False if the log does not vouch for all chunks, or one cannot be
    /// read.
    pub(super) fn open_loaded(&self, known: &mut KnownSeries) -> bool {
        let (mut to_open, mut nameless) = (Vec::new(), Vec::new());
        let mut is_vouched = true;
        self.stripes.for_each_page(|page| {
            let page = page.lock();
            let loaded = page.views().filter(SeriesView::is_empty);
            for view in loaded {
                let series = view.series_ref();
                if view.loaded_until().is_some() {
                    is_vouched &= view.is_published() && known.has_vouched(series);
                    to_open.push(series);
                } else if !view.is_published() {
                    nameless.push(series);
                }
            }
        });
        if !is_vouched {
            return false;
        }
        for series in nameless {
            self.stripes.remove_of_page(page_number(series), [series], |view| view.is_empty());
        }
        let Some(files) = self.files() else { return to_open.is_empty() };
        to_open.into_iter().all(|series| self.reopen(files, series).is_ok())
    }

    fn reopen(&self, files: &ChunkFiles, series: SeriesRef) -> Result<(), Error> {
        let Some(page) = self.stripes.page(page_number(series)) else { return Ok(()) };
        page.change(|page| {
            let Some(mut found) = page.series_mut(series) else { return Ok(()) };
            let chunks = found.view().chunks_in_files().unwrap_or_default();
            let Some(last) = chunks.last() else { return Ok(()) };
            let stored = files.read(last.at)?;
            let reopened = found.reopen(&stored.chunk, self.block_range_ms);
            reopened.map_err(|source| Error::HeadChunk { series, source })
        })
    }

    /// Tells whether series of the head may have chunks of this encoding.
    fn serves(encoding: Encoding) -> bool {
        use Encoding::{FloatHistogram, FloatHistogramSt, Histogram, HistogramSt, Xor, Xor2};

        matches!(encoding, Xor | Xor2)
            || matches!(encoding, Histogram | FloatHistogram | HistogramSt | FloatHistogramSt)
    }
}
