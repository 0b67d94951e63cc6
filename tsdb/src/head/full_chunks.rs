//! Handing full chunks from memory to the files.
//!
//! A commit that fills chunks notes the pages they are in, and writes some of the oldest when it is
//! done and visible; so chunks leave memory as fast as they become full, and no lock that others
//! need is held while they are written. What cannot be written stays in memory, and in the queue.

use std::collections::VecDeque;
use std::sync::Arc;

use ferula_index::{ChunkRef, SeriesRef};
use parking_lot::{Mutex, MutexGuard};

use super::Head;
use super::chunk_files::ChunkFiles;
use super::series::{FullChunk, Page};
use crate::error::Error;

/// Pages that may have full chunks in memory without being written by a commit. Their chunks take a
/// mebibyte at most, if they are of the usual size.
const MAX_QUEUED: usize = 64;

/// Pages that may have full chunks in memory while another thread writes some.
const MAX_BEHIND: usize = 16 * MAX_QUEUED;

/// Pages that one commit writes at most: more than it fills, if its batch is of the usual size.
const PAGES_PER_COMMIT: usize = 32;

/// Pages with full chunks in memory.
#[derive(Debug, Default)]
pub(super) struct FullChunkQueue {
    pages: Mutex<VecDeque<Arc<Page>>>,
    /// Held by whoever writes: chunks of a series are written in the order of their times.
    writing: Mutex<Buffers>,
}

#[derive(Debug, Default)]
struct Buffers {
    chunks: Vec<FullChunk>,
    written: Vec<(SeriesRef, i64, ChunkRef)>,
}

impl FullChunkQueue {
    fn len(&self) -> usize {
        self.pages.lock().len()
    }

    fn pop(&self) -> Option<Arc<Page>> {
        let mut pages = self.pages.lock();
        let page = pages.pop_front();
        if pages.is_empty() && pages.capacity() > MAX_BEHIND {
            *pages = VecDeque::new();
        }
        page
    }
}

impl Head {
    /// Notes pages with full chunks in memory, if this head has files for them.
    pub(super) fn queue_full_chunks(&self, pages: &mut Vec<Arc<Page>>) {
        let is_writable = self.files().is_some_and(|files| !files.is_read_only());
        if is_writable && !pages.is_empty() {
            self.full_chunks.pages.lock().extend(pages.drain(..));
        }
    }

    /// Writes full chunks if many wait; after a commit. What fails is tried again by
    /// [`write_full_chunks`](Self::write_full_chunks).
    pub(super) fn write_some_full_chunks(&self) {
        let Some(files) = &self.files else { return };
        let n_queued = self.full_chunks.len();
        if n_queued <= MAX_QUEUED {
            return;
        }
        // Whoever is writing does so for all, but must not fall behind.
        let writing = &self.full_chunks.writing;
        let buffers = if n_queued > MAX_BEHIND { Some(writing.lock()) } else { writing.try_lock() };
        if let Some(mut buffers) = buffers {
            let _ = self.write_queued(files, PAGES_PER_COMMIT, &mut buffers);
        }
    }

    /// Writes all full chunks that are in memory to the files, if this head has some.
    pub(crate) fn write_full_chunks(&self) -> Result<(), Error> {
        let Some(files) = &self.files else { return Ok(()) };
        let mut buffers = self.full_chunks.writing.lock();
        self.write_queued(files, usize::MAX, &mut buffers).or_else(|_| {
            // Chunks are refused while earlier ones wait that could not be written.
            files.flush()?;
            self.write_queued(files, usize::MAX, &mut buffers)
        })?;
        // What is not in a file is made from the log again when this process is killed.
        files.flush()
    }

    fn write_queued(
        &self,
        files: &ChunkFiles,
        n_pages: usize,
        buffers: &mut MutexGuard<'_, Buffers>,
    ) -> Result<(), Error> {
        for _ in 0..n_pages {
            let Some(page) = self.full_chunks.pop() else { break };
            let written = write_page(files, &page, buffers);
            if written.is_err() && page.lock().queue() {
                self.full_chunks.pages.lock().push_front(page);
            }
            written?;
        }
        Ok(())
    }
}

/// Writes the full chunks of a page, without its lock.
fn write_page(files: &ChunkFiles, page: &Page, buffers: &mut Buffers) -> Result<(), Error> {
    let Buffers { chunks, written } = buffers;
    page.lock().take_queued(chunks);
    let mut result = Ok(());
    for FullChunk { series, mint, maxt, encoding, data } in chunks.drain(..) {
        match files.write(series, (mint, maxt), encoding, false, &data) {
            Ok(at) => written.push((series, mint, at)),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    page.change(|page| {
        for (series, mint, at) in written.drain(..) {
            page.note_written(series, mint, at);
        }
    });
    result
}
