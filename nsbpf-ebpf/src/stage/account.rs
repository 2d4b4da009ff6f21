//! Parse and count: what each packet was and what it weighed.

use nsbpf_common::packet::Packet;
use nsbpf_common::stats::{Class, Direction, PortStats};

use crate::maps::{PARSED_HEADERS, PORT_STATS, port_base};

/// Counts a packet that left the namespace through the port of that interface.
#[inline(always)]
pub fn tx(packet: &impl Packet, ifindex: u32) {
    account(packet, ifindex, |stats| &mut stats.tx);
}

/// Counts a packet that enters the namespace through the port of that interface.
#[inline(always)]
pub fn rx(packet: &impl Packet, ifindex: u32) {
    account(packet, ifindex, |stats| &mut stats.rx);
}

/// An interface that is no port of ours is not counted: accounting never stops
/// a packet.
#[inline(always)]
fn account(
    packet: &impl Packet,
    ifindex: u32,
    direction: impl FnOnce(&mut PortStats) -> &mut Direction,
) {
    let port = ifindex.wrapping_sub(port_base());
    let Some(stats) = PORT_STATS.get_ptr_mut(port) else {
        return;
    };
    let Some(headers) = PARSED_HEADERS.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: this CPU's own copy, and nothing else runs on this CPU that
    // touches it until the program returns.
    let headers = unsafe { &mut *headers };
    headers.parse(packet);
    let weight = headers.weigh(packet);
    // SAFETY: as above.
    let stats = unsafe { &mut *stats };
    direction(stats).count(Class::of(headers), weight);
}
