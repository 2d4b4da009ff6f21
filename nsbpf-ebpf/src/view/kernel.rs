//! What the kernel's own structures tell, at the places that the loader found.

use aya_ebpf::helpers::bpf_probe_read_kernel;

use crate::maps::{FIRST_HOOK_OFFSET, PRIORITY_OFFSET};

/// Whether among hooks are others than that of `br_netfilter`, which is there as soon as a
/// namespace has a bridge, and decides nothing (`ip_sabotage_in`, Linux 6.18): before all
/// others, and in no table.
#[inline(always)]
pub fn is_more_than_the_bridge(hooks: usize) -> bool {
    /// A function, and what it is called with.
    const HOOK_BYTES: u32 = 16;
    const FIRST: usize = 1 << 31;
    let [first, priority] = [FIRST_HOOK_OFFSET.load(), PRIORITY_OFFSET.load()];
    if hooks == 0 {
        return false;
    }
    let is_one = first != 0 && priority != 0 && read_kernel(hooks, 0) & 0xffff == 1;
    if !is_one || read_kernel(hooks, first + 8) != 0 {
        return true;
    }
    // Behind them is where each is told of.
    let about = read_kernel(hooks, first + HOOK_BYTES);
    read_kernel(about, priority) & 0xffff_ffff != FIRST
}

/// Reads a word of the kernel's; 0 if there is none.
#[inline(always)]
pub fn read_kernel(address: usize, offset: u32) -> usize {
    let address = address.wrapping_add(offset as usize) as *const usize;
    // SAFETY: the helper takes any address, and says when there is nothing.
    unsafe { bpf_probe_read_kernel(address) }.unwrap_or(0)
}
