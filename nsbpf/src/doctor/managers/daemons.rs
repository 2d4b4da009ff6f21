//! Which of them run, and see our links.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// A daemon that touches links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Daemon {
    NetworkManager,
    Networkd,
    Udev,
}

impl Daemon {
    /// By the name of its process, of which the kernel keeps 15 bytes.
    fn new(process: &str) -> Option<Self> {
        match process {
            "NetworkManager" => Some(Self::NetworkManager),
            "systemd-network" => Some(Self::Networkd),
            "systemd-udevd" | "udevd" | "eudev" => Some(Self::Udev),
            _ => None,
        }
    }
}

/// The daemons whose network namespace is the calling thread's: others see
/// nothing of it. One whose namespace may not be looked at is taken to be in
/// ours.
pub(super) fn running() -> BTreeSet<Daemon> {
    let inode = |path: &str| fs::metadata(path).ok().map(|metadata| metadata.ino());
    let ours = inode("/proc/thread-self/ns/net");
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        let daemon = Daemon::new(name.trim_end())?;
        let theirs = inode(&format!("/proc/{pid}/ns/net"));
        (theirs.is_none() || theirs == ours).then_some(daemon)
    })
    .collect()
}
