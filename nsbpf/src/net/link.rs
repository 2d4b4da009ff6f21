//! Links: bridges and veth pairs.

use std::os::fd::{AsFd, AsRawFd};

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoBridgePort, InfoData, InfoPortData, InfoVeth,
    LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage, LinkXdp, Prop,
};
use rtnetlink::{LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::netns::NetNs;
use super::socket::{Netlink, NetlinkError, Request};

/// Interface index of the loopback interface in every namespace
/// (`loopback_net_init`, Linux 6.18).
pub const LOOPBACK: u32 = 1;

/// A link, as the kernel tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Interface index.
    pub ifindex: u32,
    /// Interface name.
    pub name: String,
    /// Other names that it goes by.
    pub altnames: Vec<String>,
    /// What kind of virtual link it is: `veth`, `bridge`; empty for others.
    pub kind: String,
    /// Hardware address.
    pub mac: Vec<u8>,
    /// Largest packet, in bytes, Ethernet header not counted.
    pub mtu: u32,
    /// The bridge it is a port of: an interface index, 0 for none.
    pub controller: u32,
    /// Link group.
    pub group: u32,
    /// Alias; empty when not set.
    pub alias: String,
    /// Whether it is up, as far as an administrator says.
    pub up: bool,
    /// Whether its bridge floods multicast out of it; `false` for no bridge's port.
    pub multicast_flood: bool,
    /// Id of the XDP program on it; 0 when there is none.
    pub xdp_program: u32,
}

/// What either kind of link is born with.
#[derive(Clone, Debug)]
pub struct Birth<'a> {
    /// Interface name.
    pub name: &'a str,
    /// Interface index asked for.
    pub ifindex: u32,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Largest packet, in bytes, Ethernet header not counted.
    pub mtu: u32,
    /// Link group.
    pub group: u32,
}

impl Birth<'_> {
    fn apply<T>(&self, builder: LinkMessageBuilder<T>) -> LinkMessageBuilder<T> {
        builder
            .name(self.name)
            .index(self.ifindex)
            .address(self.mac.to_vec())
            .mtu(self.mtu)
            .link_group(self.group)
    }
}

/// Creates a bridge, which is down. Its MAC address and MTU are fixed: left to
/// itself a bridge changes both with its ports.
#[must_use]
pub fn create_bridge(birth: &Birth<'_>) -> Request {
    let builder = birth.apply(LinkMessageBuilder::<LinkBridge>::new(birth.name));
    Request::create(RouteNetlinkMessage::NewLink(builder.build()))
}

/// Creates a veth pair, each end in its place: the host end in the socket's
/// namespace as a port of `controller`, the other inside `namespace`. Both are
/// down. (Moving an end afterwards would wait for the kernel's RCU, some 16 ms
/// a move.)
///
/// `namespace` must stay open until the request was sent.
#[must_use]
pub fn create_veth(
    host: &Birth<'_>,
    controller: u32,
    peer: &Birth<'_>,
    namespace: &NetNs,
) -> Request {
    let peer = peer
        .apply(LinkMessageBuilder::<LinkUnspec>::new())
        .setns_by_fd(namespace.as_fd().as_raw_fd())
        .build();
    let builder = host
        .apply(LinkMessageBuilder::<LinkVeth>::new(host.name, ""))
        .controller(controller)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
    Request::create(RouteNetlinkMessage::NewLink(builder.build()))
}

/// Sets the alias, and has the kernel give the link no IPv6 address of its own:
/// for ends that only switch.
#[must_use]
pub fn set_alias_and_no_ipv6(ifindex: u32, alias: &str) -> Request {
    let no_address = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    set(LinkUnspec::new_with_index(ifindex)
        .alias(alias)
        .append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![no_address])))
}

/// Has the bridge flood multicast out of one of its ports, or not.
#[must_use]
pub fn set_multicast_flood(ifindex: u32, flood: bool) -> Request {
    let port = LinkBridgePort::new(ifindex).mcast_flood(flood);
    // RTM_SETLINK takes no port options (`rtnl_setlink`, Linux 6.18).
    Request::change(RouteNetlinkMessage::NewLink(port.build()))
}

/// Makes the link a port of a bridge.
#[must_use]
pub fn set_controller(ifindex: u32, controller: u32) -> Request {
    set(LinkUnspec::new_with_index(ifindex).controller(controller))
}

/// Brings the link up.
#[must_use]
pub fn set_up(ifindex: u32) -> Request {
    set(LinkUnspec::new_with_index(ifindex).up())
}

/// Takes the link down.
#[must_use]
pub fn set_down(ifindex: u32) -> Request {
    set(LinkUnspec::new_with_index(ifindex).down())
}

/// Sets MAC address, MTU and group.
#[must_use]
pub fn set_basics(ifindex: u32, mac: [u8; 6], mtu: u32, group: u32) -> Request {
    let link = LinkUnspec::new_with_index(ifindex);
    set(link.address(mac.to_vec()).mtu(mtu).link_group(group))
}

/// Deletes one link.
#[must_use]
pub fn delete(ifindex: u32) -> Request {
    Request::change(RouteNetlinkMessage::DelLink(LinkUnspec::new_with_index(ifindex).build()))
}

/// Moves the link to a group.
#[must_use]
pub fn set_group(ifindex: u32, group: u32) -> Request {
    set(LinkUnspec::new_with_index(ifindex).link_group(group))
}

/// Deletes every link of a group, all in one go: one by one each would wait for
/// the kernel's RCU.
#[must_use]
pub fn delete_group(group: u32) -> Request {
    let message = LinkMessageBuilder::<LinkUnspec>::new().link_group(group).build();
    Request::change(RouteNetlinkMessage::DelLink(message))
}

/// The links of the socket's namespace.
pub fn list(netlink: &mut Netlink) -> Result<Vec<Link>, NetlinkError> {
    let mut query = LinkMessage::default();
    query.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let dump = netlink.dump(&RouteNetlinkMessage::GetLink(query))?;
    Ok(dump.into_iter().filter_map(parse).collect())
}

fn set(builder: LinkMessageBuilder<LinkUnspec>) -> Request {
    Request::change(RouteNetlinkMessage::SetLink(builder.build()))
}

fn parse(message: RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else {
        return None;
    };
    let mut link = Link {
        ifindex: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        ..Link::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.alias = alias,
            LinkAttribute::Address(mac) => link.mac = mac,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Controller(controller) => link.controller = controller,
            LinkAttribute::Group(group) => link.group = group,
            LinkAttribute::PropList(properties) => {
                for property in properties {
                    if let Prop::AltIfName(name) = property {
                        link.altnames.push(name);
                    }
                }
            }
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => link.kind = kind.to_string(),
                        LinkInfo::PortData(InfoPortData::BridgePort(options)) => {
                            link.multicast_flood =
                                options.contains(&InfoBridgePort::MulticastFlood(true));
                        }
                        _ => {}
                    }
                }
            }
            LinkAttribute::Xdp(infos) => {
                for info in infos {
                    if let LinkXdp::ProgId(program) = info {
                        link.xdp_program = program;
                    }
                }
            }
            _ => {}
        }
    }
    Some(link)
}
