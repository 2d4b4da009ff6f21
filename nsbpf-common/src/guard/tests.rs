//! Frames that a guarded port may and may not send.

use std::vec::Vec;

use super::*;

const PORT: u16 = 7;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 8];
const EVERYBODY: [u8; 6] = [0xff; 6];
const OWN: [u8; 4] = [10, 0, 0, 7];
const OTHER: [u8; 4] = [10, 0, 0, 8];

fn v6(last: u8) -> [u8; 16] {
    let mut address = [0; 16];
    (address[0], address[1], address[15]) = (0xfd, 1, last);
    address
}

fn frame(to: [u8; 6], from: [u8; 6], ethertype: u16, rest: &[&[u8]]) -> Vec<u8> {
    let ethertype = ethertype.to_be_bytes();
    [&to[..], &from, &ethertype]
        .into_iter()
        .chain(rest.iter().copied())
        .flatten()
        .copied()
        .collect()
}

fn ipv4(to: [u8; 6], from: [u8; 6], source: [u8; 4]) -> Vec<u8> {
    let start = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
    frame(to, from, ethertype::IPV4, &[&start, &source, &OTHER, &[0; 8]])
}

fn arp(hardware: [u8; 6], address: [u8; 4]) -> Vec<u8> {
    let start = [0, 1, 8, 0, 6, 4, 0, 2];
    let rest: [&[u8]; 4] = [&start, &hardware, &address, &[0; 10]];
    frame(EVERYBODY, MAC, ethertype::ARP, &rest)
}

fn icmpv6(to: [u8; 6], source: [u8; 16], message: &[&[u8]]) -> Vec<u8> {
    let start = [0x60, 0, 0, 0, 0, 32, 58, 255];
    let mut rest: Vec<&[u8]> = Vec::from([&start[..], &source, &[0xff; 16]]);
    rest.extend(message);
    frame(to, MAC, ethertype::IPV6, &rest)
}

fn judged_with(config: PortConfig, frame: &[u8]) -> Result<(), Reason> {
    let mut headers = Headers::EMPTY;
    headers.parse(frame);
    let own = [OwnAddress::v4(PORT, OWN), OwnAddress::v6(PORT, v6(7))];
    judge_mac(frame, &config)?;
    if !config.guards_addresses() {
        return Ok(());
    }
    judge_addresses(frame, &headers, PORT, &config, |address| own.contains(address))
}

fn judged(frame: &[u8]) -> Result<(), Reason> {
    judged_with(PortConfig::new(MAC).guarded(true), frame)
}

#[test]
fn a_port_sends_from_its_own_mac() {
    assert_eq!(judged(&ipv4(OTHER_MAC, MAC, OWN)), Ok(()));
    assert_eq!(judged(&ipv4(OTHER_MAC, OTHER_MAC, OWN)), Err(Reason::SpoofedMac));
}

#[test]
fn a_port_sends_from_its_own_ipv4_address() {
    assert_eq!(judged(&ipv4(OTHER_MAC, MAC, OTHER)), Err(Reason::SpoofedAddress));
    assert_eq!(judged(&ipv4(EVERYBODY, MAC, [0; 4])), Ok(()), "DHCP");
    assert_eq!(judged(&ipv4(OTHER_MAC, MAC, [0; 4])), Err(Reason::SpoofedAddress));
}

#[test]
fn a_port_without_an_address_guard_sends_from_any_address() {
    let config = PortConfig::new(MAC).guarded(false);
    assert_eq!(judged_with(config, &ipv4(OTHER_MAC, MAC, OTHER)), Ok(()));
    assert_eq!(judged_with(config, &arp(OTHER_MAC, OTHER)), Ok(()));
    let other = ipv4(OTHER_MAC, OTHER_MAC, OWN);
    assert_eq!(judged_with(config, &other), Err(Reason::SpoofedMac));
}

#[test]
fn arp_tells_of_the_sender_only() {
    assert_eq!(judged(&arp(MAC, OWN)), Ok(()));
    assert_eq!(judged(&arp(MAC, [0; 4])), Ok(()), "a probe");
    assert_eq!(judged(&arp(MAC, OTHER)), Err(Reason::SpoofedArp));
    assert_eq!(judged(&arp(OTHER_MAC, OWN)), Err(Reason::SpoofedArp));
    let mut strange = arp(MAC, OWN);
    strange[14 + 4] = 8;
    assert_eq!(judged(&strange), Err(Reason::SpoofedArp), "hardware addresses of 8 bytes");
}

#[test]
fn neighbour_discovery_tells_of_the_sender_only() {
    let group = [0x33, 0x33, 0, 0, 0, 1];
    let solicitation = |source, option: &[u8]| {
        judged(&icmpv6(group, source, &[&[135, 0, 0, 0, 0, 0, 0, 0], &v6(9), option]))
    };
    let advertisement = |target: [u8; 16], option: &[u8]| {
        judged(&icmpv6(OTHER_MAC, v6(7), &[&[136, 0, 0, 0, 0, 0, 0, 0], &target, option]))
    };
    let nonce = [14, 1, 0, 0, 0, 0, 0, 0];
    let option = |kind: u8, mac: [u8; 6]| [&[kind, 1], &mac[..]].concat();
    assert_eq!(solicitation(v6(7), &option(1, MAC)), Ok(()));
    let own = [[135, 0, 0, 0, 0, 0, 0, 0].as_slice(), &v6(7), &nonce].concat();
    let own = judged(&icmpv6(group, [0; 16], &[&own]));
    assert_eq!(own, Ok(()), "duplicate address detection");
    assert_eq!(solicitation(v6(8), &option(1, MAC)), Err(Reason::SpoofedAddress));
    assert_eq!(solicitation(v6(7), &option(1, OTHER_MAC)), Err(Reason::SpoofedNeighbour));
    let second = [nonce.to_vec(), option(1, OTHER_MAC)].concat();
    assert_eq!(solicitation(v6(7), &second), Err(Reason::SpoofedNeighbour));
    assert_eq!(advertisement(v6(7), &option(2, MAC)), Ok(()));
    assert_eq!(advertisement(v6(8), &option(2, MAC)), Err(Reason::SpoofedNeighbour));
    assert_eq!(advertisement(v6(7), &option(2, OTHER_MAC)), Err(Reason::SpoofedNeighbour));
    let duplicate = [135, 0, 0, 0, 0, 0, 0, 0];
    let foreign = judged(&icmpv6(group, [0; 16], &[&duplicate, &v6(9), &nonce]));
    assert_eq!(foreign, Err(Reason::SpoofedNeighbour), "another's address is not asked for");
    for kind in [134, 137] {
        let of_a_router = judged(&icmpv6(group, v6(7), &[&[kind, 0, 0, 0, 0, 0, 0, 0], &[0; 32]]));
        assert_eq!(of_a_router, Err(Reason::SpoofedNeighbour), "{kind}");
    }
    // An option of length 0 neither loops for ever nor hides what follows.
    assert_eq!(solicitation(v6(7), &[14, 0, 1, 1]), Ok(()));
}

#[test]
fn what_cannot_be_read_is_refused_and_what_has_no_address_passes() {
    for whole in [ipv4(OTHER_MAC, MAC, OWN), arp(MAC, OWN)] {
        let needed = 14 + if whole[13] == 6 { 18 } else { 16 };
        for length in 0..needed {
            assert!(judged(&whole[..length]).is_err() || length == 12 || length == 13, "{length}");
        }
        assert_eq!(judged(&whole[..needed]), Ok(()));
    }
    assert_eq!(judged(&frame(OTHER_MAC, MAC, 0x88cc, &[&[0; 46]])), Ok(()), "LLDP");
    let tags = [0, 1, 0x81, 0, 0, 2, 0x81, 0, 0, 3, 8, 0];
    let buried = frame(OTHER_MAC, MAC, ethertype::VLAN, &[&tags, &ipv4(MAC, MAC, OTHER)[14..]]);
    assert_eq!(judged(&buried), Err(Reason::SpoofedAddress), "behind three tags");
}

#[test]
fn nothing_hides_behind_extension_headers() {
    for count in [0, 1, 7, 8, 9] {
        let mut frame = icmpv6(OTHER_MAC, v6(7), &[]);
        let next = |last: bool| if last { 58 } else { 60 };
        frame[14 + 6] = next(count == 0);
        for number in 1..=count {
            frame.extend([next(number == count), 0, 1, 4, 0, 0, 0, 0]);
        }
        frame.extend([136, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend(v6(8));
        assert_eq!(judged(&frame), Err(Reason::SpoofedNeighbour), "{count}");
    }
}
