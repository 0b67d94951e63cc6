//! Storing requests: decompressing them, and committing what they hold.

use std::fmt;
use std::sync::Arc;

use super::json::{self, JsonError, MAX_JSON_BYTES};
use super::options::OtlpOptions;
use super::receipt::OtlpReceipt;
use super::writer::Writer;
use crate::compression::{Buffers, DecompressError, Encoding};
use crate::protobuf::DecodeError;
use crate::remote::{MAX_AHEAD_MS, MAX_REQUEST_BYTES};
use crate::store::Store;
use crate::telemetry::{Counter, Registry};

/// Labels of all samples of a request together, in bytes. What a resource says is said by each of its
/// series again, so that a small request may have a great many.
pub const MAX_REQUEST_LABEL_BYTES: usize = 128 << 20;

/// How a request is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtlpFormat {
    /// As a message of protobuf.
    Protobuf,
    /// As JSON.
    Json,
}

impl OtlpFormat {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Protobuf, Self::Json];

    /// The media type that says so.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// Most bytes of a request that are read.
    pub const fn max_bytes(self) -> usize {
        match self {
            Self::Protobuf => MAX_REQUEST_BYTES,
            Self::Json => MAX_JSON_BYTES,
        }
    }
}

/// Why a request is not stored as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// The body is not what its encoding says, or too large.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// The body is not the message it should be.
    #[error("invalid OTLP request")]
    Decode(#[from] DecodeError),
    /// The body is not the JSON it should be.
    #[error("invalid OTLP request")]
    Json(#[from] JsonError),
    /// The request holds more samples than the store takes at once.
    #[error("request of more than {limit} samples")]
    TooManySamples {
        /// Most samples that the store takes at once.
        limit: usize,
    },
    /// The histograms of the request have more buckets than the store takes at once.
    #[error("request with histograms of more than {limit} bytes")]
    TooManyBuckets {
        /// Most bytes of buckets and spans that the store takes at once.
        limit: usize,
    },
    /// The samples of the request have longer labels than are taken at once.
    #[error("request whose samples have labels of more than {MAX_REQUEST_LABEL_BYTES} bytes")]
    TooManyLabels,
    /// The store failed; the request may be sent again.
    #[error("cannot store samples")]
    Store(#[source] ferula_tsdb::Error),
}

impl OtlpError {
    /// Tells whether the request may be all right but for its size.
    pub fn is_size(&self) -> bool {
        match self {
            Self::Decompress(error) => error.is_size(),
            Self::TooManySamples { .. } | Self::TooManyBuckets { .. } | Self::TooManyLabels => true,
            _ => false,
        }
    }
}

/// Stores the OTLP requests of all senders.
pub struct OtlpReceiver {
    store: Arc<dyn Store>,
    options: OtlpOptions,
    buffers: Buffers,
    metrics: Metrics,
}

/// What the receiver counts.
struct Metrics {
    samples: Counter,
    points: Counter,
    refused_points: Counter,
    over_limit: Counter,
    exemplars: Counter,
    refused_exemplars: Counter,
    collisions: Counter,
}

impl OtlpReceiver {
    /// Makes a receiver that writes to `store` and counts in `registry`.
    pub fn new(store: Arc<dyn Store>, options: OtlpOptions, registry: &Registry) -> Self {
        let counter = |name, help| registry.counter(name, help, &[]);
        let metrics = Metrics {
            samples: counter(
                "ferula_otlp_samples_appended_total",
                "Samples received by OTLP and stored.",
            ),
            points: counter("ferula_otlp_points_total", "Data points received by OTLP."),
            refused_points: counter(
                "ferula_otlp_points_refused_total",
                "Data points received by OTLP and refused.",
            ),
            over_limit: counter(
                "ferula_otlp_points_over_limit_total",
                "Data points received by OTLP for whose series there was no room.",
            ),
            exemplars: counter(
                "ferula_otlp_exemplars_appended_total",
                "Exemplars received by OTLP and stored.",
            ),
            refused_exemplars: counter(
                "ferula_otlp_exemplars_refused_total",
                "Exemplars received by OTLP and refused.",
            ),
            collisions: counter(
                "ferula_otlp_label_collisions_total",
                "Label sets received by OTLP in which several attributes became one label.",
            ),
        };
        Self { store, options, buffers: Buffers::default(), metrics }
    }

    /// Stores the request `body`, an `ExportMetricsServiceRequest`, received at `now_ms` milliseconds
    /// since the epoch.
    ///
    /// Blocks until what it stored is as durable as the store makes it.
    ///
    /// # Errors
    /// [`OtlpError`] if nothing was stored. That some points were refused is no error here but told by the
    /// [`OtlpReceipt`].
    pub fn receive(
        &self,
        format: OtlpFormat,
        encoding: Encoding,
        body: &[u8],
        now_ms: i64,
    ) -> Result<OtlpReceipt, OtlpError> {
        let store = |request: &[u8]| match format {
            OtlpFormat::Protobuf => self.store(request, now_ms),
            OtlpFormat::Json => self.store(&json::to_protobuf(request)?, now_ms),
        };
        let receipt = self.buffers.with(encoding, body, format.max_bytes(), store)??;
        self.metrics.samples.add(receipt.samples);
        self.metrics.points.add(receipt.points);
        self.metrics.refused_points.add(receipt.refused_points);
        self.metrics.over_limit.add(receipt.over_limit);
        self.metrics.exemplars.add(receipt.exemplars);
        self.metrics.refused_exemplars.add(receipt.refused_exemplars);
        self.metrics.collisions.add(receipt.collisions);
        Ok(receipt)
    }

    fn store(&self, request: &[u8], now_ms: i64) -> Result<OtlpReceipt, OtlpError> {
        let max_timestamp = now_ms.saturating_add(MAX_AHEAD_MS);
        let mut writer = Writer::new(&self.options, self.store.batch(), max_timestamp);
        writer.request(request)?;
        let (batch, mut receipt) = writer.finish();
        let committed = batch.commit().map_err(OtlpError::Store)?;
        receipt.settle(&committed);
        Ok(receipt)
    }
}

impl fmt::Debug for OtlpReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpReceiver").field("options", &self.options).finish_non_exhaustive()
    }
}
