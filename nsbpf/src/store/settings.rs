//! What settings of a lab's namespaces were before the lab changed them: one file
//! a namespace, there only for those that have any.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::note::{read_note, write_note};
use super::{Store, StoreError};
use crate::lab::{Name, SysctlName};

impl Store {
    /// Settings that the lab changed in a namespace, and what they were before.
    pub fn former_settings(
        &self,
        namespace: &Name,
    ) -> Result<BTreeMap<SysctlName, String>, StoreError> {
        let noted: Option<BTreeMap<String, String>> =
            read_note(&self.settings_file(namespace.as_str()))?;
        Ok(noted
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((SysctlName::new(&name)?, value)))
            .collect())
    }

    /// Notes them all anew.
    pub fn note_former_settings(
        &self,
        namespace: &Name,
        settings: &BTreeMap<SysctlName, String>,
    ) -> Result<(), StoreError> {
        let noted: BTreeMap<&str, &String> =
            settings.iter().map(|(name, value)| (name.as_str(), value)).collect();
        write_note(&self.settings_file(namespace.as_str()), (!noted.is_empty()).then_some(&noted))
    }

    pub(super) fn settings_file(&self, namespace: &str) -> PathBuf {
        self.folder().join("settings").join(namespace)
    }
}
