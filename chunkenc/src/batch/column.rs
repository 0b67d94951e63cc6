//! A column of a batch in which most samples have nothing.

use std::ops::Range;

/// A column that ends with the last sample that has something in it, hence is empty if there is
/// none. What has nothing is the default of `T`.
#[derive(Clone, Debug)]
pub(super) struct SparseColumn<T> {
    items: Vec<T>,
}

impl<T: Clone + Default + PartialEq> SparseColumn<T> {
    /// Tells whether no sample has anything.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn get(&self, index: usize) -> Option<&T> {
        self.items.get(index)
    }

    /// Sets that of the last sample, which is at `index`.
    pub(super) fn set(&mut self, index: usize, item: T) {
        self.extend_from_slice(index, &[item]);
    }

    /// What those samples in `range` have that come before the end of the column.
    pub(super) fn slice(&self, range: &Range<usize>) -> &[T] {
        let end = range.end.min(self.items.len());
        &self.items[range.start.min(end)..end]
    }

    /// Sets those of the last samples, which begin at index `from`.
    pub(super) fn extend_from_slice(&mut self, from: usize, items: &[T]) {
        let absent = T::default();
        self.truncate(from);
        if items.iter().any(|item| *item != absent) {
            self.items.resize(from, absent);
            self.items.extend_from_slice(items);
            self.truncate(self.items.len());
        }
    }

    /// Removes those from index `len` on.
    pub(super) fn truncate(&mut self, len: usize) {
        self.items.truncate(len);
        let absent = T::default();
        let end = self.items.iter().rposition(|item| *item != absent).map_or(0, |last| last + 1);
        self.items.truncate(end);
    }

    /// Removes those in `range`; those behind it move up.
    pub(super) fn remove(&mut self, range: &Range<usize>) {
        let end = range.end.min(self.items.len());
        self.items.drain(range.start.min(end)..end);
        self.truncate(self.items.len());
    }
}

impl<T> Default for SparseColumn<T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}
