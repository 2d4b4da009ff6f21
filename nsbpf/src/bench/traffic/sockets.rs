//! UDP between two sockets: what an application gets. One thread sends a batch and
//! receives it, then the next, so that no queue fills and the rate is what all of it
//! costs one processor: system calls, both stacks, the path.

use std::io;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use super::datagrams::{BATCH, Datagrams};
use super::frames::rate;
use super::{Metric, Quantity, Round, Shape, Traffic};
use crate::bench::cpu::CpuTime;
use crate::bench::testbed::Testbed;
use crate::bench::{BenchError, io_error};

/// Bytes that the receiving socket has room for: more than a batch of the longest datagrams.
const ROOM: usize = 16 << 20;
/// Batches that do not count: they bring what this path needs back into the caches.
const FIRST: u32 = 16;
/// How long the rest of a batch is waited for.
const PATIENCE: Duration = Duration::from_millis(20);

/// What datagrams are filled with, before their numbers.
const FILL: [u8; 9_014] = [0x5a; 9_014];

/// Two sockets, connected.
pub(in crate::bench) struct Sockets {
    near: UdpSocket,
    far: UdpSocket,
    payload: usize,
    out: Datagrams,
    back: Datagrams,
    /// Datagrams that were sent so far. Each carries how many there were before.
    sent: u64,
    /// Those of them that arrived once, as they were sent, before the next batch.
    delivered: u64,
    /// Where it all runs.
    processor: usize,
}

impl Sockets {
    pub(in crate::bench) const METRICS: &[Metric] = &[
        Metric { name: "rate", quantity: Quantity::PacketsPerSecond },
        Metric { name: "payload", quantity: Quantity::BitsPerSecond },
    ];

    pub(in crate::bench) fn new(
        testbed: &Testbed,
        shape: Shape,
        processor: usize,
    ) -> Result<Self, BenchError> {
        let any = shape.ip.any();
        let to = testbed.mode.wiring.receiver_by(shape.ip);
        let open = || {
            let far = testbed.receiver.netns.run(|| UdpSocket::bind((any, 0)))??;
            let near = testbed.sender.netns.run(|| UdpSocket::bind((any, 0)))??;
            near.connect((to, far.local_addr()?.port()))?;
            // More than is allowed to others.
            set_socket_recv_buffer_size_force(&far, ROOM)?;
            Ok((near, far))
        };
        let (near, far) = open().map_err(failed(testbed))?;
        let payload = shape.payload();
        let [mut out, back] = [Datagrams::new(payload), Datagrams::new(payload + 1)];
        for datagram in out.each() {
            datagram.copy_from_slice(&FILL[..payload]);
        }
        Ok(Self { near, far, payload, out, back, sent: 0, delivered: 0, processor })
    }

    fn batch(&mut self) -> io::Result<()> {
        let first = self.sent;
        for (number, datagram) in (first..).zip(self.out.each()) {
            put_number(datagram, number);
        }
        let sent = self.out.send(&self.near)?;
        self.sent += sent as u64;
        let mut expected = Expected::new(first, sent);
        let mut deadline = None;
        while !expected.is_empty() {
            if self.receive(&mut expected)? == 0 {
                let deadline = deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                if Instant::now() > *deadline {
                    break;
                }
                std::thread::yield_now();
            }
        }
        self.delivered += sent as u64 - u64::from(expected.left.count_ones());
        Ok(())
    }

    fn receive(&mut self, expected: &mut Expected) -> io::Result<usize> {
        let Self { far, payload, back, .. } = self;
        let lengths = back.receive(far)?;
        for (length, datagram) in lengths.iter().zip(back.each()) {
            if length == payload {
                expected.take(&datagram[..*payload]);
            }
        }
        Ok(lengths.len())
    }
}

/// Datagrams of a batch that have not arrived.
struct Expected {
    /// The number of the first.
    first: u64,
    /// A bit each.
    left: u64,
}

impl Expected {
    fn new(first: u64, count: usize) -> Self {
        let left = match count {
            BATCH => u64::MAX,
            count => (1 << count) - 1,
        };
        Self { first, left }
    }

    fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// One arrived: it counts if it is as it was sent, and the first of its number.
    fn take(&mut self, datagram: &[u8]) {
        let (fill, last) = datagram.split_at(datagram.len().saturating_sub(size_of::<u64>()));
        let mut number = [0; size_of::<u64>()];
        let first = number.len() - last.len();
        number[first..].copy_from_slice(last);
        // Of a number that is cut off, the part that is there.
        let mask = u64::MAX >> (8 * first);
        let place = u64::from_be_bytes(number).wrapping_sub(self.first) & mask;
        if place < BATCH as u64 && fill == &FILL[..fill.len()] {
            self.left &= !(1 << place);
        }
    }
}

const _: () = assert!(BATCH == u64::BITS as usize, "a bit each");

impl Traffic for Sockets {
    fn round(&mut self, testbed: &mut Testbed, time: Duration) -> Result<Round, BenchError> {
        let processors = [self.processor];
        let mut round = || {
            for _ in 0..FIRST {
                self.batch()?;
            }
            let (sent, delivered) = (self.sent, self.delivered);
            let cpu = CpuTime::of(&processors)?;
            let start = Instant::now();
            let mut took = Duration::ZERO;
            while took < time {
                self.batch()?;
                took = start.elapsed();
            }
            let cpu = CpuTime::of(&processors)? - cpu;
            let (sent, delivered) = (self.sent - sent, (self.delivered - delivered));
            let rate = rate(delivered, took);
            #[expect(clippy::cast_precision_loss, reason = "of a frame")]
            let bits = rate * self.payload as f64 * 8.0;
            let values = vec![rate, bits];
            Ok(Round { sent, delivered, elsewhere: false, values, cpu: Some(cpu) })
        };
        round().map_err(failed(testbed))
    }
}

/// Its last bytes tell its number.
fn put_number(datagram: &mut [u8], number: u64) {
    let number = number.to_be_bytes();
    let length = datagram.len().min(number.len());
    let (_, last) = datagram.split_at_mut(datagram.len() - length);
    last.copy_from_slice(&number[number.len() - length..]);
}

fn failed(testbed: &Testbed) -> impl FnOnce(io::Error) -> BenchError {
    io_error(format!("talk UDP in mode {}", testbed.mode.name))
}

const _: () = assert!(ROOM > BATCH * 32 * 1024, "a batch of the longest datagrams fits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_datagram_counts_once_and_only_as_it_was_sent() {
        for length in [2, 8, 22, 1472] {
            // A number of two bytes begins anew meanwhile.
            let first = 65_530;
            let mut expected = Expected::new(first, 10);
            let mut datagram = FILL[..length].to_vec();
            put_number(&mut datagram, first + 9);
            expected.take(&datagram);
            assert_eq!(expected.left, 0b01_1111_1111, "{length}");
            expected.take(&datagram);
            assert_eq!(expected.left, 0b01_1111_1111, "{length}: the same again");
            put_number(&mut datagram, first - 1);
            expected.take(&datagram);
            assert_eq!(expected.left, 0b01_1111_1111, "{length}: late");
            put_number(&mut datagram, first);
            if length > 8 {
                datagram[length / 3] ^= 1;
                expected.take(&datagram);
                assert_eq!(expected.left, 0b01_1111_1111, "{length}: changed");
                datagram[length / 3] ^= 1;
            }
            expected.take(&datagram);
            assert_eq!(expected.left, 0b01_1111_1110, "{length}");
        }
        assert!(Expected::new(0, 0).is_empty() && !Expected::new(0, BATCH).is_empty());
    }
}
