//! What was asked for: a lab, read from YAML and checked.
//!
//! [`spec`] is what the user typed, [`Lab`] what it means; [`check`] leads from
//! one to the other. Nothing here does I/O.

mod address;
mod adopt;
mod attach;
mod bridge;
mod check;
mod count;
mod expect;
mod fastpath;
mod guard;
mod mac;
mod name;
pub mod policy;
mod problem;
mod queues;
mod route;
mod schema;
mod segment;
mod spec;
mod sysctl;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use nsbpf_common::stats;

pub use expect::{Destination, Expectation, Party, Trial, Way};
pub use name::{InterfaceName, Name, NameError, RuleName};
pub use policy::Policy;
pub use problem::LabError;
pub(crate) use problem::nearest;
pub use schema::schema;
pub use sysctl::SysctlName;

/// Most ports that a bridge takes (`BR_MAX_PORTS` less the one that is
/// reserved, `net/bridge/br_private.h`, Linux 6.18).
pub const MAX_BRIDGE_PORTS: usize = 1023;

/// The MTU of a bridge that says none, in bytes.
pub const DEFAULT_MTU: u32 = 1500;
/// Bytes that IPv6 asks of every link (RFC 8200, section 5). The kernel takes all
/// IPv6 from a link that is narrower (`addrconf_notify`, Linux 6.18).
pub const IPV6_MIN_MTU: u32 = 1280;

/// A lab: consistent in itself, and nothing known of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lab {
    /// Its name, unique on a host.
    pub name: Name,
    /// Bridges, in the order of the file.
    pub bridges: Vec<Bridge>,
    /// Namespaces, in the order of the file.
    pub namespaces: Vec<Namespace>,
    /// How packets travel over its bridges, if it says so.
    pub fastpath: Option<stats::Way>,
    /// Namespaces of a count, by the name that has it in the file.
    pub groups: BTreeMap<String, Vec<Name>>,
    /// Which packets may go from where to where, if it says so.
    pub policy: Option<Policy>,
    /// Who reaches whom, in the order of the file.
    pub expect: Vec<Expectation>,
}

/// A bridge of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: InterfaceName,
    /// The namespace that it is in; `None` for the host's.
    pub namespace: Option<Name>,
    /// Largest packet on it and on everything that is attached to it, in bytes,
    /// Ethernet header not counted: 68 to 65,535.
    pub mtu: u32,
    /// Its own addresses.
    pub addresses: Vec<IpNet>,
    /// Whether it takes part in the spanning tree protocol.
    pub stp: bool,
    /// Time that a port listens, and then learns, before it forwards, under the
    /// spanning tree protocol; in seconds, 2 to 30.
    pub forward_delay: u8,
    /// Whether its ports are members of VLANs, and which one its own addresses are
    /// in; `None` for a bridge that looks at no VLAN.
    pub vlan: Option<u16>,
    /// Whether the host lets its namespaces out.
    pub uplink: bool,
}

/// A network namespace of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its name: as `ip netns` shows it, unless it is adopted.
    pub name: Name,
    /// Where it is found, for one that the lab only wires.
    pub adopted: Option<Source>,
    /// Kernel settings under `net.`, by their names with slashes.
    pub sysctls: BTreeMap<SysctlName, String>,
    /// Routes, each destination once.
    pub routes: Vec<Route>,
    /// Interfaces, in the order of the file.
    pub interfaces: Vec<Interface>,
}

impl Namespace {
    /// Whether the lab has it forward packets from one of its interfaces to another.
    #[must_use]
    pub fn forwards(&self) -> bool {
        let is_on = |name: &str| {
            let name = SysctlName::new(name);
            name.and_then(|name| self.sysctls.get(&name)).is_some_and(|value| value == "1")
        };
        self.interfaces.len() > 1 && SysctlName::FORWARDING.into_iter().any(is_on)
    }
}

/// Where a namespace that the lab did not make is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file that holds it.
    File(PathBuf),
    /// A process in it.
    Pid(u32),
    /// A container of podman's or docker's, by name or id.
    Container(String),
}

/// A route of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads, as a subnet's own address.
    pub to: IpNet,
    /// The gateway; `None` when the destination is on the link itself.
    pub via: Option<IpAddr>,
    /// Whether the gateway is on the link although no subnet says so.
    pub onlink: bool,
    /// The interface, or bridge in the namespace, that it goes by.
    pub dev: LinkId,
    /// Whether it follows from an uplink, and the lab does not say it.
    pub implied: bool,
}

/// An interface of a namespace: one end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name inside the namespace.
    pub name: InterfaceName,
    /// What its other end is.
    pub attachment: Attachment,
    /// Its hardware address, where the lab says one.
    pub mac: Option<[u8; 6]>,
    /// Largest packet, in bytes, Ethernet header not counted: 68 to 65,535.
    pub mtu: u32,
    /// Queues of its veth pair, of each kind and at each end: 1 to 64.
    pub queues: u16,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// Whether it is up.
    pub up: bool,
    /// Whether what it sends is dropped when it claims to be another.
    pub guard: Option<Guard>,
    /// How what it sends travels over its bridge, if it says so itself.
    pub fastpath: Option<stats::Way>,
}

impl Interface {
    /// The bridge that it is on, if it is on one.
    #[must_use]
    pub fn bridge(&self) -> Option<&InterfaceName> {
        match &self.attachment {
            Attachment::Port(port) => Some(&port.bridge),
            Attachment::Peer(_) => None,
        }
    }
}

/// What a guarded interface may not claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Another's MAC address.
    Mac,
    /// Another's MAC or IP address.
    Addresses,
}

/// What the other end of an interface's veth pair is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attachment {
    /// A port of a bridge.
    Port(Port),
    /// An interface of another namespace.
    Peer(InterfaceId),
}

/// A port of a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// The bridge.
    pub bridge: InterfaceName,
    /// Its VLANs; `None` on a bridge that looks at none.
    pub vlans: Option<Vlans>,
    /// Whether it reaches only ports that are not isolated.
    pub isolated: bool,
}

/// The VLANs of a port, each 1 to 4,094.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vlans {
    /// The one whose packets are untagged on the port, if any.
    pub untagged: Option<u16>,
    /// Those whose packets are tagged.
    pub tagged: BTreeSet<u16>,
}

/// Names a link of a lab.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkId {
    /// A bridge.
    Bridge(InterfaceName),
    /// An interface of a namespace.
    Interface(InterfaceId),
}

impl fmt::Display for LinkId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge(bridge) => bridge.fmt(formatter),
            Self::Interface(id) => id.fmt(formatter),
        }
    }
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
        check::check(&spec).map_err(|problems| LabError::new(source, file, problems))
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
