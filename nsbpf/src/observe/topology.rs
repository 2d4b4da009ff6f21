//! What a lab is made of now, as a report: from the observed state alone.

mod graph;
mod text;

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::lab::{InterfaceId, LinkId, Name, SysctlName};
use crate::state::{
    Bridge, Far, HookPoint, IngressHook, Key, Object, Place, PortVlans, State, Veth,
};

/// A lab.
#[derive(Debug, Serialize)]
pub struct Topology {
    /// Its name.
    pub lab: String,
    /// Its share of interface indices; `None` for one without a folder.
    pub slot: Option<u16>,
    /// Where packets from namespaces meet the datapath; empty when none is loaded.
    pub ingress: BTreeSet<IngressHook>,
    /// Its bridges.
    pub bridges: Vec<BridgeReport>,
    /// Its namespaces.
    pub namespaces: Vec<NamespaceReport>,
}

/// A bridge.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property that a reader looks for")]
pub struct BridgeReport {
    /// Its name.
    pub name: String,
    /// The namespace that it is in; `None` for the host's.
    pub namespace: Option<String>,
    /// In bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// Whether it takes part in the spanning tree protocol.
    pub stp: bool,
    /// Whether it looks at VLANs.
    pub vlan_filtering: bool,
    /// Whether the host lets out what is on it.
    pub uplink: bool,
    /// All of its addresses.
    pub addresses: Vec<IpNet>,
    /// Interfaces on it, as `namespace/interface`.
    pub interfaces: Vec<String>,
}

/// A namespace.
#[derive(Debug, Serialize)]
pub struct NamespaceReport {
    /// Its name.
    pub name: String,
    /// Whether it is somebody else's, and the lab only wires it.
    pub adopted: bool,
    /// Whether the lab made it forward packets.
    pub router: bool,
    /// Settings that the lab changed, as they are now.
    pub sysctls: Vec<SysctlReport>,
    /// Its interfaces.
    pub interfaces: Vec<InterfaceReport>,
    /// Its routes, those that the lab made.
    pub routes: Vec<RouteReport>,
}

/// A setting of a namespace.
#[derive(Debug, Serialize)]
pub struct SysctlReport {
    /// Its name, with dots.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// An interface.
#[derive(Debug, Serialize)]
pub struct InterfaceReport {
    /// Its name in the namespace.
    pub name: String,
    /// Its port number.
    pub port: u16,
    /// The name of the other end of its veth pair.
    pub far_end: String,
    /// The bridge that the other end is a port of.
    pub bridge: Option<String>,
    /// The interface that the other end is, as `namespace/interface`.
    pub peer: Option<String>,
    /// The VLANs of the port; none where its bridge looks at none.
    pub vlans: Vec<VlanReport>,
    /// Whether the port reaches only ports that are not isolated.
    pub isolated: bool,
    /// Its hardware address; `None` when it is not there.
    pub mac: Option<String>,
    /// Largest packet, in bytes; `None` when it is not there.
    pub mtu: Option<u32>,
    /// Queues of its veth pair, of each kind and at each end.
    pub queues: u32,
    /// Whether it is up.
    pub up: bool,
    /// All of its addresses, the kernel's own included.
    pub addresses: Vec<IpNet>,
    /// Hooks of the other end that a program of the lab is at.
    pub hooks: Vec<&'static str>,
}

/// A VLAN of a port.
#[derive(Debug, Serialize)]
pub struct VlanReport {
    /// Its number.
    pub vlan: u16,
    /// Whether packets without a tag that come in are of it.
    pub pvid: bool,
    /// Whether its packets go out without a tag.
    pub untagged: bool,
}

/// A route.
#[derive(Debug, Serialize)]
pub struct RouteReport {
    /// Where it leads.
    pub to: IpNet,
    /// The gateway; `None` when the destination is on the link itself.
    pub via: Option<IpAddr>,
    /// What it goes by.
    pub interface: String,
}

impl Topology {
    /// The report of a lab.
    #[must_use]
    pub fn new(lab: &Name, state: &State) -> Self {
        let objects = || state.objects.values();
        let mut ports: Vec<(InterfaceId, u16, &Veth)> = objects()
            .filter_map(|object| match object {
                Object::Veth(veth) => Some(veth),
                _ => None,
            })
            .flat_map(|veth| veth.ports().map(move |(id, number)| (id.clone(), number, veth)))
            .collect();
        ports.sort_by_key(|(_, number, _)| *number);
        let bridges = objects().filter_map(|object| match object {
            Object::Bridge(one) => Some(bridge(one, &ports, state)),
            _ => None,
        });
        let namespaces = objects().filter_map(|object| match object {
            Object::Netns(netns) => Some(namespace(&netns.name, false, &ports, state)),
            Object::Adopted(adopted) => Some(namespace(&adopted.name, true, &ports, state)),
            _ => None,
        });
        let ingress = match state.objects.get(&Key::Datapath) {
            Some(Object::Datapath(datapath)) => datapath.ingress.clone(),
            _ => BTreeSet::new(),
        };
        Self {
            lab: lab.to_string(),
            slot: state.slot().map(nsbpf_common::port::Slot::get),
            ingress,
            bridges: bridges.collect(),
            namespaces: namespaces.collect(),
        }
    }
}

fn bridge(bridge: &Bridge, ports: &[(InterfaceId, u16, &Veth)], state: &State) -> BridgeReport {
    let Bridge { name, place, number: _, end, up, options, netfilter: _ } = bridge;
    let on_it = |veth: &Veth| match &veth.far {
        Far::Port(port) => port.bridge.as_ref() == Some(name),
        Far::Peer(_) => false,
    };
    let uplink = match state.objects.get(&Key::Uplink) {
        Some(Object::Uplink(uplink)) => uplink.bridges.contains_key(name),
        _ => false,
    };
    BridgeReport {
        name: name.to_string(),
        namespace: match place {
            Place::Host => None,
            Place::Netns(name) => Some(name.to_string()),
        },
        mtu: end.mtu,
        up: *up,
        stp: options.stp,
        vlan_filtering: options.vlan_filtering,
        uplink,
        addresses: addresses(&LinkId::Bridge(name.clone()), state),
        interfaces: ports
            .iter()
            .filter(|(_, _, veth)| on_it(veth))
            .map(|(id, ..)| id.to_string())
            .collect(),
    }
}

fn namespace(
    name: &Name,
    adopted: bool,
    ports: &[(InterfaceId, u16, &Veth)],
    state: &State,
) -> NamespaceReport {
    let routes = state.objects.values().filter_map(|object| match object {
        Object::Route(route) if route.namespace == *name => Some(RouteReport {
            to: route.to,
            via: route.via,
            interface: match &route.dev {
                LinkId::Bridge(bridge) => bridge.to_string(),
                LinkId::Interface(id) => id.interface.to_string(),
            },
        }),
        _ => None,
    });
    let sysctls: Vec<(&SysctlName, &String)> = state
        .objects
        .values()
        .filter_map(|object| match object {
            Object::Sysctl(sysctl) if sysctl.namespace == *name => {
                Some((&sysctl.name, &sysctl.value))
            }
            _ => None,
        })
        .collect();
    let forwards =
        |switch: &str| sysctls.iter().any(|(name, value)| name.as_str() == switch && *value == "1");
    NamespaceReport {
        name: name.to_string(),
        adopted,
        router: SysctlName::FORWARDING.into_iter().all(forwards),
        interfaces: ports
            .iter()
            .filter(|(id, ..)| id.namespace == *name)
            .map(|(id, number, veth)| interface(id, *number, veth, state))
            .collect(),
        routes: routes.collect(),
        sysctls: sysctls
            .iter()
            .map(|(name, value)| SysctlReport { name: name.to_string(), value: (*value).clone() })
            .collect(),
    }
}

fn interface(id: &InterfaceId, number: u16, veth: &Veth, state: &State) -> InterfaceReport {
    let (far_end, own_end) = match &veth.far {
        Far::Port(port) => (Some(&port.end), veth.near.as_ref()),
        Far::Peer(peer) if *id == veth.id => (Some(&peer.end), veth.near.as_ref()),
        Far::Peer(peer) => (veth.near.as_ref(), Some(&peer.end)),
    };
    let (bridge, isolated, peer) = match &veth.far {
        Far::Port(port) => (port.bridge.as_ref(), port.isolated, None),
        Far::Peer(peer) if *id == veth.id => (None, false, Some(&peer.id)),
        Far::Peer(_) => (None, false, Some(&veth.id)),
    };
    let of = LinkId::Interface(id.clone());
    let vlans = match state.objects.get(&Key::Vlans(of.clone())) {
        Some(Object::Vlans(PortVlans { vlans, .. })) => vlans
            .iter()
            .map(|(vlan, tagging)| VlanReport {
                vlan: *vlan,
                pvid: tagging.pvid,
                untagged: tagging.untagged,
            })
            .collect(),
        _ => Vec::new(),
    };
    InterfaceReport {
        name: id.interface.to_string(),
        port: number,
        far_end: far_end.map(|end| end.name.clone()).unwrap_or_default(),
        bridge: bridge.map(ToString::to_string),
        peer: peer.map(ToString::to_string),
        vlans,
        isolated,
        mac: own_end.map(|end| end.mac.map(|byte| format!("{byte:02x}")).join(":")),
        mtu: own_end.map(|end| end.mtu),
        queues: veth.queues,
        up: state.objects.contains_key(&Key::Up(id.clone())),
        addresses: addresses(&of, state),
        hooks: [
            (HookPoint::TcIngress, "tc ingress"),
            (HookPoint::Xdp, "XDP"),
            (HookPoint::XdpGeneric, "generic XDP"),
            (HookPoint::TcEgress, "tc egress"),
            (HookPoint::RouteIngress, "route ingress"),
            (HookPoint::RouteEgress, "route egress"),
        ]
        .into_iter()
        .filter(|(point, _)| {
            let hook = state.objects.get(&Key::Hook(id.clone(), *point));
            matches!(hook, Some(Object::Hook(hook)) if hook.current)
        })
        .map(|(_, name)| name)
        .collect(),
    }
}

fn addresses(of: &LinkId, state: &State) -> Vec<IpNet> {
    let is_its = |object: &Object| match object {
        Object::Address(address) if address.of == *of => Some(address.address),
        _ => None,
    };
    state.objects.values().filter_map(is_its).collect()
}
