//! Columns of integers: what timestamps, values and counts are turned into.
//!
//! A column is an origin, a multiplier, and residuals: of the integers themselves, of their
//! differences, or of the differences of those. Vectors of 1,024 residuals are coded each on its
//! own, as all alike, packed or binned, and begin with what the residuals continue from, so that
//! one is decoded without the others.

use std::ops::Range;

use super::binned::{self, N_CLASSES, Table, class_of, log2};
use super::packed::{pack, packed_len, unpack, unpack_from};
use super::{ColumnField, MAX_SAMPLES, VECTOR};
use crate::Error;
use crate::cursor::{Cursor, from_zig_zag, put_uvarint, put_varint, to_zig_zag};

/// Bits of the kind byte.
const ORDER_MASK: u8 = 3;
const HAS_MULTIPLIER: u8 = 4;
const HAS_TABLE: u8 = 8;

/// Codes of vectors: 0 all alike, 1 to 64 the width of packed residuals.
const BINNED: u8 = 65;

/// Most vectors of one column.
const MAX_VECTORS: usize = MAX_SAMPLES / VECTOR;

/// Residuals that the median is estimated of.
const PROBES: usize = 31;

/// How the residuals of one order look.
#[derive(Clone, Debug, Default)]
struct Residuals {
    values: Vec<i64>,
    /// About the median; what binned residuals are counted from.
    centre: i64,
    /// Smallest and largest of each vector.
    bounds: Vec<(i64, i64)>,
    counts: Vec<u32>,
    is_binned: bool,
    cost_bits: u64,
}

/// Chooses the coding of columns and writes them; keeps its memory from one to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct IntEncoder {
    origin: i64,
    multiplier: u64,
    order: usize,
    residuals: [Residuals; 3],
    zigzags: Vec<u64>,
    steps: Vec<(u16, u8)>,
}

impl IntEncoder {
    /// Chooses how to write `values`, 1 to [`MAX_SAMPLES`] of them, and estimates how many bits
    /// that takes.
    pub(super) fn plan(&mut self, values: &[i64]) -> u64 {
        self.origin = values.first().copied().unwrap_or_default();
        self.multiplier = common_divisor(values, self.origin);
        let Self { origin, multiplier, .. } = *self;
        let [plain, first, second] = &mut self.residuals;
        plain.values.clear();
        plain.values.extend(values.iter().map(|value| value.wrapping_sub(origin)));
        if multiplier > 1 {
            let shift = multiplier.trailing_zeros();
            match multiplier.cast_signed() {
                divisor if multiplier.is_power_of_two() && divisor > 0 => {
                    plain.values.iter_mut().for_each(|value| *value >>= shift);
                }
                divisor => plain.values.iter_mut().for_each(|value| *value /= divisor),
            }
        }
        differences(&plain.values, &mut first.values);
        differences(&first.values, &mut second.values);
        let n_orders = values.len().min(self.residuals.len());
        self.order = 0;
        for order in 0..n_orders {
            self.residuals[order].assess(order);
            if self.residuals[order].cost_bits < self.residuals[self.order].cost_bits {
                self.order = order;
            }
        }
        let multiplier_bits = if multiplier > 1 { bits_of_uvarint(multiplier) } else { 0 };
        8 + bits_of_varint(self.origin) + multiplier_bits + self.residuals[self.order].cost_bits
    }

    /// What the integers planned last were divided by.
    pub(super) fn multiplier(&self) -> i64 {
        self.multiplier.cast_signed()
    }

    /// Appends the column that was planned last.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) {
        let Self { origin, multiplier, order, .. } = *self;
        let residuals = &self.residuals[order];
        let n = residuals.values.len();
        let is_varied = residuals.bounds.iter().any(|(low, high)| low != high);
        let table = (residuals.is_binned && is_varied).then(|| {
            let counts = residuals.counts.first_chunk().expect("assessed before");
            Table::from_counts(counts, n)
        });
        let mut kind = u8::try_from(order).expect("at most two");
        kind |= if multiplier > 1 { HAS_MULTIPLIER } else { 0 };
        kind |= if table.is_some() { HAS_TABLE } else { 0 };
        out.push(kind);
        put_varint(out, origin);
        if multiplier > 1 {
            put_uvarint(out, multiplier);
        }
        if let Some(table) = &table {
            table.write(out);
        }
        let encoder = table.as_ref().map(binned::Encoder::new);
        let mut seed = Seed::default();
        for (vector, start) in (0..n).step_by(VECTOR).enumerate() {
            let end = (start + VECTOR).min(n);
            let before = if vector == 0 { self.first_seed() } else { self.seed_at(start) };
            if order >= 1 && vector > 0 {
                put_varint(out, before.value.wrapping_sub(seed.value));
            }
            if order == 2 {
                put_varint(out, before.delta.wrapping_sub(seed.delta));
            }
            seed = before;
            let coding = encoder.as_ref().zip(table.as_ref());
            self.write_vector(vector, start..end, coding, out);
        }
    }

    /// What the residuals of the vector that begins at `start` continue from.
    fn seed_at(&self, start: usize) -> Seed {
        let [plain, first, _] = &self.residuals;
        Seed { value: plain.values[start - 1], delta: first.values[start - 1] }
    }

    /// In front of the first vector only the first difference is told: whatever else there is
    /// follows from the residuals that do not exist counting as zero.
    fn first_seed(&self) -> Seed {
        let delta = self.residuals[1].values.get(1).copied().unwrap_or_default();
        Seed { value: 0, delta }
    }

    fn write_vector(
        &mut self,
        vector: usize,
        range: Range<usize>,
        coding: Option<(&binned::Encoder, &Table)>,
        out: &mut Vec<u8>,
    ) {
        let residuals = &self.residuals[self.order];
        let (low, high) = residuals.bounds[vector];
        let n_fixed = if vector == 0 { self.order } else { 0 };
        let is_last = range.end == residuals.values.len();
        let own = &residuals.values[range.start + n_fixed..range.end];
        if low == high {
            out.push(0);
            put_varint(out, low);
            return;
        }
        let width = width_of(low, high);
        if let Some((encoder, table)) = coding {
            let centre = residuals.centre;
            let zigzags = own.iter().map(|value| to_zig_zag(value.wrapping_sub(centre)));
            self.zigzags.clear();
            self.zigzags.extend(std::iter::repeat_n(0, n_fixed).chain(zigzags));
            let mut counts = [0; N_CLASSES];
            self.zigzags.iter().for_each(|&zigzag| counts[class_of(zigzag)] += 1);
            let packed_bits = range.len() as u64 * u64::from(width);
            if table.covers(&counts) && table.cost(&counts) / 256 < packed_bits {
                out.push(BINNED);
                put_varint(out, centre);
                let mut body = Vec::new();
                let body = if is_last { &mut *out } else { &mut body };
                encoder.encode(&self.zigzags, &mut self.steps, body);
                if !is_last {
                    let body = std::mem::take(body);
                    put_uvarint(out, body.len() as u64);
                    out.extend_from_slice(&body);
                }
                return;
            }
        }
        out.push(width.to_le_bytes()[0]);
        put_varint(out, low);
        let offsets = own.iter().map(|value| value.wrapping_sub(low).cast_unsigned());
        pack(std::iter::repeat_n(0, n_fixed).chain(offsets), width, out);
    }
}

impl Residuals {
    /// Estimates what these residuals cost; the first `order` of them do not exist.
    fn assess(&mut self, order: usize) {
        let Self { values, centre, bounds, counts, .. } = self;
        *centre = median(&values[order..]);
        counts.clear();
        counts.resize(N_CLASSES, 0);
        counts[0] = u32::try_from(order).expect("at most two");
        bounds.clear();
        let mut packed_bits = 0;
        for start in (0..values.len()).step_by(VECTOR) {
            let end = (start + VECTOR).min(values.len());
            let own = &values[start.max(order).min(end)..end];
            let (mut low, mut high) = (i64::MAX, i64::MIN);
            for &value in own {
                low = low.min(value);
                high = high.max(value);
                counts[class_of(to_zig_zag(value.wrapping_sub(*centre)))] += 1;
            }
            if own.is_empty() {
                (low, high) = (0, 0);
            }
            let seeds = if start == 0 { 0 } else { order as u64 * 16 };
            packed_bits += (end - start) as u64 * u64::from(width_of(low, high));
            packed_bits += 8 + bits_of_varint(low) + seeds;
            bounds.push((low, high));
        }
        let binned_bits = entropy_bits(counts, values.len()) + 8 + bits_of_varint(*centre);
        // Packed residuals are read twice as fast, which is worth a little space.
        self.is_binned = binned_bits + binned_bits / 32 < packed_bits;
        self.cost_bits = if self.is_binned { binned_bits } else { packed_bits };
        if order == 2 {
            self.cost_bits += bits_of_varint(values.get(2).copied().unwrap_or_default());
        }
    }
}

/// Bits that integers take if their classes are coded as well as can be, the table included.
fn entropy_bits(counts: &[u32], n: usize) -> u64 {
    let total = log2(u32::try_from(n.max(1)).expect("at most 8,192"));
    let mut bits = 0;
    let mut span = (usize::MAX, 0);
    for (class, &count) in counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
        let extra = u32::try_from(class).expect("at most 64").saturating_sub(1) << 8;
        bits += u64::from(count) * u64::from(total - log2(count) + extra);
        span = (span.0.min(class), class);
    }
    bits / 256 + 24 + 4 * (span.1.saturating_sub(span.0) as u64 + 1) + 28
}

/// Bits that the difference of two integers has.
fn width_of(low: i64, high: i64) -> u32 {
    64 - high.wrapping_sub(low).cast_unsigned().leading_zeros()
}

fn bits_of_uvarint(value: u64) -> u64 {
    u64::from((64 - (value | 1).leading_zeros()).div_ceil(7)) * 8
}

fn bits_of_varint(value: i64) -> u64 {
    bits_of_uvarint(to_zig_zag(value))
}

/// The median of a few of them, evenly spaced.
fn median(values: &[i64]) -> i64 {
    let mut probes = [0; PROBES];
    let n = values.len().min(PROBES);
    for (i, probe) in probes[..n].iter_mut().enumerate() {
        *probe = values[i * values.len() / n];
    }
    probes[..n].sort_unstable();
    probes[..n].get(n / 2).copied().unwrap_or_default()
}

/// Differences to the integer before; to zero for the first one.
fn differences(values: &[i64], out: &mut Vec<i64>) {
    out.clear();
    let mut last = 0;
    out.extend(values.iter().map(|&value| value.wrapping_sub(std::mem::replace(&mut last, value))));
}

/// What all differences to `origin` are multiples of; 1 if they are all zero.
fn common_divisor(values: &[i64], origin: i64) -> u64 {
    let mut divisor = 0_u64;
    for value in values {
        let mut rest = value.wrapping_sub(origin).unsigned_abs();
        if divisor.is_power_of_two() && rest & (divisor - 1) == 0 {
            continue;
        }
        while rest != 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        if divisor == 1 {
            break;
        }
    }
    if divisor > 1 && !fits(values) {
        // Differences wrap around 2^64, of which only powers of two are divisors.
        divisor = 1 << divisor.trailing_zeros();
    }
    // The only multiple of 2^63 beside zero is its own negative.
    if divisor > i64::MAX.unsigned_abs() { 1 } else { divisor.max(1) }
}

/// Tells whether all differences fit 64 bits with sign.
fn fits(values: &[i64]) -> bool {
    let min = values.iter().min().copied().unwrap_or_default();
    let max = values.iter().max().copied().unwrap_or_default();
    max.checked_sub(min).is_some()
}

/// What the residuals of a vector continue from: the integer before and the difference before.
#[derive(Clone, Copy, Debug, Default)]
struct Seed {
    value: i64,
    delta: i64,
}

/// One vector as found in a column.
#[derive(Clone, Copy, Debug, Default)]
struct Vector<'a> {
    seed: Seed,
    code: u8,
    base: i64,
    data: &'a [u8],
}

/// A column to be read.
#[derive(Clone, Debug)]
pub(super) struct IntColumn<'a> {
    order: u8,
    origin: i64,
    multiplier: i64,
    table: Option<Table>,
    n: usize,
    n_vectors: usize,
    vectors: [Vector<'a>; MAX_VECTORS],
}

impl<'a> IntColumn<'a> {
    /// Finds the parts of a column of `n` integers that takes all that is left.
    pub(super) fn parse(cursor: &mut Cursor<'a>, n: usize) -> Result<Self, Error> {
        let offset = cursor.offset();
        let kind = cursor.u8()?;
        let order = kind & ORDER_MASK;
        if order > 2 || kind > (ORDER_MASK | HAS_MULTIPLIER | HAS_TABLE) || n > MAX_SAMPLES {
            return Err(Error::Columnar { offset, field: ColumnField::Kind, found: kind.into() });
        }
        let origin = cursor.varint()?;
        let multiplier =
            if kind & HAS_MULTIPLIER == 0 { 1 } else { cursor.uvarint()?.cast_signed() };
        let table = if kind & HAS_TABLE == 0 { None } else { Some(Table::read(cursor)?) };
        let mut column = Self {
            order,
            origin,
            multiplier,
            table,
            n,
            n_vectors: n.div_ceil(VECTOR),
            vectors: Default::default(),
        };
        let mut seed = Seed::default();
        for vector in 0..column.n_vectors {
            column.vectors[vector] = column.parse_vector(cursor, vector, &mut seed)?;
        }
        Ok(column)
    }

    fn parse_vector(
        &self,
        cursor: &mut Cursor<'a>,
        vector: usize,
        last: &mut Seed,
    ) -> Result<Vector<'a>, Error> {
        if self.order >= 1 && vector > 0 {
            last.value = last.value.wrapping_add(cursor.varint()?);
        }
        if self.order == 2 {
            last.delta = last.delta.wrapping_add(cursor.varint()?);
        }
        let mut seed = *last;
        let offset = cursor.offset();
        let code = cursor.u8()?;
        let base = cursor.varint()?;
        let n = self.len_of(vector);
        let is_last = vector + 1 == self.n_vectors;
        let data = match code {
            0 => &[],
            BINNED if self.table.is_some() && is_last => cursor.bytes(cursor.remaining())?,
            BINNED if self.table.is_some() => cursor.prefixed_bytes()?,
            1..=64 => cursor.bytes(packed_len(n, code.into()))?,
            found => {
                let field = ColumnField::VectorCode;
                return Err(Error::Columnar { offset, field, found: found.into() });
            }
        };
        if vector == 0 {
            // The residuals that do not exist are the base.
            match self.order {
                1 => seed.value = base.wrapping_neg(),
                2 => {
                    let delta = seed.delta.wrapping_sub(base);
                    seed = Seed { value: delta.wrapping_neg(), delta: delta.wrapping_sub(base) };
                }
                _ => {}
            }
        }
        Ok(Vector { seed, code, base, data })
    }

    fn len_of(&self, vector: usize) -> usize {
        (self.n - vector * VECTOR).min(VECTOR)
    }

    /// The first integer.
    pub(super) fn origin(&self) -> i64 {
        self.origin
    }

    /// The difference between neighbours that the column was divided by.
    pub(super) fn multiplier(&self) -> i64 {
        self.multiplier
    }

    /// The integer in front of a vector, if the column tells without being decoded.
    pub(super) fn before(&self, vector: usize) -> Option<i64> {
        let found = (self.order > 0 && vector > 0).then(|| self.vectors.get(vector))??;
        Some(found.seed.value.wrapping_mul(self.multiplier).wrapping_add(self.origin))
    }

    /// Fills `out` with the integers whose indexes are in `range`, of which there are as many.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the data of a vector ends early.
    pub(super) fn decode(&self, range: Range<usize>, out: &mut [i64]) -> Result<(), Error> {
        debug_assert!(range.end <= self.n && range.len() == out.len(), "the caller made room");
        let mut decoder = None;
        let mut out = out;
        let mut at = range.start;
        while at < range.end {
            let vector = at / VECTOR;
            let start = vector * VECTOR;
            let end = range.end.min(start + self.len_of(vector));
            let (own, rest) = out.split_at_mut(end - at);
            out = rest;
            self.decode_vector(vector, at - start, own, &mut decoder)?;
            at = end;
        }
        Ok(())
    }

    /// Fills `out` with integers of one vector from index `skip` in it.
    fn decode_vector(
        &self,
        vector: usize,
        skip: usize,
        out: &mut [i64],
        decoder: &mut Option<binned::Decoder>,
    ) -> Result<(), Error> {
        let Vector { mut seed, code, mut base, .. } = self.vectors[vector];
        let is_scaled = self.multiplier != 1;
        if !is_scaled {
            match self.order {
                0 => base = base.wrapping_add(self.origin),
                _ => seed.value = seed.value.wrapping_add(self.origin),
            }
        }
        // Packed integers themselves are found where they are; all else needs what is in front.
        if skip == 0 || (self.order == 0 && code != BINNED) {
            self.read_residuals(vector, skip, out, decoder)?;
            integrate(self.order, code, seed, base, out);
        } else {
            let mut all = [0; VECTOR];
            let all = &mut all[..skip + out.len()];
            self.read_residuals(vector, 0, all, decoder)?;
            integrate(self.order, code, seed, base, all);
            out.copy_from_slice(&all[skip..]);
        }
        if is_scaled {
            let (origin, multiplier) = (self.origin, self.multiplier);
            for value in out {
                *value = value.wrapping_mul(multiplier).wrapping_add(origin);
            }
        }
        Ok(())
    }

    fn read_residuals(
        &self,
        vector: usize,
        skip: usize,
        out: &mut [i64],
        decoder: &mut Option<binned::Decoder>,
    ) -> Result<(), Error> {
        let Vector { code, data, .. } = self.vectors[vector];
        match (code, &self.table) {
            (BINNED, Some(table)) => {
                let decoder = decoder.get_or_insert_with(|| binned::Decoder::new(table));
                let needed = decoder.decode(data, self.len_of(vector), out).div_ceil(8);
                if needed > data.len() {
                    let available = data.len();
                    return Err(Error::Truncated { offset: 0, needed, available });
                }
            }
            (0, _) => {}
            (width, _) if skip == 0 => unpack(data, width.into(), out),
            (width, _) => unpack_from(data, width.into(), skip, out),
        }
        Ok(())
    }
}

/// Turns residuals into integers.
fn integrate(order: u8, code: u8, seed: Seed, base: i64, out: &mut [i64]) {
    match code {
        0 => sum_up(order, seed, out, |_| base),
        BINNED => {
            sum_up(order, seed, out, |raw| from_zig_zag(raw.cast_unsigned()).wrapping_add(base))
        }
        _ => sum_up(order, seed, out, |raw| raw.wrapping_add(base)),
    }
}

#[inline(always)]
fn sum_up(order: u8, seed: Seed, out: &mut [i64], residual: impl Fn(i64) -> i64) {
    let Seed { mut value, mut delta } = seed;
    match order {
        0 => out.iter_mut().for_each(|raw| *raw = residual(*raw)),
        1 => {
            for raw in out {
                value = value.wrapping_add(residual(*raw));
                *raw = value;
            }
        }
        _ => {
            for raw in out {
                delta = delta.wrapping_add(residual(*raw));
                value = value.wrapping_add(delta);
                *raw = value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[i64]) -> usize {
        let mut encoder = IntEncoder::default();
        let cost_bits = encoder.plan(values);
        let mut data = Vec::new();
        encoder.write(&mut data);
        let column = IntColumn::parse(&mut Cursor::new(&data), values.len()).unwrap();
        let mut out = vec![0; values.len()];
        column.decode(0..values.len(), &mut out).unwrap();
        assert_eq!(out, values);
        for range in [0..1, values.len() / 3..values.len() / 2, values.len() - 1..values.len()] {
            let out = &mut out[..range.len()];
            column.decode(range.clone(), out).unwrap();
            assert_eq!(out, &values[range]);
        }
        let estimate = usize::try_from(cost_bits / 8).unwrap();
        assert!(estimate.abs_diff(data.len()) <= 24 + data.len() / 4, "{estimate} {}", data.len());
        data.len()
    }

    #[test]
    fn regular_integers_take_next_to_nothing() {
        let times: Vec<i64> = (0..8192).map(|i| 1_700_000_000_000 + i * 15_000).collect();
        assert!(round_trip(&times) <= 64);
        assert!(round_trip(&times[..480]) <= 12);
        assert_eq!(round_trip(&[7; 480]), 4);
    }

    #[test]
    fn common_factors_are_taken_out() {
        let pages: Vec<i64> = (0..480).map(|i| 10_000_000 + 4096 * (i * i % 7)).collect();
        assert!(round_trip(&pages) < 480 * 3 / 8 + 20);
        round_trip(&[0, i64::MIN, 0]);
        round_trip(&[i64::MIN, 0, i64::MAX]);
    }

    proptest! {
        #[test]
        fn integers_survive(
            values in prop::collection::vec((any::<i64>(), 0_u32..64), 1..60),
            narrow in 0_u32..64,
            repeat in 1_usize..50,
        ) {
            let values: Vec<i64> = (0..repeat)
                .flat_map(|_| &values)
                .map(|&(value, width)| value >> width.max(narrow))
                .collect();
            round_trip(&values);
        }

        #[test]
        fn walks_survive(
            steps in prop::collection::vec(-100_i64..100, 1..2500),
            factor in 1_i64..10_000,
        ) {
            let mut value = 1_i64 << 40;
            let mut walk = Vec::new();
            for step in steps {
                value += step * factor;
                walk.push(value);
            }
            round_trip(&walk);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            data in prop::collection::vec(any::<u8>(), 0..200),
            n in 1_usize..3000,
        ) {
            if let Ok(column) = IntColumn::parse(&mut Cursor::new(&data), n) {
                let mut out = vec![0; n];
                let _ = column.decode(0..n, &mut out);
                let _ = column.decode(n / 2..n, &mut out[n / 2..]);
            }
        }
    }
}
