use super::*;

/// A field of bytes.
fn bytes(number: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    varint(&mut out, contents.len() as u64);
    out.extend_from_slice(contents);
    out
}

fn number(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, u64::from(number << 3));
    varint(&mut out, value);
    out
}

fn double(number: u8, value: f64) -> Vec<u8> {
    let mut out = vec![number << 3 | 1];
    out.extend_from_slice(&value.to_le_bytes());
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

fn label(name: &str, value: &str) -> Vec<u8> {
    bytes(1, &[bytes(1, name.as_bytes()), bytes(2, value.as_bytes())].concat())
}

/// A family of one metric, behind its length.
fn family(name: &str, kind: u64, metric: &[u8]) -> Vec<u8> {
    let family = [
        bytes(1, name.as_bytes()),
        bytes(2, b"Help \\n."),
        number(3, kind),
        bytes(4, metric),
        bytes(5, b"seconds"),
    ]
    .concat();
    let mut out = Vec::new();
    varint(&mut out, family.len() as u64);
    out.extend(family);
    out
}

/// The samples of a page as text.
fn samples(page: &[u8], options: HistogramOptions) -> Result<Vec<String>, ProtobufError> {
    let mut parser = ProtobufParser::new(page, options);
    let mut found = Vec::new();
    while let Some(family) = parser.next_family()? {
        let read = family.each_sample::<ProtobufError>(&mut |sample, source| {
            let labels = ferula_index::Labels::from_pairs(source.labels()).expect("labels");
            let value = match &sample.value {
                SampleValue::Float(value) => value.to_string(),
                SampleValue::Histogram(histogram) => match &**histogram {
                    NativeHistogram::Integer(h) => format!("{h} {:?}", h.counter_reset_hint),
                    NativeHistogram::Float(h) => format!("float {h} {:?}", h.counter_reset_hint),
                },
            };
            let exemplars: Vec<_> = source
                .exemplars()
                .iter()
                .map(|e| format!(" # {:?} {} {:?}", e.labels, e.value, e.timestamp))
                .collect();
            let (time, start) = (sample.timestamp, sample.start);
            found.push(format!("{labels} {value} {time:?} {start}{}", exemplars.concat()));
            Ok(())
        });
        read?;
    }
    Ok(found)
}

fn exemplar(number: u8, timestamp: bool) -> Vec<u8> {
    let mut contents = [label("trace", "x"), double(2, 0.5)].concat();
    if timestamp {
        contents.extend(bytes(3, &[self::number(1, 7), self::number(2, 8_900_000)].concat()));
    }
    bytes(number, &contents)
}

fn histogram() -> Vec<u8> {
    let span = [number(1, 0), number(2, 2)].concat();
    [
        number(1, 6),
        double(2, 12.5),
        bytes(3, &[number(1, 4), double(2, 1.0), exemplar(3, true)].concat()),
        number(5, 0),
        double(6, 0.001),
        number(7, 1),
        bytes(12, &span),
        // Packed, 3 and then one less.
        bytes(13, &[6, 1]),
        bytes(15, &number(1, 5)),
    ]
    .concat()
}

#[test]
fn simple_metrics_are_one_series_each() {
    let counter = [
        label("a", "b"),
        bytes(3, &[double(1, 3.0), exemplar(2, false), bytes(3, &number(1, 5))].concat()),
        number(6, 1234),
    ]
    .concat();
    let page = [
        family("requests_total", 0, &counter),
        family("g", 1, &bytes(2, &double(1, -0.5))),
        family("u", 3, &bytes(5, &double(1, f64::NAN))),
    ]
    .concat();
    assert_eq!(
        samples(&page, HistogramOptions::default()).unwrap(),
        [
            r#"{__name__="requests_total", a="b"} 3 Some(1234) 5000 # [("trace", "x")] 0.5 None"#,
            r#"{__name__="g"} -0.5 None 0"#,
            r#"{__name__="u"} NaN None 0"#,
        ]
    );
    let mut parser = ProtobufParser::new(&page, HistogramOptions::default());
    let family = parser.next_family().unwrap().unwrap();
    let Family { metric, help, unit, kind, .. } = family;
    assert_eq!((metric, help, unit), ("requests_total", "Help \\n.", "seconds"));
    assert_eq!(kind, MetricType::Counter);
}

#[test]
fn summaries_and_histograms_are_several_series() {
    let summary =
        [number(1, 3), double(2, 1.5), bytes(3, &[double(1, 0.5), double(2, 0.25)].concat())];
    let page =
        [family("s", 2, &bytes(4, &summary.concat())), family("h", 4, &bytes(7, &histogram()))]
            .concat();
    let classic = [
        r#"{__name__="h_count"} 6 None 5000"#,
        r#"{__name__="h_sum"} 12.5 None 5000"#,
        r#"{__name__="h_bucket", le="1.0"} 4 None 5000 # [("trace", "x")] 0.5 Some(7008)"#,
        r#"{__name__="h_bucket", le="+Inf"} 6 None 5000"#,
    ];
    let native = "{__name__=\"h\"} {count:6, sum:12.5, [-0.001,0.001]:1, (0.5,1]:3, (1,2]:2} Unknown None 5000 # [(\"trace\", \"x\")] 0.5 Some(7008)";
    let custom = "{__name__=\"h\"} {count:6, sum:12.5, [-Inf,1]:4, (1,+Inf]:2} Unknown None 5000 # [(\"trace\", \"x\")] 0.5 Some(7008)";
    let of = |native, always_classic, convert| {
        let options = HistogramOptions { native, always_classic, convert };
        samples(&page, options).unwrap().split_off(3)
    };
    let all = samples(&page, HistogramOptions::default()).unwrap();
    assert_eq!(
        all[..3],
        [
            r#"{__name__="s_count"} 3 None 0"#,
            r#"{__name__="s_sum"} 1.5 None 0"#,
            r#"{__name__="s", quantile="0.5"} 0.25 None 0"#,
        ]
    );
    assert_eq!(all[3..], classic);
    assert_eq!(of(true, false, false), [native]);
    assert_eq!(of(true, false, true), [native]);
    assert_eq!(of(false, false, true), [custom]);
    let both = of(true, true, false);
    assert_eq!(both[..4], classic);
    assert_eq!(both[4..], [native]);
}

#[test]
fn gauge_histograms_and_float_counts_are_told_apart() {
    let span = [number(1, 2), number(2, 1)].concat();
    let float = [double(4, 1.5), double(8, 0.5), bytes(9, &span), double(11, 1.0), double(6, 0.1)];
    let page = family("h", 5, &bytes(7, &float.concat()));
    let options = HistogramOptions { native: true, ..HistogramOptions::default() };
    assert_eq!(
        samples(&page, options).unwrap(),
        [r#"{__name__="h"} float {count:1.5, sum:0, [-2,-1):1, [-0.1,0.1]:0.5} Gauge None 0"#]
    );
}

#[test]
fn broken_pages_name_the_family() {
    let good = family("g", 1, &bytes(2, &double(1, 1.0)));
    let broken_spans =
        bytes(7, &[number(1, 1), bytes(12, &[number(1, 0), number(2, 2)].concat())].concat());
    for (bad, message) in [
        (vec![5, 1], "the page ends within a message"),
        (vec![0xff; 12], "the page ends within a message"),
        (vec![0x80], "the page ends within a message"),
        (family("g", 9, b""), "unknown metric type 9"),
        (family("", 1, b""), "metric name is missing"),
        (family("g", 1, &[0xff]), "Metric at offset 0: unexpected end"),
        (family("g", 1, &label("a", "b")[..4]), "Metric at offset 2: unexpected end"),
        (family("h", 4, &broken_spans), "spans require 2 buckets, there are 0"),
        (bytes(0, b"")[..1].to_vec(), "the page ends within a message"),
    ] {
        let page = [good.clone(), bad].concat();
        let options = HistogramOptions { native: true, ..HistogramOptions::default() };
        let error = samples(&page, options).expect_err(message);
        assert_eq!(crate::error::chain(&error), format!("metric family 2: {message}"));
    }
}

proptest::proptest! {
    #[test]
    fn no_page_panics(page in proptest::collection::vec(proptest::num::u8::ANY, 0..80), convert: bool) {
        let options = HistogramOptions { native: true, always_classic: true, convert };
        let mut whole = vec![u8::try_from(page.len()).unwrap()];
        whole.extend(&page);
        let _ = samples(&page, options);
        let _ = samples(&whole, options);
    }

    #[test]
    fn changed_histograms_do_not_panic(at in 0_usize..200, byte: u8) {
        let mut page = family("h", 4, &bytes(7, &histogram()));
        let at = at % page.len();
        page[at] = byte;
        let options = HistogramOptions { native: true, always_classic: true, convert: true };
        let _ = samples(&page, options);
    }
}
