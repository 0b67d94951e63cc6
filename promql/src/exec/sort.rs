//! `sort` and `sort_by_label`: the order of the series of an instant query.
//!
//! The result of a range query is ordered by labels, so there the functions do nothing but warn.

use std::cmp::Ordering;

use super::batch::{Column, Grid, SeriesMeta};
use super::unary::{Naming, map_columns};
use super::{BoxOperator, Context, Operator, read_all};
use crate::functions::labels::compare_by;
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
    let mut values: Vec<(f64, usize)> = Vec::new();
    read_all(&mut *inner, context, |index, column| {
        values.extend(column.get(0).map(|value| (value, index)));
        Ok(())
    })?;
    values.sort_by(|(a, _), (b, _)| by_size(*a, *b, descending));
    Ok(Box::new(Reordered::new(inner, values.into_iter().map(|(_, index)| index).collect())))
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
    let mut order: Vec<usize> = (0..inner.series().len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (&inner.series()[*a].labels, &inner.series()[*b].labels);
        let order = compare_by(names, a, b);
        if descending { order.reverse() } else { order }
    });
    Ok(Box::new(Reordered::new(inner, order)))
}

/// Tells whether the order will not be seen, and warns if so.
fn is_range(span: Span, grid: Grid, context: &Context) -> bool {
    if grid.len > 1 {
        context.annotate(AnnotationKind::SortInRangeQuery, span);
    }
    grid.len != 1
}

/// Some series of another operator in another order.
struct Reordered {
    inner: BoxOperator,
    order: Vec<usize>,
    metas: Vec<SeriesMeta>,
}

impl Reordered {
    fn new(inner: BoxOperator, order: Vec<usize>) -> Self {
        let metas = order.iter().map(|index| inner.series()[*index].clone()).collect();
        Self { inner, order, metas }
    }
}

impl Operator for Reordered {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        self.inner.read(self.order[index], out)
    }
}
