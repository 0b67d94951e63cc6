//! What is planned, by example and by property.

use proptest::prelude::*;
use serde_json::json;
use ulid::Ulid;

use super::*;
use crate::block::BlockStats;

/// Blocks from `(mint, maxt)`, named in this order, with 100 series each.
fn metas(ranges: &[(i64, i64)]) -> Vec<BlockMeta> {
    (1..).zip(ranges).map(|(name, range)| meta(name, *range)).collect()
}

fn meta(name: u128, (mint, maxt): (i64, i64)) -> BlockMeta {
    let mut stats = BlockStats::default();
    (stats.num_samples, stats.num_series) = (1000, 100);
    BlockMeta::of_head(Ulid(name), mint, maxt, stats)
}

fn planned(metas: &[BlockMeta], ranges: &[i64]) -> Vec<usize> {
    let metas: Vec<&BlockMeta> = metas.iter().collect();
    plan(&metas, ranges).unwrap_or_default()
}

const NOTHING: [usize; 0] = [];

/// What Prometheus's own tests of its planner use.
const RANGES: [i64; 4] = [20, 60, 180, 540];

#[test]
fn ranges_are_threefold_up_to_a_bound() {
    assert_eq!(ranges(20, 540), RANGES);
    assert_eq!(ranges(20, 539), [20, 60, 180]);
    assert_eq!(ranges(20, 5), [20]);
    assert_eq!(ranges(i64::MAX / 2, i64::MAX), [i64::MAX / 2]);
}

#[test]
fn aligned_ranges_become_one_but_for_the_newest_block() {
    // A single block, and two of which one is the newest.
    assert_eq!(planned(&metas(&[(0, 20)]), &RANGES), NOTHING);
    assert_eq!(planned(&metas(&[(0, 20), (20, 40)]), &RANGES), NOTHING);
    // The range is full, but the last block is the newest; then it is not.
    assert_eq!(planned(&metas(&[(0, 20), (20, 40), (40, 60)]), &RANGES), NOTHING);
    let full = [(0, 20), (20, 40), (40, 60), (60, 80)];
    assert_eq!(planned(&metas(&full), &RANGES), [0, 1, 2]);
    // With a gap; and in any order.
    assert_eq!(planned(&metas(&[(0, 20), (20, 40), (60, 80), (80, 100)]), &RANGES), [0, 1]);
    assert_eq!(planned(&metas(&[(60, 80), (40, 60), (0, 20), (20, 40)]), &RANGES), [2, 3, 1]);
    // Full, with one missing at a place inside.
    assert_eq!(planned(&metas(&[(0, 20), (40, 60), (60, 80)]), &RANGES), [0, 1]);
    // The next level, and its newest part not yet.
    let next = [(0, 60), (60, 120), (120, 180), (180, 200)];
    assert_eq!(planned(&metas(&next), &RANGES), [0, 1, 2]);
    assert_eq!(planned(&metas(&[(0, 60), (60, 120), (180, 200), (200, 220)]), &RANGES), [0, 1]);
    assert_eq!(planned(&metas(&[(0, 60), (60, 120), (120, 140), (140, 160)]), &RANGES), NOTHING);
    // Blocks longer than the range, or across its border, are not touched.
    assert_eq!(planned(&metas(&[(0, 1000), (1000, 1010), (1010, 1020)]), &RANGES), NOTHING);
    assert_eq!(planned(&metas(&[(50, 70), (70, 110), (110, 130), (130, 150)]), &RANGES), NOTHING);
    // Before the epoch the ranges go on.
    let before = [(-60, -40), (-40, -20), (-20, 0), (0, 20)];
    assert_eq!(planned(&metas(&before), &RANGES), [0, 1, 2]);
    // One length only: nothing grows.
    assert_eq!(planned(&metas(&full), &RANGES[..1]), NOTHING);
}

#[test]
fn overlapping_blocks_become_one_at_once() {
    assert_eq!(planned(&metas(&[(0, 20), (19, 40)]), &RANGES), [0, 1]);
    assert_eq!(planned(&metas(&[(0, 20), (20, 40), (30, 50)]), &RANGES), [1, 2]);
    // A chain of overlaps; the first of two.
    let chain = [(0, 20), (10, 40), (39, 60), (60, 70), (65, 80)];
    assert_eq!(planned(&metas(&chain), &RANGES), [0, 1, 2]);
    // One inside another, before the rest.
    assert_eq!(planned(&metas(&[(0, 100), (10, 20), (30, 40), (100, 120)]), &RANGES), [0, 1, 2]);
}

#[test]
fn what_failed_is_left_alone() {
    let mut full =
        metas(&[(0, 20), (20, 40), (40, 60), (60, 80), (80, 100), (120, 140), (140, 160)]);
    full[1].compaction.failed = true;
    assert_eq!(planned(&full, &RANGES), [3, 4]);
    let mut overlap = metas(&[(0, 20), (10, 30), (30, 50), (40, 60)]);
    overlap[0].compaction.failed = true;
    assert_eq!(planned(&overlap, &RANGES), [2, 3]);
    let mut empty = metas(&[(0, 20), (100, 120)]);
    empty[0].stats = BlockStats::default();
    assert_eq!(planned(&empty, &RANGES), [0]);
    empty[0].compaction.failed = true;
    assert_eq!(planned(&empty, &RANGES), NOTHING);
}

#[test]
fn blocks_much_of_which_is_deleted_are_rewritten() {
    let with = |range, tombstones| {
        let mut metas = metas(&[range, (1000, 1020)]);
        metas[0].stats.num_tombstones = tombstones;
        planned(&metas, &RANGES)
    };
    // The middle length is 180: more than five in a hundred and one.
    assert_eq!(with((0, 180), 5), NOTHING);
    assert_eq!(with((0, 180), 6), [0]);
    // Below it everything must be gone.
    assert_eq!(with((0, 60), 99), NOTHING);
    assert_eq!(with((0, 60), 100), [0]);
    // The newest block is left alone.
    let mut newest = metas(&[(0, 180)]);
    newest[0].stats.num_tombstones = 100;
    assert_eq!(planned(&newest, &RANGES), NOTHING);
}

#[test]
fn what_must_not_be_mixed_is_not() {
    // Samples out of order merge with what they overlap, but those beyond what whole blocks cover
    // wait.
    let mut metas = metas(&[(0, 20), (0, 20), (20, 40), (40, 60), (60, 80)]);
    for place in [1, 2, 3, 4] {
        metas[place].compaction.hints = vec!["from-out-of-order".to_owned()];
    }
    assert_eq!(planned(&metas, &RANGES), [0, 1]);
    assert_eq!(planned(&metas[1..], &RANGES), NOTHING);
    metas.push(meta(9, (80, 100)));
    assert_eq!(planned(&metas[1..], &RANGES), [0, 1, 2]);
    // Chosen series stay among themselves.
    metas[1].compaction.hints = vec!["from-stale-series".to_owned()];
    assert_eq!(planned(&[metas[0].clone(), metas[1].clone()], &RANGES), NOTHING);

    let thanos = |external: &str, resolution: i64| json!({"labels": {"replica": external}, "downsample": {"resolution": resolution}});
    let mut of_thanos = self::metas(&[(0, 20), (0, 20), (0, 20), (0, 20)]);
    for (place, section) in [thanos("a", 0), thanos("b", 0), thanos("a", 0), thanos("a", 300_000)]
        .into_iter()
        .enumerate()
    {
        of_thanos[place].others.insert("thanos".to_owned(), section);
    }
    assert_eq!(planned(&of_thanos, &RANGES), [0, 2]);
    assert_eq!(planned(&of_thanos[..2], &RANGES), NOTHING);
    assert_eq!(planned(&of_thanos[3..], &RANGES), NOTHING);
}

/// A block with a range, tombstones, and whether it failed or is empty.
fn any_meta() -> impl Strategy<Value = BlockMeta> {
    let flags = (0..12_u8, 0..8_u8);
    (any::<u128>(), -400..400_i64, 1..130_i64, 0..130_u64, flags).prop_map(
        |(name, mint, length, tombstones, (failed, empty))| {
            // Half of them aligned, as heads cut them.
            let (mint, maxt) = match length % 2 {
                0 => (mint, mint + length),
                _ => (mint / 20 * 20, mint / 20 * 20 + 20),
            };
            let mut meta = meta(name, (mint, maxt));
            meta.stats.num_tombstones = tombstones;
            meta.compaction.failed = failed == 0;
            if empty == 0 {
                meta.stats = BlockStats::default();
            }
            meta
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn planning_ends_and_leaves_nothing_to_do(
        mut metas in prop::collection::vec(any_meta(), 0..25),
    ) {
        let mut turns = 0;
        let mut level = 0;
        loop {
            let places = planned(&metas, &RANGES);
            if places.is_empty() {
                break;
            }
            turns += 1;
            prop_assert!(turns <= 60, "does not end");
            let sources: Vec<BlockMeta> = places.iter().map(|place| metas[*place].clone()).collect();
            prop_assert!(sources.is_sorted_by_key(|meta| (meta.mint, meta.ulid)));
            prop_assert!(!sources.iter().any(|meta| meta.compaction.failed));
            let rest: Vec<BlockMeta> =
                metas.iter().filter(|meta| !sources.contains(meta)).cloned().collect();
            prop_assert_eq!(rest.len() + sources.len(), metas.len(), "each once");
            let sources: Vec<&BlockMeta> = sources.iter().collect();
            let mut stats = BlockStats::default();
            stats.num_samples = sources.iter().map(|meta| meta.stats.num_samples).sum();
            stats.num_series = 100;
            level += 1;
            let merged = BlockMeta::merged(Ulid(level), &sources, stats);
            metas = rest;
            if merged.stats.num_samples > 0 {
                metas.push(merged);
            }
        }
        // Blocks that overlap are only left where one of them failed.
        metas.sort_by_key(|meta| (meta.mint, meta.ulid));
        if !metas.iter().any(|meta| meta.compaction.failed) {
            prop_assert!(metas.windows(2).all(|pair| pair[0].maxt <= pair[1].mint));
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_matter(
        metas in prop::collection::vec(any_meta(), 0..12),
    ) {
        let names = |metas: &[BlockMeta]| -> Vec<Ulid> {
            planned(metas, &RANGES).iter().map(|place| metas[*place].ulid).collect()
        };
        let reversed: Vec<BlockMeta> = metas.iter().rev().cloned().collect();
        prop_assert_eq!(names(&metas), names(&reversed));
    }
}
