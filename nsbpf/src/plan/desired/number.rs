//! Numbers of ports and bridges, and the slot that makes interface indices of
//! them.

use std::collections::{BTreeSet, HashMap};

use nsbpf_common::port::Slot;

use crate::lab::{InterfaceId, InterfaceName, Lab};
use crate::plan::PlanError;
use crate::state::{Key, Object, State};

/// Numbers of a slot: interfaces from below, bridges from above.
const NUMBERS: usize = 1 << 16;

/// A slot that follows from the lab's name, or the next one that is free.
pub(super) fn free_slot(lab: &Lab, state: &State) -> Result<Slot, PlanError> {
    let first = lab.name.hash() % u64::from(Slot::MAX);
    (0..u64::from(Slot::MAX))
        .map(|step| (first + step) % u64::from(Slot::MAX) + 1)
        .filter_map(|number| u16::try_from(number).ok())
        .filter(|number| !state.taken_slots.contains(number))
        .find_map(Slot::new)
        .ok_or(PlanError::NoSlot(state.taken_slots.len()))
}

/// Hands out numbers: those that are in use stay with whom they are with.
pub(super) struct Numbers<'a> {
    state: &'a State,
    interfaces: HashMap<&'a InterfaceId, u16>,
    used: BTreeSet<u16>,
    next: u16,
    next_bridge: u16,
}

impl<'a> Numbers<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        let mut interfaces = HashMap::new();
        let mut used = BTreeSet::new();
        for object in state.objects.values() {
            match object {
                Object::Veth(veth) => interfaces.extend(veth.ports()),
                Object::Bridge(bridge) => {
                    used.insert(bridge.number);
                }
                _ => {}
            }
        }
        used.extend(interfaces.values());
        Self { state, interfaces, used, next: 0, next_bridge: u16::MAX }
    }

    pub(super) fn of_interface(&mut self, id: &InterfaceId) -> Result<u16, PlanError> {
        if let Some(number) = self.interfaces.get(id) {
            return Ok(*number);
        }
        let number = (self.next..=u16::MAX).find(|number| !self.used.contains(number));
        let number = self.take(number)?;
        self.next = number;
        Ok(number)
    }

    pub(super) fn of_bridge(&mut self, name: &InterfaceName) -> Result<u16, PlanError> {
        if let Some(Object::Bridge(bridge)) = self.state.objects.get(&Key::Bridge(name.clone())) {
            return Ok(bridge.number);
        }
        let number = (0..=self.next_bridge).rev().find(|number| !self.used.contains(number));
        let number = self.take(number)?;
        self.next_bridge = number;
        Ok(number)
    }

    fn take(&mut self, number: Option<u16>) -> Result<u16, PlanError> {
        let number = number.ok_or(PlanError::TooManyPorts(NUMBERS))?;
        self.used.insert(number);
        Ok(number)
    }
}
