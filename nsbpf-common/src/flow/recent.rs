//! Packets of flows that one processor has counted and not told yet.
//!
//! A flow's entry is found by a hash of its key, behind several cache lines, and other
//! processors may add to it at the same time. A processor does that from time to time for
//! each flow and keeps what follows to itself, in a table of its own in which a place is
//! found by a multiplication. Whoever reads flows adds what is in there.

use super::FlowKey;
use crate::abi::abi;
use crate::packet::Family;
use crate::policy::Judgement;
use crate::stats::Cell;
use crate::verifier::of_two;

/// A place: what is of a flow and not in its entry. One cache line, and all that most
/// packets need: where it has to be fetched, that takes longer than all else about a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RecentFlow {
    /// Of the key, [`FlowKey::addresses`], the first half of each.
    low: [u64; 2],
    ends: u64,
    /// Of a place that was never used it is no flow's.
    kind: u64,
    seen_tick: u32,
    told_tick: u32,
    /// What each end sent.
    packets: [u32; 2],
    bytes: [u64; 2],
}

abi!(RecentFlow, size = 64, align = 8);

/// What else there is about a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct RecentRest {
    /// The other half of each address; of IPv4 there is none.
    high: [u64; 2],
    /// When what was kept was told, in nanoseconds of `CLOCK_MONOTONIC`.
    told_ns: u64,
    /// How often it began, or ended, to be taken: odd in between.
    taken: u64,
    /// What was decided about each direction's packets: only that they go on, without
    /// anything to be asked of each.
    pub judgements: [Judgement; 2],
    reserved: [u64; 2],
}

abi!(RecentRest, size = 64, align = 8);

impl RecentRest {
    /// The flow of the place that this is the rest of.
    #[inline(always)]
    #[must_use]
    pub const fn key(&self, place: &RecentFlow) -> FlowKey {
        let ([one, three], [two, four]) = (place.low, self.high);
        FlowKey { addresses: [[one, two], [three, four]], ends: place.ends, kind: place.kind }
    }

    /// Whether this is the rest of the place as it was then, of which nothing was taken
    /// since.
    #[must_use]
    pub const fn goes_on_from(&self, then: &Self) -> bool {
        self.taken == then.taken
    }

    /// Whether what was kept is taken at this moment: it is here no more, and may not be in
    /// the flow's entry yet.
    #[must_use]
    pub const fn is_being_taken(&self) -> bool {
        self.taken % 2 == 1
    }

    /// Whether what was kept, the last of it at that time, is of a connection that was over
    /// when one with the same addresses and ports began. Times of places are those of the
    /// kernel's ticks, which take so many nanoseconds.
    #[inline(always)]
    #[must_use]
    pub const fn is_over(seen_ns: u64, first_seen_ns: u64, tick_ns: u32) -> bool {
        seen_ns + 4 * (tick_ns as u64) < first_seen_ns
    }

    /// When the last packet came that is kept, in nanoseconds of `CLOCK_MONOTONIC`, to the
    /// kernel's tick, which takes so many.
    #[inline(always)]
    #[must_use]
    pub const fn seen_ns(&self, place: &RecentFlow, tick_ns: u32) -> u64 {
        let ticks = place.seen_tick.wrapping_sub(place.told_tick);
        self.told_ns + ticks as u64 * tick_ns as u64
    }

    /// Hands out what was kept. [`RecentRest::end_taking`] is to follow, once it is where it
    /// belongs.
    #[inline(always)]
    #[must_use]
    pub fn take(&mut self, place: &mut RecentFlow) -> [Cell; 2] {
        let kept = place.kept();
        (place.packets, place.bytes) = ([0; 2], [0; 2]);
        self.taken += 1;
        kept
    }

    /// Ends what [`RecentRest::take`] began.
    #[inline(always)]
    pub fn end_taking(&mut self) {
        self.taken += 1;
    }

    /// Gives the place to a flow a packet of which was told at that time. What was kept
    /// must have been taken.
    #[inline(always)]
    pub fn give(&mut self, place: &mut RecentFlow, key: &FlowKey, tick: u32, now_ns: u64) {
        let [[one, two], [three, four]] = key.addresses;
        (place.low, self.high) = ([one, three], [two, four]);
        (place.ends, place.kind) = (key.ends, key.kind);
        self.judgements = [Judgement::NONE; 2];
        self.renew(place, tick, now_ns);
    }

    /// Begins anew for the same flow, a packet of which was told at that time.
    #[inline(always)]
    pub fn renew(&mut self, place: &mut RecentFlow, tick: u32, now_ns: u64) {
        (place.told_tick, place.seen_tick, self.told_ns) = (tick, tick, now_ns);
    }
}

impl RecentFlow {
    /// Whether the place is that flow's. The rest is looked at only of IPv6.
    #[inline(always)]
    #[must_use]
    pub fn is_of<'a>(&self, key: &FlowKey, rest: impl FnOnce() -> Option<&'a RecentRest>) -> bool {
        let [[one, two], [three, four]] = key.addresses;
        let [first, third] = self.low;
        let differs =
            (one ^ first) | (three ^ third) | (key.ends ^ self.ends) | (key.kind ^ self.kind);
        if differs != 0 {
            return false;
        }
        if matches!(key.family(), Family::Ipv4) {
            return true;
        }
        rest().is_some_and(|RecentRest { high: [second, fourth], .. }| {
            (two ^ second) | (four ^ fourth) == 0
        })
    }

    /// Whether what is kept need not be told yet, if that is to be done every so many ticks.
    #[inline(always)]
    #[must_use]
    pub const fn may_wait(&self, tick: u32, tell_ticks: u32) -> bool {
        tick.wrapping_sub(self.told_tick) < tell_ticks
    }

    /// Whether the place is not for another flow to take: until its flow had no packet for
    /// a quarter of that time.
    #[inline(always)]
    #[must_use]
    pub const fn is_busy(&self, tick: u32, tell_ticks: u32) -> bool {
        tick.wrapping_sub(self.seen_tick) < tell_ticks / 4
    }

    /// Keeps a packet that came in a tick.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "of one second, or of one packet")]
    pub fn keep(&mut self, direction: u8, cell: Cell, tick: u32) {
        let direction = of_two(direction);
        self.packets[direction] += cell.packets as u32;
        self.bytes[direction] += cell.bytes;
        self.seen_tick = tick;
    }

    /// What is kept of each direction.
    #[inline(always)]
    #[must_use]
    pub fn kept(&self) -> [Cell; 2] {
        let ([one, other], [first, second]) = (self.packets, self.bytes);
        [(one, first), (other, second)]
            .map(|(packets, bytes)| Cell { packets: packets.into(), bytes })
    }

    /// Has the next packet find the flow's entry, and any flow take the place.
    #[inline(always)]
    pub fn expire(&mut self, tick: u32, tell_ticks: u32) {
        let past = tick.wrapping_sub(tell_ticks);
        (self.told_tick, self.seen_tick) = (past, past);
    }
}
