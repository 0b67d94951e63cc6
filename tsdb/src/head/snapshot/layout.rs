//! Frames of a snapshot, and what the first of them say.
//!
//! Implements `docs/formats/snapshot.md`.

use std::ops::Range;

use ferula_chunkenc::Error;
use ferula_chunkenc::cursor::{Cursor, crc32c, put_u32_be};

/// First four bytes of the file.
pub(super) const MAGIC: u32 = 0x4665_4853;

/// Fifth byte of the file.
pub(super) const VERSION: u8 = 1;

/// Bytes before the first frame: magic, version, padding.
pub(super) const HEADER_BYTES: usize = 8;

/// Bytes before the content of a frame: its kind and length.
const FRAME_HEADER_BYTES: usize = 1 + 4;

const CHECKSUM_BYTES: usize = 4;

/// Content after which a frame is ended; the last entry may exceed it.
pub(super) const FRAME_BYTES: usize = 256 << 10;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    /// What the snapshot was made of; the first frame.
    State,
    /// Files of full chunks.
    ChunkFiles,
    /// Refs that the log knows a series by beside its own.
    Aliases,
    /// Label pairs, numbered over all these frames from zero.
    Pairs,
    /// Series, whose label pairs came before.
    Series,
    /// How much there was of everything; the last frame.
    End,
    /// Intervals that are deleted.
    Deleted,
    /// A record of the log: series that exemplars are of.
    ExemplarSeries,
    /// A record of the log: exemplars, whose series came before.
    Exemplars,
    /// What metrics say, numbered over all these frames from zero.
    Descriptions,
    /// Series and the numbers of what they say, which came before.
    Described,
}

impl FrameKind {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::State => 1,
            Self::ChunkFiles => 2,
            Self::Aliases => 3,
            Self::Pairs => 4,
            Self::Series => 5,
            Self::End => 6,
            Self::Deleted => 7,
            Self::ExemplarSeries => 8,
            Self::Exemplars => 9,
            Self::Descriptions => 10,
            Self::Described => 11,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        let (head, series, notes) = (
            [Self::State, Self::ChunkFiles, Self::Aliases, Self::Deleted],
            [Self::Pairs, Self::Series, Self::End],
            [Self::ExemplarSeries, Self::Exemplars, Self::Descriptions, Self::Described],
        );
        head.into_iter().chain(series).chain(notes).find(|kind| kind.to_byte() == byte)
    }
}

/// A frame within the bytes of a file.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// `None` if it is not known.
    pub(super) kind: Option<FrameKind>,
    /// Where it begins.
    start: usize,
    /// Where its content lies.
    pub(super) content: Range<usize>,
}

impl Frame {
    /// Finds the frame at `start`; its checksum is not looked at.
    pub(super) fn find(bytes: &[u8], start: usize) -> Result<Self, Error> {
        let mut cursor = Cursor::new(bytes);
        cursor.skip(start)?;
        let kind = FrameKind::from_byte(cursor.u8()?);
        let len = usize::try_from(cursor.u32_be()?).unwrap_or(usize::MAX);
        let content = cursor.offset()..cursor.offset().saturating_add(len);
        cursor.skip(len.saturating_add(CHECKSUM_BYTES))?;
        Ok(Self { kind, start, content })
    }

    /// Where the next frame begins.
    pub(super) fn end(&self) -> usize {
        self.content.end + CHECKSUM_BYTES
    }

    /// Where it begins.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Checks the checksum, and begins to read the content. Offsets count from the start of the file.
    pub(super) fn open<'a>(&self, bytes: &'a [u8]) -> Result<Cursor<'a>, Error> {
        let mut cursor = Cursor::new(bytes);
        cursor.skip(self.content.end)?;
        cursor.check_crc32c(&bytes[self.start..self.content.end])?;
        let mut cursor = Cursor::new(&bytes[..self.content.end]);
        cursor.skip(self.content.start)?;
        Ok(cursor)
    }
}

/// Appends the header of the file.
pub(super) fn put_header(out: &mut Vec<u8>) {
    put_u32_be(out, MAGIC);
    out.extend_from_slice(&[VERSION, 0, 0, 0]);
}

/// Begins a frame in an empty buffer; [`end_frame`] completes it.
pub(super) fn begin_frame(out: &mut Vec<u8>, kind: FrameKind) {
    debug_assert!(out.is_empty(), "a buffer holds one frame");
    out.push(kind.to_byte());
    put_u32_be(out, 0);
}

/// Content that a frame has so far.
pub(super) fn content_len(frame: &[u8]) -> usize {
    frame.len().saturating_sub(FRAME_HEADER_BYTES)
}

/// Completes a frame with its length and checksum. False if it is too long.
pub(super) fn end_frame(out: &mut Vec<u8>) -> bool {
    let Ok(len) = u32::try_from(content_len(out)) else { return false };
    out[1..FRAME_HEADER_BYTES].copy_from_slice(&len.to_be_bytes());
    let checksum = crc32c(out);
    put_u32_be(out, checksum);
    true
}
