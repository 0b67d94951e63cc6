//! Chunks of downsampled data: up to five chunks in one, encoding 255 of Thanos.
//!
//! The layout is described in `docs/formats/chunks.md`.

use std::fmt;

use bytes::Bytes;

use crate::cursor::{Cursor, put_u8, put_uvarint};
use crate::{Chunk, Encoding, Error};

/// What a part of a downsampled chunk says of the samples of each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// How many there were.
    Count,
    /// Their sum.
    Sum,
    /// The smallest one.
    Min,
    /// The largest one.
    Max,
    /// What a counter had reached, resets added back.
    Counter,
}

impl Aggregate {
    /// All of them, in the order in which a chunk holds them.
    pub const ALL: [Self; 5] = [Self::Count, Self::Sum, Self::Min, Self::Max, Self::Counter];
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Min => "min",
            Self::Max => "max",
            Self::Counter => "counter",
        })
    }
}

/// The parts of a downsampled chunk, each a chunk of its own or absent.
///
/// ```
/// use ferula_chunkenc::{AggrChunk, Aggregate, XorAppender};
///
/// let mut sums = XorAppender::new();
/// sums.append(1_700_000_299_999, 42.0)?;
/// let mut aggregates = AggrChunk::new();
/// aggregates.set(Aggregate::Sum, Some(sums.into_chunk()));
///
/// let chunk = aggregates.to_chunk();
/// let read = AggrChunk::from_chunk(&chunk)?;
/// assert_eq!(read, aggregates);
/// assert!(read.get(Aggregate::Counter).is_none());
/// # Ok::<(), ferula_chunkenc::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AggrChunk {
    parts: [Option<Chunk>; Aggregate::ALL.len()],
}

impl AggrChunk {
    /// Makes one without parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a chunk of encoding [`Encoding::Aggr`] apart. The parts share its bytes and are not
    /// decoded.
    ///
    /// # Errors
    /// [`Error::WrongEncoding`] if it is another chunk, [`Error::Truncated`] if a part is longer
    /// than what is left, [`Error::UnknownEncoding`] for one that is not a chunk of samples.
    pub fn from_chunk(chunk: &Chunk) -> Result<Self, Error> {
        let found = chunk.encoding;
        if found != Encoding::Aggr {
            return Err(Error::WrongEncoding { wanted: Encoding::Aggr, found });
        }
        let mut cursor = Cursor::new(&chunk.data);
        let mut parts = [const { None }; Aggregate::ALL.len()];
        for part in &mut parts {
            let len = cursor.uvarint()?;
            if len > 0 {
                *part = Some(read_part(&mut cursor, len, &chunk.data)?);
            }
        }
        Ok(Self { parts })
    }

    /// The part that holds `aggregate`, if there is one.
    pub fn get(&self, aggregate: Aggregate) -> Option<&Chunk> {
        self.parts[aggregate as usize].as_ref()
    }

    /// Sets the part that holds `aggregate`.
    ///
    /// # Panics
    /// If the chunk is itself one of aggregates, or has no bytes at all, which would say that there
    /// is no such part.
    pub fn set(&mut self, aggregate: Aggregate, chunk: Option<Chunk>) {
        let is_part = |chunk: &Chunk| chunk.encoding != Encoding::Aggr && !chunk.data.is_empty();
        assert!(chunk.as_ref().is_none_or(is_part), "the parts are chunks of samples");
        self.parts[aggregate as usize] = chunk;
    }

    /// Puts the parts into one chunk.
    pub fn to_chunk(&self) -> Chunk {
        let mut data = Vec::new();
        for part in &self.parts {
            match part {
                None => put_uvarint(&mut data, 0),
                Some(chunk) => {
                    put_uvarint(&mut data, chunk.data.len() as u64);
                    put_u8(&mut data, chunk.encoding.to_byte());
                    data.extend_from_slice(&chunk.data);
                }
            }
        }
        Chunk { encoding: Encoding::Aggr, data: Bytes::from(data.into_boxed_slice()) }
    }
}

/// Reads the encoding of a part and its `len` bytes.
fn read_part(cursor: &mut Cursor<'_>, len: u64, data: &Bytes) -> Result<Chunk, Error> {
    let found = cursor.u8()?;
    let encoding = Encoding::from_byte(found)?;
    if encoding == Encoding::Aggr {
        return Err(Error::UnknownEncoding { found });
    }
    let start = cursor.offset();
    let needed = usize::try_from(len).unwrap_or(usize::MAX);
    cursor.bytes(needed)?;
    Ok(Chunk { encoding, data: data.slice(start..cursor.offset()) })
}
