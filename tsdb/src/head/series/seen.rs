//! The part of a series that a reader may see, taken under its lock and decoded outside of it.

use bytes::Bytes;
use ferula_chunkenc::{Chunk, ChunkIterator, Encoding, SampleBatch, XorAppender};
use ferula_index::SeriesRef;

use super::full::{ChunkData, Stored};
use crate::error::Error;
use crate::head::chunk_files::ChunkFiles;
use crate::querier::decode_between;

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

/// The chunks that a reader may see, and from when to when it may see their samples. What lies in
/// files stays there while the reader is open.
#[derive(Debug)]
pub(crate) struct SeenChunks {
    pub(super) series: SeriesRef,
    pub(super) mint: i64,
    pub(super) maxt: i64,
    /// In time order.
    pub(super) chunks: Vec<SeenChunk>,
}

#[derive(Debug)]
pub(super) struct SeenChunk {
    pub(super) mint: i64,
    pub(super) maxt: i64,
    pub(super) data: Stored,
}

impl SeenChunk {
    fn into_chunk(self, files: Option<&ChunkFiles>) -> Result<Chunk, Error> {
        match (self.data, files) {
            (Stored::Kept(ChunkData { encoding, data }), _) => {
                Ok(Chunk { encoding, data: Bytes::from_owner(data) })
            }
            (Stored::File(at), Some(files)) => {
                let stored = files.read(at)?;
                // It may have been written under another ref of the same series.
                if (stored.mint, stored.maxt) != (self.mint, self.maxt) {
                    return Err(files.nowhere(at));
                }
                Ok(stored.chunk)
            }
            (Stored::File(_), None) => unreachable!("the chunk was written to the files"),
        }
    }
}

impl SeenChunks {
    /// Appends the samples to `batch`.
    pub(crate) fn decode_into(
        self,
        files: Option<&ChunkFiles>,
        batch: &mut SampleBatch,
    ) -> Result<(), Error> {
        let Self { series, mint, maxt, chunks } = self;
        let failed = |source| Error::HeadChunk { series, source };
        for seen in chunks {
            let is_whole = mint <= seen.mint && seen.maxt <= maxt;
            let decoded = match seen.data {
                // The usual case of a new chunk; nothing is made of it but samples.
                Stored::Kept(ChunkData { encoding, data }) => {
                    decode(encoding, &data, is_whole, (mint, maxt), batch)
                }
                Stored::File(_) => {
                    let chunk = seen.into_chunk(files)?;
                    decode(chunk.encoding, &chunk.data, is_whole, (mint, maxt), batch)
                }
            };
            decoded.map_err(failed)?;
        }
        Ok(())
    }

    /// The chunks as a block stores them: none holds samples outside of the range.
    pub(crate) fn into_chunks(self, files: Option<&ChunkFiles>) -> Result<Vec<HeadChunk>, Error> {
        let Self { series, mint: from, maxt: to, chunks } = self;
        let mut found = Vec::with_capacity(chunks.len());
        for seen in chunks {
            let (mint, maxt) = (seen.mint, seen.maxt);
            let chunk = seen.into_chunk(files)?;
            if from <= mint && maxt <= to {
                found.push(HeadChunk { mint, maxt, chunk });
            } else {
                let cut = cut(&chunk, from, to);
                found.extend(cut.map_err(|source| Error::HeadChunk { series, source })?);
            }
        }
        Ok(found)
    }
}

fn decode(
    encoding: Encoding,
    data: &[u8],
    is_whole: bool,
    (mint, maxt): (i64, i64),
    batch: &mut SampleBatch,
) -> Result<(), ferula_chunkenc::Error> {
    let samples = ChunkIterator::new(encoding, data)?;
    if is_whole { samples.decode_into(batch) } else { decode_between(samples, mint, maxt, batch) }
}

/// The samples of a chunk from `from` to `to`, both inclusive, if there are some.
fn cut(chunk: &Chunk, from: i64, to: i64) -> Result<Option<HeadChunk>, ferula_chunkenc::Error> {
    let mut cut = XorAppender::new();
    let mut samples = chunk.iter()?;
    let mut next = samples.seek(from)?;
    let mint = next.map(|sample| sample.timestamp);
    while let Some(sample) = next.filter(|sample| sample.timestamp <= to) {
        cut.append(sample.timestamp, sample.value)?;
        next = samples.next()?;
    }
    let last = cut.last();
    Ok(mint.zip(last).map(|(mint, last)| HeadChunk {
        mint,
        maxt: last.timestamp,
        chunk: cut.into_chunk(),
    }))
}
