//! TCP request and response, a byte each way: how long it takes there and back.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::mode::Tcp;
use super::processor::{self, Processors};
use super::statistics::quantile;
use super::testbed::Testbed;
use super::{BenchError, Options, tcp};

/// Exchanges that do not count: they bring what this path needs back into the caches.
const FIRST: u32 = 64;

/// All rounds of a path.
pub(super) struct RoundTrips {
    pub(super) mode: &'static str,
    pub(super) targets: Tcp,
    /// Processors of its two ends.
    pub(super) processors: u8,
    pub(super) rounds: Vec<Round>,
}

/// What a round found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// Nanoseconds that half of the exchanges took at most.
    pub(super) p50_ns: f64,
    /// Nanoseconds that 99 of 100 exchanges took at most.
    pub(super) p99_ns: f64,
    pub(super) per_second: f64,
}

/// Measures the paths in turns, first with both ends on one processor, then with the
/// receiver on another. The first round does not count.
pub(super) fn measure(
    options: &Options,
    processors: Processors,
    testbeds: &mut [Testbed],
    tell: &dyn Fn(&str),
) -> Result<Vec<RoundTrips>, BenchError> {
    let mut turns = Vec::new();
    for far in [Some(processors.one), processors.other].into_iter().flatten() {
        let processors = if far == processors.one { 1 } else { 2 };
        for (turn, testbed) in testbeds.iter().enumerate() {
            let Some(targets) = testbed.mode.tcp else { continue };
            let mode = testbed.mode.name;
            let path = RoundTrips { mode, targets, processors, rounds: Vec::new() };
            turns.push((turn, Exchange::begin(testbed, far)?, path));
        }
    }
    for number in 0..=options.rounds {
        tell(&format!("TCP round trips, {number} of {}", options.rounds));
        for (turn, exchange, path) in &mut turns {
            let testbed = &mut testbeds[*turn];
            testbed.prepare()?;
            let round = exchange.round(options.round).map_err(tcp::failed(testbed))?;
            log::info!("{} on {}: {round:?}", path.mode, path.processors);
            if number > 0 {
                path.rounds.push(round);
            }
        }
    }
    let finish = |(turn, exchange, path): (usize, Exchange, RoundTrips)| {
        exchange.end().map_err(tcp::failed(&testbeds[turn]))?;
        Ok(path)
    };
    turns.into_iter().map(finish).collect()
}

/// A connection, and a thread at its far end that answers.
struct Exchange {
    stream: TcpStream,
    answering: JoinHandle<io::Result<()>>,
}

impl Exchange {
    fn begin(testbed: &Testbed, far: usize) -> Result<Self, BenchError> {
        let (stream, answered) = tcp::connect(testbed)?;
        Ok(Self { stream, answering: thread::spawn(move || answer(answered, far)) })
    }

    fn round(&mut self, time: Duration) -> io::Result<Round> {
        for _ in 0..FIRST {
            self.exchange()?;
        }
        let mut took_ns = Vec::new();
        let start = Instant::now();
        let mut last = start;
        loop {
            self.exchange()?;
            let now = Instant::now();
            took_ns.push((now - last).as_secs_f64() * 1e9);
            last = now;
            if now - start >= time {
                return Ok(Round::of(took_ns, now - start));
            }
        }
    }

    fn exchange(&mut self) -> io::Result<()> {
        self.stream.write_all(&[0])?;
        self.stream.read_exact(&mut [0])
    }

    fn end(self) -> io::Result<()> {
        let Self { stream, answering } = self;
        drop(stream);
        answering.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Round {
    #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
    fn of(mut took_ns: Vec<f64>, all: Duration) -> Self {
        took_ns.sort_by(f64::total_cmp);
        let at_most = |share| quantile(&took_ns, share).unwrap_or_default();
        Self {
            p50_ns: at_most(0.5),
            p99_ns: at_most(0.99),
            per_second: took_ns.len() as f64 / all.as_secs_f64(),
        }
    }
}

/// Answers each byte, until there are no more.
fn answer(mut stream: TcpStream, processor: usize) -> io::Result<()> {
    processor::keep_to(processor)?;
    let mut byte = [0];
    while stream.read(&mut byte)? > 0 {
        stream.write_all(&byte)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_told_by_its_middle_and_its_slowest() {
        let took = (0..=100).map(f64::from).rev().collect();
        let round = Round::of(took, Duration::from_millis(10));
        assert!((round.p50_ns - 50.0).abs() < 1e-9);
        assert!((round.p99_ns - 99.0).abs() < 1e-9);
        assert!((round.per_second - 10_100.0).abs() < 1e-6);
    }
}
