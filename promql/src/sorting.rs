//! Sorting and selection that a query can be stopped in.

use std::cmp::Ordering;
use std::ops::Range;

use crate::Error;
use crate::limits::Limits;

/// Things that are sorted or merged before time and cancellation are looked at.
pub(crate) const CHECK_EVERY: usize = if cfg!(test) { 8 } else { 1 << 15 };

/// Sorts a list, leaving equal things in their order. Takes as much memory again.
pub(crate) fn sort_within<T: Copy>(
    list: &mut Vec<T>,
    limits: &Limits,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Result<(), Error> {
    for run in list.chunks_mut(CHECK_EVERY) {
        limits.check()?;
        run.sort_by(&compare);
    }
    let mut run_len = CHECK_EVERY;
    let mut merged = Vec::with_capacity(if list.len() > run_len { list.len() } else { 0 });
    while run_len < list.len() {
        merged.clear();
        for pair in list.chunks(2 * run_len) {
            let (mut left, mut right) = pair.split_at(run_len.min(pair.len()));
            while let (Some(a), Some(b)) = (left.first(), right.first()) {
                if merged.len().is_multiple_of(CHECK_EVERY) {
                    limits.check()?;
                }
                if compare(b, a) == Ordering::Less {
                    merged.push(*b);
                    right = &right[1..];
                } else {
                    merged.push(*a);
                    left = &left[1..];
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        std::mem::swap(list, &mut merged);
        run_len *= 2;
    }
    Ok(())
}

/// Things among which one is selected in one go.
const SELECT_AT_ONCE: usize = if cfg!(test) { 8 } else { 1 << 20 };

/// Rounds of narrowing down, of which each leaves a half on average.
const MAX_ROUNDS: usize = 64;

/// Brings the thing that is the `nth` in order to its place, with smaller ones in front of it and larger
/// ones behind, as `select_nth_unstable_by` does.
pub(crate) fn select_within<T: Copy>(
    list: &mut [T],
    nth: usize,
    limits: &Limits,
    compare: impl Fn(&T, &T) -> Ordering,
) -> Result<(), Error> {
    // What is in front of `start` is smaller than the one that is looked for, and from `end` on larger.
    let (mut start, mut end) = (0, list.len());
    for _ in 0..MAX_ROUNDS {
        if end - start <= SELECT_AT_ONCE {
            break;
        }
        let pivot =
            middle([start, start + (end - start) / 2, end - 1].map(|at| list[at]), &compare);
        let equal = partition(&mut list[start..end], pivot, limits, &compare)?;
        let (first, behind) = (start + equal.start, start + equal.end);
        if nth < first {
            end = first;
        } else if nth >= behind {
            start = behind;
        } else {
            return Ok(());
        }
    }
    list[start..end].select_nth_unstable_by(nth - start, compare);
    Ok(())
}

/// The one in the middle of three.
fn middle<T: Copy>(mut three: [T; 3], compare: &impl Fn(&T, &T) -> Ordering) -> T {
    three.sort_by(compare);
    three[1]
}

/// Brings what is smaller than `pivot` to the front and what is larger to the end, and tells where those
/// that are equal are.
fn partition<T: Copy>(
    list: &mut [T],
    pivot: T,
    limits: &Limits,
    compare: &impl Fn(&T, &T) -> Ordering,
) -> Result<Range<usize>, Error> {
    let (mut smaller, mut at, mut larger) = (0, 0, list.len());
    let mut looked_at = 0_usize;
    while at < larger {
        if looked_at.is_multiple_of(CHECK_EVERY) {
            limits.check()?;
        }
        looked_at += 1;
        match compare(&list[at], &pivot) {
            Ordering::Less => {
                list.swap(smaller, at);
                smaller += 1;
                at += 1;
            }
            Ordering::Equal => at += 1,
            Ordering::Greater => {
                larger -= 1;
                list.swap(at, larger);
            }
        }
    }
    Ok(smaller..larger)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{Bounds, CancelHandle};

    fn limits(cancel: &CancelHandle) -> Limits {
        let bounds = Bounds { timeout_ms: 0, max_samples: 0, max_bytes: 0 };
        Limits::new("", cancel.clone(), None, bounds)
    }

    proptest! {
        #[test]
        fn order_is_that_of_a_stable_sort(keys in prop::collection::vec(0..20_u8, 0..200)) {
            let mut list: Vec<(u8, usize)> = keys.into_iter().zip(0..).collect();
            let mut expected = list.clone();
            expected.sort_by_key(|(key, _)| *key);
            let limits = limits(&CancelHandle::default());
            sort_within(&mut list, &limits, |a, b| a.0.cmp(&b.0)).unwrap();
            prop_assert_eq!(list, expected);
        }
    }

    proptest! {
        #[test]
        fn what_is_selected_is_at_its_place(
            keys in prop::collection::vec(0..40_u8, 1..200),
            nth in 0..200_usize,
        ) {
            let nth = nth % keys.len();
            let (mut list, mut expected) = (keys.clone(), keys);
            expected.sort_unstable();
            select_within(&mut list, nth, &limits(&CancelHandle::default()), u8::cmp).unwrap();
            prop_assert_eq!(list[nth], expected[nth]);
            prop_assert!(list[..nth].iter().all(|key| *key <= list[nth]));
            prop_assert!(list[nth..].iter().all(|key| *key >= list[nth]));
            list.sort_unstable();
            prop_assert_eq!(list, expected);
        }
    }

    #[test]
    fn cancelled_queries_do_not_select_to_the_end() {
        let cancel = CancelHandle::default();
        let mut list: Vec<u32> = (0..100).collect();
        let stopped = select_within(&mut list, 50, &limits(&cancel), |a, b| {
            cancel.cancel();
            a.cmp(b)
        });
        assert!(matches!(stopped, Err(Error::Cancelled)));
    }

    #[test]
    fn cancelled_queries_do_not_sort_to_the_end() {
        let cancel = CancelHandle::default();
        let stopped = sort_within(&mut (0..100).rev().collect(), &limits(&cancel), |a, b| {
            cancel.cancel();
            a.cmp(b)
        });
        assert!(matches!(stopped, Err(Error::Cancelled)));
    }
}
