//! The engine: from query text to a [`Query`] that can be run and cancelled.

use std::sync::Arc;

use crate::ast::Expr;
use crate::exec::batch::Grid;
use crate::exec::{Context, Settings};
use crate::functions::signatures::ValueType;
use crate::limits::{Bounds, CancelHandle, Limits};
use crate::parser::{ParseOptions, parse_with};
use crate::plan::{self, Node, QueryTimes};
use crate::storage::Queryable;
use crate::{EngineOptions, Error, QueryResult, QueryStats, RangeError, result};

/// Evaluates queries over any storage. Cheap to clone; one engine serves many threads.
///
/// ```
/// use std::sync::Arc;
/// use ferula_promql::{Engine, EngineOptions, Value};
/// # use ferula_promql::storage::{Querier, Queryable, StorageError, TimeRange};
/// # struct Nothing;
/// # impl Queryable for Nothing {
/// #     fn querier(&self, _: TimeRange) -> Result<Box<dyn Querier>, StorageError> {
/// #         unreachable!("the query reads nothing")
/// #     }
/// # }
/// # let storage = Arc::new(Nothing);
/// let engine = Engine::new(EngineOptions::default());
/// let result = engine.instant(storage, "1 + 2 * 3", 1_700_000_000_000)?.run()?;
/// assert!(matches!(result.value, Value::Scalar(sample) if sample.value == 7.0));
/// # Ok::<(), ferula_promql::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    options: Arc<EngineOptions>,
}

impl Engine {
    /// Makes an engine.
    pub fn new(options: EngineOptions) -> Self {
        Self { options: Arc::new(options) }
    }

    /// The options it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Prepares the evaluation of `text` at one time, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// Whatever is wrong with the query, [`Error::Unsupported`] included.
    pub fn instant(
        &self,
        storage: Arc<dyn Queryable>,
        text: &str,
        timestamp_ms: i64,
    ) -> Result<Query, Error> {
        let expr = self.parse(text)?;
        self.prepare(storage, &expr, text, Steps::instant(timestamp_ms))
    }

    /// Prepares the evaluation of `text` at `start_ms` and every `step_ms` later up to `end_ms`.
    ///
    /// # Errors
    /// Whatever is wrong with the query or the range, [`Error::Unsupported`] included.
    pub fn range(
        &self,
        storage: Arc<dyn Queryable>,
        text: &str,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
    ) -> Result<Query, Error> {
        let expr = self.parse(text)?;
        let fail =
            |reason| Err(Error::Range { start: start_ms, end: end_ms, step: step_ms, reason });
        if step_ms <= 0 {
            return fail(RangeError::Step);
        }
        if end_ms < start_ms {
            return fail(RangeError::Inverted);
        }
        let found = expr.value_type();
        if !matches!(found, ValueType::Scalar | ValueType::Vector) {
            return Err(Error::RangeQueryType { found });
        }
        let steps = Steps { start: start_ms, end: end_ms, step: step_ms };
        self.prepare(storage, &expr, text, steps)
    }

    fn parse(&self, text: &str) -> Result<Expr, Error> {
        let features = self.options.enabled_features();
        let options = ParseOptions {
            experimental_functions: features.experimental_functions,
            extended_range_selectors: features.extended_range_selectors,
            binop_fill_modifiers: features.binop_fill_modifiers,
        };
        Ok(parse_with(text, &options)?)
    }

    fn prepare(
        &self,
        storage: Arc<dyn Queryable>,
        expr: &Expr,
        text: &str,
        steps: Steps,
    ) -> Result<Query, Error> {
        let times = QueryTimes {
            start: steps.start,
            end: steps.end,
            step: steps.step,
            subquery_step: self.options.subquery_step(),
        };
        Ok(Query {
            plan: plan::build(expr, text, times)?,
            options: Arc::clone(&self.options),
            storage,
            text: text.to_owned(),
            steps,
            lookback_delta_ms: None,
            timeout_ms: None,
            max_memory_bytes: None,
            cancel: CancelHandle::default(),
        })
    }
}

/// When a query is evaluated.
#[derive(Clone, Copy, Debug)]
struct Steps {
    start: i64,
    end: i64,
    /// 0 for an instant query.
    step: i64,
}

impl Steps {
    fn instant(time: i64) -> Self {
        Self { start: time, end: time, step: 0 }
    }

    fn is_instant(self) -> bool {
        self.step == 0
    }
}

/// A query that was understood and waits to be run.
pub struct Query {
    options: Arc<EngineOptions>,
    storage: Arc<dyn Queryable>,
    text: String,
    plan: Node,
    steps: Steps,
    lookback_delta_ms: Option<i64>,
    timeout_ms: Option<u64>,
    max_memory_bytes: Option<usize>,
    cancel: CancelHandle,
}

impl Query {
    /// Sets how far instant selectors of this query look back, in milliseconds; below 1 leaves the
    /// engine's choice.
    #[must_use]
    pub fn with_lookback_delta_ms(mut self, ms: i64) -> Self {
        self.lookback_delta_ms = (ms > 0).then_some(ms);
        self
    }

    /// Sets how long this query may run, in milliseconds, if the engine has a clock.
    #[must_use]
    pub fn with_timeout_ms(mut self, ms: u64) -> Self {
        self.timeout_ms = Some(ms);
        self
    }

    /// Sets how many bytes of memory this query may hold at once, instead of the engine's choice.
    #[must_use]
    pub fn with_max_memory_bytes(mut self, bytes: usize) -> Self {
        self.max_memory_bytes = Some(bytes);
        self
    }

    /// A handle that stops this query from another thread.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// The text of the query.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Evaluates the query.
    ///
    /// # Errors
    /// Whatever stopped it.
    pub fn run(&self) -> Result<QueryResult, Error> {
        let bounds = Bounds {
            timeout_ms: self.timeout_ms.unwrap_or(self.options.timeout()),
            max_samples: self.options.sample_limit(),
            max_bytes: self.max_memory_bytes.unwrap_or(self.options.memory_limit()),
        };
        let (cancel, clock) = (self.cancel.clone(), self.options.clock_handle());
        let limits = Arc::new(Limits::new(&self.text, cancel, clock, bounds));
        limits.check()?;
        let lookback_ms = self.lookback_delta_ms.unwrap_or(self.options.lookback_delta());
        let Steps { start, end, step } = self.steps;
        let querier = match plan::needed_times(&self.plan, start, end, lookback_ms) {
            Some(range) => Some(self.storage.querier(range).map_err(Error::Storage)?),
            None => None,
        };
        let settings = Settings {
            lookback_ms,
            features: self.options.enabled_features(),
            threads: self.options.thread_handle().cloned(),
        };
        let context = Context::new(&self.text, querier, limits, settings);
        let value = if self.steps.is_instant() {
            result::instant(&self.plan, Grid::instant(start), &context)?
        } else {
            let grid = context.grid(start, end, step)?;
            result::range(&self.plan, grid, &context)?
        };
        Ok(QueryResult {
            value,
            annotations: context.take_annotations(),
            stats: QueryStats {
                samples_read: context.limits.samples_read(),
                peak_samples: context.limits.peak_samples(),
                peak_memory_bytes: context.limits.ledger().peak_bytes() as u64,
                n_series: context.n_series(),
            },
        })
    }
}
