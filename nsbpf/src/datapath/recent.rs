//! What processors have counted of flows and not told yet.

use std::collections::HashMap;
use std::ptr::{NonNull, null_mut};
use std::sync::LazyLock;
use std::time::Duration;

use aya::maps::{MapData, MapError};
use aya::sys::SyscallError;
use aya::util::nr_cpus;
use nsbpf_common::flow::{Flow, FlowKey, RecentFlow};
use nsbpf_common::stats::Cell;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::DatapathError;
use super::load::RECENT_FLOWS;
use super::ports::map_error;
use super::tick;
use crate::state::Datapath;
use crate::store::Store;

/// How often a processor tells what it keeps of a flow that goes on. Its entry has to be
/// seen in use from time to time, to stay where others want its room.
pub(super) const TELL_AGE: Duration = Duration::from_secs(1);

/// What the places of all processors may take, in bytes: with more processors each has
/// fewer, and fewer flows.
const MAX_BYTES: usize = 16 << 20;
/// Places that a processor has at least.
const MIN_PLACES: u32 = 256;

/// Processors that there could be.
static PROCESSORS: LazyLock<u32> =
    LazyLock::new(|| nr_cpus().ok().and_then(|count| count.try_into().ok()).unwrap_or(1));

/// Places for each processor: one a flow, if there is room.
pub(super) fn places(datapath: &Datapath) -> u32 {
    if datapath.flows == 0 {
        return 1;
    }
    let all = u32::try_from(MAX_BYTES / size_of::<RecentFlow>()).unwrap_or(u32::MAX);
    datapath.flows.min(all / *PROCESSORS).max(MIN_PLACES)
}

/// Places for all processors.
pub(super) fn entries(datapath: &Datapath) -> u32 {
    places(datapath).saturating_mul(*PROCESSORS)
}

/// The places of all processors, as they are from moment to moment.
pub(super) struct RecentFlows {
    start: NonNull<RecentFlow>,
    places: usize,
}

impl RecentFlows {
    pub(super) fn open(store: &Store) -> Result<Self, DatapathError> {
        let map = MapData::from_pin(store.pins().join(RECENT_FLOWS));
        let map = map.map_err(map_error("open", RECENT_FLOWS))?;
        let info = map.info().map_err(map_error("look at", RECENT_FLOWS))?;
        let (places, size) = (info.max_entries() as usize, size_of::<RecentFlow>());
        if info.value_size() as usize != size {
            let (expected, size) = (size, info.value_size() as usize);
            let wrong = MapError::InvalidValueSize { size, expected };
            return Err(map_error("open", RECENT_FLOWS)(wrong));
        }
        // SAFETY: memory of its own, wherever the kernel puts it.
        let mapped = unsafe {
            mmap(null_mut(), places * size, ProtFlags::READ, MapFlags::SHARED, map.fd(), 0)
        };
        let start = mapped.map_err(|error| {
            let io_error = error.into();
            map_error("read", RECENT_FLOWS)(SyscallError { call: "mmap", io_error }.into())
        })?;
        match NonNull::new(start.cast()) {
            Some(start) => Ok(Self { start, places }),
            None => Err(DatapathError::Missing(RECENT_FLOWS)),
        }
    }

    fn at(&self, place: usize) -> RecentFlow {
        assert!(place < self.places, "there is no place {place}");
        // SAFETY: inside of what was mapped.
        let place = unsafe { self.start.add(place) };
        // SAFETY: aligned, as the kernel maps whole pages. What is there are integers, which
        // a processor may write meanwhile.
        unsafe { place.read_volatile() }
    }

    /// Where something is kept of which flows.
    pub(super) fn look(&self) -> Kept {
        let mut kept: HashMap<FlowKey, Vec<(usize, RecentFlow)>> = HashMap::new();
        for number in 0..self.places {
            let place = self.at(number);
            if place.kept() != [Cell::default(); 2] {
                kept.entry(place.key()).or_default().push((number, place));
            }
        }
        Kept(kept)
    }

    /// A flow whose entry was read after that look, with what was kept of it then; `None`
    /// if a processor has told that meanwhile, so that it may be in the entry or not.
    pub(super) fn complete(&self, look: &Kept, key: &FlowKey, flow: &Flow) -> Option<Flow> {
        let mut flow = *flow;
        for (number, then) in look.0.get(key).into_iter().flatten() {
            let now = self.at(*number);
            if !now.goes_on_from(then) {
                return None;
            }
            flow.see(now.seen_ns(tick::nanoseconds()));
            for (direction, cell) in flow.directions.iter_mut().zip(then.kept()) {
                direction.packets += cell.packets;
                direction.bytes += cell.bytes;
            }
        }
        Some(flow)
    }
}

impl Drop for RecentFlows {
    fn drop(&mut self) {
        let bytes = self.places * size_of::<RecentFlow>();
        // SAFETY: what `open` mapped, to which nothing leads any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), bytes) };
    }
}

/// What was kept at one time, by flow, and where.
pub(super) struct Kept(HashMap<FlowKey, Vec<(usize, RecentFlow)>>);

impl Kept {
    /// Whether something was kept of a flow.
    pub(super) fn has(&self, key: &FlowKey) -> bool {
        self.0.contains_key(key)
    }

    /// What is kept of a flow now, at the same places.
    pub(super) fn again(&self, flows: &RecentFlows, key: &FlowKey) -> Self {
        let places = self.0.get(key).into_iter().flatten();
        let now = places.map(|(number, _)| (*number, flows.at(*number)));
        let now: Vec<_> = now.filter(|(_, place)| place.is_of(key)).collect();
        Self(HashMap::from([(*key, now)]))
    }
}
