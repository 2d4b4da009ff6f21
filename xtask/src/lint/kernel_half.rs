//! Clippy over the kernel half, which only its own compiler can read.

use std::process::Stdio;

use anyhow::Result;
use nsbpf_ebpf_build as ebpf;

use crate::{command, setup, workspace};

pub(super) fn lint() -> Result<()> {
    let toolchain = setup::ensure()?;
    let clippy = setup::clippy(&toolchain)?;
    let mut clippy = ebpf::command(&clippy, &workspace::root(), &toolchain);
    clippy
        .args(["clippy", "--locked", "--package", "nsbpf-ebpf", "--target", ebpf::TARGET])
        .args(["-Z", "build-std=core", "--target-dir"])
        .arg(workspace::ebpf_cache()?)
        .args(["--", "--deny", "warnings"])
        .stdout(Stdio::inherit());
    command::run(&mut clippy)
}
