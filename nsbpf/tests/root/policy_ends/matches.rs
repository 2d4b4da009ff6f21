//! All that a rule can ask of a packet: those that are it, and those that just are not.

use libtest_mimic::Failed;
use nsbpf_common::stats::Way;

use super::arena::{Arena, packet};
use super::packet::{ACK, FIN, Packet, Part, RST, SYN};

const A: &str = "a/eth0";
const B: &str = "b/eth0";
/// How often each packet is sent: what is decided on the first ones of a flow is found
/// anew, then kept with the flow, then kept by the processor.
const TIMES: u64 = 6;

/// What a rule asks, and packets that are it and that are not.
struct Case {
    asks: String,
    hits: Vec<Packet>,
    misses: Vec<Packet>,
}

pub(super) fn all(way: Way) -> Result<(), Failed> {
    let arena = Arena::new(way);
    for ends in [[("a", "10.0.0.1"), ("b", "10.0.0.2")], [("a", "fd00::1"), ("b", "fd00::2")]] {
        let packet = packet(ends);
        for (number, case) in cases(&packet).iter().enumerate() {
            denied(&arena, case);
            // That is another default, and not another way.
            if way == Way::Bridge || number % 5 == 0 {
                allowed(&arena, case);
            }
        }
    }
    if way != Way::Bridge {
        assert!(arena.took(A, way) > 500, "{} took it", arena.took(A, way));
    }
    arena.down();
    Ok(())
}

/// All but what the rule is about passes.
fn denied(arena: &Arena, case: &Case) {
    let rule = format!("{{ name: probe, from: a, {}, action: deny }}", case.asks);
    arena.set("default: allow", &[&rule]);
    judged(arena, case, false);
}

/// Nothing but what the rule is about passes.
fn allowed(arena: &Arena, case: &Case) {
    let rule = format!("{{ name: probe, from: a, {}, action: allow }}", case.asks);
    arena.set("default: deny\n  established: false", &[&rule]);
    judged(arena, case, true);
}

fn judged(arena: &Arena, case: &Case, hits_pass: bool) {
    let mut bytes = 0;
    let counted = arena.counted("probe", || {
        for (packets, pass) in [(&case.hits, hits_pass), (&case.misses, !hits_pass)] {
            for packet in packets {
                for time in 0..TIMES {
                    let passes = arena.passes(A, B, packet);
                    assert_eq!(passes, pass, "{}, the {time}th {packet:?}", case.asks);
                }
                bytes += if pass == hits_pass { packet.bytes(0).len() as u64 * TIMES } else { 0 };
            }
        }
    });
    let expected = (case.hits.len() as u64 * TIMES, bytes);
    assert_eq!(
        counted,
        expected,
        "{}, {} pass",
        case.asks,
        if hits_pass { "they" } else { "others" }
    );
}

fn cases(packet: &Packet) -> Vec<Case> {
    let groups = [protocols, flags_and_types, links, places];
    groups.iter().flat_map(|group| group(packet)).collect()
}

/// What a rule says to be about b, others of b's subnet, the family's ICMP, and the name of
/// the family and of the other one.
fn ends(packet: &Packet) -> (&'static str, &'static str, &'static str, [&'static str; 2]) {
    if packet.is_v4() {
        ("to: 10.0.0.2", "10.0.0.0/31", "icmp", ["ipv4", "ipv6"])
    } else {
        ("to: 'fd00::2'", "fd00::/127", "icmpv6", ["ipv6", "ipv4"])
    }
}

fn protocols(packet: &Packet) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |asks: &str, hits: Vec<Packet>, misses: Vec<Packet>| {
        cases.push(Case { asks: asks.to_owned(), hits, misses });
    };
    let (to_b, _, family, _) = ends(packet);
    let udp = |port| packet.udp(1000, port);
    let (tcp80, ping) = (packet.tcp(1000, 80, SYN), packet.ping());
    // Protocols.
    case(
        "proto: tcp",
        vec![tcp80.clone(), packet.tcp(1000, 80, ACK)],
        vec![udp(80), ping.clone(), packet.sctp(1000, 80)],
    );
    case("proto: udp", vec![udp(80)], vec![tcp80.clone(), packet.other(136)]);
    case(
        "proto: [sctp, 47]",
        vec![packet.sctp(1, 2), packet.other(47)],
        vec![udp(1), packet.other(46), packet.other(48)],
    );
    case(
        &format!("{to_b}, proto: {family}"),
        vec![ping.clone(), packet.pong()],
        vec![udp(7), packet.other(2)],
    );
    case(&format!("{to_b}, proto: any"), vec![ping.clone(), udp(7), packet.other(253)], vec![]);
    case("proto: 253", vec![packet.other(253)], vec![packet.other(254), udp(253)]);
    // Ports.
    case(
        "ports: [80, 443, 8000-8099]",
        vec![udp(80), tcp80.clone(), packet.sctp(9, 443), udp(8000), udp(8099), udp(8050)],
        vec![
            udp(79),
            udp(81),
            udp(7999),
            udp(8100),
            packet.udp(80, 9),
            ping.clone(),
            packet.other(47),
        ],
    );
    case("proto: udp, ports: 0-1023", vec![udp(0), udp(1023)], vec![udp(1024), tcp80.clone()]);
    case("ports: 65535", vec![udp(65535)], vec![udp(65534), udp(0)]);
    case(
        "source_ports: [1024-65535], ports: 53",
        vec![packet.udp(1024, 53), packet.tcp(65535, 53, ACK)],
        vec![packet.udp(1023, 53), packet.udp(1024, 54)],
    );
    cases
}

fn flags_and_types(packet: &Packet) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |asks: &str, hits: Vec<Packet>, misses: Vec<Packet>| {
        cases.push(Case { asks: asks.to_owned(), hits, misses });
    };
    let (_, _, family, _) = ends(packet);
    let udp = |port| packet.udp(1000, port);
    let tcp = |flags| packet.tcp(1000, 80, flags);
    let ping = packet.ping();
    // Flags.
    case(
        "flags: syn",
        vec![tcp(SYN), tcp(SYN | 0xc0)],
        vec![tcp(SYN | ACK), tcp(ACK), tcp(0), udp(80)],
    );
    case("flags: [syn, ack]", vec![tcp(SYN | ACK), tcp(SYN | ACK | FIN)], vec![tcp(SYN), tcp(ACK)]);
    case("flags: [fin, '!ack']", vec![tcp(FIN), tcp(FIN | RST)], vec![tcp(FIN | ACK), tcp(SYN)]);
    case(
        "flags: rst, ports: 80",
        vec![tcp(RST), tcp(RST | ACK)],
        vec![tcp(ACK), packet.tcp(1, 81, RST)],
    );
    // ICMP.
    case(
        &format!("proto: {family}, icmp: echo-request"),
        vec![ping.clone()],
        vec![packet.pong(), udp(8)],
    );
    let unreachable = |code| packet.icmp(3, 1, code);
    let said = if packet.is_v4() { "[3/1, 11]" } else { "[1/1, 3]" };
    case(
        &format!("proto: {family}, icmp: {said}"),
        vec![unreachable(1), packet.icmp(11, 3, 0), packet.icmp(11, 3, 1)],
        vec![unreachable(0), unreachable(2), packet.icmp(12, 4, 1), ping.clone()],
    );
    // Service.
    let dscp = |dscp| packet.with(|it| it.dscp = dscp);
    case("dscp: ef", vec![dscp(46)], vec![dscp(0), dscp(45), dscp(47)]);
    case("dscp: [cs1, 0, 63]", vec![dscp(8), dscp(0), dscp(63)], vec![dscp(1), dscp(62)]);
    cases
}

fn links(packet: &Packet) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |asks: &str, hits: Vec<Packet>, misses: Vec<Packet>| {
        cases.push(Case { asks: asks.to_owned(), hits, misses });
    };
    let (to_b, _, _, [own, others]) = ends(packet);
    let tcp = |flags| packet.tcp(1000, 80, flags);
    // Tags.
    let tagged = |vlan| packet.with(|it| it.vlan = Some(vlan));
    case("vlan: 7", vec![tagged(7)], vec![tagged(6), tagged(8), packet.clone(), tagged(0)]);
    case(
        "vlan: [none, 5-9]",
        vec![packet.clone(), tagged(0), tagged(5), tagged(9)],
        vec![tagged(4), tagged(10)],
    );
    case("vlan: none", vec![packet.clone()], vec![tagged(1), tagged(4094)]);
    case(
        "proto: tcp, ports: 80, vlan: 7",
        vec![tcp(SYN).with(|it| it.vlan = Some(7))],
        vec![tcp(SYN), tagged(7)],
    );
    // Ends of the link.
    let mac = |mac: [u8; 6]| {
        let octets: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
        format!("'{}'", octets.join(":"))
    };
    let other = packet.with(|it| it.macs[1] = [2, 0xbb, 0, 0, 0, 9]);
    case(&format!("source_mac: {}", mac(other.macs[1])), vec![other.clone()], vec![packet.clone()]);
    case(
        &format!("destination_mac: ['02:00:00:00:00:77', {}]", mac(packet.macs[0])),
        vec![packet.clone()],
        vec![packet.with(|it| it.macs[0] = [0xff; 6])],
    );
    // What it is.
    case(&format!("{to_b}, ethertype: {own}"), vec![packet.clone(), tagged(7)], vec![]);
    case(&format!("ethertype: [{others}, 0x88b7]"), vec![], vec![packet.clone()]);
    cases
}

fn places(packet: &Packet) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |asks: &str, hits: Vec<Packet>, misses: Vec<Packet>| {
        cases.push(Case { asks: asks.to_owned(), hits, misses });
    };
    let (to_b, to_others, _, _) = ends(packet);
    let udp = |port| packet.udp(1000, port);
    let ping = packet.ping();
    // Fragments.
    let parts = |id: u32| {
        let whole = packet.with(|it| it.id = id);
        [whole.part(Part::Head(64)), whole.part(Part::Tail(64))]
    };
    let base = if packet.is_v4() { 100 } else { 200 };
    case("fragment: true", parts(base).to_vec(), vec![packet.clone()]);
    case("fragment: false, proto: udp", vec![packet.clone()], parts(base + 1).to_vec());
    case("fragment: true, ports: 2000", vec![parts(base + 2)[0].clone()], vec![udp(2000)]);
    case(
        "ports: 2000",
        [parts(base + 3).as_slice(), std::slice::from_ref(packet)].concat(),
        parts(base + 4).map(|it| it.udp(1, 2)).to_vec(),
    );
    // Where it goes.
    case(to_b, vec![packet.clone(), ping.clone()], vec![]);
    case(
        "to: b",
        vec![packet.clone(), packet.other(99)],
        vec![packet.with(|it| it.to = elsewhere(packet))],
    );
    case(
        "to: [c, b/eth0]",
        vec![packet.clone()],
        vec![packet.with(|it| it.to = elsewhere(packet))],
    );
    case(
        "to: { not: b }, proto: udp",
        vec![packet.with(|it| it.to = elsewhere(packet))],
        vec![packet.clone()],
    );
    case(
        &format!("to: '{to_others}', proto: udp"),
        vec![packet.with(|it| it.to = first_of(packet))],
        vec![packet.clone(), packet.with(|it| it.to = elsewhere(packet))],
    );
    case(
        "to: g, proto: udp",
        vec![packet.with(|it| it.to = grouped(packet))],
        vec![packet.clone()],
    );
    cases
}

fn address(packet: &Packet, v4: &str, v6: &str) -> std::net::IpAddr {
    if packet.is_v4() { v4 } else { v6 }.parse().expect("an address")
}

fn elsewhere(packet: &Packet) -> std::net::IpAddr {
    address(packet, "10.0.0.99", "fd00::99")
}

fn first_of(packet: &Packet) -> std::net::IpAddr {
    address(packet, "10.0.0.1", "fd00::1")
}

/// The second of the group.
fn grouped(packet: &Packet) -> std::net::IpAddr {
    address(packet, "10.0.0.34", "fd00::22")
}
