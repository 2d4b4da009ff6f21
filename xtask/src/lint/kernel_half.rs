//! Clippy over the kernel half, which only its own compiler can read.
//!
//! In the profile that it is compiled in, so that both share what runs on the host.

use std::process::Stdio;

use anyhow::Result;
use nsbpf_ebpf_build as ebpf;

use crate::{command, setup, workspace};

pub(super) fn lint() -> Result<()> {
    let toolchain = setup::ensure()?;
    let clippy = setup::clippy(&toolchain)?;
    let mut clippy = ebpf::command(&clippy, &workspace::root(), &toolchain);
    clippy
        .args([
            "clippy",
            "--locked",
            "--package",
            "nsbpf-ebpf",
            "--release",
            "--target",
            ebpf::TARGET,
        ])
        .args(["-Z", "build-std=core", "--target-dir"])
        .arg(workspace::ebpf_cache()?)
        .args(["--", "--deny", "warnings"])
        .stdout(Stdio::inherit());
    command::run(&mut clippy)
}
