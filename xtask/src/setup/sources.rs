//! A compiler that has the sources of its standard library.

use std::{env, process::Command};

use anyhow::{Context as _, Result};
use nsbpf_ebpf_build::{Compiler, compiler};

use super::apt;
use crate::{command, workspace};

/// The preferred compiler, installed first if there is none.
pub(crate) fn ensure() -> Result<Compiler> {
    if let Some(compiler) = compiler::installed().into_iter().next() {
        return Ok(compiler);
    }
    if rustup_may_fetch() {
        by_rustup()?;
    } else {
        let packages = ["rustc-web", "rust-web-src"].map(String::from);
        apt::install(&packages, "about a minute, 140 MB")?;
    }
    let found = compiler::installed().into_iter().next();
    found.context("a compiler was installed, but has no sources or is too old")
}

/// Whether rustup is there, and allowed to download something.
pub(crate) fn rustup_may_fetch() -> bool {
    let forbidden = env::var_os("RUSTUP_AUTO_INSTALL").is_some_and(|value| value == "0");
    !forbidden && workspace::program("rustup").is_some()
}

/// The toolchain in use only lacks the sources, a few megabytes; and its LLVM is
/// more likely to have a bpf-linker than a nightly's. Where it cannot have them
/// (it is linked to a folder, or too old) a nightly is added.
fn by_rustup() -> Result<()> {
    eprintln!("adding the sources of the standard library by rustup: a few seconds, 4 MB");
    let mut add = Command::new("rustup");
    if command::status(add.args(["component", "add", "rust-src"]))?.success()
        && !compiler::installed().is_empty()
    {
        return Ok(());
    }
    eprintln!("installing a nightly with the sources by rustup: about a minute, 100 MB");
    let mut install = Command::new("rustup");
    install.args(["toolchain", "install", "nightly", "--no-self-update"]);
    command::run(install.args(["--profile", "minimal", "--component", "rust-src"]))
}
