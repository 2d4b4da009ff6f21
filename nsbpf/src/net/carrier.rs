//! Carrier: having the kernel act at once on a link that came up.
//!
//! When an end of a veth pair gets its carrier, the kernel notes that and acts on
//! it later: the operational state changes, the bridge begins to forward to the
//! port, IPv6 makes its address and tells its multicast groups. "Later" is at
//! most 100 links a second, with exceptions that do not hold for many at once
//! (`__linkwatch_run_queue` and `linkwatch_urgent_event`, Linux 6.18), so that
//! the last of 1,000 links would follow after ten seconds. Who asks for a single
//! link has it done before the answer (`rtnl_getlink`, since Linux 6.8; earlier
//! kernels answer only).

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};

use super::socket::{Netlink, NetlinkError, Request};

/// Links asked for in one batch: besides its acknowledgement each has an answer
/// of up to 4 KiB, and all have to fit the socket's receive buffer.
const AT_ONCE: usize = 16;

/// Has the kernel act on what it noted of the links' carriers.
pub fn settle(netlink: &mut Netlink, links: &[u32]) -> Result<(), NetlinkError> {
    for some in links.chunks(AT_ONCE) {
        let requests = some.iter().map(|ifindex| ask(*ifindex)).collect();
        netlink.batch(requests).map_err(|failure| failure.error)?;
    }
    Ok(())
}

fn ask(ifindex: u32) -> Request {
    let mut query = LinkMessage::default();
    query.header.index = ifindex;
    query.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    Request::change(RouteNetlinkMessage::GetLink(query))
}
