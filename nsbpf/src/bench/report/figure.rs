//! Figures that there are targets for.

use serde::Serialize;

use super::{ProgramReport, ratio, tcp};
use crate::bench::bulk::Streams;
use crate::bench::flows::{Flows, TOP};
use crate::bench::latency::RoundTrips;
use crate::bench::mode::{Bounds, Target, WIRE};
use crate::bench::ports::Ports;
use crate::bench::rounds::Path;
use crate::bench::statistics::Summary;

/// Ports that the targets are for.
const TARGET_PORTS: u16 = 1000;
/// Flows in a table that the targets are for.
const TARGET_TABLE: u32 = 1_000_000;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds; fewer are better.
    Seconds,
    /// A share of something else; more is better.
    Share,
    /// A multiple of something else; less is better.
    Multiple,
    /// Bytes; fewer are better.
    Bytes,
    /// Instructions; fewer are better.
    Instructions,
}

/// How a figure compares to what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As good as is hoped for.
    Stretch,
    /// As good as it has to be.
    Met,
    /// Worse.
    Missed,
}

/// Something that there is a target for.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// What it is.
    pub what: String,
    /// What it counts.
    pub unit: Unit,
    /// What it has to be: at most, or for a share at least.
    pub must: f64,
    /// What is hoped for, likewise.
    pub stretch: Option<f64>,
    /// What it is, a median.
    pub measured: Option<f64>,
    /// How it compares; `None` if there is no figure, or it was not measured at the
    /// size that the targets are for.
    pub verdict: Option<Verdict>,
}

impl Figure {
    fn new(
        what: impl Into<String>,
        unit: Unit,
        must: f64,
        stretch: Option<f64>,
        measured: Option<f64>,
    ) -> Self {
        let reaches = |measured: f64, target: f64| match unit {
            Unit::Share => measured >= target,
            Unit::Seconds | Unit::Multiple | Unit::Bytes | Unit::Instructions => measured <= target,
        };
        let verdict = measured.map(|measured| {
            if stretch.is_some_and(|stretch| reaches(measured, stretch)) {
                Verdict::Stretch
            } else if reaches(measured, must) {
                Verdict::Met
            } else {
                Verdict::Missed
            }
        });
        Self { what: what.into(), unit, must, stretch, measured, verdict }
    }
}

/// What each path has to carry that there is a target for, with frames of so many flows.
pub(super) fn of_paths(paths: &[Path], flows: u16) -> Vec<Figure> {
    let figure = |path: &Path, target: &Target| {
        let Target { end, of, must, stretch, flows } = *target;
        let reference = paths.iter().find(|other| other.mode == of && other.end == end);
        let share = reference.and_then(|reference| ratio(&path.rounds, &reference.rounds));
        let of_flows = if flows == 1 { String::new() } else { format!(", {flows} flows") };
        let what = format!("{}{of_flows}, {end}, of {of}", path.mode);
        Figure::new(what, Unit::Share, must, stretch, share.map(|share| share.median))
    };
    let of_path = |path: &Path| {
        let meant = |target: &&Target| target.end == path.end && target.flows == flows;
        path.targets.iter().filter(meant).map(|target| figure(path, target)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// TCP's round trips that there is a target for: it is for one processor.
pub(super) fn of_round_trips(all: &[RoundTrips]) -> Vec<Figure> {
    let figure = |path: &RoundTrips| {
        let Bounds { must, stretch } = path.targets.round_trip.filter(|_| path.processors == 1)?;
        let what = format!("TCP round trip p50, {}, of {WIRE}", path.mode);
        let measured = tcp::round_trip_of_wire(path, all).map(|ratio| ratio.median);
        Some(Figure::new(what, Unit::Multiple, must, Some(stretch), measured))
    };
    all.iter().filter_map(figure).collect()
}

/// TCP in bulk that there is a target for.
pub(super) fn of_bulk(all: &[Streams]) -> Vec<Figure> {
    let figure = |path: &Streams| {
        let Bounds { must, stretch } = path.targets.bulk?;
        let what = format!("TCP in bulk, {}, of {WIRE}", path.mode);
        let measured = tcp::bulk_of_wire(path, all).map(|ratio| ratio.median);
        Some(Figure::new(what, Unit::Share, must, Some(stretch), measured))
    };
    all.iter().filter_map(figure).collect()
}

pub(super) fn of_ports(count: u16, ports: &Ports) -> [Figure; 2] {
    let figure = |what: String, must, stretch, samples: &[f64]| {
        let figure = Figure::new(what, Unit::Seconds, must, Some(stretch), median(samples));
        Figure { verdict: figure.verdict.filter(|_| count == TARGET_PORTS), ..figure }
    };
    [
        figure(format!("attach {count} ports, both directions"), 0.5, 0.3, &ports.attach),
        figure(format!("read the counters of {count} ports"), 0.01, 0.005, &ports.read),
    ]
}

pub(super) fn of_flows(count: u32, flows: &Flows) -> [Figure; 2] {
    let figure = |what: String, unit, must, measured| {
        let figure = Figure::new(what, unit, must, None, measured);
        Figure { verdict: figure.verdict.filter(|_| count == TARGET_TABLE), ..figure }
    };
    let read = format!("read {count} flows, the first {TOP}");
    let memory = format!("memory of nsbpf for {count} flows");
    [
        figure(read, Unit::Seconds, 0.8, median(&flows.read)),
        figure(memory, Unit::Bytes, 300e6, Some(flows.memory_bytes)),
    ]
}

pub(super) fn of_programs(load: &[f64], programs: &[ProgramReport]) -> Vec<Figure> {
    let all = Figure::new("load of all programs", Unit::Seconds, 0.3, None, median(load));
    [all].into_iter().chain(programs.iter().flat_map(of_program)).collect()
}

fn of_program(report: &ProgramReport) -> [Figure; 2] {
    let ProgramReport { program, run_ns: _, load_seconds, instructions } = report;
    let load = load_seconds.as_ref().map(|load| load.median);
    let (what, instructions) =
        (format!("verified instructions of {program}"), instructions.map(f64::from));
    [
        Figure::new(format!("load of {program}"), Unit::Seconds, 0.2, None, load),
        Figure::new(what, Unit::Instructions, 200_000.0, None, instructions),
    ]
}

fn median(samples: &[f64]) -> Option<f64> {
    Summary::of(samples.to_vec()).map(|summary| summary.median)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bench::arrivals::{ENDS, End};
    use crate::bench::mode::BRIDGE;
    use crate::bench::traffic::Round;

    const TARGETS: [Target; 2] = [
        Target { end: ENDS[0], of: BRIDGE, flows: 1, must: 0.8, stretch: Some(0.9) },
        Target { end: ENDS[1], of: BRIDGE, flows: 7, must: 1.0, stretch: None },
    ];

    fn path(mode: &'static str, end: End, took_ms: &[u64]) -> Path {
        let round =
            |took: &u64| Round { sent: 1000, delivered: 1000, took: Duration::from_millis(*took) };
        let targets: &[Target] = if mode == BRIDGE { &[] } else { &TARGETS };
        Path { mode, targets, end, rounds: took_ms.iter().map(round).collect() }
    }

    #[test]
    fn a_path_is_judged_by_its_targets() {
        let [sink, receiver] = ENDS;
        let paths = [
            path(BRIDGE, sink, &[80, 90]),
            path("counters", sink, &[100, 100]),
            path(BRIDGE, receiver, &[95, 95]),
            path("counters", receiver, &[100, 100]),
        ];
        let figures = of_paths(&paths, 1);
        assert_eq!(figures.len(), 1);
        assert!((figures[0].measured.unwrap() - 0.85).abs() < 1e-9);
        assert_eq!(figures[0].verdict, Some(Verdict::Met));
        let figures = of_paths(&paths, 7);
        assert_eq!((figures.len(), figures[0].verdict), (1, Some(Verdict::Missed)));
        assert!(of_paths(&paths, 2).is_empty());
    }

    #[test]
    fn a_path_that_no_round_counts_of_is_not_judged() {
        let mut unknown = path("counters", ENDS[0], &[100]);
        unknown.rounds[0].delivered = 0;
        let paths = [path(BRIDGE, ENDS[0], &[90]), unknown];
        assert_eq!(of_paths(&paths, 1)[0].verdict, None);
    }

    #[test]
    fn targets_of_ports_are_for_their_number() {
        let ports = Ports { attach: vec![0.4], read: vec![0.004] };
        assert_eq!(of_ports(10, &ports).map(|figure| figure.verdict), [None, None]);
        assert_eq!(
            of_ports(TARGET_PORTS, &ports).map(|figure| figure.verdict),
            [Some(Verdict::Met), Some(Verdict::Stretch)]
        );
    }
}
