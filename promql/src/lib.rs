//! A PromQL parser and engine that runs over any storage.

#![forbid(unsafe_code)]

mod aggregate;
mod annotations;
pub mod ast;
mod check;
mod engine;
mod error;
mod exec;
pub mod functions;
mod lexer;
mod limits;
mod options;
pub mod parser;
mod plan;
mod printer;
mod query_error;
mod result;
mod span;
pub mod storage;
#[cfg(feature = "testlang")]
pub mod testlang;
mod text;
mod value;
pub mod visit;

pub use annotations::{Annotation, AnnotationKind, Annotations, ForcedMonotonicity, Severity};
pub use engine::{Engine, Query};
pub use error::{ParseError, ParseErrorKind};
pub use limits::{CancelHandle, Clock};
pub use options::{
    DEFAULT_LOOKBACK_DELTA_MS, DEFAULT_MAX_SAMPLES, DEFAULT_SUBQUERY_STEP_MS, DEFAULT_TIMEOUT_MS,
    EngineOptions, Features,
};
pub use parser::parse;
pub use query_error::{DurationError, Error, ParameterError, RangeError};
pub use span::Span;
pub use value::{MatrixSeries, QueryResult, QueryStats, Value, VectorSample};
