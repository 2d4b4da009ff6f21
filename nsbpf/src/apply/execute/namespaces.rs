//! Namespaces: made, adopted and let go of, and settings in them.

use std::path::PathBuf;

use super::{Executor, failed, impossible};
use crate::apply::survey::Opened;
use crate::apply::{ApplyError, Cause};
use crate::lab::{Name, SysctlName};
use crate::net::netns::Created;
use crate::net::{NetNs, Netlink, sysctl};
use crate::plan::Step;
use crate::state::{Adopted, Netns, Object, Sysctl};

impl Executor<'_> {
    pub(super) fn add_namespaces(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let names: Vec<(&Step, &Name)> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Add(Object::Netns(Netns { name, .. })) => Some((step, name)),
                _ => None,
            })
            .collect();
        let files: Vec<PathBuf> =
            names.iter().map(|(_, name)| self.store.netns_file(name.as_str())).collect();
        let (created, error) = NetNs::create(&files);
        let made = created.len();
        for ((step, name), Created { netns, netlink }) in names.iter().zip(created) {
            let opened = Opened { netns, netlink, adopted: false };
            self.sockets.namespaces.insert((*name).clone(), opened);
            self.store.publish(name.as_str()).map_err(|error| failed(step, error))?;
        }
        match (error, names.get(made)) {
            (Some(error), Some((step, _))) => Err(failed(step, error)),
            _ => Ok(()),
        }
    }

    pub(super) fn remove_namespace(
        &mut self,
        step: &Step,
        netns: &Netns,
    ) -> Result<(), ApplyError> {
        let Netns { name, progress: _ } = netns;
        self.sockets.namespaces.remove(name);
        self.store.unpublish(name.as_str()).map_err(|error| failed(step, error))?;
        if self.folder_goes {
            return Ok(());
        }
        self.store
            .remove_netns(name.as_str())
            .and_then(|()| {
                self.store.note_former_settings(name, &std::collections::BTreeMap::new())
            })
            .map_err(|error| failed(step, error))
    }

    pub(super) fn adopt(&mut self, step: &Step, adopted: &Adopted) -> Result<(), ApplyError> {
        let Adopted { name, inode } = adopted;
        let netns = self.found.remove(name).filter(|netns| netns.inode() == *inode);
        let netns = netns.ok_or_else(|| impossible(step, "it is not the one that was found"))?;
        netns
            .mount_on(&self.store.adopted_file(name.as_str()))
            .map_err(|error| failed(step, error))?;
        let netlink = netns.run(Netlink::open).map_err(|error| failed(step, error))?;
        let netlink = netlink.map_err(|error| failed(step, error))?;
        let opened = Opened { netns, netlink, adopted: true };
        self.sockets.namespaces.insert(name.clone(), opened);
        Ok(())
    }

    pub(super) fn let_go(&mut self, step: &Step, adopted: &Adopted) -> Result<(), ApplyError> {
        self.sockets.namespaces.remove(&adopted.name);
        if self.folder_goes {
            return Ok(());
        }
        self.store.remove_adopted(adopted.name.as_str()).map_err(|error| failed(step, error))
    }

    /// Sets a setting, and notes first what it was.
    pub(super) fn set(&mut self, step: &Step, to: &Sysctl) -> Result<(), ApplyError> {
        let Sysctl { namespace, name, value, device: _ } = to;
        let mut former =
            self.store.former_settings(namespace).map_err(|error| failed(step, error))?;
        if !former.contains_key(name) {
            let before = self.setting(step, namespace, name, None)?;
            let before =
                before.ok_or_else(|| impossible(step, "this kernel has no such setting"))?;
            former.insert(name.clone(), before);
            self.store
                .note_former_settings(namespace, &former)
                .map_err(|error| failed(step, error))?;
        }
        match self.setting(step, namespace, name, Some(value))? {
            Some(is) if is != *value => {
                Err(failed(step, Cause::ReadAs { value: value.clone(), is }))
            }
            _ => Ok(()),
        }
    }

    /// Sets a setting to what it was.
    pub(super) fn reset(&mut self, step: &Step, from: &Sysctl) -> Result<(), ApplyError> {
        let Sysctl { namespace, name, .. } = from;
        let mut former =
            self.store.former_settings(namespace).map_err(|error| failed(step, error))?;
        let Some(before) = former.remove(name) else { return Ok(()) };
        // One that could not be set need not be put back, and maybe cannot.
        if self.setting(step, namespace, name, None)?.is_some_and(|is| is != before) {
            self.setting(step, namespace, name, Some(&before))?;
        }
        self.store.note_former_settings(namespace, &former).map_err(|error| failed(step, error))
    }

    /// Writes a value, if there is one; returns what it is then.
    fn setting(
        &self,
        step: &Step,
        namespace: &Name,
        name: &SysctlName,
        value: Option<&str>,
    ) -> Result<Option<String>, ApplyError> {
        let netns = self.sockets.netns(step, namespace)?;
        let done = netns.run(|| {
            if let Some(value) = value {
                sysctl::write(name.as_str(), value)?;
            }
            sysctl::read(name.as_str())
        });
        done.and_then(|done| done).map_err(|error| failed(step, error))
    }
}
