//! A mount and a network namespace of our own, so that nothing of the machine's
//! is touched and nothing of it is in the way.

use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::process;

/// Moves this process there: it must have one thread. What it starts is there too.
pub(super) fn enter() -> Result<()> {
    // SAFETY: file descriptors and memory stay shared, with nobody.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }
        .context("make a mount and a network namespace")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("keep our mounts to ourselves")?;
    mount("bench", "/run", "tmpfs", MountFlags::empty(), Some(c"mode=0755"))
        .context("mount an empty /run")?;
    // A sysfs that shows this network namespace.
    mount("bench", "/sys", "sysfs", MountFlags::empty(), None).context("mount /sys")?;
    process::run(Command::new("ip").args(["link", "set", "lo", "up"]))
}

/// What is in it besides what it began with: links, names of namespaces, and
/// namespaces that the kernel has not done away with yet.
pub(super) fn contents() -> Result<Vec<String>> {
    let listed = |arguments: &[&str]| -> Result<Vec<String>> {
        let output = process::output(Command::new("ip").args(arguments))?;
        Ok(output.lines().map(str::to_owned).collect())
    };
    let mut contents = listed(&["-brief", "link", "show"])?;
    contents.retain(|link| !link.starts_with("lo "));
    contents.extend(listed(&["netns", "list"])?);
    contents.extend(listed(&["netns", "list-id"])?);
    Ok(contents)
}
