//! A bpf-linker that reads what the compiler writes.
//!
//! It is built from source against an installed LLVM, which has to be at least
//! the compiler's: LLVM reads no bitcode that is newer than itself.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use nsbpf_ebpf_build::{Compiler, linker};

use super::apt;
use crate::command;

/// The release that is known to work with our version of aya, and the LLVMs that
/// it can be built on.
const VERSION: &str = "0.13.0";
const LLVMS: [u32; 3] = [21, 22, 23];

/// Installs a linker that suits `compiler`, if there is none.
pub(crate) fn ensure(compiler: &Compiler) -> Result<()> {
    if linker::installed(compiler).iter().any(|linker| linker.suits(compiler)) {
        return Ok(());
    }
    let suiting = || LLVMS.into_iter().filter(|llvm| *llvm >= compiler.llvm);
    let installed = || suiting().find_map(|llvm| Some((llvm, prefix(llvm)?)));
    let (llvm, prefix) = if let Some(found) = installed() {
        found
    } else {
        install_llvm(suiting())?;
        installed().context("LLVM was installed, but is not found")?
    };
    eprintln!("compiling bpf-linker {VERSION} on LLVM {llvm}: one to two minutes");
    let mut install = command::cargo();
    install
        .env("LLVM_PREFIX", prefix)
        .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"])
        .args(["--no-default-features", "--features", &format!("llvm-{llvm}")]);
    command::run(&mut install)
}

/// Installs the first of `llvms` that there is a package of.
fn install_llvm(llvms: impl Iterator<Item = u32>) -> Result<()> {
    for llvm in llvms {
        if apt::offers(&format!("llvm-{llvm}-dev"))? {
            let packages = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
            return apt::install(&packages, "about a minute, 90 MB");
        }
    }
    bail!("apt has no LLVM that bpf-linker {VERSION} can be built on and that suits the compiler")
}

/// Where LLVM of that major version is installed with what it takes to link to it.
fn prefix(llvm: u32) -> Option<PathBuf> {
    let by_major = Path::new("/usr/lib").join(format!("llvm-{llvm}"));
    let configs = [
        by_major.join("bin/llvm-config"),
        format!("llvm-config-{llvm}").into(),
        "llvm-config".into(),
    ];
    configs.iter().find_map(|config| {
        let output = Command::new(config).args(["--version", "--prefix"]).output().ok()?;
        let said = String::from_utf8(output.stdout).ok()?;
        let (version, prefix) = said.trim().split_once('\n')?;
        version.starts_with(&format!("{llvm}.")).then(|| prefix.into())
    })
}
