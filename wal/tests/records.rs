//! Records come back as they were encoded; changed ones are an error or other records, never a panic.
#![expect(clippy::unwrap_used, reason = "a test stops where something fails")]

mod common;

use common::{Entries, Entry, decode, encode};
use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Histogram, Span};
use ferula_index::{Labels, SeriesRef};
use ferula_wal::Error;
use ferula_wal::record::exemplars::RefExemplar;
use ferula_wal::record::metadata::{MetricType, RefMetadata};
use ferula_wal::record::mmap_markers::MmapMarker;
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::samples_v2::RefStartedSample;
use ferula_wal::record::tombstones::Tombstone;
use ferula_wal::record::{Record, RecordKind};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

fn refs() -> impl Strategy<Value = SeriesRef> + Clone {
    prop_oneof![4 => 0..100_000_u64, 1 => any::<u64>()].prop_map(SeriesRef)
}

fn times() -> impl Strategy<Value = i64> + Clone {
    prop_oneof![4 => 1_700_000_000_000..1_700_000_100_000_i64, 1 => any::<i64>()]
}

fn floats() -> impl Strategy<Value = f64> + Clone {
    any::<u64>().prop_map(f64::from_bits)
}

fn label_sets() -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map("[a-zü_]{1,9}", ".{0,20}", 0..5)
        .prop_map(|pairs| Labels::from_pairs(pairs).unwrap())
}

fn spans() -> impl Strategy<Value = Vec<Span>> {
    vec((any::<i32>(), any::<u32>()).prop_map(|(offset, len)| Span::new(offset, len)), 0..4)
}

fn histogram(is_custom: bool) -> impl Strategy<Value = Histogram> {
    let hint = prop_oneof![
        Just(CounterResetHint::Unknown),
        Just(CounterResetHint::Reset),
        Just(CounterResetHint::NotReset),
        Just(CounterResetHint::Gauge),
    ];
    let totals = (floats(), any::<u64>(), any::<u64>(), floats());
    let buckets = || vec(any::<i64>(), 0..6);
    let sides = (spans(), spans(), buckets(), buckets());
    let schema = if is_custom { -53..-52_i32 } else { -9..9_i32 };
    let bounds = vec(floats(), if is_custom { 0..4_usize } else { 0..1 });
    (hint, schema, totals, sides, bounds).prop_map(|(hint, schema, totals, sides, bounds)| {
        Histogram {
            counter_reset_hint: hint,
            schema,
            zero_threshold: totals.0,
            zero_count: totals.1,
            count: totals.2,
            sum: totals.3,
            positive_spans: sides.0,
            negative_spans: sides.1,
            positive_buckets: sides.2,
            negative_buckets: sides.3,
            custom_values: bounds.into(),
        }
    })
}

/// The same fields with floats for counts; `to_float` would leave some out.
fn as_floats(histogram: &Histogram) -> FloatHistogram {
    let bits = |numbers: &[i64]| {
        numbers.iter().map(|number| f64::from_bits(number.cast_unsigned())).collect()
    };
    FloatHistogram {
        counter_reset_hint: histogram.counter_reset_hint,
        schema: histogram.schema,
        zero_threshold: histogram.zero_threshold,
        zero_count: f64::from_bits(histogram.zero_count),
        count: f64::from_bits(histogram.count),
        sum: histogram.sum,
        positive_spans: histogram.positive_spans.clone(),
        negative_spans: histogram.negative_spans.clone(),
        positive_buckets: bits(&histogram.positive_buckets),
        negative_buckets: bits(&histogram.negative_buckets),
        custom_values: histogram.custom_values.clone(),
    }
}

/// Histograms that go into one record: with custom buckets or without, with start timestamps or
/// without.
fn histogram_entries(
    [plain, custom, started]: [RecordKind; 3],
) -> impl Strategy<Value = (RecordKind, Vec<Entry<Histogram>>)> {
    (any::<bool>(), any::<bool>()).prop_flat_map(move |(is_custom, is_started)| {
        let start = if is_started { times().boxed() } else { Just(0).boxed() };
        let kind = match (is_started, is_custom) {
            (true, _) => started,
            (false, true) => custom,
            (false, false) => plain,
        };
        (Just(kind), vec((refs(), start, times(), histogram(is_custom)), 1..6))
    })
}

fn entries() -> impl Strategy<Value = Entries> {
    let sample = (refs(), times(), floats()).prop_map(|(series, timestamp, value)| RefSample {
        series,
        timestamp,
        value,
    });
    let start = prop_oneof![Just(0), Just(5), times()];
    let started = (refs(), start, times(), floats()).prop_map(
        |(series, start_timestamp, timestamp, value)| RefStartedSample {
            series,
            start_timestamp,
            timestamp,
            value,
        },
    );
    let tombstone = (refs(), times(), times()).prop_map(|(series, mint, maxt)| Tombstone {
        series,
        mint,
        maxt,
    });
    let exemplar =
        (refs(), times(), floats(), label_sets()).prop_map(|(series, timestamp, value, labels)| {
            RefExemplar { series, timestamp, value, labels }
        });
    let marker = (refs(), any::<u64>()).prop_map(|(series, chunk)| MmapMarker { series, chunk });
    let metric_type = prop_oneof![Just(MetricType::Unknown), Just(MetricType::StateSet)];
    let metadata =
        (refs(), metric_type, ".{0,9}", ".{0,30}").prop_map(|(series, metric_type, unit, help)| {
            RefMetadata { series, metric_type, unit: unit.into(), help: help.into() }
        });
    prop_oneof![
        vec((refs(), label_sets()), 0..5).prop_map(Entries::Series),
        vec(sample, 0..9).prop_map(Entries::Samples),
        vec(started, 0..9).prop_map(Entries::SamplesV2),
        vec(tombstone, 0..9).prop_map(Entries::Tombstones),
        vec(exemplar, 0..5).prop_map(Entries::Exemplars),
        vec(marker, 0..9).prop_map(Entries::MmapMarkers),
        vec(metadata, 0..5).prop_map(Entries::Metadata),
        histogram_entries([
            RecordKind::HISTOGRAMS,
            RecordKind::CUSTOM_HISTOGRAMS,
            RecordKind::HISTOGRAMS_V2,
        ])
        .prop_map(|(kind, entries)| Entries::Histograms(kind, entries)),
        histogram_entries([
            RecordKind::FLOAT_HISTOGRAMS,
            RecordKind::CUSTOM_FLOAT_HISTOGRAMS,
            RecordKind::FLOAT_HISTOGRAMS_V2,
        ])
        .prop_map(|(kind, entries)| {
            let float = |(series, start, t, histogram): &Entry<Histogram>| {
                (*series, *start, *t, as_floats(histogram))
            };
            Entries::FloatHistograms(kind, entries.iter().map(float).collect())
        }),
    ]
}

proptest! {
    #[test]
    fn entries_survive(entries in entries()) {
        prop_assert_eq!(decode(&encode(&entries)).unwrap(), entries);
    }

    #[test]
    fn changed_records_give_entries_or_errors(
        entries in entries(),
        cut: Option<Index>,
        changes in vec((any::<Index>(), any::<u8>()), 0..4),
    ) {
        let mut record = encode(&entries);
        for (place, byte) in changes {
            let at = place.index(record.len());
            record[at] = byte;
        }
        if let Some(cut) = cut {
            record.truncate(1 + cut.index(record.len()));
        }
        match decode(&record) {
            // Changed histograms may not go into one record any more.
            Err(_) | Ok(Entries::Histograms(..) | Entries::FloatHistograms(..)) => {}
            Ok(entries) => prop_assert_eq!(decode(&encode(&entries)).unwrap(), entries),
        }
    }
}

#[test]
fn a_histogram_record_cut_anywhere_is_refused() {
    let histogram = Histogram {
        schema: -53,
        count: 6,
        sum: 12.5,
        positive_spans: vec![Span::new(0, 2), Span::new(1, 1)],
        positive_buckets: vec![1, 1, 1],
        custom_values: [1.0, 2.0, 3.0, 4.0].into(),
        ..Histogram::default()
    };
    let entry = (SeriesRef(5), 3, 9, histogram);
    let record = encode(&Entries::Histograms(RecordKind::HISTOGRAMS_V2, vec![entry]));
    for len in 2..record.len() {
        let error = decode(&record[..len]).unwrap_err();
        assert!(matches!(error, Error::RecordBytes { .. }), "{len}: {error}");
    }
    decode(&record).unwrap();
}

/// A record of one histogram with start timestamps: `fields` behind the stamp.
fn histogram_record(fields: &[&[u8]]) -> Vec<u8> {
    [&[12, 2, 2, 2][..], &fields.concat()].concat()
}

#[test]
fn counts_are_checked_before_memory_is_taken() {
    let totals = [0; 8 + 1 + 1 + 8];
    // A thousand million spans, and as many buckets.
    let many = [0x80, 0x94, 0xeb, 0xdc, 0x03];
    for record in [
        histogram_record(&[&[0, 0], &totals, &many, &[0; 99]]),
        histogram_record(&[&[0, 0], &totals, &[0, 0], &many, &[0; 99]]),
    ] {
        let error = decode(&record).unwrap_err();
        let Error::RecordBytes { source, .. } = error else { panic!("{error}") };
        let ferula_chunkenc::Error::Truncated { needed, available: 99.., .. } = source else {
            panic!("{source}")
        };
        assert!(needed >= 1_000_000_000);
    }
}

#[test]
fn values_out_of_range_are_refused() {
    let totals = [0; 8 + 1 + 1 + 8];
    let wide = [0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let field_of = |record: &[u8]| match decode(record) {
        Err(Error::RecordField { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field_of(&histogram_record(&[&[0], &wide, &totals, &[0; 4]])), "schema");
    let span = histogram_record(&[&[0, 0], &totals, &[1], &wide, &[0; 99]]);
    assert_eq!(field_of(&span), "span offset");
    let span = histogram_record(&[&[0, 0], &totals, &[1, 0], &wide, &[0; 99]]);
    assert_eq!(field_of(&span), "span length");
    let value = [0; 8];
    let marker = [&[11, 2, 2, 2][..], &value, &[0, 0, 3], &value].concat();
    assert_eq!(field_of(&marker), "start timestamp marker");
}

#[test]
fn schemas_are_read_as_prometheus_reads_them() {
    let with_schema = |schema, t| {
        let histogram = Histogram {
            schema,
            count: 3,
            positive_spans: vec![Span::new(0, 2)],
            positive_buckets: vec![1, 1],
            ..Histogram::default()
        };
        (SeriesRef(1), 0, t, histogram)
    };
    let entries = [with_schema(99, 1), with_schema(9, 2), with_schema(-10, 3), with_schema(8, 4)];
    let record = encode(&Entries::Histograms(RecordKind::HISTOGRAMS, entries.to_vec()));
    let Ok(Record::Histograms(mut decoder)) = Record::decode(&record) else { panic!() };
    let mut read = Vec::new();
    while let Some(entry) = decoder.next().unwrap() {
        read.push((entry.timestamp, entry.histogram.schema));
    }
    // Unknown schemas are passed over, reserved ones merged to the finest in use.
    assert_eq!(read, [(2, 8), (4, 8)]);
    assert_eq!(decoder.n_skipped(), 2);
}

#[test]
fn metadata_that_is_not_text_is_read_and_fields_without_a_name_are_passed_over() {
    let record =
        [&[6, 1, 99, 3][..], b"\x04HELP\x02\xffx", b"\x01X\x01y", b"\x04UNIT\x01s"].concat();
    let expected = RefMetadata {
        series: SeriesRef(1),
        metric_type: MetricType::Unknown,
        unit: "s".into(),
        help: "\u{fffd}x".into(),
    };
    assert_eq!(decode(&record).unwrap(), Entries::Metadata(vec![expected]));
}
