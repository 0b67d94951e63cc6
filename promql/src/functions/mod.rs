//! What the functions of the language compute.

pub mod signatures;
pub(crate) mod date;
