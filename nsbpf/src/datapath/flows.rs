//! Flows: how many there is room for, and reading them.

use std::collections::HashMap;

use aya::maps::{MapData, PerCpuArray};
use nsbpf_common::flow::{Flow, FlowEvents, FlowKey};

use super::DatapathError;
use super::load::{FLOW_EVENTS, FLOWS, NEW_FLOWS};
use super::ports::{map_error, open};
use super::recent::{Kept, RecentFlows};
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
    recent: RecentFlows,
    events: PerCpuArray<MapData, FlowEvents>,
    reading: Reading,
}

impl FlowsReader {
    /// Opens the flows of a lab that is up.
    pub fn open(store: &Store) -> Result<Self, DatapathError> {
        Ok(Self {
            settled: Table::open(store, FLOWS)?,
            new: Table::open(store, NEW_FLOWS)?,
            recent: RecentFlows::open(store)?,
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
        let kept = self.recent.look();
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
            if kept.has(key) {
                waiting.push((*key, *flow));
            } else {
                visit(key, flow, true);
            }
        })?;
        for (key, flow) in &new {
            visit(key, flow, false);
        }
        for (key, flow) in &waiting {
            let whole = match self.recent.complete(&kept, key, flow) {
                Some(whole) => whole,
                None => self.once_more(&kept, key)?.unwrap_or(*flow),
            };
            visit(key, &whole, true);
        }
        Ok(())
    }

    /// A flow that was told of while all were read: read alone it takes a moment, in which
    /// that hardly happens again. `None` if it is gone, or happens all the time.
    fn once_more(&self, kept: &Kept, key: &FlowKey) -> Result<Option<Flow>, DatapathError> {
        const TIMES: usize = 8;
        for _ in 0..TIMES {
            let kept = kept.again(&self.recent, key);
            let Some(flow) = self.settled.get(key)? else { return Ok(None) };
            if let Some(whole) = self.recent.complete(&kept, key, &flow) {
                return Ok(Some(whole));
            }
        }
        Ok(None)
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
