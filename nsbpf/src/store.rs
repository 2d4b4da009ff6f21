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
//!                     offloads/NAME and about interfaces in it
//!                     bpf/datapath/ in a bpffs of its own: pinned maps and links
//!                     datapath.json what is loaded
//!                     policy/       what is known of the policy that is in force
//!                     policy-log    locked by who reads what the policy logs
//! /run/netns/NAME -> …/netns/NAME   shows the namespace to `ip netns`
//! ```
//!
//! The folder is a mount: taking it away in one system call lets go of every
//! namespace and every pin in it, whatever state they are in. A name under
//! `/run/netns` is ours exactly if it is a link into the folder: made and
//! removed in one step, with nothing to write down first.

mod lock;
mod note;
mod offloads;
mod policy;
mod settings;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use nsbpf_common::port::Slot;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::lab::Name;
use lock::LOCK_TRIES;
pub use lock::LabLock;
pub use offloads::FormerFeatures;
pub use policy::{Carried, PolicyRecord, RuleRecord, SettingRecord};

const ROOT: &str = "/run/nsbpf";
const NETNS_NAMES: &str = "/run/netns";

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

    /// Where it is noted that the grace periods of the host are hurried.
    #[must_use]
    pub fn expedited_note() -> PathBuf {
        Path::new(ROOT).join("expedited")
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
        for name in ["netns", "adopted", "bpf", "offloads"] {
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
        for note in [self.settings_file(namespace), self.offloads_file(namespace)] {
            if_there(fs::remove_file(&note)).map_err(failed("remove", &note))?;
        }
        if_there(fs::remove_file(&file)).map_err(failed("remove", &file)).map(drop)
    }

    /// Lets go of a namespace that the lab only wires. One that is not there is no
    /// error.
    pub fn remove_adopted(&self, namespace: &str) -> Result<(), StoreError> {
        let note = self.offloads_file(namespace);
        if_there(fs::remove_file(&note)).map_err(failed("remove", &note))?;
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
