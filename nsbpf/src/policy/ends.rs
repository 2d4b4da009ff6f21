//! What a policy has to know of interfaces.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::lab::{InterfaceId, Lab};

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
}
