//! What a policy has to know of interfaces.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::lab::{InterfaceId, Lab, LinkId};
use crate::state::{Far, Object, State};

/// Interfaces of a lab, as packets tell them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends(pub BTreeMap<InterfaceId, End>);

/// An interface, as packets tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// The number of its port.
    pub number: u16,
    /// All of its addresses.
    pub addresses: Vec<IpAddr>,
    /// Whether its namespace forwards what others send, so that what comes in by its port
    /// may be from anywhere.
    pub is_router: bool,
}

impl Ends {
    /// An interface.
    #[must_use]
    pub fn get(&self, id: &InterfaceId) -> Option<&End> {
        self.0.get(id)
    }

    /// Those of a lab, numbered in their order, as far as a file alone tells: without
    /// addresses that the kernel gives.
    #[must_use]
    pub fn of_lab(lab: &Lab) -> Self {
        let routers = lab.namespaces.iter().filter(|namespace| namespace.forwards());
        let routers: Vec<_> = routers.map(|namespace| &namespace.name).collect();
        let numbered = (1..).zip(lab.interfaces()).map(|(number, (id, interface))| {
            let addresses = interface.addresses.iter().map(IpNet::addr).collect();
            let is_router = routers.contains(&&id.namespace);
            (id, End { number, addresses, is_router })
        });
        Self(numbered.collect())
    }

    /// Those of a lab that is up: with the numbers that they have, and all addresses that
    /// the kernel gives or should give.
    #[must_use]
    pub fn of_state(lab: &Lab, state: &State) -> Self {
        let Self(mut ends) = Self::of_lab(lab);
        let mut seen: BTreeMap<InterfaceId, End> = BTreeMap::new();
        for object in state.objects.values() {
            let Object::Veth(veth) = object else { continue };
            let near = veth.near.as_ref().map(|end| (&veth.id, veth.number, end.mac));
            let far = match &veth.far {
                Far::Peer(peer) => Some((&peer.id, peer.number, peer.end.mac)),
                Far::Port(_) => None,
            };
            for (id, number, mac) in near.into_iter().chain(far) {
                let mut end = ends.remove(id).unwrap_or_default();
                end.number = number;
                end.addresses.push(link_local(mac));
                seen.insert(id.clone(), end);
            }
        }
        for object in state.objects.values() {
            let Object::Address(address) = object else { continue };
            let LinkId::Interface(id) = &address.of else { continue };
            if let Some(end) = seen.get_mut(id)
                && !end.addresses.contains(&address.address.addr())
            {
                end.addresses.push(address.address.addr());
            }
        }
        Self(seen)
    }
}

/// The link-local address that follows from a hardware address (RFC 4291, appendix A).
fn link_local([one, two, three, four, five, six]: [u8; 6]) -> IpAddr {
    let word = |high: u8, low: u8| u16::from_be_bytes([high, low]);
    let [first, second] = [word(one ^ 2, two), word(three, 0xff)];
    let [third, fourth] = [word(0xfe, four), word(five, six)];
    Ipv6Addr::new(0xfe80, 0, 0, 0, first, second, third, fourth).into()
}
