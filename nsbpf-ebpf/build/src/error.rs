//! What can go wrong on the way to an object, each with what to do about it.

use std::{io, path::PathBuf, process::ExitStatus};

/// Why there is no object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A source, a manifest or a kept object cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A result cannot be written.
    #[error("write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A manifest or lock file is not what it should be.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// No compiler with sources is installed.
    #[error(
        "no compiler for the kernel half: it needs a rustup toolchain with the rust-src component, \
         or the distribution's rustc with its sources; run `cargo xtask setup`"
    )]
    NoCompiler,
    /// There are compilers, but no linker that reads what they write.
    #[error(
        "no bpf-linker for {compiler}: it needs one on PATH or in cargo's bin folder that is built \
         on LLVM {llvm} or later{found}; run `cargo xtask setup`"
    )]
    NoLinker {
        /// The compiler that lacks a linker.
        compiler: String,
        /// Its LLVM's major version.
        llvm: u32,
        /// What was found instead, as a clause, or nothing.
        found: String,
    },
    /// A tool cannot be started.
    #[error("start {}: {source}; run `cargo xtask setup`", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A tool ran, and failed.
    #[error("{step} failed ({status}): see what it said itself")]
    Failed {
        /// What was being done to what.
        step: String,
        /// How the tool ended.
        status: ExitStatus,
    },
    /// The linked object is not an ELF file that can be stripped.
    #[error("strip {}: {reason}", path.display())]
    Strip {
        /// The linked object.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// For `map_err` on a read of `path`.
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Read { path, source }
    }

    /// For `map_err` on a write of `path`.
    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        |source| Self::Write { path, source }
    }

    /// For `map_err` on a parse of `path`.
    pub(crate) fn malformed<E: ToString>(path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |reason| Self::Malformed { path, reason: reason.to_string() }
    }
}
