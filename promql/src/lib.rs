//! A PromQL parser and engine that runs over any storage.

#![forbid(unsafe_code)]

pub mod ast;
mod check;
mod error;
pub mod functions;
mod lexer;
pub mod parser;
mod printer;
mod span;
pub mod storage;
pub mod visit;

pub use error::{ParseError, ParseErrorKind};
pub use parser::parse;
pub use span::Span;
