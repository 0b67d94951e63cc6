//! Float chunks with start timestamps, encoding 4 of Prometheus.
//!
//! A variant of encoding 1: one code tells whether both timestamp and value are as expected, the
//! delta of deltas has classes that fill bytes, a staleness marker takes three or five bits and
//! leaves the value that later ones are coded against as it was, and a start timestamp may follow
//! each sample. The layout is described in `docs/formats/chunks.md`.

mod reader;
mod state;
#[cfg(test)]
mod tests;

use crate::Error;
use crate::float_appender::FloatAppender;
use crate::float_decoder::FloatDecoder;

use reader::Xor2Reader;
pub use state::Xor2State;

/// Decodes the samples of a chunk of encoding 4.
pub(crate) type Xor2Decoder<'a> = FloatDecoder<'a, Xor2Reader>;

/// Appends floats with start timestamps to an open chunk of encoding 4.
///
/// ```
/// use ferula_chunkenc::{SampleBatch, Xor2Appender};
///
/// let mut appender = Xor2Appender::new();
/// appender.append(1_699_999_000_000, 1_700_000_000_000, 1.0)?;
/// appender.append(1_699_999_000_000, 1_700_000_015_000, 2.5)?;
/// appender.append(1_700_000_017_000, 1_700_000_030_000, 0.5)?;
///
/// let mut batch = SampleBatch::new();
/// appender.to_chunk().decode_into(&mut batch)?;
/// assert_eq!(batch.values(), [1.0, 2.5, 0.5]);
/// assert_eq!(batch.start_timestamp(2), 1_700_000_017_000);
/// # Ok::<(), ferula_chunkenc::Error>(())
/// ```
pub type Xor2Appender = FloatAppender<Xor2State>;

impl FloatAppender<Xor2State> {
    /// Appends one sample.
    ///
    /// `start` says since when the value has been counting, `timestamp` when it was seen, both in
    /// milliseconds since the Unix epoch; a start of zero stands for none. `timestamp` must exceed
    /// the last one. `value` is kept bit for bit, NaN payloads included.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] if `timestamp` does not advance, [`Error::ChunkFull`] if there is no
    /// room for the sample or its start; the chunk is unchanged.
    #[inline]
    pub fn append(&mut self, start: i64, timestamp: i64, value: f64) -> Result<(), Error> {
        self.append_with(|state, bytes| state.append(start, timestamp, value, bytes))
    }
}
