//! Writing what is merged while the next series are merged, on a thread of its own.
//!
//! Only the writing thread changes files, so what is written, and in which order, does not depend
//! on how the two take turns.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, scope};

use crate::block::{BlockChunk, BlockWriter};
use crate::error::Error;

/// Series that are handed over together.
const BATCH_SERIES: usize = 128;

/// Bytes of chunks from which on fewer are: chunks of ferula's format are decoded here.
const BATCH_BYTES: usize = 1 << 20;

/// Batches that may wait.
const QUEUED_BATCHES: usize = 2;

/// Series on their way to the writer.
#[derive(Debug, Default)]
struct Batch {
    /// Labels of all of them, as pairs of numbers.
    labels: Vec<(u32, u32)>,
    chunks: Vec<BlockChunk>,
    /// Where the labels and the chunks of each end.
    ends: Vec<(usize, usize)>,
    /// Memory of the chunks.
    size_bytes: usize,
}

/// Takes series for a writer that works on another thread.
#[derive(Debug)]
pub(super) struct Pipe {
    batch: Batch,
    batches: SyncSender<Batch>,
}

/// Tells that the writer has failed and takes no more.
#[derive(Debug)]
pub(super) struct WriterGone;

impl Pipe {
    /// Hands over a series and its chunks, which are taken out of `chunks`.
    pub(super) fn add(
        &mut self,
        labels: &[(u32, u32)],
        chunks: &mut Vec<BlockChunk>,
    ) -> Result<(), WriterGone> {
        self.batch.labels.extend_from_slice(labels);
        self.batch.size_bytes +=
            chunks.iter().map(|chunk| chunk.chunk.memory_bytes()).sum::<usize>();
        self.batch.chunks.append(chunks);
        self.batch.ends.push((self.batch.labels.len(), self.batch.chunks.len()));
        let is_full = self.batch.ends.len() >= BATCH_SERIES || self.batch.size_bytes >= BATCH_BYTES;
        if is_full { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), WriterGone> {
        self.batches.send(std::mem::take(&mut self.batch)).map_err(|_| WriterGone)
    }
}

/// Lets `merge` fill a pipe to `writer`, and hands the writer back when it has written all of it.
///
/// # Errors
/// That of the writer, or else that of `merge`.
pub(super) fn write_merged<'a>(
    writer: BlockWriter<'a>,
    merge: impl FnOnce(&mut Pipe) -> Result<(), Error>,
) -> Result<BlockWriter<'a>, Error> {
    scope(|scope| {
        let (batches, received) = sync_channel(QUEUED_BATCHES);
        let dir = writer.dir().to_path_buf();
        let writing = Builder::new()
            .name("ferula-tsdb-write".to_owned())
            .spawn_scoped(scope, move || write_all(writer, &received));
        let writing = writing.map_err(Error::io("start a thread for", &dir))?;
        let mut pipe = Pipe { batch: Batch::default(), batches };
        // A pipe that is shut says nothing: the writer does.
        let merged = merge(&mut pipe).map(|()| pipe.flush());
        drop(pipe);
        let written = writing.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        merged.map(|_| written)
    })
}

fn write_all<'a>(
    mut writer: BlockWriter<'a>,
    batches: &Receiver<Batch>,
) -> Result<BlockWriter<'a>, Error> {
    for Batch { labels, chunks, ends, .. } in batches {
        let (mut labels_start, mut chunks_start) = (0, 0);
        for (labels_end, chunks_end) in ends {
            let labels = &labels[labels_start..labels_end];
            writer.add_numbered(labels, &chunks[chunks_start..chunks_end])?;
            (labels_start, chunks_start) = (labels_end, chunks_end);
        }
    }
    Ok(writer)
}
