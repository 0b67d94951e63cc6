//! What the handlers share, and how a program puts it together.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant, SystemTime};

use ferula_index::matcher::CaptureRegex;
use ferula_promql::storage::Queryable;
use ferula_promql::{Clock, Engine, EngineOptions};
use ferula_tsdb::{QueryThreads, Stats};
use tokio::sync::{Notify, Semaphore};

use super::cache::{QueryCache, Settled, SettledSource};
use super::intake::BODY_BUDGET_KIB;
use super::reload::LiveConfig;
use crate::otlp::{OtlpOptions, OtlpReceiver};
use crate::pressure::Pressure;
use crate::remote::Receiver;
use crate::scrape::Targets;
use crate::store::{Notes, Store};
use crate::telemetry::Registry;

/// Queries that run at the same time unless the program says otherwise.
pub const DEFAULT_QUERY_CONCURRENCY: usize = 20;

/// Remote write requests that are stored at the same time; more wait.
pub const DEFAULT_WRITE_CONCURRENCY: usize = 16;

/// What the handlers of the API share; cheap to clone.
#[derive(Clone)]
pub struct ApiState {
    pub(super) shared: Arc<Shared>,
}

/// The parts of [`ApiState`].
pub(super) struct Shared {
    pub(super) app_name: String,
    pub(super) storage: Arc<dyn Queryable>,
    pub(super) engine: Engine,
    pub(super) query_slots: Arc<Semaphore>,
    pub(super) store: Option<Arc<dyn Store>>,
    pub(super) notes: Option<Arc<dyn Notes>>,
    pub(super) stats: Option<StatsSource>,
    pub(super) receiver: Option<Arc<Receiver>>,
    pub(super) otlp: Option<Arc<OtlpReceiver>>,
    pub(super) write_slots: Arc<Semaphore>,
    pub(super) body_budget: Arc<Semaphore>,
    pub(super) pressure: Option<Pressure>,
    pub(super) data_dir: Option<PathBuf>,
    pub(super) targets: Option<Arc<Targets>>,
    pub(super) registry: Arc<Registry>,
    pub(super) readiness: Readiness,
    pub(super) build: BuildInformation,
    pub(super) flags: Vec<(String, String)>,
    pub(super) config_text: String,
    pub(super) config: Option<LiveConfig>,
    pub(super) enable_admin: bool,
    pub(super) enable_search: bool,
    pub(super) external_labels: Vec<(String, String)>,
    pub(super) cors_origin: Option<CaptureRegex>,
    pub(super) quit: Option<Quit>,
    pub(super) slow_query_ms: Option<u64>,
    pub(super) cache: Option<Arc<QueryCache>>,
    pub(super) retention: String,
    pub(super) start_time: SystemTime,
}

/// Asks a storage what it holds.
pub(super) type StatsSource = Arc<dyn Fn() -> Stats + Send + Sync>;

impl ApiState {
    /// Starts the state of an API that answers from `storage`.
    pub fn builder(storage: Arc<dyn Queryable>) -> ApiBuilder {
        ApiBuilder {
            app_name: "Ferula".to_owned(),
            storage,
            engine: default_engine(),
            query_concurrency: DEFAULT_QUERY_CONCURRENCY,
            write_concurrency: DEFAULT_WRITE_CONCURRENCY,
            enable_remote_write: false,
            otlp: None,
            pressure: None,
            store: None,
            notes: None,
            stats: None,
            data_dir: None,
            targets: None,
            registry: Arc::default(),
            readiness: Readiness::default(),
            build: BuildInformation::default(),
            flags: Vec::new(),
            config_text: String::new(),
            config: None,
            enable_admin: false,
            enable_search: true,
            external_labels: Vec::new(),
            cors_origin: None,
            quit: None,
            slow_query_ms: None,
            query_cache_bytes: 0,
            settled: None,
            retention: String::new(),
        }
    }

    /// The configuration that the server runs with, as YAML.
    pub(super) fn config_text(&self) -> Arc<str> {
        match &self.shared.config {
            Some(config) => config.text(),
            None => self.shared.config_text.as_str().into(),
        }
    }
}

/// An engine with a clock, whose queries run on all processors.
fn default_engine() -> Engine {
    let options = EngineOptions::default().clock(Arc::new(MonotonicClock::new()));
    // Without further threads queries run on one.
    Engine::new(match QueryThreads::for_this_machine() {
        Ok(threads) => options.threads(Arc::new(threads)),
        Err(_) => options,
    })
}

/// Collects what an [`ApiState`] is made of.
#[must_use]
pub struct ApiBuilder {
    app_name: String,
    storage: Arc<dyn Queryable>,
    engine: Engine,
    query_concurrency: usize,
    write_concurrency: usize,
    enable_remote_write: bool,
    otlp: Option<OtlpOptions>,
    pressure: Option<Pressure>,
    store: Option<Arc<dyn Store>>,
    notes: Option<Arc<dyn Notes>>,
    stats: Option<StatsSource>,
    data_dir: Option<PathBuf>,
    targets: Option<Arc<Targets>>,
    registry: Arc<Registry>,
    readiness: Readiness,
    build: BuildInformation,
    flags: Vec<(String, String)>,
    config_text: String,
    config: Option<LiveConfig>,
    enable_admin: bool,
    enable_search: bool,
    external_labels: Vec<(String, String)>,
    cors_origin: Option<CaptureRegex>,
    quit: Option<Quit>,
    slow_query_ms: Option<u64>,
    query_cache_bytes: usize,
    settled: Option<SettledSource>,
    retention: String,
}

impl ApiBuilder {
    /// Sets the name that `/-/healthy` and `/-/ready` answer with.
    pub fn app_name(mut self, name: impl Into<String>) -> Self {
        self.app_name = name.into();
        self
    }

    /// Sets the engine; by default one with the default options, a clock for timeouts, and threads that
    /// help queries.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Sets the store that takes remote write, is asked for snapshots, and whose numbers are told.
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets where exemplars and metadata come from; without it there are none.
    pub fn notes(mut self, notes: Arc<dyn Notes>) -> Self {
        self.notes = Some(notes);
        self
    }

    /// Sets where the numbers of `/api/v1/status/tsdb` come from if there is no store.
    pub fn stats(mut self, stats: impl Fn() -> Stats + Send + Sync + 'static) -> Self {
        self.stats = Some(Arc::new(stats));
        self
    }

    /// Sets the directory of the store; snapshots go to its folder `snapshots`.
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// Sets the targets that `/api/v1/targets` lists.
    pub fn targets(mut self, targets: Arc<Targets>) -> Self {
        self.targets = Some(targets);
        self
    }

    /// Sets the registry behind `/metrics`, which the API counts its requests in.
    pub fn registry(mut self, registry: Arc<Registry>) -> Self {
        self.registry = registry;
        self
    }

    /// Sets the flag behind `/-/ready`; without it the API is ready at once.
    pub fn readiness(mut self, readiness: Readiness) -> Self {
        self.readiness = readiness;
        self
    }

    /// Sets what `/api/v1/status/buildinfo` tells.
    pub fn build_information(mut self, build: BuildInformation) -> Self {
        self.build = build;
        self
    }

    /// Sets what `/api/v1/status/flags` tells: flag names without dashes, and their values.
    pub fn flags(mut self, flags: impl IntoIterator<Item = (String, String)>) -> Self {
        self.flags = flags.into_iter().collect();
        self
    }

    /// Sets the configuration that `/api/v1/status/config` tells, and that `/-/reload` has read again.
    pub fn live_config(mut self, config: LiveConfig) -> Self {
        self.config = Some(config);
        self
    }

    /// Sets the configuration that `/api/v1/status/config` tells, as YAML, if it stays the same.
    pub fn config_text(mut self, text: impl Into<String>) -> Self {
        self.config_text = text.into();
        self
    }

    /// Sets whether the endpoints below `/api/v1/admin` work; they do not by default.
    pub fn enable_admin(mut self, enable: bool) -> Self {
        self.enable_admin = enable;
        self
    }

    /// Sets whether the endpoints below `/api/v1/search` work; they do by default.
    pub fn enable_search(mut self, enable: bool) -> Self {
        self.enable_search = enable;
        self
    }

    /// Sets labels that federated samples get where they have none of the name.
    pub fn external_labels(mut self, labels: impl IntoIterator<Item = (String, String)>) -> Self {
        self.external_labels = labels.into_iter().collect();
        self
    }

    /// Sets which origins' pages may read answers, by a regular expression that the whole origin has
    /// to match; all by default.
    pub fn cors_origin(mut self, origins: CaptureRegex) -> Self {
        self.cors_origin = Some(origins);
        self
    }

    /// Sets what `/-/quit` asks; without it that is forbidden.
    pub fn quit(mut self, quit: Option<Quit>) -> Self {
        self.quit = quit;
        self
    }

    /// Sets how many bytes of answers to parts of range queries are kept; none are by default.
    ///
    /// Needs a store or [`stats`](Self::stats), which tell what does not change any more.
    pub fn query_cache_bytes(mut self, bytes: usize) -> Self {
        self.query_cache_bytes = bytes;
        self
    }

    /// Sets what tells of samples that do not change any more, instead of the numbers of the store.
    pub fn settled(mut self, settled: impl Fn() -> Settled + Send + Sync + 'static) -> Self {
        self.settled = Some(Box::new(settled));
        self
    }

    /// Has queries logged that take at least as many milliseconds; none are by default.
    pub fn log_slow_queries(mut self, least_ms: Option<u64>) -> Self {
        self.slow_query_ms = least_ms;
        self
    }

    /// Sets whether `/api/v1/write` takes samples into the store; it does not by default.
    pub fn enable_remote_write(mut self, enable: bool) -> Self {
        self.enable_remote_write = enable;
        self
    }

    /// Has `/api/v1/otlp/v1/metrics` take metrics into the store; it does not by default.
    pub fn otlp(mut self, options: OtlpOptions) -> Self {
        self.otlp = Some(options);
        self
    }

    /// Sets what turns writers away before memory runs out; without it nothing does.
    pub fn pressure(mut self, pressure: Pressure) -> Self {
        self.pressure = Some(pressure);
        self
    }

    /// Sets the retention that `/api/v1/status/runtimeinfo` tells, for instance `15d`.
    pub fn retention(mut self, retention: impl Into<String>) -> Self {
        self.retention = retention.into();
        self
    }

    /// Sets how many queries run at the same time; more wait.
    pub fn query_concurrency(mut self, queries: usize) -> Self {
        self.query_concurrency = queries.max(1);
        self
    }

    /// Sets how many remote write requests are stored at the same time; more wait.
    pub fn write_concurrency(mut self, requests: usize) -> Self {
        self.write_concurrency = requests.max(1);
        self
    }

    /// Makes the state.
    pub fn build(self) -> ApiState {
        let receiver = match &self.store {
            Some(store) if self.enable_remote_write => {
                Some(Arc::new(Receiver::new(store.clone(), &self.registry)))
            }
            _ => None,
        };
        let otlp =
            self.store.clone().zip(self.otlp).map(|(store, options)| {
                Arc::new(OtlpReceiver::new(store, options, &self.registry))
            });
        let stats = self.stats.or_else(|| {
            let store = self.store.clone()?;
            Some(Arc::new(move || store.stats()) as StatsSource)
        });
        let counted = stats.clone();
        let of_stats = || counted.map(|stats| Box::new(move || Settled::of(&stats())) as _);
        let settled = self.settled.or_else(of_stats).filter(|_| self.query_cache_bytes > 0);
        let cache =
            settled.map(|settled| Arc::new(QueryCache::new(self.query_cache_bytes, settled)));
        ApiState {
            shared: Arc::new(Shared {
                app_name: self.app_name,
                storage: self.storage,
                engine: self.engine,
                query_slots: Arc::new(Semaphore::new(self.query_concurrency)),
                store: self.store,
                notes: self.notes,
                stats,
                receiver,
                otlp,
                write_slots: Arc::new(Semaphore::new(self.write_concurrency)),
                body_budget: Arc::new(Semaphore::new(BODY_BUDGET_KIB)),
                pressure: self.pressure,
                data_dir: self.data_dir,
                targets: self.targets,
                registry: self.registry,
                readiness: self.readiness,
                build: self.build,
                flags: self.flags,
                config_text: self.config_text,
                config: self.config,
                enable_admin: self.enable_admin,
                enable_search: self.enable_search,
                external_labels: self.external_labels,
                cors_origin: self.cors_origin,
                quit: self.quit,
                slow_query_ms: self.slow_query_ms,
                cache,
                retention: self.retention,
                start_time: SystemTime::now(),
            }),
        }
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

/// Asks a server to end, over HTTP; clones share the wish.
#[derive(Clone, Debug, Default)]
pub struct Quit {
    is_asked: Arc<AtomicBool>,
    asked: Arc<Notify>,
}

impl Quit {
    /// Asks the server to end, and tells whether nobody has done so before.
    pub fn ask(&self) -> bool {
        let is_first = !self.is_asked.swap(true, Ordering::AcqRel);
        self.asked.notify_one();
        is_first
    }

    /// Waits until somebody asks.
    pub async fn asked(&self) {
        self.asked.notified().await;
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

/// The clock that query timeouts are measured by.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock {
    start: Instant,
}

impl MonotonicClock {
    /// Makes a clock that starts at zero.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for MonotonicClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for MonotonicClock {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
