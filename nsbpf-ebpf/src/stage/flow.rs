//! Flow: who talks to whom, and what is known of it.

#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "keys and values stay where they are, and are not copied to the stack"
)]

use aya_ebpf::bindings::BPF_NOEXIST;
use nsbpf_common::flow::{Flow, FlowEvents, FlowKey, FlowPacket, RecentRest};
use nsbpf_common::packet::protocol;
use nsbpf_common::policy::Judgement;
use nsbpf_common::sight::Seen;
use nsbpf_common::stats::Cell;

use super::recent::{self, Place};
use super::{atomic, clock};
use crate::maps::{BLANK_FLOWS, FLOW_EVENTS, FLOWS, NEW_FLOWS, SEEN_PACKETS, SPARE_KEYS, TICK_NS};

/// Counts a packet that came in by a port in its flow, which begins if there is none.
#[inline(always)]
pub fn track(seen: &Seen, port: u16) {
    let Seen { flow: packet, weight, .. } = seen;
    if !packet.has_flow() {
        return;
    }
    let Some(mut place) = Place::of(&packet.key) else { return };
    let is_kept = place.is_its && packet.is_plain();
    if is_kept {
        place.keep(packet.direction, weight.cell);
        if place.may_wait() {
            return;
        }
    }
    let told = tell(seen, port, &mut place, Telling { is_kept, ..Telling::PASSED });
    after(packet, &mut place, told, Judgement::NONE);
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
    let mut place = Place::of(&packet.key)?;
    let judgement = place.judgement(packet.direction);
    if !place.is_its || !judgement.holds(generation, port) || !place.may_wait() {
        return None;
    }
    place.keep(packet.direction, weight.cell);
    Some(judgement)
}

/// What a flow is to be told of a packet.
#[derive(Clone, Copy)]
pub struct Telling {
    /// The packet is counted in the processor's place.
    pub is_kept: bool,
    /// It goes on: only such a packet begins a flow.
    pub goes_on: bool,
    /// What holds for all that its sender sends.
    pub judgement: Judgement,
    /// A moment ago there was no such flow.
    pub is_unknown: bool,
}

impl Telling {
    /// That it goes on, and no more.
    pub const PASSED: Self =
        Self { is_kept: false, goes_on: true, judgement: Judgement::NONE, is_unknown: false };
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

/// Tells a packet's flow of it, and of what was kept before in its place.
#[inline(always)]
pub fn tell(seen: &Seen, port: u16, place: &mut Place, telling: Telling) -> Told {
    let Seen { flow: packet, weight, .. } = seen;
    let Telling { is_kept, goes_on, judgement, is_unknown } = telling;
    let (mut found, mut is_new) = (None, true);
    if !is_unknown {
        found = FLOWS.get_ptr_mut(&packet.key);
        is_new = found.is_none();
        if is_new {
            found = NEW_FLOWS.get_ptr_mut(&packet.key);
        }
    }
    if found.is_none() && goes_on {
        found = fresh(&packet.key, packet.direction);
    }
    let Some(flow) = found else { return Told::Nobody };
    // SAFETY: a map's memory stays where it is. Other processors may write it too: what must
    // add up is added atomically, the rest is single words.
    let flow = unsafe { &mut *flow };
    let now_ns = clock::now_ns();
    if place.is_its {
        add(flow, place.take());
        place.end_taking();
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
    let direction = flow.direction_mut(direction);
    if judgement != Judgement::NONE && direction.judgement != judgement {
        direction.judgement = judgement;
    }
}

/// Has this processor's place for a packet's flow keep what follows the packet, if it may,
/// and what was decided about that.
#[inline(always)]
pub fn after(packet: &FlowPacket, place: &mut Place, told: Told, judgement: Judgement) {
    match (told, place.is_its) {
        (Told::Steady, true) => place.renew(),
        (Told::Steady, false) if !place.is_busy() => {
            hand_over(place.number);
            place.give(&packet.key);
        }
        (Told::Unsteady, true) => return place.expire(),
        _ => return,
    }
    place.set_judgement(packet.direction, judgement);
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
    let direction = flow.direction_mut(packet.direction);
    if direction.port != port {
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
    let direction = flow.direction_mut(direction);
    atomic::add(&mut direction.packets, cell.packets);
    atomic::add(&mut direction.bytes, cell.bytes);
}

/// Takes a place, by its number, from the flow that it is of. A function of its own in the
/// program, which the verifier looks at once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn hand_over(number: u32) -> u64 {
    let Some((recent, rest)) = recent::numbered(number) else { return 0 };
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
        let later = [0, 1].map(|end| flow.direction(end).sent() - copy.direction(end).sent());
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
