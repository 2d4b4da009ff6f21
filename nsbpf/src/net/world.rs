//! A mount and a network namespace of one's own, for what must neither touch the
//! host nor be touched by it: there is nothing of the host's in the way, and all of
//! it goes with the process, however that ends.

use std::io;

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::link;
use super::socket::{Netlink, NetlinkError};

/// Why there is no such world.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// A system call failed.
    #[error("{operation}: {source}")]
    Kernel {
        /// What was done.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The loopback interface did not come up.
    #[error("set the loopback interface up: {0}")]
    Loopback(#[from] NetlinkError),
}

/// Moves the calling thread there, and with it what it starts from then on: threads
/// that the process has already stay outside. `/run` is empty there, and `/sys`
/// shows the new network namespace.
pub fn enter() -> Result<(), WorldError> {
    let failed =
        |operation| move |errno: Errno| WorldError::Kernel { operation, source: errno.into() };
    // SAFETY: file descriptors and memory stay shared; only mounts, this thread's
    // folders and its network are no longer.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }
        .map_err(failed("make a mount and a network namespace"))?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(failed("keep mounts to the new mount namespace"))?;
    mount("nsbpf", "/run", "tmpfs", MountFlags::empty(), Some(c"mode=0755"))
        .map_err(failed("mount an empty /run"))?;
    mount("nsbpf", "/sys", "sysfs", MountFlags::empty(), None)
        .map_err(failed("mount a /sys of the new network namespace"))?;
    Ok(Netlink::open()?.request(link::set_up(link::LOOPBACK))?)
}
