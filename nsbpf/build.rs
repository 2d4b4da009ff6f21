//! Finds, or compiles, the object of the kernel half, which is embedded.
//!
//! `NSBPF_OBJECT` in the environment names another object to embed.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    match object() {
        Ok((path, digest)) => {
            println!("cargo::rustc-env=NSBPF_OBJECT={}", path.display());
            println!("cargo::rustc-env=NSBPF_OBJECT_DIGEST={digest}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("cargo::error={}", error.replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn object() -> Result<(PathBuf, String), String> {
    println!("cargo::rerun-if-env-changed=NSBPF_OBJECT");
    let variable = |name| env::var_os(name).map(PathBuf::from).ok_or(format!("{name} is not set"));
    let manifest = variable("CARGO_MANIFEST_DIR")?;
    let workspace = manifest.parent().unwrap_or(Path::new("/"));
    let path = if let Some(path) = env::var_os("NSBPF_OBJECT") {
        println!("cargo::rerun-if-changed={}", Path::new(&path).display());
        PathBuf::from(path)
    } else {
        for input in nsbpf_ebpf_build::inputs(workspace) {
            println!("cargo::rerun-if-changed={}", input.display());
        }
        nsbpf_ebpf_build::object(workspace, &variable("OUT_DIR")?)
            .map_err(|error| error.to_string())?
    };
    let bytes =
        std::fs::read(&path).map_err(|error| format!("read {}: {error}", path.display()))?;
    Ok((path, nsbpf_ebpf_build::sha256(&bytes)))
}
