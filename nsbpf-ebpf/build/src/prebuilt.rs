//! The object that is kept in the repository, and the record beside it.
//!
//! The record says which sources the object was made from and by which tools, so
//! that whoever does not change the kernel half needs neither compiler nor linker.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Error, Toolchain, digest::sha256};

/// Where the object and its record lie, relative to the workspace.
pub(crate) const FOLDER: &str = "nsbpf-ebpf/prebuilt";

/// What is known about the kept object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The digest of the sources that it was made from.
    pub digest: String,
    /// The SHA-256 of the object itself.
    pub sha256: String,
    /// The compiler that made it.
    pub compiler: String,
    /// The linker that made it.
    pub linker: String,
}

impl Record {
    /// The record of an `object` that `toolchain` made from sources of that digest.
    #[must_use]
    pub fn new(digest: String, object: &[u8], toolchain: &Toolchain) -> Self {
        Self {
            digest,
            sha256: sha256(object),
            compiler: toolchain.compiler.version.clone(),
            linker: toolchain.linker.version.clone(),
        }
    }

    /// Whether `toolchain` is the one that made the object.
    #[must_use]
    pub fn made_by(&self, toolchain: &Toolchain) -> bool {
        self.compiler == toolchain.compiler.version && self.linker == toolchain.linker.version
    }

    fn from_toml(text: &str) -> Result<Self, String> {
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let field = |name: &str| {
            let value = table.get(name).and_then(toml::Value::as_str);
            value.map(str::to_owned).ok_or_else(|| format!("has no `{name}`"))
        };
        Ok(Self {
            digest: field("digest")?,
            sha256: field("sha256")?,
            compiler: field("compiler")?,
            linker: field("linker")?,
        })
    }

    fn to_toml(&self) -> String {
        let quoted = |text: &str| toml::Value::from(text).to_string();
        format!(
            "# Written by `cargo xtask ebpf`, together with the object beside it.\n\
             \n\
             # The sources that made it: nsbpf-ebpf, nsbpf-common and what they are locked to.\n\
             digest = {}\n\
             # The object itself.\n\
             sha256 = {}\n\
             # With these tools the same sources give the same bytes.\n\
             compiler = {}\n\
             linker = {}\n",
            quoted(&self.digest),
            quoted(&self.sha256),
            quoted(&self.compiler),
            quoted(&self.linker),
        )
    }
}

/// The kept object's path, whether or not it exists.
#[must_use]
pub fn path(workspace: &Path) -> PathBuf {
    workspace.join(FOLDER).join("nsbpf.o")
}

/// The kept object with its record, where there is one and it is the one that
/// the record is about.
pub fn read(workspace: &Path) -> Result<Option<(Record, Vec<u8>)>, Error> {
    let (record, object) = (record_path(workspace), path(workspace));
    if !record.exists() || !object.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&record).map_err(Error::read(&record))?;
    let bytes = fs::read(&object).map_err(Error::read(object))?;
    let record = Record::from_toml(&text).map_err(Error::malformed(record))?;
    Ok((record.sha256 == sha256(&bytes)).then_some((record, bytes)))
}

/// Keeps `object`, and `record` beside it.
pub fn write(workspace: &Path, record: &Record, object: &[u8]) -> Result<(), Error> {
    let folder = workspace.join(FOLDER);
    fs::create_dir_all(&folder).map_err(Error::write(folder))?;
    let (record_path, path) = (record_path(workspace), path(workspace));
    fs::write(&path, object).map_err(Error::write(path))?;
    fs::write(&record_path, record.to_toml()).map_err(Error::write(record_path))
}

fn record_path(workspace: &Path) -> PathBuf {
    workspace.join(FOLDER).join("nsbpf.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            digest: "d1".to_owned(),
            sha256: sha256(b"object"),
            compiler: "rustc 1.96.0 (\"quoted\")".to_owned(),
            linker: "bpf-linker 0.13.0".to_owned(),
        }
    }

    #[test]
    fn a_record_survives_the_file() {
        assert_eq!(Record::from_toml(&record().to_toml()), Ok(record()));
    }

    #[test]
    fn an_object_that_is_not_the_recorded_one_does_not_count() {
        let workspace = tempfile::tempdir().unwrap();
        assert_eq!(read(workspace.path()).unwrap(), None);
        write(workspace.path(), &record(), b"object").unwrap();
        let kept = read(workspace.path()).unwrap();
        assert_eq!(kept, Some((record(), b"object".to_vec())));
        fs::write(path(workspace.path()), b"other").unwrap();
        assert_eq!(read(workspace.path()).unwrap(), None);
    }

    #[test]
    fn an_incomplete_record_says_what_it_lacks() {
        assert_eq!(Record::from_toml("digest = \"d1\""), Err("has no `sha256`".to_owned()));
    }
}
