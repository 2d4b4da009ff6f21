//! Packets of flows that one processor has counted and not told yet.
//!
//! A flow's entry is found by a hash of its key, and other processors may add to it at
//! the same time. Within a tick of the kernel a processor does that once for each flow
//! and keeps what follows to itself, in a small table that nobody else writes. Whoever
//! reads flows adds what is in there.

use super::FlowKey;
use crate::abi::abi;
use crate::stats::Cell;

/// Places in the table of a processor.
pub const RECENT_FLOWS: u32 = 256;

/// A place: what is of a flow and not in its entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RecentFlow {
    /// The flow. Of a place that was never used it is none's.
    pub key: FlowKey,
    /// What each end sent.
    pub pending: [Cell; 2],
    tick: u32,
    reserved: u32,
}

abi!(RecentFlow, size = 88, align = 8);

impl RecentFlow {
    /// Whether the place is that flow's.
    #[inline(always)]
    #[must_use]
    pub fn is_of(&self, key: &FlowKey) -> bool {
        self.key.is(key)
    }

    /// Whether this is the place as it was then, but for what was kept since.
    #[must_use]
    pub fn goes_on_from(&self, then: &Self) -> bool {
        self.is_of(&then.key) && self.is_in_use(then.tick)
    }

    /// Whether it was used in that tick.
    #[inline(always)]
    #[must_use]
    pub fn is_in_use(&self, tick: u32) -> bool {
        self.tick == tick
    }

    /// Keeps a packet.
    #[inline(always)]
    pub fn keep(&mut self, direction: u8, cell: Cell) {
        if let Some(pending) = self.pending.get_mut(usize::from(direction)) {
            *pending += cell;
        }
    }

    /// Hands out what was kept.
    #[inline(always)]
    #[must_use]
    pub fn take(&mut self) -> [Cell; 2] {
        core::mem::take(&mut self.pending)
    }

    /// Gives the place to a flow, for that tick. What was kept must have been taken.
    #[inline(always)]
    pub fn give(&mut self, key: &FlowKey, tick: u32) {
        self.key = *key;
        self.tick = tick;
    }

    /// Has the next packet find the flow's entry.
    #[inline(always)]
    pub fn expire(&mut self) {
        self.tick = self.tick.wrapping_sub(1);
    }
}
