//! `cargo xtask setup`: finds or installs what compiles the kernel half.
//!
//! Whatever needs the toolchain calls [`ensure`], so that nobody has to know of
//! this task. It says what it found and what it is about to do before it does it.

mod apt;
mod clippy;
mod linker;
mod sources;

use anyhow::Result;
pub(crate) use clippy::ensure as clippy;
use nsbpf_ebpf_build::{Toolchain, compiler, linker as linkers};

/// Find or install what compiles the kernel half
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Install nothing: only say what is there, and fail if something is missing
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    report();
    if arguments.check {
        Toolchain::find()?;
    } else {
        ensure()?;
    }
    println!("complete: `cargo xtask ebpf` can compile the kernel half");
    Ok(())
}

/// The toolchain of the kernel half, installed first if it is missing.
pub(crate) fn ensure() -> Result<Toolchain> {
    if let Ok(toolchain) = Toolchain::find() {
        return Ok(toolchain);
    }
    eprintln!("the toolchain of the kernel half is incomplete: installing what is missing");
    let installed = sources::ensure().and_then(|compiler| linker::ensure(&compiler));
    installed.inspect_err(|_| eprintln!("{BY_HAND}\n"))?;
    Ok(Toolchain::find()?)
}

/// Says what is there, found or not.
fn report() {
    let compilers = compiler::installed();
    if compilers.is_empty() {
        println!("compiler: none with the sources of its standard library");
    }
    for compiler in &compilers {
        println!("compiler: {}, LLVM {}", compiler.version, compiler.llvm);
        println!("          {}", compiler.rustc.display());
        println!("sources:  {}", compiler.sources().display());
        let linkers = linkers::installed(compiler);
        if linkers.is_empty() {
            println!("linker:   no bpf-linker on PATH or in cargo's bin folder");
        }
        for linker in linkers {
            let suits = if linker.suits(compiler) { "" } else { ", too old for this compiler" };
            println!("linker:   {}{suits}", linker.version);
            println!("          {}", linker.path.display());
        }
    }
}

/// What to do where nothing here knows how to install it.
const BY_HAND: &str = "
The toolchain of the kernel half could not be installed here. By hand it takes one compiler with
its sources, and bpf-linker on an LLVM that is no older than the compiler's:

  compiler, with rustup    rustup component add rust-src
  compiler, Debian 12      sudo apt-get install rustc-web rust-web-src
  compiler, Ubuntu         with rustup: the packaged compilers are too old or lack their sources
  compiler, Fedora         sudo dnf install rust cargo rust-src
  compiler, Arch           sudo pacman -S rust rust-src

  linker, any              cargo binstall bpf-linker
  linker, Debian, Ubuntu   sudo apt-get install llvm-22-dev libpolly-22-dev
                           LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.13.0 \\
                             --locked --no-default-features --features llvm-22
  linker, Fedora           sudo dnf install llvm-devel
                           cargo install bpf-linker --locked --no-default-features --features llvm-22
  linker, Arch             sudo pacman -S llvm
                           cargo install bpf-linker --locked --no-default-features --features llvm-22

`rustc -vV` names the compiler's LLVM: where it is not 22, put its number instead.";
