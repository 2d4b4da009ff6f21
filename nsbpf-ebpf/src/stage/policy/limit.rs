//! Limit: so many in a time, on all processors together.

use nsbpf_common::policy::{RuleSetting, conforms};
use nsbpf_common::stats::Cell;

use crate::maps::RULE_SETTINGS;
use crate::stage::atomic;

/// Processors that may be faster at the same moment, before a packet counts as too many.
const TRIES: usize = 8;

/// Whether a packet is not too many for the limit of a rule.
#[inline(always)]
pub fn allows(slot: u32, cell: Cell, now_ns: u64) -> bool {
    let Some(setting) = RULE_SETTINGS.get_ptr_mut(slot) else { return false };
    // SAFETY: a map's memory. Its state is one word, which is exchanged as a whole; the rest
    // is words that who changes the policy writes.
    let setting: &mut RuleSetting = unsafe { &mut *setting };
    let cost_ns = setting.cost_ns(cell.packets, cell.bytes);
    takes(&mut setting.due_ns, cost_ns, setting.burst_ns, now_ns)
}

/// Whether what takes so long may come now, when the next one is due at a time; if so that
/// is put off.
#[inline(always)]
pub fn takes(due_ns: &mut u64, cost_ns: u64, burst_ns: u64, now_ns: u64) -> bool {
    for _ in 0..TRIES {
        let was = *due_ns;
        let Some(next) = conforms(was, cost_ns, burst_ns, now_ns) else {
            return false;
        };
        if atomic::exchange(due_ns, was, next) {
            return true;
        }
    }
    false
}
