//! Reading a whole block back: does it hold what its description and its index say?
//!
//! This is done before the sources of a block are given up, so nothing is trusted: every checksum,
//! the order of series and chunks, the times of every sample that is newly encoded, all counts, and
//! what an index says of values.

use std::cell::Cell;

use ferula_chunkenc::columnar::ValueStats;
use ferula_chunkenc::{Error as DecodeError, SampleBatch};
use ferula_index::ChunkMeta;
use ferula_index::ferula::ValueBounds;
use ferula_wal::fs::Fs;

use super::Block;
use super::stored::{ColumnValues, Columns, StoredChunk};
use crate::error::{BlockFault, Error};

/// How much of a block is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Everything, the times of all samples included: what is in the chunks is new.
    Samples,
    /// Everything that need not be decoded. For a block whose chunks were copied from others, or
    /// decoded again right after they were made: their checksums tell that they are the same.
    Chunks,
}

/// Takes what is wrong with a block, one thing at a time; an error ends the walk.
pub(crate) type OnFault<'a> = dyn FnMut(Error) -> Result<(), Error> + 'a;

/// What was read of a block.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Walked {
    pub(crate) n_series: u64,
    pub(crate) n_chunks: u64,
    pub(crate) n_samples: u64,
}

/// Verifies a block, up to the first thing that is wrong with it.
pub(crate) fn verify(fs: &dyn Fs, block: &Block, depth: Depth) -> Result<(), Error> {
    walk(fs, block, depth, &mut |_, _| {}, &mut Err).map(drop)
}

/// Reads a block whole and hands what is wrong with it to `on_fault`, series by series; `on_series` is
/// called with how many were read, and of how many.
pub(crate) fn walk(
    fs: &dyn Fs,
    block: &Block,
    depth: Depth,
    on_series: &mut dyn FnMut(u64, u64),
    on_fault: &mut OnFault<'_>,
) -> Result<Walked, Error> {
    let n_faults = Cell::new(0_u64);
    let mut on_fault = |error| {
        n_faults.set(n_faults.get() + 1);
        on_fault(error)
    };
    let fault = |fault| Error::Block { dir: block.dir().to_path_buf(), fault };
    let mut walked = Walked::default();
    // As numbers, labels are in the same order as they are as text.
    let (mut labels, mut last) = (Vec::new(), Vec::new());
    let (mut chunks, mut entries) = (Vec::new(), Vec::new());
    let mut batch = SampleBatch::new();
    if let Err(error) = block.noting_damage(block.reader.verify()) {
        on_fault(error)?;
    }
    let mut stream = block.stream(fs);
    let mut cursor = block.cursor();
    let selected = match block.noting_damage(block.reader.select(&[])) {
        Ok(selected) => selected,
        // Without a list of series there is nothing to walk over.
        Err(error) => return on_fault(error).map(|()| walked),
    };
    let (mut n_read, n_series) = (0, selected.len());
    for series in &selected {
        on_series(n_read, n_series);
        n_read += 1;
        if let Err(error) = cursor.numbered_series(series, &mut labels, &mut chunks) {
            on_fault(error)?;
            continue;
        }
        if let Err(error) = cursor.entries(series, &mut entries) {
            on_fault(error)?;
        }
        let labels_of = || block.cursor().series(series, &mut Vec::new());
        if labels <= last {
            on_fault(fault(BlockFault::SeriesOrder { labels: labels_of()? }))?;
        }
        let mut after = None;
        for (at, chunk) in chunks.iter().enumerate() {
            let entry = entries.get(at);
            let mut check = || -> Result<(Found, u64), Error> {
                let data = stream.read(chunk)?;
                let mut is_valid = has_range(block, chunk, after);
                if depth == Depth::Samples {
                    let has_times = |times: Option<&[i64]>| {
                        times.is_none_or(|times| has_times_of(chunk, times))
                    };
                    is_valid &= block.of_chunk(chunk, data.with_times(&mut batch, has_times))?;
                } else if let StoredChunk::Paged(paged) = &data {
                    // Where times stand apart from values, reading them is no decoding of these.
                    let found = block.of_chunk(chunk, paged.time_bounds())?;
                    is_valid &= found == (chunk.mint, chunk.maxt);
                }
                let n_samples = block.of_chunk(chunk, data.sample_count())?;
                is_valid &= entry.is_none_or(|entry| u64::from(entry.n_samples) == n_samples);
                let bounds = entry.and_then(|entry| entry.bounds.as_ref());
                let has_bounds = block.of_chunk(chunk, has_bounds(&data, bounds, depth))?;
                let found = match (is_valid, has_bounds) {
                    (true, true) => Found::AsNamed,
                    (true, false) => Found::OtherValues,
                    (false, _) => Found::OtherSamples,
                };
                Ok((found, n_samples))
            };
            match check() {
                Ok((found, n_samples)) => {
                    walked.n_samples += n_samples;
                    let (labels, chunk) = (labels_of, chunk.chunk);
                    match found {
                        Found::AsNamed => {}
                        Found::OtherSamples => {
                            on_fault(fault(BlockFault::ChunkRange { labels: labels()?, chunk }))?;
                        }
                        Found::OtherValues => {
                            on_fault(fault(BlockFault::ChunkBounds { labels: labels()?, chunk }))?;
                        }
                    }
                }
                Err(error) => on_fault(error)?,
            }
            after = Some(chunk.maxt);
            walked.n_chunks += 1;
        }
        walked.n_series += 1;
        std::mem::swap(&mut last, &mut labels);
    }
    on_series(n_series, n_series);
    let stats = &block.meta().stats;
    let counts = [
        ("series", walked.n_series, stats.num_series),
        ("chunks", walked.n_chunks, stats.num_chunks),
        ("samples", walked.n_samples, stats.num_samples),
    ];
    // What could not be read was not counted either.
    let wrong = counts.into_iter().find(|(_, found, expected)| found != expected);
    if let Some((what, found, expected)) = wrong.filter(|_| n_faults.get() == 0) {
        on_fault(fault(BlockFault::Count { what, found, expected }))?;
    }
    Ok(walked)
}

/// What a chunk was found to hold, beside what the index names.
enum Found {
    AsNamed,
    OtherSamples,
    OtherValues,
}

/// Tells whether a chunk lies in the block and after the chunk before.
fn has_range(block: &Block, chunk: &ChunkMeta, after: Option<i64>) -> bool {
    let meta = block.meta();
    after.is_none_or(|after| after < chunk.mint)
        && chunk.mint <= chunk.maxt
        && meta.mint <= chunk.mint
        && chunk.maxt < meta.maxt
}

/// Tells whether the values of a chunk are such as the index says, if it does.
fn has_bounds(
    data: &StoredChunk,
    bounds: Option<&ValueBounds>,
    depth: Depth,
) -> Result<bool, DecodeError> {
    let are_of = |values: &[f64]| bounds.is_none_or(|_| ValueBounds::of(values).as_ref() == bounds);
    match data {
        StoredChunk::Paged(paged) if depth == Depth::Samples => {
            // What cannot be decoded is found out whatever the index says.
            paged.values(0..paged.n_samples()).map(|values| are_of(&values))
        }
        StoredChunk::Paged(paged) => {
            let Some(bounds) = bounds else { return Ok(true) };
            let ValueStats { first, last, min, max, .. } = paged.stats()?;
            // Zeros of both signs are the same here, and so are all NaNs.
            let is_like = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan();
            Ok((first.to_bits(), last.to_bits()) == (bounds.first.to_bits(), bounds.last.to_bits())
                && is_like(min, bounds.min)
                && is_like(max, bounds.max))
        }
        StoredChunk::Columns(Columns { values: ColumnValues::Floats(values), .. }) => {
            Ok(are_of(values))
        }
        // Of others nothing is said.
        StoredChunk::Columns(_) | StoredChunk::Encoded(_) => Ok(bounds.is_none()),
    }
}

/// Tells whether the samples of a chunk ascend, and begin and end as the index says.
fn has_times_of(chunk: &ChunkMeta, times: &[i64]) -> bool {
    times.first() == Some(&chunk.mint)
        && times.last() == Some(&chunk.maxt)
        && times.is_sorted_by(|a, b| a < b)
}
