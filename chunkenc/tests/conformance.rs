//! What every encoding of samples must do: read back what was appended, sample by sample, from any
//! time on and all at once; be continued where it ends; and refuse or survive damage.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use ferula_chunkenc::histogram::{FloatHistogram, Histogram, Span};
use ferula_chunkenc::stale::STALE_NAN;
use ferula_chunkenc::{
    Appended, Chunk, ChunkAppender, ChunkHistogram, ChunkHistograms, ChunkIterator, Encoding,
    Error, Sample, SampleBatch, Xor2Appender, XorAppender,
};
use proptest::prelude::*;

const ENCODINGS: [Encoding; 6] = [
    Encoding::Xor,
    Encoding::Xor2,
    Encoding::Histogram,
    Encoding::FloatHistogram,
    Encoding::HistogramSt,
    Encoding::FloatHistogramSt,
];

/// What a sample holds.
#[derive(Clone, Debug)]
enum Value {
    Float(f64),
    Histogram(FloatHistogram),
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Histogram(a), Self::Histogram(b)) => a.equals(b),
            _ => false,
        }
    }
}

/// A sample as read: start timestamp, timestamp, value.
type Read = (i64, i64, Value);

/// A sample to append; what becomes of it depends on the encoding.
#[derive(Clone, Copy, Debug)]
struct Item {
    start: i64,
    timestamp: i64,
    float: f64,
    /// Grows from sample to sample.
    observations: u32,
}

impl Item {
    fn histogram(self) -> Histogram {
        if self.float.to_bits() == STALE_NAN.to_bits() {
            return Histogram { sum: STALE_NAN, ..Histogram::default() };
        }
        let n = i64::from(self.observations);
        Histogram {
            schema: 1,
            zero_threshold: 0.001,
            count: 10 * n.cast_unsigned(),
            zero_count: n.cast_unsigned(),
            sum: self.float,
            positive_spans: vec![Span::new(-2, 2), Span::new(3, 1)],
            positive_buckets: vec![n, 4 * n, -3 * n],
            negative_spans: vec![Span::new(0, 1)],
            negative_buckets: vec![2 * n],
            ..Histogram::default()
        }
    }

    fn read_from(self, encoding: Encoding) -> Read {
        let (has_starts, is_float) = match encoding {
            Encoding::Xor => (false, true),
            Encoding::Xor2 => (true, true),
            Encoding::Histogram | Encoding::FloatHistogram => (false, false),
            _ => (true, false),
        };
        let start = if has_starts { self.start } else { 0 };
        let is_marker = self.float.to_bits() == STALE_NAN.to_bits();
        let value = if is_float || is_marker {
            Value::Float(self.float)
        } else {
            Value::Histogram(self.histogram().to_float())
        };
        (start, self.timestamp, value)
    }
}

/// Appends to the chunk whose data is given, or to an empty one.
fn append(encoding: Encoding, data: Option<Vec<u8>>, items: &[Item]) -> Result<Chunk, Error> {
    match encoding {
        Encoding::Xor => {
            let mut appender = data.map_or_else(|| Ok(XorAppender::new()), XorAppender::resume)?;
            items.iter().try_for_each(|item| appender.append(item.timestamp, item.float))?;
            Ok(appender.into_chunk())
        }
        Encoding::Xor2 => {
            let mut appender =
                data.map_or_else(|| Ok(Xor2Appender::new()), Xor2Appender::resume)?;
            for item in items {
                appender.append(item.start, item.timestamp, item.float)?;
            }
            Ok(appender.into_chunk())
        }
        Encoding::Histogram | Encoding::HistogramSt => {
            append_histograms(encoding, data, items, Item::histogram)
        }
        _ => append_histograms(encoding, data, items, |item| item.histogram().to_float()),
    }
}

fn append_histograms<H: ChunkHistogram>(
    encoding: Encoding,
    data: Option<Vec<u8>>,
    items: &[Item],
    histogram: impl Fn(Item) -> H,
) -> Result<Chunk, Error> {
    let mut appender = match (data, encoding) {
        (Some(data), _) => ChunkAppender::<H>::resume(encoding, data)?,
        (None, Encoding::Histogram | Encoding::FloatHistogram) => ChunkAppender::new(),
        (None, _) => ChunkAppender::with_start_timestamps(),
    };
    for &item in items {
        let appended = appender.append_with_start(item.start, item.timestamp, &histogram(item))?;
        assert_eq!(appended, Appended::InPlace);
    }
    Ok(appender.into_chunk())
}

/// A reader of any encoding.
enum Reader<'a> {
    Floats(ChunkIterator<'a>),
    Integers(ChunkHistograms<'a, Histogram>),
    FloatHistograms(ChunkHistograms<'a, FloatHistogram>),
}

impl<'a> Reader<'a> {
    fn new(chunk: &'a Chunk) -> Result<Self, Error> {
        match chunk.encoding {
            Encoding::Xor | Encoding::Xor2 => chunk.iter().map(Self::Floats),
            Encoding::Histogram | Encoding::HistogramSt => chunk.histograms().map(Self::Integers),
            _ => chunk.float_histograms().map(Self::FloatHistograms),
        }
    }

    /// Goes to the next sample, or to the first one from a time on.
    fn step(&mut self, seek: Option<i64>) -> Result<Option<Read>, Error> {
        fn read(start: i64, timestamp: i64, histogram: FloatHistogram) -> Read {
            let is_marker = histogram.sum.to_bits() == STALE_NAN.to_bits();
            let value =
                if is_marker { Value::Float(STALE_NAN) } else { Value::Histogram(histogram) };
            (start, timestamp, value)
        }
        match self {
            Self::Floats(floats) => {
                let sample = match seek {
                    None => floats.next()?,
                    Some(t) => floats.seek(t)?,
                };
                let start = floats.start_timestamp();
                Ok(sample
                    .map(|Sample { timestamp, value }| (start, timestamp, Value::Float(value))))
            }
            Self::Integers(histograms) => {
                let found = match seek {
                    None => histograms.next()?,
                    Some(t) => histograms.seek(t)?,
                };
                let Some(timestamp) = found else { return Ok(None) };
                let histogram = histograms.histogram()?.to_float();
                Ok(Some(read(histograms.start_timestamp(), timestamp, histogram)))
            }
            Self::FloatHistograms(histograms) => {
                let found = match seek {
                    None => histograms.next()?,
                    Some(t) => histograms.seek(t)?,
                };
                let Some(timestamp) = found else { return Ok(None) };
                let histogram = histograms.histogram()?;
                Ok(Some(read(histograms.start_timestamp(), timestamp, histogram)))
            }
        }
    }

    /// Reads what is left into a batch.
    fn decode_rest(self, batch: &mut SampleBatch) -> Result<(), Error> {
        match self {
            Self::Floats(floats) => floats.decode_into(batch),
            Self::Integers(histograms) => histograms.decode_into(batch),
            Self::FloatHistograms(histograms) => histograms.decode_into(batch),
        }
    }
}

fn step_through(chunk: &Chunk) -> Result<Vec<Read>, Error> {
    let mut reader = Reader::new(chunk)?;
    let mut found = Vec::new();
    while let Some(read) = reader.step(None)? {
        found.push(read);
    }
    Ok(found)
}

/// Decodes into a batch that already holds a sample, which must still be there.
fn decode_with(
    decode: impl FnOnce(&mut SampleBatch) -> Result<(), Error>,
) -> Result<Vec<Read>, Error> {
    let mut batch = SampleBatch::new();
    batch.push(-7, 7.0);
    let result = decode(&mut batch);
    assert_eq!((batch.timestamps()[0], batch.values()[0]), (-7, 7.0));
    if result.is_err() {
        assert_eq!(batch.len(), 1, "after an error a batch is as it was");
        assert!(!batch.has_histograms() && !batch.has_start_timestamps());
    }
    result?;
    let value = |i: usize| match batch.histogram(i) {
        Some(histogram) => Value::Histogram(FloatHistogram::clone(histogram)),
        None => Value::Float(batch.values()[i]),
    };
    let read = |i: usize| (batch.start_timestamp(i), batch.timestamps()[i], value(i));
    Ok((1..batch.len()).map(read).collect())
}

fn decode(chunk: &Chunk) -> Result<Vec<Read>, Error> {
    decode_with(|batch| chunk.decode_into(batch))
}

/// Samples as they come: a beat with jitter, restarts, and at the end the series is gone.
fn items(n: usize) -> Vec<Item> {
    let mut items = Vec::new();
    for i in 0..n {
        let at = i64::try_from(i).unwrap();
        items.push(Item {
            start: if i < 3 { 0 } else { 1_699_999_000_000 + at / 20 * 300_000 },
            timestamp: 1_700_000_000_000 + at * 15_000 + at * at % 7,
            float: if i + 2 >= n { STALE_NAN } else { (at * 37 % 11) as f64 / 4.0 },
            observations: u32::try_from(i * i).unwrap(),
        });
    }
    items
}

#[test]
fn what_was_appended_is_read() {
    for encoding in ENCODINGS {
        for n in [0, 1, 2, 3, 4, 60, 130, 300] {
            let items = items(n);
            let chunk = append(encoding, None, &items).unwrap();
            assert_eq!(chunk.encoding, encoding);
            assert_eq!(chunk.sample_count().map(usize::from), Ok(n));
            let ends = items.first().zip(items.last());
            let range = ends.map(|(first, last)| (first.timestamp, last.timestamp));
            assert_eq!(chunk.time_range(), Ok(range));
            let expected: Vec<_> = items.iter().map(|item| item.read_from(encoding)).collect();
            assert_eq!(step_through(&chunk), Ok(expected.clone()), "{encoding}");
            assert_eq!(decode(&chunk), Ok(expected), "{encoding}");
        }
    }
}

#[test]
fn seek_finds_the_first_sample_at_or_after() {
    for encoding in ENCODINGS {
        let items = items(40);
        let chunk = append(encoding, None, &items).unwrap();
        let expected: Vec<_> = items.iter().map(|item| item.read_from(encoding)).collect();
        for (i, item) in items.iter().enumerate() {
            for (t, at) in
                [(item.timestamp - 1, i), (item.timestamp, i), (item.timestamp + 1, i + 1)]
            {
                let mut reader = Reader::new(&chunk).unwrap();
                assert_eq!(reader.step(Some(t)), Ok(expected.get(at).cloned()), "{encoding} {t}");
                if at == i {
                    assert_eq!(reader.step(Some(i64::MIN)), Ok(Some(expected[i].clone())));
                    let rest = decode_with(|batch| reader.decode_rest(batch));
                    assert_eq!(rest.as_deref(), Ok(&expected[i + 1..]), "{encoding} {t}");
                }
            }
        }
        let mut reader = Reader::new(&chunk).unwrap();
        assert_eq!(reader.step(Some(i64::MAX)), Ok(None));
        assert_eq!(reader.step(None), Ok(None));
    }
}

#[test]
fn a_chunk_is_continued_where_it_ends() {
    for encoding in ENCODINGS {
        let items = items(140);
        let whole = append(encoding, None, &items).unwrap();
        for at in (0..=items.len()).filter(|at| at % 7 == 0 || (124..132).contains(at)) {
            let part = append(encoding, None, &items[..at]).unwrap();
            let mut data = part.data.to_vec();
            data.extend([0xff; 9]);
            let resumed = append(encoding, Some(data), &items[at..]).unwrap();
            assert_eq!(resumed, whole, "{encoding} at {at}");
        }
    }
}

#[test]
fn timestamps_must_advance() {
    for encoding in ENCODINGS {
        let items = items(3);
        for timestamp in [items[2].timestamp, items[1].timestamp, i64::MIN] {
            let late = Item { timestamp, ..items[2] };
            let found = append(encoding, None, &[items.as_slice(), &[late]].concat());
            let last = items[2].timestamp;
            assert_eq!(found, Err(Error::OutOfOrder { timestamp, last }), "{encoding}");
        }
    }
}

#[test]
fn a_cut_tail_is_an_error() {
    for encoding in ENCODINGS {
        let chunk = append(encoding, None, &items(30)).unwrap();
        for len in 0..chunk.data.len() {
            let cut = Chunk { encoding, data: chunk.data.slice(..len) };
            assert!(step_through(&cut).is_err(), "{encoding} cut to {len} bytes");
            assert!(decode(&cut).is_err(), "{encoding} cut to {len} bytes");
            assert!(append(encoding, Some(cut.data.to_vec()), &[]).is_err());
        }
    }
}

#[test]
fn a_count_beyond_the_data_is_refused() {
    for encoding in ENCODINGS {
        let mut data = append(encoding, None, &items(10)).unwrap().data.to_vec();
        data[0] |= 0x3f;
        let chunk = Chunk { encoding, data: data.into() };
        assert!(matches!(chunk.sample_count(), Err(Error::SampleCount { .. })), "{encoding}");
        assert!(matches!(decode(&chunk), Err(Error::SampleCount { .. })), "{encoding}");
    }
}

#[test]
fn flipped_bits_are_read_alike_or_refused() {
    for encoding in ENCODINGS {
        let chunk = append(encoding, None, &items(30)).unwrap();
        for bit in 0..chunk.data.len() * 8 {
            let mut data = chunk.data.to_vec();
            data[bit / 8] ^= 0x80 >> (bit % 8);
            let flipped = Chunk { encoding, data: data.into() };
            let (stepped, at_once) = (step_through(&flipped), decode(&flipped));
            assert_eq!(stepped.is_ok(), at_once.is_ok(), "{encoding}, bit {bit}");
            if let (Ok(stepped), Ok(at_once)) = (stepped, at_once) {
                assert_eq!(stepped.len(), at_once.len());
            }
        }
    }
}

#[test]
fn chunks_hold_what_their_encoding_says() {
    for encoding in ENCODINGS {
        let chunk = append(encoding, None, &items(3)).unwrap();
        let holds =
            [chunk.iter().is_ok(), chunk.histograms().is_ok(), chunk.float_histograms().is_ok()];
        let expected = match encoding {
            Encoding::Xor | Encoding::Xor2 => [true, false, false],
            Encoding::Histogram | Encoding::HistogramSt => [false, true, false],
            _ => [false, false, true],
        };
        assert_eq!(holds, expected, "{encoding}");
        assert_eq!(Encoding::from_byte(encoding.to_byte()), Ok(encoding));
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_alike_or_refused(
        encoding in prop::sample::select(&ENCODINGS[..]),
        count in 0..40_u8,
        body: Vec<u8>,
        zeros in 0..9_usize,
    ) {
        let mut data = vec![0, count];
        data.extend(std::iter::repeat_n(0, zeros));
        data.extend(body);
        let chunk = Chunk { encoding, data: data.clone().into() };
        let (stepped, at_once) = (step_through(&chunk), decode(&chunk));
        prop_assert_eq!(stepped.is_ok(), at_once.is_ok());
        if let (Ok(stepped), Ok(at_once)) = (stepped, at_once) {
            prop_assert_eq!(stepped.len(), at_once.len());
            prop_assert_eq!(chunk.sample_count().map(usize::from), Ok(stepped.len()));
        }
        let _ = append(encoding, Some(data), &[]);
    }
}
