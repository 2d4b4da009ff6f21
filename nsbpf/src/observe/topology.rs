//! What a lab is made of now, as a report: from the observed state alone.

use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::lab::{InterfaceId, Name};
use crate::state::{HookPoint, IngressHook, Key, Object, State, Veth};

/// A lab.
#[derive(Debug, Serialize)]
pub struct Topology {
    /// Its name.
    pub lab: String,
    /// Its share of interface indices; `None` for one without a folder.
    pub slot: Option<u16>,
    /// Where packets from a namespace meet the datapath; `None` when none is
    /// loaded.
    pub ingress: Option<IngressHook>,
    /// Its bridges.
    pub bridges: Vec<BridgeReport>,
    /// Its namespaces.
    pub namespaces: Vec<NamespaceReport>,
}

/// A bridge.
#[derive(Debug, Serialize)]
pub struct BridgeReport {
    /// Its name.
    pub name: String,
    /// In bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// Interfaces on it, as `namespace/interface`.
    pub interfaces: Vec<String>,
}

/// A namespace.
#[derive(Debug, Serialize)]
pub struct NamespaceReport {
    /// Its name.
    pub name: String,
    /// Whether it forwards packets.
    pub router: bool,
    /// Its interfaces.
    pub interfaces: Vec<InterfaceReport>,
    /// Its routes through gateways, those that the lab made.
    pub routes: Vec<RouteReport>,
}

/// An interface.
#[derive(Debug, Serialize)]
pub struct InterfaceReport {
    /// Its name in the namespace.
    pub name: String,
    /// Its port number.
    pub port: u16,
    /// The name of the other end.
    pub host_end: String,
    /// The bridge that the other end is a port of.
    pub bridge: Option<String>,
    /// Its hardware address; `None` when it is not there.
    pub mac: Option<String>,
    /// Whether it is up.
    pub up: bool,
    /// All of its addresses, the kernel's own included.
    pub addresses: Vec<IpNet>,
    /// Hooks of the other end that a program of the lab is at.
    pub hooks: Vec<&'static str>,
}

/// A route.
#[derive(Debug, Serialize)]
pub struct RouteReport {
    /// Where it leads.
    pub to: IpNet,
    /// The gateway.
    pub via: IpAddr,
    /// The interface that the gateway is behind.
    pub interface: String,
}

impl Topology {
    /// The report of a lab.
    #[must_use]
    pub fn new(lab: &Name, state: &State) -> Self {
        let objects = || state.objects.values();
        let veths = || {
            let mut veths: Vec<&Veth> = objects()
                .filter_map(|object| match object {
                    Object::Veth(veth) => Some(veth),
                    _ => None,
                })
                .collect();
            veths.sort_by_key(|veth| veth.number);
            veths
        };
        let bridges = objects().filter_map(|object| match object {
            Object::Bridge(bridge) => Some(BridgeReport {
                name: bridge.name.to_string(),
                mtu: bridge.end.mtu,
                up: bridge.up,
                interfaces: veths()
                    .iter()
                    .filter(|veth| veth.bridge.as_ref() == Some(&bridge.name))
                    .map(|veth| veth.id.to_string())
                    .collect(),
            }),
            _ => None,
        });
        let namespaces = objects().filter_map(|object| match object {
            Object::Netns(netns) => Some(namespace(&netns.name, &veths(), state)),
            _ => None,
        });
        let ingress = match state.objects.get(&Key::Datapath) {
            Some(Object::Datapath(datapath)) => Some(datapath.ingress),
            _ => None,
        };
        Self {
            lab: lab.to_string(),
            slot: state.slot().map(nsbpf_common::port::Slot::get),
            ingress,
            bridges: bridges.collect(),
            namespaces: namespaces.collect(),
        }
    }

    /// The report as a person reads it.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.lab.clone();
        // Writing to a string does not fail.
        if let Some(ingress) = self.ingress {
            let hook = match ingress {
                IngressHook::Tc => "tc",
                IngressHook::Xdp => "XDP",
            };
            let _ = write!(text, ", counted at {hook} ingress and tc egress");
        }
        text.push('\n');
        for BridgeReport { name, mtu, up, interfaces } in &self.bridges {
            let state = if *up { "" } else { ", down" };
            let _ = writeln!(text, "  bridge {name}, MTU {mtu}{state}");
            for interface in interfaces {
                let _ = writeln!(text, "    {interface}");
            }
        }
        for namespace in &self.namespaces {
            let router = if namespace.router { ", router" } else { "" };
            let _ = writeln!(text, "  namespace {}{router}", namespace.name);
            for interface in &namespace.interfaces {
                let _ = writeln!(text, "    {}", interface.line());
            }
            for RouteReport { to, via, interface } in &namespace.routes {
                let _ = writeln!(text, "    route to {to} via {via} ({interface})");
            }
        }
        text
    }
}

impl InterfaceReport {
    fn line(&self) -> String {
        let Self { name, port: _, host_end, bridge, mac, up, addresses, hooks } = self;
        let bridge = bridge.as_deref().unwrap_or("nothing");
        let mac = mac.as_deref().unwrap_or("not there");
        let state = if *up { "" } else { ", down" };
        let hooks = if hooks.is_empty() { ", not counted" } else { "" };
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let addresses = addresses.join(" ");
        format!("{name} on {bridge} by {host_end}, {mac}{state}{hooks}: {addresses}")
    }
}

fn namespace(name: &Name, veths: &[&Veth], state: &State) -> NamespaceReport {
    let inside = veths.iter().filter(|veth| veth.id.namespace == *name);
    let routes = state.objects.values().filter_map(|object| match object {
        Object::Route(route) if route.id.namespace == *name => Some(RouteReport {
            to: route.to,
            via: route.via,
            interface: route.id.interface.to_string(),
        }),
        _ => None,
    });
    NamespaceReport {
        name: name.to_string(),
        router: state.objects.contains_key(&Key::Forwarding(name.clone())),
        interfaces: inside.map(|veth| interface(veth, state)).collect(),
        routes: routes.collect(),
    }
}

fn interface(veth: &Veth, state: &State) -> InterfaceReport {
    let Veth { id, number, host, inner, bridge, up: _ } = veth;
    InterfaceReport {
        name: id.interface.to_string(),
        port: *number,
        host_end: host.name.clone(),
        bridge: bridge.as_ref().map(ToString::to_string),
        mac: inner.as_ref().map(|end| end.mac.map(|byte| format!("{byte:02x}")).join(":")),
        up: state.objects.contains_key(&Key::Up(id.clone())),
        addresses: addresses(id, state),
        hooks: [
            (HookPoint::TcIngress, "tc ingress"),
            (HookPoint::Xdp, "XDP"),
            (HookPoint::TcEgress, "tc egress"),
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

fn addresses(id: &InterfaceId, state: &State) -> Vec<IpNet> {
    let of_interface = |object: &Object| match object {
        Object::Address(address) if address.id == *id => Some(address.address),
        _ => None,
    };
    state.objects.values().filter_map(of_interface).collect()
}
