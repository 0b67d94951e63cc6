//! Where samples are sent: the list `remote_write` of the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::client::{self, RawClient};
use super::field::Milliseconds;
use super::raw::yes;
use super::{Auth, ClientConfig, ConfigProblem, OAuth2, Secret, TlsConfig, without_password};
use crate::relabel::Rule;
use crate::remote::Version;

/// Most shards of one place.
pub const MAX_SHARDS: usize = 64;

/// Headers that are those of the protocol, of the connection, or of who asks.
const RESERVED_HEADERS: [&str; 16] = [
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "user-agent",
    "www-authenticate",
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
    pub headers: BTreeMap<String, Secret>,
    /// Who sends, and whom it trusts.
    pub client: ClientConfig,
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
    /// Most requests that may be under way at the same time, each of another queue; all of a series that is
    /// under way is in the same one.
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
    /// The address as it may be shown: without a password.
    pub fn shown_url(&self) -> String {
        shown(&self.url)
    }
}

fn shown(url: &str) -> String {
    match without_password(url) {
        Some(shown) => shown,
        // Where a password would stand in it is not known.
        None if url.contains('@') && Url::parse(url).is_err() => "<secret>".to_owned(),
        None => url.to_owned(),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRemoteWrite {
    url: String,
    name: Option<String>,
    #[serde(default)]
    remote_timeout: Milliseconds,
    #[serde(default)]
    headers: BTreeMap<String, Secret>,
    #[serde(default, deserialize_with = "client::basic")]
    basic_auth: Option<Auth>,
    #[serde(default, deserialize_with = "client::authorization")]
    authorization: Option<Auth>,
    #[serde(default, deserialize_with = "client::oauth2")]
    oauth2: Option<OAuth2>,
    #[serde(default)]
    bearer_token: Option<Secret>,
    #[serde(default)]
    bearer_token_file: Option<PathBuf>,
    #[serde(default)]
    tls_config: TlsConfig,
    #[serde(default = "yes")]
    follow_redirects: bool,
    // There is no other protocol to choose.
    #[serde(default, rename = "enable_http2")]
    _enable_http2: bool,
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
    /// Checks the fields; relative paths start in `dir`.
    pub(super) fn check(mut self, dir: &Path) -> Result<RemoteWrite, ConfigProblem> {
        let shown_url = shown(&self.url);
        let problem = |reason: &str| ConfigProblem::RemoteWrite {
            url: shown_url.clone(),
            reason: reason.to_owned(),
        };
        let url = Url::parse(&self.url).map_err(|error| problem(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(problem("only addresses with http:// and https:// are there"));
        }
        let mut client = self.client().map_err(|reason| problem(&reason))?;
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user && client.auth != Auth::None {
            return Err(problem("the address and another field say who sends"));
        }
        self.check_headers().map_err(|reason| problem(&reason))?;
        let version = match self.protobuf_message.as_deref() {
            None => Version::V1,
            Some(name) => [Version::V1, Version::V2]
                .into_iter()
                .find(|version| version.message() == name)
                .ok_or_else(|| problem("unknown protobuf_message"))?,
        };
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
            return Err(problem("a name is made of letters, digits, underscores, dashes and dots"));
        }
        client.locate(dir);
        Ok(RemoteWrite {
            url: self.url,
            name,
            timeout_ms: self.remote_timeout.or(30_000),
            headers: self.headers,
            client,
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

    fn client(&mut self) -> Result<ClientConfig, String> {
        let raw = RawClient {
            basic_auth: self.basic_auth.take(),
            authorization: self.authorization.take(),
            oauth2: self.oauth2.take(),
            bearer_token: self.bearer_token.take(),
            bearer_token_file: self.bearer_token_file.take(),
            tls_config: std::mem::take(&mut self.tls_config),
            follow_redirects: self.follow_redirects,
        };
        raw.check()
    }

    /// Checks that headers can be sent, and are not those that others set. Values are not shown.
    fn check_headers(&self) -> Result<(), String> {
        for (name, value) in &self.headers {
            if RESERVED_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
                return Err(format!("{name} is a reserved header"));
            }
            if HeaderName::from_bytes(name.as_bytes()).is_err()
                || HeaderValue::from_str(value.expose()).is_err()
            {
                return Err(format!("{name:?} cannot be a header, or its value none"));
            }
        }
        Ok(())
    }
}
