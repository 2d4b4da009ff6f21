//! Flow: who talks to whom, and what is known of it.

#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "keys and values stay where they are, and are not copied to the stack"
)]

use aya_ebpf::bindings::BPF_NOEXIST;
use nsbpf_common::flow::{Flow, FlowEvents, FlowKey, FlowPacket};
use nsbpf_common::packet::protocol;
use nsbpf_common::sight::Seen;

use super::{atomic, clock};
use crate::maps::{BLANK_FLOWS, FLOW_EVENTS, FLOWS, NEW_FLOWS};

/// Counts a packet that came in by a port in its flow, which begins if there is none.
#[inline(always)]
pub fn track(seen: &Seen, port: u16) {
    let Seen { flow: packet, weight, .. } = seen;
    if !packet.has_flow() {
        return;
    }
    let (flow, is_new) = match FLOWS.get_ptr_mut(&packet.key) {
        Some(flow) => (flow, false),
        None => match fresh(&packet.key, packet.direction) {
            Some(flow) => (flow, true),
            None => return,
        },
    };
    // SAFETY: a map's memory stays where it is. Other processors may write it too: what
    // must add up is added atomically, the rest is single words.
    let flow = unsafe { &mut *flow };
    let is_tcp = packet.key.protocol == protocol::TCP;
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
    if is_new && flow.is_settled(packet.key.protocol) {
        settle(packet, flow);
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
        (Ok(()), Some(_)) => count(|events| &mut events.begun),
        (_, None) => count(|events| &mut events.failed),
        (Err(_), Some(_)) => {}
    }
    flow
}

/// Moves a flow to where those are that last. Without room there it stays where it is:
/// nothing is lost but its safety from others.
#[inline(always)]
fn settle(packet: &FlowPacket, flow: &Flow) {
    if FLOWS.insert(&packet.key, flow, BPF_NOEXIST.into()).is_ok() {
        count(|events| &mut events.settled);
    } else if FLOWS.get_ptr(&packet.key).is_none() {
        count(|events| &mut events.failed);
        return;
    }
    // Gone already when another CPU did the same.
    let _ = NEW_FLOWS.remove(&packet.key);
}

#[inline(always)]
fn count(event: impl FnOnce(&mut FlowEvents) -> &mut u64) {
    if let Some(events) = FLOW_EVENTS.get_ptr_mut(0) {
        // SAFETY: this CPU's own.
        *event(unsafe { &mut *events }) += 1;
    }
}
