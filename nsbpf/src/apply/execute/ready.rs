//! Devices that are ready when a step is done, and not some seconds later.

use std::collections::BTreeMap;

use super::{Executor, failed};
use crate::apply::ApplyError;
use crate::net::carrier;
use crate::plan::Step;
use crate::state::{Object, Place};

/// Interface indices by the places that their devices are in, each place with a
/// step that is about it.
pub(super) type Devices<'a> = BTreeMap<&'a Place, (&'a Step, Vec<u32>)>;

impl Executor<'_> {
    /// The devices that steps which add or change something are about.
    pub(super) fn devices<'a>(&self, steps: &'a [Step]) -> Result<Devices<'a>, ApplyError> {
        let mut devices = Devices::new();
        for step in steps {
            let (Step::Add(object) | Step::Change { to: object, .. }) = step else { continue };
            let (Object::Up(_) | Object::Flood(_)) = object else { continue };
            let Some(device) = object.device() else { continue };
            let ifindex = self.slot(step)?.ifindex(device.number);
            devices.entry(&device.place).or_insert((step, Vec::new())).1.push(ifindex);
        }
        Ok(devices)
    }

    /// Has the kernel act now on carriers that came with these steps.
    pub(super) fn settle(&mut self, devices: &Devices<'_>) -> Result<(), ApplyError> {
        for (place, (step, links)) in devices {
            let socket = self.sockets.get(step, place)?;
            carrier::settle(socket, links).map_err(|error| failed(step, error))?;
        }
        Ok(())
    }
}
