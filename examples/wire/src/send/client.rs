//! Sending requests until they are answered.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::metrics::Metrics;
use crate::Error;
use crate::client::{AuthError, ClientOptions, HttpClient};
use crate::config::RemoteWrite;
use crate::error::chain;
use crate::remote::Version;

/// Longest break that a receiver may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// How much shorter than it might be a break is at most, as a part of it.
const MAX_JITTER: f64 = 0.15;

/// How often a break looks whether it is to end.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// Most bytes of a refusal that are logged.
const MAX_REASON_BYTES: usize = 512;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Taken,
    /// It is refused for good.
    Refused,
    /// There was no answer until the sender was to stop.
    Stopped,
}

/// Sends requests to one place.
#[derive(Clone)]
pub(super) struct Client {
    config: Arc<RemoteWrite>,
    /// The address as it is shown.
    url: String,
    client: HttpClient,
    metrics: Arc<Metrics>,
}

impl Client {
    pub(super) fn new(config: Arc<RemoteWrite>, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let timeout = Duration::from_millis(config.timeout_ms.unsigned_abs());
        let options =
            ClientOptions { timeout: Some(timeout), keep_body: true, ..ClientOptions::default() };
        let client = HttpClient::new(&config.client, options).map_err(Error::Client)?;
        Ok(Self { url: config.shown_url(), config, client, metrics })
    }

    /// Sends a compressed request until it is answered, or `stop` says so.
    pub(super) async fn send(&self, body: Bytes, stop: &AtomicBool) -> Outcome {
        let (min, max) = self.config.backoff_ms;
        let mut backoff = Duration::from_millis(min.unsigned_abs());
        let mut is_told = false;
        loop {
            let answer = match self.request(body.clone()).await {
                Ok(request) => request.send().await.map_err(|error| chain(&error)),
                Err(error) => Err(chain(&error)),
            };
            let asked = match answer {
                Ok(response) if response.status().is_success() => return Outcome::Taken,
                Ok(response) if !self.is_to_be_repeated(response.status()) => {
                    let status = response.status().as_u16();
                    let reason = reason(response).await;
                    warn!(url = self.url, status, reason, "samples were refused");
                    return Outcome::Refused;
                }
                Ok(response) => {
                    let status = response.status().as_u16();
                    match is_told {
                        true => debug!(url = self.url, status, "samples are sent again"),
                        false => warn!(url = self.url, status, "samples are sent until taken"),
                    }
                    retry_after(response.headers())
                }
                Err(error) => {
                    match is_told {
                        true => debug!(url = self.url, error, "no answer"),
                        false => warn!(url = self.url, error, "samples are sent until answered"),
                    }
                    None
                }
            };
            is_told = true;
            self.metrics.retried.inc();
            // A little less than it, at random, so that senders that were cut off together do not come back
            // together; but no break is much shorter than the one before.
            let pause = backoff.mul_f64(1.0 - MAX_JITTER * random());
            let end = Instant::now() + pause.max(asked.unwrap_or_default());
            while Instant::now() < end {
                if stop.load(Ordering::Acquire) {
                    return Outcome::Stopped;
                }
                sleep(STOP_CHECK.min(end.saturating_duration_since(Instant::now()))).await;
            }
            if stop.load(Ordering::Acquire) {
                return Outcome::Stopped;
            }
            backoff = (backoff * 2).min(Duration::from_millis(max.unsigned_abs()));
        }
    }

    async fn request(&self, body: Bytes) -> Result<RequestBuilder, AuthError> {
        let (kind, version) = match self.config.version {
            Version::V1 => ("application/x-protobuf", "0.1.0"),
            Version::V2 => ("application/x-protobuf;proto=io.prometheus.write.v2.Request", "2.0.0"),
        };
        let mut request = self.client.post(&self.config.url).await?;
        for (name, value) in &self.config.headers {
            request = request.header(name, value.expose());
        }
        Ok(request
            .header("User-Agent", concat!("ferula/", env!("CARGO_PKG_VERSION")))
            .header("Content-Type", kind)
            .header("Content-Encoding", "snappy")
            .header("X-Prometheus-Remote-Write-Version", version)
            .body(body))
    }

    fn is_to_be_repeated(&self, status: StatusCode) -> bool {
        status.is_server_error()
            || (status == StatusCode::TOO_MANY_REQUESTS && self.config.retry_on_429)
    }
}

/// The beginning of what a receiver says of a refusal; it may say more than is worth reading.
async fn reason(mut response: Response) -> String {
    let mut text = Vec::new();
    while text.len() < MAX_REASON_BYTES
        && let Ok(Some(piece)) = response.chunk().await
    {
        text.extend_from_slice(&piece[..piece.len().min(MAX_REASON_BYTES - text.len())]);
    }
    String::from_utf8_lossy(&text).trim_end().to_owned()
}

/// The break that a receiver asks for, in whole seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

/// A number from 0 to 1. The hashes of the standard library are seeded anew each time.
fn random() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 32;
    bits as f64 / f64::from(u32::MAX)
}
