//! Series records: which labels a series ref stands for.
//!
//! ```text
//! | 1:u8 | ( ref:u64be, n:uvarint, n × ( name, value ) )… |     strings behind their uvarint length
//! ```

use ferula_index::{Labels, SeriesRef};

use super::RecordKind;
use super::cursor::{Cursor, put_str, put_uvarint};
use crate::Error;
use crate::error::RecordReason;

/// Appends a series record to `buf`.
pub fn encode<'a>(series: impl IntoIterator<Item = (SeriesRef, &'a Labels)>, buf: &mut Vec<u8>) {
    buf.push(RecordKind::SERIES.0);
    for (series, labels) in series {
        buf.extend_from_slice(&series.0.to_be_bytes());
        put_uvarint(buf, labels.len() as u64);
        for (name, value) in labels {
            put_str(buf, name);
            put_str(buf, value);
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
        Self { cursor: Cursor::new(RecordKind::SERIES, bytes), pairs: Vec::new() }
    }

    /// The next series, or `None` after the last.
    ///
    /// # Errors
    /// [`Error::Record`] if the entry is cut short or no label set.
    #[expect(clippy::should_implement_trait, reason = "an error ends the walk; `?` reads better")]
    pub fn next(&mut self) -> Result<Option<(SeriesRef, Labels)>, Error> {
        if self.cursor.is_empty() {
            return Ok(None);
        }
        let series = SeriesRef(self.cursor.u64()?);
        let n_labels = self.cursor.uvarint()?;
        self.pairs.clear();
        for _ in 0..n_labels {
            self.pairs.push((self.cursor.str()?, self.cursor.str()?));
        }
        let labels = Labels::from_pairs(self.pairs.iter().copied())
            .map_err(|_| self.cursor.error(RecordReason::Labels))?;
        Ok(Some((series, labels)))
    }
}
