//! The functions of the query language.

pub mod signatures;
