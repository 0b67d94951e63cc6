//! One series of the head: its open chunk, its full ones, and which batches a reader may see.
//!
//! Chunks are cut as Prometheus cuts them: at boundaries of the block range, and within a range
//! so that its chunks come out equally long, near [`SAMPLES_PER_CHUNK`] samples each. A chunk
//! therefore never crosses a boundary, and a block is cut from whole chunks.
//!
//! Samples arrive in ascending time, so what a reader may see of a series is a prefix of it, and
//! isolation needs one timestamp per batch that is not seen by everybody yet (see
//! [`isolation`](super::isolation)).

use std::sync::Arc;

use bytes::Bytes;
use ferula_chunkenc::{Chunk, ChunkIterator, Encoding, Sample, SampleBatch, XorAppender};
use ferula_index::SeriesRef;
use parking_lot::{Mutex, MutexGuard};

use super::isolation::BatchId;
use crate::querier::decode_between;

/// Samples that a chunk should have.
const SAMPLES_PER_CHUNK: u16 = 120;

/// Samples after which a chunk is cut although its predicted end was not reached.
const MAX_SAMPLES_PER_CHUNK: u16 = 2 * SAMPLES_PER_CHUNK;

/// A series of the head.
#[derive(Debug)]
pub(crate) struct Series {
    series_ref: SeriesRef,
    state: Mutex<State>,
}

impl Series {
    /// Makes a series without samples.
    pub(crate) fn new(series_ref: SeriesRef) -> Self {
        let isolation =
            Isolated { batch: BatchId::REPLAYED, newest_before: i64::MIN, earlier: None };
        let state = State {
            open: None,
            open_mint: 0,
            cut_at: 0,
            full: Vec::new(),
            isolation,
            slot: u32::MAX,
            is_published: false,
        };
        Self { series_ref, state: Mutex::new(state) }
    }

    /// Its ref.
    pub(crate) fn series_ref(&self) -> SeriesRef {
        self.series_ref
    }

    /// Locks the series.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// What a series holds. Guarded by its lock.
#[derive(Debug)]
pub(crate) struct State {
    /// The chunk appended to; absent until the first sample.
    open: Option<XorAppender>,
    /// Time of the first sample of the open chunk.
    open_mint: i64,
    /// Time at which the open chunk is cut.
    cut_at: i64,
    /// Chunks before the open one, in time order.
    full: Vec<FullChunk>,
    isolation: Isolated,
    /// Where the batch that last took a sample of this series put it. A hint: whoever follows it
    /// checks that it leads back here, so that batches need no map of their series.
    pub(crate) slot: u32,
    /// Whether the series is logged and in the index. A series stays out of both until a batch
    /// that appends to it commits.
    pub(crate) is_published: bool,
}

/// A chunk that is not appended to any more.
#[derive(Clone, Debug)]
struct FullChunk {
    mint: i64,
    maxt: i64,
    data: Arc<[u8]>,
}

/// Which batches appended when.
#[derive(Debug)]
struct Isolated {
    /// The newest batch.
    batch: BatchId,
    /// Time of the newest sample before that batch, `i64::MIN` if there was none.
    newest_before: i64,
    /// The same of earlier batches that some reader may not see, oldest first. Nearly always none.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 24 in millions of series")]
    earlier: Option<Box<Vec<(BatchId, i64)>>>,
}

/// A chunk of a series with the times of its first and last sample.
#[derive(Clone, Debug)]
pub(crate) struct HeadChunk {
    /// Time of the first sample.
    pub(crate) mint: i64,
    /// Time of the last sample.
    pub(crate) maxt: i64,
    /// The samples.
    pub(crate) chunk: Chunk,
}

impl State {
    /// The newest sample, whether or not it is visible yet.
    pub(crate) fn newest(&self) -> Option<Sample> {
        self.open.as_ref().and_then(XorAppender::last)
    }

    /// Time of the oldest sample.
    pub(crate) fn oldest(&self) -> Option<i64> {
        self.full.first().map(|chunk| chunk.mint).or(self.open.as_ref().map(|_| self.open_mint))
    }

    /// Number of chunks.
    pub(crate) fn n_chunks(&self) -> usize {
        self.full.len() + usize::from(self.open.is_some())
    }

    /// Tells whether there are no samples.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none()
    }

    /// Appends a sample, which must be newer than the newest one, as part of `batch`. Readers that
    /// see less than `oldest_reader` are known to be gone.
    pub(crate) fn append(
        &mut self,
        sample: Sample,
        batch: BatchId,
        oldest_reader: BatchId,
        block_range_ms: i64,
    ) {
        let Sample { timestamp, value } = sample;
        let newest = self.newest().map_or(i64::MIN, |newest| newest.timestamp);
        self.isolation.note(batch, newest, oldest_reader);
        self.cut_if_due(timestamp, block_range_ms);
        let open = self.open.get_or_insert_with(|| {
            self.open_mint = timestamp;
            self.cut_at = range_end(timestamp, block_range_ms);
            XorAppender::new()
        });
        open.append(timestamp, value).expect("newer than the last sample of a chunk that has room");
    }

    /// Moves the open chunk to the full ones if `timestamp` does not belong into it any more.
    fn cut_if_due(&mut self, timestamp: i64, block_range_ms: i64) {
        let Some(open) = &self.open else { return };
        let n_samples = open.sample_count();
        let newest = open.last().map_or(self.open_mint, |last| last.timestamp);
        // At a quarter of the samples wanted, predict where the chunk should end.
        if n_samples == SAMPLES_PER_CHUNK / 4 {
            self.cut_at = predicted_end(self.open_mint, newest, self.cut_at);
        }
        // The boundary counts even if the block range has changed since the chunk was opened.
        let boundary = range_end(self.open_mint, block_range_ms);
        if timestamp < self.cut_at.min(boundary) && n_samples < MAX_SAMPLES_PER_CHUNK {
            return;
        }
        if let Some(open) = self.open.take() {
            let (mint, maxt) = (self.open_mint, newest);
            self.full.reserve_exact(1);
            self.full.push(FullChunk { mint, maxt, data: Arc::from(open.as_bytes()) });
        }
    }

    /// Time of the newest sample that a reader of `seen` may see.
    pub(crate) fn newest_seen(&self, seen: BatchId) -> Option<i64> {
        let newest = self.newest()?.timestamp;
        let visible = self.isolation.newest_seen(seen).map_or(newest, |before| before.min(newest));
        (visible >= self.oldest()? && visible != i64::MIN).then_some(visible)
    }

    /// Tells whether a reader of `seen` may see samples from `mint` to `maxt`, both inclusive, as
    /// far as the ranges of the chunks tell.
    pub(crate) fn has_samples(&self, mint: i64, maxt: i64, seen: BatchId) -> bool {
        let Some(newest) = self.newest_seen(seen) else { return false };
        let maxt = maxt.min(newest);
        let last = self.newest().map_or(i64::MIN, |newest| newest.timestamp);
        let open = self.open.as_ref().map(|_| (self.open_mint, last));
        let full = self.full.iter().map(|chunk| (chunk.mint, chunk.maxt));
        mint <= maxt && full.chain(open).any(|(from, to)| from <= maxt && mint <= to)
    }

    /// Time of the oldest sample at or after `from` that a reader of `seen` may see, or a time
    /// between `from` and it.
    pub(crate) fn oldest_from(&self, from: i64, seen: BatchId) -> Option<i64> {
        let newest_seen = self.newest_seen(seen)?;
        let last = self.newest().map_or(i64::MIN, |newest| newest.timestamp);
        let open = self.open.as_ref().map(|_| (self.open_mint, last));
        let mut chunks = self.full.iter().map(|chunk| (chunk.mint, chunk.maxt)).chain(open);
        let (mint, _) = chunks.find(|(_, maxt)| *maxt >= from)?;
        Some(mint.max(from)).filter(|oldest| *oldest <= newest_seen)
    }

    /// The chunks with samples from `mint` to `maxt`, both inclusive, that a reader of `seen` may
    /// see, and the time of the newest sample it may see. Chunks are shared, not decoded.
    pub(crate) fn chunks(&self, mint: i64, maxt: i64, seen: BatchId) -> Option<SeenChunks> {
        let maxt = maxt.min(self.newest_seen(seen)?);
        let overlaps = |chunk: &&FullChunk| chunk.mint <= maxt && chunk.maxt >= mint;
        let full: Vec<FullChunk> = self.full.iter().filter(overlaps).cloned().collect();
        let open = self.open.as_ref().filter(|_| self.open_mint <= maxt);
        let open = open.and_then(|open| {
            let last = open.last()?.timestamp;
            let data = || Arc::from(open.as_bytes());
            (last >= mint).then(|| FullChunk { mint: self.open_mint, maxt: last, data: data() })
        });
        Some(SeenChunks { mint, maxt, chunks: full.into_iter().chain(open).collect() })
    }

    /// Removes the samples from `mint` to `maxt`, both inclusive, of a series that nobody reads yet.
    pub(crate) fn delete(
        &mut self,
        mint: i64,
        maxt: i64,
        block_range_ms: i64,
    ) -> Result<(), ferula_chunkenc::Error> {
        let all = BatchId::REPLAYED;
        let is_hit = self.has_samples(mint, maxt, all);
        let Some(chunks) = self.chunks(i64::MIN, i64::MAX, all).filter(|_| is_hit) else {
            return Ok(());
        };
        let mut samples = SampleBatch::new();
        chunks.decode_into(&mut samples)?;
        self.full = Vec::new();
        self.open = None;
        for sample in samples.iter().filter(|sample| !(mint..=maxt).contains(&sample.timestamp)) {
            self.append(sample, all, all, block_range_ms);
        }
        Ok(())
    }

    /// Removes the chunks whose samples all lie before `mint`. Returns how many are gone.
    pub(crate) fn truncate(&mut self, mint: i64) -> usize {
        let before = self.n_chunks();
        self.full.retain(|chunk| chunk.maxt >= mint);
        if self.newest().is_some_and(|newest| newest.timestamp < mint) {
            self.open = None;
        }
        before - self.n_chunks()
    }
}

impl Isolated {
    /// Notes that `batch` is about to append after a sample at `newest`.
    fn note(&mut self, batch: BatchId, newest: i64, oldest_reader: BatchId) {
        if self.batch == batch {
            return;
        }
        if self.batch <= oldest_reader {
            self.earlier = None;
        } else {
            let earlier = self.earlier.get_or_insert_default();
            earlier.retain(|(batch, _)| *batch > oldest_reader);
            earlier.push((self.batch, self.newest_before));
        }
        (self.batch, self.newest_before) = (batch, newest);
    }

    /// Time of the newest sample that a reader of `seen` may see; `None` if it may see all.
    fn newest_seen(&self, seen: BatchId) -> Option<i64> {
        if self.batch <= seen {
            return None;
        }
        let mut earlier = self.earlier.iter().flat_map(|earlier| earlier.iter());
        let first_unseen = earlier.find(|(batch, _)| *batch > seen);
        Some(first_unseen.map_or(self.newest_before, |(_, newest_before)| *newest_before))
    }
}

/// The part of a series that a reader may see, taken under its lock and decoded outside of it.
#[derive(Debug)]
pub(crate) struct SeenChunks {
    mint: i64,
    maxt: i64,
    chunks: Vec<FullChunk>,
}

impl SeenChunks {
    /// Appends the samples to `batch`.
    pub(crate) fn decode_into(
        &self,
        batch: &mut SampleBatch,
    ) -> Result<(), ferula_chunkenc::Error> {
        for chunk in &self.chunks {
            let samples = ChunkIterator::new(Encoding::Xor, &chunk.data)?;
            if self.mint <= chunk.mint && chunk.maxt <= self.maxt {
                samples.decode_into(batch)?;
            } else {
                decode_between(samples, self.mint, self.maxt, batch)?;
            }
        }
        Ok(())
    }

    /// The chunks as a block stores them: none holds samples outside of the range.
    pub(crate) fn into_chunks(self) -> Result<Vec<HeadChunk>, ferula_chunkenc::Error> {
        let mut chunks = Vec::with_capacity(self.chunks.len());
        for FullChunk { mint, maxt, data } in self.chunks {
            if self.mint <= mint && maxt <= self.maxt {
                let chunk = Chunk { encoding: Encoding::Xor, data: Bytes::from_owner(data) };
                chunks.push(HeadChunk { mint, maxt, chunk });
                continue;
            }
            let mut cut = XorAppender::new();
            let mut samples = ChunkIterator::new(Encoding::Xor, &data)?;
            let mut next = samples.seek(self.mint)?;
            let mint = next.map(|sample| sample.timestamp);
            while let Some(sample) = next.filter(|sample| sample.timestamp <= self.maxt) {
                cut.append(sample.timestamp, sample.value)?;
                next = samples.next()?;
            }
            if let (Some(mint), Some(last)) = (mint, cut.last()) {
                chunks.push(HeadChunk { mint, maxt: last.timestamp, chunk: cut.into_chunk() });
            }
        }
        Ok(chunks)
    }
}

/// End of the block range that holds `timestamp`, exclusive.
pub(crate) fn range_end(timestamp: i64, block_range_ms: i64) -> i64 {
    timestamp.div_euclid(block_range_ms).saturating_add(1).saturating_mul(block_range_ms)
}

/// Where a chunk from `start` should end, so that the chunks up to `end` come out equally long, if
/// a quarter of its samples took until `newest`.
fn predicted_end(start: i64, newest: i64, end: i64) -> i64 {
    let left = end.saturating_sub(start);
    let taken = newest.saturating_sub(start).saturating_add(1).saturating_mul(4);
    match left / taken {
        0 | 1 => end,
        n => start.saturating_add(left / n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: i64 = 7_200_000;

    fn fill(series: &Series, samples: impl Iterator<Item = i64>) {
        for t in samples {
            series.lock().append(Sample::new(t, 1.0), BatchId::REPLAYED, BatchId::REPLAYED, RANGE);
        }
    }

    fn ranges(series: &Series) -> Vec<(i64, i64)> {
        let seen = series.lock().chunks(i64::MIN, i64::MAX, BatchId::REPLAYED);
        let chunks = seen.map_or(Vec::new(), |seen| seen.into_chunks().unwrap());
        chunks.iter().map(|chunk| (chunk.mint, chunk.maxt)).collect()
    }

    #[test]
    fn a_regular_scrape_gives_equal_chunks() {
        let series = Series::new(SeriesRef(1));
        fill(&series, (0..480).map(|i| i * 15_000));
        let expected: Vec<_> =
            (0..4).map(|i| (i * 1_800_000, (i + 1) * 1_800_000 - 15_000)).collect();
        assert_eq!(ranges(&series), expected);
    }

    #[test]
    fn no_chunk_crosses_a_boundary() {
        let series = Series::new(SeriesRef(1));
        fill(&series, [-5, -1, 0, 5, RANGE - 1, RANGE, 3 * RANGE + 7].into_iter());
        let expected = [(-5, -1), (0, RANGE - 1), (RANGE, RANGE), (3 * RANGE + 7, 3 * RANGE + 7)];
        assert_eq!(ranges(&series), expected);
    }

    #[test]
    fn a_reader_sees_what_was_visible_when_it_began() {
        let series = Series::new(SeriesRef(1));
        let append = |t, batch, oldest| {
            let (batch, oldest) = (BatchId(batch), BatchId(oldest));
            series.lock().append(Sample::new(t, 0.0), batch, oldest, RANGE);
        };
        append(10, 1, 0);
        assert_eq!(series.lock().newest_seen(BatchId(0)), None);
        // A reader that began at batch 1 stays open from here on.
        append(20, 2, 1);
        append(30, 2, 1);
        append(40, 3, 1);
        append(50, 7, 1);
        let seen = |batch| series.lock().newest_seen(BatchId(batch));
        assert_eq!(seen(1), Some(10));
        assert_eq!([2, 3, 5, 7].map(seen), [Some(30), Some(40), Some(40), Some(50)]);
        // When it is gone, nothing is kept for it.
        append(60, 8, 7);
        assert!(series.lock().isolation.earlier.is_none());
        assert_eq!([7, 8].map(seen), [Some(50), Some(60)]);
    }

    #[test]
    fn truncation_keeps_chunks_that_reach_into_what_stays() {
        let series = Series::new(SeriesRef(1));
        fill(&series, (0..480).map(|i| i * 15_000));
        assert_eq!(series.lock().truncate(1_800_001), 1);
        assert_eq!(series.lock().oldest(), Some(1_800_000));
        assert_eq!(series.lock().truncate(RANGE), 3);
        assert!(series.lock().is_empty());
    }
}
