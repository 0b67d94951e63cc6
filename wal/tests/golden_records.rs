//! Records of every type that Prometheus writes are read to the byte, and written to the byte.
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

use std::path::Path;
use std::sync::Arc;

use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Histogram, Span};
use ferula_chunkenc::stale;
use ferula_index::{Labels, SeriesRef};
use ferula_wal::LogReader;
use ferula_wal::fs::StdFs;
use ferula_wal::record::exemplars::RefExemplar;
use ferula_wal::record::histograms::{HistogramsDecoder, RecordHistogram, RefHistogram};
use ferula_wal::record::metadata::{MetricType, RefMetadata};
use ferula_wal::record::mmap_markers::MmapMarker;
use ferula_wal::record::samples_v2::RefStartedSample;
use ferula_wal::record::{
    Record, RecordKind, exemplars, histograms, metadata, mmap_markers, samples_v2,
};

const T0: i64 = 1_700_000_000_000;
const N: i64 = 40;

fn golden() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wal/v1/records");
    let mut reader = LogReader::open(Arc::new(StdFs), &dir).unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        records.push(record.bytes.to_vec());
    }
    records
}

fn series(i: i64) -> SeriesRef {
    SeriesRef(u64::try_from(1000 + (i * 37) % 50).unwrap())
}

fn timestamp(i: i64) -> i64 {
    T0 + i % 7 * 1000
}

fn start(i: i64) -> i64 {
    match i % 5 {
        0 | 1 => T0 - 60_000,
        2 => 0,
        3 => T0 - 60_000 + i,
        _ => T0 - 100_000,
    }
}

fn histogram(i: i64) -> Histogram {
    if i == 10 {
        return Histogram { sum: stale::STALE_NAN, ..Histogram::default() };
    }
    let hints = [
        CounterResetHint::Unknown,
        CounterResetHint::Reset,
        CounterResetHint::NotReset,
        CounterResetHint::Gauge,
    ];
    let n = u64::try_from(i).unwrap();
    let small = i32::try_from(i).unwrap();
    let mut histogram = Histogram {
        counter_reset_hint: hints[usize::try_from(i % 4).unwrap()],
        schema: small % 13 - 4,
        zero_threshold: 1e-128 * f64::from(small % 3),
        zero_count: n * n,
        count: 1000 * n,
        sum: f64::from(small) * -1.5,
        positive_spans: vec![Span::new(-small, 2), Span::new(3, 1)],
        positive_buckets: vec![i, -1, i * 100_000],
        ..Histogram::default()
    };
    if i % 3 == 0 {
        histogram.negative_spans = vec![Span::new(5, u32::try_from(i % 5).unwrap())];
        histogram.negative_buckets = (0..i % 5).map(|j| j - 2).collect();
    }
    if i % 4 == 3 {
        histogram.schema = -53;
        histogram.zero_threshold = 0.0;
        histogram.zero_count = 0;
        histogram.positive_spans[0].offset = 1;
        histogram.negative_spans.clear();
        histogram.negative_buckets.clear();
        histogram.custom_values = [-1.0, 0.5, 2.0, 1e9, 1e10 + f64::from(small)].into();
    }
    histogram
}

fn golden_exemplars() -> [RefExemplar; 3] {
    let exemplar = |series, timestamp, value, labels: &[(&str, &str)]| RefExemplar {
        series: SeriesRef(series),
        timestamp,
        value,
        labels: Labels::from_pairs(labels.iter().copied()).unwrap(),
    };
    [
        exemplar(9, T0, 0.25, &[("span", "ü"), ("trace_id", "abc")]),
        exemplar(3, T0 - 5, stale::STALE_NAN, &[]),
        exemplar(u64::MAX, i64::MIN, f64::INFINITY, &[("a", "b")]),
    ]
}

fn golden_markers() -> [MmapMarker; 2] {
    [
        MmapMarker { series: SeriesRef(1), chunk: 3 << 32 | 8 },
        MmapMarker { series: SeriesRef(u64::MAX), chunk: u64::MAX },
    ]
}

fn golden_metadata() -> Vec<RefMetadata<'static>> {
    let types = [
        MetricType::Unknown,
        MetricType::Counter,
        MetricType::Gauge,
        MetricType::Histogram,
        MetricType::GaugeHistogram,
        MetricType::Summary,
        MetricType::Info,
        MetricType::StateSet,
    ];
    let entry = |(i, metric_type)| RefMetadata {
        series: series(i),
        metric_type,
        unit: if i % 2 == 0 { "" } else { "seconds" }.into(),
        help: format!("Hilfe für {i}.").into(),
    };
    (0..).zip(types).map(entry).collect()
}

fn golden_samples() -> Vec<RefStartedSample> {
    let sample = |i: i64| RefStartedSample {
        series: series(i),
        start_timestamp: start(i),
        timestamp: timestamp(i),
        value: i as f64 / 3.0,
    };
    (0..N).map(sample).collect()
}

fn extreme_samples() -> [RefStartedSample; 3] {
    let sample = |series, timestamp, start_timestamp, value| RefStartedSample {
        series: SeriesRef(series),
        start_timestamp,
        timestamp,
        value,
    };
    [
        sample(u64::MAX, i64::MIN, i64::MAX, 1.0),
        sample(0, i64::MAX, i64::MIN, 2.0),
        sample(7, 0, i64::MIN, 3.0),
    ]
}

/// Those with exponential buckets, custom buckets, and all of them with start timestamps.
fn encoded<H: RecordHistogram>(all: &[H], from: i64) -> [Vec<u8>; 3] {
    let entries = || {
        (from..).zip(all).map(|(i, histogram)| RefHistogram {
            series: series(i),
            start_timestamp: start(i),
            timestamp: timestamp(i),
            histogram,
        })
    };
    let mut records = [const { Vec::new() }; 3];
    let n_custom = histograms::encode(entries(), &mut records[0]);
    let is_custom = |i: &i64| i % 4 == 3;
    let last = from + i64::try_from(all.len()).unwrap();
    assert_eq!(n_custom, (from..last).filter(is_custom).count());
    histograms::encode_custom(entries(), &mut records[1]);
    histograms::encode_v2(entries(), &mut records[2]);
    records
}

fn record(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut record = Vec::new();
    encode(&mut record);
    record
}

#[test]
fn every_record_type_is_written_as_prometheus_writes_it() {
    let ints: Vec<Histogram> = (0..N).map(histogram).collect();
    let floats: Vec<FloatHistogram> = ints.iter().map(Histogram::to_float).collect();
    let [int, custom_int, started_int] = encoded(&ints, 0);
    let [float, custom_float, started_float] = encoded(&floats, 0);
    let [mixed, mixed_custom, _] = encoded(&ints[3..6], 3);
    let expected = [
        record(|buf| exemplars::encode(&golden_exemplars(), buf)),
        record(|buf| exemplars::encode(&[], buf)),
        record(|buf| mmap_markers::encode(golden_markers(), buf)),
        record(|buf| metadata::encode(golden_metadata(), buf)),
        int,
        custom_int,
        float,
        custom_float,
        record(|buf| samples_v2::encode(golden_samples(), buf)),
        started_int,
        started_float,
        record(|buf| samples_v2::encode(extreme_samples(), buf)),
        record(|buf| samples_v2::encode([], buf)),
        mixed,
        mixed_custom,
    ];
    let golden = golden();
    assert_eq!(golden.len(), expected.len());
    for (i, (golden, expected)) in golden.iter().zip(&expected).enumerate() {
        assert!(golden == expected, "record {}: {golden:02x?} {expected:02x?}", i + 1);
    }
}

/// Which histograms are in a record.
type Wanted = fn(i64) -> bool;

fn check_histograms<H: RecordHistogram + PartialEq + std::fmt::Debug>(
    mut decoder: HistogramsDecoder<'_, H>,
    kind: RecordKind,
    expected: impl IntoIterator<Item = (i64, H)>,
) {
    assert_eq!(decoder.kind(), kind);
    let is_started = matches!(kind, RecordKind::HISTOGRAMS_V2 | RecordKind::FLOAT_HISTOGRAMS_V2);
    for (i, histogram) in expected {
        let expected = RefHistogram {
            series: series(i),
            start_timestamp: if is_started { start(i) } else { 0 },
            timestamp: timestamp(i),
            histogram: &histogram,
        };
        assert_eq!(decoder.next().unwrap(), Some(expected));
    }
    assert_eq!(decoder.next().unwrap(), None);
    assert_eq!(decoder.n_skipped(), 0);
}

#[test]
fn every_record_type_of_prometheus_is_decoded() {
    let golden = golden();
    let Ok(Record::Exemplars(mut decoder)) = Record::decode(&golden[0]) else { panic!() };
    for expected in golden_exemplars() {
        assert_eq!(decoder.next().unwrap(), Some(expected));
    }
    assert_eq!(decoder.next().unwrap(), None);
    let Ok(Record::Exemplars(mut decoder)) = Record::decode(&golden[1]) else { panic!() };
    assert_eq!(decoder.next().unwrap(), None);
    let Ok(Record::MmapMarkers(mut decoder)) = Record::decode(&golden[2]) else { panic!() };
    for expected in golden_markers() {
        assert_eq!(decoder.next().unwrap(), Some(expected));
    }
    assert_eq!(decoder.next().unwrap(), None);
    let Ok(Record::Metadata(mut decoder)) = Record::decode(&golden[3]) else { panic!() };
    for expected in golden_metadata() {
        assert_eq!(decoder.next().unwrap(), Some(expected));
    }
    assert_eq!(decoder.next().unwrap(), None);
    for (place, expected) in
        [(8, golden_samples()), (11, extreme_samples().to_vec()), (12, Vec::new())]
    {
        let Ok(Record::SamplesV2(mut decoder)) = Record::decode(&golden[place]) else { panic!() };
        for expected in expected {
            assert_eq!(decoder.next().unwrap(), Some(expected));
        }
        assert_eq!(decoder.next().unwrap(), None);
    }
    let all = |wanted: Wanted| (0..N).filter(move |&i| wanted(i));
    let ints: [(usize, RecordKind, Wanted); 3] = [
        (4, RecordKind::HISTOGRAMS, |i| i % 4 != 3),
        (5, RecordKind::CUSTOM_HISTOGRAMS, |i| i % 4 == 3),
        (9, RecordKind::HISTOGRAMS_V2, |_| true),
    ];
    for (place, kind, wanted) in ints {
        let Ok(Record::Histograms(decoder)) = Record::decode(&golden[place]) else { panic!() };
        check_histograms(*decoder, kind, all(wanted).map(|i| (i, histogram(i))));
    }
    let floats: [(usize, RecordKind, Wanted); 3] = [
        (6, RecordKind::FLOAT_HISTOGRAMS, |i| i % 4 != 3),
        (7, RecordKind::CUSTOM_FLOAT_HISTOGRAMS, |i| i % 4 == 3),
        (10, RecordKind::FLOAT_HISTOGRAMS_V2, |_| true),
    ];
    for (place, kind, wanted) in floats {
        let Ok(Record::FloatHistograms(decoder)) = Record::decode(&golden[place]) else { panic!() };
        check_histograms(*decoder, kind, all(wanted).map(|i| (i, histogram(i).to_float())));
    }
}
