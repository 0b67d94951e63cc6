//! Writing chunks into pages, and pages into segments.
//!
//! The chunks of a page refer to columns of times that their segment has once, behind its pages. So
//! a segment ends when it is long enough, or when its times take as much memory as they may.

use std::path::PathBuf;

use ferula_chunkenc::Chunk;
use ferula_chunkenc::columnar::{
    ChunkContent, MAX_SAMPLES, Page, PageMemory, PageWriter, TimeTableWriter,
};
use ferula_chunkenc::cursor::{crc32c, put_u32_be, put_u64_be};
use ferula_chunkenc::histogram::{FloatHistogram, Histogram};
use ferula_index::ChunkRef;
use ferula_wal::fs::Fs;

use super::digest::Digest;
use super::layout::{
    HEADER, MAX_SEGMENTS, MAX_TIMES_BYTES, PAGE, PAGE_BYTES, PAGE_CHUNKS, TIME_COLUMN_BYTES, TIMES,
    join,
};
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
    /// Of each chunk of the page.
    digests: Vec<Digest>,
    bytes: Vec<u8>,
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
            digests: Vec::new(),
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
    ) -> Result<Result<ChunkRef, ferula_chunkenc::Error>, Error> {
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
        self.digests.push(digest);
        let chunk = join(place, at).ok_or_else(|| self.too_many(place))?;
        if self.page.size_bytes() >= PAGE_BYTES || self.page.len() >= PAGE_CHUNKS {
            self.end_page()?;
        }
        Ok(Ok(chunk))
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

    fn end_page(&mut self) -> Result<(), Error> {
        if self.page.is_empty() {
            self.place = None;
            return Ok(());
        }
        let Some(place) = self.place.take() else { return Ok(()) };
        self.bytes.clear();
        self.page.finish(&mut self.bytes);
        let digests = std::mem::take(&mut self.digests);
        let is_right = check(&self.bytes, &digests);
        if !is_right.map_err(|source| place.error(self.segments.dir(), source))? {
            let dir = self.segments.dir().to_path_buf();
            let fault = BlockFault::Page { segment: place.segment, offset: place.offset };
            return Err(Error::Block { dir, fault });
        }
        self.digests = digests;
        self.digests.clear();
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
fn check(bytes: &[u8], digests: &[Digest]) -> Result<bool, ferula_chunkenc::Error> {
    let page = Page::parse(bytes)?;
    let mut memory = PageMemory::new();
    let mut values = Vec::new();
    if page.len() != digests.len() {
        return Ok(false);
    }
    for (chunk, expected) in digests.iter().enumerate() {
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
