//! Loops compiled for the widest vectors that a machine has.

/// Runs `work` as compiled for the widest vectors that this machine has; whatever it calls must be
/// inlined to profit from that. Floating-point results are the same for any width.
#[inline(always)]
pub(crate) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
