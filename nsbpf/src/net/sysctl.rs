//! Settings of the calling thread's network namespace: `/proc/sys/net` shows the
//! namespace of the thread that looks.
//!
//! In it the folders of all namespaces go by the same names, and the kernel keeps
//! those that it looked up in one chain: with 1,000 namespaces the first look at
//! one of them passes all others (`proc_sys_compare`, Linux 6.18), for 200 µs to
//! 2 ms instead of 5 µs. So a thread that visits many looks at a procfs that only
//! it has, and at a new one from time to time.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// Namespaces that are looked at in one procfs of our own: making one costs as much
/// as passing some fifty others.
const NAMESPACES: usize = 32;

thread_local! {
    static OWN: RefCell<Own> = const { RefCell::new(Own { procfs: None, room: None }) };
}

/// What a thread that visits namespaces has.
struct Own {
    /// Mounted nowhere. `None` where the kernel does not give one (before Linux 5.8
    /// all are the same one, which is no harm).
    procfs: Option<OwnedFd>,
    /// How many more namespaces it is good for; `None` for a thread that visits none.
    room: Option<usize>,
}

/// What hands a bridge's packets to the firewall (`br_netfilter`), each family by
/// itself; there only where the module is.
const BRIDGE_NETFILTER: [&str; 3] = [
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-arptables",
];

/// The value of a setting, words with one blank between them; `None` when this
/// kernel or this namespace has no such setting. `name` has slashes.
pub(crate) fn read(name: &str) -> io::Result<Option<String>> {
    let mut file = match open(name, OFlags::RDONLY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut value = String::new();
    file.read_to_string(&mut value)?;
    Ok(Some(value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")))
}

/// Sets a setting.
pub(crate) fn write(name: &str, value: &str) -> io::Result<()> {
    open(name, OFlags::WRONLY)?.write_all(value.as_bytes())
}

/// Which of the families bridges hand to the firewall: IPv4, IPv6 and ARP.
pub(crate) fn bridge_calls() -> io::Result<[bool; 3]> {
    let mut calls = [false; 3];
    for (call, name) in calls.iter_mut().zip(BRIDGE_NETFILTER) {
        *call = read(name)?.is_some_and(|value| value != "0");
    }
    Ok(calls)
}

/// Whether bridges hand their packets to the firewall.
pub(crate) fn bridge_netfilter() -> io::Result<bool> {
    Ok(bridge_calls()?.contains(&true))
}

/// Has bridges keep their packets from the firewall.
pub(crate) fn no_bridge_netfilter() -> io::Result<()> {
    set_bridge_netfilter(false).map(drop)
}

/// Has bridges hand their packets to the firewall, or keep them. Returns whether
/// they do then: without `br_netfilter` they never do.
pub(crate) fn set_bridge_netfilter(on: bool) -> io::Result<bool> {
    let wanted = if on { "1" } else { "0" };
    let mut there = false;
    for name in BRIDGE_NETFILTER {
        let Some(value) = read(name)? else { continue };
        there = true;
        if value != wanted {
            write(name, wanted)?;
        }
    }
    Ok(on && there)
}

/// Notes that the calling thread came to another namespace, one of several.
pub(super) fn entered() {
    OWN.with_borrow_mut(|own| own.room = Some(own.room.map_or(0, |room| room.saturating_sub(1))));
}

fn procfs() -> io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn open(name: &str, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::CLOEXEC;
    let file = OWN.with_borrow_mut(|own| {
        if own.room == Some(0) {
            own.procfs = procfs().inspect_err(|error| log::debug!("no procfs: {error}")).ok();
            own.room = Some(NAMESPACES);
        }
        match &own.procfs {
            Some(procfs) => openat(procfs, format!("sys/{name}"), flags, Mode::empty()),
            None => openat(CWD, format!("/proc/sys/{name}"), flags, Mode::empty()),
        }
    })?;
    Ok(file.into())
}
