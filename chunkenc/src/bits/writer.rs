//! Appending bits to a growing vector of bytes.

/// Writes bits behind one another; the unused low bits of the last byte are zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// Number of unused low bits in the last byte, below 8.
    free: u32,
}

impl BitWriter {
    /// Continues after the first `len_bits` bits of `bytes`; what follows them is dropped.
    pub(crate) fn resume(mut bytes: Vec<u8>, len_bits: usize) -> Self {
        bytes.truncate(len_bits.div_ceil(8));
        let used = len_bits % 8;
        if used > 0
            && let Some(last) = bytes.last_mut()
        {
            *last &= !(0xff >> used);
        }
        let free = u32::try_from((8 - used) % 8).expect("below 8");
        Self { bytes, free }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn as_bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends the low `n` bits of `value`, where `n` is 1 to 64.
    #[inline]
    pub(crate) fn write_bits(&mut self, value: u64, n: u32) {
        debug_assert!((1..=64).contains(&n), "one to 64 bits are written at a time");
        let mut aligned = value << (64 - n);
        let mut n = n;
        if self.free > 0
            && let Some(last) = self.bytes.last_mut()
        {
            *last |= aligned.to_be_bytes()[0] >> (8 - self.free);
            if n <= self.free {
                self.free -= n;
                return;
            }
            aligned <<= self.free;
            n -= self.free;
        }
        let n_bytes = n.div_ceil(8);
        self.bytes.extend_from_slice(&aligned.to_be_bytes()[..n_bytes as usize]);
        self.free = n_bytes * 8 - n;
    }
}
