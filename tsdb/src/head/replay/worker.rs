//! Threads that put samples into the head, each into pages of its own.

use std::mem;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle, available_parallelism};

use ferula_index::SeriesRef;
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::samples_v2::RefStartedSample;
use ferula_wal::record::tombstones::Tombstone;

use crate::error::Error;
use crate::head::Head;
use crate::head::batch::PendingHistogram;
use crate::head::float::Float;
use crate::head::isolation::{BatchId, Views};
use crate::head::series::{AppendContext, PageState, page_number};

/// Workers at most. There is one for each core: while the log is passed over they have nothing to do,
/// and while samples are appended the threads before them wait for them.
const MAX_WORKERS: usize = 8;

/// Samples that are handed over together.
const BATCH_SAMPLES: usize = 4096;

/// Histograms that are handed over together.
const BATCH_HISTOGRAMS: usize = 256;

/// What waits for a worker at most, in batches.
const MAX_WAITING: usize = 4;

/// Work in the order of the log.
#[derive(Debug)]
pub(super) enum Job {
    /// Samples to append.
    Samples(Vec<RefSample>),
    /// Samples with start timestamps to append, and others between them.
    StartedSamples(Vec<RefStartedSample>),
    /// Histograms to append.
    Histograms(Vec<PendingHistogram>),
    /// What was deleted when the record was written. Samples logged later stay.
    Delete(Tombstone),
    /// The first ref stands for the second one from here on.
    Adopt(SeriesRef, SeriesRef),
}

/// What workers did.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) samples: u64,
    pub(super) covered_samples: u64,
    /// Histograms that make no sense.
    pub(super) invalid_histograms: u64,
    /// Times of the earliest and latest sample.
    pub(super) mint: i64,
    pub(super) maxt: i64,
    /// Whether the chunks in files do not go together with the log.
    pub(super) is_at_odds: bool,
}

impl Default for Done {
    fn default() -> Self {
        Self {
            samples: 0,
            covered_samples: 0,
            invalid_histograms: 0,
            mint: i64::MAX,
            maxt: i64::MIN,
            is_at_odds: false,
        }
    }
}

/// The threads, and what is not handed to them yet.
#[derive(Debug)]
pub(super) struct Workers<'scope> {
    workers: Vec<Worker<'scope>>,
    /// Buffers that workers are done with.
    spare: Receiver<Vec<RefSample>>,
}

#[derive(Debug)]
struct Worker<'scope> {
    jobs: SyncSender<Job>,
    thread: ScopedJoinHandle<'scope, Result<Done, Error>>,
    samples: Vec<RefSample>,
    /// Those behind, from the first one with a start timestamp on.
    started: Vec<RefStartedSample>,
    /// Those behind the samples.
    histograms: Vec<PendingHistogram>,
}

impl<'scope> Workers<'scope> {
    /// Starts the threads, which end with the scope, or when this is dropped.
    pub(super) fn start<'env: 'scope>(
        head: &'env Head,
        scope: &'scope Scope<'scope, 'env>,
    ) -> Result<Self, Error> {
        let n_workers = available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
        let (give_back, spare) = channel();
        let start = |_| {
            let (jobs, todo) = sync_channel(MAX_WAITING);
            let give_back = give_back.clone();
            let thread = Builder::new().name("ferula-replay".to_owned());
            let thread = thread.spawn_scoped(scope, move || work(head, &todo, &give_back));
            let thread = thread.map_err(Error::io("start a thread for", "the replay".as_ref()))?;
            Ok(Worker {
                jobs,
                thread,
                samples: Vec::with_capacity(BATCH_SAMPLES),
                started: Vec::new(),
                histograms: Vec::new(),
            })
        };
        Ok(Self { workers: (0..n_workers).map(start).collect::<Result<_, _>>()?, spare })
    }

    /// Hands over a sample of a series that exists.
    #[inline]
    pub(super) fn put_sample(&mut self, sample: RefSample) {
        let worker = self.worker(page_number(sample.series));
        if !self.workers[worker].histograms.is_empty() {
            self.hand_over(worker);
        }
        let Worker { samples, started, .. } = &mut self.workers[worker];
        if !started.is_empty() {
            let RefSample { series, timestamp, value } = sample;
            let sample = RefStartedSample { series, start_timestamp: 0, timestamp, value };
            self.put_started(worker, sample);
            return;
        }
        samples.push(sample);
        if samples.len() >= BATCH_SAMPLES {
            self.hand_over(worker);
        }
    }

    /// Hands over a sample with a start timestamp, of a series that exists.
    pub(super) fn put_started_sample(&mut self, sample: RefStartedSample) {
        let worker = self.worker(page_number(sample.series));
        if !self.workers[worker].histograms.is_empty() {
            self.hand_over(worker);
        }
        self.put_started(worker, sample);
    }

    fn put_started(&mut self, worker: usize, sample: RefStartedSample) {
        let started = &mut self.workers[worker].started;
        started.push(sample);
        if started.len() >= BATCH_SAMPLES {
            self.hand_over(worker);
        }
    }

    /// Hands over a histogram of a series that exists.
    pub(super) fn put_histogram(&mut self, histogram: PendingHistogram) {
        let worker = self.worker(page_number(histogram.series));
        let histograms = &mut self.workers[worker].histograms;
        histograms.push(histogram);
        if histograms.len() >= BATCH_HISTOGRAMS {
            self.hand_over(worker);
        }
    }

    /// Hands over work on the page with this number.
    pub(super) fn put(&mut self, page: u64, job: Job) {
        let worker = self.worker(page);
        self.hand_over(worker);
        self.send(worker, job);
    }

    #[inline]
    fn worker(&self, page: u64) -> usize {
        let n_workers = self.workers.len() as u64;
        if n_workers == 1 { 0 } else { usize::try_from(page % n_workers).unwrap_or(0) }
    }

    fn hand_over(&mut self, worker: usize) {
        let spare = self.spare.try_recv();
        let spare = spare.unwrap_or_else(|_| Vec::with_capacity(BATCH_SAMPLES));
        let samples = mem::replace(&mut self.workers[worker].samples, spare);
        if !samples.is_empty() {
            self.send(worker, Job::Samples(samples));
        }
        let started = mem::take(&mut self.workers[worker].started);
        if !started.is_empty() {
            self.send(worker, Job::StartedSamples(started));
        }
        let histograms = mem::take(&mut self.workers[worker].histograms);
        if !histograms.is_empty() {
            self.send(worker, Job::Histograms(histograms));
        }
    }

    fn send(&self, worker: usize, job: Job) {
        // A worker that has ended says why when it is joined.
        let _ = self.workers[worker].jobs.send(job);
    }

    /// Waits until all is done.
    pub(super) fn finish(mut self) -> Result<Done, Error> {
        for worker in 0..self.workers.len() {
            self.hand_over(worker);
        }
        let mut all = Done::default();
        for Worker { jobs, thread, .. } in self.workers {
            drop(jobs);
            let done = thread.join().expect("a worker does not panic")?;
            all.samples += done.samples;
            all.covered_samples += done.covered_samples;
            all.invalid_histograms += done.invalid_histograms;
            all.mint = all.mint.min(done.mint);
            all.maxt = all.maxt.max(done.maxt);
            all.is_at_odds |= done.is_at_odds;
        }
        Ok(all)
    }
}

/// What a worker does until there is nothing left, or something fails.
fn work(
    head: &Head,
    todo: &Receiver<Job>,
    give_back: &Sender<Vec<RefSample>>,
) -> Result<Done, Error> {
    let (mut done, views) = (Done::default(), Views::default());
    let context = AppendContext {
        batch: BatchId::REPLAYED,
        views: &views,
        block_range_ms: head.block_range_ms,
        xor2_encoding: head.xor2_encoding,
    };
    while let Ok(job) = todo.recv() {
        match job {
            Job::Samples(mut samples) => {
                done.append(head, &samples, context);
                samples.clear();
                // Nobody takes it when all was read.
                let _ = give_back.send(samples);
            }
            Job::StartedSamples(samples) => done.append(head, &samples, context),
            Job::Histograms(histograms) => done.append_histograms(head, &histograms, context),
            Job::Delete(tombstone) => done.delete(head, tombstone, context)?,
            Job::Adopt(alias, series) => done.is_at_odds |= !head.adopt_chunks(alias, series),
        }
    }
    Ok(done)
}

impl Done {
    fn delete(
        &mut self,
        head: &Head,
        deleted: Tombstone,
        context: AppendContext<'_>,
    ) -> Result<(), Error> {
        let Tombstone { series, mint, maxt } = deleted;
        let Some(page) = head.stripes.page(page_number(series)) else { return Ok(()) };
        page.change(|page| {
            let Some(mut found) = page.series_mut(series) else { return Ok(()) };
            if found.view().loaded_until().is_some_and(|until| mint <= until) {
                // What of the chunk was logged before, and what after, only the log tells.
                self.is_at_odds = true;
                return Ok(());
            }
            found.delete(mint, maxt, context, head.files())
        })
    }

    fn append<F: Float>(&mut self, head: &Head, samples: &[F], context: AppendContext<'_>) {
        let is_near = |a: &F, b: &F| page_number(a.series()) == page_number(b.series());
        let mut filled = Vec::new();
        for of_page in samples.chunk_by(is_near) {
            let Some(page) = head.stripes.page(page_number(of_page[0].series())) else { continue };
            let is_filled = page.change(|page| {
                for sample in of_page {
                    self.append_one(page, *sample, context);
                }
                page.queue()
            });
            if is_filled {
                filled.push(page);
            }
        }
        head.queue_full_chunks(&mut filled);
        head.write_some_full_chunks();
    }

    #[inline]
    fn append_one(&mut self, page: &mut PageState, float: impl Float, context: AppendContext<'_>) {
        let Some(mut found) = page.series_mut(float.series()) else { return };
        let sample = float.sample();
        let timestamp = sample.timestamp;
        if found.newest().is_some_and(|newest| newest.timestamp() >= timestamp) {
            self.covered_samples += 1;
            return;
        }
        found.append(float.start(), sample, context);
        self.note(timestamp);
    }

    fn append_histograms(
        &mut self,
        head: &Head,
        histograms: &[PendingHistogram],
        context: AppendContext<'_>,
    ) {
        let mut filled = Vec::new();
        for PendingHistogram { series, start, timestamp, histogram } in histograms {
            let Some(page) = head.stripes.page(page_number(*series)) else { continue };
            let is_filled = page.change(|page| {
                let Some(mut found) = page.series_mut(*series) else { return false };
                if found.newest().is_some_and(|newest| newest.timestamp() >= *timestamp) {
                    self.covered_samples += 1;
                } else if found.append_histogram(*start, *timestamp, histogram, context).is_ok() {
                    self.note(*timestamp);
                } else {
                    self.invalid_histograms += 1;
                }
                page.queue()
            });
            if is_filled {
                filled.push(page);
            }
        }
        head.queue_full_chunks(&mut filled);
        head.write_some_full_chunks();
    }

    #[inline]
    fn note(&mut self, timestamp: i64) {
        self.samples += 1;
        self.mint = self.mint.min(timestamp);
        self.maxt = self.maxt.max(timestamp);
    }
}
