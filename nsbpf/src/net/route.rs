//! Routes of namespaces.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::socket::{Netlink, NetlinkError, Request};

/// Says who made a route (`rtm_protocol`); free in `rt_protos`.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(0x6e);

/// A route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub to: IpNet,
    /// The gateway; `None` when the destination is on the link itself.
    pub via: Option<IpAddr>,
    /// Whether the gateway is on the link although no subnet says so.
    pub onlink: bool,
    /// The interface that it goes by.
    pub ifindex: u32,
}

/// Adds a route, or puts it in the place of the one to the same destination.
#[must_use]
pub fn set(route: &Route) -> Request {
    Request::replace(RouteNetlinkMessage::NewRoute(message(route)))
}

/// Removes a route of ours.
#[must_use]
pub fn remove(route: &Route) -> Request {
    Request::change(RouteNetlinkMessage::DelRoute(message(route)))
}

/// Routes of a namespace's main table.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    /// Those that bear our mark.
    pub marked: Vec<Route>,
    /// Where those of others lead that are not the kernel's own.
    pub others: BTreeSet<IpNet>,
}

/// The routes of a namespace.
pub fn list(netlink: &mut Netlink) -> Result<Routes, NetlinkError> {
    let dump = netlink.dump(&RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
    let mut routes = Routes::default();
    for message in dump {
        let RouteNetlinkMessage::NewRoute(message) = message else { continue };
        if message.header.table != RouteHeader::RT_TABLE_MAIN {
            continue;
        }
        match message.header.protocol {
            PROTOCOL => routes.marked.extend(parse(&message)),
            RouteProtocol::Kernel => {}
            _ => routes.others.extend(destination(&message)),
        }
    }
    Ok(routes)
}

fn message(route: &Route) -> RouteMessage {
    let Route { to, via, onlink, ifindex } = *route;
    let mut message = match to {
        IpNet::V4(to) => {
            let mut builder = RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(to.network(), to.prefix_len())
                .output_interface(ifindex);
            match via {
                Some(IpAddr::V4(via)) => builder = builder.gateway(via),
                // The kernel takes a route without a gateway only so.
                _ => builder = builder.scope(RouteScope::Link),
            }
            builder.protocol(PROTOCOL).build()
        }
        IpNet::V6(to) => {
            let mut builder = RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(to.network(), to.prefix_len())
                .output_interface(ifindex);
            if let Some(IpAddr::V6(via)) = via {
                builder = builder.gateway(via);
            }
            builder.protocol(PROTOCOL).build()
        }
    };
    if onlink {
        message.header.flags |= RouteFlags::Onlink;
    }
    message
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

fn destination(message: &RouteMessage) -> Option<IpNet> {
    let everywhere = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let to = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    });
    IpNet::new(to.unwrap_or(everywhere), message.header.destination_prefix_length).ok()
}

fn parse(message: &RouteMessage) -> Option<Route> {
    let (mut via, mut oif) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Gateway(address) => via = ip(address),
            RouteAttribute::Oif(ifindex) => oif = Some(*ifindex),
            _ => {}
        }
    }
    let onlink = message.header.flags.contains(RouteFlags::Onlink);
    Some(Route { to: destination(message)?, via, onlink, ifindex: oif? })
}
