//! Appending histograms to an open chunk.
//!
//! All histograms of a chunk share one layout, and a chunk of counters holds no counter reset. So
//! a sample is compared with the last one: it may bring buckets that the chunk does not have yet,
//! for which the chunk is coded anew; it may lack buckets, which are added to it if they were
//! empty; or it may begin a chunk of its own. All as in Prometheus.

use bytes::Bytes;

use crate::bits::BitWriter;
use crate::histogram::{
    CounterResetHint, HistogramError, Indexes, Side, Span, SpanBuilder, check_spans,
    custom_bounds_match, is_custom_buckets_schema, is_known_schema,
};
use crate::histogram_chunk::Changing;
use crate::histogram_codec::{ChunkHistogram, spread};
use crate::histogram_iterator::ChunkHistograms;
use crate::histogram_layout::{HEADER_BYTES, Header, Layout};
use crate::stale::is_stale;
use crate::start_timestamp::StartTimestamp;
use crate::varbit::write_int;
use crate::{Chunk, Encoding, Error};

/// What became of a histogram that was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It stands at the end of the chunk.
    InPlace,
    /// It has buckets that the chunk did not have; the chunk was coded anew with room for them.
    Recoded,
    /// It could not go into the chunk, which is finished, and begins the next one.
    Cut {
        /// The chunk without this histogram.
        finished: Chunk,
        /// Why it ended.
        reason: CutReason,
    },
}

/// Why a histogram could not go into a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CutReason {
    /// A counter was reset, as the hint or the counts say, or custom bounds changed.
    CounterReset,
    /// The schema or the zero threshold changed, or the custom bounds of a gauge.
    Layout,
    /// The last sample is a staleness marker, behind which only further ones may stand.
    Stale,
    /// Only one of chunk and histogram is a gauge.
    Kind,
}

/// How a histogram can go into a chunk: what either side lacks of the other's buckets.
#[derive(Clone, Copy, Debug, Default)]
struct Lacks {
    chunk: [bool; 2],
    sample: [bool; 2],
}

impl Lacks {
    fn nothing(self) -> bool {
        !self.chunk.contains(&true) && !self.sample.contains(&true)
    }
}

/// A histogram and its times.
#[derive(Debug)]
struct Timed<'a, H> {
    start: i64,
    timestamp: i64,
    histogram: &'a H,
}

impl<H> Clone for Timed<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Timed<'_, H> {}

/// Appends histograms to an open chunk: a [`HistogramAppender`] or a [`FloatHistogramAppender`].
///
/// ```
/// use ferula_chunkenc::histogram::{Histogram, Span};
/// use ferula_chunkenc::{Appended, HistogramAppender};
///
/// let mut histogram = Histogram {
///     count: 3,
///     sum: 4.5,
///     positive_spans: vec![Span::new(0, 2)],
///     positive_buckets: vec![1, 1],
///     ..Histogram::default()
/// };
/// let mut appender = HistogramAppender::new();
/// assert_eq!(appender.append(1_000, &histogram)?, Appended::InPlace);
/// histogram.count += 1;
/// histogram.positive_buckets[1] += 1;
/// assert_eq!(appender.append(2_000, &histogram)?, Appended::InPlace);
///
/// let chunk = appender.to_chunk();
/// let mut histograms = chunk.histograms()?;
/// assert_eq!(histograms.seek(1_500)?, Some(2_000));
/// assert!(histograms.histogram()?.equals(&histogram));
/// # Ok::<(), ferula_chunkenc::Error>(())
/// ```
///
/// [`HistogramAppender`]: crate::HistogramAppender
/// [`FloatHistogramAppender`]: crate::FloatHistogramAppender
#[derive(Clone, Debug)]
pub struct ChunkAppender<H: ChunkHistogram> {
    bits: BitWriter,
    header: Header,
    layout: Layout,
    timestamp: Changing,
    state: H::State,
    start: StartTimestamp,
}

impl<H: ChunkHistogram> ChunkAppender<H> {
    /// Starts an empty chunk without start timestamps.
    pub fn new() -> Self {
        Self::empty(false)
    }

    /// Starts an empty chunk with start timestamps: encoding 5 or 6.
    pub fn with_start_timestamps() -> Self {
        Self::empty(true)
    }

    fn empty(has_starts: bool) -> Self {
        let header = Header::new(has_starts);
        let mut bytes = [0; HEADER_BYTES];
        header.write(&mut bytes);
        Self {
            bits: BitWriter::new(&bytes),
            header,
            layout: Layout::default(),
            timestamp: Changing::default(),
            state: H::State::default(),
            start: StartTimestamp::default(),
        }
    }

    /// Continues the chunk whose bytes are `data`. Bytes behind the last histogram are dropped.
    ///
    /// # Errors
    /// [`Error::WrongEncoding`] if chunks of that encoding do not hold such histograms. If `data`
    /// does not decode, [`Error::Histogram`] if its spans overlap.
    pub fn resume(encoding: Encoding, data: Vec<u8>) -> Result<Self, Error> {
        let mut decoder = ChunkHistograms::<H>::new(encoding, &data)?;
        while decoder.next()?.is_some() {}
        let count = decoder.count();
        let counter_reset = decoder.counter_reset();
        let starts = decoder.starts().map(|starts| starts.up_to(count));
        let header = Header { count, counter_reset, starts };
        let len_bits = decoder.position();
        let state_buckets = H::last_bucket_counts(&decoder.state);
        let ChunkHistograms { layout, timestamp, state, start, .. } = decoder;
        // Buckets out of order can be read, but not compared with others.
        for (side, at) in [(Side::Positive, 0), (Side::Negative, 1)] {
            check_spans(&layout.spans[at], state_buckets[at].len(), side)?;
        }
        let bits = BitWriter::resume(data, len_bits);
        Ok(Self { bits, header, layout, timestamp, state, start })
    }

    /// The encoding of the chunk.
    pub fn encoding(&self) -> Encoding {
        H::ENCODINGS[usize::from(self.header.starts.is_some())]
    }

    /// Appends one histogram, coding the chunk anew or beginning the next one if need be.
    ///
    /// `timestamp` is in milliseconds since the Unix epoch and must exceed the last one. Of a
    /// staleness marker only the sum is kept. Counts are not checked, see
    /// [`Histogram::validate`](crate::histogram::Histogram::validate).
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] if `timestamp` does not advance, [`Error::ChunkFull`] beyond 65,535
    /// samples, or 16,383 with start timestamps, [`Error::Histogram`] if spans and buckets do not
    /// fit together; the chunk is unchanged.
    pub fn append(&mut self, timestamp: i64, histogram: &H) -> Result<Appended, Error> {
        self.append_with_start(0, timestamp, histogram)
    }

    /// Appends one histogram that has been counting since `start`, in milliseconds since the Unix
    /// epoch; zero for unknown. Chunks without start timestamps do not keep it. See
    /// [`Self::append`].
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_with_start(
        &mut self,
        start: i64,
        timestamp: i64,
        histogram: &H,
    ) -> Result<Appended, Error> {
        self.check(timestamp, histogram)?;
        let limit = self.header.limit();
        if self.header.count == limit {
            return Err(Error::ChunkFull { limit });
        }
        if let Some(starts) = self.header.starts {
            self.start.check_room(starts, self.header.count, start)?;
        }
        let marker = marker(histogram);
        let sample = Timed { start, timestamp, histogram: marker.as_ref().unwrap_or(histogram) };
        if self.header.count == 0 {
            let counter_reset = match histogram.hint() {
                hint @ (CounterResetHint::Gauge | CounterResetHint::Reset) => hint,
                _ => CounterResetHint::Unknown,
            };
            self.begin(sample, sample.histogram.shape().to_layout(), counter_reset);
            return Ok(Appended::InPlace);
        }
        let is_gauge = histogram.hint() == CounterResetHint::Gauge;
        match self.compare(histogram, is_gauge) {
            Err(reason) => {
                let counter_reset =
                    if is_gauge { CounterResetHint::Gauge } else { H::header_after_cut(reason) };
                let finished = self.cut(sample, counter_reset);
                Ok(Appended::Cut { finished, reason })
            }
            Ok(lacks) if lacks.nothing() => {
                self.write(sample);
                Ok(Appended::InPlace)
            }
            Ok(lacks) => self.widen_and_write(sample, lacks, is_gauge),
        }
    }

    /// Ends the chunk, which is returned, and begins the next one with a histogram. Unlike a new
    /// appender this one knows whether there was a counter reset in between. An empty chunk is
    /// ended like any other.
    ///
    /// # Errors
    /// As [`Self::append`], but a chunk is never too full to be ended.
    pub fn append_to_next(&mut self, timestamp: i64, histogram: &H) -> Result<Chunk, Error> {
        self.append_to_next_with_start(0, timestamp, histogram)
    }

    /// Ends the chunk and begins the next one with a histogram that has been counting since
    /// `start`. See [`Self::append_to_next`] and [`Self::append_with_start`].
    ///
    /// # Errors
    /// As [`Self::append_to_next`].
    pub fn append_to_next_with_start(
        &mut self,
        start: i64,
        timestamp: i64,
        histogram: &H,
    ) -> Result<Chunk, Error> {
        self.check(timestamp, histogram)?;
        let counter_reset = match histogram.hint() {
            hint @ (CounterResetHint::Gauge | CounterResetHint::Reset) => hint,
            _ => H::header_of_next(self.compare(histogram, false).err()),
        };
        let marker = marker(histogram);
        let histogram = marker.as_ref().unwrap_or(histogram);
        Ok(self.cut(Timed { start, timestamp, histogram }, counter_reset))
    }

    /// Tells whether the chunk keeps `start` with a histogram that is appended to it.
    pub fn has_room_for(&self, start: i64) -> bool {
        match self.header.starts {
            Some(starts) => {
                let count = self.header.count;
                count < self.header.limit() && self.start.check_room(starts, count, start).is_ok()
            }
            None => start == 0,
        }
    }

    /// Number of histograms so far.
    pub fn sample_count(&self) -> u16 {
        self.header.count
    }

    /// Timestamp of the last histogram.
    pub fn last_timestamp(&self) -> Option<i64> {
        (self.header.count > 0).then(|| self.timestamp.value())
    }

    /// Start timestamp of the last histogram, zero if it has none.
    pub fn last_start(&self) -> i64 {
        self.start.get()
    }

    /// What the chunk says of a counter reset in front of it.
    pub fn counter_reset(&self) -> CounterResetHint {
        self.header.counter_reset
    }

    /// The chunk's data as it stands: complete and readable at any time.
    pub fn as_bytes(&self) -> &[u8] {
        self.bits.as_bytes()
    }

    /// Copies the histograms so far to a chunk.
    pub fn to_chunk(&self) -> Chunk {
        Chunk { encoding: self.encoding(), data: Bytes::copy_from_slice(self.as_bytes()) }
    }

    /// Ends the chunk.
    pub fn into_chunk(self) -> Chunk {
        let encoding = self.encoding();
        let data = self.bits.into_bytes().into_boxed_slice();
        Chunk { encoding, data: Bytes::from(data) }
    }

    /// Checks whether a histogram can be written at all.
    fn check(&self, timestamp: i64, histogram: &H) -> Result<(), Error> {
        if let Some(last) = self.last_timestamp()
            && timestamp <= last
        {
            return Err(Error::OutOfOrder { timestamp, last });
        }
        if is_stale(histogram.sum()) {
            return Ok(());
        }
        let shape = histogram.shape();
        if !is_known_schema(shape.schema) {
            return Err(HistogramError::UnknownSchema { schema: shape.schema.into() }.into());
        }
        for (side, at) in [(Side::Positive, 0), (Side::Negative, 1)] {
            check_spans(shape.spans[at], shape.n_buckets[at], side)?;
        }
        Ok(())
    }

    /// Compares a histogram with the last one: what either lacks, or why it cannot follow.
    fn compare(&self, histogram: &H, is_gauge: bool) -> Result<Lacks, CutReason> {
        let shape = histogram.shape();
        if self.header.count > 0
            && (self.header.counter_reset == CounterResetHint::Gauge) != is_gauge
        {
            return Err(CutReason::Kind);
        }
        if histogram.hint() == CounterResetHint::Reset {
            return Err(CutReason::CounterReset);
        }
        if is_stale(histogram.sum()) {
            return Ok(Lacks::default());
        }
        if is_stale(H::last_sum(&self.state)) {
            return Err(CutReason::Stale);
        }
        if !is_gauge && histogram.is_count_reset(&self.state) {
            return Err(CutReason::CounterReset);
        }
        if shape.schema != self.layout.schema || shape.zero_threshold != self.layout.zero_threshold
        {
            return Err(CutReason::Layout);
        }
        if is_custom_buckets_schema(shape.schema)
            && !custom_bounds_match(shape.custom_values, &self.layout.custom_values)
        {
            return Err(if is_gauge { CutReason::Layout } else { CutReason::CounterReset });
        }
        if !is_gauge && histogram.is_zero_count_reset(&self.state) {
            return Err(CutReason::CounterReset);
        }
        let mut lacks = Lacks::default();
        let last = H::last_bucket_counts(&self.state);
        let counts = histogram.bucket_counts();
        for side in [0, 1] {
            let own = (&self.layout.spans[side][..], &last[side][..]);
            let other = (shape.spans[side], &counts[side][..]);
            let is_reset = |before: H::Count, after: Option<H::Count>| match after {
                _ if is_gauge => false,
                Some(after) => before > after,
                None => before != H::Count::default(),
            };
            [lacks.chunk[side], lacks.sample[side]] =
                compare_buckets(own, other, is_reset).ok_or(CutReason::CounterReset)?;
        }
        Ok(lacks)
    }

    /// Brings chunk and histogram to the same buckets and appends it.
    fn widen_and_write(
        &mut self,
        Timed { start, timestamp, histogram }: Timed<'_, H>,
        lacks: Lacks,
        is_gauge: bool,
    ) -> Result<Appended, Error> {
        let mut histogram = histogram.clone();
        let is_chunk_widened = lacks.chunk.contains(&true);
        let is_sample_widened = lacks.sample.contains(&true);
        let layout = histogram.shape().to_layout();
        let mut target = layout.clone();
        for side in [0, 1] {
            let spans = &mut target.spans[side];
            // Prometheus writes the spans of a gauge in their shortest form as soon as one side
            // is widened, those of a counter only for the side that is.
            let is_merged = if is_gauge { is_sample_widened } else { lacks.sample[side] };
            if is_sample_widened && !is_chunk_widened {
                spans.clone_from(&self.layout.spans[side]);
            } else if is_merged {
                *spans = union(spans, &self.layout.spans[side]);
            }
        }
        if is_sample_widened {
            relay(&mut histogram, &layout, &target);
        }
        if is_chunk_widened {
            self.recode(&target)?;
        }
        self.write(Timed { start, timestamp, histogram: &histogram });
        Ok(if is_chunk_widened { Appended::Recoded } else { Appended::InPlace })
    }

    /// Codes the chunk anew in a layout that has all of its buckets.
    fn recode(&mut self, layout: &Layout) -> Result<(), Error> {
        let mut recoded = Self::empty(self.header.starts.is_some());
        let mut histograms = ChunkHistograms::<H>::new(self.encoding(), self.bits.as_bytes())?;
        while let Some(timestamp) = histograms.next()? {
            let sum = H::last_sum(&histograms.state);
            let mut histogram = H::marker(sum);
            if !is_stale(sum) {
                histogram.fill(&self.layout, &histograms.state, CounterResetHint::Unknown);
                relay(&mut histogram, &self.layout, layout);
            }
            let start = histograms.start_timestamp();
            let sample = Timed { start, timestamp, histogram: &histogram };
            if recoded.header.count == 0 {
                let counter_reset = self.header.counter_reset;
                recoded.begin(sample, layout.clone(), counter_reset);
            } else {
                recoded.write(sample);
            }
        }
        *self = recoded;
        Ok(())
    }

    /// Replaces the chunk by one that begins with a histogram.
    fn cut(&mut self, sample: Timed<'_, H>, counter_reset: CounterResetHint) -> Chunk {
        let mut next = Self::empty(self.header.starts.is_some());
        next.begin(sample, sample.histogram.shape().to_layout(), counter_reset);
        std::mem::replace(self, next).into_chunk()
    }

    /// Writes the first histogram, whose layout becomes that of the chunk.
    fn begin(&mut self, sample: Timed<'_, H>, layout: Layout, counter_reset: CounterResetHint) {
        layout.write(&mut self.bits);
        self.layout = layout;
        write_int(&mut self.bits, sample.timestamp);
        self.timestamp = Changing::first(sample.timestamp);
        self.state = sample.histogram.write_first(&mut self.bits);
        self.header.counter_reset = counter_reset;
        self.end_sample(sample.start, sample.timestamp);
    }

    /// Writes a later histogram, which has the buckets of the chunk.
    fn write(&mut self, sample: Timed<'_, H>) {
        let previous = self.timestamp.value();
        self.timestamp.write(&mut self.bits, sample.timestamp);
        sample.histogram.write_next(&mut self.bits, &mut self.state);
        self.end_sample(sample.start, previous);
    }

    /// Writes the start timestamp of a sample, if the encoding has them, and counts it.
    fn end_sample(&mut self, start: i64, previous: i64) {
        if let Some(starts) = &mut self.header.starts {
            let times = [previous, self.timestamp.value()];
            let index = self.header.count;
            let state = &mut self.start;
            self.bits.write(|packer, out| state.write(starts, index, times, start, packer, out));
        }
        self.header.count += 1;
        self.header.write(self.bits.as_bytes_mut());
    }
}

impl<H: ChunkHistogram> Default for ChunkAppender<H> {
    fn default() -> Self {
        Self::new()
    }
}

/// What is written of a staleness marker: nothing but the sum.
fn marker<H: ChunkHistogram>(histogram: &H) -> Option<H> {
    let sum = histogram.sum();
    is_stale(sum).then(|| H::marker(sum))
}

/// Gives a histogram the buckets of a layout that has all of its own.
fn relay<H: ChunkHistogram>(sample: &mut H, from: &Layout, to: &Layout) {
    let counts = sample.bucket_counts();
    let indexes = |layout: &'_ Layout, side: usize| -> Vec<i64> {
        Indexes::new(&layout.spans[side], usize::MAX).collect()
    };
    let spread = [0, 1].map(|side| spread(&indexes(from, side), &counts[side], &indexes(to, side)));
    sample.set_buckets(to, spread);
}

/// The indexes of both lists of spans, in as few spans as possible.
fn union(a: &[Span], b: &[Span]) -> Vec<Span> {
    let mut builder = SpanBuilder::default();
    for (index, _) in merged(a, b) {
        builder.push(index);
    }
    builder.finish()
}

/// The indexes of both lists of spans, ascending, and which of both have each.
fn merged<'a>(a: &'a [Span], b: &'a [Span]) -> impl Iterator<Item = (i64, [bool; 2])> + 'a {
    let [mut a, mut b] = [a, b].map(|spans| Indexes::new(spans, usize::MAX).peekable());
    std::iter::from_fn(move || {
        let index = match (a.peek(), b.peek()) {
            (Some(&a), Some(&b)) => a.min(b),
            (Some(&index), None) | (None, Some(&index)) => index,
            (None, None) => return None,
        };
        Some((index, [a.next_if_eq(&index).is_some(), b.next_if_eq(&index).is_some()]))
    })
}

/// Compares buckets, as spans and counts, with later ones: which of both lack some. None if
/// `is_reset` says so of any count and the later one.
fn compare_buckets<C: Copy>(
    before: (&[Span], &[C]),
    after: (&[Span], &[C]),
    is_reset: impl Fn(C, Option<C>) -> bool,
) -> Option<[bool; 2]> {
    let [mut counts, mut later] = [before.1, after.1].map(|counts| counts.iter().copied());
    let mut lacks = [false; 2];
    for (_, [is_before, is_after]) in merged(before.0, after.0) {
        let count = if is_before { counts.next() } else { None };
        let later = if is_after { later.next() } else { None };
        if count.is_some_and(|count| is_reset(count, later)) {
            return None;
        }
        lacks[0] |= !is_before;
        lacks[1] |= !is_after;
    }
    Some(lacks)
}
