//! Work that somebody waits for, and may not any more.

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;

/// Pieces of work after which it is asked whether to go on.
const ASK_EVERY: u32 = 256;

/// Asks now and then whether work is to go on. Once it is not, what was under way ends within some
/// milliseconds and answers nothing.
///
/// ```
/// use ferula_index::{Labels, Matcher, Pace, head::HeadIndex};
///
/// let index = HeadIndex::new();
/// index.get_or_create(&Labels::from_pairs([("job", "db")])?)?;
/// let jobs = [Matcher::equal("job", "db")];
/// assert!(index.select_paced(&jobs, &Pace::new(&|| false)).is_none());
/// assert_eq!(index.select_paced(&jobs, &Pace::steady()).map(|found| found.len()), Some(1));
/// # Ok::<(), ferula_index::Error>(())
/// ```
pub struct Pace<'a> {
    go_on: Option<&'a dyn Fn() -> bool>,
    left: Cell<u32>,
    is_stopped: Cell<bool>,
}

impl<'a> Pace<'a> {
    /// Of work that goes on as long as `go_on` says so.
    pub fn new(go_on: &'a dyn Fn() -> bool) -> Self {
        Self { go_on: Some(go_on), left: Cell::new(ASK_EVERY), is_stopped: Cell::new(false) }
    }

    /// Of work that is always done.
    pub fn steady() -> Self {
        Self { go_on: None, left: Cell::new(0), is_stopped: Cell::new(false) }
    }

    /// Tells whether a further small piece of work, of some microseconds at most, is to be done.
    pub(crate) fn goes_on(&self) -> bool {
        match self.left.get() {
            0 => self.asks(),
            left => {
                self.left.set(left - 1);
                !self.is_stopped.get()
            }
        }
    }

    /// Tells whether a further piece of work, of about a millisecond, is to be done.
    pub(crate) fn asks(&self) -> bool {
        self.left.set(ASK_EVERY);
        if let (Some(go_on), false) = (self.go_on, self.is_stopped.get()) {
            self.is_stopped.set(!go_on());
        }
        !self.is_stopped.get()
    }

    /// What was found, unless finding it was stopped.
    pub(crate) fn found<T>(&self, found: T) -> Option<T> {
        self.asks().then_some(found)
    }
}

impl fmt::Debug for Pace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_steady = self.go_on.is_none();
        let (name, is_stopped) = ("is_stopped", self.is_stopped.get());
        f.debug_struct("Pace").field("is_steady", &is_steady).field(name, &is_stopped).finish()
    }
}

/// Sorts a list as its `sort_unstable_by` does, `run` entries at a time, and then merges; false if it was
/// stopped, and the list is in some order then. Takes memory for a second list.
pub(crate) fn sort_paced<T: Copy>(
    list: &mut [T],
    run: usize,
    mut compare: impl FnMut(&T, &T) -> Ordering,
    pace: &Pace<'_>,
) -> bool {
    for part in list.chunks_mut(run) {
        if !pace.asks() {
            return false;
        }
        part.sort_unstable_by(&mut compare);
    }
    let mut merged = Vec::with_capacity(if list.len() > run { list.len() } else { 0 });
    let mut width = run;
    while width < list.len() {
        merged.clear();
        for pair in list.chunks(2 * width) {
            let (mut first, mut second) = pair.split_at(width.min(pair.len()));
            while let ([a, ..], [b, ..]) = (first, second) {
                let from = if compare(b, a).is_lt() { &mut second } else { &mut first };
                merged.push(from[0]);
                *from = &from[1..];
                if merged.len().is_multiple_of(run) && !pace.asks() {
                    return false;
                }
            }
            merged.extend_from_slice(first);
            merged.extend_from_slice(second);
        }
        list.copy_from_slice(&merged);
        width *= 2;
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn runs_are_merged_in_order(mut list in prop::collection::vec(0..50_u32, 0..200), run in 1..9_usize) {
            let mut expected = list.clone();
            expected.sort_unstable();
            prop_assert!(sort_paced(&mut list, run, u32::cmp, &Pace::steady()));
            prop_assert_eq!(list, expected);
        }
    }

    #[test]
    fn nothing_is_done_once_it_is_stopped() {
        let n_asked = Cell::new(0);
        let go_on = || {
            n_asked.set(n_asked.get() + 1);
            n_asked.get() < 3
        };
        let pace = Pace::new(&go_on);
        assert!((0..2 * ASK_EVERY).all(|_| pace.goes_on()));
        assert!(!(0..2 * ASK_EVERY).all(|_| pace.goes_on()));
        assert!(pace.found(()).is_none());
        assert_eq!(n_asked.get(), 3);
        let mut list: Vec<u32> = (0..100).rev().collect();
        assert!(!sort_paced(&mut list, 8, u32::cmp, &pace));
    }
}
