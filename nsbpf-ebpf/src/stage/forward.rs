//! Forward: the bridge decides, egress learns, ingress replays.
//!
//! A frame whose crossing is known leaves by the port that the bridge chose for the
//! frames before it. All else is left to the bridge, and noted, so that the hook where
//! it comes out again knows it.

#![expect(
    clippy::needless_borrows_for_generic_args,
    reason = "keys and values stay where they are, and are not copied to the stack"
)]

use nsbpf_common::crossing::{Crossing, PLACES, Passage, Sighting, Station};
use nsbpf_common::packet::{Cast, Packet, ethertype};
use nsbpf_common::port::PortConfig;
use nsbpf_common::sight::Seen;
use nsbpf_common::stats::Class;

use super::clock;
use super::pipeline::Forward;
use crate::maps::{KNOWN_PATHS, LEARNED_PATHS, PATH_TICKS, STATION_TICKS, STATIONS, UNDER_WAY};

/// How often a station is noted anew: every so many ticks.
const NOTE_TICKS: u32 = 64;

/// Where a frame goes that came in by a port, if that is known well enough: of frames as
/// long as it is, and not long ago.
#[inline(always)]
pub fn path(crossing: &Crossing, longest: u32) -> Option<Sighting> {
    let tick = clock::tick();
    let is_fresh = |sighting: Sighting| {
        sighting.age(tick) < PATH_TICKS.load() && longest <= sighting.longest()
    };
    let known = KNOWN_PATHS.get_ptr_mut(0)?;
    // SAFETY: this CPU's own.
    let known = unsafe { &mut *known }.at(crossing)?;
    if known.crossing == *crossing && is_fresh(known.sighting) {
        return Some(known.sighting);
    }
    let learned = LEARNED_PATHS.get_ptr(crossing)?;
    // SAFETY: one word.
    let sighting = unsafe { learned.read_volatile() };
    if !is_fresh(sighting) {
        return None;
    }
    *known = Passage { crossing: *crossing, sighting };
    Some(sighting)
}

/// What a bridge answers, or hosts ask each other who they are with, it has to see.
#[inline(always)]
pub fn may_pass_the_bridge_by(packet: &impl Packet, seen: &Seen) -> bool {
    const ARP: usize = Class::Arp as usize;
    const OTHER: usize = Class::Other as usize;
    const ICMPV6: usize = Class::Ipv6Icmp as usize;
    if !matches!(seen.cast(), Cast::Unicast) || is_service_tagged(packet, seen) {
        return false;
    }
    match seen.class() {
        ARP | OTHER => false,
        ICMPV6 => !seen.is_neighbour_discovery(packet),
        _ => true,
    }
}

/// To a bridge that looks at customer VLANs a service tag is none, whatever its number.
#[inline(always)]
fn is_service_tagged(packet: &impl Packet, seen: &Seen) -> bool {
    let in_frame = || packet.load(12).map(u16::from_be_bytes) == Some(ethertype::SERVICE_VLAN);
    seen.tag != 0 && (packet.is_service_vlan_beside_frame() || in_frame())
}

/// Notes that a frame is left to the bridge, and that its sender is at the port that
/// it came in by.
#[inline(always)]
pub fn leave_to_the_bridge(crossing: &Crossing, domain: u16) {
    let tick = clock::tick();
    let port = crossing.port();
    if let Some(place) = UNDER_WAY.get_ptr_mut(crossing.place(PLACES)) {
        // SAFETY: this CPU's own.
        unsafe { *place = Passage { crossing: *crossing, sighting: Sighting::new(port, tick) } };
    }
    let station = crossing.sender(domain);
    if let Some(sighting) = STATIONS.get_ptr(&station) {
        // SAFETY: one word.
        let sighting: Sighting = unsafe { sighting.read_volatile() };
        if sighting.port() == port && sighting.age(tick) < NOTE_TICKS {
            return;
        }
    }
    // One that there is no room for is not known, and its frames take the bridge.
    let _ = STATIONS.insert(&station, Sighting::new(port, tick), 0);
}

/// Whether a station was seen last at that port, and not long ago.
#[inline(always)]
pub fn is_there(station: &Station, port: u16, tick: u64) -> bool {
    let Some(sighting) = STATIONS.get_ptr(station) else { return false };
    // SAFETY: one word.
    let sighting: Sighting = unsafe { sighting.read_volatile() };
    sighting.port() == port && sighting.age(tick) < STATION_TICKS.load()
}

/// Learns from a frame that the bridge sends out of a port, having taken it from
/// another: only where that is for the station that was seen there last, the frame is as
/// it was when it came in, and came out nowhere else.
#[inline(always)]
pub fn learn(
    packet: &(impl Packet + Forward),
    seen: &Seen,
    from: u16,
    to: u16,
    config: &PortConfig,
) {
    if !may_pass_the_bridge_by(packet, seen) || packet.is_tracked() {
        return;
    }
    let Some(crossing) = Crossing::of(packet, from, seen.tag) else { return };
    let tick = clock::tick();
    let Some(place) = UNDER_WAY.get_ptr_mut(crossing.place(PLACES)) else { return };
    // SAFETY: this CPU's own.
    let under_way = unsafe { &mut *place };
    if under_way.crossing != crossing || under_way.sighting.age(tick) > 1 {
        return;
    }
    let before = under_way.sighting.port();
    under_way.sighting = under_way.sighting.moved_to(to);
    if before != from && before != to {
        // A copy of it has come out elsewhere: it was flooded.
        let _ = LEARNED_PATHS.remove(&crossing);
        return;
    }
    if !is_there(&crossing.receiver(config.domain), to, tick) {
        return;
    }
    let mut longest = seen.longest(packet);
    if let Some(known) = LEARNED_PATHS.get_ptr(&crossing) {
        // SAFETY: one word.
        let known: Sighting = unsafe { known.read_volatile() };
        if known.port() == to && known.age(tick) < PATH_TICKS.load() {
            longest = longest.max(known.longest());
        }
    }
    let mut path = Sighting::new(to, tick).up_to(longest);
    // Who is put into its namespace passes the port's queue by.
    if crossing.is_for(config.mac) && !packet.is_queued() {
        path = path.own();
    }
    let _ = LEARNED_PATHS.insert(&crossing, path, 0);
}
