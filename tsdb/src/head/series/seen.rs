//! The part of a series that a reader may see, taken under its lock and decoded outside of it.

use bytes::Bytes;
use ferula_chunkenc::{Chunk, ChunkIterator, Encoding, SampleBatch};
use ferula_index::SeriesRef;

use super::cutting::MAX_SAMPLES_PER_CHUNK;
use super::full::{ChunkData, Stored};
use crate::block::EncodedChunk;
use crate::error::Error;
use crate::head::chunk_files::ChunkFiles;
use crate::querier::{MakeRoom, decode_between};
use crate::recode::Recoder;
use crate::tombstones::Interval;

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
    /// From when to when a reader may see samples, both inclusive.
    pub(crate) fn range(&self) -> (i64, i64) {
        (self.mint, self.maxt)
    }

    /// Appends the samples to `batch`.
    pub(crate) fn decode_into(
        self,
        files: Option<&ChunkFiles>,
        batch: &mut SampleBatch,
        room: &mut MakeRoom<'_>,
    ) -> Result<(), Error> {
        let Self { series, mint, maxt, chunks } = self;
        let failed = |source| Error::HeadChunk { series, source };
        for seen in chunks {
            let is_whole = mint <= seen.mint && seen.maxt <= maxt;
            let decoded = match seen.data {
                // The usual case of a new chunk; nothing is made of it but samples.
                Stored::Kept(ChunkData { encoding: Encoding::Xor, data }) if is_whole => {
                    room(batch, MAX_SAMPLES_PER_CHUNK.into())?;
                    let samples = ChunkIterator::new(Encoding::Xor, &data);
                    samples.and_then(|samples| samples.decode_into(batch))
                }
                _ => {
                    let chunk = seen.into_chunk(files)?;
                    let n_samples = chunk.sample_count().map_err(failed)?;
                    room(batch, n_samples.into())?;
                    decode_between(&chunk, mint, maxt, batch)
                }
            };
            decoded.map_err(failed)?;
        }
        Ok(())
    }

    /// The chunks as a block stores them: none holds samples outside of the range.
    pub(crate) fn into_chunks(
        self,
        files: Option<&ChunkFiles>,
    ) -> Result<Vec<EncodedChunk>, Error> {
        let Self { series, mint: from, maxt: to, chunks } = self;
        let failed = |source| Error::HeadChunk { series, source };
        let mut found = Vec::with_capacity(chunks.len());
        let mut recoder = Recoder::default();
        for seen in chunks {
            let (mint, maxt) = (seen.mint, seen.maxt);
            let chunk = seen.into_chunk(files)?;
            if from <= mint && maxt <= to {
                found.push(EncodedChunk { mint, maxt, chunk });
                continue;
            }
            recoder.clear();
            recoder.decode(&chunk).map_err(failed)?;
            let before = from.checked_sub(1).map(|end| (i64::MIN, end));
            let after = to.checked_add(1).map(|start| (start, i64::MAX));
            let outside: Vec<Interval> = before.into_iter().chain(after).collect();
            recoder.merge(&outside);
            recoder.encode(&mut found).map_err(failed)?;
        }
        Ok(found)
    }

    /// Hands all samples over, each as what it is.
    pub(crate) fn recode(
        self,
        files: Option<&ChunkFiles>,
        recoder: &mut Recoder,
    ) -> Result<(), Error> {
        let series = self.series;
        for seen in self.chunks {
            let chunk = seen.into_chunk(files)?;
            let decoded = recoder.decode(&chunk);
            decoded.map_err(|source| Error::HeadChunk { series, source })?;
        }
        Ok(())
    }
}
