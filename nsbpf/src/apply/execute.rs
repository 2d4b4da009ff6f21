//! Doing the steps of a plan.
//!
//! Steps of one kind that follow each other are done together: one visit of
//! many namespaces, one datagram of many requests.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use nsbpf_common::port::Slot;
use rustix::io::Errno;

use super::alias::{Identity, alias};
use super::survey::Opened;
use super::{ApplyError, Cause, host_socket, interrupted};
use crate::datapath::{self, Programs, StatsReader};
use crate::lab::{InterfaceName, Name};
use crate::net::filter::{self, TcHook};
use crate::net::link::{self, Birth};
use crate::net::netns::Created;
use crate::net::socket::{BatchError, Request};
use crate::net::{NetNs, Netlink, NetlinkError, address, route};
use crate::plan::Step;
use crate::state::{Bridge, End, Hook, HookPoint, Key, Netns, Object, Route, State, Veth};
use crate::store::Store;

/// Ports that come up together from which on their multicast is waited for: the
/// square of their number is what the bridge would copy.
const MANY_PORTS: usize = 100;
/// Time without a packet that counts as quiet: several times what passes between
/// two reports of an interface (`net/netns.rs` sets 10 ms).
const QUIET: Duration = Duration::from_millis(50);
/// How long quiet is waited for at most.
const QUIET_PATIENCE: Duration = Duration::from_secs(1);

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

/// Requests, each with the step that it is for.
#[derive(Default)]
struct Requests<'a> {
    requests: Vec<Request>,
    steps: Vec<&'a Step>,
}

impl<'a> Requests<'a> {
    fn push(&mut self, step: &'a Step, request: Request) {
        self.steps.push(step);
        self.requests.push(request);
    }

    fn send(self, netlink: &mut Netlink) -> Result<(), ApplyError> {
        let Self { requests, steps } = self;
        netlink.batch(requests).map_err(|BatchError { index, error }| match steps.get(index) {
            Some(step) => failed(step, error),
            None => ApplyError::Survey {
                what: "the kernel's answers".to_owned(),
                source: Box::new(error.into()),
            },
        })
    }
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

    fn add_bridge(&mut self, step: &Step, bridge: &Bridge) -> Result<(), ApplyError> {
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

    fn add_veths(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
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

    fn change_veth(&mut self, step: &Step, veth: &Veth) -> Result<(), ApplyError> {
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
    fn remove_links(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
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

    fn flood(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let mut requests = Requests::default();
        let mut ports = Vec::new();
        for step in steps {
            let Step::Add(Object::Flood(flood)) = step else { continue };
            let ifindex = self.slot(step)?.ifindex(flood.number);
            requests.push(step, link::set_multicast_flood(ifindex, true));
            ports.push(flood.number);
        }
        if ports.len() >= MANY_PORTS {
            self.wait_until_quiet(&ports);
        }
        requests.send(&mut self.host)
    }

    /// Waits until the interfaces that just came up have told their multicast
    /// groups: until their counters stand still, and not for long.
    fn wait_until_quiet(&self, ports: &[u16]) {
        let Ok(reader) = StatsReader::open(self.store) else { return };
        let sent = || -> u64 {
            let stats = ports.iter().filter_map(|port| reader.read(*port).ok());
            stats.map(|stats| stats.tx.total().packets).sum()
        };
        let deadline = Instant::now() + QUIET_PATIENCE;
        let mut before = sent();
        while Instant::now() < deadline {
            std::thread::sleep(QUIET);
            let now = sent();
            if now == before {
                return;
            }
            before = now;
        }
    }

    fn attach(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let Some(first) = steps.first() else {
            return Ok(());
        };
        let slot = self.slot(first)?;
        let programs = match self.programs.take() {
            Some(programs) => programs,
            None => match self.state.objects.get(&Key::Datapath) {
                Some(Object::Datapath(loaded)) => {
                    Programs::open(self.store, loaded).map_err(|error| failed(first, error))?
                }
                _ => return Err(impossible(first, "no programs are loaded")),
            },
        };
        let programs = self.programs.insert(programs);
        let mut requests = Requests::default();
        for step in steps {
            let (Step::Add(Object::Hook(hook)) | Step::Change { to: Object::Hook(hook), .. }) =
                step
            else {
                continue;
            };
            let ifindex = slot.ifindex(hook.number);
            let (hook, program) = match hook.point {
                HookPoint::TcIngress => (TcHook::Ingress, programs.tc_ingress()),
                HookPoint::TcEgress => (TcHook::Egress, programs.tc_egress()),
                HookPoint::Xdp => {
                    datapath::detach_xdp(self.store, hook.number)
                        .and_then(|()| programs.attach_xdp(ifindex, hook.number))
                        .map_err(|error| failed(step, error))?;
                    continue;
                }
            };
            let (program, name) = program.map_err(|error| failed(step, error))?;
            requests.push(step, filter::add_clsact(ifindex));
            requests.push(step, filter::attach(ifindex, hook, program, name));
        }
        requests.send(&mut self.host)
    }

    fn detach(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        for step in steps {
            let Step::Remove(Object::Hook(hook)) = step else {
                continue;
            };
            let Hook { id: _, number, point, current: _ } = hook;
            let ifindex = self.slot(step)?.ifindex(*number);
            let hook = match point {
                HookPoint::TcIngress => TcHook::Ingress,
                HookPoint::TcEgress => TcHook::Egress,
                HookPoint::Xdp => {
                    datapath::detach_xdp(self.store, *number)
                        .map_err(|error| failed(step, error))?;
                    continue;
                }
            };
            gone_is_fine(step, self.host.request(filter::detach(ifindex, hook)))?;
        }
        Ok(())
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

fn gone_is_fine(step: &Step, result: Result<(), NetlinkError>) -> Result<(), ApplyError> {
    match result {
        Err(error) if matches!(error.errno(), Some(Errno::NODEV | Errno::NOENT)) => Ok(()),
        other => other.map_err(|error| failed(step, error)),
    }
}
