//! `cargo xtask bench topology`: bringing labs up and taking them down, beside
//! iproute2 building the same.
//!
//! Every measurement is a process in namespaces of its own ([`session`]). What is
//! compared takes turns, round by round, so that whatever else the machine does
//! hits all alike; only the script, which takes ten times as long as everything
//! else together, runs once.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use super::environment::Environment;
use super::process;
use super::report::{Measured, Report};
use super::session::{Builder, Figures, Outcome, Task};
use super::shape::Shape;
use crate::privilege::{self, Way};
use crate::{run::NoRoot, workspace};

/// Measure bringing labs up and taking them down, beside iproute2
#[derive(Args)]
pub(super) struct Arguments {
    /// How many namespaces; the targets are for 1,000
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(2..=1000))]
    namespaces: u16,
    /// The same as `--namespaces 100`
    #[arg(long, conflicts_with = "namespaces")]
    quick: bool,
    /// How often everything is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// How many namespaces the iproute2 script makes, if not as many; its time is
    /// scaled then
    #[arg(long, value_name = "NAMESPACES", value_parser = clap::value_parser!(u16).range(2..=1000))]
    iproute2_namespaces: Option<u16>,
    /// For how long softirq is watched, before and after; the target is for 2,000
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 2000)]
    watch: u16,
    /// Also write all that was measured to a file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure this nsbpf, and build none
    #[arg(long, value_name = "FILE")]
    nsbpf: Option<PathBuf>,
}

/// With programs at both tc hooks.
const WITH_DATAPATH: &str = "tc";
/// With no programs at all.
const WITHOUT_DATAPATH: &str = "none";

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { namespaces, quick, rounds, iproute2_namespaces, watch, json, nsbpf } =
        arguments;
    let namespaces = if *quick { 100 } else { usize::from(*namespaces) };
    let script_namespaces = iproute2_namespaces.map_or(namespaces, usize::from);
    let program = match nsbpf {
        Some(program) => fs::canonicalize(program).context("find the nsbpf to measure")?,
        None => super::nsbpf::build()?,
    };
    let way = privilege::way().ok_or(NoRoot)?;
    let environment = Environment::now()?;
    let bench = Bench { way, program, watch_ms: *watch };
    let mut measured = Measured::new(namespaces, script_namespaces);
    for round in 1..=*rounds {
        eprintln!("round {round} of {rounds}");
        bench.round(namespaces, &mut measured)?;
        if round == 1 {
            eprintln!("  iproute2 script, once: {:?} of {script_namespaces}", Shape::Bridge);
            measured.script.push(bench.session(
                Builder::Script,
                Shape::Bridge,
                script_namespaces,
            )?);
        }
    }
    let report = Report::new(environment, *rounds, &measured);
    println!("{report}");
    if let Some(file) = json {
        write(file, &report)?;
    }
    Ok(())
}

fn write(file: &Path, report: &Report) -> Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    fs::write(file, text).with_context(|| format!("write {}", file.display()))
}

struct Bench {
    way: Way,
    program: PathBuf,
    watch_ms: u16,
}

impl Bench {
    fn round(&self, namespaces: usize, measured: &mut Measured) -> Result<()> {
        let up = |hook: &str, shape, namespaces| {
            eprintln!("  nsbpf up --hook {hook}: {shape:?} of {namespaces}");
            let (program, hook) = (self.program.clone(), hook.to_owned());
            self.session(Builder::Nsbpf { program, hook }, shape, namespaces)
        };
        measured.datapath.push(up(WITH_DATAPATH, Shape::Bridge, namespaces)?);
        measured.plain.push(up(WITHOUT_DATAPATH, Shape::Bridge, namespaces)?);
        measured.pairs.push(up(WITH_DATAPATH, Shape::Pairs, namespaces)?);
        eprintln!("  iproute2 batches: {:?} of {namespaces}", Shape::Bridge);
        measured.batch.push(self.session(Builder::Batch, Shape::Bridge, namespaces)?);
        for (fewer, outcomes) in &mut measured.fewer {
            outcomes.push(up(WITH_DATAPATH, Shape::Bridge, *fewer)?);
        }
        Ok(())
    }

    fn session(&self, builder: Builder, shape: Shape, namespaces: usize) -> Result<Outcome> {
        let task = Task { builder, shape, namespaces, watch_ms: self.watch_ms };
        let task = serde_json::to_string(&task)?;
        let mut session = self.way.command(workspace::own_path()?);
        let outcome = process::output(session.args(["bench", "session", &task]))?;
        let outcome = serde_json::from_str(&outcome).context("understand a session")?;
        if let Outcome::Built(figures) = &outcome {
            plausible(figures)?;
        }
        Ok(outcome)
    }
}

/// A figure of zero is a mistake, not a record.
fn plausible(figures: &Figures) -> Result<()> {
    ensure!(figures.up > 0.0, "something was built in no time");
    if figures.again.is_some_and(|again| again <= 0.0) {
        bail!("something was looked at in no time");
    }
    Ok(())
}
