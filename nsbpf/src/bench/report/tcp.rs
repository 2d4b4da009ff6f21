//! TCP on each path, and beside the wire.

use serde::Serialize;

use crate::bench::bulk::{self, Streams};
use crate::bench::latency::{self, RoundTrips};
use crate::bench::mode::WIRE;
use crate::bench::statistics::Summary;

/// Round trips of a path.
#[derive(Debug, Serialize)]
pub struct RoundTripReport {
    /// Its mode.
    pub mode: &'static str,
    /// Processors of the two ends: 1 or 2.
    pub processors: u8,
    /// Nanoseconds that half of a round's exchanges took at most.
    pub p50_ns: Option<Summary>,
    /// Nanoseconds that 99 of 100 took at most.
    pub p99_ns: Option<Summary>,
    /// Exchanges in a second.
    pub per_second: Option<Summary>,
    /// `p50_ns` as a multiple of the wire's in the same round, on as many processors.
    pub p50_of_wire: Option<Summary>,
}

/// What a path carries in bulk.
#[derive(Debug, Serialize)]
pub struct BulkReport {
    /// Its mode.
    pub mode: &'static str,
    /// Processors of the two ends: 2, or 1 where the benchmark may use no other.
    pub processors: u8,
    /// Bits in a second, headers not counted.
    pub bits_per_second: Option<Summary>,
    /// As a share of what the wire carries in the same round.
    pub of_wire: Option<Summary>,
}

pub(super) fn round_trips(all: &[RoundTrips]) -> Vec<RoundTripReport> {
    let report = |path: &RoundTrips| {
        let summary =
            |of: fn(&latency::Round) -> f64| Summary::of(path.rounds.iter().map(of).collect());
        RoundTripReport {
            mode: path.mode,
            processors: path.processors,
            p50_ns: summary(|round| round.p50_ns),
            p99_ns: summary(|round| round.p99_ns),
            per_second: summary(|round| round.per_second),
            p50_of_wire: round_trip_of_wire(path, all),
        }
    };
    all.iter().map(report).collect()
}

pub(super) fn bulk(all: &[Streams]) -> Vec<BulkReport> {
    let report = |path: &Streams| BulkReport {
        mode: path.mode,
        processors: path.processors,
        bits_per_second: Summary::of(
            path.rounds.iter().map(bulk::Round::bits_per_second).collect(),
        ),
        of_wire: bulk_of_wire(path, all),
    };
    all.iter().map(report).collect()
}

/// Of half of the round trips, to those on the wire.
pub(super) fn round_trip_of_wire(path: &RoundTrips, all: &[RoundTrips]) -> Option<Summary> {
    let is_wire = |other: &&RoundTrips| other.mode == WIRE && other.processors == path.processors;
    ratio(&path.rounds, &all.iter().find(is_wire)?.rounds, |round| round.p50_ns)
}

/// Of what is carried, to what the wire carries.
pub(super) fn bulk_of_wire(path: &Streams, all: &[Streams]) -> Option<Summary> {
    let wire = all.iter().find(|other| other.mode == WIRE)?;
    ratio(&path.rounds, &wire.rounds, bulk::Round::bits_per_second)
}

/// Round by round.
fn ratio<R>(rounds: &[R], reference: &[R], of: impl Fn(&R) -> f64) -> Option<Summary> {
    Summary::of(rounds.iter().zip(reference).map(|(round, other)| of(round) / of(other)).collect())
}
