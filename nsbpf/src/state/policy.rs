//! What is decided about packets, and the room that it takes.

use std::fmt;
use std::sync::Arc;

use crate::policy::Source;

/// A policy that is in force, or is to be.
#[derive(Clone)]
pub struct Policy {
    /// Tells it from others: of what it says, and of the ends that it says it about.
    pub digest: [u8; 16],
    /// Whether nothing is left of putting another one in force that was cut short.
    pub settled: bool,
    /// What it is compiled from; `None` of one that was found.
    pub source: Option<Arc<Source>>,
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        let Self { digest, settled, source: _ } = self;
        (digest, settled) == (&other.digest, &other.settled)
    }
}

impl Eq for Policy {}

impl fmt::Debug for Policy {
    /// Without all that it says.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest, settled, source: _ } = self;
        let mut shown = formatter.debug_struct("Policy");
        shown.field("digest", digest).field("settled", settled).finish_non_exhaustive()
    }
}

/// What the maps of a policy have room for, in each half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PolicyRoom {
    /// Nodes of trees.
    pub nodes: u32,
    /// Conditions.
    pub conditions: u32,
    /// Conditions that ask what few do.
    pub rares: u32,
    /// Slots for the counters and limits of rules, of both halves together.
    pub slots: u32,
}

impl PolicyRoom {
    /// What most labs never outgrow.
    const LEAST: Self = Self { nodes: 1 << 12, conditions: 1 << 9, rares: 1 << 6, slots: 1 << 10 };

    /// Room for a policy of so many, and some more: that a little is added to it is to
    /// leave the maps as they are. `None` if there are more than maps can have.
    #[must_use]
    pub fn of(nodes: usize, conditions: usize, rares: usize, rules: usize) -> Option<Self> {
        // The default has a slot; rules that are replaced keep theirs as long as packets
        // are judged by them.
        let slots = rules.checked_mul(2)?.checked_add(1)?;
        let least = Self::LEAST;
        Some(Self {
            nodes: roomy(nodes)?.max(least.nodes),
            conditions: roomy(conditions)?.max(least.conditions),
            rares: roomy(rares)?.max(least.rares),
            slots: roomy(slots)?.max(least.slots),
        })
    }

    /// Room for what fits into either.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let Self { nodes, conditions, rares, slots } = self;
        Self {
            nodes: nodes.max(other.nodes),
            conditions: conditions.max(other.conditions),
            rares: rares.max(other.rares),
            slots: slots.max(other.slots),
        }
    }
}

/// The next multiple of an eighth of the next power of two: a power of two itself would
/// waste up to half of what can be a hundred megabytes.
fn roomy(count: usize) -> Option<u32> {
    /// Two halves of the largest entries stay below what a map may take.
    const MOST: usize = 1 << 24;
    let step = (count.checked_next_power_of_two()? / 8).max(1);
    let room = count.checked_next_multiple_of(step)?;
    if room > MOST { None } else { u32::try_from(room).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_all_and_little_more() {
        let least = PolicyRoom::of(0, 0, 0, 0).unwrap();
        assert_eq!(least, PolicyRoom::LEAST);
        assert_eq!(PolicyRoom::of(4096, 512, 64, 511), Some(least));
        let large = PolicyRoom::of(5000, 600, 65, 10_000).unwrap();
        assert_eq!((large.nodes, large.conditions, large.rares), (5120, 640, 80));
        assert_eq!(large.slots, 20_480);
        for count in [1, 7, 100, 4097, 1_000_000] {
            let room = roomy(count).unwrap() as usize;
            assert!(room >= count && room <= count + count / 4 + 1, "{count}: {room}");
        }
        assert_eq!(PolicyRoom::of(usize::MAX, 1, 1, 1), None);
        assert_eq!(PolicyRoom::of(1, 1, 1, usize::MAX), None);
    }
}
