//! Histogram records: native histograms of many series.
//!
//! ```text
//! | type:u8 | ( stamp, histogram )… |     stamps: see `stamp.rs`, histograms: see `histogram_body.rs`
//! ```
//!
//! | type | counts | buckets | stamps |
//! | --- | --- | --- | --- |
//! | 7, 8 | integer, float | exponential | plain |
//! | 9, 10 | integer, float | custom | plain |
//! | 12, 13 | integer, float | any | with start timestamps |

use ferula_chunkenc::cursor::put_u8;
use ferula_chunkenc::histogram::{
    EXPONENTIAL_SCHEMA_MAX, EXPONENTIAL_SCHEMA_MAX_RESERVED, is_known_schema,
};
use ferula_index::SeriesRef;

use super::RecordKind;
use super::fields::Fields;
use super::histogram_body::{Body, Scratch};
use super::stamp::{Stamp, StampLayout, Stamps};
use crate::Error;

/// Histograms that records hold: [`Histogram`](ferula_chunkenc::histogram::Histogram) and
/// [`FloatHistogram`](ferula_chunkenc::histogram::FloatHistogram).
#[expect(private_bounds, reason = "the bound is what keeps others from implementing it")]
pub trait RecordHistogram: Body {}

impl<H: Body> RecordHistogram for H {}

/// A histogram and the series it belongs to.
#[derive(Debug, PartialEq)]
pub struct RefHistogram<'a, H> {
    /// The series.
    pub series: SeriesRef,
    /// When the counter began, in milliseconds since the Unix epoch; 0 if that is not known.
    pub start_timestamp: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The histogram.
    pub histogram: &'a H,
}

impl<H> Clone for RefHistogram<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for RefHistogram<'_, H> {}

impl<H> RefHistogram<'_, H> {
    fn stamp(&self) -> Stamp {
        let &Self { series, start_timestamp, timestamp, .. } = self;
        Stamp { series, start_timestamp, timestamp }
    }
}

/// Appends a record of those histograms that have exponential buckets to `buf`; nothing if there
/// are none. Start timestamps are left out.
///
/// Returns how many have custom buckets: they go to [`encode_custom`].
pub fn encode<'a, H: RecordHistogram + 'a>(
    histograms: impl IntoIterator<Item = RefHistogram<'a, H>>,
    buf: &mut Vec<u8>,
) -> usize {
    let (start, mut n_written, mut n_custom) = (buf.len(), 0, 0);
    let mut writer = HistogramsWriter::new(H::KINDS.plain, buf);
    for entry in histograms {
        // As in Prometheus, the first entry is what all are coded against, written or not.
        writer.stamps.write_base(entry.stamp(), buf);
        if entry.histogram.uses_custom_buckets() {
            n_custom += 1;
        } else {
            writer.push(&entry, buf);
            n_written += 1;
        }
    }
    if n_written == 0 {
        buf.truncate(start);
    }
    n_custom
}

/// Appends a record of those histograms that have custom buckets to `buf`; nothing if there are
/// none. Start timestamps are left out.
pub fn encode_custom<'a, H: RecordHistogram + 'a>(
    histograms: impl IntoIterator<Item = RefHistogram<'a, H>>,
    buf: &mut Vec<u8>,
) {
    let mut custom =
        histograms.into_iter().filter(|entry| entry.histogram.uses_custom_buckets()).peekable();
    if custom.peek().is_some() {
        let mut writer = HistogramsWriter::new(H::KINDS.custom, buf);
        custom.for_each(|entry| writer.push(&entry, buf));
    }
}

/// Appends a record of histograms with their start timestamps to `buf`, whatever their buckets.
pub fn encode_v2<'a, H: RecordHistogram + 'a>(
    histograms: impl IntoIterator<Item = RefHistogram<'a, H>>,
    buf: &mut Vec<u8>,
) {
    let mut writer = HistogramsWriter::new(H::KINDS.started, buf);
    histograms.into_iter().for_each(|entry| writer.push(&entry, buf));
}

/// Writes the entries of one record.
#[derive(Debug)]
pub(crate) struct HistogramsWriter {
    stamps: Stamps,
}

impl HistogramsWriter {
    /// Begins a record of `kind`.
    pub(crate) fn new(kind: RecordKind, buf: &mut Vec<u8>) -> Self {
        put_u8(buf, kind.0);
        Self { stamps: Stamps::new(layout_of(kind)) }
    }

    fn push<H: Body>(&mut self, entry: &RefHistogram<'_, H>, buf: &mut Vec<u8>) {
        self.stamps.write(entry.stamp(), buf);
        entry.histogram.write(buf);
    }

    /// Writes an entry as it was read.
    pub(crate) fn push_raw(&mut self, stamp: Stamp, body: &[u8], buf: &mut Vec<u8>) {
        self.stamps.write(stamp, buf);
        buf.extend_from_slice(body);
    }
}

fn layout_of(kind: RecordKind) -> StampLayout {
    match kind {
        RecordKind::HISTOGRAMS_V2 | RecordKind::FLOAT_HISTOGRAMS_V2 => StampLayout::Started,
        _ => StampLayout::Plain,
    }
}

/// Walks over the histograms of a record, which share one buffer.
#[derive(Clone, Debug)]
pub struct HistogramsDecoder<'a, H> {
    fields: Fields<'a>,
    stamps: Stamps,
    histogram: H,
    scratch: Scratch,
    n_skipped: usize,
}

#[expect(private_bounds, reason = "only the histograms named above are ever decoded")]
impl<'a, H: Body> HistogramsDecoder<'a, H> {
    pub(super) fn new(bytes: &'a [u8], kind: RecordKind) -> Self {
        Self {
            fields: Fields::new(bytes, kind),
            stamps: Stamps::new(layout_of(kind)),
            histogram: H::default(),
            scratch: Scratch::default(),
            n_skipped: 0,
        }
    }

    /// Type of the record.
    pub fn kind(&self) -> RecordKind {
        self.fields.kind()
    }

    /// Entries left out so far because their schema is unknown, as Prometheus leaves them out.
    pub fn n_skipped(&self) -> usize {
        self.n_skipped
    }

    /// The next histogram, or `None` after the last.
    ///
    /// Its spans and buckets are as they were logged, and may make no sense: see
    /// [`Histogram::validate`](ferula_chunkenc::histogram::Histogram::validate). Buckets finer than
    /// the finest schema in use are merged to that.
    ///
    /// # Errors
    /// [`Error::RecordBytes`] or [`Error::RecordField`] if the entry is cut short or means nothing.
    #[expect(clippy::should_implement_trait, reason = "an error ends the walk; `?` reads better")]
    pub fn next(&mut self) -> Result<Option<RefHistogram<'_, H>>, Error> {
        loop {
            let Some((stamp, _)) = self.next_raw()? else { return Ok(None) };
            let schema = self.histogram.schema();
            if !is_known_schema(schema) {
                self.n_skipped += 1;
                continue;
            }
            if schema > EXPONENTIAL_SCHEMA_MAX && schema <= EXPONENTIAL_SCHEMA_MAX_RESERVED {
                let reduced = self.histogram.reduce_resolution(EXPONENTIAL_SCHEMA_MAX);
                reduced.map_err(|source| Error::in_record(self.kind())(source.into()))?;
            }
            let Stamp { series, start_timestamp, timestamp } = stamp;
            let histogram = &self.histogram;
            return Ok(Some(RefHistogram { series, start_timestamp, timestamp, histogram }));
        }
    }

    /// The next entry, whatever its schema: its stamp, and the bytes of the histogram.
    pub(crate) fn next_raw(&mut self) -> Result<Option<(Stamp, &'a [u8])>, Error> {
        if self.fields.is_empty() {
            return Ok(None);
        }
        let stamp = self.stamps.read(&mut self.fields)?;
        let start = self.fields.offset();
        self.histogram.read(&mut self.fields, &mut self.scratch)?;
        Ok(Some((stamp, self.fields.since(start))))
    }
}
