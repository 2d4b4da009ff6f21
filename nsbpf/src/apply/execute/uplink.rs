//! The way out of a lab: forwarding on the host, and a table that masquerades.

use super::{Executor, failed};
use crate::apply::ApplyError;
use crate::net::host_forwarding::{self, Families};
use crate::net::nftables::{self, Table, TableError};
use crate::plan::Step;
use crate::state::Uplink;

impl Executor<'_> {
    pub(super) fn set_uplink(&self, step: &Step, to: &Uplink) -> Result<(), ApplyError> {
        let Uplink { bridges, ipv4, ipv6 } = to;
        // First, and released last: where it is not noted, nobody looks for a table.
        host_forwarding::enable(self.store, Families { ipv4: *ipv4, ipv6: *ipv6 })
            .map_err(|error| failed(step, error))?;
        let uplinks = bridges.iter().map(|(name, nets)| (name.as_str(), nets.iter().copied()));
        let table = Table::new(self.store.lab().as_str(), uplinks);
        if table.uplinks.is_empty() { nftables::delete(&table.name) } else { nftables::set(&table) }
            .map_err(|error| failed(step, error))
    }

    pub(super) fn remove_uplink(&self, step: &Step, from: &Uplink) -> Result<(), ApplyError> {
        let bridges = from.bridges.keys().map(|name| (name.as_str(), []));
        let table = Table::new(self.store.lab().as_str(), bridges);
        match nftables::delete(&table.name) {
            // Somebody else's by now, with our name: it stays.
            Ok(()) | Err(TableError::Foreign { .. }) => {}
            Err(error) => return Err(failed(step, error)),
        }
        host_forwarding::release(self.store).map_err(|error| failed(step, error))
    }
}
