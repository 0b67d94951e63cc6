//! Pages: the chunks of neighbouring series, written together.
//!
//! A block has many short chunks, of which neighbours in the order of labels look alike: the
//! buckets of one histogram, one metric of many targets. A page holds a few hundred of them, 16 to
//! 64 KiB, and is read as a whole. Chunks of a page refer to columns of times that the block
//! keeps once ([`TimeTable`](super::TimeTable)), and a column of values may be written as what is
//! left after subtracting an earlier one, which is what counts of adjacent buckets are made for.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;

use super::chunk::{ChunkContent, VERSION, check_length, check_version, within};
use super::histogram::{self, ColumnarHistogram, Encoders, HistogramColumns};
use super::ints::IntColumn;
use super::page_reader::PageReader;
use super::parts::{self, PageColumn, PagePart, Part, Parts};
use super::pick::{Reference, ValueKind};
use super::time_table::TimeRef;
use super::timestamps;
use super::values::{ValueColumn, ValueStats};
use super::zstd_memory::{Compressor, Decompressor};
use super::{ColumnField, MAX_SAMPLES};
use crate::Error;
use crate::cursor::{Cursor, put_u8, put_uvarint, put_varint};

/// Flag of a page whose body is a zstd frame.
const IS_ZSTD: u8 = 1;

/// Bits of the byte in front of each chunk in the directory.
pub(super) const DISTANCE_MASK: u8 = 15;
const SAME_TIMES: u8 = 16;
const NEXT_TIMES: u8 = 32;
const HAS_STARTS: u8 = 64;
const HAS_HISTOGRAMS: u8 = 128;

/// Columns that one is compared with for the smallest difference.
pub(super) const MAX_DISTANCE: usize = 8;

/// Columns that must be decoded for one at most: itself and those it is relative to.
const MAX_CHAIN: usize = 8;

/// Largest body of a page: what one chunk may take and the size at which pages are finished.
pub const MAX_PAGE_BYTES: usize = 1 << 22;

/// A column that later ones may be relative to.
#[derive(Clone, Debug)]
struct Candidate {
    times: TimeRef,
    exponent: u8,
    /// Columns decoded for this one, itself included.
    chain: usize,
    ints: Vec<i64>,
    index: usize,
}

/// Collects chunks for a page.
///
/// ```
/// use ferula_chunkenc::columnar::{Page, PageWriter, TimeTable, TimeTableWriter};
///
/// let times: Vec<i64> = (0..480).map(|i| 1_700_000_000_000 + i * 15_000).collect();
/// let mut table = TimeTableWriter::new();
/// let mut writer = PageWriter::new();
/// for series in 0..3 {
///     let values: Vec<f64> = (0..480).map(|i| f64::from(i * i % 50 + series)).collect();
///     let times = table.add(&times)?;
///     assert_eq!(writer.push(times, &values, None)?.0, series as usize);
/// }
/// let (mut page, mut table_bytes) = (Vec::new(), Vec::new());
/// writer.finish(&mut page);
/// table.write(&mut table_bytes);
///
/// let page = Page::parse(&page)?;
/// let times = TimeTable::parse(&table_bytes)?.decode(page.times(2)?.column)?;
/// let mut values = vec![0.0; times.len()];
/// page.reader().decode(2, 0..480, &mut values)?;
/// assert_eq!((times[1], values[1]), (1_700_000_015_000, 3.0));
/// # Ok::<(), ferula_chunkenc::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PageWriter {
    encoders: Encoders,
    directory: Vec<u8>,
    columns: Vec<u8>,
    n_chunks: usize,
    last_times: Option<TimeRef>,
    candidates: VecDeque<Candidate>,
    zstd: Compressor,
}

impl PageWriter {
    /// Starts an empty page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a chunk of floats; returns its number in the page and how the values were written.
    ///
    /// `times` are those of the samples, in the table of the block; `values` and `starts` have as
    /// many entries.
    ///
    /// # Errors
    /// [`Error::ColumnLength`]; nothing is added then.
    pub fn push(
        &mut self,
        times: TimeRef,
        values: &[f64],
        starts: Option<&[i64]>,
    ) -> Result<(usize, ValueKind), Error> {
        check_lengths(times, values.len(), starts)?;
        let before = self.columns.len();
        if let Some(starts) = starts {
            timestamps::write_ints(starts, &mut self.encoders.ints, &mut self.columns);
        }
        let usable: Vec<&Candidate> = self
            .candidates
            .iter()
            .filter(|candidate| candidate.times == times && candidate.chain < MAX_CHAIN)
            .filter(|candidate| self.n_chunks - candidate.index <= usize::from(DISTANCE_MASK))
            .collect();
        let references: Vec<Reference<'_>> = usable
            .iter()
            .map(|candidate| Reference { exponent: candidate.exponent, ints: &candidate.ints })
            .collect();
        let picked = self.encoders.values.encode(values, &references, &mut self.columns);
        let reference = picked.reference.map(|at| (usable[at].index, usable[at].chain));
        let distance = reference.map_or(0, |(index, _)| self.n_chunks - index);
        let mut head = distance.to_le_bytes()[0];
        head |= if starts.is_some() { HAS_STARTS } else { 0 };
        self.put_entry(head, times, self.columns.len() - before);
        if let Some(exponent) = picked.exponent {
            self.remember(times, exponent, reference.map_or(1, |(_, chain)| chain + 1));
        }
        self.n_chunks += 1;
        Ok((self.n_chunks - 1, picked.kind))
    }

    /// Adds a chunk of floats that consists of `parts`, in the order of their times; returns its
    /// number in the page. Appends to `exponents`, for each part that is written anew, that of its
    /// decimals, if it is written as such.
    ///
    /// # Errors
    /// [`Error::ColumnLength`] if there are more or fewer values than `times`, or a reference leads
    /// to none of the last 15 chunks; nothing is added then.
    pub fn push_parts(
        &mut self,
        times: TimeRef,
        parts: &[PagePart<'_>],
        exponents: &mut Vec<Option<u8>>,
    ) -> Result<usize, Error> {
        check_lengths(times, parts.iter().map(PagePart::len).sum(), None)?;
        let mut heads = Vec::with_capacity(parts.len());
        let mut columns = Vec::new();
        for part in parts {
            let before = columns.len();
            let distance = match part {
                PagePart::Copied { column, relative_to } => {
                    columns.extend_from_slice(column.data());
                    self.distance_to(*relative_to)?
                }
                PagePart::Values(values) => {
                    let picked = self.encoders.values.encode(values, &[], &mut columns);
                    exponents.push(picked.exponent);
                    0
                }
            };
            heads.push((part.len(), distance, columns.len() - before));
        }
        let before = self.columns.len();
        let distance = match heads[..] {
            [(_, distance, _)] => distance,
            _ => {
                parts::write_head(&heads, &mut self.columns);
                0
            }
        };
        self.columns.extend_from_slice(&columns);
        self.put_entry(distance.to_le_bytes()[0], times, self.columns.len() - before);
        self.n_chunks += 1;
        Ok(self.n_chunks - 1)
    }

    fn distance_to(&self, chunk: Option<usize>) -> Result<usize, Error> {
        let limit = usize::from(DISTANCE_MASK);
        match chunk.map(|chunk| self.n_chunks.wrapping_sub(chunk)) {
            None => Ok(0),
            Some(distance) if (1..=limit).contains(&distance) => Ok(distance),
            Some(found) => Err(Error::ColumnLength { found, limit }),
        }
    }

    /// Adds a chunk of histograms; returns its number in the page.
    ///
    /// # Errors
    /// As [`ColumnarEncoder::encode_histograms`](super::ColumnarEncoder::encode_histograms);
    /// nothing is added then.
    pub fn push_histograms<H: ColumnarHistogram>(
        &mut self,
        times: TimeRef,
        histograms: &[H],
        starts: Option<&[i64]>,
    ) -> Result<usize, Error> {
        check_lengths(times, histograms.len(), starts)?;
        let before = self.columns.len();
        if let Some(starts) = starts {
            timestamps::write_ints(starts, &mut self.encoders.ints, &mut self.columns);
        }
        if let Err(error) = histogram::write(histograms, &mut self.encoders, &mut self.columns) {
            self.columns.truncate(before);
            return Err(error);
        }
        let head = HAS_HISTOGRAMS | if starts.is_some() { HAS_STARTS } else { 0 };
        self.put_entry(head, times, self.columns.len() - before);
        self.n_chunks += 1;
        Ok(self.n_chunks - 1)
    }

    fn put_entry(&mut self, head: u8, times: TimeRef, size: usize) {
        let last = self.last_times.replace(times);
        let next = last.map(|last| TimeRef { column: last.column.wrapping_add(1), ..last });
        let mut head = head;
        head |= if last == Some(times) { SAME_TIMES } else { 0 };
        head |= if next == Some(times) { NEXT_TIMES } else { 0 };
        put_u8(&mut self.directory, head);
        if head & (SAME_TIMES | NEXT_TIMES) == 0 {
            let column = last.unwrap_or_default().column;
            put_varint(&mut self.directory, i64::from(times.column) - i64::from(column));
            put_uvarint(&mut self.directory, times.start.into());
            put_uvarint(&mut self.directory, times.count.into());
        }
        put_uvarint(&mut self.directory, size as u64);
    }

    fn remember(&mut self, times: TimeRef, exponent: u8, chain: usize) {
        let mut ints = match self.candidates.len() {
            MAX_DISTANCE => self.candidates.pop_front().map(|old| old.ints).unwrap_or_default(),
            _ => Vec::new(),
        };
        ints.clear();
        ints.extend_from_slice(self.encoders.values.decimal_ints());
        let index = self.n_chunks;
        self.candidates.push_back(Candidate { times, exponent, chain, ints, index });
    }

    /// Number of chunks so far.
    pub fn len(&self) -> usize {
        self.n_chunks
    }

    /// Tells whether there is no chunk.
    pub fn is_empty(&self) -> bool {
        self.n_chunks == 0
    }

    /// Bytes of the page so far, before it is compressed. Whoever writes pages finishes one when
    /// this passes what shall be read at once.
    pub fn size_bytes(&self) -> usize {
        self.directory.len() + self.columns.len()
    }

    /// Appends the page to `out` and starts the next one.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        let mut body = std::mem::take(&mut self.directory);
        body.extend_from_slice(&self.columns);
        let compressed = self.zstd.compress(&body).ok();
        let compressed = compressed.filter(|frame| frame.len() + frame.len() / 32 < body.len());
        put_u8(out, VERSION);
        put_u8(out, if compressed.is_some() { IS_ZSTD } else { 0 });
        put_uvarint(out, self.n_chunks as u64);
        put_uvarint(out, body.len() as u64);
        out.extend_from_slice(compressed.as_deref().unwrap_or(&body));
        body.clear();
        self.directory = body;
        self.columns.clear();
        self.candidates.clear();
        self.n_chunks = 0;
        self.last_times = None;
    }
}

fn check_lengths(times: TimeRef, n: usize, starts: Option<&[i64]>) -> Result<(), Error> {
    let count = usize::from(times.count);
    check_length(n, count)?;
    check_length(starts.map_or(count, <[i64]>::len), count)?;
    if (1..=MAX_SAMPLES).contains(&count) {
        return Ok(());
    }
    Err(Error::ColumnLength { found: count, limit: MAX_SAMPLES })
}

/// Where a chunk is in a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) times: TimeRef,
    pub(super) distance: usize,
    has_starts: bool,
    pub(super) has_histograms: bool,
    pub(super) start: usize,
    end: usize,
}

/// A page to be read: decompressed and with a directory, its columns not decoded.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    body: Cow<'a, [u8]>,
    entries: Vec<Entry>,
}

impl<'a> Page<'a> {
    /// Reads the directory of the page whose bytes are `data`.
    ///
    /// # Errors
    /// If the bytes are those of another version or malformed.
    pub fn parse(data: &'a [u8]) -> Result<Self, Error> {
        Self::parse_with(&mut Decompressor::new(), data)
    }

    /// The same with a `decompressor` that is kept from one page to the next.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse).
    pub fn parse_with(decompressor: &mut Decompressor, data: &'a [u8]) -> Result<Self, Error> {
        let mut cursor = Cursor::new(data);
        check_version(&mut cursor)?;
        let flags = cursor.u8()?;
        if flags > IS_ZSTD {
            let found = flags.into();
            return Err(Error::Columnar { offset: 1, field: ColumnField::Flags, found });
        }
        let offset = cursor.offset();
        let n_chunks = cursor.uvarint()?;
        let size_bytes = cursor.uvarint()?;
        let invalid = |field, found| Error::Columnar { offset, field, found };
        let size = usize::try_from(size_bytes).ok().filter(|size| *size <= MAX_PAGE_BYTES);
        let size = size.ok_or_else(|| invalid(ColumnField::PageSize, size_bytes))?;
        let body = if flags == IS_ZSTD {
            let body = decompressor.decompress(cursor.rest(), size);
            let body = body.map_err(|_| invalid(ColumnField::Compression, size_bytes))?;
            Cow::Owned(body)
        } else {
            Cow::Borrowed(cursor.rest())
        };
        if body.len() != size {
            return Err(invalid(ColumnField::PageSize, size_bytes));
        }
        // An entry and the column it stands for have three bytes or more.
        let n = usize::try_from(n_chunks).ok().filter(|n| *n <= size / 3);
        let n = n.ok_or_else(|| invalid(ColumnField::Count, n_chunks))?;
        let entries = read_directory(&body, n)?;
        Ok(Self { body, entries })
    }

    /// Number of chunks.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether there is no chunk.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The times of a chunk.
    ///
    /// # Errors
    /// [`Error::Columnar`] if there is no such chunk.
    pub fn times(&self, chunk: usize) -> Result<TimeRef, Error> {
        self.entry(chunk).map(|entry| entry.times)
    }

    /// What the samples of a chunk are.
    ///
    /// # Errors
    /// If there is no such chunk or its columns are malformed.
    pub fn content(&self, chunk: usize) -> Result<ChunkContent, Error> {
        match self.entry(chunk)?.has_histograms {
            true => self.histogram_columns(chunk).map(|columns| columns.content()),
            false => Ok(ChunkContent::Floats),
        }
    }

    /// What is known of the values of a chunk, or the sums of histograms, without decoding them.
    ///
    /// # Errors
    /// If there is no such chunk or its columns are malformed.
    pub fn stats(&self, chunk: usize) -> Result<ValueStats, Error> {
        match self.entry(chunk)?.has_histograms {
            true => self.histogram_columns(chunk).map(|columns| columns.sums()),
            false => self.stats_of_parts(chunk),
        }
    }

    /// Appends the histograms of a chunk whose indexes are in `range` to `out`, as they were
    /// written.
    ///
    /// # Errors
    /// If there is no such chunk, it holds something else, or is malformed; what was appended then
    /// is unspecified.
    pub fn histograms<H: ColumnarHistogram>(
        &self,
        chunk: usize,
        range: Range<usize>,
        out: &mut Vec<H>,
    ) -> Result<(), Error> {
        let n = self.entry(chunk)?.times.count.into();
        self.histogram_columns(chunk)?.decode(within(range, n), out)
    }

    /// Start timestamps of the samples of a chunk whose indexes are in `range`; none if the chunk
    /// has none.
    ///
    /// # Errors
    /// If there is no such chunk or its column is malformed.
    pub fn starts(&self, chunk: usize, range: Range<usize>) -> Result<Option<Vec<i64>>, Error> {
        let entry = self.entry(chunk)?;
        let Some(column) = self.columns(entry)?.0 else { return Ok(None) };
        let range = within(range, entry.times.count.into());
        let mut starts = vec![0; range.len()];
        column.decode(range, &mut starts)?;
        Ok(Some(starts))
    }

    /// Starts reading values.
    pub fn reader(&self) -> PageReader<'_> {
        PageReader::new(self)
    }

    /// The same page, which keeps no other bytes alive.
    pub fn into_owned(self) -> Page<'static> {
        Page { body: Cow::Owned(self.body.into_owned()), entries: self.entries }
    }

    /// Bytes in memory of a page that keeps no others alive, about.
    pub fn size_bytes(&self) -> usize {
        self.body.len() + self.entries.len() * size_of::<Entry>()
    }

    pub(super) fn entry(&self, chunk: usize) -> Result<&Entry, Error> {
        let field = ColumnField::Chunk;
        let missing = || Error::Columnar { offset: 0, field, found: chunk as u64 };
        self.entries.get(chunk).ok_or_else(missing)
    }

    /// The column of start timestamps, and in front of the columns of values.
    fn columns(&self, entry: &Entry) -> Result<(Option<IntColumn<'_>>, Cursor<'_>), Error> {
        let mut cursor = Cursor::new(&self.body[..entry.end]);
        cursor.skip(entry.start)?;
        let starts = match entry.has_starts {
            true => Some(timestamps::parse_ints(&mut cursor, entry.times.count.into())?),
            false => None,
        };
        Ok((starts, cursor))
    }

    /// The columns of values of a chunk of floats, which has no start timestamps.
    ///
    /// # Errors
    /// If there is no such chunk, it holds something else, or is malformed.
    pub fn value_columns(&self, chunk: usize) -> Result<Vec<PageColumn<'_>>, Error> {
        Ok(self.parts(chunk)?.map(|part| PageColumn::new(&part, &self.body)).collect())
    }

    /// Tells whether a chunk is one of floats without start timestamps.
    ///
    /// # Errors
    /// If there is no such chunk.
    pub fn has_only_floats(&self, chunk: usize) -> Result<bool, Error> {
        self.entry(chunk).map(|entry| !entry.has_starts && !entry.has_histograms)
    }

    /// The columns of a chunk as they are written.
    ///
    /// # Errors
    /// If there is no such chunk.
    pub fn column_bytes(&self, chunk: usize) -> Result<&[u8], Error> {
        self.entry(chunk).map(|entry| &self.body[entry.start..entry.end])
    }

    /// The columns that the values of a chunk of floats are in.
    pub(super) fn parts(&self, chunk: usize) -> Result<Parts, Error> {
        let entry = self.entry(chunk)?;
        self.check_content(entry, false)?;
        Parts::parse(&mut self.columns(entry)?.1, entry.times.count.into(), entry.distance)
    }

    /// The column of a part.
    pub(super) fn column(&self, part: &Part) -> Result<ValueColumn<'_>, Error> {
        let mut cursor = Cursor::new(&self.body[..part.end]);
        cursor.skip(part.start)?;
        let values = ValueColumn::parse(&mut cursor, part.range.len())?;
        if values.is_relative() != (part.distance > 0) {
            let (offset, found) = (part.start, part.distance as u64);
            return Err(Error::Columnar { offset, field: ColumnField::Reference, found });
        }
        Ok(values)
    }

    fn stats_of_parts(&self, chunk: usize) -> Result<ValueStats, Error> {
        let mut all: Option<ValueStats> = None;
        for part in self.parts(chunk)? {
            let stats = self.column(&part)?.stats();
            all = Some(all.map_or(stats, |all| all.followed_by(&stats)));
        }
        let missing = Error::Columnar { offset: 0, field: ColumnField::Parts, found: 0 };
        all.ok_or(missing)
    }

    /// The columns of a chunk of histograms.
    pub(super) fn histogram_columns(&self, chunk: usize) -> Result<HistogramColumns<'_>, Error> {
        let entry = self.entry(chunk)?;
        self.check_content(entry, true)?;
        HistogramColumns::parse(&mut self.columns(entry)?.1, entry.times.count.into())
    }

    fn check_content(&self, entry: &Entry, has_histograms: bool) -> Result<(), Error> {
        if entry.has_histograms == has_histograms {
            return Ok(());
        }
        let (offset, found) = (entry.start, entry.has_histograms.into());
        Err(Error::Columnar { offset, field: ColumnField::Kind, found })
    }
}

fn read_directory(body: &[u8], n: usize) -> Result<Vec<Entry>, Error> {
    let mut cursor = Cursor::new(body);
    let mut entries = Vec::with_capacity(n);
    let mut times = TimeRef::default();
    let mut start = 0;
    for index in 0..n {
        let offset = cursor.offset();
        let head = cursor.u8()?;
        match head & (SAME_TIMES | NEXT_TIMES) {
            SAME_TIMES => {}
            NEXT_TIMES => times.column = times.column.wrapping_add(1),
            _ => times = read_times(&mut cursor, times.column)?,
        }
        let distance = usize::from(head & DISTANCE_MASK);
        if distance > index || times.count == 0 || usize::from(times.count) > MAX_SAMPLES {
            let found = head.into();
            return Err(Error::Columnar { offset, field: ColumnField::Chunk, found });
        }
        let size = usize::try_from(cursor.uvarint()?).unwrap_or(usize::MAX);
        let end = start + size.min(body.len());
        let [has_starts, has_histograms] =
            [HAS_STARTS, HAS_HISTOGRAMS].map(|flag| head & flag != 0);
        entries.push(Entry { times, distance, has_starts, has_histograms, start, end });
        start = end;
    }
    // Columns follow the directory.
    let base = cursor.offset();
    for entry in &mut entries {
        entry.start += base;
        entry.end += base;
    }
    if start + base > body.len() {
        let (needed, available) = (start, body.len() - base);
        return Err(Error::Truncated { offset: base, needed, available });
    }
    Ok(entries)
}

fn read_times(cursor: &mut Cursor<'_>, last_column: u32) -> Result<TimeRef, Error> {
    let offset = cursor.offset();
    let step = cursor.varint()?;
    let (start, count) = (cursor.uvarint()?, cursor.uvarint()?);
    let column = i64::from(last_column).checked_add(step).and_then(|at| u32::try_from(at).ok());
    let times = column.and_then(|column| {
        let (start, count) = (u16::try_from(start).ok()?, u16::try_from(count).ok()?);
        start.checked_add(count)?;
        Some(TimeRef { column, start, count })
    });
    let field = ColumnField::TimeColumn;
    times.ok_or(Error::Columnar { offset, field, found: step.cast_unsigned() })
}
