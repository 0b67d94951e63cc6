//! Histogram chunks written by Prometheus: the same histograms give the same chunks, cut and coded
//! anew in the same places, and the chunks give the histograms.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod histogram_text;

use std::fmt::Debug;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use ferula_chunkenc::histogram::{
    CounterResetHint, FloatHistogram, Histogram, HistogramError, Side, Span,
};
use ferula_chunkenc::{
    Appended, Chunk, ChunkAppender, ChunkHistogram, ChunkHistograms, CutReason, Encoding, Error,
    HistogramAppender, SampleBatch, stale,
};
use histogram_text::{float_histogram, histogram};
use proptest::prelude::*;

/// A histogram with its start timestamp and its timestamp.
type Sample<H> = (i64, i64, H);

/// What was appended in one case, and the chunks that came of it.
struct Case<H> {
    name: String,
    encoding: Encoding,
    appended: Vec<(String, Sample<H>)>,
    chunks: Vec<(Chunk, Vec<Sample<H>>)>,
}

fn cases<H>(file: &str, encoding: Encoding, parse: fn(&str) -> H) -> Vec<Case<H>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/histogram/v1");
    let text = fs::read_to_string(dir.join(file)).unwrap();
    let mut cases: Vec<Case<H>> = Vec::new();
    for line in text.lines() {
        let Some((operation, rest)) = line.split_once(" | ") else {
            let name = line.to_owned();
            let (appended, chunks) = (Vec::new(), Vec::new());
            cases.push(Case { name, encoding, appended, chunks });
            continue;
        };
        let case = cases.last_mut().unwrap();
        let mut fields = operation.split(' ');
        let operation = fields.next().unwrap();
        let mut time = || fields.next().map_or(0, |time| time.parse().unwrap());
        let (timestamp, start) = (time(), time());
        match operation {
            "chunk" => {
                let byte = |at| u8::from_str_radix(&rest[at..at + 2], 16).unwrap();
                let data: Bytes = (0..rest.len()).step_by(2).map(byte).collect();
                case.chunks.push((Chunk { encoding, data }, Vec::new()));
            }
            "read" => case.chunks.last_mut().unwrap().1.push((start, timestamp, parse(rest))),
            _ => case.appended.push((operation.to_owned(), (start, timestamp, parse(rest)))),
        }
    }
    cases
}

fn integer_cases() -> Vec<Case<Histogram>> {
    let mut found = cases("integer_chunks.txt", Encoding::Histogram, histogram);
    found.extend(cases("integer_st_chunks.txt", Encoding::HistogramSt, histogram));
    found
}

fn float_cases() -> Vec<Case<FloatHistogram>> {
    let mut found = cases("float_chunks.txt", Encoding::FloatHistogram, float_histogram);
    found.extend(cases("float_st_chunks.txt", Encoding::FloatHistogramSt, float_histogram));
    found
}

fn appender<H: ChunkHistogram>(encoding: Encoding) -> ChunkAppender<H> {
    match encoding {
        Encoding::Histogram | Encoding::FloatHistogram => ChunkAppender::new(),
        _ => ChunkAppender::with_start_timestamps(),
    }
}

/// Appends what was appended, with an appender that is resumed after every sample if it says so.
fn check_appending<H: ChunkHistogram>(cases: &[Case<H>], is_resumed: bool) {
    for Case { name, encoding, appended, chunks } in cases {
        let mut appender = appender::<H>(*encoding);
        let mut found = Vec::new();
        for (expected, (start, timestamp, histogram)) in appended {
            let outcome = if expected == "next" {
                let next = appender.append_to_next_with_start(*start, *timestamp, histogram);
                found.push(next.unwrap());
                "next"
            } else {
                match appender.append_with_start(*start, *timestamp, histogram).unwrap() {
                    Appended::InPlace => "in_place",
                    Appended::Recoded => "recoded",
                    Appended::Cut { finished, .. } => {
                        found.push(finished);
                        "cut"
                    }
                }
            };
            assert_eq!(outcome, expected, "{name} at {timestamp}");
            assert_eq!(appender.last_timestamp(), Some(*timestamp));
            assert_eq!(appender.last_start(), *start);
            let again = appender.append(*timestamp, histogram);
            let refused = Error::OutOfOrder { timestamp: *timestamp, last: *timestamp };
            assert_eq!(again, Err(refused), "{name}");
            if is_resumed {
                let mut data = appender.as_bytes().to_vec();
                data.extend([0xff; 3]);
                appender = ChunkAppender::resume(*encoding, data).unwrap();
            }
        }
        found.push(appender.into_chunk());
        let expected: Vec<_> = chunks.iter().map(|(chunk, _)| chunk.clone()).collect();
        assert_eq!(found, expected, "{name}");
    }
}

fn read<H: ChunkHistogram>(encoding: Encoding, data: &[u8]) -> Result<Vec<Sample<H>>, Error> {
    let mut histograms = ChunkHistograms::new(encoding, data)?;
    let mut found = Vec::new();
    while let Some(timestamp) = histograms.next()? {
        found.push((histograms.start_timestamp(), timestamp, histograms.histogram()?));
    }
    Ok(found)
}

fn check_reading<H: ChunkHistogram + PartialEq + Debug>(cases: &[Case<H>]) {
    for Case { name, chunks, .. } in cases {
        for (chunk, expected) in chunks {
            assert_eq!(chunk.sample_count().map(usize::from), Ok(expected.len()), "{name}");
            assert_eq!(read(chunk.encoding, &chunk.data).as_ref(), Ok(expected), "{name}");
        }
    }
}

fn check_damage<H: ChunkHistogram + PartialEq + Debug>(cases: &[Case<H>]) {
    let n_cases = cases.len() / 2;
    for Case { name, encoding, chunks, .. } in cases.iter().step_by(n_cases / 6) {
        for (chunk, _) in chunks {
            for len in 0..chunk.data.len() {
                let cut = &chunk.data[..len];
                assert!(read::<H>(*encoding, cut).is_err(), "{name} cut to {len} bytes");
                assert!(ChunkAppender::<H>::resume(*encoding, cut.to_vec()).is_err());
            }
            for bit in 0..chunk.data.len() * 8 {
                let mut data = chunk.data.to_vec();
                data[bit / 8] ^= 0x80 >> (bit % 8);
                let _ = read::<H>(*encoding, &data);
            }
        }
    }
}

#[test]
fn the_same_histograms_give_the_same_chunks() {
    check_appending(&integer_cases(), false);
    check_appending(&float_cases(), false);
}

#[test]
fn the_chunks_give_the_histograms() {
    check_reading(&integer_cases());
    check_reading(&float_cases());
}

#[test]
fn a_resumed_appender_writes_the_same_chunks() {
    check_appending(&integer_cases(), true);
    check_appending(&float_cases(), true);
}

#[test]
fn a_cut_tail_is_an_error_and_flipped_bits_never_panic() {
    check_damage(&integer_cases());
    check_damage(&float_cases());
}

proptest! {
    #[test]
    fn any_bytes_decode_or_fail(flags: u8, count in 0..40_u16, body: Vec<u8>, zeros in 0..9_usize) {
        let mut data = count.to_be_bytes().to_vec();
        data.push(flags);
        // Zeros are a threshold, a schema and layouts of no buckets.
        data.extend(std::iter::repeat_n(0, zeros));
        data.extend(body);
        let sample = Histogram {
            positive_spans: vec![Span::new(-1, 1), Span::new(3, 2)],
            positive_buckets: vec![1, 2, -3],
            count: u64::MAX,
            counter_reset_hint: if flags < 0xc0 { CounterResetHint::Unknown } else { CounterResetHint::Gauge },
            ..Histogram::default()
        };
        for encoding in [Encoding::Histogram, Encoding::HistogramSt] {
            let _ = read::<Histogram>(encoding, &data);
            if let Ok(mut appender) = ChunkAppender::<Histogram>::resume(encoding, data.clone()) {
                let _ = appender.append_with_start(5, i64::MAX, &sample);
                prop_assert!(read::<Histogram>(encoding, appender.as_bytes()).is_ok());
            }
        }
        for encoding in [Encoding::FloatHistogram, Encoding::FloatHistogramSt] {
            let _ = read::<FloatHistogram>(encoding, &data);
            let appender = ChunkAppender::<FloatHistogram>::resume(encoding, data.clone());
            if let Ok(mut appender) = appender {
                let _ = appender.append_with_start(5, i64::MAX, &sample.to_float());
                prop_assert!(read::<FloatHistogram>(encoding, appender.as_bytes()).is_ok());
            }
        }
    }
}

/// Bits, written by hand.
fn bits(text: &str) -> Vec<u8> {
    let mut digits: String = text.split_whitespace().collect();
    digits.extend(std::iter::repeat_n('0', (8 - digits.len() % 8) % 8));
    let byte = |at| u8::from_str_radix(&digits[at..at + 8], 2).unwrap();
    (0..digits.len()).step_by(8).map(byte).collect()
}

/// A chunk of one sample whose layout is given, with `rest` bytes behind it.
fn chunk_with_layout(layout: &str, rest: usize) -> Vec<u8> {
    let mut data = vec![0, 1, 0];
    data.extend(bits(layout));
    data.extend(std::iter::repeat_n(0, rest));
    data
}

#[test]
fn more_buckets_than_bytes_are_refused() {
    // Threshold 0, schema 0, one positive span of 2^32 - 1 buckets at 0, no negative one.
    let spans = format!("10 001 11111110 {:056b} 0 0", u32::MAX);
    let data = chunk_with_layout(&format!("00000000 0 {spans}"), 30);
    let needed = u64::from(u32::MAX);
    let found = read::<Histogram>(Encoding::Histogram, &data).unwrap_err();
    assert!(matches!(found, Error::BucketCount { needed: n, .. } if n == needed), "{found}");
    let found = read::<FloatHistogram>(Encoding::FloatHistogram, &data).unwrap_err();
    assert!(matches!(found, Error::BucketCount { needed: n, held: 3, .. } if n == needed));
}

#[test]
fn spans_and_schemas_out_of_range_are_refused() {
    let spans = format!("10 001 11111110 {:056b} 0 0", u64::from(u32::MAX) + 1);
    let data = chunk_with_layout(&format!("00000000 0 {spans}"), 30);
    let found = read::<Histogram>(Encoding::Histogram, &data).unwrap_err();
    assert!(matches!(found, Error::SpanRange { offset: 0, length: 0x1_0000_0000, .. }), "{found}");

    for schema in [53_i64, -10, -54] {
        let code = format!("1110 {:09b}", schema & 0x1ff);
        let data = chunk_with_layout(&format!("00000000 {code} 0 0"), 30);
        let expected = Err(HistogramError::UnknownSchema { schema }.into());
        assert_eq!(read::<Histogram>(Encoding::Histogram, &data), expected);
    }
}

#[test]
fn reserved_resolutions_are_reduced() {
    let sample = Histogram {
        schema: 9,
        count: 3,
        sum: 1.0,
        positive_spans: vec![Span::new(1, 2)],
        positive_buckets: vec![1, 1],
        ..Histogram::default()
    };
    let mut appender = HistogramAppender::new();
    appender.append(1, &sample).unwrap();
    let (_, _, found) =
        read::<Histogram>(Encoding::Histogram, appender.as_bytes()).unwrap().remove(0);
    assert_eq!(found.schema, 8);
    assert_eq!(found.positive_spans, [Span::new(1, 1)]);
    assert_eq!(found.positive_buckets, [3]);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let good = Histogram::default();
    let mut appender = HistogramAppender::new();
    appender.append(1, &good).unwrap();
    let before = appender.to_chunk();
    let buckets = Histogram { negative_buckets: vec![1], ..good.clone() };
    let (side, needed, found) = (Side::Negative, 0, 1);
    let mismatch = HistogramError::SpansBucketsMismatch { side, needed, found };
    assert_eq!(appender.append(2, &buckets), Err(mismatch.into()));
    let overlap = Histogram {
        positive_spans: vec![Span::new(0, 1), Span::new(-1, 1)],
        positive_buckets: vec![1, 1],
        ..good.clone()
    };
    let error = HistogramError::SpanOffset { side: Side::Positive, span: 1, offset: -1 };
    assert_eq!(appender.append(2, &overlap), Err(error.clone().into()));
    let two_spans = "00000000 0 10010 10001 0 10001 10 111 0";
    let resumed = HistogramAppender::resume(Encoding::Histogram, chunk_with_layout(two_spans, 30));
    assert_eq!(resumed.err(), Some(error.into()));
    let schema = Histogram { schema: 77, ..good };
    let unknown = HistogramError::UnknownSchema { schema: 77 };
    assert_eq!(appender.append(2, &schema), Err(unknown.into()));
    assert_eq!(appender.to_chunk(), before);
}

#[test]
fn a_full_chunk_can_only_be_ended() {
    let mut appender = HistogramAppender::with_start_timestamps();
    for t in 0..0x3fff {
        appender.append_with_start(t / 100, t, &Histogram::default()).unwrap();
    }
    let full = appender.to_chunk();
    let refused = Err(Error::ChunkFull { limit: 0x3fff });
    assert_eq!(appender.append(0x3fff, &Histogram::default()), refused);
    assert_eq!(appender.to_chunk(), full);
    assert_eq!(full.sample_count(), Ok(0x3fff));
    assert_eq!(appender.append_to_next(0x3fff, &Histogram::default()), Ok(full.clone()));
    assert_eq!(appender.sample_count(), 1);
    assert_eq!(full.time_range(), Ok(Some((0, 0x3ffe))));
}

#[test]
fn a_chunk_says_why_it_ended() {
    let of = |counter_reset_hint, count, schema| Histogram {
        counter_reset_hint,
        count,
        schema,
        ..Histogram::default()
    };
    let plain = of(CounterResetHint::Unknown, 5, 0);
    let stale = Histogram { sum: stale::STALE_NAN, ..Histogram::default() };
    for (first, second, expected) in [
        (&plain, of(CounterResetHint::Unknown, 4, 0), CutReason::CounterReset),
        (&plain, of(CounterResetHint::Reset, 5, 0), CutReason::CounterReset),
        (&plain, of(CounterResetHint::Unknown, 5, 1), CutReason::Layout),
        (&plain, of(CounterResetHint::Gauge, 5, 0), CutReason::Kind),
        (&stale, plain.clone(), CutReason::Stale),
    ] {
        let mut appender = HistogramAppender::new();
        appender.append(1, first).unwrap();
        let Appended::Cut { finished, reason } = appender.append(2, &second).unwrap() else {
            panic!("{expected:?} must end the chunk");
        };
        assert_eq!((reason, finished.sample_count()), (expected, Ok(1)));
        assert_eq!(appender.sample_count(), 1);
    }
}

#[test]
fn seek_finds_the_first_histogram_at_or_after() {
    let cases = integer_cases();
    let (chunk, expected) =
        cases.iter().flat_map(|case| &case.chunks).find(|(_, found)| found.len() > 4).unwrap();
    let mut histograms = chunk.histograms().unwrap();
    let (_, timestamp, histogram) = &expected[2];
    assert_eq!(histograms.seek(timestamp - 1), Ok(Some(*timestamp)));
    assert_eq!(histograms.histogram().as_ref(), Ok(histogram));
    assert_eq!(histograms.seek(i64::MIN), Ok(Some(*timestamp)), "seeking never goes back");
    assert_eq!(histograms.seek(i64::MAX), Ok(None));
}

#[test]
fn histograms_are_no_floats() {
    let cases = integer_cases();
    let (chunk, _) = &cases[0].chunks[0];
    let wrong = |wanted| Error::WrongEncoding { wanted, found: Encoding::Histogram };
    assert_eq!(chunk.iter().err(), Some(wrong(Encoding::Xor)));
    assert_eq!(chunk.float_histograms().err(), Some(wrong(Encoding::FloatHistogram)));
}

#[test]
fn chunks_of_histograms_decode_into_batches() {
    fn check<H: ChunkHistogram>(cases: &[Case<H>], to_float: impl Fn(&H) -> FloatHistogram) {
        for (chunk, expected) in cases.iter().flat_map(|case| &case.chunks) {
            let mut batch = SampleBatch::new();
            batch.push(-1, 1.0);
            chunk.decode_into(&mut batch).unwrap();
            assert_eq!(batch.len(), 1 + expected.len());
            for (i, (start, timestamp, histogram)) in (1..).zip(expected) {
                let float = to_float(histogram);
                assert_eq!(batch.timestamps()[i], *timestamp);
                assert_eq!(batch.start_timestamp(i), *start);
                assert_eq!(batch.histogram(i).is_none(), stale::is_stale(float.sum));
                match batch.histogram(i) {
                    Some(found) => assert!(found.equals(&float)),
                    None => assert!(stale::is_stale(batch.values()[i])),
                }
            }
        }
    }
    check(&integer_cases(), Histogram::to_float);
    check(&float_cases(), FloatHistogram::clone);
}

#[test]
fn spans_of_no_buckets_do_not_multiply() {
    // 3,000 empty spans in a chunk of many samples that have no buckets.
    let spans = format!("11111110 {:056b} {} 0", 3_000, "0 0 ".repeat(3_000));
    let mut data = chunk_with_layout(&format!("00000000 0 {spans}"), 2_000);
    data[..2].copy_from_slice(&3_000_u16.to_be_bytes());
    let chunk = Chunk { encoding: Encoding::Histogram, data: data.into() };
    let mut batch = SampleBatch::new();
    chunk.decode_into(&mut batch).unwrap();
    assert_eq!(batch.len(), 3_000);
    assert!(batch.histogram(2_999).unwrap().positive_spans.is_empty());
}
