//! Licences, sources and duplicates among the dependencies, by cargo-deny.
//!
//! Advisories are left out: their database is fetched from a git host, which not
//! every network reaches. Whoever is online can run `cargo deny check advisories`.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{command, workspace};

/// The release that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

pub(super) fn check() -> Result<()> {
    let mut deny = Command::new(installed()?);
    deny.current_dir(workspace::root());
    command::run(deny.args([
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]))
}

/// The user's cargo-deny, else one of our own beside what else is compiled.
fn installed() -> Result<PathBuf> {
    if let Some(theirs) = workspace::program("cargo-deny") {
        return Ok(theirs);
    }
    let tools = workspace::tools()?;
    let ours = tools.join("bin/cargo-deny");
    if !ours.is_file() {
        eprintln!("compiling cargo-deny {VERSION}: about a minute and a half, once");
        // Unoptimized it compiles in half the time, and still takes under a second.
        let mut install = command::cargo();
        install
            .args(["install", "cargo-deny", "--version", VERSION, "--locked", "--debug"])
            .args(["--no-default-features", "--root"])
            .arg(tools)
            .env("CARGO_PROFILE_DEV_DEBUG", "0");
        command::run(&mut install)?;
    }
    Ok(ours)
}
