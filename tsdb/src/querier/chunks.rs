//! Decoding the part of a chunk that lies in a range.

use ferula_chunkenc::{Chunk, Error, SampleBatch};

/// Appends the samples from `mint` to `maxt`, both inclusive, to `batch`.
///
/// The whole chunk is decoded, which costs less than to look at each sample of a part.
pub(crate) fn decode_between(
    chunk: &Chunk,
    mint: i64,
    maxt: i64,
    batch: &mut SampleBatch,
) -> Result<(), Error> {
    let start = batch.len();
    chunk.decode_into(batch)?;
    let decoded = &batch.timestamps()[start..];
    let end = decoded.partition_point(|timestamp| *timestamp <= maxt);
    let first = decoded.partition_point(|timestamp| *timestamp < mint).min(end);
    batch.truncate(start + end);
    batch.remove(start..start + first);
    Ok(())
}

#[cfg(test)]
mod tests {
    use ferula_chunkenc::XorAppender;

    use super::*;

    #[test]
    fn bounds_are_inclusive_and_what_was_there_stays() {
        let mut appender = XorAppender::new();
        for timestamp in [10, 20, 30, 40] {
            appender.append(timestamp, 1.0).unwrap();
        }
        let chunk = appender.into_chunk();
        let between = |mint, maxt| {
            let mut batch = SampleBatch::new();
            batch.push(5, 0.0);
            decode_between(&chunk, mint, maxt, &mut batch).unwrap();
            batch.timestamps().to_vec()
        };
        assert_eq!(between(20, 30), [5, 20, 30]);
        assert_eq!(between(11, 39), [5, 20, 30]);
        assert_eq!(between(i64::MIN, 10), [5, 10]);
        assert_eq!(between(40, i64::MAX), [5, 40]);
        assert_eq!(between(21, 29), [5]);
        assert_eq!(between(41, 50), [5]);
    }
}
