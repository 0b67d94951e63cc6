use std::fs;

use ferula_chunkenc::XorAppender;
use ferula_wal::fs::{Fault, FaultFs, StdFs, Survival};
use proptest::prelude::*;

use super::layout::HEADER_BYTES;
use super::*;

const SMALL: Sizes = Sizes { part_bytes: 100, file_bytes: 300 };

/// A chunk as it was given to `write`.
type Given = (SeriesRef, (i64, i64), bool, Vec<u8>);

fn data(n: i64) -> Vec<u8> {
    let mut appender = XorAppender::new();
    for t in 0..n {
        appender.append(t, 0.5).unwrap();
    }
    appender.into_chunk().data.to_vec()
}

/// The chunk number `n` of a workload.
fn given(n: i64) -> Given {
    let series = SeriesRef(1 + n.unsigned_abs() % 3);
    (series, (n * 100, n * 100 + 99), n % 5 == 4, data(1 + n % 17))
}

fn write(files: &ChunkFiles, (series, times, is_ooo, data): &Given) -> Result<ChunkRef, Error> {
    files.write(*series, *times, Encoding::Xor, *is_ooo, data)
}

fn stored((series, (mint, maxt), is_ooo, data): &Given) -> StoredChunk {
    let chunk = Chunk { encoding: Encoding::Xor, data: data.clone().into() };
    StoredChunk { series: *series, mint: *mint, maxt: *maxt, is_ooo: *is_ooo, chunk }
}

type Found = Vec<(ChunkRef, Given)>;

/// The chunk that was found, read again.
fn read(files: &ChunkFiles, found: FoundChunk) -> Given {
    let FoundChunk { series, at, mint, maxt, encoding, is_ooo } = found;
    let StoredChunk { chunk, .. } = files.read(at).unwrap();
    let given = (series, (mint, maxt), is_ooo, chunk.data.to_vec());
    assert_eq!((encoding, Encoding::Xor), (Encoding::Xor, chunk.encoding));
    assert_eq!(files.read(at).unwrap(), stored(&given));
    given
}

fn open(fs: &Arc<dyn Fs>, dir: &Path) -> (ChunkFiles, ChunkFilesReport, Found) {
    let mut found = Vec::new();
    let mut visit = |chunk: FoundChunk| found.push(chunk);
    let opened = ChunkFiles::open_with(Arc::clone(fs), dir.to_path_buf(), SMALL, &mut visit);
    let (files, report) = opened.unwrap();
    let read = found.into_iter().map(|found| (found.at, read(&files, found))).collect();
    (files, report, read)
}

fn std_fs() -> Arc<dyn Fs> {
    Arc::new(StdFs)
}

fn names(fs: &dyn Fs, dir: &Path) -> Vec<String> {
    fs.list(dir).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn chunks_are_read_wherever_they_are() {
    let tmp = tempfile::tempdir().unwrap();
    for (fs, dir) in [
        (std_fs(), tmp.path().join("chunks_head")),
        (Arc::new(FaultFs::new()) as Arc<dyn Fs>, PathBuf::from("/data/chunks_head")),
    ] {
        let (files, report, _) = open(&fs, &dir);
        assert_eq!(report, ChunkFilesReport::default());
        assert!(!fs.exists(&dir).unwrap(), "there is no file without a chunk");
        let mut written = Found::new();
        for n in 0..60 {
            let given = given(n);
            written.push((write(&files, &given).unwrap(), given));
            // Those in their files, those on their way, and those not yet.
            for (at, given) in &written {
                assert_eq!(files.read(*at).unwrap(), stored(given));
            }
        }
        assert_eq!(written[0].0, ChunkRef(1 << 32 | HEADER_BYTES));
        assert!(written.iter().map(|(at, _)| at).is_sorted());
        for nowhere in [0, 7, 1 << 32 | 500_000, 90 << 32, u64::MAX].map(ChunkRef) {
            let refused = files.read(nowhere).unwrap_err();
            assert!(matches!(refused, Error::ChunkRef { chunk, .. } if chunk == nowhere));
        }
        files.sync().unwrap();
        let n_files = names(&*fs, &dir).len();
        assert!(n_files > 5, "{n_files}");
        drop(files);

        let (files, report, found) = open(&fs, &dir);
        assert_eq!(found, written);
        assert_eq!((report.n_files, report.n_chunks, report.damage), (n_files, 60, None));
        // It goes on in a new file.
        let given = given(60);
        let at = write(&files, &given).unwrap();
        assert_eq!(usize::try_from(at.0 >> 32).unwrap(), n_files + 1);
        files.flush().unwrap();
        written.push((at, given));
        assert_eq!(open(&fs, &dir).2, written);
    }
}

#[test]
fn what_lies_before_a_time_is_removed_file_by_file() {
    let tmp = tempfile::tempdir().unwrap();
    let (fs, dir) = (std_fs(), tmp.path().to_path_buf());
    let (files, ..) = open(&fs, &dir);
    let mut written = Found::new();
    for n in 0..60 {
        written.push((write(&files, &given(n)).unwrap(), given(n)));
    }
    files.flush().unwrap();
    let before = names(&*fs, &dir).len();
    assert_eq!(files.truncate(100).unwrap(), 0);
    let gone = files.truncate(3000).unwrap();
    assert!(gone > 1 && names(&*fs, &dir).len() == before - gone);
    let first = u64::try_from(gone + 1).unwrap();
    written.retain(|(at, _)| at.0 >> 32 >= first);
    assert_eq!(open(&fs, &dir).2, written);
    // The last file goes too, and numbers go on as long as somebody knows them.
    assert_eq!(files.truncate(i64::MAX).unwrap(), before - gone);
    assert_eq!(names(&*fs, &dir), [""; 0]);
    let at = write(&files, &given(60)).unwrap();
    assert_eq!(usize::try_from(at.0 >> 32).unwrap(), before + 1);
    files.flush().unwrap();
    let (_, report, found) = open(&fs, &dir);
    assert_eq!((found, report.damage), (vec![(at, given(60))], None));
}

#[test]
fn files_that_are_known_are_not_read_through() {
    let tmp = tempfile::tempdir().unwrap();
    let (fs, dir) = (std_fs(), tmp.path().to_path_buf());
    let known =
        |ends: &[ChunkFileEnd]| ChunkFiles::open_known(Arc::clone(&fs), dir.clone(), ends).unwrap();
    assert!(known(&[]).is_some());
    let (files, ..) = open(&fs, &dir);
    let written: Found = (0..30).map(|n| (write(&files, &given(n)).unwrap(), given(n))).collect();
    files.sync().unwrap();
    let ends = files.ends();
    assert_eq!(ends.iter().map(|end| end.maxt).max(), Some(2999));
    let (last, before) = ends.split_last().unwrap();
    for other in [&[][..], before, &ends[1..]] {
        assert!(known(other).is_none());
    }
    let mut longer = ends.clone();
    longer.last_mut().unwrap().end += 1;
    assert!(known(&longer).is_none());

    let files = known(&ends).unwrap();
    for (at, given) in &written {
        assert_eq!(files.read(*at).unwrap(), stored(given));
    }
    assert_eq!(files.ends(), ends);
    let at = write(&files, &given(30)).unwrap();
    assert_eq!(split(at).0, last.number + 1);
    files.flush().unwrap();
    let all: Found = written.into_iter().chain([(at, given(30))]).collect();
    assert_eq!(open(&fs, &dir).2, all);
}

/// Opens a directory in which something was damaged: what is found is a beginning of `written`, and
/// opening again finds the same without damage.
fn check_damaged(fs: &Arc<dyn Fs>, dir: &Path, written: &Found, context: &str) -> usize {
    let (files, report, found) = open(fs, dir);
    assert!(written.starts_with(&found), "{context}: {found:?}");
    drop(files);
    let (_, again, same) = open(fs, dir);
    assert_eq!(same, found, "{context}");
    assert_eq!(again.damage, None, "{context}, at first: {:?}", report.damage);
    found.len()
}

/// A directory in memory with these files.
fn with_files<'a>(dir: &Path, files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Arc<dyn Fs> {
    let fs = FaultFs::new();
    fs.create_dir_all(dir).unwrap();
    for (name, bytes) in files {
        fs.open(&dir.join(name), OpenMode::CreateNew).unwrap().write_at(bytes, 0).unwrap();
    }
    Arc::new(fs)
}

#[test]
fn damage_is_cut_off_with_what_comes_after_it() {
    let (fs, dir) = (Arc::new(FaultFs::new()) as Arc<dyn Fs>, Path::new("/chunks_head"));
    let (files, ..) = open(&fs, dir);
    let written: Found = (0..16).map(|n| (write(&files, &given(n)).unwrap(), given(n))).collect();
    files.flush().unwrap();
    drop(files);
    let names = names(&*fs, dir);
    let contents: Vec<_> = names.iter().map(|name| fs.read(&dir.join(name)).unwrap()).collect();
    assert!(names.len() >= 3, "{names:?}");
    let all = || names.iter().map(String::as_str).zip(contents.iter().map(Vec::as_slice));
    let in_files_before =
        |number: u32| written.iter().filter(|(at, _)| split(*at).0 < number).count();
    for (name, whole) in all() {
        let number = name.parse().unwrap();
        let (before, through) = (in_files_before(number), in_files_before(number + 1));
        let last_at = written[through - 1].0.0 & 0xffff_ffff;
        for at in 0..whole.len() {
            // The padding of the header is not covered.
            if (5..8).contains(&at) {
                continue;
            }
            let mut flipped = whole.to_vec();
            flipped[at] ^= 1;
            for (damaged, what) in [(&flipped[..], "flipped"), (&whole[..at], "cut")] {
                let files = all()
                    .map(|(other, bytes)| (other, if other == name { damaged } else { bytes }));
                let context = format!("{name}, {what} at byte {at}");
                let found = check_damaged(&with_files(dir, files), dir, &written, &context);
                // Nothing of the next file, and at most this one without its last chunk.
                assert!((before..through).contains(&found), "{context}: {found}");
                if at as u64 > last_at {
                    assert_eq!(found, through - 1, "{context}");
                }
            }
        }
        // A file is missing; that the first one is can only be told by who knows what was in it.
        if before > 0 {
            let files = all().filter(|(other, _)| *other != name);
            assert_eq!(check_damaged(&with_files(dir, files), dir, &written, name), before);
        }
    }
}

#[test]
fn space_taken_in_advance_is_the_end_of_a_file() {
    let tmp = tempfile::tempdir().unwrap();
    let (fs, dir) = (std_fs(), tmp.path().to_path_buf());
    let (files, ..) = open(&fs, &dir);
    let at = write(&files, &given(1)).unwrap();
    files.flush().unwrap();
    drop(files);
    let file = fs.open(&dir.join("000001"), OpenMode::Write).unwrap();
    let len = file.len().unwrap();
    for extra in [1, 24, 25, 5000] {
        file.set_len(len + extra).unwrap();
        let (_, report, found) = open(&fs, &dir);
        assert_eq!((found, report.damage), (vec![(at, given(1))], None));
    }
    // Bytes after that say that something is missing.
    file.write_at(&[1], len + 4000).unwrap();
    let (_, report, found) = open(&fs, &dir);
    assert_eq!((found, report.cut_bytes), (vec![(at, given(1))], 5000));
    assert!(report.damage.is_some());
    assert_eq!(file.len().unwrap(), len);
}

#[test]
fn other_versions_and_other_files_are_told_apart() {
    for (at, byte, expected) in [(0, 0xff, "starts with"), (4, 2, "version 2, expected 1")] {
        let tmp = tempfile::tempdir().unwrap();
        let (fs, dir) = (std_fs(), tmp.path().to_path_buf());
        let (files, ..) = open(&fs, &dir);
        write(&files, &given(1)).unwrap();
        files.flush().unwrap();
        let path = dir.join("000001");
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] = byte;
        fs::write(&path, bytes).unwrap();
        fs::write(dir.join("notes.txt"), "not a chunk file").unwrap();
        fs::write(dir.join("7"), "nor is this").unwrap();
        let (_, report, found) = open(&fs, &dir);
        assert!(report.damage.unwrap().contains(expected), "{expected}");
        assert_eq!(found, []);
        assert_eq!(names(&*fs, &dir), ["7", "notes.txt"]);
    }
}

#[test]
fn reading_only_changes_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let (fs, dir) = (std_fs(), tmp.path().to_path_buf());
    let (files, ..) = open(&fs, &dir);
    for n in 0..9 {
        write(&files, &given(n)).unwrap();
    }
    files.flush().unwrap();
    let all = names(&*fs, &dir);
    let last = dir.join(all.last().unwrap());
    let mut bytes = fs::read(&last).unwrap();
    bytes.pop();
    fs::write(&last, &bytes).unwrap();
    let mut n_found = 0;
    let mut count = |_: FoundChunk| n_found += 1;
    let (read_only, report) =
        ChunkFiles::open_read_only(Arc::clone(&fs), dir.clone(), &mut count).unwrap();
    assert_eq!((n_found, report.n_chunks), (8, 8));
    assert!(report.damage.is_some());
    assert!(write(&read_only, &given(9)).is_err());
    read_only.flush().unwrap();
    assert_eq!(names(&*fs, &dir), all);
    assert_eq!(fs::read(&last).unwrap(), bytes);
}

#[test]
fn a_full_disk_has_chunks_refused_until_there_is_space() {
    let faults = FaultFs::new();
    let fs: Arc<dyn Fs> = Arc::new(faults.clone());
    let dir = Path::new("/chunks_head");
    let (files, ..) = open(&fs, dir);
    let mut written: Found =
        (0..5).map(|n| (write(&files, &given(n)).unwrap(), given(n))).collect();
    files.flush().unwrap();
    faults.inject(faults.operations(), Fault::NoSpace);
    let mut n = 5;
    let refused = loop {
        match write(&files, &given(n)) {
            Ok(at) => written.push((at, given(n))),
            Err(error) => break error,
        }
        n += 1;
    };
    assert!(
        matches!(refused, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    );
    assert!(files.size().buffer_bytes < 20 * SMALL.part_bytes);
    assert!(write(&files, &given(n)).is_err(), "it is not tried with every chunk");
    for (at, given) in &written {
        assert_eq!(files.read(*at).unwrap(), stored(given), "what was taken is there");
    }
    files.flush().unwrap();
    written.push((write(&files, &given(n)).unwrap(), given(n)));
    files.flush().unwrap();
    drop(files);
    assert_eq!(open(&fs, dir).2, written);
}

/// What was written and what of it was synced.
fn work(files: &ChunkFiles, n: std::ops::Range<i64>) -> (Found, usize) {
    let (mut written, mut synced) = (Found::new(), 0);
    for n in n {
        let Ok(at) = write(files, &given(n)) else { break };
        written.push((at, given(n)));
        if n % 19 == 18 && files.sync().is_ok() {
            synced = written.len();
        }
        if n % 7 == 6 && files.flush().is_err() {
            break;
        }
    }
    (written, synced)
}

fn crash_everywhere(survival: impl Fn(u64) -> Survival) {
    let dir = Path::new("/data/chunks_head");
    let faults = FaultFs::new();
    let fs: Arc<dyn Fs> = Arc::new(faults.clone());
    work(&open(&fs, dir).0, 0..60);
    for operation in 0..faults.operations() {
        let faults = FaultFs::new();
        faults.inject(operation, Fault::Stop);
        let fs: Arc<dyn Fs> = Arc::new(faults.clone());
        let (written, synced) = work(&open(&fs, dir).0, 0..60);
        let survival = survival(operation);
        let context = format!("operation {operation}, {survival:?}");
        let mut faults = faults.crash(survival);
        let mut kept = 0;
        // The second crash finds what opening did not make durable.
        for _ in 0..2 {
            let fs: Arc<dyn Fs> = Arc::new(faults.clone());
            kept = check_damaged(&fs, dir, &written, &context);
            assert!(kept >= synced, "{context}: {kept} of {synced} synced");
            faults = faults.crash(Survival::Nothing);
        }
        // It goes on, and a crash then leaves a beginning of that.
        let fs: Arc<dyn Fs> = Arc::new(faults.clone());
        let (files, _, mut all) = open(&fs, dir);
        all.extend(work(&files, 60..75).0);
        drop(files);
        let fs: Arc<dyn Fs> = Arc::new(faults.crash(survival));
        assert!(check_damaged(&fs, dir, &all, &context) >= kept, "{context}");
    }
}

#[test]
fn stopped_with_all_that_was_not_synced_lost() {
    crash_everywhere(|_| Survival::Nothing);
}

#[test]
fn stopped_with_nothing_lost() {
    crash_everywhere(|_| Survival::Everything);
}

#[test]
fn stopped_with_the_last_writes_lost() {
    crash_everywhere(Survival::Prefix);
}

#[test]
fn stopped_with_writes_reordered() {
    crash_everywhere(Survival::Suffix);
}

#[test]
fn stopped_with_writes_torn() {
    crash_everywhere(Survival::Scattered);
}

#[test]
fn operations_fail() {
    let dir = Path::new("/data/chunks_head");
    for fault in [Fault::Io, Fault::NoSpace] {
        for operation in 0.. {
            let faults = FaultFs::new();
            let fs: Arc<dyn Fs> = Arc::new(faults.clone());
            let (files, ..) = open(&fs, dir);
            faults.inject(operation, fault);
            let (mut written, _) = work(&files, 0..60);
            if faults.operations() <= operation {
                break;
            }
            let _ = files.flush();
            let next = written.len().try_into().unwrap();
            written.extend(work(&files, next..next + 5).0);
            files.flush().unwrap();
            drop(files);
            let context = format!("operation {operation}, {fault:?}");
            assert_eq!(check_damaged(&fs, dir, &written, &context), written.len(), "{context}");
            let fs: Arc<dyn Fs> = Arc::new(faults.crash(Survival::Nothing));
            check_damaged(&fs, dir, &written, &context);
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_cut(mut bytes: Vec<u8>, has_header: bool) {
        if has_header {
            let mut start = Vec::new();
            layout::put_header(&mut start);
            layout::put_chunk(&mut start, &ChunkHeader::new(SeriesRef(1), (1, 2), Encoding::Xor, false), &data(3));
            start.append(&mut bytes);
            bytes = start;
        }
        let fs: Arc<dyn Fs> = Arc::new(FaultFs::new());
        let dir = Path::new("/chunks_head");
        fs.create_dir_all(dir).unwrap();
        fs.open(&dir.join("000003"), OpenMode::CreateNew).unwrap().write_at(&bytes, 0).unwrap();
        let (_, _, found) = open(&fs, dir);
        prop_assert!(!has_header || !found.is_empty());
        let (_, again, same) = open(&fs, dir);
        prop_assert_eq!(again.damage, None);
        prop_assert_eq!(found, same);
    }
}

/// What the block of the format page with this tag holds.
fn example(tag: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats/head_chunks.md");
    let page = fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once(&format!("```{tag}\n")).unwrap();
    let hex = rest.split_once("```").unwrap().0.split_whitespace();
    hex.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn the_worked_example_of_the_page_is_what_is_written() {
    let expected = example("head-chunks");
    let mut appender = XorAppender::new();
    for (t, v) in [(1000, 1.0), (2000, 1.0), (3000, 2.0)] {
        appender.append(t, v).unwrap();
    }
    let header = ChunkHeader::new(SeriesRef(1), (1000, 3000), Encoding::Xor, false);
    let mut staging = Staging::after(1, 4660, Sizes::default());
    let at = staging.put(&header, &appender.into_chunk().data).unwrap();
    staging.close_part();
    assert_eq!(staging.first_full().unwrap().bytes, expected);
    let entry = read_chunk(&expected[usize::try_from(split(at).1).unwrap()..]).unwrap().unwrap();
    assert_eq!(entry.header, header);
}

#[test]
fn files_of_prometheus_are_read_and_written_alike() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/head_chunks/v1/000001");
    let golden = fs::read(path).unwrap();
    let dir = Path::new("/data").join(CHUNKS_HEAD_DIR);
    let fs = with_files(&dir, [("000001", golden.as_slice())].into_iter());
    let mut found = Vec::new();
    let mut visit = |chunk: FoundChunk| found.push(chunk);
    let (files, report) = ChunkFiles::open(Arc::clone(&fs), dir.clone(), &mut visit).unwrap();
    let found: Found = found.into_iter().map(|found| (found.at, read(&files, found))).collect();
    let mut samples = Vec::new();
    for (_, (series, .., data)) in &found {
        let mut chunk = ferula_chunkenc::ChunkIterator::new(Encoding::Xor, data).unwrap();
        while let Some(sample) = chunk.next().unwrap() {
            samples.push((series.0, sample.timestamp, sample.value));
        }
    }
    assert_eq!((report.n_chunks, report.damage), (4, None));
    let start = 1_699_999_200_000;
    let ooo = (160..192).map(|i| (1, start + 5000 + 15_000 * i, -(i as f64)));
    let in_order = (1..4).flat_map(|series: u64| {
        (0..120).map(move |i| {
            let x = i as f64;
            (
                series,
                start + 15_000 * i,
                [x, 0.1 * x * x, 42.0][usize::try_from(series).unwrap() - 1],
            )
        })
    });
    assert_eq!(samples, ooo.chain(in_order).collect::<Vec<_>>());

    let again: Arc<dyn Fs> = Arc::new(FaultFs::new());
    let (files, _) = ChunkFiles::open(Arc::clone(&again), dir.clone(), &mut |_| {}).unwrap();
    for (at, given) in &found {
        assert_eq!(write(&files, given).unwrap(), *at);
    }
    files.flush().unwrap();
    let bytes = again.read(&dir.join("000001")).unwrap();
    let (start, end) = golden.split_at(bytes.len());
    assert!(bytes == start && end.iter().all(|&byte| byte == 0));
}
