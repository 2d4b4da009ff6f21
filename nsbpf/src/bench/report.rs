//! What was measured, beside what it should be.

mod chart;
mod figure;
mod table;
mod tcp;

use serde::Serialize;

use super::arrivals::End;
use super::environment::Environment;
use super::mode::{BRIDGE, WIRE};
use super::processor::Processors;
use super::rounds::Path;
use super::statistics::Summary;
use super::traffic::Round;
use super::{Measured, Options};
pub use figure::{Figure, Unit, Verdict};
pub(super) use table::table;
pub use tcp::{BulkReport, RoundTripReport};

/// Changes when a field goes, or means something else.
pub(super) const SCHEMA: u32 = 2;

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
    /// The processor that everything ran on, and the other end of connections on two.
    pub processors: Processors,
    /// Ports that were attached and read.
    pub ports: u16,
    /// Flows that were in a table, and read.
    pub table: u32,
    /// What the paths carry.
    pub paths: Vec<PathReport>,
    /// TCP, a byte each way.
    pub round_trips: Vec<RoundTripReport>,
    /// TCP, one connection.
    pub bulk: Vec<BulkReport>,
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
    pub(super) end: End,
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

impl Report {
    pub(super) fn new(
        environment: Environment,
        options: &Options,
        processors: Processors,
        measured: &Measured,
    ) -> Self {
        let Options { rounds, round, flows, modes: _, ports: count, table } = *options;
        let Measured { programs, ports, flows: many, paths, round_trips, streams } = measured;
        let program_reports: Vec<ProgramReport> =
            programs.each.iter().map(ProgramReport::new).collect();
        let mut figures = figure::of_paths(paths, flows);
        figures.extend(figure::of_round_trips(round_trips));
        figures.extend(figure::of_bulk(streams));
        figures.extend(figure::of_ports(count, ports));
        figures.extend(figure::of_flows(table, many));
        figures.extend(figure::of_programs(&programs.load, &program_reports));
        Self {
            schema: SCHEMA,
            environment,
            rounds,
            round_seconds: round.as_secs_f64(),
            flows,
            frame_bytes: super::frame::FRAME_BYTES,
            processors,
            ports: count,
            table,
            paths: self::paths(paths),
            round_trips: tcp::round_trips(round_trips),
            bulk: tcp::bulk(streams),
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
        }
    };
    paths.iter().map(report).collect()
}

/// Round by round; those that do not count, on either side, are left out.
fn ratio(rounds: &[Round], reference: &[Round]) -> Option<Summary> {
    let pairs = rounds.iter().zip(reference);
    Summary::of(pairs.filter_map(|(round, other)| Some(round.pps()? / other.pps()?)).collect())
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rounds(arrived: &[u64]) -> Vec<Round> {
        let took = Duration::from_secs(1);
        arrived.iter().map(|delivered| Round { sent: 1000, delivered: *delivered, took }).collect()
    }

    #[test]
    fn a_ratio_is_of_two_rounds_that_both_count() {
        let ratio = ratio(&rounds(&[999, 0, 1000]), &rounds(&[999, 1000, 500])).unwrap();
        assert_eq!(ratio.samples, [1.0]);
        assert_eq!(super::ratio(&rounds(&[0]), &rounds(&[1000])), None);
    }
}
