//! The frame that is sent: UDP over IPv4, as short as Ethernet has them.

use std::net::Ipv4Addr;

/// Bytes of a frame, the checksum at its end not counted as elsewhere in the
/// kernel.
pub(super) const FRAME_BYTES: usize = 64;
/// Where it goes to: the discard service.
pub(super) const PORT: u16 = 9;
/// Where it comes from, if there is one flow.
const SOURCE_PORT: u16 = 1024;

const ETHERNET_BYTES: usize = 14;
const IPV4_BYTES: usize = 20;
/// Hops that it may take: as many as there can be.
pub(super) const HOPS: u8 = 255;
const UDP: u8 = 17;

/// One side of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Address {
    pub(super) mac: [u8; 6],
    pub(super) ip: Ipv4Addr,
}

/// A frame from one to the other. It has no UDP checksum, which IPv4 allows, so
/// that the generator can change the source port.
pub(super) fn udp(from: Address, to: Address) -> [u8; FRAME_BYTES] {
    let mut frame = [0; FRAME_BYTES];
    let total = u16::try_from(FRAME_BYTES - ETHERNET_BYTES).unwrap_or(u16::MAX).to_be_bytes();
    let length = u16::try_from(FRAME_BYTES - ETHERNET_BYTES - IPV4_BYTES).unwrap_or(u16::MAX);
    let mut ipv4 = [0; IPV4_BYTES];
    put(&mut ipv4, &[0x45, 0, total[0], total[1], 0, 0, 0x40, 0, HOPS, UDP, 0, 0]);
    put(&mut ipv4[12..], &from.ip.octets());
    put(&mut ipv4[16..], &to.ip.octets());
    let sum = checksum(&ipv4);
    put(&mut ipv4[10..], &sum.to_be_bytes());
    put(&mut frame, &to.mac);
    put(&mut frame[6..], &from.mac);
    put(&mut frame[12..], &[0x08, 0x00]);
    put(&mut frame[ETHERNET_BYTES..], &ipv4);
    let udp = &mut frame[ETHERNET_BYTES + IPV4_BYTES..];
    put(udp, &SOURCE_PORT.to_be_bytes());
    put(&mut udp[2..], &PORT.to_be_bytes());
    put(&mut udp[4..], &length.to_be_bytes());
    frame
}

fn put(to: &mut [u8], bytes: &[u8]) {
    to[..bytes.len()].copy_from_slice(bytes);
}

/// The Internet checksum of a header.
fn checksum(header: &[u8]) -> u16 {
    let words =
        header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    #[expect(clippy::cast_possible_truncation, reason = "folded above")]
    let sum = sum as u16;
    !sum
}

#[cfg(test)]
mod tests {
    use nsbpf_common::packet::{Headers, Packet as _, protocol};

    use super::*;

    #[test]
    fn the_parser_finds_what_was_put_in() {
        let from = Address { mac: [2, 0, 0, 0, 0, 1], ip: Ipv4Addr::new(10, 9, 0, 1) };
        let to = Address { mac: [2, 0, 0, 0, 0, 2], ip: Ipv4Addr::new(10, 9, 0, 2) };
        let frame = udp(from, to);
        assert_eq!(checksum(&frame[14..34]), 0, "with its checksum a header sums up to nothing");
        let mut headers = Headers::EMPTY;
        headers.parse(frame.as_slice());
        assert_eq!(headers.protocol, protocol::UDP);
        assert_eq!((headers.source_port, headers.destination_port), (SOURCE_PORT, PORT));
        assert_eq!(frame.as_slice().frame_bytes(), 64);
        // A header of RFC 1071's kind, worked out elsewhere.
        let known = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0x00,
            0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(checksum(&known), 0xb861);
    }
}
