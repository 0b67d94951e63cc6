//! Making one series of several that tell the same: the penalty algorithm of Thanos (`pkg/dedup`).
//!
//! Of two replicas the sample that comes first is taken. The other replica then has to wait: its next
//! sample counts only if it is later than the one taken by twice the time that passed between that one
//! and the one before, or by five seconds where none was before. So the series keeps the pace of one
//! replica, and changes to the other one where the first has a gap. More than two are
//! made one pair by pair.
//!
//! Where counters are meant their resets are added back beforehand, as Thanos does, and whenever the
//! replica changes, those that are behind the last value are raised to it: a counter never falls
//! because of a change.

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram};
use std::sync::Arc;

/// Milliseconds that the other replica has to wait after the first sample.
const INITIAL_PENALTY_MS: i64 = 5000;

/// Makes one of several replicas. `are_counters` tells whether they are read as counters.
pub(super) fn merge(replicas: &[SampleBatch], are_counters: bool) -> SampleBatch {
    let mut leaves = replicas.iter().enumerate().map(|(replica, batch)| Replica {
        replica,
        batch,
        totals: are_counters.then(|| totals(batch)),
        at: None,
        raised_by: 0.0,
    });
    let mut out = SampleBatch::new();
    let Some(first) = leaves.next() else { return out };
    let mut all: Box<dyn Cursor + '_> = Box::new(first);
    for leaf in leaves {
        all = Box::new(Pair::new(all, Box::new(leaf)));
    }
    let mut last = None;
    while all.next().is_some() {
        let Some(sample) = all.sample() else { break };
        sample.push(replicas, last, &mut out);
        last = Some(sample);
    }
    out
}

/// The values of a counter without its resets: what was lost by each is added from there on.
fn totals(batch: &SampleBatch) -> Vec<f64> {
    let (mut lost, mut last) = (0.0, f64::NAN);
    let total = |(index, value): (usize, &f64)| {
        if value.is_nan() || batch.histogram(index).is_some() {
            return *value;
        }
        if *value < last {
            lost += last;
        }
        last = *value;
        value + lost
    };
    batch.values().iter().enumerate().map(total).collect()
}

/// A place in a series.
trait Cursor {
    /// Goes to the next sample, and tells its time.
    fn next(&mut self) -> Option<i64>;

    /// Goes on to the first sample at `time` or later, unless it is there.
    fn seek(&mut self, time: i64) -> Option<i64>;

    /// The sample that it is at.
    fn sample(&self) -> Option<Sample>;

    /// Raises what comes to `last`, if it is below that.
    fn raise(&mut self, last: f64);
}

/// A sample of a replica.
#[derive(Clone, Copy)]
struct Sample {
    replica: usize,
    index: usize,
    time: i64,
    /// `None` for a histogram.
    value: Option<f64>,
}

impl Sample {
    fn push(&self, replicas: &[SampleBatch], last: Option<Self>, out: &mut SampleBatch) {
        let batch = &replicas[self.replica];
        match (self.value, batch.histogram(self.index)) {
            (Some(value), _) => out.push(self.time, value),
            (None, Some(histogram)) => {
                // A hint speaks of the sample before, which may be another one now.
                let is_next =
                    last.is_some_and(|l| l.replica == self.replica && l.index + 1 == self.index);
                out.push_histogram(self.time, with_hint(histogram, is_next));
            }
            (None, None) => {}
        }
        let start = batch.start_timestamp(self.index);
        if start != 0 {
            out.set_last_start_timestamp(start);
        }
    }
}

/// The histogram, which says nothing of resets unless it is about the one in front of it or a gauge.
pub(super) fn with_hint(histogram: &Arc<FloatHistogram>, is_next: bool) -> Arc<FloatHistogram> {
    let hint = histogram.counter_reset_hint;
    if is_next || matches!(hint, CounterResetHint::Gauge | CounterResetHint::Unknown) {
        return histogram.clone();
    }
    let counter_reset_hint = CounterResetHint::Unknown;
    Arc::new(FloatHistogram { counter_reset_hint, ..FloatHistogram::clone(histogram) })
}

struct Replica<'a> {
    replica: usize,
    batch: &'a SampleBatch,
    /// Values of a counter without resets.
    totals: Option<Vec<f64>>,
    /// Before the first sample, at one of them, or behind the last one.
    at: Option<usize>,
    raised_by: f64,
}

impl Cursor for Replica<'_> {
    fn next(&mut self) -> Option<i64> {
        let at = self.at.map_or(0, |at| at + 1);
        self.at = Some(at);
        self.batch.timestamps().get(at).copied()
    }

    fn seek(&mut self, time: i64) -> Option<i64> {
        let from = self.at.unwrap_or(0).min(self.batch.len());
        let rest = &self.batch.timestamps()[from..];
        let at = from + rest.partition_point(|other| *other < time);
        self.at = Some(at);
        self.batch.timestamps().get(at).copied()
    }

    fn sample(&self) -> Option<Sample> {
        let index = self.at?;
        let time = *self.batch.timestamps().get(index)?;
        let value = match (&self.totals, self.batch.histogram(index)) {
            (_, Some(_)) => None,
            (Some(totals), None) if totals[index].is_nan() => Some(totals[index]),
            (Some(totals), None) => Some(totals[index] + self.raised_by),
            (None, None) => Some(self.batch.values()[index]),
        };
        Some(Sample { replica: self.replica, index, time, value })
    }

    fn raise(&mut self, last: f64) {
        let value = self.sample().and_then(|sample| sample.value);
        if let Some(value) = value.filter(|value| self.totals.is_some() && last > *value) {
            self.raised_by += last - value;
        }
    }
}

/// Two series, of which one is followed at a time.
struct Pair<'a> {
    a: Box<dyn Cursor + 'a>,
    b: Box<dyn Cursor + 'a>,
    /// Whether there may be more of each.
    has_a: bool,
    has_b: bool,
    follows_a: bool,
    /// Time of the last sample.
    last: Option<i64>,
    penalty_a: i64,
    penalty_b: i64,
}

impl<'a> Pair<'a> {
    fn new(mut a: Box<dyn Cursor + 'a>, mut b: Box<dyn Cursor + 'a>) -> Self {
        let (has_a, has_b) = (a.next().is_some(), b.next().is_some());
        let (penalty_a, penalty_b) = (0, 0);
        Self { a, b, has_a, has_b, follows_a: true, last: None, penalty_a, penalty_b }
    }

    /// The earliest time of the next sample of a replica with this penalty.
    fn earliest(&self, penalty: i64) -> i64 {
        self.last.map_or(i64::MIN, |last| last.saturating_add(1).saturating_add(penalty))
    }

    fn advance(&mut self) -> Option<i64> {
        let (from_a, from_b) = (self.earliest(self.penalty_a), self.earliest(self.penalty_b));
        let a = if self.has_a { self.a.seek(from_a) } else { None };
        let b = if self.has_b { self.b.seek(from_b) } else { None };
        (self.has_a, self.has_b) = (a.is_some(), b.is_some());
        let both = a.is_some() && b.is_some();
        (self.follows_a, self.penalty_a, self.penalty_b) = match (a, b) {
            (None, None) => (false, self.penalty_a, self.penalty_b),
            (Some(_), None) => (true, 0, self.penalty_b),
            (None, Some(_)) => (false, self.penalty_a, 0),
            (Some(a), Some(b)) => (a <= b, 0, 0),
        };
        let time = if self.follows_a { a } else { b }?;
        if both {
            let penalty = self
                .last
                .map_or(INITIAL_PENALTY_MS, |last| time.saturating_sub(last).saturating_mul(2));
            if self.follows_a {
                self.penalty_b = penalty;
            } else {
                self.penalty_a = penalty;
            }
        }
        self.last = Some(time);
        Some(time)
    }
}

impl Cursor for Pair<'_> {
    fn next(&mut self) -> Option<i64> {
        let (last, followed_a) = (self.sample().and_then(|s| s.value), self.follows_a);
        let time = self.advance();
        if let Some(last) = last.filter(|_| self.follows_a != followed_a) {
            self.raise(last);
        }
        time
    }

    fn seek(&mut self, time: i64) -> Option<i64> {
        // One by one, so that no gap is missed.
        while self.sample()?.time < time {
            self.next()?;
        }
        Some(self.sample()?.time)
    }

    fn sample(&self) -> Option<Sample> {
        if self.follows_a { self.a.sample() } else { self.b.sample() }
    }

    fn raise(&mut self, last: f64) {
        if self.has_a {
            self.a.raise(last);
        }
        if self.has_b {
            self.b.raise(last);
        }
    }
}

#[cfg(test)]
mod tests;
