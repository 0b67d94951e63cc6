//! Reading one sample of a float chunk after the other: the innermost loop.
//!
//! The processor must be able to run ahead of it, so the position of the next sample follows from
//! branches and numbers that are known early, not from tables, and the paths of each class of
//! timestamps are apart, so that shifts are constants. Nothing is checked per sample but that there
//! are bytes to load; what is wrong with the data is noted on the way.
//!
//! Selecting between a reused window and a new one without a branch was tried and is slower: each
//! position then waits for the load before it, which costs more than guessing wrong now and then.

use super::value::Window;
use crate::Error;
use crate::bits::{Ahead, bits_from, peek};

/// The last sample read, where the next one begins, and what it is coded against.
#[derive(Clone, Debug)]
pub(super) struct SampleReader {
    /// In bits.
    pub(super) position: usize,
    pub(super) timestamp: i64,
    pub(super) value_bits: u64,
    pub(super) delta: u64,
    /// Leading zeros of the last window; more than there can be before the first.
    leading: u32,
    /// Width of the last window. Without one all 64 bits are written, as in Prometheus.
    significant: u32,
    trailing: u32,
    /// Whether any window was not within 64 bits.
    pub(super) is_bad: bool,
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// All slots are filled.
    Full,
    /// There is no whole window from the next sample on.
    NearEnd,
    /// The next sample has a timestamp that takes more than 24 bits.
    Wide,
}

impl SampleReader {
    pub(super) fn new() -> Self {
        Self {
            position: 0,
            timestamp: 0,
            value_bits: 0,
            delta: 0,
            leading: u8::MAX.into(),
            significant: 64,
            trailing: 0,
            is_bad: false,
        }
    }

    /// The last window.
    pub(super) fn window(&self) -> Window {
        Window::new(self.leading.into(), self.trailing.into())
    }

    /// What is wrong if the last sample is bad. The data begins `base` bits into the chunk.
    pub(super) fn window_error(&self, base: usize) -> Error {
        let bit = base + self.position - self.significant as usize;
        let [leading, significant] = [self.leading, self.significant].map(|n| n.to_le_bytes()[0]);
        Error::ValueWindow { bit, leading, significant }
    }

    /// Reads samples into slots until something stops it. Returns how many.
    #[inline]
    pub(super) fn read_all(
        &mut self,
        data: &[u8],
        timestamps: &mut [i64],
        values: &mut [f64],
    ) -> (usize, Stopped) {
        let mut reader = self.clone();
        let mut stopped = Stopped::Full;
        let mut n_read = 0;
        for (timestamp, value) in timestamps.iter_mut().zip(values) {
            let rest = data.get(reader.position / 8..);
            let Some(ahead) = rest.and_then(<[u8]>::first_chunk) else {
                stopped = Stopped::NearEnd;
                break;
            };
            if !reader.read(ahead) {
                stopped = Stopped::Wide;
                break;
            }
            (*timestamp, *value) = (reader.timestamp, f64::from_bits(reader.value_bits));
            n_read += 1;
        }
        *self = reader;
        (n_read, stopped)
    }

    /// Reads a sample, the third or a later one. Tells whether it did: it does not if the delta of
    /// deltas takes 64 bits.
    #[inline(always)]
    pub(super) fn read(&mut self, ahead: &Ahead) -> bool {
        let code = peek(ahead, low_byte(self.position as u64) % 8);
        if code >> 63 == 0 {
            self.advance_and_read_value::<1>(ahead, 0);
        } else if code >> 62 == 0b10 {
            self.advance_and_read_value::<16>(ahead, delta_of_delta::<2, 14>(code));
        } else if code >> 61 == 0b110 {
            self.advance_and_read_value::<20>(ahead, delta_of_delta::<3, 17>(code));
        } else if code >> 60 == 0b1110 {
            self.advance_and_read_value::<24>(ahead, delta_of_delta::<4, 20>(code));
        } else {
            return false;
        }
        true
    }

    #[inline(always)]
    fn advance_and_read_value<const USED: u32>(&mut self, ahead: &Ahead, dod: u64) {
        self.delta = self.delta.wrapping_add(dod);
        self.timestamp = self.timestamp.wrapping_add_unsigned(self.delta);
        self.read_value::<USED>(ahead);
    }

    /// Reads the value behind a timestamp of `USED` bits.
    #[inline(always)]
    pub(super) fn read_value<const USED: u32>(&mut self, ahead: &Ahead) {
        let shift = low_byte(self.position as u64) % 8;
        let code = peek(ahead, shift) << USED;
        if code >> 63 == 0 {
            self.position += USED as usize + 1;
            return;
        }
        // Behind a timestamp of one bit a short value lies within the word at hand. Behind others
        // it rarely does.
        let near = if USED == 1 { 64 - 7 - USED } else { 0 };
        let is_new = code >> 62 == 0b11;
        let (bits, used) = if is_new {
            let width = low_byte(code >> 51) % 64;
            self.leading = low_byte(code >> 57) % 32;
            self.significant = if width == 0 { 64 } else { width };
            self.trailing = 64_u32.wrapping_sub(self.leading + self.significant);
            self.is_bad |= self.trailing > 63;
            let is_near = 13 + self.significant <= near;
            let bits = if is_near { code << 13 } else { bits_from(ahead, shift + USED + 13) };
            (bits, 13)
        } else {
            let is_near = 2 + self.significant <= near;
            let bits = if is_near { code << 2 } else { bits_from(ahead, shift + USED + 2) };
            (bits, 2)
        };
        self.value_bits ^= (bits >> (64 - self.significant)).wrapping_shl(self.trailing);
        self.position += (USED + used + self.significant) as usize;
    }
}

/// The number behind a prefix.
#[inline(always)]
const fn delta_of_delta<const PREFIX: u32, const WIDTH: u32>(code: u64) -> u64 {
    // The upper half of the range stands for negative numbers, its lower edge excepted.
    let below_half = (1 << (WIDTH - 1)) - 1;
    let bits = code << PREFIX >> (64 - WIDTH);
    ((bits + below_half) & ((1 << WIDTH) - 1)).wrapping_sub(below_half)
}

#[inline(always)]
const fn low_byte(bits: u64) -> u32 {
    bits.to_le_bytes()[0] as u32
}
