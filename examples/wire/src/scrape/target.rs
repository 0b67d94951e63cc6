//! Targets: where a page is, under which labels it is stored, and what became of it last.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ferula_index::Labels;
use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::error::{ScrapeError, TargetState};
use crate::config::Job;
use crate::discovery::Group;
use crate::{duration, relabel};

/// Label that the host and port of a target come from.
const ADDRESS: &str = "__address__";
const METRICS_PATH: &str = "__metrics_path__";
const SCHEME: &str = "__scheme__";
const SCRAPE_INTERVAL: &str = "__scrape_interval__";
const SCRAPE_TIMEOUT: &str = "__scrape_timeout__";
const PARAM_PREFIX: &str = "__param_";
const RESERVED_PREFIX: &str = "__";

/// One page that is scraped.
#[derive(Debug)]
pub struct Target {
    /// The job it belongs to.
    pub(super) job: Arc<Job>,
    interval_ms: i64,
    timeout_ms: i64,
    /// All labels before any processing, reserved ones included.
    discovered: Labels,
    /// Labels that its series get.
    labels: Labels,
    url: String,
    outcome: Mutex<Outcome>,
    /// How many targets its job has, if that is more than it may have.
    over_limit: Mutex<Option<usize>>,
}

/// What became of the last scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// Unknown until the first scrape has ended.
    pub(crate) state: TargetState,
    /// Why the last scrape failed; empty if it did not.
    pub(crate) error: String,
    /// When the last scrape began.
    pub(crate) start: Option<SystemTime>,
    /// How long it took.
    pub(crate) duration: Duration,
    /// Labels that have too many values.
    pub(crate) limited_labels: Vec<String>,
}

impl Target {
    /// All targets of a job, each once, first those that the file names, and the labels of those that are
    /// not scraped.
    pub(super) fn all_of(job: &Arc<Job>, found: &[&Group]) -> (Vec<Self>, Vec<Labels>) {
        let named = job.static_configs.iter();
        let named: Vec<Group> =
            named.map(|config| Group::new(&config.targets, config.labels.clone())).collect();
        let (mut targets, mut dropped): (Vec<Self>, _) = (Vec::new(), Vec::new());
        let mut known = HashSet::new();
        for group in named.iter().chain(found.iter().copied()) {
            for target in &group.targets {
                let Some(discovered) = discovered(job, group, target) else { continue };
                match Self::new(job, discovered.clone()) {
                    Ok(Some(target)) => {
                        if known.insert(target.key()) {
                            targets.push(target);
                        }
                    }
                    Ok(None) => dropped.push(discovered),
                    Err(problem) => {
                        tracing::warn!(job = job.name, target = %discovered, problem, "target left out");
                        dropped.push(discovered);
                    }
                }
            }
        }
        (targets, dropped)
    }

    /// Makes a target of what is known of it. `None` if the rules of the job drop it.
    fn new(job: &Arc<Job>, discovered: Labels) -> Result<Option<Self>, String> {
        let relabeled = relabel::process(&discovered, &job.relabel);
        let Some(relabeled) = relabeled.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let mut labels: BTreeMap<String, String> =
            relabeled.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let label = |name: &str| labels.get(name).cloned().unwrap_or_default();
        let address = label(ADDRESS);
        if address.is_empty() || address.contains('/') {
            return Err(format!("{address:?} is not a valid hostname"));
        }
        if !matches!(label(SCHEME).as_str(), "http" | "https") {
            return Err(format!("scheme {:?} is not supported", label(SCHEME)));
        }
        let parsed = |name: &str| {
            let text = label(name);
            let parsed = duration::parse(&text).ok().filter(|ms| *ms > 0);
            parsed.ok_or_else(|| format!("{name} is {text:?}, which is no duration above zero"))
        };
        let (interval_ms, timeout_ms) = (parsed(SCRAPE_INTERVAL)?, parsed(SCRAPE_TIMEOUT)?);
        if timeout_ms > interval_ms {
            return Err("scrape timeout greater than scrape interval".to_owned());
        }
        let url = url(job, &labels);
        let instance = labels.entry("instance".to_owned()).or_default();
        if instance.is_empty() {
            *instance = address;
        }
        labels.retain(|name, _| !name.starts_with(RESERVED_PREFIX));
        let labels = from_map(&labels).ok_or("the labels are too long")?;
        let (job, outcome) = (job.clone(), Mutex::default());
        let over_limit = Mutex::default();
        let target =
            Self { job, interval_ms, timeout_ms, discovered, labels, url, outcome, over_limit };
        Ok(Some(target))
    }

    /// What makes it the same target when it is found anew.
    pub(super) fn key(&self) -> (Labels, String) {
        (self.labels.clone(), self.url.clone())
    }

    /// Whether nothing has changed but, perhaps, what became of its scrapes.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (Arc::ptr_eq(&self.job, &other.job) || self.job == other.job)
            && self.discovered == other.discovered
            && (self.interval_ms, self.timeout_ms) == (other.interval_ms, other.timeout_ms)
            && self.key() == other.key()
    }

    /// A number that depends on its labels and address only.
    pub(super) fn hash(&self) -> u64 {
        self.labels.stable_hash() ^ xxh3_64(self.url.as_bytes())
    }

    /// Labels that its series get.
    pub(crate) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// All labels before any processing.
    pub(crate) fn discovered(&self) -> &Labels {
        &self.discovered
    }

    /// Name of its job.
    pub(crate) fn job_name(&self) -> &str {
        &self.job.name
    }

    /// Time between scrapes and longest time of one, in milliseconds.
    pub(crate) fn interval_and_timeout(&self) -> (i64, i64) {
        (self.interval_ms, self.timeout_ms)
    }

    /// Address of the page.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Has scrapes fail as long as the job has too many targets, which are so many then.
    pub(super) fn set_over_limit(&self, found: Option<usize>) {
        *self.over_limit.lock() = found;
    }

    /// Fails if the job has too many targets.
    pub(super) fn check_limit(&self) -> Result<(), ScrapeError> {
        match (self.job.limits.targets, *self.over_limit.lock()) {
            (Some(limit), Some(found)) => Err(ScrapeError::TargetLimit { limit, found }),
            _ => Ok(()),
        }
    }

    /// What became of the last scrape.
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome.lock().clone()
    }

    /// Notes what became of a scrape, and yields what became of the one before.
    pub(super) fn set_outcome(&self, outcome: Outcome) -> Outcome {
        std::mem::replace(&mut self.outcome.lock(), outcome)
    }

    /// How long to wait for the first scrape: targets are spread over the interval by their hash,
    /// and keep their place in it over restarts.
    pub(super) fn offset(&self, now: SystemTime, interval: Duration) -> Duration {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let interval_ns = interval.as_nanos().max(1);
        let place = u128::from(self.hash()) % interval_ns;
        let wait = (interval_ns - now.as_nanos() % interval_ns + place) % interval_ns;
        Duration::from_nanos(u64::try_from(wait).unwrap_or(0))
    }
}

/// What is known of a target before its job's rules are applied; nothing if it is more than labels may be.
fn discovered(job: &Job, group: &Group, target: &BTreeMap<String, String>) -> Option<Labels> {
    let mut labels = group.labels.clone();
    labels.extend(target.iter().map(|(name, value)| (name.clone(), value.clone())));
    // What is said of a target wins over what the file says of its job.
    let mut default = |name: &str, value: &str| {
        let label = labels.entry(name.to_owned()).or_default();
        if label.is_empty() {
            value.clone_into(label);
        }
    };
    default("job", &job.name);
    default(SCRAPE_INTERVAL, &duration::format(job.interval_ms));
    default(SCRAPE_TIMEOUT, &duration::format(job.timeout_ms));
    default(METRICS_PATH, &job.metrics_path);
    default(SCHEME, &job.scheme);
    for (name, values) in &job.params {
        if let Some(first) = values.first() {
            default(&format!("{PARAM_PREFIX}{name}"), first);
        }
    }
    from_map(&labels)
}

/// A label set of names that are unique by construction; none if it is too long, or a name is empty.
fn from_map(labels: &BTreeMap<String, String>) -> Option<Labels> {
    Labels::from_pairs(labels).ok().filter(|_| !labels.contains_key(""))
}

/// Puts the address of a page together from the labels of its target.
fn url(job: &Job, labels: &BTreeMap<String, String>) -> String {
    let label = |name| labels.get(name).map_or("", String::as_str);
    let mut params = job.params.clone();
    for (name, value) in labels {
        if let Some(param) = name.strip_prefix(PARAM_PREFIX) {
            let values = params.entry(param.to_owned()).or_default();
            match values.first_mut() {
                Some(first) => value.clone_into(first),
                None => values.push(value.clone()),
            }
        }
    }
    let path = label(METRICS_PATH);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut url = format!("{}://{}{slash}{path}", label(SCHEME), label(ADDRESS));
    let mut separator = '?';
    for (name, values) in &params {
        for value in values {
            url.push(separator);
            separator = '&';
            push_encoded(&mut url, name);
            url.push('=');
            push_encoded(&mut url, value);
        }
    }
    url
}

/// Writes a name or value of a query as forms encode it.
pub(crate) fn push_encoded(url: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                url.push(char::from(byte));
            }
            b' ' => url.push('+'),
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::ScrapeFile;

    fn job(text: &str) -> Arc<Job> {
        let text = format!("scrape_configs:\n- job_name: j\n  {}", text.replace('\n', "\n  "));
        ScrapeFile::parse(&text, Path::new("x.yml")).unwrap().jobs.remove(0).into()
    }

    #[test]
    fn labels_and_address_come_from_the_file() {
        let job = job("scrape_interval: 15s
metrics_path: /probe
params: {module: ['http 2xx', b], target: [x]}
static_configs:
- targets: ['a:1', 'b:2', 'a:1']
  labels: {zone: z, __param_target: 'y&z', job: other, empty: ''}
- targets: ['c:3']
  labels: {instance: named, __metrics_path__: m}");
        let (targets, _) = Target::all_of(&job, &[]);
        let urls: Vec<&str> = targets.iter().map(Target::url).collect();
        assert_eq!(
            urls,
            [
                "http://a:1/probe?module=http+2xx&module=b&target=y%26z",
                "http://b:2/probe?module=http+2xx&module=b&target=y%26z",
                "http://c:3/m?module=http+2xx&module=b&target=x",
            ]
        );
        assert_eq!(targets[0].labels().to_string(), r#"{instance="a:1", job="other", zone="z"}"#);
        assert_eq!(targets[2].labels().to_string(), r#"{instance="named", job="j"}"#);
        assert_eq!(
            targets[2].discovered().to_string(),
            r#"{__address__="c:3", __metrics_path__="m", __param_module="http 2xx", __param_target="x", __scheme__="http", __scrape_interval__="15s", __scrape_timeout__="10s", instance="named", job="j"}"#
        );
    }

    #[test]
    fn rules_change_where_and_how_targets_are_scraped() {
        let job = job("params: {module: [tcp]}
static_configs:
- targets: ['a:1', 'b:2', 'c:3', 'd:4']
  labels: {__meta_zone: z}
relabel_configs:
- {source_labels: [__address__], regex: 'b:.*', action: drop}
- {source_labels: [__address__], target_label: __param_target}
- {source_labels: [__address__], regex: 'c:.*', target_label: __address__, replacement: 'a/b'}
- {source_labels: [__meta_zone], target_label: zone}
- {source_labels: [__address__], regex: 'd:.*', target_label: __scrape_interval__, replacement: 5s}
- {source_labels: [__address__], regex: 'a:.*', target_label: __metrics_path__, replacement: /probe}");
        let (targets, dropped) = Target::all_of(&job, &[]);
        let [target] = &targets[..] else { panic!("{targets:?}") };
        assert_eq!(target.url(), "http://a:1/probe?module=tcp&target=a%3A1");
        assert_eq!(target.labels().to_string(), r#"{instance="a:1", job="j", zone="z"}"#);
        assert_eq!(target.discovered().get("__meta_zone"), Some("z"));
        // By a rule, for its address, and for a timeout of 10 s that is above its interval.
        let addresses: Vec<_> = dropped.iter().filter_map(|l| l.get("__address__")).collect();
        assert_eq!(addresses, ["b:2", "c:3", "d:4"]);
    }

    #[test]
    fn the_place_in_the_interval_does_not_depend_on_the_start() {
        let job = job("static_configs: [{targets: ['a:1', 'b:2']}]");
        let interval = Duration::from_secs(15);
        let (targets, _) = Target::all_of(&job, &[]);
        let places: Vec<u128> = targets
            .iter()
            .map(|target| {
                let place = |start_ms: u64| {
                    let start = SystemTime::UNIX_EPOCH + Duration::from_millis(start_ms);
                    let wait = target.offset(start, interval);
                    assert!(wait < interval);
                    (u128::from(start_ms) * 1_000_000 + wait.as_nanos()) % interval.as_nanos()
                };
                assert_eq!(place(1_000_000), place(1_007_503));
                place(0)
            })
            .collect();
        assert_ne!(places[0], places[1]);
    }
}
