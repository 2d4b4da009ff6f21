//! `cargo xtask test`: tiers 0 to 3, each with the rights that it needs; with
//! `--kernel` tier 4, the tests of tiers 2 and 3 on another kernel.
//!
//! Everything is built as the user, so that what is below target/ stays theirs;
//! only the executable with the root tests is then run as root. The last line
//! printed is the sum over all runners.

mod executables;
mod other_kernels;

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Write as _, stdout},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{command, privilege, tally::Tally};
use executables::Executable;

/// Run every test, as root where it takes that
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Run only the tests whose name contains this
    filter: Option<String>,

    /// Run those that take root on this kernel of Debian's, in a virtual machine: a
    /// suite as `trixie` or a version as `6.12`; may be given several times
    #[arg(long = "kernel", value_name = "SUITE|VERSION")]
    kernels: Vec<String>,
}

/// The integration test, in package nsbpf, of what takes root.
const ROOT_TESTS: &str = "root";

type Environment<'a> = [(&'a str, &'a OsStr)];

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let filter = arguments.filter.as_deref();
    if arguments.kernels.is_empty() {
        run_all(filter, &[])
    } else {
        other_kernels::run(&arguments.kernels, filter)
    }
}

/// Runs every test of a workspace that was built with `environment`.
pub(crate) fn with_environment(environment: &Environment<'_>) -> Result<()> {
    run_all(None, environment)
}

fn run_all(filter: Option<&str>, environment: &Environment<'_>) -> Result<()> {
    let executables = executables::build(environment)?;
    let mut tally = Tally::default();
    let (root_tests, others): (Vec<_>, Vec<_>) =
        executables.tests.iter().partition(|executable| executable.name == ROOT_TESTS);
    for executable in others {
        let mut tests = Command::new(&executable.path);
        count(placed(&mut tests, executable).args(filter), &mut tally)?;
    }
    let mut doc_tests = command::cargo();
    doc_tests.args(["test", "--locked", "--doc"]).envs(environment.iter().copied());
    if let Some(filter) = filter {
        doc_tests.args(["--", filter]);
    }
    count(&mut doc_tests, &mut tally)?;
    for executable in root_tests {
        count(placed(&mut as_root(&executable.path), executable).args(filter), &mut tally)?;
    }
    conclude(tally)
}

fn conclude(tally: Tally) -> Result<()> {
    println!("{tally}");
    if !tally.is_success() {
        bail!("{}", if tally.failed > 0 { "tests failed" } else { "no test ran" });
    }
    Ok(())
}

/// Without a way to root they are run all the same, to say what was skipped.
fn as_root(executable: &Path) -> Command {
    let mut tests = match privilege::way() {
        Some(way) => way.command(executable),
        None => Command::new(executable),
    };
    // They share the kernel, and look for leaks after each.
    tests.arg("--test-threads=1");
    tests
}

/// Tests expect to be run in the folder of their package, as cargo does.
fn placed<'a>(command: &'a mut Command, executable: &Executable) -> &'a mut Command {
    let folder = executable.folder();
    command.current_dir(folder).env("CARGO_MANIFEST_DIR", folder)
}

/// Passes a line of a test runner on, and adds what it says.
fn pass_on(line: &[u8], tally: &mut Tally) -> Result<()> {
    stdout().write_all(line).and_then(|()| stdout().flush()).context("pass a line on")?;
    tally.add_line(&String::from_utf8_lossy(line));
    Ok(())
}

/// Runs a test runner, passes its output on as it comes, and adds up its results.
fn count(command: &mut Command, tally: &mut Tally) -> Result<()> {
    command::announce(command);
    let mut runner = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start `{}`", command::shown(command)))?;
    let mut said = BufReader::new(runner.stdout.take().context("a pipe was asked for")?);
    let failed_before = tally.failed;
    let mut line = Vec::new();
    while said.read_until(b'\n', &mut line).context("read what a test says")? > 0 {
        pass_on(&line, tally)?;
        line.clear();
    }
    let status = runner.wait().context("wait for a test")?;
    if !status.success() && tally.failed == failed_before {
        // It died before it could say which test it was.
        eprintln!("`{}` ended early ({status})", command::shown(command));
        tally.failed += 1;
    }
    Ok(())
}
