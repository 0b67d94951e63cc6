//! Entropy coding of integers by the number of their bits.
//!
//! Most residuals are near zero. An integer belongs to the class that is the number of its bits;
//! the class is coded by tabled asymmetric numeral systems (Duda 2013, as in zstd's FSE), and the
//! bits below the topmost one follow as they are. Four states take turns, so that the look-ups of
//! four neighbours do not wait for each other; state and bits share one stream that is read
//! forwards with one load for each integer.
//!
//! The probabilities of classes are written as four bits each, in steps of half an octave, which
//! costs less than the precision would gain on a few hundred samples.

use super::packed::{Bits, mask};
use super::{ColumnField, u64_at, vectorized};
use crate::Error;
use crate::cursor::Cursor;

/// Number of interleaved states.
const LANES: usize = 4;

/// Classes are 0 to 64 bits.
pub(super) const N_CLASSES: usize = 65;

/// Relative frequency that each nibble of the table stands for.
const WEIGHTS: [u32; 16] = [0, 1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181];

const MIN_LOG: u32 = 5;
const MAX_LOG: u32 = 8;

/// Bits that one load is sure to show.
const PEEK_BITS: u32 = 57;

/// Number of bits of `value`: its class.
#[inline(always)]
pub(super) const fn class_of(value: u64) -> usize {
    (64 - value.leading_zeros()) as usize
}

/// How often the classes are expected: what encoder and decoder agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    log: u32,
    first: usize,
    last: usize,
    nibbles: [u8; N_CLASSES],
    /// Slots of each class; together 2^log.
    slots: [u16; N_CLASSES],
}

impl Table {
    /// Makes the table for integers whose classes were counted, `n` in all.
    pub(super) fn from_counts(counts: &[u32; N_CLASSES], n: usize) -> Self {
        let present = counts.iter().filter(|&&count| count > 0).count().max(1);
        let first = counts.iter().position(|&count| count > 0).unwrap_or(0);
        let last = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        let most = u64::from(counts.iter().copied().max().unwrap_or(0).max(1));
        let nibbles = counts.map(|count| nibble_of(u64::from(count), most));
        // Larger tables are more precise and take longer to build: about a slot for four samples.
        let log = (n.max(1).ilog2().saturating_sub(1)).max(present.ilog2() + 2);
        let log = log.clamp(MIN_LOG, MAX_LOG);
        let slots = slots_of(&nibbles, log).expect("the log leaves room for each class");
        Self { log, first, last, nibbles, slots }
    }

    /// Bits that integers of these classes take, in 256ths, states included.
    pub(super) fn cost(&self, counts: &[u32; N_CLASSES]) -> u64 {
        let classes = counts.iter().enumerate().filter(|&(_, &count)| count > 0);
        let bits: u64 = classes
            .map(|(class, &count)| {
                let code = (self.log << 8) - log2(u32::from(self.slots[class]));
                u64::from(count) * u64::from(code + (extra_bits(class) << 8))
            })
            .sum();
        bits + (u64::from(self.log) * LANES as u64) * 256
    }

    /// Tells whether each class that occurs has slots.
    pub(super) fn covers(&self, counts: &[u32; N_CLASSES]) -> bool {
        counts.iter().zip(&self.slots).all(|(&count, &slots)| count == 0 || slots > 0)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let byte = |n: usize| u8::try_from(n).expect("at most 64");
        out.extend_from_slice(&[byte(self.log as usize), byte(self.first), byte(self.last)]);
        for pair in self.nibbles[self.first..=self.last].chunks(2) {
            out.push(pair[0] | pair.get(1).map_or(0, |high| high << 4));
        }
    }

    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Error> {
        let offset = cursor.offset();
        let invalid = |found: u8| Error::Columnar {
            offset,
            field: ColumnField::Classes,
            found: found.into(),
        };
        let (log, first, last) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
        if !(MIN_LOG..=MAX_LOG).contains(&u32::from(log)) {
            return Err(invalid(log));
        }
        if first > last || usize::from(last) >= N_CLASSES {
            return Err(invalid(last));
        }
        let (first, last) = (usize::from(first), usize::from(last));
        let bytes = cursor.bytes((last - first + 1).div_ceil(2))?;
        let mut nibbles = [0; N_CLASSES];
        for (i, nibble) in nibbles[first..=last].iter_mut().enumerate() {
            *nibble = bytes[i / 2] >> (4 * (i % 2)) & 15;
        }
        let slots = slots_of(&nibbles, log.into()).ok_or_else(|| invalid(bytes[0]))?;
        Ok(Self { log: log.into(), first, last, nibbles, slots })
    }

    /// The class of each slot: slots of one class are far apart, as zstd spreads them.
    fn spread(&self, of_slot: &mut [u8; 1 << MAX_LOG]) {
        let size = 1_usize << self.log;
        let step = (size >> 1) + (size >> 3) + 3;
        let mut at = 0;
        for class in self.first..=self.last {
            let byte = u8::try_from(class).expect("at most 64");
            for _ in 0..self.slots[class] {
                of_slot[at] = byte;
                at = (at + step) & (size - 1);
            }
        }
    }
}

/// The nibble whose weight is nearest to `count` of `most`.
fn nibble_of(count: u64, most: u64) -> u8 {
    if count == 0 {
        return 0;
    }
    let distance = |nibble: &u8| {
        (u64::from(WEIGHTS[usize::from(*nibble)]) * most).abs_diff(count * u64::from(WEIGHTS[15]))
    };
    (1..=15).min_by_key(distance).unwrap_or(15)
}

/// Divides 2^`log` slots by weight; none if there are fewer slots than classes, or no class.
fn slots_of(nibbles: &[u8; N_CLASSES], log: u32) -> Option<[u16; N_CLASSES]> {
    let size = 1_u32 << log;
    let weights = nibbles.map(|nibble| WEIGHTS[usize::from(nibble)]);
    let total: u32 = weights.iter().sum();
    let mut slots = [0_u16; N_CLASSES];
    let mut left = size;
    for (slot, &weight) in slots.iter_mut().zip(&weights) {
        if weight > 0 {
            // At most 65 weights of 181, times 1024.
            let share = (weight * size / total).max(1);
            *slot = u16::try_from(share).ok()?;
            left = left.wrapping_sub(share);
        }
    }
    // What rounding left over, or took too much of, is the heaviest class's.
    let heaviest = (0..N_CLASSES).rev().max_by_key(|&class| weights[class])?;
    let corrected = u32::from(slots[heaviest]).wrapping_add(left);
    slots[heaviest] = u16::try_from(corrected).ok()?;
    (total > 0 && (1..=size).contains(&corrected)).then_some(slots)
}

/// Bits of a class that follow its code.
const fn extra_bits(class: usize) -> u32 {
    let [class, ..] = class.to_le_bytes();
    (class as u32).saturating_sub(1)
}

/// Binary logarithm in 256ths, straight between powers of two.
pub(super) const fn log2(value: u32) -> u32 {
    let whole = value.ilog2();
    // The bits below the topmost one, moved to where they are 256ths.
    let fraction = value.wrapping_shl(31 - whole) << 1 >> 24;
    (whole << 8) + fraction
}

/// A table made ready for writing.
pub(super) struct Encoder {
    log: u32,
    /// For each class, where its states begin in `next`, less its number of slots.
    starts: [i32; N_CLASSES],
    slots: [u16; N_CLASSES],
    next: [u16; 1 << MAX_LOG],
}

impl Encoder {
    pub(super) fn new(table: &Table) -> Self {
        let mut of_slot = [0; 1 << MAX_LOG];
        table.spread(&mut of_slot);
        let mut starts = [0; N_CLASSES];
        let mut fill = [0_usize; N_CLASSES];
        let mut start = 0;
        for (class, &slots) in table.slots.iter().enumerate() {
            starts[class] = start - i32::from(slots);
            fill[class] = usize::try_from(start).expect("never negative");
            start += i32::from(slots);
        }
        let mut next = [0; 1 << MAX_LOG];
        for (slot, &class) in of_slot[..1 << table.log].iter().enumerate() {
            let at = &mut fill[usize::from(class)];
            next[*at] = u16::try_from(slot).expect("below 2^10");
            *at += 1;
        }
        Self { log: table.log, starts, slots: table.slots, next }
    }

    /// Appends the integers, of whose classes the table knows each.
    pub(super) fn encode(&self, values: &[u64], steps: &mut Vec<(u16, u8)>, out: &mut Vec<u8>) {
        let size = 1_u32 << self.log;
        // Coding runs backwards, so that decoding can run forwards.
        steps.clear();
        steps.resize(values.len(), (0, 0));
        let mut states = [0_u32; LANES];
        for (i, &value) in values.iter().enumerate().rev() {
            let class = class_of(value);
            let slots = u32::from(self.slots[class]);
            let state = &mut states[i % LANES];
            let reduced = if i + LANES >= values.len() {
                slots
            } else {
                let full = size + *state;
                let n_bits = full.ilog2() - slots.ilog2();
                let n_bits = if full >> n_bits < slots { n_bits - 1 } else { n_bits };
                let low = *state & ((1 << n_bits) - 1);
                steps[i] = (low16(low), n_bits.to_le_bytes()[0]);
                full >> n_bits
            };
            let at = self.starts[class] + reduced.cast_signed();
            *state = self.next[usize::try_from(at).expect("states begin at zero")].into();
        }
        let mut bits = Bits::new(out);
        for &state in states.iter().take(values.len()) {
            bits.put(state.into(), self.log);
        }
        for (&value, &(low, n_bits)) in values.iter().zip(steps.iter()) {
            let extra = extra_bits(class_of(value));
            bits.put(value & mask(extra), extra);
            bits.put(low.into(), n_bits.into());
        }
        bits.finish();
    }
}

const fn low16(value: u32) -> u16 {
    let [a, b, ..] = value.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// What to do in a state.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    /// The next state, but for the bits to be read.
    next: u16,
    n_bits: u8,
    class: u8,
}

/// A table made ready for reading.
#[derive(Clone, Debug)]
pub(super) struct Decoder {
    log: u32,
    last: usize,
    steps: [Step; 1 << MAX_LOG],
}

impl Decoder {
    pub(super) fn new(table: &Table) -> Self {
        let mut of_slot = [0; 1 << MAX_LOG];
        table.spread(&mut of_slot);
        let mut steps = [Step::default(); 1 << MAX_LOG];
        let mut reduced = table.slots;
        let size = 1_u16 << table.log;
        for (step, &class) in steps.iter_mut().zip(&of_slot[..1 << table.log]) {
            let state = &mut reduced[usize::from(class)];
            let n_bits = table.log - state.ilog2();
            *step =
                Step { next: (*state << n_bits) - size, n_bits: n_bits.to_le_bytes()[0], class };
            *state += 1;
        }
        Self { log: table.log, last: table.last, steps }
    }

    /// Reads as many of the `n` integers as `out` has room for, from the first on; tells how many
    /// bits they took. Bits past the end are zero.
    pub(super) fn decode(&self, data: &[u8], n: usize, out: &mut [i64]) -> usize {
        debug_assert!(out.len() <= n, "there is no room for more than there are");
        vectorized(
            #[inline(always)]
            || self.decode_lanes(data, n, out),
        )
    }

    #[inline(always)]
    fn decode_lanes(&self, data: &[u8], n: usize, out: &mut [i64]) -> usize {
        let mut position = 0;
        let mut states = [0_usize; LANES];
        for state in states.iter_mut().take(n) {
            *state = usize::try_from(bits_at(data, position) & mask(self.log)).unwrap_or(0);
            position += self.log as usize;
        }
        // The last integer of each lane leads to no further state.
        let n_linked = n.saturating_sub(LANES).min(out.len());
        let (linked, tail) = out.split_at_mut(n_linked);
        let (rounds, rest) = linked.as_chunks_mut::<LANES>();
        if extra_bits(self.last) + self.log <= PEEK_BITS {
            for round in rounds {
                for (value, state) in round.iter_mut().zip(&mut states) {
                    *value = self.step(data, &mut position, state);
                }
            }
        } else {
            for round in rounds {
                for (value, state) in round.iter_mut().zip(&mut states) {
                    *value = self.wide_step(data, &mut position, state);
                }
            }
        }
        for (value, state) in rest.iter_mut().zip(&mut states) {
            *value = self.wide_step(data, &mut position, state);
        }
        for (i, value) in tail.iter_mut().enumerate() {
            let Step { class, .. } = self.steps[states[(n_linked + i) % LANES] & STATE_MASK];
            *value = read_class(data, &mut position, class).cast_signed();
        }
        position
    }

    /// Reads an integer and the state behind it with one load.
    #[inline(always)]
    fn step(&self, data: &[u8], position: &mut usize, state: &mut usize) -> i64 {
        let Step { next, n_bits, class } = self.steps[*state & STATE_MASK];
        let extra = u32::from(class.saturating_sub(1));
        let word = bits_at(data, *position);
        let top = 1_u64 << extra;
        let value = (word & (top - 1)) | if class == 0 { 0 } else { top };
        let low = word >> extra & ((1 << n_bits) - 1);
        *state = usize::from(next) + usize::from(low16_of(low));
        *position += extra as usize + usize::from(n_bits);
        value.cast_signed()
    }

    /// The same for integers so wide that one load may not do.
    #[inline(always)]
    fn wide_step(&self, data: &[u8], position: &mut usize, state: &mut usize) -> i64 {
        let Step { next, n_bits, class } = self.steps[*state & STATE_MASK];
        let value = read_class(data, position, class);
        let low = bits_at(data, *position) & ((1 << n_bits) - 1);
        *state = usize::from(next) + usize::from(low16_of(low));
        *position += usize::from(n_bits);
        value.cast_signed()
    }
}

/// States are below this by construction; the mask only spares the check.
const STATE_MASK: usize = (1 << MAX_LOG) - 1;

const fn low16_of(value: u64) -> u16 {
    let [a, b, ..] = value.to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// The bits from `position` on, at least [`PEEK_BITS`] of them.
#[inline(always)]
fn bits_at(data: &[u8], position: usize) -> u64 {
    u64_at(data, position / 8) >> (position % 8)
}

#[inline(always)]
fn read_class(data: &[u8], position: &mut usize, class: u8) -> u64 {
    let extra = extra_bits(class.into());
    if class == 0 {
        return 0;
    }
    let low = extra.min(32);
    let mut value = bits_at(data, *position) & mask(low);
    *position += low as usize;
    if extra > low {
        value |= (bits_at(data, *position) & mask(extra - low)) << low;
        *position += (extra - low) as usize;
    }
    value | 1 << extra
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[u64]) -> usize {
        let mut counts = [0; N_CLASSES];
        values.iter().for_each(|&value| counts[class_of(value)] += 1);
        let table = Table::from_counts(&counts, values.len());
        assert!(table.covers(&counts));
        let mut written = Vec::new();
        table.write(&mut written);
        assert_eq!(Table::read(&mut Cursor::new(&written)), Ok(table.clone()));
        let mut data = Vec::new();
        Encoder::new(&table).encode(values, &mut Vec::new(), &mut data);
        let mut out = vec![-1; values.len()];
        let n_bits = Decoder::new(&table).decode(&data, values.len(), &mut out);
        assert_eq!(n_bits.div_ceil(8), data.len());
        assert!(out.iter().map(|value| value.cast_unsigned()).eq(values.iter().copied()));
        let mut part = vec![-1; values.len() / 2];
        Decoder::new(&table).decode(&data, values.len(), &mut part);
        assert_eq!(part, out[..part.len()]);
        let estimate = table.cost(&counts) / 256 / 8;
        assert!(estimate.abs_diff(data.len() as u64) <= 8 + data.len() as u64 / 8);
        data.len()
    }

    #[test]
    fn rare_events_take_less_than_a_bit() {
        let values: Vec<u64> = (0..1024).map(|i| u64::from(i % 100 == 7)).collect();
        assert!(round_trip(&values) < 1024 / 8 / 4);
        assert!(round_trip(&[0; 1000]) < 16);
    }

    proptest! {
        #[test]
        fn integers_survive(
            values in prop::collection::vec((any::<u64>(), 0_u32..=64), 0..300),
            narrow in 0_u32..=64,
        ) {
            let values: Vec<u64> = values
                .iter()
                .map(|&(value, width)| value & mask(width.saturating_sub(narrow)))
                .collect();
            round_trip(&values);
        }
    }
}
