//! TCP in bulk: as much as one connection carries.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::mode::Tcp;
use super::processor::{self, Processors};
use super::testbed::Testbed;
use super::{BenchError, Options, tcp};

/// A round takes so many times as long as one of frames, since a connection has to
/// find its rate first. There are half as many for it.
const TIMES: u32 = 4;
/// Bytes of a write, and of a read at most.
const CHUNK_BYTES: usize = 128 << 10;

/// All rounds of a path.
pub(super) struct Streams {
    pub(super) mode: &'static str,
    pub(super) targets: Tcp,
    /// Processors of its two ends.
    pub(super) processors: u8,
    pub(super) rounds: Vec<Round>,
}

/// What a round found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// Bytes that arrived: all that were sent.
    bytes: u64,
    took: Duration,
}

impl Round {
    /// Of what TCP carries, its own and others' headers not counted.
    #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
    pub(super) fn bits_per_second(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.took.as_secs_f64()
    }
}

/// Measures the paths in turns, with the receiver on another processor if there is
/// one. The first round does not count.
pub(super) fn measure(
    options: &Options,
    processors: Processors,
    testbeds: &mut [Testbed],
    tell: &dyn Fn(&str),
) -> Result<Vec<Streams>, BenchError> {
    let (far, count) = match processors.other {
        Some(other) => (other, 2),
        None => (processors.one, 1),
    };
    let path = |testbed: &Testbed| {
        let mode = testbed.mode.name;
        let targets = testbed.mode.tcp?;
        Some(Streams { mode, targets, processors: count, rounds: Vec::new() })
    };
    let mut paths: Vec<Streams> = testbeds.iter().filter_map(path).collect();
    let rounds = options.rounds.div_ceil(2);
    for number in 0..=rounds {
        tell(&format!("TCP in bulk, {number} of {rounds}"));
        for (testbed, path) in testbeds.iter_mut().zip(&mut paths) {
            testbed.prepare()?;
            let round = round(testbed, far, options.round * TIMES)?;
            log::info!("{}: {round:?}", path.mode);
            if number > 0 {
                path.rounds.push(round);
            }
        }
    }
    Ok(paths)
}

/// A connection, from its first byte to its last.
fn round(testbed: &Testbed, far: usize, time: Duration) -> Result<Round, BenchError> {
    let (near, there) = tcp::connect(testbed)?;
    let start = Instant::now();
    let (sent, arrived) = thread::scope(|scope| {
        let receiver = scope.spawn(move || receive(there, far));
        let sent = send(&near, time);
        // Whatever happened, the receiver is not to wait for more.
        let ended = near.shutdown(Shutdown::Write);
        let arrived = receiver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (sent.and_then(|sent| ended.map(|()| sent)), arrived)
    });
    let sent = sent.map_err(tcp::failed(testbed))?;
    let (bytes, end) = arrived.map_err(tcp::failed(testbed))?;
    if bytes != sent {
        let lost = io::Error::other(format!("of {sent} bytes {bytes} arrived"));
        return Err(tcp::failed(testbed)(lost));
    }
    Ok(Round { bytes, took: end - start })
}

fn send(mut stream: &TcpStream, time: Duration) -> io::Result<u64> {
    let chunk = vec![0; CHUNK_BYTES];
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < time {
        sent += stream.write(&chunk)? as u64;
    }
    Ok(sent)
}

/// Counts bytes to the last, and tells when that came.
fn receive(mut stream: TcpStream, processor: usize) -> io::Result<(u64, Instant)> {
    processor::keep_to(processor)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut received = 0;
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok((received, Instant::now())),
            bytes => received += bytes as u64,
        }
    }
}
