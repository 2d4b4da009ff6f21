//! The way to the object of the kernel half, for `nsbpf`'s build script and for
//! xtask.
//!
//! Compiling for BPF takes an unusual toolchain, so the compiled object is kept in
//! the repository beside a digest of its sources. As long as the digest matches,
//! nobody compiles; as soon as somebody edits the sources, [`object`] does.

mod compile;
pub mod compiler;
mod digest;
mod error;
pub mod linker;
mod lock;
mod manifest;
pub mod prebuilt;
mod strip;
mod toolchain;

use std::{
    fs,
    path::{Path, PathBuf},
};

pub use compile::{TARGET, command, compile};
pub use compiler::Compiler;
pub use digest::{digest, sha256};
pub use error::Error;
pub use linker::Linker;
pub use toolchain::Toolchain;

/// The object that belongs to the sources in `workspace`: the kept one if it was
/// made from them, else a fresh one below `out_dir`.
pub fn object(workspace: &Path, out_dir: &Path) -> Result<PathBuf, Error> {
    let digest = digest(workspace)?;
    let kept = prebuilt::read(workspace)?;
    if kept.is_some_and(|(record, _)| record.digest == digest) {
        return Ok(prebuilt::path(workspace));
    }
    let object = compile(workspace, &cache(out_dir), &Toolchain::find()?)?;
    let path = out_dir.join("nsbpf.o");
    fs::write(&path, object).map_err(Error::write(&path))?;
    Ok(path)
}

/// What the answer of [`object`] depends on, for cargo's `rerun-if-changed`.
#[must_use]
pub fn inputs(workspace: &Path) -> Vec<PathBuf> {
    let others = ["Cargo.lock", "Cargo.toml", prebuilt::FOLDER];
    let inputs = digest::SOURCES.iter().chain(&others);
    inputs.map(|input| workspace.join(input)).collect()
}

/// Where compiling keeps what it can use again: in the target folder that `place`
/// is in, which cargo marks with a tag, so that all profiles share it.
#[must_use]
pub fn cache(place: &Path) -> PathBuf {
    let target = place.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.unwrap_or(place).join("bpf")
}
