//! Where the bytes of an open chunk go as they become complete.

/// Takes the bytes of an open chunk as they become complete: a vector, or pooled memory.
///
/// Writers call it once or twice for each sample. Storing all eight bytes where there is room and
/// moving on by `n` is faster than a copy of `n` bytes.
pub trait ByteSink {
    /// Takes the first `n` bytes of `word`, which go behind those taken before. `n` is 0 to 8.
    ///
    /// Bits behind them belong to a byte that is not complete; it comes again when it is. All
    /// further ones are zero.
    fn put(&mut self, word: [u8; 8], n: usize);
}

impl ByteSink for Vec<u8> {
    fn put(&mut self, word: [u8; 8], n: usize) {
        self.extend_from_slice(&word[..n]);
    }
}

/// Bytes in memory of their own, with the incomplete one behind them.
///
/// The buffer is longer than what it holds, so that words can be stored whole. Behind what was
/// stored are zeros, so that an incomplete byte to which zeros were added is up to date.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByteBuffer {
    buffer: Vec<u8>,
    /// Number of complete bytes.
    len: usize,
}

impl ByteBuffer {
    /// What the buffer is longer at first: enough for the first two samples of a chunk.
    const SLACK: usize = 38;

    /// Begins with a header.
    pub(crate) fn new(header: &[u8]) -> Self {
        let mut buffer = Vec::with_capacity(header.len() + Self::SLACK);
        buffer.extend_from_slice(header);
        Self { buffer, len: header.len() }
    }

    /// Goes on behind the first `len` bytes of `bytes` and an incomplete one.
    pub(crate) fn resume(mut bytes: Vec<u8>, len: usize, incomplete: Option<u8>) -> Self {
        bytes.truncate(len);
        bytes.push(incomplete.unwrap_or_default());
        Self { buffer: bytes, len }
    }

    /// The complete bytes, and the next one if `with_incomplete` says so.
    pub(crate) fn as_slice(&self, with_incomplete: bool) -> &[u8] {
        &self.buffer[..self.len + usize::from(with_incomplete)]
    }

    /// The complete bytes.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.len]
    }

    /// As [`Self::as_slice`], without the memory behind it.
    pub(crate) fn into_vec(mut self, with_incomplete: bool) -> Vec<u8> {
        self.buffer.truncate(self.len + usize::from(with_incomplete));
        self.buffer
    }

    /// Bytes of memory.
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    #[cold]
    fn grow(&mut self) {
        let len = (2 * self.len).max(self.len + Self::SLACK);
        self.buffer.resize(len, 0);
    }
}

impl ByteSink for ByteBuffer {
    #[inline(always)]
    fn put(&mut self, word: [u8; 8], n: usize) {
        // There is one more byte, in case that all of these are complete.
        if self.buffer.len() <= self.len + word.len() {
            self.grow();
        }
        self.buffer[self.len..self.len + word.len()].copy_from_slice(&word);
        self.len += n;
    }
}
