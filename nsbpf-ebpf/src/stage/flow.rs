//! Flow: who talks to whom, and what is known of it.

#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "keys and values stay where they are, and are not copied to the stack"
)]

use aya_ebpf::bindings::BPF_NOEXIST;
use nsbpf_common::flow::{self, Flow, FlowEvents, FlowKey, FlowPacket, RecentFlow};
use nsbpf_common::packet::protocol;
use nsbpf_common::sight::Seen;
use nsbpf_common::stats::Cell;

use super::{atomic, clock};
use crate::maps::{BLANK_FLOWS, FLOW_EVENTS, FLOWS, NEW_FLOWS, RECENT_FLOWS};

/// Counts a packet that came in by a port in its flow, which begins if there is none.
#[inline(always)]
pub fn track(seen: &Seen, port: u16) {
    let Seen { flow: packet, weight, .. } = seen;
    if !packet.has_flow() {
        return;
    }
    let place = packet.key.place(flow::RECENT_FLOWS);
    let Some(recent) = RECENT_FLOWS.get_ptr_mut(place) else { return };
    // SAFETY: this CPU's own, as the packet's is.
    let recent = unsafe { &mut *recent };
    #[expect(clippy::cast_possible_truncation, reason = "compared only")]
    let tick = clock::tick() as u32;
    let is_recent = recent.is_of(&packet.key);
    if is_recent && recent.is_in_use(tick) && packet.is_plain() {
        recent.keep(packet.direction, weight.cell);
        return;
    }
    let Some((flow, is_new)) = find(packet) else { return };
    if is_recent {
        add(flow, recent.take());
    }
    let settled = count_in(flow, seen, port, is_new);
    match (settled && flow.is_steady(), is_recent) {
        (true, true) => recent.give(&packet.key, tick),
        (true, false) if !recent.is_in_use(tick) => {
            hand_over(recent);
            recent.give(&packet.key, tick);
        }
        (false, true) => recent.expire(),
        _ => {}
    }
}

/// The entry of a packet's flow, and whether it is not settled yet.
#[inline(always)]
fn find(packet: &FlowPacket) -> Option<(&'static mut Flow, bool)> {
    let (flow, is_new) = match FLOWS.get_ptr_mut(&packet.key) {
        Some(flow) => (flow, false),
        None => (fresh(&packet.key, packet.direction)?, true),
    };
    // SAFETY: a map's memory stays where it is. Other processors may write it too: what
    // must add up is added atomically, the rest is single words.
    Some((unsafe { &mut *flow }, is_new))
}

/// Counts a packet in its flow's entry. Returns whether the flow is settled.
#[inline(always)]
fn count_in(flow: &mut Flow, seen: &Seen, port: u16, is_new: bool) -> bool {
    let Seen { flow: packet, weight, .. } = seen;
    let is_tcp = packet.key.protocol() == protocol::TCP;
    if is_tcp && flow.begins_anew(packet.tcp_flags) {
        flow.begin(packet.direction, clock::now_ns());
    }
    if let Some(direction) = flow.directions.get_mut(usize::from(packet.direction)) {
        atomic::add(&mut direction.packets, weight.cell.packets);
        atomic::add(&mut direction.bytes, weight.cell.bytes);
        if direction.port != port {
            direction.port = port;
        }
    }
    flow.see(clock::tick(), clock::now_ns);
    if is_tcp {
        flow.follow(packet.direction, packet.tcp_flags, clock::now_ns);
    }
    if !is_new {
        return true;
    }
    let settled = flow.is_settled(packet.key.protocol());
    if settled {
        settle(packet, flow);
    }
    settled
}

/// Adds to a flow what was kept of it.
#[inline(always)]
fn add(flow: &mut Flow, [first, second]: [Cell; 2]) {
    let [one, other] = &mut flow.directions;
    for (direction, cell) in [(one, first), (other, second)] {
        if cell.packets > 0 {
            atomic::add(&mut direction.packets, cell.packets);
            atomic::add(&mut direction.bytes, cell.bytes);
        }
    }
}

/// Takes a place from the flow that it is of.
#[inline(always)]
fn hand_over(recent: &mut RecentFlow) {
    let pending = recent.take();
    let packets = pending[0].packets + pending[1].packets;
    if packets == 0 {
        return;
    }
    match FLOWS.get_ptr_mut(&recent.key) {
        // SAFETY: as for any flow.
        Some(flow) => add(unsafe { &mut *flow }, pending),
        None => count(|events| &mut events.failed, packets),
    }
}

/// A flow that is not settled yet: known, or from now on.
#[inline(always)]
fn fresh(key: &FlowKey, direction: u8) -> Option<*mut Flow> {
    if let Some(flow) = NEW_FLOWS.get_ptr_mut(key) {
        return Some(flow);
    }
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

/// Moves a flow to where those are that last. Without room there it stays where it is:
/// nothing is lost but its safety from others.
#[inline(always)]
fn settle(packet: &FlowPacket, flow: &Flow) {
    let Some(copy) = BLANK_FLOWS.get_ptr_mut(0) else { return };
    // SAFETY: this CPU's own, as the packet's is.
    let copy = unsafe { &mut *copy };
    *copy = *flow;
    let moved = FLOWS.insert(&packet.key, &*copy, BPF_NOEXIST.into());
    let Some(there) = FLOWS.get_ptr_mut(&packet.key) else {
        count(|events| &mut events.failed, 1);
        return;
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
    let _ = NEW_FLOWS.remove(&packet.key);
}

#[inline(always)]
fn count(event: impl FnOnce(&mut FlowEvents) -> &mut u64, times: u64) {
    if let Some(events) = FLOW_EVENTS.get_ptr_mut(0) {
        // SAFETY: this CPU's own.
        *event(unsafe { &mut *events }) += times;
    }
}
