//! Benchmarks that nsbpf has of itself: here it is built and started.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;

use super::{environment, nsbpf};
use crate::{command, privilege, run::NoRoot};

/// Which nsbpf is measured, and where what it finds goes.
#[derive(Args)]
pub(super) struct Itself {
    /// Also write all that was measured to a file, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure this nsbpf, and build none
    #[arg(long, value_name = "FILE")]
    nsbpf: Option<PathBuf>,
    /// What `nsbpf bench` takes, such as `--rounds 6`
    #[arg(last = true, value_name = "ARGUMENTS")]
    passed_on: Vec<OsString>,
}

/// Starts `nsbpf bench` with these arguments, and those that are passed on.
pub(super) fn run(itself: &Itself, ours: &[&str]) -> Result<()> {
    let Itself { json, nsbpf, passed_on } = itself;
    let program = match nsbpf {
        Some(program) => fs::canonicalize(program).context("find the nsbpf to measure")?,
        None => nsbpf::build()?,
    };
    let way = privilege::way().ok_or(NoRoot)?;
    let mut bench = way.command(program);
    bench.arg("bench").args(ours);
    if let Some(file) = json {
        // Made here, so that it is not root's.
        File::create(file).with_context(|| format!("create {}", file.display()))?;
        bench.arg("--json").arg(file);
    }
    bench.args(passed_on);
    println!("commit {}", environment::commit());
    command::announce(&bench);
    // In place of xtask, so that signals and the exit code need no passing on.
    Err(bench.exec()).with_context(|| format!("start `{}`", command::shown(&bench)))
}
