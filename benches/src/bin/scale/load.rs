//! The threads that scrape: each has some of the targets and goes through them round by round.
//!
//! They wait for each other after every simulated minute, so that time goes on alike for all
//! targets, and so that a minute has a duration.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use ferula_benches::fleet::Fleet;
use ferula_chunkenc::stale::STALE_NAN;
use ferula_index::SeriesRef;
use ferula_tsdb::{AppendError, Db};

use crate::latency::Latencies;

/// What all threads see.
#[derive(Debug)]
pub(crate) struct Shared<'a> {
    pub(crate) fleet: &'a Fleet,
    pub(crate) db: &'a Db,
    /// Samples of one commit.
    pub(crate) batch: usize,
    /// Samples per second that are not to be exceeded, of all threads.
    pub(crate) rate: Option<f64>,
    pub(crate) n_threads: u32,
    /// The scrapers and whoever times them.
    pub(crate) barrier: Barrier,
    /// Where the next minute begins and ends; empty at the end.
    pub(crate) rounds: Mutex<Range<u32>>,
    pub(crate) samples: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) maintenance: Maintenance,
}

/// What the thread that maintains the database is at.
#[derive(Debug, Default)]
pub(crate) struct Maintenance {
    /// Odd while it maintains.
    turn: AtomicU64,
    /// Turns at which blocks were cut.
    pub(crate) cuts: Mutex<Vec<Cut>>,
    pub(crate) is_done: AtomicBool,
}

/// A block cut.
#[derive(Debug)]
pub(crate) struct Cut {
    turn: u64,
    pub(crate) duration: Duration,
    pub(crate) n_blocks: usize,
}

impl Maintenance {
    /// Maintains a database until told to stop.
    pub(crate) fn run(&self, db: &Db, pause: Duration) {
        while !self.is_done.load(Ordering::Acquire) {
            let turn = self.turn.fetch_add(1, Ordering::AcqRel) + 1;
            let start = Instant::now();
            let blocks = db.maintain().expect("a disk with room");
            if !blocks.is_empty() {
                let (duration, n_blocks) = (start.elapsed(), blocks.len());
                self.cuts.lock().expect("no panic").push(Cut { turn, duration, n_blocks });
            }
            self.turn.fetch_add(1, Ordering::AcqRel);
            std::thread::sleep(pause);
        }
    }

    fn has_cut(&self, turn: u64) -> bool {
        self.cuts.lock().expect("no panic").iter().any(|cut| cut.turn == turn)
    }
}

/// How long commits took.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timings {
    /// Calls of `commit`.
    pub(crate) commit: Latencies,
    /// Appending a batch and committing it.
    pub(crate) batch: Latencies,
    /// Those of the batches during which a block was being cut.
    pub(crate) batch_in_cut: Latencies,
}

/// One thread.
#[derive(Debug)]
pub(crate) struct Scraper<'a> {
    shared: &'a Shared<'a>,
    /// Its targets in the order in which they are scraped.
    targets: Vec<Followed>,
    timings: Timings,
    /// Batches during the present turn of maintenance, of which it is not known whether it cuts.
    undecided: (u64, Latencies),
    values: Vec<f64>,
    start: Instant,
    n_samples: u64,
}

/// A target with the refs of its series.
#[derive(Debug)]
struct Followed {
    target: u32,
    generation: u32,
    refs: Vec<SeriesRef>,
}

impl<'a> Scraper<'a> {
    /// Makes the thread with this number.
    pub(crate) fn new(shared: &'a Shared<'a>, number: u32) -> Self {
        let options = shared.fleet.options();
        let mine = (0..options.n_targets).filter(|target| target % shared.n_threads == number);
        let mut targets: Vec<Followed> =
            mine.map(|target| Followed { target, generation: 0, refs: Vec::new() }).collect();
        targets.sort_by_key(|followed| shared.fleet.offset_ms(followed.target));
        Self {
            shared,
            targets,
            timings: Timings::default(),
            undecided: (0, Latencies::default()),
            values: Vec::new(),
            start: Instant::now(),
            n_samples: 0,
        }
    }

    /// Scrapes until told that there are no more rounds.
    pub(crate) fn run(mut self) -> Timings {
        self.start = Instant::now();
        loop {
            self.shared.barrier.wait();
            let rounds = self.shared.rounds.lock().expect("no panic").clone();
            if rounds.is_empty() {
                self.decide(u64::MAX);
                return self.timings;
            }
            for round in rounds {
                for index in 0..self.targets.len() {
                    self.scrape(index, round);
                }
            }
            self.shared.barrier.wait();
        }
    }

    fn scrape(&mut self, index: usize, round: u32) {
        let fleet = self.shared.fleet;
        let target = self.targets[index].target;
        let time_ms = fleet.time_ms(target, round);
        let generation = fleet.generation(target, round);
        let followed = &mut self.targets[index];
        if generation != followed.generation {
            // The series of the target that is gone end with a marker.
            let (old, refs) = (followed.generation, std::mem::take(&mut followed.refs));
            self.values.clear();
            self.values.resize(refs.len(), STALE_NAN);
            self.targets[index].refs = refs;
            self.append(index, old, time_ms);
            self.targets[index].refs.clear();
            self.targets[index].generation = generation;
        }
        let mut values = std::mem::take(&mut self.values);
        fleet.scrape(target, generation, round, &mut values);
        self.values = values;
        self.append(index, generation, time_ms);
    }

    /// Appends `values` to the series of a target, in batches.
    fn append(&mut self, index: usize, generation: u32, time_ms: i64) {
        let Self { shared, targets, values, .. } = self;
        let Followed { target, refs, .. } = &mut targets[index];
        if refs.capacity() == 0 {
            refs.reserve_exact(values.len());
        }
        let mut times = Vec::with_capacity(1);
        for (n_batch, part) in values.chunks(shared.batch).enumerate() {
            let turn = shared.maintenance.turn.load(Ordering::Acquire);
            let start = Instant::now();
            let mut batch = shared.db.appender();
            for (n, value) in part.iter().enumerate() {
                let n = n_batch * shared.batch + n;
                let appended = match refs.get(n) {
                    Some(series) => batch.append_ref(*series, time_ms, *value),
                    None => Err(AppendError::UnknownSeries { series: SeriesRef(0) }),
                };
                let appended = match appended {
                    Err(AppendError::UnknownSeries { .. }) => {
                        let series = u32::try_from(n).expect("a number of series");
                        let labels = shared.fleet.labels(*target, generation, series);
                        batch.append(&labels, time_ms, *value).map(|series| match refs.get_mut(n) {
                            Some(known) => *known = series,
                            None => refs.push(series),
                        })
                    }
                    appended => appended,
                };
                if appended.is_err() {
                    shared.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            let before_commit = Instant::now();
            let committed = batch.commit().expect("a log that works");
            times.push((turn, start.elapsed(), before_commit.elapsed()));
            let n_refused = committed.refused as u64;
            shared.refused.fetch_add(n_refused, Ordering::Relaxed);
            shared.samples.fetch_add(committed.samples as u64, Ordering::Relaxed);
        }
        let n_samples = values.len() as u64;
        for (turn, of_batch, of_commit) in times {
            self.note(turn, of_batch, of_commit);
        }
        self.slow_down(n_samples);
    }

    fn note(&mut self, turn: u64, of_batch: Duration, of_commit: Duration) {
        self.timings.batch.add(of_batch);
        self.timings.commit.add(of_commit);
        self.decide(turn);
        if turn % 2 == 1 {
            self.undecided.1.add(of_batch);
        }
    }

    /// Counts the batches of the last turn of maintenance if it turned out to cut blocks.
    fn decide(&mut self, turn: u64) {
        if turn != self.undecided.0 {
            if self.shared.maintenance.has_cut(self.undecided.0) {
                self.timings.batch_in_cut.merge(&self.undecided.1);
            }
            self.undecided.0 = turn;
            self.undecided.1.clear();
        }
    }

    /// Waits as long as the rate asked for is exceeded.
    fn slow_down(&mut self, n_samples: u64) {
        self.n_samples += n_samples;
        if let Some(rate) = self.shared.rate {
            let due = self.n_samples as f64 * f64::from(self.shared.n_threads) / rate;
            std::thread::sleep(Duration::from_secs_f64(due).saturating_sub(self.start.elapsed()));
        }
    }
}
