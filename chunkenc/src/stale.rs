//! The staleness marker: one NaN, told apart by its bits, that ends a series.
//!
//! The bit patterns are those of Prometheus (`model/value`). A marker must travel through every
//! layer unchanged, so it is compared by bits and never by `f64::is_nan`.

/// Bits of the staleness marker.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Bits of the NaN that computations and expositions produce.
pub const NORMAL_NAN_BITS: u64 = 0x7ff8_0000_0000_0001;

/// The staleness marker.
pub const STALE_NAN: f64 = f64::from_bits(STALE_NAN_BITS);

/// The NaN that stands for "not a number" in samples.
pub const NORMAL_NAN: f64 = f64::from_bits(NORMAL_NAN_BITS);

/// Tells whether `value` is the staleness marker.
#[inline]
pub const fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}
