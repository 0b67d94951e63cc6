//! What operators hand to each other: the values of one series at all steps.
//!
//! A [`Column`] holds floats and a bitmap of the steps that have one. It is the place for a
//! second list, of native histograms, with a bitmap of its own; operators therefore go through
//! its methods and never assume that a step without a float is empty.

use bitvec::order::Lsb0;
use bitvec::vec::BitVec;
use ferula_index::Labels;

/// Which steps have a value.
pub(crate) type Presence = BitVec<u64, Lsb0>;

/// What is known of a series before its values are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeriesMeta {
    pub(crate) labels: Labels,
    /// The metric name is to be removed when the query ends.
    pub(crate) drop_name: bool,
}

impl SeriesMeta {
    pub(crate) fn new(labels: Labels) -> Self {
        Self { labels, drop_name: false }
    }
}

/// The steps of an evaluation: `len` of them, `step` milliseconds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) start: i64,
    pub(crate) step: i64,
    pub(crate) len: usize,
}

impl Grid {
    /// The steps from `start` up to `end`; none if it lies before.
    pub(crate) fn new(start: i64, end: i64, step: i64) -> Self {
        let step = step.max(1);
        let len = match end.checked_sub(start) {
            Some(span) if span >= 0 => usize::try_from(span / step).map_or(0, |n| n + 1),
            _ => 0,
        };
        Self { start, step, len }
    }

    /// One step.
    pub(crate) fn instant(time: i64) -> Self {
        Self { start: time, step: 1, len: 1 }
    }

    /// Time of the step at `index`.
    pub(crate) fn time(self, index: usize) -> i64 {
        self.start + self.step * i64::try_from(index).unwrap_or(i64::MAX)
    }

    /// Time of the last step.
    pub(crate) fn end(self) -> i64 {
        self.time(self.len.saturating_sub(1))
    }

    /// Times of all steps.
    pub(crate) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.len).map(move |index| self.time(index))
    }
}

/// The values of one series at all steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    values: Vec<f64>,
    /// Bits behind the last step are 0, so that whole words can be looked at.
    present: Presence,
}

impl Column {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Makes a column with a value at every step.
    pub(crate) fn full(values: Vec<f64>) -> Self {
        let mut present = Presence::repeat(true, values.len());
        present.set_uninitialized(false);
        Self { values, present }
    }

    /// Makes it a column of `len` steps without values, keeping the memory.
    pub(crate) fn reset(&mut self, len: usize) {
        self.values.clear();
        self.values.resize(len, 0.0);
        self.present.clear();
        self.present.resize(len, false);
        self.present.set_uninitialized(false);
    }

    /// Number of steps.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Sets the value at a step.
    #[inline]
    pub(crate) fn set(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        self.present.as_raw_mut_slice()[step / 64] |= 1 << (step % 64);
    }

    /// The value at a step.
    #[inline]
    pub(crate) fn get(&self, step: usize) -> Option<f64> {
        self.has(step).then(|| self.values[step])
    }

    /// Tells whether a step has a value.
    #[inline]
    pub(crate) fn has(&self, step: usize) -> bool {
        self.present.as_raw_slice()[step / 64] >> (step % 64) & 1 == 1
    }

    /// Removes the value at a step.
    pub(crate) fn unset(&mut self, step: usize) {
        self.present.set(step, false);
    }

    /// Which steps have a value.
    pub(crate) fn presence(&self) -> &Presence {
        &self.present
    }

    /// Removes the values of steps that are not in `steps`.
    pub(crate) fn keep(&mut self, steps: &Presence) {
        self.present &= steps;
    }

    /// Number of values.
    pub(crate) fn count(&self) -> usize {
        self.present.count_ones()
    }

    /// Tells whether no step has a value.
    pub(crate) fn is_empty(&self) -> bool {
        self.present.not_any()
    }

    /// Iterates over the values and their steps.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.present.iter_ones().map(|step| (step, self.values[step]))
    }

    /// Calls `each` with every value and its step; runs of 64 are walked without looking at bits.
    #[inline]
    pub(crate) fn for_each(&self, mut each: impl FnMut(usize, f64)) {
        for (block, &word) in self.present.as_raw_slice().iter().enumerate() {
            let first = block * 64;
            if word == u64::MAX {
                for (i, &value) in self.values[first..first + 64].iter().enumerate() {
                    each(first + i, value);
                }
                continue;
            }
            let mut bits = word;
            while bits != 0 {
                let step = first + bits.trailing_zeros() as usize;
                each(step, self.values[step]);
                bits &= bits - 1;
            }
        }
    }

    /// Replaces every value by `change` of it; `None` removes it.
    #[inline]
    pub(crate) fn map(&mut self, mut change: impl FnMut(usize, f64) -> Option<f64>) {
        for (block, word) in self.present.as_raw_mut_slice().iter_mut().enumerate() {
            let mut bits = *word;
            while bits != 0 {
                let bit = bits.trailing_zeros();
                let step = block * 64 + bit as usize;
                match change(step, self.values[step]) {
                    Some(value) => self.values[step] = value,
                    None => *word &= !(1 << bit),
                }
                bits &= bits - 1;
            }
        }
    }

    /// Takes the value of the first step for all of `len` steps.
    pub(crate) fn broadcast(&mut self, len: usize) {
        let first = self.present.first().is_some_and(|has| *has).then(|| self.values[0]);
        self.reset(len);
        if let Some(value) = first {
            self.values.fill(value);
            self.present.fill(true);
            self.present.set_uninitialized(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_keep_track_of_their_steps() {
        let mut column = Column::new();
        column.reset(130);
        for step in (0..130).filter(|step| step % 3 != 1) {
            column.set(step, step as f64);
        }
        column.map(|step, value| (step % 2 == 0).then_some(value + 1.0));
        let mut seen = Vec::new();
        column.for_each(|step, value| seen.push((step, value)));
        assert_eq!(seen, column.iter().collect::<Vec<_>>());
        assert_eq!(column.get(6), Some(7.0));
        assert_eq!((column.get(3), column.get(4)), (None, None));
        column.reset(70);
        assert!(column.is_empty());
        assert_eq!(Column::full(vec![1.0; 70]).count(), 70);
    }

    #[test]
    fn grids_end_at_their_last_step() {
        let grid = Grid::new(10, 45, 10);
        assert_eq!((grid.len, grid.end()), (4, 40));
        assert_eq!(Grid::new(10, 9, 10).len, 0);
        assert_eq!(Grid::new(i64::MIN, i64::MAX, 1).len, 0);
    }
}
