//! Compensated addition.

/// Adds `value` to `sum`, whose rounding errors so far are in `compensation`.
///
/// Neumaier's variant of Kahan's algorithm (1974), as Prometheus uses it: an infinite sum has no
/// error. Returns sum and compensation.
pub(super) fn add(value: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + value;
    let compensation = if total.is_infinite() {
        0.0
    } else if sum.abs() >= value.abs() {
        compensation + ((sum - total) + value)
    } else {
        compensation + ((value - total) + sum)
    };
    (total, compensation)
}

/// Counts of buckets and, where they are added up with compensation, the errors of each.
pub(super) struct Counts<'a> {
    pub(super) counts: &'a mut Vec<f64>,
    pub(super) compensation: Option<&'a mut Vec<f64>>,
}

impl Counts<'_> {
    /// Adds to the bucket at `position`.
    pub(super) fn add(&mut self, position: usize, value: f64, error: f64) {
        let count = &mut self.counts[position];
        match &mut self.compensation {
            None => *count += value,
            Some(compensation) => {
                let compensation = &mut compensation[position];
                (*count, *compensation) = add(value, *count, *compensation);
                if error != 0.0 {
                    (*count, *compensation) = add(error, *count, *compensation);
                }
            }
        }
    }

    /// Puts a bucket in front of the one at `position`.
    pub(super) fn insert(&mut self, position: usize, value: f64, error: f64) {
        self.counts.insert(position, value);
        if let Some(compensation) = &mut self.compensation {
            compensation.insert(position, error);
        }
    }
}
