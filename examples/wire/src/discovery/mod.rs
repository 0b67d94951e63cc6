//! Service discovery: where targets come from that a configuration file does not name.
//!
//! Every source hands over all groups of targets that it knows, each time something has changed. What is
//! known stays as it is while a source cannot be read. Formats, labels and defaults are those of Prometheus
//! 3.14 (`discovery`).

mod file;
mod http;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;
use tokio::task::JoinHandle;

use crate::config::DiscoveryConfig;

/// Largest answer or file that is read.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// Targets that share labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// Labels of each target, `__address__` among them.
    pub(crate) targets: Vec<BTreeMap<String, String>>,
    /// Labels of all of them; those of a target win.
    pub(crate) labels: BTreeMap<String, String>,
}

impl Group {
    /// A group of addresses.
    pub(crate) fn new(addresses: &[String], labels: BTreeMap<String, String>) -> Self {
        let target =
            |address: &String| BTreeMap::from([("__address__".to_owned(), address.clone())]);
        Self { targets: addresses.iter().map(target).collect(), labels }
    }
}

/// Groups in the order in which they were found.
pub(crate) type Groups = Vec<Group>;

/// Where the groups of a source go.
pub(crate) type Sink = Arc<dyn Fn(Groups) + Send + Sync>;

/// A group as files and servers write it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    #[serde(default)]
    targets: Vec<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl RawGroup {
    /// The group with one more label, which tells where it comes from.
    fn into_group(self, name: &str, origin: &str) -> Group {
        let mut labels = self.labels.unwrap_or_default();
        labels.insert(name.to_owned(), origin.to_owned());
        Group::new(&self.targets, labels)
    }
}

/// A source that is asked again and again, until this is dropped.
#[derive(Debug)]
pub(crate) struct Discovery {
    task: JoinHandle<()>,
}

impl Discovery {
    /// Starts to ask a source.
    ///
    /// # Errors
    /// If the client that asks it cannot be made.
    pub(crate) fn start(config: &DiscoveryConfig, sink: Sink) -> Result<Self, crate::Error> {
        let task = match config {
            DiscoveryConfig::File(config) => tokio::spawn(file::run(config.clone(), sink)),
            DiscoveryConfig::Http(config) => tokio::spawn(http::HttpSource::new(config)?.run(sink)),
        };
        Ok(Self { task })
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.task.abort();
    }
}
