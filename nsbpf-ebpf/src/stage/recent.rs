//! Recent: what this processor keeps to itself of flows.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use nsbpf_common::flow::{FlowKey, RecentFlow, RecentRest};
use nsbpf_common::policy::Judgement;
use nsbpf_common::stats::Cell;
use nsbpf_common::verifier::of_two;

use super::clock;
use crate::maps::{RECENT_FLOWS, RECENT_PLACES, RECENT_RESTS, TELL_TICKS};

/// This processor's place for a flow, which may be another flow's.
pub struct Place {
    /// Its number among those of all processors.
    pub number: u32,
    /// Whether it is that flow's.
    pub is_its: bool,
    recent: &'static mut RecentFlow,
    rest: &'static mut RecentRest,
}

impl Place {
    /// For a flow.
    #[inline(always)]
    pub fn of(key: &FlowKey) -> Option<Self> {
        let places = RECENT_PLACES.load();
        // SAFETY: takes nothing and cannot fail.
        let cpu = unsafe { bpf_get_smp_processor_id() };
        let number = cpu * places + key.place(places);
        let (recent, rest) = numbered(number)?;
        let is_its = recent.is_of(key, || Some(&*rest));
        Some(Self { number, is_its, recent, rest })
    }

    /// Keeps a packet of the flow that it is of.
    #[inline(always)]
    pub fn keep(&mut self, direction: u8, cell: Cell) {
        self.recent.keep(direction, cell, tick());
    }

    /// Whether what is kept need not be told yet.
    #[inline(always)]
    pub fn may_wait(&self) -> bool {
        self.recent.may_wait(tick(), TELL_TICKS.load())
    }

    /// What was decided about a direction's packets.
    #[inline(always)]
    pub fn judgement(&self, direction: u8) -> Judgement {
        self.rest.judgements[of_two(direction)]
    }

    /// Notes that.
    #[inline(always)]
    pub fn set_judgement(&mut self, direction: u8, judgement: Judgement) {
        self.rest.judgements[of_two(direction)] = judgement;
    }

    /// Hands out what was kept; [`Place::end_taking`] is to follow.
    #[inline(always)]
    pub fn take(&mut self) -> [Cell; 2] {
        self.rest.take(self.recent)
    }

    /// Ends what [`Place::take`] began.
    #[inline(always)]
    pub fn end_taking(&mut self) {
        self.rest.end_taking();
    }

    /// Whether it is not for another flow to take.
    #[inline(always)]
    pub fn is_busy(&self) -> bool {
        self.recent.is_busy(tick(), TELL_TICKS.load())
    }

    /// Begins anew for the flow that it is of.
    #[inline(always)]
    pub fn renew(&mut self) {
        self.rest.renew(self.recent, tick(), clock::now_ns());
    }

    /// Is a flow's from now on. What was kept must have been taken.
    #[inline(always)]
    pub fn give(&mut self, key: &FlowKey) {
        self.rest.give(self.recent, key, tick(), clock::now_ns());
    }

    /// Has the next packet find the flow's entry.
    #[inline(always)]
    pub fn expire(&mut self) {
        self.recent.expire(tick(), TELL_TICKS.load());
    }
}

/// What is at a place, by its number.
#[inline(always)]
pub fn numbered(number: u32) -> Option<(&'static mut RecentFlow, &'static mut RecentRest)> {
    let recent = RECENT_FLOWS.get_ptr_mut(number)?;
    let rest = RECENT_RESTS.get_ptr_mut(number)?;
    // SAFETY: nobody else writes it, as for the packet's own memory.
    let recent = unsafe { &mut *recent };
    // SAFETY: likewise.
    let rest = unsafe { &mut *rest };
    Some((recent, rest))
}

#[inline(always)]
fn tick() -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "compared only")]
    let tick = clock::tick() as u32;
    tick
}
