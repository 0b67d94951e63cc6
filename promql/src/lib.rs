//! A PromQL parser and engine that runs over any storage.

#![forbid(unsafe_code)]

mod annotations;
pub mod ast;
mod engine;
mod error;
mod functions;
mod limits;
mod options;
mod span;
pub mod storage;
mod text;
mod value;

pub use annotations::{Annotation, AnnotationKind, Annotations, ForcedMonotonicity, Severity};
pub use engine::{Engine, Query};
pub use error::{DurationError, Error, ParameterError, RangeError};
pub use limits::{CancelHandle, Clock};
pub use options::{
    DEFAULT_LOOKBACK_DELTA_MS, DEFAULT_MAX_SAMPLES, DEFAULT_SUBQUERY_STEP_MS, DEFAULT_TIMEOUT_MS,
    EngineOptions, Features,
};
pub use span::Span;
pub use value::{MatrixSeries, QueryResult, QueryStats, Value, VectorSample};
