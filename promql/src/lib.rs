//! A PromQL parser and engine that runs over any storage.

#![forbid(unsafe_code)]

pub mod ast;
mod span;
pub mod storage;

pub use span::Span;
