//! Choosing how a column of values is written: the smallest estimate wins.

use super::decimal::{Ints, from_ordered};
use super::dictionary::Dictionary;
use super::exceptions;
use super::ints::IntEncoder;
use super::packed::{Bits, mask};
use super::values::{
    BITS, CONSTANT, DECIMAL, DICTIONARY, HAS_EXCEPTIONS, HAS_MAX, HAS_MIN, PATCHED_CONSTANT,
    RAW_CONSTANT, RELATIVE, SPLIT, constant_int,
};
use crate::cursor::{put_f64_be, put_uvarint, put_varint};

/// Bits per value from which on other kinds than decimals and bits are tried.
const COSTLY: u64 = 20;

/// Where the bits of floats are split: behind the exponent, and within the top of the mantissa.
const CUTS: [u32; 2] = [52, 48];

/// Neighbours that a reference is tried on, in as many places.
const PROBE_RUN: usize = 24;
const PROBE_PLACES: usize = 4;

/// What a column was written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ValueKind {
    /// One value, but for exceptions.
    Constant,
    /// Integers divided by a power of ten.
    Decimal,
    /// The same, less those of another column.
    RelativeDecimal,
    /// Bits of floats as integers.
    Bits,
    /// Top and bottom bits of floats apart.
    Split,
    /// Few values, and which of them.
    Dictionary,
}

/// Integers that a column may be written relative to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference<'a> {
    pub(super) exponent: u8,
    pub(super) ints: &'a [i64],
}

/// What was chosen for a column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picked {
    pub(super) kind: ValueKind,
    /// Which of the references it is relative to.
    pub(super) reference: Option<usize>,
    /// The exponent, if others may be relative to this column.
    pub(super) exponent: Option<u8>,
}

/// Chooses the coding of columns of values and writes them; keeps its memory.
#[derive(Clone, Debug, Default)]
pub(super) struct ValueEncoder {
    decimals: Ints,
    bits: Ints,
    relative: Vec<i64>,
    high: Vec<i64>,
    dictionary: Dictionary,
    ints: IntEncoder,
}

impl ValueEncoder {
    /// Appends a column of values, of which there is at least one.
    pub(super) fn encode(
        &mut self,
        values: &[f64],
        references: &[Reference<'_>],
        out: &mut Vec<u8>,
    ) -> Picked {
        if let Some(value) = constant(values) {
            self.write_constant(value, values, out);
            return Picked { kind: ValueKind::Constant, reference: None, exponent: None };
        }
        let n = values.len() as u64;
        let exponent = self.decimals.fill_decimals(values);
        let odd_bits = exceptions::cost_bits(&self.decimals.exceptions);
        let decimal_bits = exponent.map(|_| self.ints.plan(&self.decimals.ints) + odd_bits);
        if let (Some(exponent), Some(bits)) = (exponent, decimal_bits) {
            if let Some(reference) = self.closest(exponent, references) {
                let ints = references[reference].ints;
                subtract(&self.decimals.ints, ints, &mut self.relative);
                let relative_bits = self.ints.plan(&self.relative) + 24 + odd_bits;
                if relative_bits < bits {
                    self.write_ints(RELATIVE, exponent, out);
                    let kind = ValueKind::RelativeDecimal;
                    return Picked { kind, reference: Some(reference), exponent: Some(exponent) };
                }
                self.ints.plan(&self.decimals.ints);
            }
            if bits < COSTLY * n {
                self.write_ints(DECIMAL, exponent, out);
                let kind = ValueKind::Decimal;
                return Picked { kind, reference: None, exponent: Some(exponent) };
            }
        }
        self.encode_costly(values, exponent.zip(decimal_bits), out)
    }

    /// The integers of the column written last, if it was one of decimals.
    pub(super) fn decimal_ints(&self) -> &[i64] {
        &self.decimals.ints
    }

    fn encode_costly(
        &mut self,
        values: &[f64],
        decimal: Option<(u8, u64)>,
        out: &mut Vec<u8>,
    ) -> Picked {
        let n = values.len() as u64;
        self.bits.fill_bits(values);
        let odd_bits = exceptions::cost_bits(&self.bits.exceptions);
        let bits_cost = self.ints.plan(&self.bits.ints) + odd_bits;
        let mut best = (ValueKind::Bits, bits_cost, 0);
        if let Some((_, cost)) = decimal.filter(|&(_, cost)| cost <= best.1) {
            best = (ValueKind::Decimal, cost, 0);
        }
        if best.1 > COSTLY * n && self.dictionary.fill(&self.bits.ints) {
            let cost = self.dictionary.plan(&mut self.ints) + 256 + odd_bits;
            if cost < best.1 {
                best = (ValueKind::Dictionary, cost, 0);
            }
        }
        for cut in CUTS {
            if best.1 <= u64::from(cut) * n {
                continue;
            }
            split(&self.bits.ints, cut, &mut self.high);
            let cost = self.ints.plan(&self.high) + u64::from(cut) * n + 256 + odd_bits;
            if cost < best.1 {
                best = (ValueKind::Split, cost, cut);
            }
        }
        let (kind, _, cut) = best;
        match (kind, decimal) {
            (ValueKind::Decimal, Some((exponent, _))) => {
                self.ints.plan(&self.decimals.ints);
                self.write_ints(DECIMAL, exponent, out);
                return Picked { kind, reference: None, exponent: Some(exponent) };
            }
            (ValueKind::Dictionary, _) => {
                self.put_floats_head(DICTIONARY, out);
                self.dictionary.write(&mut self.ints, out);
            }
            (ValueKind::Split, _) => self.write_split(cut, out),
            _ => {
                self.ints.plan(&self.bits.ints);
                self.write_ints(BITS, 0, out);
            }
        }
        Picked { kind, reference: None, exponent: None }
    }

    fn write_constant(&self, value: f64, values: &[f64], out: &mut Vec<u8>) {
        let others: Vec<_> = values
            .iter()
            .enumerate()
            .filter(|(_, other)| other.to_bits() != value.to_bits())
            .map(|(index, other)| (index, other.to_bits()))
            .collect();
        let kind = if others.is_empty() { CONSTANT } else { PATCHED_CONSTANT };
        match constant_int(value) {
            Some((exponent, int)) => {
                out.push(kind | exponent << 4);
                put_varint(out, int);
            }
            None => {
                out.push(kind | RAW_CONSTANT << 4);
                put_f64_be(out, value);
            }
        }
        if !others.is_empty() {
            exceptions::write(&others, out);
        }
    }

    /// Writes the column that was planned last.
    fn write_ints(&mut self, kind: u8, exponent: u8, out: &mut Vec<u8>) {
        let column = if kind == BITS { &self.bits } else { &self.decimals };
        let ints = &column.ints;
        let (first, last) = (ints[0], ints[ints.len() - 1]);
        let (mut min, mut max) = (first, first);
        for &int in ints {
            min = min.min(int);
            max = max.max(int);
        }
        let scale = if kind == RELATIVE { 1 } else { self.ints.multiplier() };
        let steps = |high: i64, low: i64| high.wrapping_sub(low) / scale;
        let below = first.min(last).wrapping_sub(min).cast_unsigned() / scale.cast_unsigned();
        let above = max.wrapping_sub(first.max(last)).cast_unsigned() / scale.cast_unsigned();
        let mut flags = if column.exceptions.is_empty() { 0 } else { HAS_EXCEPTIONS };
        flags |= if below == 0 { 0 } else { HAS_MIN };
        flags |= if above == 0 { 0 } else { HAS_MAX };
        out.extend_from_slice(&[kind | exponent << 4, flags]);
        if !column.exceptions.is_empty() {
            exceptions::write(&column.exceptions, out);
        }
        if kind == RELATIVE {
            put_varint(out, first);
        }
        put_varint(out, steps(last, first));
        if below > 0 {
            put_uvarint(out, below);
        }
        if above > 0 {
            put_uvarint(out, above);
        }
        self.ints.write(out);
    }

    /// Writes kind, exceptions, and first, last, smallest and largest float of the others.
    fn put_floats_head(&self, kind: u8, out: &mut Vec<u8>) {
        let Ints { ints, exceptions } = &self.bits;
        out.extend_from_slice(&[kind, if exceptions.is_empty() { 0 } else { HAS_EXCEPTIONS }]);
        if !exceptions.is_empty() {
            exceptions::write(exceptions, out);
        }
        let min = ints.iter().min().copied().unwrap_or_default();
        let max = ints.iter().max().copied().unwrap_or_default();
        for int in [ints[0], ints[ints.len() - 1], min, max] {
            put_f64_be(out, from_ordered(int));
        }
    }

    fn write_split(&mut self, cut: u32, out: &mut Vec<u8>) {
        self.put_floats_head(SPLIT, out);
        out.push(cut.to_le_bytes()[0]);
        let mut bits = Bits::new(out);
        self.bits.ints.iter().for_each(|&int| bits.put(int.cast_unsigned() & mask(cut), cut));
        bits.finish();
        split(&self.bits.ints, cut, &mut self.high);
        self.ints.plan(&self.high);
        self.ints.write(out);
    }

    /// The reference that leaves least of the differences, if that is clearly less than them all.
    fn closest(&self, exponent: u8, references: &[Reference<'_>]) -> Option<usize> {
        let own = &self.decimals.ints;
        let mut least = probe_cost(own, None);
        least -= least / 8;
        let mut closest = None;
        for (i, reference) in references.iter().enumerate() {
            if reference.exponent == exponent && reference.ints.len() == own.len() {
                let cost = probe_cost(own, Some(reference.ints));
                if cost < least {
                    (least, closest) = (cost, Some(i));
                }
            }
        }
        closest
    }
}

/// The one value of a column, but for a few NaNs.
fn constant(values: &[f64]) -> Option<f64> {
    let value = values.iter().copied().find(|value| !value.is_nan()).or(values.first().copied())?;
    let is_like = |other: &f64| other.to_bits() == value.to_bits() || other.is_nan();
    values.iter().all(is_like).then_some(value)
}

fn subtract(ints: &[i64], others: &[i64], out: &mut Vec<i64>) {
    out.clear();
    out.extend(ints.iter().zip(others).map(|(int, other)| int.wrapping_sub(*other)));
}

/// The top bits of floats in their order.
fn split(ints: &[i64], cut: u32, high: &mut Vec<i64>) {
    high.clear();
    high.extend(ints.iter().map(|int| int >> cut));
}

/// How many bits the differences between neighbours have, in a few places.
fn probe_cost(ints: &[i64], reference: Option<&[i64]>) -> u32 {
    let mut cost = 0;
    let n = ints.len();
    for place in 0..PROBE_PLACES {
        let start = n.saturating_sub(PROBE_RUN) * place / (PROBE_PLACES - 1);
        let end = (start + PROBE_RUN).min(n);
        for i in start + 1..end {
            let mut step = ints[i].wrapping_sub(ints[i - 1]);
            if let Some(others) = reference {
                step = step.wrapping_sub(others[i].wrapping_sub(others[i - 1]));
            }
            cost += 64 - step.unsigned_abs().leading_zeros();
        }
    }
    cost
}
