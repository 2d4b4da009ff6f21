//! Fragment: what has no ports follows what had them.

#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "keys and values stay where they are, and are not copied to the stack"
)]

use nsbpf_common::policy::{Action, Decision, FragmentHead, FragmentKey, Judgement};
use nsbpf_common::sight::Seen;

use super::{End, Outcome, event, head as policy_head};
use crate::maps::{FRAGMENTS, SEEN_PACKETS};
use crate::stage::clock;

/// Notes what was decided on the packet at hand, the first fragment of what came in by a
/// port. A function of its own in the program, which the verifier looks at once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_first_fragment(port: u16, found: u64) -> u64 {
    let Some(seen) = seen() else { return 0 };
    let Outcome { decision, end, .. } = Outcome::from_word(found);
    let action = if matches!(end, End::None) { Action::Allow } else { Action::Deny };
    let decision = Decision::new(action, false, decision.slot());
    let judgement = Judgement::new(0, decision, port);
    let head = FragmentHead { judgement, time_ns: clock::now_ns() };
    // One that there is no room for has no followers.
    let _ = FRAGMENTS.insert(&key(seen, port), &head, 0);
    0
}

/// Judges the packet at hand, a later fragment of what came in by a port. Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge_later_fragment(port: u16, generation: u64) -> u64 {
    let (Some(seen), Some(policy)) = (seen(), policy_head(generation)) else { return 0 };
    let head = FRAGMENTS.get_ptr(&key(seen, port)).and_then(|head| {
        // SAFETY: an entry is replaced as a whole, and stays as long as a program runs that
        // found it.
        let head = unsafe { *head };
        let age_ns = clock::now_ns().saturating_sub(head.time_ns);
        (age_ns < FragmentHead::LIFETIME_NS).then_some(head.judgement.decision())
    });
    let passes = |decision: Decision| matches!(decision.action(), Action::Allow);
    let (decision, end) = match head {
        Some(decision) if passes(decision) => (decision, End::None),
        Some(decision) => (decision, End::Dropped),
        None if passes(policy.default) => {
            event(|events| &mut events.headless);
            (policy.default, End::None)
        }
        None => (policy.default, End::Headless),
    };
    Outcome { end, ..Outcome::new(decision, true) }.word()
}

#[inline(always)]
fn seen() -> Option<&'static Seen> {
    let seen = SEEN_PACKETS.get_ptr(0)?;
    // SAFETY: this CPU's own, and the packet's own.
    Some(unsafe { &*seen })
}

#[inline(always)]
fn key(seen: &Seen, port: u16) -> FragmentKey {
    let key = &seen.flow.key;
    FragmentKey {
        addresses: key.from(seen.flow.direction),
        identification: u32::from_ne_bytes(seen.headers.identification),
        domain: key.domain(),
        kind: key.kind(),
        vlan: key.vlan(),
        port,
        reserved: 0,
    }
}
