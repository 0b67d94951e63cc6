//! `sort` and `sort_by_label`: the order of the series of an instant query.
//!
//! The result of a range query is ordered by labels, so there the functions do nothing but warn.

use std::cmp::Ordering;
use std::sync::Arc;

use super::batch::{Column, Grid, SeriesMeta};
use super::metas::Metas;
use super::unary::{Naming, map_columns};
use super::{BoxOperator, Context, Operator, read_all};
use crate::functions::labels::compare_by;
use crate::ledger::Charge;
use crate::sorting::sort_within;
use crate::{AnnotationKind, Error, Span};

/// Orders by value, NaN last. Histograms have no order, and are left out.
pub(super) fn by_value(
    mut inner: BoxOperator,
    descending: bool,
    span: Span,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    if is_range(span, grid, context) {
        return map_columns(inner, Naming::Keep, context, Column::drop_histograms);
    }
    let mut charge = context.charge("what is sorted");
    // The list, and what a merge sort sets aside.
    charge.add_each(inner.series().len(), 2 * size_of::<(f64, usize)>())?;
    let mut values: Vec<(f64, usize)> = Vec::with_capacity(inner.series().len());
    read_all(&mut *inner, context, |index, column| {
        values.extend(column.get(0).map(|value| (value, index)));
        Ok(())
    })?;
    sort_within(&mut values, &context.limits, |(a, _), (b, _)| by_size(*a, *b, descending))?;
    Reordered::boxed(inner, values.into_iter().map(|(_, index)| index), charge, context)
}

/// Compares numbers, NaN being behind all others either way.
pub(crate) fn by_size(a: f64, b: f64, descending: bool) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => {
            let order = a.partial_cmp(&b).unwrap_or(Ordering::Equal);
            if descending { order.reverse() } else { order }
        }
        (a, b) => a.cmp(&b),
    }
}

/// Orders by the values of some labels.
pub(super) fn by_labels(
    inner: BoxOperator,
    names: &[String],
    descending: bool,
    span: Span,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    if is_range(span, grid, context) {
        return Ok(inner);
    }
    let mut charge = context.charge("what is sorted");
    charge.add_each(inner.series().len(), 3 * size_of::<usize>())?;
    let mut order: Vec<usize> = (0..inner.series().len()).collect();
    sort_within(&mut order, &context.limits, |a, b| {
        let (a, b) = (&inner.series()[*a].labels, &inner.series()[*b].labels);
        let order = compare_by(names, a, b);
        if descending { order.reverse() } else { order }
    })?;
    Reordered::boxed(inner, order.into_iter(), charge, context)
}

/// Orders by all labels, which is the order of the answer to a range query.
pub(crate) fn by_all_labels(inner: BoxOperator, context: &Context) -> Result<BoxOperator, Error> {
    // Storages and most operators keep this order.
    if inner.series().is_sorted_by(|a, b| a.labels <= b.labels) {
        return Ok(inner);
    }
    let mut charge = context.charge("what is sorted");
    charge.add_each(inner.series().len(), 3 * size_of::<usize>())?;
    let mut order: Vec<usize> = (0..inner.series().len()).collect();
    sort_within(&mut order, &context.limits, |a, b| {
        inner.series()[*a].labels.cmp(&inner.series()[*b].labels)
    })?;
    Reordered::boxed(inner, order.into_iter(), charge, context)
}

/// Tells whether the order will not be seen, and warns if so.
fn is_range(span: Span, grid: Grid, context: &Context) -> bool {
    if grid.is_range {
        context.annotate(AnnotationKind::SortInRangeQuery, span);
    }
    grid.len != 1
}

/// Some series of another operator in another order.
struct Reordered {
    inner: BoxOperator,
    order: Arc<(Vec<usize>, Charge)>,
    metas: Metas,
}

impl Reordered {
    /// `charge` has taken what the order needs.
    fn boxed(
        inner: BoxOperator,
        order: impl Iterator<Item = usize>,
        charge: Charge,
        context: &Context,
    ) -> Result<BoxOperator, Error> {
        let order: Vec<usize> = order.collect();
        let mut metas = Metas::builder(context, order.len())?;
        for index in &order {
            metas.push_shared(inner.series()[*index].clone())?;
        }
        Ok(Box::new(Self { inner, order: Arc::new((order, charge)), metas: metas.build() }))
    }
}

impl Operator for Reordered {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        self.inner.read(self.order.0[index], out)
    }

    fn fork(&self) -> Option<BoxOperator> {
        let (order, metas) = (Arc::clone(&self.order), self.metas.clone());
        Some(Box::new(Self { inner: self.inner.fork()?, order, metas }))
    }
}
