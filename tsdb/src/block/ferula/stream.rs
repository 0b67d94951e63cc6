//! Reading the chunks of a block front to back, page by page.

use std::sync::Arc;

use ferula_chunkenc::Error as DecodeError;
use ferula_chunkenc::columnar::{ChunkContent, Decompressor, Page};
use ferula_index::ChunkRef;
use ferula_wal::fs::Fs;

use super::layout::{PAGE, split};
use super::paged::{PagedChunk, SharedPage};
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
    page: Option<Arc<SharedPage>>,
    decompressor: Decompressor,
}

impl<'a> PageStream<'a> {
    pub(super) fn new(fs: &'a dyn Fs, reader: &'a FerulaReader) -> Self {
        let segments = SegmentStream::new(fs, reader.segments.dir().to_path_buf());
        Self { reader, segments, page: None, decompressor: Decompressor::new() }
    }
}

impl ChunkStream for PageStream<'_> {
    fn read(&mut self, chunk: ChunkRef) -> Result<StoredChunk, Error> {
        let reader = self.reader;
        let (place, at) = split(chunk);
        let open = match self.page.take().filter(|open| open.place == place) {
            Some(open) => open,
            None => {
                let record = self.segments.read(place)?.ok_or_else(|| reader.nowhere(chunk))?;
                if record.kind != PAGE {
                    let chunk = chunk_of(record).map_err(|source| reader.error(place, source))?;
                    return Ok(StoredChunk::Encoded(chunk));
                }
                let page = Page::parse_with(&mut self.decompressor, &record.data);
                let page = page.map_err(|source| reader.error(place, source))?;
                Arc::new(SharedPage::new(place, page.into_owned()))
            }
        };
        let at = usize::from(at);
        let error = |source| reader.error(place, source);
        let page = &open.page;
        let chunk = if page.has_only_floats(at).map_err(error)? {
            let (_, table) = reader.table(place.segment)?;
            let times = page.times(at).map_err(error)?;
            StoredChunk::Paged(PagedChunk::new(Arc::clone(&open), at, table.clone(), times))
        } else {
            let (column, range) = reader.times(place, page, at)?;
            let columns = columns(page, at, column[range].to_vec());
            StoredChunk::Columns(columns.map_err(error)?)
        };
        self.page = Some(open);
        Ok(chunk)
    }
}

/// Decodes a chunk of a page.
fn columns(page: &Page<'_>, at: usize, times: Vec<i64>) -> Result<Columns, DecodeError> {
    let all = 0..times.len();
    let starts = page.starts(at, all.clone())?;
    let values = match page.content(at)? {
        ChunkContent::Floats => {
            let mut values = vec![0.0; times.len()];
            page.reader().decode(at, all, &mut values)?;
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
