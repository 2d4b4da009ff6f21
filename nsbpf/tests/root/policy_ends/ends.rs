//! Where packets are from: a port, or where that cannot tell, their source addresses.

use libtest_mimic::Failed;
use nsbpf_common::stats::Way;

use super::arena::{Arena, packet};
use super::connections::{A, B, C};
use super::packet::{Packet, token};

/// The first of the group.
const FIRST: &str = "g1/eth0";

const DEFAULT: &str = "default: deny\n  established: false\n  sets:\n    \
    inside: [a, 10.0.0.40/29, 'fd00::40/124', g/eth0]\n    outside: [c, b]";

/// What `from` says, and whether what `a`, `c`, the first of the group and, with an address
/// of none of them, `c` once more send to b fits it.
const SAID: [(&str, [bool; 4]); 13] = [
    ("a", [true, false, false, false]),
    ("a/eth0", [true, false, false, false]),
    ("[a, c]", [true, true, false, true]),
    ("g", [false, false, true, false]),
    ("[g2, c]", [false, true, false, true]),
    ("inside", [true, false, true, true]),
    ("[outside, 10.0.0.0/30, 'fd00::/126']", [true, true, false, true]),
    ("'10.0.0.1'", [true, false, false, false]),
    ("['10.0.0.2/31', 'fd00::3']", [false, true, false, false]),
    ("{ not: a }", [false, true, true, true]),
    ("{ not: [a, g] }", [false, true, false, true]),
    ("{ not: inside }", [false, true, false, false]),
    ("any", [true, true, true, true]),
];

pub(super) fn by_port(way: Way) -> Result<(), Failed> {
    let arena = Arena::new(way);
    let v4 = ["10.0.0.1", "10.0.0.3", "10.0.0.33", "10.0.0.41"];
    let v6 = ["fd00::1", "fd00::3", "fd00::21", "fd00::41"];
    let senders = [("a", A), ("c", C), ("g1", FIRST), ("c", C)];
    for (said, fits) in SAID {
        arena.set(
            DEFAULT,
            &[&format!("{{ name: probe, from: {said}, proto: udp, action: allow }}")],
        );
        for (addresses, to) in [(v4, "10.0.0.2"), (v6, "fd00::2")] {
            // There is no address of IPv6 that this is about.
            if said == "'10.0.0.1'" && to == "fd00::2" {
                continue;
            }
            for ((address, (name, at)), fits) in addresses.iter().zip(senders).zip(fits) {
                let packet = packet([(name, address), ("b", to)]);
                for _ in 0..6 {
                    assert_eq!(arena.passes(at, B, &packet), fits, "from {said}: {name} {address}");
                }
            }
        }
    }
    liars(&arena);
    arena.down();
    Ok(())
}

/// Whoever has an interface of its own is told by that, whatever addresses it claims.
fn liars(arena: &Arena) {
    for [own, other, to] in
        [["10.0.0.1", "10.0.0.3", "10.0.0.2"], ["fd00::1", "fd00::3", "fd00::2"]]
    {
        let udp = |[from, at]: [&str; 2]| -> Packet { packet([(from, at), ("b", to)]) };
        arena.set("default: deny", &["{ name: probe, from: a, to: b, proto: udp, action: allow }"]);
        let lie = udp(["c", own]);
        // The flow of who is let pass, and of who is not, is one.
        for _ in 0..6 {
            assert!(arena.passes(A, B, &udp(["a", own])));
            assert!(!arena.passes(C, B, &lie), "{lie:?}");
            assert!(arena.passes(A, B, &udp(["a", other])));
        }
        arena.set("default: allow", &["{ name: probe, from: a, to: b, proto: udp, action: deny }"]);
        for _ in 0..6 {
            assert!(!arena.passes(A, B, &udp(["a", own])));
            assert!(arena.passes(C, B, &lie), "{lie:?}");
        }
    }
}

/// What hosts find each other by passes unless a rule names it, whatever else is denied.
pub(super) fn neighbours(way: Way) -> Result<(), Failed> {
    let arena = Arena::new(way);
    let packet = packet([("a", "fd00::1"), ("b", "fd00::2")]);
    let solicit = |of_type| packet.icmp(0, of_type, 0);
    let discovery: Vec<Packet> = (133..=137).map(solicit).collect();
    let around = [solicit(128), solicit(132), solicit(138), solicit(143)];
    let arp = |of_type: u16, number: u32| {
        let mut frame = packet.macs.concat();
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4]);
        frame.extend(of_type.to_be_bytes());
        frame.extend([packet.macs[1].as_slice(), &[10, 0, 0, 1], &[0; 6], &[10, 0, 0, 2]].concat());
        frame.extend(token(number).repeat(2));
        frame
    };
    let number = std::cell::Cell::new(1 << 24);
    let arp_passes = || {
        number.set(number.get() + 1);
        arena.send_frame(A, &arp(1, number.get()));
        arena.follow(A, B);
        arena.has_heard(B, &token(number.get()))
    };
    let other_passes = |ethertype: u16| {
        number.set(number.get() + 1);
        let mut frame = arp(1, number.get());
        frame[12..14].copy_from_slice(&ethertype.to_be_bytes());
        arena.send_frame(A, &frame);
        arena.follow(A, B);
        arena.has_heard(B, &token(number.get()))
    };
    let passes = |packets: &[Packet]| -> Vec<bool> {
        packets.iter().map(|packet| arena.passes(A, B, packet)).collect()
    };
    // Nobody named them.
    arena.set("default: deny", &[]);
    assert!(arp_passes() && passes(&discovery).iter().all(|it| *it));
    assert!(!passes(&around).contains(&true) && !other_passes(0x88b6));
    arena.set(
        "default: deny",
        &["{ name: no, from: any, action: deny }", "{ proto: icmpv6, action: deny }"],
    );
    assert!(arp_passes() && passes(&discovery).iter().all(|it| *it));
    // By name they are as all else.
    arena.set("default: deny", &["{ name: arp, ethertype: arp, from: b, action: allow }"]);
    assert!(!arp_passes() && passes(&discovery).iter().all(|it| *it));
    arena.set("default: deny", &["{ name: arp, ethertype: arp, from: a, action: allow }"]);
    assert_eq!(arena.counted("arp", || assert!(arp_passes())).0, 1);
    arena.set("default: allow", &["{ name: arp, ethertype: [0x0806, 0x88b6], action: deny }"]);
    assert!(!arp_passes() && !other_passes(0x88b6) && other_passes(0x88b7));
    arena.set("default: allow", &["{ name: no, from: a, ethertype: any, action: deny }"]);
    assert!(!arp_passes() && !other_passes(0x88b6) && !other_passes(0x88b7));
    // (Frames with a number for a protocol are none of those with a length.)
    arena.set("default: allow", &["{ name: no, from: a, action: deny }"]);
    assert!(arp_passes() && other_passes(0x88b6), "a rule is about IP unless it says more");
    arena.set(
        "default: deny",
        &["{ name: some, from: a, proto: icmpv6, icmp: [135, 136], action: allow }"],
    );
    assert_eq!(passes(&discovery), [false, false, true, true, false]);
    assert!(arp_passes());
    arena.down();
    Ok(())
}
