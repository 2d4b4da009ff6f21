//! What the lab's devices bear: addresses, routes, VLANs and settings.

use std::collections::{BTreeMap, HashMap};

use nsbpf_common::port::Slot;

use super::links::Known;
use super::{Opened, Survey, failed, insert, offloads};
use crate::apply::{ApplyError, Cause};
use crate::lab::LinkId;
use crate::net::{Netlink, address, route, sysctl, vlan};
use crate::state::{Address, Key, Object, Objects, Place, PortVlans, Route};
use crate::store::Store;

/// Devices of one namespace, by their numbers.
pub(super) type Devices<'a> = HashMap<u16, &'a Known>;

pub(super) fn look(
    store: &Store,
    slot: Slot,
    devices: &[Known],
    host: &mut Netlink,
    survey: &mut Survey,
) -> Result<(), ApplyError> {
    let mut by_place: BTreeMap<&Place, Devices<'_>> = BTreeMap::new();
    for known in devices {
        by_place.entry(&known.device.place).or_default().insert(known.device.number, known);
    }
    let Survey { state, namespaces, .. } = survey;
    for (place, devices) in &by_place {
        let look = match place {
            // What others route by the host's devices is none of ours.
            Place::Host => bears(slot, devices, host, &mut state.objects),
            Place::Netns(name) => {
                let Some(opened) = namespaces.get_mut(name) else { continue };
                bears(slot, devices, &mut opened.netlink, &mut state.objects)
                    .and_then(|()| routes(slot, devices, opened, &mut state.objects))
                    .and_then(|()| netfilter(devices, opened, &mut state.objects))
                    .and_then(|()| {
                        offloads::look(store, slot, (name, devices, opened), &mut state.objects)
                    })
            }
        };
        look.map_err(failed(&place.to_string()))?;
    }
    settings(&by_place, &mut state.objects);
    Ok(())
}

/// Addresses and VLANs.
fn bears(
    slot: Slot,
    devices: &Devices<'_>,
    netlink: &mut Netlink,
    objects: &mut Objects,
) -> Result<(), Cause> {
    let known = |ifindex| devices.get(&slot.number(ifindex)?);
    for address::Address { ifindex, address, ours, secondary } in address::list(netlink)? {
        let Some(Known { of, device, .. }) = known(ifindex) else { continue };
        let (of, device) = (of.clone(), device.clone());
        insert(objects, Object::Address(Address { of, device, address, ours, secondary }));
    }
    if devices.values().all(|known| known.filtering.is_none()) {
        return Ok(());
    }
    for (ifindex, vlans) in vlan::list(netlink)? {
        let Some(Known { of, device, filtering: Some(bridge), .. }) = known(ifindex) else {
            continue;
        };
        let (of, bridge, device) = (of.clone(), bridge.clone(), device.clone());
        insert(objects, Object::Vlans(PortVlans { of, bridge, device, vlans }));
    }
    Ok(())
}

fn routes(
    slot: Slot,
    devices: &Devices<'_>,
    opened: &mut Opened,
    objects: &mut Objects,
) -> Result<(), Cause> {
    for route::Route { to, via, onlink, ifindex } in route::list(&mut opened.netlink)?.marked {
        let Some(number) = slot.number(ifindex) else { continue };
        let Some(Known { of, device, .. }) = devices.get(&number) else { continue };
        let Place::Netns(namespace) = &device.place else { continue };
        insert(
            objects,
            Object::Route(Route {
                namespace: namespace.clone(),
                dev: of.clone(),
                device: device.clone(),
                to,
                via,
                onlink,
            }),
        );
    }
    Ok(())
}

/// Which device a setting is of, where it is one's.
fn settings(by_place: &BTreeMap<&Place, Devices<'_>>, objects: &mut Objects) {
    let of_devices: Vec<Key> = objects
        .keys()
        .filter(|key| matches!(key, Key::Sysctl(_, name) if name.interface().is_some()))
        .cloned()
        .collect();
    for key in of_devices {
        let Some(Object::Sysctl(mut sysctl)) = objects.remove(&key) else { continue };
        let devices = by_place.get(&Place::Netns(sysctl.namespace.clone()));
        let named = |known: &&&Known| {
            sysctl.name.interface()
                == match &known.of {
                    LinkId::Bridge(name) => Some(name.as_str()),
                    LinkId::Interface(id) if id.namespace == sysctl.namespace => {
                        Some(id.interface.as_str())
                    }
                    LinkId::Interface(_) => None,
                }
        };
        let known = devices.and_then(|devices| devices.values().find(named));
        sysctl.device = known.map(|known| known.device.clone());
        insert(objects, Object::Sysctl(sysctl));
    }
}

/// Whether bridges hand their packets to the firewall.
fn netfilter(devices: &Devices<'_>, opened: &Opened, objects: &mut Objects) -> Result<(), Cause> {
    let bridges = devices.values().filter_map(|known| match &known.of {
        LinkId::Bridge(name) => Some(name),
        LinkId::Interface(_) => None,
    });
    let mut bridges = bridges.peekable();
    if opened.adopted || bridges.peek().is_none() {
        return Ok(());
    }
    let netfilter = opened.netns.run(sysctl::bridge_netfilter)??;
    for name in bridges {
        if let Some(Object::Bridge(bridge)) = objects.get_mut(&Key::Bridge(name.clone())) {
            bridge.netfilter = netfilter;
        }
    }
    Ok(())
}
