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
use crate::varbit::write_int;
use crate::{Chunk, Error};

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
}

impl<H: ChunkHistogram> ChunkAppender<H> {
    /// Most histograms that one chunk holds.
    pub const MAX_SAMPLES: u16 = u16::MAX;

    /// Starts an empty chunk.
    pub fn new() -> Self {
        Self {
            bits: BitWriter::new(&[0; HEADER_BYTES]),
            header: Header { count: 0, counter_reset: CounterResetHint::Unknown },
            layout: Layout::default(),
            timestamp: Changing::default(),
            state: H::State::default(),
        }
    }

    /// Continues the chunk whose bytes are `data`. Bytes behind the last histogram are dropped.
    ///
    /// # Errors
    /// If `data` does not decode, [`Error::Histogram`] if its spans overlap.
    pub fn resume(data: Vec<u8>) -> Result<Self, Error> {
        let mut decoder = ChunkHistograms::<H>::new(&data)?;
        while decoder.next()?.is_some() {}
        let header = Header { count: decoder.count(), counter_reset: decoder.counter_reset() };
        let len_bits = decoder.position();
        let state_buckets = H::last_bucket_counts(&decoder.state);
        let ChunkHistograms { layout, timestamp, state, .. } = decoder;
        // Buckets out of order can be read, but not compared with others.
        for (side, at) in [(Side::Positive, 0), (Side::Negative, 1)] {
            check_spans(&layout.spans[at], state_buckets[at].len(), side)?;
        }
        Ok(Self { bits: BitWriter::resume(data, len_bits), header, layout, timestamp, state })
    }

    /// Appends one histogram, coding the chunk anew or beginning the next one if need be.
    ///
    /// `timestamp` is in milliseconds since the Unix epoch and must exceed the last one. Of a
    /// staleness marker only the sum is kept. Counts are not checked, see
    /// [`Histogram::validate`](crate::histogram::Histogram::validate).
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] if `timestamp` does not advance, [`Error::ChunkFull`] beyond
    /// [`Self::MAX_SAMPLES`], [`Error::Histogram`] if spans and buckets do not fit together; the
    /// chunk is unchanged.
    pub fn append(&mut self, timestamp: i64, histogram: &H) -> Result<Appended, Error> {
        self.check(timestamp, histogram)?;
        if self.header.count == u16::MAX {
            return Err(Error::ChunkFull { limit: Self::MAX_SAMPLES });
        }
        let marker = marker(histogram);
        let sample = marker.as_ref().unwrap_or(histogram);
        if self.header.count == 0 {
            let counter_reset = match histogram.hint() {
                hint @ (CounterResetHint::Gauge | CounterResetHint::Reset) => hint,
                _ => CounterResetHint::Unknown,
            };
            self.begin(timestamp, sample, sample.shape().to_layout(), counter_reset);
            return Ok(Appended::InPlace);
        }
        let is_gauge = histogram.hint() == CounterResetHint::Gauge;
        match self.compare(histogram, is_gauge) {
            Err(reason) => {
                let counter_reset =
                    if is_gauge { CounterResetHint::Gauge } else { H::header_after_cut(reason) };
                let finished = self.cut(timestamp, sample, counter_reset);
                Ok(Appended::Cut { finished, reason })
            }
            Ok(lacks) if lacks.nothing() => {
                self.write(timestamp, sample);
                Ok(Appended::InPlace)
            }
            Ok(lacks) => self.widen_and_write(timestamp, sample.clone(), lacks, is_gauge),
        }
    }

    /// Ends the chunk, which is returned, and begins the next one with a histogram. Unlike a new
    /// appender this one knows whether there was a counter reset in between. An empty chunk is
    /// ended like any other.
    ///
    /// # Errors
    /// As [`Self::append`], but a chunk is never too full to be ended.
    pub fn append_to_next(&mut self, timestamp: i64, histogram: &H) -> Result<Chunk, Error> {
        self.check(timestamp, histogram)?;
        let counter_reset = match histogram.hint() {
            hint @ (CounterResetHint::Gauge | CounterResetHint::Reset) => hint,
            _ => H::header_of_next(self.compare(histogram, false).err()),
        };
        let marker = marker(histogram);
        Ok(self.cut(timestamp, marker.as_ref().unwrap_or(histogram), counter_reset))
    }

    /// Number of histograms so far.
    pub fn sample_count(&self) -> u16 {
        self.header.count
    }

    /// Timestamp of the last histogram.
    pub fn last_timestamp(&self) -> Option<i64> {
        (self.header.count > 0).then(|| self.timestamp.value())
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
        Chunk { encoding: H::ENCODING, data: Bytes::copy_from_slice(self.as_bytes()) }
    }

    /// Ends the chunk.
    pub fn into_chunk(self) -> Chunk {
        let data = self.bits.into_bytes().into_boxed_slice();
        Chunk { encoding: H::ENCODING, data: Bytes::from(data) }
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
        timestamp: i64,
        mut sample: H,
        lacks: Lacks,
        is_gauge: bool,
    ) -> Result<Appended, Error> {
        let is_chunk_widened = lacks.chunk.contains(&true);
        let is_sample_widened = lacks.sample.contains(&true);
        let layout = sample.shape().to_layout();
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
            relay(&mut sample, &layout, &target);
        }
        if is_chunk_widened {
            self.recode(&target)?;
        }
        self.write(timestamp, &sample);
        Ok(if is_chunk_widened { Appended::Recoded } else { Appended::InPlace })
    }

    /// Codes the chunk anew in a layout that has all of its buckets.
    fn recode(&mut self, layout: &Layout) -> Result<(), Error> {
        let mut recoded = Self::new();
        let mut histograms = ChunkHistograms::<H>::new(self.bits.as_bytes())?;
        while let Some(timestamp) = histograms.next()? {
            let sum = H::last_sum(&histograms.state);
            let mut sample = H::marker(sum);
            if !is_stale(sum) {
                sample.fill(&self.layout, &histograms.state, CounterResetHint::Unknown);
                relay(&mut sample, &self.layout, layout);
            }
            if recoded.header.count == 0 {
                let counter_reset = self.header.counter_reset;
                recoded.begin(timestamp, &sample, layout.clone(), counter_reset);
            } else {
                recoded.write(timestamp, &sample);
            }
        }
        *self = recoded;
        Ok(())
    }

    /// Replaces the chunk by one that begins with a histogram.
    fn cut(&mut self, timestamp: i64, sample: &H, counter_reset: CounterResetHint) -> Chunk {
        let mut next = Self::new();
        next.begin(timestamp, sample, sample.shape().to_layout(), counter_reset);
        std::mem::replace(self, next).into_chunk()
    }

    /// Writes the first histogram, whose layout becomes that of the chunk.
    fn begin(
        &mut self,
        timestamp: i64,
        sample: &H,
        layout: Layout,
        counter_reset: CounterResetHint,
    ) {
        layout.write(&mut self.bits);
        self.layout = layout;
        write_int(&mut self.bits, timestamp);
        self.timestamp = Changing::first(timestamp);
        self.state = sample.write_first(&mut self.bits);
        self.header = Header { count: 1, counter_reset };
        self.header.write(self.bits.as_bytes_mut());
    }

    /// Writes a later histogram, which has the buckets of the chunk.
    fn write(&mut self, timestamp: i64, sample: &H) {
        self.timestamp.write(&mut self.bits, timestamp);
        sample.write_next(&mut self.bits, &mut self.state);
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
