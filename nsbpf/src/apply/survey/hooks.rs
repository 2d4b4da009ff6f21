//! Programs: loaded, and at the hooks of the lab's devices.

use nsbpf_common::port::Slot;

use super::links::Known;
use super::{Survey, failed, insert};
use crate::apply::{ApplyError, Cause};
use crate::datapath::{self, Ports, ProgramIds};
use crate::net::Netlink;
use crate::net::filter::{self, TcHook};
use crate::state::{Hook, HookPoint, Object, Objects, Place};
use crate::store::Store;

pub(super) fn look(
    store: &Store,
    slot: Slot,
    devices: &[Known],
    host: &mut Netlink,
    survey: &mut Survey,
) -> Result<(), ApplyError> {
    let ids = match datapath::observe(store) {
        Some((datapath, ids)) => {
            let ports = Ports::open(store, &datapath).and_then(|ports| ports.all());
            for port in ports.map_err(failed("the ports of the datapath"))? {
                insert(&mut survey.state.objects, Object::Port(port));
            }
            insert(&mut survey.state.objects, Object::Datapath(datapath));
            ids
        }
        None => ProgramIds::default(),
    };
    for known in devices {
        let netlink = match &known.device.place {
            Place::Host => &mut *host,
            Place::Netns(name) => match survey.namespaces.get_mut(name) {
                Some(opened) => &mut opened.netlink,
                None => continue,
            },
        };
        one(store, slot, netlink, &ids, known, &mut survey.state.objects)
            .map_err(failed(&format!("the hooks of {}", known.of)))?;
    }
    Ok(())
}

fn one(
    store: &Store,
    slot: Slot,
    netlink: &mut Netlink,
    ids: &ProgramIds,
    known: &Known,
    objects: &mut Objects,
) -> Result<(), Cause> {
    let Known { device, counts_for: Some(id), xdp_program, .. } = known else { return Ok(()) };
    let ifindex = slot.ifindex(device.number);
    let mut found = |point, attached: Option<u32>, current: Option<u32>| {
        if attached.is_some() {
            let (id, device) = (id.clone(), device.clone());
            insert(objects, Object::Hook(Hook { id, device, point, current: attached == current }));
        }
    };
    let ingress = filter::attached(netlink, ifindex, TcHook::Ingress, datapath::TC_INGRESS)?;
    found(HookPoint::TcIngress, ingress, ids.tc_ingress);
    let egress = filter::attached(netlink, ifindex, TcHook::Egress, datapath::TC_EGRESS)?;
    found(HookPoint::TcEgress, egress, ids.tc_egress);
    // Another's XDP program is none of ours to tell of.
    if *xdp_program != 0 && datapath::has_xdp_link(store, device.number) {
        found(HookPoint::Xdp, Some(*xdp_program), ids.xdp);
    }
    Ok(())
}
