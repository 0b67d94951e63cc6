//! Writing bits: gathered in a register, handed on as bytes.

use super::ByteSink;
use super::sink::ByteBuffer;

/// The bits behind the last complete byte: all of a bit stream that a writer must remember.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The bits, topmost first; those not used are zero.
    byte: u8,
    /// How many there are, below 8.
    used: u8,
}

impl Tail {
    /// The bits of `bytes` behind the last complete byte of its first `len_bits` bits.
    pub(crate) fn of(bytes: &[u8], len_bits: usize) -> Self {
        let [used, ..] = (len_bits % 8).to_le_bytes();
        let byte = bytes.get(len_bits / 8).map_or(0, |byte| byte & !(0xff >> used));
        Self { byte, used }
    }

    /// Appends `n` zeros, up to 8. Much less work than a packer where no byte becomes complete.
    #[inline(always)]
    pub(crate) fn push_zeros(&mut self, n: u8, out: &mut impl ByteSink) {
        self.used += n;
        if self.used >= 8 {
            out.put([self.byte, 0, 0, 0, 0, 0, 0, 0], 1);
            *self = Self { byte: 0, used: self.used - 8 };
        }
    }

    /// The incomplete byte.
    pub(crate) fn byte(self) -> Option<u8> {
        (self.used > 0).then_some(self.byte)
    }
}

/// Gathers bits in a register.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BitPacker {
    /// The bits, topmost first.
    word: u64,
    /// How many there are, up to 64.
    used: u32,
}

impl BitPacker {
    /// Goes on behind the last complete byte.
    #[inline(always)]
    pub(crate) fn new(tail: Tail) -> Self {
        Self { word: u64::from(tail.byte) << 56, used: u32::from(tail.used) }
    }

    /// Appends the low `n` bits of `code`, where `n` is 1 to 64 and there must be room for them:
    /// at least 57 bits after [`Self::flush`].
    #[inline(always)]
    pub(crate) fn push(&mut self, code: u64, n: u32) {
        debug_assert!(n >= 1 && self.used + n <= 64, "bits are pushed where there is room");
        self.word |= code << (64 - n) >> self.used;
        self.used += n;
    }

    /// Appends the low `n` bits of `code`, where `n` is 1 to 64, handing on bytes if there is no
    /// room.
    #[inline(always)]
    pub(crate) fn push_any(&mut self, code: u64, n: u32, out: &mut impl ByteSink) {
        if self.used + n > 64 {
            self.flush(out);
            if self.used + n > 64 {
                self.push(code >> 32, n - 32);
                self.flush(out);
                self.push(code, 32);
                return;
            }
        }
        self.push(code, n);
    }

    /// Hands on what is complete.
    #[inline(always)]
    pub(crate) fn flush(&mut self, out: &mut impl ByteSink) {
        let n = self.used / 8;
        out.put(self.word.to_be_bytes(), n as usize);
        self.word = self.word.unbounded_shl(8 * n);
        self.used %= 8;
    }

    /// Hands on what is complete and returns the rest.
    #[inline(always)]
    pub(crate) fn finish(mut self, out: &mut impl ByteSink) -> Tail {
        self.flush(out);
        let [byte, ..] = self.word.to_be_bytes();
        let [used, ..] = self.used.to_le_bytes();
        Tail { byte, used }
    }
}

/// Writes bits behind one another; the unused low bits of the last byte are zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct BitWriter {
    bytes: ByteBuffer,
    tail: Tail,
}

impl BitWriter {
    /// Begins behind a header.
    pub(crate) fn new(header: &[u8]) -> Self {
        Self { bytes: ByteBuffer::new(header), tail: Tail::default() }
    }

    /// Continues after the first `len_bits` bits of `bytes`; what follows them is dropped.
    pub(crate) fn resume(bytes: Vec<u8>, len_bits: usize) -> Self {
        let tail = Tail::of(&bytes, len_bits);
        Self { bytes: ByteBuffer::resume(bytes, len_bits / 8, tail.byte()), tail }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.as_slice(self.tail.used > 0)
    }

    /// The complete bytes.
    pub(crate) fn as_bytes_mut(&mut self) -> &mut [u8] {
        self.bytes.as_mut_slice()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes.into_vec(self.tail.used > 0)
    }

    /// Appends the low `n` bits of `value`, where `n` is 1 to 64.
    #[inline]
    pub(crate) fn write_bits(&mut self, value: u64, n: u32) {
        self.write(|packer, out| packer.push_any(value, n, out));
    }

    /// Appends what `write` pushes.
    #[inline(always)]
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut BitPacker, &mut ByteBuffer)) {
        let mut packer = BitPacker::new(self.tail);
        write(&mut packer, &mut self.bytes);
        self.tail = packer.finish(&mut self.bytes);
    }
}
