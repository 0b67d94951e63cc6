//! Mmap marker records: samples of a series up to here are in a chunk file.
//!
//! They stand in logs of out-of-order samples only.
//!
//! ```text
//! | 5:u8 | ( ref:u64be, chunk ref:u64be )… |
//! ```

use ferula_chunkenc::cursor::{put_u8, put_u64_be};
use ferula_index::SeriesRef;

use super::RecordKind;
use super::fields::Fields;
use crate::Error;

const KIND: RecordKind = RecordKind::MMAP_MARKERS;

/// Says that all samples of a series logged so far are in chunk files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MmapMarker {
    /// The series.
    pub series: SeriesRef,
    /// The last chunk of them: number of its file in the upper 32 bits, offset in it in the lower.
    pub chunk: u64,
}

/// Appends an mmap markers record to `buf`.
pub fn encode(markers: impl IntoIterator<Item = MmapMarker>, buf: &mut Vec<u8>) {
    put_u8(buf, KIND.0);
    for marker in markers {
        put_u64_be(buf, marker.series.0);
        put_u64_be(buf, marker.chunk);
    }
}

/// Walks over the markers of a record.
#[derive(Clone, Debug)]
pub struct MmapMarkersDecoder<'a> {
    fields: Fields<'a>,
}

impl<'a> MmapMarkersDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { fields: Fields::new(bytes, KIND) }
    }

    /// The next marker, or `None` after the last.
    ///
    /// # Errors
    /// [`Error::RecordBytes`] if the entry is cut short.
    #[expect(clippy::should_implement_trait, reason = "an error ends the walk; `?` reads better")]
    pub fn next(&mut self) -> Result<Option<MmapMarker>, Error> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let series = SeriesRef(self.fields.u64_be()?);
        let chunk = self.fields.u64_be()?;
        Ok(Some(MmapMarker { series, chunk }))
    }
}
