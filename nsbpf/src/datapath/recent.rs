//! What processors have counted of flows and not told yet.

use std::collections::HashMap;
use std::fs;
use std::sync::LazyLock;
use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use nsbpf_common::flow::{Flow, FlowKey, RecentFlow, RecentRest};
use nsbpf_common::stats::Cell;

use super::DatapathError;
use super::load::{RECENT_FLOWS, RECENT_RESTS};
use super::mapped::Mapped;
use super::tick;
use crate::state::Datapath;
use crate::store::Store;

/// How often a processor tells what it keeps of a flow that goes on. Its entry has to be
/// seen in use from time to time, to stay where others want its room.
pub(super) const TELL_AGE: Duration = Duration::from_secs(1);

/// How often a place is read that changes all the time.
const TIMES: usize = 8;

/// What the places of all processors may take, in bytes: with more processors each has
/// fewer, and fewer flows.
const MAX_BYTES: usize = 16 << 20;
const PLACE_BYTES: usize = size_of::<RecentFlow>() + size_of::<RecentRest>();
/// Places that a processor has at least.
const MIN_PLACES: u32 = 256;

/// The numbers that processors could have: there may be gaps between them.
static PROCESSORS: LazyLock<u32> = LazyLock::new(|| {
    let possible = fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = possible.trim().rsplit([',', '-']).next().and_then(|last| last.parse().ok());
    last.map_or(1, |last: u32| last.saturating_add(1))
});

/// Places for each processor: one a flow, if there is room.
pub(super) fn places(datapath: &Datapath) -> u32 {
    if datapath.flows == 0 {
        return 1;
    }
    let all = u32::try_from(MAX_BYTES / PLACE_BYTES).unwrap_or(u32::MAX);
    datapath.flows.min(all / *PROCESSORS).max(MIN_PLACES)
}

/// Places for all processors.
pub(super) fn entries(datapath: &Datapath) -> u32 {
    places(datapath).saturating_mul(*PROCESSORS)
}

/// The places of all processors.
pub(super) struct RecentFlows {
    places: Mapped<RecentFlow>,
    rests: Mapped<RecentRest>,
}

/// A place where something was kept.
struct Place {
    number: usize,
    kept: [Cell; 2],
    rest: RecentRest,
}

impl RecentFlows {
    pub(super) fn open(store: &Store) -> Result<Self, DatapathError> {
        let places = Mapped::open(store, RECENT_FLOWS)?;
        Ok(Self { places, rests: Mapped::open(store, RECENT_RESTS)? })
    }

    /// Where something is kept of which flows.
    pub(super) fn look(&self) -> Kept {
        let mut kept: HashMap<FlowKey, Vec<Place>> = HashMap::new();
        for number in 0..self.places.entries {
            let Some((key, place)) = self.at(number) else { continue };
            kept.entry(key).or_default().push(place);
        }
        Kept(kept)
    }

    /// A place, if something is kept there, or is just being taken. One that is given to
    /// another flow in this very moment is read once more.
    fn at(&self, number: usize) -> Option<(FlowKey, Place)> {
        for _ in 0..TIMES {
            let rest = self.rests.at(number);
            fence(Ordering::Acquire);
            let place = self.places.at(number);
            fence(Ordering::Acquire);
            if self.rests.at(number) != rest {
                continue;
            }
            let kept = place.kept();
            let is_empty = kept == [Cell::default(); 2] && !rest.is_being_taken();
            return (!is_empty).then(|| (rest.key(&place), Place { number, kept, rest }));
        }
        None
    }

    /// A flow whose entry was read after that look, with what was kept of it then; `None`
    /// if a processor has told that meanwhile, so that it may be in the entry or not.
    pub(super) fn complete(&self, look: &Kept, key: &FlowKey, flow: &Flow) -> Option<Flow> {
        let mut flow = *flow;
        for Place { number, kept, rest: then } in look.0.get(key).into_iter().flatten() {
            let (place, rest) = (self.places.at(*number), self.rests.at(*number));
            if rest.key(&place) != *key || !rest.goes_on_from(then) || then.is_being_taken() {
                return None;
            }
            let tick_ns = tick::nanoseconds();
            let seen_ns = rest.seen_ns(&place, tick_ns);
            if RecentRest::is_over(seen_ns, flow.first_seen_ns, tick_ns) {
                continue;
            }
            flow.see(seen_ns);
            for (direction, cell) in flow.directions.iter_mut().zip(kept) {
                direction.packets += cell.packets;
                direction.bytes += cell.bytes;
            }
        }
        Some(flow)
    }
}

/// What was kept at one time, by flow, and where.
pub(super) struct Kept(HashMap<FlowKey, Vec<Place>>);

impl Kept {
    /// Whether something was kept of a flow.
    pub(super) fn has(&self, key: &FlowKey) -> bool {
        self.0.contains_key(key)
    }

    /// What is kept of a flow now, at the same places.
    pub(super) fn again(&self, flows: &RecentFlows, key: &FlowKey) -> Self {
        let places = self.0.get(key).into_iter().flatten();
        let now = places.filter_map(|place| flows.at(place.number));
        let now = now.filter(|(of, _)| of == key).map(|(_, place)| place).collect();
        Self(HashMap::from([(*key, now)]))
    }
}
