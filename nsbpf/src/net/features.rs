//! What the kernel can do about links: tried, not guessed from its version.
//!
//! Call these inside a namespace that goes away ([`scratch`](super::NetNs::scratch)), in the
//! order in which they need each other.

use std::io;
use std::os::fd::BorrowedFd;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkMessage};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};
use rustix::io::Errno;

use super::filter::{self, TcHook};
use super::link;
use super::socket::{Netlink, NetlinkError, Request};
use super::sysctl;

/// Interface index of the end of the veth pair that things are tried on.
pub const VETH: u32 = 2;
const PEER: u32 = 3;
const BRIDGE: u32 = 4;

/// Makes a veth pair and brings it up.
pub fn make_veth(netlink: &mut Netlink) -> Result<(), NetlinkError> {
    let peer = LinkMessageBuilder::<LinkUnspec>::new().name("probe1").index(PEER).build();
    let pair = LinkMessageBuilder::<LinkVeth>::new("probe0", "")
        .index(VETH)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .build();
    netlink.request(Request::create(RouteNetlinkMessage::NewLink(pair)))?;
    netlink.request(link::set_up(PEER))?;
    netlink.request(link::set_up(VETH))
}

/// Makes a bridge. `Ok` says whether it can tell VLANs apart: a kernel without
/// that refuses the option or takes it and forgets it (`br_changelink`, by
/// version).
pub fn make_bridge(netlink: &mut Netlink) -> Result<bool, NetlinkError> {
    let bridge = || LinkMessageBuilder::<LinkBridge>::new("probe2").index(BRIDGE);
    let mut make = |bridge: LinkMessage| {
        netlink.request(Request::create(RouteNetlinkMessage::NewLink(bridge)))
    };
    match make(bridge().vlan_filtering(true).build()) {
        Err(NetlinkError::Refused { errno: Errno::OPNOTSUPP, .. }) => {
            return make(bridge().build()).map(|()| false);
        }
        outcome => outcome?,
    }
    Ok(link::list(netlink)?.iter().any(|link| link.bridge.vlan_filtering))
}

/// Gives the veth pair tc hooks.
pub fn add_clsact(netlink: &mut Netlink) -> Result<(), NetlinkError> {
    netlink.request(filter::add_clsact(VETH))
}

/// Whether tc hooks take programs, by what the kernel says to one that is none: it
/// looks for the kind of filter first (`tcf_proto_create` and `cls_bpf_prog_from_efd`,
/// Linux 6.18). On the loopback interface, which every namespace has.
pub fn clsact(netlink: &mut Netlink) -> Result<(), NetlinkError> {
    netlink.request(filter::add_clsact(link::LOOPBACK))?;
    match netlink.request(filter::attach_nothing(link::LOOPBACK)) {
        Err(error) if error.errno() == Some(Errno::BADF) => Ok(()),
        answer => answer,
    }
}

/// Attaches a program to one of them.
pub fn attach(netlink: &mut Netlink, program: BorrowedFd<'_>) -> Result<(), NetlinkError> {
    netlink.request(filter::attach(VETH, TcHook::Ingress, program, "probe"))
}

/// Whether new namespaces have IPv6, as the calling thread's shows it; `None`
/// when the kernel has none at all.
pub fn ipv6() -> io::Result<Option<bool>> {
    let disabled = sysctl::read("net/ipv6/conf/default/disable_ipv6")?;
    Ok(disabled.map(|disabled| disabled == "0"))
}
