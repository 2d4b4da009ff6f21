//! Parse and count: what each packet was and what it weighed.

use nsbpf_common::packet::Packet;
use nsbpf_common::stats::{Class, Direction, PortStats};

use crate::maps::{PARSED_HEADERS, PORT_BASE, PORT_STATS};

/// The interface is no port of ours, or the packet met it before its datapath
/// was whole. Accounting never stops a packet: it goes on uncounted.
pub struct Uncounted;

/// Counts a packet that left the namespace through the port of that interface.
#[inline(always)]
pub fn tx(packet: &impl Packet, ifindex: u32) -> Result<(), Uncounted> {
    account(packet, ifindex, |stats| &mut stats.tx).ok_or(Uncounted)
}

/// Counts a packet that enters the namespace through the port of that interface.
#[inline(always)]
pub fn rx(packet: &impl Packet, ifindex: u32) -> Result<(), Uncounted> {
    account(packet, ifindex, |stats| &mut stats.rx).ok_or(Uncounted)
}

#[inline(always)]
fn account(
    packet: &impl Packet,
    ifindex: u32,
    direction: impl FnOnce(&mut PortStats) -> &mut Direction,
) -> Option<()> {
    let port = ifindex.wrapping_sub(PORT_BASE.load());
    let stats = PORT_STATS.get_ptr_mut(port)?;
    let headers = PARSED_HEADERS.get_ptr_mut(0)?;
    // SAFETY: this CPU's own copy, and nothing else runs on this CPU that
    // touches it until the program returns.
    let headers = unsafe { &mut *headers };
    headers.parse(packet);
    let weight = headers.weigh(packet);
    // SAFETY: as above.
    let stats = unsafe { &mut *stats };
    direction(stats).count(Class::of(headers), weight);
    Some(())
}
