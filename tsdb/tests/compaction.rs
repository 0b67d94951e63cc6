//! Blocks become fewer and longer, and the samples stay what they were.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{io, thread};

use common::{
    Content, RANGE, all, commit, in_format, labels, names, read, sample, scrape, short_blocks,
};
use ferula_index::Matcher;
use ferula_tsdb::{BlockFormat, BlockMeta, Db, Error, Options, SyncPolicy};
use ferula_wal::fs::{DirEntry, FaultFs, File, Fs, Metadata, OpenMode, StdFs};

/// Cuts blocks of three series from the samples before `end`, without compacting them.
fn with_blocks(dir: &Path, end: i64) -> Db {
    let db = Db::open(dir, short_blocks()).unwrap();
    scrape(&db, 3, 0, end);
    db.compact_head().unwrap();
    db
}

fn ranges(db: &Db) -> Vec<(i64, i64)> {
    db.stats().blocks.iter().map(|meta| (meta.mint / RANGE, meta.maxt / RANGE)).collect()
}

/// What the description of a block says of its format.
fn formats(db: &Db) -> Vec<bool> {
    db.stats().blocks.iter().map(|meta| meta.ferula.is_some()).collect()
}

#[test]
fn compaction_converts_blocks_and_both_formats_are_read_together() {
    let dir = tempfile::tempdir().unwrap();
    let [own, other] = [BlockFormat::Ferula, BlockFormat::Prometheus];
    let open = |format| Db::open(dir.path(), in_format(short_blocks(), format)).unwrap();
    let mut expected = Vec::new();
    for (format, from) in [(own, 0), (other, 2 * RANGE), (own, 4 * RANGE)] {
        let db = open(format);
        scrape(&db, 3, from, from + 2 * RANGE);
        db.compact_head().unwrap();
        expected = all(&db);
    }
    assert_eq!(expected[0].1.len(), 6 * 60);
    let db = open(other);
    assert_eq!(formats(&db), [true, true, false, false, true, true]);
    assert_eq!(all(&db), expected);
    let querier = db.querier(i64::MIN, i64::MAX).unwrap();
    assert_eq!(querier.label_values("n", &[]).unwrap(), ["0", "1", "2"]);
    drop(querier);
    // Deleted of blocks of both formats, and found again in none.
    db.delete(&[Matcher::equal("n", "1")], RANGE + 30_000, 3 * RANGE - 1).unwrap();
    let expected = all(&db);
    assert_eq!(expected[1].1.len(), 6 * 60 - 90);
    db.compact().unwrap();
    db.clean_tombstones().unwrap();
    assert_eq!(formats(&db)[..2], [false, false]);
    assert_eq!(all(&db), expected);
    drop(db);
    let db = open(own);
    db.convert_blocks().unwrap();
    assert!(formats(&db).iter().all(|is_own| *is_own));
    assert_eq!(all(&db), expected);
    assert_eq!(db.convert_blocks().unwrap(), []);
    drop(db);
    let db = open(other);
    let n_blocks = db.stats().blocks.len();
    assert_eq!(db.convert_blocks().unwrap().len(), n_blocks);
    assert!(!formats(&db).contains(&true));
    assert_eq!(all(&db), expected);
}

/// Copies the blocks of one database into the directory of another.
fn copy_blocks(from: &Path, to: &Path) {
    for name in names(from).into_iter().filter(|name| name.starts_with("01")) {
        fs::create_dir_all(to.join(&name).join("chunks")).unwrap();
        for file in ["meta.json", "index", "tombstones", "chunks/000001"] {
            fs::copy(from.join(&name).join(file), to.join(&name).join(file)).unwrap();
        }
    }
}

#[test]
fn aligned_ranges_of_blocks_become_one() {
    aligned_ranges(BlockFormat::Ferula, |_| 3);
    aligned_ranges(BlockFormat::Prometheus, |sources| {
        sources.iter().map(|source| source.stats.num_chunks).sum()
    });
}

/// `chunks` tells how many the largest block has, from its sources.
fn aligned_ranges(format: BlockFormat, chunks: impl Fn(&[BlockMeta]) -> u64) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::open(dir.path(), in_format(short_blocks(), format)).unwrap();
    scrape(&db, 3, 0, 14 * RANGE);
    db.compact_head().unwrap();
    let before = all(&db);
    let metas = db.stats().blocks;
    assert_eq!(metas.len(), 14);
    let reader = db.querier(i64::MIN, i64::MAX).unwrap();
    let made = db.compact().unwrap();
    assert_eq!(made.len(), 5, "four of three and one of nine");
    assert_eq!(ranges(&db), [(0, 9), (9, 12), (12, 13), (13, 14)]);
    let blocks = db.stats().blocks;
    let (first, stats) = (&blocks[0], db.stats());
    assert_eq!((first.compaction.level, first.compaction.sources.len()), (3, 9));
    assert_eq!(first.compaction.parents.len(), 3);
    assert_eq!(first.stats.num_samples, 3 * 9 * 60);
    assert_eq!(first.stats.num_chunks, chunks(&metas[..9]));
    assert_eq!((stats.compaction.done, stats.compaction.failed), (5, 0));
    assert!(stats.compaction.running.is_none());
    assert_eq!(all(&db), before);
    assert_eq!(read(&reader), before, "who reads a source goes on");
    let left = names(dir.path()).iter().filter(|name| name.starts_with("01")).count();
    assert_eq!(left, 4, "the sources are removed");
    assert_eq!(db.compact().unwrap(), []);
    drop(db);
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert_eq!(all(&db), before);
}

#[test]
fn the_bound_of_ranges_is_an_option() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_blocks(dir.path(), 11 * RANGE));
    let mut options = short_blocks();
    options.max_block_range_ms = 3 * RANGE;
    let db = Db::open(dir.path(), options).unwrap();
    db.compact().unwrap();
    assert_eq!(ranges(&db), [(0, 3), (3, 6), (6, 9), (9, 10), (10, 11)]);
}

#[test]
fn overlapping_blocks_become_one_and_answers_stay() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    for (n, dir) in dirs.iter().enumerate() {
        let db = Db::open(dir.path(), short_blocks()).unwrap();
        let start = i64::try_from(n).unwrap() * 20_000;
        for t in (start..start + 90_000).step_by(1000 + n * 500) {
            let shared = labels(&[("__name__", "shared")]);
            commit(&db, &shared, &[sample(t, n as f64)]);
            let own = labels(&[("__name__", "own"), ("n", &n.to_string())]);
            commit(&db, &own, &[sample(t, t as f64)]);
        }
        db.compact_head().unwrap();
    }
    copy_blocks(dirs[1].path(), dirs[0].path());
    copy_blocks(dirs[2].path(), dirs[0].path());
    let db = Db::open(dirs[0].path(), short_blocks()).unwrap();
    assert_eq!(db.stats().blocks.len(), 7);
    let before = all(&db);
    assert_eq!(db.compact().unwrap().len(), 2);
    assert_eq!(ranges(&db), [(0, 1), (1, 2), (2, 3)]);
    assert_eq!(all(&db), before);
}

#[test]
fn of_overlapping_blocks_that_hold_nothing_any_more_one_stays() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    for dir in &dirs {
        drop(with_blocks(dir.path(), RANGE));
    }
    copy_blocks(dirs[1].path(), dirs[0].path());
    let db = Db::open(dirs[0].path(), short_blocks()).unwrap();
    assert_eq!(ranges(&db), [(0, 1), (0, 1)]);
    db.delete(&[], i64::MIN, i64::MAX).unwrap();
    assert_eq!(db.compact().unwrap(), []);
    assert_eq!(ranges(&db), [(0, 1)]);
    drop(db);
    assert_eq!(all(&Db::open(dirs[0].path(), short_blocks()).unwrap()), []);
}

#[test]
fn a_block_that_cannot_be_read_is_marked_and_the_others_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let metas = with_blocks(dir.path(), 8 * RANGE).stats().blocks;
    let segment = dir.path().join(metas[1].ulid.to_string()).join("chunks/000001");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[40] ^= 0x10;
    fs::write(&segment, bytes).unwrap();

    let db = Db::open(dir.path(), short_blocks()).unwrap();
    let failed = db.compact().unwrap_err();
    assert!(matches!(&failed, Error::Chunk { file, .. } if *file == segment), "{failed:?}");
    assert_eq!(ranges(&db), [(0, 1), (2, 3), (3, 6), (6, 7), (7, 8)], "the second is set aside");
    let stats = db.stats();
    assert_eq!(stats.quarantined.len(), 1);
    assert_eq!((stats.compaction.done, stats.compaction.failed), (1, 1));
    assert!(stats.compaction.failure.unwrap().contains("checksum"));
    let marked: Vec<bool> = stats.blocks.iter().map(|meta| meta.compaction.failed).collect();
    assert_eq!(marked, [true, true, false, false, false]);
    assert_eq!(db.compact().unwrap(), [], "it is not tried again");
    drop(db);
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert_eq!(db.compact().unwrap(), [], "nor after opening, when the damage is not known yet");
    assert_eq!(db.stats().compaction.failed, 0);
    assert!(!names(dir.path()).iter().any(|name| name.contains(".tmp")));
}

#[test]
fn a_block_that_cannot_be_read_does_not_keep_others_from_being_rewritten() {
    let dir = tempfile::tempdir().unwrap();
    let metas = with_blocks(dir.path(), 3 * RANGE).stats().blocks;
    let segment = dir.path().join(metas[0].ulid.to_string()).join("chunks/000001");
    let mut bytes = fs::read(&segment).unwrap();
    bytes[40] ^= 0x10;
    fs::write(&segment, bytes).unwrap();

    let options = in_format(short_blocks(), BlockFormat::Prometheus);
    let db = Db::open(dir.path(), options.clone()).unwrap();
    let failed = db.convert_blocks().unwrap_err();
    assert!(matches!(&failed, Error::Chunk { file, .. } if *file == segment), "{failed:?}");
    assert_eq!((ranges(&db), formats(&db)), (vec![(1, 2), (2, 3)], vec![false, false]));
    assert_eq!(db.stats().quarantined.len(), 1);
    assert!(segment.exists());
    drop(db);

    let db = Db::open(dir.path(), options).unwrap();
    let two_samples = |db: &Db| db.delete(&[Matcher::equal("n", "1")], 2 * RANGE, 2 * RANGE + 1000);
    two_samples(&db).unwrap();
    assert_eq!(db.clean_tombstones().unwrap().len(), 1);
}

#[test]
fn sources_that_a_crash_has_left_are_removed_at_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let db = with_blocks(dir.path(), 4 * RANGE);
    copy_blocks(dir.path(), copy.path());
    db.compact().unwrap();
    let (before, blocks) = (all(&db), ranges(&db));
    drop(db);
    // Whether they can be read or not.
    copy_blocks(copy.path(), dir.path());
    let source = names(copy.path()).into_iter().find(|name| !dir.path().join(name).exists());
    assert!(source.is_none());
    let db = Db::open_read_only(dir.path()).unwrap();
    assert_eq!(db.stats().blocks.len(), 2, "left aside");
    let first = names(copy.path())[0].clone();
    fs::write(dir.path().join(&first).join("index"), "").unwrap();
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert_eq!(db.open_report().removed.len(), 3);
    assert_eq!((db.stats().quarantined.len(), ranges(&db)), (0, blocks));
    assert_eq!(all(&db), before);
    assert_eq!(names(dir.path()).iter().filter(|name| name.starts_with("01")).count(), 2);
}

#[test]
fn a_thread_compacts() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_blocks(dir.path(), 5 * RANGE));
    let mut options = short_blocks();
    options.maintenance_interval = Some(Duration::from_millis(1));
    let db = Db::open(dir.path(), options).unwrap();
    let before = all(&db);
    while db.stats().compaction.done == 0 {
        thread::yield_now();
    }
    assert_eq!(all(&db), before);
    db.close().unwrap();
    assert!(matches!(db.compact(), Err(Error::Closed)));
}

/// Another file system, which calls something when the tombstones of a new block are written.
#[derive(Debug)]
struct Interposed {
    fs: StdFs,
    hook: OnceLock<Hook>,
}

struct Hook(Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

impl Fs for Interposed {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>> {
        if mode == OpenMode::CreateNew
            && path.ends_with("tombstones")
            && let Some(Hook(hook)) = self.hook.get()
        {
            hook();
        }
        self.fs.open(path, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fs.hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.fs.remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.fs.remove_dir(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.fs.create_dir_all(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.fs.list(dir)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.fs.metadata(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.fs.sync_dir(dir)
    }

    fn os_path(&self, path: &Path) -> Option<PathBuf> {
        self.fs.os_path(path)
    }
}

/// Opens a directory of blocks and does something to the database at the end of its first
/// compaction.
fn compact_beside(dir: &Path, act: impl Fn(&Db) + Send + Sync + 'static) -> Arc<Db> {
    let fs = Arc::new(Interposed { fs: StdFs, hook: OnceLock::new() });
    let db = Arc::new(Db::open_with(Arc::clone(&fs) as Arc<dyn Fs>, dir, short_blocks()).unwrap());
    let weak = Arc::downgrade(&db);
    let done = OnceLock::new();
    let hook = Hook(Box::new(move || {
        if let Some(db) = weak.upgrade()
            && done.set(()).is_ok()
        {
            act(&db);
        }
    }));
    fs.hook.set(hook).unwrap();
    db
}

#[test]
fn what_is_deleted_while_its_block_is_compacted_is_deleted() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_blocks(dir.path(), 4 * RANGE));
    let one = [Matcher::equal("n", "1")];
    let db = compact_beside(dir.path(), move |db| {
        let progress = db.stats().compaction.running.unwrap();
        assert_eq!((progress.sources, progress.series_done, progress.series), (3, 9, 9));
        db.delete(&one, 30_000, 99_999).unwrap();
        assert_eq!(read(&db.querier(30_000, 99_999).unwrap()).len(), 2, "at once");
    });
    let mut expected = all(&db);
    expected[1].1.retain(|sample| !(30_000..=99_999).contains(&sample.timestamp));
    assert_eq!(db.compact().unwrap().len(), 1);
    assert_eq!(all(&db), expected);
    drop(db);
    let db = Db::open(dir.path(), short_blocks()).unwrap();
    assert_eq!(all(&db), expected);
    assert_eq!(db.stats().blocks[0].stats.num_tombstones, 1);
}

#[test]
fn the_head_is_cut_and_copied_while_blocks_are_compacted() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_blocks(dir.path(), 4 * RANGE));
    let snapshot = tempfile::tempdir().unwrap();
    let copy = snapshot.path().join("copy");
    let to = copy.clone();
    let db = compact_beside(dir.path(), move |db| {
        scrape(db, 3, 4 * RANGE, 5 * RANGE);
        assert_eq!(db.compact_head().unwrap().len(), 1);
        assert_eq!(db.snapshot(&to).unwrap().len(), 5);
    });
    assert_eq!(db.compact().unwrap().len(), 1);
    assert_eq!(ranges(&db), [(0, 3), (3, 4), (4, 5)]);
    let copied = Db::open(&copy, short_blocks()).unwrap();
    assert_eq!(all(&copied), all(&db));
}

#[test]
fn closing_breaks_a_compaction_off() {
    let dir = tempfile::tempdir().unwrap();
    drop(with_blocks(dir.path(), 4 * RANGE));
    let options = Options::builder()
        .sync(SyncPolicy::Never)
        .block_range_ms(RANGE)
        .maintenance_interval(Some(Duration::from_millis(1)))
        .compaction_bytes_per_second(Some(1))
        .build()
        .unwrap();
    // Whenever it comes: what is there is what was there, or what was to be made.
    for pause_us in [0, 500, 3000] {
        let db = Db::open(dir.path(), options.clone()).unwrap();
        let before: Content = all(&db);
        thread::sleep(Duration::from_micros(pause_us));
        db.close().unwrap();
        assert!(!names(dir.path()).iter().any(|name| name.contains(".tmp")));
        let db = Db::open(dir.path(), short_blocks()).unwrap();
        assert_eq!(all(&db), before);
    }
}

#[test]
fn a_block_that_vanishes_is_read_on_and_the_others_stay() {
    for format in [BlockFormat::Ferula, BlockFormat::Prometheus] {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path(), in_format(short_blocks(), format)).unwrap();
        scrape(&db, 3, 0, 4 * RANGE);
        db.compact_head().unwrap();
        let expected = all(&db);
        let querier = db.querier(i64::MIN, i64::MAX).unwrap();
        let selected = querier.select(&[]).unwrap();
        // Somebody removes a block behind the back of the database.
        let second = db.stats().blocks[1].ulid.to_string();
        fs::remove_dir_all(dir.path().join(&second)).unwrap();
        let samples = |index: usize| {
            let mut batch = ferula_chunkenc::SampleBatch::new();
            selected.read(index, &mut batch).unwrap();
            batch.iter().collect::<Vec<_>>()
        };
        for (index, (_, before)) in expected.iter().enumerate() {
            assert_eq!(&samples(index), before, "what is open is read on");
        }
        db.compact().unwrap_err();
        assert!(!names(dir.path()).iter().any(|name| name.contains(".tmp")));
        assert_eq!(samples(0), expected[0].1);
        drop((selected, querier));
        db.close().unwrap();
        let db = Db::open(dir.path(), in_format(short_blocks(), format)).unwrap();
        let mut left = expected;
        for (_, samples) in &mut left {
            samples.retain(|sample| !(RANGE..2 * RANGE).contains(&sample.timestamp));
        }
        assert_eq!(all(&db), left);
        db.compact().unwrap();
        assert_eq!(all(&db), left);
    }
}

#[test]
fn those_who_read_a_block_go_on_when_it_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let db = with_blocks(dir.path(), 4 * RANGE);
    let expected = all(&db);
    let querier = db.querier(i64::MIN, i64::MAX).unwrap();
    let selected = querier.select(&[]).unwrap();
    assert_eq!(db.compact().unwrap().len(), 1);
    assert_eq!(ranges(&db), [(0, 3), (3, 4)]);
    for (index, (_, before)) in expected.iter().enumerate() {
        let mut batch = ferula_chunkenc::SampleBatch::new();
        selected.read(index, &mut batch).unwrap();
        assert_eq!(&batch.iter().collect::<Vec<_>>(), before);
    }
}

#[test]
fn an_empty_directory_has_nothing_to_compact() {
    let db = Db::open_with(Arc::new(FaultFs::new()), "/data", short_blocks()).unwrap();
    assert_eq!(db.compact().unwrap(), []);
    assert_eq!(db.clean_tombstones().unwrap(), []);
    db.delete(&[], i64::MIN, i64::MAX).unwrap();
}
