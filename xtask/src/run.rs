//! `cargo xtask run`: builds nsbpf and runs a lab, as root.

use std::{ffi::OsString, fmt, os::unix::process::CommandExt as _};

use anyhow::{Context as _, Result};

use crate::{command, privilege, workspace};

/// Build nsbpf and run a lab: everything that follows goes to `nsbpf run`
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    /// What `nsbpf run` takes, such as `my-lab.yaml --duration 10s --hook xdp`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    passed_on: Vec<OsString>,
}

/// There is no way to become root.
#[derive(Debug)]
pub(crate) struct NoRoot;

impl fmt::Display for NoRoot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(
            "network namespaces and BPF take root, and there is no way to become root from here: \
             sudo is not installed, or would ask for a password with nobody to ask; \
             run this as root, or allow this user to use sudo",
        )
    }
}

impl std::error::Error for NoRoot {}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    command::run(command::cargo().args(["build", "--locked", "--package", "nsbpf"]))?;
    let way = privilege::way().ok_or(NoRoot)?;
    let mut nsbpf = way.command(workspace::built("nsbpf")?);
    nsbpf.arg("run").args(&arguments.passed_on);
    command::announce(&nsbpf);
    // In place of xtask, so that signals and the exit code need no passing on.
    Err(nsbpf.exec()).with_context(|| format!("start `{}`", command::shown(&nsbpf)))
}
