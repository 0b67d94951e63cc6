//! Output series that turn out to have the same labels.
//!
//! Removing metric names or replacing labels can make series equal. As long as they have no value
//! at the same step they are one series; otherwise the query fails.

use std::collections::HashMap;
use std::sync::Arc;

use ferula_index::Labels;

use super::batch::{Column, SeriesMeta};
use super::metas::{CHECK_EVERY, Metas};
use super::{BoxOperator, Context, Operator};
use crate::Error;
use crate::ledger::Charge;

/// What is done with series of the same labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// They become one, unless they have values at the same step.
    AtSameStep,
    /// At most one of them may have values.
    Anywhere,
}

/// Makes series of the same labels one.
pub(crate) fn merge_same(
    inner: BoxOperator,
    overlap: Overlap,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let Some(parts) = Parts::of(inner.series(), context)? else { return Ok(inner) };
    let mut metas = Metas::builder(context, parts.len())?;
    for of_one in parts.iter() {
        metas.push_shared(inner.series()[of_one[0]].clone())?;
    }
    let (metas, scratch) = (metas.build(), context.column());
    Ok(Box::new(Merged { inner, metas, parts, overlap, scratch, context: context.clone() }))
}

/// Makes series of the same labels one, where some may lose their names at the end and others not:
/// the series that has the first value decides for all, as in Prometheus. Only series that differ
/// in this are read to find out.
pub(crate) fn merge_named(mut inner: BoxOperator, context: &Context) -> Result<BoxOperator, Error> {
    let Some(parts) = Parts::of(inner.series(), context)? else { return Ok(inner) };
    let mut scratch = context.column();
    let mut metas = Metas::builder(context, parts.len())?;
    for of_one in parts.iter() {
        let mut meta = inner.series()[of_one[0]].clone();
        if of_one.iter().any(|index| inner.series()[*index].drop_name != meta.drop_name) {
            let mut earliest = usize::MAX;
            for index in of_one {
                inner.read(*index, &mut scratch)?;
                if let Some(step) = scratch.presence().first_one()
                    && step < earliest
                {
                    earliest = step;
                    meta.drop_name = inner.series()[*index].drop_name;
                }
            }
        }
        metas.push_shared(meta)?;
    }
    let (metas, overlap) = (metas.build(), Overlap::AtSameStep);
    Ok(Box::new(Merged { inner, metas, parts, overlap, scratch, context: context.clone() }))
}

/// Indices of the series of each label set, in the order of their first ones; clones share them.
#[derive(Clone)]
struct Parts {
    shared: Arc<(Vec<Vec<usize>>, Charge)>,
}

impl Parts {
    /// Finds them; `None` if no two series have the same labels.
    fn of(series: &[SeriesMeta], context: &Context) -> Result<Option<Self>, Error> {
        // A list of one takes room for four.
        const ENTRY_BYTES: usize = size_of::<Vec<usize>>() + 4 * size_of::<usize>();
        let mut charge = context.charge("series of the same labels");
        charge.add_each(series.len(), ENTRY_BYTES + 2 * size_of::<(&Labels, usize)>())?;
        let mut known: HashMap<&Labels, usize> = HashMap::with_capacity(series.len());
        let mut parts: Vec<Vec<usize>> = Vec::with_capacity(series.len());
        for (index, meta) in series.iter().enumerate() {
            if index.is_multiple_of(CHECK_EVERY) {
                context.limits.check()?;
            }
            let output = *known.entry(&meta.labels).or_insert_with(|| {
                parts.push(Vec::new());
                parts.len() - 1
            });
            parts[output].push(index);
        }
        let is_one_each = parts.len() == series.len();
        Ok((!is_one_each).then(|| Self { shared: Arc::new((parts, charge)) }))
    }

    fn len(&self) -> usize {
        self.shared.0.len()
    }

    fn iter(&self) -> impl Iterator<Item = &Vec<usize>> {
        self.shared.0.iter()
    }

    fn at(&self, index: usize) -> &[usize] {
        &self.shared.0[index]
    }
}

struct Merged {
    inner: BoxOperator,
    metas: Metas,
    /// Inner series per output series.
    parts: Parts,
    overlap: Overlap,
    scratch: Column,
    context: Context,
}

impl Operator for Merged {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        let (first, others) = self.parts.at(index).split_first().unwrap_or((&0, &[]));
        self.inner.read(*first, out)?;
        for other in others {
            self.inner.read(*other, &mut self.scratch)?;
            if self.overlap == Overlap::Anywhere && !out.is_empty() && !self.scratch.is_empty() {
                return Err(Error::DuplicateLabelset);
            }
            for (step, value) in self.scratch.iter() {
                if out.has(step) {
                    return Err(Error::DuplicateLabelset);
                }
                out.set(step, value);
            }
            for (step, histogram) in self.scratch.histograms() {
                if out.has(step) {
                    return Err(Error::DuplicateLabelset);
                }
                out.set_histogram(step, Arc::clone(histogram));
            }
        }
        Ok(())
    }

    fn fork(&self) -> Option<BoxOperator> {
        Some(Box::new(Self {
            inner: self.inner.fork()?,
            metas: self.metas.clone(),
            parts: self.parts.clone(),
            overlap: self.overlap,
            scratch: self.context.column(),
            context: self.context.clone(),
        }))
    }
}
