//! The only place where the time of day comes in.
//!
//! Block names carry the moment of their making, and nothing else in the store reads a clock. A
//! test gives its own clock, so that what is written depends on nothing but its input.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ulid::Ulid;

/// A source of the time of day.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since the Unix epoch.
    fn now_ms(&self) -> u64;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Makes the name of a new block.
pub(crate) fn new_ulid(clock: &dyn Clock) -> Ulid {
    Ulid::from_datetime(UNIX_EPOCH + Duration::from_millis(clock.now_ms()))
}
