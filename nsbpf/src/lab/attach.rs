//! What the other ends of interfaces are: ports of bridges, or peers.

use std::collections::{BTreeMap, HashMap};

use serde_saphyr::{Location, Spanned};

use super::bridge::{self, DEFAULT_VLAN, POSSIBLE_VLANS};
use super::problem::{Problem, nearest_if_seen};
use super::queues::{self, DEFAULT_QUEUES};
use super::spec::InterfaceSpec;
use super::{Attachment, DEFAULT_MTU, InterfaceId, InterfaceName, MAX_BRIDGE_PORTS, Port, Vlans};

/// An interface whose name and hardware address are checked.
pub(super) struct Draft<'a> {
    pub(super) id: InterfaceId,
    pub(super) place: Location,
    pub(super) mac: Option<[u8; 6]>,
    pub(super) spec: &'a InterfaceSpec,
}

/// What an interface is attached to, and the MTU and the queues of that.
pub(super) struct Attached {
    pub(super) attachment: Attachment,
    pub(super) mtu: u32,
    pub(super) queues: u16,
}

/// Finds what each interface is attached to; `None` where that is nothing.
pub(super) fn check(
    drafts: &[Draft<'_>],
    bridges: &[bridge::Draft],
    problems: &mut Vec<Problem>,
) -> Vec<Option<Attached>> {
    let peers = peers(drafts, problems);
    let by_name: BTreeMap<&str, &bridge::Draft> =
        bridges.iter().map(|draft| (draft.bridge.name.as_str(), draft)).collect();
    let mut ports: HashMap<&str, usize> = HashMap::new();
    let mut attached = Vec::with_capacity(drafts.len());
    for (place, draft) in drafts.iter().enumerate() {
        let mtu = bridge::mtu(draft.spec.mtu.as_ref(), problems);
        let queues = queues::check(draft.spec.queues.as_ref(), problems);
        attached.push(match (&draft.spec.bridge, peers.get(&place)) {
            (Some(typed), None) => {
                let known = by_name.contains_key(typed.value.as_str());
                let ports = ports.entry(typed.value.as_str()).or_default();
                *ports += usize::from(known);
                if *ports == MAX_BRIDGE_PORTS + 1 {
                    problems.push(too_many(draft, &typed.value));
                }
                // What cannot be takes no memory: each port may be in 4,094 VLANs.
                let fits = *ports <= MAX_BRIDGE_PORTS;
                let (said, bridges) = ((mtu, queues), &by_name);
                fits.then(|| port(draft, typed, said, bridges, problems)).flatten()
            }
            (None, Some(other)) => {
                let other = &drafts[*other];
                refuse_port_keys(draft, problems);
                let mtu = pair_mtu(draft, mtu, other, problems);
                let queues = queues::of_pair(draft, queues, other, problems);
                let attachment = Attachment::Peer(other.id.clone());
                Some(Attached { attachment, mtu, queues })
            }
            (Some(typed), Some(_)) => {
                let title = format!("{} is on a bridge and has a peer", draft.id);
                let help = "the other end of its veth pair is one of the two";
                problems.push(Problem::new(title, typed.referenced).help(help));
                None
            }
            // What it names as its peer is wrong, and that is told already.
            (None, None) if draft.spec.peer.is_some() => None,
            (None, None) => {
                let name = &draft.id.interface;
                let title = format!("interface `{name}` is attached to nothing");
                let help = "say which bridge it is on (`bridge: NAME`), or which interface is at \
                            its other end (`peer: NAMESPACE/INTERFACE`)";
                problems.push(Problem::new(title, draft.place).help(help));
                None
            }
        });
    }
    attached
}

fn too_many(draft: &Draft<'_>, bridge: &str) -> Problem {
    let title = format!("bridge `{bridge}` has more than {MAX_BRIDGE_PORTS} ports");
    Problem::new(title, draft.place)
        .label("this one is too many: the kernel takes no more")
        .help("spread the namespaces over several bridges")
}

/// The place of each interface's peer, both ways.
fn peers(drafts: &[Draft<'_>], problems: &mut Vec<Problem>) -> HashMap<usize, usize> {
    let names: Vec<String> = drafts.iter().map(|draft| draft.id.to_string()).collect();
    let places: HashMap<&str, usize> =
        names.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let mut peers: HashMap<usize, usize> = HashMap::new();
    for (place, draft) in drafts.iter().enumerate() {
        let Some(typed) = &draft.spec.peer else { continue };
        let Some(other) = places.get(typed.value.as_str()).copied() else {
            let help = nearest_if_seen(problems, &typed.value, names.iter().map(String::as_str));
            let title = format!("there is no interface `{}`", typed.value);
            problems.push(Problem::new(title, typed.referenced).help_if(help));
            continue;
        };
        let mut refuse = |title: String, help: &str| {
            problems.push(Problem::new(title, typed.referenced).help(help));
        };
        let theirs = &drafts[other];
        if theirs.id.namespace == draft.id.namespace {
            let help = "a peer is in another namespace";
            refuse(format!("`{}` is in the same namespace", typed.value), help);
            continue;
        }
        let says = theirs.spec.peer.as_ref().map(|peer| peer.value.as_str());
        if says.is_some_and(|says| says != names[place]) {
            let says = says.unwrap_or_default();
            let help = "a veth pair has two ends";
            refuse(format!("{} says that its peer is {says}", theirs.id), help);
            continue;
        }
        if let Some(third) = peers.get(&other).filter(|third| **third != place) {
            let help = "a veth pair has two ends";
            refuse(format!("{} is the peer of {}", theirs.id, drafts[*third].id), help);
            continue;
        }
        peers.insert(place, other);
        peers.insert(other, place);
    }
    peers
}

/// The MTU of a pair, which either end may say.
fn pair_mtu(
    draft: &Draft<'_>,
    mtu: Option<u32>,
    other: &Draft<'_>,
    problems: &mut Vec<Problem>,
) -> u32 {
    let theirs = other.spec.mtu.as_ref().map(|mtu| mtu.value);
    if let (Some(mtu), Some(theirs), Some(typed)) = (mtu, theirs, &draft.spec.mtu)
        && mtu != theirs
    {
        let title = format!("the MTU is {mtu} here and {theirs} at {}", other.id);
        let help = "what one end sends has to fit the other: say the same, or say it once";
        problems.push(Problem::new(title, typed.referenced).help(help));
    }
    mtu.or(theirs).unwrap_or(DEFAULT_MTU)
}

fn port(
    draft: &Draft<'_>,
    typed: &Spanned<String>,
    (mtu, queues): (Option<u32>, Option<u16>),
    bridges: &BTreeMap<&str, &bridge::Draft>,
    problems: &mut Vec<Problem>,
) -> Option<Attached> {
    let Some(bridge) = bridges.get(typed.value.as_str()).map(|draft| &draft.bridge) else {
        let title = format!("there is no bridge `{}`", typed.value);
        let help = nearest_if_seen(problems, &typed.value, bridges.keys().copied())
            .unwrap_or_else(|| format!("add it under `bridges:`, as `{}: {{}}`", typed.value));
        problems.push(Problem::new(title, typed.referenced).help(help));
        return None;
    };
    if bridge.namespace.as_ref() == Some(&draft.id.namespace) {
        let title = format!("bridge `{}` is in this namespace itself", bridge.name);
        let help = "give the bridge `addresses:`, it is an interface of the namespace";
        problems.push(Problem::new(title, typed.referenced).help(help));
        return None;
    }
    if let (Some(mtu), Some(place)) = (mtu, &draft.spec.mtu)
        && mtu != bridge.mtu
    {
        let title = format!("the MTU is {mtu} here and {} on bridge `{}`", bridge.mtu, bridge.name);
        let help = "all that is on a bridge has its MTU: say it there, `mtu: …` under `bridges:`";
        problems.push(Problem::new(title, place.referenced).help(help));
    }
    let vlans = vlans(draft, &bridge.name, bridge.vlan.is_some(), problems);
    let isolated = draft.spec.isolated.as_ref().is_some_and(|isolated| isolated.value);
    let port = Port { bridge: bridge.name.clone(), vlans, isolated };
    let queues = queues.unwrap_or(DEFAULT_QUEUES);
    Some(Attached { attachment: Attachment::Port(port), mtu: bridge.mtu, queues })
}

/// The VLANs of a port: an access port has one, a trunk several.
fn vlans(
    draft: &Draft<'_>,
    bridge: &InterfaceName,
    filtering: bool,
    problems: &mut Vec<Problem>,
) -> Option<Vlans> {
    let InterfaceSpec { vlan, trunk, .. } = draft.spec;
    if !filtering {
        let places = [vlan.as_ref().map(|v| v.referenced), trunk.first().map(|v| v.referenced)];
        if let Some(place) = places.into_iter().flatten().next() {
            let title = format!("bridge `{bridge}` looks at no VLAN");
            let help = format!("add `vlan_filtering: true` to `{bridge}`");
            problems.push(Problem::new(title, place).help(help));
        }
        return None;
    }
    let mut vlans = Vlans::default();
    for typed in trunk {
        if let Some(range) = range(&typed.value) {
            vlans.tagged.extend(range);
        } else {
            let title = format!("`{}` is no VLAN", typed.value);
            let help = "write `10`, or `10-19` for several: 1 to 4094";
            problems.push(Problem::new(title, typed.referenced).help(help));
        }
    }
    vlans.untagged = match vlan {
        Some(vlan) => bridge::vlan(vlan.value, vlan.referenced, problems),
        None => trunk.is_empty().then_some(DEFAULT_VLAN),
    };
    if let (Some(untagged), Some(typed)) = (vlans.untagged, vlan)
        && vlans.tagged.contains(&untagged)
    {
        let title = format!("VLAN {untagged} is both tagged and untagged here");
        problems.push(Problem::new(title, typed.referenced).help("leave it out of `trunk`"));
    }
    Some(vlans)
}

fn range(text: &str) -> Option<std::ops::RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let [first, last] = [first, last].map(|vlan| vlan.trim().parse::<u16>().ok());
    let range = first?..=last?;
    let possible = [range.start(), range.end()].iter().all(|vlan| POSSIBLE_VLANS.contains(vlan));
    (possible && !range.is_empty()).then_some(range)
}

/// A pair without a bridge has no ports.
fn refuse_port_keys(draft: &Draft<'_>, problems: &mut Vec<Problem>) {
    let InterfaceSpec { vlan, trunk, isolated, fastpath, .. } = draft.spec;
    let keys = [
        fastpath.as_ref().map(|value| ("fastpath", value.referenced)),
        vlan.as_ref().map(|value| ("vlan", value.referenced)),
        trunk.first().map(|value| ("trunk", value.referenced)),
        isolated.as_ref().map(|value| ("isolated", value.referenced)),
    ];
    for (key, place) in keys.into_iter().flatten() {
        let title = format!("`{key}` is of a bridge's port, and {} has a peer", draft.id);
        problems.push(Problem::new(title, place).help(format!("leave out `{key}`")));
    }
}

/// The first of a pair, by which it goes.
pub(super) fn pair_of(id: &InterfaceId, peer: &InterfaceId) -> InterfaceId {
    id.min(peer).clone()
}
