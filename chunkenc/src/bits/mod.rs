//! Bit streams, the most significant bit of each byte first.

mod reader;
mod writer;

pub(crate) use reader::BitReader;
pub(crate) use writer::BitWriter;
