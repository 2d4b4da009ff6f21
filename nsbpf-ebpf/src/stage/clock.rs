//! When a packet came, to the tick.

use aya_ebpf::helpers::{bpf_ktime_get_ns, generated};

use crate::maps::COARSE_CLOCK;

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[inline(always)]
pub fn now_ns() -> u64 {
    if COARSE_CLOCK.load() == 0 {
        // SAFETY: takes nothing and cannot fail.
        return unsafe { bpf_ktime_get_ns() };
    }
    // SAFETY: as above.
    unsafe { generated::bpf_ktime_get_coarse_ns() }
}
