//! `nsbpf exec` and `nsbpf shell`: become a command inside a namespace, so that
//! its terminal, the signals it gets and how it ends are its own.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};

use clap::Args;

use super::privilege;
use super::replace::replace;
use super::target::Target;
use crate::net::enter::enter;

#[derive(Debug, Args)]
pub(super) struct Exec {
    /// The namespace, with its lab's name before it
    #[arg(value_name = "LAB/NAMESPACE")]
    target: Target,
    /// The command and its arguments, passed on as they are: no shell reads them
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct Shell {
    /// The namespace, with its lab's name before it
    #[arg(value_name = "LAB/NAMESPACE")]
    target: Target,
}

impl Exec {
    pub(super) fn run(self) -> anyhow::Result<()> {
        become_inside(&self.target, &self.command)
    }
}

impl Shell {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let shell = env::var_os("SHELL").filter(|shell| !shell.is_empty());
        become_inside(&self.target, &[shell.unwrap_or_else(|| "/bin/sh".into())])
    }
}

/// Returns only what went wrong.
fn become_inside(target: &Target, command: &[OsString]) -> anyhow::Result<()> {
    // Limits stay as they are: the command is to inherit the caller's.
    privilege::check()?;
    let netns = target.open()?;
    for warning in enter(&netns, target.namespace.as_str())? {
        // If nobody can hear it, the command matters more.
        let _ = writeln!(io::stderr(), "warning: {warning}");
    }
    let place =
        [("NSBPF_LAB", target.lab.as_str()), ("NSBPF_NAMESPACE", target.namespace.as_str())];
    Err(replace(command, &place).into())
}
