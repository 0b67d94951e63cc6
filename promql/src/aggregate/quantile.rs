//! `quantile`: the floats of each group at each step are kept, for they must be sorted.

use super::histograms::note_ignored;
use super::table::Groups;
use crate::exec::batch::{Column, Grid, SeriesMeta};
use crate::exec::{BoxOperator, Context, Operator, Scalar, read_all};
use crate::functions::{math, over_time};
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
    Box::new(Quantile { input, input_span, groups, values, q, grid, held: 0, context })
}

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
    context: Context,
}

impl Quantile {
    fn collect(&mut self) -> Result<(), Error> {
        let Some(mut input) = self.input.take() else { return Ok(()) };
        let n_lists = self.groups.metas.len().saturating_mul(self.grid.len);
        self.context.limits.hold(n_lists)?;
        self.held = n_lists;
        self.values = vec![vec![Vec::new(); self.grid.len]; self.groups.metas.len()];
        let (groups, values, held) = (&self.groups.of_series, &mut self.values, &mut self.held);
        let limits = &self.context.limits;
        read_all(&mut *input, &self.context, |index, column| {
            if column.has_histograms() {
                note_ignored("quantile", self.input_span, &self.context);
            }
            let count = column.count();
            *held += count;
            limits.hold(count)?;
            let steps = &mut values[groups[index]];
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
        out.reset(self.grid.len);
        for (step, values) in self.values[index].iter_mut().enumerate() {
            if !values.is_empty() {
                out.set(step, over_time::quantile(self.q.at(step), values));
            }
        }
        Ok(())
    }
}

impl Drop for Quantile {
    fn drop(&mut self) {
        self.context.limits.release(self.held);
    }
}
