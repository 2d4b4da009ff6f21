//! Programs at the hooks of ports.

use std::collections::HashSet;

use super::requests::Requests;
use super::{Executor, failed, impossible};
use crate::apply::ApplyError;
use crate::datapath::{self, Programs};
use crate::net::filter::{self, TcHook};
use crate::plan::Step;
use crate::state::{Device, Hook, HookPoint, Key, Object, Place};

impl Executor<'_> {
    pub(super) fn attach(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
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
        let mut with_clsact = HashSet::new();
        for step in steps {
            let (Step::Add(Object::Hook(hook)) | Step::Change { to: Object::Hook(hook), .. }) =
                step
            else {
                continue;
            };
            let Device { link: _, place, number } = &hook.device;
            let ifindex = slot.ifindex(*number);
            let (hook, program) = match hook.point {
                HookPoint::TcIngress => (TcHook::Ingress, programs.tc_ingress()),
                HookPoint::TcEgress => (TcHook::Egress, programs.tc_egress()),
                HookPoint::Xdp => {
                    let mut attach = || {
                        datapath::detach_xdp(self.store, *number)?;
                        programs.attach_xdp(ifindex, *number)
                    };
                    let attached = match place {
                        Place::Host => attach(),
                        Place::Netns(name) => {
                            let netns = self.sockets.netns(step, name)?;
                            netns.run(&mut attach).map_err(|error| failed(step, error))?
                        }
                    };
                    attached.map_err(|error| failed(step, error))?;
                    continue;
                }
            };
            let (program, name) = program.map_err(|error| failed(step, error))?;
            if with_clsact.insert((place, ifindex)) {
                requests.push(step, place, filter::add_clsact(ifindex));
            }
            requests.push(step, place, filter::attach(ifindex, hook, program, name));
        }
        requests.send(&mut self.sockets)
    }

    pub(super) fn detach(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
        for step in steps {
            let Step::Remove(Object::Hook(hook)) = step else {
                continue;
            };
            let Hook { id: _, device, point, current: _ } = hook;
            let hook = match point {
                HookPoint::TcIngress => TcHook::Ingress,
                HookPoint::TcEgress => TcHook::Egress,
                HookPoint::Xdp => {
                    datapath::detach_xdp(self.store, device.number)
                        .map_err(|error| failed(step, error))?;
                    continue;
                }
            };
            self.request(step, |ifindex| filter::detach(ifindex, hook))?;
        }
        Ok(())
    }
}
