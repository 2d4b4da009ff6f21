//! Flows: how many there is room for.

use crate::state::Datapath;

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
