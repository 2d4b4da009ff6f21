//! What is decided about packets, and the room that it takes.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Desired, Settings, link_local};
use crate::lab::InterfaceId;
use crate::plan::PlanError;
use crate::policy::{End, Ends, Source};
use crate::state::{Datapath, Key, Object, Policy, PolicyRoom, State};

impl Desired<'_> {
    /// The lab's policy, if it has one, and what its maps are to have room for. One that
    /// is in force is not compiled again.
    pub(super) fn policy(
        &mut self,
        ports: &HashMap<InterfaceId, u16>,
        settings: &Settings,
        state: &State,
    ) -> Result<Option<PolicyRoom>, PlanError> {
        let Some(policy) = &self.lab.policy else { return Ok(None) };
        if settings.flows == 0 {
            return Err(PlanError::PolicyWithoutFlows);
        }
        let source = Source::new(policy.clone(), self.ends(ports), settings.rules_file.clone());
        let digest = source.digest();
        let there = match state.objects.get(&Key::Datapath) {
            Some(Object::Datapath(Datapath { policy, .. })) => *policy,
            _ => None,
        };
        let is_in_force = match state.objects.get(&Key::Policy) {
            Some(Object::Policy(in_force)) => in_force.digest == digest,
            _ => false,
        };
        let room = match there {
            Some(there) if is_in_force => there,
            // That it becomes smaller is no reason to make maps anew.
            there => {
                let needed = room(&source)?;
                there.map_or(needed, |there| there.and(needed))
            }
        };
        let source = Some(Arc::new(source));
        self.add(Object::Policy(Policy { digest, settled: true, source }));
        Ok(Some(room))
    }

    /// What the policy is to know of the lab's interfaces.
    fn ends(&self, ports: &HashMap<InterfaceId, u16>) -> Ends {
        let end = |(id, interface): (InterfaceId, &crate::lab::Interface)| {
            let number = ports.get(&id).copied()?;
            let own = interface.addresses.iter().copied();
            // The kernel gives it the link-local one.
            let addresses = own.chain([link_local(self.mac(&id, number))]);
            let addresses = addresses.map(|address| address.addr()).collect();
            let is_router = self.is_router(&id);
            Some((id, End { number, addresses, is_router }))
        };
        Ends(self.lab.interfaces().filter_map(end).collect())
    }
}

fn room(source: &Source) -> Result<PolicyRoom, PlanError> {
    let compiled = &source.compiled().map_err(PlanError::Policy)?.compiled;
    let nodes = compiled.nodes.len();
    let (conditions, rares) = (compiled.conditions.len(), compiled.rares.len());
    PolicyRoom::of(nodes, conditions, rares, source.policy.rules.len())
        .ok_or(PlanError::PolicyTooLarge(nodes))
}
