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

/// Replaces a number in a map if it still is what it was; says whether it was
/// (`BPF_CMPXCHG`, Linux 5.12).
#[inline(always)]
pub fn exchange(number: &mut u64, was: u64, becomes: u64) -> bool {
    use core::intrinsics::AtomicOrdering::SeqCst;
    // SAFETY: as for an addition.
    let (_, is_done) = unsafe {
        core::intrinsics::atomic_cxchg::<u64, { SeqCst }, { SeqCst }>(number, was, becomes)
    };
    is_done
}
