//! The engine: from query text to a [`Query`] that can be run and cancelled.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::ast::Expr;
use crate::exec::batch::Grid;
use crate::exec::profile::Profile;
use crate::exec::{Context, Settings};
use crate::explain::{self, Analysis, Explanation};
use crate::functions::signatures::ValueType;
use crate::limits::{Bounds, CancelHandle, Limits};
use crate::parser::{ParseOptions, parse_for_host};
use crate::plan::{self, Node, QueryTimes, Repeats};
use crate::result::{self, Collected};
use crate::storage::Queryable;
use crate::{EngineOptions, Error, ParseError, Part, QueryResult, QueryStats, RangeError, Summary};

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

    /// Parses and checks a query as this engine takes it, with the experimental parts of the language
    /// that are enabled and the functions that the host program added.
    ///
    /// # Errors
    /// [`ParseError`](crate::ParseError) for the first thing that is wrong.
    pub fn parse(&self, text: &str) -> Result<Expr, ParseError> {
        let features = self.options.enabled_features();
        let options = ParseOptions {
            experimental_functions: features.experimental_functions,
            extended_range_selectors: features.extended_range_selectors,
            binop_fill_modifiers: features.binop_fill_modifiers,
        };
        parse_for_host(text, &options, self.options.functions())
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
        let plan = plan::build(expr, text, times, self.options.functions())?;
        Ok(Query {
            repeats: Repeats::find(&plan, text),
            plan,
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
    repeats: Repeats,
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

    /// Has this query stop when `handle` says so, which may be that of another query.
    #[must_use]
    pub fn with_cancel_handle(mut self, handle: CancelHandle) -> Self {
        self.cancel = handle;
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
        let context = self.context(None)?;
        let mut collected = Collected::new(&context);
        self.evaluate(&context, &mut |part| collected.take(part))?;
        let Summary { annotations, stats } = summary(&context);
        Ok(QueryResult { value: collected.into_value(), annotations, stats })
    }

    /// Evaluates the query and hands the answer to `take` part by part, each as soon as it is known.
    /// Only a part that is computed takes memory of the query; samples count as held all the same.
    /// Once `take` breaks, nothing more is computed.
    ///
    /// # Errors
    /// Whatever stopped it. Parts may have been handed over before.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use std::ops::ControlFlow;
    /// use ferula_promql::{Engine, EngineOptions, Part};
    /// # use ferula_promql::testlang::{MemoryStorage, TestStorage};
    /// # let storage = MemoryStorage::new().queryable().map_err(|e| e.to_string())?;
    ///
    /// let query = Engine::new(EngineOptions::default()).range(storage, "vector(2)", 0, 60_000, 30_000);
    /// let mut n_points = 0;
    /// query.and_then(|query| {
    ///     query.stream(|part| {
    ///         if let Part::Series(series) = part {
    ///             n_points += series.samples.len();
    ///         }
    ///         ControlFlow::Continue(())
    ///     })
    /// })?;
    /// assert_eq!(n_points, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stream(&self, mut take: impl FnMut(Part) -> ControlFlow<()>) -> Result<Summary, Error> {
        let context = self.context(None)?;
        let mut is_enough = false;
        let outcome = self.evaluate(&context, &mut |part| {
            is_enough = take(part).is_break();
            // Ends the evaluation like a cancellation does.
            if is_enough { Err(Error::Cancelled) } else { Ok(()) }
        });
        match outcome {
            Err(Error::Cancelled) if is_enough => {}
            outcome => outcome?,
        }
        Ok(summary(&context))
    }

    /// Tells how the query would be evaluated, and what it is likely to cost. Series are selected for
    /// that, and a few of each selection are read. Parts whose series depend on values, as those of
    /// `count_values` do, are evaluated.
    ///
    /// # Errors
    /// Whatever would stop the query before it reads samples.
    pub fn explain(&self) -> Result<Explanation, Error> {
        let profile = Arc::new(Profile::new(None, true));
        let context = self.context(Some(&profile))?;
        let grid = self.grid(&context)?;
        let n_series = result::prepare(&self.plan, grid, &context)?;
        let parts = explain::parts(&self.plan, &profile);
        let n_values = parts.iter().filter(|part| part.kind == "aggregation");
        let n_values =
            n_values.map(|part| part.n_series).fold(n_series as u64, u64::saturating_add);
        // A number and a time, or a sum and what compensates it.
        let of_values = n_values.saturating_mul(grid.len as u64).saturating_mul(16);
        let counted = context.limits.ledger().peak_bytes() as u64;
        let memory_bytes = counted.saturating_add(of_values);
        Ok(Explanation { parts, n_steps: grid.len, memory_bytes, text: self.text.clone() })
    }

    /// Evaluates the query, and tells what its parts did on the way.
    ///
    /// # Errors
    /// Whatever stopped it.
    pub fn analyze(&self) -> Result<Analysis, Error> {
        let profile = Arc::new(Profile::new(self.options.clock_handle().cloned(), false));
        let context = self.context(Some(&profile))?;
        self.evaluate(&context, &mut |_| Ok(()))?;
        let parts = explain::parts(&self.plan, &profile);
        Ok(Analysis { parts, summary: summary(&context), text: self.text.clone() })
    }

    /// What a run of the query begins with.
    fn context(&self, profile: Option<&Arc<Profile>>) -> Result<Context, Error> {
        let bounds = Bounds {
            timeout_ms: self.timeout_ms.unwrap_or(self.options.timeout()),
            max_samples: self.options.sample_limit(),
            max_bytes: self.max_memory_bytes.unwrap_or(self.options.memory_limit()),
        };
        let (cancel, clock) = (self.cancel.clone(), self.options.clock_handle());
        let limits = Arc::new(Limits::new(&self.text, cancel, clock, bounds));
        limits.check()?;
        let lookback_ms = self.lookback_delta_ms.unwrap_or(self.options.lookback_delta());
        let Steps { start, end, .. } = self.steps;
        let querier = match plan::needed_times(&self.plan, start, end, lookback_ms) {
            Some(range) => Some(self.storage.querier(range).map_err(Error::of_storage)?),
            None => None,
        };
        let settings = Settings {
            lookback_ms,
            features: self.options.enabled_features(),
            threads: self.options.thread_handle().cloned(),
            functions: self.options.functions().clone(),
            profile: profile.cloned(),
            repeats: self.repeats.clone(),
        };
        Ok(Context::new(&self.text, querier, limits, settings))
    }

    fn evaluate(&self, context: &Context, take: &mut result::Take<'_>) -> Result<(), Error> {
        let grid = self.grid(context)?;
        if self.steps.is_instant() {
            result::instant(&self.plan, grid, context, take)
        } else {
            result::range(&self.plan, grid, context, take)
        }
    }

    #[cfg(feature = "arrow")]
    pub(crate) fn unsupported(&self, what: &str) -> Error {
        let span = self.plan.span;
        let (line, column) = span.line_column(&self.text);
        Error::Unsupported { what: what.to_owned(), span, line, column }
    }

    fn grid(&self, context: &Context) -> Result<Grid, Error> {
        let Steps { start, end, step } = self.steps;
        if self.steps.is_instant() {
            Ok(Grid::instant(start))
        } else {
            context.grid(start, end, step)
        }
    }
}

/// What is known of an answer once all of it was computed.
fn summary(context: &Context) -> Summary {
    let limits = &context.limits;
    let stats = QueryStats {
        samples_read: limits.samples_read(),
        peak_samples: limits.peak_samples(),
        peak_memory_bytes: limits.ledger().peak_bytes() as u64,
        n_series: context.n_series(),
    };
    Summary { annotations: context.take_annotations(), stats }
}
