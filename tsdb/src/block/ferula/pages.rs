//! Writing chunks into pages, and pages into segments.
//!
//! The chunks of a page refer to columns of times that their segment has once, behind its pages. So
//! a segment ends when it is long enough, or when its times take as much memory as they may.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use ferula_chunkenc::columnar::{
    ChunkContent, Decompressor, MAX_SAMPLES, Page, PageColumn, PageMemory, PagePart, PageWriter,
    TimeRef, TimeTableWriter,
};
use ferula_chunkenc::cursor::{crc32c, put_u32_be, put_u64_be};
use ferula_chunkenc::histogram::{FloatHistogram, Histogram};
use ferula_chunkenc::{Chunk, Error as DecodeError};
use ferula_index::ChunkRef;
use ferula_wal::fs::Fs;

use super::copies::{Copied, Origin};
use super::digest::Digest;
use super::layout::{
    HEADER, MAX_SEGMENTS, MAX_TIMES_BYTES, PAGE, PAGE_BYTES, PAGE_CHUNKS, PAGE_SLACK,
    TIME_COLUMN_BYTES, TIMES, join,
};
use super::paged::{PagedChunk, TimesKey};
use super::run::{Run, RunValues};
use crate::block::segments::{Place, SegmentWriter};
use crate::error::{BlockFault, Error};

/// Writes chunks to segments.
#[derive(Debug)]
pub(super) struct PagesWriter<'a> {
    segments: SegmentWriter<'a>,
    segment_bytes: u64,
    times: TimeTableWriter,
    page: PageWriter,
    /// Where the page will be.
    place: Option<Place>,
    /// What each chunk of the page must be found to hold.
    expected: Vec<Expected>,
    copied: Copied,
    /// Times of chunks that were copied into this segment, by those that they are made of.
    joined_times: HashMap<Vec<TimesKey>, TimeRef>,
    decompressor: Decompressor,
    bytes: Vec<u8>,
}

/// What a chunk of a page was made from.
#[derive(Debug)]
enum Expected {
    Samples(Digest),
    Parts(Vec<ExpectedPart>),
}

/// What a column that was copied, or written in place of it, was made from.
#[derive(Debug)]
enum ExpectedPart {
    Column { crc: u32 },
    Values { range: Range<usize>, digest: Digest },
}

impl<'a> PagesWriter<'a> {
    /// Makes the directory `dir`, into which segments of about `segment_bytes` are written.
    pub(super) fn create(fs: &'a dyn Fs, dir: PathBuf, segment_bytes: u64) -> Result<Self, Error> {
        Ok(Self {
            segments: SegmentWriter::create(fs, dir, HEADER)?,
            segment_bytes,
            times: TimeTableWriter::new(),
            page: PageWriter::new(),
            place: None,
            expected: Vec::new(),
            copied: Copied::default(),
            joined_times: HashMap::new(),
            decompressor: Decompressor::new(),
            bytes: Vec::new(),
        })
    }

    /// Writes a part of a run as a chunk and returns its ref. Refs ascend. Nothing is written and
    /// none returned if columns cannot hold it.
    pub(super) fn write(
        &mut self,
        run: &Run,
        start: usize,
        end: usize,
    ) -> Result<Result<ChunkRef, DecodeError>, Error> {
        self.end_full_page(false)?;
        let place = self.begin_page()?;
        let starts = run.starts(start, end);
        let pushed = self.times.add(&run.times[start..end]).and_then(|times| match &run.values {
            RunValues::Histograms(histograms) => {
                let histograms = &histograms[start..end];
                let at = self.page.push_histograms(times, histograms, starts)?;
                Ok((at, Digest::of_histograms(histograms, starts)))
            }
            RunValues::FloatHistograms(histograms) => {
                let histograms = &histograms[start..end];
                let at = self.page.push_histograms(times, histograms, starts)?;
                Ok((at, Digest::of_histograms(histograms, starts)))
            }
            RunValues::Floats(values) => {
                let values = &values[start..end];
                let (at, _) = self.page.push(times, values, starts)?;
                Ok((at, Digest::of_floats(values, starts)))
            }
            RunValues::Nothing => unreachable!("a run with times has values"),
        });
        let (at, digest) = match pushed {
            Ok(pushed) => pushed,
            Err(refused) => return Ok(Err(refused)),
        };
        self.expected.push(Expected::Samples(digest));
        let chunk = join(place, at).ok_or_else(|| self.too_many(place))?;
        Ok(Ok(chunk))
    }

    /// Writes one chunk that consists of others, which are copied, and returns its ref.
    pub(super) fn write_copies(&mut self, copies: &[&PagedChunk]) -> Result<ChunkRef, Error> {
        let mut columns = Vec::new();
        let mut start = 0;
        for copy in copies {
            let found = copy.page.page.value_columns(copy.at);
            for column in found.map_err(|source| self.malformed(source))? {
                let origin = Origin::new(copy, &column, start + column.range().start);
                columns.push((*copy, column, origin));
            }
            start += copy.n_samples();
        }
        let next = self.page.len();
        let is_in_page = |(_, column, origin): &(&PagedChunk, PageColumn<'_>, Origin)| {
            let distance = column.distance();
            distance > 0 && self.copied.find(next, None, origin, distance).is_some()
        };
        let is_needed = columns.iter().any(is_in_page);
        self.end_full_page(is_needed)?;
        let place = self.begin_page()?;
        let times = self.times_of(copies)?;
        let at = self.write_columns(times, columns);
        let at = at.map_err(|source| self.malformed(source))?;
        join(place, at).ok_or_else(|| self.too_many(place))
    }

    /// Adds a chunk that consists of `columns` to the page. Those that are relative to what is not
    /// there are written anew.
    fn write_columns(
        &mut self,
        times: TimeRef,
        columns: Vec<(&PagedChunk, PageColumn<'_>, Origin)>,
    ) -> Result<usize, DecodeError> {
        let next = self.page.len();
        let mut values = Vec::new();
        let mut references = Vec::with_capacity(columns.len());
        for (copy, column, origin) in &columns {
            let distance = column.distance();
            let found = match distance {
                0 => Some(None),
                _ => self.copied.find(next, Some(times), origin, distance).map(Some),
            };
            values.push(if found.is_none() { copy.values(column.range())? } else { Vec::new() });
            references.push(found);
        }
        let (mut parts, mut expected) = (Vec::new(), Vec::new());
        for (((_, column, origin), values), reference) in
            columns.iter().zip(&values).zip(&references)
        {
            let Some(relative_to) = *reference else {
                let digest = Digest::of_floats(values, None);
                expected.push(ExpectedPart::Values { range: origin.is(), digest });
                parts.push(PagePart::Values(values));
                continue;
            };
            expected.push(ExpectedPart::Column { crc: crc32c(column.data()) });
            parts.push(PagePart::Copied { column: column.clone(), relative_to });
        }
        let mut exponents = Vec::new();
        let at = self.page.push_parts(times, &parts, &mut exponents)?;
        self.expected.push(Expected::Parts(expected));
        let mut exponents = exponents.into_iter();
        let origins =
            columns.into_iter().zip(&references).map(
                |((_, _, origin), reference)| match reference {
                    Some(_) => origin,
                    None => origin.written_anew(exponents.next().flatten()),
                },
            );
        self.copied.push(at, times, origins.collect());
        Ok(at)
    }

    /// The times of a chunk that consists of others.
    fn times_of(&mut self, copies: &[&PagedChunk]) -> Result<TimeRef, Error> {
        let key: Vec<TimesKey> = copies.iter().map(|copy| copy.times_key()).collect();
        if let Some(times) = self.joined_times.get(&key) {
            return Ok(*times);
        }
        let mut times = Vec::new();
        for copy in copies {
            times.extend(copy.times().map_err(|source| self.malformed(source))?);
        }
        let times = self.times.add(&times).map_err(|source| self.malformed(source))?;
        self.joined_times.insert(key, times);
        Ok(times)
    }

    fn malformed(&self, source: DecodeError) -> Error {
        Error::Decode { file: self.segments.dir().to_path_buf(), source }
    }

    /// Writes a chunk as it is.
    pub(super) fn write_opaque(&mut self, chunk: &Chunk) -> Result<ChunkRef, Error> {
        self.end_page()?;
        self.begin_page()?;
        self.place = None;
        let place = self.segments.write(chunk.encoding.to_byte(), &chunk.data)?;
        join(place, 0).ok_or_else(|| self.too_many(place))
    }

    /// Makes segments and their names durable.
    pub(super) fn finish(mut self) -> Result<(), Error> {
        self.end_page()?;
        self.end_segment()?;
        self.segments.finish(&[])
    }

    /// The place of the page that is being written, in the segment whose times its chunks refer to.
    fn begin_page(&mut self) -> Result<Place, Error> {
        if let Some(place) = self.place {
            return Ok(place);
        }
        let times_bytes = self.times.n_times() * 8 + self.times.len() * TIME_COLUMN_BYTES;
        let is_long = self.segments.len_with(0).is_some_and(|len| len > self.segment_bytes);
        if is_long || times_bytes > MAX_TIMES_BYTES {
            self.end_segment()?;
        }
        let place = self.segments.place()?;
        if place.segment >= MAX_SEGMENTS {
            return Err(self.too_many(place));
        }
        self.place = Some(place);
        Ok(place)
    }

    /// Ends the page if it is long enough; if something of it `is_needed` by what comes next, if it
    /// is much longer.
    fn end_full_page(&mut self, is_needed: bool) -> Result<(), Error> {
        let limit = if is_needed { PAGE_BYTES * PAGE_SLACK } else { PAGE_BYTES };
        if self.page.size_bytes() >= limit || self.page.len() >= PAGE_CHUNKS {
            return self.end_page();
        }
        Ok(())
    }

    fn end_page(&mut self) -> Result<(), Error> {
        self.copied.clear();
        if self.page.is_empty() {
            self.place = None;
            return Ok(());
        }
        let Some(place) = self.place.take() else { return Ok(()) };
        self.bytes.clear();
        self.page.finish(&mut self.bytes);
        let expected = std::mem::take(&mut self.expected);
        let is_right = check(&mut self.decompressor, &self.bytes, &expected);
        if !is_right.map_err(|source| place.error(self.segments.dir(), source))? {
            let dir = self.segments.dir().to_path_buf();
            let fault = BlockFault::Page { segment: place.segment, offset: place.offset };
            return Err(Error::Block { dir, fault });
        }
        self.expected = expected;
        self.expected.clear();
        let written = self.segments.write(PAGE, &self.bytes)?;
        assert_eq!(written, place, "a page is written where its chunks are said to be");
        Ok(())
    }

    /// Writes the times of the segment, and ends it.
    fn end_segment(&mut self) -> Result<(), Error> {
        if self.segments.len_with(0).is_none() {
            return Ok(());
        }
        self.bytes.clear();
        std::mem::take(&mut self.times).write(&mut self.bytes);
        self.joined_times.clear();
        let place = self.segments.write(TIMES, &self.bytes)?;
        self.bytes.clear();
        put_u64_be(&mut self.bytes, place.offset.into());
        let crc = crc32c(&self.bytes);
        put_u32_be(&mut self.bytes, crc);
        self.segments.end_segment(&self.bytes)
    }

    fn too_many(&self, place: Place) -> Error {
        let (found, limit) = (u64::from(place.segment) + 1, MAX_SEGMENTS.into());
        Error::TooLarge { file: self.segments.dir().to_path_buf(), found, limit }
    }
}

/// Reads a page back: does it hold what was put into it?
fn check(
    decompressor: &mut Decompressor,
    bytes: &[u8],
    expected: &[Expected],
) -> Result<bool, DecodeError> {
    let page = Page::parse_with(decompressor, bytes)?;
    let mut memory = PageMemory::new();
    let mut values = Vec::new();
    if page.len() != expected.len() {
        return Ok(false);
    }
    for (chunk, expected) in expected.iter().enumerate() {
        let expected = match expected {
            Expected::Samples(digest) => digest,
            Expected::Parts(parts) => {
                if !check_parts(&page, chunk, parts)? {
                    return Ok(false);
                }
                continue;
            }
        };
        let n = usize::from(page.times(chunk)?.count);
        let starts = page.starts(chunk, 0..n)?;
        let starts = starts.as_deref();
        let found = match page.content(chunk)? {
            ChunkContent::Floats => {
                values.resize(MAX_SAMPLES, 0.0);
                page.decode(&mut memory, chunk, 0..n, &mut values[..n])?;
                Digest::of_floats(&values[..n], starts)
            }
            ChunkContent::Histograms => {
                let mut histograms: Vec<Histogram> = Vec::new();
                page.histograms(chunk, 0..n, &mut histograms)?;
                Digest::of_histograms(&histograms, starts)
            }
            _ => {
                let mut histograms: Vec<FloatHistogram> = Vec::new();
                page.histograms(chunk, 0..n, &mut histograms)?;
                Digest::of_histograms(&histograms, starts)
            }
        };
        if found != *expected {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The same of a chunk that was copied, but for columns that were written anew: are its columns
/// those that it was made from? Their bytes are compared, not what they decode to.
fn check_parts(
    page: &Page<'_>,
    chunk: usize,
    expected: &[ExpectedPart],
) -> Result<bool, DecodeError> {
    let columns = page.value_columns(chunk)?;
    if columns.len() != expected.len() {
        return Ok(false);
    }
    for (column, expected) in columns.iter().zip(expected) {
        let is_right = match expected {
            ExpectedPart::Column { crc } => crc32c(column.data()) == *crc,
            ExpectedPart::Values { range, digest } => {
                let mut values = vec![0.0; range.len()];
                page.reader().decode(chunk, range.clone(), &mut values)?;
                Digest::of_floats(&values, None) == *digest
            }
        };
        if !is_right {
            return Ok(false);
        }
    }
    Ok(true)
}
