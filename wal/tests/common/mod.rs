//! Records as lists of entries.

use ferula_chunkenc::histogram::{FloatHistogram, Histogram};
use ferula_index::{Labels, SeriesRef};
use ferula_wal::Error;
use ferula_wal::record::exemplars::RefExemplar;
use ferula_wal::record::histograms::{RecordHistogram, RefHistogram};
use ferula_wal::record::metadata::RefMetadata;
use ferula_wal::record::mmap_markers::MmapMarker;
use ferula_wal::record::samples::RefSample;
use ferula_wal::record::samples_v2::RefStartedSample;
use ferula_wal::record::tombstones::Tombstone;
use ferula_wal::record::{
    Record, RecordKind, exemplars, histograms, metadata, mmap_markers, samples, samples_v2, series,
    tombstones,
};

/// A histogram with its series and times, owned.
pub(crate) type Entry<H> = (SeriesRef, i64, i64, H);

/// The entries of a record, owned.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entries {
    Series(Vec<(SeriesRef, Labels)>),
    Samples(Vec<RefSample>),
    SamplesV2(Vec<RefStartedSample>),
    Tombstones(Vec<Tombstone>),
    Exemplars(Vec<RefExemplar>),
    MmapMarkers(Vec<MmapMarker>),
    Metadata(Vec<RefMetadata<'static>>),
    Histograms(RecordKind, Vec<Entry<Histogram>>),
    FloatHistograms(RecordKind, Vec<Entry<FloatHistogram>>),
    Other,
}

/// Collects what a decoder yields.
macro_rules! collect {
    ($decoder:ident, $entry:ident => $owned:expr) => {{
        let mut entries = Vec::new();
        while let Some($entry) = $decoder.next()? {
            entries.push($owned);
        }
        entries
    }};
}

fn owned<H: Clone>(entry: RefHistogram<'_, H>) -> Entry<H> {
    (entry.series, entry.start_timestamp, entry.timestamp, entry.histogram.clone())
}

/// Decodes all of a record.
pub(crate) fn decode(record: &[u8]) -> Result<Entries, Error> {
    Ok(match Record::decode(record)? {
        Record::Series(mut decoder) => Entries::Series(collect!(decoder, entry => entry)),
        Record::Samples(mut decoder) => Entries::Samples(collect!(decoder, entry => entry)),
        Record::SamplesV2(mut decoder) => Entries::SamplesV2(collect!(decoder, entry => entry)),
        Record::Tombstones(mut decoder) => Entries::Tombstones(collect!(decoder, entry => entry)),
        Record::Exemplars(mut decoder) => Entries::Exemplars(collect!(decoder, entry => entry)),
        Record::MmapMarkers(mut decoder) => Entries::MmapMarkers(collect!(decoder, entry => entry)),
        Record::Metadata(mut decoder) => {
            Entries::Metadata(collect!(decoder, entry => RefMetadata {
                unit: entry.unit.into_owned().into(),
                help: entry.help.into_owned().into(),
                ..entry
            }))
        }
        Record::Histograms(mut decoder) => {
            Entries::Histograms(decoder.kind(), collect!(decoder, entry => owned(entry)))
        }
        Record::FloatHistograms(mut decoder) => {
            Entries::FloatHistograms(decoder.kind(), collect!(decoder, entry => owned(entry)))
        }
        _ => Entries::Other,
    })
}

fn encode_histograms<H: RecordHistogram>(
    kind: RecordKind,
    entries: &[Entry<H>],
    record: &mut Vec<u8>,
) {
    let refs = entries.iter().map(|(series, start_timestamp, timestamp, histogram)| RefHistogram {
        series: *series,
        start_timestamp: *start_timestamp,
        timestamp: *timestamp,
        histogram,
    });
    match kind {
        RecordKind::HISTOGRAMS | RecordKind::FLOAT_HISTOGRAMS => {
            histograms::encode(refs, record);
        }
        RecordKind::CUSTOM_HISTOGRAMS | RecordKind::CUSTOM_FLOAT_HISTOGRAMS => {
            histograms::encode_custom(refs, record);
        }
        _ => histograms::encode_v2(refs, record),
    }
}

/// Encodes entries as one record.
pub(crate) fn encode(entries: &Entries) -> Vec<u8> {
    let mut record = Vec::new();
    match entries {
        Entries::Series(entries) => {
            series::encode(entries.iter().map(|(series, labels)| (*series, labels)), &mut record);
        }
        Entries::Samples(entries) => samples::encode(entries.iter().copied(), &mut record),
        Entries::SamplesV2(entries) => samples_v2::encode(entries.iter().copied(), &mut record),
        Entries::Tombstones(entries) => tombstones::encode(entries.iter().copied(), &mut record),
        Entries::Exemplars(entries) => exemplars::encode(entries, &mut record),
        Entries::MmapMarkers(entries) => mmap_markers::encode(entries.iter().copied(), &mut record),
        Entries::Metadata(entries) => metadata::encode(entries.iter().cloned(), &mut record),
        Entries::Histograms(kind, entries) => encode_histograms(*kind, entries, &mut record),
        Entries::FloatHistograms(kind, entries) => encode_histograms(*kind, entries, &mut record),
        Entries::Other => record.push(200),
    }
    record
}
