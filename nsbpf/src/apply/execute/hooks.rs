//! Programs at the hooks of ports.
//!
//! A program that takes the place of another by the same way does so in one step.
//! From one way to the other there is none: the hook is moved by two requests that
//! follow each other, in the order that is less wrong. The kernel lets packets see a
//! new TCX program before it waits for its RCU, and a filter that is gone at once: so
//! the filter goes first, and what passes in those tens of microseconds is not
//! counted. (The first TCX program of a machine runs only after the wait, when TCX as
//! such is switched on, so that is done before.) A TCX program that goes is not seen any more before that wait either, so
//! there the filter comes first, and what passes then is counted twice.
//! A device that has no clsact yet is given one, and for that the kernel stops it for a
//! moment and drops what it is to send (`qdisc_graft`): one that was born for clsact has
//! it still.
//! (`tcx_link_prog_attach`, `tcx_inc` and `tcx_link_release`, Linux 6.18.)
//!
//! Between tc ingress and XDP nothing is missed and nothing done twice: for a while there
//! are both, XDP marks what it has done and tc leaves that alone.

use std::collections::HashSet;

use super::policy::PolicySwap;
use super::requests::Requests;
use super::{Executor, failed, gone_is_fine, impossible};
use crate::apply::{ApplyError, Cause};
use crate::datapath::{self, HeldLink, Programs};
use crate::net::filter::{self, TcHook};
use crate::net::{NetNs, in_flight, link};
use crate::plan::Step;
use crate::state::{Attach, Datapath, Device, Hook, HookPoint, Key, Object, Place, Port};

fn tc_hook(point: HookPoint) -> Option<TcHook> {
    match point {
        HookPoint::TcIngress | HookPoint::RouteIngress => Some(TcHook::Ingress),
        HookPoint::TcEgress | HookPoint::RouteEgress => Some(TcHook::Egress),
        HookPoint::Xdp | HookPoint::XdpGeneric => None,
    }
}

fn moves_to_tcx(step: &Step) -> bool {
    match step {
        Step::Change { from: Object::Hook(from), to: Object::Hook(to) } => {
            (from.attach, to.attach) == (Some(Attach::Clsact), Some(Attach::Tcx))
        }
        _ => false,
    }
}

/// Has the kernel run TCX programs, while this is held: by one in a namespace that
/// nobody else sees. `None` when it did not work: then more packets are not counted.
fn switch_tcx_on(programs: &mut Programs) -> Option<(HeldLink, NetNs)> {
    let on = NetNs::scratch(|| {
        let link = programs.hold_tcx(link::LOOPBACK)?;
        Ok::<_, Cause>((link, NetNs::current()?))
    });
    on.unwrap_or_else(|error| Err(error.into()))
        .inspect_err(|error| log::warn!("attach by TCX in a namespace of its own: {error}"))
        .ok()
}

impl Executor<'_> {
    /// Loads the programs of a lab that has none.
    pub(super) fn load(&mut self, step: &Step, to: &Datapath) -> Result<(), ApplyError> {
        let fail = |error| failed(step, error);
        // Pins of a load that was cut short count for nothing.
        datapath::unload(self.store).map_err(fail)?;
        let mut programs = Programs::load(self.store, to).map_err(fail)?;
        programs.commit(self.store).map_err(fail)?;
        self.programs = Some(programs);
        (self.ports, self.datapath) = (None, Some(to.clone()));
        self.fresh_maps = true;
        Ok(())
    }

    /// Loads programs that take the place of others; [`Executor::conclude`] makes them
    /// the lab's.
    pub(super) fn stage(&mut self, step: &Step, to: &Datapath) -> Result<(), ApplyError> {
        let programs = Programs::load(self.store, to).map_err(|error| failed(step, error))?;
        self.programs = Some(programs);
        // Maps that were missing are other ones now.
        (self.ports, self.datapath) = (None, Some(to.clone()));
        Ok(())
    }

    /// Makes programs that were loaded to take the place of others the lab's, or lets
    /// go of them: the others go back to their hooks then.
    pub(super) fn conclude(
        mut self,
        done: Result<(), ApplyError>,
    ) -> Result<Option<PolicySwap>, ApplyError> {
        let done = done.and_then(|()| self.carry_counters());
        let swap = self.swap.take();
        let Some(programs) = self.programs.as_mut() else { return done.map(|()| swap) };
        let concluded = match &done {
            Ok(()) => programs.commit(self.store).and_then(|()| programs.prune_links(self.store)),
            Err(_) => datapath::discard_staged(self.store),
        };
        let concluded = concluded.map_err(|error| ApplyError::Step {
            verb: "change",
            key: Key::Datapath,
            source: Box::new(error.into()),
        });
        done.and(concluded).map(|()| swap)
    }

    /// Tells the loaded programs of a port. Who had its number before may have been
    /// counted until its link went: with `anew` that is forgotten.
    pub(super) fn set_port(
        &mut self,
        step: &Step,
        to: &Port,
        anew: bool,
    ) -> Result<(), ApplyError> {
        let ifindex = self.slot(step)?.ifindex(to.number);
        let ports = self.ports(step)?;
        if anew {
            ports.forget(to.number).map_err(|error| failed(step, error))?;
        }
        let to = Port { handed_over: self.handed_over.contains(&to.number), ..to.clone() };
        // A device is known by its index, where it is.
        let place = match &to.takes_xdp {
            Some(Place::Netns(name)) => Some(name),
            _ => None,
        };
        let Self { ports: Some(ports), sockets, .. } = self else { return Ok(()) };
        let mut set = || ports.set(&to, ifindex);
        let done = match place {
            None => set(),
            Some(name) => {
                let netns = sockets.netns(step, name)?;
                netns.run(set).map_err(|error| failed(step, error))?
            }
        };
        done.map_err(|error| failed(step, error))
    }

    /// Has the programs ask anew where packets go, now that something has changed.
    pub(super) fn forget_paths(&self, steps: &[Step]) -> Result<(), ApplyError> {
        let fast = self.datapath.as_ref().is_some_and(|datapath| datapath.switches.fast_paths);
        match steps.last() {
            Some(step) if fast && !self.fresh_maps => {
                datapath::forget_paths(self.store).map_err(|error| failed(step, error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn attach(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let Some(first) = steps.first() else {
            return Ok(());
        };
        let mut programs = match self.programs.take() {
            Some(programs) => programs,
            None => match self.state.objects.get(&Key::Datapath) {
                Some(Object::Datapath(loaded)) => {
                    Programs::open(self.store, loaded).map_err(|error| failed(first, error))?
                }
                _ => return Err(impossible(first, "no programs are loaded")),
            },
        };
        self.hand_over(steps)?;
        let _switched_on = steps.iter().any(moves_to_tcx).then(|| switch_tcx_on(&mut programs));
        let attached = self.attach_programs(&mut programs, steps, first);
        self.programs = Some(programs);
        attached
    }

    fn attach_programs(
        &mut self,
        programs: &mut Programs,
        steps: &[Step],
        first: &Step,
    ) -> Result<(), ApplyError> {
        let slot = self.slot(first)?;
        let mut together = Requests::default();
        let mut with_clsact = HashSet::new();
        for step in steps {
            let (from, hook) = match step {
                Step::Add(Object::Hook(hook)) => (None, hook),
                Step::Change { from: Object::Hook(from), to: Object::Hook(hook) } => {
                    (Some(from), hook)
                }
                _ => continue,
            };
            let Hook { id: _, device, point, attach, current: _ } = hook;
            let Device { link: _, place, number } = device;
            let ifindex = slot.ifindex(*number);
            let Some((tc, Attach::Clsact)) = tc_hook(*point).zip(*attach) else {
                let filtered = from.is_some_and(|from| from.attach == Some(Attach::Clsact));
                if let Some(tc) = tc_hook(*point).filter(|_| filtered) {
                    let gone = self.sockets.get(step, place)?.request(filter::detach(ifindex, tc));
                    gone_is_fine(step, gone)?;
                }
                self.attach_link(programs, step, place, (*point, ifindex, *number))?;
                continue;
            };
            let (program, name) = programs.at(*point).map_err(|error| failed(step, error))?;
            // A link stays at the hook until the filter is there, and no longer.
            let alone = datapath::has_link(self.store, *point, *number);
            let mut requests = Requests::default();
            let to = if alone { &mut requests } else { &mut together };
            if alone || with_clsact.insert((place, ifindex)) {
                to.push(step, place, filter::add_clsact(ifindex));
            }
            to.push(step, place, filter::attach(ifindex, tc, program, name));
            if alone {
                requests.send(&mut self.sockets)?;
                datapath::detach(self.store, *point, *number)
                    .map_err(|error| failed(step, error))?;
            }
        }
        together.send(&mut self.sockets)
    }

    /// Attaches by a link, where the device is.
    fn attach_link(
        &self,
        programs: &mut Programs,
        step: &Step,
        place: &Place,
        (point, ifindex, number): (HookPoint, u32, u16),
    ) -> Result<(), ApplyError> {
        let mut attach = || programs.attach_link(point, ifindex, number);
        let attached = match place {
            Place::Host => attach(),
            Place::Netns(name) => {
                let netns = self.sockets.netns(step, name)?;
                netns.run(attach).map_err(|error| failed(step, error))?
            }
        };
        attached.map_err(|error| failed(step, error))
    }

    /// Has one hook of a port leave alone what another has done, before there are both.
    /// What is between the two in this moment does not know of it yet.
    fn hand_over(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        let mut any = false;
        for step in steps {
            let Step::Add(Object::Hook(Hook { device, point, .. })) = step else { continue };
            if self.handed_over.contains(&device.number) && point.is_ingress() {
                let told = self.ports(step)?.hand_over(device.number, true);
                told.map_err(|error| failed(step, error))?;
                any = true;
            }
        }
        if any {
            in_flight::wait();
        }
        Ok(())
    }

    /// Takes hooks away from which others have taken over.
    pub(super) fn retire(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        // What has not met the one yet that takes over is still to meet the other.
        in_flight::wait();
        self.detach(steps)?;
        in_flight::wait();
        for step in steps {
            let Step::Retire(Hook { device, .. }) = step else { continue };
            let told = self.ports(step)?.hand_over(device.number, false);
            told.map_err(|error| failed(step, error))?;
        }
        Ok(())
    }

    pub(super) fn detach(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        for step in steps {
            let (Step::Remove(Object::Hook(hook)) | Step::Retire(hook)) = step else {
                continue;
            };
            let Hook { id: _, device, point, attach, current: _ } = hook;
            if let Some((tc, Attach::Clsact)) = tc_hook(*point).zip(*attach) {
                self.request(step, |ifindex| filter::detach(ifindex, tc))?;
            }
            // A move that was cut short leaves both.
            datapath::detach(self.store, *point, device.number)
                .map_err(|error| failed(step, Cause::from(error)))?;
        }
        Ok(())
    }
}
