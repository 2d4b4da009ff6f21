//! Packages on Debian and what is made from it.

use std::{
    process::{Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context as _, Result};

use crate::{command, privilege, workspace};

/// Installs `packages`; says so first, with what it will `cost`.
pub(crate) fn install(packages: &[String], cost: &str) -> Result<()> {
    refresh()?;
    eprintln!("installing {} by apt: {cost}", packages.join(", "));
    let mut install = apt_get()?;
    install.args(["--quiet", "--yes", "--no-install-recommends", "install"]);
    command::run(install.args(packages))
}

/// Whether apt has a package of that name.
pub(crate) fn offers(package: &str) -> Result<bool> {
    refresh()?;
    let mut query = Command::new("apt-cache");
    query.args(["show", "--no-all-versions", package]);
    let output = query.stderr(Stdio::null()).output();
    Ok(output.is_ok_and(|output| output.status.success() && !output.stdout.is_empty()))
}

/// Updates the lists of packages, once: a bare machine has none.
fn refresh() -> Result<()> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.get().is_none() {
        command::run(apt_get()?.args(["--quiet", "--quiet", "update"]))?;
        DONE.get_or_init(|| ());
    }
    Ok(())
}

fn apt_get() -> Result<Command> {
    workspace::program("apt-get").context("there is no apt-get")?;
    let way = privilege::way().context("apt-get takes root, and there is no sudo")?;
    let mut apt_get = way.command_with(&[("DEBIAN_FRONTEND", "noninteractive")], "apt-get");
    apt_get.stdin(Stdio::null());
    Ok(apt_get)
}
