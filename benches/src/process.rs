//! What the operating system says of this process and of the files it wrote.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

/// Ticks per second of the times in `/proc`, which Linux shows every program so.
const TICKS: f64 = 100.0;

/// How often the peak of memory is looked for.
const PAUSE: Duration = Duration::from_millis(20);

/// Resident memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// What is backed by no file: the heap, the stacks.
    pub anonymous: u64,
    /// Pages of mapped files, which the system takes back when it needs them.
    pub file: u64,
}

impl Memory {
    /// Now.
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
            number.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
        };
        Self { anonymous: kib("RssAnon:") << 10, file: kib("RssFile:") << 10 }
    }

    /// For a report, in MB of a million bytes.
    pub fn to_json(self) -> Value {
        json!({ "anonymous_mb": megabytes(self.anonymous), "file_mb": megabytes(self.file) })
    }
}

/// A thread that looks for the peak of memory.
#[derive(Debug)]
pub struct PeakWatch {
    shared: Arc<Peak>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Peak {
    anonymous: AtomicU64,
    file: AtomicU64,
    is_done: AtomicBool,
}

impl PeakWatch {
    /// Begins to look.
    pub fn start() -> Self {
        let shared = Arc::new(Peak::default());
        let peak = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            while !peak.is_done.load(Ordering::Relaxed) {
                let now = Memory::now();
                peak.anonymous.fetch_max(now.anonymous, Ordering::Relaxed);
                peak.file.fetch_max(now.file, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// The peaks since the start or the last call.
    pub fn take(&self) -> Memory {
        let now = Memory::now();
        let of = |peak: &AtomicU64, now: u64| peak.swap(now, Ordering::Relaxed).max(now);
        Memory {
            anonymous: of(&self.shared.anonymous, now.anonymous),
            file: of(&self.shared.file, now.file),
        }
    }
}

impl Drop for PeakWatch {
    fn drop(&mut self) {
        self.shared.is_done.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Processor time of this process: in user mode and in the kernel, in seconds.
pub fn cpu_s() -> (f64, f64) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program may hold anything, and ends at the last parenthesis.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |n| fields.split_whitespace().nth(n).and_then(|text| text.parse().ok());
    (ticks(11).unwrap_or(0.0) / TICKS, ticks(12).unwrap_or(0.0) / TICKS)
}

/// Bytes of the files below a directory; of those that go meanwhile, none.
pub fn size_of_dir(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let of_entry = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => size_of_dir(&entry.path()),
        _ => entry.metadata().map_or(0, |metadata| metadata.len()),
    };
    entries.flatten().map(of_entry).sum()
}

/// Sizes of the log, of the chunks of the head and of the blocks in a data directory, in MB.
pub fn disk(dir: &Path) -> Value {
    let mut blocks = 0;
    let mut n_blocks = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().join("meta.json").exists() {
            n_blocks += 1;
            blocks += size_of_dir(&entry.path());
        }
    }
    json!({
        "wal_mb": megabytes(size_of_dir(&dir.join("wal"))),
        "wbl_mb": megabytes(size_of_dir(&dir.join("wbl"))),
        "chunks_head_mb": megabytes(size_of_dir(&dir.join("chunks_head"))),
        "blocks_mb": megabytes(blocks),
        "n_blocks": n_blocks,
    })
}

/// A number of bytes in MB of a million, with one decimal.
pub fn megabytes(bytes: u64) -> f64 {
    (bytes as f64 / 1e5).round() / 10.0
}

/// What this was built from and runs on.
pub fn versions() -> Value {
    let git = std::process::Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
        .output();
    let commit = git.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    let commit = commit.map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "ferula": env!("CARGO_PKG_VERSION"),
        "commit": commit,
        "kernel": kernel.trim(),
        "cores": thread::available_parallelism().map_or(0, std::num::NonZero::get),
    })
}
