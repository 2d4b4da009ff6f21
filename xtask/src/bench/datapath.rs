//! `cargo xtask bench datapath`: what the datapath costs a packet, beside the bare
//! bridge and the bare wire. nsbpf measures itself; here it is built and started.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use super::{environment, nsbpf};
use crate::{command, privilege, run::NoRoot};

/// Measure what the datapath costs a packet
#[derive(Args)]
pub(super) struct Arguments {
    /// Rounds that count
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// For how long frames are sent in a round
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 80,
        value_parser = clap::value_parser!(u16).range(1..))]
    round: u16,
    /// Flows that the frames are of
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    flows: u16,
    /// Ports that are attached and read; the targets are for 1,000
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(2..=1000))]
    ports: u16,
    /// Flows that are in a table, and read; the targets are for 1,000,000
    #[arg(long, default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    table: u32,
    /// Fewer rounds, ports and flows: what `nsbpf bench --quick` takes
    #[arg(long, conflicts_with_all = ["rounds", "ports", "table"])]
    quick: bool,
    /// Also write all that was measured to a file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure this nsbpf, and build none
    #[arg(long, value_name = "FILE")]
    nsbpf: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let Arguments { rounds, round, flows, ports, table, quick, json, nsbpf } = arguments;
    let program = match nsbpf {
        Some(program) => fs::canonicalize(program).context("find the nsbpf to measure")?,
        None => nsbpf::build()?,
    };
    let way = privilege::way().ok_or(NoRoot)?;
    let mut bench = way.command(program);
    bench.arg("bench");
    bench.args(["--round", &format!("{round}ms"), "--flows", &flows.to_string()]);
    if *quick {
        bench.arg("--quick");
    } else {
        bench.args(["--rounds", &rounds.to_string(), "--ports", &ports.to_string()]);
        bench.args(["--table", &table.to_string()]);
    }
    if let Some(file) = json {
        // Made here, so that it is not root's.
        File::create(file).with_context(|| format!("create {}", file.display()))?;
        bench.arg("--json").arg(file);
    }
    println!("commit {}", environment::commit());
    command::run(&mut bench)
}
