//! The engine: from query text to a [`Query`] that can be run and cancelled.

use std::sync::Arc;

use crate::limits::CancelHandle;
use crate::storage::Queryable;
use crate::{EngineOptions, Error, QueryResult, Span};

/// Evaluates queries over any storage. Cheap to clone; one engine serves many threads.
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
        let _ = timestamp_ms;
        self.prepare(storage, text)
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
        let _ = (start_ms, end_ms, step_ms);
        self.prepare(storage, text)
    }

    fn prepare(&self, storage: Arc<dyn Queryable>, text: &str) -> Result<Query, Error> {
        Ok(Query {
            options: Arc::clone(&self.options),
            storage,
            text: text.to_owned(),
            lookback_delta_ms: None,
            timeout_ms: None,
            cancel: CancelHandle::default(),
        })
    }
}

/// A query that was understood and waits to be run.
pub struct Query {
    options: Arc<EngineOptions>,
    storage: Arc<dyn Queryable>,
    text: String,
    lookback_delta_ms: Option<i64>,
    timeout_ms: Option<u64>,
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
        let _ = (&self.options, &self.storage, self.lookback_delta_ms, self.timeout_ms);
        Err(Error::Unsupported {
            what: "evaluation".to_owned(),
            span: Span::default(),
            line: 1,
            column: 1,
        })
    }
}
