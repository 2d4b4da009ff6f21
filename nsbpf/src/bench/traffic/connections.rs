//! TCP, connect, a byte each way, close: how many in a second. One thread is both ends,
//! so that nobody waits for a processor.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::frames::rate;
use super::{Metric, Quantity, Round, Traffic, tcp};
use crate::bench::BenchError;
use crate::bench::cpu::CpuTime;
use crate::bench::ip::Ip;
use crate::bench::statistics::quantile;
use crate::bench::testbed::Testbed;

/// Connections that do not count: they bring what this path needs back into the caches.
const FIRST: u32 = 16;
/// Connections of a round at most. Who closes first keeps the port for a minute, and a
/// namespace has 28,232 for one address (`net.ipv4.ip_local_port_range`).
const MOST: usize = 20_000;

/// One connection after the other.
pub(in crate::bench) struct Connections {
    ip: Ip,
    /// Where both ends run.
    processor: usize,
}

impl Connections {
    pub(in crate::bench) const METRICS: &[Metric] = &[
        Metric { name: "connections", quantity: Quantity::PerSecond },
        Metric { name: "p50", quantity: Quantity::Nanoseconds },
        Metric { name: "p99", quantity: Quantity::Nanoseconds },
    ];

    pub(in crate::bench) fn new(ip: Ip, processor: usize) -> Self {
        Self { ip, processor }
    }

    fn connections(
        &self,
        listener: &TcpListener,
        to: SocketAddr,
        time: Duration,
    ) -> io::Result<Round> {
        for _ in 0..FIRST {
            connection(listener, to)?;
        }
        let mut took_ns = Vec::new();
        let cpu = CpuTime::of(&[self.processor])?;
        let start = Instant::now();
        let mut last = start;
        while last - start < time && took_ns.len() < MOST {
            connection(listener, to)?;
            let now = Instant::now();
            took_ns.push((now - last).as_secs_f64() * 1e9);
            last = now;
        }
        let cpu = CpuTime::of(&[self.processor])? - cpu;
        let count = took_ns.len() as u64;
        took_ns.sort_by(f64::total_cmp);
        let at_most = |share| quantile(&took_ns, share).unwrap_or_default();
        let values = vec![rate(count, last - start), at_most(0.5), at_most(0.99)];
        Ok(Round::all(count, values, Some(cpu)))
    }
}

impl Traffic for Connections {
    fn round(&mut self, testbed: &mut Testbed, time: Duration) -> Result<Round, BenchError> {
        // Another one each time: ports that are kept are kept for this one.
        let round = || {
            let (listener, to) = tcp::listen(testbed, self.ip)?;
            testbed.sender.netns.run(|| self.connections(&listener, to, time))?
        };
        round().map_err(tcp::failed(testbed))
    }
}

/// From the calling thread's namespace.
fn connection(listener: &TcpListener, to: SocketAddr) -> io::Result<()> {
    let mut near = TcpStream::connect_timeout(&to, tcp::PATIENCE)?;
    let (mut far, _) = listener.accept()?;
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(tcp::PATIENCE))?;
    }
    near.write_all(&[0])?;
    far.read_exact(&mut [0])?;
    far.write_all(&[0])?;
    near.read_exact(&mut [0])?;
    drop(near);
    // The end of it.
    match far.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::other("a byte came that nobody sent")),
    }
}
