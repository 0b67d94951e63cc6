//! Where samples are sent: the list `remote_write` of the file.

use std::collections::BTreeMap;

use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::field::Milliseconds;
use super::{ConfigProblem, without_password};
use crate::relabel::Rule;
use crate::remote::Version;

/// Most shards of one place.
pub const MAX_SHARDS: usize = 64;

/// Headers that requests have anyway, in lower case.
const RESERVED_HEADERS: [&str; 9] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
    "user-agent",
    "x-prometheus-remote-write-version",
];

/// A place that samples are sent to.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RemoteWrite {
    /// Address of the receiver.
    pub url: String,
    /// Name, by which it is known in metrics and which its position is kept under; unique.
    pub name: String,
    /// How long a request may take, in milliseconds.
    pub timeout_ms: i64,
    /// Headers of requests beside those of the protocol.
    pub headers: BTreeMap<String, String>,
    /// The message that is sent.
    pub version: Version,
    /// Whether exemplars are sent.
    pub send_exemplars: bool,
    /// Whether native histograms are sent.
    pub send_native_histograms: bool,
    /// Whether metadata is sent; 2.0 has it with each series.
    pub send_metadata: bool,
    /// Rules for the labels of series, which may drop them.
    pub relabel: Vec<Rule>,
    /// Requests that may be under way at the same time; a series is always in the same of these queues.
    pub shards: usize,
    /// Samples of a request from which on it is sent.
    pub batch_samples: usize,
    /// How long samples wait for others, in milliseconds.
    pub batch_deadline_ms: i64,
    /// First and longest time between two attempts, in milliseconds.
    pub backoff_ms: (i64, i64),
    /// Whether a request that is answered with 429 is sent again.
    pub retry_on_429: bool,
}

impl RemoteWrite {
    /// Its address as it may be logged, without a password.
    pub fn shown_url(&self) -> String {
        shown(&self.url)
    }
}

fn shown(url: &str) -> String {
    without_password(url).unwrap_or_else(|| url.to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRemoteWrite {
    url: String,
    name: Option<String>,
    #[serde(default)]
    remote_timeout: Milliseconds,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    protobuf_message: Option<String>,
    #[serde(default)]
    send_exemplars: bool,
    #[serde(default)]
    send_native_histograms: bool,
    #[serde(default)]
    write_relabel_configs: Vec<Rule>,
    #[serde(default)]
    queue_config: RawQueue,
    #[serde(default)]
    metadata_config: RawMetadata,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawQueue {
    max_shards: usize,
    max_samples_per_send: usize,
    batch_send_deadline: Milliseconds,
    min_backoff: Milliseconds,
    max_backoff: Milliseconds,
    retry_on_http_429: bool,
}

impl Default for RawQueue {
    fn default() -> Self {
        Self {
            max_shards: 4,
            max_samples_per_send: 2000,
            batch_send_deadline: Milliseconds(5000),
            min_backoff: Milliseconds(30),
            max_backoff: Milliseconds(5000),
            retry_on_http_429: true,
        }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawMetadata {
    send: bool,
}

impl Default for RawMetadata {
    fn default() -> Self {
        Self { send: true }
    }
}

impl RawRemoteWrite {
    pub(super) fn check(self) -> Result<RemoteWrite, ConfigProblem> {
        let problem = |reason: &str| ConfigProblem::RemoteWrite {
            url: shown(&self.url),
            reason: reason.to_owned(),
        };
        if !self.url.starts_with("http://") {
            return Err(problem("only addresses with http:// are there"));
        }
        let version = match self.protobuf_message.as_deref() {
            None => Version::V1,
            Some(name) => [Version::V1, Version::V2]
                .into_iter()
                .find(|version| version.message() == name)
                .ok_or_else(|| problem("unknown protobuf_message"))?,
        };
        for (name, value) in &self.headers {
            let lower = name.to_ascii_lowercase();
            if RESERVED_HEADERS.contains(&lower.as_str()) {
                return Err(problem(&format!("the header {name:?} is not to be set")));
            }
            if HeaderName::try_from(name).is_err() || HeaderValue::from_str(value).is_err() {
                return Err(problem(&format!("{name:?} or its value is no header")));
            }
        }
        let queue = self.queue_config;
        if !(1..=MAX_SHARDS).contains(&queue.max_shards) {
            return Err(problem("max_shards must be from 1 to 64"));
        }
        if !(1..=100_000).contains(&queue.max_samples_per_send) {
            return Err(problem("max_samples_per_send must be from 1 to 100000"));
        }
        let min_backoff = queue.min_backoff.or(30);
        let name = self
            .name
            .unwrap_or_else(|| format!("{:016x}", xxhash_rust::xxh3::xxh3_64(self.url.as_bytes())));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(is_plain) {
            let reason =
                "a name is made of letters, digits, underscores, dashes and dots".to_owned();
            return Err(ConfigProblem::RemoteWrite { url: shown(&self.url), reason });
        }
        Ok(RemoteWrite {
            url: self.url,
            name,
            timeout_ms: self.remote_timeout.or(30_000),
            headers: self.headers,
            version,
            send_exemplars: self.send_exemplars,
            send_native_histograms: self.send_native_histograms,
            send_metadata: self.metadata_config.send,
            relabel: self.write_relabel_configs,
            shards: queue.max_shards,
            batch_samples: queue.max_samples_per_send,
            batch_deadline_ms: queue.batch_send_deadline.or(5000),
            backoff_ms: (min_backoff, queue.max_backoff.or(5000).max(min_backoff)),
            retry_on_429: queue.retry_on_http_429,
        })
    }
}
