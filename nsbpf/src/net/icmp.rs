//! ICMP messages about reachability, as raw sockets see them: echo requests and
//! replies, and what a router says that cannot pass one on.
//!
//! A raw IPv4 socket receives the IP header too, a raw IPv6 socket does not.

use std::net::IpAddr;

use bytes::{BufMut, BytesMut};

/// What a request carries and its reply has to: nobody else knows it.
pub type Token = [u8; 16];

const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REPLY_V4: u8 = 0;
const UNREACHABLE_V4: u8 = 3;
const TIME_EXCEEDED_V4: u8 = 11;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const UNREACHABLE_V6: u8 = 1;
const TIME_EXCEEDED_V6: u8 = 3;
/// Numbers of the protocols in an IP header.
const PROTOCOL_V4: u8 = 1;
const PROTOCOL_V6: u8 = 58;
/// Type, code, checksum, identifier and sequence number.
const HEADER_BYTES: usize = 8;
const IPV6_HEADER_BYTES: usize = 40;
/// As `ping` sends.
const PAYLOAD_BYTES: usize = 56;

/// What a raw socket received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// An answer.
    Reply {
        /// The identifier of the request.
        identifier: u16,
        /// The sequence number of the request.
        sequence: u16,
        /// What the request carried.
        token: Token,
    },
    /// Somebody on the way could not pass a request on.
    Unreachable {
        /// Why not.
        why: &'static str,
        /// Where the request was to go.
        target: IpAddr,
        /// Its identifier.
        identifier: u16,
        /// Its sequence number.
        sequence: u16,
    },
}

/// An echo request, with the checksum where the kernel does not make it.
#[must_use]
pub fn request(ipv4: bool, identifier: u16, sequence: u16, token: Token) -> BytesMut {
    let mut packet = BytesMut::with_capacity(HEADER_BYTES + PAYLOAD_BYTES);
    packet.put_u8(if ipv4 { ECHO_REQUEST_V4 } else { ECHO_REQUEST_V6 });
    packet.put_u8(0);
    packet.put_u16(0);
    packet.put_u16(identifier);
    packet.put_u16(sequence);
    packet.put_slice(&token);
    packet.put_bytes(0x6e, PAYLOAD_BYTES - token.len());
    if ipv4 {
        let checksum = checksum(&packet);
        packet[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    packet
}

/// Reads what a raw socket received; `None` for everything else that ICMP is.
#[must_use]
pub fn parse(ipv4: bool, packet: &[u8]) -> Option<Message> {
    let icmp = if ipv4 { packet.get(ipv4_header(packet)?..)? } else { packet };
    let [kind, code, ..] = *icmp.first_chunk::<HEADER_BYTES>()?;
    let (reply, unreachable, exceeded) = if ipv4 {
        (ECHO_REPLY_V4, UNREACHABLE_V4, TIME_EXCEEDED_V4)
    } else {
        (ECHO_REPLY_V6, UNREACHABLE_V6, TIME_EXCEEDED_V6)
    };
    let body = &icmp[HEADER_BYTES..];
    if kind == reply {
        let (identifier, sequence) = numbers(icmp)?;
        return Some(Message::Reply { identifier, sequence, token: *body.first_chunk()? });
    }
    let why = match (kind, code) {
        _ if kind == exceeded => "too many hops",
        _ if kind != unreachable => return None,
        (_, code) => reason(ipv4, code),
    };
    let (target, request) = if ipv4 { quoted_ipv4(body)? } else { quoted_ipv6(body)? };
    let (identifier, sequence) = numbers(request)?;
    Some(Message::Unreachable { why, target, identifier, sequence })
}

/// RFC 792 and RFC 1812, section 5.2.7.1; RFC 4443, section 3.1.
fn reason(ipv4: bool, code: u8) -> &'static str {
    match (ipv4, code) {
        (true, 0 | 6) => "network unreachable",
        (true, 1 | 7) => "host unreachable",
        (true, 2) => "protocol unreachable",
        (true, 3) | (false, 4) => "port unreachable",
        (true, 9 | 10 | 13) | (false, 1) => "administratively prohibited",
        (false, 0) => "no route",
        (false, 3) => "address unreachable",
        (false, 5 | 6) => "rejected by a route",
        _ => "unreachable",
    }
}

/// Bytes of the IPv4 header.
fn ipv4_header(packet: &[u8]) -> Option<usize> {
    packet.first().map(|first| usize::from(first & 0x0f) * 4)
}

fn quoted_ipv4(packet: &[u8]) -> Option<(IpAddr, &[u8])> {
    let target: [u8; 4] = *packet.get(16..)?.first_chunk()?;
    let request = packet.get(ipv4_header(packet)?..)?;
    let ours = packet[9] == PROTOCOL_V4 && *request.first()? == ECHO_REQUEST_V4;
    ours.then_some((target.into(), request))
}

fn quoted_ipv6(packet: &[u8]) -> Option<(IpAddr, &[u8])> {
    let target: [u8; 16] = *packet.get(24..)?.first_chunk()?;
    let request = packet.get(IPV6_HEADER_BYTES..)?;
    let ours = packet[6] == PROTOCOL_V6 && *request.first()? == ECHO_REQUEST_V6;
    ours.then_some((target.into(), request))
}

/// Identifier and sequence number.
fn numbers(icmp: &[u8]) -> Option<(u16, u16)> {
    let [_, _, _, _, id_high, id_low, sequence_high, sequence_low] =
        *icmp.first_chunk::<HEADER_BYTES>()?;
    let identifier = u16::from_be_bytes([id_high, id_low]);
    Some((identifier, u16::from_be_bytes([sequence_high, sequence_low])))
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
    use super::*;

    const TOKEN: Token = *b"0123456789abcdef";

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

    /// An IPv4 header of 24 bytes (with an option) before it.
    fn in_ipv4(icmp: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x46, 0, 0, 0, 0, 0, 0, 0, 64, PROTOCOL_V4, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 0]);
        packet.extend(icmp);
        packet
    }

    fn in_ipv6(icmp: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 64, PROTOCOL_V6, 64];
        packet.extend([0xfd; 32]);
        packet.extend(icmp);
        packet
    }

    #[test]
    fn a_reply_is_a_request_sent_back() {
        let mut echo = request(true, 7, 8, TOKEN);
        assert_eq!(checksum(&echo), 0);
        assert_eq!(parse(true, &in_ipv4(&echo)), None, "a request");
        echo[0] = ECHO_REPLY_V4;
        let reply = Message::Reply { identifier: 7, sequence: 8, token: TOKEN };
        assert_eq!(parse(true, &in_ipv4(&echo)), Some(reply));
        let mut echo = request(false, 7, 8, TOKEN);
        echo[0] = ECHO_REPLY_V6;
        assert_eq!(parse(false, &echo), Some(reply));
    }

    #[test]
    fn an_error_quotes_the_request() {
        let mut error = vec![UNREACHABLE_V4, 13, 0, 0, 0, 0, 0, 0];
        error.extend(in_ipv4(&request(true, 7, 8, TOKEN)));
        let unreachable = |why, target: &str| {
            let target = target.parse().unwrap();
            Some(Message::Unreachable { why, target, identifier: 7, sequence: 8 })
        };
        assert_eq!(
            parse(true, &in_ipv4(&error)),
            unreachable("administratively prohibited", "10.0.0.2")
        );
        let mut error = vec![UNREACHABLE_V6, 0, 0, 0, 0, 0, 0, 0];
        error.extend(in_ipv6(&request(false, 7, 8, TOKEN)));
        let target = "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd";
        assert_eq!(parse(false, &error), unreachable("no route", target));
    }

    #[test]
    fn what_is_cut_short_is_nothing() {
        let mut error = vec![UNREACHABLE_V4, 1, 0, 0, 0, 0, 0, 0];
        error.extend(in_ipv4(&request(true, 7, 8, TOKEN)));
        let packet = in_ipv4(&error);
        // Enough of the quoted request for its numbers: 24 + 8 + 24 + 8 bytes.
        for length in 0..64 {
            assert_eq!(parse(true, &packet[..length]), None, "{length} bytes");
            assert_eq!(parse(false, &packet[..length]), None, "{length} bytes");
        }
        assert!(parse(true, &packet[..64]).is_some());
    }
}
