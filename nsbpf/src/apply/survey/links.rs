//! The lab's links: told from others', and put together.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use nsbpf_common::port::Slot;

use super::insert;
use crate::apply::Cause;
use crate::apply::marks::Marks;
use crate::lab::{InterfaceId, InterfaceName, LinkId};
use crate::net::Netlink;
use crate::net::link::{self, Link};
use crate::state::{
    Bridge, BridgePort, Device, End, Far, Flood, Object, Owner, Peer, Place, State, Stray, Up, Veth,
};
use crate::store::Store;

/// A link of the lab, as far as its marks tell.
pub(super) struct Seen {
    place: Place,
    link: Link,
    /// Its number in the lab's slot.
    number: Option<u16>,
    /// What its alias says.
    identity: Option<LinkId>,
    /// It has too few marks to be ours for them alone.
    doubtful: bool,
}

impl Seen {
    /// Its interface index, where it is.
    pub(super) fn ifindex(&self) -> u32 {
        self.link.ifindex
    }
}

/// A device of the lab.
pub(super) struct Known {
    /// What it is.
    pub(super) of: LinkId,
    /// The bridge that it is, or is a port of, if that looks at VLANs.
    pub(super) filtering: Option<InterfaceName>,
    /// Where it is.
    pub(super) device: Device,
    /// The interface whose packets come in here.
    pub(super) counts_for: Option<InterfaceId>,
    /// Id of the XDP program on it; 0 when there is none.
    pub(super) xdp_program: u32,
}

/// Tells the lab's links of a namespace from others'.
pub(super) fn look(
    store: &Store,
    slot: Option<Slot>,
    place: &Place,
    netlink: &mut Netlink,
    state: &mut State,
    seen: &mut Vec<Seen>,
) -> Result<(), Cause> {
    for link in link::list(netlink)? {
        let marks = Marks::of(&link);
        let doubtful = marks.are_few();
        let number = slot.and_then(|slot| slot.number(link.ifindex));
        let group = marks.group;
        let (lab, identity) = marks.alias.unzip();
        let owner = match &lab {
            _ if doubtful && (number.is_none() || *place == Place::Host) => Some(Owner::Stranger),
            _ if doubtful => None,
            Some(lab) if lab == store.lab() => None,
            Some(lab) => Some(Owner::Lab(lab.to_string())),
            None if slot.is_some() && slot == group => None,
            None => Some(Owner::SomeLab),
        };
        match owner {
            None => seen.push(Seen { place: place.clone(), link, number, identity, doubtful }),
            Some(owner) => {
                if !doubtful {
                    state.taken_slots.extend(group.map(Slot::get));
                }
                add_foreign(state, place, &link, &owner);
            }
        }
    }
    Ok(())
}

fn add_foreign(state: &mut State, place: &Place, link: &Link, owner: &Owner) {
    if link.ifindex == link::LOOPBACK {
        return;
    }
    for name in link.altnames.iter().chain([&link.name]) {
        state.foreign_links.insert((place.clone(), name.clone()), owner.clone());
    }
}

/// Puts links together: bridges, ports with the interfaces behind them, and
/// pairs. What has no place in that is a stray.
///
/// Links come in the order of trust: those of the host first, those of the lab's
/// own namespaces, where others may be root and write any alias, last.
pub(super) fn assemble(seen: Vec<Seen>, state: &mut State) -> Vec<Known> {
    let mut assembly = Assembly::default();
    for seen in seen {
        assembly.sort(seen, state);
    }
    assembly.bridges(state);
    assembly.ports(state);
    assembly.pairs(state);
    let strays = assembly.strays.into_iter().chain(assembly.ends.into_values());
    for Seen { place, link, .. } in strays {
        let stray = Stray { place, ifindex: link.ifindex, name: link.name };
        insert(&mut state.objects, Object::Stray(stray));
    }
    assembly.known
}

/// Puts a link where none is; gives it back where one is already.
fn vacant<K: Ord>(sorted: &mut BTreeMap<K, Seen>, key: K, seen: Seen) -> Option<Seen> {
    match sorted.entry(key) {
        Entry::Occupied(_) => Some(seen),
        Entry::Vacant(entry) => {
            entry.insert(seen);
            None
        }
    }
}

#[derive(Default)]
struct Assembly {
    bridges: BTreeMap<InterfaceName, Seen>,
    ports: BTreeMap<InterfaceId, Seen>,
    /// Ends behind ports, by where they have to be.
    behind: HashSet<(Place, u16)>,
    peers: BTreeMap<InterfaceId, Seen>,
    /// Ends without an identity.
    ends: BTreeMap<(Place, u32), Seen>,
    strays: Vec<Seen>,
    known: Vec<Known>,
}

impl Assembly {
    fn sort(&mut self, seen: Seen, state: &mut State) {
        let Seen { place, link, number, identity, doubtful } = &seen;
        let (place, identity) = (place.clone(), identity.clone());
        let Some(number) = *number else {
            self.strays.push(seen);
            return;
        };
        if self.behind.contains(&(place.clone(), number)) {
            self.ends.insert((place, link.ifindex), seen);
            return;
        }
        if *doubtful {
            add_foreign(state, &place, link, &Owner::Stranger);
            return;
        }
        let earlier = match (identity, link.kind.as_str()) {
            (Some(LinkId::Bridge(name)), "bridge") => vacant(&mut self.bridges, name, seen),
            (Some(LinkId::Interface(id)), "veth") => {
                let home = Place::Netns(id.namespace.clone());
                if home == place {
                    vacant(&mut self.peers, id, seen)
                } else {
                    self.behind.insert((home, number));
                    vacant(&mut self.ports, id, seen)
                }
            }
            (None, "veth") if place != Place::Host => self.ends.insert((place, link.ifindex), seen),
            _ => Some(seen),
        };
        self.strays.extend(earlier);
    }

    fn bridges(&mut self, state: &mut State) {
        for (name, Seen { place, link, number, .. }) in std::mem::take(&mut self.bridges) {
            let bridge = Bridge {
                name: name.clone(),
                place,
                number: number.unwrap_or_default(),
                end: end(&link),
                up: link.up,
                options: link.bridge,
                netfilter: false,
            };
            self.known.push(Known {
                of: LinkId::Bridge(name.clone()),
                filtering: link.bridge.vlan_filtering.then_some(name),
                device: bridge.device(),
                counts_for: None,
                xdp_program: link.xdp_program,
            });
            insert(&mut state.objects, Object::Bridge(bridge));
        }
    }

    fn ports(&mut self, state: &mut State) {
        let bridges: HashMap<(Place, u16), (InterfaceName, bool)> = state
            .objects
            .values()
            .filter_map(|object| match object {
                Object::Bridge(Bridge { name, place, number, options, .. }) => {
                    Some(((place.clone(), *number), (name.clone(), options.vlan_filtering)))
                }
                _ => None,
            })
            .collect();
        for (id, seen) in std::mem::take(&mut self.ports) {
            let Seen { place, link, number, .. } = seen;
            let number = number.unwrap_or_default();
            let inner = (Place::Netns(id.namespace.clone()), link.ifindex);
            let near = self.ends.remove(&inner);
            // The number of an index is its low half.
            #[expect(clippy::cast_possible_truncation, reason = "the low half is the number")]
            let bridge = bridges.get(&(place.clone(), link.controller as u16));
            let bridge = bridge.filter(|_| link.controller != 0).cloned();
            let veth = Veth {
                id: id.clone(),
                number,
                queues: link.queues,
                near: near.as_ref().map(|near| end(&near.link)),
                far: Far::Port(BridgePort {
                    place,
                    end: end(&link),
                    bridge: bridge.as_ref().map(|(name, _)| name.clone()),
                    isolated: link.isolated,
                    up: link.up,
                }),
            };
            let (device, port) = (veth.device_of(&id), veth.device_behind(&id));
            if let Some((bridge, _)) = &bridge
                && link.multicast_flood
            {
                let (id, bridge, device) = (id.clone(), bridge.clone(), port.clone());
                insert(&mut state.objects, Object::Flood(Flood { id, bridge, device }));
            }
            self.known.push(Known {
                of: LinkId::Interface(id.clone()),
                filtering: bridge.and_then(|(name, filtering)| filtering.then_some(name)),
                device: port,
                counts_for: Some(id.clone()),
                xdp_program: link.xdp_program,
            });
            if let Some(near) = &near {
                self.interface(&id, device, &near.link, None, state);
            }
            insert(&mut state.objects, Object::Veth(veth));
        }
    }

    /// An interface inside a namespace.
    fn interface(
        &mut self,
        id: &InterfaceId,
        device: Device,
        link: &Link,
        counts_for: Option<InterfaceId>,
        state: &mut State,
    ) {
        if link.up {
            let (id, device) = (id.clone(), device.clone());
            insert(&mut state.objects, Object::Up(Up { id, device }));
        }
        self.known.push(Known {
            of: LinkId::Interface(id.clone()),
            filtering: None,
            device,
            counts_for,
            xdp_program: link.xdp_program,
        });
    }

    fn pairs(&mut self, state: &mut State) {
        // The number of an interface is that behind the index of its other end.
        #[expect(clippy::cast_possible_truncation, reason = "the low half is the number")]
        let number = |seen: &Seen| seen.link.peer as u16;
        let mut by_number: HashMap<u16, InterfaceId> =
            self.peers.iter().map(|(id, seen)| (number(seen), id.clone())).collect();
        while let Some((id, near)) = self.peers.pop_first() {
            let theirs = near.number.and_then(|number| by_number.remove(&number));
            let Some((other, far)) = theirs.and_then(|other| self.peers.remove_entry(&other))
            else {
                self.strays.push(near);
                continue;
            };
            if far.number != Some(number(&near)) || near.number != Some(number(&far)) {
                self.strays.extend([near, far]);
                continue;
            }
            let veth = Veth {
                id: id.clone(),
                number: number(&near),
                queues: near.link.queues,
                near: Some(end(&near.link)),
                far: Far::Peer(Peer {
                    id: other.clone(),
                    number: number(&far),
                    end: end(&far.link),
                }),
            };
            for (id, other, seen) in [(&id, &other, &near), (&other, &id, &far)] {
                let (device, other) = (veth.device_of(id), Some(other.clone()));
                self.interface(id, device, &seen.link, other, state);
            }
            insert(&mut state.objects, Object::Veth(veth));
        }
    }
}

fn end(link: &Link) -> End {
    let mac = link.mac.as_slice().try_into().unwrap_or_default();
    End { name: link.name.clone(), mac, mtu: link.mtu, group: link.group }
}
