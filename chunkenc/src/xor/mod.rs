//! Float chunks: delta-of-delta timestamps and XORed values, encoding 1 of Prometheus.
//!
//! The coding is Gorilla's (Pelkonen et al. 2015, section 4.1) with the changes of Prometheus:
//! timestamps are milliseconds, so the classes of the delta of deltas are wider; the first
//! timestamp is a varint, the first delta a uvarint, the first value raw. The layout is described
//! in `docs/formats/chunks.md`. [`XorAppender`] writes what Prometheus's appender writes, bit for
//! bit; [`XorState`] does without owning the bytes.

mod reader;
mod state;
#[cfg(test)]
mod tests;
mod value;
mod value_reader;

use crate::Error;
use crate::float_appender::FloatAppender;
use crate::float_decoder::FloatDecoder;

pub(crate) use reader::XorReader;
pub use state::XorState;
pub(crate) use value::{Window, WindowCodes, XorValue, write_changed};
pub(crate) use value_reader::ValueReader;

/// Decodes the samples of a chunk of encoding 1.
pub(crate) type XorDecoder<'a> = FloatDecoder<'a, XorReader>;

/// Appends floats to an open chunk of encoding 1.
pub type XorAppender = FloatAppender<XorState>;

impl FloatAppender<XorState> {
    /// Appends one sample.
    ///
    /// `timestamp` is in milliseconds since the Unix epoch and must exceed the last one. `value`
    /// is kept bit for bit, NaN payloads included.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] if `timestamp` does not advance, [`Error::ChunkFull`] beyond
    /// [`Self::MAX_SAMPLES`]; the chunk is unchanged.
    #[inline]
    pub fn append(&mut self, timestamp: i64, value: f64) -> Result<(), Error> {
        self.append_with(|state, bytes| state.append(timestamp, value, bytes))
    }
}
