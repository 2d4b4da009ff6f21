//! Host: packets between two bridges, which the stack that both are in routes.
//!
//! What a namespace sends to its bridge's own address is noted with the port that it came
//! in by, and leaves by a port of another bridge. Only its key and that number tell there
//! what it was: the bridge is all that the stack knows of where it came from.

use nsbpf_common::crossing::Crossing;
use nsbpf_common::packet::Packet;
use nsbpf_common::port::{PortConfig, host_mac};
use nsbpf_common::route::TO_HOST;
use nsbpf_common::sight::Seen;
use nsbpf_common::stats::Way;

use super::pipeline::{self, Forward};
use super::route::{self, Replay};
use super::{clock, forward};
use crate::maps::{HOST_ROUTES, PORT_BASE, PORT_CONFIGS};

/// Whether a packet that came in by a port is for the stack that the port's bridge is in,
/// and could pass that by: from the interface itself, as bridges do not take others from
/// just anybody.
#[inline(always)]
pub fn is_asked<P: Forward>(crossing: &Crossing, config: &PortConfig) -> bool {
    P::REWRITES
        && HOST_ROUTES.load() != 0
        && matches!(config.way(), Way::Redirect | Way::Peer)
        && crossing.tag() == 0
        && crossing.is_from(config.mac)
        && crossing.is_for(host_mac(PORT_BASE.load() + u32::from(config.domain)))
}

/// What the stack did to the packets before, if that is known. Else the packet is noted.
#[inline(always)]
pub fn replay(packet: &(impl Packet + Forward), seen: &mut Seen, port: u16) -> Option<Replay> {
    let replay = route::replay(packet, seen, port, TO_HOST);
    if replay.is_none() {
        packet.note_port(port);
    }
    replay
}

/// Learns from a packet that leaves by a port, having come in by no port of its bridge:
/// only where it was routed from another bridge of the lab, and is for the interface
/// itself, which was seen there last.
#[inline(always)]
pub fn learn(
    packet: &(impl Packet + Forward),
    seen: &mut Seen,
    ingress_ifindex: u32,
    to: u16,
    config: &PortConfig,
) -> Option<()> {
    let from = packet.take_noted_port()?;
    let domain = PORT_CONFIGS.get(from.into())?.domain;
    if pipeline::number(ingress_ifindex)? != domain || domain == config.domain || seen.tag != 0 {
        return None;
    }
    let crossing = Crossing::of(packet, to, 0)?;
    let is_good = crossing.is_for(config.mac)
        && forward::is_there(&crossing.receiver(config.domain), to, clock::tick())
        && !packet.is_tracked()
        && route::may_be_replayed(packet);
    route::learn(packet, seen, from, TO_HOST, to, is_good)
}
