//! Start timestamps: since when a counter has been counting, one for each sample.
//!
//! Encodings 4 to 6 hold them behind each sample, in as few bits as their changes allow; a byte in
//! the header says from which sample on. Chunks without any spend that byte and nothing else. As
//! in `docs/formats/chunks.md`, and as Prometheus's `st.go`.

use crate::Error;
use crate::bits::{BitPacker, BitReader, ByteSink};
use crate::cursor::{from_zig_zag, to_zig_zag};
use crate::varbit::{pack_int, pack_uvarint, read_int, read_uvarint};

/// The header byte: which samples have a start timestamp of their own.
///
/// ```text
/// bit 7       the first sample has one
/// bits 6..0   index of the sample from which on every one has; 0 if there is none
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StartHeader(u8);

impl StartHeader {
    const FIRST_KNOWN: u8 = 0x80;

    /// The last index that fits the byte: sample 127 writes its start timestamp although it has
    /// not changed, so that later ones can.
    const LAST_CHANGE: u8 = 0x7f;

    pub(crate) const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    pub(crate) const fn to_byte(self) -> u8 {
        self.0
    }

    /// Tells whether no sample has a start timestamp.
    pub(crate) const fn is_unused(self) -> bool {
        self.0 == 0
    }

    /// The header of a chunk that `count` samples were read from: what it says of further ones is
    /// forgotten.
    pub(crate) fn up_to(self, count: u16) -> Self {
        if self.first_change() < count { self } else { Self(self.0 & Self::FIRST_KNOWN) }
    }

    const fn first_change(self) -> u16 {
        (self.0 & Self::LAST_CHANGE) as u16
    }
}

/// The start timestamp of the last sample. Zero stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StartTimestamp {
    start: i64,
    /// How far the start lies behind the timestamp of the sample before: what the next one is
    /// coded against.
    lag: i64,
}

impl StartTimestamp {
    /// In milliseconds since the Unix epoch.
    pub(crate) fn get(self) -> i64 {
        self.start
    }

    /// Checks whether the header can tell that the sample at `index` has another start timestamp.
    /// It always can if it was written here.
    #[inline]
    pub(crate) fn check_room(
        self,
        header: StartHeader,
        index: u16,
        start: i64,
    ) -> Result<(), Error> {
        let is_too_late = index > u16::from(StartHeader::LAST_CHANGE) && header.first_change() == 0;
        if is_too_late && start != self.start {
            return Err(Error::ChunkFull { limit: index });
        }
        Ok(())
    }

    /// Writes that of the sample at `index`, whose timestamp is `timestamp` and that of the sample
    /// before it `previous`.
    #[inline]
    pub(crate) fn write(
        &mut self,
        header: &mut StartHeader,
        index: u16,
        [previous, timestamp]: [i64; 2],
        start: i64,
        packer: &mut BitPacker,
        out: &mut impl ByteSink,
    ) {
        let first_change = header.first_change();
        if index == 0 {
            *header = StartHeader::default();
            if start != 0 {
                header.0 = StartHeader::FIRST_KNOWN;
                pack_uvarint(packer, out, to_zig_zag(timestamp.wrapping_sub(start)));
            }
        } else if first_change > 0 {
            let lag = previous.wrapping_sub(start);
            pack_int(packer, out, lag.wrapping_sub(self.lag));
            self.lag = lag;
        } else if start != self.start || index == u16::from(StartHeader::LAST_CHANGE) {
            let [index, ..] = index.to_le_bytes();
            header.0 |= index;
            self.lag = previous.wrapping_sub(start);
            pack_int(packer, out, self.lag);
        }
        self.start = start;
    }

    /// Reads that of the sample at `index`, with a reader that begins at byte `base` of the chunk.
    #[inline]
    pub(crate) fn read(
        &mut self,
        header: StartHeader,
        index: u16,
        [previous, timestamp]: [i64; 2],
        bits: &mut BitReader<'_>,
        base: usize,
    ) -> Result<(), Error> {
        let first_change = header.first_change();
        if index == 0 {
            if header.0 & StartHeader::FIRST_KNOWN != 0 {
                self.start = timestamp.wrapping_sub(from_zig_zag(read_uvarint(bits, base)?));
            }
        } else if first_change > 0 && index >= first_change {
            // Before the first change there is no lag, so that the first is read like all others.
            self.lag = self.lag.wrapping_add(read_int(bits));
            self.start = previous.wrapping_sub(self.lag);
        }
        Ok(())
    }
}
