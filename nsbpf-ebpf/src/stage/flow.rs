//! Flow: who talks to whom, and what is known of it.

#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "keys and values stay where they are, and are not copied to the stack"
)]

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_get_smp_processor_id;
use nsbpf_common::flow::{Flow, FlowEvents, FlowKey, FlowPacket, RecentFlow, RecentRest};
use nsbpf_common::packet::protocol;
use nsbpf_common::policy::Judgement;
use nsbpf_common::sight::Seen;
use nsbpf_common::stats::Cell;

use super::{atomic, clock};
use crate::maps::{
    BLANK_FLOWS, FLOW_EVENTS, FLOWS, NEW_FLOWS, RECENT_FLOWS, RECENT_PLACES, RECENT_RESTS,
    SEEN_PACKETS, SPARE_KEYS, TELL_TICKS, TICK_NS,
};

/// Counts a packet that came in by a port in its flow, which begins if there is none.
#[inline(always)]
pub fn track(seen: &Seen, port: u16) {
    let Seen { flow: packet, weight, .. } = seen;
    if !packet.has_flow() {
        return;
    }
    let number = recent_number(&packet.key);
    let Some(recent) = recent(number) else { return };
    let (tick, tell_ticks) = ticks();
    let is_recent = recent.is_of(&packet.key, || rest(number).map(|rest| &*rest));
    let is_kept = is_recent && packet.is_plain();
    if is_kept {
        recent.keep(packet.direction, weight.cell, tick);
        if recent.may_wait(tick, tell_ticks) {
            return;
        }
    }
    let told = tell(seen, port, is_kept, true, Judgement::NONE);
    place(seen, told, Judgement::NONE);
}

/// Counts a packet that came in by a port in its flow, if that is one whose packets just go
/// on: what was decided about them in this generation of the policy. Fragments are looked at
/// one by one, because others follow the first one of a packet.
#[inline(always)]
pub fn track_judged(seen: &Seen, port: u16, generation: u64) -> Option<Judgement> {
    let Seen { flow: packet, weight, .. } = seen;
    if !packet.has_flow() || !packet.is_plain_and_whole() {
        return None;
    }
    let number = recent_number(&packet.key);
    let recent = recent(number)?;
    let (tick, tell_ticks) = ticks();
    let rest = rest(number)?;
    let judgement = *rest.judgements.get(usize::from(packet.direction))?;
    let is_judged = judgement.holds(generation, port)
        && recent.is_of(&packet.key, || Some(&*rest))
        && recent.may_wait(tick, tell_ticks);
    if !is_judged {
        return None;
    }
    recent.keep(packet.direction, weight.cell, tick);
    Some(judgement)
}

/// What became of a packet's flow.
#[derive(Clone, Copy)]
pub enum Told {
    /// There is none: the packet ends and began none, or there is no room for it.
    Nobody,
    /// It goes on, and packets that are no more than that change nothing but how many there
    /// were.
    Steady,
    /// Each packet has to be told.
    Unsteady,
}

/// Tells a packet's flow of it, and of what was kept before: whether the packet goes on, and
/// what holds for all that its sender sends. Only what goes on begins a flow.
#[inline(always)]
pub fn tell(seen: &Seen, port: u16, is_kept: bool, goes_on: bool, judgement: Judgement) -> Told {
    let Seen { flow: packet, weight, .. } = seen;
    let number = recent_number(&packet.key);
    let (Some(recent), Some(rest)) = (recent(number), rest(number)) else { return Told::Nobody };
    let is_recent = recent.is_of(&packet.key, || Some(&*rest));
    let (mut found, mut is_new) = (FLOWS.get_ptr_mut(&packet.key), false);
    if found.is_none() {
        (found, is_new) = (NEW_FLOWS.get_ptr_mut(&packet.key), true);
    }
    if found.is_none() && goes_on {
        found = fresh(&packet.key, packet.direction);
    }
    let Some(flow) = found else { return Told::Nobody };
    // SAFETY: a map's memory stays where it is. Other processors may write it too: what must
    // add up is added atomically, the rest is single words.
    let flow = unsafe { &mut *flow };
    let now_ns = clock::now_ns();
    if is_recent {
        add(flow, rest.take(recent));
        rest.end_taking();
    }
    // What begins anew counts from here.
    if goes_on {
        follow(flow, packet, port, now_ns);
        keep(flow, packet.direction, judgement);
    }
    if !is_kept {
        add_to(flow, packet.direction, weight.cell);
    }
    let lasts = goes_on && (!is_new || is_settled_now(packet, flow));
    if lasts && flow.is_steady() { Told::Steady } else { Told::Unsteady }
}

/// Keeps in a flow's entry what holds for all that an end sends.
#[inline(always)]
pub fn keep(flow: &mut Flow, direction: u8, judgement: Judgement) {
    if let Some(direction) = flow.directions.get_mut(usize::from(direction))
        && judgement != Judgement::NONE
        && direction.judgement != judgement
    {
        direction.judgement = judgement;
    }
}

/// Keeps what follows a packet in this processor's place for its flow, if it may, and what
/// was decided about it.
#[inline(always)]
pub fn place(seen: &Seen, told: Told, judgement: Judgement) {
    let FlowPacket { key, direction, .. } = &seen.flow;
    let number = recent_number(key);
    let (Some(recent), Some(rest)) = (recent(number), rest(number)) else { return };
    let (tick, tell_ticks) = ticks();
    let is_recent = recent.is_of(key, || Some(&*rest));
    match (told, is_recent) {
        (Told::Steady, true) => rest.renew(recent, tick, clock::now_ns()),
        (Told::Steady, false) if !recent.is_busy(tick, tell_ticks) => {
            hand_over(number);
            rest.give(recent, key, tick, clock::now_ns());
        }
        (Told::Unsteady, true) => {
            recent.expire(tick, tell_ticks);
            return;
        }
        _ => return,
    }
    if let Some(kept) = rest.judgements.get_mut(usize::from(*direction)) {
        *kept = judgement;
    }
}

/// The kernel's tick, and how many of them may pass until what is kept is told.
#[inline(always)]
fn ticks() -> (u32, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "compared only")]
    let tick = clock::tick() as u32;
    (tick, TELL_TICKS.load())
}

/// The number of this processor's place for a flow.
#[inline(always)]
fn recent_number(key: &FlowKey) -> u32 {
    let places = RECENT_PLACES.load();
    // SAFETY: takes nothing and cannot fail.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    cpu * places + key.place(places)
}

#[inline(always)]
fn recent(number: u32) -> Option<&'static mut RecentFlow> {
    let place = RECENT_FLOWS.get_ptr_mut(number)?;
    // SAFETY: nobody else writes it, as for the packet's own memory.
    Some(unsafe { &mut *place })
}

#[inline(always)]
fn rest(number: u32) -> Option<&'static mut RecentRest> {
    let rest = RECENT_RESTS.get_ptr_mut(number)?;
    // SAFETY: as for the place.
    Some(unsafe { &mut *rest })
}

/// The entry of a flow, if there is one.
#[inline(always)]
pub fn known(key: &FlowKey) -> Option<&'static mut Flow> {
    let flow = FLOWS.get_ptr_mut(key).or_else(|| NEW_FLOWS.get_ptr_mut(key))?;
    // SAFETY: as for any flow.
    Some(unsafe { &mut *flow })
}

/// Notes all that a packet tells of its flow but how much there was of it.
#[inline(always)]
fn follow(flow: &mut Flow, packet: &FlowPacket, port: u16, now_ns: u64) {
    let is_tcp = packet.key.protocol() == protocol::TCP;
    if is_tcp && flow.begins_anew(packet.tcp_flags) {
        flow.begin(packet.direction, now_ns);
    }
    if let Some(direction) = flow.directions.get_mut(usize::from(packet.direction))
        && direction.port != port
    {
        direction.port = port;
    }
    flow.pass(packet.direction);
    flow.see(now_ns);
    if is_tcp {
        flow.follow(packet.direction, packet.tcp_flags, now_ns);
    }
}

/// Whether a flow that was not settled is so with the packet at hand: then it is moved.
#[inline(always)]
fn is_settled_now(packet: &FlowPacket, flow: &Flow) -> bool {
    let settled = flow.is_settled(packet.key.protocol());
    if settled {
        settle_flow();
    }
    settled
}

/// Adds to a flow what was kept of it.
#[inline(always)]
fn add(flow: &mut Flow, [first, second]: [Cell; 2]) {
    for (direction, cell) in [(0, first), (1, second)] {
        if cell.packets > 0 {
            add_to(flow, direction, cell);
        }
    }
}

/// Adds to what an end of a flow sent.
#[inline(always)]
fn add_to(flow: &mut Flow, direction: u8, cell: Cell) {
    if let Some(direction) = flow.directions.get_mut(usize::from(direction)) {
        atomic::add(&mut direction.packets, cell.packets);
        atomic::add(&mut direction.bytes, cell.bytes);
    }
}

/// Takes a place, by its number, from the flow that it is of. A function of its own in the
/// program, which the verifier looks at once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hand_over(number: u32) -> u64 {
    let (Some(recent), Some(rest)) = (recent(number), rest(number)) else { return 0 };
    let tick_ns = TICK_NS.load();
    let seen_ns = rest.seen_ns(recent, tick_ns);
    let kept = rest.take(recent);
    let packets = kept[0].packets + kept[1].packets;
    if packets > 0 {
        let Some(key) = SPARE_KEYS.get_ptr_mut(0) else { return 0 };
        // SAFETY: this CPU's own, as the packet's is.
        let key = unsafe { &mut *key };
        *key = rest.key(recent);
        match FLOWS.get_ptr_mut(&*key) {
            Some(flow) => {
                // SAFETY: as for any flow.
                let flow = unsafe { &mut *flow };
                if RecentRest::is_over(seen_ns, flow.first_seen_ns, tick_ns) {
                    count(|events| &mut events.failed, packets);
                } else {
                    flow.see(seen_ns);
                    add(flow, kept);
                }
            }
            None => count(|events| &mut events.failed, packets),
        }
    }
    rest.end_taking();
    0
}

/// A flow that begins now.
#[inline(always)]
fn fresh(key: &FlowKey, direction: u8) -> Option<*mut Flow> {
    let blank = BLANK_FLOWS.get_ptr_mut(0)?;
    // SAFETY: this CPU's own, as the packet's is.
    let blank = unsafe { &mut *blank };
    blank.begin(direction, clock::now_ns());
    // One that another CPU has just made is as good.
    let made = NEW_FLOWS.insert(key, &*blank, BPF_NOEXIST.into());
    let flow = NEW_FLOWS.get_ptr_mut(key);
    match (made, flow) {
        (Ok(()), Some(_)) => count(|events| &mut events.begun, 1),
        (_, None) => count(|events| &mut events.failed, 1),
        (Err(_), Some(_)) => {}
    }
    flow
}

/// Moves the flow of the packet at hand to where those are that last. Without room there it
/// stays where it is: nothing is lost but its safety from others. A function of its own.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn settle_flow() -> u64 {
    let (Some(seen), Some(copy)) = (SEEN_PACKETS.get_ptr(0), BLANK_FLOWS.get_ptr_mut(0)) else {
        return 0;
    };
    // SAFETY: this CPU's own, and the packet's own.
    let seen = unsafe { &*seen };
    let key = &seen.flow.key;
    // SAFETY: likewise.
    let copy = unsafe { &mut *copy };
    let Some(flow) = NEW_FLOWS.get_ptr_mut(key) else { return 0 };
    // SAFETY: as for any flow.
    let flow = unsafe { &*flow };
    *copy = *flow;
    let moved = FLOWS.insert(key, &*copy, BPF_NOEXIST.into());
    let Some(there) = FLOWS.get_ptr_mut(key) else {
        count(|events| &mut events.failed, 1);
        return 0;
    };
    if moved.is_ok() {
        count(|events| &mut events.settled, 1);
        // What another CPU has counted since the copy. It does so no more once it finds the
        // flow where it is now.
        let later = [0, 1].map(|direction: usize| {
            let [now, then] = [flow.sent(direction), copy.sent(direction)];
            now - then
        });
        // SAFETY: as for any flow.
        add(unsafe { &mut *there }, later);
    }
    // Gone already when another CPU did the same.
    let _ = NEW_FLOWS.remove(key);
    0
}

#[inline(always)]
fn count(event: impl FnOnce(&mut FlowEvents) -> &mut u64, times: u64) {
    if let Some(events) = FLOW_EVENTS.get_ptr_mut(0) {
        // SAFETY: this CPU's own.
        *event(unsafe { &mut *events }) += times;
    }
}
