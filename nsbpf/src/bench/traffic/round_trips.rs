//! TCP request and response, a byte each way: how long it takes there and back.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::frames::rate;
use super::{Metric, Quantity, Round, Traffic, tcp};
use crate::bench::BenchError;
use crate::bench::cpu::CpuTime;
use crate::bench::ip::Ip;
use crate::bench::processor;
use crate::bench::statistics::quantile;
use crate::bench::testbed::Testbed;

/// Exchanges that do not count: they bring what this path needs back into the caches.
const FIRST: u32 = 64;

/// A connection, and a thread at its far end that answers.
pub(in crate::bench) struct RoundTrips {
    stream: TcpStream,
    /// The other end, which the thread reads from.
    far: TcpStream,
    answering: JoinHandle<io::Result<()>>,
    /// Processors of the two ends.
    processors: Vec<usize>,
}

impl RoundTrips {
    pub(in crate::bench) const METRICS: &[Metric] = &[
        Metric { name: "p50", quantity: Quantity::Nanoseconds },
        Metric { name: "p90", quantity: Quantity::Nanoseconds },
        Metric { name: "p99", quantity: Quantity::Nanoseconds },
        Metric { name: "p99.9", quantity: Quantity::Nanoseconds },
        Metric { name: "round trips", quantity: Quantity::PerSecond },
    ];

    /// With an end on each of the processors, or both on one.
    pub(in crate::bench) fn new(
        testbed: &Testbed,
        ip: Ip,
        processors: &[usize],
    ) -> Result<Self, BenchError> {
        let (stream, far) = tcp::connect(testbed, ip)?;
        let answered = far.try_clone().map_err(tcp::failed(testbed))?;
        let processor = processors.last().copied();
        let answering = thread::spawn(move || answer(answered, processor));
        Ok(Self { stream, far, answering, processors: processors.to_vec() })
    }

    fn exchanges(&mut self, time: Duration) -> io::Result<Round> {
        for _ in 0..FIRST {
            self.exchange()?;
        }
        let mut took_ns = Vec::new();
        let cpu = CpuTime::of(&self.processors)?;
        let start = Instant::now();
        let mut last = start;
        while last - start < time {
            self.exchange()?;
            let now = Instant::now();
            took_ns.push((now - last).as_secs_f64() * 1e9);
            last = now;
        }
        let cpu = CpuTime::of(&self.processors)? - cpu;
        let count = took_ns.len() as u64;
        let values = values(took_ns, last - start);
        Ok(Round::all(count, values, Some(cpu)))
    }

    fn exchange(&mut self) -> io::Result<()> {
        self.stream.write_all(&[0])?;
        self.stream.read_exact(&mut [0])
    }
}

impl Traffic for RoundTrips {
    fn round(&mut self, testbed: &mut Testbed, time: Duration) -> Result<Round, BenchError> {
        self.exchanges(time).map_err(tcp::failed(testbed))
    }

    fn end(self: Box<Self>, testbed: &Testbed) -> Result<(), BenchError> {
        let Self { stream, far, answering, .. } = *self;
        drop(stream);
        // A path that loses all brings no end either. One that has come already is as good.
        let _ = far.shutdown(Shutdown::Both);
        answering
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            .map_err(tcp::failed(testbed))
    }
}

/// Those of [`RoundTrips::METRICS`].
fn values(mut took_ns: Vec<f64>, all: Duration) -> Vec<f64> {
    took_ns.sort_by(f64::total_cmp);
    let at_most = |share| quantile(&took_ns, share).unwrap_or_default();
    vec![at_most(0.5), at_most(0.9), at_most(0.99), at_most(0.999), rate(took_ns.len() as u64, all)]
}

/// Answers each byte, until there are no more.
fn answer(mut stream: TcpStream, processor: Option<usize>) -> io::Result<()> {
    processor.map_or(Ok(()), processor::keep_to)?;
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
        let took = (0..=1000).map(f64::from).rev().collect();
        let values = values(took, Duration::from_millis(10));
        for (value, expected) in values.iter().zip([500.0, 900.0, 990.0, 999.0, 100_100.0]) {
            assert!((value - expected).abs() < 1e-6, "{values:?}");
        }
    }
}
