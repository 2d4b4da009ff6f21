//! Reading the lab that the command line names.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::no_lab::no_lab;
use crate::lab::Lab;
use crate::store::Store;

/// Bytes of a lab file at most: a hundred times what a lab of 1,000 namespaces
/// takes. What never ends (`/dev/zero`) is not a lab.
const MAX_BYTES: u64 = 16 << 20;

/// A file that holds no lab, whatever it says.
#[derive(Debug, thiserror::Error)]
pub(super) enum LabFileError {
    #[error("read the lab {}: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("the lab {} is longer than {} MiB", .0.display(), MAX_BYTES >> 20)]
    TooLong(PathBuf),
    #[error("the lab {} is not UTF-8 text: byte {at} is not", file.display())]
    NotText { file: PathBuf, at: usize },
}

/// Reads and checks a lab.
pub(super) fn read(file: &Path) -> anyhow::Result<Lab> {
    Ok(read_with_source(file)?.0)
}

/// Reads and checks a lab; returns also what its file says, word for word.
pub(super) fn read_with_source(file: &Path) -> anyhow::Result<(Lab, String)> {
    let source = read_text(file)?;
    Ok((Lab::parse(&source, &file.display().to_string())?, source))
}

fn read_text(file: &Path) -> Result<String, LabFileError> {
    let unreadable = |source| LabFileError::Unreadable { file: file.to_owned(), source };
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    opened.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(LabFileError::TooLong(file.to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| LabFileError::NotText {
        file: file.to_owned(),
        at: error.utf8_error().valid_up_to(),
    })
}

/// The lab as it was brought up.
pub(super) fn kept(store: &Store) -> anyhow::Result<Lab> {
    let lab = store.lab();
    if !store.has_folder()? {
        return Err(no_lab(lab));
    }
    let source = store.lab_source()?.with_context(|| {
        format!(
            "the lab `{lab}` was not brought up to its end, or by an nsbpf that did not keep \
             its file: `nsbpf up` it again"
        )
    })?;
    Ok(Lab::parse(&source, &store.lab_file().display().to_string())?)
}
