//! The way of a packet through the stages: parse, account, guard, account for
//! the destination.
//!
//! A hook is on the device behind an interface, out of reach of the interface's own
//! namespace: what comes in by it left that namespace. Where the device is a bridge's
//! port, what goes out of it enters the namespace. Of a pair without a bridge the
//! device is the other interface, and what comes in by it is there already.

use nsbpf_common::packet::Packet;
use nsbpf_common::pair::{OUTSIDE, Pair};
use nsbpf_common::port::PortConfig;
use nsbpf_common::sight::Seen;
use nsbpf_common::verdict::Verdict;

use super::{account, guard, parse};
use crate::maps::{DIRECT_LINKS, GUARD, PORT_BASE, PORT_CONFIGS};

/// The interface is no port of ours, or the packet met it before its datapath
/// was whole. That never stops a packet: it goes on uncounted.
pub struct Unmanaged;

/// A packet that comes in by a device: its namespace sent it.
#[inline(always)]
pub fn ingress(packet: &impl Packet, ifindex: u32) -> Result<Verdict, Unmanaged> {
    let port = number(ifindex).ok_or(Unmanaged)?;
    let config = config(port).ok_or(Unmanaged)?;
    let stats = account::counters(port).ok_or(Unmanaged)?;
    let seen = parse::look(packet).ok_or(Unmanaged)?;
    account::packet(&mut stats.tx, seen);
    let verdict = guard::judge(packet, seen, port, &config);
    match (verdict, config.direct_peer()) {
        (Verdict::Drop(reason), _) => account::dropped(&mut stats.tx, reason, seen.weight),
        (Verdict::Pass, Some(to)) => enters(Pair { from: port, to }, seen)?,
        (Verdict::Pass, None) => {}
    }
    Ok(verdict)
}

/// A packet that goes out of a device, having come in by another or by none (0): its
/// namespace receives it.
#[inline(always)]
pub fn egress(
    packet: &impl Packet,
    ifindex: u32,
    ingress_ifindex: u32,
) -> Result<Verdict, Unmanaged> {
    let to = number(ifindex).ok_or(Unmanaged)?;
    let seen = parse::look(packet).ok_or(Unmanaged)?;
    let from = number(ingress_ifindex).unwrap_or(OUTSIDE);
    enters(Pair { from, to }, seen)?;
    Ok(Verdict::Pass)
}

#[inline(always)]
fn enters(pair: Pair, seen: &Seen) -> Result<(), Unmanaged> {
    let stats = account::counters(pair.to).ok_or(Unmanaged)?;
    account::packet(&mut stats.rx, seen);
    account::pair(pair, seen.weight);
    Ok(())
}

/// Number of the port with that interface index.
#[inline(always)]
fn number(ifindex: u32) -> Option<u16> {
    u16::try_from(ifindex.wrapping_sub(PORT_BASE.load())).ok()
}

/// What there is to know of a port: nothing, unless a switch says that some have
/// something.
#[inline(always)]
fn config(port: u16) -> Option<PortConfig> {
    if GUARD.load() == 0 && DIRECT_LINKS.load() == 0 {
        return Some(PortConfig::default());
    }
    PORT_CONFIGS.get(port.into()).copied()
}
