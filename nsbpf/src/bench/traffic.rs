//! One round: frames are sent for a time, and those that arrive are counted.

use std::time::{Duration, Instant};

use super::BenchError;
use super::arrivals::{Arrivals, End};
use super::injector::Injector;
use super::testbed::Testbed;
use crate::datapath::Sink;

/// Frames that tell how many are to follow, and bring what this path needs back into
/// the caches.
const FIRST: u32 = 1 << 13;
/// Of a thousand frames so many have to arrive, or the round is void: what counts
/// then is how fast frames can be lost.
const DELIVERED_PER_MILLE: u64 = 999;
/// How long stragglers are waited for.
const PATIENCE: Duration = Duration::from_millis(100);
const POLL: Duration = Duration::from_millis(2);

/// What a round found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) sent: u64,
    pub(super) delivered: u64,
    pub(super) took: Duration,
}

impl Round {
    /// Frames that arrived in a second; `None` if too many did not.
    #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
    pub(super) fn pps(&self) -> Option<f64> {
        let whole = self.delivered * 1000 >= self.sent * DELIVERED_PER_MILLE;
        whole.then(|| self.delivered as f64 / self.took.as_secs_f64())
    }
}

/// Sends for that time. `None` if this kernel has no such path.
pub(super) fn round(
    testbed: &mut Testbed,
    injector: &Injector,
    end: End,
    sink: &mut Sink,
    time: Duration,
) -> Result<Option<Round>, BenchError> {
    if !testbed.prepare()? {
        return Ok(None);
    }
    let counted_before = testbed.counted()?;
    let Testbed { sender, receiver, .. } = testbed;
    let mut arrivals = Arrivals::at(end, receiver, sink)?;
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
    Ok(Some(Round { sent, delivered: delivered.min(sent), took }))
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

    #[test]
    fn a_round_that_loses_frames_is_void() {
        let round = |delivered| Round { sent: 1_000_000, delivered, took: Duration::from_secs(2) };
        assert_eq!(round(999_000).pps(), Some(499_500.0));
        assert_eq!(round(998_999).pps(), None);
    }
}
