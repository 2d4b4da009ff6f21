//! Policy: whether a packet may go from where it came in to where it is for.
//!
//! The first packet of a flow is classified ([`classify`]), and what was decided is kept in
//! the flow's entry ([`flow`](super::flow)) wherever that depends on nothing but the flow.
//! What is to be asked of each packet, or was not asked yet, is in functions of their own,
//! which the verifier looks at once: they meet in scratch memory.

mod classify;
mod decide;
mod fragment;
pub mod hook;
mod limit;
mod log;
pub mod prepare;
pub mod reject;

use nsbpf_common::packet::{Family, Fragment, Packet};
use nsbpf_common::pair::OUTSIDE;
use nsbpf_common::policy::{Action, Decision, PolicyEvents, PolicyHead, ROUTED, Subject, half};
use nsbpf_common::port::PortConfig;
use nsbpf_common::sight::Seen;
use nsbpf_common::stats::Class;
use nsbpf_common::verdict::Reason;

use self::hook::Judged;
use super::flow::Told;
use super::{clock, flow};
use crate::maps::{
    POLICY_EVENTS, POLICY_HEADS, POLICY_NOW, PORT_CONFIGS, RELATED_FLOWS, RULE_STATS, SEEN_PACKETS,
    SUBJECTS,
};

/// What becomes of a packet.
pub enum Ruling {
    /// It goes on.
    Pass,
    /// It ends.
    Drop(Reason),
    /// It ends, and its sender is to be told.
    Reject,
}

/// How a packet ends.
#[derive(Clone, Copy)]
enum End {
    /// It goes on.
    None,
    /// By what was decided.
    Dropped,
    /// It is a fragment of a packet whose first one was not seen.
    Headless,
}

/// What was decided on a packet: what functions return, as a word.
struct Outcome {
    decision: Decision,
    end: End,
    /// What became of its flow.
    told: Told,
    holds: Holds,
}

/// What else was decided with a packet.
#[derive(Clone, Copy)]
enum Holds {
    /// Nothing.
    Once,
    /// On all that its sender sends.
    ForSender,
    /// On all replies that its sender sends.
    ForReplies,
}

impl Outcome {
    #[inline(always)]
    const fn new(decision: Decision, goes_on: bool) -> Self {
        let end = if goes_on { End::None } else { End::Dropped };
        Self { decision, end, told: Told::Nobody, holds: Holds::Once }
    }

    #[inline(always)]
    fn word(&self) -> u64 {
        let Self { decision, end, told, holds } = self;
        u64::from(decision.word())
            | (*end as u64) << 32
            | (*told as u64) << 40
            | (*holds as u64) << 48
    }

    #[inline(always)]
    fn from_word(word: u64) -> Self {
        const NONE: u8 = End::None as u8;
        const DROPPED: u8 = End::Dropped as u8;
        const NOBODY: u8 = Told::Nobody as u8;
        const STEADY: u8 = Told::Steady as u8;
        const ONCE: u8 = Holds::Once as u8;
        const FOR_SENDER: u8 = Holds::ForSender as u8;
        let [_, _, _, _, end, told, holds, _] = word.to_le_bytes();
        #[expect(clippy::cast_possible_truncation, reason = "the lower half is the decision")]
        let decision = Decision::from_word(word as u32);
        let end = match end {
            NONE => End::None,
            DROPPED => End::Dropped,
            _ => End::Headless,
        };
        let told = match told {
            NOBODY => Told::Nobody,
            STEADY => Told::Steady,
            _ => Told::Unsteady,
        };
        let holds = match holds {
            ONCE => Holds::Once,
            FOR_SENDER => Holds::ForSender,
            _ => Holds::ForReplies,
        };
        Self { decision, end, told, holds }
    }
}

/// Judges a packet that came in by a port, or by none ([`OUTSIDE`]), in a layer 2 domain, and
/// counts it in its flow.
#[inline(always)]
pub fn judge(packet: &(impl Packet + Judged), seen: &mut Seen, port: u16, domain: u16) -> Ruling {
    let generation = generation();
    seen.look_at_flow(packet, domain, true);
    if let Some(judgement) = flow::track_judged(seen, port, generation) {
        count(judgement.decision(), seen);
        return Ruling::Pass;
    }
    let Some(head) = head(generation) else {
        // No policy is there yet.
        flow::track(seen, port);
        return Ruling::Pass;
    };
    if passes_unjudged(packet, seen, head) {
        flow::track(seen, port);
        return Ruling::Pass;
    }
    let hides = packet.prepare(port, domain);
    let found = match (seen.flow.has_flow(), seen.fragment()) {
        _ if hides => {
            let denied = Decision::new(Action::Deny, false, head.default.slot());
            Outcome::new(denied, false).word()
        }
        (true, Fragment::Later) => {
            let found = fragment::judge_later_fragment(port, generation);
            if matches!(Outcome::from_word(found).end, End::None) {
                flow::track(seen, port);
            }
            found
        }
        (true, _) => {
            let about = if is_about_another() { decide::judge_related(generation) } else { 0 };
            let found = decide::judge_flow(port, generation, about);
            decide::tell_flow(port, generation, found)
        }
        (false, _) => decide::judge_alone(generation),
    };
    let outcome = Outcome::from_word(found);
    if !matches!(outcome.told, Told::Nobody) {
        decide::keep_judgement(port, generation, found);
    }
    if matches!(seen.fragment(), Fragment::First) {
        fragment::note_first_fragment(port, generation, found);
    }
    count(outcome.decision, seen);
    if outcome.decision.is_logged() {
        log::log_packet(port, generation, found);
    }
    match (outcome.end, outcome.decision.action()) {
        (End::None, _) => Ruling::Pass,
        (End::Headless, _) => Ruling::Drop(Reason::Headless),
        (End::Dropped, Action::Limit) => Ruling::Drop(Reason::Limited),
        (End::Dropped, Action::Reject) => Ruling::Reject,
        (End::Dropped, _) => Ruling::Drop(Reason::Denied),
    }
}

/// Whether the packets of a flow just go on when they come in by a port, as far as that was
/// found out before. Such a packet is counted.
#[inline(always)]
pub fn is_passing(packet: &impl Packet, seen: &mut Seen, port: u16, domain: u16) -> bool {
    seen.look_at_flow(packet, domain, true);
    let judged = flow::track_judged(seen, port, generation());
    if let Some(judgement) = judged {
        count(judgement.decision(), seen);
    }
    judged.is_some()
}

/// Whether the packet at hand is an ICMP error about a packet that says what it was.
#[inline(always)]
fn is_about_another() -> bool {
    // SAFETY: this CPU's own, and the packet's own.
    RELATED_FLOWS.get_ptr(0).is_some_and(|about| unsafe { &*about }.has_flow())
}

/// What the packet at hand was found to be.
#[inline(always)]
fn seen() -> Option<&'static Seen> {
    let seen = SEEN_PACKETS.get_ptr(0)?;
    // SAFETY: this CPU's own, and the packet's own.
    Some(unsafe { &*seen })
}

/// What the packet at hand is judged by.
#[inline(always)]
fn subject() -> Option<&'static mut Subject> {
    let subject = SUBJECTS.get_ptr_mut(0)?;
    // SAFETY: this CPU's own, and the packet's own.
    Some(unsafe { &mut *subject })
}

/// What hosts ask each other with who they are, unless some rule is about it.
#[inline(always)]
fn passes_unjudged(packet: &impl Packet, seen: &Seen, head: &PolicyHead) -> bool {
    const ARP: usize = Class::Arp as usize;
    const ICMPV6: usize = Class::Ipv6Icmp as usize;
    match seen.class() {
        ARP => !head.is_about_arp(),
        // Hosts take none in fragments (RFC 6980).
        ICMPV6 => {
            !head.is_about_discovery()
                && !seen.flow.is_fragment()
                && seen.is_neighbour_discovery(packet)
        }
        _ => false,
    }
}

/// The generation of the policy; 0 as long as there is none.
#[inline(always)]
fn generation() -> u64 {
    // SAFETY: one word, which who changes the policy writes as a whole.
    POLICY_NOW.get_ptr(0).map_or(0, |now| unsafe { now.read_volatile() })
}

/// The policy of a generation.
#[inline(always)]
fn head(generation: u64) -> Option<&'static PolicyHead> {
    if generation == 0 { None } else { POLICY_HEADS.get(half(generation)) }
}

/// The place of a flow's roots in a [`PolicyHead`].
#[inline(always)]
fn kind(seen: &Seen) -> u32 {
    if !seen.flow.has_flow() {
        return 2;
    }
    u32::from(!matches!(seen.flow.key.family(), Family::Ipv4))
}

/// What a packet that came in by a port has in the place of the port's number.
#[inline(always)]
fn sender(port: u16) -> u64 {
    let is_router =
        port == OUTSIDE || PORT_CONFIGS.get(port.into()).is_some_and(PortConfig::is_router);
    if is_router { ROUTED } else { port.into() }
}

/// Counts a packet for the rule that decided on it.
#[inline(always)]
fn count(decision: Decision, seen: &Seen) {
    let Some(stats) = RULE_STATS.get_ptr_mut(decision.slot()) else { return };
    // SAFETY: this CPU's own.
    let stats = unsafe { &mut *stats };
    stats.packets += seen.weight.cell.packets;
    stats.bytes += seen.weight.cell.bytes;
    let tick = clock::tick();
    if stats.tick != tick {
        (stats.tick, stats.last_seen_ns) = (tick, clock::now_ns());
    }
}

/// Counts what else became of a packet.
#[inline(always)]
pub fn event(event: impl FnOnce(&mut PolicyEvents) -> &mut u64) {
    if let Some(events) = POLICY_EVENTS.get_ptr_mut(0) {
        // SAFETY: this CPU's own.
        *event(unsafe { &mut *events }) += 1;
    }
}
