//! Pages keep every chunk bit for bit, whatever it is relative to, and refuse what is malformed.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use ferula_chunkenc::columnar::{
    Page, PagePart, PageWriter, TimeRef, TimeTable, TimeTableWriter, ValueKind,
};
use ferula_chunkenc::stale::STALE_NAN;
use ferula_chunkenc::{Error, cursor};
use proptest::prelude::*;

const START: i64 = 1_700_000_000_000;

fn regular(n: usize) -> Vec<i64> {
    (0..n).map(|i| START + i64::try_from(i).unwrap() * 15_000).collect()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// SplitMix64.
fn scramble(i: u64) -> u64 {
    let z = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Buckets of a classic histogram: each counts what the one before counts, and more.
fn buckets(n_buckets: u64, n: usize) -> Vec<Vec<f64>> {
    let mut totals = vec![0_u64; usize::try_from(n_buckets).unwrap()];
    let mut series = vec![Vec::new(); totals.len()];
    for i in 0..n as u64 {
        let mut seen = 0;
        for (bucket, total) in totals.iter_mut().enumerate() {
            seen += scramble(i << 8 | bucket as u64) % 3;
            *total += seen;
            series[bucket].push(*total as f64);
        }
    }
    series
}

/// Times, values and start timestamps.
type Chunk = (TimeRef, Vec<f64>, Option<Vec<i64>>);

struct Written {
    times: TimeRef,
    values: Vec<f64>,
    starts: Option<Vec<i64>>,
    kind: ValueKind,
}

fn write(chunks: &[Chunk]) -> (Vec<u8>, Vec<Written>) {
    let mut writer = PageWriter::new();
    let mut written = Vec::new();
    for (index, (times, values, starts)) in chunks.iter().enumerate() {
        let (chunk, kind) = writer.push(*times, values, starts.as_deref()).unwrap();
        assert_eq!(chunk, index);
        let (times, values, starts) = (*times, values.clone(), starts.clone());
        written.push(Written { times, values, starts, kind });
    }
    assert_eq!(writer.len(), chunks.len());
    let mut page = Vec::new();
    writer.finish(&mut page);
    assert!(writer.is_empty() && writer.size_bytes() == 0);
    (page, written)
}

fn check(page: &[u8], written: &[Written]) {
    let page = Page::parse(page).unwrap();
    assert_eq!(page.len(), written.len());
    let mut forwards = page.reader();
    let order = (0..written.len()).chain((0..written.len()).rev());
    for chunk in order {
        let Written { times, values, starts, .. } = &written[chunk];
        let n = values.len();
        assert_eq!(page.times(chunk), Ok(*times));
        assert_eq!(page.starts(chunk, 0..n), Ok(starts.clone()));
        let mut out = vec![0.0; n];
        forwards.decode(chunk, 0..n, &mut out).unwrap();
        assert_eq!(bits(&out), bits(values));
        page.reader().decode(chunk, 0..n, &mut out).unwrap();
        assert_eq!(bits(&out), bits(values), "without what was read before");
        let part = n / 3..n - n / 4;
        let out = &mut out[..part.len()];
        forwards.decode(chunk, part.clone(), out).unwrap();
        assert_eq!(bits(out), bits(&values[part]));
        let stats = page.stats(chunk).unwrap();
        assert_eq!(stats.first.to_bits(), values[0].to_bits());
        assert_eq!(stats.last.to_bits(), values[n - 1].to_bits());
        let numbers = values.iter().copied().filter(|value| !value.is_nan());
        assert!(stats.max.is_nan() || numbers.fold(f64::NEG_INFINITY, f64::max) == stats.max);
    }
}

#[test]
fn adjacent_buckets_are_written_as_differences() {
    let times = TimeRef { column: 7, start: 0, count: 1500 };
    let chunks: Vec<_> = buckets(14, 1500).into_iter().map(|v| (times, v, None)).collect();
    let (page, written) = write(&chunks);
    let n_relative =
        written.iter().filter(|written| written.kind == ValueKind::RelativeDecimal).count();
    assert!(n_relative >= 10, "{n_relative}");
    check(&page, &written);

    let alone: usize = chunks.iter().map(|chunk| write(std::slice::from_ref(chunk)).0.len()).sum();
    assert!(page.len() < alone * 3 / 4, "{} {alone}", page.len());
}

#[test]
fn chunks_of_all_kinds_share_a_page() {
    let times = |column, count| TimeRef { column, start: 3, count };
    let counter: Vec<f64> = (0..480).map(|i| f64::from(i * i)).collect();
    let mut stale = counter.clone();
    stale[100] = STALE_NAN;
    let third: Vec<f64> = counter.iter().map(|value| value.sqrt()).collect();
    let starts: Vec<i64> = vec![START; 480];
    let chunks = vec![
        (times(0, 480), counter.clone(), None),
        (times(0, 480), stale.clone(), Some(starts.clone())),
        (times(1, 480), stale, None),
        (times(9, 480), third, None),
        (times(2, 480), counter.clone(), Some(starts)),
        (times(2, 3), counter[..3].to_vec(), None),
        (times(4_000_000_000, 480), vec![STALE_NAN; 480], None),
        (times(0, 480), vec![1.0; 480], None),
        (times(0, 480), counter, None),
    ];
    let (page, written) = write(&chunks);
    check(&page, &written);
    check(&write(&[]).0, &[]);
}

#[test]
fn equal_chunks_cost_next_to_nothing() {
    let values: Vec<f64> = (0..480).map(|i| f64::from(i * i % 1000) / 10.0).collect();
    let times = TimeRef { column: 0, start: 0, count: 480 };
    let once = write(&vec![(times, values.clone(), None); 1]).0.len();
    let (page, written) = write(&vec![(times, values, None); 100]);
    assert!(page.len() < once + once / 4 + 100 * 12, "{once} {}", page.len());
    check(&page, &written);
}

#[test]
fn lengths_that_differ_are_refused() {
    let mut writer = PageWriter::new();
    let times = TimeRef { column: 0, start: 0, count: 3 };
    let wrong = Err(Error::ColumnLength { found: 2, limit: 3 });
    assert_eq!(writer.push(times, &[1.0; 2], None), wrong);
    assert_eq!(writer.push(times, &[1.0; 3], Some(&[1; 2])), wrong);
    assert!(writer.push(TimeRef::default(), &[], None).is_err());
    assert!(writer.is_empty());
}

#[test]
fn times_are_found_in_columns_that_contain_them() {
    let mut table = TimeTableWriter::new();
    let jittered: Vec<i64> = regular(500).iter().map(|t| t + t / 15_000 % 7).collect();
    let whole = table.add(&jittered).unwrap();
    assert_eq!(whole, TimeRef { column: 0, start: 0, count: 500 });
    assert_eq!(table.add(&jittered), Ok(whole));
    assert_eq!(table.add(&jittered[40..]), Ok(TimeRef { column: 0, start: 40, count: 460 }));
    assert_eq!(table.add(&jittered[..9]), Ok(TimeRef { column: 0, start: 0, count: 9 }));
    let gap: Vec<i64> = [&jittered[..100], &jittered[200..]].concat();
    assert_eq!(table.add(&gap), Ok(TimeRef { column: 1, start: 0, count: 400 }));
    assert_eq!(table.add(&[5]), Ok(TimeRef { column: 2, start: 0, count: 1 }));
    assert!(table.add(&[]).is_err() && table.add(&[2, 1]).is_err());
    let mut data = Vec::new();
    table.write(&mut data);

    let table = TimeTable::parse(&data).unwrap();
    assert_eq!(table.len(), 3);
    assert_eq!(table.decode(0), Ok(jittered.clone()));
    assert_eq!(table.decode(1), Ok(gap));
    let part = TimeRef { column: 0, start: 40, count: 30 };
    let mut out = vec![0; 30];
    table.decode_into(part, &mut out).unwrap();
    assert_eq!(out, &jittered[40..70]);
    assert_eq!(table.bounds(part), Ok((jittered[40], jittered[69])));
    assert_eq!(table.bounds(whole), Ok((jittered[0], jittered[499])));
    assert!(table.decode(3).is_err());
    assert!(table.bounds(TimeRef { column: 0, start: 400, count: 101 }).is_err());
    let beyond = TimeRef { column: 0, start: 490, count: 30 };
    assert!(table.decode_into(beyond, &mut out).is_err());
}

/// Joins the chunks of pages, of which each has the same series, by copying them. The parts in
/// `anew`, by page and series, are written anew.
fn join(pages: &[Vec<u8>], anew: &dyn Fn(usize, usize) -> bool) -> Vec<u8> {
    let pages: Vec<Page<'_>> = pages.iter().map(|page| Page::parse(page).unwrap()).collect();
    let mut writer = PageWriter::new();
    for series in 0..pages[0].len() {
        let counts = pages.iter().map(|page| page.times(series).unwrap().count);
        let times = TimeRef { column: 3, start: 0, count: counts.sum() };
        let values: Vec<Vec<f64>> = pages
            .iter()
            .map(|page| {
                let mut values = vec![0.0; page.times(series).unwrap().count.into()];
                page.reader().decode(series, 0..values.len(), &mut values).unwrap();
                values
            })
            .collect();
        let mut parts = Vec::new();
        for (at, page) in pages.iter().enumerate() {
            for column in page.value_columns(series).unwrap() {
                if anew(at, series) {
                    parts.push(PagePart::Values(&values[at][column.range()]));
                } else {
                    let distance = column.distance();
                    let relative_to = (distance > 0).then(|| series - distance);
                    parts.push(PagePart::Copied { column, relative_to });
                }
            }
        }
        assert_eq!(writer.push_parts(times, &parts, &mut Vec::new()), Ok(series));
    }
    let mut joined = Vec::new();
    writer.finish(&mut joined);
    joined
}

/// The same chunks, each behind the other, as they were given to the pages that are joined.
fn joined(parts: &[Vec<Written>]) -> Vec<Written> {
    (0..parts[0].len())
        .map(|series| {
            let values: Vec<f64> =
                parts.iter().flat_map(|part| part[series].values.clone()).collect();
            let count = u16::try_from(values.len()).unwrap();
            let times = TimeRef { column: 3, start: 0, count };
            Written { times, values, starts: None, kind: parts[0][series].kind }
        })
        .collect()
}

/// Counters of buckets, and series of other kinds between them, for some times.
fn mixed_page(from: usize, n: usize) -> (Vec<u8>, Vec<Written>) {
    let times = TimeRef { column: 0, start: 0, count: u16::try_from(n).unwrap() };
    let mut series = buckets(9, from + n);
    series.insert(3, (0..from + n).map(|i| (i as f64).sqrt()).collect());
    series.insert(5, vec![7.5; from + n]);
    series.insert(7, (0..from + n).map(|i| f64::from(u8::from(i % 5 == 0))).collect());
    if from.is_multiple_of(2) {
        // What is a decimal in some parts is none in others.
        series[6] = (0..from + n).map(|i| (i as f64).cos()).collect();
        series[1][from] = STALE_NAN;
    }
    let chunks: Vec<_> = series.into_iter().map(|v| (times, v[from..].to_vec(), None)).collect();
    write(&chunks)
}

#[test]
fn columns_are_copied_and_stay_relative() {
    let pages: Vec<_> =
        [(0, 480), (480, 1), (481, 1300), (1782, 479)].map(|(from, n)| mixed_page(from, n)).into();
    let n_relative = pages[2].1.iter().filter(|w| w.kind == ValueKind::RelativeDecimal).count();
    assert!(n_relative >= 5, "{n_relative}");
    let (bytes, written): (Vec<_>, Vec<_>) = pages.into_iter().unzip();
    let once = join(&bytes, &|_, _| false);
    let written = joined(&written);
    check(&once, &written);
    assert_eq!(Page::parse(&once).unwrap().value_columns(0).unwrap().len(), 4);
    // Those of which nothing else is a part stay as they are.
    let alone = join(&bytes[..1], &|_, _| false);
    assert_eq!(
        Page::parse(&alone).unwrap().column_bytes(4),
        Page::parse(&bytes[0]).unwrap().column_bytes(4)
    );
    // What was joined is joined again.
    let twice = join(&[once, bytes[3].clone()], &|_, _| false);
    assert_eq!(Page::parse(&twice).unwrap().value_columns(1).unwrap().len(), 5);
    // The first of a chain may be written anew.
    check(&join(&bytes, &|page, series| series == 0 || page == 1), &written);
}

#[test]
fn a_copy_refers_to_one_of_the_last_chunks_only() {
    let (page, _) = mixed_page(0, 100);
    let page = Page::parse(&page).unwrap();
    let series = (0..page.len())
        .find(|series| page.value_columns(*series).unwrap()[0].distance() > 0)
        .unwrap();
    let times = TimeRef { column: 0, start: 0, count: 100 };
    let mut writer = PageWriter::new();
    for relative_to in [0, 1, 200] {
        let column = page.value_columns(series).unwrap().remove(0);
        let parts = [PagePart::Copied { column, relative_to: Some(relative_to) }];
        assert!(writer.push_parts(times, &parts, &mut Vec::new()).is_err(), "{relative_to}");
    }
    assert!(writer.push_parts(times, &[], &mut Vec::new()).is_err());
    assert!(writer.is_empty() && writer.size_bytes() == 0);
}

fn read_all(data: &[u8]) {
    if let Ok(page) = Page::parse(data) {
        let mut reader = page.reader();
        for chunk in 0..page.len().min(20) {
            let n = usize::from(page.times(chunk).unwrap().count);
            let mut out = vec![0.0; n];
            let _ = page.stats(chunk);
            let _ = page.value_columns(chunk);
            let _ = page.starts(chunk, 0..n);
            let _ = reader.decode(chunk, 0..n, &mut out);
            let _ = page.reader().decode(chunk, n / 2..n, &mut out[n / 2..]);
        }
    }
    if let Ok(table) = TimeTable::parse(data) {
        for column in 0..table.len().min(20) {
            let column = u32::try_from(column).unwrap();
            let _ = table.decode(column);
            let _ = table.bounds(TimeRef { column, start: 1, count: 2 });
        }
    }
}

#[test]
fn corrupted_pages_never_panic() {
    let times = TimeRef { column: 1, start: 0, count: 300 };
    let mut chunks: Vec<_> = buckets(6, 300).into_iter().map(|v| (times, v, None)).collect();
    chunks.push((times, vec![2.0; 300], Some(vec![START; 300])));
    chunks.push((times, (0..300).map(|i| scramble(i) as f64).collect(), None));
    let (page, _) = write(&chunks);
    assert_eq!(page[1], 0, "not compressed, so that flipped bits arrive");
    let mut table = TimeTableWriter::new();
    for i in 0..5 {
        table.add(&regular(100 + i)).unwrap();
    }
    let mut times = Vec::new();
    table.write(&mut times);
    let compressed = write(&vec![chunks[0].clone(); 30]).0;
    assert_eq!(compressed[1], 1);
    let pages = [240_u16, 300].map(|n| {
        let times = TimeRef { column: 0, start: 0, count: n };
        let mut chunks: Vec<_> =
            buckets(3, n.into()).into_iter().map(|v| (times, v, None)).collect();
        let scrambled = |series: u64| (0..u64::from(n)).map(move |i| scramble(i + series) as f64);
        chunks.extend((0..2).map(|series| (times, scrambled(series * 99).collect(), None)));
        write(&chunks).0
    });
    let joined = join(&pages, &|_, _| false);
    assert_eq!(joined[1], 0, "not compressed, so that flipped bits arrive");
    for data in [page, times, compressed, joined] {
        for cut in (0..data.len()).step_by(3) {
            read_all(&data[..cut]);
        }
        for bit in (0..data.len() * 8).step_by(11) {
            let mut twin = data.clone();
            twin[bit / 8] ^= 1 << (bit % 8);
            read_all(&twin);
        }
    }
}

#[test]
fn a_page_that_announces_more_than_it_may_hold_is_refused() {
    let (page, _) = write(&[(TimeRef { column: 0, start: 0, count: 2 }, vec![1.0; 2], None)]);
    let mut huge = page[..3].to_vec();
    cursor::put_uvarint(&mut huge, 1 << 40);
    assert!(matches!(Page::parse(&huge), Err(Error::Columnar { .. })));
    huge[1] = 1;
    assert!(matches!(Page::parse(&huge), Err(Error::Columnar { .. })));
}

proptest! {
    #[test]
    fn pages_survive(
        seeds in prop::collection::vec((any::<u64>(), 0..4_u32, 0..3_u32), 1..30),
        n in 1..70_u16,
    ) {
        let chunks: Vec<_> = seeds
            .iter()
            .map(|&(seed, column, mode)| {
                let mut total = seed % 1000;
                let values = (0..u64::from(n))
                    .map(|i| {
                        total += seed.wrapping_mul(i + 1) >> 60;
                        match mode {
                            0 => total as f64,
                            1 => total as f64 / 100.0,
                            _ => f64::from_bits(seed.wrapping_mul(i | 1)),
                        }
                    })
                    .collect();
                (TimeRef { column, start: 0, count: n }, values, None)
            })
            .collect();
        let (page, written) = write(&chunks);
        check(&page, &written);
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut data in prop::collection::vec(any::<u8>(), 4..300)) {
        data[0] = 1;
        data[1] &= 1;
        read_all(&data);
    }
}
