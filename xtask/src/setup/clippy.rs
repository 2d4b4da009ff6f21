//! The clippy that belongs to the compiler of the kernel half.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result};
use nsbpf_ebpf_build::Toolchain;

use super::{apt, sources};
use crate::command;

/// Its `cargo-clippy`, installed first if it is missing.
pub(crate) fn ensure(toolchain: &Toolchain) -> Result<PathBuf> {
    let compiler = &toolchain.compiler;
    let clippy = compiler.rustc.with_file_name("cargo-clippy");
    if clippy.is_file() {
        return Ok(clippy);
    }
    let of_rustup = compiler.sysroot.parent().is_some_and(|parent| parent.ends_with("toolchains"));
    if of_rustup && sources::rustup_may_fetch() {
        eprintln!("adding clippy by rustup: a few seconds, 5 MB");
        let mut add = Command::new("rustup");
        add.args(["component", "add", "clippy", "--toolchain"]);
        command::run(add.args(compiler.sysroot.file_name()))?;
    } else {
        apt::install(&["rust-web-clippy".to_owned()], "a few seconds, 5 MB")?;
    }
    let found = clippy.is_file().then_some(clippy);
    found.with_context(|| format!("there is no clippy for {}", compiler.version))
}
