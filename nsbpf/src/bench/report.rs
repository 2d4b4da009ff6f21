//! What was measured, beside what it should be.

mod chart;
mod conditions;
mod figure;
mod growth;
mod interface;
mod quantity;
mod svg;
mod table;

use std::collections::BTreeMap;

use serde::Serialize;

use super::environment::{Environment, Noise};
use super::experiment::Settings;
use super::losses::Losses;
use super::mode::{BRIDGE, Stages, WIRE};
use super::processor::Processors;
use super::statistics::Summary;
use super::traffic::Quantity;
use super::turns::{Measured, Path, path_of};
use super::{Findings, Options, ProgramRun};
pub use figure::{Figure, Unit, Verdict};
pub use interface::Interface;
pub use svg::DrawError;
pub(super) use table::table;

/// Changes when a field goes, or means something else.
pub(super) const SCHEMA: u32 = 3;

/// All of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this layout.
    pub schema: u32,
    /// Where it was measured.
    pub environment: Environment,
    /// What disturbed it.
    pub noise: Noise,
    /// For how long was sent in a round, in seconds.
    pub round_seconds: f64,
    /// Half of a ratio's confidence interval, as a share of it, that was enough.
    pub within: f64,
    /// What was left of the datapath's stages.
    pub stages: Stages,
    /// Rules of a policy on paths that can have one; `None` if there was none.
    pub policy: Option<u32>,
    /// The processor that everything ran on, and the other end of connections on two.
    pub processors: Processors,
    /// The senders' interfaces.
    pub interfaces: Vec<Interface>,
    /// What was compared.
    pub experiments: Vec<ExperimentReport>,
    /// What the programs cost by themselves.
    pub programs: Vec<ProgramReport>,
    /// What they cost on each path.
    pub program_runs: Vec<ProgramRun>,
    /// What there are targets for.
    pub figures: Vec<Figure>,
}

/// One kind of traffic over several paths.
#[derive(Debug, Default, Serialize)]
pub struct ExperimentReport {
    /// Tells it from others, in this report and those of other runs.
    pub id: String,
    /// What it is, for people.
    pub title: String,
    pub(super) settings: Settings,
    /// Rounds that were measured, void ones included.
    pub rounds: usize,
    /// Whether all ratios were sure enough in the end; otherwise the rounds are as many
    /// as were allowed.
    pub sure: bool,
    /// Name of the metric that it is about.
    pub about: &'static str,
    /// The paths, in the order of their turns.
    pub paths: Vec<PathReport>,
}

/// A path.
#[derive(Debug, Default, Serialize)]
pub struct PathReport {
    /// Its mode.
    pub mode: &'static str,
    /// Whether this kernel has such a path at all.
    pub available: bool,
    /// Why there are no more rounds of it, if there are not.
    pub failed: Option<String>,
    /// Rounds that do not count because fewer than 99.9 % of what was sent arrived, or some
    /// of the work was done where the clock does not see it.
    pub void_rounds: usize,
    /// Packets that were sent in all rounds; of TCP in bulk bytes, otherwise what is
    /// counted there: round trips, connections, runs of a command.
    pub sent: u64,
    /// Those of them that arrived as they were sent.
    pub delivered: u64,
    /// What the kernel and the datapath counted as lost, or as sent again, and where:
    /// their own counters, by name.
    pub losses: Losses,
    /// Nanoseconds of processors for each that was sent, in softirq; `None` where more
    /// than the traffic would be in it.
    pub softirq_ns: Option<f64>,
    /// The same in processes, kernel time included.
    pub process_ns: Option<f64>,
    /// What rounds found, by the name of the metric. Those that do not count are left
    /// out.
    pub metrics: BTreeMap<&'static str, MetricReport>,
}

/// What rounds found.
#[derive(Debug, Serialize)]
pub struct MetricReport {
    /// What it counts.
    pub quantity: Quantity,
    /// Itself.
    #[serde(flatten)]
    pub summary: Summary,
    /// As a ratio to what it is on the bridge, round by round.
    pub of_bridge: Option<Summary>,
    /// The same of the wire.
    pub of_wire: Option<Summary>,
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
        mut noise: Noise,
        options: &Options,
        on: Processors,
        findings: Findings,
    ) -> Self {
        let Findings { programs, flows, ports, policies, experiments, runs, interfaces } = findings;
        let program_reports: Vec<ProgramReport> =
            programs.iter().flat_map(|programs| &programs.each).map(ProgramReport::new).collect();
        // Targets are for all stages, and those of paths without rules for no policy.
        let are_judged = |measured: &Measured| {
            options.stages == Stages::default()
                && (options.policy.is_none() || measured.experiment.is_about_rules())
        };
        let mut figures: Vec<Figure> = experiments
            .iter()
            .filter(|it| are_judged(it))
            .flat_map(figure::of_experiment)
            .collect();
        figures.extend(ports.iter().flat_map(figure::of_ports));
        figures.extend(flows.iter().flat_map(figure::of_flows));
        figures.extend(policies.iter().flat_map(figure::of_policies));
        if let Some(programs) = &programs {
            figures.extend(figure::of_programs(&programs.load, &program_reports));
        }
        let experiments: Vec<ExperimentReport> =
            experiments.iter().map(|measured| ExperimentReport::new(measured, on)).collect();
        noise.spread = experiments.iter().find_map(ExperimentReport::spread);
        Self {
            schema: SCHEMA,
            environment,
            noise,
            round_seconds: options.round.as_secs_f64(),
            within: options.within,
            stages: options.stages,
            policy: options.policy,
            processors: on,
            interfaces,
            experiments,
            programs: program_reports,
            program_runs: runs,
            figures,
        }
    }
}

impl Report {
    /// Paths that failed, each with its experiment.
    #[must_use]
    pub fn failed(&self) -> usize {
        let paths = self.experiments.iter().flat_map(|experiment| &experiment.paths);
        paths.filter(|path| path.failed.is_some()).count()
    }
}

impl ExperimentReport {
    fn new(measured: &Measured, on: Processors) -> Self {
        let Measured { experiment, paths, sure } = measured;
        let all: Vec<&Path> = paths.iter().collect();
        let metrics = experiment.metrics();
        let report = |path: &Path| {
            let Path { mode, rounds, failed, losses, cpu } = path;
            let metric = |(number, metric): (usize, &super::traffic::Metric)| {
                let values = rounds.iter().filter_map(|round| round.value(number));
                let ratio = |to| path.ratio(path_of(&all, to)?, number);
                let report = MetricReport {
                    quantity: metric.quantity,
                    summary: Summary::of(values.collect())?,
                    of_bridge: ratio(BRIDGE),
                    of_wire: ratio(WIRE),
                };
                Some((metric.name, report))
            };
            let counted: u64 =
                rounds.iter().filter(|round| round.counts()).map(|round| round.sent).sum();
            let each = |ticks: u64| {
                #[expect(clippy::cast_precision_loss, reason = "a mean, rounded anyway")]
                let each = (ticks * super::cpu::TICK_NS) as f64 / counted.max(1) as f64;
                each
            };
            PathReport {
                mode: mode.name,
                available: !rounds.is_empty() || failed.is_some(),
                failed: failed.clone(),
                void_rounds: rounds.iter().filter(|round| !round.counts()).count(),
                sent: rounds.iter().map(|round| round.sent).sum(),
                delivered: rounds.iter().map(|round| round.delivered).sum(),
                losses: losses.clone(),
                softirq_ns: cpu.map(|cpu| each(cpu.softirq)),
                process_ns: cpu.map(|cpu| each(cpu.process)),
                metrics: metrics.iter().enumerate().filter_map(metric).collect(),
            }
        };
        Self {
            id: experiment.id(on),
            title: experiment.title(on),
            settings: experiment.settings(on),
            rounds: paths.iter().map(|path| path.rounds.len()).max().unwrap_or(0),
            sure: *sure,
            about: metrics.first().map_or("", |metric| metric.name),
            paths: paths.iter().map(report).collect(),
        }
    }

    /// See [`Noise::spread`].
    fn spread(&self) -> Option<f64> {
        let bridge = self.paths.iter().find(|path| path.mode == BRIDGE)?;
        let Summary { median, lower_quartile, upper_quartile, .. } = bridge.about(self)?.summary;
        Some((upper_quartile - lower_quartile) / median)
    }
}

impl PathReport {
    /// What its experiment is about.
    pub(super) fn about(&self, of: &ExperimentReport) -> Option<&MetricReport> {
        self.metrics.get(of.about)
    }
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
