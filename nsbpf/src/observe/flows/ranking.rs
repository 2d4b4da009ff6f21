//! The first flows of many: no more of them are kept than are wanted.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use nsbpf_common::flow::{Flow, FlowKey};
use nsbpf_common::stats::Cell;

/// Which flows come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// Those of the most bytes.
    #[default]
    Bytes,
    /// Those of the most packets.
    Packets,
    /// Those whose last packet came last.
    Recent,
    /// Those that began first.
    Oldest,
    /// Those whose handshake took longest.
    Rtt,
}

impl Sort {
    /// The higher, the further in front.
    fn rank(self, flow: &Flow) -> u64 {
        let [one, other] = &flow.directions;
        match self {
            Self::Bytes => one.bytes.saturating_add(other.bytes),
            Self::Packets => one.packets.saturating_add(other.packets),
            Self::Recent => flow.last_seen_ns,
            Self::Oldest => u64::MAX - flow.first_seen_ns,
            Self::Rtt => flow.handshake_ns.into(),
        }
    }
}

/// A flow that is to be shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) key: FlowKey,
    pub(super) flow: Flow,
    pub(super) settled: bool,
    /// What both ends had sent at the last look.
    pub(super) before: Option<[Cell; 2]>,
}

/// A flow and its rank. Where ranks are equal the lower key is in front, so that a list
/// does not change by itself.
struct Ranked {
    rank: u64,
    kept: Kept,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let ranks = self.rank.cmp(&other.rank);
        ranks.then_with(|| other.kept.key.cmp(&self.kept.key))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

/// Flows in order, the first so many of them.
pub(super) struct Ranking {
    sort: Sort,
    limit: usize,
    /// The last one is on top.
    heap: BinaryHeap<Reverse<Ranked>>,
}

impl Ranking {
    pub(super) fn new(sort: Sort, limit: Option<usize>) -> Self {
        Self { sort, limit: limit.unwrap_or(usize::MAX), heap: BinaryHeap::new() }
    }

    pub(super) fn add(&mut self, kept: Kept) {
        let one = Ranked { rank: self.sort.rank(&kept.flow), kept };
        if self.heap.len() < self.limit {
            self.heap.push(Reverse(one));
        } else if let Some(mut last) = self.heap.peek_mut()
            && last.0 < one
        {
            last.0 = one;
        }
    }

    /// The first one first.
    pub(super) fn finish(self) -> Vec<Kept> {
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|Reverse(one)| one.kept).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(number: u16, bytes: [u64; 2], first_seen_ns: u64) -> Kept {
        let key = FlowKey::new([[0; 4].into(); 2], [number, 0], 17);
        let mut flow = Flow::default();
        flow.begin(0, first_seen_ns);
        for (direction, bytes) in flow.directions.iter_mut().zip(bytes) {
            direction.bytes = bytes;
        }
        Kept { key, flow, settled: true, before: None }
    }

    fn first(sort: Sort, limit: Option<usize>) -> Vec<u16> {
        let mut ranking = Ranking::new(sort, limit);
        for one in [
            kept(1, [5, 5], 40),
            kept(2, [0, 30], 30),
            kept(3, [9, 1], 20),
            kept(4, [0, 0], 10),
            kept(5, [50, 0], 50),
        ] {
            ranking.add(one);
        }
        ranking.finish().iter().map(|one| one.key.ports_be()[0]).collect()
    }

    #[test]
    fn the_first_are_kept_in_order() {
        assert_eq!(first(Sort::Bytes, None), [5, 2, 1, 3, 4]);
        for limit in 0..=6 {
            assert_eq!(first(Sort::Bytes, Some(limit)), first(Sort::Bytes, None)[..limit.min(5)]);
        }
        assert_eq!(first(Sort::Oldest, Some(2)), [4, 3]);
    }
}
