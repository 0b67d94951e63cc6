//! Decoding the part of a chunk that lies in a range.

use ferula_chunkenc::{ChunkIterator, Error, SampleBatch};

/// Appends the samples from `mint` to `maxt`, both inclusive, to `batch`.
pub(crate) fn decode_between(
    mut samples: ChunkIterator<'_>,
    mint: i64,
    maxt: i64,
    batch: &mut SampleBatch,
) -> Result<(), Error> {
    let mut next = samples.seek(mint)?;
    while let Some(sample) = next.filter(|sample| sample.timestamp <= maxt) {
        batch.push(sample.timestamp, sample.value);
        next = samples.next()?;
    }
    Ok(())
}
