//! What a hook answers the kernel.

use aya_ebpf::EbpfContext;
use aya_log_ebpf::debug;
use nsbpf_common::verdict::Verdict;

use crate::stage::pipeline::Unmanaged;

/// The code for a pass, for a drop, for what was sent another way, or for what goes back. What is dropped, and what is no port's, is
/// logged where logging is on.
#[inline(always)]
pub fn answer<T>(
    context: &impl EbpfContext,
    ifindex: u32,
    outcome: Result<Verdict, Unmanaged>,
    [pass, drop, forwarded, back]: [T; 4],
) -> T {
    match outcome {
        Ok(Verdict::Pass) => pass,
        Ok(Verdict::Forwarded) => forwarded,
        Ok(Verdict::Answered) => back,
        Ok(Verdict::Drop(reason)) => {
            debug!(context, "interface {}: dropped, {}", ifindex, reason.name());
            drop
        }
        Err(Unmanaged) => {
            debug!(context, "interface {} is no port: passed uncounted", ifindex);
            pass
        }
    }
}
