//! What the kernel has, and what it should have: both as the same plain objects.
//!
//! An object is named by its [`Key`]. The order of keys is the order in which
//! objects are made; they are taken away in reverse.

mod datapath;
mod filter;
mod link;
mod offload;
mod policy;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use nsbpf_common::port::Slot;

pub use datapath::{Attach, Datapath, Guard, Hook, HookPoint, IngressHook, Port, Switches};
pub use filter::FilterChain;
pub use link::{Bridge, BridgeOptions, BridgePort, Device, End, Far, Peer, Place, Veth};
pub use offload::{Feature, Features, Offloads};
pub use policy::{Policy, PolicyRoom};

use crate::lab::{InterfaceId, InterfaceName, LinkId, Name, SysctlName};

/// Names an object of a lab.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The lab's folder.
    Folder,
    /// A namespace that the lab wires and did not make.
    Adopted(Name),
    /// A network namespace.
    Netns(Name),
    /// A setting of a namespace. Before the links, which are born with it.
    Sysctl(Name, SysctlName),
    /// A link that bears the lab's birth mark and no identity: what a killed run
    /// left. Never wanted.
    Stray(Place, u32),
    /// A bridge.
    Bridge(InterfaceName),
    /// A veth pair, by its first interface.
    Veth(InterfaceId),
    /// What an interface leaves to its driver. Before it is up.
    Offloads(InterfaceId),
    /// A setting of an interface.
    LinkSysctl(Name, SysctlName),
    /// The VLANs of a port, or of a bridge itself.
    Vlans(LinkId),
    /// An address of an interface or a bridge.
    Address(LinkId, IpNet),
    /// Loaded programs and maps.
    Datapath,
    /// What the programs know of a port, by its number.
    Port(u16),
    /// What is decided about packets. Before the hooks, by which the first ones come.
    Policy,
    /// A program at a hook, by the interface that it counts for.
    Hook(InterfaceId, HookPoint),
    /// That the host lets namespaces out.
    Uplink,
    /// An interface that is up: after all that its first packet is to find in
    /// place.
    Up(InterfaceId),
    /// That the bridge floods multicast out of an interface's port. Off until the
    /// interface is up: what a thousand namespaces say when they come up, each of
    /// them to all others, is a million packets.
    Flood(InterfaceId),
    /// A route of a namespace. The kernel takes none through an interface that is
    /// down.
    Route(Name, IpNet),
}

/// An object of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// See [`Key::Folder`].
    Folder(Slot),
    /// See [`Key::Stray`].
    Stray(Stray),
    /// See [`Key::Adopted`].
    Adopted(Adopted),
    /// See [`Key::Netns`].
    Netns(Netns),
    /// See [`Key::Sysctl`] and [`Key::LinkSysctl`].
    Sysctl(Sysctl),
    /// See [`Key::Bridge`].
    Bridge(Bridge),
    /// See [`Key::Veth`].
    Veth(Veth),
    /// See [`Key::Offloads`].
    Offloads(Offloads),
    /// See [`Key::Vlans`].
    Vlans(PortVlans),
    /// See [`Key::Address`].
    Address(Address),
    /// See [`Key::Datapath`].
    Datapath(Datapath),
    /// See [`Key::Port`].
    Port(Port),
    /// See [`Key::Policy`].
    Policy(Policy),
    /// See [`Key::Hook`].
    Hook(Hook),
    /// See [`Key::Uplink`].
    Uplink(Uplink),
    /// See [`Key::Up`].
    Up(Up),
    /// See [`Key::Flood`].
    Flood(Flood),
    /// See [`Key::Route`].
    Route(Route),
}

/// A link without an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stray {
    /// Where it is.
    pub place: Place,
    /// Its interface index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
}

/// A namespace that the lab wires and did not make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// Its name in the lab.
    pub name: Name,
    /// What tells it from others: the lab keeps it from dying, and so the number
    /// from coming back.
    pub inode: u64,
}

/// A network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netns {
    /// Its name.
    pub name: Name,
    /// How far it is made.
    pub progress: NetnsProgress,
}

/// How far a namespace is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetnsProgress {
    /// Only a file or a name.
    Name,
    /// A namespace that `ip netns` does not show.
    Unpublished,
    /// All of it.
    Whole,
}

/// A setting of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sysctl {
    /// The namespace.
    pub namespace: Name,
    /// Which setting.
    pub name: SysctlName,
    /// Its value; words with one blank between them.
    pub value: String,
    /// The device that it is a setting of, if it is one's.
    pub device: Option<Device>,
}

/// The VLANs of a port, or of a bridge itself, which is a port then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortVlans {
    /// Whose they are.
    pub of: LinkId,
    /// The bridge that looks at them.
    pub bridge: InterfaceName,
    /// The device.
    pub device: Device,
    /// Those that it is in.
    pub vlans: BTreeMap<u16, Tagging>,
}

/// How the packets of a VLAN look on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tagging {
    /// Those that come in without a tag are of this VLAN.
    pub pvid: bool,
    /// Those that go out have no tag.
    pub untagged: bool,
}

/// An address of an interface or a bridge.
#[derive(Clone, Debug)]
pub struct Address {
    /// Whose it is.
    pub of: LinkId,
    /// The device that has it.
    pub device: Device,
    /// The address.
    pub address: IpNet,
    /// Whether it bears our mark. One that does not is as good, but not ours to
    /// remove.
    pub ours: bool,
    /// Whether an earlier address of its subnet is the first on the device: when
    /// that goes, the kernel takes this one too (`__inet_del_ifa`, Linux 6.18).
    pub secondary: bool,
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        let Self { of, device, address, ours: _, secondary: _ } = self;
        *of == other.of && *device == other.device && *address == other.address
    }
}

impl Eq for Address {}

/// That the host lets namespaces out: forwarding, and a table that masquerades.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// Bridges that are an uplink, with the subnets that masquerade.
    pub bridges: BTreeMap<InterfaceName, BTreeSet<IpNet>>,
    /// Whether the host forwards IPv4 for the lab.
    pub ipv4: bool,
    /// Whether the host forwards IPv6 for the lab.
    pub ipv6: bool,
}

/// An interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    /// The interface.
    pub id: InterfaceId,
    /// The device that it is.
    pub device: Device,
}

/// A bridge port that multicast is flooded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flood {
    /// The interface behind the port.
    pub id: InterfaceId,
    /// The bridge.
    pub bridge: InterfaceName,
    /// The port.
    pub device: Device,
}

/// A route of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The namespace.
    pub namespace: Name,
    /// What it goes by.
    pub dev: LinkId,
    /// The device of that.
    pub device: Device,
    /// Where it leads.
    pub to: IpNet,
    /// The gateway; `None` when the destination is on the link itself.
    pub via: Option<IpAddr>,
    /// Whether the gateway is on the link although no subnet says so.
    pub onlink: bool,
}

impl Object {
    /// The object's name.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Folder(_) => Key::Folder,
            Self::Stray(stray) => Key::Stray(stray.place.clone(), stray.ifindex),
            Self::Adopted(adopted) => Key::Adopted(adopted.name.clone()),
            Self::Netns(netns) => Key::Netns(netns.name.clone()),
            Self::Sysctl(sysctl) => {
                let (namespace, name) = (sysctl.namespace.clone(), sysctl.name.clone());
                match sysctl.device {
                    None => Key::Sysctl(namespace, name),
                    Some(_) => Key::LinkSysctl(namespace, name),
                }
            }
            Self::Bridge(bridge) => Key::Bridge(bridge.name.clone()),
            Self::Veth(veth) => Key::Veth(veth.id.clone()),
            Self::Offloads(offloads) => Key::Offloads(offloads.id.clone()),
            Self::Vlans(vlans) => Key::Vlans(vlans.of.clone()),
            Self::Address(address) => Key::Address(address.of.clone(), address.address),
            Self::Datapath(_) => Key::Datapath,
            Self::Port(port) => Key::Port(port.number),
            Self::Policy(_) => Key::Policy,
            Self::Hook(hook) => Key::Hook(hook.id.clone(), hook.point),
            Self::Uplink(_) => Key::Uplink,
            Self::Up(up) => Key::Up(up.id.clone()),
            Self::Flood(flood) => Key::Flood(flood.id.clone()),
            Self::Route(route) => Key::Route(route.namespace.clone(), route.to),
        }
    }

    /// The device that the object is of, if it is one's.
    #[must_use]
    pub fn device(&self) -> Option<&Device> {
        match self {
            Self::Sysctl(sysctl) => sysctl.device.as_ref(),
            Self::Offloads(offloads) => Some(&offloads.device),
            Self::Vlans(vlans) => Some(&vlans.device),
            Self::Address(address) => Some(&address.device),
            Self::Hook(hook) => Some(&hook.device),
            Self::Up(up) => Some(&up.device),
            Self::Flood(flood) => Some(&flood.device),
            Self::Route(route) => Some(&route.device),
            Self::Folder(_)
            | Self::Stray(_)
            | Self::Adopted(_)
            | Self::Netns(_)
            | Self::Bridge(_)
            | Self::Veth(_)
            | Self::Datapath(_)
            | Self::Port(_)
            | Self::Policy(_)
            | Self::Uplink(_) => None,
        }
    }
}

impl From<LinkId> for Key {
    /// The name of the object that a link is.
    fn from(link: LinkId) -> Self {
        match link {
            LinkId::Bridge(bridge) => Self::Bridge(bridge),
            LinkId::Interface(id) => Self::Veth(id),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder => write!(formatter, "lab folder"),
            Self::Stray(place, ifindex) => {
                write!(formatter, "unfinished link {ifindex} of {place}")
            }
            Self::Adopted(name) => write!(formatter, "adopted namespace {name}"),
            Self::Netns(name) => write!(formatter, "namespace {name}"),
            Self::Sysctl(namespace, name) | Self::LinkSysctl(namespace, name) => {
                write!(formatter, "setting {name} of {namespace}")
            }
            Self::Bridge(name) => write!(formatter, "bridge {name}"),
            Self::Veth(id) => write!(formatter, "interface {id}"),
            Self::Offloads(id) => write!(formatter, "offloads of {id}"),
            Self::Vlans(of) => write!(formatter, "VLANs of {of}"),
            Self::Address(of, address) => write!(formatter, "address {address} of {of}"),
            Self::Datapath => write!(formatter, "datapath"),
            Self::Port(number) => write!(formatter, "port {number} of the datapath"),
            Self::Policy => write!(formatter, "policy"),
            Self::Hook(id, HookPoint::TcIngress) => write!(formatter, "tc ingress of {id}"),
            Self::Hook(id, HookPoint::TcEgress) => write!(formatter, "tc egress of {id}"),
            Self::Hook(id, HookPoint::Xdp) => write!(formatter, "XDP of {id}"),
            Self::Hook(id, HookPoint::XdpGeneric) => write!(formatter, "generic XDP of {id}"),
            Self::Hook(id, HookPoint::RouteIngress) => write!(formatter, "route ingress of {id}"),
            Self::Hook(id, HookPoint::RouteEgress) => write!(formatter, "route egress of {id}"),
            Self::Uplink => write!(formatter, "uplink"),
            Self::Up(id) => write!(formatter, "link state of {id}"),
            Self::Flood(id) => write!(formatter, "multicast flooding to {id}"),
            Self::Route(name, to) => write!(formatter, "route to {to} of {name}"),
        }
    }
}

/// Objects by their names.
pub type Objects = BTreeMap<Key, Object>;

/// What the kernel has of a lab, and what is in its way.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The lab's objects.
    pub objects: Objects,
    /// Slots that other labs of this host use.
    pub taken_slots: BTreeSet<u16>,
    /// Names of links that are not this lab's, in the host's namespace and in
    /// those of the lab.
    pub foreign_links: BTreeMap<(Place, String), Owner>,
    /// Names that `ip netns` shows and that are not this lab's.
    pub foreign_netns: BTreeMap<String, Owner>,
    /// Where the routes lead that are not this lab's, in namespaces that others made.
    pub foreign_routes: BTreeSet<(Name, IpNet)>,
    /// Subnets of links in the host's namespace that are not this lab's.
    pub foreign_subnets: BTreeSet<IpNet>,
    /// XDP programs that are not this lab's, by the interfaces whose packets they see.
    pub foreign_xdp: BTreeMap<InterfaceId, ForeignProgram>,
    /// Namespaces that were found where the lab says, by their names in the lab.
    pub found: BTreeMap<Name, u64>,
    /// Chains that decide about what is routed, in those of the lab's namespaces that
    /// forward.
    pub filters: BTreeMap<Name, Vec<FilterChain>>,
}

/// A program that is not this lab's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignProgram {
    /// Its id.
    pub id: u32,
    /// Its name; empty when it has none.
    pub name: String,
}

/// Whose something is that is not this lab's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nothing to do with nsbpf.
    Stranger,
    /// Another lab, by its name.
    Lab(String),
    /// A lab that is unknown: a link with the birth mark and no identity.
    SomeLab,
}

impl State {
    /// The lab's slot, once it has a folder.
    #[must_use]
    pub fn slot(&self) -> Option<Slot> {
        match self.objects.get(&Key::Folder) {
            Some(Object::Folder(slot)) => Some(*slot),
            _ => None,
        }
    }
}
