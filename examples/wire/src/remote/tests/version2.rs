//! Requests of 2.0, and native histograms in both versions.

use super::*;

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, repeated, tag = "4")]
    symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    timeseries: Vec<Series2>,
}

#[derive(Clone, PartialEq, Message)]
struct Series2 {
    #[prost(uint32, repeated, tag = "1")]
    labels: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample2>,
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<WireHistogram>,
    #[prost(message, repeated, tag = "4")]
    exemplars: Vec<Exemplar2>,
    #[prost(message, optional, tag = "5")]
    metadata: Option<Metadata2>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample2 {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
    #[prost(int64, tag = "3")]
    start_timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar2 {
    #[prost(uint32, repeated, tag = "1")]
    labels: Vec<u32>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(int64, tag = "3")]
    timestamp: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Metadata2 {
    #[prost(int32, tag = "1")]
    metric_type: i32,
    #[prost(uint32, tag = "3")]
    help: u32,
    #[prost(uint32, tag = "4")]
    unit: u32,
}

/// Gathers symbols.
struct Maker(Request);

impl Maker {
    fn new() -> Self {
        Self(Request { symbols: vec![String::new()], timeseries: Vec::new() })
    }

    fn symbol(&mut self, text: &str) -> u32 {
        let symbols = &mut self.0.symbols;
        let known = symbols.iter().position(|known| known == text);
        let number = known.unwrap_or_else(|| {
            symbols.push(text.to_owned());
            symbols.len() - 1
        });
        u32::try_from(number).unwrap()
    }

    fn labels(&mut self, labels: &[(&str, &str)]) -> Vec<u32> {
        labels.iter().flat_map(|(n, v)| [self.symbol(n), self.symbol(v)]).collect()
    }

    /// Adds a series with samples: start, time and value.
    fn push(&mut self, labels: &[(&str, &str)], samples: &[(i64, i64, f64)]) -> &mut Series2 {
        let labels = self.labels(labels);
        let sample = |&(start_timestamp, timestamp, value): &(i64, i64, f64)| Sample2 {
            value,
            timestamp,
            start_timestamp,
        };
        let samples = samples.iter().map(sample).collect();
        self.0.timeseries.push(Series2 { labels, samples, ..Series2::default() });
        self.0.timeseries.last_mut().unwrap()
    }

    fn body(&self) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(&self.0.encode_to_vec()).unwrap()
    }
}

fn plain_histogram(timestamp: i64) -> WireHistogram {
    WireHistogram {
        count: 3,
        sum: 4.5,
        schema: 1,
        positive_spans: vec![Span { offset: -1, length: 2 }],
        positive_deltas: vec![1, 1],
        timestamp,
        start_timestamp: 7,
    }
}

#[test]
fn samples_are_stored_and_series_are_known_whatever_their_numbers() {
    let (store, receiver) = receiver();
    for i in 0..3 {
        let mut maker = Maker::new();
        // Other numbers for the same texts each time.
        for n in 0..i {
            maker.symbol(&format!("filler{n}"));
        }
        maker.push(&[("__name__", "a"), ("x", "1")], &[(0, NOW + i, 1.5)]);
        maker.push(&[("__name__", "a"), ("x", "2")], &[(5, NOW + i, 2.5), (5, NOW + i + 10, 3.5)]);
        let receipt = receiver.receive(Version::V2, &maker.body(), NOW).unwrap();
        let late = u64::from(i > 0);
        assert_eq!((receipt.appended, receipt.out_of_order), (3 - late, late), "{receipt}");
        assert!(receipt.is_success(Version::V2) == (i == 0));
    }
    assert_eq!(store.lookups(), 2);
    let found: Vec<_> = store.dump().into_iter().map(|(l, s)| (l, s.len())).collect();
    let name = |x| format!(r#"{{__name__="a", x="{x}"}}"#);
    assert_eq!(found, [(name(1), 3), (name(2), 4)]);
    assert_eq!(store.starts().len(), 4);
    assert_eq!(store.starts()[0], format!(r#"{{__name__="a", x="2"}} {NOW}:5"#));
}

#[test]
fn histograms_are_stored_in_both_versions() {
    let (store, receiver) = receiver();
    let mut first = series(&[("__name__", "one")], &[]);
    first.histograms = vec![plain_histogram(NOW), plain_histogram(NOW + 1)];
    first.exemplars = vec![exemplar("x", NOW, 0.5)];
    let receipt = receiver.receive(Version::V1, &body(vec![first]), NOW).unwrap();
    assert_eq!((receipt.appended, receipt.histograms, receipt.exemplars), (0, 2, 1));
    let mut maker = Maker::new();
    maker.push(&[("__name__", "two")], &[]).histograms = vec![plain_histogram(NOW)];
    let receipt = receiver.receive(Version::V2, &maker.body(), NOW).unwrap();
    assert_eq!((receipt.appended, receipt.histograms), (0, 1));
    let text = "{count:3, sum:4.5, (0.5,0.7071067811865475]:1, (0.7071067811865475,1]:2}";
    assert_eq!(
        store.histograms(),
        [
            // 1.0 has no starts.
            format!(r#"{{__name__="one"}} {NOW}:0 {text}"#),
            format!(r#"{{__name__="one"}} {}:0 {text}"#, NOW + 1),
            format!(r#"{{__name__="two"}} {NOW}:7 {text}"#),
        ]
    );
}

#[test]
fn what_is_wrong_with_a_series_leaves_the_others() {
    let good =
        |maker: &mut Maker| drop(maker.push(&[("__name__", "good")], &[(0, NOW, 1.0)]).clone());
    type Damage = fn(&mut Maker);
    let cases: [(Damage, u64, &str); 10] = [
        (
            |m| m.push(&[("__name__", "a")], &[(0, 1, 1.0)]).labels.push(1),
            1,
            "a label without a value",
        ),
        (|m| m.push(&[("__name__", "a")], &[(0, 1, 1.0)]).labels[1] = 99, 1, "symbol 99 of 4"),
        (
            |m| drop(m.push(&[("job", "a")], &[(0, 1, 1.0)]).clone()),
            1,
            "no metric name, series {job=\"a\"}",
        ),
        (
            |m| drop(m.push(&[("__name__", "a"), ("", "b")], &[(0, 1, 1.0)]).clone()),
            1,
            "empty label name, with value \"b\"",
        ),
        (
            |m| drop(m.push(&[("__name__", "a"), ("x", "1"), ("x", "2")], &[(0, 1, 1.0)]).clone()),
            1,
            "label name \"x\"",
        ),
        (
            |m| drop(m.push(&[("__name__", "a")], &[]).clone()),
            0,
            "neither a sample nor a histogram",
        ),
        (
            |m| {
                m.push(&[("__name__", "a")], &[(0, 1, 1.0)]).metadata =
                    Some(Metadata2 { metric_type: 1, help: 50, unit: 0 });
            },
            1,
            "metadata of symbols that are not there",
        ),
        (
            |m| {
                let mut broken = plain_histogram(1);
                broken.positive_deltas.push(1);
                m.push(&[("__name__", "a")], &[]).histograms = vec![broken];
            },
            1,
            "the histogram is not valid",
        ),
        (
            |m| {
                let series = m.push(&[("__name__", "a")], &[(0, NOW, 1.0)]);
                series.exemplars =
                    vec![Exemplar2 { labels: vec![77, 78], value: 1.0, timestamp: NOW }];
            },
            0,
            "exemplar: symbol 77",
        ),
        (
            |m| drop(m.push(&[("__name__", "a")], &[(0, NOW + MAX_AHEAD_MS + 1, 1.0)]).clone()),
            1,
            "sample at 1700000600001 is too far in the future",
        ),
    ];
    for (damage, refused, reason) in cases {
        let (store, receiver) = receiver();
        let mut maker = Maker::new();
        good(&mut maker);
        damage(&mut maker);
        let receipt = receiver.receive(Version::V2, &maker.body(), NOW).unwrap();
        assert_eq!(receipt.refused(), refused, "{reason}: {receipt}");
        assert!(!receipt.is_success(Version::V2), "{reason}");
        let first = receipt.first_refusal.clone().unwrap_or_default();
        assert!(first.starts_with(reason), "{first}");
        assert!(receipt.to_string().contains(reason));
        assert_eq!(store.dump()[0].0.contains("good"), !store.dump()[0].0.contains("\"a\""));
        assert!(store.dump().iter().any(|(labels, _)| labels.contains("good")), "{reason}");
    }
}

#[test]
fn series_say_what_their_metadata_is() {
    let (store, receiver) = receiver();
    let send = |help: &str, at: i64| {
        let mut maker = Maker::new();
        let (help, unit) = (maker.symbol(help), maker.symbol("seconds"));
        for x in ["1", "2"] {
            let series = maker.push(&[("__name__", "a"), ("x", x)], &[(0, at, 1.0)]);
            series.metadata = Some(Metadata2 { metric_type: 1, help, unit });
        }
        receiver.receive(Version::V2, &maker.body(), NOW).unwrap()
    };
    let receipt = send("First.", NOW);
    assert_eq!((receipt.metadata, receipt.refused_metadata), (2, 0));
    send("Second.", NOW + 1);
    assert_eq!(store.metadata().0, vec!["a Counter seconds Second."; 2]);
    // Too long for the store: the samples are stored, and say what they said.
    let receipt = send(&"x".repeat(70_000), NOW + 2);
    assert_eq!((receipt.appended, receipt.refused_metadata), (2, 2));
    assert!(receipt.is_success(Version::V2));
    assert_eq!(store.metadata().0, vec!["a Counter seconds Second."; 2]);
}

#[test]
fn lists_beyond_bounds_are_refused() {
    let (store, receiver) = receiver();
    let mut wide = plain_histogram(NOW);
    wide.positive_deltas = vec![0; MAX_HISTOGRAM_BUCKETS + 1];
    let mut of_wide = series(&[("__name__", "a")], &[(NOW, 1.0)]);
    of_wide.histograms = vec![wide];
    let error = receiver.receive(Version::V1, &body(vec![of_wide]), NOW).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.ends_with("field 12 has more than 65536 elements"), "{source}");

    // Symbols of two bytes each.
    let request: Vec<u8> = [0x22, 0].repeat(MAX_SYMBOLS + 1);
    let request = snap::raw::Encoder::new().compress_vec(&request).unwrap();
    let error = receiver.receive(Version::V2, &request, NOW).unwrap_err();
    assert!(matches!(error, ReceiveError::TooManySymbols), "{error}");

    let mut maker = Maker::new();
    let many: Vec<u32> = [1, 2].repeat(5000);
    maker.symbol("a");
    maker.symbol("b");
    maker.push(&[("__name__", "a")], &[(0, NOW, 1.0)]).labels.extend(many);
    let receipt = receiver.receive(Version::V2, &maker.body(), NOW).unwrap();
    assert_eq!(receipt.first_refusal.unwrap(), "a series has more than 4096 labels");
    assert!(store.dump().is_empty());
}

proptest::proptest! {
    #[test]
    fn no_message_panics(bytes in proptest::collection::vec(0_u8..50, 0..80)) {
        let (_, receiver) = receiver();
        let symbols = [0x22, 0, 0x22, 8, b'_', b'_', b'n', b'a', b'm', b'e', b'_', b'_'];
        let message = [&symbols[..], &bytes].concat();
        let body = snap::raw::Encoder::new().compress_vec(&message).unwrap();
        let _ = receiver.receive(Version::V2, &body, NOW);
    }
}
