//! TCP in bulk: as much as one connection carries, or several.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::{Metric, Quantity, Round, Traffic, tcp};
use crate::bench::BenchError;
use crate::bench::cpu::CpuTime;
use crate::bench::ip::Ip;
use crate::bench::processor;
use crate::bench::testbed::Testbed;

/// A round takes so many times as long as one of frames, since a connection has to
/// find its rate first.
const TIMES: u32 = 4;
/// Bytes of a write, and of a read at most.
const CHUNK_BYTES: usize = 128 << 10;
/// Bytes after which those that are sent are the same again: a prime, so that neither a
/// chunk nor a segment ends where they do.
const PERIOD: usize = 251;

/// Connections from one processor to another, or the same.
pub(in crate::bench) struct Bulk {
    streams: u16,
    ip: Ip,
    processors: Vec<usize>,
    /// What is sent: from each of the period's bytes on there is a chunk.
    pattern: Vec<u8>,
}

impl Bulk {
    /// What TCP carries, its own and others' headers not counted.
    pub(in crate::bench) const METRICS: &[Metric] =
        &[Metric { name: "payload", quantity: Quantity::BitsPerSecond }];

    pub(in crate::bench) fn new(streams: u16, ip: Ip, processors: &[usize]) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "less than a byte's")]
        let pattern = (0..CHUNK_BYTES + PERIOD).map(|place| (place % PERIOD) as u8).collect();
        Self { streams, ip, processors: processors.to_vec(), pattern }
    }
}

impl Traffic for Bulk {
    fn round(&mut self, testbed: &mut Testbed, time: Duration) -> Result<Round, BenchError> {
        let Self { streams, ip, ref processors, ref pattern } = *self;
        let far = processors.last().copied();
        let failed = || tcp::failed(testbed);
        let mut pairs = Vec::new();
        for _ in 0..streams {
            let (near, there) = tcp::connect(testbed, ip)?;
            there.set_read_timeout(Some(tcp::PATIENCE)).map_err(failed())?;
            pairs.push((near, there));
        }
        let before = CpuTime::of(processors).map_err(failed())?;
        let start = Instant::now();
        let carried = thread::scope(|scope| {
            let stream = |(near, there): (TcpStream, TcpStream)| {
                scope.spawn(move || stream(&near, there, far, time * TIMES, pattern))
            };
            let threads: Vec<_> = pairs.into_iter().map(stream).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect::<io::Result<Vec<(u64, Instant)>>>()
        });
        let carried = carried.map_err(failed())?;
        let cpu = CpuTime::of(processors).map_err(failed())? - before;
        let bytes: u64 = carried.iter().map(|(bytes, _)| bytes).sum();
        let end = carried.iter().map(|(_, end)| *end).max().unwrap_or(start);
        #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
        let bits = bytes as f64 * 8.0 / (end - start).as_secs_f64();
        Ok(Round::all(bytes, vec![bits], Some(cpu)))
    }
}

/// A connection, from its first byte to its last. Returns how many there were and when
/// the last one came.
fn stream(
    near: &TcpStream,
    there: TcpStream,
    far: Option<usize>,
    time: Duration,
    pattern: &[u8],
) -> io::Result<(u64, Instant)> {
    let (sent, arrived) = thread::scope(|scope| {
        let receiver = scope.spawn(move || receive(there, far, pattern));
        let sent = send(near, time, pattern);
        // The receiver is not to wait for more; on a path that loses all it gives up itself.
        let ended = near.shutdown(Shutdown::Write);
        let arrived = receiver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (sent.and_then(|sent| ended.map(|()| sent)), arrived)
    });
    let (sent, (bytes, end)) = (sent?, arrived?);
    if bytes != sent {
        return Err(io::Error::other(format!("of {sent} bytes {bytes} arrived")));
    }
    Ok((bytes, end))
}

fn send(mut stream: &TcpStream, time: Duration, pattern: &[u8]) -> io::Result<u64> {
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < time {
        let chunk = &pattern[place(sent)..][..CHUNK_BYTES];
        sent += stream.write(chunk)? as u64;
    }
    Ok(sent)
}

/// Counts bytes to the last, and tells when that came. The first and the last of each
/// read have to be those that were sent there: to look at all would be the slowest part.
fn receive(
    mut stream: TcpStream,
    processor: Option<usize>,
    pattern: &[u8],
) -> io::Result<(u64, Instant)> {
    processor.map_or(Ok(()), processor::keep_to)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut received = 0;
    loop {
        let bytes = stream.read(&mut chunk)?;
        let Some(last) = bytes.checked_sub(1) else { return Ok((received, Instant::now())) };
        let expected = &pattern[place(received)..];
        if chunk[0] != expected[0] || chunk[last] != expected[last] {
            return Err(io::Error::other(format!("bytes after {received} are not as sent")));
        }
        received += bytes as u64;
    }
}

/// Where in the period a byte is.
#[expect(clippy::cast_possible_truncation, reason = "less than the period")]
fn place(byte: u64) -> usize {
    (byte % PERIOD as u64) as usize
}
