//! Storing requests: decompressing them, and committing what they hold.

use std::fmt;
use std::sync::Arc;

use super::metrics::Metrics;
use super::notes::Families;
use super::receipt::Receipt;
use super::refs::{MIN_GENERATION, RefCache};
use super::symbols::{MAX_SYMBOLS, Symbols};
use super::writer::Writer;
use crate::compression::{Buffers, DecompressError, Encoding};
use crate::exposition::MetricType;
use crate::protobuf::DecodeError;
use crate::store::Store;
use crate::telemetry::Registry;

/// Largest request that is decompressed, in bytes.
pub const MAX_REQUEST_BYTES: usize = 32 << 20;

/// How far a sample may lie in the future, in milliseconds.
pub const MAX_AHEAD_MS: i64 = 10 * 60 * 1000;

/// The message that a request holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Version {
    /// Remote write 1.0: `prometheus.WriteRequest`.
    V1,
    /// Remote write 2.0: `io.prometheus.write.v2.Request`.
    V2,
}

impl Version {
    /// The full name of the message, which the content type of a request tells.
    pub const fn message(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }
}

/// Why a request is not stored as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The body is not what its encoding says, or too large.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// The body is not the message it should be.
    #[error("invalid write request")]
    Decode(#[from] DecodeError),
    /// The store failed; the request may be sent again.
    #[error("cannot store samples")]
    Store(#[source] ferula_tsdb::Error),
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
    /// The request holds more symbols than are read.
    #[error("request of more than {MAX_SYMBOLS} symbols")]
    TooManySymbols,
}

/// Stores the requests of all senders.
pub struct Receiver {
    pub(super) store: Arc<dyn Store>,
    refs: Arc<RefCache>,
    pub(super) families: Families,
    buffers: Buffers,
    metrics: Metrics,
}

impl Receiver {
    /// Makes a receiver that writes to `store` and counts in `registry`.
    pub fn new(store: Arc<dyn Store>, registry: &Registry) -> Self {
        let refs = Arc::new(RefCache::new(MIN_GENERATION));
        let counted = refs.clone();
        registry.read(
            "ferula_remote_write_cached_series",
            "Series that remote write recognises without looking at their labels.",
            MetricType::Gauge,
            move || counted.len() as f64,
        );
        let (families, buffers) = (Families::default(), Buffers::default());
        Self { store, refs, families, buffers, metrics: Metrics::new(registry) }
    }

    /// Stores the request `body`, compressed with snappy as the specification has it, received at `now_ms`
    /// milliseconds since the epoch.
    ///
    /// Blocks until what it stored is as durable as the store makes it.
    ///
    /// # Errors
    /// [`ReceiveError`] if nothing was stored. That some samples were refused is no error here but
    /// told by the [`Receipt`].
    pub fn receive(
        &self,
        version: Version,
        body: &[u8],
        now_ms: i64,
    ) -> Result<Receipt, ReceiveError> {
        self.receive_encoded(version, Encoding::Snappy, body, now_ms)
    }

    /// Does the same with a body that is compressed in another way.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_encoded(
        &self,
        version: Version,
        encoding: Encoding,
        body: &[u8],
        now_ms: i64,
    ) -> Result<Receipt, ReceiveError> {
        let store = |request: &[u8]| self.store(version, request, now_ms);
        self.buffers.with(encoding, body, MAX_REQUEST_BYTES, store)?
    }

    fn store(
        &self,
        version: Version,
        request: &[u8],
        now_ms: i64,
    ) -> Result<Receipt, ReceiveError> {
        let symbols = match version {
            Version::V1 => None,
            Version::V2 => Some(Symbols::read(request, &self.refs)?),
        };
        let max_timestamp = now_ms.saturating_add(MAX_AHEAD_MS);
        let batch = self.store.batch();
        let mut writer =
            Writer::new(&self.refs, &self.families, symbols.as_ref(), batch, max_timestamp);
        writer.request(request)?;
        let (batch, mut receipt, said) = writer.finish();
        let committed = batch.commit().map_err(ReceiveError::Store)?;
        receipt.settle(&committed);
        let told = self.tell(&said, &mut receipt);
        self.metrics.count(&receipt);
        told?;
        Ok(receipt)
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("cached_series", &self.refs.len()).finish_non_exhaustive()
    }
}
