//! Tombstone records: deleted intervals of series.
//!
//! ```text
//! | 3:u8 | ( ref:u64be, mint:varint, maxt:varint )… |
//! ```

use ferula_index::SeriesRef;

use super::RecordKind;
use super::cursor::{Cursor, put_varint};
use crate::Error;

/// A deleted interval of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The series.
    pub series: SeriesRef,
    /// First deleted millisecond.
    pub mint: i64,
    /// Last deleted millisecond.
    pub maxt: i64,
}

/// Appends a tombstones record to `buf`.
pub fn encode(tombstones: impl IntoIterator<Item = Tombstone>, buf: &mut Vec<u8>) {
    buf.push(RecordKind::TOMBSTONES.0);
    for tombstone in tombstones {
        buf.extend_from_slice(&tombstone.series.0.to_be_bytes());
        put_varint(buf, tombstone.mint);
        put_varint(buf, tombstone.maxt);
    }
}

/// Walks over the entries of a tombstones record.
#[derive(Clone, Debug)]
pub struct TombstonesDecoder<'a> {
    cursor: Cursor<'a>,
}

impl<'a> TombstonesDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { cursor: Cursor::new(RecordKind::TOMBSTONES, bytes) }
    }

    /// The next deleted interval, or `None` after the last.
    ///
    /// # Errors
    /// [`Error::Record`] if the entry is cut short.
    #[expect(clippy::should_implement_trait, reason = "an error ends the walk; `?` reads better")]
    pub fn next(&mut self) -> Result<Option<Tombstone>, Error> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let series = SeriesRef(self.cursor.u64()?);
        let (mint, maxt) = (self.cursor.varint()?, self.cursor.varint()?);
        Ok(Some(Tombstone { series, mint, maxt }))
    }
}
