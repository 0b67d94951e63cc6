//! Tombstone records: deleted intervals of series.
//!
//! ```text
//! | 3:u8 | ( ref:u64be, mint:varint, maxt:varint )… |
//! ```

use ferula_chunkenc::cursor::{put_u8, put_u64_be, put_varint};
use ferula_index::SeriesRef;

use super::RecordKind;
use super::fields::Fields;
use crate::Error;

const KIND: RecordKind = RecordKind::TOMBSTONES;

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
    put_u8(buf, KIND.0);
    for tombstone in tombstones {
        put_u64_be(buf, tombstone.series.0);
        put_varint(buf, tombstone.mint);
        put_varint(buf, tombstone.maxt);
    }
}

/// Walks over the entries of a tombstones record.
#[derive(Clone, Debug)]
pub struct TombstonesDecoder<'a> {
    fields: Fields<'a>,
}

impl<'a> TombstonesDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { fields: Fields::new(bytes, KIND) }
    }

    /// The next deleted interval, or `None` after the last.
    ///
    /// # Errors
    /// [`Error::RecordBytes`] if the entry is cut short.
    #[expect(clippy::should_implement_trait, reason = "an error ends the walk; `?` reads better")]
    pub fn next(&mut self) -> Result<Option<Tombstone>, Error> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let series = SeriesRef(self.fields.u64_be()?);
        let (mint, maxt) = (self.fields.varint()?, self.fields.varint()?);
        Ok(Some(Tombstone { series, mint, maxt }))
    }
}
