//! Reading the bits in which a float differs, out of a window: the innermost part of the loop over
//! the samples of a chunk.
//!
//! The processor must be able to run ahead of it, so where the next sample begins follows from
//! branches and numbers that are known early, not from tables, and each class of timestamps has a
//! path of its own, so that shifts are constants.
//!
//! Selecting between a reused window and a new one without a branch was tried and is slower: each
//! position then waits for the load before it, which costs more than guessing wrong now and then.

use super::value::Window;
use crate::Error;
use crate::bits::{Ahead, bits_from, peek};

/// The last value read, what the next one is coded against, and where the next sample begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ValueReader {
    /// In bits.
    pub(crate) position: usize,
    pub(crate) value_bits: u64,
    /// Leading zeros of the last window; more than there can be before the first.
    leading: u32,
    /// Width of the last window. Without one all 64 bits are written, as in Prometheus.
    significant: u32,
    trailing: u32,
    /// Whether any window was not within 64 bits.
    is_bad: bool,
}

impl ValueReader {
    pub(crate) fn new() -> Self {
        Self {
            position: 0,
            value_bits: 0,
            leading: u8::MAX.into(),
            significant: 64,
            trailing: 0,
            is_bad: false,
        }
    }

    /// The last window.
    pub(crate) fn window(&self) -> Window {
        Window::new(self.leading.into(), self.trailing.into())
    }

    /// Fails if any window, of which the last is shown, was not within 64 bits. The data begins
    /// `base` bytes into the chunk.
    pub(crate) fn check(&self, base: usize) -> Result<(), Error> {
        if !self.is_bad {
            return Ok(());
        }
        let bit = 8 * base + self.position - self.significant as usize;
        let [leading, significant] = [self.leading, self.significant].map(|n| n.to_le_bytes()[0]);
        Err(Error::ValueWindow { bit, leading, significant })
    }

    /// The bits from the position on, of which at least 57 are valid.
    #[inline(always)]
    pub(crate) fn peek(&self, ahead: &Ahead) -> u64 {
        peek(ahead, self.shift())
    }

    /// Moves on by `n` bits.
    #[inline(always)]
    pub(crate) fn advance(&mut self, n: u32) {
        self.position += n as usize;
    }

    /// Reads a value that differs within the last window, whose bits are `at` bits on.
    #[inline(always)]
    pub(crate) fn read_reused(&mut self, ahead: &Ahead, at: u32) {
        self.read_bits(ahead, at);
    }

    /// Reads a value that differs within a new window, which is told `at` bits on.
    #[inline(always)]
    pub(crate) fn read_new(&mut self, ahead: &Ahead, at: u32) {
        let code = self.peek(ahead) << at;
        let width = low_byte(code >> 53) % 64;
        self.leading = low_byte(code >> 59);
        self.significant = if width == 0 { 64 } else { width };
        self.trailing = 64_u32.wrapping_sub(self.leading + self.significant);
        self.is_bad |= self.trailing > 63;
        self.read_bits(ahead, at + 11);
    }

    #[inline(always)]
    fn read_bits(&mut self, ahead: &Ahead, at: u32) {
        // Behind a short code of the timestamp a short value lies within the word at hand. Behind
        // others it rarely does.
        let bits = if at <= 14 && self.significant <= 57 - at {
            self.peek(ahead) << at
        } else {
            bits_from(ahead, self.shift() + at)
        };
        self.value_bits ^= (bits >> (64 - self.significant)).wrapping_shl(self.trailing);
        self.advance(at + self.significant);
    }

    #[inline(always)]
    fn shift(&self) -> u32 {
        low_byte(self.position as u64) % 8
    }
}

#[inline(always)]
const fn low_byte(bits: u64) -> u32 {
    bits.to_le_bytes()[0] as u32
}
