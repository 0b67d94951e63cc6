//! The series of an operator, counted against memory.

use std::ops::Deref;
use std::sync::Arc;

use super::Context;
use super::batch::SeriesMeta;
use crate::Error;
use crate::ledger::Charge;

/// Series after which time and cancellation are looked at while labels are made.
pub(crate) const CHECK_EVERY: usize = 1 << 10;

/// Bytes that a label set takes beside its text.
const LABELS_OVERHEAD: usize = 24;

/// What is known of the series of an operator; clones share it.
#[derive(Clone)]
pub(crate) struct Metas {
    shared: Arc<Counted>,
}

struct Counted {
    list: Vec<SeriesMeta>,
    /// Of the list, and of the labels that were made for it.
    _charge: Charge,
}

impl Metas {
    /// A list of no more than `n_series`, to be filled.
    pub(crate) fn builder(context: &Context, n_series: usize) -> Result<MetasBuilder, Error> {
        let mut charge = context.charge("labels of series");
        charge.add_each(n_series, size_of::<SeriesMeta>())?;
        Ok(MetasBuilder { list: Vec::with_capacity(n_series), charge, context: context.clone() })
    }

    /// A few series.
    pub(crate) fn few(context: &Context, list: Vec<SeriesMeta>) -> Self {
        let mut charge = context.charge("labels of series");
        charge.owe(list.iter().map(made_bytes).sum());
        Self { shared: Arc::new(Counted { list, _charge: charge }) }
    }
}

impl Deref for Metas {
    type Target = [SeriesMeta];

    fn deref(&self) -> &[SeriesMeta] {
        &self.shared.list
    }
}

fn made_bytes(meta: &SeriesMeta) -> usize {
    meta.labels.size_bytes() + LABELS_OVERHEAD + size_of::<SeriesMeta>()
}

/// Fills a list of series.
pub(crate) struct MetasBuilder {
    list: Vec<SeriesMeta>,
    charge: Charge,
    context: Context,
}

impl MetasBuilder {
    /// Adds a series whose labels somebody else holds.
    pub(crate) fn push_shared(&mut self, meta: SeriesMeta) -> Result<(), Error> {
        if self.list.len() == self.list.capacity() {
            let additional = self.list.len().max(16);
            self.charge.add_each(additional, size_of::<SeriesMeta>())?;
            self.list.reserve_exact(additional);
        }
        if self.list.len().is_multiple_of(CHECK_EVERY) {
            self.context.limits.check()?;
        }
        self.list.push(meta);
        Ok(())
    }

    /// Adds a series whose labels were just made.
    pub(crate) fn push_made(&mut self, meta: SeriesMeta) -> Result<(), Error> {
        self.charge.add(meta.labels.size_bytes() + LABELS_OVERHEAD)?;
        self.push_shared(meta)
    }

    /// Changes what is known of the series at `index`.
    pub(crate) fn change(&mut self, index: usize, change: impl FnOnce(&mut SeriesMeta)) {
        change(&mut self.list[index]);
    }

    /// Number of series so far.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// The series.
    pub(crate) fn build(self) -> Metas {
        Metas { shared: Arc::new(Counted { list: self.list, _charge: self.charge }) }
    }
}
