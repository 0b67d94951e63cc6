//! What the handlers share, and how a program puts it together.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ferula_promql::storage::Queryable;

use crate::scrape::Targets;
use crate::store::Store;
use crate::telemetry::Registry;

/// Queries that run at the same time unless the program says otherwise.
pub const DEFAULT_QUERY_CONCURRENCY: usize = 20;

/// What the handlers of the API share; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub(super) shared: Arc<Shared>,
}

/// The parts of [`ApiState`].
pub(super) struct Shared {
    pub(super) storage: Arc<dyn Queryable>,
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) targets: Option<Arc<Targets>>,
    pub(super) registry: Arc<Registry>,
    pub(super) readiness: Readiness,
    pub(super) build: BuildInformation,
    pub(super) flags: Vec<(String, String)>,
    pub(super) enable_admin: bool,
    pub(super) enable_remote_write: bool,
    pub(super) retention: String,
}

impl ApiState {
    /// Starts the state of an API that answers from `storage`.
    pub fn builder(storage: Arc<dyn Queryable>) -> ApiBuilder {
        ApiBuilder {
            shared: Shared {
                storage,
                store: None,
                data_dir: None,
                targets: None,
                registry: Arc::new(Registry::new()),
                readiness: Readiness::default(),
                build: BuildInformation::default(),
                flags: Vec::new(),
                enable_admin: false,
                enable_remote_write: false,
                retention: String::new(),
            },
            query_concurrency: DEFAULT_QUERY_CONCURRENCY,
        }
    }
}

/// Collects what an [`ApiState`] is made of.
pub struct ApiBuilder {
    shared: Shared,
    query_concurrency: usize,
}

impl ApiBuilder {
    /// Sets the store that takes remote write and is asked for snapshots.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.shared.store = Some(store);
        self
    }

    /// Sets the directory of the store; snapshots go to its folder `snapshots`.
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.shared.data_dir = Some(dir.into());
        self
    }

    /// Sets the targets that `/api/v1/targets` lists.
    pub fn targets(mut self, targets: Arc<Targets>) -> Self {
        self.shared.targets = Some(targets);
        self
    }

    /// Sets the registry behind `/metrics`, which the API counts its requests in.
    pub fn registry(mut self, registry: Arc<Registry>) -> Self {
        self.shared.registry = registry;
        self
    }

    /// Sets the flag behind `/-/ready`; without it the API is ready at once.
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.shared.readiness = readiness;
        self
    }

    /// Sets what `/api/v1/status/buildinfo` tells.
    pub fn build_information(mut self, build: BuildInformation) -> Self {
        self.shared.build = build;
        self
    }

    /// Sets what `/api/v1/status/flags` tells: flag names without dashes, and their values.
    pub fn flags(mut self, flags: impl IntoIterator<Item = (String, String)>) -> Self {
        self.shared.flags = flags.into_iter().collect();
        self
    }

    /// Sets whether the endpoints below `/api/v1/admin` work; they do not by default.
    pub fn enable_admin(mut self, enable: bool) -> Self {
        self.shared.enable_admin = enable;
        self
    }

    /// Sets whether `/api/v1/write` takes samples; it does not by default.
    pub fn enable_remote_write(mut self, enable: bool) -> Self {
        self.shared.enable_remote_write = enable;
        self
    }

    /// Sets the retention that `/api/v1/status/runtimeinfo` tells, for instance `15d`.
    pub fn retention(mut self, retention: impl Into<String>) -> Self {
        self.shared.retention = retention.into();
        self
    }

    /// Sets how many queries run at the same time; more wait.
    pub fn query_concurrency(mut self, queries: usize) -> Self {
        self.query_concurrency = queries;
        self
    }

    /// Makes the state.
    pub fn build(self) -> ApiState {
        ApiState { shared: Arc::new(self.shared) }
    }
}

/// Tells whether a server may be sent requests; clones share the answer.
#[derive(Clone, Debug)]
pub struct Readiness {
    ready: Arc<AtomicBool>,
}

impl Readiness {
    /// Makes a flag that says "not yet".
    pub fn pending() -> Self {
        Self { ready: Arc::new(AtomicBool::new(false)) }
    }

    /// Sets the answer.
    pub fn set(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Tells whether requests are served.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

impl Default for Readiness {
    /// Makes a flag that says "ready".
    fn default() -> Self {
        Self { ready: Arc::new(AtomicBool::new(true)) }
    }
}

/// What a program tells about its own making.
#[derive(Clone, Debug, Default)]
pub struct BuildInformation {
    /// Version of the program.
    pub version: String,
    /// Commit it was built from.
    pub revision: String,
    /// Branch of that commit.
    pub branch: String,
    /// Who built it.
    pub build_user: String,
    /// When it was built.
    pub build_date: String,
}
