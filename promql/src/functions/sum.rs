//! Compensated summation.
//!
//! Neumaier's variant of Kahan's algorithm, with the compensation dropped once the sum is infinite,
//! as Prometheus has it (`util/kahansum`). Results depend on the order of additions in the last
//! digits, so callers add in the order in which Prometheus does.

/// A running sum and its compensation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) value: f64,
    pub(crate) compensation: f64,
}

impl Sum {
    /// The sum of nothing: what is added to it first is kept as it is, the sign of a zero included.
    pub(crate) const EMPTY: Self = Self::new(-0.0);

    pub(crate) const fn new(value: f64) -> Self {
        Self { value, compensation: 0.0 }
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, increment: f64) {
        let total = self.value + increment;
        // Chosen rather than branched to: which of both is larger cannot be predicted, and a loop
        // over several sums may add to more than one at a time.
        let (large, small) = if self.value.abs() >= increment.abs() {
            (self.value, increment)
        } else {
            (increment, self.value)
        };
        let compensation = self.compensation + ((large - total) + small);
        self.compensation = if total.is_infinite() { 0.0 } else { compensation };
        self.value = total;
    }

    /// Adds another sum: its value, then what it has compensated.
    #[inline]
    pub(crate) fn merge(&mut self, other: Self) {
        self.add(other.value);
        self.compensation += other.compensation;
    }

    /// The sum with its compensation.
    #[inline]
    pub(crate) fn total(self) -> f64 {
        self.value + self.compensation
    }
}

/// A running mean: sum over count, or moved from mean to mean once the sum would overflow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mean {
    sum: Sum,
    count: f64,
    incremental: bool,
}

impl Mean {
    /// The mean of nothing yet.
    pub(crate) const EMPTY: Self = Self { sum: Sum::EMPTY, count: 0.0, incremental: false };

    pub(crate) const fn new(first: f64) -> Self {
        Self { sum: Sum::new(first), count: 1.0, incremental: false }
    }

    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        if self.count == 0.0 {
            *self = Self::new(value);
            return;
        }
        self.count += 1.0;
        if !self.incremental {
            let mut sum = self.sum;
            sum.add(value);
            if !sum.value.is_infinite() {
                self.sum = sum;
                return;
            }
            self.incremental = true;
            self.sum.value /= self.count - 1.0;
            self.sum.compensation /= self.count - 1.0;
        }
        let weight = (self.count - 1.0) / self.count;
        self.sum.value *= weight;
        self.sum.compensation *= weight;
        self.sum.add(value / self.count);
    }

    pub(crate) fn get(self) -> f64 {
        if self.incremental {
            self.sum.total()
        } else {
            self.sum.value / self.count + self.sum.compensation / self.count
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_terms_survive_large_ones() {
        let mut sum = Sum::default();
        for term in [1.0, 1e100, 1.0, -1e100] {
            sum.add(term);
        }
        assert_eq!(sum.total(), 2.0);
    }

    #[test]
    fn what_is_added_first_is_kept() {
        for first in [-0.0, 0.0, f64::MIN_POSITIVE, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
            let (mut sum, mut mean) = (Sum::EMPTY, Mean::EMPTY);
            sum.add(first);
            mean.add(first);
            assert_eq!(sum.value.to_bits(), first.to_bits());
            assert_eq!(mean.get().to_bits(), Mean::new(first).get().to_bits());
        }
    }

    #[test]
    fn means_of_huge_values_do_not_overflow() {
        let mut mean = Mean::new(f64::MAX);
        mean.add(f64::MAX);
        mean.add(f64::MAX);
        assert!((mean.get() / f64::MAX - 1.0).abs() < 1e-15);
        let mut infinite = Mean::new(1.0);
        infinite.add(f64::INFINITY);
        assert_eq!(infinite.get(), f64::INFINITY);
    }
}
