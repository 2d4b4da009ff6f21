//! What an undo leads back to.

use std::collections::HashMap;

use crate::datapath::OBJECT_DIGEST;
use crate::lab::{InterfaceId, Name};
use crate::net::NetNs;
use crate::state::{
    Datapath, Far, HookPoint, Key, NetnsProgress, Object, Objects, Place, Policy, Port, State,
};

/// Of the objects that were there before, those that can be made again: not what
/// was unfinished, nor programs of an object that this build does not have and that
/// are not loaded any more, nor addresses that are not ours. The kernel gives a new
/// interface its own, and one that was made here would bear our mark, so that the next run
/// would remove it.
pub(super) fn restorable(before: &State, now: &State, adopted: &HashMap<Name, NetNs>) -> Objects {
    let mut kept = Objects::new();
    for (key, object) in &before.objects {
        let has = |key: Key| kept.contains_key(&key);
        // Whatever became of those that were to take their place.
        if let (Object::Datapath(datapath), Some(Object::Datapath(loaded))) =
            (object, now.objects.get(key))
            && (Datapath { settled: datapath.settled, ..loaded.clone() }) == *datapath
        {
            kept.insert(key.clone(), Object::Datapath(loaded.clone()));
            continue;
        }
        let is_place = |place: &Place| match place {
            Place::Host => true,
            Place::Netns(name) => has(Key::Netns(name.clone())) || has(Key::Adopted(name.clone())),
        };
        let inside = |id: &InterfaceId| is_place(&Place::Netns(id.namespace.clone()));
        let device = object.device().is_none_or(|device| has(device.link.clone().into()));
        let restorable = device
            && match object {
                Object::Stray(_) => false,
                Object::Adopted(one) => {
                    adopted.get(&one.name).is_some_and(|netns| netns.inode() == one.inode)
                }
                Object::Netns(netns) => netns.progress == NetnsProgress::Whole,
                Object::Sysctl(sysctl) => has(Key::Netns(sysctl.namespace.clone())),
                Object::Bridge(bridge) => is_place(&bridge.place),
                Object::Veth(veth) => {
                    let far = match &veth.far {
                        Far::Port(port) => is_place(&port.place),
                        Far::Peer(peer) => inside(&peer.id),
                    };
                    veth.near.is_some() && inside(&veth.id) && far
                }
                Object::Datapath(datapath) => datapath.object == OBJECT_DIGEST,
                // Of two one of which was to take over from the other, one is enough.
                Object::Hook(hook) => {
                    let both = hook.point.is_xdp()
                        && is_handed_over(before, hook.device.number)
                        && has(Key::Hook(hook.id.clone(), HookPoint::TcIngress));
                    hook.current && has(Key::Datapath) && !both
                }
                Object::Port(_) | Object::Policy(_) => has(Key::Datapath),
                Object::Address(address) => address.ours,
                Object::Folder(_)
                | Object::Offloads(_)
                | Object::Vlans(_)
                | Object::Uplink(_)
                | Object::Up(_)
                | Object::Flood(_)
                | Object::Route(_) => true,
            };
        if restorable {
            kept.insert(key.clone(), settled(object));
        }
    }
    kept
}

/// The object, at the end of what it was in the middle of.
fn settled(object: &Object) -> Object {
    match object {
        Object::Port(port) => Object::Port(Port { handed_over: false, ..port.clone() }),
        Object::Policy(policy) => Object::Policy(Policy { settled: true, ..policy.clone() }),
        other => other.clone(),
    }
}

fn is_handed_over(state: &State, number: u16) -> bool {
    matches!(state.objects.get(&Key::Port(number)), Some(Object::Port(port)) if port.handed_over)
}
