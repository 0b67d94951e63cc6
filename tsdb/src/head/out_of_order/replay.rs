//! Taking over samples out of order: from `wbl/` up to the last batch that the log has too, and the
//! batches after that from the log.
//!
//! The series are there by then. One thread reads and decodes, others insert, each into pages of
//! its own. Chunks are made of the samples again; what a chunk in a file holds bit for bit is read from
//! there, and nothing is concluded from a chunk alone.

use std::collections::HashMap;
use std::mem;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Builder, Scope, ScopedJoinHandle, available_parallelism};

use ferula_index::{ChunkRef, SeriesRef};
use ferula_wal::LogRecord;
use ferula_wal::record::Record;
use ferula_wal::record::histograms::RefHistogram;
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::samples_v2::RefStartedSample;
use ferula_wal::record::tombstones::Tombstone;

use crate::error::Error;
use crate::head::isolation::{BatchId, Views};
use crate::head::series::{Era, InsertContext, SealedChunk, page_number};
use crate::head::{Head, is_valid_time};
use crate::histogram::NativeHistogram;
use crate::recode::{Recoded, Value};

/// Workers at most; one core is left to the thread that reads.
const MAX_WORKERS: usize = 8;

/// Items that are handed over together.
const BATCH_ITEMS: usize = 1024;

/// What waits for a worker at most, in batches.
const MAX_WAITING: usize = 4;

/// What a replay of the log tells of samples out of order.
#[derive(Debug, Default)]
pub(in crate::head) struct Logged {
    /// Number of the newest batch with such samples; `None` if the log was not read.
    pub(in crate::head) newest: Option<u64>,
    /// What was deleted, each with the number of the newest such batch before it.
    pub(in crate::head) deleted: Vec<(u64, Tombstone)>,
}

/// What a replay read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LateStats {
    pub(crate) records: u64,
    pub(crate) samples: u64,
    /// Samples of series that are not known.
    pub(crate) unknown_samples: u64,
    pub(crate) invalid_histograms: u64,
    /// Whether the log of such samples says what the head holds, and nothing else.
    pub(crate) is_complete: bool,
    newest: u64,
    mint: i64,
    maxt: i64,
}

/// Takes the records of the two logs.
#[derive(Debug)]
pub(crate) struct LateReplay<'scope> {
    head: &'scope Head,
    workers: Vec<Worker<'scope>>,
    deleted: std::iter::Peekable<std::vec::IntoIter<(u64, Tombstone)>>,
    /// Number of the newest batch that the log has.
    newest_logged: Option<u64>,
    /// Number of the batch being read.
    newest: u64,
    /// Whether a batch was met that the log does not have.
    is_beyond: bool,
    /// Whether the log had batches that the other one did not.
    is_ahead: bool,
    /// Records of the log that are still to come of the batch.
    n_left: u64,
    stats: LateStats,
}

#[derive(Debug)]
struct Worker<'scope> {
    items: SyncSender<Vec<Item>>,
    thread: ScopedJoinHandle<'scope, Result<Done, Error>>,
    batch: Vec<Item>,
}

/// Work in the order of the log.
#[derive(Debug)]
enum Item {
    Sample {
        series: SeriesRef,
        sample: Recoded,
    },
    /// A chunk with the samples of a series so far.
    Stored {
        series: SeriesRef,
        at: ChunkRef,
    },
    Delete(Tombstone),
}

impl Item {
    fn series(&self) -> SeriesRef {
        match self {
            Self::Sample { series, .. } | Self::Stored { series, .. } => *series,
            Self::Delete(tombstone) => tombstone.series,
        }
    }
}

/// What a worker did.
#[derive(Debug)]
struct Done {
    samples: u64,
    /// Whether there is something else than the log of such samples says: chunks that are in no file,
    /// or less for what was deleted.
    is_remade: bool,
    mint: i64,
    maxt: i64,
}

impl Head {
    /// Takes over samples out of order: `read` hands over the records of their log, and `read_log` those
    /// of the log if that has more of them. Nobody else uses the head yet; the log was replayed, or
    /// the head made of a snapshot.
    pub(crate) fn replay_out_of_order(
        &mut self,
        read: impl FnOnce(&mut LateReplay<'_>) -> Result<(), Error>,
        read_log: impl FnOnce(&mut LateReplay<'_>) -> Result<(), Error>,
    ) -> Result<LateStats, Error> {
        let Logged { newest, deleted } = mem::take(self.out_of_order.logged.get_mut());
        let head = &*self;
        let stats = thread::scope(|scope| {
            let mut replay = LateReplay {
                head,
                workers: Worker::start(head, scope)?,
                deleted: deleted.into_iter().peekable(),
                newest_logged: newest,
                newest: 0,
                is_beyond: false,
                is_ahead: false,
                n_left: 0,
                stats: LateStats::default(),
            };
            read(&mut replay)?;
            if newest.is_some_and(|newest| newest > replay.newest) {
                replay.is_ahead = true;
                read_log(&mut replay)?;
            }
            replay.finish()
        })?;
        self.commit.get_mut().late.resume(stats.newest);
        self.out_of_order.note_times(stats.mint, stats.maxt);
        self.remove_empty_series();
        Ok(stats)
    }

    /// Brings the log of samples out of order into line with the head, after a replay that found it
    /// was not.
    pub(crate) fn restore_wbl(&mut self, stats: &LateStats) -> Result<(), Error> {
        if stats.is_complete {
            return Ok(());
        }
        self.rewrite_out_of_order(&mut self.commit.lock())
    }

    /// The series that a ref in a log stands for.
    fn resolve(&self, series: SeriesRef) -> Option<SeriesRef> {
        let is_published = |series: SeriesRef| {
            let page = self.stripes.page(page_number(series))?;
            let page = page.lock();
            page.view(series).filter(|view| view.is_published()).map(|_| series)
        };
        is_published(series).or_else(|| {
            let known = self.aliases.lock().get(&series).copied()?;
            is_published(known)
        })
    }
}

impl LateReplay<'_> {
    /// Takes the next record of the log of samples out of order. False if no more are wanted.
    pub(crate) fn apply(&mut self, record: &LogRecord<'_>) -> Result<bool, Error> {
        let failed = replay_error(record);
        let decoded = record.decode().map_err(failed)?;
        if let Record::OutOfOrder(announced) = decoded {
            if self.newest_logged.is_some_and(|newest| announced.number > newest) {
                // The log lost this batch, and with it all later ones.
                self.is_beyond = true;
                return Ok(false);
            }
            self.begin_batch(announced.number);
            return Ok(true);
        }
        self.insert(record, decoded)?;
        Ok(true)
    }

    /// Takes the next record of the log, of which only batches are wanted that the log of samples out
    /// of order lacks.
    pub(crate) fn apply_logged(&mut self, record: &LogRecord<'_>) -> Result<(), Error> {
        let decoded = record.decode().map_err(replay_error(record))?;
        if let Record::OutOfOrder(announced) = decoded {
            self.n_left = 0;
            if announced.number > self.newest {
                self.begin_batch(announced.number);
                self.n_left = announced.n_records;
            }
        } else if self.n_left > 0 {
            self.n_left -= 1;
            self.insert(record, decoded)?;
        }
        Ok(())
    }

    fn begin_batch(&mut self, number: u64) {
        self.newest = self.newest.max(number);
        while let Some((_, tombstone)) = self.deleted.next_if(|(before, _)| *before < number) {
            self.put(Item::Delete(tombstone));
        }
    }

    fn insert(&mut self, place: &LogRecord<'_>, record: Record<'_>) -> Result<(), Error> {
        self.stats.records += 1;
        let failed = replay_error(place);
        match record {
            Record::Samples(mut samples) => {
                while let Some(sample) = samples.next().map_err(&failed)? {
                    let RefSample { series, timestamp, value } = sample;
                    self.put_sample(series, 0, timestamp, Value::Float(value));
                }
            }
            Record::SamplesV2(mut samples) => {
                while let Some(sample) = samples.next().map_err(&failed)? {
                    let RefStartedSample { series, start_timestamp, timestamp, value } = sample;
                    self.put_sample(series, start_timestamp, timestamp, Value::Float(value));
                }
            }
            Record::Histograms(mut histograms) => {
                while let Some(entry) = histograms.next().map_err(&failed)? {
                    self.put_histogram(&entry);
                }
            }
            Record::FloatHistograms(mut histograms) => {
                while let Some(entry) = histograms.next().map_err(&failed)? {
                    self.put_histogram(&entry);
                }
            }
            Record::MmapMarkers(mut markers) => {
                while let Some(marker) = markers.next().map_err(&failed)? {
                    let at = ChunkRef(marker.chunk);
                    // None is named where a first chunk begins.
                    if let Some(series) = self.head.resolve(marker.series).filter(|_| at.0 > 0) {
                        self.put(Item::Stored { series, at });
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn put_histogram<H: Clone + Into<NativeHistogram>>(&mut self, entry: &RefHistogram<'_, H>) {
        let mut histogram: NativeHistogram = entry.histogram.clone().into();
        if histogram.normalize().is_err() {
            self.stats.invalid_histograms += 1;
            return;
        }
        let value = Value::Histogram(Box::new(histogram));
        self.put_sample(entry.series, entry.start_timestamp, entry.timestamp, value);
    }

    fn put_sample(&mut self, series: SeriesRef, start: i64, timestamp: i64, value: Value) {
        match self.head.resolve(series).filter(|_| is_valid_time(timestamp)) {
            Some(series) => {
                let sample = Recoded { start, timestamp, value };
                self.put(Item::Sample { series, sample });
            }
            // Its record went with a checkpoint, when all of its samples were in blocks.
            None => self.stats.unknown_samples += 1,
        }
    }

    fn put(&mut self, item: Item) {
        let n_workers = self.workers.len() as u64;
        let worker = usize::try_from(page_number(item.series()) % n_workers).unwrap_or(0);
        let worker = &mut self.workers[worker];
        worker.batch.push(item);
        if worker.batch.len() >= BATCH_ITEMS {
            worker.hand_over();
        }
    }

    /// Waits until all is done.
    fn finish(mut self) -> Result<LateStats, Error> {
        while let Some((_, tombstone)) = self.deleted.next() {
            self.put(Item::Delete(tombstone));
        }
        let mut stats = self.stats;
        stats.newest = self.newest_logged.unwrap_or(self.newest);
        (stats.mint, stats.maxt) = (i64::MAX, i64::MIN);
        stats.is_complete = !self.is_beyond && !self.is_ahead;
        for mut worker in self.workers {
            worker.hand_over();
            let Worker { items, thread, .. } = worker;
            drop(items);
            let done = thread.join().expect("a worker does not panic")?;
            stats.samples += done.samples;
            stats.is_complete &= !done.is_remade;
            (stats.mint, stats.maxt) = (stats.mint.min(done.mint), stats.maxt.max(done.maxt));
        }
        Ok(stats)
    }
}

fn replay_error(record: &LogRecord<'_>) -> impl Fn(ferula_wal::Error) -> Error + use<> {
    let (segment, offset) = (record.segment, record.offset);
    move |source| Error::Replay { segment, offset, source }
}

impl<'scope> Worker<'scope> {
    /// Starts the threads, which end with the scope, or when they are dropped.
    fn start<'env: 'scope>(
        head: &'env Head,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<Vec<Self>, Error> {
        let n_workers = available_parallelism().map_or(1, |n| n.get() - 1).clamp(1, MAX_WORKERS);
        let start = |_| {
            let (items, todo) = sync_channel(MAX_WAITING);
            let thread = Builder::new().name("ferula-replay".to_owned());
            let thread = thread.spawn_scoped(scope, move || work(head, &todo));
            let thread = thread.map_err(Error::io("start a thread for", "the replay".as_ref()))?;
            Ok(Self { items, thread, batch: Vec::new() })
        };
        (0..n_workers).map(start).collect()
    }

    fn hand_over(&mut self) {
        let batch = mem::take(&mut self.batch);
        if !batch.is_empty() {
            // A worker that has ended says why when it is joined.
            let _ = self.items.send(batch);
        }
    }
}

/// What a worker does until there is nothing left, or something fails.
fn work(head: &Head, todo: &Receiver<Vec<Item>>) -> Result<Done, Error> {
    let mut done = Done { samples: 0, is_remade: false, mint: i64::MAX, maxt: i64::MIN };
    // Chunks that the log has named for the samples of a series since the last that was found.
    let mut named: HashMap<SeriesRef, Vec<ChunkRef>> = HashMap::new();
    while let Ok(items) = todo.recv() {
        for item in items {
            match item {
                Item::Sample { series, sample } => {
                    let sealed = done.insert(head, series, sample);
                    let named = if sealed.is_empty() { None } else { named.remove(&series) };
                    for chunk in &sealed {
                        done.is_remade |= !take_over(head, chunk, named.as_deref().unwrap_or(&[]));
                    }
                }
                Item::Stored { series, at } => {
                    let of_series = named.entry(series).or_default();
                    of_series.push(at);
                    if seal_stored(head, series, of_series) {
                        named.remove(&series);
                    }
                }
                // A snapshot would not say that it is deleted.
                Item::Delete(tombstone) => done.is_remade |= delete(head, tombstone)?,
            }
        }
    }
    Ok(done)
}

impl Done {
    fn insert(&mut self, head: &Head, series: SeriesRef, sample: Recoded) -> Vec<SealedChunk> {
        let timestamp = sample.timestamp;
        let mut sealed = Vec::new();
        let views = Views::default();
        let context = InsertContext { batch: BatchId::REPLAYED, views: &views, era: Era(0) };
        let Some(page) = head.stripes.page(page_number(series)) else { return sealed };
        let is_inserted = page.change(|page| {
            let found = page.series_mut(series);
            found.is_some_and(|mut found| found.insert(sample, context, &mut sealed))
        });
        if is_inserted {
            self.samples += 1;
            (self.mint, self.maxt) = (self.mint.min(timestamp), self.maxt.max(timestamp));
        }
        sealed
    }
}

/// Tells whether one of the chunks `named` is the same, and has the series read it from there. If not
/// it is written to a file.
fn take_over(head: &Head, sealed: &SealedChunk, named: &[ChunkRef]) -> bool {
    match named.iter().copied().find(|at| is_stored(head, sealed, *at)) {
        Some(at) => head.note_stored(sealed, at),
        None => {
            // What cannot be written stays in memory.
            let _ = head.store_chunk(sealed);
            false
        }
    }
}

fn is_stored(head: &Head, sealed: &SealedChunk, at: ChunkRef) -> bool {
    let Some(stored) = head.files().and_then(|files| files.read(at).ok()) else { return false };
    let SealedChunk { mint, maxt, chunk, .. } = sealed;
    stored.is_ooo && (stored.mint, stored.maxt) == (*mint, *maxt) && stored.chunk == *chunk
}

/// Makes chunks of the samples of a series so far, if the chunks `named` hold them.
fn seal_stored(head: &Head, series: SeriesRef, named: &[ChunkRef]) -> bool {
    let Some(page) = head.stripes.page(page_number(series)) else { return false };
    let open = page.lock().view(series).and_then(|view| view.open_out_of_order());
    let are_stored = open.is_some_and(|open| {
        open.iter().all(|chunk| named.iter().any(|at| is_stored(head, chunk, *at)))
    });
    if !are_stored {
        return false;
    }
    let mut sealed = Vec::new();
    page.change(|page| {
        if let Some(mut found) = page.series_mut(series) {
            found.seal(Era(1), &Views::default(), &mut sealed);
        }
    });
    sealed.iter().all(|chunk| take_over(head, chunk, named))
}

/// Tells whether something was deleted.
fn delete(head: &Head, deleted: Tombstone) -> Result<bool, Error> {
    let Tombstone { series, mint, maxt } = deleted;
    let Some(page) = head.stripes.page(page_number(series)) else { return Ok(false) };
    let mut released = Vec::new();
    let is_changed = page.change(|page| match page.series_mut(series) {
        Some(mut found) => {
            found.delete_out_of_order(mint, maxt, head.files(), |at| released.push(at))
        }
        None => Ok(false),
    })?;
    if let Some(files) = head.files() {
        released.into_iter().for_each(|at| files.unpin(at));
    }
    Ok(is_changed)
}
