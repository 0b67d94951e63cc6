//! The scraper's configuration: Prometheus's file, as far as static targets need it.
//!
//! Field names, defaults and rules are those of Prometheus 3.14 (`config/config.go`). What is not
//! understood is refused, not passed over: a file that asks for discovery or rules must not be
//! taken as if it did not. `evaluation_interval` alone is accepted without a use, because it says
//! nothing where there are no rules.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::relabel::Rule;
use crate::{Error, duration};

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
    /// How far back from the newest sample others are taken out of order, in milliseconds.
    pub out_of_order_window_ms: i64,
    /// The file as it was read.
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
    /// Scheme of the address; only `http` is there.
    pub scheme: String,
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
    /// Whether a page without a known content type is taken for text.
    pub fallback_to_text: bool,
    /// Most samples of a page; more fail the scrape.
    pub sample_limit: Option<usize>,
    /// Largest page in bytes; more fail the scrape.
    pub body_size_limit: usize,
    /// Most labels of a series; more fail the scrape.
    pub label_limit: Option<usize>,
    /// Longest name of a label, in bytes; a longer one fails the scrape.
    pub label_name_length_limit: Option<usize>,
    /// Longest value of a label, in bytes; a longer one fails the scrape.
    pub label_value_length_limit: Option<usize>,
    /// What is done to the labels of targets before they are scraped.
    pub relabel: Vec<Rule>,
    /// What is done to the labels of series before they are stored.
    pub metric_relabel: Vec<Rule>,
    /// The targets.
    pub static_configs: Vec<StaticConfig>,
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

/// Why a configuration makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// There is nothing to scrape.
    #[error("there are no scrape configs")]
    NoJobs,
    /// A job has no name.
    #[error("scrape config {index} has no job name")]
    NoJobName {
        /// Its place in the list, counted from 0.
        index: usize,
    },
    /// Two jobs have the same name.
    #[error("found multiple scrape configs with job name {job:?}")]
    DuplicateJob {
        /// The name.
        job: String,
    },
    /// A scrape could take longer than the time until the next one.
    #[error("scrape timeout greater than scrape interval for scrape config with job name {job:?}")]
    TimeoutExceedsInterval {
        /// Name of the job.
        job: String,
    },
    /// The timeout for all jobs is longer than the time between scrapes.
    #[error("global scrape timeout greater than scrape interval")]
    GlobalTimeoutExceedsInterval,
    /// A scheme that cannot be scraped.
    #[error("scheme {scheme:?} is not supported in scrape config with job name {job:?}")]
    Scheme {
        /// Name of the job.
        job: String,
        /// The scheme.
        scheme: String,
    },
    /// A target is not a host and a port.
    #[error("{target:?} is not a valid hostname in scrape config with job name {job:?}")]
    Target {
        /// Name of the job.
        job: String,
        /// The target.
        target: String,
    },
    /// A label has no name.
    #[error("empty label name in scrape config with job name {job:?}")]
    LabelName {
        /// Name of the job.
        job: String,
    },
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
        raw.check(text).map_err(|source| Error::Config { file: file.to_owned(), source })
    }
}

/// Takes the place out of a message of the YAML parser, which tells it at both ends.
fn place_and_reason(error: &serde_yaml_ng::Error) -> (usize, String) {
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

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    global: RawGlobal,
    #[serde(default)]
    scrape_configs: Vec<RawJob>,
    #[serde(default)]
    storage: RawStorage,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawStorage {
    tsdb: RawTsdb,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTsdb {
    out_of_order_time_window: Milliseconds,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawGlobal {
    scrape_interval: Milliseconds,
    scrape_timeout: Milliseconds,
    #[serde(rename = "evaluation_interval")]
    _evaluation_interval: Milliseconds,
    external_labels: BTreeMap<String, String>,
    body_size_limit: Bytes,
    sample_limit: usize,
    label_limit: usize,
    label_name_length_limit: usize,
    label_value_length_limit: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJob {
    #[serde(default)]
    job_name: String,
    #[serde(default)]
    scrape_interval: Milliseconds,
    #[serde(default)]
    scrape_timeout: Milliseconds,
    #[serde(default = "default_metrics_path")]
    metrics_path: String,
    #[serde(default = "default_scheme")]
    scheme: String,
    #[serde(default)]
    params: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    honor_labels: bool,
    #[serde(default = "yes")]
    honor_timestamps: bool,
    #[serde(default)]
    track_timestamps_staleness: bool,
    #[serde(default = "yes")]
    enable_compression: bool,
    #[serde(default)]
    fallback_scrape_protocol: Option<TextProtocol>,
    #[serde(default)]
    sample_limit: usize,
    #[serde(default)]
    body_size_limit: Bytes,
    #[serde(default)]
    label_limit: usize,
    #[serde(default)]
    label_name_length_limit: usize,
    #[serde(default)]
    label_value_length_limit: usize,
    #[serde(default)]
    relabel_configs: Vec<Rule>,
    #[serde(default)]
    metric_relabel_configs: Vec<Rule>,
    #[serde(default)]
    static_configs: Vec<StaticConfig>,
}

/// The protocols that a page without a content type can be taken for.
#[derive(Deserialize)]
enum TextProtocol {
    #[serde(rename = "PrometheusText0.0.4")]
    Version0,
    #[serde(rename = "PrometheusText1.0.0")]
    Version1,
}

fn default_metrics_path() -> String {
    "/metrics".to_owned()
}

fn default_scheme() -> String {
    "http".to_owned()
}

fn yes() -> bool {
    true
}

/// A duration; zero stands for one that is not given.
#[derive(Clone, Copy, Default)]
struct Milliseconds(i64);

impl Milliseconds {
    fn or(self, default: i64) -> i64 {
        if self.0 == 0 { default } else { self.0 }
    }
}

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text("a duration", |text| {
            duration::parse(text).map(Self).map_err(|e| format!("{e}: {text:?}"))
        }))
    }
}

/// Reads a text by a function, inside of the parser's call, so that errors have the text's place.
struct Text<T>(&'static str, fn(&str) -> Result<T, String>);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        self.1(text).map_err(E::custom)
    }
}

/// A size in bytes; zero stands for one that is not given.
#[derive(Clone, Copy, Default)]
struct Bytes(usize);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text("a size in bytes", |text| {
            parse_bytes(text)
                .map(Self)
                .ok_or_else(|| format!("not a valid size in bytes: {text:?}"))
        }))
    }
}

/// Reads a size such as `10MB`; all units are powers of 1024.
pub(crate) fn parse_bytes(text: &str) -> Option<usize> {
    if text == "0" {
        return Some(0);
    }
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let shift = match unit {
        "B" => 0,
        "KB" | "KiB" => 10,
        "MB" | "MiB" => 20,
        "GB" | "GiB" => 30,
        "TB" | "TiB" => 40,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}

impl RawFile {
    fn check(self, text: &str) -> Result<ScrapeFile, ConfigProblem> {
        let Self { global, scrape_configs, storage } = self;
        let interval = global.scrape_interval.or(DEFAULT_SCRAPE_INTERVAL_MS);
        if global.scrape_timeout.0 > interval {
            return Err(ConfigProblem::GlobalTimeoutExceedsInterval);
        }
        let timeout = global.scrape_timeout.or(DEFAULT_SCRAPE_TIMEOUT_MS.min(interval));
        if scrape_configs.is_empty() {
            return Err(ConfigProblem::NoJobs);
        }
        let mut names = BTreeSet::new();
        let mut jobs = Vec::with_capacity(scrape_configs.len());
        for (index, raw) in scrape_configs.into_iter().enumerate() {
            if raw.job_name.is_empty() {
                return Err(ConfigProblem::NoJobName { index });
            }
            if !names.insert(raw.job_name.clone()) {
                return Err(ConfigProblem::DuplicateJob { job: raw.job_name });
            }
            jobs.push(raw.check(&global, interval, timeout)?);
        }
        let external_labels = global.external_labels;
        let out_of_order_window_ms = storage.tsdb.out_of_order_time_window.0;
        let text = text.to_owned();
        Ok(ScrapeFile { external_labels, jobs, out_of_order_window_ms, text })
    }
}

impl RawJob {
    fn check(self, global: &RawGlobal, interval: i64, timeout: i64) -> Result<Job, ConfigProblem> {
        let job = self.job_name.clone();
        let interval_ms = self.scrape_interval.or(interval);
        if self.scrape_timeout.0 > interval_ms {
            return Err(ConfigProblem::TimeoutExceedsInterval { job });
        }
        if self.scheme != "http" {
            return Err(ConfigProblem::Scheme { job, scheme: self.scheme });
        }
        for config in &self.static_configs {
            if let Some(target) = config.targets.iter().find(|t| t.is_empty() || t.contains('/')) {
                return Err(ConfigProblem::Target { job, target: target.clone() });
            }
            if config.labels.contains_key("") {
                return Err(ConfigProblem::LabelName { job });
            }
        }
        let or_global = |own: usize, global: usize| if own == 0 { global } else { own };
        let limit =
            |own: usize, global: usize| Some(or_global(own, global)).filter(|limit| *limit > 0);
        let body_size_limit = or_global(self.body_size_limit.0, global.body_size_limit.0);
        Ok(Job {
            name: job,
            interval_ms,
            timeout_ms: self.scrape_timeout.or(timeout.min(interval_ms)),
            metrics_path: self.metrics_path,
            scheme: self.scheme,
            params: self.params,
            honor_labels: self.honor_labels,
            honor_timestamps: self.honor_timestamps,
            track_timestamps_staleness: self.track_timestamps_staleness,
            enable_compression: self.enable_compression,
            fallback_to_text: self.fallback_scrape_protocol.is_some(),
            sample_limit: limit(self.sample_limit, global.sample_limit),
            body_size_limit: or_global(body_size_limit, DEFAULT_BODY_SIZE_LIMIT),
            label_limit: limit(self.label_limit, global.label_limit),
            label_name_length_limit: limit(
                self.label_name_length_limit,
                global.label_name_length_limit,
            ),
            label_value_length_limit: limit(
                self.label_value_length_limit,
                global.label_value_length_limit,
            ),
            relabel: self.relabel_configs,
            metric_relabel: self.metric_relabel_configs,
            static_configs: self.static_configs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::chain;

    fn parse(text: &str) -> Result<ScrapeFile, String> {
        ScrapeFile::parse(text, Path::new("scrape.yml")).map_err(|e| chain(&e))
    }

    #[test]
    fn a_whole_file_is_read() {
        let file = parse(
            "global:
  scrape_interval: 15s
  evaluation_interval: 15s
  external_labels: {site: x}
scrape_configs:
  - job_name: node
    static_configs:
      - targets: ['localhost:9100', 'other:9100']
        labels: {zone: a}
  - job_name: slow
    scrape_interval: 1m
    scrape_timeout: 30s
    metrics_path: /probe
    params: {module: [http], target: [a, b]}
    honor_labels: true
    honor_timestamps: false
    sample_limit: 100
    body_size_limit: 10MB
    fallback_scrape_protocol: PrometheusText0.0.4
storage: {tsdb: {out_of_order_time_window: 30m}}
",
        )
        .unwrap();
        assert_eq!(file.external_labels["site"], "x");
        assert_eq!(file.out_of_order_window_ms, 30 * 60_000);
        let [node, slow] = file.jobs.as_slice() else { panic!("two jobs") };
        assert_eq!((node.interval_ms, node.timeout_ms), (15_000, 10_000));
        assert_eq!((node.metrics_path.as_str(), node.scheme.as_str()), ("/metrics", "http"));
        assert!(node.honor_timestamps && !node.honor_labels && node.enable_compression);
        assert_eq!(node.static_configs[0].targets, ["localhost:9100", "other:9100"]);
        assert_eq!((slow.interval_ms, slow.timeout_ms), (60_000, 30_000));
        assert_eq!(slow.params["target"], ["a", "b"]);
        assert_eq!((slow.sample_limit, slow.body_size_limit), (Some(100), 10 << 20));
        assert!(!slow.honor_timestamps && slow.honor_labels && slow.fallback_to_text);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, message) in [
            ("", "scrape.yml: there are no scrape configs"),
            ("scrape_configs: []", "scrape.yml: there are no scrape configs"),
            ("scrape_configs: [{}]", "scrape.yml: scrape config 0 has no job name"),
            (
                "scrape_configs: [{job_name: a}, {job_name: a}]",
                "scrape.yml: found multiple scrape configs with job name \"a\"",
            ),
            (
                "scrape_configs: [{job_name: a, scrape_interval: 5s, scrape_timeout: 6s}]",
                "scrape.yml: scrape timeout greater than scrape interval for scrape config with \
                 job name \"a\"",
            ),
            (
                "global: {scrape_interval: 5s, scrape_timeout: 6s}\nscrape_configs: []",
                "scrape.yml: global scrape timeout greater than scrape interval",
            ),
            (
                "scrape_configs: [{job_name: a, scheme: https}]",
                "scrape.yml: scheme \"https\" is not supported in scrape config with job name \
                 \"a\"",
            ),
            (
                "scrape_configs: [{job_name: a, static_configs: [{targets: ['http://x']}]}]",
                "scrape.yml: \"http://x\" is not a valid hostname in scrape config with job name \
                 \"a\"",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), message, "{text}");
        }
        for (text, start, part) in [
            (
                "scrape_configs:\n- job_name: a\n  static_configs:\n  - targets: []\n    label: x",
                "scrape.yml:5: scrape_configs[0].static_configs[0].label: ",
                "unknown field `label`",
            ),
            ("rule_files: [x]", "scrape.yml:1: rule_files: ", "unknown field `rule_files`"),
            (
                "global:\n  scrape_interval: 5x",
                "scrape.yml:2: global.scrape_interval: ",
                "not a valid duration string: \"5x\"",
            ),
            (
                "scrape_configs:\n- job_name: a\n  body_size_limit: 5\n",
                "scrape.yml:3: scrape_configs[0].body_size_limit: ",
                "not a valid size in bytes: \"5\"",
            ),
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.starts_with(start) && message.contains(part), "{message}");
        }
        assert!(parse("scrape_configs: [").unwrap_err().starts_with("scrape.yml:"));
    }
}
