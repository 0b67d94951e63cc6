//! Bit packing: unsigned integers of one width, one behind the other.
//!
//! The first integer takes the lowest bits of the first byte. Eight integers of *w* bits fill *w*
//! bytes, so that a group of eight is unpacked by loads at offsets that are known to the compiler.

use super::{u64_at, vectorized};

/// Integers that fill whole bytes whatever their width.
const GROUP: usize = 8;

/// Bytes that `n` integers of `width` bits take.
pub(super) const fn packed_len(n: usize, width: u32) -> usize {
    (n * width as usize).div_ceil(8)
}

/// The bits that an integer of `width` bits has.
pub(super) const fn mask(width: u32) -> u64 {
    if width == 0 { 0 } else { u64::MAX >> (64 - width) }
}

/// Appends integers below 2^`width` to `out`.
pub(super) fn pack(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let mut bits = Bits::new(out);
    for value in values {
        bits.put(value, width);
    }
    bits.finish();
}

/// Appends bits to a vector of bytes, lowest first.
pub(super) struct Bits<'a> {
    out: &'a mut Vec<u8>,
    pending: u64,
    n_pending: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out, pending: 0, n_pending: 0 }
    }

    /// Appends the low `n` bits of `value`, whose other bits are zero.
    #[inline]
    pub(super) fn put(&mut self, value: u64, n: u32) {
        debug_assert!(value & !mask(n) == 0, "only the low bits are set");
        self.pending |= value << self.n_pending;
        let total = self.n_pending + n;
        if total < 64 {
            self.n_pending = total;
            return;
        }
        self.out.extend_from_slice(&self.pending.to_le_bytes());
        // What did not fit; a shift by all 64 bits is no shift.
        self.pending = value.checked_shr(64 - self.n_pending).unwrap_or(0);
        self.n_pending = total - 64;
    }

    /// Fills the last byte up with zeros.
    pub(super) fn finish(self) {
        let n_bytes = self.n_pending.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.pending.to_le_bytes()[..n_bytes]);
    }
}

/// Unpacks as many integers as `out` has room for from `data`, which has
/// [`packed_len`] bytes or more.
pub(super) fn unpack(data: &[u8], width: u32, out: &mut [i64]) {
    match UNPACKERS.get(width as usize) {
        Some(unpacker) => unpacker(data, out),
        None => unpack_any(data, width, out),
    }
}

/// Unpacks `out.len()` integers from the one with index `skip` on.
pub(super) fn unpack_from(data: &[u8], width: u32, skip: usize, out: &mut [i64]) {
    let aligned = skip % GROUP;
    let data = data.get((skip - aligned) / GROUP * width as usize..).unwrap_or_default();
    if aligned == 0 {
        return unpack(data, width, out);
    }
    for (i, value) in out.iter_mut().enumerate() {
        *value = value_at(data, width, aligned + i);
    }
}

type Unpacker = fn(&[u8], &mut [i64]);

/// One for each width up to 32 bits: wider integers are rare enough to be read one by one.
#[rustfmt::skip]
const UNPACKERS: [Unpacker; 33] = [
    unpack_groups::<0>, unpack_groups::<1>, unpack_groups::<2>, unpack_groups::<3>,
    unpack_groups::<4>, unpack_groups::<5>, unpack_groups::<6>, unpack_groups::<7>,
    unpack_groups::<8>, unpack_groups::<9>, unpack_groups::<10>, unpack_groups::<11>,
    unpack_groups::<12>, unpack_groups::<13>, unpack_groups::<14>, unpack_groups::<15>,
    unpack_groups::<16>, unpack_groups::<17>, unpack_groups::<18>, unpack_groups::<19>,
    unpack_groups::<20>, unpack_groups::<21>, unpack_groups::<22>, unpack_groups::<23>,
    unpack_groups::<24>, unpack_groups::<25>, unpack_groups::<26>, unpack_groups::<27>,
    unpack_groups::<28>, unpack_groups::<29>, unpack_groups::<30>, unpack_groups::<31>,
    unpack_groups::<32>,
];

/// A group and the bytes that the last load in it may touch.
const MAX_GROUP_BYTES: usize = 32 + 8;

fn unpack_groups<const WIDTH: usize>(data: &[u8], out: &mut [i64]) {
    vectorized(
        #[inline(always)]
        || unpack_all::<WIDTH>(data, out),
    );
}

#[inline(always)]
fn unpack_all<const WIDTH: usize>(data: &[u8], out: &mut [i64]) {
    let (groups, rest) = out.as_chunks_mut::<GROUP>();
    let mut at = 0;
    for group in groups {
        match data.get(at..at + WIDTH + 8) {
            Some(window) => unpack_group::<WIDTH>(window, group),
            None => unpack_last::<WIDTH>(data.get(at..).unwrap_or_default(), group),
        }
        at += WIDTH;
    }
    if !rest.is_empty() {
        let mut group = [0; GROUP];
        unpack_last::<WIDTH>(data.get(at..).unwrap_or_default(), &mut group);
        rest.copy_from_slice(&group[..rest.len()]);
    }
}

#[inline(always)]
fn unpack_group<const WIDTH: usize>(window: &[u8], group: &mut [i64; GROUP]) {
    let mask = (1_u64 << WIDTH) - 1;
    for (i, value) in group.iter_mut().enumerate() {
        let bit = i * WIDTH;
        let word = window[bit / 8..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk));
        *value = (word >> (bit % 8) & mask).cast_signed();
    }
}

/// A group so near to the end that loads would pass it.
#[cold]
fn unpack_last<const WIDTH: usize>(data: &[u8], group: &mut [i64; GROUP]) {
    let mut padded = [0; MAX_GROUP_BYTES];
    let n = data.len().min(WIDTH);
    padded[..n].copy_from_slice(&data[..n]);
    unpack_group::<WIDTH>(&padded[..WIDTH + 8], group);
}

fn unpack_any(data: &[u8], width: u32, out: &mut [i64]) {
    vectorized(
        #[inline(always)]
        || {
            for (i, value) in out.iter_mut().enumerate() {
                *value = value_at(data, width, i);
            }
        },
    );
}

/// The integer with this index.
#[inline(always)]
pub(super) fn value_at(data: &[u8], width: u32, index: usize) -> i64 {
    let bit = index * width as usize;
    let shift = bit % 8;
    let mut word = u64_at(data, bit / 8) >> shift;
    if shift + width as usize > 64 {
        word |= u64_at(data, bit / 8 + 8) << (64 - shift);
    }
    (word & mask(width)).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn integers_of_any_width_survive(
            values in prop::collection::vec(any::<u64>(), 0..70),
            width in 0_u32..=64,
            skip in 0_usize..70,
        ) {
            let values: Vec<i64> =
                values.iter().map(|value| (value & mask(width)).cast_signed()).collect();
            let mut packed = Vec::new();
            pack(values.iter().map(|value| value.cast_unsigned()), width, &mut packed);
            prop_assert_eq!(packed.len(), packed_len(values.len(), width));
            let mut out = vec![-1; values.len()];
            unpack(&packed, width, &mut out);
            prop_assert_eq!(&out, &values);
            let skip = skip.min(values.len());
            let mut out = vec![-1; values.len() - skip];
            unpack_from(&packed, width, skip, &mut out);
            prop_assert_eq!(&out, &values[skip..]);
        }
    }
}
