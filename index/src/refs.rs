//! Handles by which series and chunks are addressed.

use std::fmt;

/// Handle of a series within one head or one block.
///
/// Refs are never zero in a store: zero stands for "not known yet" in write paths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesRef(pub u64);

impl fmt::Display for SeriesRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
