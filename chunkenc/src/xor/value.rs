//! How a float is coded by the bits in which it differs from the one before it.

use crate::Error;
use crate::bits::{BitPacker, BitReader, BitWriter, ByteSink};

/// Leading zeros are written in five bits.
const MAX_LEADING: u32 = 31;

/// The bits in which the last changed value differed: what a later value may reuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    leading: u8,
    trailing: u8,
}

impl Window {
    /// No window yet: more leading zeros than any value has.
    pub(crate) const NONE: Self = Self { leading: u8::MAX, trailing: 0 };

    /// A window with so many zeros on either side, each below 256.
    pub(super) const fn new(leading: u64, trailing: u64) -> Self {
        Self { leading: low_byte(leading), trailing: low_byte(trailing) }
    }

    /// Number of bits between the zeros. Without a window all 64 bits are written, as in
    /// Prometheus.
    const fn significant(self) -> u32 {
        if self.leading == u8::MAX {
            return 64;
        }
        64 - self.leading as u32 - self.trailing as u32
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::NONE
    }
}

/// Codes of a number of bits each, that tell which bits follow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WindowCodes {
    /// Those of the last window.
    pub(crate) reused: (u64, u32),
    /// Those of a new one.
    pub(crate) new: (u64, u32),
}

/// Writes in which bits a value differs from the one before it. The packer has room for 13 bits.
///
/// ```text
/// 0                                            the same bits
/// 10 + bits of the last window                 differs only inside of it
/// 11 + 5 bits leading + 6 bits width + width   a new window; width 64 is written as 0
/// ```
#[inline(always)]
pub(super) fn write_xor(
    packer: &mut BitPacker,
    out: &mut impl ByteSink,
    xor: u64,
    window: &mut Window,
) {
    if xor == 0 {
        packer.push(0, 1);
    } else {
        let codes = WindowCodes { reused: (0b10, 2), new: (0b11, 2) };
        write_changed(packer, out, xor, window, codes);
    }
}

/// Writes the bits in which a value differs, with the code in front that tells which they are. The
/// packer has room for the code and 11 bits.
#[inline(always)]
pub(crate) fn write_changed(
    packer: &mut BitPacker,
    out: &mut impl ByteSink,
    xor: u64,
    last_window: &mut Window,
    codes: WindowCodes,
) {
    let leading = xor.leading_zeros().min(MAX_LEADING);
    let trailing = xor.trailing_zeros();
    let window = *last_window;
    if leading >= u32::from(window.leading) && trailing >= u32::from(window.trailing) {
        let (code, len) = codes.reused;
        packer.push(code, len);
        packer.push_any(xor >> window.trailing, window.significant(), out);
        return;
    }
    let n = 64 - leading - trailing;
    let width = u64::from(n % 64);
    let (code, len) = codes.new;
    packer.push(code << 11 | u64::from(leading) << 6 | width, len + 11);
    packer.push_any(xor >> trailing, n, out);
    *last_window = Window::new(leading.into(), trailing.into());
}

/// Reads in which bits a value differs, with a reader that begins where the chunk does.
#[inline(always)]
fn read_xor(bits: &mut BitReader<'_>, last_window: &mut Window) -> Result<u64, Error> {
    let ahead = bits.peek();
    let window = match ahead >> 62 {
        0b10 => {
            bits.advance(2);
            *last_window
        }
        0b11 => {
            let leading = low_byte(ahead >> 57) % 32;
            let width = low_byte(ahead >> 51) % 64;
            let significant = if width == 0 { 64 } else { width };
            bits.advance(13);
            let Some(trailing) = 64_u8.checked_sub(leading + significant) else {
                let bit = bits.position();
                return Err(Error::ValueWindow { bit, leading, significant });
            };
            *last_window = Window { leading, trailing };
            *last_window
        }
        _ => {
            bits.advance(1);
            return Ok(0);
        }
    };
    Ok(bits.read_bits(window.significant()) << window.trailing)
}

/// A float that is coded by how it differs from the one before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct XorValue {
    bits: u64,
    window: Window,
}

impl XorValue {
    /// The first value of a run, which is written in full.
    pub(crate) fn first(value: f64) -> Self {
        Self { bits: value.to_bits(), window: Window::NONE }
    }

    /// The last value written or read.
    pub(crate) fn get(self) -> f64 {
        f64::from_bits(self.bits)
    }

    /// Writes the next value.
    pub(crate) fn write(&mut self, bits: &mut BitWriter, value: f64) {
        let xor = value.to_bits() ^ self.bits;
        bits.write(|packer, out| write_xor(packer, out, xor, &mut self.window));
        self.bits = value.to_bits();
    }

    /// Reads the next value with a reader that begins where the chunk does.
    pub(crate) fn read(&mut self, bits: &mut BitReader<'_>) -> Result<f64, Error> {
        self.bits ^= read_xor(bits, &mut self.window)?;
        Ok(self.get())
    }
}

#[inline]
const fn low_byte(bits: u64) -> u8 {
    bits.to_le_bytes()[0]
}
