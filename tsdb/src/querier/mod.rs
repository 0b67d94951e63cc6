//! Reading: series by matchers and time, merged over the head and the blocks.

mod block;
mod chunks;
mod head;
mod merge;

use std::ops::Range;
use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, Matcher, Pace};

use self::block::BlockSeries;
pub(crate) use self::chunks::decode_between;
pub(crate) use self::head::{HeadReader, Newest, Request};
use self::merge::{LabelStream, Merged, Source, merge_names, merge_tail};
use crate::block::Block;
use crate::error::Error;
use crate::head::Series;

/// Asks whether so many bytes may be taken; also whether there is still time. Called often.
pub(crate) type Draw<'a> = dyn Fn(usize) -> Result<(), Error> + 'a;

/// Asks whether so many samples may be appended to a batch.
pub(crate) type MakeRoom<'a> = dyn FnMut(&SampleBatch, usize) -> Result<(), Error> + 'a;

/// A consistent view of a database over one range of time: what was committed when it was opened,
/// and nothing else. Keeps what it reads alive.
#[derive(Debug)]
pub struct Querier {
    mint: i64,
    maxt: i64,
    head: HeadReader,
    /// Those that overlap the range, by time.
    blocks: Vec<Arc<Block>>,
}

impl Querier {
    pub(crate) fn new(mint: i64, maxt: i64, head: HeadReader, blocks: &[Arc<Block>]) -> Self {
        let is_needed =
            |block: &&Arc<Block>| block.overlaps(mint, maxt) && block.damage().is_none();
        let mut blocks: Vec<Arc<Block>> = blocks.iter().filter(is_needed).cloned().collect();
        // Of two samples of a series at the same time the one that came in order stays, and of two
        // that did not the one that came first.
        blocks.sort_by_key(|block| block.meta().compaction.is_of_part());
        Self { mint, maxt, head, blocks }
    }

    /// Selects the series that pass all `matchers` and have chunks that overlap the range, sorted
    /// by their labels, each label set once. Without matchers all series are selected.
    ///
    /// # Errors
    /// Whatever keeps a block from being read.
    pub fn select(&self, matchers: &[Matcher]) -> Result<SeriesSet, Error> {
        let (mint, maxt) = (self.mint, self.maxt);
        let request = Request { mint, maxt, ..Request::default() };
        self.select_within(matchers, request, &|_| Ok(()))
    }

    /// Selects as [`select`](Self::select) does, in a part of the range. Memory is asked for with `draw` before it is taken.
    pub(crate) fn select_within(
        &self,
        matchers: &[Matcher],
        request: Request<'_>,
        draw: &Draw<'_>,
    ) -> Result<SeriesSet, Error> {
        let (mint, maxt) = (request.mint.max(self.mint), request.maxt.min(self.maxt));
        let goes_on = || draw(0).is_ok();
        let pace = &Pace::new(&goes_on);
        let mut blocks: Vec<BlockSeries> = Vec::new();
        let mut n_whole = 0;
        for block in self.blocks.iter().filter(|block| block.overlaps(mint, maxt)) {
            let selected = unless_stopped(block.select_paced(matchers, pace)?, draw)?;
            if !selected.is_empty() {
                // Two bytes for each at most.
                draw(usize::try_from(selected.len()).unwrap_or(usize::MAX).saturating_mul(2))?;
                n_whole += usize::from(!block.meta().compaction.is_of_part());
                blocks.push(BlockSeries::new(block, selected));
            }
        }
        let (of_head, newest) =
            self.head.select_with(matchers, Request { mint, maxt, ..request }, draw)?;
        let found = if blocks.is_empty() {
            Found::Head(of_head, newest)
        } else {
            let labels = || self.head.with_labels(&of_head).map(|(labels, _)| Ok(labels));
            let mut sources: Vec<(Source, LabelStream<'_>)> = Vec::new();
            for (at, series) in (0..).zip(&mut blocks) {
                sources.push((Source::Block(at), Box::new(series.find(mint, maxt, draw))));
            }
            sources.insert(n_whole, (Source::Head, Box::new(labels())));
            if self.head.has_out_of_order() {
                sources.push((Source::Late, Box::new(labels())));
            }
            let merged = Merged::new(sources, request.needed, draw)?;
            Found::Merged { merged, blocks, of_head }
        };
        Ok(SeriesSet { mint, maxt, head: self.head.clone(), found })
    }

    /// Names of the labels of series that pass all `matchers`, sorted and unique. Series of the
    /// head and of blocks that overlap the range count, wherever their samples lie.
    ///
    /// # Errors
    /// Whatever keeps a block from being read.
    pub fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        let of_blocks = self.blocks.iter().map(|block| block.label_names(matchers));
        let of_head = self.head.label_names(matchers, self.mint, self.maxt);
        Ok(merge_names(of_blocks.chain([Ok(of_head)]).collect::<Result<_, _>>()?))
    }

    /// Values of the label `name` among series that pass all `matchers`, sorted and unique. Series
    /// of the head and of blocks that overlap the range count, wherever their samples lie.
    ///
    /// # Errors
    /// Whatever keeps a block from being read.
    pub fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        let of_blocks = self.blocks.iter().map(|block| block.label_values(name, matchers));
        let of_head = self.head.label_values(name, matchers, self.mint, self.maxt);
        Ok(merge_names(of_blocks.chain([Ok(of_head)]).collect::<Result<_, _>>()?))
    }
}

/// How many entries room is made for at once while series are selected.
const SELECT_BATCH: usize = 1 << 14;

/// What was found, or why finding it was stopped.
fn unless_stopped<T>(found: Option<T>, draw: &Draw<'_>) -> Result<T, Error> {
    match found {
        Some(found) => Ok(found),
        None => Err(draw(0).err().unwrap_or_else(|| Error::Stopped("it was stopped".into()))),
    }
}

/// Makes room for one entry more, of which each takes `entry_bytes`.
fn make_room<T>(list: &mut Vec<T>, entry_bytes: usize, draw: &Draw<'_>) -> Result<(), Error> {
    if list.len() == list.capacity() {
        let additional = list.len().clamp(64, SELECT_BATCH);
        draw(additional.saturating_mul(entry_bytes))?;
        list.reserve_exact(additional);
    }
    Ok(())
}

/// The series that a selection found, in label order. Samples are decoded when they are read, by
/// any number of threads.
#[derive(Debug)]
pub struct SeriesSet {
    mint: i64,
    maxt: i64,
    /// Keeps the chunks of the head from being removed.
    head: HeadReader,
    found: Found,
}

/// Series and where they were found.
#[derive(Debug)]
enum Found {
    /// In the head only: labels are made when they are asked for. Where only the newest sample is
    /// sought, it may be known.
    Head(Vec<Series>, Newest),
    /// In blocks too.
    Merged { merged: Merged, blocks: Vec<BlockSeries>, of_head: Vec<Series> },
}

impl SeriesSet {
    /// Number of series.
    pub fn len(&self) -> usize {
        match &self.found {
            Found::Head(series, _) => series.len(),
            Found::Merged { merged, .. } => merged.len(),
        }
    }

    /// Tells whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Labels of the series at `index`, which may be made by this call.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn labels(&self, index: usize) -> Labels {
        match &self.found {
            Found::Head(series, _) => self.head.labels(&series[index]),
            Found::Merged { merged, .. } => merged.labels(index).clone(),
        }
    }

    /// Labels of all series, in order.
    pub fn all_labels(&self) -> Vec<Labels> {
        match &self.found {
            Found::Head(series, _) => self.head.labels_of(series).collect(),
            Found::Merged { merged, .. } => merged.all_labels().to_vec(),
        }
    }

    /// Labels of the series in `range`, in order. If only those that have one of `needed` are asked for,
    /// others are left out where label sets have to be made.
    ///
    /// # Panics
    /// If the range exceeds [`len`](Self::len).
    pub fn labels_in(&self, range: Range<usize>, needed: Option<&[&str]>) -> Vec<Labels> {
        match (&self.found, needed) {
            (_, Some([])) => vec![Labels::empty(); range.len()],
            (Found::Head(series, _), Some(names)) => self.head.labels_among(&series[range], names),
            (Found::Head(series, _), None) => self.head.labels_of(&series[range]).collect(),
            (Found::Merged { merged, .. }, _) => merged.all_labels()[range].to_vec(),
        }
    }

    /// Appends the samples of the series at `index` that lie in the range to `batch`, in strictly
    /// ascending time.
    ///
    /// # Errors
    /// Whatever keeps a chunk from being read; `batch` then holds nothing to rely on.
    ///
    /// # Panics
    /// If `index` is not below [`len`](Self::len).
    pub fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), Error> {
        self.read_within(index, batch, &mut |_, _| Ok(()))
    }

    /// Reads as [`read`](Self::read) does; `room` is asked before each piece that is appended.
    pub(crate) fn read_within(
        &self,
        index: usize,
        batch: &mut SampleBatch,
        room: &mut MakeRoom<'_>,
    ) -> Result<(), Error> {
        let (merged, blocks, of_head) = match &self.found {
            Found::Head(series, newest) => {
                if let Some(newest) = newest.get(index).copied().flatten() {
                    room(batch, 1)?;
                    batch.push(newest.timestamp, newest.value);
                    return Ok(());
                }
                return self.head.read(&series[index], self.mint, self.maxt, batch, room);
            }
            Found::Merged { merged, blocks, of_head } => (merged, blocks, of_head),
        };
        let start = batch.len();
        for (source, at) in merged.parts(index) {
            let middle = batch.len();
            match source {
                Source::Block(block) => {
                    blocks[block as usize].read(at, self.mint, self.maxt, batch, room)?;
                }
                Source::Head => {
                    self.head.read_in_order(&of_head[at], self.mint, self.maxt, batch, room)?;
                }
                Source::Late => {
                    self.head.read_late(&of_head[at], self.mint, self.maxt, batch, room)?;
                }
            }
            merge_tail(batch, start, middle);
        }
        Ok(())
    }
}
