//! Where packets come from and go to, by the words of a command line.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::cli::exit::Usage;
use crate::lab::{InterfaceId, Lab, nearest};
use crate::policy::{End, Ends};
use crate::state::{Far, Object, State};
use nsbpf_common::policy::ROUTED;

/// Interfaces of a lab.
pub(super) struct Places {
    pub(super) ends: Ends,
    by_mac: HashMap<[u8; 6], InterfaceId>,
}

impl Places {
    /// As a file alone tells.
    pub(super) fn of_lab(lab: &Lab) -> Self {
        let macs = lab.interfaces().filter_map(|(id, interface)| Some((interface.mac?, id)));
        Self { ends: Ends::of_lab(lab), by_mac: macs.collect() }
    }

    /// Of a lab that is up.
    pub(super) fn of_state(ends: Ends, state: &State) -> Self {
        let veths = state.objects.values().filter_map(|object| match object {
            Object::Veth(veth) => Some(veth),
            _ => None,
        });
        let macs = veths.flat_map(|veth| {
            let near = veth.near.as_ref().map(|end| (end.mac, veth.id.clone()));
            let far = match &veth.far {
                Far::Peer(peer) => Some((peer.end.mac, peer.id.clone())),
                Far::Port(_) => None,
            };
            near.into_iter().chain(far)
        });
        Self { ends, by_mac: macs.collect() }
    }

    /// What tells where a packet of an interface came from.
    pub(super) fn port(&self, word: &str) -> Result<u64, Usage> {
        self.find(word, None).map(|(_, end)| told_by(end))
    }

    /// The same for the interface whose MAC address a frame is from.
    pub(super) fn sender(&self, frame: &[u8]) -> u64 {
        let mac = frame.get(6..12).and_then(|mac| <[u8; 6]>::try_from(mac).ok());
        let end = mac.and_then(|mac| self.by_mac.get(&mac)).and_then(|id| self.ends.get(id));
        end.map_or(ROUTED, told_by)
    }

    /// The interface that a word names; of a namespace with several, the one that is in a
    /// subnet with an address, or has its family at all.
    pub(super) fn find(
        &self,
        word: &str,
        towards: Option<IpAddr>,
    ) -> Result<(&InterfaceId, &End), Usage> {
        let (namespace, interface) = match word.split_once('/') {
            None => (word, None),
            Some((namespace, interface)) => (namespace, Some(interface)),
        };
        let is_it = |id: &InterfaceId| {
            id.namespace.as_str() == namespace
                && interface.is_none_or(|name| id.interface.as_str() == name)
        };
        let found: Vec<_> = self.ends.0.iter().filter(|(id, _)| is_it(id)).collect();
        match found[..] {
            [one] => Ok(one),
            [] => {
                let names: Vec<String> = self.ends.0.keys().map(ToString::to_string).collect();
                let namespaces = self.ends.0.keys().map(|id| id.namespace.as_str());
                let all = namespaces.chain(names.iter().map(String::as_str));
                let help = nearest(word, all).unwrap_or_else(|| "the lab has none".to_owned());
                Err(Usage(format!("no interface of the lab is `{word}`: {help}")))
            }
            [first, ..] => {
                let near = |end: &End| {
                    let towards = towards
                        .into_iter()
                        .flat_map(|to| end.addresses.iter().map(move |own| common_bits(*own, to)));
                    towards.max().unwrap_or(0)
                };
                let nearest =
                    found.iter().copied().max_by_key(|(_, end)| near(end)).unwrap_or(first);
                if near(nearest.1) > 0 {
                    return Ok(nearest);
                }
                let names: Vec<String> = found.iter().map(|(id, _)| id.to_string()).collect();
                Err(Usage(format!("say which one: {}", names.join(", "))))
            }
        }
    }
}

/// What tells packets of an interface from others: its port, or their source address.
pub(super) fn told_by(end: &End) -> u64 {
    if end.is_router { ROUTED } else { end.number.into() }
}

/// How many bits two addresses have in common at their beginning.
pub(super) fn common_bits(one: IpAddr, other: IpAddr) -> u32 {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
        _ => 0,
    }
}
