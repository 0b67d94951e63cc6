//! What the functions of the language compute.

pub(crate) mod date;
pub mod signatures;
