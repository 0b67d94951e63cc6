//! Series records: which labels a series ref stands for.
//!
//! ```text
//! | 1:u8 | ( ref:u64be, n:uvarint, n × ( name, value ) )… |     strings behind their uvarint length
//! ```

use ferula_chunkenc::cursor::{Cursor, put_prefixed_bytes, put_u8, put_u64_be, put_uvarint};
use ferula_index::{Labels, SeriesRef};

use super::{RecordKind, payload};
use crate::Error;

const KIND: RecordKind = RecordKind::SERIES;

/// Appends a series record to `buf`.
pub fn encode<'a>(series: impl IntoIterator<Item = (SeriesRef, &'a Labels)>, buf: &mut Vec<u8>) {
    put_u8(buf, KIND.0);
    for (series, labels) in series {
        put_u64_be(buf, series.0);
        put_uvarint(buf, labels.len() as u64);
        for (name, value) in labels {
            put_prefixed_bytes(buf, name.as_bytes());
            put_prefixed_bytes(buf, value.as_bytes());
        }
    }
}

/// Walks over the entries of a series record.
#[derive(Clone, Debug)]
pub struct SeriesDecoder<'a> {
    cursor: Cursor<'a>,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> SeriesDecoder<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { cursor: payload(bytes), pairs: Vec::new() }
    }

    /// The next series, or `None` after the last.
    ///
    /// # Errors
    /// [`Error::RecordBytes`], [`Error::RecordText`] or [`Error::RecordLabels`] if the entry is cut
    /// short or has no valid labels.
    #[expect(clippy::should_implement_trait, reason = "an error ends the walk; `?` reads better")]
    pub fn next(&mut self) -> Result<Option<(SeriesRef, Labels)>, Error> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let series = SeriesRef(self.cursor.u64_be().map_err(Error::in_record(KIND))?);
        let n_labels = self.cursor.uvarint().map_err(Error::in_record(KIND))?;
        self.pairs.clear();
        // The count is not trusted: each string is read before room is made for it.
        for _ in 0..n_labels {
            let pair = (self.text()?, self.text()?);
            self.pairs.push(pair);
        }
        let offset = self.cursor.offset();
        let labels = Labels::from_pairs(self.pairs.iter().copied())
            .map_err(|source| Error::RecordLabels { kind: KIND, offset, source })?;
        Ok(Some((series, labels)))
    }

    fn text(&mut self) -> Result<&'a str, Error> {
        let bytes = self.cursor.prefixed_bytes().map_err(Error::in_record(KIND))?;
        let offset = self.cursor.offset();
        std::str::from_utf8(bytes).map_err(|_| Error::RecordText { kind: KIND, offset })
    }
}
