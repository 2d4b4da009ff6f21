//! The lock of a lab: who works on one, and how long others wait.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{ROOT, Store, StoreError, failed, if_there, names};
use crate::lab::Name;

/// How often a lock is tried whose file others remove at the same time.
pub(super) const LOCK_TRIES: usize = 100;
/// How long a turn at a lab is waited for: several times what the largest takes.
const TURN_PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked whether the turn has come: with its lock, a lab's end
/// takes the lock's file away, so that there is nothing to wait on.
const TURN_POLL: Duration = Duration::from_millis(20);

/// Held while somebody works on a lab; let go of when dropped or when the
/// process ends, however it does.
#[derive(Debug)]
pub struct LabLock {
    file: File,
    path: PathBuf,
}

impl Store {
    fn lock_file(&self) -> PathBuf {
        self.root.join("locks").join(self.lab.as_str())
    }

    /// Locks the lab, or says who is at it.
    pub fn lock(&self) -> Result<LabLock, StoreError> {
        let path = self.lock_file();
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
        let path = self.lock_file();
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
        fs::metadata(self.lock_file()).is_ok_and(|metadata| metadata.len() > 0)
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

    /// Labs that have a lock, held or not.
    pub fn locks() -> Result<Vec<Name>, StoreError> {
        names("locks")
    }

    /// Locks what all labs share; waits for whoever has it. The lab is locked
    /// already, so that the folder is there and stays. Let go of when dropped.
    pub fn lock_root(&self) -> Result<File, StoreError> {
        let root = File::open(&self.root).map_err(failed("open", &self.root))?;
        flock(&root, FlockOperation::LockExclusive)
            .map_err(|errno| failed("lock", &self.root)(errno.into()))?;
        Ok(root)
    }
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
