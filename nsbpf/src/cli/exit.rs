//! From an outcome to what is printed last and the exit code.

use std::io;
use std::process::ExitCode;

use super::lab_file::LabFileError;
use crate::lab::LabError;

/// It failed.
const FAILED: u8 = 1;
/// Wrong usage, or an invalid lab; clap's own code for wrong usage.
const INVALID: u8 = 2;
/// A privilege or a kernel feature is missing.
const UNSUPPORTED: u8 = 4;

/// This process or this kernel cannot do it, whatever the lab.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unsupported(pub(super) String);

pub(super) fn code(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    if broken_pipe(&error) {
        // Who read us has seen enough.
        return ExitCode::SUCCESS;
    }
    if let Some(lab) = error.downcast_ref::<LabError>() {
        eprintln!("{}", lab.render());
        return ExitCode::from(INVALID);
    }
    eprintln!("error: {error:#}");
    let code = if error.is::<LabFileError>() {
        INVALID
    } else if error.is::<Unsupported>() {
        UNSUPPORTED
    } else {
        FAILED
    };
    ExitCode::from(code)
}

/// Whether the failure is that nobody reads our output any more.
pub(super) fn broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
