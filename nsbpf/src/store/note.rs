//! Notes of what was there before the lab changed it: a file each, whole or not at all.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{StoreError, failed, if_there};

/// What a note says; `None` when there is none.
pub(super) fn read_note<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let text = if_there(fs::read_to_string(path)).map_err(failed("read", path))?;
    let read = |text: String| serde_json::from_str(&text).map_err(io::Error::from);
    text.map(read).transpose().map_err(failed("read", path))
}

/// Writes a note in the place of what it said; nothing to note removes it.
pub(super) fn write_note<T: Serialize>(path: &Path, note: Option<&T>) -> Result<(), StoreError> {
    let Some(note) = note else {
        return if_there(fs::remove_file(path)).map_err(failed("remove", path)).map(drop);
    };
    let Some(folder) = path.parent() else { return Ok(()) };
    if !folder.is_dir() {
        fs::create_dir(folder).map_err(failed("create", folder))?;
    }
    let text =
        serde_json::to_string(note).map_err(io::Error::from).map_err(failed("write", path))?;
    // Its name is no namespace's.
    let new = folder.join(".new");
    fs::write(&new, text).map_err(failed("write", &new))?;
    fs::rename(&new, path).map_err(failed("rename", &new))
}
