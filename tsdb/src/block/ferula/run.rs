//! The samples of a series on their way into columns: runs of one kind, and where they are cut.

use ferula_chunkenc::columnar::MAX_SAMPLES;
use ferula_chunkenc::histogram::{CounterResetHint, FloatHistogram, Histogram};
use ferula_chunkenc::stale::is_stale;
use ferula_chunkenc::{Chunk, ChunkHistogram, ChunkHistograms, Encoding, Error, SampleBatch};

use super::layout::MAX_HISTOGRAMS_BYTES;
use crate::block::{ColumnValues, Columns, StoredChunk};

/// Where long runs are cut, in milliseconds, and halves and doubles of it: at the same times in all
/// series, so that these share their columns of times.
const CUT_MS: i64 = 2 * 3600 * 1000;

/// How often that is doubled or halved at most.
const MAX_DOUBLINGS: u32 = 24;
const MAX_HALVINGS: u32 = 8;

/// Samples of one kind that follow each other.
#[derive(Debug, Default)]
pub(super) struct Run {
    pub(super) times: Vec<i64>,
    /// As many as there are times once a sample has a start timestamp.
    starts: Vec<i64>,
    pub(super) values: RunValues,
    batch: SampleBatch,
}

#[derive(Debug, Default)]
pub(super) enum RunValues {
    #[default]
    Nothing,
    Floats(Vec<f64>),
    Histograms(Vec<Histogram>),
    FloatHistograms(Vec<FloatHistogram>),
}

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Floats,
    Histograms,
    FloatHistograms,
    /// Something that is kept as it is.
    Opaque,
}

impl Kind {
    pub(super) fn of(chunk: &StoredChunk) -> Self {
        match chunk {
            StoredChunk::Encoded(chunk) => match chunk.encoding {
                Encoding::Xor | Encoding::Xor2 => Self::Floats,
                Encoding::Histogram | Encoding::HistogramSt => Self::Histograms,
                Encoding::FloatHistogram | Encoding::FloatHistogramSt => Self::FloatHistograms,
                _ => Self::Opaque,
            },
            StoredChunk::Columns(columns) => match columns.values {
                ColumnValues::Floats(_) => Self::Floats,
                ColumnValues::Histograms(_) => Self::Histograms,
                ColumnValues::FloatHistograms(_) => Self::FloatHistograms,
            },
            StoredChunk::Paged(_) => Self::Floats,
        }
    }
}

impl Run {
    /// Tells whether there are no samples.
    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Tells whether samples of this kind continue the run.
    pub(super) fn takes(&self, kind: Kind) -> bool {
        match self.values {
            RunValues::Nothing => true,
            RunValues::Floats(_) => kind == Kind::Floats,
            RunValues::Histograms(_) => kind == Kind::Histograms,
            RunValues::FloatHistograms(_) => kind == Kind::FloatHistograms,
        }
    }

    /// Forgets all samples.
    pub(super) fn clear(&mut self) {
        self.times.clear();
        self.starts.clear();
        match &mut self.values {
            // Its memory serves the next series, which mostly holds floats too.
            RunValues::Floats(values) => values.clear(),
            other => *other = RunValues::Nothing,
        }
        if matches!(&self.values, RunValues::Floats(values) if values.capacity() == 0) {
            self.values = RunValues::Nothing;
        }
    }

    /// Appends the samples of a chunk of a kind that the run takes.
    pub(super) fn push(&mut self, chunk: &StoredChunk) -> Result<(), Error> {
        if self.is_empty() {
            self.begin(Kind::of(chunk));
        }
        let Self { times, values, .. } = self;
        match (chunk, values) {
            (StoredChunk::Encoded(chunk), RunValues::Histograms(histograms)) => {
                let starts = decode(chunk.histograms()?, times, histograms)?;
                self.push_starts(starts);
            }
            (StoredChunk::Encoded(chunk), RunValues::FloatHistograms(histograms)) => {
                let starts = decode(chunk.float_histograms()?, times, histograms)?;
                self.push_starts(starts);
            }
            (StoredChunk::Encoded(chunk), _) => self.push_floats(chunk)?,
            (StoredChunk::Paged(paged), _) => {
                return self.push(&StoredChunk::Columns(paged.decode()?));
            }
            (StoredChunk::Columns(columns), values) => {
                match (&columns.values, values) {
                    (ColumnValues::Floats(from), RunValues::Floats(to)) => {
                        to.extend_from_slice(from);
                    }
                    (ColumnValues::Histograms(from), RunValues::Histograms(to)) => {
                        to.extend_from_slice(from);
                    }
                    (ColumnValues::FloatHistograms(from), RunValues::FloatHistograms(to)) => {
                        to.extend_from_slice(from);
                    }
                    _ => unreachable!("the run takes the kind of the chunk"),
                }
                self.push_columns(columns);
            }
        }
        Ok(())
    }

    fn begin(&mut self, kind: Kind) {
        match (kind, &self.values) {
            (Kind::Floats, RunValues::Floats(_)) => {}
            (Kind::Histograms, _) => self.values = RunValues::Histograms(Vec::new()),
            (Kind::FloatHistograms, _) => self.values = RunValues::FloatHistograms(Vec::new()),
            (Kind::Floats | Kind::Opaque, _) => self.values = RunValues::Floats(Vec::new()),
        }
    }

    fn push_floats(&mut self, chunk: &Chunk) -> Result<(), Error> {
        self.batch.clear();
        chunk.decode_into(&mut self.batch)?;
        let RunValues::Floats(values) = &mut self.values else {
            unreachable!("the run takes the kind of the chunk")
        };
        self.times.extend_from_slice(self.batch.timestamps());
        values.extend_from_slice(self.batch.values());
        if self.batch.has_start_timestamps() {
            let batch = &self.batch;
            let starts = (0..batch.len()).map(|at| batch.start_timestamp(at)).collect();
            self.push_starts(Some(starts));
        } else {
            self.push_starts(None);
        }
        Ok(())
    }

    fn push_columns(&mut self, columns: &Columns) {
        self.times.extend_from_slice(&columns.times);
        self.push_starts(columns.starts.clone());
    }

    /// Takes up the start timestamps of the times that were added last.
    fn push_starts(&mut self, starts: Option<Vec<i64>>) {
        if let Some(starts) = starts {
            self.starts.resize(self.times.len() - starts.len(), 0);
            self.starts.extend(starts);
        } else if !self.starts.is_empty() {
            self.starts.resize(self.times.len(), 0);
        }
    }

    /// The start timestamps of the samples from `start` to `end`, if any of them has one.
    pub(super) fn starts(&self, start: usize, end: usize) -> Option<&[i64]> {
        let starts = self.starts.get(start..end)?;
        starts.iter().any(|start| *start != 0).then_some(starts)
    }

    /// Where the chunk ends that begins with the sample at `start`.
    pub(super) fn end_of_chunk(&self, start: usize, cut_ms: Option<i64>) -> usize {
        match &self.values {
            RunValues::Histograms(histograms) => end_of_histograms(histograms, start),
            RunValues::FloatHistograms(histograms) => end_of_histograms(histograms, start),
            RunValues::Floats(_) | RunValues::Nothing => {
                let end = self.times.len().min(start + MAX_SAMPLES);
                let Some(cut_ms) = cut_ms else { return end };
                let window = self.times[start].div_euclid(cut_ms);
                let is_within = |time: &i64| time.div_euclid(cut_ms) == window;
                start + self.times[start..end].partition_point(is_within)
            }
        }
    }

    /// At multiples of what time the run is cut; none if it need not be.
    pub(super) fn cut_ms(&self) -> Option<i64> {
        if self.times.len() <= MAX_SAMPLES {
            return None;
        }
        let fits = |cut_ms: &i64| {
            let mut rest = &self.times[..];
            while let Some(first) = rest.first() {
                let window = first.div_euclid(*cut_ms);
                let n = rest.partition_point(|time| time.div_euclid(*cut_ms) == window);
                if n > MAX_SAMPLES {
                    return false;
                }
                rest = &rest[n..];
            }
            true
        };
        let longer = (0..=MAX_DOUBLINGS).rev().map(|shift| CUT_MS << shift);
        longer.chain((1..=MAX_HALVINGS).map(|shift| CUT_MS >> shift)).find(fits)
    }
}

/// Appends times and histograms of a chunk, and returns their start timestamps.
fn decode<H: ChunkHistogram>(
    mut chunk: ChunkHistograms<'_, H>,
    times: &mut Vec<i64>,
    histograms: &mut Vec<H>,
) -> Result<Option<Vec<i64>>, Error> {
    let mut starts = Vec::new();
    while let Some(time) = chunk.next()? {
        times.push(time);
        histograms.push(chunk.histogram()?);
        starts.push(chunk.start_timestamp());
    }
    Ok(starts.iter().any(|start| *start != 0).then_some(starts))
}

/// What is asked of a histogram to find the end of a chunk.
pub(super) trait Measured {
    /// Bytes in memory, about.
    fn size_bytes(&self) -> usize;

    /// Tells whether a chunk may begin with it that decodes to the same again: where nothing is
    /// known of the one before, as at the beginning of a chunk of Prometheus.
    fn may_begin(&self) -> bool;
}

impl Measured for Histogram {
    fn size_bytes(&self) -> usize {
        let n = self.positive_buckets.len() + self.negative_buckets.len();
        let spans = self.positive_spans.len() + self.negative_spans.len();
        9 * (8 + n + spans + self.custom_values.len())
    }

    fn may_begin(&self) -> bool {
        self.counter_reset_hint != CounterResetHint::NotReset && !is_stale(self.sum)
    }
}

impl Measured for FloatHistogram {
    fn size_bytes(&self) -> usize {
        let n = self.positive_buckets.len() + self.negative_buckets.len();
        let spans = self.positive_spans.len() + self.negative_spans.len();
        9 * (8 + n + spans + self.custom_values.len())
    }

    fn may_begin(&self) -> bool {
        self.counter_reset_hint != CounterResetHint::NotReset && !is_stale(self.sum)
    }
}

fn end_of_histograms<H: Measured>(histograms: &[H], start: usize) -> usize {
    let mut size_bytes = 0;
    let mut end = start;
    while end < histograms.len() && end - start < MAX_SAMPLES {
        size_bytes += histograms[end].size_bytes();
        if size_bytes > MAX_HISTOGRAMS_BYTES && end > start {
            break;
        }
        end += 1;
    }
    if end == histograms.len() {
        return end;
    }
    let better = (start + 1..=end).rev().find(|at| histograms[*at].may_begin());
    better.unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(times: impl IntoIterator<Item = i64>) -> Run {
        let times: Vec<i64> = times.into_iter().collect();
        let values = ColumnValues::Floats(vec![0.5; times.len()]);
        let mut run = Run::default();
        run.push(&StoredChunk::Columns(Columns { times, values, starts: None })).unwrap();
        run
    }

    fn ends(run: &Run) -> Vec<usize> {
        let cut_ms = run.cut_ms();
        let mut ends = vec![0];
        while *ends.last().unwrap() < run.times.len() {
            ends.push(run.end_of_chunk(*ends.last().unwrap(), cut_ms));
        }
        ends.split_off(1)
    }

    #[test]
    fn long_runs_are_cut_at_the_same_times() {
        const DAY: i64 = 86_400_000;
        assert_eq!(ends(&floats((0..8192).map(|i| i * 15_000))), [8192]);
        // 31 days at 15 seconds: every 32 hours.
        let early = floats((0..31 * 5760).map(|i| 7 + i * 15_000));
        assert_eq!(early.cut_ms(), Some(32 * 3_600_000));
        assert_eq!(ends(&early)[..2], [7680, 15360]);
        let late = floats((20_000..31 * 5760).map(|i| 7 + i * 15_000));
        assert_eq!(ends(&late)[..2], [3040, 10720]);
        assert_eq!(early.times[23_040], late.times[3040]);
        // As many as there are milliseconds: no window is short enough.
        let dense = floats(0..100_000);
        assert_eq!(dense.cut_ms(), None);
        assert_eq!(ends(&dense)[..2], [8192, 16384]);
        assert_eq!(ends(&floats((-20_000..0).map(|i| i * 1000))).len(), 3);
        assert_eq!(ends(&floats([0, DAY])), [2]);
    }

    #[test]
    fn start_timestamps_belong_to_their_samples() {
        let columns = |times: Vec<i64>, starts: Option<Vec<i64>>| {
            let values = ColumnValues::Floats(vec![1.0; times.len()]);
            StoredChunk::Columns(Columns { times, values, starts })
        };
        let mut run = Run::default();
        run.push(&columns(vec![1, 2], None)).unwrap();
        assert_eq!(run.starts(0, 2), None);
        run.push(&columns(vec![3, 4], Some(vec![0, 9]))).unwrap();
        run.push(&columns(vec![5], None)).unwrap();
        assert_eq!(run.starts(0, 5), Some(&[0, 0, 0, 9, 0][..]));
        assert_eq!(run.starts(0, 3), None);
        run.clear();
        run.push(&columns(vec![7], None)).unwrap();
        assert_eq!(run.starts(0, 1), None);
    }
}
