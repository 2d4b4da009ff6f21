//! What the kernel has, and what it should have: both as the same plain objects.
//!
//! An object is named by its [`Key`]. The order of keys is the order in which
//! objects are made; they are taken away in reverse.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use nsbpf_common::port::Slot;

use crate::lab::{InterfaceId, InterfaceName, Name};

/// Names an object of a lab.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The lab's folder.
    Folder,
    /// A link that bears the lab's birth mark and no identity: what a killed run
    /// left. Never wanted.
    Stray(u32),
    /// A network namespace.
    Netns(Name),
    /// That a namespace forwards packets.
    Forwarding(Name),
    /// A bridge.
    Bridge(InterfaceName),
    /// A veth pair.
    Veth(InterfaceId),
    /// An address of an interface.
    Address(InterfaceId, IpNet),
    /// Loaded programs and maps.
    Datapath,
    /// A program at a hook of an interface's host-side end.
    Hook(InterfaceId, HookPoint),
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
    /// See [`Key::Netns`].
    Netns(Netns),
    /// See [`Key::Forwarding`].
    Forwarding(Name),
    /// See [`Key::Bridge`].
    Bridge(Bridge),
    /// See [`Key::Veth`].
    Veth(Veth),
    /// See [`Key::Address`].
    Address(Address),
    /// See [`Key::Datapath`].
    Datapath(Datapath),
    /// See [`Key::Hook`].
    Hook(Hook),
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
    /// Its interface index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
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

/// One end of a veth pair, or a bridge: what links have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Interface name.
    pub name: String,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Largest packet, in bytes, Ethernet header not counted.
    pub mtu: u32,
    /// Link group, part of the birth mark.
    pub group: u32,
}

/// A bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its name, in the lab and in the kernel.
    pub name: InterfaceName,
    /// Its number in the lab's slot.
    pub number: u16,
    /// What the kernel has.
    pub end: End,
    /// Whether it is up.
    pub up: bool,
}

/// A veth pair between a namespace and a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veth {
    /// The interface of the lab that it is.
    pub id: InterfaceId,
    /// Its port number in the lab's slot.
    pub number: u16,
    /// The host-side end.
    pub host: End,
    /// The end in the namespace; `None` when it is not there.
    pub inner: Option<End>,
    /// The bridge whose port the host-side end is; `None` when it is no port of
    /// one of the lab's bridges.
    pub bridge: Option<InterfaceName>,
    /// Whether the host-side end is up.
    pub up: bool,
}

/// An address of an interface.
#[derive(Clone, Debug)]
pub struct Address {
    /// The interface.
    pub id: InterfaceId,
    /// The port number of the interface.
    pub number: u16,
    /// The address.
    pub address: IpNet,
    /// Whether it bears our mark. One that does not is as good, but not ours to
    /// remove.
    pub ours: bool,
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        let Self { id, number, address, ours: _ } = self;
        *id == other.id && *number == other.number && *address == other.address
    }
}

impl Eq for Address {}

/// Where packets that come from a namespace meet the datapath.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IngressHook {
    /// tc ingress of the host-side end.
    #[default]
    Tc,
    /// Native XDP of the host-side end.
    Xdp,
}

/// Loaded programs and maps.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Datapath {
    /// Layout of the maps; see [`nsbpf_common::ABI_VERSION`].
    pub abi: u32,
    /// Digest of the object that the programs came from.
    pub object: String,
    /// Where packets from a namespace meet it.
    pub ingress: IngressHook,
    /// Whether the programs log what they cannot count.
    pub log: bool,
    /// Interface index of port 0.
    pub port_base: u32,
    /// Ports that the maps have room for.
    pub port_capacity: u32,
}

/// A hook of a host-side end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookPoint {
    /// tc ingress.
    TcIngress,
    /// tc egress.
    TcEgress,
    /// XDP.
    Xdp,
}

/// A program at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The interface whose host-side end has the hook.
    pub id: InterfaceId,
    /// Its port number.
    pub number: u16,
    /// Which hook.
    pub point: HookPoint,
    /// Whether the program there is of the loaded datapath.
    pub current: bool,
}

/// An interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Up {
    /// The interface.
    pub id: InterfaceId,
    /// Its port number.
    pub number: u16,
}

/// A bridge port that multicast is flooded to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flood {
    /// The interface behind the port.
    pub id: InterfaceId,
    /// Its port number.
    pub number: u16,
}

/// A route of a namespace, through a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface that the gateway is behind.
    pub id: InterfaceId,
    /// Its port number.
    pub number: u16,
    /// Where it leads.
    pub to: IpNet,
    /// The gateway.
    pub via: IpAddr,
}

impl Object {
    /// The object's name.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Folder(_) => Key::Folder,
            Self::Stray(stray) => Key::Stray(stray.ifindex),
            Self::Netns(netns) => Key::Netns(netns.name.clone()),
            Self::Forwarding(namespace) => Key::Forwarding(namespace.clone()),
            Self::Bridge(bridge) => Key::Bridge(bridge.name.clone()),
            Self::Veth(veth) => Key::Veth(veth.id.clone()),
            Self::Address(address) => Key::Address(address.id.clone(), address.address),
            Self::Datapath(_) => Key::Datapath,
            Self::Hook(hook) => Key::Hook(hook.id.clone(), hook.point),
            Self::Up(up) => Key::Up(up.id.clone()),
            Self::Flood(flood) => Key::Flood(flood.id.clone()),
            Self::Route(route) => Key::Route(route.id.namespace.clone(), route.to),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder => write!(formatter, "lab folder"),
            Self::Stray(ifindex) => write!(formatter, "unfinished link {ifindex}"),
            Self::Netns(name) => write!(formatter, "namespace {name}"),
            Self::Forwarding(name) => write!(formatter, "forwarding of {name}"),
            Self::Bridge(name) => write!(formatter, "bridge {name}"),
            Self::Veth(id) => write!(formatter, "interface {id}"),
            Self::Address(id, address) => write!(formatter, "address {address} of {id}"),
            Self::Datapath => write!(formatter, "datapath"),
            Self::Hook(id, HookPoint::TcIngress) => write!(formatter, "tc ingress of {id}"),
            Self::Hook(id, HookPoint::TcEgress) => write!(formatter, "tc egress of {id}"),
            Self::Hook(id, HookPoint::Xdp) => write!(formatter, "XDP of {id}"),
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
    /// Names of links in the host's namespace that are not this lab's.
    pub foreign_links: BTreeMap<String, Owner>,
    /// Names that `ip netns` shows and that are not this lab's.
    pub foreign_netns: BTreeMap<String, Owner>,
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
