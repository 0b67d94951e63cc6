//! The scraper's configuration: Prometheus's file, as far as scraping needs it.
//!
//! Field names, defaults and rules are those of Prometheus 3.14 (`config/config.go`). What is not
//! understood is refused, not passed over: a file that asks for discovery or rules must not be
//! taken as if it did not. `evaluation_interval` alone is accepted without a use, because it says
//! nothing where there are no rules.

mod client;
mod discovery;
mod field;
mod problem;
mod raw;
mod remote_write;
mod secret;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use self::raw::RawFile;
use crate::Error;
use crate::exposition::{Escaping, Protocol};
use crate::relabel::Rule;

pub use client::{Auth, ClientConfig, OAuth2, Secret, Source, TlsConfig, TlsVersion};
pub use discovery::{DiscoveryConfig, FileDiscovery, HttpDiscovery};
pub(crate) use field::parse_bytes;
pub use problem::ConfigProblem;
pub use remote_write::{MAX_SHARDS, RemoteWrite};
pub(crate) use secret::without_password;

/// Time between scrapes where the file gives none, in milliseconds.
pub const DEFAULT_SCRAPE_INTERVAL_MS: i64 = 60_000;

/// Longest time of a scrape where the file gives none, in milliseconds.
pub const DEFAULT_SCRAPE_TIMEOUT_MS: i64 = 10_000;

/// Largest page of a target where the file gives no limit, in bytes.
pub const DEFAULT_BODY_SIZE_LIMIT: usize = 256 << 20;

/// A configuration file, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ScrapeFile {
    /// Labels for what leaves this server; they are not stored with samples.
    pub external_labels: BTreeMap<String, String>,
    /// What is scraped, in the order of the file.
    pub jobs: Vec<Job>,
    /// Where samples are sent, in the order of the file.
    pub remote_write: Vec<RemoteWrite>,
    /// How far back from the newest sample others are taken out of order, in milliseconds.
    pub out_of_order_window_ms: i64,
    /// The file as it was read, secrets hidden.
    pub text: String,
}

/// A group of targets that are scraped alike.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Job {
    /// Name, which becomes the label `job`.
    pub name: String,
    /// Time between scrapes in milliseconds.
    pub interval_ms: i64,
    /// Longest time of a scrape in milliseconds, at most the interval.
    pub timeout_ms: i64,
    /// Path of the page.
    pub metrics_path: String,
    /// Scheme of the address, `http` or `https`.
    pub scheme: String,
    /// How targets are asked.
    pub client: ClientConfig,
    /// Parameters of the address.
    pub params: BTreeMap<String, Vec<String>>,
    /// Whether labels of the page win over those of the target.
    pub honor_labels: bool,
    /// Whether timestamps of the page are used.
    pub honor_timestamps: bool,
    /// Whether series with timestamps of their own are marked stale, too.
    pub track_timestamps_staleness: bool,
    /// Whether the page may be sent compressed.
    pub enable_compression: bool,
    /// Formats that targets are asked for, the most wanted first.
    pub protocols: Vec<Protocol>,
    /// Whether the file names these formats.
    pub has_own_protocols: bool,
    /// What a page without a known content type is taken for.
    pub fallback_protocol: Option<Protocol>,
    /// How targets are to write names that are not made of letters, digits and underscores.
    pub escaping: Escaping,
    /// Which names series may have.
    pub names: Names,
    /// What becomes of histograms.
    pub histograms: Histograms,
    /// Whether three more series report on each scrape: its timeout, its sample limit, and the size of the page.
    pub extra_metrics: bool,
    /// How much a target may have.
    pub limits: Limits,
    /// What becomes of labels with too many values; nothing unless the file says so.
    pub cardinality: Option<Cardinality>,
    /// What is done to the labels of targets before they are scraped.
    pub relabel: Vec<Rule>,
    /// What is done to the labels of series before they are stored.
    pub metric_relabel: Vec<Rule>,
    /// The targets that the file names.
    pub static_configs: Vec<StaticConfig>,
    /// Where others come from.
    pub discovery: Vec<DiscoveryConfig>,
}

/// How much a target may have; more fails the scrape, or all of them for the number of targets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// Samples of a page.
    pub samples: Option<usize>,
    /// Targets of a job.
    pub targets: Option<usize>,
    /// Size of a page, decompressed.
    pub body_bytes: usize,
    /// Labels of a series.
    pub labels: Option<usize>,
    /// Length of the name of a label.
    pub label_name_bytes: Option<usize>,
    /// Length of the value of a label.
    pub label_value_bytes: Option<usize>,
    /// Buckets of a native histogram. The resolution of one that has more is reduced, if that helps.
    pub histogram_buckets: Option<usize>,
}

/// What becomes of labels with too many values on one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Cardinality {
    /// Most values of a label; those that come first stay.
    #[serde(default = "default_max_values")]
    pub max_values: usize,
    /// What becomes of further ones.
    pub action: CardinalityAction,
}

/// What becomes of values beyond the limit of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CardinalityAction {
    /// They become `reassigned_high_cardinality`.
    Reassign,
    /// Their series have the label no more.
    Drop,
}

/// Most values of a label on one target where a file asks for a limit and gives none.
pub const DEFAULT_MAX_LABEL_VALUES: usize = 1000;

fn default_max_values() -> usize {
    DEFAULT_MAX_LABEL_VALUES
}

/// What becomes of histograms.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Histograms {
    /// Whether native histograms are taken.
    pub native: bool,
    /// Whether the classic series are taken also of histograms that are taken as native ones.
    pub always_classic: bool,
    /// Whether classic histograms become native ones with custom buckets.
    pub convert: bool,
    /// Highest resolution of native histograms; that of finer ones is reduced.
    pub max_schema: Option<i32>,
}

/// Which names metrics and labels may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Names {
    /// Any text.
    #[default]
    Utf8,
    /// Letters, digits and underscores, and colons in those of metrics.
    Legacy,
}

/// Targets that share labels.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticConfig {
    /// Host and port of each.
    #[serde(default)]
    pub targets: Vec<String>,
    /// Labels of all of them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl ScrapeFile {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::ConfigSyntax`] with line and field, and [`Error::Config`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let file = path.as_ref();
        let text = std::fs::read_to_string(file)
            .map_err(|source| Error::Read { file: file.to_owned(), source })?;
        Self::parse(&text, file)
    }

    /// Checks the configuration `text`; `file` is the name used in errors.
    ///
    /// # Errors
    /// [`Error::ConfigSyntax`] with line and field, and [`Error::Config`].
    pub fn parse(text: &str, file: &Path) -> Result<Self, Error> {
        let yaml = serde_yaml_ng::Deserializer::from_str(text);
        let raw: RawFile = serde_path_to_error::deserialize(yaml).map_err(|error| {
            let field = error.path().to_string();
            let (line, reason) = place_and_reason(error.inner());
            Error::ConfigSyntax { file: file.to_owned(), line, field, reason }
        })?;
        let dir = file.parent().unwrap_or_else(|| Path::new(""));
        raw.check(text, dir).map_err(|source| Error::Config { file: file.to_owned(), source })
    }
}

/// Takes the place out of a message of the YAML parser, which tells it at both ends.
pub(crate) fn place_and_reason(error: &serde_yaml_ng::Error) -> (usize, String) {
    let text = error.to_string();
    let Some(place) = error.location() else { return (0, text) };
    let end = format!(" at line {} column {}", place.line(), place.column());
    let text = text.strip_suffix(&end).unwrap_or(&text);
    // A path is one word that ends with a colon.
    let reason = match text.split_once(": ") {
        Some((path, reason)) if !path.contains(' ') => reason,
        _ => text,
    };
    (place.line(), reason.to_owned())
}

#[cfg(test)]
mod tests;
