//! The steps from what is to what should be: a pure function of the two.

mod desired;
mod filtering;
mod handover;
mod offloading;
mod replacement;

use std::collections::BTreeSet;

use ipnet::IpNet;

use crate::lab::{IPV6_MIN_MTU, InterfaceId, LinkId, Name};
use crate::policy::PolicyError;
use crate::state::{
    Address, Bridge, Datapath, End, Far, ForeignProgram, Hook, Key, NetnsProgress, Object, Objects,
    Owner, Place, Route, State, Stray, Veth,
};

pub use desired::{DEFAULT_FLOWS, Settings, desired, ingress_hooks};
pub use filtering::{Filtering, fast_places};
pub use handover::handed_over;
pub use offloading::Offloading;
pub use replacement::Replacement;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make an object.
    Add(Object),
    /// Change an object in place.
    Change {
        /// What it is.
        from: Object,
        /// What it becomes.
        to: Object,
    },
    /// Take an object away, and with it what hangs on it.
    Remove(Object),
    /// Take a hook away from which another one has taken over by then.
    Retire(Hook),
}

impl Step {
    /// The object it is about.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Add(object) | Self::Remove(object) | Self::Change { to: object, .. } => {
                object.key()
            }
            Self::Retire(Hook { id, point, .. }) => Key::Hook(id.clone(), *point),
        }
    }

    /// What it does, as a verb.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Add(_) => "create",
            Self::Change { .. } => "change",
            Self::Remove(_) | Self::Retire(_) => "remove",
        }
    }
}

/// Why a lab cannot be brought up on this machine, as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A namespace of that name is somebody else's.
    #[error(
        "a network namespace `{name}` exists already and {}: it was left as it is. {}",
        described(owner), cure(owner, &format!("`ip netns delete {name}`"))
    )]
    NetnsTaken {
        /// Its name.
        name: Name,
        /// Whose it is.
        owner: Owner,
    },
    /// A link of that name is somebody else's.
    #[error(
        "{what} needs the interface name `{name}`{}, but a link of that name exists already and {}: it was left as it is. {}",
        in_place(place), described(owner), cure(owner, &format!("`ip link delete {name}`"))
    )]
    LinkTaken {
        /// Its name.
        name: String,
        /// Where it is.
        place: Place,
        /// What wants it.
        what: String,
        /// Whose it is.
        owner: Owner,
    },
    /// A namespace of others has a route of its own to there.
    #[error(
        "namespace {namespace} has a route to {to} already, which is not this lab's: it was left as it is. Take the route out of the lab, or remove that one if nobody needs it."
    )]
    RouteTaken {
        /// The namespace.
        namespace: Name,
        /// Where the route leads.
        to: IpNet,
    },
    /// The host has that subnet elsewhere.
    #[error(
        "{of} is to have the address {address}, but another interface of the host is in {other} (`ip address show to {other}` tells which): the host would not know which of the two is meant. Choose another subnet, or put the bridge into a namespace of its own (`namespace:`)."
    )]
    SubnetTaken {
        /// What was to have it.
        of: LinkId,
        /// The address.
        address: IpNet,
        /// The subnet that is there.
        other: IpNet,
    },
    /// An interface takes one XDP program.
    #[error(
        "the packets of {of} come in by {device}, which has an XDP program already that is not this lab's ({}): it was left as it is. An interface takes one: let go of that program (`ip link set dev {device} xdp off`, or as its owner does), or bring the lab up with `--hook tc`, which runs after it.",
        identity(program)
    )]
    XdpTaken {
        /// Whose packets it sees.
        of: InterfaceId,
        /// The name of the device that it is on.
        device: String,
        /// The program that is there.
        program: ForeignProgram,
    },
    /// A namespace that the lab wires is nowhere.
    #[error("the namespace `{0}` was not looked for")]
    NotFound(Name),
    /// A policy without programs.
    #[error(
        "the lab has a policy, and without programs nothing keeps it: leave out `--hook none`, or the policy"
    )]
    PolicyWithoutDatapath,
    /// A policy without flows.
    #[error(
        "the lab has a policy, which needs to know which packets are replies, and `--flows 0` tracks no flows: leave one of both out"
    )]
    PolicyWithoutFlows,
    /// A policy that nobody can tell packets by.
    #[error("the policy cannot be compiled: {0}")]
    Policy(PolicyError),
    /// A policy that no maps have room for.
    #[error("the policy is too large: its tables have {0} nodes, which is more than maps may have")]
    PolicyTooLarge(usize),
    /// Every slot is in use.
    #[error("this host has {0} labs, and there is no room for another")]
    NoSlot(usize),
    /// More interfaces than numbers.
    #[error("the lab has more interfaces and bridges than the {0} that one lab can have")]
    TooManyPorts(usize),
}

fn identity(program: &ForeignProgram) -> String {
    let ForeignProgram { id, name } = program;
    if name.is_empty() { format!("id {id}") } else { format!("`{name}`, id {id}") }
}

fn in_place(place: &Place) -> String {
    match place {
        Place::Host => String::new(),
        Place::Netns(name) => format!(" in namespace {name}"),
    }
}

fn described(owner: &Owner) -> String {
    match owner {
        Owner::Stranger => "was not made by nsbpf".to_owned(),
        Owner::Lab(lab) => format!("belongs to the lab `{lab}`"),
        Owner::SomeLab => "is another lab's, or what a killed command left of one".to_owned(),
    }
}

fn cure(owner: &Owner, command: &str) -> String {
    match owner {
        Owner::Stranger | Owner::SomeLab => format!(
            "Choose another name in the lab, or remove it (with {command}) if nobody needs it."
        ),
        Owner::Lab(_) => "Choose another name in one of the two labs.".to_owned(),
    }
}

/// The steps that lead from `state` to `wanted`: first what has to go, in
/// reverse order, then what has to come or to change, and at last the hooks from which
/// others have taken over.
///
/// # Errors
/// A name that is wanted is taken by something that is not this lab's.
pub fn diff(wanted: &Objects, state: &State) -> Result<Vec<Step>, PlanError> {
    refuse_conflicts(wanted, state)?;
    let mut gone: BTreeSet<Key> = BTreeSet::new();
    let mut remade: BTreeSet<Key> = BTreeSet::new();
    // Parents come before what hangs on them, so one pass in order finds all.
    for (key, object) in &state.objects {
        let lost = parents(object).iter().chain(&homes(object)).any(|key| gone.contains(key));
        let replaced = wanted.get(key).is_some_and(|to| to != object && !alters(object, to));
        if lost || replaced || !wanted.contains_key(key) {
            gone.insert(key.clone());
        }
        if replaced {
            remade.insert(key.clone());
        }
    }
    take_secondaries(state, &mut gone);
    let mut steps = Vec::new();
    let mut last = Vec::new();
    for (key, object) in state.objects.iter().rev() {
        let with_parent = parents(object).iter().any(|parent| gone.contains(parent));
        if gone.contains(key) && !with_parent && !stays(object) {
            match object {
                Object::Hook(hook) if handover::retires(hook, wanted, state, &gone) => {
                    last.push(Step::Retire(hook.clone()));
                }
                // Until XDP goes, it is sent what it can have.
                Object::Offloads(_) if !last.is_empty() => last.push(Step::Remove(object.clone())),
                _ => steps.push(Step::Remove(object.clone())),
            }
        }
    }
    let (reloaded, rehoused) = match [&state.objects, wanted].map(|it| it.get(&Key::Datapath)) {
        [Some(Object::Datapath(from)), Some(Object::Datapath(to))] => {
            (from != to, from.policy != to.policy)
        }
        _ => (false, false),
    };
    for (key, object) in wanted {
        let renewed = (reloaded && matches!(object, Object::Hook(_)))
            || (rehoused && matches!(object, Object::Policy(_)))
            || remade.iter().any(|remade| is_held_by(object, remade));
        match state.objects.get(key) {
            Some(from) if !gone.contains(key) => {
                if from != object || renewed {
                    steps.push(Step::Change { from: from.clone(), to: object.clone() });
                }
            }
            _ => steps.push(Step::Add(object.clone())),
        }
    }
    steps.extend(last);
    Ok(steps)
}

/// Adds the addresses that the kernel takes with the first one of their subnet.
fn take_secondaries(state: &State, gone: &mut BTreeSet<Key>) {
    let addresses = state.objects.iter().filter_map(|(key, object)| match object {
        Object::Address(address) => Some((key, address)),
        _ => None,
    });
    let (others, firsts): (Vec<_>, Vec<_>) = addresses.partition(|(_, address)| address.secondary);
    let subnet = |address: &Address| (address.of.clone(), address.address.trunc());
    let lost: BTreeSet<_> = firsts
        .into_iter()
        .filter(|(key, address)| address.ours && gone.contains(*key))
        .map(|(_, address)| subnet(address))
        .collect();
    let taken = others.into_iter().filter(|(_, address)| lost.contains(&subnet(address)));
    gone.extend(taken.map(|(key, _)| key.clone()));
}

/// What an object hangs on: when one of these goes, the kernel takes it too.
fn parents(object: &Object) -> Vec<Key> {
    let link = object.device().map(|device| Key::from(device.link.clone()));
    let other = match object {
        Object::Sysctl(sysctl) => Some(Key::Netns(sysctl.namespace.clone())),
        Object::Stray(Stray { place: Place::Netns(name), .. }) => Some(Key::Netns(name.clone())),
        Object::Vlans(vlans) => Some(Key::Bridge(vlans.bridge.clone())),
        Object::Flood(flood) => Some(Key::Bridge(flood.bridge.clone())),
        Object::Port(_) | Object::Policy(_) => Some(Key::Datapath),
        _ => None,
    };
    link.into_iter().chain(other).collect()
}

/// The namespaces that a link is in: when the lab is to use another one of that
/// name instead, the link has to be made there, and to be removed where it is.
fn homes(object: &Object) -> Vec<Key> {
    let namespaces = match object {
        Object::Bridge(bridge) => [inside(&bridge.place), None],
        Object::Veth(veth) => {
            let far = match &veth.far {
                Far::Port(port) => inside(&port.place),
                Far::Peer(peer) => Some(&peer.id.namespace),
            };
            [Some(&veth.id.namespace), far]
        }
        _ => [None, None],
    };
    let keys = |name: &Name| [Key::Netns(name.clone()), Key::Adopted(name.clone())];
    namespaces.into_iter().flatten().flat_map(keys).collect()
}

fn inside(place: &Place) -> Option<&Name> {
    match place {
        Place::Host => None,
        Place::Netns(name) => Some(name),
    }
}

/// Whether an object has to be put back where it was when another one is made
/// anew: a program at its hook, a port on its bridge.
fn is_held_by(object: &Object, remade: &Key) -> bool {
    match (object, remade) {
        (Object::Hook(_), Key::Datapath) => true,
        (Object::Veth(veth), Key::Bridge(bridge)) => match &veth.far {
            Far::Port(port) => port.bridge.as_ref() == Some(bridge),
            Far::Peer(_) => false,
        },
        _ => false,
    }
}

/// Whether an object can become another in place.
fn alters(from: &Object, to: &Object) -> bool {
    match (from, to) {
        (Object::Netns(from), Object::Netns(_)) => from.progress == NetnsProgress::Unpublished,
        (Object::Bridge(from), Object::Bridge(to)) => {
            let Bridge { name: _, place, number, end, up: _, options: _, netfilter: _ } = from;
            *place == to.place
                && *number == to.number
                && end.name == to.end.name
                && !widens(end, &to.end)
        }
        (Object::Veth(from), Object::Veth(to)) => {
            let Veth { id: _, number, queues, near, far } = from;
            let name = |veth: &Veth| veth.near.as_ref().map(|end| end.name.clone());
            *number == to.number
                && *queues == to.queues
                && near.as_ref().map(|end| end.name.clone()) == name(to)
                && alters_far(far, &to.far)
        }
        (Object::Port(from), Object::Port(to)) => from.identity == to.identity,
        (Object::Hook(from), Object::Hook(to)) => from.device == to.device,
        (Object::Datapath(from), Object::Datapath(to)) => keeps_maps(from, to),
        (Object::Route(_), Object::Route(_))
        | (Object::Sysctl(_), Object::Sysctl(_))
        | (Object::Vlans(_), Object::Vlans(_))
        | (Object::Offloads(_), Object::Offloads(_))
        | (Object::Flood(_), Object::Flood(_))
        | (Object::Policy(_), Object::Policy(_))
        | (Object::Uplink(_), Object::Uplink(_)) => true,
        _ => false,
    }
}

/// Whether other programs can go on with the maps of those that are loaded.
fn keeps_maps(from: &Datapath, to: &Datapath) -> bool {
    let Datapath {
        abi,
        object: _,
        ingress: _,
        attach: _,
        log: _,
        port_base,
        port_capacity,
        flows,
        settled: _,
        switches: _,
        policy: _,
    } = from;
    *abi == to.abi
        && *port_base == to.port_base
        && *port_capacity == to.port_capacity
        && *flows == to.flows
}

fn alters_far(from: &Far, to: &Far) -> bool {
    match (from, to) {
        (Far::Port(from), Far::Port(to)) => {
            from.place == to.place && from.end.name == to.end.name && !widens(&from.end, &to.end)
        }
        (Far::Peer(from), Far::Peer(to)) => {
            from.id == to.id && from.number == to.number && from.end.name == to.end.name
        }
        _ => false,
    }
}

/// Whether a link that only switches becomes wide enough for IPv6: the kernel
/// begins it anew then, with an address that only a link's birth keeps away.
fn widens(from: &End, to: &End) -> bool {
    from.mtu < IPV6_MIN_MTU && to.mtu >= IPV6_MIN_MTU
}

/// Whether an object that is not wanted stays because it is not ours.
fn stays(object: &Object) -> bool {
    matches!(object, Object::Address(Address { ours: false, .. }))
}

fn refuse_conflicts(wanted: &Objects, state: &State) -> Result<(), PlanError> {
    for object in wanted.values() {
        match object {
            Object::Netns(netns) => {
                if let Some(owner) = state.foreign_netns.get(netns.name.as_str()) {
                    let (name, owner) = (netns.name.clone(), owner.clone());
                    return Err(PlanError::NetnsTaken { name, owner });
                }
            }
            Object::Address(address) => refuse_overlap(state, address)?,
            Object::Bridge(bridge) => {
                let what = || format!("bridge {}", bridge.name);
                refuse_taken(state, &bridge.place, bridge.name.as_str(), what)?;
            }
            Object::Veth(veth) => {
                let near = Place::Netns(veth.id.namespace.clone());
                let name = veth.id.interface.as_str();
                refuse_taken(state, &near, name, || format!("interface {}", veth.id))?;
                match &veth.far {
                    Far::Port(port) => {
                        let what = || format!("the bridge's end of {}", veth.id);
                        refuse_taken(state, &port.place, &port.end.name, what)?;
                    }
                    Far::Peer(peer) => {
                        let place = Place::Netns(peer.id.namespace.clone());
                        let what = || format!("interface {}", peer.id);
                        refuse_taken(state, &place, &peer.end.name, what)?;
                    }
                }
            }
            Object::Hook(Hook { id, point, .. }) if point.is_xdp() => {
                if let Some(program) = state.foreign_xdp.get(id) {
                    let (of, program) = (id.clone(), program.clone());
                    return Err(PlanError::XdpTaken { device: behind(wanted, id), of, program });
                }
            }
            Object::Route(Route { namespace, to, .. })
                if state.foreign_routes.contains(&(namespace.clone(), *to)) =>
            {
                return Err(PlanError::RouteTaken { namespace: namespace.clone(), to: *to });
            }
            _ => {}
        }
    }
    Ok(())
}

/// The name of the device where an interface's packets come in.
fn behind(wanted: &Objects, id: &InterfaceId) -> String {
    let name = |object: &Object| match object {
        Object::Veth(Veth { id: near, far: Far::Port(port), .. }) if near == id => {
            Some(port.end.name.clone())
        }
        Object::Veth(Veth { id: near, far: Far::Peer(peer), .. }) if near == id => {
            Some(peer.end.name.clone())
        }
        Object::Veth(Veth { near: Some(near), far: Far::Peer(peer), .. }) if peer.id == *id => {
            Some(near.name.clone())
        }
        _ => None,
    };
    wanted.values().find_map(name).unwrap_or_default()
}

/// Two equal subnets on the host: it would send what is for one to the other. What
/// is there already is left alone.
fn refuse_overlap(state: &State, wanted: &Address) -> Result<(), PlanError> {
    let Address { of, device, address, .. } = wanted;
    let there = state.objects.contains_key(&Key::Address(of.clone(), *address));
    if device.place != Place::Host || there {
        return Ok(());
    }
    let overlaps = |other: &&IpNet| other.contains(address) || address.contains(*other);
    match state.foreign_subnets.iter().find(overlaps) {
        None => Ok(()),
        Some(other) => {
            let (of, address, other) = (of.clone(), *address, *other);
            Err(PlanError::SubnetTaken { of, address, other })
        }
    }
}

fn refuse_taken(
    state: &State,
    place: &Place,
    name: &str,
    what: impl FnOnce() -> String,
) -> Result<(), PlanError> {
    match state.foreign_links.get(&(place.clone(), name.to_owned())) {
        None => Ok(()),
        Some(owner) => {
            let (name, place, owner) = (name.to_owned(), place.clone(), owner.clone());
            Err(PlanError::LinkTaken { name, place, what: what(), owner })
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
