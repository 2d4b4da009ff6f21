//! How long, and how much, the programs remember of what bridges decide.

use std::time::Duration;

use rustix::time::{ClockId, clock_getres};

use crate::state::Datapath;

/// For how long a path is taken before a packet takes the bridge again. What somebody
/// changes about a bridge holds for all after that time.
pub(super) const PATH_AGE: Duration = Duration::from_secs(5);
/// For how long a station is taken to be where it was seen. Neighbour discovery makes
/// one that is spoken to answer more often, and bridges forget one after 300 s.
pub(super) const STATION_AGE: Duration = Duration::from_secs(60);

/// Paths, and stations, that there is room for at least.
const MIN_ENTRIES: u32 = 1 << 12;
/// The same for each port, and at most.
const ENTRIES_A_PORT: u32 = 64;
const MAX_ENTRIES: u32 = 1 << 16;

/// Entries of the map of paths, and of that of stations.
pub(super) fn entries(datapath: &Datapath) -> u32 {
    if !datapath.switches.fast_paths {
        return 1;
    }
    let wanted = datapath.port_capacity.saturating_mul(ENTRIES_A_PORT);
    wanted.clamp(MIN_ENTRIES, MAX_ENTRIES)
}

/// Routes that there is room for: one for each direction of a flow that goes through a
/// router.
const ROUTE_ENTRIES: u32 = 1 << 15;

/// Entries of the map of routes.
pub(super) fn route_entries(datapath: &Datapath) -> u32 {
    if datapath.switches.routes { ROUTE_ENTRIES } else { 1 }
}

/// Ticks of the kernel in a time: the coarse clock advances by one at a time
/// (`KTIME_LOW_RES`, Linux 6.18).
pub(super) fn ticks(time: Duration) -> u32 {
    let resolution = clock_getres(ClockId::MonotonicCoarse);
    let tick_ns = u128::try_from(resolution.tv_nsec).unwrap_or(0).max(1);
    u32::try_from(time.as_nanos() / tick_ns).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_as_many_ticks_as_kernels_can_have() {
        let ticks = ticks(Duration::from_secs(1));
        assert!([100, 250, 300, 1000].contains(&ticks), "{ticks}");
    }
}
