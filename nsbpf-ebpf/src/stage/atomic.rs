//! Numbers that several processors add to.

/// Adds to a number in a map. `AtomicU64` does not exist on this target; the
/// instruction does (`BPF_ATOMIC | BPF_ADD`, Linux 5.12 and its forerunner before).
#[inline(always)]
pub fn add(sum: &mut u64, value: u64) {
    // SAFETY: the number is one and aligned, and nobody takes a reference to it for
    // longer than an addition.
    unsafe {
        core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(
            sum, value,
        );
    }
}
