//! Runs a schedule: the machine, the database on it, and the model beside it.

use std::collections::HashSet;
use std::mem;
use std::path::Path;
use std::sync::Arc;

use ferula_chunkenc::SampleBatch;
use ferula_index::{Labels, MatchOp, Matcher, SeriesRef};
use ferula_tsdb::{AppendError, Appender, Clock, Db, Error, Querier, SeriesExemplars};
use ferula_wal::fs::{Fault, FaultFs, Fs, Survival};

use crate::faults::Process;
use crate::model::{Batch, Content, Gap, Model, Written, ensure};
use crate::noted::{
    Exemplars, MetadataNotes, NotedExemplar, NotedMetadata, exemplar_of, metadata_of,
};
use crate::workload::{N_APPENDERS, Op, Random, Schedule};

const DATA: &str = "/data";

/// How often opening is tried while faults are met.
const OPEN_ATTEMPTS: u32 = 16;

/// How often reading is tried again while reads are to fail.
const READ_ATTEMPTS: u32 = 8;

/// A clock that advances by one with each look at it.
#[derive(Debug, Default)]
struct TestClock(std::sync::atomic::AtomicU64);

impl Clock for TestClock {
    fn now_ms(&self) -> u64 {
        1_700_000_000_000 + self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

/// What a run did, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Operations of the file system.
    pub(crate) operations: u64,
    pub(crate) openings: u64,
    pub(crate) crashes: u64,
    pub(crate) acknowledged: u64,
    pub(crate) failed_commits: u64,
    pub(crate) blocks: u64,
    /// Samples taken out of order.
    pub(crate) late: u64,
}

/// The machine with its database.
struct Machine<'a> {
    schedule: &'a Schedule,
    fs: FaultFs,
    process: Process,
    db: Option<Db>,
    clock: Arc<TestClock>,
    /// The last one is for whole batches.
    appenders: [Option<Appender>; N_APPENDERS + 1],
    pending: [Vec<Written>; N_APPENDERS + 1],
    refs: std::collections::BTreeMap<u16, SeriesRef>,
    /// Series and times of samples that there may be.
    taken: HashSet<(u16, i64)>,
    model: Model,
    exemplars: Exemplars,
    metadata: MetadataNotes,
    random: Random,
    now: i64,
    churn: u16,
    next_serial: u32,
    n_snapshots: u32,
    n_opened: usize,
    /// A view that was opened some time ago, and what it showed then.
    held: Option<(Querier, Content)>,
    /// Earliest time that the head takes, if nothing went wrong since it was opened.
    valid_from: i64,
    /// Whether something failed since the database was opened, so that it cannot be known which
    /// samples it takes.
    has_failed: bool,
    /// Whether a read is to fail, so that a block may be set aside.
    may_miss_blocks: bool,
    tally: Tally,
}

/// Runs a schedule to its end.
///
/// # Errors
/// What does not hold.
pub(crate) fn run(schedule: &Schedule) -> Result<Tally, String> {
    run_with(schedule, None)
}

/// Runs a schedule that is stopped at an operation, if it has as many.
pub(crate) fn run_with(
    schedule: &Schedule,
    stop: Option<(u64, Survival)>,
) -> Result<Tally, String> {
    let fs = FaultFs::new();
    if let Some((operation, _)) = stop {
        fs.inject(operation, Fault::Stop);
    }
    let mut machine = Machine {
        schedule,
        process: Process::new(&fs),
        fs,
        db: None,
        clock: Arc::default(),
        appenders: Default::default(),
        pending: Default::default(),
        refs: Default::default(),
        taken: HashSet::new(),
        model: Model::default(),
        metadata: MetadataNotes::default(),
        exemplars: Exemplars { capacity: schedule.config.max_exemplars, ..Exemplars::default() },
        random: Random(schedule.seed),
        now: 0,
        churn: 0,
        next_serial: 1,
        n_snapshots: 0,
        n_opened: 0,
        held: None,
        valid_from: i64::MIN,
        has_failed: false,
        may_miss_blocks: false,
        tally: Tally::default(),
    };
    machine.open(Gap::None)?;
    for (number, op) in schedule.ops.iter().enumerate() {
        let survival = stop.map(|(_, survival)| survival);
        machine.step(op, survival).map_err(|error| format!("op {number}, {op:?}: {error}"))?;
    }
    machine.finish().map_err(|error| format!("at the end: {error}"))?;
    machine.tally.operations += machine.fs.operations();
    Ok(machine.tally)
}

fn cause(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

impl Machine<'_> {
    fn labels_of(&self, series: u16) -> Labels {
        let padding = if series.is_multiple_of(5) { self.schedule.config.padding } else { 0 };
        let series = series.to_string();
        let pairs = [("__name__", "m"), ("series", &series), ("padding", &"x".repeat(padding))];
        Labels::from_pairs(pairs).expect("short labels")
    }

    fn db(&self) -> &Db {
        self.db.as_ref().expect("open between steps")
    }

    fn step(&mut self, op: &Op, survival: Option<Survival>) -> Result<(), String> {
        match *op {
            Op::Scrape { first, n, advance } => self.scrape(first, n, advance)?,
            Op::Append { appender, series, advance, n } => {
                for _ in 0..n {
                    self.now += advance;
                    self.append(appender, self.churn + series)?;
                }
            }
            Op::Late { appender, series, back, step, n } => {
                let newest = self.newest_time();
                for place in 0..i64::from(n) {
                    let timestamp = newest - back - place * step;
                    self.append_at(appender, self.churn + series, timestamp)?;
                }
            }
            Op::Commit { appender } => self.commit(appender)?,
            Op::Rollback { appender } => {
                self.appenders[appender] = None;
                self.pending[appender].clear();
            }
            Op::Repeat { series } => self.repeat(series)?,
            Op::Churn { by } => self.churn += by,
            Op::Maintain => self.cut(false),
            Op::CompactHead => self.cut(true),
            Op::Compact => {
                self.tally.blocks += self.db().compact().map_or(0, |made| made.len()) as u64
            }
            Op::Delete { series, n, back } => self.delete(series, n, back)?,
            // What fails is not lost, as the next check shows.
            Op::CleanTombstones => drop(self.db().clean_tombstones()),
            Op::Snapshot => self.snapshot()?,
            Op::Hold => self.hold()?,
            Op::ReadHeld => self.read_held()?,
            Op::Check => self.check(Gap::None)?,
            Op::Reopen => self.reopen()?,
            Op::Kill => self.kill()?,
            Op::Crash { survival } => self.crash(survival)?,
            Op::Arm { after, fault } => self.fs.inject(self.fs.operations() + after, fault),
            Op::FailRead { after } => {
                self.fs.fail_read(self.fs.reads() + after);
                self.may_miss_blocks = true;
            }
            Op::Full { is_full } => self.fs.set_full(is_full),
        }
        if self.fs.is_stopped() {
            let survival = survival.unwrap_or_else(|| self.random.survival());
            self.crash(survival)?;
        }
        Ok(())
    }

    /// Adds a sample of now to an open batch.
    fn append(&mut self, appender: usize, series: u16) -> Result<(), String> {
        self.append_at(appender, series, self.now)
    }

    /// Adds a sample to an open batch.
    fn append_at(&mut self, appender: usize, series: u16, timestamp: i64) -> Result<(), String> {
        let window_ms = self.schedule.config.window_ms();
        // Of two at the same time one is hidden, if both are taken.
        if window_ms > 0 && !self.taken.insert((series, timestamp)) {
            return Ok(());
        }
        let labels = self.labels_of(series);
        let db = self.db.as_ref().expect("open between steps");
        let batch = self.appenders[appender].get_or_insert_with(|| db.appender());
        let serial = self.next_serial;
        self.next_serial += 1;
        let (start, value) = (start_of(series, serial), f64::from(serial));
        let mut appended = Err(AppendError::UnknownSeries { series: SeriesRef(0) });
        if let Some(known) = self.refs.get(&series) {
            let by_ref = batch.append_ref_with_start(*known, start, timestamp, value);
            appended = by_ref.map(|()| *known);
        }
        if let Err(AppendError::UnknownSeries { .. }) = appended {
            appended = batch.append_with_start(&labels, start, timestamp, value);
        }
        match appended {
            Ok(known) => {
                self.refs.insert(series, known);
                self.pending[appender].push(Written { series, timestamp, serial });
            }
            Err(AppendError::OutOfOrder { newest, .. }) => {
                ensure!(newest > timestamp, "refused {timestamp} though it is after {newest}");
                ensure!(self.knows(series, newest), "series {series} has no sample at {newest}");
            }
            Err(AppendError::DuplicateTimestamp { .. }) => {
                ensure!(self.knows(series, timestamp), "series {series} has none at {timestamp}");
            }
            Err(AppendError::TooOld { oldest, .. }) => {
                let newest = self.all_samples().map(|sample| sample.timestamp).max();
                let half_range_ms = self.schedule.config.block_range_ms / 2;
                let is_due = |newest: i64| oldest <= newest - half_range_ms.max(window_ms);
                ensure!(
                    timestamp < oldest
                        && (self.has_failed
                            || oldest <= self.valid_from.saturating_sub(window_ms)
                            || newest.is_some_and(is_due)),
                    "refused {timestamp} as older than {oldest}, newest {newest:?}"
                );
            }
            Err(error) => return Err(format!("append of series {series}: {error}")),
        }
        Ok(())
    }

    /// Tells whether a batch may know a sample of a series at a time.
    fn knows(&self, series: u16, timestamp: i64) -> bool {
        self.model.was_deleted(series, timestamp)
            || self.all_samples().any(|s| s.series == series && s.timestamp == timestamp)
    }

    fn all_samples(&self) -> impl Iterator<Item = &Written> {
        self.model.samples().chain(self.pending.iter().flatten())
    }

    fn scrape(&mut self, first: u16, n: u16, advance: i64) -> Result<(), String> {
        self.now = self.now.max(self.newest_time()).max(self.valid_from) + advance;
        for series in first..first + n {
            self.append(N_APPENDERS, self.churn + series)?;
        }
        self.commit(N_APPENDERS)
    }

    fn newest_time(&self) -> i64 {
        self.all_samples().map(|sample| sample.timestamp).max().unwrap_or(0)
    }

    fn commit(&mut self, appender: usize) -> Result<(), String> {
        let Some(mut batch) = self.appenders[appender].take() else { return Ok(()) };
        let pending = mem::take(&mut self.pending[appender]);
        let mut exemplars = self.add_exemplars(&mut batch, &pending)?;
        let mut metadata = self.add_metadata(&mut batch, &pending)?;
        let mut samples = pending;
        // Where samples are taken out of order, what was overtaken is too.
        if !self.has_failed && self.schedule.config.window_ms() == 0 {
            // What another batch or a cut has overtaken since is left out. After a failure it is not
            // known which batches there are.
            let mut newest = self.model.newest();
            samples.retain(|sample| {
                let known = newest.entry(sample.series).or_insert(i64::MIN);
                let is_next = sample.timestamp >= self.valid_from && *known < sample.timestamp;
                *known = sample.timestamp.max(*known);
                is_next
            });
        }
        let mut of_batch =
            Batch { samples, is_acknowledged: false, is_durable: false, is_vague: self.has_failed };
        let late = self.db().stats().out_of_order;
        match batch.commit() {
            Ok(committed) => {
                self.tally.acknowledged += 1;
                self.tally.late += self.db().stats().out_of_order - late;
                if committed.samples != of_batch.samples.len() {
                    ensure!(
                        self.has_failed,
                        "committed {} samples of {}",
                        committed.samples,
                        of_batch.samples.len()
                    );
                    let visible = self.content()?;
                    let is_visible = |sample: &Written| {
                        let value = f64::from(sample.serial);
                        visible.iter().any(|(_, found)| found.iter().any(|s| s.value == value))
                    };
                    of_batch.samples.retain(is_visible);
                    ensure!(
                        committed.samples == of_batch.samples.len(),
                        "committed {} samples, visible are {:?}",
                        committed.samples,
                        of_batch.samples
                    );
                }
                of_batch.is_acknowledged = true;
                of_batch.is_durable = self.schedule.config.is_always;
                // A series whose samples were all refused may not be there.
                let is_certain = committed.exemplars == exemplars.len();
                let all = committed.exemplars + committed.refused_exemplars;
                ensure!(all == exemplars.len(), "{committed:?} of {exemplars:?}");
                ensure!(
                    is_certain || committed.refused > 0,
                    "{committed:?}, though no sample was refused"
                );
                let is_told = committed.metadata == metadata.len();
                ensure!(is_told || committed.refused > 0, "{committed:?} of {metadata:?}");
                for noted in &mut metadata {
                    noted.is_certain = is_told;
                    noted.is_durable = is_told && of_batch.is_durable;
                }
                for noted in &mut exemplars {
                    noted.is_certain = is_certain;
                    noted.is_durable = is_certain && of_batch.is_durable;
                }
            }
            Err(_) => {
                self.tally.failed_commits += 1;
                self.has_failed = true;
            }
        }
        // Of these it is not known which ones the commit took.
        let is_vague = of_batch.is_vague && !of_batch.is_acknowledged;
        let taken = if is_vague { &[] } else { of_batch.samples.as_slice() };
        let beside = taken.first().map(|sample| sample.serial);
        exemplars.iter_mut().for_each(|noted| noted.beside = beside);
        self.exemplars.noted.extend(exemplars);
        let newest = self.model.newest();
        let newest_of_all = newest.values().max().copied().unwrap_or(i64::MIN);
        let oldest_in_order = newest_of_all.saturating_sub(self.schedule.config.block_range_ms / 2);
        for noted in &mut metadata {
            let mut own = taken.iter().filter(|sample| sample.series == noted.series);
            let newest = newest.get(&noted.series);
            let is_in_order = |sample: &Written| {
                newest.is_none_or(|newest| *newest < sample.timestamp)
                    && sample.timestamp >= oldest_in_order
            };
            let first = own.clone().next();
            noted.in_order_at = own.find(|sample| is_in_order(sample)).map(|s| s.timestamp);
            noted.beside = first.map(|sample| sample.serial);
        }
        self.metadata.noted.extend(metadata);
        self.model.batches.push(of_batch);
        Ok(())
    }

    /// Has some series of a batch that is about to be committed say something new.
    fn add_metadata(
        &mut self,
        batch: &mut Appender,
        pending: &[Written],
    ) -> Result<Vec<NotedMetadata>, String> {
        let n = usize::try_from(self.next_serial % 3).expect("small");
        let mut added = Vec::new();
        for &Written { series, .. } in pending.iter().rev().take(n) {
            let serial = self.next_serial;
            self.next_serial += 1;
            let updated = batch.update_metadata(&self.labels_of(series), &metadata_of(serial));
            updated.map_err(|error| format!("metadata of series {series}: {error}"))?;
            added.push(NotedMetadata {
                series,
                serial,
                beside: None,
                in_order_at: None,
                is_certain: false,
                is_durable: false,
            });
        }
        Ok(added)
    }

    /// Adds exemplars of some series of a batch that is about to be committed.
    fn add_exemplars(
        &mut self,
        batch: &mut Appender,
        pending: &[Written],
    ) -> Result<Vec<NotedExemplar>, String> {
        let n = usize::try_from(self.next_serial % 4).expect("small");
        let mut added = Vec::new();
        for &Written { series, .. } in pending.iter().take(n) {
            let serial = self.next_serial;
            self.next_serial += 1;
            let appended = batch.append_exemplar(&self.labels_of(series), exemplar_of(serial));
            appended.map_err(|error| format!("exemplar of series {series}: {error}"))?;
            let (beside, is_certain, is_durable) = (None, false, false);
            added.push(NotedExemplar { series, serial, beside, is_certain, is_durable });
        }
        Ok(added)
    }

    /// Commits a sample that is there already, which must change nothing.
    fn repeat(&mut self, series: u16) -> Result<(), String> {
        let series = self.churn + series;
        let Some(sample) = self.model.newest_of(series) else { return Ok(()) };
        let labels = self.labels_of(series);
        let mut batch = self.db().appender();
        let (start, value) = (start_of(series, sample.serial), f64::from(sample.serial));
        let appended = batch.append_with_start(&labels, start, sample.timestamp, value);
        let (Ok(_), false) = (appended, self.has_failed) else { return Ok(()) };
        match batch.commit() {
            Ok(committed) => {
                // A series that a cut has removed does not know what it had, and what came out of order
                // may come again.
                let is_cut =
                    sample.timestamp < self.valid_from || self.schedule.config.window_ms() > 0;
                ensure!(committed.samples == 0 || is_cut, "{sample:?} was taken twice");
            }
            Err(_) => self.has_failed = true,
        }
        Ok(())
    }

    fn cut(&mut self, is_whole: bool) {
        let cut = if is_whole { self.db().compact_head() } else { self.db().maintain() };
        match cut {
            Ok(blocks) => self.tally.blocks += blocks.len() as u64,
            Err(_) => self.has_failed = true,
        }
        self.note_valid_from();
    }

    fn note_valid_from(&mut self) {
        self.valid_from = self.valid_from.max(self.db().stats().head_from);
    }

    /// Deletes what blocks hold of some series, from a moment on.
    fn delete(&mut self, first: u16, n: u16, back: i64) -> Result<(), String> {
        let (from, to) = (self.newest_time() - back, self.valid_from.saturating_sub(1));
        if from > to {
            return Ok(());
        }
        let series = self.churn + first..self.churn + first + n;
        let pattern = series.clone().map(|series| series.to_string()).collect::<Vec<_>>().join("|");
        let matcher = Matcher::new(MatchOp::Regex, "series", &pattern).expect("numbers");
        let deleted = self.db().delete(&[matcher], from, to);
        let is_deleted = |sample: &Written| {
            series.contains(&sample.series) && (from..=to).contains(&sample.timestamp)
        };
        self.model.delete(is_deleted, deleted.is_err());
        // A machine that has stopped meanwhile reads no files.
        if self.fs.is_stopped() { Ok(()) } else { self.check(Gap::None) }
    }

    /// Opens a view, as somebody does who takes long to read it.
    fn hold(&mut self) -> Result<(), String> {
        let querier = self.db().querier(i64::MIN, i64::MAX).map_err(|error| cause(&error))?;
        let content = self.retrying(|| content_of(&querier))?;
        self.held = Some((querier, content));
        Ok(())
    }

    /// Whatever was committed, cut, compacted and deleted since, a view shows what it did.
    fn read_held(&self) -> Result<(), String> {
        let Some((querier, expected)) = &self.held else { return Ok(()) };
        let content = self.retrying(|| content_of(querier))?;
        ensure!(content == *expected, "an open view shows {content:?}, before {expected:?}");
        Ok(())
    }

    /// Copies the database; the copy must hold what the original does.
    fn snapshot(&mut self) -> Result<(), String> {
        let dir = format!("/copies/{}", self.n_snapshots);
        self.n_snapshots += 1;
        if self.db().snapshot(&dir).is_err() {
            self.has_failed |= self.fs.is_stopped();
            return Ok(());
        }
        let expected = self.content()?;
        self.fs.clear_faults();
        let options = self.options();
        let copy = Db::open_with(Arc::new(self.fs.clone()), &dir, options);
        let copy = copy.map_err(|error| format!("the copy does not open: {}", cause(&error)))?;
        // What a failed deletion has reached on the disk may still be in memory.
        let [expected, copied] =
            [expected, all_of(&copy)?].map(|content| self.model.without_doubtful(content));
        ensure!(copied == expected, "the copy differs: {copied:?}, expected {expected:?}");
        drop(copy);
        self.fs.remove_dir_all(Path::new(&dir)).map_err(|error| error.to_string())
    }

    fn options(&self) -> ferula_tsdb::Options {
        let mut options = self.schedule.config.options();
        options.block_format = self.schedule.config.formats[self.n_opened % 2];
        options.clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        options
    }

    fn reopen(&mut self) -> Result<(), String> {
        self.drop_batches();
        if let Some(db) = self.db.take()
            && db.close().is_ok()
        {
            self.model.make_durable();
            self.exemplars.make_durable();
            self.metadata.make_durable();
            // Views that are open go on.
            self.read_held()?;
        }
        let gap = if self.fs.is_stopped() { self.lose_power(None) } else { Gap::Process };
        self.open(gap)
    }

    fn kill(&mut self) -> Result<(), String> {
        self.drop_batches();
        self.process.kill();
        self.db = None;
        let gap = if self.fs.is_stopped() { self.lose_power(None) } else { Gap::Process };
        self.open(gap)
    }

    fn crash(&mut self, survival: Survival) -> Result<(), String> {
        let gap = self.lose_power(Some(survival));
        self.drop_batches();
        self.db = None;
        self.open(gap)
    }

    fn lose_power(&mut self, survival: Option<Survival>) -> Gap {
        let survival = survival.unwrap_or_else(|| self.random.survival());
        self.tally.crashes += 1;
        self.tally.operations += self.fs.operations();
        self.fs = self.fs.crash(survival);
        self.may_miss_blocks = false;
        Gap::Power
    }

    /// Forgets what belongs to one opening.
    fn drop_batches(&mut self) {
        self.appenders = Default::default();
        self.pending = Default::default();
        self.refs.clear();
    }

    /// Opens the directory, through whatever faults are still to come, and checks what is there.
    fn open(&mut self, mut gap: Gap) -> Result<(), String> {
        let mut last = String::new();
        for attempt in 0..OPEN_ATTEMPTS {
            if attempt == OPEN_ATTEMPTS / 2 {
                self.fs.clear_faults();
            }
            if self.fs.is_stopped() {
                gap = self.lose_power(None);
            }
            self.process = Process::new(&self.fs);
            let db = Db::open_with(Arc::new(self.process.clone()), DATA, self.options());
            self.n_opened += 1;
            match db {
                Ok(db) if !db.open_report().quarantined.is_empty() => {
                    ensure!(
                        self.may_miss_blocks,
                        "blocks were set aside: {:?}",
                        db.open_report().quarantined
                    );
                    last = format!("{:?}", db.open_report().quarantined);
                    self.process.kill();
                }
                Ok(db) => {
                    self.db = Some(db);
                    return self.opened(gap);
                }
                Err(error) => last = cause(&error),
            }
        }
        Err(format!("does not open: {last}"))
    }

    fn opened(&mut self, gap: Gap) -> Result<(), String> {
        self.tally.openings += 1;
        self.held = None;
        self.has_failed = false;
        self.valid_from = i64::MIN;
        self.note_valid_from();
        self.check(gap)?;
        self.taken = self.model.samples().map(|s| (s.series, s.timestamp)).collect();
        Ok(())
    }

    /// What is visible.
    fn content(&self) -> Result<Content, String> {
        self.retrying(|| all_of(self.db()))
    }

    /// Reads. Where a read is to fail it may fail here; it is tried again then.
    fn retrying(&self, read: impl Fn() -> Result<Content, String>) -> Result<Content, String> {
        let mut content = read();
        for _ in 0..READ_ATTEMPTS {
            if content.is_ok() || !self.may_miss_blocks {
                break;
            }
            content = read();
        }
        content
    }

    fn check(&mut self, gap: Gap) -> Result<(), String> {
        if self.may_miss_blocks && gap == Gap::None && !self.db().stats().quarantined.is_empty() {
            // A block that could not be read is set aside until the next opening.
            return self.kill();
        }
        let content = self.content()?;
        let mut model = mem::take(&mut self.model);
        let expected = model.batches.iter().flat_map(|batch| &batch.samples);
        let expected = expected.map(|sample| sample.serial).collect();
        let result = model.check(&content, gap, |series| self.labels_of(series));
        self.model = model;
        result?;
        let found = exemplars_of(self.db())?;
        let mut exemplars = mem::take(&mut self.exemplars);
        let labels_of = |series| self.labels_of(series);
        let result = exemplars.check(&found, &content, &expected, gap, labels_of);
        self.exemplars = exemplars;
        result?;
        let mut metadata = mem::take(&mut self.metadata);
        let found_of = |series| {
            let found = self.db().metadata_of(&self.labels_of(series));
            found.map_err(|error| cause(&error))
        };
        let result = metadata.check(found_of, &content, gap, self.valid_from);
        self.metadata = metadata;
        result
    }

    /// Opens what is left twice more, with the power cut in between, and commits once more.
    fn finish(&mut self) -> Result<(), String> {
        self.check(Gap::None)?;
        self.fs.clear_faults();
        let survival = self.random.survival();
        self.crash(survival)?;
        let first = (self.content()?, exemplars_of(self.db())?);
        self.crash(Survival::Nothing)?;
        let second = (self.content()?, exemplars_of(self.db())?);
        ensure!(second == first, "opening twice changes something");
        for dir in [DATA, "/data/wal"] {
            let names = self.fs.list(Path::new(dir)).map_err(|error| error.to_string())?;
            let is_left = |name: &str| name.contains(".tmp");
            ensure!(!names.iter().any(|entry| is_left(&entry.name)), "left behind: {names:?}");
        }
        self.scrape(0, 3, 1)?;
        let last = self.model.batches.last();
        ensure!(
            last.is_some_and(|batch| batch.is_acknowledged && batch.samples.len() == 3),
            "does not go on: {last:?}"
        );
        self.check(Gap::None)
    }
}

/// All that a database holds.
fn all_of(db: &Db) -> Result<Content, String> {
    content_of(&db.querier(i64::MIN, i64::MAX).map_err(|error| cause(&error))?)
}

/// All exemplars that a database holds.
fn exemplars_of(db: &Db) -> Result<Vec<SeriesExemplars>, String> {
    let all: [&[Matcher]; 1] = [&[]];
    db.exemplars(&all, i64::MIN, i64::MAX).map_err(|error| cause(&error))
}

/// All that a view shows.
fn content_of(querier: &Querier) -> Result<Content, String> {
    let failed = |error: Error| format!("cannot be read: {}", cause(&error));
    let series = querier.select(&[]).map_err(failed)?;
    (0..series.len())
        .map(|index| {
            let (labels, mut batch) = (series.labels(index), SampleBatch::new());
            series.read(index, &mut batch).map_err(failed)?;
            check_starts(&labels, &batch)?;
            Ok((labels, batch.iter().collect()))
        })
        .collect()
}

/// Since when the workload says that a sample has been counting. Some series have no start
/// timestamps, some have the same for many samples, and some have one now and then.
fn start_of(series: u16, serial: u32) -> i64 {
    match series % 4 {
        0 | 1 => 0,
        2 => i64::from(serial / 16) + 1,
        _ if serial.is_multiple_of(3) => 0,
        _ => -i64::from(serial),
    }
}

/// Checks that samples have the start timestamps that they were written with.
fn check_starts(labels: &Labels, batch: &SampleBatch) -> Result<(), String> {
    let series = labels.get("series").and_then(|series| series.parse().ok());
    let Some(series) = series else { return Ok(()) };
    for (index, sample) in batch.iter().enumerate() {
        // What is no serial number is found out when samples are assigned to batches.
        #[expect(clippy::cast_possible_truncation, reason = "a cast stays within bounds")]
        #[expect(clippy::cast_sign_loss, reason = "a cast stays within bounds")]
        let expected = start_of(series, sample.value as u32);
        let found = batch.start_timestamp(index);
        ensure!(found == expected, "{sample:?} of {series} starts at {found}, not {expected}");
    }
    Ok(())
}
