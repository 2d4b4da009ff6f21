//! The one processor that everything runs on: whoever sends also forwards and
//! receives, so that the figure is the time that the path takes, and nothing
//! overflows while one processor waits for another. Some of TCP is for two.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

use super::{BenchError, io_error};

/// Where things run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Processors {
    /// The processor of the caller, and of all threads that are not kept to another.
    pub one: usize,
    /// Where the receiver of a connection runs that is on two; `None` if the
    /// benchmark may use no other.
    pub other: Option<usize>,
}

/// Keeps the calling thread, and threads that it starts, to one processor: the last
/// that it may use, as interrupts tend to go to the first.
pub(super) fn keep_to_one() -> Result<Processors, BenchError> {
    let failed = || io_error("keep to one processor");
    let allowed = sched_getaffinity(None).map_err(|errno| failed()(errno.into()))?;
    let mut allowed = (0..CpuSet::MAX_CPU).rev().filter(|number| allowed.is_set(*number));
    let processors = Processors { one: allowed.next().unwrap_or(0), other: allowed.next() };
    keep_to(processors.one).map_err(failed())?;
    Ok(processors)
}

/// Keeps the calling thread to a processor.
pub(super) fn keep_to(processor: usize) -> io::Result<()> {
    let mut one = CpuSet::new();
    one.set(processor);
    Ok(sched_setaffinity(None, &one)?)
}
