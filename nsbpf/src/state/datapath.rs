//! Programs and maps, what they know of ports, and the hooks that they are at.

use std::collections::BTreeSet;
use std::net::IpAddr;

use nsbpf_common::stats::Way;

use super::{Device, Place, PolicyRoom};
use crate::lab::InterfaceId;

/// Where packets that come from an interface meet the datapath.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum IngressHook {
    /// tc ingress of the other end.
    #[default]
    Tc,
    /// Native XDP of the other end.
    Xdp,
    /// Generic XDP of the other end: slower, for what native XDP is refused to.
    #[serde(rename = "xdp-generic")]
    XdpGeneric,
}

/// How programs are attached to tc hooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attach {
    /// By a filter of the clsact queueing discipline.
    #[default]
    Clsact,
    /// By a TCX link, pinned in the lab's folder.
    Tcx,
}

/// Loaded programs and maps.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Datapath {
    /// Layout of the maps; see [`nsbpf_common::ABI_VERSION`].
    pub abi: u32,
    /// Digest of the object that the programs came from.
    pub object: String,
    /// Where packets from namespaces meet it.
    #[serde(default)]
    pub ingress: BTreeSet<IngressHook>,
    /// How its programs are attached to tc hooks.
    #[serde(default)]
    pub attach: Attach,
    /// Whether the programs log what they cannot count.
    pub log: bool,
    /// Interface index of port 0.
    pub port_base: u32,
    /// Ports that the maps have room for.
    pub port_capacity: u32,
    /// Flows that the maps have room for; 0 when flows are not tracked.
    #[serde(default)]
    pub flows: u32,
    /// What of the programs is on.
    #[serde(default)]
    pub switches: Switches,
    /// What the maps of a policy have room for; `None` when there is no policy.
    #[serde(default)]
    pub policy: Option<PolicyRoom>,
    /// Whether nothing is left of a replacement of the programs that was cut short.
    #[serde(skip, default = "settled")]
    pub settled: bool,
}

/// What of the programs is on. What is off is not even loaded.
#[expect(clippy::struct_excessive_bools, reason = "each is a global of the kernel half")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Switches {
    /// Some port is guarded: sources are looked at.
    pub guard: bool,
    /// Some pair has no bridge: which port it is a hook tells by its device.
    pub direct_links: bool,
    /// Packets of some port pass the bridge by where they can.
    #[serde(default)]
    pub fast_paths: bool,
    /// Packets pass some router's stack by where they can.
    #[serde(default)]
    pub routes: bool,
    /// Packets between bridges pass the stack that both are in by where they can.
    #[serde(default)]
    pub host_routes: bool,
}

/// What is written down is settled; only a look at the pins can tell otherwise.
fn settled() -> bool {
    true
}

/// What the programs know of a port. As long as it is there, its counters go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its number.
    pub number: u16,
    /// Tells its interface from others that had the number before.
    pub identity: [u8; 4],
    /// The MAC address that the lab gave the interface.
    pub mac: [u8; 6],
    /// The port at the other end of a pair without a bridge.
    pub direct_peer: Option<u16>,
    /// Its layer 2 domain: the number of its bridge, or the lower one of a pair.
    pub domain: u16,
    /// The way that its packets take where they can.
    pub way: Way,
    /// Where its device is, if that takes frames from XDP.
    pub takes_xdp: Option<Place>,
    /// What it may claim, if it is guarded.
    pub guard: Option<Guard>,
    /// Whether its namespace forwards what others sent.
    pub router: bool,
    /// Whether its packets meet the datapath at two hooks, one of which takes over from
    /// the other. Never wanted: what is left over of a change that was cut short.
    pub handed_over: bool,
}

/// What a guarded port may claim besides its MAC address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Any IP address.
    Mac,
    /// Those IP addresses.
    Addresses(BTreeSet<IpAddr>),
}

/// A hook of the device behind an interface, or of a router's interface itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookPoint {
    /// tc ingress.
    TcIngress,
    /// tc egress.
    TcEgress,
    /// XDP in the driver.
    Xdp,
    /// XDP on the socket buffer.
    XdpGeneric,
    /// tc ingress of a router's interface itself.
    RouteIngress,
    /// tc egress of a router's interface itself.
    RouteEgress,
}

impl HookPoint {
    /// The hook where packets from a namespace meet the datapath.
    #[must_use]
    pub fn ingress(hook: IngressHook) -> Self {
        match hook {
            IngressHook::Tc => Self::TcIngress,
            IngressHook::Xdp => Self::Xdp,
            IngressHook::XdpGeneric => Self::XdpGeneric,
        }
    }

    /// Whether packets from a namespace meet the datapath there.
    #[must_use]
    pub fn is_ingress(self) -> bool {
        matches!(self, Self::TcIngress | Self::Xdp | Self::XdpGeneric)
    }

    /// Whether frames meet it before they are packets of the kernel's stack, or in
    /// that place of the stack.
    #[must_use]
    pub fn is_xdp(self) -> bool {
        matches!(self, Self::Xdp | Self::XdpGeneric)
    }
}

/// A program at a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The interface whose packets the program counts.
    pub id: InterfaceId,
    /// The device that has the hook: that on the other side. Its number is the
    /// interface's port number.
    pub device: Device,
    /// Which hook.
    pub point: HookPoint,
    /// How the program is attached to a tc hook; `None` at XDP, where it is always a
    /// pinned link.
    pub attach: Option<Attach>,
    /// Whether the program there is of the loaded datapath.
    pub current: bool,
}
