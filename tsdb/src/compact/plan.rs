//! Which blocks are compacted next: a pure function of their descriptions.
//!
//! The rules are those of Prometheus's leveled compactor (`tsdb/compact.go`, 3.14), in this order:
//!
//! 1. Blocks that overlap become one. For the rest the newest block is left alone.
//! 2. Blocks that fill an aligned range of the next length, or lie in one that is past, become one.
//! 3. A block of at least a middle length of which much is deleted, and any block of which
//!    everything is, is rewritten.
//!
//! What differs: a block without samples is rewritten, which removes it; a block that failed to be
//! compacted is left out of overlaps too; blocks that Thanos tells apart by external labels are not
//! mixed, and those that it downsampled are left alone; a block that holds a part of the samples of
//! its range is not mixed with others before a whole block reaches as far, for the mixture would
//! claim to cover what only the log has.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::block::BlockMeta;

/// How many times as long the blocks of one level are as those of the level below.
const RANGE_FACTOR: i64 = 3;

/// Part of its series, in percent, that a block has tombstones for before it is rewritten.
const TOMBSTONES_PERCENT: u64 = 5;

/// Lengths of blocks in milliseconds: from `first` on, threefold, as long as they do not exceed
/// `max`.
pub(crate) fn ranges(first: i64, max: i64) -> Vec<i64> {
    let next = |range: &i64| range.checked_mul(RANGE_FACTOR).filter(|range| *range <= max);
    std::iter::successors(Some(first), next).collect()
}

/// The blocks that become one next, by their places in `metas`, in order of time; `None` if there
/// is nothing to do. A single one is rewritten. `ranges` are the lengths of blocks, ascending.
pub(crate) fn plan(metas: &[&BlockMeta], ranges: &[i64]) -> Option<Vec<usize>> {
    let whole = metas.iter().filter(|meta| !meta.compaction.is_of_part());
    let covered_until = whole.map(|meta| meta.maxt).max();
    let is_settled = |meta: &BlockMeta| {
        !meta.compaction.is_of_part() || covered_until.is_some_and(|until| meta.maxt <= until)
    };
    let mut classes: BTreeMap<Class, Vec<Candidate<'_>>> = BTreeMap::new();
    for (place, meta) in metas.iter().copied().enumerate() {
        if is_settled(meta)
            && let Some(class) = Class::of(meta)
        {
            classes.entry(class).or_default().push(Candidate { place, meta });
        }
    }
    classes.into_values().find_map(|mut class| {
        class.sort_by_key(|candidate| (candidate.meta.mint, candidate.meta.ulid));
        let planned = plan_class(&class, ranges)?;
        Some(planned.iter().map(|candidate| candidate.place).collect())
    })
}

/// A block with its place in the list it was given in.
#[derive(Clone, Copy, Debug)]
struct Candidate<'a> {
    place: usize,
    meta: &'a BlockMeta,
}

/// What blocks have in common that may be mixed. Whole blocks come first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    is_of_chosen_series: [bool; 2],
    external_labels: String,
}

impl Class {
    /// `None` for a block that is not to be compacted.
    fn of(meta: &BlockMeta) -> Option<Self> {
        let thanos = meta.others.get("thanos");
        let resolution = thanos.and_then(|thanos| thanos.pointer("/downsample/resolution"));
        if resolution.and_then(Value::as_i64).is_some_and(|resolution| resolution != 0) {
            return None;
        }
        let labels = thanos.and_then(|thanos| thanos.get("labels"));
        Some(Self {
            is_of_chosen_series: meta.compaction.is_of_chosen_series(),
            external_labels: labels.map(Value::to_string).unwrap_or_default(),
        })
    }
}

fn plan_class<'a>(class: &[Candidate<'a>], ranges: &[i64]) -> Option<Vec<Candidate<'a>>> {
    if let Some(overlapping) = overlapping(class) {
        return Some(overlapping.to_vec());
    }
    // The newest block stays as it was cut for as long as it is the newest, so that a backup can
    // take each block once.
    let (_, older) = class.split_last()?;
    if let Some(empty) = older.iter().find(|block| block.is_empty() && !block.has_failed()) {
        return Some(vec![*empty]);
    }
    if let Some(range) = full_range(older, ranges) {
        return Some(range.to_vec());
    }
    deleted(older, ranges).map(|block| vec![block])
}

impl Candidate<'_> {
    fn is_empty(&self) -> bool {
        self.meta.stats.num_samples == 0
    }

    fn has_failed(&self) -> bool {
        self.meta.compaction.failed
    }
}

/// The first run of blocks that overlap, by start.
fn overlapping<'a, 'm>(blocks: &'a [Candidate<'m>]) -> Option<&'a [Candidate<'m>]> {
    let mut start = 0;
    while start < blocks.len() {
        let mut until = blocks[start].meta.maxt;
        let mut end = start + 1;
        while let Some(next) = blocks.get(end).filter(|next| next.meta.mint < until) {
            until = until.max(next.meta.maxt);
            end += 1;
        }
        let run = &blocks[start..end];
        if run.len() > 1 && !run.iter().any(Candidate::has_failed) {
            return Some(run);
        }
        start = end;
    }
    None
}

/// The blocks that become one of the smallest length for which there are any.
fn full_range<'a, 'm>(blocks: &'a [Candidate<'m>], ranges: &[i64]) -> Option<&'a [Candidate<'m>]> {
    let newest_start = blocks.last()?.meta.mint;
    let is_due = |part: &&[Candidate<'_>], range: i64| {
        let (first, last) = (part.first(), part.last());
        let span = first.zip(last).map(|(first, last)| (first.meta.mint, last.meta.maxt));
        span.is_some_and(|(mint, maxt)| {
            part.len() > 1
                && (maxt.saturating_sub(mint) == range || maxt <= newest_start)
                && !part.iter().any(Candidate::has_failed)
        })
    };
    ranges.iter().skip(1).find_map(|range| {
        split_by_range(blocks, *range).into_iter().find(|part| is_due(part, *range))
    })
}

/// Runs of blocks that lie in the same aligned range of this length; blocks that fit in none are
/// left out.
fn split_by_range<'a, 'm>(blocks: &'a [Candidate<'m>], range: i64) -> Vec<&'a [Candidate<'m>]> {
    let mut parts = Vec::new();
    let mut start = 0;
    while start < blocks.len() {
        let aligned = blocks[start].meta.mint.div_euclid(range).saturating_mul(range);
        let range_end = aligned.saturating_add(range);
        let fits = |block: &Candidate<'_>| block.meta.maxt <= range_end;
        let n = blocks[start..].iter().take_while(|block| fits(block)).count();
        if n > 0 {
            parts.push(&blocks[start..start + n]);
        }
        start += n.max(1);
    }
    parts
}

/// The newest block that is long enough and much of which is deleted, or all of it.
fn deleted<'m>(blocks: &[Candidate<'m>], ranges: &[i64]) -> Option<Candidate<'m>> {
    let long = ranges.get(ranges.len() / 2).copied().unwrap_or(i64::MAX);
    for block in blocks.iter().rev().filter(|block| !block.has_failed()) {
        let stats = &block.meta.stats;
        let is_long = block.meta.maxt.saturating_sub(block.meta.mint) >= long;
        if stats.num_tombstones > 0
            && (stats.num_tombstones >= stats.num_series
                || is_long
                    && stats.num_tombstones.saturating_mul(100)
                        > stats.num_series.saturating_add(1).saturating_mul(TOMBSTONES_PERCENT))
        {
            return Some(*block);
        }
    }
    None
}

#[cfg(test)]
mod tests;
