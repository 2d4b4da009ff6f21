//! Who needs forwarding, and what was there before.

use std::collections::BTreeMap;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::switch::{Change, Value};
use super::{Families, HostForwardingError, failed};
use crate::store::Store;

/// What is in the note.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Note {
    /// What each lab needs.
    pub(super) labs: BTreeMap<String, Families>,
    /// What was changed for them, in this order.
    pub(super) changes: Vec<Change>,
    /// What is being put back, in this order.
    pub(super) back: Vec<Value>,
}

impl Note {
    /// `None` when there is none.
    pub(super) fn read() -> Result<Option<Self>, HostForwardingError> {
        let path = Store::forwarding_note();
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|source| HostForwardingError::Note { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", path)(error)),
        }
    }

    /// Writes it, or removes it when there is nothing to note. Only under the
    /// lock of the root folder.
    pub(super) fn write(&self, store: &Store) -> Result<(), HostForwardingError> {
        let (path, draft) = (Store::forwarding_note(), store.forwarding_draft());
        if *self == Self::default() {
            for path in [path, draft] {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(failed("remove", path)(error));
                    }
                    _ => {}
                }
            }
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(self).map_err(io::Error::other);
        text.and_then(|text| fs::write(&draft, text)).map_err(failed("write", draft.clone()))?;
        fs::rename(&draft, &path).map_err(failed("rename to", path))
    }

    /// What any of the labs needs.
    pub(super) fn needed(&self) -> Families {
        Families {
            ipv4: self.labs.values().any(|families| families.ipv4),
            ipv6: self.labs.values().any(|families| families.ipv6),
        }
    }
}
