//! UDP between two sockets: what an application gets. One thread sends a batch and
//! receives it, then the next, so that no queue fills and the rate is what all of it
//! costs one processor: system calls, both stacks, the path.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use super::datagrams::{BATCH, Datagrams};
use super::frames::rate;
use super::{Metric, Quantity, Round, Shape, Traffic};
use crate::bench::cpu::CpuTime;
use crate::bench::ip::Ip;
use crate::bench::testbed::Testbed;
use crate::bench::{BenchError, io_error};

/// Bytes that the receiving socket has room for: more than a batch of the longest datagrams.
const ROOM: usize = 16 << 20;
/// Batches that do not count: they bring what this path needs back into the caches.
const FIRST: u32 = 16;
/// How long the rest of a batch is waited for.
const PATIENCE: Duration = Duration::from_millis(20);

/// Two sockets, connected.
pub(in crate::bench) struct Sockets {
    near: UdpSocket,
    far: UdpSocket,
    payload: usize,
    out: Datagrams,
    back: Datagrams,
    /// Datagrams that were sent so far, whose numbers they carry.
    sent: u64,
    /// Those of them that arrived as they were sent.
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
        let any: IpAddr = match shape.ip {
            Ip::V4 => Ipv4Addr::UNSPECIFIED.into(),
            Ip::V6 => Ipv6Addr::UNSPECIFIED.into(),
        };
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
        let [out, back] = [Datagrams::new(payload), Datagrams::new(payload + 1)];
        Ok(Self { near, far, payload, out, back, sent: 0, delivered: 0, processor })
    }

    fn batch(&mut self) -> io::Result<()> {
        for (number, datagram) in (self.sent..).zip(self.out.each()) {
            put_number(datagram, number);
        }
        let sent = self.out.send(&self.near)?;
        self.sent += sent as u64;
        let mut left = sent;
        let mut deadline = None;
        while left > 0 {
            let arrived = self.receive()?;
            left = left.saturating_sub(arrived);
            if arrived == 0 {
                let deadline = deadline.get_or_insert_with(|| Instant::now() + PATIENCE);
                if Instant::now() > *deadline {
                    break;
                }
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    fn receive(&mut self) -> io::Result<usize> {
        let Self { far, payload, back, sent, delivered, .. } = self;
        let lengths = back.receive(far)?;
        let as_sent = lengths.iter().zip(back.each()).filter(|(length, datagram)| {
            **length == *payload && is_as_sent(&datagram[..*payload], *sent)
        });
        *delivered += as_sent.count() as u64;
        Ok(lengths.len())
    }
}

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
            Ok(Round { sent, delivered, values: vec![rate, bits], cpu: Some(cpu) })
        };
        round().map_err(failed(testbed))
    }
}

/// Its last bytes tell its number, and the others that nothing changed them.
fn put_number(datagram: &mut [u8], number: u64) {
    let number = number.to_be_bytes();
    let (fill, last) = datagram.split_at_mut(datagram.len().saturating_sub(number.len()));
    fill.fill(0x5a);
    last.copy_from_slice(&number[number.len() - last.len()..]);
}

/// Whether it is one of the first so many.
fn is_as_sent(datagram: &[u8], sent: u64) -> bool {
    let (fill, last) = datagram.split_at(datagram.len().saturating_sub(size_of::<u64>()));
    let mut number = [0; size_of::<u64>()];
    let first = number.len() - last.len();
    number[first..].copy_from_slice(last);
    u64::from_be_bytes(number) < sent.max(1) && fill.iter().all(|byte| *byte == 0x5a)
}

fn failed(testbed: &Testbed) -> impl FnOnce(io::Error) -> BenchError {
    io_error(format!("talk UDP in mode {}", testbed.mode.name))
}

const _: () = assert!(ROOM > BATCH * 32 * 1024, "a batch of the longest datagrams fits");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_that_changed_is_told_from_one_that_did_not() {
        for length in [2, 8, 22, 1472] {
            let mut datagram = vec![0; length];
            put_number(&mut datagram, 7);
            assert!(is_as_sent(&datagram, 8), "{length}");
            assert!(!is_as_sent(&datagram, 7), "{length}: not sent yet");
            datagram[length / 2] ^= 1;
            assert!(length < 22 || !is_as_sent(&datagram, 8), "{length}");
        }
    }
}
