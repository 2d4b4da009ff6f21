//! What was measured, beside what it should be.

mod table;

use serde::Serialize;

use super::Options;
use super::arrivals::End;
use super::environment::Environment;
use super::mode::{BRIDGE, WIRE};
use super::ports::Ports;
use super::programs::Programs;
use super::rounds::Path;
use super::statistics::Summary;
use super::traffic::Round;

/// Changes when a field goes, or means something else.
const SCHEMA: u32 = 1;
/// Ports that the targets are for.
const TARGET_PORTS: u16 = 1000;

/// All of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this layout.
    pub schema: u32,
    /// Where it was measured.
    pub environment: Environment,
    /// Rounds that were measured, void ones included.
    pub rounds: u8,
    /// For how long frames were sent in a round, in seconds.
    pub round_seconds: f64,
    /// Flows that the frames are of.
    pub flows: u16,
    /// Bytes of a frame.
    pub frame_bytes: usize,
    /// The processor that everything ran on.
    pub processor: usize,
    /// Ports that were attached and read.
    pub ports: u16,
    /// What the paths carry.
    pub paths: Vec<PathReport>,
    /// What the programs cost by themselves.
    pub programs: Vec<ProgramReport>,
    /// What there are targets for.
    pub figures: Vec<Figure>,
}

/// A path to one end.
#[derive(Debug, Serialize)]
pub struct PathReport {
    /// Its mode.
    pub mode: &'static str,
    /// What the receiving namespace does with frames.
    end: End,
    /// Frames that arrive in a second; `None` if no round counts.
    pub pps: Option<Summary>,
    /// As a share of what the bridge carries to the same end in the same round.
    pub of_bridge: Option<Summary>,
    /// The same of the wire.
    pub of_wire: Option<Summary>,
    /// Rounds that do not count because fewer than 99.9 % of their frames arrived.
    pub void_rounds: usize,
    /// Whether this kernel has such a path at all.
    pub available: bool,
    #[serde(skip)]
    counts: bool,
}

/// A program.
#[derive(Debug, Serialize)]
pub struct ProgramReport {
    /// Its name.
    pub program: &'static str,
    /// Nanoseconds a frame, in a test run.
    pub run_ns: Option<Summary>,
    /// Seconds that it takes to load it.
    pub load_seconds: Option<Summary>,
    /// Instructions that the verifier went through; `None` before Linux 5.16.
    pub instructions: Option<u32>,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Seconds; fewer are better.
    Seconds,
    /// A share of something else; more is better.
    Share,
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

impl Report {
    pub(super) fn new(
        environment: Environment,
        options: &Options,
        processor: usize,
        programs: &Programs,
        ports: &Ports,
        paths: Vec<Path>,
    ) -> Self {
        let Options { rounds, round, flows, ports: count } = *options;
        let paths = self::paths(&paths);
        let program_reports: Vec<ProgramReport> =
            programs.each.iter().map(ProgramReport::new).collect();
        let mut figures = path_figures(&paths);
        figures.extend(port_figures(count, ports));
        let load = median(&programs.load);
        figures.push(Figure::new("load of all programs", Unit::Seconds, 0.3, None, load));
        figures.extend(program_reports.iter().flat_map(ProgramReport::figures));
        Self {
            schema: SCHEMA,
            environment,
            rounds,
            round_seconds: round.as_secs_f64(),
            flows,
            frame_bytes: super::frame::FRAME_BYTES,
            processor,
            ports: count,
            paths,
            programs: program_reports,
            figures,
        }
    }
}

fn paths(paths: &[Path]) -> Vec<PathReport> {
    let report = |path: &Path| {
        let reference = |mode| {
            let same_end = |other: &&Path| other.mode == mode && other.end == path.end;
            paths.iter().find(same_end).map_or(&[][..], |reference| &reference.rounds)
        };
        PathReport {
            mode: path.mode,
            end: path.end,
            pps: Summary::of(path.rounds.iter().filter_map(Round::pps).collect()),
            of_bridge: ratio(&path.rounds, reference(BRIDGE)),
            of_wire: ratio(&path.rounds, reference(WIRE)),
            void_rounds: path.rounds.iter().filter(|round| round.pps().is_none()).count(),
            available: !path.rounds.is_empty(),
            counts: path.counts,
        }
    };
    paths.iter().map(report).collect()
}

/// Round by round; those that do not count, on either side, are left out.
fn ratio(rounds: &[Round], reference: &[Round]) -> Option<Summary> {
    let pairs = rounds.iter().zip(reference);
    Summary::of(pairs.filter_map(|(round, other)| Some(round.pps()? / other.pps()?)).collect())
}

/// Of every mode that counts, the lower of its two ends; nothing as long as one of
/// them is not known.
fn path_figures(paths: &[PathReport]) -> Vec<Figure> {
    let share = |path: &PathReport| path.of_bridge.as_ref().map(|of| of.median);
    let of_mode = |first: &PathReport| {
        let ends = paths.iter().filter(|path| path.mode == first.mode).map(share);
        let lower = ends.collect::<Option<Vec<f64>>>()?.into_iter().reduce(f64::min);
        lower
    };
    let first_ends = paths.iter().filter(|path| path.counts && path.end == End::XdpSink);
    let figure = |path: &PathReport| {
        let what = format!("{}, of the bridge alone", path.mode);
        Figure::new(what, Unit::Share, 0.83, Some(0.9), of_mode(path))
    };
    first_ends.map(figure).collect()
}

fn port_figures(count: u16, ports: &Ports) -> [Figure; 2] {
    let figure = |what: String, must, stretch, samples: &[f64]| {
        let figure = Figure::new(what, Unit::Seconds, must, Some(stretch), median(samples));
        Figure { verdict: figure.verdict.filter(|_| count == TARGET_PORTS), ..figure }
    };
    [
        figure(format!("attach {count} ports, both directions"), 0.5, 0.3, &ports.attach),
        figure(format!("read the counters of {count} ports"), 0.01, 0.005, &ports.read),
    ]
}

fn median(samples: &[f64]) -> Option<f64> {
    Summary::of(samples.to_vec()).map(|summary| summary.median)
}

impl ProgramReport {
    fn new(program: &super::programs::Program) -> Self {
        let super::programs::Program { name, instructions, load, run_ns } = program;
        Self {
            program: name,
            run_ns: Summary::of(run_ns.clone()),
            load_seconds: Summary::of(load.clone()),
            instructions: *instructions,
        }
    }

    fn figures(&self) -> [Figure; 2] {
        let Self { program, run_ns: _, load_seconds, instructions } = self;
        let load = load_seconds.as_ref().map(|load| load.median);
        let (what, instructions) =
            (format!("verified instructions of {program}"), instructions.map(f64::from));
        [
            Figure::new(format!("load of {program}"), Unit::Seconds, 0.2, None, load),
            Figure::new(what, Unit::Instructions, 200_000.0, None, instructions),
        ]
    }
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
            Unit::Seconds | Unit::Instructions => measured <= target,
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

#[cfg(test)]
mod tests;
