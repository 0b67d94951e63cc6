//! What the commands share in writing: JSON, progress on a terminal, numbers for people.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use ferula_tsdb::{Db, Stats};
use ferula_wire::cli::Failure;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// How often a compaction is asked how far it is, and a spinner turns.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// How a command writes its answer.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Output {
    /// Write JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Tells whether `dir` is a directory that is there: a command that works on one makes none.
fn check_dir(dir: &Path) -> Result<(), Failure> {
    let told = |problem: &dyn std::fmt::Display| format!("{}: {problem}", dir.display());
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(told(&"not a directory").into()),
        Err(error) => Err(told(&error).into()),
    }
}

/// Tells whether there is anything of a store in `dir`: a log, or a block. What only reads would find
/// nothing elsewhere, and say so as if that were an answer.
pub(crate) fn check_store(dir: &Path) -> Result<(), Failure> {
    check_dir(dir)?;
    let is_of_store = |entry: io::Result<fs::DirEntry>| {
        entry.is_ok_and(|entry| {
            entry.file_name() == "wal" || entry.path().join("meta.json").is_file()
        })
    };
    let mut entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    if entries.any(is_of_store) {
        return Ok(());
    }
    Err(format!("{}: not a data directory, there is neither a log nor a block", dir.display())
        .into())
}

/// A file that is made anew, or standard output.
pub(crate) fn writer(to: Option<&Path>) -> Result<Box<dyn Write + Send>, Failure> {
    let Some(path) = to else { return Ok(Box::new(io::stdout())) };
    let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Box::new(file))
}

/// Writes `value` as JSON and a line feed.
pub(crate) fn write_json(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

/// Writes the names of blocks: one a line, or as the JSON list `field`.
pub(crate) fn write_blocks(
    output: Output,
    field: &str,
    blocks: &[impl ToString],
) -> Result<(), Failure> {
    let names: Vec<String> = blocks.iter().map(ToString::to_string).collect();
    if output.json {
        return write_json(&serde_json::json!({ field: names }));
    }
    let mut out = io::stdout().lock();
    names.iter().try_for_each(|name| writeln!(out, "{name}"))?;
    Ok(())
}

/// Tells of blocks that do not serve, on standard error.
pub(crate) fn warn_of_quarantined(stats: &Stats, what: &str) {
    for block in &stats.quarantined {
        eprintln!("warning: {} is {what}: {}", block.dir.display(), block.reason);
    }
}

/// A bar on standard error while something takes long; none if that is no terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(what: &'static str) -> Self {
        // Hidden by the library where standard error is no terminal.
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what);
        Self(bar)
    }

    /// Shows that something goes on of which it is not known how far it is.
    pub(crate) fn waiting(what: &'static str) -> Self {
        let spinner = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        spinner.set_message(what);
        spinner.enable_steady_tick(ASK_EVERY);
        Self(spinner)
    }

    pub(crate) fn update(&self, done: u64, total: u64) {
        self.0.set_length(total);
        self.0.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Does `work` while a bar shows how far the compaction is that it runs.
pub(crate) fn with_compaction_progress<T>(
    db: &Db,
    what: &'static str,
    work: impl FnOnce() -> T,
) -> T {
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let progress = Progress::new(what);
            while !is_done.load(Ordering::Acquire) {
                if let Some(running) = db.stats().compaction.running {
                    progress.update(running.series_done, running.series);
                }
                std::thread::park_timeout(ASK_EVERY);
            }
        });
        let result = work();
        is_done.store(true, Ordering::Release);
        watcher.thread().unpark();
        result
    })
}

/// Bytes for people: three digits and a unit.
pub(crate) fn bytes_text(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
