//! What interfaces leave to their drivers: changed where XDP needs it, noted before and
//! put back after.

use super::{Executor, failed};
use crate::apply::{ApplyError, Cause};
use crate::net::link;
use crate::net::offload::{Ethtool, Found};
use crate::net::socket::Request;
use crate::plan::Step;
use crate::state::{Device, Feature, Features, Offloads};
use crate::store::FormerFeatures;

impl Executor<'_> {
    /// Sets features, and notes first how they were; what is noted and not wanted any
    /// more is put back, and then forgotten. So the note tells what to put back whenever
    /// this is cut short.
    pub(super) fn set_offloads(&mut self, step: &Step, to: &Offloads) -> Result<(), ApplyError> {
        let ifindex = self.slot(step)?.ifindex(to.device.number);
        let found = self.ask(step, to, |ethtool| Ok(ethtool.get(ifindex)?))?;
        let mut wanted = to.features();
        wanted.retain(|feature, _| found.knows(*feature));
        let interface = &to.id.interface;
        let before = self.store.former_features(&to.id.namespace);
        let before = before.map_err(|error| failed(step, error))?;
        let mut noted = before.clone();
        let former = noted.entry(interface.clone()).or_default();
        for feature in wanted.keys() {
            former.entry(*feature).or_insert_with(|| found.wants(*feature));
        }
        let mut changes = former.clone();
        changes.extend(&wanted);
        changes.retain(|feature, on| !found.is_so(*feature, *on));
        self.note(step, to, &before, &noted)?;
        self.change_features(step, to, &found, &changes)?;
        let mut left = noted.clone();
        if let Some(former) = left.get_mut(interface) {
            former.retain(|feature, _| wanted.contains_key(feature));
        }
        left.retain(|_, former| !former.is_empty());
        self.note(step, to, &noted, &left)
    }

    /// Puts features back.
    pub(super) fn reset_offloads(
        &mut self,
        step: &Step,
        from: &Offloads,
    ) -> Result<(), ApplyError> {
        let nothing = Offloads { sends_finished: false, receives_by_napi: false, ..from.clone() };
        self.set_offloads(step, &nothing)
    }

    /// Writes the note of a namespace, if it says something else now.
    fn note(
        &self,
        step: &Step,
        of: &Offloads,
        before: &FormerFeatures,
        now: &FormerFeatures,
    ) -> Result<(), ApplyError> {
        if before == now {
            return Ok(());
        }
        let done = self.store.note_former_features(&of.id.namespace, now);
        done.map_err(|error| failed(step, error))
    }

    /// Changes features of an interface. Whether the port behind it takes frames from
    /// XDP the kernel finds out when the port comes up, or when an interface that is up
    /// begins to receive by NAPI (`veth_set_xdp_features`, Linux 6.18): so the port of one
    /// that is down comes up once more. A port that a killed run left down is seen by
    /// the next one.
    fn change_features(
        &mut self,
        step: &Step,
        of: &Offloads,
        found: &Found,
        changes: &Features,
    ) -> Result<(), ApplyError> {
        if changes.is_empty() {
            return Ok(());
        }
        let Device { link: _, place, number } = &of.device;
        let ifindex = self.slot(step)?.ifindex(*number);
        let begins = changes.get(&Feature::Gro) == Some(&true) && !found.has(Feature::Gro);
        let is_up = link::is_up(self.sockets.get(step, place)?, ifindex);
        let again = begins && !is_up.map_err(|error| failed(step, error))?;
        if again {
            self.request_of_port(step, of, link::set_down(ifindex))?;
        }
        self.ask(step, of, |ethtool| Ok(ethtool.set(ifindex, changes)?))?;
        if again {
            self.request_of_port(step, of, link::set_up(ifindex))?;
        }
        Ok(())
    }

    fn request_of_port(
        &mut self,
        step: &Step,
        of: &Offloads,
        request: Request,
    ) -> Result<(), ApplyError> {
        let done = self.sockets.get(step, &of.port)?.request(request);
        done.map_err(|error| failed(step, error))
    }

    fn ask<T: Send>(
        &self,
        step: &Step,
        of: &Offloads,
        question: impl FnOnce(&mut Ethtool) -> Result<T, Cause> + Send,
    ) -> Result<T, ApplyError> {
        let netns = self.sockets.netns(step, &of.id.namespace)?;
        let done = netns.run(|| question(&mut Ethtool::open()?));
        done.map_err(Cause::from).and_then(|done| done).map_err(|error| failed(step, error))
    }
}
