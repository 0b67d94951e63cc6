//! Remote write: samples that other servers send.

mod protobuf;
mod refs;
pub mod write1;

pub use protobuf::{DecodeError, DecodeProblem};
