//! Frames to look at, as they are on a wire.

use std::ops::Range;

use nsbpf_common::packet::protocol::{TCP, UDP};

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// Priority 1, VLAN 7.
const VLAN: [u8; 4] = [0x81, 0x00, 0x20, 0x07];
const DESTINATION_OPTIONS: u8 = 60;
const MORE_FRAGMENTS: u16 = 0x2000;

/// 49152 → 53.
const UDP_HEADER: [u8; 8] = [0xc0, 0x00, 0x00, 0x35, 0, 26, 0, 0];
/// 49152 → 443, with the acknowledgement flag.
const TCP_HEADER: [u8; 20] =
    [0xc0, 0x00, 0x01, 0xbb, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0];
const PAYLOAD: [u8; 18] = [0; 18];

/// What most packets are.
pub(crate) fn ipv4_udp() -> Vec<u8> {
    frame(&[&IPV4, &ipv4(UDP, 0), &UDP_HEADER, &PAYLOAD])
}

/// Behind an extension header.
pub(crate) fn ipv6_extension_udp() -> Vec<u8> {
    frame(&[&IPV6, &ipv6(DESTINATION_OPTIONS), &options(UDP), &UDP_HEADER, &PAYLOAD])
}

/// With a tag in the frame.
pub(crate) fn vlan_ipv4_tcp() -> Vec<u8> {
    frame(&[&VLAN, &IPV4, &ipv4(TCP, 0), &TCP_HEADER, &PAYLOAD])
}

/// The first of several fragments, which has ports.
pub(crate) fn ipv4_fragment() -> Vec<u8> {
    frame(&[&IPV4, &ipv4(UDP, MORE_FRAGMENTS), &UDP_HEADER, &PAYLOAD])
}

/// Two tags and as many extension headers as are followed, and the last one is cut off:
/// nothing has the parser do more for a packet that turns out to have no transport.
pub(crate) fn truncated() -> Vec<u8> {
    let chain = options(DESTINATION_OPTIONS).repeat(8);
    let mut frame = frame(&[&VLAN, &VLAN, &IPV6, &ipv6(DESTINATION_OPTIONS), &chain]);
    frame.truncate(frame.len() - 6);
    frame
}

/// Both ways of a TCP connection.
pub(crate) fn ipv4_tcp_both_ways() -> [Vec<u8>; 2] {
    let one = frame(&[&IPV4, &ipv4(TCP, 0), &TCP_HEADER, &PAYLOAD]);
    let other = turned(&one, 26..30, 34);
    [one, other]
}

/// Both ways of a TCP connection.
pub(crate) fn ipv6_tcp_both_ways() -> [Vec<u8>; 2] {
    let one = frame(&[&IPV6, &ipv6(TCP), &TCP_HEADER, &PAYLOAD]);
    let other = turned(&one, 22..38, 54);
    [one, other]
}

/// The same from the other end. Each source is followed by a destination as long.
fn turned(frame: &[u8], source: Range<usize>, ports: usize) -> Vec<u8> {
    let mut turned = frame.to_vec();
    for (start, bytes) in [(source.start, source.len()), (ports, 2)] {
        turned[start..start + 2 * bytes].rotate_left(bytes);
    }
    turned
}

/// Ethernet addresses, then the parts.
fn frame(parts: &[&[u8]]) -> Vec<u8> {
    const ADDRESSES: [u8; 12] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    [&ADDRESSES, parts.concat().as_slice()].concat()
}

fn ipv4(protocol: u8, fragment: u16) -> [u8; 20] {
    let [high, low] = fragment.to_be_bytes();
    [0x45, 0, 0, 46, 0, 1, high, low, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]
}

fn ipv6(next: u8) -> Vec<u8> {
    let address = |last| [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
    let start = [0x60, 0, 0, 0, 0, 46, next, 64];
    [start.as_slice(), &address(1), &address(2)].concat()
}

/// An extension header that pads.
fn options(next: u8) -> [u8; 8] {
    [next, 0, 1, 4, 0, 0, 0, 0]
}
