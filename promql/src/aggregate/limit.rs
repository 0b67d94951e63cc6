//! `limitk` and `limit_ratio`: a sample of the series, whatever their values.

use ferula_index::Labels;
use xxhash_rust::xxh64::xxh64;

use super::Counts;
use super::table::Groups;
use crate::exec::batch::{Column, Grid, Presence, SeriesMeta};
use crate::exec::{BoxOperator, Context, Operator, Scalar};
use crate::ledger::Charge;
use crate::{AnnotationKind, Error, ParameterError, Span};

/// Makes the operator of `limitk`: the first series of each group that have a value.
pub(super) fn first(
    input: BoxOperator,
    groups: Groups,
    counts: Counts,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let mut charge = context.charge("series taken of groups");
    let of_group = grid.len.saturating_mul(size_of::<usize>()).saturating_add(32);
    charge.add_each(groups.metas.len(), of_group)?;
    charge.add_each(input.series().len(), 2 * size_of::<Presence>() + grid.len / 8 + 16)?;
    let taken = vec![vec![0; grid.len]; groups.metas.len()];
    let masks = Vec::new();
    Ok(Box::new(LimitK { input, groups, counts, grid, taken, masks, _charge: charge }))
}

struct LimitK {
    input: BoxOperator,
    groups: Groups,
    counts: Counts,
    grid: Grid,
    /// Number of series taken per group and step, among those in `masks`.
    taken: Vec<Vec<usize>>,
    /// Steps at which the series that were looked at are taken, in order.
    masks: Vec<Presence>,
    _charge: Charge,
}

impl LimitK {
    /// Looks at the next series, which leaves in `column` what is taken of it.
    fn advance(&mut self, column: &mut Column) -> Result<(), Error> {
        let index = self.masks.len();
        if self.counts.is_zero() {
            column.reset(self.grid.len)?;
        } else {
            self.input.read(index, column)?;
        }
        let n_series = self.input.series().len();
        let taken = &mut self.taken[self.groups.of(index)];
        let counts = &self.counts;
        column.retain(|step| {
            let wanted = taken[step] < counts.at(step, n_series);
            taken[step] += usize::from(wanted);
            wanted
        });
        self.masks.push(column.presence().into_owned());
        Ok(())
    }
}

impl Operator for LimitK {
    fn series(&self) -> &[SeriesMeta] {
        self.input.series()
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        if let Some(mask) = self.masks.get(index) {
            self.input.read(index, out)?;
            out.keep(mask);
            return Ok(());
        }
        while self.masks.len() <= index {
            self.advance(out)?;
        }
        Ok(())
    }

    fn fork(&self) -> Option<BoxOperator> {
        None
    }
}

/// Makes the operator of `limit_ratio`: a part of the series, chosen by a hash of their labels.
pub(super) fn ratio(
    input: BoxOperator,
    ratio: Scalar,
    span: Span,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let all = || (0..grid.len).map(|step| ratio.at(step));
    let (mut largest, mut smallest) = (f64::MIN, f64::MAX);
    for value in all() {
        if value.is_nan() {
            return Err(Error::Parameter(ParameterError::RatioNaN));
        }
        largest = largest.max(value);
        smallest = smallest.min(value);
    }
    if largest > 1.0 {
        let kind = AnnotationKind::InvalidRatio { value: largest, capped_to: 1.0 };
        context.annotate(kind, span);
    }
    if smallest < -1.0 {
        let kind = AnnotationKind::InvalidRatio { value: smallest, capped_to: -1.0 };
        context.annotate(kind, span);
    }
    Ok(Box::new(LimitRatio { input, ratio }))
}

struct LimitRatio {
    input: BoxOperator,
    ratio: Scalar,
}

impl Operator for LimitRatio {
    fn series(&self) -> &[SeriesMeta] {
        self.input.series()
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        let place = place(&self.input.series()[index].labels);
        self.input.read(index, out)?;
        let ratio = &self.ratio;
        out.retain(|step| is_chosen(place, ratio.at(step)));
        Ok(())
    }

    fn fork(&self) -> Option<BoxOperator> {
        Some(Box::new(Self { input: self.input.fork()?, ratio: self.ratio.clone() }))
    }
}

/// Where the labels of a series fall between 0 and 1.
///
/// The hash is that of Prometheus's usual build, so that both choose the same series: XXH64 over
/// names and values, each behind its length, in one byte or, behind 255, in three.
#[expect(clippy::cast_precision_loss, reason = "the lowest bits do not matter")]
fn place(labels: &Labels) -> f64 {
    let mut packed = Vec::with_capacity(labels.size_bytes() + 8);
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        let len = text.len().to_le_bytes();
        match u8::try_from(text.len()) {
            Ok(short) if short < u8::MAX => packed.push(short),
            _ => packed.extend([u8::MAX, len[0], len[1], len[2]]),
        }
        packed.extend_from_slice(text.as_bytes());
    }
    xxh64(&packed, 0) as f64 / u64::MAX as f64
}

/// A positive ratio takes from below, a negative one what its complement leaves.
fn is_chosen(place: f64, ratio: f64) -> bool {
    let ratio = ratio.clamp(-1.0, 1.0);
    (ratio > 0.0 && place < ratio) || (ratio < 0.0 && place >= 1.0 + ratio)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_and_its_complement_take_each_series_once() {
        // Ratios whose complements are exact.
        for place in [0.0, 0.2, 0.25, 0.250_001, 0.9] {
            assert!(is_chosen(place, 0.25) != is_chosen(place, -0.75));
            assert!(is_chosen(place, 1.5) && is_chosen(place, -1.0) && !is_chosen(place, 0.0));
        }
    }
}
