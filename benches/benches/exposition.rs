//! How fast are pages of metrics parsed?
//!
//! `cargo bench -p ferula-benches --bench exposition`
//!
//! Pages of recorded scrapes of real targets (`FERULA_SCRAPES`, or `../shared/data/real-a.scrapes.zst`), the first 32 MiB of them.
//! `known` reads lines as a scraper does that has seen their series before, `new` makes the labels of each. Throughput
//! counts bytes of text.

use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ferula_benches::recording;
use ferula_index::Labels;
use ferula_wire::exposition::text::{Entry, TextParser};

const DEFAULT_SCRAPES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data/real-a.scrapes.zst");

const MAX_BYTES: usize = 32 << 20;

fn parse(c: &mut Criterion) {
    let path = std::env::var_os("FERULA_SCRAPES")
        .map_or_else(|| PathBuf::from(DEFAULT_SCRAPES), PathBuf::from);
    let Ok(pages) = recording::pages(&path, MAX_BYTES) else {
        println!("no recorded scrapes at {}: nothing to parse", path.display());
        return;
    };
    let n_bytes: usize = pages.iter().map(Vec::len).sum();
    let mut group = c.benchmark_group("exposition");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(n_bytes.try_into().expect("some megabytes")));
    for (name, makes_labels) in [("known", false), ("new", true)] {
        group.bench_function(name, |b| b.iter(|| read(&pages, makes_labels)));
    }
    group.finish();
}

fn read(pages: &[Vec<u8>], makes_labels: bool) {
    for page in pages {
        let mut parser = TextParser::new(page);
        while let Some(entry) = parser.next_entry().expect("a page of a real target") {
            if let Entry::Sample(sample) = entry {
                black_box((sample.series, sample.value));
                if makes_labels {
                    black_box(Labels::from_pairs(parser.labels()).expect("labels"));
                }
            }
        }
    }
}

criterion_group!(benches, parse);
criterion_main!(benches);
