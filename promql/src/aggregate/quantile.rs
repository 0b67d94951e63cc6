//! `quantile`: the floats of each group at each step are kept, for they must be sorted.

use super::histograms::note_ignored;
use super::table::Groups;
use crate::exec::batch::{Column, Grid, SeriesMeta};
use crate::exec::{BoxOperator, Context, Operator, Scalar, read_all};
use crate::functions::{math, over_time};
use crate::ledger::Charge;
use crate::sorting::select_within;
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
    /// Values by group, once the input was read.
    values: Vec<GroupValues>,
    q: Scalar,
    grid: Grid,
    /// Number of values.
    held: usize,
    charge: Charge,
    context: Context,
}

impl Quantile {
    fn collect(&mut self) -> Result<(), Error> {
        let Some(mut input) = self.input.take() else { return Ok(()) };
        let mut n_members = vec![0; self.groups.metas.len()];
        for group in &self.groups.of_series {
            n_members[*group as usize] += 1;
        }
        let n_steps = self.grid.len;
        for n_members in n_members {
            let entry = n_steps.saturating_mul(size_of::<u32>()) + size_of::<GroupValues>();
            self.charge.add(entry)?;
            self.charge.add_each(n_steps.saturating_mul(n_members), size_of::<f64>())?;
            self.values.push(GroupValues {
                n_members,
                lens: vec![0; n_steps],
                values: vec![0.0; n_steps * n_members],
            });
        }
        let (groups, values, held) = (&self.groups, &mut self.values, &mut self.held);
        let limits = &self.context.limits;
        read_all(&mut *input, &self.context, |index, column| {
            if column.has_histograms() {
                note_ignored("quantile", self.input_span, &self.context);
            }
            let count = column.count();
            *held += count;
            limits.hold(count)?;
            let group = &mut values[groups.of(index)];
            column.for_each(|step, value| group.push(step, value));
            Ok(())
        })
    }
}

/// The values of a group: for each step as many as the group has members, of which some may be missing
/// at the end.
struct GroupValues {
    n_members: usize,
    /// Number of values by step.
    lens: Vec<u32>,
    values: Vec<f64>,
}

impl GroupValues {
    fn push(&mut self, step: usize, value: f64) {
        self.values[step * self.n_members + self.lens[step] as usize] = value;
        self.lens[step] += 1;
    }

    fn at(&mut self, step: usize) -> &mut [f64] {
        let start = step * self.n_members;
        &mut self.values[start..start + self.lens[step] as usize]
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
        let group = &mut self.values[index];
        for step in 0..self.grid.len {
            let values = group.at(step);
            if !values.is_empty() {
                let limits = &self.context.limits;
                let value = over_time::quantile_by(self.q.at(step), values, |values, nth| {
                    select_within(values, nth, limits, over_time::order)
                })?;
                out.set(step, value);
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
