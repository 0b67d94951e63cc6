//! What operators hand to each other: the values of one series at all steps.
//!
//! A [`Column`] holds floats and a bitmap of the steps that have one, and a second list with native
//! histograms, which is only made once there is one. Operators never assume that a step without a
//! float is empty: methods that name histograms see these, methods that hand out values see
//! floats, and all others see both.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use bitvec::order::Lsb0;
use bitvec::vec::BitVec;
use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::histogram::FloatHistogram;
use ferula_index::Labels;

use crate::Error;
use crate::ledger::Charge;
use crate::limits;
use crate::vectorized::vectorized;

/// Bytes that a step takes: a number, and a bit.
pub(super) const STEP_BYTES: usize = 9;

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
    /// Whether it was meant to end later than it starts, be there a second step or not.
    pub(crate) is_range: bool,
}

impl Grid {
    /// The steps from `start` up to `end`; none if it lies before.
    pub(crate) fn new(start: i64, end: i64, step: i64) -> Self {
        let step = step.max(1);
        let len = match end.checked_sub(start) {
            Some(span) if span >= 0 => usize::try_from(span / step).map_or(0, |n| n + 1),
            _ => 0,
        };
        Self { start, step, len, is_range: end > start }
    }

    /// One step.
    pub(crate) fn instant(time: i64) -> Self {
        Self { start: time, step: 1, len: 1, is_range: false }
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
pub(crate) struct Column {
    values: Vec<f64>,
    /// Steps that have a float. Bits behind the last step are 0, so that whole words can be
    /// looked at.
    present: Presence,
    /// By step; empty if there is no histogram at all. A step has a float or a histogram.
    histograms: Vec<Option<Arc<FloatHistogram>>>,
    charge: Charge,
    /// Steps that memory was taken for.
    room: usize,
    /// Bytes taken for histograms.
    histogram_bytes: usize,
}

impl Column {
    /// Makes a column of no steps, whose memory `charge` takes.
    pub(crate) fn new(charge: Charge) -> Self {
        Self {
            values: Vec::new(),
            present: Presence::new(),
            histograms: Vec::new(),
            charge,
            room: 0,
            histogram_bytes: 0,
        }
    }

    /// Makes it a column of `len` steps without values, keeping the memory.
    pub(crate) fn reset(&mut self, len: usize) -> Result<(), Error> {
        self.drop_histograms();
        self.values.clear();
        self.present.clear();
        if len > self.room {
            self.charge.add_each(len - self.room, STEP_BYTES)?;
            self.room = len;
            self.values.reserve_exact(len);
        }
        self.values.resize(len, 0.0);
        self.present.resize(len, false);
        self.present.set_uninitialized(false);
        Ok(())
    }

    /// Makes it a column of `len` steps with the float `value` of each.
    pub(crate) fn fill(&mut self, len: usize, value: impl Fn(usize) -> f64) -> Result<(), Error> {
        self.reset(len)?;
        self.values.iter_mut().enumerate().for_each(|(step, slot)| *slot = value(step));
        self.present.fill(true);
        self.present.set_uninitialized(false);
        Ok(())
    }

    /// Takes over the values of another column.
    pub(crate) fn copy_from(&mut self, other: &Self) -> Result<(), Error> {
        self.reset(other.len())?;
        self.values.copy_from_slice(&other.values);
        self.present.copy_from_bitslice(&other.present);
        for (step, histogram) in other.histograms() {
            self.set_histogram(step, Arc::clone(histogram));
        }
        Ok(())
    }

    /// Number of steps.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Number of samples that the column counts as while it is kept.
    pub(crate) fn held(&self) -> usize {
        let histograms = self.histograms().map(|(_, histogram)| limits::weight(histogram));
        histograms.fold(self.len(), usize::saturating_add)
    }

    /// Number of samples that the values count as once they are in a result.
    pub(crate) fn weight(&self) -> usize {
        let histograms = self.histograms().map(|(_, histogram)| limits::weight(histogram));
        histograms.fold(self.present.count_ones(), usize::saturating_add)
    }

    /// Bytes that the values take up as samples of a result.
    pub(crate) fn result_bytes(&self) -> usize {
        let sample = size_of::<ferula_chunkenc::Sample>();
        let entry =
            if self.has_histograms() { size_of::<Option<Arc<FloatHistogram>>>() } else { 0 };
        let histograms: usize =
            self.histograms().map(|(_, histogram)| histogram.size_bytes()).sum();
        self.count() * (sample + entry) + histograms
    }

    /// Sets the float at a step that has no histogram.
    #[inline]
    pub(crate) fn set(&mut self, step: usize, value: f64) {
        self.values[step] = value;
        self.present.as_raw_mut_slice()[step / 64] |= 1 << (step % 64);
    }

    /// Makes floats of all steps in a range that has no histograms, and hands them out to be written.
    #[inline]
    pub(crate) fn set_all(&mut self, steps: Range<usize>) -> &mut [f64] {
        self.present[steps.clone()].fill(true);
        &mut self.values[steps]
    }

    /// Sets the histogram at a step. Its memory is owed: who sets many of them looks at the limits in
    /// between.
    pub(crate) fn set_histogram(&mut self, step: usize, histogram: Arc<FloatHistogram>) {
        if self.histograms.is_empty() {
            self.owe(self.values.len() * size_of::<Option<Arc<FloatHistogram>>>());
            self.histograms.resize(self.values.len(), None);
        }
        self.owe(histogram.size_bytes());
        self.histograms[step] = Some(histogram);
        self.present.set(step, false);
    }

    fn owe(&mut self, bytes: usize) {
        self.charge.owe(bytes);
        self.histogram_bytes += bytes;
    }

    /// The float at a step.
    #[inline]
    pub(crate) fn get(&self, step: usize) -> Option<f64> {
        self.has_float(step).then(|| self.values[step])
    }

    /// The histogram at a step.
    #[inline]
    pub(crate) fn histogram(&self, step: usize) -> Option<&Arc<FloatHistogram>> {
        self.histograms.get(step)?.as_ref()
    }

    /// Tells whether a step has a value.
    #[inline]
    pub(crate) fn has(&self, step: usize) -> bool {
        self.has_float(step) || self.histogram(step).is_some()
    }

    #[inline]
    fn has_float(&self, step: usize) -> bool {
        self.present.as_raw_slice()[step / 64] >> (step % 64) & 1 == 1
    }

    /// Tells whether any value may be a histogram.
    #[inline]
    pub(crate) fn has_histograms(&self) -> bool {
        !self.histograms.is_empty()
    }

    /// Removes the value at a step.
    pub(crate) fn unset(&mut self, step: usize) {
        self.present.set(step, false);
        if let Some(histogram) = self.histograms.get_mut(step) {
            *histogram = None;
        }
    }

    /// Which steps have a value.
    pub(crate) fn presence(&self) -> Cow<'_, Presence> {
        if !self.has_histograms() {
            return Cow::Borrowed(&self.present);
        }
        let mut present = self.present.clone();
        for (step, _) in self.histograms() {
            present.set(step, true);
        }
        Cow::Owned(present)
    }

    /// Removes the values of steps that are not in `steps`.
    pub(crate) fn keep(&mut self, steps: &Presence) {
        self.present &= steps;
        for (step, histogram) in self.histograms.iter_mut().enumerate() {
            if !steps[step] {
                *histogram = None;
            }
        }
        self.forget_no_histograms();
    }

    /// Removes the list of histograms if there are none in it, so that nobody looks for them.
    fn forget_no_histograms(&mut self) {
        if self.histograms.iter().all(Option::is_none) {
            self.drop_histograms();
        }
    }

    /// Number of values.
    pub(crate) fn count(&self) -> usize {
        self.present.count_ones() + self.histograms().count()
    }

    /// Tells whether no step has a value.
    pub(crate) fn is_empty(&self) -> bool {
        self.present.not_any() && self.histograms.iter().all(Option::is_none)
    }

    /// Iterates over the floats and their steps.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.present.iter_ones().map(|step| (step, self.values[step]))
    }

    /// Iterates over the histograms and their steps.
    pub(crate) fn histograms(&self) -> impl Iterator<Item = (usize, &Arc<FloatHistogram>)> + '_ {
        let histograms = self.histograms.iter().enumerate();
        histograms.filter_map(|(step, histogram)| Some((step, histogram.as_ref()?)))
    }

    /// Calls `each` with every float and its step; runs of 64 are walked without looking at bits.
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

    /// Calls `add` with every float and the state of its step.
    #[inline]
    pub(crate) fn fold_into<S>(&self, states: &mut [S], add: impl Fn(&mut S, f64)) {
        vectorized(
            #[inline(always)]
            || self.fold_words_into(states, add),
        );
    }

    #[inline(always)]
    fn fold_words_into<S>(&self, states: &mut [S], add: impl Fn(&mut S, f64)) {
        for (block, &word) in self.present.as_raw_slice().iter().enumerate() {
            let first = block * 64;
            let mut bits = word;
            // Nearly always all steps have a value, and a plain loop over them is fastest.
            let n_plain = word.trailing_ones() as usize;
            if n_plain >= 16 {
                let plain = first..first + n_plain;
                let (states, values) = (&mut states[plain.clone()], &self.values[plain]);
                states.iter_mut().zip(values).for_each(|(state, value)| add(state, *value));
                bits = word.checked_shr(word.trailing_ones()).unwrap_or(0);
                bits = bits.checked_shl(word.trailing_ones()).unwrap_or(0);
            }
            while bits != 0 {
                let step = first + bits.trailing_zeros() as usize;
                add(&mut states[step], self.values[step]);
                bits &= bits - 1;
            }
        }
    }

    /// Which steps have a float.
    pub(crate) fn floats(&self) -> &Presence {
        &self.present
    }

    /// Appends all values to `batch`, in order of their steps.
    pub(crate) fn append_to(&self, grid: Grid, batch: &mut SampleBatch) {
        if !self.has_histograms() {
            self.for_each(|step, value| batch.push(grid.time(step), value));
            return;
        }
        for step in self.presence().iter_ones() {
            match self.histogram(step) {
                Some(histogram) => batch.push_histogram(grid.time(step), Arc::clone(histogram)),
                None => batch.push(grid.time(step), self.values[step]),
            }
        }
    }

    /// Replaces every float by `change` of it; `None` removes it.
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

    /// Replaces every histogram by `change` of it; `None` removes it.
    pub(crate) fn map_histograms(
        &mut self,
        mut change: impl FnMut(usize, Arc<FloatHistogram>) -> Option<Arc<FloatHistogram>>,
    ) {
        for step in 0..self.histograms.len() {
            let Some(histogram) = self.histograms[step].take() else { continue };
            let Some(changed) = change(step, histogram) else { continue };
            self.owe(changed.size_bytes());
            self.histograms[step] = Some(changed);
        }
        self.forget_no_histograms();
    }

    /// Replaces every histogram by a float, and removes all other floats.
    pub(crate) fn measure_histograms(&mut self, measure: impl Fn(&FloatHistogram) -> f64) {
        let histograms = std::mem::take(&mut self.histograms);
        self.drop_histograms();
        self.present.fill(false);
        for (step, histogram) in histograms.into_iter().enumerate() {
            if let Some(histogram) = histogram {
                self.set(step, measure(&histogram));
            }
        }
    }

    /// Removes all histograms.
    pub(crate) fn drop_histograms(&mut self) {
        if self.histogram_bytes > 0 {
            self.histograms = Vec::new();
            self.charge.lower_by(std::mem::take(&mut self.histogram_bytes));
        }
    }

    /// Removes the values of steps that `wanted` turns down.
    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(usize) -> bool) {
        if !self.has_histograms() {
            self.map(|step, value| wanted(step).then_some(value));
            return;
        }
        for step in 0..self.len() {
            if self.has(step) && !wanted(step) {
                self.unset(step);
            }
        }
        self.forget_no_histograms();
    }

    /// Takes the value of the first step for all of `len` steps.
    pub(crate) fn broadcast(&mut self, len: usize) -> Result<(), Error> {
        if let Some(histogram) = self.histograms.first().cloned().flatten() {
            self.reset(len)?;
            self.owe(histogram.size_bytes() + len * size_of::<Option<Arc<FloatHistogram>>>());
            self.histograms = vec![Some(histogram); len];
            return Ok(());
        }
        let first = self.present.first().is_some_and(|has| *has).then(|| self.values[0]);
        match first {
            Some(value) => self.fill(len, |_| value),
            None => self.reset(len),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Span;
    use crate::ledger::Site;
    use crate::limits::{Bounds, CancelHandle, Limits};

    fn column() -> Column {
        let bounds = Bounds { timeout_ms: 0, max_samples: 0, max_bytes: 4096 };
        let limits = Arc::new(Limits::new("", CancelHandle::default(), None, bounds));
        Column::new(Charge::new(&limits, Site { what: "values", span: Span::default() }))
    }

    #[test]
    fn steps_and_histograms_are_counted() {
        let mut column = column();
        assert!(matches!(column.reset(1 << 40), Err(Error::TooMuchMemory { .. })));
        column.reset(100).unwrap();
        let large = FloatHistogram { positive_buckets: vec![1.0; 1000], ..Default::default() };
        column.set_histogram(0, Arc::new(large));
        let limits = Arc::clone(column.charge.limits());
        assert!(limits.check().is_err());
        column.drop_histograms();
        limits.check().unwrap();
        drop(column);
        assert!(limits.ledger().has_room(4096));
    }

    #[test]
    fn columns_keep_track_of_their_steps() {
        let mut column = column();
        column.reset(130).unwrap();
        for step in (0..130).filter(|step| step % 3 != 1) {
            column.set(step, step as f64);
        }
        column.map(|step, value| (step % 2 == 0).then_some(value + 1.0));
        let mut seen = Vec::new();
        column.for_each(|step, value| seen.push((step, value)));
        assert_eq!(seen, column.iter().collect::<Vec<_>>());
        let mut states = vec![0.0; 130];
        column.fold_into(&mut states, |state, value| *state += value);
        let expected = |step: usize| column.get(step).unwrap_or(0.0);
        assert!(states.iter().enumerate().all(|(step, state)| *state == expected(step)));
        assert_eq!(column.get(6), Some(7.0));
        assert_eq!((column.get(3), column.get(4)), (None, None));
        column.reset(70).unwrap();
        assert!(column.is_empty());
        column.fill(70, |_| 1.0).unwrap();
        assert_eq!(column.count(), 70);
        column.unset(20);
        let mut counts = vec![0; 70];
        column.fold_into(&mut counts, |count, _| *count += 1);
        assert!(counts.iter().enumerate().all(|(step, count)| *count == i32::from(step != 20)));
    }

    #[test]
    fn a_step_has_a_float_or_a_histogram() {
        let mut column = column();
        column.reset(70).unwrap();
        column.set(3, 1.0);
        column.set(66, 2.0);
        assert!(!column.has_histograms());
        column.set_histogram(66, Arc::default());
        column.set_histogram(5, Arc::default());
        assert_eq!((column.get(66), column.has(66)), (None, true));
        assert_eq!(column.presence().iter_ones().collect::<Vec<_>>(), [3, 5, 66]);
        column.retain(|step| step != 66);
        assert_eq!((column.count(), column.histograms().count()), (2, 1));
        column.unset(5);
        assert!(column.histogram(5).is_none());
        column.set_histogram(0, Arc::default());
        column.measure_histograms(|_| 7.0);
        assert_eq!(column.iter().collect::<Vec<_>>(), [(0, 7.0)]);
        column.set_histogram(0, Arc::default());
        column.broadcast(2).unwrap();
        assert_eq!(column.histograms().count(), 2);
    }

    #[test]
    fn grids_end_at_their_last_step() {
        let grid = Grid::new(10, 45, 10);
        assert_eq!((grid.len, grid.end()), (4, 40));
        assert_eq!(Grid::new(10, 9, 10).len, 0);
        assert_eq!(Grid::new(i64::MIN, i64::MAX, 1).len, 0);
    }
}
