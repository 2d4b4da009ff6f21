//! What killed commands left on this host.

use std::collections::BTreeSet;

use nsbpf_common::port::{MAC_PREFIX, Slot};

use super::alias;
use super::{ApplyError, Cause, Key, host_socket};
use crate::lab::Name;
use crate::net::host_forwarding;
use crate::net::link;
use crate::state::{Place, Stray};
use crate::store::Store;

/// What killed commands left.
#[derive(Debug, Default)]
pub struct Leftovers {
    /// Labs that are not to stay, or of which there is only a part.
    pub labs: BTreeSet<Name>,
    /// Links of labs that nobody knows.
    pub strays: Vec<Stray>,
}

fn failed<E: Into<Cause>>(what: &str) -> impl FnOnce(E) -> ApplyError {
    let what = what.to_owned();
    move |error| ApplyError::Survey { what, source: Box::new(error.into()) }
}

/// Looks for what killed commands left. A lab may be in use for all that: who
/// holds its lock knows better.
pub fn leftovers() -> Result<Leftovers, ApplyError> {
    // Before the slots: who makes links has noted a slot first.
    let links = link::list(&mut host_socket()?).map_err(failed("the host's links"))?;
    let mut found = Leftovers::default();
    let mut slots = BTreeSet::new();
    let mut kept = BTreeSet::new();
    for lab in Store::labs().map_err(failed("the labs"))? {
        let store = Store::new(&lab);
        slots.extend(store.slot().map_err(failed(lab.as_str()))?);
        if store.is_kept() {
            kept.insert(lab);
        } else {
            found.labs.insert(lab);
        }
    }
    let mut known = host_forwarding::labs().map_err(failed("forwarding"))?;
    for path in Store::netns_names().map_err(failed("the namespaces' names"))? {
        known.extend(Store::owner_of(&path).and_then(|lab| Name::new(&lab).ok()));
    }
    known.extend(Store::locks().map_err(failed("the locks"))?);
    for link in links {
        let slot = Slot::of_group(link.group).filter(|slot| slot.number(link.ifindex).is_some());
        match alias::parse(&link.alias) {
            Some((lab, _)) if link.ifindex > u32::from(u16::MAX) => known.push(lab),
            None if slot.is_some_and(|slot| !slots.contains(&slot))
                && link.mac.starts_with(&MAC_PREFIX) =>
            {
                let (ifindex, name) = (link.ifindex, link.name);
                found.strays.push(Stray { place: Place::Host, ifindex, name });
            }
            _ => {}
        }
    }
    found.labs.extend(known.into_iter().filter(|lab| !kept.contains(lab)));
    Ok(found)
}

/// Deletes a link that is nobody's. One that is gone is no error.
pub fn delete_stray(stray: &Stray) -> Result<(), ApplyError> {
    match host_socket()?.request(link::delete(stray.ifindex)) {
        Err(error) if error.errno() == Some(rustix::io::Errno::NODEV) => Ok(()),
        done => done.map_err(|error| ApplyError::Step {
            verb: "remove",
            key: Key::Stray(stray.place.clone(), stray.ifindex),
            source: Box::new(error.into()),
        }),
    }
}
