//! `cargo xtask lint`: what CI asks of every change besides its tests.

mod deny;
mod kernel_half;

use anyhow::{Result, bail};

use crate::command;

/// Check the format, clippy's warnings in both halves, and the dependencies
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// What is checked, under the name that a failure goes by.
type Check = (&'static str, fn() -> Result<()>);

const CHECKS: &[Check] = &[
    ("format", format),
    ("clippy of the user half", user_half),
    ("clippy of the kernel half", kernel_half::lint),
    ("dependencies", deny::check),
];

/// Runs every check, so that one run shows all there is to mend.
pub(crate) fn run(_: &Arguments) -> Result<()> {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        if let Err(error) = check() {
            eprintln!("{name}: {error:#}");
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        bail!("lint failed: {}", failed.join(", "));
    }
    Ok(())
}

fn format() -> Result<()> {
    command::run(command::cargo().args(["fmt", "--all", "--check"]))
}

fn user_half() -> Result<()> {
    let mut clippy = command::cargo();
    clippy.args(["clippy", "--locked", "--all-targets", "--", "--deny", "warnings"]);
    command::run(&mut clippy)
}
