//! Fragment: what has no ports follows what had them.

#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "keys and values stay where they are, and are not copied to the stack"
)]

use nsbpf_common::policy::{Action, Decision, FragmentHead, FragmentKey, Judgement, PolicyHead};
use nsbpf_common::sight::Seen;

use super::decide::goes_on;
use super::{End, Outcome, event, head as policy_head, seen};
use crate::maps::FRAGMENTS;
use crate::stage::clock;

/// Notes what was decided on the packet at hand, the first fragment of what came in by a
/// port. A function of its own in the program, which the verifier looks at once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn note_first_fragment(port: u16, generation: u64, found: u64) -> u64 {
    let Some(seen) = seen() else { return 0 };
    let Outcome { decision, end, .. } = Outcome::from_word(found);
    // A limit is for all of a packet.
    let action = match (end, decision.action()) {
        (End::None, Action::Limit) => Action::Limit,
        (End::None, _) => Action::Allow,
        _ => Action::Deny,
    };
    let decision = Decision::new(action, false, decision.slot());
    let judgement = Judgement::new(generation, decision, port);
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
        (age_ns < FragmentHead::LIFETIME_NS).then_some(head.judgement)
    });
    let passes = |decision: Decision| matches!(decision.action(), Action::Allow);
    let (decision, end) = match head {
        Some(judgement) => {
            let decision = followed(judgement, (port, generation), policy);
            let goes_on = goes_on(decision, seen, clock::now_ns());
            (decision, if goes_on { End::None } else { End::Dropped })
        }
        None if passes(policy.default) => {
            event(|events| &mut events.headless);
            (policy.default, End::None)
        }
        None => (policy.default, End::Headless),
    };
    Outcome { end, ..Outcome::new(decision, true) }.word()
}

/// What is decided on a fragment whose first one was judged so: in another generation than
/// this, its rule may be another's by now, so that it counts for the default.
#[inline(always)]
fn followed(head: Judgement, (port, generation): (u16, u64), policy: &PolicyHead) -> Decision {
    let decision = head.decision();
    if head.holds(generation, port) {
        return decision;
    }
    let action = match decision.action() {
        Action::Deny => Action::Deny,
        _ => Action::Allow,
    };
    Decision::new(action, false, policy.default.slot())
}

#[inline(always)]
fn key(seen: &Seen, port: u16) -> FragmentKey {
    let key = &seen.flow.key;
    FragmentKey {
        addresses: key.addresses_from(seen.flow.direction),
        identification: u32::from_ne_bytes(seen.headers.identification),
        domain: key.domain(),
        kind: key.kind(),
        vlan: key.vlan(),
        port,
        reserved: 0,
    }
}
