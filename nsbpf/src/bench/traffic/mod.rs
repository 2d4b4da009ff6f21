//! What is sent over a path. Each kind of traffic is a file.
//!
//! ```text
//! frames.rs        frames made in the kernel, as fast as the path takes them
//!   frame.rs       the frame
//!   injector.rs    what puts it into a path
//!   arrivals.rs    where frames end, and how they are counted
//! sockets.rs       UDP, as an application sends and receives it
//!   datagrams.rs   many of them with one call
//! round_trips.rs   TCP, a byte each way
//! connections.rs   TCP, connect, a byte each way, close
//! bulk.rs          TCP, as much as there is room for
//!   tcp.rs         connections
//! command.rs       somebody else's program
//!   process.rs     as a process
//! ```

mod arrivals;
mod bulk;
mod command;
mod connections;
mod datagrams;
mod frame;
mod frames;
mod injector;
mod process;
mod round_trips;
mod sockets;
mod tcp;

use std::time::Duration;

use serde::Serialize;

use super::BenchError;
use super::cpu::CpuTime;
use super::testbed::Testbed;

pub(super) use arrivals::{ENDS, End};
pub(super) use bulk::Bulk;
pub use command::Command;
pub(super) use command::CommandRuns;
pub(super) use connections::Connections;
pub(super) use frame::{Address, ETHERNET_BYTES, Shape, udp};
pub(super) use frames::Frames;
pub(super) use injector::{Injector, receive_by_napi};
pub(super) use round_trips::RoundTrips;
pub(super) use sockets::Sockets;

/// One kind of traffic on one path.
pub(super) trait Traffic {
    /// Sends for that time, and finds one value for each [`Metric`] of its kind.
    fn round(&mut self, testbed: &mut Testbed, time: Duration) -> Result<Round, BenchError>;

    /// No more rounds come.
    fn end(self: Box<Self>, _: &Testbed) -> Result<(), BenchError> {
        Ok(())
    }
}

/// What a round found.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// Packets that were sent, or what else is counted.
    pub(super) sent: u64,
    /// Those of them that arrived, as they were sent.
    pub(super) delivered: u64,
    /// Whether some of the work was done where the clock does not see it.
    pub(super) elsewhere: bool,
    /// In the order of the metrics.
    pub(super) values: Vec<f64>,
    /// What the processors did meanwhile; `None` where more than the traffic was in it.
    pub(super) cpu: Option<CpuTime>,
}

/// Of a thousand packets so many have to arrive, or the round is void: what counts then
/// is how fast packets can be lost.
const DELIVERED_PER_MILLE: u64 = 999;

impl Round {
    /// All that was sent arrived, or it would be an error.
    pub(super) fn all(count: u64, values: Vec<f64>, cpu: Option<CpuTime>) -> Self {
        Self { sent: count, delivered: count, elsewhere: false, values, cpu }
    }

    /// Whether it counts: as much arrived as has to, and it was seen how long that took.
    pub(super) fn counts(&self) -> bool {
        !self.elsewhere && self.sent > 0 && is_whole(self.delivered, self.sent)
    }

    /// The value of a metric; `None` if the round is void.
    pub(super) fn value(&self, metric: usize) -> Option<f64> {
        self.values.get(metric).copied().filter(|_| self.counts())
    }
}

/// Whether so many are all, but for what may be missing.
pub(super) fn is_whole(some: u64, all: u64) -> bool {
    some * 1000 >= all * DELIVERED_PER_MILLE
}

/// Something that rounds find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) quantity: Quantity,
}

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Packets in a second; more are better.
    PacketsPerSecond,
    /// Bits in a second; more are better.
    BitsPerSecond,
    /// Whatever it is, in a second; more are better.
    PerSecond,
    /// Nanoseconds; fewer are better.
    Nanoseconds,
    /// Anything; more is better.
    Number,
    /// Anything; less is better.
    Cost,
}

impl Quantity {
    /// Whether more is better.
    #[must_use]
    pub fn more_is_better(self) -> bool {
        !matches!(self, Self::Nanoseconds | Self::Cost)
    }
}

#[cfg(test)]
impl Round {
    /// One that found a rate; 0 is one that lost all.
    pub(super) fn of_rate(rate: f64) -> Self {
        let round = Self::all(1000, vec![rate], None);
        if rate == 0.0 { Self { delivered: 0, ..round } } else { round }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_loses_packets_is_void() {
        let round = |delivered| Round { delivered, ..Round::all(1_000_000, vec![7.0], None) };
        assert_eq!(round(999_000).value(0), Some(7.0));
        assert_eq!(round(998_999).value(0), None);
        assert_eq!(round(999_000).value(1), None);
        assert_eq!(Round::all(0, vec![7.0], None).value(0), None);
        assert_eq!(Round { elsewhere: true, ..round(1_000_000) }.value(0), None);
    }
}
