//! Doing the steps of a plan.
//!
//! Steps of one kind that follow each other are done together: one visit of
//! many namespaces, one datagram of many requests.

mod flood;
mod hooks;
mod links;
mod requests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use nsbpf_common::port::Slot;
use rustix::io::Errno;

use super::survey::Opened;
use super::{ApplyError, Cause, host_socket, interrupted};
use crate::datapath::{self, Programs};
use crate::lab::{InterfaceName, Name};
use crate::net::link;
use crate::net::netns::Created;
use crate::net::socket::Request;
use crate::net::{NetNs, Netlink, NetlinkError, address, route};
use crate::plan::Step;
use crate::state::{Bridge, Netns, Object, Route, State};
use crate::store::Store;
use requests::Requests;

/// Does the steps in their order, and stops at the first that fails.
pub(super) fn execute(
    store: &Store,
    state: &State,
    namespaces: HashMap<Name, Opened>,
    steps: &[Step],
    cancel: &AtomicBool,
) -> Result<(), ApplyError> {
    let mut executor = Executor::new(store, state, namespaces, steps)?;
    for run in runs(steps) {
        interrupted(cancel)?;
        executor.run(run)?;
    }
    Ok(())
}

/// Does the steps in their order, all of them, and reports the first failure.
pub(super) fn execute_all(
    store: &Store,
    state: &State,
    namespaces: HashMap<Name, Opened>,
    steps: &[Step],
) -> Result<(), ApplyError> {
    let mut executor = Executor::new(store, state, namespaces, steps)?;
    let mut outcome = Ok(());
    for run in runs(steps) {
        outcome = outcome.and(executor.run(run));
    }
    outcome
}

/// Steps that follow each other and are of one kind.
fn runs(steps: &[Step]) -> impl Iterator<Item = &[Step]> {
    steps.chunk_by(|one, other| kind(one) == kind(other))
}

fn kind(step: &Step) -> (&'static str, std::mem::Discriminant<Object>) {
    match step {
        Step::Add(object) | Step::Remove(object) | Step::Change { to: object, .. } => {
            (step.verb(), std::mem::discriminant(object))
        }
    }
}

struct Executor<'a> {
    store: &'a Store,
    slot: Option<Slot>,
    host: Netlink,
    namespaces: HashMap<Name, Opened>,
    bridges: HashMap<InterfaceName, u16>,
    programs: Option<Programs>,
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
        namespaces: HashMap<Name, Opened>,
        steps: &[Step],
    ) -> Result<Self, ApplyError> {
        let bridges = state.objects.values().filter_map(|object| match object {
            Object::Bridge(bridge) => Some((bridge.name.clone(), bridge.number)),
            _ => None,
        });
        Ok(Self {
            store,
            slot: state.slot(),
            host: host_socket()?,
            namespaces,
            bridges: bridges.collect(),
            programs: None,
            state,
            folder_goes: steps.iter().any(|step| matches!(step, Step::Remove(Object::Folder(_)))),
        })
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
            [Step::Add(Object::Flood(_)), ..] => self.flood(steps),
            _ => steps.iter().try_for_each(|step| self.one(step)),
        }
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
                self.namespaces.clear();
                self.programs = None;
                self.store.remove_folder().map_err(|error| fail(error.into()))
            }
            Step::Change { to: Object::Netns(netns), .. } => {
                self.store.publish(netns.name.as_str()).map_err(|error| fail(error.into()))
            }
            Step::Remove(Object::Netns(netns)) => self.remove_namespace(step, netns),
            Step::Add(Object::Bridge(bridge)) => self.add_bridge(step, bridge),
            Step::Change { to: Object::Bridge(bridge), .. } => {
                let slot = self.slot(step)?;
                let Bridge { number, end, .. } = bridge;
                let ifindex = slot.ifindex(*number);
                let mut requests = Requests::default();
                requests.push(step, link::set_basics(ifindex, end.mac, end.mtu, end.group));
                requests.push(step, link::set_up(ifindex));
                requests.send(&mut self.host)
            }
            Step::Change { to: Object::Veth(veth), .. } => self.change_veth(step, veth),
            Step::Add(Object::Address(to)) => {
                let ifindex = self.slot(step)?.ifindex(to.number);
                self.inside(step, &to.id.namespace, address::add(ifindex, to.address))
            }
            Step::Remove(Object::Address(from)) => {
                let ifindex = self.slot(step)?.ifindex(from.number);
                self.inside(step, &from.id.namespace, address::remove(ifindex, from.address))
            }
            Step::Add(Object::Datapath(to)) => {
                // Pins of a load that was cut short count for nothing.
                datapath::unload(self.store).map_err(|error| fail(error.into()))?;
                let programs =
                    Programs::load(self.store, to).map_err(|error| fail(error.into()))?;
                self.programs = Some(programs);
                Ok(())
            }
            // Goes with the folder.
            Step::Remove(Object::Datapath(_)) if self.folder_goes => Ok(()),
            Step::Remove(Object::Datapath(_)) => {
                self.programs = None;
                datapath::unload(self.store).map_err(|error| fail(error.into()))
            }
            Step::Add(Object::Up(up)) => {
                let ifindex = self.slot(step)?.ifindex(up.number);
                self.inside(step, &up.id.namespace, link::set_up(ifindex))
            }
            Step::Remove(Object::Up(up)) => {
                let ifindex = self.slot(step)?.ifindex(up.number);
                self.inside(step, &up.id.namespace, link::set_down(ifindex))
            }
            Step::Remove(Object::Flood(flood)) => {
                let ifindex = self.slot(step)?.ifindex(flood.number);
                let request = link::set_multicast_flood(ifindex, false);
                gone_is_fine(step, self.host.request(request))
            }
            Step::Add(Object::Forwarding(name)) => self.set_forwarding(step, name, true),
            Step::Remove(Object::Forwarding(name)) => self.set_forwarding(step, name, false),
            Step::Add(Object::Route(to)) | Step::Change { to: Object::Route(to), .. } => {
                let request = route::set(&self.route(step, to)?);
                self.inside(step, &to.id.namespace, request)
            }
            Step::Remove(Object::Route(from)) => {
                let request = route::remove(&self.route(step, from)?);
                self.inside(step, &from.id.namespace, request)
            }
            _ => Err(impossible(step, "there is no way to do this step")),
        }
    }

    fn set_forwarding(&self, step: &Step, name: &Name, on: bool) -> Result<(), ApplyError> {
        let opened = self
            .namespaces
            .get(name)
            .ok_or_else(|| impossible(step, "its namespace is not there"))?;
        opened.netns.set_forwarding(on).map_err(|error| failed(step, error))
    }

    fn route(&self, step: &Step, route: &Route) -> Result<route::Route, ApplyError> {
        let Route { id: _, number, to, via } = route;
        Ok(route::Route { to: *to, via: *via, ifindex: self.slot(step)?.ifindex(*number) })
    }

    fn slot(&self, step: &Step) -> Result<Slot, ApplyError> {
        self.slot.ok_or_else(|| impossible(step, "the lab has no slot yet"))
    }

    /// Sends a request inside a namespace.
    fn inside(&mut self, step: &Step, name: &Name, request: Request) -> Result<(), ApplyError> {
        let opened = self
            .namespaces
            .get_mut(name)
            .ok_or_else(|| impossible(step, "its namespace is not there"))?;
        opened.netlink.request(request).map_err(|error| failed(step, error))
    }

    fn add_namespaces(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let names: Vec<(&Step, &Name)> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Add(Object::Netns(Netns { name, .. })) => Some((step, name)),
                _ => None,
            })
            .collect();
        let files: Vec<PathBuf> =
            names.iter().map(|(_, name)| self.store.netns_file(name.as_str())).collect();
        let (created, error) = NetNs::create(&files);
        let made = created.len();
        for ((step, name), Created { netns, netlink }) in names.iter().zip(created) {
            self.namespaces.insert((*name).clone(), Opened { netns, netlink });
            self.store.publish(name.as_str()).map_err(|error| failed(step, error))?;
        }
        match (error, names.get(made)) {
            (Some(error), Some((step, _))) => Err(failed(step, error)),
            _ => Ok(()),
        }
    }

    fn remove_namespace(&mut self, step: &Step, netns: &Netns) -> Result<(), ApplyError> {
        let Netns { name, progress: _ } = netns;
        self.namespaces.remove(name);
        self.store.unpublish(name.as_str()).map_err(|error| failed(step, error))?;
        if self.folder_goes {
            return Ok(());
        }
        self.store.remove_netns(name.as_str()).map_err(|error| failed(step, error))
    }
}

fn gone_is_fine(step: &Step, result: Result<(), NetlinkError>) -> Result<(), ApplyError> {
    match result {
        Err(error) if matches!(error.errno(), Some(Errno::NODEV | Errno::NOENT)) => Ok(()),
        other => other.map_err(|error| failed(step, error)),
    }
}
