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
    pub(crate) const fn new(value: f64) -> Self {
        Self { value, compensation: 0.0 }
    }

    #[inline]
    pub(crate) fn add(&mut self, increment: f64) {
        let total = self.value + increment;
        if total.is_infinite() {
            self.compensation = 0.0;
        } else if self.value.abs() >= increment.abs() {
            self.compensation += (self.value - total) + increment;
        } else {
            self.compensation += (increment - total) + self.value;
        }
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
    pub(crate) const fn new(first: f64) -> Self {
        Self { sum: Sum::new(first), count: 1.0, incremental: false }
    }

    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
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
