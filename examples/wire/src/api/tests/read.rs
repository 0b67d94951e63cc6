//! Remote read: answers in both forms, and what is refused.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use ferula_chunkenc::{Chunk, Encoding, SampleBatch};
use prost::Message;

use super::get;
use crate::api::{ApiState, router};
use crate::read::MAX_QUERIES;

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct LabelMatcher {
    #[prost(int32, tag = "1")]
    operator: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(int64, tag = "1")]
    start: i64,
    #[prost(int64, tag = "2")]
    end: i64,
    #[prost(message, repeated, tag = "3")]
    matchers: Vec<LabelMatcher>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<Query>,
    #[prost(int32, repeated, tag = "2")]
    types: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct HistogramSample {
    #[prost(double, tag = "2")]
    count: f64,
    #[prost(double, tag = "3")]
    sum: f64,
    #[prost(sint32, tag = "4")]
    schema: i32,
    #[prost(double, repeated, tag = "13")]
    positive: Vec<f64>,
    #[prost(int64, tag = "15")]
    timestamp: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Series {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Pair>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<HistogramSample>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryResult {
    #[prost(message, repeated, tag = "1")]
    series: Vec<Series>,
}

#[derive(Clone, PartialEq, Message)]
struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    results: Vec<QueryResult>,
}

#[derive(Clone, PartialEq, Message)]
struct EncodedChunk {
    #[prost(int64, tag = "1")]
    first: i64,
    #[prost(int64, tag = "2")]
    last: i64,
    #[prost(int32, tag = "3")]
    encoding: i32,
    #[prost(bytes = "vec", tag = "4")]
    data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ChunkedSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Pair>,
    #[prost(message, repeated, tag = "2")]
    chunks: Vec<EncodedChunk>,
}

#[derive(Clone, PartialEq, Message)]
struct ChunkedReadResponse {
    #[prost(message, repeated, tag = "1")]
    series: Vec<ChunkedSeries>,
    #[prost(int64, tag = "2")]
    query: i64,
}

async fn post(api: &Router, body: Vec<u8>) -> (u16, String, Vec<u8>) {
    let request = Request::post("/api/v1/read").body(Body::from(body)).unwrap();
    let response = tower::ServiceExt::oneshot(api.clone(), request).await.unwrap();
    let (parts, body) = response.into_parts();
    let kind = parts.headers.get("Content-Type").map(|kind| kind.to_str().unwrap().to_owned());
    let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    (parts.status.as_u16(), kind.unwrap_or_default(), body)
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

/// The frames of a streamed answer.
fn frames(mut body: &[u8]) -> Vec<ChunkedReadResponse> {
    let mut frames = Vec::new();
    while !body.is_empty() {
        let len = prost::decode_length_delimiter(&mut body).unwrap();
        let (sum, rest) = body.split_first_chunk::<4>().unwrap();
        let (message, rest) = rest.split_at(len);
        assert_eq!(u32::from_be_bytes(*sum), crc32c::crc32c(message));
        frames.push(ChunkedReadResponse::decode(message).unwrap());
        body = rest;
    }
    frames
}

/// The samples of the frames of one query, as `name value time` or histograms as text.
fn streamed(frames: &[ChunkedReadResponse], query: i64) -> Vec<String> {
    let mut lines = Vec::new();
    for series in frames.iter().filter(|frame| frame.query == query).flat_map(|f| &f.series) {
        for chunk in &series.chunks {
            let encoding = Encoding::from_byte(u8::try_from(chunk.encoding).unwrap()).unwrap();
            let mut batch = SampleBatch::new();
            let data = chunk.data.clone().into();
            Chunk { encoding, data }.decode_into(&mut batch).unwrap();
            let (first, last) = (batch.timestamps()[0], *batch.timestamps().last().unwrap());
            assert_eq!((first, last), (chunk.first, chunk.last));
            for (place, time) in batch.timestamps().iter().enumerate() {
                let value = match batch.histogram(place) {
                    Some(histogram) => format!("{} {}", histogram.count, histogram.sum),
                    None => batch.values()[place].to_bits().to_string(),
                };
                lines.push(format!("{:?} {time} {value}", series.labels));
            }
        }
    }
    lines
}

fn whole(result: &QueryResult) -> Vec<String> {
    let mut lines = Vec::new();
    for series in &result.series {
        let mut of: Vec<(i64, String)> = Vec::new();
        of.extend(series.samples.iter().map(|s| (s.timestamp, s.value.to_bits().to_string())));
        of.extend(
            series.histograms.iter().map(|h| (h.timestamp, format!("{} {}", h.count, h.sum))),
        );
        of.sort();
        lines.extend(of.iter().map(|(time, value)| format!("{:?} {time} {value}", series.labels)));
    }
    lines
}

fn query(start: i64, end: i64, matchers: &[(i32, &str, &str)]) -> Query {
    let matchers = matchers.iter().map(|&(operator, name, value)| LabelMatcher {
        operator,
        name: name.to_owned(),
        value: value.to_owned(),
    });
    Query { start, end, matchers: matchers.collect() }
}

#[tokio::test]
async fn both_forms_have_the_same_samples() {
    const NOW: i64 = 1_700_000_000_000;
    let dir = tempfile::tempdir().unwrap();
    let db = Arc::new(ferula_tsdb::Db::open(dir.path(), ferula_tsdb::Options::default()).unwrap());
    let mut batch = db.appender();
    for series in ["x", "y"] {
        let labels =
            ferula_index::Labels::from_pairs([("__name__", "long"), ("series", series)]).unwrap();
        for n in 0..300 {
            batch.append(&labels, NOW - 300_000 + n * 1000, 0.1 * n as f64).unwrap();
        }
    }
    batch.commit().unwrap();
    let state = ApiState::builder(db.clone()).store(db).enable_remote_write(true);
    let api = router(state.build());
    let golden = include_bytes!("../../../tests/data/remote_write/v1/request.snappy");
    let write = Request::post("/api/v1/write").body(Body::from(&golden[..])).unwrap();
    assert_eq!(tower::ServiceExt::oneshot(api.clone(), write).await.unwrap().status(), 204);

    let queries = vec![
        query(NOW - 250_000, NOW - 100_500, &[(0, "__name__", "long"), (1, "series", "y")]),
        query(NOW - 10_000, NOW + 10_000, &[(2, "job", "gold.*"), (3, "__name__", "x|y")]),
        query(5, 4, &[(0, "__name__", "long")]),
    ];
    let request = ReadRequest { queries: queries.clone(), types: vec![] };
    let (status, kind, body) = post(&api, snappy(&request.encode_to_vec())).await;
    assert_eq!((status, &*kind), (200, "application/x-protobuf"));
    let body = snap::raw::Decoder::new().decompress_vec(&body).unwrap();
    let answer = ReadResponse::decode(&*body).unwrap();
    let results: Vec<Vec<String>> = answer.results.iter().map(whole).collect();
    let counts: Vec<usize> = results.iter().map(Vec::len).collect();
    assert_eq!(counts, [150, 6, 0]);
    let size = answer.results[1].series.iter().find(|s| s.labels[0].value == "size_bytes").unwrap();
    let expected = HistogramSample {
        count: 4.0,
        sum: 9.75,
        schema: -1,
        positive: vec![1.5, 2.0],
        timestamp: NOW,
    };
    assert_eq!(size.histograms, [expected]);

    let request = ReadRequest { queries, types: vec![1, 0] };
    let (status, kind, body) = post(&api, snappy(&request.encode_to_vec())).await;
    let expected = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    assert_eq!((status, &*kind), (200, expected));
    let frames = frames(&body);
    for (number, result) in (0..).zip(&results) {
        assert_eq!(&streamed(&frames, number), result);
    }
}

#[tokio::test]
async fn bad_requests_to_read_are_refused() {
    let api = super::api();
    let encode = |request: ReadRequest| snappy(&request.encode_to_vec());
    let of = |query: Query, types: Vec<i32>| encode(ReadRequest { queries: vec![query], types });
    let many = vec![query(0, 1, &[]); MAX_QUERIES + 1];
    for (body, status, text) in [
        (b"\xff\xff\xff".to_vec(), 400, "invalid snappy block"),
        (b"\xff\xff\xff\xff\x0f".to_vec(), 400, "exceeds the limit of 1048576"),
        (vec![0; 2 << 20], 413, "too large"),
        (snappy(b"\x0a\x05\x1a"), 400, "ReadRequest at offset 2: unexpected end"),
        (of(query(0, 1, &[(2, "a", "(")]), vec![]), 400, "invalid regular expression"),
        (of(query(0, 1, &[(9, "a", "b")]), vec![]), 400, "invalid matcher type"),
        (of(query(0, 1, &[]), vec![7]), 400, "does not support any of the requested"),
        (encode(ReadRequest { queries: many, types: vec![] }), 400, "more than 100 elements"),
    ] {
        let (found, _, body) = post(&api, body).await;
        let body = String::from_utf8(body).unwrap();
        assert_eq!(found, status, "{body}");
        assert!(body.contains(text), "{body}");
    }
    assert_eq!(get(&api, "/api/v1/read").await.0, 405);
}
