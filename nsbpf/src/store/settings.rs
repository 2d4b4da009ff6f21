//! What settings of a lab's namespaces were before the lab changed them: one file
//! a namespace, there only for those that have any.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::{Store, StoreError, failed, if_there};
use crate::lab::{Name, SysctlName};

impl Store {
    /// Settings that the lab changed in a namespace, and what they were before.
    pub fn former_settings(
        &self,
        namespace: &Name,
    ) -> Result<BTreeMap<SysctlName, String>, StoreError> {
        let path = self.settings_file(namespace.as_str());
        let text = if_there(fs::read_to_string(&path)).map_err(failed("read", &path))?;
        let Some(text) = text else { return Ok(BTreeMap::new()) };
        let noted: BTreeMap<String, String> =
            serde_json::from_str(&text).map_err(io::Error::from).map_err(failed("read", &path))?;
        Ok(noted
            .into_iter()
            .filter_map(|(name, value)| Some((SysctlName::new(&name)?, value)))
            .collect())
    }

    /// Notes them all anew.
    pub fn note_former_settings(
        &self,
        namespace: &Name,
        settings: &BTreeMap<SysctlName, String>,
    ) -> Result<(), StoreError> {
        let path = self.settings_file(namespace.as_str());
        if settings.is_empty() {
            return if_there(fs::remove_file(&path)).map_err(failed("remove", &path)).map(drop);
        }
        let folder = self.folder().join("settings");
        if !folder.is_dir() {
            fs::create_dir(&folder).map_err(failed("create", &folder))?;
        }
        let noted: BTreeMap<&str, &String> =
            settings.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let text = serde_json::to_string(&noted)
            .map_err(io::Error::from)
            .map_err(failed("write", &path))?;
        // Whole or not at all. Its name is no namespace's.
        let new = folder.join(".new");
        fs::write(&new, text).map_err(failed("write", &new))?;
        fs::rename(&new, &path).map_err(failed("rename", &new))
    }

    pub(super) fn settings_file(&self, namespace: &str) -> PathBuf {
        self.folder().join("settings").join(namespace)
    }
}
