//! Series records: which labels a series ref stands for.
//!
//! ```text
//! | 1:u8 | ( ref:u64be, n:uvarint, n × ( name, value ) )… |     strings behind their uvarint length
//! ```

use ferula_chunkenc::cursor::{put_u8, put_u64_be};
use ferula_index::{Labels, SeriesRef};

use super::RecordKind;
use super::fields::{Fields, put_labels};
use crate::Error;

const KIND: RecordKind = RecordKind::SERIES;

/// Appends a series record to `buf`.
pub fn encode<'a>(series: impl IntoIterator<Item = (SeriesRef, &'a Labels)>, buf: &mut Vec<u8>) {
    put_u8(buf, KIND.0);
    for (series, labels) in series {
        put_u64_be(buf, series.0);
        put_labels(labels, buf);
    }
}

/// Walks over the entries of a series record.
#[derive(Clone, Debug)]
pub struct SeriesDecoder<'a> {
    fields: Fields<'a>,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> SeriesDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { fields: Fields::new(bytes, KIND), pairs: Vec::new() }
    }

    /// The next series, or `None` after the last.
    ///
    /// # Errors
    /// [`Error::RecordBytes`], [`Error::RecordText`] or [`Error::RecordLabels`] if the entry is cut
    /// short or has no valid labels.
    #[expect(clippy::should_implement_trait, reason = "an error ends the walk; `?` reads better")]
    pub fn next(&mut self) -> Result<Option<(SeriesRef, Labels)>, Error> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let series = SeriesRef(self.fields.u64_be()?);
        let labels = self.fields.labels(&mut self.pairs)?;
        Ok(Some((series, labels)))
    }
}
