//! What the kernel should have for a lab.

use std::collections::{BTreeSet, HashMap};

use nsbpf_common::ABI_VERSION;
use nsbpf_common::port::{self, Slot};

use super::PlanError;
use crate::lab::{self, InterfaceId, InterfaceName, Lab};
use crate::state::{
    Address, Bridge, Datapath, End, Flood, Hook, HookPoint, IngressHook, Key, Netns, NetnsProgress,
    Object, Objects, Route, State, Up, Veth,
};

/// Numbers of a slot: interfaces from below, bridges from above.
const NUMBERS: usize = 1 << 16;
/// Ports that a datapath has room for at least: a lab that grows a little keeps
/// its maps, and so its counters.
const MIN_CAPACITY: u32 = 64;

/// How a lab is to run, besides what the lab says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where packets from a namespace meet the datapath.
    pub ingress: IngressHook,
    /// Digest of the object that holds the programs.
    pub object: String,
    /// Whether the programs log what they cannot count.
    pub log: bool,
}

/// The objects of a lab. Those that `state` has keep their numbers, others get
/// free ones, so that the same lab and state always lead to the same objects.
pub fn desired(lab: &Lab, settings: &Settings, state: &State) -> Result<Objects, PlanError> {
    let slot = state.slot().map_or_else(|| free_slot(lab, state), Ok)?;
    let mut numbers = Numbers::new(state);
    let mut objects = Objects::new();
    let mut add = |object: Object| objects.insert(object.key(), object);
    add(Object::Folder(slot));
    for lab::Bridge { name, mtu } in &lab.bridges {
        let number = numbers.of_bridge(name)?;
        let mac = slot.mac(number, port::End::Host);
        let (name, end) = (name.clone(), end(name.as_str(), slot, mac, *mtu));
        add(Object::Bridge(Bridge { name, number, end, up: true }));
    }
    for namespace in &lab.namespaces {
        let (name, progress) = (namespace.name.clone(), NetnsProgress::Whole);
        if namespace.router {
            add(Object::Forwarding(name.clone()));
        }
        add(Object::Netns(Netns { name, progress }));
    }
    let mut capacity = MIN_CAPACITY;
    let mtus: HashMap<&InterfaceName, u32> =
        lab.bridges.iter().map(|bridge| (&bridge.name, bridge.mtu)).collect();
    let mut ports = HashMap::new();
    for (id, interface) in lab.interfaces() {
        let number = numbers.of_interface(&Key::Veth(id.clone()))?;
        capacity = capacity.max((u32::from(number) + 1).next_power_of_two());
        ports.insert(id.clone(), number);
        let host_name = InterfaceName::of_host_end(&id.namespace, &id.interface);
        let mtu = mtus.get(&interface.bridge).copied().unwrap_or(lab::DEFAULT_MTU);
        let host_mac = slot.mac(number, port::End::Host);
        let mac = interface.mac.unwrap_or_else(|| slot.mac(number, port::End::Namespace));
        add(Object::Veth(Veth {
            id: id.clone(),
            number,
            host: end(host_name.as_str(), slot, host_mac, mtu),
            inner: Some(end(id.interface.as_str(), slot, mac, mtu)),
            bridge: Some(interface.bridge.clone()),
            up: true,
        }));
        for address in &interface.addresses {
            let (id, address) = (id.clone(), *address);
            add(Object::Address(Address { id, number, address, ours: true }));
        }
        let ingress = match settings.ingress {
            IngressHook::Tc => HookPoint::TcIngress,
            IngressHook::Xdp => HookPoint::Xdp,
        };
        for point in [ingress, HookPoint::TcEgress] {
            add(Object::Hook(Hook { id: id.clone(), number, point, current: true }));
        }
        add(Object::Flood(Flood { id: id.clone(), number }));
        add(Object::Up(Up { id, number }));
    }
    for namespace in &lab.namespaces {
        for route in &namespace.routes {
            let (namespace, interface) = (namespace.name.clone(), route.interface.clone());
            let id = InterfaceId { namespace, interface };
            let number = ports.get(&id).copied().unwrap_or_default();
            add(Object::Route(Route { id, number, to: route.to, via: route.via }));
        }
    }
    if let Some(Object::Datapath(datapath)) = state.objects.get(&Key::Datapath) {
        capacity = capacity.max(datapath.port_capacity);
    }
    add(Object::Datapath(Datapath {
        abi: ABI_VERSION,
        object: settings.object.clone(),
        ingress: settings.ingress,
        log: settings.log,
        port_base: slot.base(),
        port_capacity: capacity,
    }));
    Ok(objects)
}

fn end(name: &str, slot: Slot, mac: [u8; 6], mtu: u32) -> End {
    End { name: name.to_owned(), mac, mtu, group: slot.group() }
}

/// A slot that follows from the lab's name, or the next one that is free.
fn free_slot(lab: &Lab, state: &State) -> Result<Slot, PlanError> {
    let first = lab.name.hash() % u64::from(Slot::MAX);
    (0..u64::from(Slot::MAX))
        .map(|step| (first + step) % u64::from(Slot::MAX) + 1)
        .filter_map(|number| u16::try_from(number).ok())
        .filter(|number| !state.taken_slots.contains(number))
        .find_map(Slot::new)
        .ok_or(PlanError::NoSlot(state.taken_slots.len()))
}

/// Hands out numbers.
struct Numbers<'a> {
    state: &'a State,
    used: BTreeSet<u16>,
    next: u16,
}

impl<'a> Numbers<'a> {
    fn new(state: &'a State) -> Self {
        let used = state
            .objects
            .values()
            .filter_map(|object| match object {
                Object::Veth(veth) => Some(veth.number),
                Object::Bridge(bridge) => Some(bridge.number),
                _ => None,
            })
            .collect();
        Self { state, used, next: 0 }
    }

    fn of_interface(&mut self, key: &Key) -> Result<u16, PlanError> {
        if let Some(Object::Veth(veth)) = self.state.objects.get(key) {
            return Ok(veth.number);
        }
        let number = (self.next..=u16::MAX).find(|number| !self.used.contains(number));
        let number = self.take(number)?;
        self.next = number;
        Ok(number)
    }

    fn of_bridge(&mut self, name: &InterfaceName) -> Result<u16, PlanError> {
        if let Some(Object::Bridge(bridge)) = self.state.objects.get(&Key::Bridge(name.clone())) {
            return Ok(bridge.number);
        }
        let number = (0..=u16::MAX).rev().find(|number| !self.used.contains(number));
        self.take(number)
    }

    fn take(&mut self, number: Option<u16>) -> Result<u16, PlanError> {
        let number = number.ok_or(PlanError::TooManyPorts(NUMBERS))?;
        self.used.insert(number);
        Ok(number)
    }
}
