//! Remote write: samples that other servers send, in version 1.0 or 2.0.
//!
//! Both are snappy-compressed protobuf messages and hold floats, native histograms, exemplars and
//! metadata. In 2.0 texts are symbols, each series brings its own metadata, samples may say since when
//! they count, and the sender is told how much was stored.

pub(crate) mod histogram;
mod labels;
mod metrics;
mod notes;
mod part;
mod receipt;
mod receiver;
mod refs;
mod symbols;
#[cfg(test)]
mod tests;
mod writer;

pub use crate::protobuf::{DecodeError, DecodeProblem};
pub use histogram::MAX_HISTOGRAM_BUCKETS;
pub(crate) use labels::excerpt;
pub use receipt::Receipt;
pub use receiver::{MAX_AHEAD_MS, MAX_REQUEST_BYTES, ReceiveError, Receiver, Version};
pub use symbols::MAX_SYMBOLS;
