//! Decide: what holds for a packet, by its flow and by the rules.
//!
//! What the end that began a flow sends is judged by the rules. What the other end sends is
//! a reply, and goes on if what it replies to did, and still would
//! ([`Flow::may_be_reply`]); anything else it sends is judged by the rules too.

use nsbpf_common::flow::{Flow, FlowPacket};
use nsbpf_common::policy::{Action, Decision, Judgement, PolicyHead, Subject, field};
use nsbpf_common::sight::Seen;

use super::classify::classify;
use super::{End, Outcome, head, kind, limit, seen, sender};
use crate::maps::{RELATED_FLOWS, SUBJECTS};
use crate::stage::flow::Told;
use crate::stage::{clock, flow};

/// Decides on the packet at hand, which came in by a port and is of a flow, and tells the
/// flow of it. A function of its own in the program, which the verifier looks at once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn judge_flow(port: u16, generation: u64) -> u64 {
    let (Some(seen), Some(head)) = (seen(), head(generation)) else { return 0 };
    let mut outcome = Outcome::new(Decision::ALLOW, true);
    let told = flow::tell(seen, port, false, |flow, now_ns| {
        let (decision, is_lasting) = decide(seen, flow, head, (port, generation), now_ns);
        let goes_on = goes_on(decision, seen, now_ns);
        outcome = Outcome::new(decision, goes_on);
        outcome.is_lasting = is_lasting && decision.is_plain();
        goes_on
    });
    match told {
        Told::Lost => judge_alone(generation),
        told => Outcome { told, ..outcome }.word(),
    }
}

/// Keeps in this processor's place for the flow of the packet at hand what was decided on it.
/// Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn keep_judgement(port: u16, generation: u64, found: u64) -> u64 {
    let Some(seen) = seen() else { return 0 };
    let Outcome { decision, told, is_lasting, .. } = Outcome::from_word(found);
    let judgement =
        if is_lasting { Judgement::new(generation, decision, port) } else { Judgement::NONE };
    flow::place(seen, told, judgement);
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
fn goes_on(decision: Decision, seen: &Seen, now_ns: u64) -> bool {
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

/// What is decided on the packet at hand, and whether that holds for those that follow it.
#[inline(always)]
fn decide(
    seen: &Seen,
    flow: &mut Flow,
    head: &PolicyHead,
    (port, generation): (u16, u64),
    now_ns: u64,
) -> (Decision, bool) {
    let Some(subject) = subject() else { return (head.default, false) };
    let FlowPacket { key, direction, tcp_flags, .. } = &seen.flow;
    let (direction, protocol) = (*direction, key.protocol());
    let is_tracking = head.allows_replies();
    if is_tracking
        && flow.may_be_reply(direction, protocol, *tcp_flags, now_ns)
        && (!key.is_icmp() || subject.is_echo_reply())
        && let asked = asked(seen, flow, subject, generation)
        && is_allowed(asked)
    {
        // An echo request that the same end sends is of the same flow, and is no reply.
        return (Decision::new(Action::Allow, false, asked.slot()), !key.is_icmp());
    }
    if is_tracking && let Some(about) = related(seen, subject, generation, now_ns) {
        // Others of its flow may be about something else.
        return (Decision::new(Action::Allow, false, about.slot()), false);
    }
    let own = judgement(flow, direction);
    let (decision, depends) = if own.holds(generation, port) {
        (own.decision(), false)
    } else {
        classify(generation, kind(seen))
    };
    if is_tracking && is_allowed(decision) && flow.begins_otherwise(direction, protocol, now_ns) {
        flow.reopen(direction);
    }
    if !depends {
        keep(flow, direction, Judgement::new(generation, decision, port));
    }
    (decision, !depends)
}

/// What is decided on what the end that began the flow sends, to which the packet at hand is
/// a reply: if that was not found out in this generation, by a packet like the reply.
#[inline(always)]
fn asked(seen: &Seen, flow: &mut Flow, subject: &mut Subject, generation: u64) -> Decision {
    let opener = flow.initiator;
    let came_in_by = flow.directions.get(usize::from(opener)).map_or(0, |it| it.port);
    let known = judgement(flow, opener);
    if known.holds(generation, came_in_by) {
        return known.decision();
    }
    let Some(at_hand) = put_aside(subject) else { return Decision::ALLOW };
    subject.turn(sender(came_in_by));
    let (decision, depends) = classify(generation, kind(seen));
    *subject = *at_hand;
    if !depends {
        keep(flow, opener, Judgement::new(generation, decision, came_in_by));
    }
    decision
}

/// What is decided on the flow that an ICMP error is about, if it is for who sent the packet
/// that it is about, and that went on.
#[inline(always)]
fn related(seen: &Seen, subject: &mut Subject, generation: u64, now_ns: u64) -> Option<Decision> {
    let about = RELATED_FLOWS.get_ptr(0)?;
    // SAFETY: this CPU's own, and the packet's own.
    let about: &FlowPacket = unsafe { &*about };
    if !about.has_flow() || !seen.flow.is_for_sender_of(about) {
        return None;
    }
    let flow = flow::known(&about.key)?;
    if !flow.has_passed(about.direction) || !flow.is_alive(about.key.protocol(), now_ns) {
        return None;
    }
    let opener = flow.initiator;
    let came_in_by = flow.directions.get(usize::from(opener))?.port;
    let known = judgement(flow, opener);
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

#[inline(always)]
fn subject() -> Option<&'static mut Subject> {
    let subject = SUBJECTS.get_ptr_mut(0)?;
    // SAFETY: this CPU's own, and the packet's own.
    Some(unsafe { &mut *subject })
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

#[inline(always)]
fn judgement(flow: &Flow, direction: u8) -> Judgement {
    flow.directions.get(usize::from(direction)).map_or(Judgement::NONE, |it| it.judgement)
}

#[inline(always)]
fn keep(flow: &mut Flow, direction: u8, judgement: Judgement) {
    if let Some(direction) = flow.directions.get_mut(usize::from(direction))
        && direction.judgement != judgement
    {
        direction.judgement = judgement;
    }
}
