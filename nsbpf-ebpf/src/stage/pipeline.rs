//! The way of a packet through the stages: parse, account, guard, flow, forward,
//! account for the destination.
//!
//! A hook is on the device behind an interface, out of reach of the interface's own
//! namespace: what comes in by it left that namespace. Where the device is a bridge's
//! port, what goes out of it enters the namespace. Of a pair without a bridge the
//! device is the other interface, and what comes in by it is there already.

use nsbpf_common::crossing::{Crossing, Sighting};
use nsbpf_common::packet::Packet;
use nsbpf_common::pair::{OUTSIDE, Pair};
use nsbpf_common::port::PortConfig;
use nsbpf_common::sight::Seen;
use nsbpf_common::stats::{Direction, PortStats, Way};
use nsbpf_common::verdict::{Reason, Verdict};

use super::policy::Ruling;
use super::policy::hook::{Answered, Back, Judged};
use super::route::Replay;
use super::{account, flow, forward, guard, host, parse, policy};
use crate::maps::{
    DIRECT_LINKS, FAST_PATHS, HOST_ROUTES, POLICY, PORT_BASE, PORT_CONFIGS, TRACK_FLOWS,
};

/// The interface is no port of ours, or the packet met it before its datapath
/// was whole. That never stops a packet: it goes on uncounted.
pub struct Unmanaged;

/// Sends packets by ways that pass the bridge by, from the hook that they are at.
pub trait Forward {
    /// Whether packets can be written to.
    const REWRITES: bool = false;

    /// Has the packet go to a port by that way; `false` if this hook, or that port,
    /// knows no such way.
    fn forward(&self, way: Way, to: u16) -> bool;

    /// Whether a packet that leaves by a device came there by [`Way::Redirect`].
    fn was_redirected(&self) -> bool {
        false
    }

    /// Has the packet, which came in for the host's stack, go to a port by that way, as the
    /// stack would have it do; `false` if that cannot be done.
    fn forward_routed(&self, _way: Way, _replay: &Replay) -> bool {
        false
    }

    /// Whether a packet that leaves by a device came there so, by [`Way::Redirect`].
    fn was_routed(&self) -> bool {
        false
    }

    /// Notes on the packet which port it came in by, for a hook that it passes later.
    fn note_port(&self, _port: u16) {}

    /// The port that was noted on the packet, and is so no more.
    fn take_noted_port(&self) -> Option<u16> {
        None
    }

    /// Whether connection tracking looks at the packet: it has to see all of a connection.
    fn is_tracked(&self) -> bool {
        false
    }

    /// Whether netfilter looks at what the packet's namespace forwards.
    fn is_filtered(&self) -> bool {
        false
    }

    /// Whether XDP of the same device has done all there was to do about the packet.
    fn is_done(&self) -> bool {
        false
    }

    /// Tells tc of the same device that all is done.
    fn set_done(&self) {}

    /// Whether the device that the packet leaves by queues packets.
    fn is_queued(&self) -> bool {
        false
    }
}

/// A packet that comes in by a device: its namespace sent it. While one hook takes over
/// from another it may meet both, and counts once.
#[inline(always)]
pub fn ingress(
    packet: &(impl Packet + Forward + Judged),
    ifindex: u32,
) -> Result<Verdict, Unmanaged> {
    let port = number(ifindex).ok_or(Unmanaged)?;
    let config = PORT_CONFIGS.get(port.into()).ok_or(Unmanaged)?;
    if POLICY.load() != 0 && packet.is_answer() {
        return Ok(Verdict::Pass);
    }
    let is_handed_over = config.is_handed_over();
    if is_handed_over && packet.is_done() {
        return Ok(Verdict::Pass);
    }
    let verdict = leaves(packet, port, config)?;
    if is_handed_over && matches!(verdict, Verdict::Pass) {
        packet.set_done();
    }
    Ok(verdict)
}

/// A packet that leaves the namespace behind a port.
#[inline(always)]
fn leaves(
    packet: &(impl Packet + Forward + Judged),
    port: u16,
    config: &PortConfig,
) -> Result<Verdict, Unmanaged> {
    let stats = account::counters(port).ok_or(Unmanaged)?;
    let seen = parse::look(packet).ok_or(Unmanaged)?;
    account::packet(&mut stats.tx, seen);
    if let Verdict::Drop(reason) = guard::judge(packet, seen, port, config) {
        account::dropped(&mut stats.tx, reason, seen.weight.cell);
        return Ok(Verdict::Drop(reason));
    }
    if POLICY.load() == 0 {
        flow(packet, seen, port, config.domain);
    } else if let Err(reason) = judge(packet, seen, port, config.domain, &mut stats.tx) {
        let back = config.direct_peer().unwrap_or(port);
        let answered = match reason {
            Reason::Rejected => packet.answer(port, Back::Egress, back),
            _ => None,
        };
        if let Some(Answered::Bytes(bytes)) = answered {
            seen.become_answer(bytes);
            enters(Pair { from: OUTSIDE, to: port }, seen, Way::Bridge)?;
        }
        return Ok(answered.map_or(Verdict::Drop(reason), |_| Verdict::Answered));
    }
    if DIRECT_LINKS.load() != 0
        && let Some(to) = config.direct_peer()
    {
        enters(Pair { from: port, to }, seen, Way::Bridge)?;
        return Ok(Verdict::Pass);
    }
    if FAST_PATHS.load() == 0 {
        return Ok(Verdict::Pass);
    }
    Ok(cross(packet, seen, config, stats, port))
}

/// Sends a packet to another port, or leaves it to the bridge.
#[inline(always)]
fn cross<P: Packet + Forward>(
    packet: &P,
    seen: &mut Seen,
    config: &PortConfig,
    stats: &mut PortStats,
    port: u16,
) -> Verdict {
    let Some(crossing) = Crossing::of(packet, port, seen.tag) else { return Verdict::Pass };
    let way = config.way();
    let is_routed = host::is_asked::<P>(&crossing, config);
    if is_routed {
        if let Some(replay) = host::replay(packet, seen, port)
            && may_arrive(packet, seen, replay.to, way)
            && packet.forward_routed(way, &replay)
        {
            stats.tx.count_way(way, seen.weight.cell);
            if !matches!(way, Way::Redirect) {
                let _ = arrives_routed(packet, seen, replay.to, way);
            }
            return Verdict::Forwarded;
        }
        // Whatever its sender wrote there is no note of ours.
        packet.note_port(port);
    } else if !matches!(way, Way::Bridge)
        && forward::may_pass_the_bridge_by(packet, seen)
        && let Some(path) = forward::path(&crossing, seen.longest(packet))
        && let (way, to) = (by_way(way, path), path.port())
        && packet.forward(way, to)
    {
        stats.tx.count_way(way, seen.weight.cell);
        // Of the three only this one goes by the other's egress hook.
        if !matches!(way, Way::Redirect) {
            let _ = enters(Pair { from: port, to }, seen, way);
        }
        return Verdict::Forwarded;
    }
    if HOST_ROUTES.load() != 0 && !is_routed {
        // Whatever its sender wrote there is no note of ours.
        let _ = packet.take_noted_port();
    }
    forward::leave_to_the_bridge(&crossing, config.domain);
    Verdict::Pass
}

/// Whether a packet that the host's stack would have routed may enter a namespace right
/// here: where it passes no hook any more, only what is known to pass the policy. What is
/// not takes the stack, and is judged where it leaves.
#[inline(always)]
fn may_arrive(packet: &impl Packet, seen: &mut Seen, to: u16, way: Way) -> bool {
    if POLICY.load() == 0 || matches!(way, Way::Redirect) {
        return true;
    }
    PORT_CONFIGS
        .get(to.into())
        .is_some_and(|config| policy::is_passing(packet, seen, OUTSIDE, config.domain))
}

/// A packet that the host's stack routed, or would have, enters a namespace: from outside,
/// as far as its bridge knows. The policy lets it.
#[inline(always)]
fn arrives_routed(
    packet: &impl Packet,
    seen: &mut Seen,
    to: u16,
    way: Way,
) -> Result<(), Unmanaged> {
    enters(Pair { from: OUTSIDE, to }, seen, way)?;
    if TRACK_FLOWS.load() != 0 && POLICY.load() == 0 {
        flow(packet, seen, OUTSIDE, PORT_CONFIGS.get(to.into()).ok_or(Unmanaged)?.domain);
    }
    Ok(())
}

/// A packet that is put into another namespace counts as its own there, whomever it is
/// for: for a station behind it, it has to come in by the interface.
#[inline(always)]
fn by_way(way: Way, path: Sighting) -> Way {
    if matches!(way, Way::Peer) && !path.is_own() { Way::Redirect } else { way }
}

/// A packet that goes out of a device, having come in by another or by none (0): its
/// namespace receives it.
#[inline(always)]
pub fn egress(
    packet: &(impl Packet + Forward + Judged),
    ifindex: u32,
    ingress_ifindex: u32,
) -> Result<Verdict, Unmanaged> {
    let to = number(ifindex).ok_or(Unmanaged)?;
    let seen = parse::look(packet).ok_or(Unmanaged)?;
    // What its sender is told of a packet leaves by the port that the packet came in by.
    if POLICY.load() != 0 && packet.is_answer() {
        enters(Pair { from: OUTSIDE, to }, seen, Way::Bridge)?;
        return Ok(Verdict::Pass);
    }
    let was_routed = HOST_ROUTES.load() != 0 && packet.was_routed();
    let from = number(ingress_ifindex).filter(is_port).unwrap_or(OUTSIDE);
    let redirected = FAST_PATHS.load() != 0 && packet.was_redirected();
    if POLICY.load() != 0 && (was_routed || from == OUTSIDE && !redirected) {
        let stats = account::counters(to).ok_or(Unmanaged)?;
        let domain = PORT_CONFIGS.get(to.into()).ok_or(Unmanaged)?.domain;
        if let Err(reason) = judge(packet, seen, OUTSIDE, domain, &mut stats.rx) {
            // It does not enter, and is counted all the same.
            account::packet(&mut stats.rx, seen);
            let is_answered = matches!(reason, Reason::Rejected)
                && packet.answer(to, Back::Ingress, to).is_some();
            return Ok(if is_answered { Verdict::Answered } else { Verdict::Drop(reason) });
        }
    }
    if was_routed {
        arrives_routed(packet, seen, to, Way::Redirect)?;
        return Ok(Verdict::Pass);
    }
    let way = if redirected { Way::Redirect } else { Way::Bridge };
    enters(Pair { from, to }, seen, way)?;
    if redirected || TRACK_FLOWS.load() == 0 && FAST_PATHS.load() == 0 {
        return Ok(Verdict::Pass);
    }
    let config = PORT_CONFIGS.get(to.into()).ok_or(Unmanaged)?;
    if from == OUTSIDE {
        if POLICY.load() == 0 {
            flow(packet, seen, OUTSIDE, config.domain);
        }
        if HOST_ROUTES.load() != 0 {
            let _ = host::learn(packet, seen, ingress_ifindex, to, config);
        }
    } else if FAST_PATHS.load() != 0 {
        forward::learn(packet, seen, from, to, config);
    }
    Ok(Verdict::Pass)
}

/// Judges a packet that came in by a port, or by none: why it ends, if it does.
#[inline(always)]
fn judge(
    packet: &(impl Packet + Judged),
    seen: &mut Seen,
    port: u16,
    domain: u16,
    direction: &mut Direction,
) -> Result<(), Reason> {
    let reason = match policy::judge(packet, seen, port, domain) {
        Ruling::Pass => return Ok(()),
        Ruling::Drop(reason) => reason,
        Ruling::Reject => Reason::Rejected,
    };
    account::dropped(direction, reason, seen.weight.cell);
    Err(reason)
}

#[inline(always)]
fn flow(packet: &impl Packet, seen: &mut Seen, port: u16, domain: u16) {
    if TRACK_FLOWS.load() != 0 {
        seen.look_at_flow(packet, domain, false);
        flow::track(seen, port);
    }
}

#[inline(always)]
fn enters(pair: Pair, seen: &Seen, way: Way) -> Result<(), Unmanaged> {
    let stats = account::counters(pair.to).ok_or(Unmanaged)?;
    account::packet(&mut stats.rx, seen);
    if !matches!(way, Way::Bridge) {
        stats.rx.count_way(way, seen.weight.cell);
    }
    account::pair(pair, seen.weight.cell);
    Ok(())
}

/// Number of the port with that interface index.
#[inline(always)]
pub fn number(ifindex: u32) -> Option<u16> {
    u16::try_from(ifindex.wrapping_sub(PORT_BASE.load())).ok()
}

/// Whether there is such a port: bridges, and what others make, have indices too.
#[inline(always)]
fn is_port(number: &u16) -> bool {
    PORT_CONFIGS.get_ptr(u32::from(*number)).is_some_and(|config| {
        // SAFETY: a map's memory, which is there as long as the program runs.
        unsafe { &*config }.is_present()
    })
}
