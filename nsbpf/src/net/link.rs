//! Links: bridges and veth pairs.

use std::os::fd::{AsFd, AsRawFd};

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoBridgePort,
    InfoData, InfoKind, InfoPortData, InfoVeth, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo,
    LinkMessage, LinkXdp, Prop,
};
use rtnetlink::{LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::netns::NetNs;
use super::socket::{Netlink, NetlinkError, Request};
use crate::state::BridgeOptions;

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
    /// Interface index of the other end of a veth pair; 0 for other links.
    pub peer: u32,
    /// Queues for sending.
    pub queues: u32,
    /// Whether its bridge floods multicast out of it; `false` for no bridge's port.
    pub multicast_flood: bool,
    /// Whether its bridge lets it reach only ports that are not isolated.
    pub isolated: bool,
    /// How it switches, for a bridge.
    pub bridge: BridgeOptions,
    /// Id of the XDP program on it; 0 when there is none.
    pub xdp_program: u32,
}

/// `before` says how the bridge is now: a kernel without VLAN filtering refuses to
/// be told about it at all.
fn switching(
    before: BridgeOptions,
    options: BridgeOptions,
    builder: LinkMessageBuilder<LinkBridge>,
) -> LinkMessageBuilder<LinkBridge> {
    let BridgeOptions { stp, forward_delay, vlan_filtering } = options;
    let stp = if stp { BridgeStpState::KernelStp } else { BridgeStpState::Disabled };
    let builder = builder.forward_delay(forward_delay).stp_state(stp);
    if vlan_filtering == before.vlan_filtering {
        return builder;
    }
    builder.vlan_filtering(vlan_filtering)
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
pub fn create_bridge(birth: &Birth<'_>, options: BridgeOptions) -> Request {
    let builder = birth.apply(LinkMessageBuilder::<LinkBridge>::new(birth.name));
    Request::create(RouteNetlinkMessage::NewLink(
        switching(BridgeOptions::default(), options, builder).build(),
    ))
}

/// Sets how a bridge switches.
#[must_use]
pub fn set_bridge_options(ifindex: u32, before: BridgeOptions, options: BridgeOptions) -> Request {
    let builder = LinkMessageBuilder::<LinkBridge>::new_with_info_kind(InfoKind::Bridge);
    // RTM_SETLINK takes no options of a kind (`rtnl_setlink`, Linux 6.18).
    let message = switching(before, options, builder.index(ifindex)).build();
    Request::change(RouteNetlinkMessage::NewLink(message))
}

/// Where the far end of a veth pair is born.
#[derive(Clone, Copy, Debug)]
pub enum FarEnd<'a> {
    /// In the socket's namespace, as a port of that controller: an interface
    /// index.
    Port(u32),
    /// In that namespace.
    In(&'a NetNs),
}

/// Creates a veth pair, each end in its place and with as many queues of each kind, both
/// of them down. How many there can be is fixed then. (Moving an end
/// afterwards would wait for the kernel's RCU, some 16 ms a move.)
///
/// The namespaces must stay open until the request was sent.
#[must_use]
pub fn create_veth(
    far: &Birth<'_>,
    place: FarEnd<'_>,
    near: &Birth<'_>,
    namespace: &NetNs,
    queues: u32,
) -> Request {
    let sending = LinkAttribute::NumTxQueues(queues);
    let receiving = LinkAttribute::NumRxQueues(queues);
    let near = near
        .apply(LinkMessageBuilder::<LinkUnspec>::new())
        .append_extra_attribute(sending.clone())
        .append_extra_attribute(receiving.clone())
        .setns_by_fd(namespace.as_fd().as_raw_fd())
        .build();
    let builder = far.apply(LinkMessageBuilder::<LinkVeth>::new(far.name, ""));
    let builder = match place {
        FarEnd::Port(controller) => builder.controller(controller),
        FarEnd::In(namespace) => builder.setns_by_fd(namespace.as_fd().as_raw_fd()),
    };
    let builder = builder
        .append_extra_attribute(sending)
        .append_extra_attribute(receiving)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(near)));
    Request::create(RouteNetlinkMessage::NewLink(builder.build()))
}

/// Sets the alias.
#[must_use]
pub fn set_alias(ifindex: u32, alias: &str) -> Request {
    set(LinkUnspec::new_with_index(ifindex).alias(alias))
}

/// Sets the alias, and has the kernel give the link no IPv6 address of its own:
/// for ends that only switch. Refused of a link that is too narrow for IPv6
/// (`inet6_validate_link_af`, Linux 6.18).
#[must_use]
pub fn set_alias_and_no_ipv6(ifindex: u32, alias: &str) -> Request {
    let no_address = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    set(LinkUnspec::new_with_index(ifindex)
        .alias(alias)
        .append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![no_address])))
}

/// Has the bridge let a port reach only ports that are not isolated, or all.
#[must_use]
pub fn set_isolated(ifindex: u32, isolated: bool) -> Request {
    let port = LinkBridgePort::new(ifindex).isolated(isolated);
    Request::change(RouteNetlinkMessage::NewLink(port.build()))
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

/// Whether a link is up, as far as an administrator says.
pub fn is_up(netlink: &mut Netlink, ifindex: u32) -> Result<bool, NetlinkError> {
    let mut query = LinkMessage::default();
    query.header.index = ifindex;
    query.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    let answer = netlink.get(RouteNetlinkMessage::GetLink(query))?;
    parse(answer).map(|link| link.up).ok_or(NetlinkError::Unexpected("link"))
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
            LinkAttribute::NumTxQueues(queues) => link.queues = queues,
            LinkAttribute::Link(peer) => link.peer = peer,
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
                            let has = |option| options.contains(&option);
                            link.multicast_flood = has(InfoBridgePort::MulticastFlood(true));
                            link.isolated = has(InfoBridgePort::Isolated(true));
                        }
                        LinkInfo::Data(InfoData::Bridge(options)) => {
                            for option in options {
                                match option {
                                    InfoBridge::StpState(state) => {
                                        link.bridge.stp = state != BridgeStpState::Disabled;
                                    }
                                    InfoBridge::ForwardDelay(delay) => {
                                        link.bridge.forward_delay = delay;
                                    }
                                    InfoBridge::VlanFiltering(on) => {
                                        link.bridge.vlan_filtering = on;
                                    }
                                    _ => {}
                                }
                            }
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
