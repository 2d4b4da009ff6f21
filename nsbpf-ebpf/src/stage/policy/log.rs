//! Log: what somebody wants to know of each packet that a rule decides on.

use aya_ebpf::helpers::bpf_get_prandom_u32;
use nsbpf_common::flow::FlowKey;
use nsbpf_common::policy::{LogRecord, RuleSetting, field};

use super::{End, Outcome, event, limit, seen, subject};
use crate::maps::{LOGGED, NEXT_DUE, POLICY_LOG, RULE_SETTINGS};
use crate::stage::clock;

/// Logs the packet at hand, if it is one of those to be logged, and they are not too many. A
/// function of its own in the program, which the verifier looks at once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn log_packet(port: u16, generation: u64, found: u64) -> u64 {
    let Outcome { decision, end, .. } = Outcome::from_word(found);
    let (Some(seen), Some(subject)) = (seen(), subject()) else { return 0 };
    let one_of = RULE_SETTINGS.get(decision.slot()).map_or(0, |setting| setting.log_one_of);
    // SAFETY: takes nothing and cannot fail.
    if one_of > 1 && unsafe { bpf_get_prandom_u32() } % one_of != 0 {
        return 0;
    }
    let time_ns = clock::now_ns();
    let Some(due_ns) = NEXT_DUE.get_ptr_mut(LOGGED) else { return 0 };
    let RuleSetting { burst_ns, .. } = RuleSetting::LOG;
    // SAFETY: as for the limit of a rule.
    let due_ns = unsafe { &mut *due_ns };
    if !limit::takes(due_ns, RuleSetting::LOG.cost_ns(1, 0), burst_ns, time_ns) {
        event(|events| &mut events.unlogged);
        return 0;
    }
    let Some(mut record) = POLICY_LOG.reserve::<LogRecord>(0) else {
        event(|events| &mut events.lost);
        return 0;
    };
    let has_flow = seen.flow.has_flow();
    #[expect(clippy::cast_possible_truncation, reason = "of one packet")]
    let bytes = seen.weight.cell.bytes as u32;
    record.write(LogRecord {
        time_ns,
        key: if has_flow { seen.flow.key } else { FlowKey::EMPTY },
        generation,
        decision,
        bytes,
        macs: [field::DESTINATION_MAC, field::SOURCE_MAC].map(|mac| subject.field(mac)),
        ethertype: seen.ethertype(),
        port,
        direction: seen.flow.direction,
        tcp_flags: seen.flow.tcp_flags,
        dropped: (!matches!(end, End::None)).into(),
        reserved: 0,
    });
    record.submit(0);
    0
}
