//! The way of a packet through the stages: parse, account, guard, account for
//! the destination.
//!
//! A hook is on the device behind an interface. Where that device is a bridge's
//! port, what comes in by it left the namespace, and what goes out of it enters
//! the namespace. Of a pair without a bridge each device is in a namespace itself
//! and has the number of the other's interface: what comes in by it enters its
//! own namespace, and what goes out of it left that.

use nsbpf_common::packet::Packet;
use nsbpf_common::pair::{OUTSIDE, Pair};
use nsbpf_common::port::PortConfig;
use nsbpf_common::verdict::Verdict;

use super::{account, guard};
use crate::maps::{DIRECT_LINKS, GUARD, PORT_BASE, PORT_CONFIGS};

/// The interface is no port of ours, or the packet met it before its datapath
/// was whole. That never stops a packet: it goes on uncounted.
pub struct Unmanaged;

/// A packet that comes in by a device.
#[inline(always)]
pub fn ingress(packet: &impl Packet, ifindex: u32) -> Result<Verdict, Unmanaged> {
    let port = number(ifindex).ok_or(Unmanaged)?;
    let config = config(port).ok_or(Unmanaged)?;
    match config.direct_peer() {
        None => leaves(packet, port, &config),
        Some(peer) => enters(packet, peer, || port),
    }
    .ok_or(Unmanaged)
}

/// A packet that goes out of a device, having come in by another or by none (0).
#[inline(always)]
pub fn egress(
    packet: &impl Packet,
    ifindex: u32,
    ingress_ifindex: u32,
) -> Result<Verdict, Unmanaged> {
    let port = number(ifindex).ok_or(Unmanaged)?;
    let here = config(port).ok_or(Unmanaged)?;
    match here.direct_peer() {
        None => enters(packet, port, || number(ingress_ifindex).unwrap_or(OUTSIDE)),
        Some(peer) => leaves(packet, peer, &config(peer).ok_or(Unmanaged)?),
    }
    .ok_or(Unmanaged)
}

/// Its namespace sent it.
#[inline(always)]
fn leaves(packet: &impl Packet, port: u16, config: &PortConfig) -> Option<Verdict> {
    let stats = account::counters(port)?;
    let weight = account::packet(packet, &mut stats.tx)?;
    let verdict = guard::judge(packet, port, config);
    if let Verdict::Drop(reason) = verdict {
        account::dropped(&mut stats.tx, reason, weight);
    }
    Some(verdict)
}

/// Its namespace receives it.
#[inline(always)]
fn enters(packet: &impl Packet, to: u16, from: impl FnOnce() -> u16) -> Option<Verdict> {
    let stats = account::counters(to)?;
    let weight = account::packet(packet, &mut stats.rx)?;
    account::pair(Pair { from: from(), to }, weight);
    Some(Verdict::Pass)
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
