//! An open chunk of native histograms.
//!
//! Histograms are rare beside floats and large, so these chunks lie in memory of their own. They are
//! cut as Prometheus cuts them: at a size rather than at a number of samples, for one histogram
//! may take as much as a hundred floats.

use ferula_chunkenc::{
    Appended, Chunk, ChunkAppender, ChunkHistogram, ChunkHistograms, Encoding, Error,
    FloatHistogramAppender, HistogramAppender,
};

use crate::histogram::NativeHistogram;

/// Bytes that a chunk should have.
const CHUNK_BYTES: usize = 1024;

/// Samples that a chunk has at least, unless its block range ends.
const MIN_SAMPLES_PER_CHUNK: u16 = 10;

/// A chunk of histograms that is appended to. It holds one at least.
#[derive(Debug)]
pub(super) struct OpenHistograms {
    chunk: OpenChunk,
    /// The last one.
    last: NativeHistogram,
    timestamp: i64,
    /// Whether the time at which the chunk should end was computed from how fast it grew.
    pub(super) is_predicted: bool,
}

#[derive(Debug)]
enum OpenChunk {
    Integer(HistogramAppender),
    Float(FloatHistogramAppender),
}

impl OpenHistograms {
    /// Starts a chunk.
    pub(super) fn new(
        start: i64,
        timestamp: i64,
        histogram: &NativeHistogram,
    ) -> Result<Self, Error> {
        let chunk = match histogram {
            NativeHistogram::Integer(histogram) => {
                let mut chunk = appender_for(start);
                chunk.append_with_start(start, timestamp, histogram)?;
                OpenChunk::Integer(chunk)
            }
            NativeHistogram::Float(histogram) => {
                let mut chunk = appender_for(start);
                chunk.append_with_start(start, timestamp, histogram)?;
                OpenChunk::Float(chunk)
            }
        };
        Ok(Self { chunk, last: histogram.clone(), timestamp, is_predicted: false })
    }

    /// Goes on with a chunk; `None` if it is empty.
    pub(super) fn resume(chunk: &Chunk) -> Result<Option<Self>, Error> {
        let Chunk { encoding, data } = chunk;
        let resumed = if matches!(encoding, Encoding::Histogram | Encoding::HistogramSt) {
            let last = last(chunk.histograms()?)?;
            let appender = HistogramAppender::resume(*encoding, data.to_vec())?;
            last.map(|(timestamp, last)| (OpenChunk::Integer(appender), timestamp, last.into()))
        } else {
            let last = last(chunk.float_histograms()?)?;
            let appender = FloatHistogramAppender::resume(*encoding, data.to_vec())?;
            last.map(|(timestamp, last)| (OpenChunk::Float(appender), timestamp, last.into()))
        };
        Ok(resumed.map(|(chunk, timestamp, last)| Self {
            chunk,
            last,
            timestamp,
            is_predicted: false,
        }))
    }

    /// Tells whether a histogram of this kind goes into the chunk that has been counting since
    /// `start`. Once start timestamps have come up, a chunk takes histograms without.
    pub(super) fn takes(&self, start: i64, histogram: &NativeHistogram) -> bool {
        let has_room = match &self.chunk {
            OpenChunk::Integer(chunk) => chunk.has_room_for(start),
            OpenChunk::Float(chunk) => chunk.has_room_for(start),
        };
        has_room && self.last.is_integer() == histogram.is_integer()
    }

    /// Appends a histogram of the same kind. Where it cannot go into the chunk, or `is_due` says
    /// that the chunk is to end, it begins the next one, and the finished one is returned.
    pub(super) fn append(
        &mut self,
        start: i64,
        timestamp: i64,
        histogram: &NativeHistogram,
        is_due: bool,
    ) -> Result<Option<Chunk>, Error> {
        let finished = match (&mut self.chunk, histogram) {
            (OpenChunk::Integer(chunk), NativeHistogram::Integer(histogram)) => {
                append(chunk, start, timestamp, histogram, is_due)?
            }
            (OpenChunk::Float(chunk), NativeHistogram::Float(histogram)) => {
                append(chunk, start, timestamp, histogram, is_due)?
            }
            _ => unreachable!("histograms of the other kind have chunks of their own"),
        };
        self.is_predicted &= finished.is_none();
        self.last.clone_from(histogram);
        self.timestamp = timestamp;
        Ok(finished)
    }

    /// The last histogram.
    pub(super) fn last(&self) -> &NativeHistogram {
        &self.last
    }

    /// Its time.
    pub(super) fn last_timestamp(&self) -> i64 {
        self.timestamp
    }

    /// How often the bytes so far fit a chunk of the size wanted, once they are a quarter of that.
    pub(super) fn ratio_to_full(&self) -> Option<f64> {
        let n_bytes = self.as_bytes().len();
        (n_bytes >= CHUNK_BYTES / 4).then_some(CHUNK_BYTES as f64 / n_bytes as f64)
    }

    /// Tells whether the chunk has become far larger than expected.
    pub(super) fn is_oversized(&self) -> bool {
        self.as_bytes().len() >= 2 * CHUNK_BYTES
    }

    /// Tells whether the chunk has as many samples as it should have at least.
    pub(super) fn has_enough_samples(&self) -> bool {
        let n_samples = match &self.chunk {
            OpenChunk::Integer(chunk) => chunk.sample_count(),
            OpenChunk::Float(chunk) => chunk.sample_count(),
        };
        n_samples >= MIN_SAMPLES_PER_CHUNK
    }

    /// How the chunk is encoded.
    pub(super) fn encoding(&self) -> Encoding {
        match &self.chunk {
            OpenChunk::Integer(chunk) => chunk.encoding(),
            OpenChunk::Float(chunk) => chunk.encoding(),
        }
    }

    /// The chunk as it stands.
    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.chunk {
            OpenChunk::Integer(chunk) => chunk.as_bytes(),
            OpenChunk::Float(chunk) => chunk.as_bytes(),
        }
    }

    /// Bytes of memory, as far as they are worth counting.
    pub(super) fn size_bytes(&self) -> usize {
        // The appender keeps the buckets of the last histogram too.
        size_of::<Self>() + self.as_bytes().len() + 2 * self.last.heap_bytes()
    }
}

/// What begins a chunk with a histogram that has been counting since `start`.
fn appender_for<H: ChunkHistogram>(start: i64) -> ChunkAppender<H> {
    if start == 0 { ChunkAppender::new() } else { ChunkAppender::with_start_timestamps() }
}

fn last<H: ChunkHistogram>(
    mut histograms: ChunkHistograms<'_, H>,
) -> Result<Option<(i64, H)>, Error> {
    let mut last = None;
    while let Some(timestamp) = histograms.next()? {
        last = Some((timestamp, histograms.histogram()?));
    }
    Ok(last)
}

fn append<H: ChunkHistogram>(
    chunk: &mut ChunkAppender<H>,
    start: i64,
    timestamp: i64,
    histogram: &H,
    is_due: bool,
) -> Result<Option<Chunk>, Error> {
    if is_due {
        return chunk.append_to_next_with_start(start, timestamp, histogram).map(Some);
    }
    Ok(match chunk.append_with_start(start, timestamp, histogram)? {
        Appended::Cut { finished, .. } => Some(finished),
        Appended::InPlace | Appended::Recoded => None,
    })
}
