//! When a packet came.

use aya_ebpf::helpers::{bpf_ktime_get_ns, generated};

/// The kernel's tick: 1 to 10 ms. The verifier makes one load of it
/// (`bpf_jiffies64`, Linux 5.5).
#[inline(always)]
pub fn tick() -> u64 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { generated::bpf_jiffies64() }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[inline(always)]
pub fn now_ns() -> u64 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { bpf_ktime_get_ns() }
}
