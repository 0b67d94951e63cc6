//! Index files: arbitrary bytes are read or refused, and what is sound can be written again.
#![no_main]

use ferula_chunkenc::cursor::{Cursor, crc32c};
use ferula_index::block::{IndexReader, IndexWriter};
use ferula_index::{Error, Matcher};
use libfuzzer_sys::fuzz_target;

/// Length of the table of contents.
const TOC_BYTES: usize = 52;

fuzz_target!(|data: &[u8]| {
    let mut data = data.to_vec();
    let _ = mend(&mut data);
    let Ok(index) = IndexReader::open(data.into()) else { return };
    let _ = read(&index);
});

/// Corrects the checksums, which random bytes never have, as far as the table of contents leads.
fn mend(data: &mut [u8]) -> Option<()> {
    let toc = data.len().checked_sub(TOC_BYTES)?;
    mend_crc(data, toc, TOC_BYTES - 4)?;
    let offset = |i: usize| -> Option<usize> {
        let bytes = data.get(toc + 8 * i..)?.first_chunk()?;
        usize::try_from(u64::from_be_bytes(*bytes)).ok().filter(|offset| *offset < toc)
    };
    let [symbols, series, postings, table] = [offset(0)?, offset(1)?, offset(4)?, offset(5)?];
    mend_section(data, symbols)?;
    mend_section(data, table)?;
    let mut at = series.next_multiple_of(16);
    while at < postings {
        let mut cursor = Cursor::new(&data[at..]);
        let len = usize::try_from(cursor.uvarint().ok()?).ok()?;
        let start = at + cursor.offset();
        mend_crc(data, start, len)?;
        at = (start + len + 4).next_multiple_of(16);
    }
    let mut at = postings.next_multiple_of(4);
    while at < table {
        at = mend_section(data, at)?.next_multiple_of(4);
    }
    Some(())
}

/// Corrects the checksum of a section behind its length, and returns where it ends.
fn mend_section(data: &mut [u8], at: usize) -> Option<usize> {
    let len = u32::from_be_bytes(*data.get(at..)?.first_chunk()?);
    let len = usize::try_from(len).ok()?;
    mend_crc(data, at + 4, len)
}

/// Corrects the checksum behind `len` bytes, and returns where it ends.
fn mend_crc(data: &mut [u8], start: usize, len: usize) -> Option<usize> {
    let end = start.checked_add(len)?;
    let crc = crc32c(data.get(start..end)?);
    data.get_mut(end..end.checked_add(4)?)?.copy_from_slice(&crc.to_be_bytes());
    Some(end + 4)
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
