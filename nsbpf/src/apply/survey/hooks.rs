//! Programs: loaded, and at the hooks of the lab's devices.

use nsbpf_common::ABI_VERSION;
use nsbpf_common::port::Slot;

use super::links::Known;
use super::{Survey, failed, insert};
use crate::apply::{ApplyError, Cause};
use crate::datapath::{self, DatapathError, InForce, Ports, ProgramIds};
use crate::lab::LinkId;
use crate::net::filter::{self, TcHook};
use crate::net::{NetNs, Netlink};
use crate::state::{
    Attach, Datapath, Device, ForeignProgram, Hook, HookPoint, Object, Place, Policy, Port, State,
};
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
            let place = |number: u16| {
                let known = devices
                    .iter()
                    .find(|known| known.device.number == number && known.counts_for.is_some());
                known.map(|known| known.device.place.clone())
            };
            let ports = ports(store, &datapath, place);
            for port in ports.map_err(failed("the ports of the datapath"))? {
                insert(&mut survey.state.objects, Object::Port(port));
            }
            let policy = policy(store, &datapath).map_err(failed("the policy"))?;
            if let Some(policy) = policy {
                insert(&mut survey.state.objects, Object::Policy(policy));
            }
            insert(&mut survey.state.objects, Object::Datapath(datapath));
            ids
        }
        None => ProgramIds::default(),
    };
    for known in devices {
        let (netlink, netns) = match &known.device.place {
            Place::Host => (&mut *host, None),
            Place::Netns(name) => match survey.namespaces.get_mut(name) {
                Some(opened) => (&mut opened.netlink, Some(&opened.netns)),
                None => continue,
            },
        };
        let place = Seen { store, slot, netlink, netns, ids: &ids };
        place
            .one(known, &mut survey.state)
            .map_err(failed(&format!("the hooks of {}", known.of)))?;
    }
    Ok(())
}

/// What the programs know of ports. Maps of another layout are not for this build to
/// read, and of those that somebody took away there is nothing to read.
fn ports(
    store: &Store,
    datapath: &Datapath,
    place: impl Fn(u16) -> Option<Place>,
) -> Result<Vec<Port>, DatapathError> {
    if datapath.abi != ABI_VERSION {
        return Ok(Vec::new());
    }
    match Ports::open(store, datapath).and_then(|ports| ports.all(place)) {
        Err(_) if !datapath.settled => Ok(Vec::new()),
        ports => ports,
    }
}

/// What is in force. One that was to take its place is written down already: until it is
/// in force, or was given up, limits may be its own.
fn policy(store: &Store, datapath: &Datapath) -> Result<Option<Policy>, Cause> {
    if datapath.abi != ABI_VERSION {
        return Ok(None);
    }
    let in_force = match datapath::in_force(store, datapath) {
        Err(_) if !datapath.settled => None,
        in_force => in_force?,
    };
    let Some(InForce { generation, digest }) = in_force else { return Ok(None) };
    let generations = store.policy_generations()?;
    // Without a file nobody knows which rule has which counters.
    let settled = generations.first() == Some(&generation);
    Ok(Some(Policy { digest, settled, source: None }))
}

/// What it takes to look at a device.
struct Seen<'a> {
    store: &'a Store,
    slot: Slot,
    /// A socket where the device is.
    netlink: &'a mut Netlink,
    /// Where the device is; `None` for where this thread is.
    netns: Option<&'a NetNs>,
    ids: &'a ProgramIds,
}

impl Seen<'_> {
    fn one(self, known: &Known, state: &mut State) -> Result<(), Cause> {
        let Known { of, device, counts_for, xdp_program, .. } = known;
        let (id, points) = match (counts_for, of) {
            (Some(id), _) => (
                id,
                [(HookPoint::TcIngress, TcHook::Ingress), (HookPoint::TcEgress, TcHook::Egress)],
            ),
            // Without a program there is none at a hook.
            (None, LinkId::Interface(id)) if self.ids.at(HookPoint::RouteIngress).is_some() => (
                id,
                [
                    (HookPoint::RouteIngress, TcHook::Ingress),
                    (HookPoint::RouteEgress, TcHook::Egress),
                ],
            ),
            _ => return Ok(()),
        };
        let State { objects, foreign_xdp, .. } = state;
        let mut found = |point, attach, current| {
            let (id, device) = (id.clone(), device.clone());
            insert(objects, Object::Hook(Hook { id, device, point, attach, current }));
        };
        let Self { store, slot, netlink, netns, ids } = self;
        for (point, hook) in points {
            let (current, name) = (ids.at(point), datapath::program_name(point));
            let filter = filter::attached(netlink, slot.ifindex(device.number), hook, name)?;
            let tcx = tcx_program(store, slot, netns, device, point)?;
            match (filter, tcx) {
                (None, None) => {}
                // A move that was cut short.
                (Some(_), Some(_)) => found(point, Some(Attach::Clsact), false),
                (Some(_), None) => found(point, Some(Attach::Clsact), filter == current),
                (None, Some(_)) => found(point, Some(Attach::Tcx), tcx == current),
            }
        }
        if *xdp_program == 0 || counts_for.is_none() {
            return Ok(());
        }
        let linked = [HookPoint::Xdp, HookPoint::XdpGeneric].into_iter().find(|point| {
            datapath::linked_program(store, *point, device.number) == Some(*xdp_program)
        });
        if let Some(point) = linked {
            found(point, None, Some(*xdp_program) == ids.at(point));
        } else {
            let (id_of_it, name) = (*xdp_program, datapath::name_of_program(*xdp_program));
            foreign_xdp.insert(id.clone(), ForeignProgram { id: id_of_it, name });
        }
        Ok(())
    }
}

/// The program of the port's TCX link, if that is attached.
fn tcx_program(
    store: &Store,
    slot: Slot,
    netns: Option<&NetNs>,
    device: &Device,
    point: HookPoint,
) -> Result<Option<u32>, Cause> {
    let Some(program) = datapath::linked_program(store, point, device.number) else {
        return Ok(None);
    };
    let ifindex = slot.ifindex(device.number);
    let look = || datapath::tcx_programs(ifindex, point);
    let there = netns.map_or_else(|| Ok(look()), |netns| netns.run(look))??;
    Ok(there.iter().any(|at| at.id == program).then_some(program))
}
