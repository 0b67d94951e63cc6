//! Output series that turn out to have the same labels.
//!
//! Removing metric names or replacing labels can make series equal. As long as they have no value
//! at the same step they are one series; otherwise the query fails.

use std::collections::HashMap;

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
    let series = inner.series();
    let mut known: HashMap<&Labels, usize> = HashMap::with_capacity(series.len());
    let mut parts: Vec<Vec<usize>> = Vec::with_capacity(series.len());
    for (index, meta) in series.iter().enumerate() {
        let output = *known.entry(&meta.labels).or_insert_with(|| {
            parts.push(Vec::new());
            parts.len() - 1
        });
        parts[output].push(index);
    }
    if parts.len() == series.len() {
        return inner;
    }
    let metas = parts.iter().map(|of_one| series[of_one[0]].clone()).collect();
    Box::new(Merged { inner, metas, parts, overlap, scratch: Column::new() })
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
        }
        Ok(())
    }
}
