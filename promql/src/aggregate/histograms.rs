//! What aggregations of floats do with native histograms.
//!
//! Sums and means of them are kept apart from those of floats, by group and step, for few groups
//! have any; a group with both has no result. All else either counts histograms or passes over
//! them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use ferula_chunkenc::histogram::FloatHistogram;

use crate::ast::AggregateOp;
use crate::exec::Context;
use crate::functions::native_sum::HistogramSum;
use crate::ledger::Charge;
use crate::{AnnotationKind, Error, HistogramOperation, Span, limits};

/// What an aggregation does with histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// They count like floats, whose value does not matter either.
    Count,
    /// They are summed up, or averaged.
    Fold { mean: bool },
    /// They are passed over.
    Ignore(&'static str),
}

impl Treatment {
    pub(super) fn of(op: AggregateOp) -> Self {
        match op {
            AggregateOp::Sum => Self::Fold { mean: false },
            AggregateOp::Avg => Self::Fold { mean: true },
            AggregateOp::Count | AggregateOp::Group => Self::Count,
            op => Self::Ignore(op.as_str()),
        }
    }
}

/// Says that an aggregation passes over histograms.
pub(super) fn note_ignored(aggregation: &'static str, span: Span, context: &Context) {
    context.annotate(AnnotationKind::HistogramIgnoredInAggregation { aggregation }, span);
}

/// Sums or means of histograms, by group and step.
pub(super) struct HistogramFolds {
    folds: HashMap<(usize, usize), Fold>,
    /// Number of samples that the folds count as.
    held: usize,
    charge: Charge,
    span: Span,
    context: Context,
}

enum Fold {
    Sum(Box<HistogramSum>),
    /// A float came first. As in Prometheus, histograms are not even looked at then.
    BehindFloat,
    /// There are both exponential and custom buckets. As in Prometheus, floats matter only if they came
    /// before that was found.
    Incompatible {
        mixed: bool,
        reconciled: bool,
    },
}

/// What a group has at a step.
pub(super) enum Total {
    /// No histogram.
    Floats,
    /// Values that do not go together.
    Nothing,
    Histogram(Arc<FloatHistogram>),
}

impl HistogramFolds {
    pub(super) fn new(span: Span, context: &Context) -> Self {
        let charge = context.charge("sums of histograms");
        Self { folds: HashMap::new(), held: 0, charge, span, context: context.clone() }
    }

    /// Adds a histogram to a group in which there are floats already if `mixed`; tells whether it could
    /// be added. It cannot when there are first found to be both exponential and custom buckets.
    pub(super) fn add(
        &mut self,
        group: usize,
        step: usize,
        histogram: &FloatHistogram,
        (mean, mixed): (bool, bool),
    ) -> Result<bool, Error> {
        let fold = match self.folds.entry((group, step)) {
            Entry::Vacant(vacant) if mixed => {
                self.charge.add(3 * size_of::<((usize, usize), Fold)>())?;
                vacant.insert(Fold::BehindFloat);
                return Ok(true);
            }
            Entry::Vacant(vacant) => {
                // The sum, and what compensates it.
                let weight = limits::weight(histogram).saturating_mul(2);
                self.context.limits.hold(weight)?;
                self.held += weight;
                let entry = 3 * size_of::<((usize, usize), Fold)>() + size_of::<HistogramSum>();
                self.charge.add(entry + 4 * histogram.size_bytes())?;
                vacant.insert(Fold::Sum(Box::new(HistogramSum::new(histogram, mean))));
                return Ok(true);
            }
            Entry::Occupied(occupied) => occupied.into_mut(),
        };
        let Fold::Sum(sum) = fold else { return Ok(true) };
        let fits = sum.add(histogram).is_ok();
        if !fits {
            let reconciled = sum.was_reconciled();
            *fold = Fold::Incompatible { mixed, reconciled };
        }
        Ok(fits)
    }

    /// What a group has at a step, beside floats or alone.
    pub(super) fn at(&self, group: usize, step: usize, has_floats: bool) -> Total {
        let operation = HistogramOperation::Aggregation;
        let sum = match self.folds.get(&(group, step)) {
            None => return Total::Floats,
            Some(Fold::Incompatible { mixed, reconciled }) => {
                self.note_if(*reconciled, AnnotationKind::MismatchedCustomBuckets { operation });
                self.note_if(*mixed, AnnotationKind::MixedFloatsHistogramsInAggregation);
                return Total::Nothing;
            }
            Some(Fold::BehindFloat) => {
                self.note_if(true, AnnotationKind::MixedFloatsHistogramsInAggregation);
                return Total::Nothing;
            }
            Some(Fold::Sum(sum)) => sum,
        };
        self.note_if(sum.was_reconciled(), AnnotationKind::MismatchedCustomBuckets { operation });
        if has_floats {
            self.note_if(true, AnnotationKind::MixedFloatsHistogramsInAggregation);
            return Total::Nothing;
        }
        self.note_if(sum.has_collision(), AnnotationKind::CounterResetCollision { operation });
        let mut total = HistogramSum::clone(sum).into_total();
        total.compact(0);
        Total::Histogram(Arc::new(total))
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.folds.is_empty()
    }

    fn note_if(&self, holds: bool, kind: AnnotationKind) {
        if holds {
            self.context.annotate(kind, self.span);
        }
    }
}

impl Drop for HistogramFolds {
    fn drop(&mut self) {
        self.context.limits.release(self.held);
    }
}
