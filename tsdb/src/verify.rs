//! Reading a whole data directory, and telling everything that is wrong with it.
//!
//! Nothing is changed and no lock is taken, so this also looks at a directory that another process
//! writes to. Every block is read with its index, its chunks and the times of all samples; the logs
//! record by record, the head's chunk files chunk by chunk. Reading goes on behind what is damaged
//! wherever the rest can be told apart.
//!
//! One series of a block, one record of a log and one chunk are in memory at a time, and what was
//! found, which is bounded.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ferula_wal::fs::{Fs, StdFs};
use ferula_wal::{LogReader, LogRecord, torn_end};
use serde::Serialize;
use ulid::Ulid;

use crate::block::{Block, CREATION_SUFFIX, DELETION_SUFFIX, Depth, size_of_dir, walk};
use crate::db::{WAL_DIR, WBL_DIR};
use crate::error::{BlockFault, Error};
use crate::head::{CHUNKS_HEAD_DIR, ChunkFiles, snapshot};

/// Most that is told of one block or one log; there may be more.
pub const MAX_FINDINGS: usize = 100;

/// How often a log is read again because its writer has removed a part of it meanwhile.
const LOG_ATTEMPTS: usize = 5;

/// What reading a whole data directory found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// Blocks that were read.
    pub blocks: u64,
    /// Series in them, those of each block counted.
    pub series: u64,
    /// Chunks in them.
    pub chunks: u64,
    /// Samples in them, deleted ones included.
    pub samples: u64,
    /// Records of the logs.
    pub log_records: u64,
    /// Chunks in the files of the head.
    pub head_chunks: u64,
    /// What cannot be read or contradicts itself: samples are lost, or will be refused.
    pub damage: Vec<Finding>,
    /// What the next opening for writing mends without losing anything acknowledged.
    pub notes: Vec<Finding>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The file or directory.
    pub file: PathBuf,
    /// Where in it, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What is wrong, causes included.
    pub reason: String,
}

impl Verification {
    /// Tells whether there is no damage.
    pub fn is_intact(&self) -> bool {
        self.damage.is_empty()
    }
}

impl Finding {
    pub(crate) fn new(error: &Error, place: &Path) -> Self {
        let (file, offset) = error.location().unwrap_or((place, None));
        Self { file: file.to_path_buf(), offset, reason: error.to_string_with_causes() }
    }

    /// What is wrong with a directory.
    pub(crate) fn of_dir(dir: PathBuf, reason: String) -> Self {
        Self { file: dir, offset: None, reason }
    }

    fn note(file: PathBuf, offset: Option<u64>, reason: &str) -> Self {
        Self { file, offset, reason: reason.to_owned() }
    }
}

/// Reads everything in the data directory `dir`. `on_progress` is called now and then with how many
/// bytes were read, and of how many.
///
/// ```
/// use ferula_tsdb::{Db, Options, verify};
///
/// # let dir = tempfile::tempdir()?;
/// Db::open(dir.path(), Options::default())?.close()?;
/// let found = verify(dir.path(), &mut |_, _| {})?;
/// assert!(found.is_intact());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the directory cannot be listed. Whatever else cannot be read is damage.
pub fn verify(
    dir: impl AsRef<Path>,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<Verification, Error> {
    let (fs, dir): (Arc<dyn Fs>, &Path) = (Arc::new(StdFs), dir.as_ref());
    let entries = fs.list(dir).map_err(Error::io("list", dir))?;
    let size_of = |name: &str| size_of_dir(&*fs, &dir.join(name)).unwrap_or_default();
    let parts = [CHUNKS_HEAD_DIR, WAL_DIR, WBL_DIR];
    let is_part = |name: &str| parts.contains(&name) || Ulid::from_string(name).is_ok();
    let dirs: Vec<(&str, u64)> = entries
        .iter()
        .filter(|entry| entry.is_dir && is_part(&entry.name))
        .map(|entry| (entry.name.as_str(), size_of(&entry.name)))
        .collect();
    let total = dirs.iter().map(|(_, size)| size).sum();
    let mut found = Verification::default();
    let mut parents = BTreeSet::new();
    let mut done = 0;
    for (name, size) in dirs {
        let path = dir.join(name);
        let mut advance = |n: u64, of: u64| {
            let part = u128::from(size) * u128::from(n) / u128::from(of.max(1));
            on_progress(done + u64::try_from(part).unwrap_or(size), total);
        };
        advance(0, 1);
        match name {
            CHUNKS_HEAD_DIR => found.read_chunk_files(&fs, &path),
            WAL_DIR | WBL_DIR => found.read_log(&fs, &path),
            _ => found.read_block(&*fs, &path, &mut parents, &mut advance),
        }
        done += size;
        on_progress(done, total);
    }
    if let Err(error) = snapshot::open(&*fs, dir) {
        found.notes.push(Finding::new(&error, dir));
    }
    for entry in &entries {
        let suffixes = [CREATION_SUFFIX, DELETION_SUFFIX];
        let path = dir.join(&entry.name);
        if entry.is_dir && suffixes.iter().any(|suffix| entry.name.ends_with(suffix)) {
            found.notes.push(Finding::note(path, None, "left by interrupted work"));
        } else if parents.contains(entry.name.as_str()) {
            found.notes.push(Finding::note(path, None, "another block was made of it"));
        }
    }
    Ok(found)
}

impl Verification {
    /// Reads the block in `dir`; the names of those that it was made of are added to `parents`.
    fn read_block(
        &mut self,
        fs: &dyn Fs,
        dir: &Path,
        parents: &mut BTreeSet<String>,
        on_series: &mut dyn FnMut(u64, u64),
    ) {
        let mut damage: Vec<Finding> = Vec::new();
        let mut note = |error: &Error| {
            let finding = Finding::new(error, dir);
            // All chunks of a page that cannot be read say the same.
            if damage.last() != Some(&finding) {
                damage.push(finding);
            }
            damage.len() < MAX_FINDINGS
        };
        match Block::open(fs, dir.to_path_buf()) {
            Ok(block) => {
                let meta = block.meta();
                parents.extend(meta.compaction.parents.iter().map(|one| one.ulid.to_string()));
                if dir.file_name().is_none_or(|name| *name != *meta.ulid.to_string()) {
                    let fault = BlockFault::Name { ulid: meta.ulid };
                    note(&Error::Block { dir: dir.to_path_buf(), fault });
                }
                let walked = walk(fs, &block, Depth::Samples, on_series, &mut |error| {
                    if note(&error) { Ok(()) } else { Err(error) }
                });
                let walked = match walked {
                    Ok(walked) => walked,
                    Err(error) => {
                        note(&error);
                        Default::default()
                    }
                };
                self.blocks += 1;
                self.series += walked.n_series;
                self.chunks += walked.n_chunks;
                self.samples += walked.n_samples;
            }
            Err(error) => {
                note(&error);
            }
        }
        // A block that went meanwhile is elsewhere now, compacted or beyond the retention.
        if damage.is_empty() || fs.exists(dir).unwrap_or(true) {
            self.damage.append(&mut damage);
        }
    }

    /// Reads the log in `dir`, checkpoint included.
    fn read_log(&mut self, fs: &Arc<dyn Fs>, dir: &Path) {
        let mut attempt = 1;
        loop {
            let mut read = LogFindings::default();
            read.read(fs, dir);
            if !read.is_changed || attempt == LOG_ATTEMPTS {
                self.log_records += read.n_records;
                self.damage.append(&mut read.damage);
                self.notes.append(&mut read.notes);
                return;
            }
            attempt += 1;
        }
    }

    /// Reads the files of full chunks of the head. What is damaged there is made anew from the log.
    fn read_chunk_files(&mut self, fs: &Arc<dyn Fs>, dir: &Path) {
        let mut chunks = Vec::new();
        let opened = ChunkFiles::open_read_only(Arc::clone(fs), dir.to_path_buf(), &mut |found| {
            chunks.push(found.at);
        });
        let (files, report) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.notes.push(Finding::new(&error, dir)),
        };
        if let Some(reason) = report.damage {
            let reason = format!("{reason}; made anew from the log");
            self.notes.push(Finding { file: dir.to_path_buf(), offset: None, reason });
        }
        let mut batch = ferula_chunkenc::SampleBatch::new();
        for at in chunks {
            batch.clear();
            let decoded = files.read(at).and_then(|stored| {
                let file = dir.to_path_buf();
                let decoded = stored.chunk.decode_into(&mut batch);
                decoded.map_err(|source| Error::Chunk { file, offset: at.0, source })
            });
            match decoded {
                Ok(()) => self.head_chunks += 1,
                Err(error) if self.damage.len() < MAX_FINDINGS => {
                    self.damage.push(Finding::new(&error, dir));
                }
                Err(_) => {}
            }
        }
    }
}

/// What reading a log found.
#[derive(Debug, Default)]
struct LogFindings {
    n_records: u64,
    damage: Vec<Finding>,
    notes: Vec<Finding>,
    /// Whether segments went while they were about to be read.
    is_changed: bool,
}

impl LogFindings {
    fn read(&mut self, fs: &Arc<dyn Fs>, dir: &Path) {
        let torn = match torn_end(&**fs, dir) {
            Ok(torn) => torn,
            // It is found again below.
            Err(ferula_wal::Error::Damaged { .. }) => None,
            Err(error) => return self.note(error, dir),
        };
        let mut reader = match LogReader::open(Arc::clone(fs), dir) {
            Ok(reader) => reader,
            Err(error) => return self.note(error, dir),
        };
        while self.damage.len() < MAX_FINDINGS {
            match reader.next_record() {
                Ok(Some(record)) => {
                    self.n_records += 1;
                    if let Err(source) = record.decode() {
                        self.note_record(&record, &Error::Wal { op: "read", source }, dir);
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    let is_torn = torn.as_ref().is_some_and(|cut| {
                        error.location().is_some_and(|(file, _)| file == cut.file)
                    });
                    match torn.as_ref().filter(|_| is_torn) {
                        Some(cut) => self.notes.push(Finding::note(
                            cut.file.clone(),
                            Some(cut.offset),
                            &format!("the last {} bytes are no whole record", cut.bytes),
                        )),
                        None => self.note(error, dir),
                    }
                    reader.skip_segment();
                }
            }
        }
    }

    fn note(&mut self, source: ferula_wal::Error, dir: &Path) {
        if let ferula_wal::Error::Io { source, .. } = &source {
            self.is_changed |= source.kind() == io::ErrorKind::NotFound;
        }
        self.damage.push(Finding::new(&Error::Wal { op: "read", source }, dir));
    }

    fn note_record(&mut self, record: &LogRecord<'_>, error: &Error, dir: &Path) {
        let LogRecord { segment, is_checkpoint, offset, .. } = record;
        let name = match is_checkpoint {
            true => format!("checkpoint.{segment:08}"),
            false => format!("{segment:08}"),
        };
        let reason = error.to_string_with_causes();
        self.damage.push(Finding { file: dir.join(name), offset: Some(*offset), reason });
    }
}
