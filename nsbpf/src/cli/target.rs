//! `LAB/NAMESPACE` on the command line, and the namespace that it names.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail};

use super::no_lab::no_lab;
use crate::lab::{Name, NameError, nearest};
use crate::net::NetNs;
use crate::store::Store;

/// A namespace of a lab, which may be there or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) lab: Name,
    pub(super) namespace: Name,
}

/// Why a text names no namespace of a lab.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TargetError {
    #[error("name a lab and one of its namespaces, as in `quickstart/vnet0`")]
    Form,
    #[error("the lab's name: {0}")]
    Lab(NameError),
    #[error("the namespace's name: {0}")]
    Namespace(NameError),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (lab, namespace) = text.split_once('/').ok_or(TargetError::Form)?;
        if namespace.contains('/') {
            return Err(TargetError::Form);
        }
        Ok(Self {
            lab: Name::new(lab).map_err(TargetError::Lab)?,
            namespace: Name::new(namespace).map_err(TargetError::Namespace)?,
        })
    }
}

impl Target {
    /// Opens the namespace, or says what there is instead.
    pub(super) fn open(&self) -> anyhow::Result<NetNs> {
        let Self { lab, namespace } = self;
        let store = Store::new(lab);
        if !store.has_folder()? {
            return Err(no_lab(lab));
        }
        let files = [store.netns_files()?, store.adopted_files()?].concat();
        let Some(file) = files.iter().find(|file| name(file) == Some(namespace.as_str())) else {
            let help = nearest(namespace.as_str(), files.iter().filter_map(|file| name(file)));
            let help = help.unwrap_or_else(|| "the lab has none".to_owned());
            bail!("there is no namespace `{namespace}` in the lab `{lab}`: {help}");
        };
        let opened =
            NetNs::open(file).with_context(|| format!("open the namespace `{namespace}`"))?;
        opened.with_context(|| {
            format!("the namespace `{namespace}` is not complete: another nsbpf works on the lab")
        })
    }
}

/// The namespace that a file of the lab is for.
fn name(file: &Path) -> Option<&str> {
    file.file_name()?.to_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lab_and_a_namespace() {
        let target: Target = "quickstart/vnet0".parse().unwrap();
        assert_eq!((target.lab.as_str(), target.namespace.as_str()), ("quickstart", "vnet0"));
        for (text, error) in [
            ("", TargetError::Form),
            ("quickstart", TargetError::Form),
            ("a/b/c", TargetError::Form),
            ("a//b", TargetError::Form),
            ("/vnet0", TargetError::Lab(NameError::Empty)),
            ("quickstart/", TargetError::Namespace(NameError::Empty)),
            ("../vnet0", TargetError::Lab(NameError::Start)),
            ("quickstart/..", TargetError::Namespace(NameError::Start)),
        ] {
            assert_eq!(text.parse::<Target>(), Err(error), "{text}");
        }
    }
}
