//! What was asked for: a lab, read from YAML and checked.
//!
//! [`spec`] is what the user typed, [`Lab`] what it means; [`check`] leads from
//! one to the other. Nothing here does I/O.

mod check;
mod name;
mod problem;
mod routes;
mod spec;

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

pub use name::{InterfaceName, Name, NameError};
pub use problem::LabError;
pub(crate) use problem::nearest;

/// Most ports that a bridge takes (`BR_MAX_PORTS` less the one that is
/// reserved, `net/bridge/br_private.h`, Linux 6.18).
pub const MAX_BRIDGE_PORTS: usize = 1023;

/// The MTU of a bridge that says none, in bytes.
pub const DEFAULT_MTU: u32 = 1500;

/// A lab: consistent in itself, and nothing known of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lab {
    /// Its name, unique on a host.
    pub name: Name,
    /// Bridges, in the order of the file.
    pub bridges: Vec<Bridge>,
    /// Namespaces, in the order of the file.
    pub namespaces: Vec<Namespace>,
}

/// A bridge of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: InterfaceName,
    /// Largest packet on it and on everything that is attached to it, in bytes,
    /// Ethernet header not counted: 68 to 65,535.
    pub mtu: u32,
}

/// A network namespace of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name, as `ip netns` shows it.
    pub name: Name,
    /// Whether it forwards packets between its interfaces.
    pub router: bool,
    /// Routes, each destination once.
    pub routes: Vec<Route>,
    /// Interfaces, in the order of the file.
    pub interfaces: Vec<Interface>,
}

/// A route of a namespace, through a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads, as a subnet's own address.
    pub to: IpNet,
    /// The gateway.
    pub via: IpAddr,
    /// The interface whose subnet the gateway is in.
    pub interface: InterfaceName,
}

/// An interface of a namespace: one end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name inside the namespace.
    pub name: InterfaceName,
    /// The bridge that its other end is a port of.
    pub bridge: InterfaceName,
    /// Its hardware address, where the lab says one.
    pub mac: Option<[u8; 6]>,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
}

/// Names an interface of a lab: `namespace/interface`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InterfaceId {
    /// The namespace.
    pub namespace: Name,
    /// The interface in it.
    pub interface: InterfaceName,
}

impl fmt::Display for InterfaceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.interface)
    }
}

impl Lab {
    /// Reads a lab. `file` is what errors call the source.
    ///
    /// # Errors
    /// Everything that is wrong with the lab, each with its place and what would
    /// be right.
    pub fn parse(source: &str, file: &str) -> Result<Self, LabError> {
        let spec = spec::LabSpec::parse(source)
            .map_err(|problem| LabError::new(source, file, vec![problem]))?;
        check::check(spec).map_err(|problems| LabError::new(source, file, problems))
    }

    /// All interfaces with their names.
    pub fn interfaces(&self) -> impl Iterator<Item = (InterfaceId, &Interface)> {
        self.namespaces.iter().flat_map(|namespace| {
            namespace.interfaces.iter().map(|interface| {
                let namespace = namespace.name.clone();
                (InterfaceId { namespace, interface: interface.name.clone() }, interface)
            })
        })
    }
}

#[cfg(test)]
mod tests;
