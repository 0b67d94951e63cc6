//! Sorting that a query can be stopped in.

use std::cmp::Ordering;

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
