//! Pull operators: series by series, all steps at once.
//!
//! An [`Operator`] knows the labels of all its output series when it is made, and then computes the
//! column of any one of them when it is read. Whoever reads chooses the order, and asks for each
//! series once if it can, for reading twice may mean computing twice. What an operator must hold to
//! answer (the groups of an aggregation, say) it computes at the first read.

pub(crate) mod arithmetic;
pub(crate) mod batch;
mod binary;
mod call;
mod context;
mod exchange;
mod histogram;
mod histogram_pair;
mod info;
mod invariant;
mod matching;
mod matrix;
mod merge;
mod metas;
mod mixed;
mod notes;
mod pair_rule;
mod pairs;
pub(crate) mod profile;
mod reader;
mod regular;
mod repeats;
mod scalar;
mod scan;
mod set;
mod sort;
mod stats;
mod subquery;
mod unary;
mod window;

use crate::Error;
use crate::functions::signatures::ValueType;
use crate::plan::{Node, NodeKind};

use self::batch::{Column, Grid, SeriesMeta};
pub(crate) use self::call::Renamed;
use self::context::LabelReader;
pub(crate) use self::context::{Context, Settings, is_metadata_label, without_metadata};
pub(crate) use self::exchange::{read_all, read_named};
pub(crate) use self::matrix::SampleSource;
pub(crate) use self::matrix::source as build_source;
pub(crate) use self::merge::{Overlap, merge_named, merge_same};
pub(crate) use self::metas::{CHECK_EVERY, Metas, MetasBuilder};
pub(crate) use self::scalar::Scalar;
pub(crate) use self::sort::{by_all_labels, by_size};

/// A part of a running query that yields series.
pub(crate) trait Operator: Send {
    /// What is known of the output series. Each has a column of its own, which may be empty.
    fn series(&self) -> &[SeriesMeta];

    /// Computes the column of the series at `index` into `out`, whatever that held before.
    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error>;

    /// Name of the metric of the series at `index`, or empty. It may be known where the labels do not
    /// tell.
    fn metric_name(&self, index: usize) -> String {
        self.series()[index].labels.metric_name().to_owned()
    }

    /// Makes another reader of the same series, for another thread; `None` if what is read depends on
    /// what was read before.
    fn fork(&self) -> Option<BoxOperator>;
}

/// An operator behind a pointer.
pub(crate) type BoxOperator = Box<dyn Operator>;

/// Makes the operator that evaluates `node`, a vector or scalar, at the steps of `grid`.
pub(crate) fn build(node: &Node, grid: Grid, context: &Context) -> Result<BoxOperator, Error> {
    let context = &context.at(node, grid);
    context.measured(node, || build_part(node, grid, context))
}

fn build_part(node: &Node, grid: Grid, context: &Context) -> Result<BoxOperator, Error> {
    if node.value_type() == ValueType::Scalar {
        let scalar = Scalar::evaluate(node, grid, context)?;
        return Ok(Box::new(scalar::ScalarSeries::new(scalar, grid, context)));
    }
    match &node.kind {
        NodeKind::Selector(selector) => scan::instant(selector, node.span, grid, context),
        NodeKind::Call(call) => call::build(call, node.span, grid, context),
        NodeKind::RangeCall(call) => matrix::build(call, LabelReader::Anyone, grid, context),
        NodeKind::Aggregate(aggregate) => {
            let make =
                |context: &Context| crate::aggregate::build(aggregate, node.span, grid, context);
            match context.repeat_key(node) {
                Some(key) => repeats::build(node, key, grid, context, make),
                None => make(context),
            }
        }
        NodeKind::Binary(binary) => binary::build(binary, node.span, grid, context),
        NodeKind::Negate(inner) => unary::negate(inner, grid, context),
        NodeKind::Invariant(inner) => invariant::build(inner, grid, context),
        NodeKind::Number(_) | NodeKind::String(_) | NodeKind::Range(_) => {
            Err(context.unsupported("a value of this type here", node.span))
        }
    }
}

/// Makes an operator like [`build`], for an aggregation by the labels called `names`, none of which
/// describes the metric. Other labels may be missing, and those that describe the metric may be there
/// though the function drops them, which saves making new label sets. Series come in `any_order` if
/// that is all the same.
pub(crate) fn build_for_groups(
    node: &Node,
    names: &[&str],
    any_order: bool,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let reader = LabelReader::Groups(names);
    let mut context = context.at(node, grid);
    let is_read_here = matches!(node.kind, NodeKind::Selector(_) | NodeKind::RangeCall(_));
    context.any_order = any_order && is_read_here;
    let context = &context;
    context.measured(node, || match &node.kind {
        NodeKind::Selector(selector) => {
            scan::instant_with(selector, node.span, reader.needed(), grid, context)
        }
        NodeKind::RangeCall(call) => matrix::build(call, reader, grid, context),
        _ => build_part(node, grid, context),
    })
}
