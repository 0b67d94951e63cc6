use std::sync::Arc;

use ferula_chunkenc::{Chunk, Encoding};
use ferula_index::SeriesRef;

use super::*;
use crate::head::memory::Counters;

const RANGE: i64 = 7_200_000;

const SERIES: SeriesRef = SeriesRef(77);

/// A page with one series, and another one beside it.
fn page() -> Page {
    let page = Page::new(1, Arc::new(Counters::default()));
    page.change(|page| {
        page.insert(SERIES);
        page.insert(SeriesRef(70));
    });
    page
}

fn append(page: &Page, timestamp: i64, batch: u64, views: &Views) {
    let context =
        AppendContext { batch: BatchId(batch), views, block_range_ms: RANGE, xor2_encoding: false };
    page.change(|page| {
        let mut series = page.series_mut(SERIES).unwrap();
        series.append(0, Sample::new(timestamp, 1.0), context);
    });
}

fn fill(page: &Page, samples: impl Iterator<Item = i64>) {
    for timestamp in samples {
        append(page, timestamp, 0, &Views::default());
    }
}

fn view<T>(page: &Page, look: impl FnOnce(SeriesView<'_>) -> T) -> T {
    look(page.lock().view(SERIES).unwrap())
}

fn ranges(page: &Page) -> Vec<(i64, i64)> {
    let seen = view(page, |series| series.chunks(i64::MIN, i64::MAX, BatchId::REPLAYED));
    let chunks = seen.map_or(Vec::new(), |seen| seen.into_chunks(None).unwrap());
    chunks.iter().map(|chunk| (chunk.mint, chunk.maxt)).collect()
}

#[test]
fn a_series_takes_80_bytes() {
    assert_eq!((size_of::<Slot>(), size_of::<Link>()), (80, 24));
}

#[test]
fn a_regular_scrape_gives_equal_chunks() {
    let page = page();
    fill(&page, (0..480).map(|i| i * 15_000));
    let expected: Vec<_> = (0..4).map(|i| (i * 1_800_000, (i + 1) * 1_800_000 - 15_000)).collect();
    assert_eq!(ranges(&page), expected);
}

#[test]
fn no_chunk_crosses_a_boundary() {
    let page = page();
    fill(&page, [-5, -1, 0, 5, RANGE - 1, RANGE, 3 * RANGE + 7].into_iter());
    let expected = [(-5, -1), (0, RANGE - 1), (RANGE, RANGE), (3 * RANGE + 7, 3 * RANGE + 7)];
    assert_eq!(ranges(&page), expected);
}

#[test]
fn a_chunk_spans_no_more_than_its_32_bits_tell() {
    let (page, views) = (page(), Views::default());
    let longest = i64::from(u32::MAX);
    for timestamp in [0, longest - 1, longest, 3 * longest] {
        let context = AppendContext {
            batch: BatchId::REPLAYED,
            views: &views,
            block_range_ms: 1 << 40,
            xor2_encoding: false,
        };
        page.change(|page| {
            page.series_mut(SERIES).unwrap().append(0, Sample::new(timestamp, 1.0), context);
        });
    }
    let expected = [(0, longest - 1), (longest, longest), (3 * longest, 3 * longest)];
    assert_eq!(ranges(&page), expected);
}

#[test]
fn a_reader_sees_what_was_visible_when_it_began() {
    let page = page();
    append(&page, 10, 1, &Views::of([], 0));
    let seen = |batch| view(&page, |series| series.newest_seen(BatchId(batch)));
    assert_eq!(seen(0), None);
    // A reader that began at batch 1 stays open from here on, later ones come and go.
    append(&page, 20, 2, &Views::of([1], 1));
    append(&page, 30, 2, &Views::of([1], 1));
    append(&page, 40, 3, &Views::of([1], 1));
    append(&page, 50, 7, &Views::of([1], 1));
    assert_eq!(seen(1), Some(10));
    assert_eq!([2, 3, 5, 7].map(seen), [Some(30), Some(40), Some(40), Some(50)]);
    // What no reader tells apart is not kept.
    append(&page, 60, 8, &Views::of([1, 5], 7));
    append(&page, 70, 9, &Views::of([1, 5], 8));
    assert_eq!([1, 5, 7, 8, 9].map(seen), [Some(10), Some(40), Some(60), Some(60), Some(70)]);
    // When all are gone, nothing is kept for them.
    append(&page, 80, 10, &Views::of([], 9));
    assert_eq!(page.lock().isolated().size_bytes(), 0);
    assert_eq!([9, 10].map(seen), [Some(70), Some(80)]);
}

#[test]
fn truncation_keeps_chunks_that_reach_into_what_stays() {
    let page = page();
    fill(&page, (0..480).map(|i| i * 15_000));
    let truncate = |mint| {
        page.change(|page| page.truncate(mint));
        page.lock().usage().n_chunks
    };
    assert_eq!(truncate(1_800_001), 3);
    assert_eq!(view(&page, |series| series.oldest()), Some(1_800_000));
    assert_eq!(truncate(RANGE), 0);
    assert!(view(&page, |series| series.is_empty()));
    let usage = page.lock().usage();
    assert_eq!((usage.open_used_bytes, usage.kept_bytes), (0, 0));
}

#[test]
fn a_page_gives_back_what_its_series_had() {
    let (page, views) = (Page::new(0, Arc::default()), Views::default());
    let context = AppendContext {
        batch: BatchId::REPLAYED,
        views: &views,
        block_range_ms: RANGE,
        xor2_encoding: false,
    };
    let series = |number| SeriesRef(number);
    page.change(|page| (0..64).for_each(|number| page.insert(series(number))));
    let fill = |from: i64, numbers: &[u64]| {
        page.change(|page| {
            for number in numbers {
                for i in from..from + 100 {
                    let sample = Sample::new(i * 15_000, (i * 31 % 17) as f64 / 7.0);
                    page.series_mut(series(*number)).unwrap().append(0, sample, context);
                }
            }
        });
    };
    let all: Vec<u64> = (0..64).collect();
    fill(0, &all);
    fill(100, &all);
    let full = page.lock().usage();
    let kept = [3_u64, 40, 63];
    let expected: Vec<Vec<(i64, i64)>> =
        kept.iter().map(|_| vec![(0, 1_785_000), (1_800_000, 2_985_000)]).collect();
    page.change(|page| {
        for number in all.iter().filter(|number| !kept.contains(number)) {
            assert!(page.remove(series(*number)));
            assert!(!page.remove(series(*number)));
        }
        page.shrink();
    });
    let left = page.lock().usage();
    assert_eq!((left.n_series, left.n_chunks), (3, 6));
    assert!(left.series_bytes * 10 < full.series_bytes, "{left:?} of {full:?}");
    assert!(left.open_bytes * 10 < full.open_bytes, "{left:?} of {full:?}");
    assert!(left.list_bytes * 2 < full.list_bytes, "{left:?} of {full:?}");
    let ranges = |number: u64| {
        let state = page.lock();
        let seen =
            state.view(series(number)).unwrap().chunks(i64::MIN, i64::MAX, BatchId::REPLAYED);
        let chunks = seen.unwrap().into_chunks(None).unwrap();
        chunks.iter().map(|chunk| (chunk.mint, chunk.maxt)).collect::<Vec<_>>()
    };
    assert_eq!(kept.map(ranges).to_vec(), expected);
    fill(200, &kept);
    page.change(|page| {
        page.insert(series(10));
        assert!(page.view(series(10)).unwrap().is_empty());
    });
    assert_eq!(page.lock().view(series(40)).unwrap().newest().unwrap().timestamp(), 299 * 15_000);
}

#[test]
fn start_timestamps_have_chunks_of_their_own_kind() {
    let (page, views) = (page(), Views::default());
    let append = |starts: &[(i64, i64)], xor2_encoding| {
        let batch = BatchId::REPLAYED;
        let context = AppendContext { batch, views: &views, block_range_ms: RANGE, xor2_encoding };
        page.change(|page| {
            for &(start, timestamp) in starts {
                let sample = Sample::new(timestamp, 1.0);
                page.series_mut(SERIES).unwrap().append(start, sample, context);
            }
        });
    };
    let chunks = || {
        let seen = view(&page, |series| series.chunks(i64::MIN, i64::MAX, BatchId::REPLAYED));
        let chunks = seen.unwrap().into_chunks(None).unwrap();
        let of = |chunk: &Chunk| (chunk.encoding, chunk.sample_count().unwrap());
        chunks.iter().map(|chunk| of(&chunk.chunk)).collect::<Vec<_>>()
    };
    append(&[(0, 1), (0, 2)], false);
    assert_eq!(chunks(), [(Encoding::Xor, 2)]);
    assert_eq!(page.lock().usage().open_used_bytes, 32);
    // From the first start timestamp on, and until the chunk ends whatever comes.
    append(&[(1, 3), (0, 4), (2, 5)], false);
    assert_eq!(chunks(), [(Encoding::Xor, 2), (Encoding::Xor2, 3)]);
    let after: Vec<_> = (0..3).map(|i| (0, RANGE + i)).collect();
    append(&after, false);
    let expected = [(Encoding::Xor, 2), (Encoding::Xor2, 3), (Encoding::Xor, 3)];
    assert_eq!(chunks(), expected);
    // If all are to be of that kind, the next chunk is.
    append(&[(0, RANGE + 3), (0, 2 * RANGE)], true);
    assert_eq!(chunks()[2..], [(Encoding::Xor, 4), (Encoding::Xor2, 1)]);
    page.change(|page| page.truncate(3 * RANGE));
    let usage = page.lock().usage();
    assert_eq!((usage.open_used_bytes, usage.kept_bytes), (0, 0));
}
