//! Subnets that the host has elsewhere: it would not know which of two is meant.

use std::collections::HashSet;

use ipnet::IpNet;

use super::links::Seen;
use crate::apply::Cause;
use crate::net::{Netlink, address};
use crate::state::State;

pub(super) fn look(host: &mut Netlink, seen: &[Seen], state: &mut State) -> Result<(), Cause> {
    let ours: HashSet<u32> = seen.iter().map(Seen::ifindex).collect();
    for address::Address { ifindex, address, .. } in address::list(host)? {
        if !ours.contains(&ifindex) && !is_everywhere(&address) {
            state.foreign_subnets.insert(address.trunc());
        }
    }
    Ok(())
}

/// What every link has, or what no route to a subnet follows from.
fn is_everywhere(address: &IpNet) -> bool {
    let link_local = match address {
        IpNet::V4(net) => net.addr().is_link_local(),
        IpNet::V6(net) => net.addr().is_unicast_link_local(),
    };
    link_local || address.addr().is_loopback() || address.prefix_len() == address.max_prefix_len()
}
