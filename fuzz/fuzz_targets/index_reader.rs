//! Index files: arbitrary bytes are read or refused, and what is sound can be written again.
#![no_main]

use ferula_chunkenc::cursor::crc32c;
use ferula_index::block::{IndexReader, IndexWriter};
use ferula_index::{Error, Matcher};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut data = data.to_vec();
    mend_toc(&mut data);
    let Ok(index) = IndexReader::open(data.into()) else { return };
    let _ = read(&index);
});

/// Corrects the checksum of the table of contents, which random bytes never have.
fn mend_toc(data: &mut [u8]) {
    if let Some(start) = data.len().checked_sub(52) {
        let crc = crc32c(&data[start..start + 48]);
        data[start + 48..].copy_from_slice(&crc.to_be_bytes());
    }
}

fn read(index: &IndexReader) -> Result<(), Error> {
    for name in index.label_names(&[])? {
        for value in index.label_values(&name, &[])? {
            let selected = index.select(&[Matcher::equal(&name, &value)])?;
            index.label_values(&name, &[Matcher::equal(&name, &value)])?;
            drop(selected);
        }
    }
    let mut chunks = Vec::new();
    let symbols = index.symbols().collect::<Result<Vec<_>, _>>()?;
    let mut writer = IndexWriter::new(Vec::new(), symbols)?;
    let all = index.select(&[])?;
    for series in &all {
        let labels = index.series(series, &mut chunks)?;
        writer.add_series(&labels, &chunks)?;
    }
    let again = IndexReader::open(writer.finish()?.into()).expect("written a moment ago");
    assert_eq!(again.select(&[]).expect("written a moment ago").len(), all.len());
    Ok(())
}
