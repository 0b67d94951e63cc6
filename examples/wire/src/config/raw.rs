//! The file as it is written, and what is checked of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::client::{self, RawClient};
use super::field::{Bytes, Milliseconds};
use super::remote_write::{RawRemoteWrite, RemoteWrite};
use super::{
    Auth, Cardinality, ConfigProblem, DEFAULT_BODY_SIZE_LIMIT, DEFAULT_SCRAPE_INTERVAL_MS,
    DEFAULT_SCRAPE_TIMEOUT_MS, DiscoveryConfig, FileDiscovery, Histograms, HttpDiscovery, Job,
    Limits, Names, OAuth2, ScrapeFile, Secret, StaticConfig, TlsConfig,
};
use crate::exposition::{Escaping, Protocol};
use crate::relabel::Rule;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFile {
    #[serde(default)]
    global: RawGlobal,
    #[serde(default)]
    scrape_configs: Vec<RawJob>,
    #[serde(default)]
    storage: RawStorage,
    #[serde(default)]
    remote_write: Vec<RawRemoteWrite>,
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
    scrape_protocols: Option<Vec<Protocol>>,
    scrape_native_histograms: Option<bool>,
    convert_classic_histograms_to_nhcb: Option<bool>,
    always_scrape_classic_histograms: Option<bool>,
    extra_scrape_metrics: Option<bool>,
    label_cardinality: Option<Cardinality>,
    metric_name_validation_scheme: Option<Names>,
    metric_name_escaping_scheme: Option<Escaping>,
    body_size_limit: Bytes,
    sample_limit: usize,
    target_limit: usize,
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
    #[serde(default)]
    scrape_protocols: Option<Vec<Protocol>>,
    #[serde(default)]
    fallback_scrape_protocol: Option<Protocol>,
    #[serde(default)]
    scrape_native_histograms: Option<bool>,
    #[serde(default, alias = "scrape_classic_histograms")]
    always_scrape_classic_histograms: Option<bool>,
    #[serde(default)]
    convert_classic_histograms_to_nhcb: Option<bool>,
    #[serde(default)]
    native_histogram_bucket_limit: usize,
    #[serde(default)]
    native_histogram_min_bucket_factor: f64,
    #[serde(default)]
    extra_scrape_metrics: Option<bool>,
    #[serde(default)]
    label_cardinality: Option<Cardinality>,
    #[serde(default)]
    metric_name_validation_scheme: Option<Names>,
    #[serde(default)]
    metric_name_escaping_scheme: Option<Escaping>,
    #[serde(default = "default_metrics_path")]
    metrics_path: String,
    #[serde(default = "default_scheme")]
    scheme: String,
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
    sample_limit: usize,
    #[serde(default)]
    target_limit: usize,
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
    #[serde(default)]
    file_sd_configs: Vec<FileDiscovery>,
    #[serde(default)]
    http_sd_configs: Vec<HttpDiscovery>,
}

fn default_metrics_path() -> String {
    "/metrics".to_owned()
}

fn default_scheme() -> String {
    "http".to_owned()
}

pub(super) fn yes() -> bool {
    true
}

impl RawFile {
    pub(super) fn check(self, text: &str, dir: &Path) -> Result<ScrapeFile, ConfigProblem> {
        let Self { global, scrape_configs, storage, remote_write } = self;
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
            let mut job = raw.check(&global, interval, timeout)?;
            job.client.locate(dir);
            job.discovery.iter_mut().for_each(|config| config.locate(dir));
            jobs.push(job);
        }
        let external_labels = global.external_labels;
        let out_of_order_window_ms = storage.tsdb.out_of_order_time_window.0;
        let text = super::secret::hide(text);
        let mut places = Vec::with_capacity(remote_write.len());
        for raw in remote_write {
            let place = raw.check(dir)?;
            if places.iter().any(|other: &RemoteWrite| other.name == place.name) {
                let reason = format!("the name {:?} is there twice", place.name);
                return Err(ConfigProblem::RemoteWrite { url: place.shown_url(), reason });
            }
            places.push(place);
        }
        Ok(ScrapeFile { external_labels, jobs, remote_write: places, out_of_order_window_ms, text })
    }
}

impl RawJob {
    fn check(
        mut self,
        global: &RawGlobal,
        interval: i64,
        timeout: i64,
    ) -> Result<Job, ConfigProblem> {
        let job = self.job_name.clone();
        let interval_ms = self.scrape_interval.or(interval);
        if self.scrape_timeout.0 > interval_ms {
            return Err(ConfigProblem::TimeoutExceedsInterval { job });
        }
        if !matches!(self.scheme.as_str(), "http" | "https") {
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
        let files = self.file_sd_configs.iter().cloned().map(DiscoveryConfig::File);
        let servers = self.http_sd_configs.iter().cloned();
        let servers = servers.map(|config| DiscoveryConfig::Http(Box::new(config)));
        let discovery = files.chain(servers).collect();
        let client = RawClient {
            basic_auth: self.basic_auth.take(),
            authorization: self.authorization.take(),
            oauth2: self.oauth2.take(),
            bearer_token: self.bearer_token.take(),
            bearer_token_file: self.bearer_token_file.take(),
            tls_config: std::mem::take(&mut self.tls_config),
            follow_redirects: self.follow_redirects,
        };
        let client =
            client.check().map_err(|reason| ConfigProblem::Client { job: job.clone(), reason })?;
        let limits = self.limits(global);
        let histograms = self.histograms(global);
        let protocols = self.protocols(global, histograms.native)?;
        let names = self.metric_name_validation_scheme.or(global.metric_name_validation_scheme);
        let names = names.unwrap_or_default();
        let escaping = self.metric_name_escaping_scheme.or(global.metric_name_escaping_scheme);
        let escaping = escaping.unwrap_or(match names {
            Names::Utf8 => Escaping::AllowUtf8,
            Names::Legacy => Escaping::Underscores,
        });
        if names == Names::Legacy && escaping == Escaping::AllowUtf8 {
            return Err(ConfigProblem::Escaping { job });
        }
        Ok(Job {
            name: job,
            interval_ms,
            timeout_ms: self.scrape_timeout.or(timeout.min(interval_ms)),
            metrics_path: self.metrics_path,
            scheme: self.scheme,
            client,
            params: self.params,
            honor_labels: self.honor_labels,
            honor_timestamps: self.honor_timestamps,
            track_timestamps_staleness: self.track_timestamps_staleness,
            enable_compression: self.enable_compression,
            has_own_protocols: self.scrape_protocols.or(global.scrape_protocols.clone()).is_some(),
            protocols,
            fallback_protocol: self.fallback_scrape_protocol,
            escaping,
            names,
            histograms,
            extra_metrics: self
                .extra_scrape_metrics
                .or(global.extra_scrape_metrics)
                .unwrap_or_default(),
            limits,
            cardinality: self.label_cardinality.or(global.label_cardinality),
            relabel: self.relabel_configs,
            metric_relabel: self.metric_relabel_configs,
            static_configs: self.static_configs,
            discovery,
        })
    }

    fn limits(&self, global: &RawGlobal) -> Limits {
        let or_global = |own: usize, global: usize| if own == 0 { global } else { own };
        let limit =
            |own: usize, global: usize| Some(or_global(own, global)).filter(|limit| *limit > 0);
        let body_bytes = or_global(self.body_size_limit.0, global.body_size_limit.0);
        let names = (self.label_name_length_limit, global.label_name_length_limit);
        let values = (self.label_value_length_limit, global.label_value_length_limit);
        Limits {
            samples: limit(self.sample_limit, global.sample_limit),
            targets: limit(self.target_limit, global.target_limit),
            body_bytes: or_global(body_bytes, DEFAULT_BODY_SIZE_LIMIT),
            labels: limit(self.label_limit, global.label_limit),
            label_name_bytes: limit(names.0, names.1),
            label_value_bytes: limit(values.0, values.1),
            histogram_buckets: limit(self.native_histogram_bucket_limit, 0),
        }
    }

    fn histograms(&self, global: &RawGlobal) -> Histograms {
        let is_set = |own: Option<bool>, global: Option<bool>| own.or(global).unwrap_or_default();
        let convert = global.convert_classic_histograms_to_nhcb;
        let always_classic = global.always_scrape_classic_histograms;
        Histograms {
            native: is_set(self.scrape_native_histograms, global.scrape_native_histograms),
            always_classic: is_set(self.always_scrape_classic_histograms, always_classic),
            convert: is_set(self.convert_classic_histograms_to_nhcb, convert),
            max_schema: max_schema(self.native_histogram_min_bucket_factor),
        }
    }

    fn protocols(
        &self,
        global: &RawGlobal,
        is_native: bool,
    ) -> Result<Vec<Protocol>, ConfigProblem> {
        let own = self.scrape_protocols.as_ref().or(global.scrape_protocols.as_ref());
        let Some(protocols) = own else {
            return Ok(match is_native {
                true => Protocol::PROTOBUF_FIRST.to_vec(),
                false => Protocol::DEFAULT.to_vec(),
            });
        };
        let different: BTreeSet<_> = protocols.iter().collect();
        if protocols.is_empty() || different.len() < protocols.len() {
            return Err(ConfigProblem::Protocols { job: self.job_name.clone() });
        }
        Ok(protocols.clone())
    }
}

/// The highest resolution whose buckets grow by at least `factor` from one to the next; `None` for any.
fn max_schema(factor: f64) -> Option<i32> {
    if factor <= 1.0 || factor.is_nan() {
        return None;
    }
    let floor = (-factor.log2().log2()).floor();
    if floor >= 8.0 {
        return None;
    }
    Some((-4..8).rev().find(|schema| f64::from(*schema) <= floor).unwrap_or(-4))
}
