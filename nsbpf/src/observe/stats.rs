//! Counters of interfaces, and how fast they grow.

use std::time::{Duration, Instant};

use nsbpf_common::packet::Family;
use nsbpf_common::stats::{Cell, Direction, PortStats};
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
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
        let mut ports: Vec<(InterfaceId, u16)> = state
            .objects
            .values()
            .filter_map(|object| match object {
                Object::Veth(veth) => Some(veth.ports()),
                _ => None,
            })
            .flatten()
            .map(|(id, number)| (id.clone(), number))
            .collect();
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

fn direction(now: &Direction, before: Option<(Duration, &Direction)>) -> DirectionReport {
    let total = now.total();
    let since = |count: fn(&Cell) -> u64| {
        let (time, before) = before?;
        Some(rate(count(&total).saturating_sub(count(&before.total())), time))
    };
    DirectionReport {
        total: total.into(),
        packets_per_second: since(|cell| cell.packets),
        bits_per_second: since(|cell| cell.bytes).map(|bytes| bytes * 8.0),
        arp: now.family(Family::Arp).into(),
        ipv4: now.family(Family::Ipv4).into(),
        ipv6: now.family(Family::Ipv6).into(),
        other: now.family(Family::Other).into(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
fn rate(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use nsbpf_common::stats::Class;

    use super::*;

    #[test]
    fn a_rate_is_what_came_since_the_last_read() {
        let mut before = Direction::default();
        before.count(Class::Ipv4Udp, Cell { packets: 100, bytes: 10_000 });
        let mut now = before;
        now.count(Class::Arp, Cell { packets: 20, bytes: 1_000 });
        let report = direction(&now, Some((Duration::from_secs(2), &before)));
        assert_eq!(report.total, Tally { packets: 120, bytes: 11_000 });
        assert!((report.packets_per_second.unwrap() - 10.0).abs() < 1e-9);
        assert!((report.bits_per_second.unwrap() - 4_000.0).abs() < 1e-9);
        assert_eq!(report.arp.packets, 20);
        assert_eq!(report.ipv4.packets, 100);
        let first = direction(&now, None);
        assert_eq!(first.packets_per_second, None);
    }
}
