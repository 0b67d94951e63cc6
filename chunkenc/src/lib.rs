//! Chunk codecs, samples and staleness markers.
//!
//! A chunk is an encoded run of samples of one series. This crate encodes and decodes chunks in
//! the formats of Prometheus, bit for bit, and holds the vocabulary that every other ferula crate
//! shares: [`Sample`], [`SampleBatch`], the staleness marker and native histograms
//! ([`histogram`]). It knows nothing of labels, files or queries: for those see `ferula-index`,
//! `ferula-tsdb` and `ferula-promql`.
//!
//! ```
//! use ferula_chunkenc::{SampleBatch, XorAppender};
//!
//! let mut appender = XorAppender::new();
//! for i in 0..120 {
//!     appender.append(1_700_000_000_000 + i * 15_000, i as f64)?;
//! }
//! let chunk = appender.into_chunk();
//! assert!(chunk.data.len() < 2 * 120);
//!
//! let mut batch = SampleBatch::new();
//! chunk.decode_into(&mut batch)?;
//! assert_eq!(batch.len(), 120);
//! # Ok::<(), ferula_chunkenc::Error>(())
//! ```
//!
//! # Encodings
//!
//! | Byte | Encoding | Holds | Written by |
//! | --- | --- | --- | --- |
//! | 1 | [`Encoding::Xor`] | floats | [`XorAppender`], [`XorState`] |
//! | 2 | [`Encoding::Histogram`] | integer histograms | [`HistogramAppender`] |
//! | 3 | [`Encoding::FloatHistogram`] | float histograms | [`FloatHistogramAppender`] |
//! | 4 | [`Encoding::Xor2`] | floats with start timestamps | [`Xor2Appender`], [`Xor2State`] |
//! | 5 | [`Encoding::HistogramSt`] | integer histograms with start timestamps | [`HistogramAppender`] |
//! | 6 | [`Encoding::FloatHistogramSt`] | float histograms with start timestamps | [`FloatHistogramAppender`] |
//! | 255 | [`Encoding::Aggr`] | chunks of downsampled data | [`AggrChunk`] |
//!
//! Samples that are not appended to any more are smaller in columns, a format of ferula's own: see
//! [`columnar`].
//!
//! # Guarantees
//!
//! - Values are kept bit for bit: NaN payloads and the sign of zero survive.
//! - The same samples give the same bytes.
//! - Malformed bytes give an [`Error`]; they neither panic nor allocate more than they warrant.

#![forbid(unsafe_code)]

mod aggr;
#[cfg(feature = "arrow")]
pub mod arrow;
mod batch;
mod bits;
mod chunk;
pub mod columnar;
pub mod cursor;
mod error;
mod float_appender;
mod float_decoder;
mod float_histogram_chunk;
pub mod histogram;
mod histogram_appender;
mod histogram_chunk;
mod histogram_codec;
mod histogram_iterator;
mod histogram_layout;
mod iter;
mod sample;
pub mod stale;
mod start_timestamp;
pub mod text;
mod varbit;
mod xor;
mod xor2;

pub use aggr::{AggrChunk, Aggregate};
pub use batch::SampleBatch;
pub use bits::ByteSink;
pub use chunk::{Chunk, Encoding};
pub use error::Error;
pub use float_appender::{FloatAppender, OpenFloats};
pub use float_histogram_chunk::{FloatHistogramAppender, FloatHistogramIterator};
pub use histogram_appender::{Appended, ChunkAppender, CutReason};
pub use histogram_chunk::{HistogramAppender, HistogramIterator};
pub use histogram_codec::ChunkHistogram;
pub use histogram_iterator::ChunkHistograms;
pub use iter::ChunkIterator;
pub use sample::Sample;
pub use xor::{XorAppender, XorState};
pub use xor2::{Xor2Appender, Xor2State};
