//! What a lab calls the ends of flows.
//!
//! An address says whose it is, and a path by which port of the bridge packets come and
//! go. The two differ where a router is in between, and where a sender lies.

use std::collections::HashMap;
use std::net::IpAddr;

use nsbpf_common::flow::{Flow, FlowKey};

use crate::lab::{InterfaceId, LinkId, Name};
use crate::observe::stats::ports_of;
use crate::state::{Far, Object, Place, State};

/// Numbers and addresses of a lab, with the names that these have.
pub(in crate::observe) struct Names {
    ports: HashMap<u16, InterfaceId>,
    domains: HashMap<u16, String>,
    owners: HashMap<IpAddr, Vec<Owner>>,
}

/// Who has an address.
struct Owner {
    link: LinkId,
    /// The namespace of the link; `None` for the host.
    namespace: Option<Name>,
    /// Number of the bridge, or the lower one of a pair's ports.
    domain: Option<u16>,
}

/// One end of a flow, by its names.
#[derive(Clone, Copy, Default)]
pub(super) struct End<'a> {
    /// Whose address it is; `None` where the lab does not know that, or several have it.
    pub(super) link: Option<&'a LinkId>,
    /// The namespace of that; `None` for the host, too.
    pub(super) namespace: Option<&'a Name>,
    /// The interface whose port its packets come in by.
    pub(super) via: Option<&'a InterfaceId>,
}

impl Names {
    pub(in crate::observe) fn new(state: &State) -> Self {
        let ports: HashMap<u16, InterfaceId> =
            ports_of(state).map(|(id, number)| (number, id.clone())).collect();
        let mut domains = HashMap::new();
        let mut places = HashMap::new();
        let mut of_links = HashMap::new();
        for object in state.objects.values() {
            match object {
                Object::Bridge(bridge) => {
                    domains.insert(bridge.number, bridge.name.to_string());
                    places.insert(&bridge.name, &bridge.place);
                    of_links.insert(LinkId::Bridge(bridge.name.clone()), bridge.number);
                }
                Object::Veth(veth) => match &veth.far {
                    Far::Peer(peer) => {
                        let domain = veth.number.min(peer.number);
                        domains.insert(domain, format!("{} – {}", veth.id, peer.id));
                        for id in [&veth.id, &peer.id] {
                            of_links.insert(LinkId::Interface(id.clone()), domain);
                        }
                    }
                    // Bridges come before what is on them.
                    Far::Port(port) => {
                        let bridge = port.bridge.clone().map(LinkId::Bridge);
                        if let Some(domain) = bridge.and_then(|bridge| of_links.get(&bridge)) {
                            of_links.insert(LinkId::Interface(veth.id.clone()), *domain);
                        }
                    }
                },
                _ => {}
            }
        }
        let mut owners: HashMap<IpAddr, Vec<Owner>> = HashMap::new();
        for object in state.objects.values() {
            let Object::Address(address) = object else { continue };
            let namespace = match &address.of {
                LinkId::Interface(id) => Some(id.namespace.clone()),
                LinkId::Bridge(name) => match places.get(name) {
                    Some(Place::Netns(name)) => Some(name.clone()),
                    _ => None,
                },
            };
            let (link, domain) = (address.of.clone(), of_links.get(&address.of).copied());
            let owner = Owner { link, namespace, domain };
            owners.entry(address.address.addr()).or_default().push(owner);
        }
        Self { ports, domains, owners }
    }

    /// A layer 2 domain: its bridge, or both ends of a pair; a number where the lab has
    /// it no more.
    pub(super) fn domain(&self, number: u16) -> String {
        self.domains.get(&number).cloned().unwrap_or_else(|| number.to_string())
    }

    /// Both ends of a flow, in the order of its key.
    pub(super) fn ends(&self, key: &FlowKey, flow: &Flow) -> [End<'_>; 2] {
        // What an end sends comes in by its port.
        let [one_via, two_via] = flow.directions.map(|direction| {
            let port = (direction.packets > 0).then_some(direction.port);
            port.and_then(|port| self.ports.get(&port))
        });
        let [one, two] = key.ips().map(|ip| self.owner(ip, key.domain()));
        [End { via: one_via, ..End::from(one) }, End { via: two_via, ..End::from(two) }]
    }

    /// The interface of a port.
    pub(in crate::observe) fn port(&self, number: u16) -> Option<&InterfaceId> {
        self.ports.get(&number)
    }

    /// The link that has that address.
    pub(in crate::observe) fn owner_of(&self, ip: IpAddr, domain: u16) -> Option<&LinkId> {
        self.owner(ip, domain).map(|owner| &owner.link)
    }

    /// Who has that address: in the domain itself, or else in all of the lab.
    fn owner(&self, ip: IpAddr, domain: u16) -> Option<&Owner> {
        let owners = self.owners.get(&ip)?;
        match owners.as_slice() {
            [owner] => Some(owner),
            owners => {
                let mut here = owners.iter().filter(|owner| owner.domain == Some(domain));
                let first = here.next();
                if here.next().is_some() { None } else { first }
            }
        }
    }
}

impl<'a> From<Option<&'a Owner>> for End<'a> {
    fn from(owner: Option<&'a Owner>) -> Self {
        let Some(Owner { link, namespace, domain: _ }) = owner else { return Self::default() };
        Self { link: Some(link), namespace: namespace.as_ref(), via: None }
    }
}
