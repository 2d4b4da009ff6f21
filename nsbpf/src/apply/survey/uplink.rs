//! The way out of a lab: forwarding on the host, and a table that masquerades.

use super::insert;
use crate::apply::Cause;
use crate::lab::InterfaceName;
use crate::net::host_forwarding::{self, Families};
use crate::net::nftables::{self, Table};
use crate::state::{Object, State, Uplink};
use crate::store::Store;

/// Looks for an uplink only where forwarding is noted for the lab, which is done
/// first and undone last: to ask for tables may load kernel modules.
pub(super) fn look(store: &Store, state: &mut State) -> Result<(), Cause> {
    let Some(Families { ipv4, ipv6 }) = host_forwarding::enabled(store)? else { return Ok(()) };
    let ours = nftables::list()?.into_iter().find(|table| {
        let uplinks = table.uplinks.iter().map(|(bridge, nets)| (bridge.as_str(), nets.clone()));
        table.is(&Table::new(store.lab().as_str(), uplinks))
    });
    let bridges = ours
        .into_iter()
        .flat_map(|table| table.uplinks)
        .filter_map(|(bridge, subnets)| Some((InterfaceName::new(&bridge).ok()?, subnets)))
        .collect();
    insert(&mut state.objects, Object::Uplink(Uplink { bridges, ipv4, ipv6 }));
    Ok(())
}
