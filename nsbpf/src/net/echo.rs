//! ICMP echo: reachability and round-trip time, without another program.
//!
//! A raw socket, because the unprivileged kind is off in a new namespace
//! (`net.ipv4.ping_group_range`).

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use socket2::{Domain, Protocol, Socket, Type};

use super::netns::NetNs;

const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
/// Type, code, checksum, identifier and sequence number.
const HEADER_BYTES: usize = 8;
/// As `ping` sends.
const PAYLOAD_BYTES: usize = 56;

/// Sends echo requests to one address, from inside a namespace.
pub struct Echo {
    socket: Socket,
    target: IpAddr,
    identifier: u16,
    sequence: u16,
}

impl Echo {
    /// A sender inside the namespace. Each sender of a process needs an
    /// `identifier` of its own.
    pub fn new(namespace: &NetNs, target: IpAddr, identifier: u16) -> io::Result<Self> {
        let (domain, protocol) = match target {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = namespace.run(|| Socket::new(domain, Type::RAW, Some(protocol)))??;
        socket.connect(&SocketAddr::new(target, 0).into())?;
        Ok(Self { socket, target, identifier, sequence: 0 })
    }

    /// Sends one request and waits for its reply. `None` when it does not come
    /// in time.
    pub fn ping(&mut self, patience: Duration) -> io::Result<Option<Duration>> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = self.request();
        let start = Instant::now();
        match self.socket.send(&request) {
            Ok(_) => {}
            // There is no way to it, or a firewall in the namespace forbids it.
            Err(error) => {
                log::info!("ping {}: {error}", self.target);
                return Ok(None);
            }
        }
        let deadline = start + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left))?;
            let mut buffer = [0; 512];
            match (&self.socket).read(&mut buffer) {
                Ok(length) if self.is_reply(&buffer[..length]) => {
                    return Ok(Some(start.elapsed()));
                }
                Ok(_) => {}
                Err(error) if unreachable(&error) => return Ok(None),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn request(&self) -> BytesMut {
        let mut packet = BytesMut::with_capacity(HEADER_BYTES + PAYLOAD_BYTES);
        packet.put_u8(if self.target.is_ipv4() { ECHO_REQUEST_V4 } else { ECHO_REQUEST_V6 });
        packet.put_u8(0);
        packet.put_u16(0);
        packet.put_u16(self.identifier);
        packet.put_u16(self.sequence);
        packet.put_bytes(0x6e, PAYLOAD_BYTES);
        if self.target.is_ipv4() {
            // The kernel sums ICMPv6 itself.
            let checksum = checksum(&packet);
            packet[2..4].copy_from_slice(&checksum.to_be_bytes());
        }
        packet
    }

    fn is_reply(&self, packet: &[u8]) -> bool {
        // A raw IPv4 socket gets the IP header too.
        let (offset, reply) = match self.target {
            IpAddr::V4(_) => {
                (packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4), ECHO_REPLY_V4)
            }
            IpAddr::V6(_) => (0, ECHO_REPLY_V6),
        };
        let Some(header) = packet.get(offset..).and_then(|icmp| icmp.first_chunk::<HEADER_BYTES>())
        else {
            return false;
        };
        let [kind, _, _, _, id_high, id_low, sequence_high, sequence_low] = *header;
        kind == reply
            && u16::from_be_bytes([id_high, id_low]) == self.identifier
            && u16::from_be_bytes([sequence_high, sequence_low]) == self.sequence
    }
}

fn unreachable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::ConnectionRefused
    )
}

/// The Internet checksum, RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let high = u32::from(pair[0]) << 8;
        let low = pair.get(1).map_or(0, |low| u32::from(*low));
        sum += high | low;
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    #[expect(clippy::cast_possible_truncation, reason = "folded to 16 bits")]
    let folded = sum as u16;
    !folded
}

#[cfg(test)]
mod tests {
    use super::checksum;

    #[test]
    fn checksum_of_the_rfc_example() {
        // RFC 1071, section 3: the sum is ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&bytes), !0xddf2);
    }

    #[test]
    fn an_odd_byte_counts_as_the_high_one() {
        assert_eq!(checksum(&[0x12]), !0x1200);
    }
}
