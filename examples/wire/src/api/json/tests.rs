use std::sync::Arc;

use ferula_chunkenc::histogram::{FloatHistogram, Span};
use ferula_chunkenc::{Sample, SampleBatch};
use ferula_promql::{MatrixSeries, Part, Value, VectorSample};

use super::*;

fn push_value(out: &mut Vec<u8>, value: &Value) {
    let mut writer = AnswerWriter::new(None);
    match value.clone() {
        Value::Scalar(sample) => writer.push(out, &Part::Scalar(sample)),
        Value::String { timestamp, text } => {
            writer.push(out, &Part::String { timestamp, text });
        }
        Value::Vector(vector) => {
            writer.push(out, &Part::Vector);
            vector.into_iter().for_each(|sample| writer.push(out, &Part::Sample(sample)));
        }
        Value::Matrix(matrix) => {
            writer.push(out, &Part::Matrix);
            matrix.into_iter().for_each(|series| writer.push(out, &Part::Series(series)));
        }
        _ => unreachable!("no other kind"),
    }
    assert!(!writer.finish(out));
}

#[test]
fn no_more_series_than_the_limit_are_written() {
    let series = |value: &str| {
        let labels = Labels::from_pairs([("a", value)]).unwrap();
        Part::Series(MatrixSeries { labels, samples: SampleBatch::new() })
    };
    for (limit, expected, is_cut) in [
        (2, r#"[{"metric":{"a":"1"}},{"metric":{"a":"2"}}]"#, false),
        (1, r#"[{"metric":{"a":"1"}}]"#, true),
        (0, "[]", true),
    ] {
        let mut writer = AnswerWriter::new(Some(limit));
        let written = text(|out| {
            [Part::Matrix, series("1"), series("2")].iter().for_each(|p| writer.push(out, p));
            assert_eq!(writer.finish(out), is_cut);
        });
        assert_eq!(written, format!(r#""resultType":"matrix","result":{expected}"#));
    }
}

fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    push(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn strings_are_escaped_as_prometheus_does() {
    let odd = "a\"b\\c\n\r\t\u{1}\u{7f}<&>ü\u{2028}x";
    assert_eq!(
        text(|out| push_string(out, odd)),
        "\"a\\\"b\\\\c\\n\\r\\t\\u0001\u{7f}\\u003c\\u0026\\u003eü\\u2028x\""
    );
    assert_eq!(
        text(|out| push_label(out, odd)),
        "\"a\\\"b\\\\c\\n\\r\\t\\u0001\u{7f}<&>ü\u{2028}x\""
    );
}

#[test]
fn timestamps_are_seconds() {
    for (timestamp, expected) in [
        (0, "0"),
        (1, "0.001"),
        (-1, "-0.001"),
        (10, "0.010"),
        (1_435_781_451_781, "1435781451.781"),
        (1_435_781_451_700, "1435781451.700"),
        (-1500, "-1.500"),
        (i64::MIN, "-9223372036854775.808"),
    ] {
        assert_eq!(text(|out| push_timestamp(out, timestamp)), expected);
    }
}

#[test]
fn points_of_different_times_keep_theirs() {
    let series = |timestamps: &[i64]| {
        let mut samples = SampleBatch::new();
        for &timestamp in timestamps {
            samples.push(timestamp, 0.5);
        }
        MatrixSeries { labels: Labels::empty(), samples }
    };
    let matrix = Value::Matrix(vec![
        series(&[1000, 2000]),
        series(&[2000, i64::MIN, 3001]),
        series(&[1000, 2000, 3001]),
    ]);
    assert_eq!(
        text(|out| push_value(out, &matrix)),
        r#""resultType":"matrix","result":[{"metric":{},"values":[[1,"0.5"],[2,"0.5"]]},{"metric":{},"values":[[2,"0.5"],[-9223372036854775.808,"0.5"],[3.001,"0.5"]]},{"metric":{},"values":[[1,"0.5"],[2,"0.5"],[3.001,"0.5"]]}]"#
    );
}

#[test]
fn values_have_the_form_of_their_type() {
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "a<b")]).unwrap();
    let mut samples = SampleBatch::new();
    samples.push(1000, 1.0);
    samples.push(1500, f64::NAN);
    for (value, expected) in [
        (
            Value::Scalar(Sample::new(1500, 1e300)),
            format!("\"resultType\":\"scalar\",\"result\":[1.5,\"1{}\"]", "0".repeat(300)),
        ),
        (
            Value::String { timestamp: 0, text: "a&b".to_owned() },
            r#""resultType":"string","result":[0,"a\u0026b"]"#.to_owned(),
        ),
        (Value::Vector(Vec::new()), r#""resultType":"vector","result":[]"#.to_owned()),
        (
            Value::Vector(vec![VectorSample {
                labels: labels.clone(),
                timestamp: 5000,
                value: f64::INFINITY,
                histogram: None,
            }]),
            r#""resultType":"vector","result":[{"metric":{"__name__":"up","job":"a<b"},"value":[5,"+Inf"]}]"#
                .to_owned(),
        ),
        (
            Value::Matrix(vec![MatrixSeries { labels, samples }]),
            r#""resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a<b"},"values":[[1,"1"],[1.500,"NaN"]]}]"#
                .to_owned(),
        ),
    ] {
        assert_eq!(text(|out| push_value(out, &value)), expected);
    }
}

#[test]
fn histograms_stand_beside_floats() {
    let histogram = Arc::new(FloatHistogram {
        count: 6.5,
        sum: -2.0,
        zero_threshold: 0.5,
        zero_count: 1.0,
        positive_spans: vec![Span { offset: 1, length: 2 }],
        positive_buckets: vec![0.0, 4.0],
        negative_spans: vec![Span { offset: 1, length: 1 }],
        negative_buckets: vec![1.5],
        ..FloatHistogram::default()
    });
    let written = r#"{"count":"6.5","sum":"-2","buckets":[[1,"-2","-1","1.5"],[3,"-0.5","0.5","1"],[0,"2","4","4"]]}"#;
    let sample = VectorSample {
        labels: Labels::empty(),
        timestamp: 1500,
        value: f64::NAN,
        histogram: Some(Arc::clone(&histogram)),
    };
    assert_eq!(
        text(|out| push_value(out, &Value::Vector(vec![sample]))),
        format!(
            r#""resultType":"vector","result":[{{"metric":{{}},"histogram":[1.500,{written}]}}]"#
        )
    );
    let mut samples = SampleBatch::new();
    samples.push_histogram(1000, histogram);
    samples.push(2000, 7.0);
    samples.push_histogram(3000, Arc::default());
    let empty = r#"{"count":"0","sum":"0"}"#;
    let series = MatrixSeries { labels: Labels::empty(), samples };
    assert_eq!(
        text(|out| push_value(out, &Value::Matrix(vec![series]))),
        format!(
            r#""resultType":"matrix","result":[{{"metric":{{}},"values":[[2,"7"]],"histograms":[[1,{written}],[3,{empty}]]}}]"#
        )
    );
}
