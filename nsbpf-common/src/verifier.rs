//! What the compiler must not know, so that the kernel's verifier can follow.
//!
//! Outside of the kernel half these functions are nothing.

#[cfg(target_arch = "bpf")]
use core::arch::asm;

/// The same number, of which the compiler knows nothing: it keeps bounds checks and
/// masks that it could prove needless, and the verifier could not.
#[cfg(target_arch = "bpf")]
#[inline(always)]
#[must_use]
pub fn unknown(mut number: usize) -> usize {
    // SAFETY: copies a register onto itself. (An empty template would give the
    // kernel line info that it refuses.)
    unsafe { asm!("{0} = {0}", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
    number
}

/// The same number.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
#[must_use]
pub fn unknown(number: usize) -> usize {
    number
}

/// The lowest bit of a number, as an index into an array of two. A mask and no comparison,
/// of which older verifiers (Linux 6.1) know nothing any more once the number was put aside.
#[inline(always)]
#[must_use]
pub fn of_two(number: u8) -> usize {
    unknown(number.into()) & 1
}

/// Has the compiler read again what is there. Of a map's memory the verifier knows
/// nothing, so that all ways which lead here are one to it: else it would follow each
/// of them to the program's end.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub fn reread<T>(value: &mut T) {
    // SAFETY: copies a register onto itself.
    unsafe {
        asm!("{0} = {0}", in(reg) core::ptr::from_mut(value), options(nostack, preserves_flags));
    }
}

/// Nothing.
#[cfg(not(target_arch = "bpf"))]
#[inline(always)]
pub fn reread<T>(_value: &mut T) {}
