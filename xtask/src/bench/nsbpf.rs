//! The nsbpf that is measured.

use std::path::PathBuf;

use anyhow::Result;

use crate::{command, workspace};

/// Builds it as it is released.
pub(super) fn build() -> Result<PathBuf> {
    let arguments = ["build", "--locked", "--release", "--package", "nsbpf"];
    command::run(command::cargo().args(arguments))?;
    workspace::released("nsbpf")
}
