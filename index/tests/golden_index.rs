//! Index files written by Prometheus: they are read, and writing what was read gives their bytes.

#![expect(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use ferula_chunkenc::cursor::{
    crc32c, put_prefixed_bytes, put_u32_be, put_u64_be, put_uvarint, put_varint,
};
use ferula_index::block::{IndexReader, IndexWriter};
use ferula_index::{ChunkMeta, ChunkRef, Corruption, Error, Labels, MatchOp, Matcher, SeriesRef};

const CASES: [&str; 3] = ["empty", "many", "small"];

struct Series {
    series: SeriesRef,
    labels: Labels,
    chunks: Vec<ChunkMeta>,
}

fn path(name: &str, extension: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/index/v2")
        .join(name)
        .with_extension(extension)
}

fn file(name: &str) -> Bytes {
    fs::read(path(name, "index")).unwrap().into()
}

fn listing(name: &str) -> Vec<Series> {
    let text = fs::read_to_string(path(name, "series")).unwrap();
    text.lines().map(parse_series).collect()
}

fn parse_series(line: &str) -> Series {
    let mut fields = line.split('\t');
    let series = SeriesRef(fields.next().unwrap().parse().unwrap());
    let chunks = fields.next().unwrap().split(';').filter(|text| !text.is_empty());
    let chunks = chunks.map(|chunk| {
        let mut numbers = chunk.split(',');
        let mut next = || numbers.next().unwrap();
        ChunkMeta {
            mint: next().parse().unwrap(),
            maxt: next().parse().unwrap(),
            chunk: ChunkRef(next().parse().unwrap()),
        }
    });
    let chunks = chunks.collect();
    let fields: Vec<&str> = fields.collect();
    let labels = Labels::from_pairs(fields.chunks(2).map(|pair| (pair[0], pair[1]))).unwrap();
    Series { series, labels, chunks }
}

#[test]
fn series_are_read() {
    for name in CASES {
        let index = IndexReader::open(file(name)).unwrap();
        let expected = listing(name);
        let refs: Vec<SeriesRef> = index.select(&[]).unwrap().iter().collect();
        assert_eq!(refs, expected.iter().map(|s| s.series).collect::<Vec<_>>(), "{name}");
        let mut chunks = Vec::new();
        for Series { series, labels, chunks: expected } in expected {
            assert_eq!(index.series(series, &mut chunks).unwrap(), labels, "{name}");
            assert_eq!(chunks, expected, "{name}: {labels}");
            assert_eq!(index.labels(series).unwrap(), labels, "{name}");
        }
    }
}

#[test]
fn rewriting_gives_the_same_bytes() {
    for name in CASES {
        let index = IndexReader::open(file(name)).unwrap();
        let symbols: Vec<&str> = index.symbols().collect::<Result<_, _>>().unwrap();
        let mut writer = IndexWriter::new(Vec::new(), &symbols).unwrap();
        for Series { series, labels, chunks } in listing(name) {
            assert_eq!(writer.add_series(&labels, &chunks).unwrap(), series, "{name}");
        }
        assert_eq!(Bytes::from(writer.finish().unwrap()), file(name), "{name}");
    }
}

#[test]
fn matchers_select_what_they_match() {
    let index = IndexReader::open(file("many")).unwrap();
    let all = listing("many");
    let matcher = |op, name, value| Matcher::new(op, name, value).unwrap();
    let (equal, not_equal) = (MatchOp::Equal, MatchOp::NotEqual);
    let (regex, not_regex) = (MatchOp::Regex, MatchOp::NotRegex);
    let queries = [
        vec![matcher(equal, "__name__", "zażółć")],
        vec![matcher(equal, "job", "böse"), matcher(not_equal, "__name__", "up")],
        vec![matcher(regex, "instance", "host-0[13].*")],
        vec![matcher(regex, "instance", "host-000:9100|host-031:9100|host-099:9100|nowhere")],
        vec![matcher(not_regex, "instance", "host-0.*"), matcher(equal, "rare name", "")],
        vec![matcher(not_equal, "rare name", ""), matcher(regex, "job", "api|node")],
        vec![matcher(regex, "rare name", "x+|"), matcher(equal, "job", "api")],
        vec![matcher(equal, "instance", "host-100:9100")],
        vec![matcher(equal, "nothing", "")],
        vec![matcher(regex, "nothing", ".+")],
        vec![matcher(not_regex, "job", ".*")],
    ];
    for matchers in queries {
        let passes = |labels: &Labels| {
            matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or_default()))
        };
        let expected: Vec<&Series> = all.iter().filter(|s| passes(&s.labels)).collect();
        let selected: Vec<SeriesRef> = index.select(&matchers).unwrap().iter().collect();
        assert_eq!(selected, expected.iter().map(|s| s.series).collect::<Vec<_>>(), "{matchers:?}");

        let labels = || expected.iter().flat_map(|s| s.labels.iter());
        let names: BTreeSet<&str> = labels().map(|(name, _)| name).collect();
        assert!(index.label_names(&matchers).unwrap().iter().eq(names), "{matchers:?}");
        for wanted in ["instance", "job", "rare name", "nothing"] {
            let values: BTreeSet<&str> =
                labels().filter(|(name, _)| *name == wanted).map(|(_, value)| value).collect();
            let found = index.label_values(wanted, &matchers).unwrap();
            assert!(found.iter().eq(values), "{wanted} of {matchers:?}");
        }
    }
}

#[test]
fn names_and_values_are_listed_in_order() {
    let index = IndexReader::open(file("many")).unwrap();
    assert_eq!(index.label_names(&[]).unwrap(), ["__name__", "instance", "job", "rare name"]);
    assert_eq!(index.label_values("job", &[]).unwrap(), ["api", "böse", "node"]);
    assert_eq!(index.label_values("instance", &[]).unwrap().len(), 100);
    assert_eq!(index.postings("job", "api").unwrap().len(), 102);
    assert!(index.label_values("", &[]).unwrap().iter().all(String::is_empty));
}

/// Reads everything there is.
fn read_all(data: Bytes) -> Result<(), Error> {
    let index = IndexReader::open(data)?;
    let mut chunks = Vec::new();
    for series in &index.select(&[])? {
        index.series(series, &mut chunks)?;
    }
    for name in index.label_names(&[])? {
        for value in index.label_values(&name, &[])? {
            index.postings(&name, &value)?;
        }
    }
    for symbol in index.symbols() {
        symbol?;
    }
    Ok(())
}

#[test]
fn flipped_bits_are_found() {
    let data = file("small");
    assert!(read_all(data.clone()).is_ok());
    for bit in 0..data.len() * 8 {
        let mut flipped = data.to_vec();
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        let at = bit / 8;
        // Zeros between series are never looked at.
        let is_padding = matches!(at, 0x2a..0x30 | 0x45..0x50 | 0x61..0x64);
        // Version 3 has the same layout.
        let is_version = at == 4 && flipped[4] == 3;
        assert_eq!(read_all(flipped.into()).is_ok(), is_padding || is_version, "byte {at:#x}");
    }
}

#[test]
fn a_cut_file_is_refused() {
    let data = file("small");
    for len in 0..data.len() {
        assert!(read_all(data.slice(..len)).is_err(), "cut to {len} bytes");
    }
}

#[test]
fn errors_name_section_and_offset() {
    let data = file("small");
    let flipped = |at: usize| {
        let mut data = data.to_vec();
        data[at] ^= 1;
        read_all(data.into()).unwrap_err()
    };
    assert_eq!(flipped(0x10).to_string(), "symbol table of the index is corrupt at byte 5");
    assert_eq!(flipped(0x32).to_string(), "series of the index is corrupt at byte 48");
    assert_eq!(flipped(0x70).to_string(), "postings of the index is corrupt at byte 100");
    assert_eq!(flipped(0xc0).to_string(), "postings table of the index is corrupt at byte 172");
    assert_eq!(flipped(0xe8).to_string(), "table of contents of the index is corrupt at byte 225");
    let mut newer = data.to_vec();
    newer[4] = 4;
    let version = read_all(newer.into()).unwrap_err();
    assert_eq!(version.source().unwrap().to_string(), "version 4 is not supported");
    let magic = flipped(0);
    let found = Corruption::Magic { found: 0xbbaa_d700 };
    assert!(matches!(magic, Error::Corrupt { source, .. } if source == found));
}

#[test]
fn unknown_series_are_refused() {
    let index = IndexReader::open(file("small")).unwrap();
    for series in [0, 2, 7, u64::MAX] {
        let refused = index.labels(SeriesRef(series));
        let expected = SeriesRef(series);
        assert!(
            matches!(refused, Err(Error::UnknownSeries { series }) if series == expected),
            "{series}"
        );
    }
}

#[test]
fn the_writer_refuses_what_is_out_of_order() {
    let labels = |value| Labels::from_pairs([("a", value)]).unwrap();
    let chunk = |mint, maxt, chunk| ChunkMeta { mint, maxt, chunk: ChunkRef(chunk) };
    assert!(matches!(
        IndexWriter::new(Vec::new(), ["b", "a"]),
        Err(Error::SymbolOrder { symbol }) if symbol == "a"
    ));
    let mut writer = IndexWriter::new(Vec::new(), ["1", "2", "3", "a"]).unwrap();
    writer.add_series(&labels("2"), &[chunk(0, 10, 100)]).unwrap();
    for value in ["1", "2"] {
        let refused = writer.add_series(&labels(value), &[]);
        assert!(matches!(refused, Err(Error::SeriesOrder { .. })));
    }
    let unknown = writer.add_series(&labels("4"), &[]);
    assert!(matches!(unknown, Err(Error::UnknownSymbol { symbol }) if symbol == "4"));
    for chunks in [
        vec![chunk(0, 10, 99)],
        vec![chunk(0, 10, 100), chunk(10, 20, 101)],
        vec![chunk(0, 10, 101), chunk(11, 20, 100)],
        vec![chunk(10, 0, 100)],
    ] {
        let refused = writer.add_series(&labels("3"), &chunks);
        assert!(matches!(refused, Err(Error::ChunkOrder { .. })), "{chunks:?}");
    }
    writer.add_series(&labels("3"), &[chunk(0, 0, 100)]).unwrap();
    let index = IndexReader::open(writer.finish().unwrap().into()).unwrap();
    assert_eq!(index.label_values("a", &[]).unwrap(), ["2", "3"]);
}

#[test]
fn version_3_is_read_like_version_2() {
    for name in CASES {
        let mut data = file(name).to_vec();
        data[4] = 3;
        let index = IndexReader::open(data.into()).unwrap();
        let mut chunks = Vec::new();
        for series in listing(name) {
            assert_eq!(index.series(series.series, &mut chunks).unwrap(), series.labels);
            assert_eq!(chunks, series.chunks);
        }
    }
}

/// Appends what is between a length of 32 bits and a checksum.
fn put_section(file: &mut Vec<u8>, content: &[u8]) -> u64 {
    let at = file.len() as u64;
    put_u32_be(file, u32::try_from(content.len()).unwrap());
    file.extend_from_slice(content);
    put_u32_be(file, crc32c(content));
    at
}

/// An index of version 1: symbols and series by offset, series not aligned, postings table in no
/// order.
fn version_1() -> (Vec<u8>, Vec<(u64, Labels)>) {
    let mut file = vec![0xba, 0xaa, 0xd7, 0x00, 1];
    let texts = ["__name__", "api", "job", "node", "up"];
    let mut content = Vec::new();
    put_u32_be(&mut content, 5);
    let mut symbols = BTreeMap::new();
    for text in texts {
        symbols.insert(text, 5 + 4 + content.len() as u64);
        put_prefixed_bytes(&mut content, text.as_bytes());
    }
    let mut toc = vec![put_section(&mut file, &content)];
    toc.push(file.len() as u64);
    let mut made = Vec::new();
    for job in ["api", "node"] {
        let mut content = Vec::new();
        put_uvarint(&mut content, 2);
        for text in ["__name__", "up", "job", job] {
            put_uvarint(&mut content, symbols[text]);
        }
        put_uvarint(&mut content, 1);
        put_varint(&mut content, 1000);
        put_uvarint(&mut content, 500);
        put_uvarint(&mut content, 8);
        made.push((
            file.len() as u64,
            Labels::from_pairs([("__name__", "up"), ("job", job)]).unwrap(),
        ));
        put_uvarint(&mut file, content.len() as u64);
        file.extend_from_slice(&content);
        put_u32_be(&mut file, crc32c(&content));
    }
    let postings_at = file.len() as u64;
    let mut table = Vec::new();
    put_u32_be(&mut table, 4);
    let (api, node) = (made[0].0, made[1].0);
    for (name, value, series) in [
        ("job", "node", vec![node]),
        ("job", "api", vec![api]),
        ("", "", vec![api, node]),
        ("__name__", "up", vec![api, node]),
    ] {
        let mut content = Vec::new();
        put_u32_be(&mut content, u32::try_from(series.len()).unwrap());
        for series in series {
            put_u32_be(&mut content, u32::try_from(series).unwrap());
        }
        let at = put_section(&mut file, &content);
        put_uvarint(&mut table, 2);
        put_prefixed_bytes(&mut table, name.as_bytes());
        put_prefixed_bytes(&mut table, value.as_bytes());
        put_uvarint(&mut table, at);
    }
    let table_at = put_section(&mut file, &table);
    toc.extend([postings_at, table_at, postings_at, table_at]);
    let mut bytes = Vec::new();
    for offset in toc {
        put_u64_be(&mut bytes, offset);
    }
    file.extend_from_slice(&bytes);
    put_u32_be(&mut file, crc32c(&bytes));
    (file, made)
}

#[test]
fn version_1_is_read() {
    let (file, made) = version_1();
    let index = IndexReader::open(file.clone().into()).unwrap();
    assert_eq!(index.label_names(&[]).unwrap(), ["__name__", "job"]);
    assert_eq!(index.label_values("job", &[]).unwrap(), ["api", "node"]);
    let up = [Matcher::equal("__name__", "up")];
    assert_eq!(index.label_values("job", &up).unwrap(), ["api", "node"]);
    assert_eq!(index.label_names(&up).unwrap(), ["__name__", "job"]);
    let mut chunks = Vec::new();
    for (series, labels) in made {
        assert_eq!(index.series(SeriesRef(series), &mut chunks).unwrap(), labels);
        assert_eq!(chunks, [ChunkMeta { mint: 1000, maxt: 1500, chunk: ChunkRef(8) }]);
        let job = labels.get("job").unwrap();
        for (op, value) in [(MatchOp::Equal, job.to_owned()), (MatchOp::Regex, format!("{job}.*"))]
        {
            let matcher = Matcher::new(op, "job", &value).unwrap();
            let selected = index.select(&[matcher]).unwrap();
            assert_eq!(selected.iter().collect::<Vec<_>>(), [SeriesRef(series)]);
        }
    }
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 0x80 >> (bit % 8);
        // Never a panic; version 3 is refused for what its offsets mean.
        assert!(read_all(flipped.into()).is_err(), "byte {:#x}", bit / 8);
    }
}
