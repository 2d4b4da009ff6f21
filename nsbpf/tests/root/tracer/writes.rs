//! Which system calls change the kernel's state.
//!
//! What is known to read only is left out; what is not known counts as a write,
//! so that a new way to write is seen before somebody teaches it to this file.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use libc::c_long;
use rustix::net::{AddressFamily, sockopt};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::netlink;

/// A system call that changed something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) kind: Kind,
    what: String,
    /// Whether it made an eBPF object that only the process holds as yet.
    pub(super) is_held: bool,
}

/// What was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A netlink socket: links, addresses, routes, filters, firewall.
    Netlink,
    /// The table of mounts.
    Mount,
    /// A file or a name of one.
    File,
    /// A file under `/proc`.
    Sysctl,
    /// eBPF: made, loaded, pinned, attached or changed.
    Bpf,
    /// A namespace was made.
    Namespace,
    /// A way to write that nsbpf is not known to use.
    Other,
}

impl fmt::Display for Write {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

fn write(kind: Kind, what: impl Into<String>) -> Option<Write> {
    Some(Write { kind, what: what.into(), is_held: false })
}

/// Calls that change something whenever they succeed: name, kind, and which
/// argument is a path.
const CALLS: &[(c_long, &str, Kind, Option<usize>)] = &[
    (libc::SYS_mount, "mount", Kind::Mount, Some(1)),
    (libc::SYS_umount2, "umount2", Kind::Mount, Some(0)),
    (libc::SYS_move_mount, "move_mount", Kind::Mount, Some(3)),
    (libc::SYS_mount_setattr, "mount_setattr", Kind::Mount, Some(1)),
    (libc::SYS_pivot_root, "pivot_root", Kind::Mount, Some(0)),
    (libc::SYS_unshare, "unshare", Kind::Namespace, None),
    (libc::SYS_mkdirat, "mkdirat", Kind::File, Some(1)),
    (libc::SYS_mknodat, "mknodat", Kind::File, Some(1)),
    (libc::SYS_unlinkat, "unlinkat", Kind::File, Some(1)),
    (libc::SYS_symlinkat, "symlinkat", Kind::File, Some(2)),
    (libc::SYS_linkat, "linkat", Kind::File, Some(3)),
    (libc::SYS_renameat, "renameat", Kind::File, Some(3)),
    (libc::SYS_renameat2, "renameat2", Kind::File, Some(3)),
    (libc::SYS_fchmodat, "fchmodat", Kind::File, Some(1)),
    (libc::SYS_fchownat, "fchownat", Kind::File, Some(1)),
    (libc::SYS_fchmod, "fchmod", Kind::File, None),
    (libc::SYS_fchown, "fchown", Kind::File, None),
    (libc::SYS_ftruncate, "ftruncate", Kind::File, None),
    (libc::SYS_truncate, "truncate", Kind::File, Some(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mkdir, "mkdir", Kind::File, Some(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rmdir, "rmdir", Kind::File, Some(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_unlink, "unlink", Kind::File, Some(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_symlink, "symlink", Kind::File, Some(1)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_link, "link", Kind::File, Some(1)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_rename, "rename", Kind::File, Some(1)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, "mknod", Kind::File, Some(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, "chmod", Kind::File, Some(0)),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chown, "chown", Kind::File, Some(0)),
    (libc::SYS_io_uring_setup, "io_uring_setup", Kind::Other, None),
];

/// A stopped process whose memory and files can be looked at.
pub(super) struct Process {
    pid: Pid,
    pidfd: OwnedFd,
    memory: File,
}

impl Process {
    /// Of a process that has come to its `exec`.
    pub(super) fn new(pid: Pid) -> io::Result<Self> {
        let memory = File::open(format!("/proc/{}/mem", pid.as_raw_pid()))?;
        Ok(Self { pid, pidfd: pidfd_open(pid, PidfdFlags::empty())?, memory })
    }

    /// What a system call that begins would change; `None` for nothing.
    pub(super) fn write_of(&self, number: i64, arguments: &[u64; 6]) -> Option<Write> {
        if let Some((_, name, kind, path)) = CALLS.iter().find(|(call, ..)| *call == number) {
            let path = path.map_or_else(String::new, |index| self.text(arguments[index]));
            return write(*kind, format!("{name} {path}"));
        }
        let [first, second, third, ..] = *arguments;
        match number {
            libc::SYS_sendto => self.sent(first, &self.bytes(second, third as usize)),
            libc::SYS_sendmsg => self.sent(first, &self.message(second)),
            libc::SYS_sendmmsg => (0..third)
                .find_map(|index| self.sent(first, &self.message(second + index * MMSGHDR_BYTES))),
            libc::SYS_write | libc::SYS_pwrite64 => {
                self.written(first, &self.bytes(second, third as usize))
            }
            libc::SYS_writev | libc::SYS_pwritev => {
                self.written(first, &self.gathered(second, third))
            }
            libc::SYS_openat => self.opened(second, third as i32),
            libc::SYS_openat2 => self.opened(second, self.word(third) as i32),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open => self.opened(first, second as i32),
            #[cfg(target_arch = "x86_64")]
            libc::SYS_creat => self.opened(first, libc::O_CREAT | libc::O_TRUNC),
            libc::SYS_bpf => bpf(first),
            libc::SYS_ioctl => ioctl(second),
            _ => None,
        }
    }

    fn sent(&self, fd: u64, datagram: &[u8]) -> Option<Write> {
        let socket = pidfd_getfd(&self.pidfd, fd as i32, PidfdGetfdFlags::empty()).ok()?;
        if sockopt::socket_domain(&socket) != Ok(AddressFamily::NETLINK) {
            return None;
        }
        let protocol = sockopt::socket_protocol(&socket).ok()?;
        let protocol = protocol.map_or(libc::NETLINK_ROUTE, |it| it.as_raw().get().cast_signed());
        let changes = netlink::changes(protocol, datagram);
        (!changes.is_empty()).then(|| write(Kind::Netlink, changes.join(" ")))?
    }

    fn written(&self, fd: u64, bytes: &[u8]) -> Option<Write> {
        let link = format!("/proc/{}/fd/{fd}", self.pid.as_raw_pid());
        let path = fs::read_link(link).ok()?;
        if path.starts_with("/proc") {
            write(Kind::Sysctl, format!("write {}", path.display()))
        } else if path.starts_with("/dev") || path.starts_with("/memfd:") {
            None
        } else if path.is_absolute() {
            write(Kind::File, format!("write {}", path.display()))
        } else {
            // `socket:[…]`, or something without a name.
            self.sent(fd, bytes)
        }
    }

    /// Opening a file changes something if that makes or empties it.
    fn opened(&self, path: u64, flags: i32) -> Option<Write> {
        let path = PathBuf::from(self.text(path));
        let changes = if path.symlink_metadata().is_ok() {
            flags & libc::O_TRUNC != 0 && !path.starts_with("/proc")
        } else {
            flags & libc::O_CREAT != 0
        };
        changes.then(|| write(Kind::File, format!("create or empty {}", path.display())))?
    }

    /// The bytes of a `struct msghdr`.
    fn message(&self, address: u64) -> Vec<u8> {
        self.gathered(self.word(address + 16), self.word(address + 24))
    }

    /// The bytes of a list of `struct iovec`.
    fn gathered(&self, address: u64, count: u64) -> Vec<u8> {
        let part = |index| {
            let part = address + 16 * index;
            self.bytes(self.word(part), self.word(part + 8) as usize)
        };
        (0..count).flat_map(part).collect()
    }

    fn word(&self, address: u64) -> u64 {
        self.bytes(address, 8).try_into().map_or(0, u64::from_ne_bytes)
    }

    fn text(&self, address: u64) -> String {
        let bytes = self.bytes(address, libc::PATH_MAX as usize);
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(&bytes[..end]).into_owned()
    }

    /// As many of these bytes as there are.
    fn bytes(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let read = self.memory.read_at(&mut bytes, address).unwrap_or(0);
        bytes.truncate(read);
        bytes
    }
}

/// Bytes of a `struct mmsghdr` where a pointer has 64 bits.
const MMSGHDR_BYTES: u64 = 64;

/// `enum bpf_cmd`, those that look only.
const READING_BPF_COMMANDS: [(u64, &str); 16] = [
    (1, "BPF_MAP_LOOKUP_ELEM"),
    (4, "BPF_MAP_GET_NEXT_KEY"),
    (7, "BPF_OBJ_GET"),
    (10, "BPF_PROG_TEST_RUN"),
    (11, "BPF_PROG_GET_NEXT_ID"),
    (12, "BPF_MAP_GET_NEXT_ID"),
    (13, "BPF_PROG_GET_FD_BY_ID"),
    (14, "BPF_MAP_GET_FD_BY_ID"),
    (15, "BPF_OBJ_GET_INFO_BY_FD"),
    (16, "BPF_PROG_QUERY"),
    (19, "BPF_BTF_GET_FD_BY_ID"),
    (20, "BPF_TASK_FD_QUERY"),
    (23, "BPF_BTF_GET_NEXT_ID"),
    (24, "BPF_MAP_LOOKUP_BATCH"),
    (30, "BPF_LINK_GET_FD_BY_ID"),
    (31, "BPF_LINK_GET_NEXT_ID"),
];

/// Those that return a new object: `BPF_MAP_CREATE`, `BPF_PROG_LOAD`,
/// `BPF_BTF_LOAD`.
const MAKING_BPF_COMMANDS: [u64; 3] = [0, 5, 18];

fn bpf(command: u64) -> Option<Write> {
    if READING_BPF_COMMANDS.iter().any(|(reads, _)| *reads == command) {
        return None;
    }
    let is_held = MAKING_BPF_COMMANDS.contains(&command);
    Some(Write { kind: Kind::Bpf, what: format!("bpf command {command}"), is_held })
}

/// Of a socket's requests those that only ask for a name or an index are left
/// out. Other files' requests (a terminal's) change nothing that a lab is made of.
fn ioctl(request: u64) -> Option<Write> {
    const SOCKET_REQUESTS: std::ops::Range<u64> = 0x8900..0x8a00;
    const READING: [u64; 2] = [libc::SIOCGIFNAME, libc::SIOCGIFINDEX];
    let changes = SOCKET_REQUESTS.contains(&request) && !READING.contains(&request);
    changes.then(|| write(Kind::Other, format!("ioctl {request:#x}")))?
}
