//! Frames that are made in the kernel, and sent as fast as the path takes them: what the
//! datapath alone costs.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::arrivals::{self, Arrivals};
use super::{End, Injector, Metric, Quantity, Round, Shape, Traffic};
use crate::bench::BenchError;
use crate::bench::testbed::Testbed;
use crate::datapath::Sink;

/// Frames that tell how many are to follow, and bring what this path needs back into
/// the caches.
const FIRST: u32 = 1 << 13;
/// Frames of each flow, on average, before the first round: what the datapath learns of
/// flows it has learnt then.
const FIRST_OF_FLOW: u32 = 8;
/// How long stragglers are waited for.
const PATIENCE: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(2);

/// Frames of a shape to an end of a path.
pub(in crate::bench) struct Frames {
    end: End,
    shape: Shape,
    injector: Injector,
    sink: Sink,
    /// Take what arrives.
    _sockets: Vec<UdpSocket>,
}

impl Frames {
    pub(in crate::bench) const METRICS: &[Metric] =
        &[Metric { name: "rate", quantity: Quantity::PacketsPerSecond }];

    pub(in crate::bench) fn new(
        testbed: &mut Testbed,
        end: End,
        shape: Shape,
    ) -> Result<Self, BenchError> {
        let injector = Injector::new(testbed, shape)?;
        let sockets = arrivals::sockets(&testbed.receiver, shape.flows)?;
        // Nothing is told of frames that there is no way for yet.
        if shape.flows > 1 && testbed.prepare()? {
            injector.send(&testbed.sender, shape.flows.saturating_mul(FIRST_OF_FLOW))?;
        }
        Ok(Self { end, shape, injector, sink: Sink::load()?, _sockets: sockets })
    }
}

impl Traffic for Frames {
    fn round(&mut self, testbed: &mut Testbed, time: Duration) -> Result<Round, BenchError> {
        let Self { end, shape, injector, sink, .. } = self;
        let counted_before = testbed.counted()?;
        let Testbed { sender, receiver, .. } = testbed;
        let mut arrivals = Arrivals::at(*end, shape.ip, receiver, sink)?;
        let run = |arrivals: &mut Arrivals<'_>, count| {
            let before = arrivals.count()?;
            Ok::<_, BenchError>((before, injector.send(sender, count)?))
        };
        let (_, took) = run(&mut arrivals, FIRST)?;
        let count = frames(time, took);
        let (before, took) = run(&mut arrivals, count)?;
        let sent = u64::from(count);
        let deadline = Instant::now() + PATIENCE;
        let mut delivered = arrivals.count()? - before;
        while delivered < sent && Instant::now() < deadline {
            std::thread::sleep(POLL);
            delivered = arrivals.count()? - before;
        }
        drop(arrivals);
        let counted = testbed.counted()?.zip(counted_before).map(|(now, before)| now - before);
        if let Some(counted) = counted.filter(|counted| *counted < delivered) {
            return Err(BenchError::Uncounted { mode: testbed.mode.name, delivered, counted });
        }
        // What the namespaces' own protocols say counts there too.
        let delivered = delivered.min(sent);
        Ok(Round { sent, delivered, values: vec![rate(delivered, took)], cpu: None })
    }
}

/// So many in a time, as a rate a second.
#[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
pub(super) fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// How many frames take a time, if the first took that time.
fn frames(time: Duration, first: Duration) -> u32 {
    /// No frame is as fast.
    const LEAST_NS: u128 = 10;
    let first = first.as_nanos().max(u128::from(FIRST) * LEAST_NS);
    let count = u128::from(FIRST) * time.as_nanos() / first;
    u32::try_from(count).unwrap_or(u32::MAX).max(FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_as_long_as_it_should_be() {
        let second = Duration::from_secs(1);
        assert_eq!(frames(second, second / 100), FIRST * 100);
        assert_eq!(frames(second, Duration::ZERO), 100_000_000);
        assert_eq!(frames(second / 100, second), FIRST);
    }
}
