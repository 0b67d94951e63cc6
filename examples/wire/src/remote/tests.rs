mod version2;

use std::sync::Arc;

use ferula_chunkenc::stale;
use prost::Message;

use super::labels::MAX_REFUSAL_BYTES;
use super::*;
use crate::compression::DecompressError;
use crate::store::memory::MemoryStore;
use crate::telemetry::Registry;

/// The messages as an independent implementation encodes them.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<WireMetadata>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<WireSample>,
    #[prost(message, repeated, tag = "3")]
    exemplars: Vec<WireExemplar>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<WireHistogram>,
}

#[derive(Clone, PartialEq, Message)]
struct WireHistogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(message, repeated, tag = "11")]
    positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "12")]
    positive_deltas: Vec<i64>,
    #[prost(int64, tag = "15")]
    timestamp: i64,
    #[prost(int64, tag = "17")]
    start_timestamp: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[derive(Clone, PartialEq, Message)]
struct WireExemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct WireMetadata {
    #[prost(int32, tag = "1")]
    metric_type: i32,
    #[prost(string, tag = "2")]
    family: String,
    #[prost(string, tag = "4")]
    help: String,
    #[prost(string, tag = "5")]
    unit: String,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct WireSample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

const NOW: i64 = 1_700_000_000_000;

fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    let label = |(n, v): &(&str, &str)| Label { name: (*n).into(), value: (*v).into() };
    let sample = |&(timestamp, value): &(i64, f64)| WireSample { value, timestamp };
    TimeSeries {
        labels: labels.iter().map(label).collect(),
        samples: samples.iter().map(sample).collect(),
        ..TimeSeries::default()
    }
}

fn exemplar(trace: &str, timestamp: i64, value: f64) -> WireExemplar {
    let labels = vec![Label { name: "trace_id".to_owned(), value: trace.to_owned() }];
    WireExemplar { labels, value, timestamp }
}

fn described(metric_type: i32, family: &str, help: &str) -> WireMetadata {
    let (family, help) = (family.to_owned(), help.to_owned());
    WireMetadata { metric_type, family, help, unit: "seconds".to_owned() }
}

fn body(timeseries: Vec<TimeSeries>) -> Vec<u8> {
    body_with(timeseries, Vec::new())
}

fn body_with(timeseries: Vec<TimeSeries>, metadata: Vec<WireMetadata>) -> Vec<u8> {
    let request = WriteRequest { timeseries, metadata };
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap()
}

fn receiver() -> (Arc<MemoryStore>, Receiver) {
    let store = Arc::new(MemoryStore::new());
    (store.clone(), Receiver::new(store, &Registry::new()))
}

#[test]
fn samples_are_stored_and_known_series_are_not_looked_up_again() {
    let (store, receiver) = receiver();
    for i in 0..3 {
        let body = body(vec![
            series(
                &[("__name__", "a"), ("x", "1")],
                &[(NOW + i * 10, 1.0), (NOW + i * 10 + 1, 2.0)],
            ),
            series(&[("x", "2"), ("__name__", "a"), ("y", "")], &[(NOW + i, -3.5)]),
        ]);
        let receipt = receiver.receive(Version::V1, &body, NOW).unwrap();
        assert_eq!((receipt.appended, receipt.refused()), (3, 0));
    }
    let stored = store.dump();
    assert_eq!(stored[0].0, r#"{__name__="a", x="1"}"#);
    assert_eq!(stored[0].1.len(), 6);
    assert_eq!(stored[1].0, r#"{__name__="a", x="2"}"#);
    assert_eq!(store.lookups(), 2);

    store.forget_refs();
    let again = body(vec![series(&[("__name__", "a"), ("x", "1")], &[(NOW + 100, 1.0)])]);
    assert_eq!(receiver.receive(Version::V1, &again, NOW).unwrap().appended, 1);
    assert_eq!(store.lookups(), 3);
}

#[test]
fn a_sample_that_is_sent_twice_counts_twice_and_is_stored_once() {
    let (store, receiver) = receiver();
    let twice = series(&[("__name__", "m"), ("@ob", "x")], &[(NOW, 1.5), (NOW, 1.5)]);
    let receipt = receiver.receive(Version::V1, &body(vec![twice.clone()]), NOW).unwrap();
    assert_eq!((receipt.appended, receipt.repeated, receipt.refused()), (2, 1, 0));
    let receipt = receiver.receive(Version::V1, &body(vec![twice]), NOW).unwrap();
    assert_eq!((receipt.appended, receipt.repeated, receipt.refused()), (2, 2, 0));
    assert_eq!(store.dump()[0].1.len(), 1);
}

#[test]
fn nan_payloads_survive() {
    let (store, receiver) = receiver();
    let payload = f64::from_bits(0x7ff8_dead_beef_0001);
    let samples = [(NOW, stale::STALE_NAN), (NOW + 1, payload)];
    receiver
        .receive(Version::V1, &body(vec![series(&[("__name__", "a")], &samples)]), NOW)
        .unwrap();
    let bits: Vec<u64> = store.dump()[0].1.iter().map(|s| s.value.to_bits()).collect();
    assert_eq!(bits, [stale::STALE_NAN_BITS, payload.to_bits()]);
}

#[test]
fn bad_samples_are_refused_one_by_one() {
    let (store, receiver) = receiver();
    let ahead = NOW + MAX_AHEAD_MS;
    let request = body(vec![
        series(&[("__name__", "a")], &[(5, 1.0), (4, 1.0), (5, 2.0), (6, 1.0), (ahead + 1, 1.0)]),
        series(&[("__name__", "b"), ("x", "1"), ("x", "2")], &[(5, 1.0), (6, 1.0)]),
        series(&[("__name__", "b"), ("", "1")], &[(5, 1.0)]),
        series(&[("job", "b")], &[(5, 1.0)]),
        series(&[("__name__", "c")], &[(ahead, 1.0)]),
    ]);
    let receipt = receiver.receive(Version::V1, &request, NOW).unwrap();
    assert_eq!(
        receipt.to_string(),
        "7 of 10 samples refused: 1 out of order, 1 duplicate, 1 out of bounds, 4 with invalid \
         labels; first: sample at 4 is out of order, the series is at 5, series {__name__=\"a\"}"
    );
    let names: Vec<_> = store.dump().into_iter().map(|(l, s)| (l, s.len())).collect();
    assert_eq!(names, [(r#"{__name__="a"}"#.to_owned(), 2), (r#"{__name__="c"}"#.to_owned(), 1)]);
}

#[test]
fn labels_in_pieces_are_put_together() {
    let (store, receiver) = receiver();
    let piece =
        |labels: &[(&str, &str)], samples: &[(i64, f64)]| series(labels, samples).encode_to_vec();
    let message = [piece(&[("__name__", "a")], &[(1, 1.0)]), piece(&[("x", "1")], &[(2, 1.0)])];
    let message = message.concat();
    let mut request = vec![0x0a, u8::try_from(message.len()).unwrap()];
    request.extend(message);
    let request = snap::raw::Encoder::new().compress_vec(&request).unwrap();
    assert_eq!(receiver.receive(Version::V1, &request, NOW).unwrap().appended, 2);
    assert_eq!(store.dump()[0].0, r#"{__name__="a", x="1"}"#);
}

#[test]
fn broken_requests_store_nothing() {
    let (store, receiver) = receiver();
    assert!(matches!(
        receiver.receive(Version::V1, b"\xff\xff\xff", NOW),
        Err(ReceiveError::Decompress(DecompressError::Snappy(_)))
    ));
    assert!(matches!(
        receiver.receive(Version::V1, b"", NOW),
        Err(ReceiveError::Decompress(DecompressError::Snappy(_)))
    ));

    // Declares 4 GiB less one byte and holds nothing.
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let error = receiver.receive(Version::V1, &huge, NOW).unwrap_err();
    assert!(
        matches!(
            error,
            ReceiveError::Decompress(DecompressError::TooLarge { size_bytes: 0xffff_ffff, .. })
        ),
        "{error}"
    );

    let request = WriteRequest {
        timeseries: vec![series(&[("__name__", "a")], &[(1, 1.0)])],
        metadata: Vec::new(),
    };
    let whole = request.encode_to_vec();
    for cut in 1..whole.len() {
        let cut = snap::raw::Encoder::new().compress_vec(&whole[..cut]).unwrap();
        assert!(matches!(receiver.receive(Version::V1, &cut, NOW), Err(ReceiveError::Decode(_))));
    }
    let mut twice = whole.clone();
    twice.extend_from_slice(&whole[..whole.len() - 1]);
    let twice = snap::raw::Encoder::new().compress_vec(&twice).unwrap();
    let error = receiver.receive(Version::V1, &twice, NOW).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    let offset = whole.len() + 2;
    assert_eq!(source, format!("WriteRequest at offset {offset}: unexpected end"));
    assert_eq!(store.dump(), []);
}

#[test]
fn a_failing_store_is_reported_and_the_request_can_be_repeated() {
    let (store, receiver) = receiver();
    let request = body(vec![series(&[("__name__", "a")], &[(1, 1.0)])]);
    store.fail_commits(true);
    assert!(matches!(receiver.receive(Version::V1, &request, NOW), Err(ReceiveError::Store(_))));
    assert_eq!(store.dump(), []);
    store.fail_commits(false);
    assert_eq!(receiver.receive(Version::V1, &request, NOW).unwrap().appended, 1);
}

proptest::proptest! {
    #[test]
    fn no_body_panics(bytes in proptest::collection::vec(0_u8..30, 0..60)) {
        let (_, receiver) = receiver();
        let body = snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
        let _ = receiver.receive(Version::V1, &body, NOW);
        let _ = receiver.receive(Version::V1, &bytes, NOW);
    }
}

#[test]
fn hostile_label_sets_are_refused_in_few_words() {
    let long = "ü".repeat(100_000);
    let names: Vec<String> = (0..5000).map(|i| format!("l{i}")).collect();
    let mut many = vec![("__name__", "a")];
    many.extend(names.iter().map(|name| (name.as_str(), "v")));
    for (labels, reason) in [
        (vec![("a", long.as_str())], "no metric name, series {a=\"üü"),
        (vec![("__name__", "a"), ("", &long)], "empty label name, with value \"üü"),
        (vec![("__name__", "a"), (&long, "x"), (&long, "y")], "label name \"üü"),
        (many, "a series has more than 4096 labels"),
    ] {
        let (store, receiver) = receiver();
        let receipt = receiver
            .receive(Version::V1, &body(vec![series(&labels, &[(NOW, 1.0)])]), NOW)
            .unwrap();
        assert_eq!((receipt.appended, receipt.invalid_labels), (0, 1));
        let refusal = receipt.first_refusal.unwrap();
        assert!(refusal.starts_with(reason), "{refusal}");
        assert!(refusal.len() < MAX_REFUSAL_BYTES + 4, "{} bytes", refusal.len());
        assert!(store.dump().is_empty());
    }
}

#[test]
fn exemplars_are_stored_and_fail_no_request() {
    let (store, receiver) = receiver();
    let mut first = series(&[("__name__", "a")], &[(NOW, 1.0)]);
    first.exemplars = vec![
        exemplar("x", NOW, 0.5),
        exemplar("ahead", NOW + MAX_AHEAD_MS + 1, 0.5),
        WireExemplar { labels: vec![Label::default()], ..WireExemplar::default() },
    ];
    // Of a series that is known, without a sample; of none; of one that is invalid.
    let mut only = series(&[("__name__", "a")], &[]);
    only.exemplars = vec![exemplar("y", NOW + 1, 1.5)];
    let mut none = series(&[("__name__", "b")], &[]);
    none.exemplars = vec![exemplar("z", NOW, 1.5)];
    let mut invalid = series(&[("job", "b")], &[]);
    invalid.exemplars = vec![exemplar("z", NOW, 1.5)];
    let receipt =
        receiver.receive(Version::V1, &body(vec![first, only, none, invalid]), NOW).unwrap();
    assert_eq!((receipt.appended, receipt.refused()), (1, 0));
    assert_eq!(
        (receipt.exemplars, receipt.refused_exemplars, receipt.invalid_exemplars),
        (2, 2, 1)
    );
    let time = |after: i64| NOW + after;
    assert_eq!(
        store.exemplars(),
        [
            format!(r#"a {{trace_id="x"}} {}:0.5"#, time(0)),
            format!(r#"a {{trace_id="y"}} {}:1.5"#, time(1)),
        ]
    );
}

#[test]
fn series_are_told_what_senders_say_of_their_metrics() {
    let (store, receiver) = receiver();
    let send =
        |timeseries, metadata| receiver.receive(Version::V1, &body_with(timeseries, metadata), NOW);
    let at = |name: &str, n: i64| series(&[("__name__", name)], &[(NOW + n, 1.0)]);
    let receipt = send(vec![at("lat_bucket", 0)], vec![described(3, "lat", "L.")]).unwrap();
    assert_eq!((receipt.metadata, receipt.refused_metadata), (1, 0));
    // Made later; of another metric.
    send(vec![at("lat_sum", 0), at("lat_x", 0), at("late", 0)], Vec::new()).unwrap();
    let both = ["lat_bucket Histogram seconds L.", "lat_sum Histogram seconds L."];
    assert_eq!(store.metadata(), (both.map(str::to_owned).to_vec(), 2));

    // Senders that disagree are heard once each.
    for _ in 0..3 {
        send(Vec::new(), vec![described(3, "lat", "Other.")]).unwrap();
        send(Vec::new(), vec![described(3, "lat", "L.")]).unwrap();
    }
    let both = ["lat_bucket Histogram seconds Other.", "lat_sum Histogram seconds Other."];
    assert_eq!(store.metadata(), (both.map(str::to_owned).to_vec(), 4));

    // What could not be stored is new when it is sent again.
    store.fail_commits(true);
    send(Vec::new(), vec![described(2, "late", "Late.")]).unwrap_err();
    store.fail_commits(false);
    send(Vec::new(), vec![described(2, "late", "Late.")]).unwrap();
    assert_eq!(store.metadata().0[2], "late Gauge seconds Late.");
}

#[test]
fn a_refusal_among_known_series_is_told_of_the_right_one() {
    let (store, receiver) = receiver();
    let names: Vec<String> = (0..600).map(|i| i.to_string()).collect();
    let at = |timestamp: i64, of: &dyn Fn(usize) -> i64| {
        let all = names.iter().enumerate();
        let all = all
            .map(|(i, x)| series(&[("__name__", "a"), ("x", x)], &[(timestamp + of(i), i as f64)]));
        body(all.collect())
    };
    assert_eq!(receiver.receive(Version::V1, &at(10, &|_| 0), NOW).unwrap().appended, 600);
    let odd_ones = |i| match i {
        300 => -15,
        599 => NOW + MAX_AHEAD_MS,
        _ => 0,
    };
    let receipt = receiver.receive(Version::V1, &at(20, &odd_ones), NOW).unwrap();
    assert_eq!((receipt.appended, receipt.out_of_order, receipt.out_of_bounds), (598, 1, 1));
    let refusal = receipt.first_refusal.unwrap();
    assert!(refusal.ends_with(r#"series {__name__="a", x="300"}"#), "{refusal}");
    assert_eq!(store.lookups(), 600);

    store.forget_refs();
    assert_eq!(receiver.receive(Version::V1, &at(30, &|_| 0), NOW).unwrap().appended, 600);
    assert_eq!(store.lookups(), 1200);
    assert!(store.dump().iter().all(|(_, samples)| samples.len() >= 2));
}

/// Label sets of which some are the beginning of others.
fn any_series() -> impl proptest::strategy::Strategy<Value = TimeSeries> {
    use proptest::prelude::*;

    let label = ("[a-c]", "[xy]{0,2}");
    let sample = (
        prop_oneof![Just(0_i64), -3..20_i64, Just(i64::MIN)],
        prop_oneof![Just(0.0), Just(1.5), Just(-0.0)],
    );
    let labels = prop::collection::vec(label, 0..3);
    (labels, prop::collection::vec(sample, 0..3)).prop_map(|(labels, samples)| {
        let labels: Vec<(&str, &str)> = [("__name__", "a")]
            .into_iter()
            .chain(labels.iter().map(|(n, v)| (n.as_str(), v.as_str())))
            .collect();
        series(&labels, &samples)
    })
}

proptest::proptest! {
    #[test]
    fn what_is_stored_does_not_depend_on_what_is_known(
        requests in proptest::collection::vec(proptest::collection::vec(any_series(), 0..9), 1..9)
    ) {
        let (store, receiver) = receiver();
        let forgetful = Arc::new(MemoryStore::new());
        for request in requests {
            let request = body(request);
            let known = receiver.receive(Version::V1, &request, NOW).unwrap();
            let anew = Receiver::new(forgetful.clone(), &Registry::new());
            let anew = anew.receive(Version::V1, &request, NOW).unwrap();
            proptest::prop_assert_eq!(known.to_string(), anew.to_string());
        }
        let bits = |store: &MemoryStore| -> Vec<(String, Vec<(i64, u64)>)> {
            let of = |s: Vec<ferula_chunkenc::Sample>| {
                s.iter().map(|s| (s.timestamp, s.value.to_bits())).collect()
            };
            store.dump().into_iter().map(|(labels, samples)| (labels, of(samples))).collect()
        };
        proptest::prop_assert_eq!(bits(&store), bits(&forgetful));
    }
}
