//! Putting this process inside a namespace for good, as `ip netns exec` does:
//! its network, a `/sys` that shows it, and its own files over those of `/etc`.
//!
//! What is mounted for that is mounted in a mount namespace of its own, and goes
//! with the last process in it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    CWD, Dir, Mode, OFlags, ResolveFlags, StatVfsMountFlags, fstat, open, openat2, statfs, statvfs,
};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount,
    mount_change, move_mount, open_tree, unmount,
};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::NetNs;

const SYS: &str = "/sys";
const BPFFS: &str = "/sys/fs/bpf";
const ETC: &str = "/etc";
/// Where each namespace's own files for `/etc` are, in a folder of its name.
const ETC_NETNS: &str = "/etc/netns";
/// File system type of a bpffs (`BPF_FS_MAGIC`).
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// Why the process could not be put inside.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// A system call failed.
    #[error("{operation}: {source}")]
    Kernel {
        /// What was done.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file under `/etc/netns` cannot take its place in `/etc`.
    #[error("{operation} {}: {source}", path.display())]
    Etc {
        /// What was done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A link out of the namespace's folder, or around in circles.
    #[error("{} is a link that does not end in its folder: put the file itself there", .0.display())]
    LeadsOut(PathBuf),
    /// Others could have put anything there.
    #[error("{}: root must own it, and nobody else may write to it", .0.display())]
    Untrusted(PathBuf),
}

/// Puts the calling thread, and what it executes, inside the namespace. Returns
/// what of it did not work and is no reason to stop.
///
/// There is no way back, so this is for the only thread of a process that is
/// about to become another program.
pub fn enter(netns: &NetNs, name: &str) -> Result<Vec<String>, EnterError> {
    let failed =
        |operation| move |errno: Errno| EnterError::Kernel { operation, source: errno.into() };
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(failed("enter the network namespace"))?;
    // SAFETY: only mounts, and this thread's folders, are no longer shared; file
    // descriptors and memory are as before.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.map_err(failed("make a mount namespace"))?;
    // Nothing that is mounted here may show outside; what is unmounted outside
    // goes here as well.
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .map_err(failed("keep mounts to the new mount namespace"))?;
    let mut warnings = show_in_sys();
    warnings.extend(bind_etc(name)?);
    Ok(warnings)
}

/// Mounts a sysfs of this network namespace: it shows that of who mounts it.
fn show_in_sys() -> Vec<String> {
    // Cloned before: what hangs in an unmounted tree cannot be mounted again.
    let bpffs = clone_bpffs();
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // A container's may be read-only for a reason.
    if statvfs(SYS).is_ok_and(|sys| sys.f_flag.contains(StatVfsMountFlags::RDONLY)) {
        flags |= MountFlags::RDONLY;
    }
    // If it cannot be unmounted, the new one lies over it.
    let _ = unmount(SYS, UnmountFlags::DETACH);
    if let Err(errno) = mount("nsbpf", SYS, "sysfs", flags, None) {
        return vec![format!("{SYS} does not show the namespace: mount a sysfs: {errno}")];
    }
    let back = bpffs.and_then(|bpffs| bpffs.map_or(Ok(()), |tree| place(&tree, BPFFS.as_ref())));
    back.err().map(|errno| format!("{BPFFS} is not there inside: {errno}")).into_iter().collect()
}

fn clone_bpffs() -> Result<Option<OwnedFd>, Errno> {
    if !statfs(BPFFS).is_ok_and(|found| found.f_type == BPF_FS_MAGIC) {
        return Ok(None);
    }
    let whole = OpenTreeFlags::AT_RECURSIVE;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | whole;
    open_tree(CWD, BPFFS, flags).map(Some)
}

/// Mounts what was cloned.
fn place(tree: &OwnedFd, target: &Path) -> Result<(), Errno> {
    // Like mount(2), through links: /etc/resolv.conf is often one.
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(tree, "", CWD, target, flags)
}

/// Mounts every file of `/etc/netns/NAME` on its namesake in `/etc`.
fn bind_etc(name: &str) -> Result<Vec<String>, EnterError> {
    let path = Path::new(ETC_NETNS).join(name);
    let failed = |operation| etc_failed(operation, &path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = match open(&path, flags, Mode::empty()) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(errno) => return Err(failed("open")(errno)),
    };
    let stat = fstat(&folder).map_err(failed("look at"))?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    if stat.st_uid != 0 || mode.intersects(Mode::WGRP | Mode::WOTH) {
        return Err(EnterError::Untrusted(path));
    }
    let mut warnings = Vec::new();
    for entry in Dir::read_from(&folder).map_err(failed("list"))? {
        let entry = entry.map_err(failed("list"))?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            warnings.extend(bind_file(&folder, &path, name)?);
        }
    }
    warnings.sort();
    Ok(warnings)
}

/// Returns a warning when there is nothing of that name in `/etc`.
fn bind_file(folder: &OwnedFd, path: &Path, name: &OsStr) -> Result<Option<String>, EnterError> {
    let source = path.join(name);
    // No file system should have such a name; one that lies is not followed.
    if name.as_bytes().contains(&b'/') {
        return Err(EnterError::LeadsOut(source));
    }
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(folder, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), inside) {
        Ok(file) => file,
        Err(Errno::XDEV | Errno::LOOP) => return Err(EnterError::LeadsOut(source)),
        Err(errno) => return Err(etc_failed("open", &source)(errno)),
    };
    let itself = OpenTreeFlags::AT_EMPTY_PATH;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | itself;
    let tree = open_tree(&file, "", flags).map_err(etc_failed("make a mount of", &source))?;
    let target = Path::new(ETC).join(name);
    match place(&tree, &target) {
        Ok(()) => Ok(None),
        Err(Errno::NOENT) => {
            let (source, target) = (source.display(), target.display());
            Ok(Some(format!("{source} is not used: there is no {target} that it could hide")))
        }
        Err(errno) => Err(etc_failed("mount over its namesake in /etc", &source)(errno)),
    }
}

fn etc_failed(operation: &'static str, path: &Path) -> impl FnOnce(Errno) -> EnterError {
    let path = path.to_owned();
    move |errno| EnterError::Etc { operation, path, source: errno.into() }
}
