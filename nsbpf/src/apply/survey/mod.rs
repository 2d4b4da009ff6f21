//! Looking at the kernel: what it has of a lab, and what is in the lab's way.

mod hooks;
mod inside;
mod links;
mod namespaces;
mod offloads;
mod others;
mod subnets;
mod uplink;

use std::collections::{BTreeMap, HashMap};

use super::{ApplyError, Cause, filters, host_socket};
use crate::lab::{Lab, Name};
use crate::net::{NetNs, Netlink};
use crate::state::{Object, Objects, Place, State};
use crate::store::Store;
use links::Seen;
pub use namespaces::NotFound;

/// A namespace of the lab, and a socket inside it.
pub struct Opened {
    /// The namespace.
    pub netns: NetNs,
    /// A socket that works on it.
    pub netlink: Netlink,
    /// Whether it is another's, and the lab only wires it.
    pub adopted: bool,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.netns.fmt(formatter)
    }
}

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// As plain data.
    pub state: State,
    /// The lab's namespaces, open.
    pub namespaces: BTreeMap<Name, Opened>,
    /// Namespaces of others, where the lab says they are.
    pub found: HashMap<Name, NetNs>,
}

pub(super) fn failed<E: Into<Cause>>(what: &str) -> impl FnOnce(E) -> ApplyError {
    let what = what.to_owned();
    move |error| ApplyError::Survey { what, source: Box::new(error.into()) }
}

/// Looks at everything that a lab is made of, and for what it is to be made of.
/// Changes nothing.
pub fn survey_for(store: &Store, lab: &Lab) -> Result<Survey, ApplyError> {
    let mut survey = survey(store)?;
    for namespace in &lab.namespaces {
        let Some(source) = &namespace.adopted else { continue };
        let name = &namespace.name;
        let not_found = |source| ApplyError::NotFound { namespace: name.clone(), source };
        let netns = namespaces::find(source).map_err(not_found)?;
        let own = survey.namespaces.iter().filter(|(_, opened)| !opened.adopted);
        let own = own.map(|(other, opened)| (other, &opened.netns));
        let mut others = own.chain(&survey.found);
        if let Some((other, _)) = others.find(|(_, other)| other.inode() == netns.inode()) {
            return Err(not_found(NotFound::Twice(other.clone())));
        }
        others::look(store, name, &netns, &mut survey.state)
            .map_err(failed(&format!("namespace {name}")))?;
        survey.state.found.insert(name.clone(), netns.inode());
        survey.found.insert(name.clone(), netns);
    }
    filters::look_into_routers(lab, &mut survey);
    Ok(survey)
}

/// Looks at everything that a lab is made of. Changes nothing.
pub fn survey(store: &Store) -> Result<Survey, ApplyError> {
    let (mut survey, mut seen, mut host) = look_outside(store)?;
    let Some(slot) = survey.state.slot() else {
        links::assemble(seen, &mut survey.state);
        return Ok(survey);
    };
    for (name, opened) in survey.namespaces.iter_mut().filter(|(_, opened)| !opened.adopted) {
        let place = Place::Netns(name.clone());
        links::look(store, Some(slot), &place, &mut opened.netlink, &mut survey.state, &mut seen)
            .map_err(failed(&place.to_string()))?;
    }
    let devices = links::assemble(seen, &mut survey.state);
    hooks::look(store, slot, &devices, &mut host, &mut survey)?;
    inside::look(store, slot, &devices, &mut host, &mut survey)?;
    Ok(survey)
}

/// Looks at all but hooks and the insides of the lab's own namespaces, where
/// others may be root: enough to take a lab down, whatever they do.
pub(super) fn survey_outside(store: &Store) -> Result<Survey, ApplyError> {
    let (mut survey, seen, _) = look_outside(store)?;
    links::assemble(seen, &mut survey.state);
    Ok(survey)
}

fn look_outside(store: &Store) -> Result<(Survey, Vec<Seen>, Netlink), ApplyError> {
    let mut host = host_socket()?;
    let slot = store.slot().map_err(failed("the lab's folder"))?;
    let mut state = State::default();
    state.taken_slots.extend(store.slots_of_others().map_err(failed("other labs"))?);
    if let Some(slot) = slot {
        insert(&mut state.objects, Object::Folder(slot));
    }
    uplink::look(store, &mut state).map_err(failed("the way out"))?;
    let mut namespaces = namespaces::look(store, &mut state)?;
    let mut seen = Vec::new();
    links::look(store, slot, &Place::Host, &mut host, &mut state, &mut seen)
        .map_err(failed("the host's links"))?;
    subnets::look(&mut host, &seen, &mut state).map_err(failed("the host's addresses"))?;
    for (name, opened) in namespaces.iter_mut().filter(|(_, opened)| opened.adopted) {
        let place = Place::Netns(name.clone());
        links::look(store, slot, &place, &mut opened.netlink, &mut state, &mut seen)
            .map_err(failed(&place.to_string()))?;
    }
    Ok((Survey { state, namespaces, found: HashMap::new() }, seen, host))
}

fn insert(objects: &mut Objects, object: Object) {
    objects.insert(object.key(), object);
}
