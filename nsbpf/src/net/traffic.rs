//! Packets that links have seen, by the kernel's own count.

use std::collections::HashSet;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::Stats64;
use rtnetlink::packet_route::stats::{StatsAttribute, StatsFilterMask, StatsMessage};

use super::socket::{Netlink, NetlinkError};

/// Packets that came in by any of the links.
pub fn received(netlink: &mut Netlink, links: &[u32]) -> Result<u64, NetlinkError> {
    let links: HashSet<u32> = links.iter().copied().collect();
    let counters = counters(netlink)?;
    let wanted = counters.iter().filter(|(ifindex, _)| links.contains(ifindex));
    Ok(wanted.map(|(_, counters)| counters.rx_packets).sum())
}

/// Bytes and packets that came in by a link.
pub fn received_by(netlink: &mut Netlink, link: u32) -> Result<(u64, u64), NetlinkError> {
    let counters = counters(netlink)?;
    let found = counters.iter().find(|(ifindex, _)| *ifindex == link);
    Ok(found.map(|(_, counters)| (counters.rx_bytes, counters.rx_packets)).unwrap_or_default())
}

/// What a link did not take, or not pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLosses {
    /// The link's index.
    pub ifindex: u32,
    rx_dropped: u64,
    tx_dropped: u64,
    rx_errors: u64,
    tx_errors: u64,
}

impl LinkLosses {
    /// Its counters, by the kernel's names.
    #[must_use]
    pub fn counters(&self) -> [(&'static str, u64); 4] {
        let Self { ifindex: _, rx_dropped, tx_dropped, rx_errors, tx_errors } = *self;
        [
            ("rx_dropped", rx_dropped),
            ("tx_dropped", tx_dropped),
            ("rx_errors", rx_errors),
            ("tx_errors", tx_errors),
        ]
    }
}

/// What the links of a namespace lost.
///
/// # Errors
/// The kernel did not tell.
pub fn losses(netlink: &mut Netlink) -> Result<Vec<LinkLosses>, NetlinkError> {
    let losses = |(ifindex, counters): (u32, Stats64)| LinkLosses {
        ifindex,
        rx_dropped: counters.rx_dropped,
        tx_dropped: counters.tx_dropped,
        rx_errors: counters.rx_errors,
        tx_errors: counters.tx_errors,
    };
    Ok(counters(netlink)?.into_iter().map(losses).collect())
}

/// All counters of all links.
fn counters(netlink: &mut Netlink) -> Result<Vec<(u32, Stats64)>, NetlinkError> {
    let mut query = StatsMessage::default();
    query.header.filter_mask = StatsFilterMask::Link64;
    let dump = netlink.dump(&RouteNetlinkMessage::GetStats(query))?;
    let counters = dump.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewStats(link) => {
            let counters = link.attributes.iter().find_map(|attribute| match attribute {
                StatsAttribute::Link64(stats) => Some(*stats),
                _ => None,
            });
            Some((link.header.ifindex, counters?))
        }
        _ => None,
    });
    Ok(counters.collect())
}
