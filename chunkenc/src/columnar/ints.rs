//! Columns of integers: what timestamps, values and counts are turned into.
//!
//! A column is an origin, a multiplier, and residuals: of the integers themselves, of their
//! differences, or of the differences of those. Vectors of 1,024 residuals are coded each on its
//! own, as all alike, packed or binned, and begin with what the residuals continue from, so that
//! one is decoded without the others.

use std::ops::Range;

use super::binned::{self, N_CLASSES, Table, class_of, log2};
use super::packed::{pack, packed_len, unpack, unpack_from};
use super::{ColumnField, MAX_SAMPLES, VECTOR, vectorized};
use crate::Error;
use crate::cursor::{Cursor, from_zig_zag, put_uvarint, put_varint, to_zig_zag};

/// Bits of the kind byte.
const ORDER_MASK: u8 = 3;
const HAS_MULTIPLIER: u8 = 4;
const HAS_TABLE: u8 = 8;

/// Codes of vectors: 0 all alike, 1 to 64 the width of packed residuals.
const BINNED: u8 = 65;

/// Residuals that the median is estimated of.
const PROBES: usize = 31;

/// The same where only orders are compared.
const PROXY_PROBES: usize = 9;

/// Residuals of the order that was chosen.
#[derive(Clone, Debug, Default)]
struct Assessment {
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
    residuals: [Vec<i64>; 3],
    assessment: Assessment,
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
        subtract_all(values, origin, plain);
        divide_all(plain, multiplier);
        differences(plain, first);
        self.order = match first.get(1..) {
            None | Some([]) => 0,
            Some(steps) if is_uniform(steps) => usize::from(steps[0] != 0),
            Some(_) => {
                differences(first, second);
                self.cheapest_order(values.len())
            }
        };
        // Where the steps are all the same there was no need for theirs.
        if self.order < 2 {
            self.residuals[2].resize(values.len(), 0);
        }
        self.assessment.assess(&self.residuals[self.order], self.order);
        let multiplier_bits = if multiplier > 1 { bits_of_uvarint(multiplier) } else { 0 };
        8 + bits_of_varint(self.origin) + multiplier_bits + self.assessment.cost_bits
    }

    /// The order whose residuals have the fewest bits together.
    fn cheapest_order(&self, n: usize) -> usize {
        let bits = |order: usize| {
            let residuals = &self.residuals[order][order..];
            sum_of_classes(residuals, median::<PROXY_PROBES>(residuals))
        };
        // Of orders that are alike the lowest is read fastest.
        (0..n.min(3)).min_by_key(|&order| bits(order)).unwrap_or(0)
    }

    /// What the integers planned last were divided by.
    pub(super) fn multiplier(&self) -> i64 {
        self.multiplier.cast_signed()
    }

    /// Appends the column that was planned last.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) {
        let Self { origin, multiplier, order, assessment, .. } = &*self;
        let (origin, multiplier, order) = (*origin, *multiplier, *order);
        let n = self.residuals[order].len();
        let is_varied = assessment.bounds.iter().any(|(low, high)| low != high);
        let table = (assessment.is_binned && is_varied).then(|| {
            let counts = assessment.counts.first_chunk().expect("assessed before");
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
        Seed { value: plain[start - 1], delta: first[start - 1] }
    }

    /// In front of the first vector only the first difference is told: whatever else there is
    /// follows from the residuals that do not exist counting as zero.
    fn first_seed(&self) -> Seed {
        let delta = self.residuals[1].get(1).copied().unwrap_or_default();
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
        let (low, high) = self.assessment.bounds[vector];
        let n_fixed = if vector == 0 { self.order } else { 0 };
        let is_last = range.end == residuals.len();
        let own = &residuals[range.start + n_fixed..range.end];
        if low == high {
            out.push(0);
            put_varint(out, low);
            return;
        }
        let width = width_of(low, high);
        if let Some((encoder, table)) = coding {
            let centre = self.assessment.centre;
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

impl Assessment {
    /// Estimates what residuals cost, of which the first `order` do not exist.
    fn assess(&mut self, values: &[i64], order: usize) {
        let Self { centre, bounds, counts, .. } = self;
        counts.clear();
        counts.resize(N_CLASSES, 0);
        counts[0] = u32::try_from(order).expect("at most two");
        bounds.clear();
        let mut packed_bits = 0;
        for start in (0..values.len()).step_by(VECTOR) {
            let end = (start + VECTOR).min(values.len());
            let own = &values[start.max(order).min(end)..end];
            let (low, high) = bounds_of(own);
            let seeds = if start == 0 { 0 } else { order as u64 * 16 };
            packed_bits += (end - start) as u64 * u64::from(width_of(low, high));
            packed_bits += 8 + bits_of_varint(low) + seeds;
            bounds.push((low, high));
        }
        (self.is_binned, self.cost_bits) = (false, packed_bits);
        if bounds.iter().any(|(low, high)| low != high) {
            *centre = median::<PROBES>(&values[order..]);
            for value in &values[order..] {
                counts[class_of(to_zig_zag(value.wrapping_sub(*centre)))] += 1;
            }
            let binned_bits = entropy_bits(counts, values.len()) + 8 + bits_of_varint(*centre);
            // Packed residuals are read twice as fast, which is worth a little space.
            if binned_bits + binned_bits / 16 < packed_bits {
                (self.is_binned, self.cost_bits) = (true, binned_bits);
            }
        }
        if order == 2 {
            self.cost_bits += bits_of_varint(values.get(2).copied().unwrap_or_default());
        }
    }
}

fn subtract_all(values: &[i64], origin: i64, out: &mut Vec<i64>) {
    out.clear();
    vectorized(
        #[inline(always)]
        || out.extend(values.iter().map(|value| value.wrapping_sub(origin))),
    );
}

fn divide_all(values: &mut [i64], divisor: u64) {
    let shift = divisor.trailing_zeros();
    match divisor.cast_signed() {
        1 => {}
        _ if divisor.is_power_of_two() => values.iter_mut().for_each(|value| *value >>= shift),
        divisor => values.iter_mut().for_each(|value| *value /= divisor),
    }
}

fn is_uniform(values: &[i64]) -> bool {
    let (low, high) = bounds_of(values);
    low == high
}

/// Smallest and largest; zeros if there are none.
fn bounds_of(values: &[i64]) -> (i64, i64) {
    let Some(&first) = values.first() else { return (0, 0) };
    vectorized(
        #[inline(always)]
        || {
            let (mut low, mut high) = (first, first);
            for &value in values {
                low = low.min(value);
                high = high.max(value);
            }
            (low, high)
        },
    )
}

/// How many bits integers have together, zig-zag mapped about `centre`.
fn sum_of_classes(values: &[i64], centre: i64) -> u64 {
    vectorized(
        #[inline(always)]
        || {
            let mut sum = 0;
            for &value in values {
                let zigzag = to_zig_zag(value.wrapping_sub(centre));
                sum += u64::from(64 - zigzag.leading_zeros());
            }
            sum
        },
    )
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

/// The median of `N` of them, evenly spaced.
fn median<const N: usize>(values: &[i64]) -> i64 {
    let mut probes = [0; N];
    let n = values.len().min(N);
    for (i, probe) in probes[..n].iter_mut().enumerate() {
        *probe = values[i * values.len() / n];
    }
    probes[..n].sort_unstable();
    probes[..n].get(n / 2).copied().unwrap_or_default()
}

/// Differences to the integer before; to zero for the first one.
fn differences(values: &[i64], out: &mut Vec<i64>) {
    out.clear();
    out.extend(values.first());
    vectorized(
        #[inline(always)]
        || out.extend(values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]))),
    );
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
#[derive(Clone, Copy, Debug)]
struct Vector<'a> {
    seed: Seed,
    code: u8,
    base: i64,
    data: &'a [u8],
    /// Where `data` begins in the slice that the column was found in.
    offset: usize,
    /// Number of integers.
    n: usize,
}

/// A column to be read.
#[derive(Clone, Debug)]
pub(super) struct IntColumn<'a> {
    order: u8,
    origin: i64,
    multiplier: i64,
    has_table: bool,
    n: usize,
    /// Behind the multiplier.
    rest: Cursor<'a>,
}

impl<'a> IntColumn<'a> {
    /// Finds the head of a column of `n` integers that takes all that is left.
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
        let has_table = kind & HAS_TABLE != 0;
        let rest = cursor.clone();
        cursor.skip(cursor.remaining())?;
        Ok(Self { order, origin, multiplier, has_table, n, rest })
    }

    /// Starts in front of the first vector.
    fn vectors(&self) -> Result<Vectors<'a, '_>, Error> {
        let mut cursor = self.rest.clone();
        let table = if self.has_table { Some(Table::read(&mut cursor)?) } else { None };
        Ok(Vectors { column: self, cursor, seed: Seed::default(), read: 0, table, decoder: None })
    }

    /// The first integer.
    pub(super) fn origin(&self) -> i64 {
        self.origin
    }

    /// The difference between neighbours that the column was divided by.
    pub(super) fn multiplier(&self) -> i64 {
        self.multiplier
    }

    /// The integers in front of each vector but the first; none if the column does not tell them
    /// without being decoded.
    pub(super) fn borders(&self) -> Result<Vec<i64>, Error> {
        let mut vectors = self.vectors()?;
        let mut borders = Vec::new();
        while self.order > 0 && vectors.read < self.n {
            let Vector { seed, .. } = vectors.next()?;
            if vectors.read > VECTOR {
                borders.push(seed.value.wrapping_mul(self.multiplier).wrapping_add(self.origin));
            }
        }
        Ok(borders)
    }

    /// Fills `out` with the integers whose indexes are in `range`, of which there are as many.
    ///
    /// # Errors
    /// What is wrong with the vectors up to the last of these integers.
    pub(super) fn decode(&self, range: Range<usize>, out: &mut [i64]) -> Result<(), Error> {
        debug_assert!(range.end <= self.n && range.len() == out.len(), "the caller made room");
        let mut vectors = self.vectors()?;
        let mut out = out;
        while !out.is_empty() {
            let start = vectors.read;
            let vector = vectors.next()?;
            let end = vectors.read.min(range.end);
            if end > range.start {
                let skip = range.start.saturating_sub(start);
                let (own, rest) = out.split_at_mut(end - start - skip);
                out = rest;
                vectors.decode(&vector, skip, own)?;
            }
        }
        Ok(())
    }
}

/// Walks the vectors of a column.
struct Vectors<'a, 'c> {
    column: &'c IntColumn<'a>,
    cursor: Cursor<'a>,
    /// That of the last vector.
    seed: Seed,
    /// Number of integers in the vectors passed.
    read: usize,
    table: Option<Table>,
    decoder: Option<binned::Decoder>,
}

impl<'a> Vectors<'a, '_> {
    /// Finds the parts of the next vector, of which there must be one.
    fn next(&mut self) -> Result<Vector<'a>, Error> {
        let Self { column, cursor, seed: last, .. } = self;
        let is_first = self.read == 0;
        let n = (column.n - self.read).min(VECTOR);
        if column.order >= 1 && !is_first {
            last.value = last.value.wrapping_add(cursor.varint()?);
        }
        if column.order == 2 {
            last.delta = last.delta.wrapping_add(cursor.varint()?);
        }
        let mut seed = *last;
        let offset = cursor.offset();
        let code = cursor.u8()?;
        let base = cursor.varint()?;
        let is_last = self.read + n == column.n;
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
        if is_first {
            // The residuals that do not exist are the base.
            match column.order {
                1 => seed.value = base.wrapping_neg(),
                2 => {
                    let delta = seed.delta.wrapping_sub(base);
                    seed = Seed { value: delta.wrapping_neg(), delta: delta.wrapping_sub(base) };
                }
                _ => {}
            }
        }
        self.read += n;
        let offset = cursor.offset() - data.len();
        Ok(Vector { seed, code, base, data, offset, n })
    }

    /// Fills `out` with integers of a vector from index `skip` in it.
    fn decode(&mut self, vector: &Vector<'_>, skip: usize, out: &mut [i64]) -> Result<(), Error> {
        let IntColumn { order, origin, multiplier, .. } = *self.column;
        let Vector { mut seed, code, mut base, .. } = *vector;
        let is_scaled = multiplier != 1;
        if !is_scaled {
            match order {
                0 => base = base.wrapping_add(origin),
                _ => seed.value = seed.value.wrapping_add(origin),
            }
        }
        // Packed integers themselves are found where they are; all else needs what is in front.
        if skip == 0 || (order == 0 && code != BINNED) {
            self.read_residuals(vector, skip, out)?;
            integrate(order, code, seed, base, out);
        } else {
            let mut all = [0; VECTOR];
            let all = &mut all[..skip + out.len()];
            self.read_residuals(vector, 0, all)?;
            integrate(order, code, seed, base, all);
            out.copy_from_slice(&all[skip..]);
        }
        if is_scaled {
            scale(origin, multiplier, out);
        }
        Ok(())
    }

    fn read_residuals(
        &mut self,
        vector: &Vector<'_>,
        skip: usize,
        out: &mut [i64],
    ) -> Result<(), Error> {
        let &Vector { code, data, offset, n, .. } = vector;
        match (code, &self.table) {
            (BINNED, Some(table)) => {
                let decoder = self.decoder.get_or_insert_with(|| binned::Decoder::new(table));
                let needed = decoder.decode(data, n, out).div_ceil(8);
                if needed > data.len() {
                    let available = data.len();
                    return Err(Error::Truncated { offset, needed, available });
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
    vectorized(
        #[inline(always)]
        || match code {
            0 if order < 2 => fill(order, seed, base, out),
            0 => sum_up(order, seed, out, |_| base),
            BINNED => {
                sum_up(order, seed, out, |raw| from_zig_zag(raw.cast_unsigned()).wrapping_add(base))
            }
            _ => sum_up(order, seed, out, |raw| raw.wrapping_add(base)),
        },
    );
}

#[inline(always)]
fn fill(order: u8, seed: Seed, base: i64, out: &mut [i64]) {
    if order == 0 {
        return out.fill(base);
    }
    for (value, i) in out.iter_mut().zip(1_i64..) {
        *value = seed.value.wrapping_add(base.wrapping_mul(i));
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

fn scale(origin: i64, multiplier: i64, out: &mut [i64]) {
    vectorized(
        #[inline(always)]
        || {
            for value in out {
                *value = value.wrapping_mul(multiplier).wrapping_add(origin);
            }
        },
    );
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
