//! VLANs of ports.

use std::collections::BTreeMap;

use super::requests::Requests;
use super::{Executor, failed};
use crate::apply::ApplyError;
use crate::lab::LinkId;
use crate::net::vlan::{self, Member};
use crate::plan::Step;
use crate::state::{PortVlans, Tagging};

impl Executor<'_> {
    /// Puts a port into its VLANs, and out of all others: whichever it is in now,
    /// which its bridge may just have changed.
    pub(super) fn set_vlans(&mut self, step: &Step, to: &PortVlans) -> Result<(), ApplyError> {
        let PortVlans { of, bridge: _, device, vlans } = to;
        let ifindex = self.slot(step)?.ifindex(device.number);
        let socket = self.sockets.get(step, &device.place)?;
        let mut found = vlan::list(socket).map_err(|error| failed(step, error))?;
        let found: BTreeMap<u16, Tagging> = found.remove(&ifindex).unwrap_or_default();
        let member = match of {
            LinkId::Bridge(_) => Member::Bridge,
            LinkId::Interface(_) => Member::Port,
        };
        let mut requests = Requests::default();
        for (vlan, tagging) in vlans {
            if found.get(vlan) != Some(tagging) {
                requests.push(step, &device.place, vlan::add(ifindex, member, *vlan, *tagging));
            }
        }
        for vlan in found.keys().filter(|vlan| !vlans.contains_key(vlan)) {
            requests.push(step, &device.place, vlan::remove(ifindex, member, *vlan));
        }
        requests.send(&mut self.sockets)
    }

    /// Leaves a port as the kernel makes one.
    pub(super) fn reset_vlans(&mut self, step: &Step, from: &PortVlans) -> Result<(), ApplyError> {
        let whole = Tagging { pvid: true, untagged: true };
        let vlans = [(vlan::DEFAULT, whole)].into();
        self.set_vlans(step, &PortVlans { vlans, ..from.clone() })
    }
}
