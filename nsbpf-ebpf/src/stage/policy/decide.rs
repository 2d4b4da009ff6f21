//! Decide: what holds for a packet, by its flow and by the rules.
//!
//! What the end that began a flow sends is judged by the rules. What the other end sends is
//! a reply, and goes on if what it replies to did, and still would
//! ([`Flow::may_be_reply`]); anything else it sends is judged by the rules too.

use nsbpf_common::flow::{Flow, FlowPacket};
use nsbpf_common::policy::{Action, Decision, Judgement, PolicyHead, Subject, field};
use nsbpf_common::sight::Seen;

use super::classify::classify;
use super::{End, Holds, Outcome, head, kind, limit, seen, sender, subject};
use crate::maps::{RELATED_FLOWS, SUBJECTS};
use crate::stage::flow::{Telling, Told};
use crate::stage::recent::Place;
use crate::stage::{clock, flow};

/// Decides on the packet at hand, which came in by a port and is of a flow; of an ICMP error,
/// by what was decided about what it is about. A function of its own in the program, which
/// the verifier looks at once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge_flow(port: u16, generation: u64, about: u64) -> u64 {
    let (Some(seen), Some(head)) = (seen(), head(generation)) else { return 0 };
    let now_ns = clock::now_ns();
    let flow = flow::known(&seen.flow.key);
    // Of one that is there it is told later what became of it.
    let told = if flow.is_some() { Told::Unsteady } else { Told::Nobody };
    let Decided { decision, holds } = decide(seen, flow, head, (port, generation, about), now_ns);
    let goes_on = goes_on(decision, seen, now_ns);
    Outcome { told, holds, ..Outcome::new(decision, goes_on) }.word()
}

/// Tells the flow of the packet at hand of it, and of what was decided. Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell_flow(port: u16, generation: u64, found: u64) -> u64 {
    let Some(seen) = seen() else { return found };
    let Some(mut place) = Place::of(&seen.flow.key) else { return found };
    let outcome = Outcome::from_word(found);
    let judgement = if matches!(outcome.holds, Holds::ForSender) {
        Judgement::new(generation, outcome.decision, port)
    } else {
        Judgement::NONE
    };
    let telling = Telling {
        goes_on: matches!(outcome.end, End::None),
        judgement,
        is_unknown: matches!(outcome.told, Told::Nobody),
        ..Telling::PASSED
    };
    let told = flow::tell(seen, port, &mut place, telling);
    Outcome { told, ..outcome }.word()
}

/// Keeps in this processor's place for the flow of the packet at hand what was decided on it.
/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn keep_judgement(port: u16, generation: u64, found: u64) -> u64 {
    let Some(seen) = seen() else { return 0 };
    let Outcome { decision, told, holds, .. } = Outcome::from_word(found);
    let judgement = if decision.is_plain() && !matches!(holds, Holds::Once) {
        Judgement::new(generation, decision, port)
    } else {
        Judgement::NONE
    };
    if let Some(mut place) = Place::of(&seen.flow.key) {
        flow::after(&seen.flow, &mut place, told, judgement);
    }
    0
}

/// Decides on the packet at hand, which is of no flow.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge_alone(generation: u64) -> u64 {
    let Some(seen) = seen() else { return 0 };
    let (decision, _) = classify(generation, kind(seen));
    Outcome::new(decision, goes_on(decision, seen, clock::now_ns())).word()
}

/// Whether a packet goes on that this was decided on.
#[inline(always)]
pub fn goes_on(decision: Decision, seen: &Seen, now_ns: u64) -> bool {
    match decision.action() {
        Action::Allow => true,
        Action::Deny | Action::Reject => false,
        Action::Limit => limit::allows(decision.slot(), seen.weight.cell, now_ns),
    }
}

/// Whether that lets packets go on: those of a limit that are not too many.
#[inline(always)]
fn is_allowed(decision: Decision) -> bool {
    matches!(decision.action(), Action::Allow | Action::Limit)
}

/// What is decided on the packet at hand, and for what else.
struct Decided {
    decision: Decision,
    holds: Holds,
}

#[inline(always)]
fn decide(
    seen: &Seen,
    mut flow: Option<&mut Flow>,
    head: &PolicyHead,
    (port, generation, about): (u16, u64, u64),
    now_ns: u64,
) -> Decided {
    let once = |decision| Decided { decision, holds: Holds::Once };
    let Some(subject) = subject() else { return once(head.default) };
    let FlowPacket { key, direction, tcp_flags, .. } = &seen.flow;
    let (direction, protocol) = (*direction, key.protocol());
    let is_tracking = head.allows_replies();
    if is_tracking
        && let Some(flow) = &mut flow
        && flow.may_be_reply(direction, protocol, *tcp_flags, now_ns)
        && (!key.is_icmp() || subject.is_echo_reply())
        && let asked = asked(seen, flow, subject, generation)
        && is_allowed(asked)
    {
        let decision = Decision::new(Action::Allow, false, asked.slot());
        // An echo request that the same end sends is of the same flow, and is no reply.
        let holds = if key.is_icmp() { Holds::Once } else { Holds::ForReplies };
        return Decided { decision, holds };
    }
    if is_tracking && about & FOUND != 0 {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is the decision")]
        let about = Decision::from_word(about as u32);
        // Others of its flow may be about something else.
        return once(Decision::new(Action::Allow, false, about.slot()));
    }
    let known = flow.as_ref().map_or(Judgement::NONE, |it| it.direction(direction).judgement);
    let (decision, depends) = if known.holds(generation, port) {
        (known.decision(), false)
    } else {
        classify(generation, kind(seen))
    };
    if is_tracking
        && is_allowed(decision)
        && let Some(flow) = flow
        && flow.begins_otherwise(direction, protocol, now_ns)
    {
        flow.reopen(direction);
    }
    Decided { decision, holds: if depends { Holds::Once } else { Holds::ForSender } }
}

/// What is decided on what the end that began the flow sends, to which the packet at hand is
/// a reply: if that was not found out in this generation, by a packet like the reply.
#[inline(always)]
fn asked(seen: &Seen, flow: &mut Flow, subject: &mut Subject, generation: u64) -> Decision {
    let opener = flow.initiator;
    let came_in_by = flow.direction(opener).port;
    let known = flow.direction(opener).judgement;
    if known.holds(generation, came_in_by) {
        return known.decision();
    }
    let Some(at_hand) = put_aside(subject) else { return Decision::ALLOW };
    subject.turn(sender(came_in_by));
    let (decision, depends) = classify(generation, kind(seen));
    *subject = *at_hand;
    if !depends {
        flow::keep(flow, opener, Judgement::new(generation, decision, came_in_by));
    }
    decision
}

/// There is a decision below.
const FOUND: u64 = 1 << 32;

/// What is decided on the flow that the ICMP error at hand is about, if it is for who sent
/// the packet that it is about, and that went on; 0 if there is nothing. A function of its
/// own in the program.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge_related(generation: u64) -> u64 {
    related(generation).map_or(0, |decision| FOUND | u64::from(decision.word()))
}

#[inline(always)]
fn related(generation: u64) -> Option<Decision> {
    let (seen, subject, about) = (seen()?, subject()?, RELATED_FLOWS.get_ptr(0)?);
    // SAFETY: this CPU's own, and the packet's own.
    let about: &FlowPacket = unsafe { &*about };
    if !about.has_flow() || !seen.flow.is_for_sender_of(about) {
        return None;
    }
    let flow = flow::known(&about.key)?;
    let is_alive = flow.is_alive(about.key.protocol(), clock::now_ns());
    if !flow.has_passed(about.direction) || !is_alive {
        return None;
    }
    let opener = flow.initiator;
    let came_in_by = flow.direction(opener).port;
    let known = flow.direction(opener).judgement;
    let decision = if known.holds(generation, came_in_by) {
        known.decision()
    } else {
        let at_hand = put_aside(subject)?;
        *subject = Subject::default();
        subject.set_key(&about.key, opener);
        subject.set(field::PORT, sender(came_in_by));
        subject.set(field::VLAN, at_hand.field(field::VLAN));
        let (decision, _) = classify(generation, kind(seen));
        *subject = *at_hand;
        decision
    };
    is_allowed(decision).then_some(decision)
}

/// Keeps what is in the place of the packet at hand, which is about to be another one.
#[inline(always)]
fn put_aside(subject: &Subject) -> Option<&'static Subject> {
    let aside = SUBJECTS.get_ptr_mut(1)?;
    // SAFETY: this CPU's own.
    let aside: &mut Subject = unsafe { &mut *aside };
    *aside = *subject;
    Some(aside)
}
