//! Columnar chunks keep every field of every histogram, and refuse what is malformed.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::sync::Arc;

use ferula_chunkenc::columnar::{
    ChunkContent, ColumnarChunk, ColumnarEncoder, ColumnarHistogram, MAX_BUCKETS, Page, PageWriter,
    TimeRef,
};
use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Histogram, Span};
use ferula_chunkenc::stale::STALE_NAN;
use ferula_chunkenc::{Error, HistogramAppender, SampleBatch};
use proptest::prelude::*;

const START: i64 = 1_700_000_000_000;

fn times(n: usize) -> Vec<i64> {
    (0..n).map(|i| START + i64::try_from(i).unwrap() * 15_000).collect()
}

/// A counter of latencies whose buckets grow, and come one by one.
fn growing(n: usize) -> Vec<Histogram> {
    let mut counts = [0_i64; 20];
    (0..n)
        .map(|i| {
            let n_buckets = (3 + i / 40).min(20);
            for (bucket, count) in counts[..n_buckets].iter_mut().enumerate() {
                *count += ((i * 7 + bucket * 3) % 5) as i64;
            }
            let own = &counts[..n_buckets];
            let mut last = 0;
            let deltas = own.iter().map(|&count| count - std::mem::replace(&mut last, count));
            Histogram {
                counter_reset_hint: if i == 0 {
                    CounterResetHint::Unknown
                } else {
                    CounterResetHint::NotReset
                },
                schema: 3,
                zero_threshold: 2_f64.powi(-128),
                zero_count: i as u64 / 10,
                count: own.iter().sum::<i64>().unsigned_abs() + i as u64 / 10,
                sum: own.iter().sum::<i64>() as f64 * 0.1,
                positive_spans: vec![
                    Span::new(-4, 3),
                    Span::new(2, u32::try_from(n_buckets).unwrap() - 3),
                ],
                positive_buckets: deltas.collect(),
                ..Histogram::default()
            }
        })
        .collect()
}

fn check<H: ColumnarHistogram + PartialEq + std::fmt::Debug>(histograms: &[H]) -> usize {
    let times = times(histograms.len());
    let starts: Vec<i64> = times.iter().map(|_| START - 5).collect();
    let mut data = Vec::new();
    let mut encoder = ColumnarEncoder::new();
    encoder.encode_histograms(&times, histograms, Some(&starts), &mut data).unwrap();
    let chunk = ColumnarChunk::parse(&data).unwrap();
    let n = histograms.len();
    for range in [0..n, 0..1, n / 3..n / 2, n / 2..n, n - 1..n] {
        let mut out: Vec<(i64, H)> = Vec::new();
        chunk.decode_histograms(range.clone(), &mut out).unwrap();
        let (read_times, read): (Vec<i64>, Vec<H>) = out.into_iter().unzip();
        assert_eq!(read_times, &times[range.clone()]);
        assert_eq!(read, &histograms[range]);
    }
    assert_eq!(chunk.stats().count, n);
    assert_eq!(chunk.starts(0..n), Ok(Some(starts)));

    let times = TimeRef { column: 3, start: 0, count: u16::try_from(n).unwrap() };
    let mut writer = PageWriter::new();
    let values: Vec<f64> = (0..n).map(|i| i as f64).collect();
    writer.push(times, &values, None).unwrap();
    assert_eq!(writer.push_histograms(times, histograms, None), Ok(1));
    writer.push(times, &values, None).unwrap();
    let mut page = Vec::new();
    writer.finish(&mut page);
    let page = Page::parse(&page).unwrap();
    let mut out: Vec<H> = Vec::new();
    page.histograms(1, n / 4..n, &mut out).unwrap();
    assert_eq!(out, &histograms[n / 4..]);
    assert_eq!(page.content(0), Ok(ChunkContent::Floats));
    assert_eq!(page.content(1), Ok(chunk.content()));
    assert!(page.histograms(0, 0..n, &mut out).is_err());
    let mut floats = vec![0.0; n];
    assert!(page.reader().decode(1, 0..n, &mut floats).is_err());
    page.reader().decode(2, 0..n, &mut floats).unwrap();
    assert_eq!(floats, values);
    data.len()
}

#[test]
fn histograms_survive_with_buckets_that_appear() {
    let histograms = growing(1300);
    let size = check(&histograms);
    let floats: Vec<FloatHistogram> = histograms.iter().map(Histogram::to_float).collect();
    check(&floats);

    let mut xor = 0;
    for run in histograms.chunks(120) {
        let mut appender = HistogramAppender::new();
        for (time, histogram) in times(run.len()).iter().zip(run) {
            appender.append(*time, histogram).unwrap();
        }
        xor += appender.as_bytes().len();
    }
    assert!(size < xor * 3 / 4, "{size} {xor}");
}

#[test]
fn stale_markers_gauges_and_custom_bounds_survive() {
    let mut histograms = growing(200);
    let marker = Histogram { sum: STALE_NAN, ..Histogram::default() };
    histograms[50] = marker.clone();
    histograms[199] = marker;
    histograms[60].counter_reset_hint = CounterResetHint::Gauge;
    histograms[61].zero_threshold = -0.0;
    histograms[62].sum = f64::from_bits(0x7ff0_0000_0000_beef);
    histograms[63].count = u64::MAX;
    histograms[64].negative_spans = vec![Span::new(0, 0), Span::new(5, 1), Span::new(0, 1)];
    histograms[64].negative_buckets = vec![i64::MAX, i64::MIN];
    for (i, histogram) in histograms[100..150].iter_mut().enumerate() {
        histogram.schema = -53;
        histogram.zero_threshold = 0.0;
        histogram.custom_values = Arc::from([0.1, 0.5, if i < 30 { 1.0 } else { 2.0 }]);
        histogram.positive_spans = vec![Span::new(0, 4)];
        histogram.positive_buckets = vec![i as i64, 1, 0, 2];
    }
    check(&histograms);
    let floats: Vec<FloatHistogram> = histograms.iter().map(Histogram::to_float).collect();
    check(&floats);
    check(&histograms[50..51]);

    let mut data = Vec::new();
    let n = histograms.len();
    ColumnarEncoder::new().encode_histograms(&times(n), &histograms, None, &mut data).unwrap();
    let chunk = ColumnarChunk::parse(&data).unwrap();
    assert_eq!(chunk.content(), ChunkContent::Histograms);
    assert_eq!(chunk.stats().values.n_stale, 2);
    let mut batch = SampleBatch::new();
    chunk.decode_into(&mut batch).unwrap();
    assert!(batch.histogram(50).is_none() && batch.values()[50].to_bits() == STALE_NAN.to_bits());
    assert_eq!(**batch.histogram(10).unwrap(), histograms[10].to_float());
    let mut wrong: Vec<(i64, FloatHistogram)> = Vec::new();
    assert!(chunk.decode_histograms(0..1, &mut wrong).is_err());
}

#[test]
fn histograms_that_cannot_be_taken_apart_are_refused() {
    let refused = |histogram: Histogram| {
        let mut data = vec![7];
        let mut encoder = ColumnarEncoder::new();
        let error = encoder.encode_histograms(&[1], &[histogram], None, &mut data).unwrap_err();
        assert_eq!(data, [7]);
        error
    };
    let overlapping = Histogram {
        positive_spans: vec![Span::new(0, 2), Span::new(-1, 1)],
        positive_buckets: vec![1, 1, 1],
        ..Histogram::default()
    };
    assert!(matches!(refused(overlapping), Error::Histogram(_)));
    let lacking = Histogram { positive_spans: vec![Span::new(0, 2)], ..Histogram::default() };
    assert!(matches!(refused(lacking), Error::Histogram(_)));
    let wide = Histogram {
        positive_spans: vec![Span::new(0, u32::try_from(MAX_BUCKETS).unwrap() + 1)],
        positive_buckets: vec![0; MAX_BUCKETS + 1],
        ..Histogram::default()
    };
    assert!(matches!(refused(wide), Error::ColumnLength { .. }));
}

fn read_all(data: &[u8]) {
    if let Ok(chunk) = ColumnarChunk::parse(data) {
        let mut integers: Vec<(i64, Histogram)> = Vec::new();
        let _ = chunk.decode_histograms(5..40, &mut integers);
        let mut floats: Vec<(i64, FloatHistogram)> = Vec::new();
        let _ = chunk.decode_histograms(5..40, &mut floats);
        let _ = chunk.decode_into(&mut SampleBatch::new());
        let _ = chunk.stats();
    }
}

#[test]
fn corrupted_histograms_never_panic() {
    let mut histograms = growing(150);
    histograms[20] = Histogram { sum: STALE_NAN, ..Histogram::default() };
    let mut data = Vec::new();
    ColumnarEncoder::new().encode_histograms(&times(150), &histograms, None, &mut data).unwrap();
    for cut in (0..data.len()).step_by(3) {
        read_all(&data[..cut]);
    }
    for bit in (0..data.len() * 8).step_by(5) {
        let mut twin = data.clone();
        twin[bit / 8] ^= 1 << (bit % 8);
        read_all(&twin);
    }
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    let spans = || {
        let span = (0..3_i32, 0..3_u32).prop_map(|(offset, length)| Span::new(offset, length));
        (-5..5_i32, prop::collection::vec(span, 0..4)).prop_map(|(start, mut spans)| {
            if let Some(first) = spans.first_mut() {
                first.offset = start;
            }
            spans
        })
    };
    let hint = prop_oneof![
        Just(CounterResetHint::Unknown),
        Just(CounterResetHint::Reset),
        Just(CounterResetHint::NotReset),
        Just(CounterResetHint::Gauge),
    ];
    let schema = prop_oneof![Just(0), Just(3), Just(-53)];
    let counts = prop::collection::vec(any::<i64>(), 24);
    (spans(), spans(), hint, schema, counts, any::<u64>(), 0..3_u32).prop_map(
        |(positive_spans, negative_spans, hint, schema, mut counts, bits, narrow)| {
            let n = |spans: &[Span]| spans.iter().map(|span| span.length as usize).sum::<usize>();
            counts.iter_mut().for_each(|count| *count >>= 20 * narrow);
            Histogram {
                counter_reset_hint: hint,
                schema,
                zero_threshold: f64::from_bits(bits % 3),
                zero_count: bits >> (narrow * 20),
                count: bits,
                sum: f64::from_bits(bits),
                positive_buckets: counts[..n(&positive_spans)].to_vec(),
                negative_buckets: counts[12..12 + n(&negative_spans)].to_vec(),
                positive_spans,
                negative_spans,
                custom_values: if schema == -53 {
                    Arc::from([bits as f64])
                } else {
                    Arc::default()
                },
            }
        },
    )
}

proptest! {
    #[test]
    fn any_histograms_survive(
        histograms in prop::collection::vec(any_histogram(), 1..12),
        repeat in 1..5_usize,
    ) {
        let histograms: Vec<Histogram> =
            histograms.into_iter().flat_map(|one| std::iter::repeat_n(one, repeat)).collect();
        check(&histograms);
        let floats: Vec<FloatHistogram> = histograms.iter().map(Histogram::to_float).collect();
        check(&floats);
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut data in prop::collection::vec(any::<u8>(), 4..300)) {
        data[0] = 1;
        data[1] = data[1] & 1 | 2;
        read_all(&data);
    }
}
