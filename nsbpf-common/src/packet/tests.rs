use std::vec::Vec;

use super::*;
use crate::stats::Cell;

const MACS: [u8; 12] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];

fn parse(frame: &[u8]) -> Headers {
    let mut headers = Headers::EMPTY;
    headers.parse(frame);
    headers
}

/// Ethernet addresses, then the parts.
fn frame(parts: &[&[u8]]) -> Vec<u8> {
    [MACS.as_slice()].iter().chain(parts).flat_map(|part| part.iter().copied()).collect()
}

fn ipv4(options: usize, fragment: u16, protocol: u8) -> Vec<u8> {
    assert_eq!(options % 4, 0);
    let [high, low] = fragment.to_be_bytes();
    let ihl = 5 + u8::try_from(options / 4).unwrap();
    let mut header = [0x40 | ihl, 0, 0, 0, 0, 0, high, low, 64, protocol, 0, 0].to_vec();
    header.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    header.extend(std::iter::repeat_n(1, options));
    header
}

fn ipv6(next: u8) -> Vec<u8> {
    let mut header = [0x60, 0, 0, 0, 0, 0, next, 64].to_vec();
    header.extend([0xfd; 32]);
    header
}

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// 1000 → 2000, 8 bytes in all.
const UDP: [u8; 8] = [0x03, 0xe8, 0x07, 0xd0, 0, 8, 0, 0];
/// 1000 → 2000, 24 bytes in all.
const TCP: [u8; 24] =
    [0x03, 0xe8, 0x07, 0xd0, 0, 0, 0, 0, 0, 0, 0, 0, 0x60, 2, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1];

#[track_caller]
fn assert_ports(headers: &Headers, transport_offset: u16, payload_offset: u16) {
    assert_eq!((headers.source_port, headers.destination_port), (1000, 2000), "{headers:?}");
    assert_eq!(headers.transport_offset, transport_offset);
    assert_eq!(headers.payload_offset, payload_offset);
}

#[test]
fn plain_udp_and_tcp() {
    let headers = parse(&frame(&[&IPV4, &ipv4(0, 0, protocol::UDP), &UDP]));
    assert_eq!(headers.family(), Family::Ipv4);
    assert_eq!(headers.protocol, protocol::UDP);
    assert_eq!(headers.fragment(), Fragment::Whole);
    assert_ports(&headers, 34, 42);

    let headers = parse(&frame(&[&IPV6, &ipv6(protocol::TCP), &TCP]));
    assert_eq!(headers.family(), Family::Ipv6);
    assert_eq!(headers.protocol, protocol::TCP);
    assert_ports(&headers, 54, 78);
}

#[test]
fn ipv4_options_move_the_transport_header() {
    for options in (0..=40).step_by(4) {
        let headers = parse(&frame(&[&IPV4, &ipv4(options, 0, protocol::TCP), &TCP]));
        let transport = 34 + u16::try_from(options).unwrap();
        assert_ports(&headers, transport, transport + 24);
    }
}

#[test]
fn a_later_fragment_has_no_ports() {
    let dont_fragment = parse(&frame(&[&IPV4, &ipv4(0, 0x4000, protocol::UDP), &UDP]));
    assert_eq!(dont_fragment.fragment(), Fragment::Whole);
    let first = parse(&frame(&[&IPV4, &ipv4(0, 0x2000, protocol::UDP), &UDP]));
    assert_eq!(first.fragment(), Fragment::First);
    assert_ports(&first, 34, 42);
    for flags in [0x2001, 0x0001, 0x1fff] {
        let later = parse(&frame(&[&IPV4, &ipv4(0, flags, protocol::UDP), &UDP]));
        assert_eq!(later.fragment(), Fragment::Later);
        assert_eq!(later.protocol, protocol::UDP);
        assert_eq!((later.source_port, later.destination_port), (0, 0));
    }
}

#[test]
fn ipv6_extension_headers_are_followed() {
    // Hop-by-hop of 8 bytes, routing of 24, destination options of 16,
    // authentication of 12.
    let chain: &[&[u8]] = &[
        &[43, 0, 0, 0, 0, 0, 0, 0],
        &[[60, 2, 0, 0, 0, 0, 0, 0].as_slice(), &[0; 16]].concat(),
        &[[51, 1, 0, 0, 0, 0, 0, 0].as_slice(), &[0; 8]].concat(),
        &[17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    let headers = parse(&frame(&[&IPV6, &ipv6(0), &chain.concat(), &UDP]));
    assert_eq!(headers.protocol, protocol::UDP);
    assert_ports(&headers, 54 + 60, 54 + 60 + 8);
}

#[test]
fn ipv6_fragments() {
    let first = parse(&frame(&[&IPV6, &ipv6(44), &[17, 0, 0, 1, 0, 0, 0, 9], &UDP]));
    assert_eq!(first.fragment(), Fragment::First);
    assert_ports(&first, 62, 70);
    let later = parse(&frame(&[&IPV6, &ipv6(44), &[17, 0, 0, 9, 0, 0, 0, 9], &UDP]));
    assert_eq!(later.fragment(), Fragment::Later);
    assert_eq!((later.protocol, later.source_port), (protocol::UDP, 0));
    // "Atomic": a fragment header on a whole packet (RFC 6946).
    let atomic = parse(&frame(&[&IPV6, &ipv6(44), &[17, 0, 0, 0, 0, 0, 0, 9], &UDP]));
    assert_eq!(atomic.fragment(), Fragment::Whole);
    assert_ports(&atomic, 62, 70);
}

#[test]
fn too_long_a_chain_is_unknown() {
    let chain = [60, 0, 0, 0, 0, 0, 0, 0].repeat(MAX_EXTENSION_HEADERS + 1);
    let headers = parse(&frame(&[&IPV6, &ipv6(60), &chain, &UDP]));
    assert_eq!((headers.family(), headers.protocol), (Family::Ipv6, protocol::UNKNOWN));
}

#[test]
fn vlan_tags_in_the_frame() {
    let tag = [0x81, 0x00, 0x20, 0x07];
    let headers = parse(&frame(&[&tag, &IPV4, &ipv4(0, 0, protocol::UDP), &UDP]));
    assert_eq!((headers.vlan_tags, headers.vlan_tci), (1, 0x2007));
    assert_ports(&headers, 38, 46);
    let service = [0x88, 0xa8, 0x00, 0x09];
    let headers = parse(&frame(&[&service, &tag, &IPV4, &ipv4(0, 0, protocol::UDP), &UDP]));
    assert_eq!((headers.vlan_tags, headers.vlan_tci), (2, 9));
    assert_ports(&headers, 42, 50);
    let headers = parse(&frame(&[&tag, &tag, &tag, &IPV4]));
    assert_eq!((headers.vlan_tags, headers.family()), (2, Family::Other));
}

#[test]
fn arp_llc_and_the_unknown() {
    assert_eq!(parse(&frame(&[&[0x08, 0x06]])).family(), Family::Arp);
    let spanning_tree = parse(&frame(&[&[0x00, 0x26, 0x42, 0x42, 0x03]]));
    assert_eq!((spanning_tree.family(), spanning_tree.ethertype), (Family::Other, 0x26));
    assert_eq!(parse(&frame(&[&[0x88, 0xcc]])).family(), Family::Other);
}

#[test]
fn wrong_versions_and_lengths_are_not_followed() {
    let mut wrong_version = ipv4(0, 0, protocol::UDP);
    wrong_version[0] = 0x65;
    let mut short_header = ipv4(0, 0, protocol::UDP);
    short_header[0] = 0x44;
    for header in [wrong_version, short_header] {
        let headers = parse(&frame(&[&IPV4, &header, &UDP]));
        assert_eq!((headers.family(), headers.protocol), (Family::Ipv4, protocol::UNKNOWN));
    }
    let mut short_tcp = TCP;
    short_tcp[12] = 0x40;
    let headers = parse(&frame(&[&IPV4, &ipv4(0, 0, protocol::TCP), &short_tcp]));
    assert_eq!((headers.source_port, headers.payload_offset), (0, 34));
}

#[test]
fn every_truncation_is_survived() {
    let chain = [17, 0, 0, 0, 0, 0, 0, 0];
    let tag = [0x81, 0x00, 0x00, 0x07];
    let whole = frame(&[&tag, &IPV6, &ipv6(60), &chain, &UDP]);
    for length in 0..whole.len() {
        let headers = parse(&whole[..length]);
        assert!(usize::from(headers.payload_offset) <= whole.len());
        // The ports are the first four bytes of a transport header at 66.
        assert_eq!(headers.source_port != 0, length >= 70, "at {length}");
    }
}

/// A slice with what only a socket buffer has.
struct Buffer<'a> {
    frame: &'a [u8],
    tci: Option<u16>,
    segmentation: Option<Segmentation>,
}

impl Packet for Buffer<'_> {
    fn load<const N: usize>(&self, offset: u16) -> Option<[u8; N]> {
        self.frame.load(offset)
    }

    fn frame_bytes(&self) -> u32 {
        self.frame.frame_bytes()
    }

    fn vlan_beside_frame(&self) -> Option<u16> {
        self.tci
    }

    fn segmentation(&self) -> Option<Segmentation> {
        self.segmentation
    }
}

#[test]
fn a_gso_packet_weighs_what_its_segments_do() {
    let tcp = frame(&[&IPV4, &ipv4(0, 0, protocol::TCP), &TCP, &[0; 2500]]);
    let one = 14 + 20 + 24;
    for (segments, tci, tag) in [(3, None, 0), (0, None, 0), (3, Some(7), 4)] {
        let packet = Buffer {
            frame: &tcp,
            tci,
            segmentation: Some(Segmentation { payload_bytes: 1000, segments }),
        };
        let mut headers = Headers::EMPTY;
        headers.parse(&packet);
        let bytes = 3 * (one + tag) + 2500;
        assert_eq!(headers.weigh(&packet).cell, Cell { packets: 3, bytes });
    }
}

#[test]
fn a_tag_beside_the_frame_counts() {
    let udp = frame(&[&IPV4, &ipv4(0, 0, protocol::UDP), &UDP]);
    let packet = Buffer { frame: &udp, tci: Some(0x2007), segmentation: None };
    let mut headers = Headers::EMPTY;
    headers.parse(&packet);
    assert_eq!((headers.vlan_tags, headers.vlan_tci), (1, 0x2007));
    assert_eq!(headers.weigh(&packet).cell, Cell { packets: 1, bytes: 46 });
    assert_ports(&headers, 34, 42);
}
