//! Flows: how many there is room for, and reading them.

use std::collections::HashMap;

use aya::maps::{MapData, PerCpuArray};
use nsbpf_common::flow::{Flow, FlowEvents, FlowKey, RecentFlow};

use super::DatapathError;
use super::load::{FLOW_EVENTS, FLOWS, NEW_FLOWS, RECENT_FLOWS};
use super::ports::{map_error, open};
use super::recent::Recent;
use super::table::{Reading, Table};
use crate::state::Datapath;
use crate::store::Store;

/// New flows are at least so many, and half of those that last: many flows that begin
/// at a time should see a second packet before they are forgotten.
const MIN_NEW: u32 = 1 << 12;

/// Entries of the map of flows that last: one, which is not used, where none are
/// tracked.
pub(super) fn entries(datapath: &Datapath) -> u32 {
    datapath.flows.max(1)
}

/// Entries of the map of flows that are not answered yet.
pub(super) fn new_entries(datapath: &Datapath) -> u32 {
    match datapath.flows {
        0 => 1,
        flows => (flows / 2).max(MIN_NEW),
    }
}

/// Reads the flows of a lab.
pub struct FlowsReader {
    settled: Table<FlowKey, Flow>,
    new: Table<FlowKey, Flow>,
    recent: PerCpuArray<MapData, RecentFlow>,
    events: PerCpuArray<MapData, FlowEvents>,
    reading: Reading,
}

impl FlowsReader {
    /// Opens the flows of a lab that is up.
    pub fn open(store: &Store) -> Result<Self, DatapathError> {
        Ok(Self {
            settled: Table::open(store, FLOWS)?,
            new: Table::open(store, NEW_FLOWS)?,
            recent: open(store, RECENT_FLOWS)?,
            events: open(store, FLOW_EVENTS)?,
            reading: Reading::default(),
        })
    }

    /// The same, which reads them in another way.
    #[must_use]
    pub fn by(self, reading: Reading) -> Self {
        Self { reading, ..self }
    }

    /// How many settled flows there is room for, and how many new ones.
    #[must_use]
    pub fn room(&self) -> [u32; 2] {
        [self.settled.room(), self.new.room()]
    }

    /// Visits each flow, and tells whether it is settled.
    pub fn each(&self, mut visit: impl FnMut(&FlowKey, &Flow, bool)) -> Result<(), DatapathError> {
        let recent = Recent::read(&self.recent)?;
        let mut waiting = Vec::new();
        // In this order one that settles meanwhile is seen twice, and not never. The room
        // for new ones is small.
        let mut new = HashMap::new();
        self.new.each(self.reading, |key, flow| {
            new.insert(*key, *flow);
        })?;
        self.settled.each(self.reading, |key, flow| {
            if !new.is_empty() {
                new.remove(key);
            }
            if recent.has(key) {
                waiting.push((*key, *flow));
            } else {
                visit(key, flow, true);
            }
        })?;
        for (key, flow) in &new {
            visit(key, flow, false);
        }
        let later = Recent::read(&self.recent)?;
        for (key, flow) in &waiting {
            visit(key, &recent.complete(key, flow, &later), true);
        }
        Ok(())
    }

    /// What became of all flows that there ever were.
    pub fn events(&self) -> Result<FlowEvents, DatapathError> {
        let values = self.events.get(&0, 0).map_err(map_error("read", FLOW_EVENTS))?;
        let mut sum = FlowEvents::default();
        for FlowEvents { begun, settled, failed } in values.iter() {
            sum.begun += begun;
            sum.settled += settled;
            sum.failed += failed;
        }
        Ok(sum)
    }
}
