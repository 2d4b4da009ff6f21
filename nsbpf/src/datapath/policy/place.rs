//! Into the half that is not in force, and in force.

use std::collections::{HashMap, HashSet};

use aya::maps::{MapData, PerCpuArray};
use nsbpf_common::policy::{Action, Decision, PolicyHead, RuleSetting, RuleStats, half};

use super::head::in_room;
use super::layout::{Base, Layout};
use super::maps::{
    POLICY_CONDS, POLICY_HEADS, POLICY_NODES, POLICY_NOW, POLICY_RARES, RULE_SETTINGS, RULE_STATS,
    pin_in,
};
use super::slots;
use crate::datapath::DatapathError;
use crate::datapath::mapped::{Mapped, Writable};
use crate::datapath::ports::{map_error, open_pin, zeros};
use crate::policy::Compiled;
use crate::state::{Datapath, PolicyRoom};
use crate::store::Store;

/// All that the kernel half is told of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Placing<'a> {
    /// Its tables.
    pub compiled: &'a Compiled,
    /// What is done with packets that no rule is about.
    pub default: Action,
    /// Whether replies to what was allowed are allowed.
    pub established: bool,
    /// Whether some rule names ARP.
    pub about_arp: bool,
    /// Whether some rule names IPv6 neighbour discovery.
    pub about_discovery: bool,
    /// Limits and logs of the rules.
    pub settings: &'a [RuleSetting],
    /// Tells the policy from others.
    pub digest: [u8; 16],
}

/// A place for a policy: a half of the maps that is not in force, and slots for counters.
pub struct Draft<'a> {
    store: &'a Store,
    room: PolicyRoom,
    generation: u64,
    /// The default's slot, and those of the rules.
    slots: Vec<u32>,
    /// Slots that others had, or nobody.
    new: HashSet<u32>,
}

/// The first generation after some whose lowest bit is not that of the one in force.
fn next(after: u64, now: u64) -> u64 {
    let next = after.max(now) + 1;
    if now != 0 && (next ^ now) & 1 == 0 { next + 1 } else { next }
}

impl<'a> Draft<'a> {
    /// For these rules, by their names. `had` are slots that rules have already, `taken`
    /// those that packets may still be counted in, and `after` is a generation that there
    /// was: what flows remember of that is not to hold again.
    ///
    /// # Errors
    /// The datapath has no policy, or no room for so many rules.
    pub fn new(
        store: &'a Store,
        datapath: &Datapath,
        rules: &[&str],
        had: &HashMap<&str, u32>,
        taken: &HashSet<u32>,
        after: u64,
    ) -> Result<Self, DatapathError> {
        let room = datapath.policy.ok_or(DatapathError::NoPolicyRoom)?;
        let now = in_room(store, room)?.map_or(0, |now| now.generation);
        let assign = |taken: &HashSet<u32>| slots::assign(rules, had, taken, room.slots);
        // After kills there may be those of a third policy.
        let assigned = assign(taken).or_else(|| assign(&HashSet::new()));
        let rules = assigned.ok_or(DatapathError::NoPolicyRoom)?;
        let kept: HashSet<u32> = had.values().copied().collect();
        let new = rules.iter().copied().filter(|slot| !kept.contains(slot)).collect();
        let slots = std::iter::once(0).chain(rules).collect();
        Ok(Self { store, room, generation: next(after, now), slots, new })
    }

    /// For a policy that was in force in a generation, if it is still in its half.
    ///
    /// # Errors
    /// A map is not there.
    pub fn again(
        store: &'a Store,
        datapath: &Datapath,
        (generation, digest): (u64, [u8; 16]),
        slots: Vec<u32>,
        after: u64,
    ) -> Result<Option<Self>, DatapathError> {
        let room = datapath.policy.ok_or(DatapathError::NoPolicyRoom)?;
        let heads = pin_in(room, POLICY_HEADS);
        let heads = Mapped::<PolicyHead>::open_pin(store, &heads, POLICY_HEADS)?;
        let now = in_room(store, room)?.map_or(0, |now| now.generation);
        if heads.at(place(generation)).digest != digest {
            return Ok(None);
        }
        let after = after.max(now);
        let next = if (after ^ generation) & 1 == 0 { after + 2 } else { after + 1 };
        Ok(Some(Self { store, room, generation: next, slots, new: HashSet::new() }))
    }

    /// The generation that it will be.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Slots of the counters: the default's, and those of the rules.
    #[must_use]
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// Writes tables, limits and zeros. No program is on its way that may read the half.
    ///
    /// # Errors
    /// A map is not there, or too small.
    pub fn write(&self, placing: &Placing<'_>) -> Result<(), DatapathError> {
        let Self { store, room, generation, slots, .. } = self;
        let Placing { compiled, default, established, about_arp, about_discovery, .. } = placing;
        let fits = [
            (compiled.nodes.len(), room.nodes),
            (compiled.conditions.len(), room.conditions),
            (compiled.rares.len(), room.rares),
        ];
        if fits.iter().any(|(count, room)| *count > *room as usize) {
            return Err(DatapathError::NoPolicyRoom);
        }
        let base = Base::of(*generation, *room);
        let Layout { nodes, conditions, roots } = Layout::new(compiled, base, slots);
        let put = |base: u32| base as usize;
        let pin = |map| pin_in(*room, map);
        let mut heads = Writable::<PolicyHead>::open_pin(store, &pin(POLICY_HEADS), POLICY_HEADS)?;
        // While tables are written there is none: a head tells that all of it is there.
        heads.set(place(*generation), PolicyHead::default());
        Writable::open_pin(store, &pin(POLICY_NODES), POLICY_NODES)?.fill(put(base.node), &nodes);
        Writable::open_pin(store, &pin(POLICY_CONDS), POLICY_CONDS)?
            .fill(put(base.condition), &conditions);
        Writable::open_pin(store, &pin(POLICY_RARES), POLICY_RARES)?
            .fill(put(base.rare), &compiled.rares);
        let mut head = PolicyHead::default()
            .established(*established)
            .about_arp(*about_arp)
            .about_discovery(*about_discovery);
        head.roots = roots;
        head.default = Decision::new(*default, false, 0);
        head.digest = placing.digest;
        heads.set(place(*generation), head);
        self.forget()?;
        self.set(placing.settings, true)
    }

    /// Begins the counters of rules that are new.
    fn forget(&self) -> Result<(), DatapathError> {
        let pin = pin_in(self.room, RULE_STATS);
        let mut map: PerCpuArray<MapData, RuleStats> = open_pin(self.store, &pin, RULE_STATS)?;
        for slot in &self.new {
            // Most slots were never used.
            let counted = map.get(slot, 0).map_err(map_error("read", RULE_STATS))?;
            if counted.iter().all(|counted| *counted == RuleStats::default()) {
                continue;
            }
            map.set(*slot, zeros::<RuleStats>()?, 0).map_err(map_error("write", RULE_STATS))?;
        }
        Ok(())
    }

    /// Writes the limits of the rules that stay, once it is in force: those that changed begin
    /// anew, and until then the ones before hold.
    ///
    /// # Errors
    /// The map is not there.
    pub fn settle(&self, settings: &[RuleSetting]) -> Result<(), DatapathError> {
        self.set(settings, false)
    }

    /// Writes the limits of rules that are new, or of those that stay.
    fn set(&self, settings: &[RuleSetting], of_new: bool) -> Result<(), DatapathError> {
        let pin = pin_in(self.room, RULE_SETTINGS);
        let mut map = Writable::<RuleSetting>::open_pin(self.store, &pin, RULE_SETTINGS)?;
        for (slot, setting) in self.slots.iter().skip(1).zip(settings) {
            if self.new.contains(slot) != of_new {
                continue;
            }
            let RuleSetting { due_ns, .. } = map.at(*slot as usize);
            // What processors exchange is left to them.
            if of_new || map.at(*slot as usize) != (RuleSetting { due_ns, ..*setting }) {
                map.set(*slot as usize, *setting);
            }
        }
        Ok(())
    }

    /// Puts it in force.
    ///
    /// # Errors
    /// The map is not there.
    pub fn flip(&self) -> Result<(), DatapathError> {
        store_now(self.store, self.room, self.generation)
    }
}

/// Has packets judged by no policy, until another is in force.
///
/// # Errors
/// The map is not there.
pub fn suspend(store: &Store, datapath: &Datapath) -> Result<(), DatapathError> {
    datapath.policy.map_or(Ok(()), |room| store_now(store, room, 0))
}

fn store_now(store: &Store, room: PolicyRoom, generation: u64) -> Result<(), DatapathError> {
    let mut now = Writable::<u64>::open_pin(store, &pin_in(room, POLICY_NOW), POLICY_NOW)?;
    now.publish(0, generation);
    Ok(())
}

/// The place of a policy's head.
fn place(generation: u64) -> usize {
    half(generation) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_new_and_has_the_other_half() {
        for (after, now, expected) in [(0, 0, 1), (7, 0, 8), (7, 7, 8), (8, 7, 10), (3, 8, 9)] {
            assert_eq!(next(after, now), expected, "{after} {now}");
        }
    }
}
