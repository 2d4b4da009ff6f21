//! What the datapath costs a packet: the same traffic over several paths, in turns.
//!
//! ```text
//! options.rs       what is measured, and how much of it
//! agenda.rs        which experiments that makes
//! experiment.rs    one kind of traffic over several paths
//! turns.rs         rounds of all paths in turns, until all is sure
//! traffic/         the kinds of traffic, each a file
//! mode.rs          the paths that are compared, each a wiring and its settings
//! wiring.rs        the labs that these are
//! progress.rs      what it is at
//! testbed.rs       a path that is up: a sender, a receiver, and what is between them
//! rules.rs         rules as people write them, ours and those of nftables
//! firewall.rs      nftables on a bridge
//! losses.rs        where packets get lost
//! snmp.rs          counters of protocols
//! cpu.rs           what processors did
//! costs/           what is measured without traffic
//! selftest.rs      the benchmark finds a delay that is known, and none where none is
//! statistics.rs    medians, spreads, and how sure they are
//! report.rs        what is found, beside what it should be
//! compare.rs       what is found, beside what was found before
//! ```
//!
//! The caller has put the process into a world of its own
//! ([`world::enter`](crate::net::world::enter)): labs are made here, and settings of
//! the network namespace changed.

mod agenda;
mod compare;
mod costs;
mod cpu;
mod environment;
mod error;
mod experiment;
mod firewall;
mod ip;
mod losses;
mod mode;
mod options;
mod processor;
mod progress;
mod report;
mod rules;
mod selftest;
mod snmp;
mod statistics;
mod testbed;
mod traffic;
mod turns;
mod wiring;

pub use compare::{CompareError, Comparison, EarlierReport};
pub use costs::runs::ProgramRun;
pub use environment::{Environment, Noise};
pub use error::BenchError;
use error::io_error;
pub use ip::Ip;
pub use mode::Stages;
pub use options::{
    MAX_BYTES, MAX_FLOWS, MAX_MADE_BYTES, MAX_PORTS, MAX_STREAMS, MAX_TABLE, MIN_BYTES, Options,
    Part,
};
pub use processor::Processors;
pub use progress::Progress;
pub use report::{
    DrawError, ExperimentReport, Figure, Interface, MetricReport, PathReport, ProgramReport,
    Report, Unit, Verdict,
};
pub use rules::MAX_RULES;
pub use selftest::{SelfTest, selftest};
pub use statistics::Summary;
pub use traffic::{Command, Quantity};

use costs::{flows, policies, ports, programs, runs};
use cpu::CpuTime;
use experiment::Experiment;
use progress::{Tell, tell_of};
use testbed::{Setup, Testbed};
use turns::Measured;
use wiring::Size;

/// The paths that can be compared.
pub fn mode_names() -> impl Iterator<Item = &'static str> {
    mode::MODES.iter().chain(&mode::POLICY_MODES).map(|mode| mode.name)
}

/// All that was measured.
#[derive(Default)]
struct Findings {
    programs: Option<programs::Programs>,
    flows: Vec<flows::Flows>,
    ports: Vec<ports::Ports>,
    policies: Vec<policies::Policies>,
    experiments: Vec<Measured>,
    runs: Vec<ProgramRun>,
    interfaces: Vec<Interface>,
}

/// Measures all that is asked for, in a world that the caller has made. `tell` hears what
/// comes next.
///
/// # Errors
/// The first thing that failed. Labs may be left then: the world's end is theirs.
pub fn datapath(options: &Options, tell: Tell<'_>) -> Result<Report, BenchError> {
    let on = processor::keep_to_one()?;
    let environment = Environment::now(on.one).map_err(io_error("look at this machine"))?;
    let busy = || CpuTime::of(&[]).map_err(io_error("read /proc/stat"));
    let before = busy()?;
    let mut findings = Findings::default();
    let has = |part| options.parts.contains(&part);
    if has(Part::Programs) {
        tell_of(tell, "programs");
        findings.programs = Some(programs::measure(options)?);
    }
    if has(Part::Table) {
        // Before much else: a child's memory is at least what its parent had.
        for count in &options.table {
            tell_of(tell, &format!("{count} flows"));
            findings.flows.push(flows::measure(*count)?);
        }
    }
    if has(Part::Ports) {
        for count in &options.attach {
            tell_of(tell, &format!("{count} ports"));
            findings.ports.push(ports::measure(*count)?);
        }
    }
    if has(Part::Policy) {
        for count in &options.swaps {
            tell_of(tell, &format!("a policy of {count} rules, in place of another"));
            findings.policies.push(policies::measure(*count)?);
        }
    }
    let mut left = agenda::experiments(options);
    left.retain(|experiment| on.other.is_some() || !experiment.takes_two_processors());
    // Those of one size share testbeds. The programs are looked at on the usual ones.
    let mut sizes: Vec<Size> = if has(Part::Programs) { vec![Size::USUAL] } else { Vec::new() };
    for experiment in &left {
        if !sizes.contains(&experiment.size) {
            sizes.push(experiment.size);
        }
    }
    for size in sizes {
        let (now, later) = left.into_iter().partition(|experiment| experiment.size == size);
        left = later;
        measure(size, now, on, options, tell, &mut findings)?;
    }
    let noise = Noise::of(busy()? - before);
    Ok(Report::new(environment, noise, options, on, findings))
}

/// Brings the labs of all paths up, measures experiments on them, and takes them down.
fn measure(
    size: Size,
    experiments: Vec<Experiment>,
    on: Processors,
    options: &Options,
    tell: Tell<'_>,
    findings: &mut Findings,
) -> Result<(), BenchError> {
    let flows = options.flow_counts.iter().copied().max().unwrap_or(1);
    let Options { stages, policy, .. } = *options;
    let setup = Setup { size, stages, flows, policy, many: options.many_rules() };
    let with_programs = size == Size::USUAL && options.parts.contains(&Part::Programs);
    let is_wanted = |mode: &&'static mode::Mode| {
        let mut modes = experiments.iter().flat_map(|experiment| &experiment.modes);
        let is_asked = options.modes.is_empty() || options.modes.iter().any(|it| it == mode.name);
        modes.any(|wanted| wanted.name == mode.name) || with_programs && is_asked && mode.counts()
    };
    tell_of(tell, &format!("labs with an MTU of {}, {} ports each", size.mtu, size.ports));
    let mut testbeds = Vec::new();
    let all = mode::MODES.iter().chain(&mode::POLICY_MODES);
    for (number, mode) in all.filter(is_wanted).enumerate() {
        testbeds.push(Testbed::new(mode, number, setup)?);
    }
    for testbed in &mut testbeds {
        findings.interfaces.push(Interface::of(testbed, size)?);
    }
    let (later, first): (Vec<_>, Vec<_>) =
        experiments.into_iter().partition(Experiment::wants_napi);
    for experiment in first {
        findings.experiments.push(turns::take(experiment, &mut testbeds, on, options, tell));
    }
    if !later.is_empty() {
        testbeds.iter_mut().try_for_each(traffic::receive_by_napi)?;
    }
    for experiment in later {
        findings.experiments.push(turns::take(experiment, &mut testbeds, on, options, tell));
    }
    if with_programs {
        tell_of(tell, "programs on each path");
        testbeds.iter_mut().try_for_each(traffic::receive_by_napi)?;
        for testbed in &mut testbeds {
            findings.runs.extend(runs::measure(testbed, options)?);
        }
    }
    testbeds.into_iter().try_for_each(Testbed::take_down)
}
