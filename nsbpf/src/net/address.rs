//! Addresses of interfaces.

use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::AddressMessageBuilder;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
};

use super::socket::{Netlink, NetlinkError, Request};

/// Says who made an address (`IFA_PROTO`, since Linux 5.18; older kernels
/// forget it). The kernel's own uses are 1 to 3.
const PROTOCOL: u8 = 0x6e;

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The interface.
    pub ifindex: u32,
    /// The address, with the length of its subnet's prefix.
    pub address: IpNet,
    /// Whether it bears our mark.
    pub ours: bool,
    /// Whether an earlier one of its subnet is the first.
    pub secondary: bool,
}

/// Adds an address, usable at once: without duplicate address detection.
#[must_use]
pub fn add(ifindex: u32, address: IpNet) -> Request {
    Request::create(RouteNetlinkMessage::NewAddress(message(ifindex, address)))
}

/// Removes an address.
#[must_use]
pub fn remove(ifindex: u32, address: IpNet) -> Request {
    Request::change(RouteNetlinkMessage::DelAddress(message(ifindex, address)))
}

/// The addresses of a namespace's interfaces.
pub fn list(netlink: &mut Netlink) -> Result<Vec<Address>, NetlinkError> {
    let dump = netlink.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    Ok(dump.into_iter().filter_map(parse).collect())
}

fn message(ifindex: u32, address: IpNet) -> AddressMessage {
    let mut message = match address {
        IpNet::V4(v4) => {
            let builder = AddressMessageBuilder::<std::net::Ipv4Addr>::new();
            builder.index(ifindex).address(v4.addr(), v4.prefix_len()).build()
        }
        IpNet::V6(v6) => {
            let builder = AddressMessageBuilder::<std::net::Ipv6Addr>::new();
            let mut message = builder.index(ifindex).address(v6.addr(), v6.prefix_len()).build();
            message.header.flags |= AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            message
        }
    };
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::from(PROTOCOL)));
    message
}

fn parse(message: RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else {
        return None;
    };
    let mut address: Option<IpAddr> = None;
    let mut local = None;
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Protocol(protocol) => ours = u8::from(*protocol) == PROTOCOL,
            _ => {}
        }
    }
    let address = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
    // IPv6 says the same of addresses that it made itself.
    let secondary =
        address.addr().is_ipv4() && message.header.flags.contains(AddressHeaderFlags::Secondary);
    Some(Address { ifindex: message.header.index, address, ours, secondary })
}
