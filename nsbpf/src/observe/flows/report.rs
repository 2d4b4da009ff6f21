//! Flows as they are shown.

use std::net::IpAddr;
use std::time::Duration;

use nsbpf_common::crossing::vlan;
use nsbpf_common::flow::{FlowDirection, FlowEvents, FlowKey, TcpState};
use nsbpf_common::packet::protocol::{ICMP, ICMPV6, TCP};
use nsbpf_common::stats::Cell;
use serde::{Serialize, Serializer};

use super::filter::{has_ports, protocol_name};
use super::names::{End, Names};
use super::ranking::Kept;
use crate::observe::stats::{Tally, rate};

/// Numbers of flows, by how they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Answered, or with packets enough.
    pub settled: u64,
    /// Not yet.
    pub new: u64,
}

/// One end of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndReport {
    /// Its address.
    pub address: IpAddr,
    /// Its port; `None` where packets have none: other protocols, and fragments.
    pub port: Option<u16>,
    /// The namespace that has the address; `None` for the host, and where the lab does not
    /// know it.
    pub namespace: Option<String>,
    /// The interface, or the bridge, that has the address.
    pub interface: Option<String>,
    /// The interface by whose port its packets come and go: a router's, if one is in
    /// between. `None` where all of them take the bridge.
    pub via: Option<String>,
}

/// What ICMP is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum IcmpReport {
    /// Echo requests and replies.
    Echo {
        /// Their identifier.
        echo_id: u16,
    },
    /// Anything else.
    Message {
        /// Its type.
        r#type: u8,
        /// Its code.
        code: u8,
    },
}

/// What one end sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SentReport {
    /// Since the flow began.
    #[serde(flatten)]
    pub total: Tally,
    /// Since the last report; `None` in the first one.
    pub packets_per_second: Option<f64>,
    /// Since the last report; `None` in the first one.
    pub bits_per_second: Option<f64>,
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FlowReport {
    /// The protocol's name, or its number if it has none here.
    pub protocol: String,
    /// Its number.
    pub protocol_number: u8,
    /// The bridge that the packets cross, or both ends of a pair without one.
    pub domain: String,
    /// Their VLAN, if they have a tag.
    pub vlan: Option<u16>,
    /// The end that began.
    pub from: EndReport,
    /// The other end.
    pub to: EndReport,
    /// For ICMP.
    pub icmp: Option<IcmpReport>,
    /// What the end that began has sent.
    pub sent: SentReport,
    /// What the other end has sent.
    pub received: SentReport,
    /// State of a TCP connection; `None` also where its beginning was not seen.
    pub tcp_state: Option<&'static str>,
    /// Round-trip time of its handshake, in microseconds.
    pub handshake_us: Option<f64>,
    /// Since the first packet.
    pub age_seconds: f64,
    /// Since the last one, to the kernel's tick.
    pub idle_seconds: f64,
    /// Whether it was answered, or has packets enough.
    pub settled: bool,
}

/// The flows of a lab.
#[derive(Serialize)]
pub struct FlowsReport<'a> {
    /// Those that are as wanted.
    pub matching: u64,
    /// All that are there.
    pub there: Standing,
    /// What there is room for.
    pub room: Standing,
    /// Flows that ever began.
    pub begun: u64,
    /// Flows that ever were settled.
    pub settled: u64,
    /// Packets of flows for which there was no room.
    pub failed_packets: u64,
    /// Flows that began and are no more: others took their places.
    pub gone: u64,
    flows: Listed<'a>,
}

/// Flows and what it takes to tell of them. A million of them told at once would take a
/// gigabyte.
struct Listed<'a> {
    kept: Vec<Kept>,
    names: &'a Names,
    now: Duration,
    since: Option<Duration>,
}

impl<'a> FlowsReport<'a> {
    pub(super) fn new(
        kept: Vec<Kept>,
        names: &'a Names,
        (now, since): (Duration, Option<Duration>),
        matching: u64,
        there: Standing,
        room: Standing,
        FlowEvents { begun, settled, failed: failed_packets }: FlowEvents,
    ) -> Self {
        let gone = begun.saturating_sub(there.settled + there.new);
        let flows = Listed { kept, names, now, since };
        Self { matching, there, room, begun, settled, failed_packets, gone, flows }
    }

    /// The flows that are wanted, the first one first.
    #[must_use]
    pub fn flows(&self) -> impl ExactSizeIterator<Item = FlowReport> {
        self.flows.kept.iter().map(|kept| self.flows.report(kept))
    }
}

impl Serialize for Listed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.kept.iter().map(|kept| self.report(kept)))
    }
}

impl Listed<'_> {
    fn report(&self, kept: &Kept) -> FlowReport {
        let Kept { key, flow, settled, before } = kept;
        let first = usize::from(flow.initiator & 1);
        let ends = self.names.ends(key, flow);
        let ends = [first, 1 - first].map(|end| end_report(key, end, ends[end]));
        let [sent, received] = [first, 1 - first].map(|end| {
            let before = before.map(|before| before[end]);
            sent_report(&flow.directions[end], before.zip(self.since))
        });
        let [from, to] = ends;
        let state = flow.tcp_state();
        let is_known = key.protocol() == TCP && state != TcpState::None;
        let since = |at_ns| self.now.saturating_sub(Duration::from_nanos(at_ns)).as_secs_f64();
        FlowReport {
            protocol: protocol_name(key.protocol()),
            protocol_number: key.protocol(),
            domain: self.names.domain(key.domain()),
            vlan: vlan(key.vlan()),
            from,
            to,
            icmp: icmp(key),
            sent,
            received,
            tcp_state: is_known.then(|| state.name()),
            handshake_us: (flow.handshake_ns > 0).then(|| f64::from(flow.handshake_ns) / 1000.0),
            age_seconds: since(flow.first_seen_ns),
            idle_seconds: since(flow.last_seen_ns),
            settled: *settled,
        }
    }
}

fn end_report(key: &FlowKey, number: usize, end: End<'_>) -> EndReport {
    let End { link, namespace, via } = end;
    // Fragments have no ports, wherever they are in the datagram.
    let has_ports = has_ports(key.protocol()) && key.ports_be() != [0; 2];
    EndReport {
        address: key.ips()[number],
        port: has_ports.then(|| key.ports()[number]),
        namespace: namespace.map(ToString::to_string),
        interface: link.map(ToString::to_string),
        via: via.map(ToString::to_string),
    }
}

fn icmp(key: &FlowKey) -> Option<IcmpReport> {
    if !matches!(key.protocol(), ICMP | ICMPV6) {
        return None;
    }
    let [one, other] = key.ports();
    Some(if one == other {
        IcmpReport::Echo { echo_id: one }
    } else {
        // One of the two is 0.
        let [r#type, code] = (one | other).to_be_bytes();
        IcmpReport::Message { r#type, code }
    })
}

fn sent_report(now: &FlowDirection, before: Option<(Cell, Duration)>) -> SentReport {
    let FlowDirection { packets, bytes, .. } = *now;
    let since = |count: u64, of: fn(Cell) -> u64| {
        let (before, time) = before?;
        Some(rate(count.saturating_sub(of(before)), time))
    };
    SentReport {
        total: Tally { packets, bytes },
        packets_per_second: since(packets, |cell| cell.packets),
        bits_per_second: since(bytes, |cell| cell.bytes).map(|bytes| bytes * 8.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn icmp_is_told_from_ports() {
        let of = |protocol, ports: [u16; 2]| {
            let nobody = IpAddr::from([0; 4]);
            icmp(&FlowKey::new([nobody; 2], ports.map(u16::to_be), protocol))
        };
        assert_eq!(of(ICMP, [7, 7]), Some(IcmpReport::Echo { echo_id: 7 }));
        assert_eq!(of(ICMPV6, [0, 0]), Some(IcmpReport::Echo { echo_id: 0 }));
        let unreachable = Some(IcmpReport::Message { r#type: 3, code: 1 });
        assert_eq!(of(ICMP, [0x0301, 0]), unreachable);
        assert_eq!(of(ICMP, [0, 0x0301]), unreachable);
        assert_eq!(of(TCP, [7, 7]), None);
    }

    #[test]
    fn a_rate_is_what_was_sent_since_the_last_look() {
        let mut sent = FlowDirection::default();
        (sent.packets, sent.bytes) = (30, 3000);
        let before = (Cell { packets: 10, bytes: 1000 }, Duration::from_secs(2));
        let report = sent_report(&sent, Some(before));
        assert_eq!(report.total, Tally { packets: 30, bytes: 3000 });
        assert!((report.packets_per_second.unwrap() - 10.0).abs() < 1e-9);
        assert!((report.bits_per_second.unwrap() - 8000.0).abs() < 1e-9);
        assert_eq!(sent_report(&sent, None).bits_per_second, None);
    }
}
