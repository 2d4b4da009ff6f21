//! Raw sockets at interfaces: frames with numbers are sent there, and told when they
//! arrive.

use std::ffi::CString;
use std::io::{ErrorKind, Read as _};

use nsbpf::net::NetNs;
use socket2::Socket;

use crate::truth::{packet_socket, set_option};

pub(super) type Mac = [u8; 6];

pub(super) const EVERYBODY: Mac = [0xff; 6];

/// The address of a station that is no interface's.
pub(super) const fn station(number: u8) -> Mac {
    [0x02, 0xbb, 0, 0, 0, number]
}

/// What a frame carries besides its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Ipv4,
    /// One that is not the first: it has no ports.
    Fragment,
    Ipv6,
    /// IPv4 behind a VLAN tag.
    Tagged(u8),
    /// IPv4 to a UDP port of that host.
    Port([u8; 4], u16),
    /// As long as that, Ethernet header included.
    Long(u16),
}

/// Before the number of each frame.
const MAGIC: [u8; 8] = *b"nsbpf-id";
const NUMBER_BYTES: usize = MAGIC.len() + 4;
const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;
const UDP_BYTES: usize = 8;

pub(super) fn frame(to: Mac, from: Mac, shape: Shape, number: u32) -> Vec<u8> {
    let (host, port) = match shape {
        Shape::Port(host, port) => (host, port),
        _ => ([192, 0, 2, 2], 9),
    };
    let mut payload = [MAGIC.as_slice(), &number.to_be_bytes()].concat();
    if let Shape::Long(bytes) = shape {
        payload.resize(usize::from(bytes) - ETHERNET_BYTES - IPV4_BYTES - UDP_BYTES, 0x6e);
    }
    let length = (UDP_BYTES + payload.len()) as u16;
    // Without a checksum, which UDP over IPv4 may be.
    let udp = [[0, 9], port.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    let tag = match shape {
        Shape::Tagged(vlan) => vec![0x81, 0, 0, vlan],
        _ => vec![],
    };
    let network = match shape {
        Shape::Ipv6 => {
            let mut header = vec![0x86, 0xdd, 0x60, 0, 0, 0];
            header.extend(length.to_be_bytes());
            header.extend([17, 64]);
            for end in [1, 2] {
                header.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end]);
            }
            header
        }
        _ => [vec![0x08, 0], ipv4(host, length, shape == Shape::Fragment)].concat(),
    };
    [to.as_slice(), &from, &tag, &network, &udp, &payload].concat()
}

fn ipv4(host: [u8; 4], payload_bytes: u16, is_fragment: bool) -> Vec<u8> {
    let length = IPV4_BYTES as u16 + payload_bytes;
    let mut header = vec![0x45, 0];
    header.extend(length.to_be_bytes());
    header.extend([0x6e, 0x62, 0, if is_fragment { 100 } else { 0 }, 64, 17, 0, 0]);
    header.extend([192, 0, 2, 1]);
    header.extend(host);
    // A bridge that asks iptables drops what has a wrong one.
    let words = header.chunks_exact(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}

/// The number of a frame that has one.
fn number(frame: &[u8]) -> Option<u32> {
    let at = frame.windows(MAGIC.len()).position(|window| window == MAGIC)?;
    let number = frame.get(at + MAGIC.len()..at + NUMBER_BYTES)?;
    Some(u32::from_be_bytes(number.try_into().ok()?))
}

/// An interface whose frames are seen, whoever they are for.
pub(super) struct Tap(Socket);

impl Tap {
    pub(super) fn new(namespace: &NetNs, interface: &str) -> Self {
        let name = CString::new(interface).expect("a name");
        let open = || packet_socket(&name, libc::ETH_P_ALL as u16);
        let socket = namespace.run(open).and_then(|socket| socket).expect("a packet socket");
        set_option(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1).expect("ignore");
        socket.set_nonblocking(true).expect("do not block");
        socket.set_recv_buffer_size(4 << 20).expect("room for frames");
        Self(socket)
    }

    /// Sends a frame, if the interface and its other end are up.
    pub(super) fn send(&self, frame: &[u8]) -> bool {
        match self.0.send(frame) {
            Ok(_) => true,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENETDOWN | libc::ENOBUFS)) => {
                false
            }
            Err(error) => panic!("send a frame: {error}"),
        }
    }

    /// The numbers of frames that came in since it was asked last.
    pub(super) fn heard(&self) -> Vec<u32> {
        let mut numbers = Vec::new();
        let mut buffer = [0; 2048];
        loop {
            match (&self.0).read(&mut buffer) {
                Ok(length) => numbers.extend(number(&buffer[..length])),
                // It was set down once.
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return numbers,
                Err(error) => panic!("hear a frame: {error}"),
            }
        }
    }
}
