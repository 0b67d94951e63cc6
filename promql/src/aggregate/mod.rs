//! Aggregations: many series become few.
//!
//! An aggregation reads its input once, series by series in order, when the first of its results is
//! asked for, and keeps only what its groups need: sums, extremes, the `k` best. Values are added in
//! the order of the series, as Prometheus does, because compensated sums depend on it in the last
//! digits.

mod accumulate;
mod count_values;
mod histograms;
mod limit;
mod quantile;
mod table;
mod topk;

use crate::ast::AggregateOp;
use crate::exec::batch::Grid;
use crate::exec::{
    BoxOperator, Context, Scalar, build as build_operator, build_for_groups, by_all_labels,
};
use crate::plan::{Aggregate, Node, NodeKind};
use crate::{Error, ParameterError, Span};

use self::table::{GroupLabels, Groups};

/// Makes the operator of an aggregation.
pub(crate) fn build(
    aggregate: &Aggregate,
    whole: Span,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let param = aggregate.param.as_deref();
    let labels = GroupLabels::new(aggregate.grouping.as_ref());
    if aggregate.op == AggregateOp::CountValues {
        let label = count_values_label(param)?;
        let input = build_operator(&aggregate.input, grid, context)?;
        return count_values::build(input, labels, label, grid, context);
    }
    let number = match param {
        Some(node) => Scalar::evaluate(node, grid, context)?,
        None => Scalar::Constant(f64::NAN),
    };
    // Those that pick series hand on their labels, the others make new ones.
    let picks = matches!(
        aggregate.op,
        AggregateOp::TopK | AggregateOp::BottomK | AggregateOp::LimitK | AggregateOp::LimitRatio
    );
    // Rounding depends on the order of sums, and nothing else here on that of the series.
    let any_order = matches!(
        aggregate.op,
        AggregateOp::Count
            | AggregateOp::Group
            | AggregateOp::Min
            | AggregateOp::Max
            | AggregateOp::Quantile
    );
    let input = match labels.names().filter(|_| !picks && labels.are_nameless()) {
        Some(names) => build_for_groups(&aggregate.input, &names, any_order, grid, context)?,
        None => build_operator(&aggregate.input, grid, context)?,
    };
    let operator = build_over(input, aggregate, labels, number, whole, grid, context)?;
    // Groups come in the order of their first series.
    if any_order { by_all_labels(operator, context) } else { Ok(operator) }
}

/// Makes the operator of an aggregation of `input`, with `number` as its parameter.
fn build_over(
    input: BoxOperator,
    aggregate: &Aggregate,
    labels: GroupLabels<'_>,
    number: Scalar,
    whole: Span,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let param = aggregate.param.as_deref();
    let groups = Groups::new(labels, input.series(), context)?;
    let span = param.map_or(aggregate.input.place(), Node::place);
    match aggregate.op {
        AggregateOp::TopK | AggregateOp::BottomK => {
            let counts = Counts::new(&number, grid)?;
            let largest = aggregate.op == AggregateOp::TopK;
            topk::build(input, whole, groups, counts, largest, grid, context)
        }
        AggregateOp::LimitK => {
            let counts = Counts::new(&number, grid)?;
            limit::first(input, groups, counts, grid, context)
        }
        AggregateOp::LimitRatio => limit::ratio(input, number, span, grid, context),
        AggregateOp::Quantile => {
            let spans = (span, aggregate.input.place());
            Ok(quantile::build(input, groups, number, spans, grid, context))
        }
        op => Ok(accumulate::build(op, aggregate.input.place(), input, groups, grid, context)),
    }
}

fn count_values_label(param: Option<&Node>) -> Result<&str, Error> {
    match param.map(|node| &node.kind) {
        Some(NodeKind::String(label)) if !label.is_empty() => Ok(label),
        _ => Err(Error::Parameter(ParameterError::LabelName {
            what: "invalid label name ",
            name: "\"\"".to_owned(),
        })),
    }
}

/// How many series are wanted at each step.
#[derive(Clone)]
struct Counts {
    values: Scalar,
    largest: f64,
}

impl Counts {
    /// Checks the parameter of `topk` and its like as Prometheus does: over all steps, and not at
    /// all if nothing is wanted at any.
    fn new(values: &Scalar, grid: Grid) -> Result<Self, Error> {
        let all = || (0..grid.len).map(|step| values.at(step));
        // Comparisons with NaN fail, so that a NaN among others does not count here.
        let has_nan = all().any(f64::is_nan);
        let largest = all().fold(f64::MIN, f64::max);
        let smallest = all().fold(f64::MAX, f64::min);
        if !has_nan && largest < 1.0 {
            return Ok(Self { values: values.clone(), largest: 0.0 });
        }
        let fail = |error| Err(Error::Parameter(error));
        if has_nan {
            return fail(ParameterError::NaN);
        }
        // The bounds of a 64-bit integer.
        let text = |value: f64| crate::text::FloatText(value).to_string();
        if smallest <= -9_223_372_036_854_775_808.0 {
            return fail(ParameterError::Underflow { value: text(smallest) });
        }
        if largest >= 9_223_372_036_854_775_808.0 {
            return fail(ParameterError::Overflow { value: text(largest) });
        }
        Ok(Self { values: values.clone(), largest })
    }

    /// Whether nothing is wanted at any step.
    fn is_zero(&self) -> bool {
        self.largest < 1.0
    }

    /// The number wanted at a step, of at most `n_series`.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded on both sides"
    )]
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 series")]
    fn at(&self, step: usize, n_series: usize) -> usize {
        self.values.at(step).clamp(0.0, n_series as f64) as usize
    }
}
