//! What rules counted, and what else became of packets.

use aya::maps::{MapData, PerCpuArray};
use nsbpf_common::policy::{PolicyEvents, RuleStats};

use super::maps::{POLICY_EVENTS, RULE_STATS, pin_in};
use crate::datapath::DatapathError;
use crate::datapath::ports::{map_error, open_pin};
use crate::state::{Datapath, PolicyRoom};
use crate::store::Store;

/// What was counted, summed over all processors.
#[derive(Clone, Debug, Default)]
pub struct RuleCounts {
    /// Of each slot that was asked for, in that order.
    pub rules: Vec<RuleStats>,
    /// What packets had more to be done about than to count them.
    pub events: PolicyEvents,
}

/// Reads the counters of some slots of a lab's policy.
///
/// # Errors
/// A map is not there, or has no such slot.
pub fn rule_counts(
    store: &Store,
    datapath: &Datapath,
    slots: impl Iterator<Item = u32>,
) -> Result<RuleCounts, DatapathError> {
    let Some(room) = datapath.policy else { return Ok(RuleCounts::default()) };
    let rules = of_slots(store, room, slots)?;
    Ok(RuleCounts { rules, events: policy_events(store, datapath)? })
}

/// Reads what else became of packets.
///
/// # Errors
/// The map is not there.
pub fn policy_events(store: &Store, datapath: &Datapath) -> Result<PolicyEvents, DatapathError> {
    let Some(room) = datapath.policy else { return Ok(PolicyEvents::default()) };
    let map: PerCpuArray<MapData, PolicyEvents> =
        open_pin(store, &pin_in(room, POLICY_EVENTS), POLICY_EVENTS)?;
    let values = map.get(&0, 0).map_err(map_error("read", POLICY_EVENTS))?;
    let mut events = PolicyEvents::default();
    for value in values.iter() {
        events += *value;
    }
    Ok(events)
}

fn of_slots(
    store: &Store,
    room: PolicyRoom,
    slots: impl Iterator<Item = u32>,
) -> Result<Vec<RuleStats>, DatapathError> {
    let map: PerCpuArray<MapData, RuleStats> =
        open_pin(store, &pin_in(room, RULE_STATS), RULE_STATS)?;
    let read = |slot: u32| {
        let values = map.get(&slot, 0).map_err(map_error("read", RULE_STATS))?;
        let mut sum = RuleStats::default();
        for value in values.iter() {
            sum += *value;
        }
        Ok(sum)
    };
    slots.map(read).collect()
}
