//! What takes the room: series, samples and bytes by metric, label and label pair.
//!
//! The series of all blocks and of the head are walked through in label order, each once, and every
//! chunk is asked for its samples and its length. The bytes are those of chunks: what the labels
//! themselves take in an index is told by [`Counted::text_bytes`].
//!
//! # Memory
//!
//! One series of each source at a time, and a few numbers for each label pair that there is.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use ferula_index::{ChunkMeta, Labels, METRIC_NAME, Matcher};
use serde::Serialize;
use ulid::Ulid;

use crate::block::{Block, PageSizes};
use crate::error::Error;
use crate::head::Era;
use crate::querier::{HeadReader, Request};

/// How many of each list are told unless a request says otherwise.
pub const DEFAULT_ANALYSIS_TOP: usize = 20;

/// Series between two calls that tell the progress.
const PROGRESS_EVERY: u64 = 256;

/// What is to be counted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AnalysisRequest {
    /// Only series that pass all of them.
    pub matchers: Vec<Matcher>,
    /// Only chunks that reach into the time from here on, in milliseconds.
    pub mint: i64,
    /// Only chunks that reach into the time up to here, inclusive, in milliseconds.
    pub maxt: i64,
    /// Only this block, rather than all of them and the head.
    pub block: Option<Ulid>,
    /// How many of each list are told.
    pub top: usize,
}

impl Default for AnalysisRequest {
    fn default() -> Self {
        let (matchers, block, top) = (Vec::new(), None, DEFAULT_ANALYSIS_TOP);
        Self { matchers, mint: i64::MIN, maxt: i64::MAX, block, top }
    }
}

/// What was counted. Lists hold the largest ones, and of equal ones those whose names come first.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Analysis {
    /// Time of the first sample, in milliseconds; `None` if there is none.
    pub mint: Option<i64>,
    /// Time of the last sample, in milliseconds; `None` if there is none.
    pub maxt: Option<i64>,
    /// All series together.
    pub total: Counted,
    /// Metrics with the most series.
    pub metrics_by_series: Vec<Counted>,
    /// Metrics whose chunks take the most bytes.
    pub metrics_by_bytes: Vec<Counted>,
    /// Metrics with the most churn.
    pub metrics_by_churn: Vec<Counted>,
    /// Labels with the most values.
    pub labels_by_values: Vec<Counted>,
    /// Labels whose values are the longest text, all of them together.
    pub labels_by_text: Vec<Counted>,
    /// Labels whose series' chunks take the most bytes.
    pub labels_by_bytes: Vec<Counted>,
    /// Label pairs with the most series.
    pub pairs_by_series: Vec<Counted>,
    /// Label pairs whose series' chunks take the most bytes.
    pub pairs_by_bytes: Vec<Counted>,
    /// Label pairs with the most churn.
    pub pairs_by_churn: Vec<Counted>,
}

/// What the series of a metric, of a label or of a label pair hold and take.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Counted {
    /// The metric or the name of the label; empty for all together.
    pub name: String,
    /// The value of a label pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Series, each once, in however many blocks it is.
    pub series: u64,
    /// Samples, deleted ones included.
    pub samples: u64,
    /// Bytes of their chunks in files. Where chunks share a compressed page, it is parted by samples.
    pub chunk_bytes: u64,
    /// Different values of a label, or label pairs for all together.
    pub values: u64,
    /// Bytes of the text of these.
    pub text_bytes: u64,
    /// The part of the whole time in which a series has no samples yet or no more, summed up over the
    /// series: one that is there all the time adds nothing, one that comes and goes at once adds 1.
    pub churn: f64,
}

/// Numbers of some series.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    series: u64,
    samples: u64,
    bytes: u64,
    /// Milliseconds between first and last sample.
    alive_ms: u128,
}

/// What a source has of a series.
#[derive(Clone, Copy, Debug)]
struct Found {
    mint: i64,
    maxt: i64,
    samples: u64,
    bytes: u64,
}

/// Numbers of the series with a label, and of those with each of its values.
#[derive(Debug, Default)]
struct OfLabel {
    all: Tally,
    values: HashMap<Box<str>, Tally>,
}

type Source<'a> = Box<dyn Iterator<Item = Result<(Labels, Found), Error>> + 'a>;

/// Counts what the series of `blocks` and `head` hold and take.
pub(crate) fn analyze(
    head: &HeadReader,
    blocks: &[Arc<Block>],
    request: &AnalysisRequest,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<Analysis, Error> {
    let AnalysisRequest { matchers, mint, maxt, .. } = request;
    let (mint, maxt) = (*mint, *maxt);
    let wanted = blocks.iter().filter(|block| {
        request.block.is_none_or(|ulid| block.meta().ulid == ulid)
            && block.overlaps(mint, maxt)
            && block.damage().is_none()
    });
    let request_head = Request { mint, maxt, ..Request::default() };
    let of_head = match request.block {
        None => head.select_with(matchers, request_head, &|_| Ok(()))?.0,
        Some(_) => Vec::new(),
    };
    let mut sources: Vec<Source<'_>> = Vec::new();
    let mut n_series = 0;
    for block in wanted {
        let selected = block.select(matchers)?;
        n_series += selected.len();
        sources.push(of_block(block, selected, mint, maxt));
    }
    n_series += of_head.len() as u64;
    sources.push(Box::new(head.with_labels(&of_head).filter_map(|(labels, series)| {
        let found = head.chunks(series, mint, maxt).and_then(|mut chunks| {
            chunks.extend(head.late_chunks(series, mint, maxt, Era(u64::MAX))?);
            let mut found: Option<Found> = None;
            for chunk in &chunks {
                let samples = chunk.chunk.sample_count().unwrap_or_default().into();
                let bytes = chunk.chunk.data.len() as u64;
                Found::add(&mut found, chunk.mint, chunk.maxt, samples, bytes);
            }
            Ok(found)
        });
        found.transpose().map(|found| found.map(|found| (labels, found)))
    })));
    count(sources, n_series, request.top, on_progress)
}

fn of_block(
    block: &Block,
    selected: ferula_index::postings::Postings,
    mint: i64,
    maxt: i64,
) -> Source<'_> {
    let mut cursor = block.cursor();
    let (mut chunks, mut page) = (Vec::new(), PageSizes::default());
    let refs: Vec<_> = selected.iter().collect();
    let mut read = move |series| {
        let labels = cursor.series(series, &mut chunks)?;
        let mut found = None;
        let is_wanted = |chunk: &&ChunkMeta| chunk.mint <= maxt && mint <= chunk.maxt;
        for chunk in chunks.iter().filter(is_wanted) {
            let size = block.chunk_size(chunk, &mut page)?;
            Found::add(&mut found, chunk.mint, chunk.maxt, size.n_samples, size.bytes);
        }
        Ok(found.map(|found| (labels, found)))
    };
    Box::new(refs.into_iter().filter_map(move |series| read(series).transpose()))
}

impl Found {
    fn add(found: &mut Option<Self>, mint: i64, maxt: i64, samples: u64, bytes: u64) {
        let added = Self { mint, maxt, samples, bytes };
        *found = Some(found.map_or(added, |found| found.with(added)));
    }

    fn with(self, other: Self) -> Self {
        Self {
            mint: self.mint.min(other.mint),
            maxt: self.maxt.max(other.maxt),
            samples: self.samples + other.samples,
            bytes: self.bytes + other.bytes,
        }
    }

    fn tally(self) -> Tally {
        let alive_ms = u128::from(self.maxt.abs_diff(self.mint));
        Tally { series: 1, samples: self.samples, bytes: self.bytes, alive_ms }
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.series += other.series;
        self.samples += other.samples;
        self.bytes += other.bytes;
        self.alive_ms += other.alive_ms;
    }

    /// The numbers as they are told, of a time of `range_ms` in all.
    fn counted(&self, range_ms: u64, name: &str, value: Option<&str>) -> Counted {
        // The numbers are told with a few digits, so that what a float cannot hold does not matter.
        let alive = self.alive_ms as f64 / range_ms.max(1) as f64;
        let churn = if range_ms == 0 { 0.0 } else { self.series as f64 - alive };
        Counted {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            series: self.series,
            samples: self.samples,
            chunk_bytes: self.bytes,
            churn: churn.max(0.0),
            ..Counted::default()
        }
    }
}

/// Walks over the series of all sources in label order.
fn count(
    mut sources: Vec<Source<'_>>,
    n_series: u64,
    top: usize,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<Analysis, Error> {
    let mut labels: HashMap<Box<str>, OfLabel> = HashMap::new();
    let mut total = Tally::default();
    let mut range: Option<(i64, i64)> = None;
    let mut heap = BinaryHeap::new();
    let mut waiting: Vec<Option<Found>> = vec![None; sources.len()];
    let mut n_read = 0;
    let mut advance = |source: usize, waiting: &mut Vec<Option<Found>>| {
        let next = sources[source].next().transpose()?;
        if n_read % PROGRESS_EVERY == 0 {
            on_progress(n_read, n_series);
        }
        n_read += 1;
        Ok::<_, Error>(next.map(|(labels, found)| {
            waiting[source] = Some(found);
            Reverse((labels, source))
        }))
    };
    for source in 0..waiting.len() {
        heap.extend(advance(source, &mut waiting)?);
    }
    while let Some(Reverse((series, source))) = heap.pop() {
        let mut found = waiting[source].take();
        heap.extend(advance(source, &mut waiting)?);
        while heap.peek().is_some_and(|Reverse((next, _))| *next == series) {
            if let Some(Reverse((_, source))) = heap.pop() {
                let more = waiting[source].take();
                found = found.zip(more).map(|(a, b)| a.with(b)).or(found).or(more);
                heap.extend(advance(source, &mut waiting)?);
            }
        }
        let Some(found) = found else { continue };
        range = Some(match range {
            None => (found.mint, found.maxt),
            Some((mint, maxt)) => (mint.min(found.mint), maxt.max(found.maxt)),
        });
        let tally = found.tally();
        total.add(tally);
        for (name, value) in series.iter() {
            let label = match labels.get_mut(name) {
                Some(label) => label,
                None => labels.entry(name.into()).or_default(),
            };
            label.all.add(tally);
            match label.values.get_mut(value) {
                Some(of_value) => of_value.add(tally),
                None => {
                    label.values.insert(value.into(), tally);
                }
            }
        }
    }
    on_progress(n_series, n_series);
    Ok(rank(&labels, &total, range, top))
}

/// Makes the lists.
fn rank(
    labels: &HashMap<Box<str>, OfLabel>,
    total: &Tally,
    range: Option<(i64, i64)>,
    top: usize,
) -> Analysis {
    let range_ms = range.map_or(0, |(mint, maxt)| maxt.abs_diff(mint));
    let of_labels: Vec<Counted> = labels
        .iter()
        .map(|(name, label)| Counted {
            values: label.values.len() as u64,
            text_bytes: label.values.keys().map(|value| value.len() as u64).sum(),
            ..label.all.counted(range_ms, name, None)
        })
        .collect();
    let metrics = labels.get(METRIC_NAME).map(|label| &label.values).into_iter().flatten();
    let of_metrics: Vec<Counted> =
        metrics.map(|(name, tally)| tally.counted(range_ms, name, None)).collect();
    let pairs = || {
        labels.iter().flat_map(|(name, label)| {
            label.values.iter().map(move |(value, tally)| (&**name, &**value, tally))
        })
    };
    let of_pairs = |key: fn(&Tally, u64) -> u64| {
        let mut largest: Vec<(Reverse<u64>, &str, &str, &Tally)> = pairs()
            .map(|(name, value, tally)| (Reverse(key(tally, range_ms)), name, value, tally))
            .collect();
        let order = |a: &(Reverse<u64>, &str, &str, &Tally), b: &(_, &str, &str, &Tally)| {
            (a.0, a.1, a.2).cmp(&(b.0, b.1, b.2))
        };
        if top < largest.len() {
            largest.select_nth_unstable_by(top, order);
            largest.truncate(top);
        }
        largest.sort_unstable_by(order);
        let counted = |(_, name, value, tally): &(_, &str, &str, &Tally)| {
            tally.counted(range_ms, name, Some(value))
        };
        largest.iter().map(counted).collect::<Vec<_>>()
    };
    Analysis {
        mint: range.map(|(mint, _)| mint),
        maxt: range.map(|(_, maxt)| maxt),
        total: Counted {
            values: of_labels.iter().map(|label| label.values).sum(),
            text_bytes: of_labels.iter().map(|label| label.text_bytes).sum(),
            ..total.counted(range_ms, "", None)
        },
        metrics_by_series: largest(&of_metrics, top, |counted| counted.series as f64),
        metrics_by_bytes: largest(&of_metrics, top, |counted| counted.chunk_bytes as f64),
        metrics_by_churn: largest(&of_metrics, top, |counted| counted.churn),
        labels_by_values: largest(&of_labels, top, |counted| counted.values as f64),
        labels_by_text: largest(&of_labels, top, |counted| counted.text_bytes as f64),
        labels_by_bytes: largest(&of_labels, top, |counted| counted.chunk_bytes as f64),
        pairs_by_series: of_pairs(|tally, _| tally.series),
        pairs_by_bytes: of_pairs(|tally, _| tally.bytes),
        pairs_by_churn: of_pairs(churn_ms),
    }
}

/// Milliseconds without samples, of all series together.
fn churn_ms(tally: &Tally, range_ms: u64) -> u64 {
    let all = u128::from(tally.series) * u128::from(range_ms);
    u64::try_from(all.saturating_sub(tally.alive_ms)).unwrap_or(u64::MAX)
}

fn largest(all: &[Counted], top: usize, key: impl Fn(&Counted) -> f64) -> Vec<Counted> {
    let mut sorted: Vec<&Counted> = all.iter().collect();
    sorted.sort_by(|a, b| key(b).total_cmp(&key(a)).then_with(|| a.name.cmp(&b.name)));
    sorted.into_iter().take(top).cloned().collect()
}
