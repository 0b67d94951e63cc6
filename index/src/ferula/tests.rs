//! Round trips against Prometheus's format and a model, and files that are not what they should be.

use std::collections::BTreeMap;

use bytes::Bytes;
use ferula_chunkenc::cursor::crc32c;
use proptest::prelude::*;

use super::layout::{N_SECTIONS, TOC_BYTES};
use super::*;
use crate::error::Corruption;
use crate::{ChunkMeta, ChunkRef, Error, Labels, MatchOp, Matcher, SeriesRef, block};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn entry(mint: i64, maxt: i64, chunk: u64) -> ChunkEntry {
    let meta = ChunkMeta { mint, maxt, chunk: ChunkRef(chunk) };
    ChunkEntry { meta, n_samples: 3, bounds: ValueBounds::of(&[1.0, 7.5, mint as f64]) }
}

fn symbols_of(series: &BTreeMap<Labels, Vec<ChunkEntry>>) -> Vec<String> {
    let texts = series.keys().flat_map(|labels| {
        labels.iter().flat_map(|(name, value)| [name.to_owned(), value.to_owned()])
    });
    let mut symbols: Vec<String> = texts.collect();
    symbols.sort_unstable();
    symbols.dedup();
    symbols
}

fn write(series: &BTreeMap<Labels, Vec<ChunkEntry>>) -> Bytes {
    let mut writer = IndexWriter::new(Vec::new(), symbols_of(series)).unwrap();
    for (labels, chunks) in series {
        writer.add_series(labels, chunks).unwrap();
    }
    writer.finish().unwrap().into()
}

/// So many series of a few metrics, with labels that runs, lists and bitmaps are made of.
fn many(n: u64) -> BTreeMap<Labels, Vec<ChunkEntry>> {
    let series = (0..n).map(|i| {
        let mut pairs = vec![
            ("__name__".to_owned(), format!("metric_{}", i * 7 / n)),
            ("instance".to_owned(), format!("10.0.0.{}:9100", i % 200)),
            ("job".to_owned(), ["api", "db", "web"][(i % 3) as usize].to_owned()),
            ("uid".to_owned(), format!("{:08x}", i.wrapping_mul(0x9e37_79b9) & 0xffff_ffff)),
        ];
        if i.is_multiple_of(5) {
            pairs.push(("le".to_owned(), "+Inf".to_owned()));
        }
        let from = i64::try_from(i % 200).unwrap();
        let chunks =
            vec![entry(from, from + 7200, i * 10), entry(from + 8000, i64::MAX, i * 10 + 3)];
        (Labels::from_pairs(pairs).unwrap(), chunks)
    });
    let mut series: BTreeMap<_, _> = series.collect();
    // In the order of labels, as refs of chunks are.
    for (at, chunks) in (0..).zip(series.values_mut()) {
        for (chunk, place) in chunks.iter_mut().zip(0..) {
            chunk.meta.chunk = ChunkRef(at * 1_000_000 + place);
        }
    }
    series
}

#[test]
fn series_come_out_as_they_went_in() {
    for n in [0, 1, 16, 17, 3000] {
        let series = many(n);
        let index = IndexReader::open(write(&series)).unwrap();
        index.verify().unwrap();
        assert_eq!(u64::from(index.n_series()), n);
        let mut cursor = index.cursor();
        let mut metas = Vec::new();
        for (number, (labels, chunks)) in (1..).zip(&series) {
            assert_eq!(cursor.series(SeriesRef(number), &mut metas).unwrap(), *labels);
            assert_eq!(cursor.chunks(SeriesRef(number)).unwrap(), chunks);
            assert_eq!(metas, chunks.iter().map(|chunk| chunk.meta).collect::<Vec<_>>());
        }
        for (number, (labels, _)) in (1..).zip(&series).step_by(7).collect::<Vec<_>>().iter().rev()
        {
            assert_eq!(cursor.series(SeriesRef(*number), &mut metas).unwrap(), **labels);
            assert_eq!(index.series(SeriesRef(*number), &mut metas).unwrap(), **labels);
        }
        for nowhere in [0, n + 1, u64::MAX] {
            let refused = index.series(SeriesRef(nowhere), &mut metas).unwrap_err();
            assert!(matches!(refused, Error::UnknownSeries { .. }), "{refused:?}");
        }
        let mut symbols = Vec::new();
        index.for_each_symbol(|text| symbols.push(text.to_owned())).unwrap();
        assert_eq!(symbols, symbols_of(&series));
    }
}

fn matchers() -> Vec<Vec<Matcher>> {
    let matcher = |op, name, value| Matcher::new(op, name, value).unwrap();
    let (equal, not_equal) = (MatchOp::Equal, MatchOp::NotEqual);
    let (regex, not_regex) = (MatchOp::Regex, MatchOp::NotRegex);
    vec![
        vec![],
        vec![matcher(equal, "job", "api")],
        vec![matcher(equal, "job", "nobody")],
        vec![matcher(equal, "nothing", "")],
        vec![matcher(equal, "nothing", "x")],
        vec![matcher(equal, "le", "")],
        vec![matcher(not_equal, "le", "")],
        vec![matcher(not_equal, "job", "api"), matcher(equal, "__name__", "metric_3")],
        vec![matcher(regex, "job", "a.*|w.*")],
        vec![matcher(equal, "job", "db"), matcher(regex, "instance", "10\\.0\\.0\\.1.*|.*99:.*")],
        vec![matcher(regex, "uid", "0.*")],
        vec![matcher(regex, "uid", ".+"), matcher(equal, "__name__", "metric_1")],
        vec![matcher(not_regex, "uid", "[0-9a-e].*")],
        vec![matcher(regex, "instance", "10.0.0.7:9100|10.0.0.8:9100|")],
        vec![matcher(not_regex, "instance", "10.*")],
    ]
}

#[test]
fn selections_are_those_of_the_other_format() {
    let series = many(2500);
    let own = IndexReader::open(write(&series)).unwrap();
    let mut writer = block::IndexWriter::new(Vec::new(), symbols_of(&series)).unwrap();
    for (labels, chunks) in &series {
        let metas: Vec<ChunkMeta> = chunks.iter().map(|chunk| chunk.meta).collect();
        writer.add_series(labels, &metas).unwrap();
    }
    let other = block::IndexReader::open(writer.finish().unwrap().into()).unwrap();
    let mut chunks = Vec::new();
    for matchers in matchers() {
        let mut of_own = Vec::new();
        for series in &own.select(&matchers).unwrap() {
            of_own.push((own.series(series, &mut chunks).unwrap(), chunks.clone()));
        }
        let mut of_other = Vec::new();
        for series in &other.select(&matchers).unwrap() {
            of_other.push((other.series(series, &mut chunks).unwrap(), chunks.clone()));
        }
        assert_eq!(of_own, of_other, "{matchers:?}");
        assert_eq!(own.label_names(&matchers).unwrap(), other.label_names(&matchers).unwrap());
        for name in ["__name__", "instance", "job", "le", "uid", "nothing"] {
            let values = own.label_values(name, &matchers).unwrap();
            assert_eq!(values, other.label_values(name, &matchers).unwrap(), "{matchers:?} {name}");
        }
    }
    let api = labels(&[("job", "api")]);
    let found = own.postings("job", "api").unwrap();
    assert_eq!(found, own.select(&[Matcher::equal("job", "api")]).unwrap());
    assert_eq!(api.get("job"), Some("api"));
    assert!(own.size_bytes() < other.size_bytes());
}

#[test]
fn what_does_not_ascend_is_refused() {
    let symbols = ["a", "b", "c"];
    let refused = IndexWriter::new(Vec::new(), ["b", "a"]).unwrap_err();
    assert!(matches!(refused, Error::SymbolOrder { .. }));
    let mut writer = IndexWriter::new(Vec::new(), symbols).unwrap();
    writer.add_series(&labels(&[("a", "c")]), &[entry(0, 5, 10)]).unwrap();
    for (pairs, chunks, refused) in [
        ([("a", "b")], vec![], "SeriesOrder"),
        ([("a", "c")], vec![], "SeriesOrder"),
        ([("a", "x")], vec![], "UnknownSymbol"),
        ([("b", "c")], vec![entry(0, 5, 9)], "ChunkOrder"),
        ([("b", "c")], vec![entry(0, 5, 11), entry(5, 9, 12)], "ChunkOrder"),
        ([("b", "c")], vec![entry(6, 5, 11)], "ChunkOrder"),
    ] {
        let found = writer.add_series(&labels(&pairs), &chunks).unwrap_err();
        assert!(format!("{found:?}").starts_with(refused), "{found:?}");
    }
    writer.add_series(&labels(&[("b", "c")]), &[entry(0, 5, 11)]).unwrap();
    let index = IndexReader::open(writer.finish().unwrap().into()).unwrap();
    index.verify().unwrap();
    assert_eq!(index.n_series(), 2);
}

/// Reads everything that can be read; what fails must say so.
fn read_all(data: Bytes) -> Result<usize, Error> {
    let index = IndexReader::open(data)?;
    let mut found = 0;
    let mut chunks = Vec::new();
    index.for_each_symbol(|text| found += text.len())?;
    let mut cursor = index.cursor();
    for series in 1..=index.n_series() {
        found += cursor.series(SeriesRef(series.into()), &mut chunks)?.len();
        found += chunks.len();
    }
    for matchers in matchers() {
        found += usize::try_from(index.select(&matchers)?.len()).unwrap();
        for name in index.label_names(&matchers)? {
            found += index.label_values(&name, &matchers)?.len();
        }
    }
    index.verify()?;
    Ok(found)
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let data = write(&many(40));
    read_all(data.clone()).unwrap();
    for at in 0..data.len() {
        let mut flipped = data.to_vec();
        flipped[at] ^= 1 << (at % 8);
        let refused = read_all(flipped.into()).unwrap_err();
        assert!(matches!(refused, Error::Corrupt { .. }), "{at}: {refused:?}");
        let refused = read_all(data.slice(..at)).unwrap_err();
        assert!(matches!(refused, Error::Corrupt { .. }), "{at}: {refused:?}");
    }
    let wrong = |at: usize, byte: u8| {
        let mut wrong = data.to_vec();
        wrong[at] = byte;
        match IndexReader::open(wrong.into()).unwrap_err() {
            Error::Corrupt { section: block::Section::Header, source, .. } => source,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(wrong(0, 0), Corruption::Magic { .. }));
    assert_eq!(wrong(4, 2), Corruption::Version { found: 2 });
}

/// Makes all checksums right again, so that what is wrong is found by looking at it.
fn with_right_checksums(mut data: Vec<u8>) -> Bytes {
    let toc = super::toc::Toc::read(&data).unwrap();
    // Groups, by their offsets.
    for at in [0, 2, 5] {
        let (section, offsets) = (toc.range(at), toc.range(at + 1));
        let ends: Vec<usize> = data[offsets]
            .chunks(5)
            .map(|bytes| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
            .collect();
        for pair in ends.windows(2) {
            let group = section.start + pair[0]..section.start + pair[1] - 4;
            let crc = crc32c(&data[group.clone()]);
            data[group.end..group.end + 4].copy_from_slice(&crc.to_be_bytes());
        }
    }
    let names = toc.range(7);
    let crc = crc32c(&data[names.start..names.end - 4]);
    data[names.end - 4..names.end].copy_from_slice(&crc.to_be_bytes());
    let mut toc = toc;
    for at in 0..N_SECTIONS {
        toc.sections[at].1 = crc32c(&data[toc.range(at)]);
    }
    let len = data.len() - TOC_BYTES;
    data.truncate(len);
    toc.write(&mut data);
    data.into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn hostile_files_do_no_harm(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut data = write(&many(40)).to_vec();
        let toc = super::toc::Toc::read(&data).unwrap();
        // The offsets stay, so that checksums can be made right.
        let places: Vec<usize> = [0, 2, 4, 5, 7].into_iter().flat_map(|at| toc.range(at)).collect();
        for (place, byte) in edits {
            data[places[place.index(places.len())]] = byte;
        }
        // Some of it may be read: what must not happen is a panic or an endless loop.
        let _ = read_all(with_right_checksums(data));
    }

    #[test]
    fn any_label_sets_survive(
        sets in prop::collection::btree_map(
            prop::collection::btree_map("[a-c]{1,2}", "[a-zé]{1,3}", 0..5), 0..4_u64, 0..60,
        )
    ) {
        let mut next = 0;
        let series: BTreeMap<Labels, Vec<ChunkEntry>> = sets
            .into_iter()
            .map(|(pairs, n_chunks)| (Labels::from_pairs(pairs).unwrap(), n_chunks))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .map(|(labels, n_chunks)| {
                let chunks = (0..n_chunks).map(|at| {
                    next += 1;
                    let from = i64::MIN + i64::try_from(at * 1000 + next % 7).unwrap();
                    entry(from, from + 500, next << 20)
                });
                (labels, chunks.collect())
            })
            .collect();
        let index = IndexReader::open(write(&series)).unwrap();
        index.verify().unwrap();
        let mut cursor = index.cursor();
        let mut metas = Vec::new();
        for (number, (labels, chunks)) in (1..).zip(&series) {
            prop_assert_eq!(&cursor.series(SeriesRef(number), &mut metas).unwrap(), labels);
            prop_assert_eq!(cursor.chunks(SeriesRef(number)).unwrap(), chunks);
            for (name, value) in labels.iter() {
                prop_assert!(index.postings(name, value).unwrap().contains(SeriesRef(number)));
            }
        }
    }
}
