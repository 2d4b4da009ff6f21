//! What killed commands left on this host.

use std::collections::BTreeSet;

use super::marks::Marks;
use super::survey::failed;
use super::{ApplyError, Key, host_socket};
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
        let marks = Marks::of(&link);
        let birth = marks.birth();
        match marks.alias {
            Some((lab, _)) if marks.aliased => known.push(lab),
            None if birth.is_some_and(|slot| !slots.contains(&slot)) => {
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
        Err(error) if error.is_gone() => Ok(()),
        done => done.map_err(|error| ApplyError::Step {
            verb: "remove",
            key: Key::Stray(stray.place.clone(), stray.ifindex),
            source: Box::new(error.into()),
        }),
    }
}
