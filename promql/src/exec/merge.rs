//! Output series that turn out to have the same labels.
//!
//! Removing metric names or replacing labels can make series equal. As long as they have no value
//! at the same step they are one series; otherwise the query fails.

use std::collections::HashMap;
use std::sync::Arc;

use ferula_index::Labels;

use super::batch::{Column, SeriesMeta};
use super::{BoxOperator, Operator};
use crate::Error;

/// What is done with series of the same labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlap {
    /// They become one, unless they have values at the same step.
    AtSameStep,
    /// At most one of them may have values.
    Anywhere,
}

/// Makes series of the same labels one.
pub(crate) fn merge_same(inner: BoxOperator, overlap: Overlap) -> BoxOperator {
    let parts = same_labels(inner.series());
    if parts.len() == inner.series().len() {
        return inner;
    }
    let metas = parts.iter().map(|of_one| inner.series()[of_one[0]].clone()).collect();
    Box::new(Merged { inner, metas, parts, overlap, scratch: Column::new() })
}

/// Makes series of the same labels one, where some may lose their names at the end and others not:
/// the series that has the first value decides for all, as in Prometheus. Only series that differ
/// in this are read to find out.
pub(crate) fn merge_named(mut inner: BoxOperator) -> Result<BoxOperator, Error> {
    let parts = same_labels(inner.series());
    if parts.len() == inner.series().len() {
        return Ok(inner);
    }
    let mut scratch = Column::new();
    let mut metas = Vec::with_capacity(parts.len());
    for of_one in &parts {
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
        metas.push(meta);
    }
    Ok(Box::new(Merged { inner, metas, parts, overlap: Overlap::AtSameStep, scratch }))
}

/// Indices of the series of each label set, in the order of their first ones.
fn same_labels(series: &[SeriesMeta]) -> Vec<Vec<usize>> {
    let mut known: HashMap<&Labels, usize> = HashMap::with_capacity(series.len());
    let mut parts: Vec<Vec<usize>> = Vec::with_capacity(series.len());
    for (index, meta) in series.iter().enumerate() {
        let output = *known.entry(&meta.labels).or_insert_with(|| {
            parts.push(Vec::new());
            parts.len() - 1
        });
        parts[output].push(index);
    }
    parts
}

struct Merged {
    inner: BoxOperator,
    metas: Vec<SeriesMeta>,
    /// Inner series per output series.
    parts: Vec<Vec<usize>>,
    overlap: Overlap,
    scratch: Column,
}

impl Operator for Merged {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        let (first, others) = self.parts[index].split_first().unwrap_or((&0, &[]));
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
}
