//! Where things are.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The workspace that xtask belongs to.
pub(crate) fn root() -> PathBuf {
    // At run time, so that a moved checkout is found.
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map(Path::to_path_buf).unwrap_or(package)
}

/// A program that cargo built in the same profile as xtask itself.
pub(crate) fn built(name: &str) -> Result<PathBuf> {
    Ok(own_path()?.with_file_name(name))
}

/// A program that cargo built in the release profile.
pub(crate) fn released(name: &str) -> Result<PathBuf> {
    let profile = built(name)?;
    let target = profile.ancestors().nth(2).context("find the target folder")?;
    Ok(target.join("release").join(name))
}

/// Where the kernel half is compiled: beside everything else that is compiled.
pub(crate) fn ebpf_cache() -> Result<PathBuf> {
    Ok(nsbpf_ebpf_build::cache(&own_path()?))
}

/// Where tools of our own are installed, for this target folder only.
pub(crate) fn tools() -> Result<PathBuf> {
    Ok(ebpf_cache()?.with_file_name("tools"))
}

/// Where kernels are kept that tests run on.
pub(crate) fn kernels() -> Result<PathBuf> {
    Ok(ebpf_cache()?.with_file_name("kernels"))
}

/// Where the report of all benchmarks is written.
pub(crate) fn benchmarks() -> Result<PathBuf> {
    Ok(ebpf_cache()?.with_file_name("bench"))
}

/// A program on PATH.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut candidates = env::split_paths(&path).map(|folder| folder.join(name));
    candidates.find(|candidate| candidate.is_file())
}

/// This program.
pub(crate) fn own_path() -> Result<PathBuf> {
    env::current_exe().context("find out where xtask itself is")
}
