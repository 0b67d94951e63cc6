use std::path::Path;
use std::sync::Arc;

use ferula_index::Labels;
use ferula_wal::fs::{Fault, FaultFs, Fs, OpenMode, Survival};
use proptest::prelude::*;

use super::file::SNAPSHOT_FILE;
use super::*;
use crate::error::Error;
use crate::exemplar::Exemplar;
use crate::head::exemplars::Logged;
use crate::head::metadata::Described;
use crate::metadata::{Metadata, MetricType};

/// A series with all that a snapshot holds of it.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    series: u64,
    labels: Vec<(String, String)>,
    full: Vec<SnapshotChunk>,
    open: Option<(Encoding, i64, u64, Vec<u8>)>,
}

fn labels(pairs: &[(String, String)]) -> Labels {
    Labels::from_pairs(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str()))).unwrap()
}

fn write(snapshot: &Snapshot, all: &[Owned]) -> Vec<u8> {
    let mut writer = SnapshotWriter::new(Vec::new(), snapshot).unwrap();
    for Owned { series, labels: pairs, full, open } in all {
        let open = open.as_ref().map(|(encoding, mint, cut_span_ms, data)| SnapshotOpen {
            encoding: *encoding,
            mint: *mint,
            cut_span_ms: *cut_span_ms,
            data,
        });
        let full = full.iter().copied();
        writer.add(SeriesRef(*series), &labels(pairs), full, open).unwrap();
    }
    writer.finish().unwrap()
}

fn read(reader: &SnapshotReader) -> Result<Vec<Owned>, Error> {
    let mut all = Vec::new();
    let mut n_series = 0;
    for frame in 0..reader.n_frames() {
        n_series += reader.read_frame(frame, &mut |series| {
            let pair = |&pair: &u32| {
                let (name, value) = reader.pair(pair);
                (name.to_owned(), value.to_owned())
            };
            all.push(Owned {
                series: series.series.0,
                labels: series.pairs.iter().map(pair).collect(),
                full: series.full.to_vec(),
                open: series
                    .open
                    .map(|open| (open.encoding, open.mint, open.cut_span_ms, open.data.to_vec())),
            });
            Ok(())
        })?;
    }
    assert_eq!(n_series, reader.n_series());
    Ok(all)
}

fn open_bytes(bytes: Vec<u8>) -> Result<(Snapshot, Vec<Owned>), Error> {
    let reader = SnapshotReader::open(Path::new("head_snapshot"), bytes.into())?;
    let all = read(&reader)?;
    read_notes(&reader)?;
    Ok((reader.snapshot().clone(), all))
}

/// Series and exemplars, and series with what they say.
type Notes = (Vec<(Labels, Logged)>, Vec<(SeriesRef, Described)>);

fn read_notes(reader: &SnapshotReader) -> Result<Notes, Error> {
    let (mut exemplars, mut said) = Notes::default();
    reader.read_exemplars(|labels, logged| exemplars.push((labels.clone(), logged)))?;
    reader.read_metadata(|series, says| said.push((series, says.to_described())))?;
    Ok((exemplars, said))
}

/// As many exemplars, and a seventh as many descriptions, two series to each.
fn notes(n: usize) -> Notes {
    let name = |n: usize| labels(&pairs(&[("__name__", &n.to_string())]));
    let exemplar = |n: usize| {
        let trace = labels(&pairs(&[("trace_id", &"x".repeat(n % 90))]));
        let exemplar = Exemplar::new(-5 * i64::try_from(n).unwrap(), n as f64, trace);
        (name(n % 40), Logged { logged_as: SeriesRef(1 + n as u64 % 40), exemplar })
    };
    let said = |n: usize| {
        let metadata = Metadata::new(MetricType::Info, "u".repeat(n % 3), format!("{n:040}"));
        (SeriesRef(100 + n as u64), Described { metric: format!("m{n}"), metadata })
    };
    let twice = (0..n / 7).flat_map(|n| {
        let (series, described) = said(n);
        [(SeriesRef(series.0 * 2), described.clone()), (SeriesRef(series.0 * 2 + 1), described)]
    });
    ((0..n).map(exemplar).collect(), twice.collect())
}

fn write_notes((exemplars, said): &Notes) -> Vec<u8> {
    let mut writer = SnapshotWriter::new(Vec::new(), &Snapshot::default()).unwrap();
    for (labels, logged) in exemplars {
        writer.add_exemplar(labels, logged).unwrap();
    }
    for (_, described) in said.iter().step_by(2) {
        writer.add_description(described).unwrap();
    }
    for (n, (series, _)) in (0..).zip(said) {
        writer.add_described(*series, n / 2).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn notes_are_read_as_they_were_written() {
    for n in [0, 1, 7, 100, 30_000] {
        let notes = notes(n);
        let bytes = write_notes(&notes);
        let reader = SnapshotReader::open(Path::new("head_snapshot"), bytes.into()).unwrap();
        assert_eq!(read_notes(&reader).unwrap(), notes);
    }
    let whole = write_notes(&notes(20));
    for at in (0..whole.len()).filter(|at| !(5..8).contains(at)) {
        let mut flipped = whole.clone();
        flipped[at] ^= 8;
        assert!(open_bytes(flipped).is_err(), "bit of byte {at} flipped");
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn small() -> (Snapshot, Vec<Owned>) {
    let chunk = |mint, maxt, at| SnapshotChunk { mint, maxt, at: ChunkRef(at) };
    let snapshot = Snapshot {
        origin: Origin {
            log: LogEnd { segment: 7, len: 40_960, tail: 0x0102_0304 },
            out_of_order: LogEnd { segment: 2, len: 20, tail: 0x0506_0708 },
            covered_until: 0,
            chunk_files: vec![ChunkFileEnd { number: 1, end: 500, maxt: 3000 }],
        },
        next_ref: 9,
        has_opaque_records: false,
        aliases: vec![(SeriesRef(4), SeriesRef(2))],
        deleted: vec![],
    };
    let up = |job: &str| pairs(&[("__name__", "up"), ("job", job)]);
    let xor = |n| Some((Encoding::Xor, 3500, 3_596_500, vec![n; 3]));
    let all = vec![
        Owned {
            series: 2,
            labels: up("a"),
            full: vec![chunk(1000, 3000, 1 << 32 | 8)],
            open: xor(1),
        },
        Owned { series: 8, labels: up("b"), full: vec![], open: None },
    ];
    (snapshot, all)
}

#[test]
fn what_is_written_is_read() {
    let (snapshot, all) = small();
    assert_eq!(open_bytes(write(&snapshot, &all)).unwrap(), (snapshot, all));
    let (mut snapshot, all) = small();
    snapshot.deleted = (0..20_000).map(|i| (SeriesRef(i / 2), -5, i64::MAX)).collect();
    assert_eq!(open_bytes(write(&snapshot, &all)).unwrap(), (snapshot, all));
    let nothing = Snapshot::default();
    assert_eq!(open_bytes(write(&nothing, &[])).unwrap(), (nothing, vec![]));
}

#[test]
fn series_are_spread_over_frames() {
    let all: Vec<Owned> = (1..40_000)
        .map(|series| Owned {
            series,
            labels: pairs(&[("__name__", "m"), ("n", &(series / 3).to_string()), ("o", "p")]),
            full: vec![],
            open: Some((Encoding::Xor, 5, 6, vec![7; 20])),
        })
        .collect();
    let snapshot = Snapshot { next_ref: 40_000, ..Snapshot::default() };
    let bytes = write(&snapshot, &all);
    let reader = SnapshotReader::open(Path::new("head_snapshot"), bytes.into()).unwrap();
    assert!(reader.n_frames() > 3, "{}", reader.n_frames());
    assert_eq!(reader.pair(1), ("n", "0"));
    assert_eq!(read(&reader).unwrap(), all);
}

#[test]
fn damage_is_told() {
    let (snapshot, all) = small();
    let whole = write(&snapshot, &all);
    for at in 0..whole.len() {
        assert!(open_bytes(whole[..at].to_vec()).is_err(), "cut to {at} bytes");
        // The padding of the header is not covered.
        if (5..8).contains(&at) {
            continue;
        }
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            assert!(open_bytes(flipped).is_err(), "bit {bit} of byte {at} flipped");
        }
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(open_bytes(longer).is_err());
    let mut newer = whole;
    newer[4] = 2;
    assert!(matches!(open_bytes(newer), Err(Error::Version { found: 2, expected: 1, .. })));
}

/// The content of the frame number `n` is put through `change`, under a right checksum.
fn with_frame(n: usize, change: impl Fn(&mut Vec<u8>)) -> Result<(Snapshot, Vec<Owned>), Error> {
    let (snapshot, all) = small();
    let bytes = write(&snapshot, &all);
    let mut changed = bytes[..layout::HEADER_BYTES].to_vec();
    let mut at = layout::HEADER_BYTES;
    for i in 0.. {
        if at == bytes.len() {
            break;
        }
        let frame = layout::Frame::find(&bytes, at).unwrap();
        let mut content = bytes[frame.content.clone()].to_vec();
        let kind = bytes[at];
        at = frame.end();
        if i == n {
            change(&mut content);
        }
        let mut frame = vec![kind];
        frame.extend_from_slice(&u32::try_from(content.len()).unwrap().to_be_bytes());
        frame.append(&mut content);
        let checksum = ferula_chunkenc::cursor::crc32c(&frame);
        frame.extend_from_slice(&checksum.to_be_bytes());
        changed.append(&mut frame);
    }
    open_bytes(changed)
}

#[test]
fn what_has_right_checksums_may_be_wrong() {
    use crate::error::SnapshotFault;
    let fault = |result: Result<_, Error>| match result.unwrap_err() {
        Error::Snapshot { fault, .. } => fault,
        error => panic!("{error:?}"),
    };
    assert!(with_frame(0, |_| {}).is_ok());
    // Frames: state, chunk files, aliases, pairs, series, end.
    let cut = fault(with_frame(3, |pairs| pairs.truncate(13)));
    assert!(matches!(cut, SnapshotFault::Count { what: "label names", found: 1, expected: 2 }));
    let no_text = fault(with_frame(3, |pairs| pairs[2] = 0xff));
    assert!(matches!(no_text, SnapshotFault::Text { .. }));
    let no_name = fault(with_frame(3, |pairs| pairs[0] = 5));
    assert!(matches!(no_name, SnapshotFault::Text { .. }));
    let no_pair = fault(with_frame(4, |series| series[3] = 3));
    assert_eq!(no_pair, SnapshotFault::Pair { series: SeriesRef(2), pair: 3 });
    let no_series = fault(with_frame(4, |series| series[0] = 0));
    assert_eq!(no_series, SnapshotFault::Order { series: SeriesRef(0) });
    let many = with_frame(4, |series| series[2] = 0x7f);
    assert!(matches!(many, Err(Error::Decode { .. })));
    let unknown = with_frame(4, |series| *series.last_mut().unwrap() = 0x7e);
    assert!(matches!(unknown, Err(Error::Decode { .. })));
}

/// What the block of the format page with this tag holds.
fn example(tag: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats/snapshot.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, rest) = page.split_once(&format!("```{tag}\n")).unwrap();
    let hex = rest.split_once("```").unwrap().0.split_whitespace();
    hex.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn the_worked_example_of_the_page_is_what_is_written() {
    let (snapshot, all) = small();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
    assert_eq!(hex(&write(&snapshot, &all)), hex(&example("snapshot")));
}

fn write_file(fs: &FaultFs, snapshot: &Snapshot) -> Result<(), Error> {
    let mut file = SnapshotFile::create(fs, Path::new("/data"), snapshot)?;
    for Owned { series, labels: pairs, full, .. } in small().1 {
        file.add(SeriesRef(series), &labels(&pairs), full.into_iter(), None)?;
    }
    file.finish()
}

#[test]
fn a_file_is_there_whole_or_not_at_all() {
    let dir = Path::new("/data");
    let first = Snapshot { next_ref: 20, ..Snapshot::default() };
    let second = Snapshot { next_ref: 30, ..Snapshot::default() };
    let work = |fs: &FaultFs| -> Result<(), Error> {
        fs.create_dir_durable(dir).map_err(Error::io("create", dir))?;
        write_file(fs, &first)?;
        remove(fs, dir)?;
        write_file(fs, &second)
    };
    let fs = FaultFs::new();
    work(&fs).unwrap();
    for operation in 0..fs.operations() {
        let seeded = [Survival::Prefix, Survival::Suffix, Survival::Scattered];
        let seeded =
            seeded.into_iter().flat_map(|of| (0..4).map(move |seed| of(operation * 4 + seed)));
        for survival in seeded.chain([Survival::Nothing, Survival::Everything]) {
            for fault in [Fault::Stop, Fault::Io, Fault::NoSpace] {
                let fs = FaultFs::new();
                fs.inject(operation, fault);
                let done = work(&fs).is_ok();
                let fs = fs.crash(survival);
                let context = format!("operation {operation}, {fault:?}, {survival:?}");
                if !fs.exists(dir).unwrap() {
                    continue;
                }
                let found = open(&fs, dir).unwrap_or_else(|error| panic!("{context}: {error:?}"));
                let next_ref = found.as_ref().map(|found| found.snapshot().next_ref);
                let expected: &[_] = if done { &[Some(30)] } else { &[None, Some(20), Some(30)] };
                assert!(expected.contains(&next_ref), "{context}: {next_ref:?}");
                if let Some(found) = found {
                    assert_eq!(read(&found).unwrap().len(), 2, "{context}");
                }
                // What is left does not stand in the way, and goes.
                write_file(&fs, &first).unwrap();
                remove(&fs, dir).unwrap();
                assert_eq!(fs.list(dir).unwrap(), []);
            }
        }
    }
    let fs: Arc<dyn Fs> = Arc::new(fs);
    assert!(fs.exists(&dir.join(SNAPSHOT_FILE)).unwrap());
    fs.open(&dir.join(SNAPSHOT_FILE), OpenMode::Write).unwrap().set_len(9).unwrap();
    assert!(open(&*fs, dir).is_err());
}

fn any_series() -> impl Strategy<Value = Vec<Owned>> {
    let label = ("[a-c]{1,2}", "[a-d]{1,2}");
    let labels = prop::collection::btree_map(label.0, label.1, 1..4);
    let chunk = (any::<i64>(), 0..1000_u64, any::<u64>()).prop_map(|(mint, span, at)| {
        SnapshotChunk { mint, maxt: mint.wrapping_add_unsigned(span), at: ChunkRef(at) }
    });
    let data = prop::collection::vec(any::<u8>(), 0..50);
    let encoding =
        prop::sample::select(vec![Encoding::Xor, Encoding::Histogram, Encoding::FloatHistogram]);
    let open = prop::option::of((encoding, any::<i64>(), any::<u64>(), data));
    let series = (1..u64::MAX / 64, labels, prop::collection::vec(chunk, 0..4), open);
    prop::collection::vec(series, 0..40).prop_map(|all| {
        let mut last = 0;
        let owned = all.into_iter().map(|(step, labels, full, open)| {
            last += step;
            Owned { series: last, labels: labels.into_iter().collect(), full, open }
        });
        owned.collect()
    })
}

proptest! {
    #[test]
    fn any_series_come_back(all in any_series()) {
        // Chunks that end before they begin do not occur, nor do they come back.
        let is_sane = |owned: &Owned| owned.full.iter().all(|chunk| chunk.mint <= chunk.maxt);
        prop_assume!(all.iter().all(is_sane));
        let snapshot = Snapshot::default();
        prop_assert_eq!(open_bytes(write(&snapshot, &all)).unwrap(), (snapshot, all));
    }

    #[test]
    fn any_bytes_are_read_or_refused(content: Vec<u8>, n in 0_usize..6) {
        let _ = with_frame(n, |frame| frame.clone_from(&content));
        let _ = open_bytes(content);
    }
}
