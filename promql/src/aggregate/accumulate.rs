//! Aggregations that fold values one by one: sum, avg, min, max, count, group, stddev, stdvar.
//!
//! Each group has a list of accumulators, one per step. The operator is generic over the
//! accumulator, so that the loop over the values of a column is compiled for each.

use super::histograms::{self, HistogramFolds, Total, Treatment};
use super::table::Groups;
use crate::ast::AggregateOp;
use crate::exec::batch::{Column, Grid, Presence, SeriesMeta};
use crate::exec::{BoxOperator, Context, Operator, read_all};
use crate::functions::sum::{Mean, Sum};
use crate::ledger::Charge;
use crate::{AnnotationKind, Error, Span};

/// What a group keeps per step.
trait Accumulator: Clone + Send + 'static {
    /// Of no values.
    const EMPTY: Self;

    fn add(&mut self, value: f64);
    fn finish(&self) -> f64;
}

/// Makes the operator of such an aggregation.
pub(super) fn build(
    op: AggregateOp,
    span: Span,
    input: BoxOperator,
    groups: Groups,
    grid: Grid,
    context: &Context,
) -> BoxOperator {
    let histograms = Histograms {
        treatment: Treatment::of(op),
        folds: HistogramFolds::new(span, context),
        span,
    };
    match op {
        AggregateOp::Sum => Folded::<Sum>::boxed(input, histograms, groups, grid, context),
        AggregateOp::Avg => Folded::<Mean>::boxed(input, histograms, groups, grid, context),
        AggregateOp::Min => Folded::<Smallest>::boxed(input, histograms, groups, grid, context),
        AggregateOp::Max => Folded::<Largest>::boxed(input, histograms, groups, grid, context),
        AggregateOp::Count => Folded::<Count>::boxed(input, histograms, groups, grid, context),
        AggregateOp::Stdvar => Folded::<Variance>::boxed(input, histograms, groups, grid, context),
        AggregateOp::Stddev => Folded::<Deviation>::boxed(input, histograms, groups, grid, context),
        // All that is left is `group`.
        _ => Folded::<One>::boxed(input, histograms, groups, grid, context),
    }
}

struct Folded<A> {
    input: Option<BoxOperator>,
    groups: Groups,
    /// Accumulators by group and step, once the input was read.
    states: Vec<States<A>>,
    /// Of the accumulators.
    charge: Charge,
    histograms: Histograms,
    grid: Grid,
    context: Context,
}

/// What is known of the histograms among the values.
struct Histograms {
    treatment: Treatment,
    folds: HistogramFolds,
    /// The input in the query.
    span: Span,
}

/// The accumulators of a group.
struct States<A> {
    steps: Vec<A>,
    /// Steps at which there was any value.
    present: Presence,
}

impl<A: Accumulator> Folded<A> {
    fn boxed(
        input: BoxOperator,
        histograms: Histograms,
        groups: Groups,
        grid: Grid,
        context: &Context,
    ) -> BoxOperator {
        let charge = context.charge("sums of groups");
        let (input, context) = (Some(input), context.clone());
        Box::new(Self { input, groups, states: Vec::new(), charge, histograms, grid, context })
    }

    fn fold(&mut self) -> Result<(), Error> {
        let Some(mut input) = self.input.take() else { return Ok(()) };
        let n_groups = self.groups.metas.len();
        self.context.limits.hold(n_groups.saturating_mul(self.grid.len))?;
        let n_steps = self.grid.len;
        let of_group = n_steps.saturating_mul(size_of::<A>()).saturating_add(n_steps / 8 + 16);
        self.charge.add_each(n_groups, of_group.saturating_add(size_of::<States<A>>()))?;
        let empty =
            || States { steps: vec![A::EMPTY; n_steps], present: Presence::repeat(false, n_steps) };
        self.states = std::iter::repeat_with(empty).take(n_groups).collect();
        let (groups, states) = (&self.groups, &mut self.states);
        let (histograms, context) = (&mut self.histograms, &self.context);
        let mut incompatible = Vec::new();
        read_all(&mut *input, &self.context, |index, column| {
            let States { steps, present } = &mut states[groups.of(index)];
            column.fold_into(steps, A::add);
            // As words: operators on lists of bits go through them bit by bit where their lengths may differ.
            let words = present.as_raw_mut_slice().iter_mut().zip(column.floats().as_raw_slice());
            words.for_each(|(word, more)| *word |= more);
            if !column.has_histograms() {
                return Ok(());
            }
            match histograms.treatment {
                Treatment::Ignore(name) => histograms::note_ignored(name, histograms.span, context),
                Treatment::Count => {
                    for (step, _) in column.histograms() {
                        steps[step].add(0.0);
                        present.set(step, true);
                    }
                }
                Treatment::Fold { mean } => {
                    for (step, histogram) in column.histograms() {
                        let how = (mean, present[step]);
                        if !histograms.folds.add(groups.of(index), step, histogram, how)? {
                            incompatible.push(index);
                        }
                    }
                }
            }
            Ok(())
        })?;
        for index in incompatible {
            let meta = &input.series()[index];
            let nameless = meta.drop_name && !context.features.delayed_name_removal;
            let metric = if nameless { String::new() } else { input.metric_name(index) };
            context.annotate(AnnotationKind::MixedExponentialCustom { metric }, histograms.span);
        }
        Ok(())
    }
}

impl<A: Accumulator> Operator for Folded<A> {
    fn series(&self) -> &[SeriesMeta] {
        &self.groups.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        self.fold()?;
        out.reset(self.grid.len)?;
        let States { steps, present } = &self.states[index];
        for step in present.iter_ones() {
            out.set(step, steps[step].finish());
        }
        if self.histograms.folds.is_empty() {
            return Ok(());
        }
        for step in 0..self.grid.len {
            self.context.limits.check()?;
            match self.histograms.folds.at(index, step, out.has(step)) {
                Total::Floats => {}
                Total::Nothing => out.unset(step),
                Total::Histogram(histogram) => out.set_histogram(step, histogram),
            }
        }
        Ok(())
    }

    fn fork(&self) -> Option<BoxOperator> {
        None
    }
}

impl<A> Drop for Folded<A> {
    fn drop(&mut self) {
        self.context.limits.release(self.states.len().saturating_mul(self.grid.len));
    }
}

impl Accumulator for Sum {
    const EMPTY: Self = Self::EMPTY;

    #[inline]
    fn add(&mut self, value: f64) {
        Self::add(self, value);
    }

    fn finish(&self) -> f64 {
        self.total()
    }
}

impl Accumulator for Mean {
    const EMPTY: Self = Self::EMPTY;

    #[inline]
    fn add(&mut self, value: f64) {
        Self::add(self, value);
    }

    fn finish(&self) -> f64 {
        self.get()
    }
}

/// The smallest number; NaN if there is none.
#[derive(Clone)]
struct Smallest(f64);

impl Accumulator for Smallest {
    const EMPTY: Self = Self(f64::NAN);

    #[inline]
    fn add(&mut self, value: f64) {
        if self.0 > value || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn finish(&self) -> f64 {
        self.0
    }
}

/// The largest number; NaN if there is none.
#[derive(Clone)]
struct Largest(f64);

impl Accumulator for Largest {
    const EMPTY: Self = Self(f64::NAN);

    #[inline]
    fn add(&mut self, value: f64) {
        if self.0 < value || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn finish(&self) -> f64 {
        self.0
    }
}

#[derive(Clone)]
struct Count(f64);

impl Accumulator for Count {
    const EMPTY: Self = Self(0.0);

    #[inline]
    fn add(&mut self, _value: f64) {
        self.0 += 1.0;
    }

    fn finish(&self) -> f64 {
        self.0
    }
}

#[derive(Clone)]
struct One;

impl Accumulator for One {
    const EMPTY: Self = Self;

    #[inline]
    fn add(&mut self, _value: f64) {}

    fn finish(&self) -> f64 {
        1.0
    }
}

/// Population variance by Welford's method.
#[derive(Clone)]
struct Variance {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Accumulator for Variance {
    const EMPTY: Self = Self { count: 0.0, mean: 0.0, squares: 0.0 };

    #[inline]
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn finish(&self) -> f64 {
        self.squares / self.count
    }
}

/// Population standard deviation.
#[derive(Clone)]
struct Deviation(Variance);

impl Accumulator for Deviation {
    const EMPTY: Self = Self(Variance::EMPTY);

    #[inline]
    fn add(&mut self, value: f64) {
        self.0.add(value);
    }

    fn finish(&self) -> f64 {
        self.0.finish().sqrt()
    }
}
