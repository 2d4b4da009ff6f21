//! Reading the lab that the command line names.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use nsbpf_common::ABI_VERSION;

use super::no_lab::no_lab;
use crate::datapath;
use crate::lab::Lab;
use crate::observe::policy;
use crate::store::{PolicyRecord, Store};

/// Bytes of a lab file at most: a hundred times what a lab of 1,000 namespaces
/// takes. What never ends (`/dev/zero`) is not a lab.
const MAX_BYTES: u64 = 16 << 20;

/// What errors call the file of rules that a policy in force is from.
const RULES_IN_FORCE: &str = "the rules in force";

/// A file that holds no lab, whatever it says.
#[derive(Debug, thiserror::Error)]
pub(super) enum LabFileError {
    #[error("read {}: {source}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{} is longer than {} MiB", .0.display(), MAX_BYTES >> 20)]
    TooLong(PathBuf),
    #[error("{} is not UTF-8 text: byte {at} is not", file.display())]
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

/// Reads a file of rules, or standard input for `-`; returns also what errors call it.
pub(super) fn read_rules(file: &Path) -> Result<(String, String), LabFileError> {
    if file != Path::new("-") {
        return Ok((read_text(file)?, file.display().to_string()));
    }
    let name = "standard input";
    Ok((read_all(Path::new(name), io::stdin().lock())?, name.to_owned()))
}

fn read_text(file: &Path) -> Result<String, LabFileError> {
    let opened = File::open(file)
        .map_err(|source| LabFileError::Unreadable { file: file.to_owned(), source })?;
    read_all(file, opened)
}

fn read_all(file: &Path, from: impl Read) -> Result<String, LabFileError> {
    let unreadable = |source| LabFileError::Unreadable { file: file.to_owned(), source };
    let mut bytes = Vec::new();
    from.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(LabFileError::TooLong(file.to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| LabFileError::NotText {
        file: file.to_owned(),
        at: error.utf8_error().valid_up_to(),
    })
}

/// The lab as it was brought up, with the policy that is in force.
pub(super) fn kept(store: &Store) -> anyhow::Result<Lab> {
    Ok(kept_with_rules(store)?.0)
}

/// The same, and the file of rules that the policy is from; `None` if it is the lab's own.
pub(super) fn kept_with_rules(store: &Store) -> anyhow::Result<(Lab, Option<String>)> {
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
    let mut lab = Lab::parse(&source, &store.lab_file().display().to_string())?;
    let Some((datapath, _)) = datapath::observe(store) else { return Ok((lab, None)) };
    if datapath.abi != ABI_VERSION {
        return Ok((lab, None));
    }
    match policy::in_force(store, &datapath)? {
        Some(PolicyRecord { rules_file: Some(rules), .. }) => {
            lab.policy = Some(lab.read_policy(&rules, RULES_IN_FORCE)?);
            Ok((lab, Some(rules)))
        }
        Some(_) => Ok((lab, None)),
        // Somebody took it away.
        None => {
            lab.policy = None;
            Ok((lab, None))
        }
    }
}
