//! From what was typed to what it means, or to all that is wrong with it.

use std::collections::{BTreeMap, HashMap, HashSet};

use ipnet::IpNet;
use serde_saphyr::Spanned;

use super::address::{self, Asked};
use super::attach::{self, Attached};
use super::bridge;
use super::count::{self, Member};
use super::name::{InterfaceName, Name};
use super::policy::{self, Known};
use super::problem::Problem;
use super::route::{self, Device};
use super::segment::{Clash, Owner, Segment, SegmentId, Subnets};
use super::spec::LabSpec;
use super::{
    Attachment, Bridge, Interface, InterfaceId, Lab, LinkId, Namespace, adopt, expect, fastpath,
    guard, mac, sysctl,
};

/// Checks a lab. All problems are collected: one run shows them all.
pub(super) fn check(spec: &LabSpec) -> Result<Lab, Vec<Problem>> {
    let mut problems = Vec::new();
    let name = lab_name(&spec.name, &mut problems);
    let mut bridges = bridge::check(&spec.bridges, &mut problems);
    if spec.namespaces.0.is_empty() {
        let problem = Problem::new("the lab has no namespace".to_owned(), spec.name.referenced)
            .help("add one under `namespaces:`, as `vnet0: {}`");
        problems.push(problem);
    }
    let members = count::expand(&spec.namespaces, &mut problems);
    let drafts = drafts(&members, &mut problems);
    let attached = attach::check(&drafts, &bridges, &mut problems);
    let asked = drafts
        .iter()
        .zip(&attached)
        .map(|(draft, attached)| {
            let mtu = attached.as_ref().map_or(u32::MAX, |attached| attached.mtu);
            address::check(&draft.spec.addresses, mtu, &mut problems)
        })
        .collect::<Vec<_>>();
    let addresses =
        Addresses::plan(&mut bridges, &drafts, &attached, &asked, &mut problems).of_interfaces;
    device_names(&bridges, &drafts, &attached, &mut problems);
    let bridges: Vec<Bridge> = bridges.into_iter().map(|draft| draft.bridge).collect();
    let router = |member: &&Member<'_>| member.spec.router.as_ref().is_some_and(|on| on.value);
    let routers: HashSet<&Name> =
        members.iter().filter(router).map(|member| &member.name).collect();
    let mut interfaces: HashMap<Name, Vec<Interface>> = HashMap::new();
    for ((draft, attached), addresses) in drafts.iter().zip(attached).zip(addresses) {
        let Some(Attached { attachment, mtu, queues }) = attached else { continue };
        let router = routers.contains(&draft.id.namespace);
        let guard = guard::check(draft.spec.guard.as_ref(), &draft.id, router, &mut problems);
        interfaces.entry(draft.id.namespace.clone()).or_default().push(Interface {
            name: draft.id.interface.clone(),
            attachment,
            mac: draft.mac,
            mtu,
            queues,
            addresses,
            up: draft.spec.up.unwrap_or(true),
            guard,
            fastpath: fastpath::check(draft.spec.fastpath.as_ref(), &mut problems),
        });
    }
    let fastpath = fastpath::check(spec.fastpath.as_ref(), &mut problems);
    let places = BridgePlaces::of(&bridges);
    let mut namespaces: Vec<Namespace> = members
        .iter()
        .map(|member| {
            let interfaces = interfaces.remove(&member.name).unwrap_or_default();
            namespace(member, interfaces, &places, &mut problems)
        })
        .collect();
    namespaces.extend(namespaces_of_bridges(&bridges, &namespaces));
    // One that is wrong with a namespace is wrong with each of its count.
    let mut seen = HashSet::new();
    problems.retain(|problem| {
        let place = problem.location.map(|place| (place.line(), place.column()));
        seen.insert((problem.title.clone(), place))
    });
    let groups = count::groups(&spec.namespaces);
    // What is wrong above would only be said again.
    let (mut expect, mut policy) = (Vec::new(), None);
    if problems.is_empty() {
        expect = expect::check(&spec.expect, &namespaces, &bridges, &mut problems);
        let known = Known { namespaces: &namespaces, bridges: &bridges, groups: &groups };
        let spec = spec.policy.as_ref();
        policy = spec.and_then(|spec| policy::check(&spec.value, known, &mut problems));
    }
    match name {
        Some(name) if problems.is_empty() => {
            Ok(Lab { name, bridges, namespaces, fastpath, groups, policy, expect })
        }
        _ => Err(problems),
    }
}

fn lab_name(typed: &Spanned<String>, problems: &mut Vec<Problem>) -> Option<Name> {
    Name::new(&typed.value)
        .map_err(|why| problems.push(Problem::name(&typed.value, "a lab", typed.referenced, why)))
        .ok()
}

fn drafts<'a>(members: &[Member<'a>], problems: &mut Vec<Problem>) -> Vec<attach::Draft<'a>> {
    let mut drafts = Vec::new();
    for member in members {
        for (name, spec) in &member.spec.interfaces.0 {
            let place = name.referenced;
            match InterfaceName::new(&name.value) {
                Ok(interface) => {
                    let id = InterfaceId { namespace: member.name.clone(), interface };
                    let mac = spec.mac.as_ref().and_then(|typed| mac::check(typed, problems));
                    drafts.push(attach::Draft { id, place, mac, spec });
                }
                Err(why) => {
                    problems.push(Problem::name(&name.value, "an interface", place, why));
                }
            }
        }
    }
    drafts
}

/// Who has which address: those that are written out first, then the next ones
/// that are free.
struct Addresses {
    segments: HashMap<SegmentId, Segment>,
    subnets: HashMap<Name, Subnets>,
    of_interfaces: Vec<Vec<IpNet>>,
}

impl Addresses {
    fn plan(
        bridges: &mut [bridge::Draft],
        drafts: &[attach::Draft<'_>],
        attached: &[Option<Attached>],
        asked: &[Vec<Asked>],
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut plan = Self {
            segments: HashMap::new(),
            subnets: HashMap::new(),
            of_interfaces: vec![Vec::new(); drafts.len()],
        };
        let bridge_segment =
            |draft: &bridge::Draft| SegmentId::Bridge(draft.bridge.name.clone(), draft.own_vlan());
        let segments: Vec<Option<SegmentId>> = drafts
            .iter()
            .zip(attached)
            .map(|(draft, attached)| Some(segment(&draft.id, &attached.as_ref()?.attachment)))
            .collect();
        for (number, draft) in bridges.iter().enumerate() {
            if let Some(namespace) = &draft.bridge.namespace {
                plan.own_subnets(namespace, drafts.len() + number, &draft.asked, problems);
            }
            plan.written(&bridge_segment(draft), &draft.asked, problems);
        }
        for (number, (draft, segment)) in drafts.iter().zip(&segments).enumerate() {
            plan.own_subnets(&draft.id.namespace, number, &asked[number], problems);
            let Some(segment) = segment else { continue };
            plan.written(segment, &asked[number], problems);
            if let (Some(typed), Some(mac)) = (&draft.spec.mac, draft.mac)
                && !plan.segments.entry(segment.clone()).or_default().add_mac(mac)
            {
                let title = format!("`{}` is there twice", typed.value);
                let help = "on one bridge each hardware address is of one interface";
                problems.push(Problem::new(title, typed.referenced).help(help));
            }
        }
        for draft in bridges.iter_mut() {
            let segment = bridge_segment(draft);
            draft.bridge.addresses = plan.all(&segment, &draft.asked, problems);
        }
        for (number, segment) in segments.iter().enumerate() {
            if let Some(segment) = segment {
                plan.of_interfaces[number] = plan.all(segment, &asked[number], problems);
            }
        }
        plan
    }

    /// Each interface of a namespace has subnets of its own.
    fn own_subnets(
        &mut self,
        namespace: &Name,
        owner: usize,
        asked: &[Asked],
        problems: &mut Vec<Problem>,
    ) {
        let subnets = self.subnets.entry(namespace.clone()).or_default();
        for asked in asked {
            if let Err(other) = subnets.add(asked.subnet(), Owner::Interface(owner)) {
                let title = format!("{} overlaps {other} of the same namespace", shown(asked));
                let problem = Problem::new(title, asked.place())
                    .help("give each interface of a namespace a subnet of its own");
                problems.push(problem);
            }
        }
    }

    /// Puts the addresses that are written out on their segment.
    fn written(&mut self, id: &SegmentId, asked: &[Asked], problems: &mut Vec<Problem>) {
        let segment = self.segments.entry(id.clone()).or_default();
        for asked in asked {
            let Asked::This(address, place) = asked else { continue };
            let clash = match segment.add(*address, *place) {
                Ok(()) => continue,
                Err(clash) => clash,
            };
            let (title, help) = match clash {
                Clash::Taken(other) => (
                    format!("{address} is there twice (line {} too)", other.line()),
                    "an address belongs to one interface",
                ),
                Clash::Overlap(other) => (
                    format!("{address} overlaps {other}, which is on {} too", segment_name(id)),
                    "subnets on one bridge are equal or apart",
                ),
            };
            problems.push(Problem::new(title, *place).help(help));
        }
    }

    /// All addresses, those that are free handed out.
    fn all(&mut self, id: &SegmentId, asked: &[Asked], problems: &mut Vec<Problem>) -> Vec<IpNet> {
        let segment = self.segments.entry(id.clone()).or_default();
        let mut all = Vec::new();
        for asked in asked {
            match asked {
                Asked::This(address, _) => all.push(*address),
                Asked::Next(subnet, place) => {
                    if let Some(address) = segment.hand_out(*subnet, *place) {
                        all.push(address);
                    } else {
                        let title = format!("{subnet} has no address left");
                        let help = "write a shorter prefix length";
                        problems.push(Problem::new(title, *place).help(help));
                    }
                }
            }
        }
        all
    }
}

fn shown(asked: &Asked) -> IpNet {
    match asked {
        Asked::This(address, _) | Asked::Next(address, _) => *address,
    }
}

fn segment_name(id: &SegmentId) -> String {
    match id {
        SegmentId::Bridge(bridge, 0) => format!("`{bridge}`"),
        SegmentId::Bridge(bridge, vlan) => format!("VLAN {vlan} of `{bridge}`"),
        SegmentId::Pair(id) => format!("the pair of `{id}`"),
    }
}

/// What an interface is on. A trunk without an untagged VLAN is on none: it is a
/// segment of its own.
fn segment(id: &InterfaceId, attachment: &Attachment) -> SegmentId {
    match attachment {
        Attachment::Peer(peer) => SegmentId::Pair(attach::pair_of(id, peer)),
        Attachment::Port(port) => match &port.vlans {
            None => SegmentId::Bridge(port.bridge.clone(), 0),
            Some(vlans) => match vlans.untagged {
                Some(vlan) => SegmentId::Bridge(port.bridge.clone(), vlan),
                None => SegmentId::Pair(id.clone()),
            },
        },
    }
}

/// Bridges by where they are and by where they lead.
struct BridgePlaces<'a> {
    inside: HashMap<&'a Name, Vec<&'a Bridge>>,
    uplinks: HashMap<&'a InterfaceName, &'a Bridge>,
}

impl<'a> BridgePlaces<'a> {
    fn of(bridges: &'a [Bridge]) -> Self {
        let mut inside: HashMap<&Name, Vec<&Bridge>> = HashMap::new();
        for bridge in bridges {
            if let Some(namespace) = &bridge.namespace {
                inside.entry(namespace).or_default().push(bridge);
            }
        }
        let uplinks = bridges.iter().filter(|bridge| bridge.uplink);
        Self { inside, uplinks: uplinks.map(|bridge| (&bridge.name, bridge)).collect() }
    }
}

fn namespace(
    member: &Member<'_>,
    interfaces: Vec<Interface>,
    bridges: &BridgePlaces<'_>,
    problems: &mut Vec<Problem>,
) -> Namespace {
    let Member { name, spec } = member;
    let link = |interface: &InterfaceName| {
        let (namespace, interface) = (name.clone(), interface.clone());
        LinkId::Interface(InterfaceId { namespace, interface })
    };
    let inside = interfaces.iter().map(|Interface { name, addresses, up, .. }| Device {
        id: link(name),
        name: name.as_str(),
        addresses,
        up: *up,
    });
    let switches = bridges.inside.get(name).into_iter().flatten();
    let switches = switches.map(|Bridge { name, addresses, .. }| Device {
        id: LinkId::Bridge(name.clone()),
        name: name.as_str(),
        addresses,
        up: true,
    });
    let devices: Vec<Device<'_>> = inside.chain(switches).collect();
    let mut routes = route::check(&spec.routes, &devices, problems);
    let linked: Vec<(LinkId, &Interface)> =
        interfaces.iter().map(|interface| (link(&interface.name), interface)).collect();
    route::by_uplinks(&linked, |interface| uplink(interface, bridges), &mut routes);
    let names: Vec<&str> = devices.iter().map(|device| device.name).collect();
    let adopted = adopt::check(spec, problems);
    let sysctls = sysctl::check(&spec.sysctls, spec.router.as_ref(), &names, problems);
    Namespace { name: name.clone(), adopted, sysctls, routes, interfaces }
}

/// The uplink whose addresses an interface can be behind.
fn uplink<'a>(interface: &Interface, bridges: &BridgePlaces<'a>) -> Option<&'a Bridge> {
    let Attachment::Port(port) = &interface.attachment else { return None };
    let bridge = *bridges.uplinks.get(&port.bridge)?;
    let untagged = port.vlans.as_ref().and_then(|vlans| vlans.untagged);
    (untagged == bridge.vlan).then_some(bridge)
}

/// Namespaces that only bridges name.
fn namespaces_of_bridges(bridges: &[Bridge], namespaces: &[Namespace]) -> Vec<Namespace> {
    let mut missing: BTreeMap<Name, Namespace> = BTreeMap::new();
    let named: HashSet<&Name> = namespaces.iter().map(|namespace| &namespace.name).collect();
    for name in bridges.iter().filter_map(|bridge| bridge.namespace.as_ref()) {
        if !named.contains(name) {
            missing.insert(
                name.clone(),
                Namespace {
                    name: name.clone(),
                    adopted: None,
                    sysctls: BTreeMap::new(),
                    routes: Vec::new(),
                    interfaces: Vec::new(),
                },
            );
        }
    }
    missing.into_values().collect()
}

/// Names of devices that would be in one namespace, of the lab or the host's:
/// bridges, ports, which have shortened names, and interfaces.
fn device_names(
    bridges: &[bridge::Draft],
    drafts: &[attach::Draft<'_>],
    attached: &[Option<Attached>],
    problems: &mut Vec<Problem>,
) {
    let places: HashMap<&InterfaceName, Option<&Name>> =
        bridges.iter().map(|draft| (&draft.bridge.name, draft.bridge.namespace.as_ref())).collect();
    // No two bridges have one name.
    let mut taken: HashMap<(Option<&Name>, InterfaceName), String> = places
        .iter()
        .map(|(name, place)| ((*place, (*name).clone()), format!("bridge `{name}`")))
        .collect();
    for (draft, attached) in drafts.iter().zip(attached) {
        let Some(Attached { attachment, .. }) = attached else { continue };
        let InterfaceId { namespace, interface } = &draft.id;
        let mut take = |place, name: InterfaceName, what: String| {
            if let Some(other) = taken.insert((place, name.clone()), what.clone()) {
                let title = format!("{what} and {other} would both be called `{name}`");
                problems.push(Problem::new(title, draft.place).help("rename one of them"));
            }
        };
        if let Attachment::Port(port) = attachment {
            let place = places.get(&port.bridge).copied().flatten();
            let name = InterfaceName::of_port(namespace, interface);
            take(place, name, format!("the bridge's end of {}", draft.id));
        }
        take(Some(namespace), interface.clone(), format!("interface {}", draft.id));
    }
}
