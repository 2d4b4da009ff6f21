//! Route: a stack decides, its egress learns, its ingress replays.
//!
//! On the interfaces of a router's namespace, in that namespace: what is known of its
//! routes, neighbours, rules and filters is what its stack did to the packet before. The
//! same is done to what the stack behind bridges forwards: see [`host`](super::host).

#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "keys and values stay where they are, and are not copied to the stack"
)]

use nsbpf_common::crossing::{Crossing, PLACES, Sighting};
use nsbpf_common::packet::{Cast, Family, Packet};
use nsbpf_common::route::{self, HOPS_V4, HOPS_V6, Handed, MACS, MIN_HOPS, Route};
use nsbpf_common::sight::Seen;

use super::pipeline::Forward;
use super::{clock, parse, pipeline};
use crate::maps::{HANDED_PACKETS, PATH_TICKS, PORT_CONFIGS, ROUTES};

/// What a packet gets that leaves by another interface.
pub struct Replay {
    /// The interface's port.
    pub to: u16,
    /// Destination and source MAC address.
    pub macs: [u8; MACS],
    /// Hops that are left.
    pub hops: Hops,
}

/// What stands where the hops are told, at [`HOPS_V4`] or [`HOPS_V6`].
pub enum Hops {
    /// Hops, protocol, and the header's checksum.
    V4([u8; 4]),
    /// Hops.
    V6([u8; 1]),
}

/// A packet of a flow that may be replayed, whose key is in what was seen of it.
struct Candidate {
    hops: u8,
    longest: u32,
    family: Family,
    class: u8,
}

/// A packet that comes in by an interface of a router: what is to be done to it, if that
/// is known.
#[inline(always)]
pub fn ingress(packet: &impl Packet, ifindex: u32) -> Option<Replay> {
    let port = pipeline::number(ifindex)?;
    // What was put into the namespace counts as the host's, whomever it is for.
    if !Crossing::of(packet, port, 0)?.is_for(PORT_CONFIGS.get(port.into())?.mac) {
        return None;
    }
    let seen = parse::look(packet)?;
    let tag = seen.tag;
    replay(packet, seen, port, tag)
}

/// What is to be done to a packet that came in by a port with that tag, if it is known.
/// Else it is noted, so that egress knows it.
#[inline(always)]
pub fn replay(packet: &impl Packet, seen: &mut Seen, port: u16, tag: u16) -> Option<Replay> {
    let Candidate { hops, longest, family, class } = candidate(packet, seen, port, tag)?;
    if hops < MIN_HOPS {
        return None;
    }
    let key = &seen.flow.key;
    let tick = clock::tick();
    if let Some(route) = ROUTES.get_ptr(key) {
        // SAFETY: an entry is replaced as a whole, and stays as long as a program runs
        // that found it, or until its place is given to another flow of the lab.
        let Route { sighting, longest: most, macs, class: of, reserved: _ } = unsafe { *route };
        if sighting.age(tick) < PATH_TICKS.load() && longest <= most && class == of {
            let hops = match family {
                Family::Ipv4 => {
                    let [_, kind, high, low] = packet.load(HOPS_V4)?;
                    let [high, low] = route::checksum_after_hop([high, low]);
                    Hops::V4([hops - 1, kind, high, low])
                }
                _ => Hops::V6([hops - 1]),
            };
            return Some(Replay { to: sighting.port(), macs, hops });
        }
    }
    let handed = HANDED_PACKETS.get_ptr_mut(key.place(PLACES))?;
    // SAFETY: this CPU's own.
    unsafe { *handed = Handed::new(*key, tick, hops) };
    None
}

/// A packet that leaves by an interface of a router: it is learned from if it came in by
/// another.
#[inline(always)]
pub fn egress(packet: &(impl Packet + Forward), ifindex: u32, ingress_ifindex: u32) -> Option<()> {
    let to = pipeline::number(ifindex)?;
    let from = pipeline::number(ingress_ifindex)?;
    if from == to || !may_be_replayed(packet) {
        return None;
    }
    let seen = parse::look(packet)?;
    let tag = seen.tag;
    learn(packet, seen, from, tag, to, true)
}

/// Rules may look at what a flow is not known by, and connections have to be seen whole;
/// a queue is there to be waited in.
#[inline(always)]
pub fn may_be_replayed(packet: &impl Forward) -> bool {
    !packet.is_filtered() && !packet.is_queued()
}

/// Learns from a packet that leaves by a port, having come in by another with that tag: if
/// it is what came in but for what a router does, is good to learn from, and came out
/// nowhere else.
#[inline(always)]
pub fn learn(
    packet: &impl Packet,
    seen: &mut Seen,
    from: u16,
    tag: u16,
    to: u16,
    is_good: bool,
) -> Option<()> {
    let Candidate { hops, longest, family: _, class } = candidate(packet, seen, from, tag)?;
    let key = &seen.flow.key;
    let tick = clock::tick();
    let handed = HANDED_PACKETS.get_ptr_mut(key.place(PLACES))?;
    // SAFETY: this CPU's own.
    let handed = unsafe { &mut *handed };
    if !handed.is_before(key, hops, tick) {
        return None;
    }
    if !handed.came_out(to) {
        // The bridge that it left by did not know where to, and flooded it.
        let _ = ROUTES.remove(key);
        return None;
    }
    if !is_good {
        return None;
    }
    let sighting = Sighting::new(to, tick);
    let mut route = Route { sighting, longest, macs: packet.load(0)?, class, reserved: [0; 7] };
    if let Some(known) = ROUTES.get_ptr(key) {
        // SAFETY: as above.
        let known = unsafe { *known };
        let fresh = known.sighting.age(tick) < PATH_TICKS.load();
        let same = known.macs == route.macs && known.class == class;
        if fresh && same && known.sighting.port() == to {
            route.longest = route.longest.max(known.longest);
        }
    }
    // One that there is no room for takes the stack.
    let _ = ROUTES.insert(key, &route, 0);
    Some(())
}

/// What most packets are: whole, without options, for one station, and no talk among
/// neighbours. All else is the stack's.
#[inline(always)]
fn candidate(packet: &impl Packet, seen: &mut Seen, port: u16, tag: u16) -> Option<Candidate> {
    if !matches!(seen.cast(), Cast::Unicast) || !seen.look_at_plain(packet, port, tag) {
        return None;
    }
    let family = seen.flow.key.family();
    let offset = if matches!(family, Family::Ipv4) { HOPS_V4 } else { HOPS_V6 };
    let [hops] = packet.load(offset)?;
    let class = route::class_of(packet.load(14)?);
    if packet.segmentation().is_none() && !is_whole(packet, family)? {
        return None;
    }
    Some(Candidate { hops, longest: seen.longest(packet), family, class })
}

/// Whether a packet is as long as it says: a stack drops what is shorter, and cuts off
/// what is longer.
#[inline(always)]
fn is_whole(packet: &impl Packet, family: Family) -> Option<bool> {
    /// What Ethernet and the header of IPv6 take.
    const BEFORE_V6: u32 = 14 + 40;
    let (offset, before) = match family {
        Family::Ipv4 => (14 + 2, 14),
        _ => (14 + 4, BEFORE_V6),
    };
    let length = u16::from_be_bytes(packet.load(offset)?);
    Some(u32::from(length) + before == packet.frame_bytes())
}
