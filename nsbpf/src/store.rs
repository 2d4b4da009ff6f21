//! Where a lab keeps what the kernel cannot hold for it, and its lock.
//!
//! ```text
//! /run/nsbpf/locks/LAB              held while somebody works on the lab
//! /run/nsbpf/forwarding             who needs the host to forward, and how it was
//! /run/nsbpf/labs/LAB/              a tmpfs of its own
//!                     slot          the lab's slot
//!                     kept          there if the lab is to stay up
//!                     lab.yaml      what its file says, as it was at `up` or `run`
//!                     netns/NAME    a namespace, mounted on a file
//!                     adopted/NAME  a namespace of somebody else's, likewise
//!                     settings/NAME what the lab changed in a namespace
//!                     bpf/datapath/ in a bpffs of its own: pinned maps and links
//!                     datapath.json what is loaded
//! /run/netns/NAME -> …/netns/NAME   shows the namespace to `ip netns`
//! ```
//!
//! The folder is a mount: taking it away in one system call lets go of every
//! namespace and every pin in it, whatever state they are in. A name under
//! `/run/netns` is ours exactly if it is a link into the folder: made and
//! removed in one step, with nothing to write down first.

mod settings;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nsbpf_common::port::Slot;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::lab::Name;

const ROOT: &str = "/run/nsbpf";
const NETNS_NAMES: &str = "/run/netns";
/// How often a lock is tried whose file others remove at the same time.
const LOCK_TRIES: usize = 100;
/// How long a turn at a lab is waited for: several times what the largest takes.
const TURN_PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether the turn has come: with its lock, a lab's end
/// takes the lock's file away, so that there is nothing to wait on.
const TURN_POLL: Duration = Duration::from_millis(20);

/// Why the store could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file operation failed.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody else works on the lab.
    #[error(
        "the lab `{0}` is in use by another nsbpf. Wait until it is done, or stop it, then try again."
    )]
    Locked(Name),
    /// The lock's folder comes and goes, or is none.
    #[error(
        "{}: this file or its folder vanished each of the {LOCK_TRIES} times it was made",
        .0.display()
    )]
    Unsteady(PathBuf),
    /// Somebody else could have put anything there.
    #[error("{} is not a directory of root's: remove it, nsbpf makes it anew", .0.display())]
    Untrusted(PathBuf),
    /// Another lab took the slot a moment ago.
    #[error("another lab was given slot {0} at the same time")]
    SlotTaken(u16),
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |source| StoreError::Io { operation, path, source }
}

/// Takes a "not there" for an answer.
fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The places of a lab.
#[derive(Clone, Debug)]
pub struct Store {
    lab: Name,
    root: PathBuf,
}

/// Held while somebody works on a lab; let go of when dropped or when the
/// process ends, however it does.
#[derive(Debug)]
pub struct LabLock {
    file: File,
    path: PathBuf,
}

impl Store {
    /// The places of that lab. Touches nothing.
    #[must_use]
    pub fn new(lab: &Name) -> Self {
        Self { lab: lab.clone(), root: PathBuf::from(ROOT) }
    }

    /// The lab's name.
    #[must_use]
    pub fn lab(&self) -> &Name {
        &self.lab
    }

    /// The lab's folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.root.join("labs").join(self.lab.as_str())
    }

    /// Where the lab's pins are.
    #[must_use]
    pub fn pins(&self) -> PathBuf {
        self.bpffs().join("datapath")
    }

    fn bpffs(&self) -> PathBuf {
        self.folder().join("bpf")
    }

    /// Where the record of the loaded datapath is.
    #[must_use]
    pub fn datapath_record(&self) -> PathBuf {
        self.folder().join("datapath.json")
    }

    /// The note about forwarding on the host, which all labs share.
    #[must_use]
    pub fn forwarding_note() -> PathBuf {
        Path::new(ROOT).join("forwarding")
    }

    /// Where this lab writes that note, to put it in the other's place.
    #[must_use]
    pub fn forwarding_draft(&self) -> PathBuf {
        self.root.join(format!("forwarding.{}", self.lab))
    }

    /// Labs that have such a note of their own: a command was killed.
    pub fn forwarding_drafts() -> Result<Vec<Name>, StoreError> {
        let name = |path: PathBuf| {
            Name::new(path.file_name()?.to_str()?.strip_prefix("forwarding.")?).ok()
        };
        Ok(list(Path::new(ROOT))?.into_iter().filter_map(name).collect())
    }

    /// The file that a namespace is mounted on.
    #[must_use]
    pub fn netns_file(&self, namespace: &str) -> PathBuf {
        self.folder().join("netns").join(namespace)
    }

    /// The file that a namespace which the lab only wires is mounted on.
    #[must_use]
    pub fn adopted_file(&self, namespace: &str) -> PathBuf {
        self.folder().join("adopted").join(namespace)
    }

    /// Where `ip netns` looks for a namespace.
    #[must_use]
    pub fn netns_name(namespace: &str) -> PathBuf {
        Path::new(NETNS_NAMES).join(namespace)
    }

    /// Locks the lab, or says who is at it.
    pub fn lock(&self) -> Result<LabLock, StoreError> {
        let path = self.root.join("locks").join(self.lab.as_str());
        for _ in 0..LOCK_TRIES {
            let Some(file) = self.open_lock(&path)? else {
                continue;
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(StoreError::Locked(self.lab.clone())),
                Err(errno) => return Err(failed("lock", &path)(errno.into())),
            }
            // The one who held it before may have removed the file.
            let ours = file.metadata().map_err(failed("look at", &path))?;
            let there = if_there(fs::metadata(&path)).map_err(failed("look at", &path))?;
            if there.is_some_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
                // What one said that was killed.
                if ours.len() > 0 {
                    file.set_len(0).map_err(failed("empty", &path))?;
                }
                return Ok(LabLock { file, path });
            }
        }
        Err(StoreError::Unsteady(path))
    }

    /// Whether somebody is at the lab. Touches nothing.
    pub fn is_locked(&self) -> Result<bool, StoreError> {
        let path = self.root.join("locks").join(self.lab.as_str());
        let Some(file) = if_there(File::open(&path)).map_err(failed("open", &path))? else {
            return Ok(false);
        };
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => Ok(false),
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(failed("lock", &path)(errno.into())),
        }
    }

    /// Locks the lab when whoever is at it is done; or says who is at it, when that
    /// one is not to be done soon.
    pub fn lock_in_turn(&self) -> Result<LabLock, StoreError> {
        let deadline = Instant::now() + TURN_PATIENCE;
        loop {
            match self.lock() {
                Err(StoreError::Locked(_)) if Instant::now() < deadline && !self.is_held() => {
                    log::debug!("the lab {} is in use: waiting", self.lab);
                    std::thread::sleep(TURN_POLL);
                }
                done => return done,
            }
        }
    }

    /// Whether who locked the lab is to keep it.
    fn is_held(&self) -> bool {
        let path = self.root.join("locks").join(self.lab.as_str());
        fs::metadata(path).is_ok_and(|metadata| metadata.len() > 0)
    }

    /// `None` when the folder of locks went away in between.
    fn open_lock(&self, path: &Path) -> Result<Option<File>, StoreError> {
        self.create_root()?;
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        if_there(opened).map_err(failed("open", path))
    }

    fn create_root(&self) -> Result<(), StoreError> {
        for path in [self.root.clone(), self.root.join("labs"), self.root.join("locks")] {
            match fs::DirBuilder::new().mode(0o755).create(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // Somebody removes the empty tree: the caller tries again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed("create", &path)(error)),
            }
            let made = if_there(fs::symlink_metadata(&path)).map_err(failed("look at", &path))?;
            if made.is_some_and(|made| !made.is_dir() || made.uid() != 0) {
                return Err(StoreError::Untrusted(path));
            }
        }
        Ok(())
    }

    /// Locks what all labs share; waits for whoever has it. The lab is locked
    /// already, so that the folder is there and stays. Let go of when dropped.
    pub fn lock_root(&self) -> Result<File, StoreError> {
        let root = File::open(&self.root).map_err(failed("open", &self.root))?;
        flock(&root, FlockOperation::LockExclusive)
            .map_err(|errno| failed("lock", &self.root)(errno.into()))?;
        Ok(root)
    }

    /// Makes the lab's folder and notes its slot.
    pub fn create_folder(&self, slot: Slot) -> Result<(), StoreError> {
        let folder = self.folder();
        // Slots of different labs are handed out one at a time.
        let _root = self.lock_root()?;
        if self.slots_of_others()?.contains(&slot.get()) {
            return Err(StoreError::SlotTaken(slot.get()));
        }
        if let Err(error) = fs::create_dir(&folder)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(failed("create", &folder)(error));
        }
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        if !self.has_folder()? {
            mount("nsbpf", &folder, "tmpfs", flags, Some(c"mode=0755"))
                .map_err(|errno| failed("mount a tmpfs on", &folder)(errno.into()))?;
        }
        for name in ["netns", "adopted", "bpf"] {
            let path = folder.join(name);
            if !path.is_dir() {
                fs::create_dir(&path).map_err(failed("create", &path))?;
            }
        }
        let bpffs = self.bpffs();
        if device(&bpffs)? == device(&folder)? {
            mount("nsbpf", &bpffs, "bpf", flags, Some(c"mode=0700"))
                .map_err(|errno| failed("mount a bpffs on", &bpffs)(errno.into()))?;
        }
        // A folder of its own: the kernel may put pins into any new bpffs
        // (`CONFIG_BPF_PRELOAD`).
        let pins = self.pins();
        if !pins.is_dir() {
            fs::create_dir(&pins).map_err(failed("create", &pins))?;
        }
        // Last: a folder without a slot is an unfinished one.
        let path = folder.join("slot");
        fs::write(&path, format!("{}\n", slot.get())).map_err(failed("write", &path))
    }

    /// Lets go of everything in the lab's folder.
    pub fn remove_folder(&self) -> Result<(), StoreError> {
        let folder = self.folder();
        while self.has_folder()? {
            unmount(&folder, UnmountFlags::DETACH)
                .map_err(|errno| failed("unmount", &folder)(errno.into()))?;
        }
        // Also takes the mount away wherever another mount namespace has a copy.
        if_there(fs::remove_dir(&folder)).map_err(failed("remove", &folder)).map(drop)
    }

    /// The lab's slot; `None` when it has no folder, or an unfinished one.
    pub fn slot(&self) -> Result<Option<Slot>, StoreError> {
        read_slot(&self.folder())
    }

    /// Whether something is mounted on the lab's folder.
    pub fn has_folder(&self) -> Result<bool, StoreError> {
        let folder = self.folder();
        if !folder.exists() {
            return Ok(false);
        }
        Ok(device(&folder)? != device(&self.root)?)
    }

    /// Labs that have a folder, finished or not.
    pub fn labs() -> Result<Vec<Name>, StoreError> {
        names("labs")
    }

    /// Labs that have a lock, held or not.
    pub fn locks() -> Result<Vec<Name>, StoreError> {
        names("locks")
    }

    /// Notes that the lab is to stay up when the command ends. Of one that is
    /// known to stay nothing is written.
    pub fn keep(&self) -> Result<(), StoreError> {
        if self.is_kept() {
            return Ok(());
        }
        let path = self.folder().join("kept");
        fs::write(&path, "").map_err(failed("write", &path))
    }

    /// Whether the lab is to stay up: not one that a killed `run` left.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.folder().join("kept").exists()
    }

    /// Where the lab's source is kept.
    #[must_use]
    pub fn lab_file(&self) -> PathBuf {
        self.folder().join("lab.yaml")
    }

    /// Keeps what the lab's file says; who reads meanwhile finds all of it, or all
    /// of the one before.
    pub fn write_lab_source(&self, source: &str) -> Result<(), StoreError> {
        // A second `up` writes nothing.
        if self.lab_source()?.as_deref() == Some(source) {
            return Ok(());
        }
        let (path, new) = (self.lab_file(), self.folder().join("lab.yaml.new"));
        fs::write(&new, source).map_err(failed("write", &new))?;
        fs::rename(&new, &path).map_err(failed("rename a file to", &path))
    }

    /// What the lab's file said; `None` where it was not kept.
    pub fn lab_source(&self) -> Result<Option<String>, StoreError> {
        let path = self.lab_file();
        if_there(fs::read_to_string(&path)).map_err(failed("read", &path))
    }

    /// Slots that other labs have.
    pub fn slots_of_others(&self) -> Result<Vec<u16>, StoreError> {
        let labs = self.root.join("labs");
        let mut slots = Vec::new();
        for folder in list(&labs)? {
            if folder.file_name() != Some(self.lab.as_str().as_ref()) {
                slots.extend(read_slot(&folder)?.map(Slot::get));
            }
        }
        Ok(slots)
    }

    /// Files that hold, or were to hold, the lab's namespaces.
    pub fn netns_files(&self) -> Result<Vec<PathBuf>, StoreError> {
        list(&self.folder().join("netns"))
    }

    /// Files that hold, or were to hold, namespaces which the lab only wires.
    pub fn adopted_files(&self) -> Result<Vec<PathBuf>, StoreError> {
        list(&self.folder().join("adopted"))
    }

    /// What `ip netns` shows.
    pub fn netns_names() -> Result<Vec<PathBuf>, StoreError> {
        list(Path::new(NETNS_NAMES))
    }

    /// The lab that a name which `ip netns` shows belongs to.
    #[must_use]
    pub fn owner_of(name: &Path) -> Option<String> {
        let target = fs::read_link(name).ok()?;
        let lab = target.parent()?.parent()?;
        let ours = lab.parent()? == Path::new(ROOT).join("labs")
            && target.parent()?.file_name()? == "netns"
            && target.file_name() == name.file_name();
        ours.then(|| lab.file_name().map(|lab| lab.to_string_lossy().into_owned()))?
    }

    /// Shows a namespace to `ip netns`.
    pub fn publish(&self, namespace: &str) -> Result<(), StoreError> {
        let names = Path::new(NETNS_NAMES);
        fs::create_dir_all(names).map_err(failed("create", names))?;
        let name = Self::netns_name(namespace);
        symlink(self.netns_file(namespace), &name).map_err(failed("create", &name))
    }

    /// Takes a namespace of this lab out of `ip netns`'s sight. One that is not
    /// there is no error.
    pub fn unpublish(&self, namespace: &str) -> Result<(), StoreError> {
        let name = Self::netns_name(namespace);
        if Self::owner_of(&name).as_deref() == Some(self.lab.as_str()) {
            if_there(fs::remove_file(&name)).map_err(failed("remove", &name))?;
        }
        Ok(())
    }

    /// Lets go of a namespace. One that is not there is no error.
    pub fn remove_netns(&self, namespace: &str) -> Result<(), StoreError> {
        let file = self.netns_file(namespace);
        unmount_from(&file)?;
        // While the file is there, a run that was killed here is gone on with. A
        // record that outlived it would be taken for the next namespace's of that
        // name.
        let settings = self.settings_file(namespace);
        if_there(fs::remove_file(&settings)).map_err(failed("remove", &settings))?;
        if_there(fs::remove_file(&file)).map_err(failed("remove", &file)).map(drop)
    }

    /// Lets go of a namespace that the lab only wires. One that is not there is no
    /// error.
    pub fn remove_adopted(&self, namespace: &str) -> Result<(), StoreError> {
        let_go(&self.adopted_file(namespace))
    }
}

/// Unmounts and removes a file that holds a namespace.
fn unmount_from(file: &Path) -> Result<(), StoreError> {
    match unmount(file, UnmountFlags::DETACH) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed("unmount", file)(errno.into())),
    }
}

fn let_go(file: &Path) -> Result<(), StoreError> {
    unmount_from(file)?;
    if_there(fs::remove_file(file)).map_err(failed("remove", file)).map(drop)
}

impl LabLock {
    /// Says that the lock is held for as long as a person wants: nobody need wait
    /// for it.
    pub fn hold(&self) -> Result<(), StoreError> {
        (&self.file).write_all(b"held\n").map_err(failed("write", &self.path))
    }

    /// Lets go of the lock of a lab that is no more, and of the folders that
    /// nobody uses then.
    pub fn retire(self) {
        let Self { file, path } = self;
        // Failing means that others are at it, or that it is gone already.
        let _ = fs::remove_file(&path);
        drop(file);
        let root = Path::new(ROOT);
        for folder in [root.join("locks"), root.join("labs"), root.to_owned()] {
            let _ = fs::remove_dir(folder);
        }
    }
}

/// The labs that have a file in a folder of the root.
fn names(folder: &str) -> Result<Vec<Name>, StoreError> {
    let files = list(&Path::new(ROOT).join(folder))?;
    let name = |file: &PathBuf| Name::new(file.file_name()?.to_str()?).ok();
    Ok(files.iter().filter_map(name).collect())
}

fn read_slot(folder: &Path) -> Result<Option<Slot>, StoreError> {
    let path = folder.join("slot");
    let text = if_there(fs::read_to_string(&path)).map_err(failed("read", &path))?;
    Ok(text.and_then(|text| text.trim().parse().ok()).and_then(Slot::new))
}

fn device(path: &Path) -> Result<u64, StoreError> {
    fs::metadata(path).map(|metadata| metadata.dev()).map_err(failed("look at", path))
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let entries = if_there(fs::read_dir(folder)).map_err(failed("list", folder))?;
    let Some(entries) = entries else {
        return Ok(Vec::new());
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(failed("list", folder))?.path());
    }
    paths.sort();
    Ok(paths)
}
