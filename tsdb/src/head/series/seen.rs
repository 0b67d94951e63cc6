//! The part of a series that a reader may see, taken under its lock and decoded outside of it.

use bytes::Bytes;
use ferula_chunkenc::{Chunk, ChunkIterator, Error, SampleBatch, XorAppender};

use super::full::ChunkData;
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

/// The chunks that a reader may see, and from when to when it may see their samples.
#[derive(Debug)]
pub(crate) struct SeenChunks {
    pub(super) mint: i64,
    pub(super) maxt: i64,
    /// In time order.
    pub(super) chunks: Vec<SeenChunk>,
}

#[derive(Debug)]
pub(super) struct SeenChunk {
    pub(super) mint: i64,
    pub(super) maxt: i64,
    pub(super) data: ChunkData,
}

impl SeenChunks {
    /// Appends the samples to `batch`.
    pub(crate) fn decode_into(&self, batch: &mut SampleBatch) -> Result<(), Error> {
        for SeenChunk { mint, maxt, data } in &self.chunks {
            let samples = ChunkIterator::new(data.encoding, &data.data)?;
            if self.mint <= *mint && *maxt <= self.maxt {
                samples.decode_into(batch)?;
            } else {
                decode_between(samples, self.mint, self.maxt, batch)?;
            }
        }
        Ok(())
    }

    /// The chunks as a block stores them: none holds samples outside of the range.
    pub(crate) fn into_chunks(self) -> Result<Vec<HeadChunk>, Error> {
        let mut chunks = Vec::with_capacity(self.chunks.len());
        for SeenChunk { mint, maxt, data: ChunkData { encoding, data } } in self.chunks {
            if self.mint <= mint && maxt <= self.maxt {
                let chunk = Chunk { encoding, data: Bytes::from_owner(data) };
                chunks.push(HeadChunk { mint, maxt, chunk });
                continue;
            }
            let mut cut = XorAppender::new();
            let mut samples = ChunkIterator::new(encoding, &data)?;
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
