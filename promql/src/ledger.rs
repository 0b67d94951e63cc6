//! The ledger that the memory of a query is drawn from.
//!
//! Whoever keeps something has a [`Charge`] beside it, which takes bytes before they are allocated
//! and gives them back when it is dropped. Where memory is asked for in a place that cannot fail, it
//! is taken all the same, and the query ends at the next check; such places ask for little at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::Limits;
use crate::{Error, Span};

/// Bytes that a charge takes at least at a time, so that small things do not all go to the ledger.
const TAKEN_AT_ONCE: usize = 4096;

/// What memory is for: what is kept in it, and the part of the query that asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    pub(crate) what: &'static str,
    pub(crate) span: Span,
}

/// The bytes of one query.
#[derive(Debug)]
pub(crate) struct Ledger {
    max_bytes: usize,
    taken: AtomicUsize,
    peak: AtomicUsize,
    /// Who took more than there was, without being able to fail.
    overdrawn_by: Mutex<Option<Site>>,
}

impl Ledger {
    pub(crate) fn new(max_bytes: usize) -> Self {
        let (taken, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { max_bytes, taken, peak, overdrawn_by: Mutex::default() }
    }

    /// Most bytes that may be taken.
    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Most bytes that were taken at once.
    pub(crate) fn peak_bytes(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Tells whether more was taken than there is.
    #[inline]
    pub(crate) fn is_overdrawn(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.max_bytes
    }

    /// Who took more than there is.
    pub(crate) fn overdrawn_by(&self) -> Option<Site> {
        if !self.is_overdrawn() {
            return None;
        }
        let first = *self.overdrawn_by.lock().unwrap_or_else(PoisonError::into_inner);
        Some(first.unwrap_or(Site { what: "values", span: Span::default() }))
    }

    /// Tells whether `bytes` more could be taken now.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.taken.load(Ordering::Relaxed).saturating_add(bytes) <= self.max_bytes
    }

    /// Takes `bytes` if there are as many left, and tells whether there were.
    fn take(&self, bytes: usize) -> bool {
        let add = |taken: usize| {
            let taken = taken.checked_add(bytes)?;
            (taken <= self.max_bytes).then_some(taken)
        };
        let before = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        if let Ok(before) = before {
            self.peak.fetch_max(before + bytes, Ordering::Relaxed);
        }
        before.is_ok()
    }

    /// Takes `bytes` whether or not there are as many left.
    fn overdraw(&self, bytes: usize, site: Site) {
        let taken = self.taken.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.peak.fetch_max(taken, Ordering::Relaxed);
        if taken > self.max_bytes {
            let mut first = self.overdrawn_by.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert(site);
        }
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Memory that somebody keeps, given back when this is dropped.
pub(crate) struct Charge {
    limits: Arc<Limits>,
    site: Site,
    used: usize,
    /// What was taken from the ledger; `used` at least.
    taken: usize,
}

impl Charge {
    /// A charge of nothing yet.
    pub(crate) fn new(limits: &Arc<Limits>, site: Site) -> Self {
        Self { limits: Arc::clone(limits), site, used: 0, taken: 0 }
    }

    /// Takes `bytes` more.
    #[inline]
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), Error> {
        self.raise_to(self.used.saturating_add(bytes))
    }

    /// Takes `bytes` for each of `n` things more.
    pub(crate) fn add_each(&mut self, n: usize, bytes: usize) -> Result<(), Error> {
        self.add(n.saturating_mul(bytes))
    }

    /// Sees to it that `bytes` are taken in all; keeps what is taken already if it is more.
    #[inline]
    pub(crate) fn raise_to(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes > self.taken {
            self.take(bytes - self.taken)?;
        }
        self.used = self.used.max(bytes);
        Ok(())
    }

    fn take(&mut self, missing: usize) -> Result<(), Error> {
        let ledger = self.limits.ledger();
        // Near the limit, what is really needed decides.
        let amounts = [missing.max(TAKEN_AT_ONCE), missing];
        match amounts.into_iter().find(|bytes| ledger.take(*bytes)) {
            Some(bytes) => self.taken += bytes,
            None => return Err(self.limits.too_much(self.site)),
        }
        Ok(())
    }

    /// Takes `bytes` more where it is too late to fail. If there were not as many, the next
    /// [`Limits::check`] fails.
    #[inline]
    pub(crate) fn owe(&mut self, bytes: usize) {
        self.used = self.used.saturating_add(bytes);
        if self.used > self.taken {
            let missing = (self.used - self.taken).max(TAKEN_AT_ONCE);
            self.limits.ledger().overdraw(missing, self.site);
            self.taken += missing;
        }
    }

    /// Gives back all but `bytes`.
    pub(crate) fn lower_to(&mut self, bytes: usize) {
        self.used = self.used.min(bytes);
        if self.taken > self.used {
            self.limits.ledger().give_back(self.taken - self.used);
            self.taken = self.used;
        }
    }

    /// Gives back `bytes`.
    pub(crate) fn lower_by(&mut self, bytes: usize) {
        self.lower_to(self.used.saturating_sub(bytes));
    }

    /// The limits that it counts against.
    pub(crate) fn limits(&self) -> &Arc<Limits> {
        &self.limits
    }

    /// A charge of nothing for the same use.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(&self.limits, self.site)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.limits.ledger().give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Bounds, CancelHandle};

    fn limits(max_bytes: usize) -> Arc<Limits> {
        let bounds = Bounds { timeout_ms: 0, max_samples: 0, max_bytes };
        Arc::new(Limits::new("a\n+ b", CancelHandle::default(), None, bounds))
    }

    const SITE: Site = Site { what: "groups", span: Span::new(4, 5) };

    #[test]
    fn charges_never_take_more_than_there_is() {
        let limits = limits(10_000);
        let mut first = Charge::new(&limits, SITE);
        first.add(1).unwrap();
        // Only what is needed counts near the limit.
        first.raise_to(9_000).unwrap();
        let mut second = first.fresh();
        second.add(1_000).unwrap();
        let error = second.add(1).unwrap_err();
        assert_eq!(
            error.to_string(),
            "query needs more memory than its limit of 10000 bytes, for groups at 2:3"
        );
        drop(first);
        second.add(9_000).unwrap();
        limits.check().unwrap();
        drop(second);
        assert!(limits.ledger().has_room(10_000) && !limits.ledger().has_room(10_001));
        assert_eq!(limits.ledger().peak_bytes(), 10_000);
    }

    #[test]
    fn what_is_owed_ends_the_query_until_it_is_given_back() {
        let limits = limits(100);
        let mut charge = Charge::new(&limits, SITE);
        charge.owe(101);
        assert!(matches!(limits.check(), Err(Error::TooMuchMemory { what: "groups", .. })));
        charge.lower_by(1);
        limits.check().unwrap();
    }
}
