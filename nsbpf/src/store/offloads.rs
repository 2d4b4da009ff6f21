//! How features of interfaces were before the lab changed them: one file a namespace,
//! there only for those where any was changed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::note::{read_note, write_note};
use super::{Store, StoreError};
use crate::lab::{InterfaceName, Name};
use crate::state::Features;

/// Features of a namespace's interfaces that the lab changed, and how they were.
pub type FormerFeatures = BTreeMap<InterfaceName, Features>;

impl Store {
    /// What is noted of a namespace.
    pub fn former_features(&self, namespace: &Name) -> Result<FormerFeatures, StoreError> {
        let noted: Option<BTreeMap<String, Features>> =
            read_note(&self.offloads_file(namespace.as_str()))?;
        Ok(noted
            .into_iter()
            .flatten()
            .filter_map(|(name, features)| Some((InterfaceName::new(&name).ok()?, features)))
            .collect())
    }

    /// Notes it anew.
    pub fn note_former_features(
        &self,
        namespace: &Name,
        former: &FormerFeatures,
    ) -> Result<(), StoreError> {
        let noted: BTreeMap<&str, &Features> =
            former.iter().map(|(name, features)| (name.as_str(), features)).collect();
        write_note(&self.offloads_file(namespace.as_str()), (!noted.is_empty()).then_some(&noted))
    }

    /// Forgets what was noted of an interface that is about to be made: it was of
    /// another one of that name.
    pub fn forget_former_features(
        &self,
        namespace: &Name,
        interface: &InterfaceName,
    ) -> Result<(), StoreError> {
        let mut former = self.former_features(namespace)?;
        match former.remove(interface) {
            None => Ok(()),
            Some(_) => self.note_former_features(namespace, &former),
        }
    }

    pub(super) fn offloads_file(&self, namespace: &str) -> PathBuf {
        self.folder().join("offloads").join(namespace)
    }
}
