//! Addresses that are with another hardware address than before: whoever talked to
//! them would go on talking to where they were, for as long as the kernel believes
//! in a neighbour (`base_reachable_time`), and reach nobody.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use super::{ApplyError, Survey, host_socket};
use crate::lab::LinkId;
use crate::net::neighbour::forget_moved;
use crate::state::{Address, Far, Key, Object, Objects};

/// Has the lab's namespaces look anew for addresses that moved, by its own
/// devices.
pub(super) fn announce(before: &Objects, after: &mut Survey) -> Result<(), ApplyError> {
    let Some(slot) = after.state.slot() else { return Ok(()) };
    let (old, new) = (holders(before), holders(&after.state.objects));
    let stays = |ip: &IpAddr, was: &HashSet<[u8; 6]>| new.get(ip).is_none_or(|is| is == was);
    let moved: BTreeSet<IpAddr> =
        old.iter().filter(|(ip, was)| !stays(ip, was)).map(|(ip, _)| *ip).collect();
    if moved.is_empty() {
        return Ok(());
    }
    let mut host = host_socket()?;
    let inside = after.namespaces.values_mut().map(|opened| &mut opened.netlink);
    for netlink in inside.chain([&mut host]) {
        if let Err(error) = forget_moved(netlink, &moved, |ifindex| slot.number(ifindex).is_some())
        {
            log::warn!("have neighbours that moved looked for anew: {error}");
        }
    }
    Ok(())
}

/// Hardware addresses that an address is at: in VLANs and on different bridges
/// one can be there more than once.
fn holders(objects: &Objects) -> HashMap<IpAddr, HashSet<[u8; 6]>> {
    let mut holders: HashMap<IpAddr, HashSet<[u8; 6]>> = HashMap::new();
    for object in objects.values() {
        let Object::Address(address) = object else { continue };
        let Some(mac) = mac(address, objects) else { continue };
        holders.entry(address.address.addr()).or_default().insert(mac);
    }
    holders
}

fn mac(address: &Address, objects: &Objects) -> Option<[u8; 6]> {
    match (objects.get(&Key::from(address.device.link.clone()))?, &address.of) {
        (Object::Bridge(bridge), _) => Some(bridge.end.mac),
        (Object::Veth(veth), LinkId::Interface(id)) if veth.id == *id => {
            veth.near.as_ref().map(|end| end.mac)
        }
        (Object::Veth(veth), _) => match &veth.far {
            Far::Peer(peer) => Some(peer.end.mac),
            Far::Port(_) => None,
        },
        _ => None,
    }
}
