//! A request that OpenTelemetry's code encoded is stored as Prometheus's own code translates it
//! (`golden/otlp.go`), under several settings.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_chunkenc::stale::is_stale;
use ferula_index::Matcher;
use ferula_tsdb::{Db, MetricType, Options};
use ferula_wire::compression::Encoding;
use ferula_wire::otlp::{
    Deltas, OtlpFormat, OtlpOptions, OtlpReceiver, PromotedAttributes, Translation,
};
use ferula_wire::store::Store;
use ferula_wire::telemetry::Registry;

const NOW: i64 = 1_700_000_000_000;

/// What is stored: a line for each sample, exemplar and description of a series.
fn stored(db: &Db) -> BTreeSet<String> {
    let (mint, maxt) = (NOW - 1_000_000, NOW + 10_000);
    let querier = db.querier(mint, maxt).unwrap();
    let series = querier.select(&[]).unwrap();
    let metadata = db.metadata(None).unwrap();
    let mut lines = BTreeSet::new();
    for index in 0..series.len() {
        let mut batch = SampleBatch::new();
        series.read(index, &mut batch).unwrap();
        let labels = series.labels(index);
        let starts = batch.start_timestamps();
        for (place, time) in batch.timestamps().iter().enumerate() {
            let start = starts.get(place).copied().unwrap_or_default();
            let value = match batch.histogram(place) {
                Some(histogram) if is_stale(histogram.sum) => "stale".to_owned(),
                Some(histogram) => {
                    format!("{histogram} hint {}", histogram.counter_reset_hint as u8)
                }
                None if is_stale(batch.values()[place]) => "stale".to_owned(),
                None => format!("{:016x}", batch.values()[place].to_bits()),
            };
            lines.insert(format!("{labels} {time} since {start}: {value}"));
        }
        let of = metadata.iter().find(|of| of.metric == labels.metric_name()).unwrap();
        let [said] = of.metadata.as_slice() else { panic!("{of:?}") };
        let metric_type = match said.metric_type {
            MetricType::Counter => "counter",
            MetricType::Gauge => "gauge",
            MetricType::Histogram => "histogram",
            MetricType::Summary => "summary",
            _ => "unknown",
        };
        lines.insert(format!("{labels} is {metric_type}, in {:?}: {:?}", said.unit, said.help));
    }
    let all = [[Matcher::new(ferula_index::MatchOp::Regex, "__name__", ".+").unwrap()]];
    for of in db.exemplars(&all, mint, maxt).unwrap() {
        for exemplar in of.exemplars {
            let (labels, value) = (exemplar.labels, exemplar.value.to_bits());
            lines.insert(format!("{} # {labels} {}: {value:016x}", of.labels, exemplar.timestamp));
        }
    }
    lines
}

fn check(options: OtlpOptions, n_refused: u64, golden: &str) {
    let protobuf = (OtlpFormat::Protobuf, &include_bytes!("data/otlp/request.pb")[..]);
    let json = (OtlpFormat::Json, &include_bytes!("data/otlp/request.json")[..]);
    for (format, request) in [protobuf, json] {
        check_format(format, request, options.clone(), n_refused, golden);
    }
}

fn check_format(
    format: OtlpFormat,
    request: &[u8],
    options: OtlpOptions,
    n_refused: u64,
    golden: &str,
) {
    let dir = tempfile::tempdir().unwrap();
    let db = Arc::new(Db::open(dir.path(), Options::default()).unwrap());
    let receiver = OtlpReceiver::new(Arc::clone(&db) as Arc<dyn Store>, options, &Registry::new());
    let receipt = receiver.receive(format, Encoding::Identity, request, NOW).unwrap();
    assert_eq!((receipt.refused_points, receipt.refused_exemplars), (n_refused, 0), "{receipt}");
    let expected: BTreeSet<String> = golden.lines().map(str::to_owned).collect();
    let stored = stored(&db);
    let missing: Vec<_> = expected.difference(&stored).collect();
    let others: Vec<_> = stored.difference(&expected).collect();
    assert!(missing.is_empty() && others.is_empty(), "missing {missing:#?}, instead {others:#?}");
}

#[test]
fn names_of_classic_characters_with_suffixes() {
    let golden = include_str!("data/otlp/UnderscoreEscapingWithSuffixes.txt");
    check(OtlpOptions::default(), 3, golden);
}

#[test]
fn names_of_classic_characters_and_promoted_attributes() {
    let mut options = OtlpOptions::default();
    options.translation = Translation::UnderscoreEscapingWithoutSuffixes;
    let promoted = ["host.name", "zones", "absent"].map(str::to_owned);
    options.promoted_attributes = PromotedAttributes::Only(promoted.into());
    check(options, 3, include_str!("data/otlp/UnderscoreEscapingWithoutSuffixes.txt"));
}

#[test]
fn names_as_they_are_with_suffixes_and_scopes() {
    let mut options = OtlpOptions::default();
    options.translation = Translation::NoUtf8EscapingWithSuffixes;
    options.promote_scope = true;
    options.keep_identifying_attributes = true;
    check(options, 3, include_str!("data/otlp/NoUTF8EscapingWithSuffixes.txt"));
}

#[test]
fn names_as_they_are_custom_buckets_and_deltas() {
    let mut options = OtlpOptions::default();
    options.translation = Translation::NoTranslation;
    options.custom_buckets = true;
    options.deltas = Deltas::Keep;
    check(options, 0, include_str!("data/otlp/NoTranslation.txt"));
}

#[test]
fn single_underscores_and_all_attributes_promoted() {
    let mut options = OtlpOptions::default();
    options.translation = Translation::UnderscoreEscapingWithoutSuffixes;
    options.promoted_attributes = PromotedAttributes::AllBut(vec!["raw".to_owned()]);
    options.promote_scope = true;
    options.deltas = Deltas::Keep;
    (options.underscore_key, options.keep_underscores) = (false, false);
    check(options, 0, include_str!("data/otlp/plain_underscores.txt"));
}
