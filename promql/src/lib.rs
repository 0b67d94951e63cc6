//! A PromQL parser and engine that runs over any storage.
//!
//! The language is that of Prometheus 3.14, its test scripts being the specification. Take this
//! crate to evaluate queries over samples of your own; `ferula-tsdb` brings a storage that fits.
//!
//! A storage implements three small traits of [`storage`]. Here it is a list of series:
//!
//! ```
//! use std::sync::Arc;
//!
//! use ferula_chunkenc::{Sample, SampleBatch};
//! use ferula_index::{Labels, Matcher};
//! use ferula_promql::storage::{Querier, Queryable, SelectHints, SeriesSet, StorageError, TimeRange};
//! use ferula_promql::{Engine, EngineOptions, Value};
//!
//! #[derive(Clone)]
//! struct Series(Vec<(Labels, Vec<Sample>)>); // sorted by labels
//!
//! impl Queryable for Series {
//!     fn querier(&self, _: TimeRange) -> Result<Box<dyn Querier>, StorageError> {
//!         Ok(Box::new(self.clone()))
//!     }
//! }
//!
//! impl Querier for Series {
//!     fn select(&self, matchers: &[Matcher], _: &SelectHints) -> Result<Box<dyn SeriesSet>, StorageError> {
//!         let passes = |labels: &Labels| {
//!             matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or_default()))
//!         };
//!         Ok(Box::new(Series(self.0.iter().filter(|(l, _)| passes(l)).cloned().collect())))
//!     }
//!     fn label_names(&self, _: &[Matcher]) -> Result<Vec<String>, StorageError> {
//!         Ok(Vec::new())
//!     }
//!     fn label_values(&self, _: &str, _: &[Matcher]) -> Result<Vec<String>, StorageError> {
//!         Ok(Vec::new())
//!     }
//! }
//!
//! impl SeriesSet for Series {
//!     fn len(&self) -> usize {
//!         self.0.len()
//!     }
//!     fn labels(&self, index: usize) -> Labels {
//!         self.0[index].0.clone()
//!     }
//!     fn read(&self, index: usize, batch: &mut SampleBatch) -> Result<(), StorageError> {
//!         self.0[index].1.iter().for_each(|sample| batch.push(sample.timestamp, sample.value));
//!         Ok(())
//!     }
//! }
//!
//! let labels = Labels::from_pairs([("__name__", "requests_total"), ("job", "api")])?;
//! let samples = (0..=10).map(|i| Sample::new(i * 60_000, i as f64 * 30.0)).collect();
//! let storage = Arc::new(Series(vec![(labels, samples)]));
//!
//! let engine = Engine::new(EngineOptions::default());
//! let query = engine.instant(storage, "sum by (job) (rate(requests_total[5m]))", 600_000)?;
//! let Value::Vector(vector) = query.run()?.value else { panic!("a vector") };
//! assert_eq!(vector[0].labels.to_string(), r#"{job="api"}"#);
//! assert_eq!(vector[0].value, 0.5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Concepts
//!
//! - [`parse`] makes an [`ast::Expr`] of text, with a [`Span`] for every part and every error.
//! - [`Engine`] makes a [`Query`] of text, which is run once or often and cancelled from elsewhere.
//!   Queries hold no lock and start no thread; run several by running them on several threads, and
//!   let [`Threads`] of your own help each.
//! - [`QueryResult`] is a [`Value`] with its [`Annotations`], warnings and infos that point into
//!   the text.
//! - Time goes from series to series, not from step to step: an operator computes one series at
//!   all steps, so that memory grows with the groups of a query rather than with its input.
//!
//! # Features
//!
//! | Feature | Default | What it adds |
//! | --- | --- | --- |
//! | `arrow` | no | answers as Apache Arrow record batches: [`Query::stream_batches`] |
//! | `testlang` | no | load/clear/eval test scripts over any storage |
//!
//! # Guarantees
//!
//! Text of a query never causes a panic, and no query holds more memory or samples than its limits.
//! No clock, file or thread is touched but through what the caller hands in. `docs/promql.md` says what is
//! evaluated and what differs from Prometheus.

#![forbid(unsafe_code)]

mod aggregate;
mod annotations;
#[cfg(feature = "arrow")]
mod arrow;
pub mod ast;
mod check;
mod engine;
mod error;
mod exec;
mod explain;
pub mod functions;
mod hint;
mod host;
mod ledger;
mod lexer;
mod limits;
mod options;
pub mod parser;
mod plan;
mod printer;
mod query_error;
mod result;
mod sorting;
mod span;
pub mod storage;
#[cfg(feature = "testlang")]
pub mod testlang;
mod text;
mod threads;
mod value;
mod vectorized;
pub mod visit;

pub use annotations::{
    Annotation, AnnotationKind, Annotations, ForcedMonotonicity, HistogramOperation, Severity,
    StartTimeOverlap,
};
#[cfg(feature = "arrow")]
pub use arrow::{
    ARROW_BATCH_SAMPLES, HISTOGRAMS_COLUMN, LABELS_COLUMN, TIMESTAMPS_COLUMN, VALUES_COLUMN,
    result_schema,
};
pub use engine::{Engine, Query};
pub use error::{ParseError, ParseErrorKind};
pub use explain::{Analysis, Explanation, PlanPart};
pub use host::{FloatWindow, HostFunction, HostFunctionError, MAX_HOST_SCALARS};
pub use limits::{CancelHandle, Clock};
pub use options::{
    DEFAULT_LOOKBACK_DELTA_MS, DEFAULT_MAX_MEMORY_BYTES, DEFAULT_MAX_SAMPLES,
    DEFAULT_SUBQUERY_STEP_MS, DEFAULT_TIMEOUT_MS, EngineOptions, Features,
};
pub use parser::parse;
pub use query_error::{DurationError, Error, ParameterError, RangeError};
pub use span::Span;
pub use threads::Threads;
pub use value::{MatrixSeries, Part, QueryResult, QueryStats, Summary, Value, VectorSample};
