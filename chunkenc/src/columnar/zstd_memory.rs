//! What zstd works with, kept from one page to the next: making it takes as long as a small page.

use std::{fmt, io};

use zstd::bulk;

/// zstd's level; higher ones gain little on what is coded already.
const LEVEL: i32 = 3;

/// Compresses pages.
#[derive(Default)]
pub(super) struct Compressor(Option<bulk::Compressor<'static>>);

impl Compressor {
    pub(super) fn compress(&mut self, body: &[u8]) -> io::Result<Vec<u8>> {
        let compressor = match self.0.take() {
            Some(compressor) => compressor,
            None => bulk::Compressor::new(LEVEL)?,
        };
        self.0.insert(compressor).compress(body)
    }
}

impl Clone for Compressor {
    /// Makes one that has no memory yet.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

/// Decompresses pages, and keeps the memory that this takes: some 100 KiB.
#[derive(Default)]
pub struct Decompressor(Option<bulk::Decompressor<'static>>);

impl Decompressor {
    /// Makes one that has no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn decompress(&mut self, frame: &[u8], size: usize) -> io::Result<Vec<u8>> {
        let decompressor = match self.0.take() {
            Some(decompressor) => decompressor,
            None => bulk::Decompressor::new()?,
        };
        self.0.insert(decompressor).decompress(frame, size)
    }
}

impl fmt::Debug for Decompressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decompressor").finish_non_exhaustive()
    }
}
