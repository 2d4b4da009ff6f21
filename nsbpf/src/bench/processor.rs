//! The one processor that everything runs on: whoever sends also forwards and
//! receives, so that the figure is the time that the path takes, and nothing
//! overflows while one processor waits for another.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{BenchError, io_error};

/// Keeps the calling thread, and threads that it starts, to one processor: the last
/// that it may use, as interrupts tend to go to the first. Returns its number.
pub(super) fn keep_to_one() -> Result<usize, BenchError> {
    let failed = || io_error("keep to one processor");
    let allowed = sched_getaffinity(None).map_err(|errno| failed()(errno.into()))?;
    let last = (0..CpuSet::MAX_CPU).rev().find(|number| allowed.is_set(*number)).unwrap_or(0);
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).map_err(|errno| failed()(errno.into()))?;
    Ok(last)
}
