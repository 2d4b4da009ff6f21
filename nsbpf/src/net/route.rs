//! Routes of namespaces.

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

/// The routes of a namespace that bear our mark.
pub fn list(netlink: &mut Netlink) -> Result<Vec<Route>, NetlinkError> {
    let dump = netlink.dump(&RouteNetlinkMessage::GetRoute(RouteMessage::default()))?;
    Ok(dump.into_iter().filter_map(parse).collect())
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

fn parse(message: RouteNetlinkMessage) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    let RouteHeader { table, protocol, destination_prefix_length, .. } = message.header;
    if table != RouteHeader::RT_TABLE_MAIN || protocol != PROTOCOL {
        return None;
    }
    let ip = |address: &RouteAddress| match address {
        RouteAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        RouteAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    };
    let (mut to, mut via, mut oif) = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => to = ip(address),
            RouteAttribute::Gateway(address) => via = ip(address),
            RouteAttribute::Oif(ifindex) => oif = Some(*ifindex),
            _ => {}
        }
    }
    let everywhere = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let to = IpNet::new(to.unwrap_or(everywhere), destination_prefix_length).ok()?;
    let onlink = message.header.flags.contains(RouteFlags::Onlink);
    Some(Route { to, via, onlink, ifindex: oif? })
}
