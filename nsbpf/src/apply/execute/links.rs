//! Bridges and veth pairs: made, changed and deleted, many at a time.

use std::collections::{BTreeMap, HashSet};

use nsbpf_common::port::Slot;
use rustix::io::Errno;

use super::requests::Requests;
use super::{Executor, failed, gone_is_fine, impossible};
use crate::apply::alias::alias;
use crate::apply::{ApplyError, Cause};
use crate::datapath::DatapathError;
use crate::lab::{IPV6_MIN_MTU, InterfaceId, InterfaceName, LinkId};
use crate::net::NetlinkError;
use crate::net::link::{self, Birth, FarEnd};
use crate::net::socket::Request;
use crate::net::sysctl;
use crate::plan::Step;
use crate::state::{Bridge, BridgeOptions, Device, End, Far, HookPoint, Key, Object, Place, Veth};

impl Executor<'_> {
    pub(super) fn add_bridge(&mut self, step: &Step, bridge: &Bridge) -> Result<(), ApplyError> {
        let slot = self.slot(step)?;
        let Bridge { name, place, number, end, up: _, options, netfilter: _ } = bridge;
        let ifindex = slot.ifindex(*number);
        let identity = alias(self.store.lab(), &LinkId::Bridge(name.clone()));
        let mut create = Requests::default();
        let birth = birth(end, slot, *number);
        create.push(step, place, link::create_bridge(&birth, *options));
        create.send(&mut self.sockets).map_err(|error| no_vlans(step, *options, error))?;
        self.netfilter_off(step, place)?;
        let mut finish = Requests::default();
        finish.push(step, place, quiet_alias(ifindex, &identity, end));
        finish.push(step, place, link::set_up(ifindex));
        finish.send(&mut self.sockets)?;
        self.bridges.insert(name.clone(), *number);
        Ok(())
    }

    pub(super) fn change_bridge(
        &mut self,
        step: &Step,
        from: &Bridge,
        bridge: &Bridge,
    ) -> Result<(), ApplyError> {
        let slot = self.slot(step)?;
        let Bridge { name: _, place, number, end, up: _, options, netfilter: _ } = bridge;
        let ifindex = slot.ifindex(*number);
        self.netfilter_off(step, place)?;
        let mut requests = Requests::default();
        requests.push(step, place, link::set_basics(ifindex, end.mac, end.mtu, end.group));
        let before = from.options;
        let request = link::set_bridge_options(ifindex, before, *options);
        requests.push(step, place, request);
        requests.push(step, place, link::set_up(ifindex));
        requests.send(&mut self.sockets).map_err(|error| no_vlans(step, *options, error))
    }

    /// In a namespace of the lab's own there is no firewall that a bridge's packets
    /// would have to pass.
    fn netfilter_off(&self, step: &Step, place: &Place) -> Result<(), ApplyError> {
        let Place::Netns(name) = place else { return Ok(()) };
        match self.sockets.namespaces.get(name) {
            Some(opened) if !opened.adopted => opened
                .netns
                .run(sysctl::no_bridge_netfilter)
                .and_then(|done| done)
                .map_err(|error| failed(step, error)),
            _ => Ok(()),
        }
    }

    pub(super) fn add_veths(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        // Two rounds: the kernel goes on after a refusal, and what follows a
        // refused creation would hit whoever has that index.
        let mut create = Requests::default();
        let mut finish = Requests::default();
        let places: Vec<Option<[Device; 2]>> = steps
            .iter()
            .map(|step| match step {
                Step::Add(Object::Veth(veth)) => {
                    Some([veth.device_of(&veth.id), veth.device_behind(&veth.id)])
                }
                _ => None,
            })
            .collect();
        for (step, places) in steps.iter().zip(&places) {
            let (Step::Add(Object::Veth(veth)), Some([near, far])) = (step, places) else {
                continue;
            };
            let slot = self.slot(step)?;
            for (InterfaceId { namespace, interface }, _) in veth.ports() {
                let forgotten = self.store.forget_former_features(namespace, interface);
                forgotten.map_err(|error| failed(step, error))?;
            }
            let end = veth.near.as_ref().ok_or_else(|| impossible(step, "it has one end only"))?;
            let namespace = self.sockets.netns(step, &veth.id.namespace)?;
            let born = birth(end, slot, near.number);
            let lab = self.store.lab();
            let near_alias = alias(lab, &LinkId::Interface(veth.id.clone()));
            let ifindex = slot.ifindex(far.number);
            match &veth.far {
                Far::Port(port) => {
                    let controller = self.controller(step, port.bridge.as_ref())?;
                    let end = birth(&port.end, slot, far.number);
                    let place = FarEnd::Port(controller);
                    create.push(
                        step,
                        &far.place,
                        link::create_veth(&end, place, &born, namespace, veth.queues),
                    );
                    let request = quiet_alias(ifindex, &near_alias, &port.end);
                    finish.push(step, &far.place, request);
                    finish.push(step, &far.place, link::set_multicast_flood(ifindex, false));
                    if port.isolated {
                        finish.push(step, &far.place, link::set_isolated(ifindex, true));
                    }
                    finish.push(step, &far.place, link::set_up(ifindex));
                }
                Far::Peer(peer) => {
                    let end = birth(&peer.end, slot, far.number);
                    let place = FarEnd::In(self.sockets.netns(step, &peer.id.namespace)?);
                    // Both namespaces are in the message: one socket will do, and one
                    // system call for many pairs.
                    let request = link::create_veth(&end, place, &born, namespace, veth.queues);
                    create.push(step, &Place::Host, request);
                    let far_alias = alias(lab, &LinkId::Interface(peer.id.clone()));
                    finish.push(step, &far.place, link::set_alias(ifindex, &far_alias));
                    let ifindex = slot.ifindex(near.number);
                    finish.push(step, &near.place, link::set_alias(ifindex, &near_alias));
                }
            }
        }
        create.send(&mut self.sockets)?;
        finish.send(&mut self.sockets)
    }

    pub(super) fn change_veth(&mut self, step: &Step, veth: &Veth) -> Result<(), ApplyError> {
        let slot = self.slot(step)?;
        let [near, far] = [veth.device_of(&veth.id), veth.device_behind(&veth.id)];
        let basics = |device: &Device, end: &End| {
            link::set_basics(slot.ifindex(device.number), end.mac, end.mtu, end.group)
        };
        let ifindex = slot.ifindex(far.number);
        let mut requests = Requests::default();
        match &veth.far {
            Far::Port(port) => {
                let controller = self.controller(step, port.bridge.as_ref())?;
                requests.push(step, &far.place, basics(&far, &port.end));
                requests.push(step, &far.place, link::set_controller(ifindex, controller));
                if port.bridge.is_some() {
                    let request = link::set_isolated(ifindex, port.isolated);
                    requests.push(step, &far.place, request);
                }
                requests.push(step, &far.place, link::set_up(ifindex));
            }
            Far::Peer(peer) => requests.push(step, &far.place, basics(&far, &peer.end)),
        }
        if let Some(end) = &veth.near {
            requests.push(step, &near.place, basics(&near, end));
        }
        requests.send(&mut self.sockets).map_err(|error| self.too_wide(step, veth, error))
    }

    /// Says what the kernel means when it refuses a larger MTU to the peer of a device that
    /// XDP is at (`veth_xdp_set`, Linux 6.18).
    fn too_wide(&self, step: &Step, veth: &Veth, error: ApplyError) -> ApplyError {
        let hook = |(id, _): (&InterfaceId, u16)| Key::Hook(id.clone(), HookPoint::Xdp);
        let with_xdp = veth.ports().any(|port| self.state.objects.contains_key(&hook(port)));
        if with_xdp && error.errno() == Some(Errno::INVAL) {
            return failed(step, DatapathError::XdpMtu);
        }
        error
    }

    /// Interface index of a bridge; 0 for none.
    fn controller(&self, step: &Step, bridge: Option<&InterfaceName>) -> Result<u32, ApplyError> {
        let Some(bridge) = bridge else { return Ok(0) };
        match self.bridges.get(bridge) {
            Some(number) => Ok(self.slot(step)?.ifindex(*number)),
            None => Err(impossible(step, "its bridge is not there")),
        }
    }

    /// Deletes links. What is gone already is no error.
    pub(super) fn remove_links(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let mut doomed: BTreeMap<Place, Vec<(&Step, u32)>> = BTreeMap::new();
        for step in steps {
            let device = match step {
                Step::Remove(Object::Veth(veth)) => veth.device_behind(&veth.id),
                Step::Remove(Object::Bridge(bridge)) => bridge.device(),
                // Of a slot that is not this lab's, maybe.
                Step::Remove(Object::Stray(stray)) => {
                    let socket = self.sockets.get(step, &stray.place)?;
                    gone_is_fine(step, socket.request(link::delete(stray.ifindex)))?;
                    continue;
                }
                _ => continue,
            };
            let ifindex = self.slot(step)?.ifindex(device.number);
            doomed.entry(device.place).or_default().push((step, ifindex));
        }
        doomed.iter().try_for_each(|(place, doomed)| self.remove_together(place, doomed))
    }

    /// Deletes links of one namespace together: they are moved to a group first,
    /// which is cheap, and the group is deleted at once.
    fn remove_together(
        &mut self,
        place: &Place,
        doomed: &[(&Step, u32)],
    ) -> Result<(), ApplyError> {
        let Some((first, _)) = doomed.first() else { return Ok(()) };
        let group = self.slot(first)?.doomed_group();
        if doomed.len() == 1 || self.has_others(first, place, group, doomed)? {
            for (step, ifindex) in doomed {
                let socket = self.sockets.get(step, place)?;
                gone_is_fine(step, socket.request(link::delete(*ifindex)))?;
            }
            return Ok(());
        }
        let mut requests = Requests::default();
        for (step, ifindex) in doomed {
            requests.push(step, place, link::set_group(*ifindex, group));
        }
        // The kernel goes on after one that is gone.
        match requests.send(&mut self.sockets) {
            Err(error) if !error.is_gone() => return Err(error),
            _ => {}
        }
        let socket = self.sockets.get(first, place)?;
        gone_is_fine(first, socket.request(link::delete_group(group)))
    }

    /// Whether a group has links that are not to be deleted. Anybody can put a
    /// link into any group, and a run that was killed may have left some.
    fn has_others(
        &mut self,
        step: &Step,
        place: &Place,
        group: u32,
        doomed: &[(&Step, u32)],
    ) -> Result<bool, ApplyError> {
        let doomed: HashSet<u32> = doomed.iter().map(|(_, ifindex)| *ifindex).collect();
        let links = link::list(self.sockets.get(step, place)?);
        let links = links.map_err(|error: NetlinkError| failed(step, error))?;
        Ok(links.iter().any(|link| link.group == group && !doomed.contains(&link.ifindex)))
    }
}

/// Says what the kernel means when it refuses a bridge that looks at VLANs.
fn no_vlans(step: &Step, options: BridgeOptions, error: ApplyError) -> ApplyError {
    if options.vlan_filtering && error.lacks_kernel_feature() {
        return failed(step, Cause::NoVlanFiltering);
    }
    error
}

/// Names a link that only switches, and has no IPv6 addresses of its own.
fn quiet_alias(ifindex: u32, alias: &str, end: &End) -> Request {
    if end.mtu < IPV6_MIN_MTU {
        return link::set_alias(ifindex, alias);
    }
    link::set_alias_and_no_ipv6(ifindex, alias)
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
