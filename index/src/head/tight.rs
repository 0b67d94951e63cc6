//! Lists that grow by a quarter rather than to double their length.
//!
//! With millions of entries, what is set aside for later is what counts.

/// Appends an item.
pub(super) fn push<T>(list: &mut Vec<T>, item: T) {
    reserve(list, 1);
    list.push(item);
}

/// Makes room for `n` more items.
pub(super) fn reserve<T>(list: &mut Vec<T>, n: usize) {
    if list.capacity() - list.len() < n {
        list.reserve_exact(n.max(list.len() / 4));
    }
}

/// Bytes on the heap.
pub(super) const fn bytes<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}
