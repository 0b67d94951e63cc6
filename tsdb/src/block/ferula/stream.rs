//! Reading the chunks of a block front to back, page by page.

use ferula_chunkenc::Error as DecodeError;
use ferula_chunkenc::columnar::{ChunkContent, Page};
use ferula_index::ChunkRef;
use ferula_wal::fs::Fs;

use super::cache::OpenPage;
use super::layout::{PAGE, split};
use super::reader::FerulaReader;
use crate::block::chunk_stream::SegmentStream;
use crate::block::chunks::chunk_of;
use crate::block::format::ChunkStream;
use crate::block::{ColumnValues, Columns, StoredChunk};
use crate::error::Error;

/// Reads pages whose refs ascend, each once.
#[derive(Debug)]
pub(super) struct PageStream<'a> {
    reader: &'a FerulaReader,
    segments: SegmentStream<'a>,
    page: Option<OpenPage>,
}

impl<'a> PageStream<'a> {
    pub(super) fn new(fs: &'a dyn Fs, reader: &'a FerulaReader) -> Self {
        let segments = SegmentStream::new(fs, reader.segments.dir().to_path_buf());
        Self { reader, segments, page: None }
    }
}

impl ChunkStream for PageStream<'_> {
    fn read(&mut self, chunk: ChunkRef) -> Result<StoredChunk, Error> {
        let reader = self.reader;
        let (place, at) = split(chunk);
        let mut open = match self.page.take().filter(|open| open.place() == place) {
            Some(open) => open,
            None => {
                let record = self.segments.read(place)?.ok_or_else(|| reader.nowhere(chunk))?;
                if record.kind != PAGE {
                    let chunk = chunk_of(record).map_err(|source| reader.error(place, source))?;
                    return Ok(StoredChunk::Encoded(chunk));
                }
                let page = Page::parse(&record.data);
                let page = page.map_err(|source| reader.error(place, source))?;
                OpenPage::new(place, page.into_owned())
            }
        };
        let (column, range) = reader.times(place, &open.page, at.into())?;
        let times = column[range].to_vec();
        let read = columns(&mut open, at.into(), times);
        self.page = Some(open);
        read.map(StoredChunk::Columns).map_err(|source| reader.error(place, source))
    }
}

/// Decodes a chunk of a page.
fn columns(open: &mut OpenPage, at: usize, times: Vec<i64>) -> Result<Columns, DecodeError> {
    let all = 0..times.len();
    let OpenPage { page, memory, .. } = open;
    let starts = page.starts(at, all.clone())?;
    let values = match page.content(at)? {
        ChunkContent::Floats => {
            let mut values = vec![0.0; times.len()];
            page.decode(memory, at, all, &mut values)?;
            ColumnValues::Floats(values)
        }
        ChunkContent::Histograms => {
            let mut histograms = Vec::with_capacity(times.len());
            page.histograms(at, all, &mut histograms)?;
            ColumnValues::Histograms(histograms)
        }
        _ => {
            let mut histograms = Vec::with_capacity(times.len());
            page.histograms(at, all, &mut histograms)?;
            ColumnValues::FloatHistograms(histograms)
        }
    };
    Ok(Columns { times, values, starts })
}
