//! The frames that are sent: UDP over IPv4 or IPv6.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::bench::ip::Ip;
use nsbpf_common::generator::{IPV4_BYTES, UDP_BYTES, put_flow, put_new_flow};

/// Bytes of an Ethernet header.
pub(in crate::bench) const ETHERNET_BYTES: usize = 14;
const UDP_HEADER_BYTES: usize = 8;
/// Hops that a frame may take: as many as there can be.
pub(super) const HOPS: u8 = 255;
const UDP: u8 = 17;

/// What frames are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) struct Shape {
    pub(in crate::bench) ip: Ip,
    /// Bytes of a frame, the checksum at its end not counted as elsewhere in the
    /// kernel; [`MIN_BYTES`](crate::bench::MIN_BYTES) at least.
    pub(in crate::bench) bytes: u16,
    /// Flows that they are of, 1 to [`MAX_FLOWS`](crate::bench::MAX_FLOWS).
    pub(in crate::bench) flows: u32,
}

impl Shape {
    /// What most is measured with, and all targets are for.
    pub(in crate::bench) const SHORT: Self = Self { ip: Ip::V4, bytes: 64, flows: 1 };

    /// Where the UDP header begins.
    pub(super) const fn udp(self) -> usize {
        ETHERNET_BYTES + self.ip.header_bytes()
    }

    /// Bytes that UDP carries.
    pub(super) const fn payload(self) -> usize {
        self.bytes as usize - self.udp() - UDP_HEADER_BYTES
    }
}

/// One side of a path.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Address {
    pub(in crate::bench) mac: [u8; 6],
    pub(in crate::bench) v4: Ipv4Addr,
    pub(in crate::bench) v6: Ipv6Addr,
}

/// A frame from one to the other, of the first flow. Over IPv4 it has no UDP checksum,
/// which is allowed there.
pub(in crate::bench) fn udp(shape: Shape, from: Address, to: Address) -> Vec<u8> {
    let Shape { ip, bytes, .. } = shape;
    let mut frame = vec![0; usize::from(bytes)];
    put(&mut frame, &to.mac);
    put(&mut frame[6..], &from.mac);
    put(&mut frame[12..], &if ip == Ip::V4 { [0x08, 0x00] } else { [0x86, 0xdd] });
    let length = |less: usize| u16::try_from(frame.len() - less).unwrap_or(u16::MAX).to_be_bytes();
    let (total, udp_length) = (length(ETHERNET_BYTES), length(shape.udp()));
    let header = ip_header(ip, total, udp_length, from, to);
    put(&mut frame[ETHERNET_BYTES..], &header);
    let udp = &mut frame[shape.udp()..];
    put(&mut udp[4..], &udp_length);
    if let Some(ports) = udp.first_chunk_mut::<UDP_BYTES>() {
        put_flow(ports, 0);
    }
    if ip == Ip::V6 {
        let pseudo = [&from.v6.octets()[..], &to.v6.octets(), &[0, UDP], &udp_length].concat();
        let sum = match checksum(&[&pseudo, udp]) {
            // None at all is written so.
            0 => 0xffff,
            sum => sum,
        };
        put(&mut udp[6..], &sum.to_be_bytes());
    }
    frame
}

/// A short frame of the first of flows without end.
pub(in crate::bench) fn of_new_flow(from: Address, to: Address, is_elsewhere: bool) -> Vec<u8> {
    let mut frame = udp(Shape::SHORT, from, to);
    if let Some(header) = frame[ETHERNET_BYTES..].first_chunk_mut::<IPV4_BYTES>() {
        put_new_flow(header, 0, is_elsewhere.then_some(0));
        let (header, _) = header.split_at_mut(Ip::V4.header_bytes());
        put(&mut header[10..], &[0, 0]);
        let sum = checksum(&[header]);
        put(&mut header[10..], &sum.to_be_bytes());
    }
    frame
}

fn ip_header(ip: Ip, total: [u8; 2], udp: [u8; 2], from: Address, to: Address) -> Vec<u8> {
    match ip {
        Ip::V4 => {
            let mut header = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, HOPS, UDP, 0, 0];
            header.extend(from.v4.octets());
            header.extend(to.v4.octets());
            let sum = checksum(&[&header]);
            put(&mut header[10..], &sum.to_be_bytes());
            header
        }
        Ip::V6 => {
            let mut header = vec![0x60, 0, 0, 0, udp[0], udp[1], UDP, HOPS];
            header.extend(from.v6.octets());
            header.extend(to.v6.octets());
            header
        }
    }
}

fn put(to: &mut [u8], bytes: &[u8]) {
    to[..bytes.len()].copy_from_slice(bytes);
}

/// The Internet checksum of bytes, in parts of which only the last may be odd.
fn checksum(parts: &[&[u8]]) -> u16 {
    let word = |word: &[u8]| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or(0));
    let mut sum: u32 = parts.iter().flat_map(|part| part.chunks(2)).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    #[expect(clippy::cast_possible_truncation, reason = "folded above")]
    let sum = sum as u16;
    !sum
}

#[cfg(test)]
mod tests {
    use nsbpf_common::generator::ports;
    use nsbpf_common::packet::{Headers, Packet as _, protocol};

    use super::*;

    const FROM: Address = Address {
        mac: [2, 0, 0, 0, 0, 1],
        v4: Ipv4Addr::new(10, 9, 0, 1),
        v6: Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 1),
    };
    const TO: Address = Address {
        mac: [2, 0, 0, 0, 0, 2],
        v4: Ipv4Addr::new(10, 9, 0, 2),
        v6: Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 2),
    };

    #[test]
    fn the_parser_finds_what_was_put_in() {
        for ip in [Ip::V4, Ip::V6] {
            for bytes in [64, 65, 1514] {
                let shape = Shape { ip, bytes, flows: 7 };
                let frame = udp(shape, FROM, TO);
                let mut headers = Headers::EMPTY;
                headers.parse(frame.as_slice());
                assert_eq!(headers.protocol, protocol::UDP);
                assert_eq!((headers.source_port, headers.destination_port), ports(0));
                assert_eq!(frame.as_slice().frame_bytes(), u32::from(bytes));
                assert_eq!(shape.udp() + 8 + shape.payload(), usize::from(bytes));
            }
        }
    }

    #[test]
    fn checksums_are_right() {
        let v4 = udp(Shape::SHORT, FROM, TO);
        assert_eq!(checksum(&[&v4[14..34]]), 0, "with its checksum a header sums up to nothing");
        for is_elsewhere in [false, true] {
            let mut first = of_new_flow(FROM, TO, is_elsewhere);
            for flow in [0, 1, 99_999, u32::MAX] {
                let to = is_elsewhere.then(|| flow.rotate_left(9));
                put_new_flow(first[14..].first_chunk_mut().unwrap(), flow, to);
                assert_eq!(checksum(&[&first[14..34]]), 0, "flow {flow} without end");
            }
        }
        // A header of RFC 1071's kind, worked out elsewhere.
        let known = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0x00,
            0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert_eq!(checksum(&[&known]), 0xb861);
        for bytes in [64, 65, 1514] {
            let shape = Shape { ip: Ip::V6, bytes, flows: 1 };
            let mut frame = udp(shape, FROM, TO);
            for flow in [0, 1, 64_512, 99_999] {
                let udp = frame[54..].first_chunk_mut().unwrap();
                put_flow(udp, flow);
                let length = (u32::from(bytes) - 54).to_be_bytes();
                let pseudo = [&frame[22..54], &length[..], &[0, 0, 0, UDP]].concat();
                assert_eq!(checksum(&[&pseudo, &frame[54..]]), 0, "flow {flow} of {bytes} bytes");
            }
        }
    }
}
