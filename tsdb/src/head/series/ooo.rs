//! Samples of a series that came out of order, kept apart from the others.
//!
//! As in Prometheus they are collected, sorted and not encoded, until there are
//! [`MAX_OPEN_SAMPLES`]; then they become a chunk (several, where they are of different kinds), which
//! leaves memory for a file. Chunks may overlap each other and those in order. Only series that have
//! such samples take memory for it, in a list that its page keeps.
//!
//! Each sample is of an [`Era`]. A new one begins when such samples are cut into blocks, and when
//! samples are deleted; a chunk is of one era, so that it is in blocks as a whole or not at all, and
//! was there before a deletion or came after it.

use bytes::Bytes;
use ferula_chunkenc::Chunk;
use ferula_index::{ChunkRef, SeriesRef};

use super::full::{ChunkData, Stored};
use super::{PageState, SeriesMut, SeriesView};
use crate::block::EncodedChunk;
use crate::error::Error;
use crate::head::chunk_files::ChunkFiles;
use crate::head::isolation::{BatchId, Views};
use crate::recode::{Recoded, Recoder, Value};
use crate::tombstones::{Interval, covers};

/// Samples that are collected before they become a chunk, as in Prometheus.
pub(crate) const MAX_OPEN_SAMPLES: usize = 32;

/// A time between cuts and deletions of samples out of order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Era(pub(crate) u64);

/// What samples out of order are inserted with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InsertContext<'a> {
    pub(crate) batch: BatchId,
    pub(crate) views: &'a Views,
    pub(crate) era: Era,
}

/// The samples out of order of the series of a page.
#[derive(Debug, Default)]
pub(super) struct OutOfOrder {
    /// By slot.
    series: Vec<OfSeries>,
    size_bytes: usize,
    n_chunks: usize,
}

/// The samples out of order of one series; there is one at least.
#[derive(Debug)]
struct OfSeries {
    slot: u8,
    /// Of the open samples.
    era: Era,
    /// By time, each time once.
    open: Vec<Inserted>,
    /// In the order in which they were made.
    full: Vec<FullOutOfOrder>,
    next_number: u32,
}

#[derive(Debug)]
struct Inserted {
    batch: BatchId,
    sample: Recoded,
}

#[derive(Debug)]
struct FullOutOfOrder {
    number: u32,
    era: Era,
    mint: i64,
    maxt: i64,
    data: Stored,
    /// Which batch each sample is of, as long as some reader may not see one of them.
    batches: Option<Box<[BatchId]>>,
}

/// A chunk that was just made of open samples, and is kept in memory.
#[derive(Clone, Debug)]
pub(crate) struct SealedChunk {
    pub(crate) series: SeriesRef,
    /// Which one of the series.
    pub(crate) number: u32,
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) chunk: Chunk,
}

impl FullOutOfOrder {
    fn overlaps(&self, mint: i64, maxt: i64) -> bool {
        self.mint <= maxt && mint <= self.maxt
    }

    fn is_seen(&self, seen: BatchId) -> bool {
        self.batches.as_ref().is_none_or(|batches| batches.iter().any(|batch| *batch <= seen))
    }

    fn size_bytes(&self) -> usize {
        let kept = match &self.data {
            Stored::Kept(data) => data.data.len(),
            Stored::File(_) => 0,
        };
        kept + self.batches.as_ref().map_or(0, |batches| size_of_val(&**batches))
    }
}

impl OfSeries {
    fn size_bytes(&self) -> usize {
        let histogram_bytes = |inserted: &Inserted| match &inserted.sample.value {
            Value::Float(_) => 0,
            Value::Histogram(histogram) => size_of_val(&**histogram) + histogram.heap_bytes(),
        };
        let open: usize = self.open.iter().map(histogram_bytes).sum();
        let full: usize = self.full.iter().map(FullOutOfOrder::size_bytes).sum();
        open + full
            + self.open.capacity() * size_of::<Inserted>()
            + self.full.capacity() * size_of::<FullOutOfOrder>()
    }

    fn n_chunks(&self) -> usize {
        self.full.len() + usize::from(!self.open.is_empty())
    }

    fn is_empty(&self) -> bool {
        self.open.is_empty() && self.full.is_empty()
    }

    fn range(&self) -> Option<(i64, i64)> {
        let open = self.open.first().zip(self.open.last());
        let open = open.map(|(first, last)| (first.sample.timestamp, last.sample.timestamp));
        let full = self.full.iter().map(|chunk| (chunk.mint, chunk.maxt));
        full.chain(open).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// Makes chunks of the open samples.
    fn seal(&mut self, series: SeriesRef, views: &Views, sealed: &mut Vec<SealedChunk>) {
        let open = std::mem::take(&mut self.open);
        let is_seen = open.iter().all(|sample| views.all_see(sample.batch));
        let origins: Vec<(i64, BatchId)> =
            open.iter().map(|inserted| (inserted.sample.timestamp, inserted.batch)).collect();
        let open = open.into_iter().map(|inserted| inserted.sample);
        for EncodedChunk { mint, maxt, chunk } in encode(open) {
            let batches = origins.iter().filter(|(time, _)| (mint..=maxt).contains(time));
            let batches = (!is_seen).then(|| batches.map(|(_, batch)| *batch).collect());
            let data = ChunkData { encoding: chunk.encoding, data: chunk.data.to_vec().into() };
            let (number, era) = (self.next_number, self.era);
            self.next_number += 1;
            let data = Stored::Kept(data);
            self.full.push(FullOutOfOrder { number, era, mint, maxt, data, batches });
            sealed.push(SealedChunk { series, number, mint, maxt, chunk });
        }
    }
}

/// Makes chunks of sorted samples.
fn encode(samples: impl Iterator<Item = Recoded>) -> Vec<EncodedChunk> {
    let mut recoder = Recoder::default();
    samples.for_each(|sample| recoder.push(sample));
    let mut chunks = Vec::new();
    recoder.merge(&[]);
    recoder.encode(&mut chunks).expect("samples are checked when they are taken");
    chunks
}

impl OutOfOrder {
    fn place_of(&self, slot: u8) -> Result<usize, usize> {
        self.series.binary_search_by_key(&slot, |series| series.slot)
    }

    fn get(&self, slot: u8) -> Option<&OfSeries> {
        self.place_of(slot).ok().map(|place| &self.series[place])
    }

    /// Changes what a series has, which is made if there is nothing, and goes if nothing is left.
    fn change<T>(&mut self, slot: u8, change: impl FnOnce(&mut OfSeries) -> T) -> T {
        let place = self.place_of(slot).unwrap_or_else(|place| {
            let (era, next_number) = (Era::default(), 0);
            let (open, full) = (Vec::new(), Vec::new());
            self.series.insert(place, OfSeries { slot, era, open, full, next_number });
            place
        });
        let series = &mut self.series[place];
        let (size_before, n_before) = (series.size_bytes(), series.n_chunks());
        let result = change(series);
        self.size_bytes = self.size_bytes - size_before + series.size_bytes();
        self.n_chunks = self.n_chunks - n_before + series.n_chunks();
        if series.is_empty() {
            self.series.remove(place);
        }
        result
    }

    /// Forgets a series.
    pub(super) fn forget(&mut self, slot: u8) {
        if self.place_of(slot).is_ok() {
            self.change(slot, |series| {
                series.open = Vec::new();
                series.full = Vec::new();
            });
        }
    }

    /// Number of series.
    pub(super) fn n_series(&self) -> usize {
        self.series.len()
    }

    /// Number of chunks, open ones included.
    pub(super) fn n_chunks(&self) -> usize {
        self.n_chunks
    }

    /// Bytes of memory.
    pub(super) fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.size_bytes + self.series.capacity() * size_of::<OfSeries>()
    }
}

impl SeriesMut<'_> {
    /// Inserts a sample that came out of order. Chunks that become full are added to `sealed`. False
    /// if the open samples have one at that time already, which stays.
    pub(crate) fn insert(
        &mut self,
        sample: Recoded,
        context: InsertContext<'_>,
        sealed: &mut Vec<SealedChunk>,
    ) -> bool {
        let InsertContext { batch, views, era } = context;
        let timestamp = sample.timestamp;
        let series_ref = self.series;
        let side = self.page.ooo.get_or_insert_default();
        side.change(self.number, |series| {
            let is_full = series.open.len() >= MAX_OPEN_SAMPLES;
            if is_full || series.era != era && !series.open.is_empty() {
                series.seal(series_ref, views, sealed);
            }
            series.era = era;
            let place =
                series.open.partition_point(|inserted| inserted.sample.timestamp < timestamp);
            if series.open.get(place).is_some_and(|found| found.sample.timestamp == timestamp) {
                return false;
            }
            series.open.insert(place, Inserted { batch, sample });
            true
        })
    }

    /// Makes chunks of the open samples out of order of eras before `until`.
    pub(crate) fn seal(&mut self, until: Era, views: &Views, sealed: &mut Vec<SealedChunk>) {
        let series_ref = self.series;
        let Some(side) = &mut self.page.ooo else { return };
        if side.get(self.number).is_some_and(|series| series.era < until) {
            side.change(self.number, |series| series.seal(series_ref, views, sealed));
        }
    }

    /// Notes that a chunk of samples out of order is in a file. False if it is gone.
    pub(crate) fn note_sealed(&mut self, number: u32, at: ChunkRef) -> bool {
        let Some(side) = &mut self.page.ooo else { return false };
        if side.get(self.number).is_none() {
            return false;
        }
        side.change(self.number, |series| {
            let chunk = series.full.iter_mut().find(|chunk| chunk.number == number);
            chunk.map(|chunk| chunk.data = Stored::File(at)).is_some()
        })
    }

    /// Removes the samples out of order from `mint` to `maxt`, both inclusive, of a series that
    /// nobody reads yet. `released` learns of chunks in files that are not needed any more. Tells
    /// whether there were any.
    pub(crate) fn delete_out_of_order(
        &mut self,
        mint: i64,
        maxt: i64,
        files: Option<&ChunkFiles>,
        mut released: impl FnMut(ChunkRef),
    ) -> Result<bool, Error> {
        let series_ref = self.series;
        let Some(side) = &mut self.page.ooo else { return Ok(false) };
        if side.get(self.number).is_none() {
            return Ok(false);
        }
        let failed = |source| Error::HeadChunk { series: series_ref, source };
        side.change(self.number, |series| {
            let n_open = series.open.len();
            series.open.retain(|inserted| !(mint..=maxt).contains(&inserted.sample.timestamp));
            let mut is_changed = series.open.len() < n_open;
            let mut kept = Vec::with_capacity(series.full.len());
            for chunk in std::mem::take(&mut series.full) {
                if !chunk.overlaps(mint, maxt) {
                    kept.push(chunk);
                    continue;
                }
                let mut recoder = Recoder::default();
                recoder.decode(&read(&chunk.data, files)?).map_err(failed)?;
                recoder.merge(&[(mint, maxt)]);
                is_changed = true;
                let mut left = Vec::new();
                recoder.encode(&mut left).map_err(failed)?;
                if let Stored::File(at) = chunk.data {
                    released(at);
                }
                for EncodedChunk { mint, maxt, chunk: Chunk { encoding, data } } in left {
                    let data = Stored::Kept(ChunkData { encoding, data: data.to_vec().into() });
                    let number = series.next_number;
                    series.next_number += 1;
                    let (era, batches) = (chunk.era, None);
                    kept.push(FullOutOfOrder { number, era, mint, maxt, data, batches });
                }
            }
            series.full = kept;
            Ok(is_changed)
        })
    }

    /// Removes the chunks of samples out of order of eras before `until`. `released` learns of those
    /// that are in files.
    pub(crate) fn truncate_out_of_order(&mut self, until: Era, mut released: impl FnMut(ChunkRef)) {
        let Some(side) = &mut self.page.ooo else { return };
        if side.get(self.number).is_none() {
            return;
        }
        side.change(self.number, |series| {
            series.full.retain(|chunk| {
                let is_kept = chunk.era >= until;
                if let Stored::File(at) = chunk.data
                    && !is_kept
                {
                    released(at);
                }
                is_kept
            });
        });
    }
}

impl PageState {
    /// The series that have samples out of order.
    pub(crate) fn out_of_order_series(&self) -> Vec<SeriesRef> {
        let numbers = self.ooo.iter().flat_map(|side| &side.series).map(|series| series.slot);
        let first = self.number * super::PAGE_LEN as u64;
        numbers.map(|number| SeriesRef(first + u64::from(number))).collect()
    }

    /// Gives back what is kept for samples out of order, if there are none.
    pub(crate) fn shrink_out_of_order(&mut self) {
        if self.ooo.as_ref().is_some_and(|side| side.series.is_empty()) {
            self.ooo = None;
        }
    }
}

/// Samples out of order that a reader may see, taken under the lock of their series.
#[derive(Debug)]
pub(crate) struct OutOfOrderRuns {
    series: SeriesRef,
    mint: i64,
    maxt: i64,
    /// The oldest first: of two samples at the same time the first stays.
    runs: Vec<Run>,
}

#[derive(Debug)]
struct Run {
    era: Era,
    data: RunData,
}

#[derive(Debug)]
enum RunData {
    Samples(Vec<Recoded>),
    Chunk {
        stored: Stored,
        /// Which samples a reader may see, if not all.
        is_seen: Option<Box<[bool]>>,
    },
}

/// What a reader looks for among samples out of order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sought {
    pub(crate) mint: i64,
    pub(crate) maxt: i64,
    pub(crate) seen: BatchId,
    /// The first era, inclusive.
    pub(crate) from: Era,
    /// The last era, exclusive.
    pub(crate) until: Era,
}

impl SeriesView<'_> {
    fn out_of_order(&self) -> Option<&OfSeries> {
        self.page.ooo.as_ref()?.get(self.number)
    }

    /// Tells whether there are samples out of order.
    pub(crate) fn has_out_of_order(&self) -> bool {
        self.out_of_order().is_some()
    }

    /// Times of the first and the last sample out of order.
    pub(crate) fn out_of_order_range(&self) -> Option<(i64, i64)> {
        self.out_of_order()?.range()
    }

    /// The chunks that the open samples out of order would become; `None` if there are none.
    pub(crate) fn open_out_of_order(&self) -> Option<Vec<SealedChunk>> {
        let series = self.out_of_order().filter(|series| !series.open.is_empty())?;
        let open = series.open.iter().map(|inserted| inserted.sample.clone());
        let chunks = encode(open).into_iter();
        let sealed = |EncodedChunk { mint, maxt, chunk }| SealedChunk {
            series: self.series,
            number: series.next_number,
            mint,
            maxt,
            chunk,
        };
        Some(chunks.map(sealed).collect())
    }

    /// Tells whether there may be some of the samples out of order, as far as the ranges of the
    /// chunks tell.
    ///
    /// `deleted_of` tells what is deleted of the samples of an era.
    pub(crate) fn has_out_of_order_samples(
        &self,
        sought: &Sought,
        deleted_of: impl Fn(Era) -> Vec<Interval>,
    ) -> bool {
        let Some(series) = self.out_of_order() else { return false };
        let Sought { mint, maxt, seen, from, until } = *sought;
        let eras = from..until;
        let is_left =
            |era, (from, to): (i64, i64)| !covers(&deleted_of(era), mint.max(from), maxt.min(to));
        let is_found = |inserted: &Inserted| {
            let time = inserted.sample.timestamp;
            (mint..=maxt).contains(&time)
                && inserted.batch <= seen
                && is_left(series.era, (time, time))
        };
        series.full.iter().any(|chunk| {
            eras.contains(&chunk.era)
                && chunk.overlaps(mint, maxt)
                && chunk.is_seen(seen)
                && is_left(chunk.era, (chunk.mint, chunk.maxt))
        }) || eras.contains(&series.era) && series.open.iter().any(is_found)
    }

    /// The samples out of order that are sought; `None` if there are none.
    pub(crate) fn out_of_order_runs(&self, sought: &Sought) -> Option<OutOfOrderRuns> {
        let series = self.out_of_order()?;
        let Sought { mint, maxt, seen, from, until } = *sought;
        let is_sought = |era| (from..until).contains(&era);
        let chunks = series.full.iter().filter(|chunk| {
            is_sought(chunk.era) && chunk.overlaps(mint, maxt) && chunk.is_seen(seen)
        });
        let mut runs: Vec<Run> = chunks
            .map(|chunk| {
                let batches = chunk.batches.as_ref();
                let batches = batches.filter(|batches| batches.iter().any(|b| *b > seen));
                let is_seen = batches.map(|batches| batches.iter().map(|b| *b <= seen).collect());
                Run { era: chunk.era, data: RunData::Chunk { stored: chunk.data.clone(), is_seen } }
            })
            .collect();
        if is_sought(series.era) {
            let open = series.open.iter().filter(|found| {
                (mint..=maxt).contains(&found.sample.timestamp) && found.batch <= seen
            });
            let samples: Vec<Recoded> = open.map(|inserted| inserted.sample.clone()).collect();
            if !samples.is_empty() {
                runs.push(Run { era: series.era, data: RunData::Samples(samples) });
            }
        }
        let runs = OutOfOrderRuns { series: self.series, mint, maxt, runs };
        (!runs.runs.is_empty()).then_some(runs)
    }
}

impl OutOfOrderRuns {
    /// Their series.
    pub(crate) fn series_ref(&self) -> SeriesRef {
        self.series
    }

    /// Merges the samples with those that `recoder` has. `deleted_of` tells what is deleted of the
    /// samples of an era.
    pub(crate) fn merge_into(
        self,
        files: Option<&ChunkFiles>,
        deleted_of: impl Fn(Era) -> Vec<Interval>,
        recoder: &mut Recoder,
    ) -> Result<(), Error> {
        let Self { series, mint, maxt, runs } = self;
        for Run { era, data } in runs {
            match data {
                RunData::Samples(samples) => {
                    samples.into_iter().for_each(|sample| recoder.push(sample));
                }
                RunData::Chunk { stored, is_seen } => {
                    let decoded = recoder.decode(&read(&stored, files)?);
                    decoded.map_err(|source| Error::HeadChunk { series, source })?;
                    recoder.retain_decoded(|place, time| {
                        let is_seen = is_seen.as_ref().and_then(|seen| seen.get(place));
                        (mint..=maxt).contains(&time) && is_seen.copied().unwrap_or(true)
                    });
                }
            }
            recoder.merge(&deleted_of(era));
        }
        Ok(())
    }

    /// Hands over the samples as they were sealed: each chunk with where it is, then the open ones.
    pub(crate) fn for_each_run(
        self,
        files: Option<&ChunkFiles>,
        deleted_of: impl Fn(Era) -> Vec<Interval>,
        mut visit: impl FnMut(Vec<Recoded>, Option<ChunkRef>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (series, mint, maxt) = (self.series, self.mint, self.maxt);
        for run in self.runs {
            let at = match &run.data {
                RunData::Chunk { stored: Stored::File(at), .. } => Some(*at),
                _ => None,
            };
            let deleted = deleted_of(run.era);
            let at = at.filter(|_| deleted.is_empty());
            let mut recoder = Recoder::default();
            let runs = Self { series, mint, maxt, runs: vec![run] };
            runs.merge_into(files, |_| deleted.clone(), &mut recoder)?;
            visit(recoder.into_samples().collect(), at)?;
        }
        Ok(())
    }
}

fn read(stored: &Stored, files: Option<&ChunkFiles>) -> Result<Chunk, Error> {
    match (stored, files) {
        (Stored::Kept(ChunkData { encoding, data }), _) => {
            Ok(Chunk { encoding: *encoding, data: Bytes::from_owner(data.clone()) })
        }
        (Stored::File(at), Some(files)) => {
            let stored = files.read(*at)?;
            if stored.is_ooo { Ok(stored.chunk) } else { Err(files.nowhere(*at)) }
        }
        (Stored::File(_), None) => unreachable!("the chunk was written to the files"),
    }
}
