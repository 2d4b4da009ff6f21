//! Bridges and veth pairs: made, changed and deleted, many at a time.

use std::collections::HashSet;

use nsbpf_common::port::Slot;

use super::requests::Requests;
use super::{Executor, failed, gone_is_fine, impossible};
use crate::apply::ApplyError;
use crate::apply::alias::{Identity, alias};
use crate::net::NetlinkError;
use crate::net::link::{self, Birth};
use crate::plan::Step;
use crate::state::{Bridge, End, Object, Veth};

impl Executor<'_> {
    pub(super) fn add_bridge(&mut self, step: &Step, bridge: &Bridge) -> Result<(), ApplyError> {
        let slot = self.slot(step)?;
        let Bridge { name, number, end, up: _ } = bridge;
        let ifindex = slot.ifindex(*number);
        let identity = alias(self.store.lab(), &Identity::Bridge(name.clone()));
        let mut create = Requests::default();
        create.push(step, link::create_bridge(&birth(end, slot, *number)));
        create.send(&mut self.host)?;
        let mut finish = Requests::default();
        finish.push(step, link::set_alias_and_no_ipv6(ifindex, &identity));
        finish.push(step, link::set_up(ifindex));
        finish.send(&mut self.host)?;
        self.bridges.insert(name.clone(), *number);
        Ok(())
    }

    pub(super) fn add_veths(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        // Two rounds: the kernel goes on after a refusal, and what follows a
        // refused creation would hit whoever has that index.
        let mut create = Requests::default();
        let mut finish = Requests::default();
        for step in steps {
            let Step::Add(Object::Veth(veth)) = step else {
                continue;
            };
            let slot = self.slot(step)?;
            let Veth { id, number, host, inner, bridge: _, up: _ } = veth;
            let inner = inner.as_ref().ok_or_else(|| impossible(step, "it has one end only"))?;
            let controller = self.controller(step, veth)?;
            let opened = self
                .namespaces
                .get(&id.namespace)
                .ok_or_else(|| impossible(step, "its namespace is not there"))?;
            let host = birth(host, slot, *number);
            let inner = birth(inner, slot, *number);
            let ifindex = slot.ifindex(*number);
            let identity = alias(self.store.lab(), &Identity::Interface(id.clone()));
            create.push(step, link::create_veth(&host, controller, &inner, &opened.netns));
            finish.push(step, link::set_alias_and_no_ipv6(ifindex, &identity));
            finish.push(step, link::set_multicast_flood(ifindex, false));
            finish.push(step, link::set_up(ifindex));
        }
        create.send(&mut self.host)?;
        finish.send(&mut self.host)
    }

    pub(super) fn change_veth(&mut self, step: &Step, veth: &Veth) -> Result<(), ApplyError> {
        let slot = self.slot(step)?;
        let ifindex = slot.ifindex(veth.number);
        let controller = self.controller(step, veth)?;
        let mut requests = Requests::default();
        let End { name: _, mac, mtu, group } = &veth.host;
        requests.push(step, link::set_basics(ifindex, *mac, *mtu, *group));
        requests.push(step, link::set_controller(ifindex, controller));
        requests.push(step, link::set_up(ifindex));
        requests.send(&mut self.host)?;
        match &veth.inner {
            Some(End { name: _, mac, mtu, group }) => {
                let request = link::set_basics(ifindex, *mac, *mtu, *group);
                self.inside(step, &veth.id.namespace, request)
            }
            None => Ok(()),
        }
    }

    /// Interface index of the bridge that an interface is on.
    fn controller(&self, step: &Step, veth: &Veth) -> Result<u32, ApplyError> {
        let slot = self.slot(step)?;
        let number = veth.bridge.as_ref().map(|bridge| self.bridges.get(bridge));
        match number {
            Some(Some(number)) => Ok(slot.ifindex(*number)),
            Some(None) => Err(impossible(step, "its bridge is not there")),
            // No controller at all.
            None => Ok(0),
        }
    }

    /// Deletes links together: they are moved to a group first, which is cheap,
    /// and the group is deleted at once. What is gone already is no error.
    pub(super) fn remove_links(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let mut doomed = Vec::new();
        for step in steps {
            match step {
                Step::Remove(Object::Veth(veth)) => {
                    doomed.push((step, self.slot(step)?.ifindex(veth.number)));
                }
                Step::Remove(Object::Bridge(bridge)) => {
                    doomed.push((step, self.slot(step)?.ifindex(bridge.number)));
                }
                // Of a slot that is not this lab's, maybe.
                Step::Remove(Object::Stray(stray)) => {
                    gone_is_fine(step, self.host.request(link::delete(stray.ifindex)))?;
                }
                _ => {}
            }
        }
        let Some((first, _)) = doomed.first() else { return Ok(()) };
        let group = self.slot(first)?.doomed_group();
        if self.has_others(group, &doomed).map_err(|error| failed(first, error))? {
            for (step, ifindex) in &doomed {
                gone_is_fine(step, self.host.request(link::delete(*ifindex)))?;
            }
            return Ok(());
        }
        let mut requests = Requests::default();
        for (step, ifindex) in &doomed {
            requests.push(step, link::set_group(*ifindex, group));
        }
        // The kernel goes on after one that is gone.
        match requests.send(&mut self.host) {
            Err(error) if !error.is_gone() => return Err(error),
            _ => {}
        }
        gone_is_fine(first, self.host.request(link::delete_group(group)))
    }

    /// Whether a group has links that are not to be deleted. Anybody can put a
    /// link into any group, and a run that was killed may have left some.
    fn has_others(&mut self, group: u32, doomed: &[(&Step, u32)]) -> Result<bool, NetlinkError> {
        let doomed: HashSet<u32> = doomed.iter().map(|(_, ifindex)| *ifindex).collect();
        let links = link::list(&mut self.host)?;
        Ok(links.iter().any(|link| link.group == group && !doomed.contains(&link.ifindex)))
    }
}

fn birth(end: &End, slot: Slot, number: u16) -> Birth<'_> {
    Birth {
        name: &end.name,
        ifindex: slot.ifindex(number),
        mac: end.mac,
        mtu: end.mtu,
        group: end.group,
    }
}
