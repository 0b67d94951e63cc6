//! Reading bits by the window: sixteen bytes at a time, wherever they are.

/// Bytes of a window.
const AHEAD_BYTES: usize = 16;

/// The bytes from the one on in which something begins, as many as are enough for 64 bits behind
/// less than 64 others.
pub(crate) type Ahead = [u8; AHEAD_BYTES];

/// A slice that can be read beyond its end, where there are zeros.
#[derive(Clone, Debug)]
pub(crate) struct Padded<'a> {
    bytes: &'a [u8],
    /// The last bytes, in which no window begins that is whole, and zeros behind them.
    tail: [u8; 2 * AHEAD_BYTES],
}

impl<'a> Padded<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut tail = [0; 2 * AHEAD_BYTES];
        let last = &bytes[Self::tail_from(bytes)..];
        tail[..last.len()].copy_from_slice(last);
        Self { bytes, tail }
    }

    const fn tail_from(bytes: &[u8]) -> usize {
        bytes.len().saturating_sub(AHEAD_BYTES - 1)
    }

    /// The slice.
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Its last bytes and zeros behind them, and where in the slice they begin, in bits.
    pub(crate) fn tail(&self) -> (&[u8], usize) {
        (&self.tail, 8 * Self::tail_from(self.bytes))
    }

    /// Tells whether a position in bits is beyond the end.
    pub(crate) fn is_beyond(&self, position: usize) -> bool {
        position > 8 * self.bytes.len()
    }

    /// The window in whose first byte a bit is.
    #[inline(always)]
    pub(crate) fn ahead(&self, position: usize) -> &Ahead {
        let byte = position / 8;
        match self.bytes.get(byte..).and_then(<[u8]>::first_chunk) {
            Some(ahead) => ahead,
            None => {
                let tail = self.tail.get(byte - Self::tail_from(self.bytes)..);
                tail.and_then(<[u8]>::first_chunk).unwrap_or(&[0; AHEAD_BYTES])
            }
        }
    }
}

/// 64 bits from bit `at` on, which is below 64, the first of them topmost.
#[inline(always)]
pub(crate) fn bits_from(ahead: &Ahead, at: u32) -> u64 {
    let byte = at as usize / 8 % 8;
    word(ahead, byte) << (at % 8) | u64::from(ahead[byte + 8]) >> (8 - at % 8)
}

/// At least 57 bits from bit `at` on, which is below 8, the first of them topmost.
#[inline(always)]
pub(crate) fn peek(ahead: &Ahead, at: u32) -> u64 {
    word(ahead, 0) << at
}

#[inline(always)]
fn word(ahead: &Ahead, byte: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&ahead[byte..byte + 8]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_go_on_behind_the_end() {
        for len in [0, 1, 15, 16, 17, 40] {
            let bytes: Vec<u8> = (1..=len).collect();
            let padded = Padded::new(&bytes);
            for position in 0..8 * (usize::from(len) + 20) {
                let expected: Vec<u8> = (position / 8..position / 8 + 16)
                    .map(|i| *bytes.get(i).unwrap_or(&0))
                    .collect();
                assert_eq!(padded.ahead(position)[..], expected, "{len} bytes, bit {position}");
            }
            assert!(padded.is_beyond(8 * bytes.len() + 1) && !padded.is_beyond(8 * bytes.len()));
        }
    }

    #[test]
    fn bits_are_those_from_the_position_on() {
        let ahead: Ahead = *b"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10";
        let whole = u128::from_be_bytes(ahead);
        for at in 0..64 {
            let expected = (whole << at >> 64) as u64;
            assert_eq!(bits_from(&ahead, at), expected);
            if at < 8 {
                assert_eq!(peek(&ahead, at) >> 7, expected >> 7);
            }
        }
    }
}
