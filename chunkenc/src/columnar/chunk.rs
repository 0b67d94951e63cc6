//! Chunks that stand alone: a header, a column of times, one of values.

use std::ops::Range;
use std::sync::Arc;

use super::histogram::{self, ColumnarHistogram, Encoders, HistogramColumns};
use super::ints::IntColumn;
use super::pick::ValueKind;
use super::timestamps::{self, TimeColumn};
use super::values::{ValueColumn, ValueStats};
use super::{ColumnField, MAX_SAMPLES};
use crate::cursor::{Cursor, put_u8, put_uvarint};
use crate::histogram::Histogram;
use crate::{Error, SampleBatch};

/// The version written, the first byte of a chunk.
pub(super) const VERSION: u8 = 1;

/// Flags, the second byte.
const HAS_STARTS: u8 = 1;
const HAS_HISTOGRAMS: u8 = 2;

/// Writes columnar chunks, keeping its memory from one to the next.
#[derive(Clone, Debug, Default)]
pub struct ColumnarEncoder {
    columns: Encoders,
}

impl ColumnarEncoder {
    /// Makes an encoder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a chunk of floats to `out` and tells how the values were written.
    ///
    /// `timestamps` ascend; `values` are kept bit for bit; `starts`, if any, are the start
    /// timestamps of the samples. All have one length, 1 to [`MAX_SAMPLES`].
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] or [`Error::ColumnLength`]; nothing is appended then.
    pub fn encode(
        &mut self,
        timestamps: &[i64],
        values: &[f64],
        starts: Option<&[i64]>,
        out: &mut Vec<u8>,
    ) -> Result<ValueKind, Error> {
        check_length(values.len(), timestamps.len())?;
        self.put_head(0, timestamps, starts, out)?;
        Ok(self.columns.values.encode(values, &[], out).kind)
    }

    /// Appends a chunk of histograms to `out`, like one of floats.
    ///
    /// All fields are kept bit for bit, hints and empty spans included.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`]; [`Error::ColumnLength`], also beyond [`MAX_BUCKETS`] buckets and
    /// [`MAX_COUNTS`] counts; [`Error::Histogram`] if spans overlap or do not fit the buckets.
    /// Nothing is appended then.
    ///
    /// [`MAX_BUCKETS`]: super::MAX_BUCKETS
    /// [`MAX_COUNTS`]: super::MAX_COUNTS
    pub fn encode_histograms<H: ColumnarHistogram>(
        &mut self,
        timestamps: &[i64],
        histograms: &[H],
        starts: Option<&[i64]>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        check_length(histograms.len(), timestamps.len())?;
        let before = out.len();
        self.put_head(HAS_HISTOGRAMS, timestamps, starts, out)?;
        let written = histogram::write(histograms, &mut self.columns, out);
        if written.is_err() {
            out.truncate(before);
        }
        written
    }

    fn put_head(
        &mut self,
        flags: u8,
        timestamps: &[i64],
        starts: Option<&[i64]>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        timestamps::check(timestamps)?;
        check_length(starts.map_or(timestamps.len(), <[i64]>::len), timestamps.len())?;
        put_u8(out, VERSION);
        put_u8(out, flags | if starts.is_some() { HAS_STARTS } else { 0 });
        put_uvarint(out, timestamps.len() as u64);
        timestamps::write(timestamps, &mut self.columns.ints, out);
        if let Some(starts) = starts {
            timestamps::write_ints(starts, &mut self.columns.ints, out);
        }
        Ok(())
    }
}

/// What the samples of a chunk are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChunkContent {
    /// Floats.
    Floats,
    /// Histograms that count in integers.
    Histograms,
    /// Histograms that count in floats.
    FloatHistograms,
}

pub(super) fn check_length(found: usize, limit: usize) -> Result<(), Error> {
    if found == limit { Ok(()) } else { Err(Error::ColumnLength { found, limit }) }
}

pub(super) fn check_version(cursor: &mut Cursor<'_>) -> Result<(), Error> {
    let offset = cursor.offset();
    let found = cursor.u8()?.into();
    if found == VERSION.into() {
        return Ok(());
    }
    Err(Error::Columnar { offset, field: ColumnField::Version, found })
}

/// Reads a number of samples, 1 to [`MAX_SAMPLES`].
pub(super) fn read_count(cursor: &mut Cursor<'_>) -> Result<usize, Error> {
    let offset = cursor.offset();
    let found = cursor.uvarint()?;
    let count = usize::try_from(found).ok().filter(|count| (1..=MAX_SAMPLES).contains(count));
    count.ok_or(Error::Columnar { offset, field: ColumnField::Count, found })
}

/// What is known of a chunk without decoding it.
#[derive(Clone, Copy, Debug)]
pub struct ChunkStats {
    /// Number of samples, staleness markers included.
    pub count: usize,
    /// Time of the first sample.
    pub first_timestamp: i64,
    /// Time of the last sample.
    pub last_timestamp: i64,
    /// What is known of the values; of histograms, of their sums.
    pub values: ValueStats,
}

/// A columnar chunk to be read.
#[derive(Clone, Debug)]
pub struct ColumnarChunk<'a> {
    n: usize,
    times: TimeColumn<'a>,
    starts: Option<IntColumn<'a>>,
    values: Values<'a>,
}

#[derive(Clone, Debug)]
enum Values<'a> {
    Floats(ValueColumn<'a>),
    Histograms(Box<HistogramColumns<'a>>),
}

impl<'a> ColumnarChunk<'a> {
    /// Finds the columns of the chunk whose bytes are `data`.
    ///
    /// # Errors
    /// If the bytes are those of another version or malformed.
    pub fn parse(data: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new(data);
        check_version(&mut cursor)?;
        let flags = cursor.u8()?;
        if flags > HAS_STARTS | HAS_HISTOGRAMS {
            let found = flags.into();
            return Err(Error::Columnar { offset: 1, field: ColumnField::Flags, found });
        }
        let n = read_count(&mut cursor)?;
        let times = TimeColumn::parse(&mut cursor, n)?;
        let starts = match flags & HAS_STARTS {
            0 => None,
            _ => Some(timestamps::parse_ints(&mut cursor, n)?),
        };
        if flags & HAS_HISTOGRAMS != 0 {
            let values = Values::Histograms(Box::new(HistogramColumns::parse(&mut cursor, n)?));
            return Ok(Self { n, times, starts, values });
        }
        let offset = cursor.offset();
        let values = ValueColumn::parse(&mut cursor, n)?;
        if values.is_relative() {
            return Err(Error::Columnar { offset, field: ColumnField::Reference, found: 0 });
        }
        Ok(Self { n, times, starts, values: Values::Floats(values) })
    }

    /// What the samples are.
    pub fn content(&self) -> ChunkContent {
        match &self.values {
            Values::Floats(_) => ChunkContent::Floats,
            Values::Histograms(histograms) => histograms.content(),
        }
    }

    /// What is known without decoding.
    pub fn stats(&self) -> ChunkStats {
        ChunkStats {
            count: self.n,
            first_timestamp: self.times.first(),
            last_timestamp: self.times.last(),
            values: match &self.values {
                Values::Floats(values) => values.stats(),
                Values::Histograms(histograms) => histograms.sums(),
            },
        }
    }

    /// Indexes of the samples from `mint` to `maxt`, both included.
    ///
    /// # Errors
    /// If the column of times is malformed.
    pub fn range_of(&self, mint: i64, maxt: i64) -> Result<Range<usize>, Error> {
        self.times.range_of(mint, maxt)
    }

    /// Appends all samples to `batch`, with their start timestamps; histograms as ones that count
    /// in floats.
    ///
    /// # Errors
    /// If the data is malformed; the batch is then as it was.
    pub fn decode_into(&self, batch: &mut SampleBatch) -> Result<(), Error> {
        self.decode_indexes(0..self.n, batch)
    }

    /// Appends the samples from `mint` to `maxt`, both included, to `batch`.
    ///
    /// # Errors
    /// If the data is malformed; the batch is then as it was.
    pub fn decode_range(&self, mint: i64, maxt: i64, batch: &mut SampleBatch) -> Result<(), Error> {
        self.decode_indexes(self.range_of(mint, maxt)?, batch)
    }

    /// Appends the samples whose indexes are in `range` to `batch`; those that there are not are
    /// passed over.
    ///
    /// # Errors
    /// If the data is malformed; the batch is then as it was.
    pub fn decode_indexes(
        &self,
        range: Range<usize>,
        batch: &mut SampleBatch,
    ) -> Result<(), Error> {
        let range = within(range, self.n);
        let before = batch.len();
        let decoded = match &self.values {
            Values::Floats(values) => {
                let (times, floats) = batch.extend_zeroed(range.len());
                let decoded = self.times.decode(range.clone(), times);
                decoded.and_then(|()| values.decode(range.clone(), floats))
            }
            Values::Histograms(_) => self.decode_as_floats(range.clone(), batch),
        };
        let decoded = decoded.and_then(|()| self.starts(range));
        match decoded {
            Ok(None) => {}
            Ok(Some(starts)) => batch.set_last_start_timestamps(&starts),
            Err(error) => {
                batch.truncate(before);
                return Err(error);
            }
        }
        Ok(())
    }

    fn decode_as_floats(&self, range: Range<usize>, batch: &mut SampleBatch) -> Result<(), Error> {
        let mut samples = Vec::new();
        if self.content() == ChunkContent::Histograms {
            let mut integers = Vec::new();
            self.decode_histograms::<Histogram>(range, &mut integers)?;
            samples.extend(integers.into_iter().map(|(t, histogram)| (t, histogram.to_float())));
        } else {
            self.decode_histograms(range, &mut samples)?;
        }
        for (timestamp, histogram) in samples {
            // As elsewhere, a staleness marker is one of floats.
            if histogram.is_stale() {
                batch.push(timestamp, histogram.sum);
            } else {
                batch.push_histogram(timestamp, Arc::new(histogram));
            }
        }
        Ok(())
    }

    /// Appends times and histograms whose indexes are in `range` to `out`, as they were written.
    ///
    /// # Errors
    /// If the chunk holds something else or is malformed; what was appended then is unspecified.
    pub fn decode_histograms<H: ColumnarHistogram>(
        &self,
        range: Range<usize>,
        out: &mut Vec<(i64, H)>,
    ) -> Result<(), Error> {
        let Values::Histograms(columns) = &self.values else {
            return Err(Error::Columnar { offset: 1, field: ColumnField::Kind, found: 0 });
        };
        let range = within(range, self.n);
        let mut times = vec![0; range.len()];
        self.times.decode(range.clone(), &mut times)?;
        let mut histograms = Vec::with_capacity(range.len());
        columns.decode(range, &mut histograms)?;
        out.extend(times.into_iter().zip(histograms));
        Ok(())
    }

    /// Start timestamps of the samples whose indexes are in `range`; none if the chunk has none.
    ///
    /// # Errors
    /// If the data is malformed.
    pub fn starts(&self, range: Range<usize>) -> Result<Option<Vec<i64>>, Error> {
        let range = within(range, self.n);
        let Some(column) = &self.starts else { return Ok(None) };
        let mut starts = vec![0; range.len()];
        column.decode(range, &mut starts)?;
        Ok(Some(starts))
    }
}

/// The part of `range` that is below `n`.
pub(super) fn within(range: Range<usize>, n: usize) -> Range<usize> {
    let end = range.end.min(n);
    range.start.min(end)..end
}
