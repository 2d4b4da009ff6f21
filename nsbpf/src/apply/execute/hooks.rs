//! Programs at the hooks of ports.

use std::collections::HashSet;

use super::requests::Requests;
use super::{Executor, failed, gone_is_fine, impossible};
use crate::apply::ApplyError;
use crate::datapath::{self, Programs};
use crate::net::filter::{self, TcHook};
use crate::plan::Step;
use crate::state::{Hook, HookPoint, Key, Object};

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
            if with_clsact.insert(ifindex) {
                requests.push(step, filter::add_clsact(ifindex));
            }
            requests.push(step, filter::attach(ifindex, hook, program, name));
        }
        requests.send(&mut self.host)
    }

    pub(super) fn detach(&mut self, steps: &[Step]) -> Result<(), ApplyError> {
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
