//! Looking at the kernel: what it has of a lab, and what is in the lab's way.

use std::collections::HashMap;

use nsbpf_common::port::{MAC_PREFIX, Slot};

use super::alias::{self, Identity};
use super::{ApplyError, Cause, host_socket};
use crate::datapath::{self, ProgramIds};
use crate::lab::{InterfaceId, InterfaceName, Name};
use crate::net::filter::{self, TcHook};
use crate::net::link::{self, Link};
use crate::net::{NetNs, Netlink, address, route};
use crate::state::{
    Address, Bridge, End, Flood, Hook, HookPoint, Key, Netns, NetnsProgress, Object, Objects,
    Owner, Route, State, Stray, Up, Veth,
};
use crate::store::Store;

/// A namespace of the lab, and a socket inside it.
pub struct Opened {
    /// The namespace.
    pub netns: NetNs,
    /// A socket that works on it.
    pub netlink: Netlink,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.netns.fmt(formatter)
    }
}

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// As plain data.
    pub state: State,
    /// The lab's namespaces, open.
    pub namespaces: HashMap<Name, Opened>,
}

fn failed<E: Into<Cause>>(what: &str) -> impl FnOnce(E) -> ApplyError {
    let what = what.to_owned();
    move |error| ApplyError::Survey { what, source: Box::new(error.into()) }
}

/// Looks at everything that a lab is made of. Changes nothing.
pub fn survey(store: &Store) -> Result<Survey, ApplyError> {
    let mut host = host_socket()?;
    let (mut survey, ports) = survey_outside(store)?;
    let Some(slot) = survey.state.slot() else { return Ok(survey) };
    let ids = survey_datapath(store, &mut survey.state);
    for Port { id, number, link } in &ports {
        survey_hooks(store, &mut host, &ids, id, *number, link, &mut survey.state.objects)
            .map_err(failed(&format!("the hooks of {id}")))?;
    }
    let ports: Ports = ports.into_iter().map(|Port { id, number, .. }| (number, id)).collect();
    for (name, opened) in &mut survey.namespaces {
        survey_inside(name, opened, slot, &ports, &mut survey.state.objects)
            .map_err(failed(&format!("namespace {name}")))?;
    }
    Ok(survey)
}

/// Interfaces by their port numbers.
type Ports = HashMap<u16, InterfaceId>;

/// Looks at all but hooks and the insides of namespaces, where others may be
/// root: enough to take a lab down, whatever they do.
pub(super) fn survey_outside(store: &Store) -> Result<(Survey, Vec<Port>), ApplyError> {
    let mut host = host_socket()?;
    let slot = store.slot().map_err(failed("the lab's folder"))?;
    let mut state = State::default();
    state.taken_slots.extend(store.slots_of_others().map_err(failed("other labs"))?);
    if let Some(slot) = slot {
        insert(&mut state.objects, Object::Folder(slot));
    }
    let namespaces = survey_namespaces(store, &mut state)?;
    let links = link::list(&mut host).map_err(failed("the host's links"))?;
    let ours = sort_out(store, slot, links, &mut state);
    let Ours { bridges, ports } = ours;
    for Port { id, number, link } in &ports {
        let veth = Veth {
            number: *number,
            host: end(link),
            inner: None,
            bridge: bridges.get(&link.controller).cloned(),
            up: link.up,
            id: id.clone(),
        };
        if link.multicast_flood {
            insert(&mut state.objects, Object::Flood(Flood { id: id.clone(), number: *number }));
        }
        insert(&mut state.objects, Object::Veth(veth));
    }
    Ok((Survey { state, namespaces }, ports))
}

fn insert(objects: &mut Objects, object: Object) {
    objects.insert(object.key(), object);
}

fn end(link: &Link) -> End {
    let mac = link.mac.as_slice().try_into().unwrap_or_default();
    End { name: link.name.clone(), mac, mtu: link.mtu, group: link.group }
}

/// Files, names and namespaces.
fn survey_namespaces(
    store: &Store,
    state: &mut State,
) -> Result<HashMap<Name, Opened>, ApplyError> {
    let mut progress: HashMap<Name, NetnsProgress> = HashMap::new();
    let mut open = Vec::new();
    for file in store.netns_files().map_err(failed("the lab's folder"))? {
        let Some(name) = file_name(&file) else {
            continue;
        };
        let netns = NetNs::open(&file).map_err(failed(&format!("namespace {name}")))?;
        if let Some(netns) = netns {
            progress.insert(name.clone(), NetnsProgress::Unpublished);
            open.push((name, netns));
        } else {
            progress.insert(name, NetnsProgress::Name);
        }
    }
    for path in Store::netns_names().map_err(failed("the namespaces' names"))? {
        let shown = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match (store.owner_of(&path), file_name(&path)) {
            (Some(lab), Some(name)) if lab == store.lab().as_str() => {
                let progress = progress.entry(name).or_insert(NetnsProgress::Name);
                if *progress == NetnsProgress::Unpublished {
                    *progress = NetnsProgress::Whole;
                }
            }
            (Some(lab), _) => {
                state.foreign_netns.insert(shown, Owner::Lab(lab));
            }
            (None, _) => {
                state.foreign_netns.insert(shown, Owner::Stranger);
            }
        }
    }
    for (name, progress) in progress {
        insert(&mut state.objects, Object::Netns(Netns { name, progress }));
    }
    let insides = NetNs::visit_all(&open.iter().map(|(_, netns)| netns).collect::<Vec<_>>())
        .map_err(failed("the lab's namespaces"))?;
    let mut opened = HashMap::new();
    for ((name, netns), (netlink, forwards)) in open.into_iter().zip(insides) {
        if forwards {
            insert(&mut state.objects, Object::Forwarding(name.clone()));
        }
        opened.insert(name, Opened { netns, netlink });
    }
    Ok(opened)
}

fn file_name(path: &std::path::Path) -> Option<Name> {
    Name::new(path.file_name()?.to_str()?).ok()
}

/// The host-side end of an interface.
pub(super) struct Port {
    id: InterfaceId,
    number: u16,
    link: Link,
}

/// The lab's links on the host.
#[derive(Default)]
struct Ours {
    bridges: HashMap<u32, InterfaceName>,
    ports: Vec<Port>,
}

/// Tells the lab's links from others'.
///
/// A link has three marks: group, MAC address, and alias with an interface index
/// of the lab's slot. Two make it ours: udev, NetworkManager or a person may
/// have changed one, and a run that was killed may not have come to the alias.
fn sort_out(store: &Store, slot: Option<Slot>, links: Vec<Link>, state: &mut State) -> Ours {
    let mut ours = Ours::default();
    for link in links {
        let group = Slot::of_group(link.group);
        let alias = alias::parse(&link.alias);
        let aliased = alias.is_some() && link.ifindex > u32::from(u16::MAX);
        let marks = [group.is_some(), link.mac.starts_with(&MAC_PREFIX), aliased];
        if marks.into_iter().filter(|mark| *mark).count() < 2 {
            add_foreign(state, &link, &Owner::Stranger);
            continue;
        }
        let (lab, identity) = alias.unzip();
        match &lab {
            Some(lab) if lab == store.lab() => {}
            None if slot.is_some() && slot == group => {}
            _ => {
                state.taken_slots.extend(group.map(Slot::get));
                let owner = lab.map_or(Owner::SomeLab, |lab| Owner::Lab(lab.to_string()));
                add_foreign(state, &link, &owner);
                continue;
            }
        }
        let number = slot.and_then(|slot| slot.number(link.ifindex));
        match (number, identity, link.kind.as_str()) {
            (Some(number), Some(Identity::Bridge(name)), "bridge") => {
                ours.bridges.insert(link.ifindex, name.clone());
                let bridge = Bridge { name, number, end: end(&link), up: link.up };
                insert(&mut state.objects, Object::Bridge(bridge));
            }
            (Some(number), Some(Identity::Interface(id)), "veth") => {
                ours.ports.push(Port { id, number, link });
            }
            _ => {
                let stray = Stray { ifindex: link.ifindex, name: link.name.clone() };
                insert(&mut state.objects, Object::Stray(stray));
            }
        }
    }
    ours
}

fn add_foreign(state: &mut State, link: &Link, owner: &Owner) {
    for name in link.altnames.iter().chain([&link.name]) {
        state.foreign_links.insert(name.clone(), owner.clone());
    }
}

fn survey_datapath(store: &Store, state: &mut State) -> ProgramIds {
    let Some((datapath, ids)) = datapath::observe(store) else {
        return ProgramIds::default();
    };
    insert(&mut state.objects, Object::Datapath(datapath));
    ids
}

fn survey_hooks(
    store: &Store,
    host: &mut Netlink,
    ids: &ProgramIds,
    id: &InterfaceId,
    number: u16,
    link: &Link,
    objects: &mut Objects,
) -> Result<(), Cause> {
    let mut found = |point, attached: Option<u32>, current: Option<u32>| {
        if attached.is_some() {
            let hook = Hook { id: id.clone(), number, point, current: attached == current };
            insert(objects, Object::Hook(hook));
        }
    };
    let ingress = filter::attached(host, link.ifindex, TcHook::Ingress, datapath::TC_INGRESS)?;
    found(HookPoint::TcIngress, ingress, ids.tc_ingress);
    let egress = filter::attached(host, link.ifindex, TcHook::Egress, datapath::TC_EGRESS)?;
    found(HookPoint::TcEgress, egress, ids.tc_egress);
    // Another's XDP program is none of ours to tell of.
    if link.xdp_program != 0 && datapath::has_xdp_link(store, number) {
        found(HookPoint::Xdp, Some(link.xdp_program), ids.xdp);
    }
    Ok(())
}

/// Interfaces and addresses inside a namespace. `ports` are the lab's, by their
/// numbers.
fn survey_inside(
    name: &Name,
    opened: &mut Opened,
    slot: Slot,
    ports: &Ports,
    objects: &mut Objects,
) -> Result<(), Cause> {
    let port = |ifindex| {
        let number = slot.number(ifindex)?;
        let id = ports.get(&number).filter(|id| id.namespace == *name)?;
        Some((number, id))
    };
    for link in link::list(&mut opened.netlink)? {
        let Some((number, id)) = port(link.ifindex) else {
            continue;
        };
        if let Some(Object::Veth(veth)) = objects.get_mut(&Key::Veth(id.clone())) {
            veth.inner = Some(end(&link));
        }
        if link.up {
            insert(objects, Object::Up(Up { id: id.clone(), number }));
        }
    }
    for address::Address { ifindex, address, ours } in address::list(&mut opened.netlink)? {
        let Some((number, id)) = port(ifindex) else {
            continue;
        };
        insert(objects, Object::Address(Address { id: id.clone(), number, address, ours }));
    }
    for route::Route { to, via, ifindex } in route::list(&mut opened.netlink)? {
        let Some((number, id)) = port(ifindex) else { continue };
        insert(objects, Object::Route(Route { id: id.clone(), number, to, via }));
    }
    Ok(())
}
