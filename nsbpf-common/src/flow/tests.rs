use std::vec::Vec;

use super::*;
use crate::packet::Headers;

const SYN: u8 = tcp_flag::SYN;
const ACK: u8 = tcp_flag::ACK;
const FIN: u8 = tcp_flag::FIN;

fn ethernet(ethertype: u16, rest: &[&[u8]]) -> Vec<u8> {
    let mut frame = Vec::from([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
    frame.extend(ethertype.to_be_bytes());
    for part in rest {
        frame.extend(*part);
    }
    frame
}

fn ipv4(kind: u8, from: u8, to: u8, fragment: u16, options: &[u8]) -> Vec<u8> {
    let words = 5 + u8::try_from(options.len() / 4).unwrap();
    let [high, low] = fragment.to_be_bytes();
    let mut header = Vec::from([0x40 | words, 0, 0, 0, 0, 0, high, low, 64, kind, 0, 0]);
    header.extend([10, 0, 0, from, 10, 0, 0, to]);
    header.extend(options);
    header
}

fn ipv6(next: u8, from: u8, to: u8) -> Vec<u8> {
    let mut header = Vec::from([0x60, 0, 0, 0, 0, 0, next, 64]);
    for last in [from, to] {
        header.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    header
}

fn tcp(from: u16, to: u16, flags: u8) -> Vec<u8> {
    let mut header: Vec<u8> = from.to_be_bytes().into_iter().chain(to.to_be_bytes()).collect();
    header.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
    header
}

/// At first sight if that tells, and parsed: both say the same.
fn looked_at(frame: &[u8]) -> FlowPacket {
    let (mut headers, mut parsed) = (Headers::EMPTY, FlowPacket::default());
    headers.parse_network(frame);
    parsed.look(frame, &headers, false);
    let mut first = FlowPacket::default();
    if first.look_first(frame) {
        assert_eq!(first, parsed, "{frame:x?}");
    }
    parsed.settle(3, 0);
    parsed
}

#[test]
fn both_directions_are_one_flow() {
    for (there, back) in [
        (
            ethernet(0x0800, &[&ipv4(6, 1, 2, 0, &[]), &tcp(1000, 80, SYN)]),
            ethernet(0x0800, &[&ipv4(6, 2, 1, 0, &[]), &tcp(80, 1000, SYN | ACK)]),
        ),
        (
            ethernet(0x86dd, &[&ipv6(6, 1, 2), &tcp(1000, 80, SYN)]),
            ethernet(0x86dd, &[&ipv6(6, 2, 1), &tcp(80, 1000, SYN | ACK)]),
        ),
    ] {
        let (there, back) = (looked_at(&there), looked_at(&back));
        assert_eq!(there.key, back.key);
        assert_ne!(there.direction, back.direction);
        assert_eq!((there.tcp_flags, back.tcp_flags), (SYN, SYN | ACK));
        let sender = usize::from(there.direction);
        assert_eq!(there.key.ports_be()[sender], 1000_u16.to_be());
        assert_eq!(there.key.ports_be()[1 - sender], 80_u16.to_be());
        assert_eq!((there.key.protocol(), there.key.domain()), (6, 3));
    }
}

#[test]
fn an_address_is_as_in_the_packet() {
    let key = looked_at(&ethernet(0x0800, &[&ipv4(17, 7, 9, 0, &[]), &[0; 8]])).key;
    let mut ends = key.addresses.map(|[first, second]| (first.to_ne_bytes(), second));
    ends.sort_unstable();
    assert_eq!(ends, [([10, 0, 0, 7, 0, 0, 0, 0], 0), ([10, 0, 0, 9, 0, 0, 0, 0], 0)]);
    assert_eq!(key.family(), Family::Ipv4);
    assert_eq!(key.ips(), [IpAddr::from([10, 0, 0, 7]), IpAddr::from([10, 0, 0, 9])]);
    let packet = looked_at(&ethernet(0x86dd, &[&ipv6(6, 2, 1), &tcp(80, 1000, SYN)]));
    let end = |number: u8| {
        let end = usize::from(number);
        (packet.key.ips()[end], packet.key.ports()[end])
    };
    let of = |last| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, last]);
    assert_eq!(end(packet.direction), (of(2), 80));
    assert_eq!(end(1 - packet.direction), (of(1), 1000));
}

#[test]
fn options_and_tags_do_not_matter() {
    let udp = [0, 5, 0, 6, 0, 8, 0, 0];
    let plain = looked_at(&ethernet(0x0800, &[&ipv4(17, 1, 2, 0, &[]), &udp]));
    let options = looked_at(&ethernet(0x0800, &[&ipv4(17, 1, 2, 0, &[1; 8]), &udp]));
    let tagged = ethernet(0x8100, &[&[0, 9, 8, 0], &ipv4(17, 1, 2, 0, &[]), &udp]);
    assert!(plain.has_flow());
    assert_eq!(plain, options);
    assert_eq!(plain, looked_at(&tagged));
}

#[test]
fn fragments_of_a_datagram_are_of_one_flow() {
    let udp = [0, 5, 0, 6, 0, 8, 0, 0];
    let first = looked_at(&ethernet(0x0800, &[&ipv4(17, 1, 2, 0x2000, &[]), &udp]));
    let later = looked_at(&ethernet(0x0800, &[&ipv4(17, 1, 2, 0x00b9, &[]), &udp]));
    assert_eq!(first, later);
    assert_eq!(first.key.ports_be(), [0; 2]);
}

#[test]
fn an_echo_and_its_reply_are_one_flow() {
    let echo = |of_type: u8| [of_type, 0, 0, 0, 0x12, 0x34, 0, 1];
    let request = looked_at(&ethernet(0x0800, &[&ipv4(1, 1, 2, 0, &[]), &echo(8)]));
    let reply = looked_at(&ethernet(0x0800, &[&ipv4(1, 2, 1, 0, &[]), &echo(0)]));
    assert_eq!(request.key, reply.key);
}

#[test]
fn what_is_no_ip_has_no_flow() {
    assert!(!looked_at(&ethernet(0x0806, &[&[0; 28]])).has_flow());
    assert!(!looked_at(&ethernet(0x88cc, &[&[0; 46]])).has_flow());
    assert!(!looked_at(&[0; 10]).has_flow());
    let whole = ethernet(0x0800, &[&ipv4(6, 1, 2, 0, &[]), &tcp(1, 2, SYN)]);
    for length in 0..whole.len() {
        assert_eq!(looked_at(&whole[..length]).has_flow(), length >= 34, "{length}");
    }
}

fn flow(packets: &[(u8, u8, u64)]) -> Flow {
    let mut flow = Flow::default();
    flow.begin(packets[0].0, packets[0].2);
    for (direction, flags, now_ns) in packets {
        flow.directions[usize::from(*direction)].packets += 1;
        flow.follow(*direction, *flags, *now_ns);
    }
    flow
}

#[test]
fn a_connection_is_followed() {
    let opened = [(1, SYN, 100), (0, SYN | ACK, 150), (1, ACK, 180)];
    assert_eq!(flow(&opened[..1]).tcp_state(), TcpState::SynSent);
    assert!(!flow(&opened[..1]).is_settled(protocol::TCP));
    assert_eq!(flow(&opened[..2]).tcp_state(), TcpState::SynReceived);
    assert!(!flow(&opened[..2]).is_settled(protocol::TCP));
    let established = flow(&opened);
    assert!(established.is_settled(protocol::TCP));
    assert_eq!(established.tcp_state(), TcpState::Established);
    assert_eq!((established.handshake_ns, established.initiator), (80, 1));
    let mut all = Vec::from(opened);
    all.push((0, FIN | ACK, 200));
    assert_eq!(flow(&all).tcp_state(), TcpState::Closing);
    all.push((1, FIN | ACK, 210));
    assert_eq!(flow(&all).tcp_state(), TcpState::Closed);
    assert!(flow(&all).begins_anew(SYN) && !flow(&all).begins_anew(SYN | ACK));
    all.truncate(3);
    all.push((1, tcp_flag::RST, 300));
    assert_eq!(flow(&all).tcp_state(), TcpState::Closed);
}

#[test]
fn who_answers_without_being_asked_opens_nothing() {
    assert_eq!(flow(&[(0, SYN | ACK, 1), (1, ACK, 2)]).tcp_state(), TcpState::None);
    assert_eq!(flow(&[(0, SYN, 1), (0, SYN | ACK, 2), (0, ACK, 3)]).tcp_state(), TcpState::SynSent);
    assert_eq!(flow(&[(0, ACK, 1), (1, ACK, 2)]).tcp_state(), TcpState::None);
}

#[test]
fn what_lasts_is_settled() {
    let packets = |count| std::vec![(0, 0, 1); count];
    assert!(!flow(&packets(3)).is_settled(protocol::UDP));
    assert!(flow(&packets(4)).is_settled(protocol::UDP));
    assert!(!flow(&packets(4)).is_settled(protocol::TCP));
    assert!(flow(&[(0, 0, 1), (1, 0, 2)]).is_settled(protocol::UDP));
}

/// Who asks many ports gets answers from all of them.
#[test]
fn a_scan_settles_nothing() {
    const RST: u8 = tcp_flag::RST;
    for scan in [
        [(0, SYN, 1), (1, RST | ACK, 2)].as_slice(),
        &[(0, SYN, 1), (1, SYN | ACK, 2), (0, RST, 3)],
        &[(0, ACK, 1), (1, RST, 2)],
        &[(0, FIN, 1), (1, RST | ACK, 2)],
        &[(0, SYN | FIN, 1), (0, ACK, 2), (0, FIN | ACK, 3)],
    ] {
        for seen in 1..=scan.len() {
            assert!(!flow(&scan[..seen]).is_settled(protocol::TCP), "{:?}", &scan[..seen]);
        }
    }
    assert!(flow(&[(0, ACK, 1), (1, ACK, 2)]).is_settled(protocol::TCP));
}
