//! Bit streams, the most significant bit of each byte first.

mod padded;
mod reader;
mod sink;
mod writer;

pub(crate) use padded::{Ahead, Padded, bits_from, peek};
pub(crate) use reader::BitReader;
pub(crate) use sink::ByteBuffer;
pub use sink::ByteSink;
pub(crate) use writer::{BitPacker, BitWriter, Tail};
