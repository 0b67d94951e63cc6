//! Reading a block.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use ferula_chunkenc::columnar::{ColumnField, Page, TimeTable};
use ferula_chunkenc::cursor::Cursor;
use ferula_chunkenc::{Error as DecodeError, SampleBatch};
use ferula_index::ferula::{ChunkEntry, IndexReader, SeriesCursor as IndexCursor};
use ferula_index::postings::Postings;
use ferula_index::{ChunkMeta, ChunkRef, Labels, Matcher, Pace, SeriesRef};
use ferula_wal::fs::Fs;

use super::cache::{Cache, OpenPage};
use super::layout::{FOOTER_BYTES, HEADER, PAGE, TIMES, split};
use super::stream::PageStream;
use crate::block::chunks::chunk_of;
use crate::block::format::{ChunkStream, SeriesCursor, SeriesReader};
use crate::block::prometheus::INDEX_FILE;
use crate::block::segments::{
    CHUNKS_DIR, Place, Record, SegmentReader, record_bytes, segment_name,
};
use crate::block::stored::{ChunkSize, PageSizes};
use crate::error::Error;
use crate::mmap::open_bytes;
use crate::querier::decode_between;

/// Reads a block in ferula's own format.
#[derive(Debug)]
pub(in crate::block) struct FerulaReader {
    file: PathBuf,
    index: IndexReader,
    pub(super) segments: SegmentReader,
    /// Of each segment: where its times are, and these once they were read.
    tables: Vec<(Place, OnceLock<Bytes>)>,
    cache: Cache,
}

impl FerulaReader {
    /// Checks the frame of the index, and both ends of the segments in `dir`.
    pub(in crate::block) fn open(fs: &dyn Fs, dir: &Path) -> Result<Self, Error> {
        let file = dir.join(INDEX_FILE);
        let index = IndexReader::open(open_bytes(fs, &file)?).map_err(|source| Error::Index {
            op: "open",
            file: file.clone(),
            source,
        })?;
        let segments = SegmentReader::open(fs, dir.join(CHUNKS_DIR), HEADER)?;
        let mut tables = Vec::with_capacity(segments.segments().len());
        for (segment, bytes) in (0..).zip(segments.segments()) {
            tables.push((read_footer(segment, bytes, segments.dir())?, OnceLock::new()));
        }
        Ok(Self { file, index, segments, tables, cache: Cache::default() })
    }

    fn of_index<T>(&self, result: Result<T, ferula_index::Error>) -> Result<T, Error> {
        result.map_err(|source| Error::Index { op: "read", file: self.file.clone(), source })
    }

    /// The page or chunk that a ref leads to, and the number of the chunk in it.
    fn read_record(&self, chunk: ChunkRef) -> Result<(Record, Place, usize), Error> {
        let (place, at) = split(chunk);
        let record = self.segments.read(place).ok_or_else(|| self.nowhere(chunk))??;
        Ok((record, place, at.into()))
    }

    pub(super) fn nowhere(&self, chunk: ChunkRef) -> Error {
        Error::ChunkRef { dir: self.segments.dir().to_path_buf(), chunk }
    }

    /// The column of times that a chunk of a page has, and the range in it.
    pub(super) fn times(
        &self,
        place: Place,
        page: &Page<'_>,
        at: usize,
    ) -> Result<(Arc<[i64]>, Range<usize>), Error> {
        let times = page.times(at).map_err(|source| self.error(place, source))?;
        let column = self.cache.times(place.segment, times.column, || {
            let (table, bytes) = self.table(place.segment)?;
            let parsed = TimeTable::parse(bytes);
            let decoded = parsed.and_then(|parsed| parsed.decode(times.column));
            decoded.map_err(|source| self.error(table, source))
        })?;
        let range = times.range();
        if range.end > column.len() {
            let (found, limit) = (range.end, column.len());
            return Err(self.error(place, DecodeError::ColumnLength { found, limit }));
        }
        Ok((column, range))
    }

    /// The times of a segment, whose checksum is verified when they are first read.
    pub(super) fn table(&self, segment: u32) -> Result<(Place, &Bytes), Error> {
        let missing = || Error::Missing { file: self.segments.dir().join(segment_name(segment)) };
        let table = usize::try_from(segment).ok().and_then(|segment| self.tables.get(segment));
        let (place, table) = table.ok_or_else(missing)?;
        if let Some(bytes) = table.get() {
            return Ok((*place, bytes));
        }
        let record = self.segments.read(*place).ok_or_else(missing)??;
        if record.kind != TIMES {
            return Err(self.wrong_kind(*place, record.kind));
        }
        Ok((*place, table.get_or_init(|| record.data)))
    }

    pub(super) fn error(&self, place: Place, source: DecodeError) -> Error {
        place.error(self.segments.dir(), source)
    }

    pub(super) fn wrong_kind(&self, place: Place, found: u8) -> Error {
        let (field, found) = (ColumnField::Kind, found.into());
        self.error(place, DecodeError::Columnar { offset: 0, field, found })
    }

    fn read_page(
        &self,
        open: &mut OpenPage,
        at: usize,
        mint: i64,
        maxt: i64,
        batch: &mut SampleBatch,
    ) -> Result<(), Error> {
        let place = open.place();
        let (column, range) = self.times(place, &open.page, at)?;
        let times = &column[range];
        let end = times.partition_point(|time| *time <= maxt);
        let start = times.partition_point(|time| *time < mint).min(end);
        let decoded = open.page.decode_into(&mut open.memory, at, times, start..end, batch);
        decoded.map_err(|source| self.error(place, source))
    }
}

/// Reads where the times of a segment are.
fn read_footer(segment: u32, bytes: &[u8], dir: &Path) -> Result<Place, Error> {
    let start = bytes.len().saturating_sub(FOOTER_BYTES);
    let malformed = |source| Error::Chunk {
        file: dir.join(segment_name(segment)),
        offset: start as u64,
        source,
    };
    let parse = || -> Result<u64, DecodeError> {
        let mut cursor = Cursor::new(&bytes[start..]);
        let offset = cursor.u64_be()?;
        cursor.check_crc32c(&bytes[start..start + 8])?;
        Ok(offset)
    };
    let found = parse().map_err(malformed)?;
    let offset = u32::try_from(found).ok().filter(|offset| u64::from(*offset) < start as u64);
    let (offset, field) = (offset, ColumnField::TimeColumn);
    let offset = offset.ok_or(DecodeError::Columnar { offset: 0, field, found });
    Ok(Place { segment, offset: offset.map_err(malformed)? })
}

impl SeriesReader for FerulaReader {
    fn select_paced(
        &self,
        matchers: &[Matcher],
        pace: &Pace<'_>,
    ) -> Result<Option<Postings>, Error> {
        self.of_index(self.index.select_paced(matchers, pace))
    }

    fn cursor(&self) -> Box<dyn SeriesCursor + '_> {
        Box::new(FerulaCursor { reader: self, index: self.index.cursor() })
    }

    fn label_names(&self, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        self.of_index(self.index.label_names(matchers))
    }

    fn label_values(&self, name: &str, matchers: &[Matcher]) -> Result<Vec<String>, Error> {
        self.of_index(self.index.label_values(name, matchers))
    }

    fn stream<'a>(&'a self, fs: &'a dyn Fs) -> Box<dyn ChunkStream + 'a> {
        Box::new(PageStream::new(fs, self))
    }

    fn for_each_symbol(&self, each: &mut dyn FnMut(&str)) -> Result<(), Error> {
        self.of_index(self.index.for_each_symbol(each))
    }

    fn read(
        &self,
        meta: &ChunkMeta,
        mint: i64,
        maxt: i64,
        batch: &mut SampleBatch,
    ) -> Result<(), Error> {
        let (place, at) = split(meta.chunk);
        if let Some(mut open) = self.cache.take(place) {
            let read = self.read_page(&mut open, at.into(), mint, maxt, batch);
            self.cache.put(open);
            return read;
        }
        let (record, place, at) = self.read_record(meta.chunk)?;
        if record.kind != PAGE {
            let chunk = chunk_of(record).map_err(|source| self.error(place, source))?;
            let decoded = decode_between(&chunk, mint, maxt, batch);
            return decoded.map_err(|source| self.error(place, source));
        }
        let page = Page::parse(&record.data).map_err(|source| self.error(place, source))?;
        let mut open = OpenPage::new(place, page.into_owned());
        let read = self.read_page(&mut open, at, mint, maxt, batch);
        self.cache.put(open);
        read
    }

    fn chunk_size(&self, chunk: ChunkRef, sizes: &mut PageSizes) -> Result<ChunkSize, Error> {
        let (place, at) = split(chunk);
        if sizes.place != Some(place) {
            let (record, place, _) = self.read_record(chunk)?;
            let failed = |source| self.error(place, source);
            let bytes = record_bytes(record.data.len());
            if record.kind != PAGE {
                let n_samples = chunk_of(record).and_then(|chunk| chunk.sample_count());
                return Ok(ChunkSize { n_samples: n_samples.map_err(failed)?.into(), bytes });
            }
            let page = Page::parse(&record.data).map_err(failed)?;
            let count = |chunk| page.times(chunk).map(|times| times.count);
            let samples = (0..page.len()).map(count).collect::<Result<_, _>>().map_err(failed)?;
            *sizes = PageSizes { place: Some(place), bytes, samples };
        }
        sizes.of(at.into()).ok_or_else(|| self.nowhere(chunk))
    }

    fn chunk_error(&self, chunk: ChunkRef, source: DecodeError) -> Error {
        self.error(split(chunk).0, source)
    }

    fn verify(&self) -> Result<(), Error> {
        self.of_index(self.index.verify())?;
        for segment in 0..u32::try_from(self.tables.len()).unwrap_or(u32::MAX) {
            let (place, bytes) = self.table(segment)?;
            let ascending = || {
                let table = TimeTable::parse(bytes)?;
                for column in 0..u32::try_from(table.len()).unwrap_or(u32::MAX) {
                    let times = table.decode(column)?;
                    if let Some(index) = times.windows(2).position(|pair| pair[0] >= pair[1]) {
                        let (last, timestamp) = (times[index], times[index + 1]);
                        return Err(DecodeError::OutOfOrder { timestamp, last });
                    }
                }
                Ok(())
            };
            ascending().map_err(|source| self.error(place, source))?;
        }
        Ok(())
    }
}

/// Reads series by their refs.
#[derive(Debug)]
struct FerulaCursor<'a> {
    reader: &'a FerulaReader,
    index: IndexCursor<'a>,
}

impl SeriesCursor for FerulaCursor<'_> {
    fn series(&mut self, series: SeriesRef, chunks: &mut Vec<ChunkMeta>) -> Result<Labels, Error> {
        self.reader.of_index(self.index.series(series, chunks))
    }

    fn numbered_series(
        &mut self,
        series: SeriesRef,
        labels: &mut Vec<(u32, u32)>,
        chunks: &mut Vec<ChunkMeta>,
    ) -> Result<(), Error> {
        self.reader.of_index(self.index.numbered_series(series, labels, chunks))
    }

    fn entries(&mut self, series: SeriesRef, entries: &mut Vec<ChunkEntry>) -> Result<(), Error> {
        entries.clear();
        entries.extend_from_slice(self.reader.of_index(self.index.chunks(series))?);
        Ok(())
    }
}
