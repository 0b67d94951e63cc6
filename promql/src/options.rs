//! How an engine behaves: lookback, limits, and the experimental parts of the language.

use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::host::{HostFunction, HostFunctionError, HostFunctions};
use crate::limits::Clock;
use crate::threads::Threads;

/// How far an instant selector looks back for a sample: 5 minutes, in milliseconds.
pub const DEFAULT_LOOKBACK_DELTA_MS: i64 = 5 * 60 * 1000;

/// Most samples that a query may hold in memory at once.
pub const DEFAULT_MAX_SAMPLES: usize = 50_000_000;

/// Most memory that a query may hold at once: 1 GiB, in bytes.
pub const DEFAULT_MAX_MEMORY_BYTES: usize = 1 << 30;

/// Longest time a query may run, if the engine has a clock: 2 minutes, in milliseconds.
pub const DEFAULT_TIMEOUT_MS: u64 = 2 * 60 * 1000;

/// Distance of the evaluations of a subquery that names none: 1 minute, in milliseconds.
pub const DEFAULT_SUBQUERY_STEP_MS: i64 = 60 * 1000;

/// Options of an [`Engine`](crate::Engine).
///
/// ```
/// use ferula_promql::EngineOptions;
///
/// let options = EngineOptions::default().lookback_delta_ms(60_000).max_samples(1_000_000);
/// assert_eq!(options.lookback_delta(), 60_000);
/// ```
#[derive(Clone)]
pub struct EngineOptions {
    lookback_delta_ms: i64,
    max_samples: usize,
    max_memory_bytes: usize,
    timeout_ms: u64,
    subquery_step_ms: i64,
    clock: Option<Arc<dyn Clock>>,
    threads: Option<Arc<dyn Threads>>,
    features: Features,
    functions: HostFunctions,
    is_strict: bool,
}

/// Experimental parts of the language, each off unless turned on. Names are those of the feature
/// flags of Prometheus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// Functions and aggregations that are experimental, `promql-experimental-functions`.
    pub experimental_functions: bool,
    /// `anchored` and `smoothed`, `promql-extended-range-selectors`.
    pub extended_range_selectors: bool,
    /// `fill`, `fill_left` and `fill_right`, `promql-binop-fill-modifiers`.
    pub binop_fill_modifiers: bool,
    /// Metric names are removed at the end of a query only, `promql-delayed-name-removal`.
    pub delayed_name_removal: bool,
    /// `__type__` decides whether a metric is a counter, `type-and-unit-labels`.
    pub type_and_unit_labels: bool,
    /// Start timestamps tell `rate`, `irate`, `increase` and `resets` of counter resets, and
    /// `start_timestamp` shows them, `use-start-timestamps`.
    pub use_start_timestamps: bool,
}

impl Features {
    /// All experimental parts on.
    pub const ALL: Self = Self {
        experimental_functions: true,
        extended_range_selectors: true,
        binop_fill_modifiers: true,
        delayed_name_removal: true,
        type_and_unit_labels: true,
        use_start_timestamps: true,
    };
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            lookback_delta_ms: DEFAULT_LOOKBACK_DELTA_MS,
            max_samples: DEFAULT_MAX_SAMPLES,
            max_memory_bytes: DEFAULT_MAX_MEMORY_BYTES,
            timeout_ms: DEFAULT_TIMEOUT_MS,
            subquery_step_ms: DEFAULT_SUBQUERY_STEP_MS,
            clock: None,
            threads: None,
            features: Features::default(),
            functions: HostFunctions::default(),
            is_strict: false,
        }
    }
}

impl EngineOptions {
    /// Sets how far an instant selector looks back, in milliseconds; below 1 means the default.
    #[must_use]
    pub fn lookback_delta_ms(mut self, ms: i64) -> Self {
        self.lookback_delta_ms = if ms < 1 { DEFAULT_LOOKBACK_DELTA_MS } else { ms };
        self
    }

    /// Sets how many samples a query may hold in memory at once.
    #[must_use]
    pub fn max_samples(mut self, n_samples: usize) -> Self {
        self.max_samples = n_samples;
        self
    }

    /// Sets how many bytes of memory a query may hold at once.
    #[must_use]
    pub fn max_memory_bytes(mut self, bytes: usize) -> Self {
        self.max_memory_bytes = bytes;
        self
    }

    /// Sets the clock that timeouts are measured by. Without one, queries do not time out.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets the threads that help the one of a query. Without any, a query runs on one thread.
    #[must_use]
    pub fn threads(mut self, threads: Arc<dyn Threads>) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Sets how long a query may run, in milliseconds.
    #[must_use]
    pub fn timeout_ms(mut self, ms: u64) -> Self {
        self.timeout_ms = ms;
        self
    }

    /// Sets the distance of the evaluations of a subquery that names none, in milliseconds; below
    /// 1 means the default.
    #[must_use]
    pub fn subquery_step_ms(mut self, ms: i64) -> Self {
        self.subquery_step_ms = if ms < 1 { DEFAULT_SUBQUERY_STEP_MS } else { ms };
        self
    }

    /// Sets which experimental parts of the language are on.
    #[must_use]
    pub fn features(mut self, features: Features) -> Self {
        self.features = features;
        self
    }

    /// Adds a function to the language, unless the engine is [`strict`](Self::strict).
    ///
    /// # Errors
    /// If there is a function of that name, or it cannot be the name of one.
    pub fn host_function(mut self, function: HostFunction) -> Result<Self, HostFunctionError> {
        self.functions = self.functions.with(function)?;
        Ok(self)
    }

    /// Sets whether queries are to be those of Prometheus and no others: functions that the host program
    /// added are not known then.
    #[must_use]
    pub fn strict(mut self, is_strict: bool) -> Self {
        self.is_strict = is_strict;
        self
    }

    /// Whether functions that the host program added are not known.
    pub fn is_strict(&self) -> bool {
        self.is_strict
    }

    /// How far an instant selector looks back, in milliseconds.
    pub fn lookback_delta(&self) -> i64 {
        self.lookback_delta_ms
    }

    /// Most samples held in memory at once.
    pub fn sample_limit(&self) -> usize {
        self.max_samples
    }

    /// Most bytes of memory held at once.
    pub fn memory_limit(&self) -> usize {
        self.max_memory_bytes
    }

    /// Longest run of a query, in milliseconds.
    pub fn timeout(&self) -> u64 {
        self.timeout_ms
    }

    /// Distance of the evaluations of a subquery that names none, in milliseconds.
    pub fn subquery_step(&self) -> i64 {
        self.subquery_step_ms
    }

    /// Which experimental parts of the language are on.
    pub fn enabled_features(&self) -> Features {
        self.features
    }

    /// The functions that the host program added, if queries may call them.
    pub(crate) fn functions(&self) -> &HostFunctions {
        static NONE: LazyLock<HostFunctions> = LazyLock::new(HostFunctions::default);
        if self.is_strict { &NONE } else { &self.functions }
    }

    pub(crate) fn thread_handle(&self) -> Option<&Arc<dyn Threads>> {
        self.threads.as_ref()
    }

    pub(crate) fn clock_handle(&self) -> Option<&Arc<dyn Clock>> {
        self.clock.as_ref()
    }
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineOptions")
            .field("lookback_delta_ms", &self.lookback_delta_ms)
            .field("max_samples", &self.max_samples)
            .field("max_memory_bytes", &self.max_memory_bytes)
            .field("timeout_ms", &self.timeout_ms)
            .field("subquery_step_ms", &self.subquery_step_ms)
            .field("has_clock", &self.clock.is_some())
            .field("threads", &self.threads.as_ref().map(|threads| threads.count()))
            .field("features", &self.features)
            .field("functions", &self.functions)
            .field("is_strict", &self.is_strict)
            .finish()
    }
}
