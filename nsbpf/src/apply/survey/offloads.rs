//! What the lab has interfaces leave to their drivers, or not: those that it noted
//! something of.

use nsbpf_common::port::Slot;

use super::inside::Devices;
use super::links::Known;
use super::{Opened, insert};
use crate::apply::Cause;
use crate::lab::{InterfaceId, LinkId, Name};
use crate::net::offload::{Ethtool, Found, OffloadError};
use crate::state::{Far, Feature, Features, Key, Object, Objects, Offloads, Place, Veth};
use crate::store::Store;

/// Looks at the interfaces of a namespace.
pub(super) fn look(
    store: &Store,
    slot: Slot,
    (namespace, devices, opened): (&Name, &Devices<'_>, &Opened),
    objects: &mut Objects,
) -> Result<(), Cause> {
    let noted = store.former_features(namespace)?;
    if noted.is_empty() {
        return Ok(());
    }
    let former = |known: &Known| match &known.of {
        LinkId::Interface(id) if id.namespace == *namespace => noted.get(&id.interface),
        _ => None,
    };
    let interfaces = devices.values().filter_map(|known| Some((*known, former(known)?)));
    let interfaces: Vec<(&Known, &Features)> = interfaces.collect();
    let found = opened.netns.run(|| {
        let mut ethtool = Ethtool::open()?;
        let found = interfaces.iter().map(|(known, _)| {
            ethtool.get(slot.ifindex(known.device.number)).map(Some).or_else(gone)
        });
        found.collect::<Result<Vec<Option<Found>>, OffloadError>>()
    })??;
    for ((known, former), found) in interfaces.into_iter().zip(found) {
        let (LinkId::Interface(id), Some(found)) = (&known.of, found) else { continue };
        let Some(port) = port(id, objects) else { continue };
        let is = |features: &[Feature], on: bool| {
            features.iter().any(|one| former.contains_key(one))
                && features.iter().all(|one| !found.knows(*one) || found.is_so(*one, on))
        };
        let (id, device) = (id.clone(), known.device.clone());
        let sends_finished = is(&Feature::OF_SENDING, false);
        let receives_by_napi = is(&Feature::OF_RECEIVING, true);
        let offloads = Offloads { id, device, port, sends_finished, receives_by_napi };
        insert(objects, Object::Offloads(offloads));
    }
    Ok(())
}

/// Where the port behind an interface is; `None` when there is none.
fn port(id: &InterfaceId, objects: &Objects) -> Option<Place> {
    match objects.get(&Key::Veth(id.clone())) {
        Some(Object::Veth(Veth { far: Far::Port(port), .. })) => Some(port.place.clone()),
        _ => None,
    }
}

/// Who is root in a namespace may delete what is in it.
fn gone(error: OffloadError) -> Result<Option<Found>, OffloadError> {
    match error {
        OffloadError::Netlink(error) if error.is_gone() => Ok(None),
        error => Err(error),
    }
}
