//! Chunks that are not in their file yet: what they are collected in, and where each is found.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use ferula_index::ChunkRef;

use super::layout::{
    ChunkHeader, HEADER_BYTES, MAX_FILE_BYTES, MAX_OVERHEAD_BYTES, chunk_ref, put_chunk,
    put_header, put_mark, split,
};

/// When a part is written, and when a file is left for the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Bytes that are collected before they are written.
    pub(super) part_bytes: usize,
    /// A file is left before it would grow beyond this.
    pub(super) file_bytes: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        // Writing a part takes a fraction of a millisecond, which a commit may have to wait for.
        Self { part_bytes: 1 << 20, file_bytes: MAX_FILE_BYTES }
    }
}

/// Parts that wait at most, before chunks are refused or their writers wait; a last chunk may
/// exceed it.
const MAX_STAGED_PARTS: usize = 4;

/// Buffers kept for reuse.
const MAX_SPARE: usize = 2;

/// Bytes that belong into a file in one run.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: u32,
    /// Offset in the file.
    pub(super) at: u64,
    pub(super) bytes: Vec<u8>,
    /// Time of the latest sample.
    pub(super) maxt: i64,
}

impl Part {
    /// Where in the file it ends.
    pub(super) fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }
}

/// What is to be written, in order.
#[derive(Debug)]
pub(super) struct Staging {
    sizes: Sizes,
    /// The part that is being filled.
    open: Part,
    /// Parts before it, the oldest first.
    full: VecDeque<Arc<Part>>,
    /// Whether the next chunk begins a file.
    starts_file: bool,
    /// Whether somebody is writing the oldest full part.
    pub(super) is_writing: bool,
    /// Why the last attempt to write failed.
    pub(super) failure: Option<io::ErrorKind>,
    spare: Vec<Vec<u8>>,
}

impl Staging {
    /// Goes on after file `number`, which ends at `end`.
    pub(super) fn after(number: u32, end: u64, sizes: Sizes) -> Self {
        Self {
            sizes,
            open: Part { file: number, at: end, bytes: Vec::new(), maxt: i64::MIN },
            full: VecDeque::new(),
            starts_file: true,
            is_writing: false,
            failure: None,
            spare: Vec::new(),
        }
    }

    /// Adds a chunk and returns where it will be; `None` if there is no number left for a file.
    pub(super) fn put(&mut self, header: &ChunkHeader, data: &[u8]) -> Option<ChunkRef> {
        let needed = (MAX_OVERHEAD_BYTES + data.len()) as u64;
        let end = self.open.end();
        if self.starts_file || (end > HEADER_BYTES && end + needed > self.sizes.file_bytes) {
            self.start_file()?;
        }
        let offset = u32::try_from(self.open.end()).ok()?;
        put_chunk(&mut self.open.bytes, header, data);
        self.open.maxt = self.open.maxt.max(header.maxt);
        let at = chunk_ref(self.open.file, offset);
        if self.open.bytes.len() >= self.sizes.part_bytes {
            self.close_part();
        }
        Some(at)
    }

    fn start_file(&mut self) -> Option<()> {
        let (before, end) = (self.open.file, self.open.end());
        let number = before.checked_add(1)?;
        self.close_part();
        self.open = Part { file: number, at: 0, bytes: self.buffer(), maxt: i64::MIN };
        put_header(&mut self.open.bytes);
        if before > 0 {
            put_mark(&mut self.open.bytes, before, end);
        }
        self.starts_file = false;
        Some(())
    }

    /// Has the next chunk begin a file.
    pub(super) fn finish_file(&mut self) {
        self.starts_file = true;
    }

    /// Number of the first file that may still be written to.
    pub(super) fn first_open_file(&self) -> u32 {
        let open = self.open.file.saturating_add(u32::from(self.starts_file));
        self.full.front().map_or(open, |part| part.file)
    }

    /// Moves what is in the open part to the full ones.
    pub(super) fn close_part(&mut self) {
        if self.open.bytes.is_empty() {
            return;
        }
        let next = Part {
            file: self.open.file,
            at: self.open.end(),
            bytes: self.buffer(),
            maxt: i64::MIN,
        };
        self.full.push_back(Arc::new(std::mem::replace(&mut self.open, next)));
    }

    fn buffer(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// The oldest full part.
    pub(super) fn first_full(&self) -> Option<Arc<Part>> {
        self.full.front().cloned()
    }

    /// Forgets the oldest full part, which is in its file now.
    pub(super) fn pop_full(&mut self) {
        let part = self.full.pop_front().and_then(Arc::into_inner);
        if let Some(part) = part
            && self.spare.len() < MAX_SPARE
        {
            let mut buffer = part.bytes;
            buffer.clear();
            self.spare.push(buffer);
        }
    }

    /// Tells whether no more may be added for now.
    pub(super) fn is_full(&self) -> bool {
        self.staged_bytes() >= MAX_STAGED_PARTS * self.sizes.part_bytes
    }

    /// Bytes that wait to be written.
    pub(super) fn staged_bytes(&self) -> usize {
        let full: usize = self.full.iter().map(|part| part.bytes.len()).sum();
        full + self.open.bytes.len()
    }

    /// Bytes of memory taken.
    pub(super) fn memory_bytes(&self) -> usize {
        let full = self.full.iter().map(|part| part.bytes.capacity());
        let spare = self.spare.iter().map(Vec::capacity);
        full.chain(spare).sum::<usize>() + self.open.bytes.capacity()
    }

    /// The bytes from where `chunk` begins, if they are not in the file yet.
    pub(super) fn find(&self, chunk: ChunkRef) -> Option<&[u8]> {
        let (file, offset) = split(chunk);
        let offset = u64::from(offset);
        let mut parts = self.full.iter().map(|part| &**part).chain([&self.open]);
        let part =
            parts.find(|part| part.file == file && (part.at..part.end()).contains(&offset))?;
        part.bytes.get(usize::try_from(offset - part.at).ok()?..)
    }
}
