//! What processors have counted of flows and not told yet.

use std::collections::HashMap;

use aya::maps::{MapData, PerCpuArray};
use nsbpf_common::flow::{Flow, FlowKey, RecentFlow};
use nsbpf_common::stats::Cell;

use super::DatapathError;
use super::load::RECENT_FLOWS;
use super::ports::map_error;

/// The places of all processors, at one time.
pub(super) struct Recent {
    places: Vec<RecentFlow>,
    /// Those where something is kept, by their flows.
    kept: HashMap<FlowKey, Vec<usize>>,
}

impl Recent {
    pub(super) fn read(map: &PerCpuArray<MapData, RecentFlow>) -> Result<Self, DatapathError> {
        let mut places = Vec::new();
        for place in 0..map.len() {
            let values = map.get(&place, 0).map_err(map_error("read", RECENT_FLOWS))?;
            places.extend(values.iter().copied());
        }
        let mut kept: HashMap<_, Vec<_>> = HashMap::new();
        for (number, place) in places.iter().enumerate() {
            if place.pending != [Cell::default(); 2] {
                kept.entry(place.key).or_default().push(number);
            }
        }
        Ok(Self { places, kept })
    }

    /// Whether something is kept of a flow.
    pub(super) fn has(&self, key: &FlowKey) -> bool {
        self.kept.contains_key(key)
    }

    /// A flow whose entry was read between this and a later look, with what was kept of it
    /// all that time. What a processor told meanwhile may be in the entry or not: it is
    /// left out, rather than counted twice.
    pub(super) fn complete(&self, key: &FlowKey, flow: &Flow, later: &Self) -> Flow {
        let mut flow = *flow;
        for number in self.kept.get(key).into_iter().flatten() {
            let [then, now] = [self, later].map(|look| &look.places[*number]);
            if !now.goes_on_from(then) {
                continue;
            }
            for (direction, cell) in flow.directions.iter_mut().zip(then.pending) {
                direction.packets += cell.packets;
                direction.bytes += cell.bytes;
            }
        }
        flow
    }
}
