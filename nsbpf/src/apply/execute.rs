//! Doing the steps of a plan.
//!
//! Steps of one kind that follow each other are done together: one visit of
//! many namespaces, one datagram of many requests.

mod flood;
mod hooks;
mod links;
mod namespaces;
mod offloads;
mod policy;
mod ready;
mod requests;
mod uplink;
mod vlans;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nsbpf_common::port::Slot;

use super::expedite::Expedited;
use super::survey::Opened;
use super::{ApplyError, Cause, Oversight, host_socket};
use crate::datapath::{self, Ports, Programs};
use crate::lab::{InterfaceName, Name};
use crate::net::socket::Request;
use crate::net::{NetNs, NetlinkError, address, link, route};
use crate::plan::{Step, handed_over};
use crate::state::{Datapath, Key, Object, Route, State};
use crate::store::Store;
pub use policy::PolicySwap;
use requests::{Requests, Sockets};

/// Namespaces that are open.
pub(super) struct Handles {
    /// The lab's.
    pub(super) namespaces: BTreeMap<Name, Opened>,
    /// Those of others that it may come to adopt.
    pub(super) found: HashMap<Name, NetNs>,
}

/// Does the steps in their order, and stops at the first that fails. Returns what became of
/// the policy, if anything.
pub(super) fn execute(
    store: &Store,
    state: &State,
    handles: Handles,
    steps: &[Step],
    oversight: &dyn Oversight,
) -> Result<Option<PolicySwap>, ApplyError> {
    let _expedited = Expedited::for_tcx(store, steps);
    let mut executor = Executor::new(store, state, handles, steps)?;
    let done = executor.run_all(steps, oversight).and_then(|()| executor.forget_paths(steps));
    executor.conclude(done)
}

/// Does the steps in their order, all of them, and reports the first failure.
pub(super) fn execute_all(
    store: &Store,
    state: &State,
    handles: Handles,
    steps: &[Step],
) -> Result<(), ApplyError> {
    let mut executor = Executor::new(store, state, handles, steps)?;
    let mut outcome = Ok(());
    for run in runs(steps) {
        outcome = outcome.and(executor.run(run));
    }
    outcome
}

/// Steps that follow each other and are of one kind: those that gain from all the
/// company there is together, others so many at a time that a wish to stop is soon
/// heard.
fn runs(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    const AT_A_TIME: usize = 128;
    let of_a_kind = steps.chunk_by(|one, other| kind(one) == kind(other));
    of_a_kind.flat_map(|run| {
        let together = match run.first() {
            Some(Step::Add(object)) => matches!(object, Object::Flood(_)),
            _ => true,
        };
        run.chunks(if together { run.len() } else { AT_A_TIME })
    })
}

fn kind(step: &Step) -> (&'static str, Option<std::mem::Discriminant<Object>>) {
    match step {
        Step::Add(object) | Step::Remove(object) | Step::Change { to: object, .. } => {
            (step.verb(), Some(std::mem::discriminant(object)))
        }
        Step::Retire(_) => (step.verb(), None),
    }
}

struct Executor<'a> {
    store: &'a Store,
    slot: Option<Slot>,
    sockets: Sockets,
    /// Namespaces of others that it may come to adopt.
    found: HashMap<Name, NetNs>,
    bridges: HashMap<InterfaceName, u16>,
    programs: Option<Programs>,
    ports: Option<Ports>,
    /// Ports one ingress hook of which takes over from another.
    handed_over: BTreeSet<u16>,
    /// Nothing was counted in the maps yet.
    fresh_maps: bool,
    /// What is loaded.
    datapath: Option<Datapath>,
    /// What became of the policy.
    swap: Option<PolicySwap>,
    state: &'a State,
    /// The lab's folder goes too, and takes namespaces and pins with it.
    folder_goes: bool,
}

fn failed(step: &Step, cause: impl Into<Cause>) -> ApplyError {
    ApplyError::Step { verb: step.verb(), key: step.key(), source: Box::new(cause.into()) }
}

/// What a kind of step is told to do cannot be done: a mistake of ours.
fn impossible(step: &Step, why: &'static str) -> ApplyError {
    failed(step, std::io::Error::other(why))
}

impl<'a> Executor<'a> {
    fn new(
        store: &'a Store,
        state: &'a State,
        handles: Handles,
        steps: &[Step],
    ) -> Result<Self, ApplyError> {
        let bridges = state.objects.values().filter_map(|object| match object {
            Object::Bridge(bridge) => Some((bridge.name.clone(), bridge.number)),
            _ => None,
        });
        let Handles { namespaces, found } = handles;
        Ok(Self {
            store,
            slot: state.slot(),
            sockets: Sockets { host: host_socket()?, namespaces },
            found,
            bridges: bridges.collect(),
            programs: None,
            ports: None,
            handed_over: handed_over(steps),
            fresh_maps: false,
            datapath: match state.objects.get(&Key::Datapath) {
                Some(Object::Datapath(datapath)) => Some(datapath.clone()),
                _ => None,
            },
            swap: None,
            state,
            folder_goes: steps.iter().any(|step| matches!(step, Step::Remove(Object::Folder(_)))),
        })
    }

    /// Does steps in their order, and stops at the first that fails.
    fn run_all(&mut self, steps: &[Step], oversight: &dyn Oversight) -> Result<(), ApplyError> {
        let mut done = 0;
        for run in runs(steps) {
            if oversight.cancelled() {
                return Err(ApplyError::Interrupted);
            }
            if let Some(next) = run.first() {
                oversight.progress(done, steps.len(), next);
            }
            self.run(run)?;
            done += run.len();
        }
        Ok(())
    }

    /// Does a run of steps of one kind.
    fn run(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        for step in steps {
            log::info!("{} {}", step.verb(), step.key());
        }
        match steps {
            [] => Ok(()),
            [Step::Remove(Object::Veth(_) | Object::Bridge(_) | Object::Stray(_)), ..] => {
                self.remove_links(steps)
            }
            [Step::Add(Object::Netns(_)), ..] => self.add_namespaces(steps),
            [Step::Add(Object::Veth(_)), ..] => self.add_veths(steps),
            [Step::Add(Object::Hook(_)) | Step::Change { to: Object::Hook(_), .. }, ..] => {
                self.attach(steps)
            }
            [Step::Remove(Object::Hook(_)), ..] => self.detach(steps),
            [Step::Retire(_), ..] => self.retire(steps),
            [Step::Add(Object::Flood(_)) | Step::Change { to: Object::Flood(_), .. }, ..] => {
                self.flood(steps)
            }
            [Step::Add(Object::Address(_) | Object::Route(_)), ..] => self.add_together(steps),
            [Step::Add(Object::Up(_)), ..] => {
                self.add_together(steps)?;
                let devices = self.devices(steps)?;
                self.settle(&devices)
            }
            _ => steps.iter().try_for_each(|step| self.one(step)),
        }
    }

    /// Adds objects that are one request each.
    fn add_together(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let mut requests = Requests::default();
        for step in steps {
            let Step::Add(object) = step else { continue };
            let Some(device) = object.device() else { continue };
            let ifindex = self.slot(step)?.ifindex(device.number);
            let request = match object {
                Object::Address(to) => address::add(ifindex, to.address),
                Object::Up(_) => link::set_up(ifindex),
                Object::Route(to) => route::set(&by(to, ifindex)),
                _ => continue,
            };
            requests.push(step, &device.place, request);
        }
        requests.send(&mut self.sockets)
    }

    /// Does a step that gains nothing from company.
    fn one(&mut self, step: &Step) -> Result<(), ApplyError> {
        let fail = |error: Cause| failed(step, error);
        match step {
            Step::Add(Object::Folder(slot)) => {
                self.slot = Some(*slot);
                self.store.create_folder(*slot).map_err(|error| fail(error.into()))
            }
            Step::Remove(Object::Folder(_)) => {
                self.sockets.namespaces.clear();
                (self.programs, self.ports, self.datapath) = (None, None, None);
                self.store.remove_folder().map_err(|error| fail(error.into()))
            }
            Step::Change { to: Object::Netns(netns), .. } => {
                self.store.publish(netns.name.as_str()).map_err(|error| fail(error.into()))
            }
            Step::Remove(Object::Netns(netns)) => self.remove_namespace(step, netns),
            Step::Add(Object::Adopted(adopted)) => self.adopt(step, adopted),
            Step::Remove(Object::Adopted(adopted)) => self.let_go(step, adopted),
            Step::Add(Object::Sysctl(to)) | Step::Change { to: Object::Sysctl(to), .. } => {
                self.set(step, to)
            }
            Step::Remove(Object::Sysctl(from)) => self.reset(step, from),
            Step::Add(Object::Bridge(bridge)) => self.add_bridge(step, bridge),
            Step::Change { from: Object::Bridge(from), to: Object::Bridge(to) } => {
                self.change_bridge(step, from, to)
            }
            Step::Change { to: Object::Veth(veth), .. } => self.change_veth(step, veth),
            Step::Add(Object::Offloads(to)) | Step::Change { to: Object::Offloads(to), .. } => {
                self.set_offloads(step, to)
            }
            Step::Remove(Object::Offloads(from)) => self.reset_offloads(step, from),
            Step::Add(Object::Vlans(to)) | Step::Change { to: Object::Vlans(to), .. } => {
                self.set_vlans(step, to)
            }
            Step::Remove(Object::Vlans(from)) => self.reset_vlans(step, from),
            Step::Remove(Object::Address(from)) => {
                self.request(step, |ifindex| address::remove(ifindex, from.address))
            }
            Step::Add(Object::Datapath(to)) => self.load(step, to),
            Step::Change { to: Object::Datapath(to), .. } => self.stage(step, to),
            // Goes with the folder.
            Step::Remove(Object::Datapath(_)) if self.folder_goes => Ok(()),
            Step::Remove(Object::Datapath(_)) => {
                (self.programs, self.ports, self.datapath) = (None, None, None);
                datapath::unload(self.store).map_err(|error| fail(error.into()))
            }
            Step::Add(Object::Port(to)) => self.set_port(step, to, !self.fresh_maps),
            Step::Change { to: Object::Port(to), .. } => self.set_port(step, to, false),
            Step::Remove(Object::Port(from)) => {
                self.ports(step)?.forget(from.number).map_err(|error| fail(error.into()))
            }
            Step::Add(Object::Policy(to)) | Step::Change { to: Object::Policy(to), .. } => {
                self.put_policy(step, to)
            }
            Step::Remove(Object::Policy(_)) => self.suspend_policy(step),
            Step::Add(Object::Uplink(to)) | Step::Change { to: Object::Uplink(to), .. } => {
                self.set_uplink(step, to)
            }
            Step::Remove(Object::Uplink(from)) => self.remove_uplink(step, from),
            Step::Remove(Object::Up(_)) => self.request(step, link::set_down),
            Step::Remove(Object::Flood(_)) => {
                self.request(step, |ifindex| link::set_multicast_flood(ifindex, false))
            }
            Step::Change { to: Object::Route(to), .. } => {
                self.request(step, |ifindex| route::set(&by(to, ifindex)))
            }
            Step::Remove(Object::Route(from)) => {
                self.request(step, |ifindex| route::remove(&by(from, ifindex)))
            }
            _ => Err(impossible(step, "there is no way to do this step")),
        }
    }

    /// What the loaded programs know of ports.
    fn ports(&mut self, step: &Step) -> Result<&mut Ports, ApplyError> {
        let ports = match (self.ports.take(), &self.datapath) {
            (Some(ports), _) => ports,
            (None, Some(datapath)) => {
                Ports::open(self.store, datapath).map_err(|error| failed(step, error))?
            }
            (None, None) => return Err(impossible(step, "no programs are loaded")),
        };
        Ok(self.ports.insert(ports))
    }

    fn slot(&self, step: &Step) -> Result<Slot, ApplyError> {
        self.slot.ok_or_else(|| impossible(step, "the lab has no slot yet"))
    }

    /// Sends a request about the device that a step is about. To take away what is
    /// gone already is no error.
    fn request(
        &mut self,
        step: &Step,
        request: impl FnOnce(u32) -> Request,
    ) -> Result<(), ApplyError> {
        let device = match step {
            Step::Add(object) | Step::Remove(object) | Step::Change { to: object, .. } => {
                object.device()
            }
            Step::Retire(hook) => Some(&hook.device),
        };
        let device = device.ok_or_else(|| impossible(step, "it is of no device"))?;
        let ifindex = self.slot(step)?.ifindex(device.number);
        let done = self.sockets.get(step, &device.place)?.request(request(ifindex));
        match step {
            Step::Remove(_) | Step::Retire(_) => gone_is_fine(step, done),
            _ => done.map_err(|error| failed(step, error)),
        }
    }
}

/// A route by the device with that interface index.
fn by(route: &Route, ifindex: u32) -> route::Route {
    let Route { namespace: _, dev: _, device: _, to, via, onlink } = route;
    route::Route { to: *to, via: *via, onlink: *onlink, ifindex }
}

fn gone_is_fine(step: &Step, result: Result<(), NetlinkError>) -> Result<(), ApplyError> {
    match result {
        Err(error) if error.is_gone() => Ok(()),
        other => other.map_err(|error| failed(step, error)),
    }
}
