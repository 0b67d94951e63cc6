//! `topk` and `bottomk`: the series with the largest or smallest values of each group and step.
//!
//! A heap of at most `k` candidates per group and step. Which of several equal values is taken
//! follows from the order of the series and the shape of the heap, which is that of Go's
//! `container/heap`, as in Prometheus.

use super::Counts;
use super::histograms::note_ignored;
use super::table::Groups;
use crate::exec::batch::{Column, Grid, SeriesMeta};
use crate::exec::{BoxOperator, Context, Metas, Operator, by_size, read_all};
use crate::ledger::Charge;
use crate::{Error, Span};

/// Makes the operator of `topk` or `bottomk`.
pub(super) fn build(
    input: BoxOperator,
    span: Span,
    groups: Groups,
    counts: Counts,
    largest: bool,
    grid: Grid,
    context: &Context,
) -> Result<BoxOperator, Error> {
    let mut metas = Metas::builder(context, input.series().len())?;
    input.series().iter().try_for_each(|meta| metas.push_shared(meta.clone()))?;
    let metas = metas.build();
    let mut topk = TopK {
        input: Some(input),
        span,
        metas,
        groups,
        counts,
        largest,
        chosen: Vec::new(),
        held: 0,
        charge: context.charge("candidates"),
        grid,
        context: context.clone(),
    };
    if grid.len == 1 {
        // The answer to an instant query is ordered by value.
        topk.order_by_value()?;
    }
    Ok(Box::new(topk))
}

struct TopK {
    input: Option<BoxOperator>,
    /// The aggregation in the query.
    span: Span,
    metas: Metas,
    groups: Groups,
    counts: Counts,
    largest: bool,
    /// Steps and values of each output series, once the input was read.
    chosen: Vec<Vec<(usize, f64)>>,
    /// Number of heaps and candidates.
    held: usize,
    charge: Charge,
    grid: Grid,
    context: Context,
}

impl TopK {
    /// Finds the candidates of every group and step, in order of groups.
    fn heaps(&mut self) -> Result<Vec<Vec<Heap>>, Error> {
        let Some(mut input) = self.input.take() else { return Ok(Vec::new()) };
        if self.counts.is_zero() {
            return Ok(Vec::new());
        }
        let n_heaps = self.groups.metas.len().saturating_mul(self.grid.len);
        self.context.limits.hold(n_heaps)?;
        self.held = n_heaps;
        self.charge.add_each(n_heaps, size_of::<Heap>())?;
        self.charge.add_each(self.groups.metas.len(), size_of::<Vec<Heap>>())?;
        let empty = Heap { entries: Vec::new(), largest: self.largest };
        let mut heaps = vec![vec![empty; self.grid.len]; self.groups.metas.len()];
        let n_series = self.metas.len();
        let (groups, counts, held) = (&self.groups, &self.counts, &mut self.held);
        let charge = &mut self.charge;
        let (limits, context, span) = (&self.context.limits, &self.context, self.span);
        let name = if self.largest { "topk" } else { "bottomk" };
        read_all(&mut *input, &self.context, |series, column| {
            // Where nothing is asked for, nothing is passed over.
            if column.histograms().any(|(step, _)| counts.at(step, n_series) > 0) {
                note_ignored(name, span, context);
            }
            let before = *held;
            column.for_each(|step, value| {
                let wanted = counts.at(step, n_series);
                let heap = &mut heaps[groups.of(series)][step];
                *held += usize::from(heap.offer(Entry { value, series }, wanted));
            });
            // A heap has room for four, or twice what is in it, and what is chosen as well.
            charge.add_each(*held - before, 6 * size_of::<Entry>())?;
            limits.hold(*held - before)
        })?;
        Ok(heaps)
    }

    fn choose(&mut self) -> Result<(), Error> {
        if self.input.is_none() {
            return Ok(());
        }
        let heaps = self.heaps()?;
        self.charge.add_each(self.metas.len(), size_of::<Vec<(usize, f64)>>())?;
        self.chosen = vec![Vec::new(); self.metas.len()];
        for steps in heaps {
            for (step, heap) in steps.into_iter().enumerate() {
                for entry in heap.entries {
                    self.chosen[entry.series].push((step, entry.value));
                }
            }
        }
        Ok(())
    }

    fn order_by_value(&mut self) -> Result<(), Error> {
        let mut entries = Vec::new();
        for steps in self.heaps()? {
            for mut heap in steps {
                heap.entries.sort_by(|a, b| by_size(a.value, b.value, self.largest));
                entries.append(&mut heap.entries);
            }
        }
        let mut metas = Metas::builder(&self.context, entries.len())?;
        entries.iter().try_for_each(|entry| metas.push_shared(self.metas[entry.series].clone()))?;
        self.metas = metas.build();
        self.charge.add_each(entries.len(), size_of::<Vec<(usize, f64)>>())?;
        self.chosen = entries.iter().map(|entry| vec![(0, entry.value)]).collect();
        Ok(())
    }
}

impl Operator for TopK {
    fn series(&self) -> &[SeriesMeta] {
        &self.metas
    }

    fn read(&mut self, index: usize, out: &mut Column) -> Result<(), Error> {
        self.choose()?;
        out.reset(self.grid.len)?;
        for (step, value) in &self.chosen[index] {
            out.set(*step, *value);
        }
        Ok(())
    }

    fn fork(&self) -> Option<BoxOperator> {
        None
    }
}

impl Drop for TopK {
    fn drop(&mut self) {
        self.context.limits.release(self.held);
    }
}

/// A value and the series that has it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    value: f64,
    series: usize,
}

/// The best entries so far, the worst of them on top.
#[derive(Clone, Debug)]
struct Heap {
    entries: Vec<Entry>,
    largest: bool,
}

impl Heap {
    /// Takes an entry if it is among the `wanted` best; tells whether there is one more now.
    fn offer(&mut self, entry: Entry, wanted: usize) -> bool {
        if self.entries.len() < wanted {
            self.entries.push(entry);
            self.up(self.entries.len() - 1);
            return true;
        }
        let Some(worst) = self.entries.first() else { return false };
        if self.is_worse(worst.value, entry.value) {
            self.entries[0] = entry;
            self.down(0);
        }
        false
    }

    /// Whether `a` is to be replaced by `b`.
    fn is_worse(&self, a: f64, b: f64) -> bool {
        let smaller = if self.largest { a < b } else { a > b };
        smaller || (a.is_nan() && !b.is_nan())
    }

    /// Whether the entry at `i` belongs nearer to the top than the one at `j`.
    fn is_above(&self, i: usize, j: usize) -> bool {
        let (a, b) = (self.entries[i].value, self.entries[j].value);
        a.is_nan() || if self.largest { a < b } else { a > b }
    }

    fn up(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if !self.is_above(at, parent) {
                break;
            }
            self.entries.swap(at, parent);
            at = parent;
        }
    }

    fn down(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            if left >= self.entries.len() {
                break;
            }
            let right = left + 1;
            let child =
                if right < self.entries.len() && self.is_above(right, left) { right } else { left };
            if !self.is_above(child, at) {
                break;
            }
            self.entries.swap(at, child);
            at = child;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn heaps_keep_the_best(
            values in prop::collection::vec(-100..100_i32, 1..60),
            wanted in 0..10_usize,
            largest: bool,
        ) {
            let mut heap = Heap { entries: Vec::new(), largest };
            for (series, value) in values.iter().enumerate() {
                heap.offer(Entry { value: f64::from(*value), series }, wanted);
            }
            let mut kept: Vec<f64> = heap.entries.iter().map(|entry| entry.value).collect();
            kept.sort_by(|a, b| by_size(*a, *b, largest));
            let mut all: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            all.sort_by(|a, b| by_size(*a, *b, largest));
            all.truncate(wanted);
            prop_assert_eq!(kept, all);
        }
    }

    #[test]
    fn numbers_replace_nan() {
        let mut heap = Heap { entries: Vec::new(), largest: true };
        for (series, value) in [f64::NAN, f64::NAN, 1.0, 2.0].into_iter().enumerate() {
            heap.offer(Entry { value, series }, 2);
        }
        let mut kept: Vec<usize> = heap.entries.iter().map(|entry| entry.series).collect();
        kept.sort_unstable();
        assert_eq!(kept, [2, 3]);
    }
}
