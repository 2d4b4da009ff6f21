//! Packets that links have seen, by the kernel's own count.

use std::collections::HashSet;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::stats::{StatsAttribute, StatsFilterMask, StatsMessage};

use super::socket::{Netlink, NetlinkError};

/// Packets that came in by any of the links.
pub fn received(netlink: &mut Netlink, links: &[u32]) -> Result<u64, NetlinkError> {
    let links: HashSet<u32> = links.iter().copied().collect();
    let mut query = StatsMessage::default();
    query.header.filter_mask = StatsFilterMask::Link64;
    let dump = netlink.dump(&RouteNetlinkMessage::GetStats(query))?;
    let packets = dump.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewStats(link) if links.contains(&link.header.ifindex) => {
            link.attributes.iter().find_map(|attribute| match attribute {
                StatsAttribute::Link64(stats) => Some(stats.rx_packets),
                _ => None,
            })
        }
        _ => None,
    });
    Ok(packets.sum())
}
