//! The tick of the kernel, by which the programs tell the time.

use std::time::Duration;

use rustix::time::{ClockId, clock_getres};

/// How long it takes: the coarse clock advances by one at a time (`KTIME_LOW_RES`, Linux
/// 6.18).
pub(super) fn nanoseconds() -> u32 {
    let resolution = clock_getres(ClockId::MonotonicCoarse);
    u32::try_from(resolution.tv_nsec).unwrap_or(0).max(1)
}

/// Ticks in a time.
pub(super) fn in_time(time: Duration) -> u32 {
    u32::try_from(time.as_nanos() / u128::from(nanoseconds())).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_as_many_ticks_as_kernels_can_have() {
        let ticks = in_time(Duration::from_secs(1));
        assert!([100, 250, 300, 1000].contains(&ticks), "{ticks}");
    }
}
