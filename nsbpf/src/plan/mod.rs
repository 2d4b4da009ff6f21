//! The steps from what is to what should be: a pure function of the two.

mod desired;

use std::collections::BTreeSet;

use crate::lab::{InterfaceName, Name};
use crate::state::{Address, Bridge, Key, NetnsProgress, Object, Objects, Owner, State, Veth};

pub use desired::{Settings, desired};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make an object.
    Add(Object),
    /// Change an object in place.
    Change {
        /// What it is.
        from: Object,
        /// What it becomes.
        to: Object,
    },
    /// Take an object away, and with it what hangs on it.
    Remove(Object),
}

impl Step {
    /// The object it is about.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Add(object) | Self::Remove(object) | Self::Change { to: object, .. } => {
                object.key()
            }
        }
    }

    /// What it does, as a verb.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Add(_) => "create",
            Self::Change { .. } => "change",
            Self::Remove(_) => "remove",
        }
    }
}

/// Why a lab cannot be brought up on this machine, as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A namespace of that name is somebody else's.
    #[error(
        "a network namespace `{name}` exists already and {}: it was left as it is. {}",
        described(owner), cure(owner, &format!("`ip netns delete {name}`"))
    )]
    NetnsTaken {
        /// Its name.
        name: Name,
        /// Whose it is.
        owner: Owner,
    },
    /// A link of that name is somebody else's.
    #[error(
        "{what} needs the interface name `{name}`, but a link of that name exists already and {}: it was left as it is. {}",
        described(owner), cure(owner, &format!("`ip link delete {name}`"))
    )]
    LinkTaken {
        /// Its name.
        name: InterfaceName,
        /// What wants it.
        what: String,
        /// Whose it is.
        owner: Owner,
    },
    /// Every slot is in use.
    #[error("this host has {0} labs, and there is no room for another")]
    NoSlot(usize),
    /// More interfaces than numbers.
    #[error("the lab has more interfaces and bridges than the {0} that one lab can have")]
    TooManyPorts(usize),
}

fn described(owner: &Owner) -> String {
    match owner {
        Owner::Stranger => "was not made by nsbpf".to_owned(),
        Owner::Lab(lab) => format!("belongs to the lab `{lab}`"),
        Owner::SomeLab => "was left unfinished by a lab".to_owned(),
    }
}

fn cure(owner: &Owner, command: &str) -> String {
    match owner {
        Owner::Stranger | Owner::SomeLab => format!(
            "Choose another name in the lab, or remove it (with {command}) if nobody needs it."
        ),
        Owner::Lab(_) => "Choose another name in one of the two labs.".to_owned(),
    }
}

/// The steps that lead from `state` to `wanted`: first what has to go, in
/// reverse order, then what has to come or to change.
///
/// # Errors
/// A name that is wanted is taken by something that is not this lab's.
pub fn diff(wanted: &Objects, state: &State) -> Result<Vec<Step>, PlanError> {
    refuse_conflicts(wanted, state)?;
    let mut gone: BTreeSet<Key> = BTreeSet::new();
    let mut remade: BTreeSet<Key> = BTreeSet::new();
    // Parents come before what hangs on them, so one pass in order finds all.
    for (key, object) in &state.objects {
        let with_parent = parent(object).is_some_and(|parent| gone.contains(&parent));
        let replaced = wanted.get(key).is_some_and(|to| to != object && !alters(object, to));
        if with_parent || replaced || !wanted.contains_key(key) {
            gone.insert(key.clone());
        }
        if replaced {
            remade.insert(key.clone());
        }
    }
    let mut steps = Vec::new();
    for (key, object) in state.objects.iter().rev() {
        let with_parent = parent(object).is_some_and(|parent| gone.contains(&parent));
        if gone.contains(key) && !with_parent && !stays(object) {
            steps.push(Step::Remove(object.clone()));
        }
    }
    for (key, object) in wanted {
        let renewed = remade.iter().any(|remade| is_held_by(object, remade));
        match state.objects.get(key) {
            Some(from) if !gone.contains(key) => {
                if from != object || renewed {
                    steps.push(Step::Change { from: from.clone(), to: object.clone() });
                }
            }
            _ => steps.push(Step::Add(object.clone())),
        }
    }
    Ok(steps)
}

/// What an object hangs on: when that goes, the kernel takes it too.
fn parent(object: &Object) -> Option<Key> {
    let id = match object {
        Object::Address(address) => &address.id,
        Object::Hook(hook) => &hook.id,
        Object::Up(up) => &up.id,
        Object::Flood(flood) => &flood.id,
        Object::Route(route) => &route.id,
        Object::Forwarding(namespace) => return Some(Key::Netns(namespace.clone())),
        _ => return None,
    };
    Some(Key::Veth(id.clone()))
}

/// Whether an object has to be put back where it was when another one is made
/// anew: a program at its hook, a port on its bridge.
fn is_held_by(object: &Object, remade: &Key) -> bool {
    match (object, remade) {
        (Object::Hook(_), Key::Datapath) => true,
        (Object::Veth(veth), Key::Bridge(bridge)) => veth.bridge.as_ref() == Some(bridge),
        _ => false,
    }
}

/// Whether an object can become another in place.
fn alters(from: &Object, to: &Object) -> bool {
    match (from, to) {
        (Object::Netns(from), Object::Netns(_)) => from.progress == NetnsProgress::Unpublished,
        (Object::Bridge(from), Object::Bridge(to)) => {
            let Bridge { name: _, number, end, up: _ } = from;
            *number == to.number && end.name == to.end.name
        }
        (Object::Veth(from), Object::Veth(to)) => {
            let Veth { id: _, number, host, inner, bridge: _, up: _ } = from;
            let inner_name =
                |veth: &Option<crate::state::End>| veth.as_ref().map(|end| end.name.clone());
            *number == to.number
                && host.name == to.host.name
                && inner_name(inner) == inner_name(&to.inner)
        }
        (Object::Hook(_), Object::Hook(_)) | (Object::Route(_), Object::Route(_)) => true,
        _ => false,
    }
}

/// Whether an object that is not wanted stays because it is not ours.
fn stays(object: &Object) -> bool {
    matches!(object, Object::Address(Address { ours: false, .. }))
}

fn refuse_conflicts(wanted: &Objects, state: &State) -> Result<(), PlanError> {
    for object in wanted.values() {
        match object {
            Object::Netns(netns) => {
                if let Some(owner) = state.foreign_netns.get(netns.name.as_str()) {
                    let (name, owner) = (netns.name.clone(), owner.clone());
                    return Err(PlanError::NetnsTaken { name, owner });
                }
            }
            Object::Bridge(bridge) => {
                refuse_taken_link(state, &bridge.name, || format!("bridge {}", bridge.name))?;
            }
            Object::Veth(veth) => {
                let name = InterfaceName::of_host_end(&veth.id.namespace, &veth.id.interface);
                refuse_taken_link(state, &name, || format!("the host's end of {}", veth.id))?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn refuse_taken_link(
    state: &State,
    name: &InterfaceName,
    what: impl FnOnce() -> String,
) -> Result<(), PlanError> {
    match state.foreign_links.get(name.as_str()) {
        None => Ok(()),
        Some(owner) => {
            let (name, owner) = (name.clone(), owner.clone());
            Err(PlanError::LinkTaken { name, what: what(), owner })
        }
    }
}

#[cfg(test)]
mod tests;
