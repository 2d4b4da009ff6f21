//! Network namespaces: making them, opening them, working inside them.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{Mode, OFlags};
use rustix::mount::mount_bind;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::socket::{Netlink, NetlinkError};
use super::{link, sysctl};

/// File system type of namespace files (`NSFS_MAGIC`).
const NSFS_MAGIC: i64 = 0x6e73_6673;
/// Asks which kind of namespace it is (`include/uapi/linux/nsfs.h`).
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// Why a namespace could not be made or entered.
#[derive(Debug, thiserror::Error)]
pub enum NetNsError {
    /// A step failed.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The new namespace could not be prepared.
    #[error("prepare the namespace of {}: {source}", path.display())]
    Prepare {
        /// The file that holds the namespace.
        path: PathBuf,
        /// What the kernel said.
        source: NetlinkError,
    },
}

/// A network namespace, kept alive while this is held.
#[derive(Debug)]
pub struct NetNs {
    file: OwnedFd,
}

/// A namespace just made, and a socket inside it.
pub struct Created {
    /// The namespace.
    pub netns: NetNs,
    /// A socket that works on it.
    pub netlink: Netlink,
}

impl NetNs {
    /// Opens the namespace that a file holds. `Ok(None)` when the file is an
    /// ordinary one: no namespace is mounted on it.
    pub fn open(path: &Path) -> io::Result<Option<Self>> {
        Self::open_with(path, OFlags::NOFOLLOW)
    }

    fn open_with(path: &Path, flags: OFlags) -> io::Result<Option<Self>> {
        // A file that is none must not block, or do anything.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | flags;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        if rustix::fs::fstatfs(&file)?.f_type as i64 != NSFS_MAGIC {
            return Ok(None);
        }
        // SAFETY: the file is open, and the request takes no argument.
        let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
        Ok((kind == libc::CLONE_NEWNET).then_some(Self { file }))
    }

    /// Opens the namespace that a file of somebody else's leads to. `Ok(None)` when
    /// it is another kind of file.
    pub fn find(path: &Path) -> io::Result<Option<Self>> {
        Self::open_with(path, OFlags::empty())
    }

    /// The calling thread's namespace.
    pub fn current() -> io::Result<Self> {
        File::open("/proc/thread-self/ns/net").map(|file| Self { file: file.into() })
    }

    /// What tells the namespace from every other that is alive.
    #[must_use]
    pub fn inode(&self) -> u64 {
        // It cannot fail on an open file.
        rustix::fs::fstat(&self.file).map_or(0, |stat| stat.st_ino)
    }

    /// The same namespace, once more.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.file.try_clone().map(|file| Self { file })
    }

    /// Runs a function inside the namespace, on a thread of its own: no other
    /// thread ever changes its namespace, so none can be left in a wrong one.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    move_into_link_name_space(self.as_fd(), Some(LinkNameSpaceType::Network))?;
                    Ok(work())
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a function inside a new namespace without a name, on a thread of its
    /// own: whatever it makes there goes with it.
    ///
    /// # Errors
    /// It takes `CAP_SYS_ADMIN`, and `user.max_net_namespaces` may be reached.
    pub fn scratch<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
        visit(|| {
            // SAFETY: only the network namespace of this thread changes.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
            Ok(work())
        })
    }

    /// Visits each of the namespaces, from one thread: opens a socket there, and
    /// does some work, which is told the place of the namespace in the list.
    pub fn visit_all<T: Send>(
        namespaces: &[&Self],
        mut work: impl FnMut(usize) -> io::Result<T> + Send,
    ) -> io::Result<Vec<(Netlink, T)>> {
        let visits = Self::run_in_each(namespaces, |place| {
            let netlink = Netlink::open().map_err(io::Error::other)?;
            Ok((netlink, work(place)?))
        });
        visits?.into_iter().collect()
    }

    /// Runs a function inside each of the namespaces, from one thread. It is told the
    /// place of the namespace in the list.
    pub fn run_in_each<T: Send>(
        namespaces: &[&Self],
        mut work: impl FnMut(usize) -> T + Send,
    ) -> io::Result<Vec<T>> {
        visit(|| {
            let mut done = Vec::with_capacity(namespaces.len());
            for (place, namespace) in namespaces.iter().enumerate() {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
                sysctl::entered();
                done.push(work(place));
            }
            Ok(done)
        })
    }

    /// Mounts the namespace on a file, which must not exist yet.
    pub fn mount_on(&self, path: &Path) -> Result<(), NetNsError> {
        let failed = |operation| {
            move |source: io::Error| NetNsError::Io { operation, path: path.to_owned(), source }
        };
        File::create_new(path).map_err(failed("create"))?;
        mount_bind(format!("/proc/self/fd/{}", self.file.as_raw_fd()), path)
            .map_err(|errno| failed("mount a network namespace on")(errno.into()))
    }

    /// Makes a namespace for each of the files, prepares it, and mounts it on
    /// the file, which must not exist yet.
    ///
    /// Preparing means: IPv6 defaults are set before a link exists (no duplicate
    /// address detection, no router solicitation: with hundreds of namespaces on
    /// a bridge they are a storm), and the loopback interface is up.
    ///
    /// It stops at the first that fails: so many were made, and why not the next.
    #[must_use]
    pub fn create(paths: &[PathBuf]) -> (Vec<Created>, Option<NetNsError>) {
        visit(|| {
            let mut created = Vec::with_capacity(paths.len());
            for path in paths {
                match create_here(path) {
                    Ok(one) => created.push(one),
                    Err(error) => return (created, Some(error)),
                }
            }
            (created, None)
        })
    }
}

/// Processes whose network namespace is one of these, by the namespace's inode:
/// number and name.
pub fn users<'a>(
    namespaces: impl IntoIterator<Item = &'a NetNs>,
) -> HashMap<u64, Vec<(u32, String)>> {
    let wanted: HashSet<u64> = namespaces.into_iter().map(NetNs::inode).collect();
    let mut users: HashMap<u64, Vec<(u32, String)>> = HashMap::new();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Ok(pid) = process.file_name().to_string_lossy().parse() else {
            continue;
        };
        // A process may end while we look: it is no user then.
        let Ok(namespace) = std::fs::metadata(process.path().join("ns/net")) else {
            continue;
        };
        if wanted.contains(&namespace.ino()) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            users.entry(namespace.ino()).or_default().push((pid, name.trim_end().to_owned()));
        }
    }
    users
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Runs a function on a thread that may change its namespace, and ends.
fn visit<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn create_here(path: &Path) -> Result<Created, NetNsError> {
    let failed = |operation| {
        move |source: io::Error| NetNsError::Io { operation, path: path.to_owned(), source }
    };
    // SAFETY: only the network namespace of this thread changes; no file
    // descriptor table or memory that others share does.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
        .map_err(|source| failed("make a network namespace for")(source.into()))?;
    sysctl::entered();
    set_ipv6_defaults().map_err(failed("set IPv6 defaults for"))?;
    let prepare = |source| NetNsError::Prepare { path: path.to_owned(), source };
    let mut netlink = Netlink::open().map_err(prepare)?;
    netlink.request(link::set_up(link::LOOPBACK)).map_err(prepare)?;
    File::create_new(path).map_err(failed("create"))?;
    mount_bind("/proc/thread-self/ns/net", path)
        .map_err(|source| failed("mount a network namespace on")(source.into()))?;
    let netns = NetNs::current().map_err(failed("open the namespace of"))?;
    Ok(Created { netns, netlink })
}

fn set_ipv6_defaults() -> io::Result<()> {
    const DEFAULTS: [(&str, &str); 5] = [
        ("accept_dad", "0"),
        // An interface that is set down keeps its addresses, as it does with IPv4
        // (`addrconf_ifdown`, Linux 6.18).
        ("keep_addr_on_down", "1"),
        ("router_solicitations", "0"),
        // Milliseconds. What multicast groups an interface joins is told at once,
        // before the bridge begins to flood, and not for seconds afterwards.
        ("mldv1_unsolicited_report_interval", "10"),
        ("mldv2_unsolicited_report_interval", "10"),
    ];
    for (name, value) in DEFAULTS {
        match sysctl::write(&format!("net/ipv6/conf/default/{name}"), value) {
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            done => done?,
        }
    }
    Ok(())
}
