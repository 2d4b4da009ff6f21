//! What many ports cost: attaching their programs, and reading their counters.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::apply::{self, Oversight, Wish};
use crate::bench::{BenchError, mode};
use crate::datapath::StatsReader;
use crate::lab::Lab;
use crate::plan::Step;
use crate::state::{IngressHook, Object};
use crate::store::Store;

/// Labs that are brought up: each takes seconds.
const LABS: usize = 3;
/// How often all counters are read.
const READS: usize = 21;

/// Samples, in seconds.
#[derive(Default)]
pub(in crate::bench) struct Ports {
    /// How many there are.
    pub(in crate::bench) count: u16,
    /// Attaching the programs of all ports, in both directions.
    pub(in crate::bench) attach: Vec<f64>,
    /// Reading the counters of all ports.
    pub(in crate::bench) read: Vec<f64>,
}

pub(in crate::bench) fn measure(count: u16) -> Result<Ports, BenchError> {
    let lab = Lab::parse(&lab(count), "the benchmark's lab").map_err(Box::new)?;
    let store = Store::new(&lab.name);
    let lock = store.lock()?;
    let settings = mode::settings(&store, Some(IngressHook::Tc), Wish::Any)?;
    let mut ports = Ports { count, ..Ports::default() };
    for number in 0..LABS {
        let watch = AttachWatch::default();
        apply::converge(&store, &lab, &settings, &watch)?;
        ports.attach.push(watch.attaching().as_secs_f64());
        if number == 0 {
            read(&store, count, &mut ports)?;
        }
        apply::take_down(&store)?;
    }
    lock.retire();
    Ok(ports)
}

fn read(store: &Store, count: u16, ports: &mut Ports) -> Result<(), BenchError> {
    let reader = StatsReader::open(store)?;
    for _ in 0..READS {
        let start = Instant::now();
        for port in 0..count {
            reader.read(port)?;
        }
        ports.read.push(start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn lab(ports: u16) -> String {
    let mut text = "name: bench\nbridges: { bench: {} }\nnamespaces:\n".to_owned();
    for number in 0..ports {
        writeln!(text, "  n{number}: {{ interfaces: {{ eth0: {{ bridge: bench }} }} }}")
            .expect("writing to a string");
    }
    text
}

/// How long steps take that attach programs: from when the executor says that they
/// are next until something else is. A lab that comes up has its links set up after
/// them.
#[derive(Default)]
struct AttachWatch {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    since: Option<Instant>,
    sum: Duration,
}

impl AttachWatch {
    fn attaching(self) -> Duration {
        self.seen.into_inner().map_or(Duration::ZERO, |seen| seen.sum)
    }
}

impl Oversight for AttachWatch {
    fn cancelled(&self) -> bool {
        false
    }

    fn progress(&self, _done: usize, _steps: usize, next: &Step) {
        let now = Instant::now();
        let Ok(mut seen) = self.seen.lock() else { return };
        if let Some(since) = seen.since.take() {
            seen.sum += now - since;
        }
        if matches!(next, Step::Add(Object::Hook(_))) {
            seen.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lab_is_one() {
        assert_eq!(Lab::parse(&lab(1000), "test").unwrap().interfaces().count(), 1000);
    }
}
