//! From an outcome to what is printed last and the exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use super::lab_file::LabFileError;
use super::replace::CannotStart;
use crate::apply::{ApplyError, NoWay};
use crate::datapath::Missing;
use crate::lab::LabError;

/// It failed, or something is not as a lab expects.
const FAILED: u8 = 1;
/// Wrong usage, or an invalid lab; clap's own code for wrong usage.
const INVALID: u8 = 2;
/// `plan` found something to change.
const CHANGES: u8 = 3;
/// A privilege or a kernel feature is missing.
const UNSUPPORTED: u8 = 4;

/// `plan` found something to change, and has said what.
#[derive(Debug, thiserror::Error)]
#[error("there is something to change")]
pub(super) struct PlannedChanges;

/// `doctor` found what eats traffic, and has said what.
#[derive(Debug, thiserror::Error)]
#[error("there is a problem")]
pub(super) struct FoundProblems;

/// Something is not as a lab expects, and `check` or `run` has said what.
#[derive(Debug, thiserror::Error)]
#[error("not all is as expected")]
pub(super) struct Unmet;

/// Paths carry less than in an earlier run, and `bench` has said which.
#[derive(Debug, thiserror::Error)]
#[error("paths that are slower than before: {0}")]
pub(super) struct Slower(pub(super) usize);

/// Paths that failed, and `bench` has said which and why.
#[derive(Debug, thiserror::Error)]
#[error("paths that failed: {0}")]
pub(super) struct Failed(pub(super) usize);

/// The benchmark does not find what is known, and has said what it found.
#[derive(Debug, thiserror::Error)]
#[error("the benchmark cannot be believed here: it does not find what is known")]
pub(super) struct Untrustworthy;

/// What was asked for makes no sense for this lab.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Usage(pub(super) String);

/// This process or this kernel cannot do it, whatever the lab.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unsupported(pub(super) String);

impl From<Missing> for Unsupported {
    fn from(missing: Missing) -> Self {
        Self(missing.to_string())
    }
}

impl From<NoWay> for Unsupported {
    fn from(no_way: NoWay) -> Self {
        Self(no_way.to_string())
    }
}

pub(super) fn code(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    if broken_pipe(&error) {
        // Who read us has seen enough.
        return ExitCode::SUCCESS;
    }
    if error.is::<PlannedChanges>() {
        return ExitCode::from(CHANGES);
    }
    if error.is::<FoundProblems>() || error.is::<Unmet>() {
        return ExitCode::from(FAILED);
    }
    if let Some(lab) = error.downcast_ref::<LabError>() {
        print_error(&lab.render());
        return ExitCode::from(INVALID);
    }
    print_error(&format!("error: {}", chain(&error)));
    let code = if let Some(cannot) = error.downcast_ref::<CannotStart>() {
        cannot.exit_code()
    } else if error.is::<LabFileError>() || error.is::<Usage>() {
        INVALID
    } else if error.is::<Unsupported>() || lacks_kernel_feature(&error) {
        UNSUPPORTED
    } else {
        FAILED
    };
    ExitCode::from(code)
}

fn lacks_kernel_feature(error: &anyhow::Error) -> bool {
    error.downcast_ref::<ApplyError>().is_some_and(ApplyError::lacks_kernel_feature)
}

/// Says it where errors go; if that cannot be written to, the code still tells.
fn print_error(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// The error and its causes, each once: ours name theirs already.
fn chain(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Whether the failure is that nobody reads our output any more.
pub(super) fn broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
