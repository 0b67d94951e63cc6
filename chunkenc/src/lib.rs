//! Chunk codecs, samples and staleness markers.
//!
//! A chunk is an encoded run of samples of one series. This crate encodes and decodes chunks in
//! the formats of Prometheus, bit for bit, and holds the vocabulary that every other ferula crate
//! shares: [`Sample`], [`SampleBatch`] and the staleness marker.

mod batch;
pub mod stale;

mod sample;

pub use batch::SampleBatch;
pub use sample::Sample;
