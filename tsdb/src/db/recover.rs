//! Making the head: from a snapshot, or from the log and the chunk files.
//!
//! The log is what counts. A snapshot is used only if the log ends where it did when the snapshot
//! was made; chunk files only as far as the log vouches for them. Whatever does not fit is left
//! aside, with the reason in the report, and made anew.

use std::mem;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, Builder};

use ferula_chunkenc::cursor::crc32c;
use ferula_wal::fs::{Fs, OpenMode};
use ferula_wal::{LogReader, Recovery, SyncPolicy, Wal};

use super::open::{WAL_DIR, WBL_DIR, read_log, walk_log};
use crate::error::{Error, SnapshotFault};
use crate::head::{
    CHUNKS_HEAD_DIR, ChunkFiles, ChunkFilesReport, ChunkLoader, FoundChunk, Head, LateReplay,
    LateStats, Loaded, LogEnd, Origin, Replay, ReplayStats, snapshot,
};
use crate::options::Options;
use crate::stats::OpenReport;

/// Chunks of files that are handed over together.
const CHUNK_BATCH: usize = 4096;

/// Such batches that wait at most.
const MAX_WAITING: usize = 4;

/// Bytes at the end of the log that a snapshot names.
const TAIL_BYTES: u64 = 32 << 10;

/// Makes the head of the data directory `dir`, whose blocks cover the time before `from`, and notes
/// in `report` of what.
pub(super) fn recover(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    options: &Options,
    from: i64,
    report: &mut OpenReport,
) -> Result<Head, Error> {
    let new_head = || {
        let mut head = Head::new(options.limits.clone(), options.block_range_ms, from);
        head.set_out_of_order_window(options.out_of_order_window_ms);
        head.set_xor2_encoding(options.xor2_encoding);
        head
    };
    let restored = restore(fs, dir, from, new_head());
    // It is used once: from here on the log goes on, or it was of no use.
    let restored = restored.unwrap_or_else(|error| {
        report.snapshot_failure = Some(error.to_string_with_causes());
        None
    });

    let failed = |source| Error::Wal { op: "open", source };
    let (wal, mut recovery) =
        Wal::open(Arc::clone(fs), dir.join(WAL_DIR), options.wal_options()?).map_err(failed)?;
    report.cut_bytes = recovery.report.cut.as_ref().map_or(0, |cut| cut.bytes);
    let wbl_dir = dir.join(WBL_DIR);
    let has_wbl = options.out_of_order_window_ms > 0
        || fs.exists(&wbl_dir).map_err(Error::io("inspect", &wbl_dir))?;
    let wbl = has_wbl.then(|| open_wbl(fs, &wbl_dir, options)).transpose()?;
    let wbl_cut = wbl.as_ref().and_then(|(_, recovery)| recovery.report.cut.as_ref());
    report.cut_bytes += wbl_cut.map_or(0, |cut| cut.bytes);
    // A log was longer than what can be read of it.
    let restored = restored.filter(|_| report.cut_bytes == 0);
    report.from_snapshot = restored.is_some();
    let mut head = match restored {
        Some(head) => head,
        None => {
            let mut head = new_head();
            let loaded = load(fs, dir, from, &mut head, ChunkFiles::open, report)?;
            let replayed = head.replay(loaded, |replay: &mut Replay| {
                while replay.take(|record| recovery.next_packed(record)).map_err(failed)? {}
                Ok(())
            })?;
            match replayed {
                Some(replayed) => note(report, replayed),
                None => {
                    head = new_head();
                    head.set_files(without_files(fs, dir, report)?);
                    replay_alone(&mut head, report, |replay| {
                        let log = LogReader::open(Arc::clone(fs), &dir.join(WAL_DIR));
                        let mut log = log.map_err(failed)?;
                        while replay.take(|record| log.next_packed(record)).map_err(failed)? {}
                        Ok(())
                    })?;
                }
            }
            head
        }
    };
    snapshot::remove(&**fs, dir)?;
    head.set_wal(wal);
    recover_late(fs, dir, options, &mut head, wbl, report)?;
    report.series = head.sizes().0;
    report.exemplars = head.exemplars().counts().0 as u64;
    Ok(head)
}

fn open_wbl(fs: &Arc<dyn Fs>, dir: &Path, options: &Options) -> Result<(Wal, Recovery), Error> {
    // The log has the same samples, as durable as they are to be.
    let options = ferula_wal::Options::builder()
        .segment_bytes(options.wal_segment_bytes)
        .compression(options.wal_compression)
        .sync(SyncPolicy::Never)
        .build();
    options
        .and_then(|options| Wal::open(Arc::clone(fs), dir, options))
        .map_err(|source| Error::Wal { op: "open", source })
}

/// Takes over samples out of order, and has their log say what the head holds.
fn recover_late(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    options: &Options,
    head: &mut Head,
    wbl: Option<(Wal, Recovery)>,
    report: &mut OpenReport,
) -> Result<(), Error> {
    let failed = |source| Error::Wal { op: "read", source };
    let (mut wbl, mut recovery) = wbl.unzip();
    let stats = head.replay_out_of_order(
        |replay: &mut LateReplay<'_>| {
            let Some(recovery) = &mut recovery else { return Ok(()) };
            while let Some(record) = recovery.next_record().map_err(failed)? {
                if !replay.apply(&record)? {
                    break;
                }
            }
            Ok(())
        },
        |replay| {
            read_log(fs, &dir.join(WAL_DIR), |record| replay.apply_logged(record).map(|()| true))
        },
    )?;
    note_late(report, &stats);
    if wbl.is_none() && !stats.is_complete {
        wbl = Some(open_wbl(fs, &dir.join(WBL_DIR), options)?.0);
    }
    if let Some(wbl) = wbl {
        head.set_wbl(wbl);
    }
    head.restore_wbl(&stats)
}

fn note_late(report: &mut OpenReport, stats: &LateStats) {
    report.records += stats.records;
    report.out_of_order_samples = stats.samples;
    report.covered_samples += stats.unknown_samples;
    report.invalid_histograms += stats.invalid_histograms;
}

/// Makes the head of a data directory that is only read.
pub(super) fn recover_read_only(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    from: i64,
    new_head: impl Fn() -> Head,
    report: &mut OpenReport,
) -> Result<Head, Error> {
    let (wal_dir, wbl_dir) = (dir.join(WAL_DIR), dir.join(WBL_DIR));
    let read = |replay: &mut Replay| {
        walk_log(fs, &wal_dir, |log| Ok(replay.take(|record| log.next_packed(record))))
    };
    let mut head = new_head();
    let loaded = load(fs, dir, from, &mut head, ChunkFiles::open_read_only, report)?;
    match head.replay(loaded, read)? {
        Some(replayed) => note(report, replayed),
        None => {
            at_odds(report);
            head = new_head();
            replay_alone(&mut head, report, read)?;
        }
    }
    let late = head.replay_out_of_order(
        |replay| read_log(fs, &wbl_dir, |record| replay.apply(record)),
        |replay| read_log(fs, &wal_dir, |record| replay.apply_logged(record).map(|()| true)),
    )?;
    note_late(report, &late);
    report.series = head.sizes().0;
    report.exemplars = head.exemplars().counts().0 as u64;
    Ok(head)
}

fn replay_alone(
    head: &mut Head,
    report: &mut OpenReport,
    read: impl FnOnce(&mut Replay) -> Result<(), Error>,
) -> Result<(), Error> {
    let replayed = head.replay(Loaded::default(), read)?;
    note(report, replayed.expect("there are no chunks that the log could be at odds with"));
    Ok(())
}

fn note(report: &mut OpenReport, replayed: ReplayStats) {
    report.segments = replayed.segments;
    report.records = replayed.records;
    report.samples = replayed.samples;
    report.covered_samples = replayed.covered_samples;
    report.invalid_histograms = replayed.invalid_histograms;
    report.skipped_records = replayed.skipped_records;
}

/// Opens the chunk files with `open` and gives what is in them to the head.
fn load(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    from: i64,
    head: &mut Head,
    open: impl FnOnce(
        Arc<dyn Fs>,
        std::path::PathBuf,
        &mut dyn FnMut(FoundChunk),
    ) -> Result<(ChunkFiles, ChunkFilesReport), Error>,
    report: &mut OpenReport,
) -> Result<Loaded, Error> {
    let (opened, loaded) = thread::scope(|scope| {
        // One thread checks the files, the other one takes the chunks over.
        let (chunks, found) = sync_channel::<Vec<FoundChunk>>(MAX_WAITING);
        let mut loader = ChunkLoader::new(head, from);
        let load = move || {
            found.into_iter().flatten().for_each(|found| loader.add(&found));
            loader.finish()
        };
        let thread = Builder::new().name("ferula-chunks".to_owned()).spawn_scoped(scope, load);
        let thread = thread.map_err(Error::io("start a thread for", "chunk files".as_ref()))?;
        let mut batch = Vec::with_capacity(CHUNK_BATCH);
        let opened = open(Arc::clone(fs), dir.join(CHUNKS_HEAD_DIR), &mut |found| {
            batch.push(found);
            if batch.len() == CHUNK_BATCH {
                let full = mem::replace(&mut batch, Vec::with_capacity(CHUNK_BATCH));
                chunks.send(full).expect("it takes all");
            }
        });
        chunks.send(batch).expect("it takes all");
        drop(chunks);
        Ok((opened, thread.join().expect("taking chunks over does not panic")))
    })?;
    let (files, found) = opened?;
    head.set_files(files);
    report.loaded_chunks = loaded.n_chunks;
    report.chunk_file_cut_bytes = found.cut_bytes;
    report.chunk_file_failure = found.damage;
    Ok(loaded)
}

/// Removes the chunk files, which hold what the log does not.
fn without_files(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    report: &mut OpenReport,
) -> Result<ChunkFiles, Error> {
    let (files, _) = ChunkFiles::open(Arc::clone(fs), dir.join(CHUNKS_HEAD_DIR), &mut |_| {})?;
    report.chunk_file_cut_bytes += files.size().disk_bytes;
    files.clear()?;
    at_odds(report);
    Ok(files)
}

fn at_odds(report: &mut OpenReport) {
    report.loaded_chunks = 0;
    report.chunk_file_failure = Some("chunks hold what the log does not".to_owned());
}

/// Makes `head` of the snapshot in `dir`, if there is one that is of the log as it is.
fn restore(fs: &Arc<dyn Fs>, dir: &Path, from: i64, mut head: Head) -> Result<Option<Head>, Error> {
    let Some(reader) = snapshot::open(&**fs, dir)? else { return Ok(None) };
    let stale = |what| Err(reader.fault(SnapshotFault::Stale { what }));
    let made_of = &reader.snapshot().origin;
    let found = origin(&**fs, dir, from)?;
    if found.log != made_of.log {
        return stale("log");
    }
    if found.out_of_order != made_of.out_of_order {
        return stale("log of samples out of order");
    }
    if found.covered_until != made_of.covered_until {
        return stale("blocks");
    }
    let files_dir = dir.join(CHUNKS_HEAD_DIR);
    match ChunkFiles::open_known(Arc::clone(fs), files_dir, &made_of.chunk_files)? {
        Some(files) => head.set_files(files),
        None => return stale("chunk files"),
    }
    head.restore(&reader)?;
    Ok(Some(head))
}

/// What a snapshot of the data directory `dir` would be made of as it is, chunk files left out.
pub(super) fn origin(fs: &dyn Fs, dir: &Path, covered_until: i64) -> Result<Origin, Error> {
    let (log, out_of_order) = (log_end(fs, &dir.join(WAL_DIR))?, log_end(fs, &dir.join(WBL_DIR))?);
    Ok(Origin { log, out_of_order, covered_until, chunk_files: Vec::new() })
}

/// Where the log in `dir` ends.
fn log_end(fs: &dyn Fs, dir: &Path) -> Result<LogEnd, Error> {
    if !fs.exists(dir).map_err(Error::io("inspect", dir))? {
        return Ok(LogEnd::default());
    }
    let entries = fs.list(dir).map_err(Error::io("list", dir))?;
    let segments = entries.iter().filter(|entry| !entry.is_dir);
    let segments =
        segments.filter_map(|entry| Some((entry.name.parse::<u32>().ok()?, &entry.name)));
    let Some((segment, name)) = segments.max() else { return Ok(LogEnd::default()) };
    let path = dir.join(name);
    let file = fs.open(&path, OpenMode::Read).map_err(Error::io("open", &path))?;
    let len = file.len().map_err(Error::io("inspect", &path))?;
    let tail_len = len.min(TAIL_BYTES);
    let mut tail = vec![0; usize::try_from(tail_len).expect("it is small")];
    let read = file.read_exact_at(&mut tail, len - tail_len);
    read.map_err(Error::io("read", &path))?;
    Ok(LogEnd { segment, len, tail: crc32c(&tail) })
}

/// Writes a snapshot of `head`, whose logs are closed, into the data directory `dir`.
pub(super) fn save(fs: &dyn Fs, dir: &Path, head: &Head, covered_until: i64) -> Result<(), Error> {
    head.write_full_chunks()?;
    let mut origin = origin(fs, dir, covered_until)?;
    if let Some(files) = head.files() {
        files.sync()?;
        origin.chunk_files = files.ends();
    }
    let saved = head.save(fs, dir, origin);
    if !matches!(saved, Ok(true)) {
        // A part of it is a leftover; the error that counts is the first one.
        let _ = snapshot::remove(fs, dir);
    }
    saved.map(drop)
}
