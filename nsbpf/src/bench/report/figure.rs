//! Figures that there are targets for.

use serde::Serialize;

use super::ProgramReport;
use crate::bench::experiment::{Experiment, Kind};
use crate::bench::flows::{Flows, TOP};
use crate::bench::ip::Ip;
use crate::bench::mode::{Goal, Target};
use crate::bench::options::MANY_RULES;
use crate::bench::policies::Policies;
use crate::bench::ports::Ports;
use crate::bench::rules::MAX_RULES;
use crate::bench::statistics::Summary;
use crate::bench::traffic::Shape;
use crate::bench::turns::{Measured, Path, path_of};
use crate::bench::wiring::Size;

/// Ports that the targets are for.
const TARGET_PORTS: u16 = 1000;
/// Flows in a table that the targets are for.
const TARGET_TABLE: u32 = 1_000_000;

/// Rules that the targets are for, and seconds and bytes that a policy of them may take.
const TARGET_POLICIES: [(u32, f64, f64); 2] = [(MANY_RULES, 0.3, 16e6), (MAX_RULES, 3.0, 128e6)];

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
    /// How sure that is, where it is a ratio: see [`Summary::confidence`].
    pub confidence: Option<[f64; 2]>,
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
        Self { what: what.into(), unit, must, stretch, measured, confidence: None, verdict }
    }
}

/// What there are targets for in an experiment.
pub(super) fn of_experiment(measured: &Measured) -> Vec<Figure> {
    let Measured { experiment, paths, .. } = measured;
    let Some(goal) = goal(experiment) else { return Vec::new() };
    let all: Vec<&Path> = paths.iter().collect();
    let figure = |path: &Path, target: &Target| {
        let Target { goal, of, must, stretch } = *target;
        let (what, unit) = match goal {
            Goal::Frames(end, 1) => (format!("{}, {end}, of {of}", path.mode.name), Unit::Share),
            Goal::Frames(end, flows) => {
                (format!("{}, {flows} flows, {end}, of {of}", path.mode.name), Unit::Share)
            }
            Goal::RoundTrip => {
                (format!("TCP round trip p50, {}, of {of}", path.mode.name), Unit::Multiple)
            }
            Goal::Bulk => (format!("TCP in bulk, {}, of {of}", path.mode.name), Unit::Share),
            Goal::Rules { end, is_new } => {
                let flows = if is_new { "new flows" } else { "a known flow" };
                (format!("{}, {flows}, {end}, of {of}", path.mode.name), Unit::Share)
            }
        };
        let reference = path_of(&all, of);
        let ratio = reference.and_then(|reference| path.ratio(reference, 0));
        let figure = Figure::new(what, unit, must, stretch, ratio.as_ref().map(|it| it.median));
        // Whatever it has to do, it does not.
        let verdict = if path.is_broken() { Some(Verdict::Missed) } else { figure.verdict };
        let verdict = verdict.filter(|_| has_targets_number(experiment));
        Figure { verdict, confidence: ratio.and_then(|ratio| ratio.confidence), ..figure }
    };
    let of_path = |path: &Path| {
        let meant = |target: &&Target| target.goal == goal;
        path.mode
            .targets
            .iter()
            .filter(meant)
            .map(|target| figure(path, target))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

/// Whether it has as many of everything as targets are for.
fn has_targets_number(experiment: &Experiment) -> bool {
    !matches!(experiment.kind, Kind::Rules { many, .. } if many != MANY_RULES)
}

/// What targets an experiment tells of.
fn goal(experiment: &Experiment) -> Option<Goal> {
    if experiment.size != Size::USUAL {
        return None;
    }
    match experiment.kind {
        Kind::Frames(end, shape) => {
            let short = Shape { flows: shape.flows, ..Shape::SHORT };
            (shape == short).then_some(Goal::Frames(end, shape.flows))
        }
        Kind::RoundTrips { ip: Ip::V4, processors: 1 } => Some(Goal::RoundTrip),
        Kind::Rules { end, is_new, .. } => Some(Goal::Rules { end, is_new }),
        Kind::Bulk { ip: Ip::V4, streams: 1 } => Some(Goal::Bulk),
        _ => None,
    }
}

pub(super) fn of_ports(ports: &Ports) -> [Figure; 2] {
    let count = ports.count;
    let figure = |what: String, must, stretch, samples: &[f64]| {
        let figure = Figure::new(what, Unit::Seconds, must, Some(stretch), median(samples));
        Figure { verdict: figure.verdict.filter(|_| count == TARGET_PORTS), ..figure }
    };
    [
        figure(format!("attach {count} ports, both directions"), 0.5, 0.3, &ports.attach),
        figure(format!("read the counters of {count} ports"), 0.01, 0.005, &ports.read),
    ]
}

pub(super) fn of_flows(flows: &Flows) -> [Figure; 2] {
    let count = flows.count;
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

pub(super) fn of_policies(policies: &Policies) -> [Figure; 3] {
    let count = policies.count;
    let must = TARGET_POLICIES.iter().find(|(rules, ..)| *rules == count);
    // Others are told beside the next larger ones'.
    let beside = TARGET_POLICIES.iter().find(|(rules, ..)| *rules >= count);
    let (_, seconds, bytes) = beside.copied().unwrap_or(TARGET_POLICIES[1]);
    let figure = |what: String, unit, target, measured| {
        let figure = Figure::new(what, unit, target, None, measured);
        Figure { verdict: figure.verdict.filter(|_| must.is_some()), ..figure }
    };
    let swap = format!("compile and swap a policy of {count} rules");
    let set = format!("nsbpf policy set, {count} rules");
    let memory = format!("memory in the kernel of a policy of {count} rules");
    [
        figure(swap, Unit::Seconds, seconds, median(&policies.swap)),
        // It reads both policies besides, and looks at the lab: there is no target for that.
        Figure { verdict: None, ..figure(set, Unit::Seconds, seconds, median(&policies.set)) },
        figure(memory, Unit::Bytes, bytes, Some(policies.memory_bytes)),
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
    use super::*;
    use crate::bench::mode::{BRIDGE, MODES, POLICY_MODES};
    use crate::bench::traffic::{ENDS, End, Round};

    fn path(name: &str, rates: &[f64]) -> Path {
        let mode = MODES.iter().find(|mode| mode.name == name).unwrap();
        Path { rounds: rates.iter().copied().map(Round::of_rate).collect(), ..Path::new(mode) }
    }

    fn measured(end: End, shape: Shape, size: Size, xdp: &[f64]) -> Measured {
        let kind = Kind::Frames(end, shape);
        let experiment = Experiment { kind, size, modes: Vec::new(), rounds: 2 };
        Measured {
            experiment,
            paths: vec![path(BRIDGE, &[1.0, 2.0]), path("xdp", xdp)],
            sure: true,
        }
    }

    #[test]
    fn a_path_is_judged_by_its_targets() {
        let [sink, receiver] = ENDS;
        let usual =
            |end, xdp: &[f64]| of_experiment(&measured(end, Shape::SHORT, Size::USUAL, xdp));
        let figures = usual(receiver, &[1.7, 3.4]);
        assert_eq!((figures.len(), figures[0].verdict), (1, Some(Verdict::Met)));
        assert!((figures[0].measured.unwrap() - 1.7).abs() < 1e-9);
        assert_eq!(usual(receiver, &[1.5, 3.0])[0].verdict, Some(Verdict::Missed));
        // That of the wire is not there to compare with.
        let figures = usual(sink, &[4.0, 8.0]);
        assert_eq!(figures.len(), 2);
        assert_eq!((figures[0].verdict, figures[1].verdict), (Some(Verdict::Stretch), None));
        let many = Shape { flows: 32_000, ..Shape::SHORT };
        let figures = of_experiment(&measured(sink, many, Size::USUAL, &[2.3, 4.6]));
        assert_eq!(figures[0].what, "xdp, 32000 flows, XDP sink, of bridge");
        assert_eq!(figures[0].verdict, Some(Verdict::Met));
    }

    #[test]
    fn targets_are_for_what_is_usual() {
        let [sink, _] = ENDS;
        let long = Shape { bytes: 1514, ..Shape::SHORT };
        assert!(of_experiment(&measured(sink, long, Size::USUAL, &[4.0])).is_empty());
        let large = Size { ports: 10, ..Size::USUAL };
        assert!(of_experiment(&measured(sink, Shape::SHORT, large, &[4.0])).is_empty());
    }

    #[test]
    fn a_path_that_loses_all_misses_its_targets() {
        let figures = of_experiment(&measured(ENDS[1], Shape::SHORT, Size::USUAL, &[0.0]));
        assert_eq!((figures[0].measured, figures[0].verdict), (None, Some(Verdict::Missed)));
        let figures = of_experiment(&measured(ENDS[1], Shape::SHORT, Size::USUAL, &[]));
        assert_eq!(figures[0].verdict, None, "this kernel has no such path");
    }

    #[test]
    fn targets_of_policies_are_for_two_numbers() {
        let policies =
            |count, swap| Policies { count, swap: vec![swap], set: vec![9.0], memory_bytes: 17e6 };
        let verdicts = |count, swap| of_policies(&policies(count, swap)).map(|it| it.verdict);
        let (met, missed) = (Some(Verdict::Met), Some(Verdict::Missed));
        assert_eq!(verdicts(MANY_RULES, 0.2), [met, None, missed]);
        assert_eq!(verdicts(MANY_RULES, 0.4), [missed, None, missed]);
        assert_eq!(verdicts(MAX_RULES, 0.4), [met, None, met]);
        assert_eq!(verdicts(500, 0.4), [None; 3]);
    }

    #[test]
    fn rules_are_judged_by_their_targets_number() {
        let figures = |many, rates: &[f64]| {
            let kind = Kind::Rules { end: End::XdpSink, is_new: true, many };
            let experiment = Experiment { kind, size: Size::USUAL, modes: Vec::new(), rounds: 2 };
            let path = |name: &str, rates: &[f64]| {
                let mode = POLICY_MODES.iter().find(|mode| mode.name == name).unwrap();
                let rounds = rates.iter().copied().map(Round::of_rate).collect();
                Path { rounds, ..Path::new(mode) }
            };
            let paths = vec![path("xdp-few", &[1.0, 2.0]), path("xdp-many", rates)];
            of_experiment(&Measured { experiment, paths, sure: true })
        };
        let told = figures(MANY_RULES, &[0.6, 1.2]);
        assert_eq!(told[0].what, "xdp-many, new flows, XDP sink, of xdp-few");
        assert_eq!((told.len(), told[0].verdict), (1, Some(Verdict::Met)));
        assert_eq!(figures(MANY_RULES, &[0.4, 0.8])[0].verdict, Some(Verdict::Missed));
        assert_eq!(figures(50, &[0.4, 0.8])[0].verdict, None);
    }

    #[test]
    fn targets_of_ports_are_for_their_number() {
        let ports = |count| Ports { count, attach: vec![0.4], read: vec![0.004] };
        assert_eq!(of_ports(&ports(10)).map(|figure| figure.verdict), [None, None]);
        assert_eq!(
            of_ports(&ports(TARGET_PORTS)).map(|figure| figure.verdict),
            [Some(Verdict::Met), Some(Verdict::Stretch)]
        );
    }
}
