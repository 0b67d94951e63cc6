//! Decodes any bytes as a record: no panic, and what is decoded in whole is encoded and decoded again
//! to the same entries.
#![no_main]

use std::fmt::Debug;

use ferula_wal::Error;
use ferula_wal::record::histograms::{HistogramsDecoder, RecordHistogram, RefHistogram};
use ferula_wal::record::{
    Record, exemplars, histograms, metadata, mmap_markers, samples, samples_v2, series, tombstones,
};
use libfuzzer_sys::fuzz_target;

/// Collects what `next` yields.
fn collect<T>(mut next: impl FnMut() -> Result<Option<T>, Error>) -> Result<Vec<T>, Error> {
    let mut entries = Vec::new();
    while let Some(entry) = next()? {
        entries.push(entry);
    }
    Ok(entries)
}

/// Decodes a record in whole and encodes it again; `None` for what is not encoded.
fn again(record: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    let mut out = Vec::new();
    match Record::decode(record)? {
        Record::Series(mut decoder) => {
            let entries = collect(|| decoder.next())?;
            series::encode(entries.iter().map(|(series, labels)| (*series, labels)), &mut out);
        }
        Record::Samples(mut decoder) => samples::encode(collect(|| decoder.next())?, &mut out),
        Record::SamplesV2(mut decoder) => {
            samples_v2::encode(collect(|| decoder.next())?, &mut out);
        }
        Record::Tombstones(mut decoder) => {
            tombstones::encode(collect(|| decoder.next())?, &mut out);
        }
        Record::Exemplars(mut decoder) => {
            exemplars::encode(&collect(|| decoder.next())?, &mut out);
        }
        Record::MmapMarkers(mut decoder) => {
            mmap_markers::encode(collect(|| decoder.next())?, &mut out);
        }
        Record::Metadata(mut decoder) => metadata::encode(collect(|| decoder.next())?, &mut out),
        Record::Histograms(decoder) => return histograms_again(*decoder),
        Record::FloatHistograms(decoder) => return histograms_again(*decoder),
        _ => return Ok(None),
    }
    Ok(Some(out))
}

fn histograms_again<H: RecordHistogram + Clone + PartialEq + Debug>(
    mut decoder: HistogramsDecoder<'_, H>,
) -> Result<Option<Vec<u8>>, Error> {
    let mut entries = Vec::new();
    while let Some(entry) = decoder.next()? {
        entries.push((
            entry.series,
            entry.start_timestamp,
            entry.timestamp,
            entry.histogram.clone(),
        ));
    }
    let mut out = Vec::new();
    let refs = entries.iter().map(|(series, start, timestamp, histogram)| RefHistogram {
        series: *series,
        start_timestamp: *start,
        timestamp: *timestamp,
        histogram,
    });
    histograms::encode_v2(refs, &mut out);
    Ok(Some(out))
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(first)) = again(bytes) {
        let second = again(&first).expect("what was encoded is decoded");
        assert_eq!(second.as_ref(), Some(&first));
    }
});
