//! `quantile`: the floats of each group at each step are kept, for they must be sorted.

use super::histograms::note_ignored;
use super::table::Groups;
use crate::exec::batch::{Column, Grid, SeriesMeta};
use crate::exec::{BoxOperator, Context, Operator, Scalar, read_all};
use crate::functions::{math, over_time};
use crate::ledger::Charge;
use crate::{AnnotationKind, Error, Span};

/// Makes the operator of `quantile`.
pub(super) fn build(
    input: BoxOperator,
    groups: Groups,
    q: Scalar,
    (span, input_span): (Span, Span),
    grid: Grid,
    context: &Context,
) -> BoxOperator {
    let all = || (0..grid.len).map(|step| q.at(step));
    let doubtful = [
        all().find(|value| value.is_nan()),
        // As in Prometheus, one NaN among them hides what else is out of bounds.
        all().reduce(math::max).filter(|largest| *largest > 1.0),
        all().reduce(math::min).filter(|smallest| *smallest < 0.0),
    ];
    for value in doubtful.into_iter().flatten() {
        context.annotate(AnnotationKind::InvalidQuantile { value }, span);
    }
    let context = context.clone();
    let (input, values) = (Some(input), Vec::new());
    let charge = context.charge("values of groups");
    Box::new(Quantile { input, input_span, groups, values, q, grid, held: 0, charge, context })
}

/// Values that are sorted until time and cancellation are looked at.
const CHECK_VALUES: usize = 1 << 16;

struct Quantile {
    input: Option<BoxOperator>,
    input_span: Span,
    groups: Groups,
    /// Values by group and step, once the input was read.
    values: Vec<Vec<Vec<f64>>>,
    q: Scalar,
    grid: Grid,
    /// Number of values, and of the lists they are in.
    held: usize,
    charge: Charge,
    context: Context,
}

impl Quantile {
    fn collect(&mut self) -> Result<(), Error> {
        let Some(mut input) = self.input.take() else { return Ok(()) };
        let n_lists = self.groups.metas.len().saturating_mul(self.grid.len);
        self.context.limits.hold(n_lists)?;
        self.held = n_lists;
        // A list, and room for four values in it.
        self.charge.add_each(n_lists, size_of::<Vec<f64>>() + 4 * size_of::<f64>())?;
        self.values = vec![vec![Vec::new(); self.grid.len]; self.groups.metas.len()];
        let (groups, values, held) = (&self.groups, &mut self.values, &mut self.held);
        let charge = &mut self.charge;
        let limits = &self.context.limits;
        read_all(&mut *input, &self.context, |index, column| {
            if column.has_histograms() {
                note_ignored("quantile", self.input_span, &self.context);
            }
            let count = column.count();
            *held += count;
            limits.hold(count)?;
            // Lists grow to twice their size.
            charge.add_each(count, 2 * size_of::<f64>())?;
            let steps = &mut values[groups.of(index)];
            column.for_each(|step, value| steps[step].push(value));
            Ok(())
        })
    }
}

impl Operator for Quantile {
    fn series(&self) -> &[SeriesMeta] {
        &self.groups.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        self.collect()?;
        out.reset(self.grid.len)?;
        let mut unchecked = 0;
        for (step, values) in self.values[index].iter_mut().enumerate() {
            if !values.is_empty() {
                out.set(step, over_time::quantile(self.q.at(step), values));
            }
            unchecked += values.len();
            if unchecked >= CHECK_VALUES {
                unchecked = 0;
                self.context.limits.check()?;
            }
        }
        Ok(())
    }

    fn fork(&self) -> Option<BoxOperator> {
        None
    }
}

impl Drop for Quantile {
    fn drop(&mut self) {
        self.context.limits.release(self.held);
    }
}
