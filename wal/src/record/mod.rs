//! What records hold: one module per record type, all but one in Prometheus's encoding.
//!
//! The first byte of a record is its type. Unknown ones are handed on as [`Record::Other`], so that a
//! log of a later Prometheus is read to its end. Decoders walk over the record's bytes and keep one
//! entry at most; encoders append to a buffer of the caller.

pub mod exemplars;
mod fields;
mod histogram_body;
pub mod histograms;
pub mod metadata;
pub mod mmap_markers;
pub mod out_of_order;
pub mod samples;
pub mod samples_v2;
pub mod series;
mod stamp;
pub mod tombstones;

use std::fmt;

use ferula_chunkenc::histogram::{FloatHistogram, Histogram};

use crate::Error;

/// Type of a record: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordKind(pub u8);

impl RecordKind {
    /// Series and their labels.
    pub const SERIES: Self = Self(1);
    /// Float samples.
    pub const SAMPLES: Self = Self(2);
    /// Deleted intervals.
    pub const TOMBSTONES: Self = Self(3);
    /// Exemplars.
    pub const EXEMPLARS: Self = Self(4);
    /// Series whose out-of-order samples so far are in chunk files.
    pub const MMAP_MARKERS: Self = Self(5);
    /// Type, unit and help of metrics.
    pub const METADATA: Self = Self(6);
    /// Integer histograms.
    pub const HISTOGRAMS: Self = Self(7);
    /// Float histograms.
    pub const FLOAT_HISTOGRAMS: Self = Self(8);
    /// Integer histograms with custom buckets.
    pub const CUSTOM_HISTOGRAMS: Self = Self(9);
    /// Float histograms with custom buckets.
    pub const CUSTOM_FLOAT_HISTOGRAMS: Self = Self(10);
    /// Float samples with start timestamps.
    pub const SAMPLES_V2: Self = Self(11);
    /// Integer histograms with start timestamps.
    pub const HISTOGRAMS_V2: Self = Self(12);
    /// Float histograms with start timestamps.
    pub const FLOAT_HISTOGRAMS_V2: Self = Self(13);
    /// How many records behind it hold samples that came out of order; this crate's own.
    pub const OUT_OF_ORDER: Self = Self(240);

    fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::SERIES => "series",
            Self::SAMPLES => "samples",
            Self::TOMBSTONES => "tombstones",
            Self::EXEMPLARS => "exemplars",
            Self::MMAP_MARKERS => "mmap markers",
            Self::METADATA => "metadata",
            Self::HISTOGRAMS => "histograms",
            Self::FLOAT_HISTOGRAMS => "float histograms",
            Self::CUSTOM_HISTOGRAMS => "custom histograms",
            Self::CUSTOM_FLOAT_HISTOGRAMS => "custom float histograms",
            Self::SAMPLES_V2 => "samples v2",
            Self::HISTOGRAMS_V2 => "histograms v2",
            Self::FLOAT_HISTOGRAMS_V2 => "float histograms v2",
            Self::OUT_OF_ORDER => "out of order",
            _ => return None,
        })
    }
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "type {}", self.0),
        }
    }
}

/// A decoded record: an iterator over its entries.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Record<'a> {
    /// Series and their labels.
    Series(series::SeriesDecoder<'a>),
    /// Float samples.
    Samples(samples::SamplesDecoder<'a>),
    /// Float samples with start timestamps.
    SamplesV2(samples_v2::SamplesV2Decoder<'a>),
    /// Deleted intervals.
    Tombstones(tombstones::TombstonesDecoder<'a>),
    /// Exemplars.
    Exemplars(exemplars::ExemplarsDecoder<'a>),
    /// Series whose out-of-order samples so far are in chunk files.
    MmapMarkers(mmap_markers::MmapMarkersDecoder<'a>),
    /// Type, unit and help of metrics.
    Metadata(metadata::MetadataDecoder<'a>),
    /// Integer histograms, with any buckets, with or without start timestamps.
    Histograms(Box<histograms::HistogramsDecoder<'a, Histogram>>),
    /// Float histograms, with any buckets, with or without start timestamps.
    FloatHistograms(Box<histograms::HistogramsDecoder<'a, FloatHistogram>>),
    /// How many records behind it hold samples that came out of order.
    OutOfOrder(out_of_order::OutOfOrder),
    /// A type that this crate does not decode.
    Other {
        /// Its type.
        kind: RecordKind,
        /// All of the record, the type byte included.
        bytes: &'a [u8],
    },
}

impl<'a> Record<'a> {
    /// Begins to decode a record; its entries are checked as they are reached.
    ///
    /// # Errors
    /// [`Error::EmptyRecord`], [`Error::RecordBytes`] if its header is cut short.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let kind = RecordKind(*bytes.first().ok_or(Error::EmptyRecord)?);
        Ok(match kind {
            RecordKind::SERIES => Self::Series(series::SeriesDecoder::new(bytes)),
            RecordKind::SAMPLES => Self::Samples(samples::SamplesDecoder::new(bytes)?),
            RecordKind::SAMPLES_V2 => Self::SamplesV2(samples_v2::SamplesV2Decoder::new(bytes)),
            RecordKind::TOMBSTONES => Self::Tombstones(tombstones::TombstonesDecoder::new(bytes)),
            RecordKind::EXEMPLARS => Self::Exemplars(exemplars::ExemplarsDecoder::new(bytes)),
            RecordKind::MMAP_MARKERS => {
                Self::MmapMarkers(mmap_markers::MmapMarkersDecoder::new(bytes))
            }
            RecordKind::METADATA => Self::Metadata(metadata::MetadataDecoder::new(bytes)),
            RecordKind::HISTOGRAMS | RecordKind::CUSTOM_HISTOGRAMS | RecordKind::HISTOGRAMS_V2 => {
                Self::Histograms(Box::new(histograms::HistogramsDecoder::new(bytes, kind)))
            }
            RecordKind::FLOAT_HISTOGRAMS
            | RecordKind::CUSTOM_FLOAT_HISTOGRAMS
            | RecordKind::FLOAT_HISTOGRAMS_V2 => {
                Self::FloatHistograms(Box::new(histograms::HistogramsDecoder::new(bytes, kind)))
            }
            RecordKind::OUT_OF_ORDER => Self::OutOfOrder(out_of_order::decode(bytes)?),
            kind => Self::Other { kind, bytes },
        })
    }
}
