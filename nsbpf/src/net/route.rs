//! Routes of namespaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol,
};

use super::socket::{Netlink, NetlinkError, Request};

/// Says who made a route (`rtm_protocol`); free in `rt_protos`.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(0x6e);

/// A route through a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub to: IpNet,
    /// The gateway.
    pub via: IpAddr,
    /// The interface that the gateway is behind.
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
    let Route { to, via, ifindex } = *route;
    match (to, via) {
        (IpNet::V4(to), IpAddr::V4(via)) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to.network(), to.prefix_len())
            .gateway(via)
            .output_interface(ifindex)
            .protocol(PROTOCOL)
            .build(),
        (to, via) => {
            let ipv6 = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                IpAddr::V6(ip) => ip,
            };
            RouteMessageBuilder::<Ipv6Addr>::new()
                .destination_prefix(ipv6(to.network()), to.prefix_len())
                .gateway(ipv6(via))
                .output_interface(ifindex)
                .protocol(PROTOCOL)
                .build()
        }
    }
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
    let via = via?;
    let everywhere = match via {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let to = IpNet::new(to.unwrap_or(everywhere), destination_prefix_length).ok()?;
    Some(Route { to, via, ifindex: oif? })
}
