//! One number for everything that makes the object what it is.
//!
//! It answers whether the kept object belongs to the sources beside it, so it has
//! to be the same in every checkout: paths are relative, order is by name, and
//! neither time nor owner counts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{Error, compile, lock, manifest};

/// The package that becomes the object.
const ROOT: &str = "nsbpf-ebpf";

/// The folders and files that are compiled, relative to the workspace.
pub(crate) const SOURCES: &[&str] =
    &["nsbpf-common/Cargo.toml", "nsbpf-common/src", "nsbpf-ebpf/Cargo.toml", "nsbpf-ebpf/src"];

/// The digest of the kernel half's sources in `workspace`, in hexadecimal.
pub fn digest(workspace: &Path) -> Result<String, Error> {
    let mut hash = Framed::new("nsbpf kernel half, 1");
    for relative in files(workspace)? {
        let path = workspace.join(&relative);
        let content = fs::read(&path).map_err(Error::read(&path))?;
        hash.add(relative.as_os_str().as_encoded_bytes());
        hash.add(&content);
    }
    let path = workspace.join("Cargo.lock");
    let text = fs::read_to_string(&path).map_err(Error::read(&path))?;
    for line in lock::closure(&text, ROOT).map_err(Error::malformed(path))? {
        hash.add(line.as_bytes());
    }
    for line in manifest::inherited(workspace, SOURCES)? {
        hash.add(line.as_bytes());
    }
    for (name, value) in compile::PROFILE {
        hash.add(name.as_bytes());
        hash.add(value.as_bytes());
    }
    for argument in compile::LINK_ARGUMENTS {
        hash.add(argument.as_bytes());
    }
    Ok(hash.finish())
}

/// The SHA-256 of `bytes`, in hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// Every source file, relative to the workspace, sorted.
fn files(workspace: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut waiting: Vec<PathBuf> = SOURCES.iter().map(PathBuf::from).collect();
    while let Some(relative) = waiting.pop() {
        let path = workspace.join(&relative);
        if !path.is_dir() {
            files.push(relative);
            continue;
        }
        for entry in fs::read_dir(&path).map_err(Error::read(&path))? {
            let name = entry.map_err(Error::read(&path))?.file_name();
            if !is_leftover(&name.to_string_lossy()) {
                waiting.push(relative.join(name));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// What editors and version control leave beside sources.
fn is_leftover(name: &str) -> bool {
    name.starts_with('.')
        || name.starts_with('#')
        || name.ends_with(['~', '#'])
        || [".bak", ".orig", ".rej", ".swp"].iter().any(|end| name.ends_with(end))
}

/// A hash over a list: each item goes in behind its length, so that no two lists
/// run together to the same bytes.
struct Framed(Sha256);

impl Framed {
    fn new(purpose: &str) -> Self {
        let mut framed = Self(Sha256::new());
        framed.add(purpose.as_bytes());
        framed
    }

    fn add(&mut self, item: &[u8]) {
        self.0.update((item.len() as u64).to_le_bytes());
        self.0.update(item);
    }

    fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(items: &[&str]) -> String {
        let mut hash = Framed::new("test");
        for item in items {
            hash.add(item.as_bytes());
        }
        hash.finish()
    }

    #[test]
    fn items_do_not_run_together() {
        assert_ne!(framed(&["ab", "c"]), framed(&["a", "bc"]));
        assert_ne!(framed(&["ab"]), framed(&["ab", ""]));
        assert_eq!(framed(&["ab", "c"]), framed(&["ab", "c"]));
    }

    #[test]
    fn known_sha256() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(sha256(b""), empty);
    }

    /// A workspace as small as can be, below `place`.
    fn workspace(place: &Path) {
        for folder in ["nsbpf-common/src", "nsbpf-ebpf/src/stage"] {
            fs::create_dir_all(place.join(folder)).unwrap();
        }
        for (file, content) in [
            ("Cargo.toml", "[workspace.package]\nedition = \"2024\"\n"),
            ("Cargo.lock", "[[package]]\nname = \"nsbpf-ebpf\"\nversion = \"0.1.0\"\n"),
            ("nsbpf-common/Cargo.toml", ""),
            ("nsbpf-common/src/lib.rs", "#![no_std]"),
            ("nsbpf-ebpf/Cargo.toml", "package.edition.workspace = true\n"),
            ("nsbpf-ebpf/src/main.rs", "mod stage;"),
            ("nsbpf-ebpf/src/stage/mod.rs", ""),
        ] {
            fs::write(place.join(file), content).unwrap();
        }
    }

    #[test]
    fn same_sources_elsewhere_have_the_same_digest() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        workspace(here.path());
        workspace(there.path());
        fs::write(there.path().join("nsbpf-ebpf/src/.main.rs.swp"), "editing").unwrap();
        fs::write(there.path().join("nsbpf-ebpf/src/main.rs~"), "before").unwrap();
        assert_eq!(digest(here.path()).unwrap(), digest(there.path()).unwrap());
    }

    #[test]
    fn every_source_counts() {
        let place = tempfile::tempdir().unwrap();
        workspace(place.path());
        let before = digest(place.path()).unwrap();
        for file in [
            "Cargo.toml",
            "Cargo.lock",
            "nsbpf-common/src/lib.rs",
            "nsbpf-ebpf/Cargo.toml",
            "nsbpf-ebpf/src/stage/mod.rs",
        ] {
            let path = place.path().join(file);
            let content = fs::read_to_string(&path).unwrap();
            let changed = content.replace("2024", "2021").replace("0.1.0", "0.1.1") + "\n";
            fs::write(&path, changed).unwrap();
            assert_ne!(digest(place.path()).unwrap(), before, "{file}");
            fs::write(&path, content).unwrap();
        }
        assert_eq!(digest(place.path()).unwrap(), before);
    }
}
