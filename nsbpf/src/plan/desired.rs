//! What the kernel should have for a lab.

mod number;
mod policy;
mod way;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ipnet::IpNet;
use nsbpf_common::ABI_VERSION;
use nsbpf_common::port::{self, Slot};
use nsbpf_common::stats::Way;

use super::PlanError;
use crate::lab::{self, Attachment, InterfaceId, InterfaceName, Lab, LinkId, Name};
use crate::state::{
    Address, Adopted, Attach, Bridge, BridgeOptions, BridgePort, Datapath, Device, End, Far, Flood,
    Guard, Hook, HookPoint, IngressHook, Key, Netns, NetnsProgress, Object, Objects, Offloads,
    Peer, Place, Port, PortVlans, Route, State, Switches, Sysctl, Tagging, Up, Uplink, Veth,
};
use number::Numbers;
use way::Asked;
pub(super) use way::filtering_routers;
pub use way::ingress_hooks;

/// Ports that a datapath has room for at least: a lab that grows a little keeps
/// its maps, and so its counters.
const MIN_CAPACITY: u32 = 64;

/// How a lab is to run, besides what the lab says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where packets from a namespace meet the datapath; `None` for no datapath.
    pub ingress: Option<IngressHook>,
    /// How programs are attached to tc hooks.
    pub attach: Attach,
    /// Digest of the object that holds the programs.
    pub object: String,
    /// How packets travel over bridges where the lab does not say; `None` for the
    /// default.
    pub fastpath: Option<Way>,
    /// Flows that there is room for, 0 to track none.
    pub flows: u32,
    /// Whether the programs log what they cannot count.
    pub log: bool,
    /// What the policy was read from; `None` if the lab's own file says it.
    pub rules_file: Option<String>,
}

/// Flows that there is room for if nobody says.
pub const DEFAULT_FLOWS: u32 = 1 << 16;

impl Settings {
    /// What is asked for about packets; `None` for no datapath.
    fn asked(&self) -> Option<Asked> {
        self.ingress.map(|hook| Asked { hook, fastpath: self.fastpath })
    }
}

/// The objects of a lab. Those that `state` has keep their numbers, others get
/// free ones, so that the same lab and state always lead to the same objects.
pub fn desired(lab: &Lab, settings: &Settings, state: &State) -> Result<Objects, PlanError> {
    let slot = state.slot().map_or_else(|| number::free_slot(lab, state), Ok)?;
    let mut desired = Desired {
        lab,
        slot,
        bridges: lab.bridges.iter().map(|bridge| (&bridge.name, bridge)).collect(),
        namespaces: lab.namespaces.iter().map(|it| (&it.name, it)).collect(),
        macs: lab.interfaces().filter_map(|(id, one)| Some((id, one.mac?))).collect(),
        links: HashMap::new(),
        objects: Objects::new(),
    };
    let mut numbers = Numbers::new(state);
    desired.add(Object::Folder(slot));
    for namespace in &lab.namespaces {
        desired.namespace(namespace, state)?;
    }
    for bridge in &lab.bridges {
        desired.bridge(bridge, numbers.of_bridge(&bridge.name)?);
    }
    let mut ports = HashMap::new();
    for (id, _) in lab.interfaces() {
        let number = numbers.of_interface(&id)?;
        ports.insert(id, number);
    }
    for (id, interface) in lab.interfaces() {
        desired.pair(&id, interface, &ports);
    }
    for namespace in &lab.namespaces {
        let asked = settings.asked();
        let replays = asked.is_some_and(|asked| asked.replays_routes_of(lab, namespace, state));
        for interface in &namespace.interfaces {
            let (namespace, name) = (namespace.name.clone(), interface.name.clone());
            let id = InterfaceId { namespace, interface: name };
            desired.interface(&id, interface, replays, settings);
        }
    }
    for namespace in &lab.namespaces {
        desired.settings_and_routes(namespace, state);
    }
    desired.uplink();
    if lab.policy.is_some() && settings.ingress.is_none() {
        return Err(PlanError::PolicyWithoutDatapath);
    }
    if let Some(asked) = settings.asked() {
        let highest = ports.values().copied().max().map_or(0, u32::from);
        let mut port_capacity = (highest + 1).next_power_of_two().max(MIN_CAPACITY);
        if let Some(Object::Datapath(datapath)) = state.objects.get(&Key::Datapath) {
            port_capacity = port_capacity.max(datapath.port_capacity);
        }
        let policy = desired.policy(&ports, settings, state)?;
        desired.add(Object::Datapath(Datapath {
            abi: ABI_VERSION,
            object: settings.object.clone(),
            ingress: asked.hooks(lab),
            attach: settings.attach,
            log: settings.log,
            port_base: slot.base(),
            port_capacity,
            flows: settings.flows,
            switches: Switches {
                fast_paths: lab.interfaces().any(|(_, one)| asked.way(lab, one).0 != Way::Bridge),
                routes: lab.namespaces.iter().any(|one| asked.replays_routes_of(lab, one, state)),
                host_routes: asked.replays_routes_between_bridges(lab),
                ..switches(lab)
            },
            policy,
            settled: true,
        }));
        let by_xdp = asked.by_xdp(lab);
        for (id, interface) in lab.interfaces() {
            let (way, hook) = asked.way(lab, interface);
            let takes_xdp = interface.bridge().is_some_and(|bridge| by_xdp.contains(bridge));
            desired.port(&id, interface, &ports, (way, takes_xdp));
            // Generic XDP has whole packets of the stack's before it.
            if asked.hook != IngressHook::XdpGeneric {
                let sends = (way, hook) == (Way::Xdp, IngressHook::Xdp);
                desired.offloads(&id, sends, takes_xdp);
            }
        }
    }
    Ok(desired.objects)
}

struct Desired<'a> {
    lab: &'a Lab,
    slot: Slot,
    bridges: HashMap<&'a InterfaceName, &'a lab::Bridge>,
    namespaces: HashMap<&'a Name, &'a lab::Namespace>,
    /// Hardware addresses that the lab says.
    macs: HashMap<InterfaceId, [u8; 6]>,
    /// The link objects that interfaces are ends of.
    links: HashMap<InterfaceId, Veth>,
    objects: Objects,
}

impl Desired<'_> {
    fn add(&mut self, object: Object) {
        self.objects.insert(object.key(), object);
    }

    fn namespace(&mut self, namespace: &lab::Namespace, state: &State) -> Result<(), PlanError> {
        let name = namespace.name.clone();
        self.add(if namespace.adopted.is_some() {
            let inode = state.found.get(&name).copied();
            let inode = inode.ok_or_else(|| PlanError::NotFound(name.clone()))?;
            Object::Adopted(Adopted { name, inode })
        } else {
            Object::Netns(Netns { name, progress: NetnsProgress::Whole })
        });
        Ok(())
    }

    fn end(&self, name: &str, mac: [u8; 6], mtu: u32) -> End {
        End { name: name.to_owned(), mac, mtu, group: self.slot.group() }
    }

    fn bridge(&mut self, bridge: &lab::Bridge, number: u16) {
        let lab::Bridge { name, namespace, mtu, addresses, stp, forward_delay, vlan, uplink: _ } =
            bridge;
        let mac = self.slot.mac(number, port::End::Host);
        let made = Bridge {
            name: name.clone(),
            place: place(namespace.as_ref()),
            number,
            end: self.end(name.as_str(), mac, *mtu),
            up: true,
            options: BridgeOptions {
                stp: *stp,
                forward_delay: u32::from(*forward_delay) * 100,
                vlan_filtering: vlan.is_some(),
            },
            netfilter: false,
        };
        let device = made.device();
        self.add(Object::Bridge(made));
        let of = LinkId::Bridge(name.clone());
        // Without a link-local address the kernel asks for no neighbours of packets
        // that it forwards (`ndisc_send_ns`, Linux 6.18), and a bridge is given none.
        let has_ipv6 = addresses.iter().any(|address| matches!(address, IpNet::V6(_)));
        let link_local = has_ipv6.then(|| link_local(mac));
        for address in addresses.iter().copied().chain(link_local) {
            let (of, device) = (of.clone(), device.clone());
            self.add(Object::Address(address_of(of, device, address)));
        }
        if let Some(vlan) = vlan {
            let vlans = lab::Vlans { untagged: Some(*vlan), tagged: BTreeSet::new() };
            self.vlans(of, name, device, &vlans);
        }
    }

    fn vlans(&mut self, of: LinkId, bridge: &InterfaceName, device: Device, vlans: &lab::Vlans) {
        let lab::Vlans { untagged, tagged } = vlans;
        let mut all: BTreeMap<u16, Tagging> =
            tagged.iter().map(|vlan| (*vlan, Tagging::default())).collect();
        all.extend(untagged.map(|vlan| (vlan, Tagging { pvid: true, untagged: true })));
        let bridge = bridge.clone();
        self.add(Object::Vlans(PortVlans { of, bridge, device, vlans: all }));
    }

    /// The veth pair that an interface is the first end of.
    fn pair(
        &mut self,
        id: &InterfaceId,
        interface: &lab::Interface,
        ports: &HashMap<InterfaceId, u16>,
    ) {
        let number = ports.get(id).copied().unwrap_or_default();
        let mac = self.mac(id, number);
        let near = Some(self.end(id.interface.as_str(), mac, interface.mtu));
        let far = match &interface.attachment {
            Attachment::Peer(other) if other < id => return,
            Attachment::Peer(other) => {
                let number = ports.get(other).copied().unwrap_or_default();
                let mac = self.mac(other, number);
                let end = self.end(other.interface.as_str(), mac, interface.mtu);
                Far::Peer(Peer { id: other.clone(), number, end })
            }
            Attachment::Port(port) => {
                let name = InterfaceName::of_port(&id.namespace, &id.interface);
                let mac = self.slot.mac(number, port::End::Host);
                let bridge = self.bridges.get(&port.bridge);
                Far::Port(BridgePort {
                    place: place(bridge.and_then(|bridge| bridge.namespace.as_ref())),
                    end: self.end(name.as_str(), mac, interface.mtu),
                    bridge: Some(port.bridge.clone()),
                    isolated: port.isolated,
                    up: true,
                })
            }
        };
        let queues = interface.queues.into();
        let veth = Veth { id: id.clone(), number, queues, near, far };
        for (id, _) in veth.ports() {
            self.links.insert(id.clone(), veth.clone());
        }
        self.add(Object::Veth(veth));
    }

    fn interface(
        &mut self,
        id: &InterfaceId,
        interface: &lab::Interface,
        replays_routes: bool,
        settings: &Settings,
    ) {
        let Some(veth) = self.links.get(id) else { return };
        let (device, behind) = (veth.device_of(id), veth.device_behind(id));
        let of = LinkId::Interface(id.clone());
        for address in &interface.addresses {
            let (of, device) = (of.clone(), device.clone());
            self.add(Object::Address(address_of(of, device, *address)));
        }
        if let Some(asked) = settings.asked() {
            // Without a bridge what came in has arrived.
            let egress = match interface.attachment {
                Attachment::Port(_) => Some(HookPoint::TcEgress),
                Attachment::Peer(_) => None,
            };
            let (_, ingress) = asked.way(self.lab, interface);
            for point in [HookPoint::ingress(ingress)].into_iter().chain(egress) {
                self.hook(id, &behind, point, settings);
            }
            if replays_routes {
                for point in [HookPoint::RouteIngress, HookPoint::RouteEgress] {
                    self.hook(id, &device, point, settings);
                }
            }
        }
        if let Attachment::Port(port) = &interface.attachment {
            let (id, bridge, device) = (id.clone(), port.bridge.clone(), behind.clone());
            self.add(Object::Flood(Flood { id, bridge, device }));
            if let Some(vlans) = &port.vlans {
                self.vlans(of.clone(), &port.bridge, behind, vlans);
            }
        }
        if interface.up {
            self.add(Object::Up(Up { id: id.clone(), device }));
        }
    }

    fn hook(&mut self, id: &InterfaceId, device: &Device, point: HookPoint, settings: &Settings) {
        let (id, device) = (id.clone(), device.clone());
        let attach = (!point.is_xdp()).then_some(settings.attach);
        self.add(Object::Hook(Hook { id, device, point, attach, current: true }));
    }

    /// What the programs are to know of an interface's port.
    fn port(
        &mut self,
        id: &InterfaceId,
        interface: &lab::Interface,
        ports: &HashMap<InterfaceId, u16>,
        (way, takes_xdp): (Way, bool),
    ) {
        let number = ports.get(id).copied().unwrap_or_default();
        let mac = self.mac(id, number);
        let bridge =
            interface.bridge().and_then(|name| self.objects.get(&Key::Bridge(name.clone())));
        let (domain, place) = match bridge {
            Some(Object::Bridge(bridge)) => (bridge.number, Some(bridge.place.clone())),
            _ => (number, None),
        };
        let direct_peer = match &interface.attachment {
            Attachment::Peer(other) => ports.get(other).copied(),
            Attachment::Port(_) => None,
        };
        let guard = interface.guard.map(|guard| match guard {
            lab::Guard::Mac => Guard::Mac,
            lab::Guard::Addresses => {
                // A reply to one of them may leave by another interface. The kernel gives
                // it the link-local one.
                let interfaces = self.namespace_of(id).into_iter().flat_map(|one| &one.interfaces);
                let addresses = interfaces.flat_map(|one| &one.addresses).copied();
                let addresses = addresses.chain([link_local(mac)]);
                Guard::Addresses(addresses.map(|address| address.addr()).collect())
            }
        });
        self.add(Object::Port(Port {
            number,
            identity: identity(id),
            mac,
            direct_peer,
            domain: direct_peer.map_or(domain, |peer| peer.min(number)),
            way,
            takes_xdp: place.filter(|_| takes_xdp),
            handed_over: false,
            // Only a policy asks.
            router: self.lab.policy.is_some() && self.is_router(id),
            guard,
        }));
    }

    fn namespace_of(&self, id: &InterfaceId) -> Option<&lab::Namespace> {
        self.namespaces.get(&id.namespace).copied()
    }

    /// Whether what comes from an interface may be of others than its namespace.
    fn is_router(&self, id: &InterfaceId) -> bool {
        self.namespace_of(id).is_some_and(lab::Namespace::forwards)
    }

    /// What an interface may leave to its driver where XDP is around.
    fn offloads(&mut self, id: &InterfaceId, sends_finished: bool, receives_by_napi: bool) {
        let Some(veth) = self.links.get(id) else { return };
        if !sends_finished && !receives_by_napi {
            return;
        }
        let (id, device, port) = (id.clone(), veth.device_of(id), veth.device_behind(id).place);
        self.add(Object::Offloads(Offloads { id, device, port, sends_finished, receives_by_napi }));
    }

    /// The MAC address of an interface, which the lab says or which follows from
    /// its number.
    fn mac(&self, id: &InterfaceId, number: u16) -> [u8; 6] {
        let said = self.macs.get(id).copied();
        said.unwrap_or_else(|| self.slot.mac(number, port::End::Namespace))
    }

    fn device(&self, link: &LinkId) -> Option<Device> {
        match link {
            LinkId::Interface(id) => self.links.get(id).map(|veth| veth.device_of(id)),
            LinkId::Bridge(name) => match self.objects.get(&Key::Bridge(name.clone())) {
                Some(Object::Bridge(bridge)) => Some(bridge.device()),
                _ => None,
            },
        }
    }

    fn settings_and_routes(&mut self, namespace: &lab::Namespace, state: &State) {
        for (name, value) in &namespace.sysctls {
            let device = name.interface().and_then(|interface| {
                let bridge = self.lab.bridges.iter().find(|bridge| {
                    bridge.name.as_str() == interface
                        && bridge.namespace.as_ref() == Some(&namespace.name)
                });
                let link = match bridge {
                    Some(bridge) => LinkId::Bridge(bridge.name.clone()),
                    None => LinkId::Interface(InterfaceId {
                        namespace: namespace.name.clone(),
                        interface: InterfaceName::new(interface).ok()?,
                    }),
                };
                self.device(&link)
            });
            let (namespace, name) = (namespace.name.clone(), name.clone());
            self.add(Object::Sysctl(Sysctl { namespace, name, value: value.clone(), device }));
        }
        for lab::Route { to, via, onlink, dev, implied } in &namespace.routes {
            // Who has a way of their own keeps it.
            if *implied && state.foreign_routes.contains(&(namespace.name.clone(), *to)) {
                continue;
            }
            let Some(device) = self.device(dev) else { continue };
            self.add(Object::Route(Route {
                namespace: namespace.name.clone(),
                dev: dev.clone(),
                device,
                to: *to,
                via: *via,
                onlink: *onlink,
            }));
        }
    }

    fn uplink(&mut self) {
        let bridges: BTreeMap<InterfaceName, BTreeSet<IpNet>> = self
            .lab
            .bridges
            .iter()
            .filter(|bridge| bridge.uplink)
            .map(|bridge| {
                let subnets = bridge.addresses.iter().map(IpNet::trunc).collect();
                (bridge.name.clone(), subnets)
            })
            .collect();
        if bridges.is_empty() {
            return;
        }
        let has = |of_family: fn(&IpNet) -> bool| bridges.values().flatten().any(of_family);
        let ipv4 = has(|subnet| matches!(subnet, IpNet::V4(_)));
        let ipv6 = has(|subnet| matches!(subnet, IpNet::V6(_)));
        self.add(Object::Uplink(Uplink { bridges, ipv4, ipv6 }));
    }
}

/// Half of 64 bits of FNV-1a over the name.
fn identity(id: &InterfaceId) -> [u8; 4] {
    let hash = id.to_string().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [first, second, third, fourth, ..] = hash.to_be_bytes();
    [first, second, third, fourth]
}

fn switches(lab: &Lab) -> Switches {
    let any = |of: fn(&lab::Interface) -> bool| lab.interfaces().any(|(_, one)| of(one));
    Switches {
        guard: any(|one| one.guard.is_some()),
        direct_links: any(|one| matches!(one.attachment, Attachment::Peer(_))),
        fast_paths: false,
        routes: false,
        host_routes: false,
    }
}

/// The link-local address that follows from a hardware address (RFC 4291,
/// appendix A).
fn link_local(mac: [u8; 6]) -> IpNet {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&[0xfe, 0x80]);
    bytes[8..11].copy_from_slice(&mac[..3]);
    bytes[11..13].copy_from_slice(&[0xff, 0xfe]);
    bytes[13..].copy_from_slice(&mac[3..]);
    // Turned over: it says there that the address is of local making.
    bytes[8] ^= 2;
    IpNet::new_assert(bytes.into(), 64)
}

fn address_of(of: LinkId, device: Device, address: IpNet) -> Address {
    Address { of, device, address, ours: true, secondary: false }
}

fn place(namespace: Option<&Name>) -> Place {
    namespace.map_or(Place::Host, |name| Place::Netns(name.clone()))
}
