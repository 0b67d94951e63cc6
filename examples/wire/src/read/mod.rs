//! Remote read: samples that other servers ask for, whole or as chunks.
//!
//! A request names series by matchers and a range of time. It is answered with one message that has
//! all samples, or with a stream of frames that have the chunks of one series each, whose memory does
//! not grow with the answer. Histograms are floats, which is what the storage traits hand over.

mod chunks;
mod histogram;
mod request;
mod samples;

pub(crate) use chunks::push_frames;
pub(crate) use histogram::push_histogram;
pub(crate) use request::{ReadQuery, ReadRequest, ResponseType};
pub(crate) use samples::push_series;

use std::error::Error;
use std::fmt;

use ferula_chunkenc::SampleBatch;
pub use ferula_promql::parser::MAX_MATCHER_BYTES;
use ferula_promql::storage::{Room, StorageError};

/// Most samples of one series that are read.
pub const MAX_SERIES_SAMPLES: usize = 10_000_000;

/// Most bytes of an answer that is sent whole, before it is compressed.
pub const MAX_ANSWER_BYTES: usize = 128 << 20;

/// Most queries of a request.
pub const MAX_QUERIES: usize = 100;

/// Most matchers of a query.
pub const MAX_MATCHERS: usize = 1000;

/// Most bytes of a request, decompressed.
pub const MAX_READ_REQUEST_BYTES: usize = 1 << 20;

/// Bounds what is read of a series.
pub(crate) struct SeriesRoom;

/// A series has more samples than are read.
#[derive(Debug)]
pub(crate) struct SeriesTooLong;

impl fmt::Display for SeriesTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a series has more than {MAX_SERIES_SAMPLES} samples, ask for a shorter time")
    }
}

impl Error for SeriesTooLong {}

impl Room for SeriesRoom {
    fn make(&mut self, batch: &SampleBatch, n_samples: usize) -> Result<(), StorageError> {
        if batch.len().saturating_add(n_samples) > MAX_SERIES_SAMPLES {
            return Err(Box::new(SeriesTooLong));
        }
        Ok(())
    }
}
