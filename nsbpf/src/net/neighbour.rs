//! Neighbour tables: who is known to be at which hardware address.
//!
//! All namespaces of a machine share the room: 1,024 neighbours of a family by
//! default (`gc_thresh3` of `arp_tbl` and `nd_tbl`), and those of the last five
//! seconds are kept whatever else wants in (`neigh_forced_gc`,
//! `net/core/neighbour.c`, Linux 6.18). Who makes a thousand namespaces talk has
//! to make room again.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::socket::{Netlink, NetlinkError, Request};

/// The neighbour table of a namespace, and what was in it at first.
pub struct Neighbours {
    netlink: Netlink,
    known: HashSet<(u32, IpAddr)>,
}

impl Neighbours {
    /// Notes who is known in the namespace of the socket.
    pub fn note(mut netlink: Netlink) -> Result<Self, NetlinkError> {
        let known = list(&mut netlink)?.into_iter().collect();
        Ok(Self { netlink, known })
    }

    /// Forgets who came to be known since.
    pub fn forget_new(&mut self) -> Result<(), NetlinkError> {
        let new = list(&mut self.netlink)?
            .into_iter()
            .filter(|neighbour| !self.known.contains(neighbour))
            .map(forget)
            .collect();
        // One that is gone already is forgotten as well; if another stays, the
        // kernel forgets it in time.
        if let Err(failure) = self.netlink.batch(new) {
            log::debug!("forget a neighbour: {}", failure.error);
        }
        Ok(())
    }
}

/// Forgets who is at these addresses, by devices of which that holds: they moved.
/// The kernel would believe in where they were for half a minute and longer.
pub fn forget_moved(
    netlink: &mut Netlink,
    moved: &BTreeSet<IpAddr>,
    by: impl Fn(u32) -> bool,
) -> Result<(), NetlinkError> {
    let stale = list(netlink)?.into_iter();
    let stale = stale.filter(|(ifindex, address)| by(*ifindex) && moved.contains(address));
    // One that is gone already is forgotten as well.
    if let Err(failure) = netlink.batch(stale.map(forget).collect()) {
        log::debug!("forget a neighbour: {}", failure.error);
    }
    Ok(())
}

/// All but those that somebody entered by hand, or that need no resolution.
fn list(netlink: &mut Netlink) -> Result<Vec<(u32, IpAddr)>, NetlinkError> {
    let mut neighbours = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut message = NeighbourMessage::default();
        message.header.family = family;
        let dump = netlink.dump(&RouteNetlinkMessage::GetNeighbour(message))?;
        neighbours.extend(dump.into_iter().filter_map(parse));
    }
    Ok(neighbours)
}

fn parse(message: RouteNetlinkMessage) -> Option<(u32, IpAddr)> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    if matches!(message.header.state, NeighbourState::Permanent | NeighbourState::Noarp) {
        return None;
    }
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    })?;
    Some((message.header.ifindex, address))
}

fn forget((ifindex, address): (u32, IpAddr)) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = ifindex;
    let (family, address) = match address {
        IpAddr::V4(ip) => (AddressFamily::Inet, NeighbourAddress::Inet(ip)),
        IpAddr::V6(ip) => (AddressFamily::Inet6, NeighbourAddress::Inet6(ip)),
    };
    message.header.family = family;
    message.attributes.push(NeighbourAttribute::Destination(address));
    Request::change(RouteNetlinkMessage::DelNeighbour(message))
}
