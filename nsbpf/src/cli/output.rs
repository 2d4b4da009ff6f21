//! A file that a command writes, all of it or nothing: until it is whole, what was there
//! stays.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, Uid, fchmod, fchown, open, openat, renameat, unlinkat,
};

/// A file that is to be written.
pub(super) struct Output {
    path: PathBuf,
    place: Place,
}

enum Place {
    /// A pipe, a terminal: nothing stays there.
    Through(File),
    /// Beside what is to be replaced.
    Beside(Beside),
}

/// A file that takes another's place once it is whole, and goes otherwise.
struct Beside {
    file: File,
    folder: OwnedFd,
    name: OsString,
    temporary: OsString,
    is_whole: bool,
}

impl Output {
    /// Makes it, so that nobody waits in vain: the folder has to be there and writable. It
    /// is written later, also from another mount namespace.
    pub(super) fn create(path: PathBuf) -> Result<Self> {
        let place = Place::of(&path).with_context(|| format!("create {}", path.display()))?;
        Ok(Self { path, place })
    }

    /// Writes all of it.
    pub(super) fn write(self, text: &str) -> Result<()> {
        let Self { path, place } = self;
        let written = match place {
            Place::Through(mut file) => file.write_all(text.as_bytes()),
            Place::Beside(beside) => beside.write(text),
        };
        written.with_context(|| format!("write {}", path.display()))
    }
}

impl Place {
    fn of(path: &Path) -> io::Result<Self> {
        // Through a link to a file that one may have meant.
        let found = path.canonicalize();
        let path = found.as_deref().unwrap_or(path);
        match path.metadata() {
            Ok(there) if !there.is_file() => Ok(Self::Through(File::create(path)?)),
            Ok(there) => Ok(Self::Beside(Beside::new(path, Some(&there))?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Self::Beside(Beside::new(path, None)?))
            }
            Err(error) => Err(error),
        }
    }
}

impl Beside {
    /// It belongs to whom what it replaces does.
    fn new(path: &Path, there: Option<&Metadata>) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut temporary = OsString::from(".");
        temporary.push(&name);
        temporary.push(format!(".{}", std::process::id()));
        let folder =
            open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = openat(&folder, &temporary, new, Mode::from_raw_mode(0o666))?;
        let beside = Self { file: file.into(), folder, name, temporary, is_whole: false };
        if let Some(there) = there {
            let (owner, group) = (Uid::from_raw(there.uid()), Gid::from_raw(there.gid()));
            fchown(&beside.file, Some(owner), Some(group))?;
            fchmod(&beside.file, Mode::from_raw_mode(there.mode() & 0o777))?;
        }
        Ok(beside)
    }

    fn write(mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()?;
        let folder = self.folder.as_fd();
        renameat(folder, &self.temporary, folder, &self.name)?;
        self.is_whole = true;
        Ok(())
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if !self.is_whole {
            // What cannot be removed can be seen by its name.
            let _ = unlinkat(&self.folder, &self.temporary, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_was_there_stays_until_it_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        let names = || fs::read_dir(folder.path()).unwrap().count();
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let output = Output::create(path.clone()).unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names()), ("before", 2));
        drop(output);
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names()), ("before", 1));
        Output::create(path.clone()).unwrap().write("after").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names()), ("after", 1));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let missing = folder.path().join("none/report.json");
        let error = Output::create(missing.clone()).err().unwrap().to_string();
        assert_eq!(error, format!("create {}", missing.display()));
        Output::create("/dev/null".into()).unwrap().write("gone").unwrap();
    }
}
