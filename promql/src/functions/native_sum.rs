//! Sums and means of native histograms, compensated as those of floats are.

use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram};

use super::native::{Incompatible, add};

/// A running sum or mean of histograms.
#[derive(Clone, Debug)]
pub(crate) struct HistogramSum {
    /// The sum, or the mean once that is `incremental`.
    value: FloatHistogram,
    compensation: Option<FloatHistogram>,
    count: f64,
    mean: bool,
    /// The mean is moved from mean to mean, because the sum would overflow.
    incremental: bool,
    reset_seen: bool,
    not_reset_seen: bool,
    reconciled: bool,
}

impl HistogramSum {
    pub(crate) fn new(first: &FloatHistogram, mean: bool) -> Self {
        let mut sum = Self {
            value: first.clone(),
            compensation: None,
            count: 1.0,
            mean,
            incremental: false,
            reset_seen: false,
            not_reset_seen: false,
            reconciled: false,
        };
        sum.note_hint(first);
        sum
    }

    /// Adds a histogram. After an error the sum means nothing.
    pub(crate) fn add(&mut self, histogram: &FloatHistogram) -> Result<(), Incompatible> {
        self.note_hint(histogram);
        self.count += 1.0;
        if !self.mean {
            return self.add_to_value(histogram);
        }
        if !self.incremental {
            let before = (self.value.clone(), self.compensation.clone());
            self.add_to_value(histogram)?;
            if !self.value.has_overflow() {
                return Ok(());
            }
            (self.value, self.compensation) = before;
            self.incremental = true;
            self.value.divide(self.count - 1.0);
            if let Some(compensation) = &mut self.compensation {
                compensation.divide(self.count - 1.0);
            }
        }
        let weight = (self.count - 1.0) / self.count;
        self.value.multiply(weight);
        if let Some(compensation) = &mut self.compensation {
            compensation.multiply(weight);
        }
        let mut part = histogram.clone();
        part.divide(self.count);
        self.add_to_value(&part)
    }

    fn add_to_value(&mut self, histogram: &FloatHistogram) -> Result<(), Incompatible> {
        let value = &self.value;
        let compensation = self.compensation.get_or_insert_with(|| value.new_compensation());
        let combined = self.value.kahan_add(histogram, compensation)?;
        self.reconciled |= combined.custom_bounds;
        Ok(())
    }

    fn note_hint(&mut self, histogram: &FloatHistogram) {
        match histogram.counter_reset_hint {
            CounterResetHint::Reset => self.reset_seen = true,
            CounterResetHint::NotReset => self.not_reset_seen = true,
            _ => {}
        }
    }

    /// Whether one histogram says that it follows a counter reset, and another that it does not.
    pub(crate) fn has_collision(&self) -> bool {
        self.reset_seen && self.not_reset_seen
    }

    /// Whether custom buckets had different bounds.
    pub(crate) fn was_reconciled(&self) -> bool {
        self.reconciled
    }

    /// The sum or mean.
    pub(crate) fn into_total(self) -> FloatHistogram {
        let Self { mut value, mut compensation, count, .. } = self;
        if self.mean && !self.incremental {
            value.divide(count);
            if let Some(compensation) = &mut compensation {
                compensation.divide(count);
            }
        }
        // What compensates a sum has its layout, so that this cannot fail.
        if let Some(compensation) = &compensation
            && add(&mut value, compensation).is_err()
        {
            return value;
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use ferula_chunkenc::histogram::{CUSTOM_BUCKETS_SCHEMA, Span};

    use super::*;

    fn of(count: f64, hint: CounterResetHint) -> FloatHistogram {
        FloatHistogram {
            counter_reset_hint: hint,
            count,
            sum: count,
            positive_spans: vec![Span::new(0, 1)],
            positive_buckets: vec![count],
            ..FloatHistogram::default()
        }
    }

    fn total(counts: &[f64], mean: bool) -> FloatHistogram {
        let mut sum = HistogramSum::new(&of(counts[0], CounterResetHint::Gauge), mean);
        for count in &counts[1..] {
            sum.add(&of(*count, CounterResetHint::Gauge)).unwrap();
        }
        sum.into_total()
    }

    #[test]
    fn small_terms_survive_large_ones() {
        assert_eq!(total(&[1.0, 1e100, 1.0, -1e100], false).count, 2.0);
        assert_eq!(total(&[1.0, 1e100, 1.0, -1e100], true).positive_buckets, [0.5]);
    }

    #[test]
    fn means_of_huge_counts_do_not_overflow() {
        let mean = total(&[f64::MAX, f64::MAX, f64::MAX], true);
        assert!((mean.count / f64::MAX - 1.0).abs() < 1e-15);
        assert!(!mean.has_overflow());
    }

    #[test]
    fn hints_that_contradict_each_other_are_seen() {
        let mut sum = HistogramSum::new(&of(1.0, CounterResetHint::Reset), false);
        sum.add(&of(1.0, CounterResetHint::Unknown)).unwrap();
        assert!(!sum.has_collision());
        sum.add(&of(1.0, CounterResetHint::NotReset)).unwrap();
        assert!(sum.has_collision() && !sum.was_reconciled());
    }

    #[test]
    fn layouts_that_do_not_go_together_are_refused() {
        let mut sum = HistogramSum::new(&of(1.0, CounterResetHint::Unknown), false);
        let custom = FloatHistogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            custom_values: [1.0].into(),
            ..of(1.0, CounterResetHint::Unknown)
        };
        assert_eq!(sum.add(&custom), Err(Incompatible));
    }
}
