//! Counters of interfaces, and how fast they grow.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nsbpf_common::packet::{Cast, Family};
use nsbpf_common::stats::{Cell, Class, Direction, PortStats, Size, Way};
use nsbpf_common::verdict::Reason;
use serde::Serialize;

use crate::datapath::{DatapathError, StatsReader};
use crate::lab::InterfaceId;
use crate::state::{Object, State};
use crate::store::Store;

/// Packets and bytes; see [`Cell`] for what a byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Packets.
    pub packets: u64,
    /// Bytes on a wire.
    pub bytes: u64,
}

impl From<Cell> for Tally {
    fn from(Cell { packets, bytes }: Cell) -> Self {
        Self { packets, bytes }
    }
}

/// One direction of an interface.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DirectionReport {
    /// Since the counters began.
    #[serde(flatten)]
    pub total: Tally,
    /// Since the last report; `None` in the first one.
    pub packets_per_second: Option<f64>,
    /// Since the last report; `None` in the first one.
    pub bits_per_second: Option<f64>,
    /// Of the total: ARP.
    pub arp: Tally,
    /// Of the total: IPv4.
    pub ipv4: Tally,
    /// Of the total: IPv6.
    pub ipv6: Tally,
    /// Of the total: the rest.
    pub other: Tally,
    /// Of IPv4 and IPv6: TCP.
    pub tcp: Tally,
    /// Of IPv4 and IPv6: UDP.
    pub udp: Tally,
    /// Of IPv4 and IPv6: ICMP and ICMPv6.
    pub icmp: Tally,
    /// Of IPv4 and IPv6: the rest.
    pub other_ip: Tally,
    /// Of the total: for one station.
    pub unicast: Tally,
    /// Of the total: for a group.
    pub multicast: Tally,
    /// Of the total: for everybody.
    pub broadcast: Tally,
    /// Frames by their lengths.
    pub sizes: Vec<SizeReport>,
    /// Of the total: which way it took between the two ports.
    pub ways: BTreeMap<&'static str, Tally>,
    /// Of the total: what ended here.
    pub dropped: Tally,
    /// The same by reason.
    pub drops: BTreeMap<&'static str, Tally>,
    /// How long ago the last packet was; `None` if there was none.
    pub last_seen_seconds_ago: Option<f64>,
}

/// Frames of some lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SizeReport {
    /// From the first to the last length, in octets, frame check sequence
    /// included, as RMON counts (RFC 2819).
    pub octets: &'static str,
    /// How many.
    pub packets: u64,
}

/// An interface, told from its namespace's view.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InterfaceReport {
    /// `namespace/interface`.
    pub interface: String,
    /// What left the namespace.
    pub tx: DirectionReport,
    /// What entered it.
    pub rx: DirectionReport,
}

/// Watches the counters of a lab.
pub struct Watch {
    reader: StatsReader,
    ports: Vec<(InterfaceId, u16)>,
    last: Option<(Instant, Vec<PortStats>)>,
}

impl Watch {
    /// Watches all interfaces that the lab has now.
    pub fn new(store: &Store, state: &State) -> Result<Self, DatapathError> {
        let mut ports: Vec<(InterfaceId, u16)> =
            ports_of(state).map(|(id, number)| (id.clone(), number)).collect();
        // Numbers follow the order of the lab file.
        ports.sort_by_key(|(_, number)| *number);
        Ok(Self { reader: StatsReader::open(store)?, ports, last: None })
    }

    /// Reads all counters. Rates are those since the read before; the first one
    /// has none.
    pub fn read(&mut self) -> Result<Vec<InterfaceReport>, DatapathError> {
        let now = Instant::now();
        let counters: Vec<PortStats> = self
            .ports
            .iter()
            .map(|(_, number)| self.reader.read(*number))
            .collect::<Result<_, _>>()?;
        let reports = self
            .ports
            .iter()
            .zip(&counters)
            .enumerate()
            .map(|(place, ((id, _), stats))| {
                let before = self.last.as_ref().and_then(|(when, last)| {
                    last.get(place).map(|last| (now.duration_since(*when), last))
                });
                InterfaceReport {
                    interface: id.to_string(),
                    tx: direction(&stats.tx, before.map(|(time, last)| (time, &last.tx))),
                    rx: direction(&stats.rx, before.map(|(time, last)| (time, &last.rx))),
                }
            })
            .collect();
        self.last = Some((now, counters));
        Ok(reports)
    }
}

/// The interfaces of a lab, with their port numbers.
pub(super) fn ports_of(state: &State) -> impl Iterator<Item = (&InterfaceId, u16)> {
    let veths = state.objects.values().filter_map(|object| match object {
        Object::Veth(veth) => Some(veth.ports()),
        _ => None,
    });
    veths.flatten()
}

fn direction(now: &Direction, before: Option<(Duration, &Direction)>) -> DirectionReport {
    let total = now.total();
    let since = |count: fn(&Cell) -> u64| {
        let (time, before) = before?;
        Some(rate(count(&total).saturating_sub(count(&before.total())), time))
    };
    let sum = |classes: [Class; 2]| {
        let mut sum = now[classes[0]];
        sum += now[classes[1]];
        sum.into()
    };
    DirectionReport {
        total: total.into(),
        packets_per_second: since(|cell| cell.packets),
        bits_per_second: since(|cell| cell.bytes).map(|bytes| bytes * 8.0),
        arp: now.family(Family::Arp).into(),
        ipv4: now.family(Family::Ipv4).into(),
        ipv6: now.family(Family::Ipv6).into(),
        other: now.family(Family::Other).into(),
        tcp: sum([Class::Ipv4Tcp, Class::Ipv6Tcp]),
        udp: sum([Class::Ipv4Udp, Class::Ipv6Udp]),
        icmp: sum([Class::Ipv4Icmp, Class::Ipv6Icmp]),
        other_ip: sum([Class::Ipv4Other, Class::Ipv6Other]),
        unicast: now.cast(Cast::Unicast).into(),
        multicast: now.cast(Cast::Multicast).into(),
        broadcast: now.cast(Cast::Broadcast).into(),
        sizes: Size::ALL
            .map(|size| SizeReport { octets: size.octets(), packets: now.size(size) })
            .to_vec(),
        ways: Way::ALL.map(|way| (way.name(), now.way(way).into())).into(),
        dropped: now.dropped().into(),
        drops: Reason::ALL.map(|reason| (reason.name(), now.drops(reason).into())).into(),
        last_seen_seconds_ago: last_seen(now.last_seen_ns),
    }
}

/// Seconds since a moment of `CLOCK_MONOTONIC`, if there was one.
fn last_seen(at_ns: u64) -> Option<f64> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::try_from(now).unwrap_or_default();
    (at_ns != 0).then(|| now.saturating_sub(Duration::from_nanos(at_ns)).as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
pub(super) fn rate(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use nsbpf_common::weight::Weight;

    use super::*;

    #[test]
    fn a_rate_is_what_came_since_the_last_read() {
        let mut before = Direction::default();
        for _ in 0..100 {
            before.count(Class::Ipv4Udp as usize, Cast::Unicast, &Weight::of_frame(100));
        }
        let mut now = before;
        for _ in 0..20 {
            now.count(Class::Arp as usize, Cast::Broadcast, &Weight::of_frame(50));
            now.see(1, || 1);
        }
        let report = direction(&now, Some((Duration::from_secs(2), &before)));
        assert_eq!(report.total, Tally { packets: 120, bytes: 11_000 });
        assert!((report.packets_per_second.unwrap() - 10.0).abs() < 1e-9);
        assert!((report.bits_per_second.unwrap() - 4_000.0).abs() < 1e-9);
        assert_eq!(report.arp.packets, 20);
        assert_eq!(report.ipv4.packets, 100);
        assert_eq!(report.udp.packets, 100);
        assert_eq!(report.broadcast.packets, 20);
        assert_eq!(report.sizes[0], SizeReport { octets: "0-64", packets: 20 });
        assert_eq!(report.ways["bridge"], report.total);
        assert!(report.last_seen_seconds_ago.is_some());
        let first = direction(&now, None);
        assert_eq!(first.packets_per_second, None);
    }
}
