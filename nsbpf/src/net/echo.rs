//! ICMP echo: reachability and round-trip time, without another program.
//!
//! A raw socket, because the unprivileged kind is off in a new namespace
//! (`net.ipv4.ping_group_range`).

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::icmp::{self, Message, Token};
use super::netns::NetNs;

/// What the requests carry; the identifier tells them apart.
const PAYLOAD: Token = [0x6e; 16];

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
        let request = icmp::request(self.target.is_ipv4(), self.identifier, self.sequence, PAYLOAD);
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

    fn is_reply(&self, packet: &[u8]) -> bool {
        let reply =
            Message::Reply { identifier: self.identifier, sequence: self.sequence, token: PAYLOAD };
        icmp::parse(self.target.is_ipv4(), packet) == Some(reply)
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
