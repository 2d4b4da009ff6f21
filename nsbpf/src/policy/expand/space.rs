//! Boxes in the space of all packets.

use std::ops::RangeInclusive;

use nsbpf_common::policy::{Condition, Decision, FIELDS, RARE_FIELDS, ROUTED, Rare, field};

use crate::lab::policy::Ranges;
use crate::policy::{Kind, Ranked};

/// Fields of all kinds.
const ALL_FIELDS: usize = FIELDS + RARE_FIELDS;

/// The greatest value that a packet can have in each field. What reaches up to there is
/// open, so that trees see it.
const GREATEST: [u64; ALL_FIELDS] = [
    u64::MAX,
    u64::MAX,
    u64::MAX,
    u64::MAX,
    u64::MAX,
    0xff,
    0xffff,
    0xffff,
    0xfff,
    0xffff,
    0xffff_ffff_ffff,
    0xffff_ffff_ffff,
    0x3f,
    0x1_0000,
    2,
];

/// Some fields, each with a range that a packet's value has to be in.
pub(super) type Part = Vec<(u32, RangeInclusive<u64>)>;

/// A box: in a field that it says nothing of it is open.
#[derive(Clone, Copy)]
pub(super) struct Space {
    lows: [u64; ALL_FIELDS],
    highs: [u64; ALL_FIELDS],
    flags: (u8, u8),
}

impl Space {
    /// All packets that have these TCP flags of those that are looked at.
    pub(super) fn all((mask, flags): (u8, u8)) -> Self {
        Self { lows: [0; ALL_FIELDS], highs: [u64::MAX; ALL_FIELDS], flags: (mask, flags) }
    }

    /// The part of it that is in these ranges too.
    pub(super) fn within(&self, kind: Kind, part: &Part) -> Self {
        let mut within = *self;
        for (number, range) in part {
            let place = *number as usize;
            let (Some(low), Some(high), Some(greatest)) =
                (within.lows.get_mut(place), within.highs.get_mut(place), GREATEST.get(place))
            else {
                continue;
            };
            let is_v4 = kind == Kind::V4 && [field::SOURCE, field::DESTINATION].contains(number);
            let greatest = if is_v4 { u64::from(u32::MAX) } else { *greatest };
            *low = (*low).max(*range.start());
            if *range.end() < greatest {
                *high = (*high).min(*range.end());
            }
        }
        within
    }

    /// As a condition of packets of a kind.
    pub(super) fn ranked(&self, kind: Kind, decision: Decision) -> Ranked {
        let mut condition = Condition::ANY;
        condition.decision = decision;
        let mut rare = Rare::ANY;
        let sides = self.lows.iter().zip(&self.highs);
        let mut conditions = condition.lows.iter_mut().zip(&mut condition.highs);
        let mut rares = rare.lows.iter_mut().zip(&mut rare.highs);
        for (low, high) in sides {
            if let Some((to_low, to_high)) = conditions.next().or_else(|| rares.next()) {
                (*to_low, *to_high) = (*low, *high);
            }
        }
        (rare.flags_mask, rare.flags) = self.flags;
        Ranked { kind, condition, rare: (rare != Rare::ANY).then_some(rare) }
    }
}

/// A field in each of some ranges.
pub(super) fn parts(field: u32, ranges: &Ranges<u64>) -> Vec<Part> {
    ranges.iter().map(|range| vec![(field, range)]).collect()
}

/// Ordinary ports, each of which is one interface's.
pub(super) const ORDINARY: RangeInclusive<u64> = 0..=ROUTED - 1;

/// An address's two halves in each of some ranges of it: boxes that together are exactly
/// those.
pub(super) fn halves(kind: Kind, first: u32, rest: u32, ranges: &Ranges<u128>) -> Vec<Part> {
    let mut parts = Vec::new();
    for range in ranges.iter() {
        let (low, high) = range.into_inner();
        if kind == Kind::V4 {
            parts.push(vec![(first, half(low)..=half(high))]);
            continue;
        }
        let (mut from, mut to) = (half(low >> 64), half(high >> 64));
        let (start, end) = (half(low), half(high));
        if from == to {
            parts.push(vec![(first, from..=to), (rest, start..=end)]);
            continue;
        }
        if start != 0 {
            parts.push(vec![(first, from..=from), (rest, start..=u64::MAX)]);
            from += 1;
        }
        if end != u64::MAX {
            parts.push(vec![(first, to..=to), (rest, 0..=end)]);
            to -= 1;
        }
        if from <= to {
            parts.push(vec![(first, from..=to)]);
        }
    }
    parts
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest bits are meant")]
fn half(address: u128) -> u64 {
    address as u64
}
