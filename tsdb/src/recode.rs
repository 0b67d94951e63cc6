//! Samples between two encodings: decoded, merged by time, encoded anew.
//!
//! Samples keep their kind and their start timestamps: floats stay floats, integer histograms
//! integer histograms. A histogram knows from its chunk whether a counter was reset before it; where another sample has come
//! between the two, or one has gone, that is unknown, and the encoder finds out by comparing.

use std::cmp::Ordering;
use std::sync::Arc;

use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Histogram};
use ferula_chunkenc::stale::is_stale;
use ferula_chunkenc::{
    Appended, Chunk, ChunkAppender, ChunkHistogram, ChunkHistograms, ChunkIterator, Encoding,
    Error, Sample, SampleBatch, Xor2Appender, XorAppender,
};

use crate::block::{ColumnValues, Columns, EncodedChunk, StoredChunk};
use crate::histogram::NativeHistogram;
use crate::tombstones::{Interval, covers};

/// Samples of a chunk that is encoded here, as in Prometheus.
const CHUNK_SAMPLES: usize = 120;

/// A decoded sample.
#[derive(Clone, Debug)]
struct Point {
    time: i64,
    /// Since when it has been counting; zero if that is unknown.
    start: i64,
    value: Value,
    /// The chunk it comes from, and its place there.
    origin: (usize, usize),
}

/// What a sample holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Float(f64),
    Histogram(Box<NativeHistogram>),
}

/// A sample that was decoded and merged.
#[derive(Clone, Debug)]
pub(crate) struct Recoded {
    /// Since when it has been counting; zero if that is unknown.
    pub(crate) start: i64,
    pub(crate) timestamp: i64,
    pub(crate) value: Value,
}

/// Decodes, merges and encodes the samples of one series.
#[derive(Debug, Default)]
pub(crate) struct Recoder {
    /// What was merged.
    merged: Vec<Point>,
    /// What was decoded since.
    decoded: Vec<Point>,
    n_chunks: usize,
}

impl Recoder {
    /// Forgets all samples.
    pub(crate) fn clear(&mut self) {
        self.merged.clear();
        self.decoded.clear();
        self.n_chunks = 0;
    }

    /// Decodes a chunk, which comes after those that were decoded since the last merging.
    pub(crate) fn decode(&mut self, chunk: &Chunk) -> Result<(), Error> {
        let origin = self.n_chunks;
        self.n_chunks += 1;
        match chunk.encoding {
            Encoding::Histogram | Encoding::HistogramSt => {
                self.decode_histograms(chunk.histograms()?, origin)
            }
            Encoding::FloatHistogram | Encoding::FloatHistogramSt => {
                self.decode_histograms(chunk.float_histograms()?, origin)
            }
            _ => self.decode_floats(chunk.iter()?, origin),
        }
    }

    /// Takes up a chunk of a block like [`decode`](Self::decode).
    pub(crate) fn decode_stored(&mut self, chunk: &StoredChunk) -> Result<(), Error> {
        match chunk {
            StoredChunk::Encoded(chunk) => return self.decode(chunk),
            StoredChunk::Columns(columns) => self.decode_columns(columns),
            StoredChunk::Paged(paged) => self.decode_columns(&paged.decode()?),
        }
        Ok(())
    }

    fn decode_columns(&mut self, columns: &Columns) {
        match &columns.values {
            ColumnValues::Floats(values) => {
                self.take_columns(columns, values.iter().map(|value| Value::Float(*value)));
            }
            ColumnValues::Histograms(histograms) => {
                let value =
                    |histogram: &Histogram| Value::Histogram(Box::new(histogram.clone().into()));
                self.take_columns(columns, histograms.iter().map(value));
            }
            ColumnValues::FloatHistograms(histograms) => {
                let value = |histogram: &FloatHistogram| {
                    Value::Histogram(Box::new(histogram.clone().into()))
                };
                self.take_columns(columns, histograms.iter().map(value));
            }
        }
    }

    fn take_columns(&mut self, columns: &Columns, values: impl Iterator<Item = Value>) {
        let origin = self.n_chunks;
        self.n_chunks += 1;
        let start_of = |place: usize| columns.starts.as_ref().map_or(0, |starts| starts[place]);
        for (place, (&time, value)) in columns.times.iter().zip(values).enumerate() {
            let start = start_of(place);
            self.decoded.push(Point { time, start, value, origin: (origin, place) });
        }
    }

    fn decode_floats(
        &mut self,
        mut samples: ChunkIterator<'_>,
        origin: usize,
    ) -> Result<(), Error> {
        let mut place = 0;
        while let Some(Sample { timestamp: time, value }) = samples.next()? {
            let (start, value) = (samples.start_timestamp(), Value::Float(value));
            self.decoded.push(Point { time, start, value, origin: (origin, place) });
            place += 1;
        }
        Ok(())
    }

    fn decode_histograms<H: ChunkHistogram + Into<NativeHistogram>>(
        &mut self,
        mut histograms: ChunkHistograms<'_, H>,
        origin: usize,
    ) -> Result<(), Error> {
        let mut place = 0;
        while let Some(time) = histograms.next()? {
            let value = Value::Histogram(Box::new(histograms.histogram()?.into()));
            let start = histograms.start_timestamp();
            self.decoded.push(Point { time, start, value, origin: (origin, place) });
            place += 1;
        }
        Ok(())
    }

    /// Adds a sample that is in no chunk, and comes after those that were decoded since the last
    /// merging.
    pub(crate) fn push(&mut self, sample: Recoded) {
        // A chunk of its own, of which it is not the first: nothing was compared with it.
        let origin = (self.n_chunks, 1);
        self.n_chunks += 1;
        let Recoded { start, timestamp: time, value } = sample;
        self.decoded.push(Point { time, start, value, origin });
    }

    /// Leaves out those of the samples decoded since the last merging of which `is_kept`, called
    /// with the place of each among them and its time, says so.
    pub(crate) fn retain_decoded(&mut self, mut is_kept: impl FnMut(usize, i64) -> bool) {
        let mut place = 0;
        self.decoded.retain(|point| {
            place += 1;
            is_kept(place - 1, point.time)
        });
    }

    /// Merges what was decoded, without what is `deleted` of it, with what was merged before. Of two
    /// samples at the same time the one that was merged before stays.
    pub(crate) fn merge(&mut self, deleted: &[Interval]) {
        let mut decoded = std::mem::take(&mut self.decoded);
        decoded.retain(|point| !covers(deleted, point.time, point.time));
        if self.merged.is_empty() {
            self.decoded = std::mem::replace(&mut self.merged, decoded);
            return;
        }
        let mut merged = Vec::with_capacity(self.merged.len() + decoded.len());
        let mut old = std::mem::take(&mut self.merged).into_iter().peekable();
        for point in decoded.drain(..) {
            while let Some(before) = old.next_if(|old| old.time < point.time) {
                merged.push(before);
            }
            if old.peek().is_none_or(|old| old.time.cmp(&point.time) == Ordering::Greater) {
                merged.push(point);
            }
        }
        merged.extend(old);
        (self.merged, self.decoded) = (merged, decoded);
    }

    /// Encodes what was merged and appends it to `chunks`.
    pub(crate) fn encode(&mut self, chunks: &mut Vec<EncodedChunk>) -> Result<(), Error> {
        self.forget_false_hints();
        for run in self.merged.chunk_by(|a, b| is_same_kind(&a.value, &b.value)) {
            for run in run.chunks(CHUNK_SAMPLES) {
                let first = chunks.len();
                encode_run(run, chunks)?;
                check(run, &chunks[first..])?;
            }
        }
        Ok(())
    }

    /// Appends what was merged to `batch`.
    pub(crate) fn read_into(&mut self, batch: &mut SampleBatch) {
        self.forget_false_hints();
        for Point { time, start, value, .. } in self.merged.drain(..) {
            match value {
                Value::Float(value) => batch.push(time, value),
                Value::Histogram(histogram) if is_stale(histogram.sum()) => {
                    batch.push(time, histogram.sum());
                }
                Value::Histogram(histogram) => {
                    batch.push_histogram(time, Arc::new(histogram.into_float()));
                }
            }
            if start != 0 {
                batch.set_last_start_timestamp(start);
            }
        }
    }

    /// Times of what was merged, in order.
    pub(crate) fn times(&self) -> impl Iterator<Item = i64> {
        self.merged.iter().map(|point| point.time)
    }

    /// Encodes what was merged, which came from one chunk, so that what is read of it is the same:
    /// of which histograms it is not known whether a counter was reset before them, too.
    pub(crate) fn encode_as_it_was(&mut self, chunks: &mut Vec<EncodedChunk>) -> Result<(), Error> {
        for run in self.merged.chunk_by(|_, b| !begins_chunk(&b.value)) {
            let parts: Vec<&[Point]> = match run.first().map(|point| &point.value) {
                // Behind the first histogram of a chunk there is no reset.
                Some(value @ Value::Histogram(_))
                    if hint_of(value) != Some(CounterResetHint::Gauge) =>
                {
                    vec![run]
                }
                _ => run.chunks(CHUNK_SAMPLES).collect(),
            };
            for part in parts {
                let first = chunks.len();
                encode_run(part, chunks)?;
                check(part, &chunks[first..])?;
            }
        }
        Ok(())
    }

    /// What was merged, in time order.
    pub(crate) fn into_samples(mut self) -> impl Iterator<Item = Recoded> {
        self.forget_false_hints();
        let recoded = |Point { time, start, value, .. }| Recoded { start, timestamp: time, value };
        self.merged.into_iter().map(recoded)
    }

    /// Marks histograms whose predecessor is not the one that their chunk compared them with.
    fn forget_false_hints(&mut self) {
        let mut last = None;
        for point in &mut self.merged {
            let (chunk, place) = point.origin;
            let is_next = match last {
                None => place == 0,
                Some(last) => place > 0 && last == (chunk, place - 1),
            };
            last = Some(point.origin);
            let Value::Histogram(histogram) = &mut point.value else { continue };
            let hint = match &mut **histogram {
                NativeHistogram::Integer(histogram) => &mut histogram.counter_reset_hint,
                NativeHistogram::Float(histogram) => &mut histogram.counter_reset_hint,
            };
            if !is_next && *hint != CounterResetHint::Gauge {
                *hint = CounterResetHint::Unknown;
            }
        }
    }
}

/// Tells whether a histogram is the first of its chunk, as only of such nothing is known.
fn begins_chunk(value: &Value) -> bool {
    hint_of(value) == Some(CounterResetHint::Unknown)
}

/// What is known of a counter reset before a histogram; nothing is asked of staleness markers.
fn hint_of(value: &Value) -> Option<CounterResetHint> {
    let Value::Histogram(histogram) = value else { return None };
    let (hint, sum) = match &**histogram {
        NativeHistogram::Integer(histogram) => (histogram.counter_reset_hint, histogram.sum),
        NativeHistogram::Float(histogram) => (histogram.counter_reset_hint, histogram.sum),
    };
    (!is_stale(sum)).then_some(hint)
}

fn is_same_kind(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(_), Value::Float(_)) => true,
        (Value::Histogram(a), Value::Histogram(b)) => a.is_integer() == b.is_integer(),
        _ => false,
    }
}

/// Encodes samples of one kind, with their start timestamps if any has one.
fn encode_run(run: &[Point], chunks: &mut Vec<EncodedChunk>) -> Result<(), Error> {
    let Some(first) = run.first() else { return Ok(()) };
    match &first.value {
        Value::Float(_) => chunks.extend(encode_floats(run)?),
        Value::Histogram(histogram) if histogram.is_integer() => {
            encode_histograms(run, chunks, |histogram| match histogram {
                NativeHistogram::Integer(histogram) => Some(histogram),
                NativeHistogram::Float(_) => None,
            })?;
        }
        Value::Histogram(_) => encode_histograms(run, chunks, |histogram| match histogram {
            NativeHistogram::Float(histogram) => Some(histogram),
            NativeHistogram::Integer(_) => None,
        })?,
    }
    Ok(())
}

fn has_starts(run: &[Point]) -> bool {
    run.iter().any(|point| point.start != 0)
}

fn encode_floats(run: &[Point]) -> Result<Option<EncodedChunk>, Error> {
    let floats = run.iter().filter_map(|point| match point.value {
        Value::Float(value) => Some((point, value)),
        _ => None,
    });
    let chunk = if has_starts(run) {
        let mut appender = Xor2Appender::new();
        for (point, value) in floats {
            appender.append(point.start, point.time, value)?;
        }
        appender.to_chunk()
    } else {
        let mut appender = XorAppender::new();
        for (point, value) in floats {
            appender.append(point.time, value)?;
        }
        appender.into_chunk()
    };
    let times = run.first().zip(run.last());
    Ok(times.map(|(first, last)| EncodedChunk { mint: first.time, maxt: last.time, chunk }))
}

fn encode_histograms<H: ChunkHistogram>(
    run: &[Point],
    chunks: &mut Vec<EncodedChunk>,
    of_kind: impl Fn(&NativeHistogram) -> Option<&H>,
) -> Result<(), Error> {
    let mut appender = match has_starts(run) {
        true => ChunkAppender::<H>::with_start_timestamps(),
        false => ChunkAppender::<H>::new(),
    };
    let mut times: Option<(i64, i64)> = None;
    for Point { time, start, value, .. } in run {
        let Value::Histogram(histogram) = value else { continue };
        let Some(histogram) = of_kind(histogram) else { continue };
        if let Appended::Cut { finished, .. } =
            appender.append_with_start(*start, *time, histogram)?
        {
            chunks.extend(times.map(|(mint, maxt)| EncodedChunk { mint, maxt, chunk: finished }));
            times = None;
        }
        times = Some((times.map_or(*time, |(mint, _)| mint), *time));
    }
    let chunk = |(mint, maxt)| EncodedChunk { mint, maxt, chunk: appender.into_chunk() };
    chunks.extend(times.map(chunk));
    Ok(())
}

/// Decodes what was just encoded: it holds the samples that it was made from.
fn check(run: &[Point], chunks: &[EncodedChunk]) -> Result<(), Error> {
    let mut recoder = Recoder::default();
    for EncodedChunk { chunk, .. } in chunks {
        recoder.decode(chunk)?;
    }
    let is_same = |(a, b): (&Point, &Point)| {
        (a.time, a.start) == (b.time, b.start)
            && match (&a.value, &b.value) {
                (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
                (a, b) => is_same_kind(a, b),
            }
    };
    let found = &recoder.decoded;
    assert!(
        found.len() == run.len() && found.iter().zip(run).all(is_same),
        "a chunk holds the samples that it was made from"
    );
    Ok(())
}
