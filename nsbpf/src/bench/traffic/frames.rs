//! Frames that are made in the kernel, and sent as fast as the path takes them: what the
//! datapath alone costs.

use std::time::{Duration, Instant};

use super::arrivals::Arrivals;
use super::{End, Injector, Metric, Quantity, Round, Shape, Traffic, is_whole};
use crate::bench::BenchError;
use crate::bench::processor::SoftirqThread;
use crate::bench::testbed::Testbed;

/// Frames that tell how many a round takes.
const FIRST: u32 = 1 << 13;
/// Frames of each flow, on average, before the first round: what the datapath learns of
/// flows it has learnt then.
const FIRST_OF_FLOW: u32 = 5;
/// Frames that come before what counts.
#[derive(Clone, Copy)]
struct Ahead {
    /// Before the first round.
    first: u32,
    /// Before each of the others.
    each: u32,
}

/// How long the kernel's softirq thread may run meanwhile, as a part of the round or, if that
/// is more, for each run of the generator: less than a hundredth is usual, and some of it is
/// before or after a run.
const MOST_DEFERRED_PART: u32 = 50;
const MOST_DEFERRED: Duration = Duration::from_micros(300);
/// How long stragglers are waited for.
const PATIENCE: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(2);

/// Frames of a shape to an end of a path.
pub(in crate::bench) struct Frames {
    /// How many come before a round, and do not count.
    ahead: Ahead,
    injector: Injector,
    arrivals: Arrivals,
    /// How many were sent last, and how long they took.
    last: Option<(u32, Duration)>,
    /// What empties rings where the generator's clock does not see it.
    softirqd: Option<SoftirqThread>,
}

impl Frames {
    pub(in crate::bench) const METRICS: &[Metric] =
        &[Metric { name: "rate", quantity: Quantity::PacketsPerSecond }];

    pub(in crate::bench) fn new(
        testbed: &mut Testbed,
        end: End,
        shape: Shape,
        processor: usize,
    ) -> Result<Self, BenchError> {
        let injector = Injector::new(testbed, shape)?;
        let arrivals = Arrivals::new(end, shape, &testbed.receiver)?;
        let softirqd = SoftirqThread::find(processor);
        let Shape { flows, .. } = shape;
        let first = if flows > 1 { flows.saturating_mul(FIRST_OF_FLOW) } else { 0 };
        // Other paths have had the caches meanwhile, and what is kept of flows is told once
        // a second. What few flows need comes back at once.
        let ahead = Ahead { first, each: if flows > FIRST { flows } else { 0 } };
        Ok(Self { ahead, injector, arrivals, last: None, softirqd })
    }

    /// Short frames, each of which begins a flow. The tables of a policy, and those of flows,
    /// which other paths had out of the caches, are back when it counts.
    pub(in crate::bench) fn of_new_flows(
        testbed: &mut Testbed,
        end: End,
        processor: usize,
    ) -> Result<Self, BenchError> {
        let injector = Injector::of_new_flows(testbed, end)?;
        let arrivals = Arrivals::new(end, Shape::SHORT, &testbed.receiver)?;
        let softirqd = SoftirqThread::find(processor);
        let ahead = Ahead { first: FIRST, each: FIRST };
        Ok(Self { ahead, injector, arrivals, last: None, softirqd })
    }

    /// How many frames take that time, by those that were sent last. The first round is
    /// not yet like the others.
    fn count(&mut self, testbed: &Testbed, time: Duration) -> Result<u32, BenchError> {
        let inject = |count| self.injector.send(&testbed.sender, count);
        let ahead = if self.last.is_some() { self.ahead.each } else { self.ahead.first };
        if ahead > 0 {
            inject(ahead)?;
        }
        let sent = match self.last {
            Some(last) => last,
            None => (FIRST, inject(FIRST)?),
        };
        Ok(frames(time, sent))
    }
}

impl Traffic for Frames {
    fn round(&mut self, testbed: &mut Testbed, time: Duration) -> Result<Round, BenchError> {
        let count = self.count(testbed, time)?;
        let Self { injector, arrivals, last, softirqd, .. } = self;
        let counted_before = testbed.counted()?;
        let deferred = softirqd.as_ref().map(SoftirqThread::run_time);
        let before = arrivals.count(&mut testbed.receiver)?;
        let took = injector.send(&testbed.sender, count)?;
        let deferred = softirqd.as_ref().map(SoftirqThread::run_time).zip(deferred);
        *last = Some((count, took));
        let sent = u64::from(count);
        let deadline = Instant::now() + PATIENCE;
        let mut arrived = || {
            let count = arrivals.count(&mut testbed.receiver)?;
            Ok::<_, BenchError>(count.saturating_sub(before))
        };
        let mut delivered = arrived()?;
        while delivered < sent && Instant::now() < deadline {
            std::thread::sleep(POLL);
            delivered = arrived()?;
        }
        // What the namespaces' own protocols say counts there too, if it is little.
        let delivered = delivered.min(sent);
        let counted = testbed.counted()?.zip(counted_before).map(|(now, before)| now - before);
        if let Some(counted) = counted.filter(|counted| !is_whole(*counted, delivered)) {
            return Err(BenchError::Uncounted { mode: testbed.mode.name, delivered, counted });
        }
        let most = (took / MOST_DEFERRED_PART).max(MOST_DEFERRED * injector.runs(count));
        let elsewhere = deferred.is_some_and(|(now, then)| now.saturating_sub(then) > most);
        let values = vec![rate(delivered, took)];
        Ok(Round { sent, delivered, elsewhere, values, cpu: None })
    }
}

/// So many in a time, as a rate a second.
#[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
pub(super) fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// How many frames take a time, if so many took that time.
fn frames(time: Duration, (sent, took): (u32, Duration)) -> u32 {
    /// No frame is as fast.
    const LEAST_NS: u128 = 10;
    let took = took.as_nanos().max(u128::from(sent) * LEAST_NS);
    let count = u128::from(sent) * time.as_nanos() / took;
    u32::try_from(count).unwrap_or(u32::MAX).max(FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_as_long_as_it_should_be() {
        let second = Duration::from_secs(1);
        assert_eq!(frames(second, (5000, second / 100)), 500_000);
        assert_eq!(frames(second, (5000, Duration::ZERO)), 100_000_000);
        assert_eq!(frames(second / 100, (5000, second)), FIRST);
    }
}
