//! The head: the mutable newest part of the store.

mod appender;

pub use appender::{Appender, Committed};
