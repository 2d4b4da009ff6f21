//! VLANs of bridge ports.

use std::collections::{BTreeMap, HashMap};

use rtnetlink::packet_route::link::{
    AfSpecBridge, BridgeFlag, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkExtentMask,
    LinkMessage,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use super::socket::{Netlink, NetlinkError, Request};
use crate::state::Tagging;

/// The VLAN that a new port is in, untagged (`br_vlan_init`, Linux 6.18).
pub const DEFAULT: u16 = 1;

/// What the VLANs are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    /// A port of a bridge.
    Port,
    /// A bridge itself, which is a port of its own then.
    Bridge,
}

/// Puts a port into a VLAN, or changes how it is in it.
#[must_use]
pub fn add(ifindex: u32, member: Member, vlan: u16, tagging: Tagging) -> Request {
    Request::change(RouteNetlinkMessage::SetLink(message(ifindex, member, vlan, tagging)))
}

/// Takes a port out of a VLAN.
#[must_use]
pub fn remove(ifindex: u32, member: Member, vlan: u16) -> Request {
    let message = message(ifindex, member, vlan, Tagging::default());
    Request::change(RouteNetlinkMessage::DelLink(message))
}

/// The VLANs of all ports and bridges of a namespace, by interface index.
pub fn list(netlink: &mut Netlink) -> Result<HashMap<u32, BTreeMap<u16, Tagging>>, NetlinkError> {
    let mut query = LinkMessage::default();
    query.header.interface_family = AddressFamily::Bridge;
    query.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::Brvlan]));
    let mut found: HashMap<u32, BTreeMap<u16, Tagging>> = HashMap::new();
    for message in netlink.dump(&RouteNetlinkMessage::GetLink(query))? {
        let RouteNetlinkMessage::NewLink(message) = message else { continue };
        let vlans = found.entry(message.header.index).or_default();
        for attribute in message.attributes {
            let LinkAttribute::AfSpecBridge(infos) = attribute else { continue };
            for info in infos {
                let AfSpecBridge::VlanInfo(info) = info else { continue };
                let tagging = Tagging {
                    pvid: info.flags.contains(BridgeVlanInfoFlags::Pvid),
                    untagged: info.flags.contains(BridgeVlanInfoFlags::Untagged),
                };
                vlans.insert(info.vid, tagging);
            }
        }
    }
    Ok(found)
}

fn message(ifindex: u32, member: Member, vlan: u16, tagging: Tagging) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.interface_family = AddressFamily::Bridge;
    message.header.index = ifindex;
    let mut flags = BridgeVlanInfoFlags::empty();
    flags.set(BridgeVlanInfoFlags::Pvid, tagging.pvid);
    flags.set(BridgeVlanInfoFlags::Untagged, tagging.untagged);
    let mut spec = Vec::new();
    if member == Member::Bridge {
        spec.push(AfSpecBridge::Flags(BridgeFlag::LowerDev));
    }
    spec.push(AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid: vlan }));
    message.attributes.push(LinkAttribute::AfSpecBridge(spec));
    message
}
