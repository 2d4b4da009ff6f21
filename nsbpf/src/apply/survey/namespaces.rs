//! Files, names and namespaces, and what was set in them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use super::{Opened, failed, insert};
use crate::apply::ApplyError;
use crate::lab::{Name, Source, SysctlName};
use crate::net::container::{self, ContainerError};
use crate::net::{NetNs, sysctl};
use crate::state::{Adopted, Netns, NetnsProgress, Object, Owner, State, Sysctl};
use crate::store::Store;

/// Why a namespace that a lab only wires is not where the lab says.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// Its file cannot be opened.
    #[error("open {path}: {source}")]
    Open {
        /// Which file.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// There is no such file.
    #[error(
        "{0} is not there: start what the namespace belongs to, or name another (`ip netns list`, `ps`)"
    )]
    Gone(String),
    /// Its file holds something else.
    #[error("{0} holds no network namespace")]
    NoNamespace(String),
    /// Its container is not known.
    #[error("container {name}: {source}")]
    Container {
        /// Which one.
        name: String,
        /// Why not.
        source: ContainerError,
    },
    /// The lab has it already.
    #[error(
        "it is the same as namespace {0}: a lab wires a namespace under one name. Move its interfaces there."
    )]
    Twice(Name),
    /// It is the one that the bridges of the host are in.
    #[error(
        "{0} shares the host's network: there is no namespace to wire. Start it with a network of its own."
    )]
    Host(String),
}

/// Finds a namespace of somebody else's.
pub(super) fn find(source: &Source) -> Result<NetNs, NotFound> {
    let (shown, netns) = match source {
        Source::File(path) => (path.display().to_string(), open(path)?),
        Source::Pid(pid) => (format!("process {pid}"), open_process(*pid)?),
        Source::Container(name) => {
            let known = || {
                container::pid(name)
                    .map_err(|source| NotFound::Container { name: name.clone(), source })
            };
            let pid = known()?;
            let netns = open_process(pid)?;
            // Its number may have become another's in between.
            if known()? != pid {
                let source = ContainerError::NotRunning;
                return Err(NotFound::Container { name: name.clone(), source });
            }
            (format!("container {name}"), netns)
        }
    };
    let current = NetNs::current()
        .map_err(|source| NotFound::Open { path: "this process's namespace".to_owned(), source })?;
    if netns.inode() == current.inode() {
        return Err(NotFound::Host(shown));
    }
    Ok(netns)
}

fn open_process(pid: u32) -> Result<NetNs, NotFound> {
    open(format!("/proc/{pid}/ns/net").as_ref())
}

fn open(path: &Path) -> Result<NetNs, NotFound> {
    let shown = path.display().to_string();
    NetNs::find(path)
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => NotFound::Gone(shown.clone()),
            _ => NotFound::Open { path: shown.clone(), source },
        })?
        .ok_or(NotFound::NoNamespace(shown))
}

/// Looks at the lab's namespaces, and opens them.
pub(super) fn look(store: &Store, state: &mut State) -> Result<BTreeMap<Name, Opened>, ApplyError> {
    let mut progress: HashMap<Name, NetnsProgress> = HashMap::new();
    let mut open = Vec::new();
    for file in store.netns_files().map_err(failed("the lab's folder"))? {
        let Some(name) = file_name(&file) else { continue };
        let netns = NetNs::open(&file).map_err(failed(&format!("namespace {name}")))?;
        if let Some(netns) = netns {
            progress.insert(name.clone(), NetnsProgress::Unpublished);
            open.push((name, netns, false));
        } else {
            progress.insert(name, NetnsProgress::Name);
        }
    }
    for path in Store::netns_names().map_err(failed("the namespaces' names"))? {
        let shown = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match (Store::owner_of(&path), file_name(&path)) {
            (Some(lab), Some(name)) if lab == store.lab().as_str() => {
                let progress = progress.entry(name).or_insert(NetnsProgress::Name);
                if *progress == NetnsProgress::Unpublished {
                    *progress = NetnsProgress::Whole;
                }
            }
            (Some(lab), _) => {
                state.foreign_netns.insert(shown, Owner::Lab(lab));
            }
            (None, _) => {
                state.foreign_netns.insert(shown, Owner::Stranger);
            }
        }
    }
    for (name, progress) in progress {
        insert(&mut state.objects, Object::Netns(Netns { name, progress }));
    }
    for file in store.adopted_files().map_err(failed("the lab's folder"))? {
        let Some(name) = file_name(&file) else { continue };
        let netns = NetNs::open(&file).map_err(failed(&format!("namespace {name}")))?;
        // 0 is no namespace's: the file of one that is not mounted is made anew.
        let inode = netns.as_ref().map_or(0, NetNs::inode);
        insert(&mut state.objects, Object::Adopted(Adopted { name: name.clone(), inode }));
        open.extend(netns.map(|netns| (name, netns, true)));
    }
    open_all(store, open, state)
}

fn open_all(
    store: &Store,
    open: Vec<(Name, NetNs, bool)>,
    state: &mut State,
) -> Result<BTreeMap<Name, Opened>, ApplyError> {
    let former: Vec<Vec<SysctlName>> = open
        .iter()
        .map(|(name, ..)| store.former_settings(name).map(|former| former.into_keys().collect()))
        .collect::<Result<_, _>>()
        .map_err(failed("the lab's folder"))?;
    let handles: Vec<&NetNs> = open.iter().map(|(_, netns, _)| netns).collect();
    let visited = NetNs::visit_all(&handles, |place| {
        let settings = former.get(place).into_iter().flatten();
        settings
            .map(|name| Ok((name.clone(), sysctl::read(name.as_str())?)))
            .collect::<io::Result<Vec<_>>>()
    });
    let visited = visited.map_err(failed("the lab's namespaces"))?;
    let mut opened = BTreeMap::new();
    for ((name, netns, adopted), (netlink, settings)) in open.into_iter().zip(visited) {
        for (setting, value) in settings {
            // One that is gone went with its device.
            let Some(value) = value else { continue };
            let (namespace, name) = (name.clone(), setting);
            let sysctl = Sysctl { namespace, name, value, device: None };
            insert(&mut state.objects, Object::Sysctl(sysctl));
        }
        opened.insert(name, Opened { netns, netlink, adopted });
    }
    Ok(opened)
}

fn file_name(path: &Path) -> Option<Name> {
    Name::new(path.file_name()?.to_str()?).ok()
}
