//! The one processor that everything runs on: whoever sends also forwards and
//! receives, so that the figure is the time that the path takes, and nothing
//! overflows while one processor waits for another. Some of TCP is for two.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

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
    /// Whether those two are threads of one core.
    pub siblings: bool,
}

impl Processors {
    /// The last that the calling thread may use, as interrupts tend to go to the first, and
    /// another, of another core if there is one.
    pub(super) fn choose() -> Result<Self, BenchError> {
        let allowed = sched_getaffinity(None)
            .map_err(|errno| io_error("ask for processors to use")(errno.into()))?;
        let allowed: Vec<usize> =
            (0..CpuSet::MAX_CPU).rev().filter(|number| allowed.is_set(*number)).collect();
        let one = allowed.first().copied().unwrap_or(0);
        let siblings = siblings(one);
        let others = || allowed.iter().copied().filter(|number| *number != one);
        let other = others().find(|number| !siblings.contains(number)).or_else(|| others().next());
        let are_siblings = other.is_some_and(|other| siblings.contains(&other));
        Ok(Self { one, other, siblings: are_siblings })
    }

    /// One of them, or both if there are two.
    pub(super) fn up_to_two(self) -> Vec<usize> {
        [Some(self.one), self.other].into_iter().flatten().collect()
    }
}

/// Keeps the calling thread, and threads that it starts, to one processor.
pub(super) fn keep_to_one() -> Result<Processors, BenchError> {
    let processors = Processors::choose()?;
    keep_to(processors.one).map_err(io_error("keep to one processor"))?;
    Ok(processors)
}

/// Processors that are threads of the same core, itself included: `0,2` or `0-1`.
fn siblings(processor: usize) -> Vec<usize> {
    let path = format!("/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list");
    list(fs::read_to_string(path).unwrap_or_default().trim())
}

fn list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// The kernel's thread that does a processor's softirqs when there is too much for those
/// who raised them, or when it is running already.
pub(super) struct SoftirqThread {
    schedstat: PathBuf,
}

impl SoftirqThread {
    /// That of a processor; `None` where it is not seen, such as in a container.
    pub(super) fn find(processor: usize) -> Option<Self> {
        let name = format!("ksoftirqd/{processor}\n");
        let is_it = |process: &PathBuf| {
            fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm == name)
        };
        let mut processes = fs::read_dir("/proc").ok()?.flatten().map(|entry| entry.path());
        let schedstat = processes.find(is_it)?.join("schedstat");
        fs::read_to_string(&schedstat).ok().map(|_| Self { schedstat })
    }

    /// For how long it has run.
    pub(super) fn run_time(&self) -> Duration {
        let text = fs::read_to_string(&self.schedstat).unwrap_or_default();
        let first = text.split(' ').next().and_then(|ns| ns.parse().ok());
        Duration::from_nanos(first.unwrap_or_default())
    }
}

/// Keeps the calling thread to a processor.
pub(super) fn keep_to(processor: usize) -> io::Result<()> {
    let mut one = CpuSet::new();
    one.set(processor);
    Ok(sched_setaffinity(None, &one)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_of_a_core_are_listed() {
        assert_eq!(list("0"), [0]);
        assert_eq!(list("1,65"), [1, 65]);
        assert_eq!(list("2-3"), [2, 3]);
        assert_eq!(list(""), Vec::<usize>::new());
    }
}
