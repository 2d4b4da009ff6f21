//! Connections, packet by packet: what passes as a reply, and what only looks like one.

use libtest_mimic::Failed;
use nsbpf_common::stats::Way;

use super::arena::Arena;
use super::packet::{ACK, FIN, Packet, RST, SYN};

pub(super) const A: &str = "a/eth0";
pub(super) const B: &str = "b/eth0";
pub(super) const C: &str = "c/eth0";
/// Who is behind a may send to anybody, and nobody else may.
pub(super) const OUT: &str = "{ name: out, from: a, ethertype: [ipv4, ipv6], action: allow }";

/// Packets between stations behind `a` and `b`: nobody there answers by itself.
pub(super) struct Ends<'a> {
    pub(super) arena: &'a Arena,
    /// A datagram from the one to the other.
    pub(super) base: Packet,
}

impl<'a> Ends<'a> {
    /// Of both families.
    pub(super) fn both(arena: &'a Arena) -> [Self; 2] {
        [["10.0.0.101", "10.0.0.102"], ["fd00::101", "fd00::102"]].map(|[from, to]| {
            let address = |text: &str| text.parse().expect("an address");
            let mut base = Packet::new(address(from), address(to));
            base.macs = [station(2), station(1)];
            Self { arena, base }
        })
    }

    /// Fails unless that packet passes from a to b, or does not.
    #[track_caller]
    pub(super) fn there(&self, packet: &Packet, passes: bool) {
        assert_eq!(self.arena.passes(A, B, packet), passes, "there: {packet:?}");
    }

    /// Likewise from b to a.
    #[track_caller]
    pub(super) fn back(&self, packet: &Packet, passes: bool) {
        assert_eq!(self.arena.passes(B, A, packet), passes, "back: {packet:?}");
    }

    /// A connection's packets there, by its ports.
    pub(super) fn connection(&self, port: u16) -> impl Fn(u8) -> Packet + use<> {
        let base = self.base.clone();
        move |flags| base.tcp(port, 80, flags)
    }

    /// Opens it.
    #[track_caller]
    pub(super) fn open(&self, of: &impl Fn(u8) -> Packet) {
        self.there(&of(SYN), true);
        self.back(&of(SYN | ACK).back(), true);
        self.there(&of(ACK), true);
        self.back(&of(ACK).back(), true);
    }
}

pub(super) fn station(number: u8) -> [u8; 6] {
    [2, 0xbb, 0, 0, 0, number]
}

pub(super) fn tracked(way: Way) -> Result<(), Failed> {
    let arena = Arena::new(way);
    arena.set("default: deny", &[OUT]);
    for ends in Ends::both(&arena) {
        spoofed(&ends);
        opened(&ends);
        half_open(&ends);
        simultaneous(&ends);
        picked_up(&ends);
        ended(&ends);
        reused(&ends);
        datagrams(&ends);
        echoes(&ends);
        errors(&ends);
    }
    established_can_be_off(&arena);
    arena.down();
    Ok(())
}

/// Replies to nothing.
fn spoofed(ends: &Ends<'_>) {
    for (port, flags) in
        (3000..).zip([SYN, SYN | ACK, ACK, ACK | 8, RST, RST | ACK, FIN | ACK, 0, 0x3f])
    {
        let of = ends.connection(port);
        for _ in 0..3 {
            ends.back(&of(flags).back(), false);
        }
        // What was denied to the one is no obstacle to the other.
        ends.open(&of);
    }
}

/// All of it is counted for the rule that allowed its beginning.
fn opened(ends: &Ends<'_>) {
    let of = ends.connection(3100);
    let bytes = |flags| of(flags).bytes(0).len() as u64;
    let counted = ends.arena.counted("out", || {
        ends.open(&of);
        for _ in 0..5 {
            ends.there(&of(ACK), true);
            ends.back(&of(ACK).back(), true);
        }
    });
    assert_eq!(counted, (14, 14 * bytes(ACK)));
    // Neither another port nor another host is of it.
    ends.back(&of(ACK).back().with(|it| it.ports[0] = 81), false);
    ends.back(&of(ACK).back().with(|it| it.ports[1] = 3101), false);
    ends.back(&of(ACK).back().with(|it| it.vlan = Some(7)), false);
    let other = if ends.base.is_v4() { "10.0.0.103" } else { "fd00::103" };
    ends.back(&of(ACK).back().with(|it| it.from = other.parse().expect("an address")), false);
    // A new one of the other end is none of it.
    ends.back(&of(SYN).back(), false);
    ends.back(&of(ACK).back(), true);
}

fn half_open(ends: &Ends<'_>) {
    let of = ends.connection(3200);
    ends.there(&of(SYN), true);
    // It knows of an older connection (RFC 5961, section 4), then refuses.
    ends.back(&of(ACK).back(), true);
    ends.back(&of(RST | ACK).back(), true);
    let of = ends.connection(3201);
    ends.there(&of(SYN), true);
    ends.there(&of(SYN), true);
    ends.back(&of(SYN | ACK).back(), true);
    ends.back(&of(SYN | ACK).back(), true);
    // Data before the third packet of the handshake came.
    ends.back(&of(ACK).back(), true);
    ends.there(&of(ACK), true);
}

/// Both begin (RFC 9293, section 3.5).
fn simultaneous(ends: &Ends<'_>) {
    let of = ends.connection(3300);
    ends.there(&of(SYN), true);
    ends.back(&of(SYN).back(), true);
    ends.there(&of(SYN | ACK), true);
    ends.back(&of(SYN | ACK).back(), true);
    ends.there(&of(ACK), true);
    ends.back(&of(ACK).back(), true);
}

/// Its beginning was not seen.
fn picked_up(ends: &Ends<'_>) {
    let of = ends.connection(3400);
    ends.back(&of(ACK).back(), false);
    ends.there(&of(ACK), true);
    ends.back(&of(ACK).back(), true);
    ends.back(&of(SYN | ACK).back(), false);
    ends.back(&of(SYN).back(), false);
    ends.back(&of(FIN | ACK).back(), true);
    ends.back(&of(RST).back(), true);
}

fn ended(ends: &Ends<'_>) {
    for (port, by_a, by_b) in [
        (3500, RST, ACK),
        (3501, RST | ACK, RST),
        (3502, FIN | ACK, FIN | ACK),
        (3503, FIN | ACK, RST | ACK),
    ] {
        let of = ends.connection(port);
        ends.open(&of);
        ends.there(&of(by_a), true);
        ends.back(&of(by_b).back(), true);
        ends.there(&of(ACK), true);
        ends.back(&of(ACK).back(), true);
        // Whoever has no leave to begin has none now.
        ends.back(&of(SYN).back(), false);
        ends.there(&of(SYN), true);
        ends.back(&of(SYN | ACK).back(), true);
        ends.there(&of(ACK), true);
    }
}

/// The same ends meet again, be it that the other one begins.
fn reused(ends: &Ends<'_>) {
    let of = ends.connection(3600);
    ends.open(&of);
    ends.there(&of(FIN | ACK), true);
    ends.back(&of(FIN | ACK).back(), true);
    ends.there(&of(ACK), true);
    let in_again = "{ name: in, from: b, proto: tcp, ports: 3600, flags: syn, action: allow }";
    ends.arena.set("default: deny", &[OUT, in_again]);
    ends.back(&of(SYN).back(), true);
    ends.there(&of(SYN | ACK), true);
    ends.arena.set("default: deny", &[OUT]);
    let of = ends.connection(3601);
    ends.open(&of);
    ends.there(&of(RST), true);
    let in_again = "{ name: in, from: b, proto: tcp, ports: 3601, action: allow }";
    // Now only the other may begin.
    ends.arena.set("default: deny", &[in_again]);
    ends.there(&of(SYN), false);
    ends.back(&of(SYN).back(), true);
    let counted = ends.arena.counted("in", || {
        ends.there(&of(SYN | ACK), true);
        ends.back(&of(ACK).back(), true);
        ends.there(&of(ACK), true);
        ends.there(&of(SYN), false);
    });
    assert_eq!(counted.0, 3);
    ends.arena.set("default: deny", &[OUT]);
}

fn datagrams(ends: &Ends<'_>) {
    for protocol in [super::packet::UDP, super::packet::SCTP] {
        let there = ends.base.udp(3700, 53).with(|it| it.protocol = protocol);
        for _ in 0..3 {
            ends.back(&there.back(), false);
        }
        ends.there(&there, true);
        let counted = ends.arena.counted("out", || {
            for _ in 0..8 {
                ends.back(&there.back(), true);
            }
        });
        assert_eq!(counted.0, 8);
        ends.back(&there.back().with(|it| it.ports[0] = 54), false);
        ends.back(&there.back().with(|it| it.ports[1] = 3701), false);
    }
    // What has no ports.
    let there = ends.base.other(47);
    ends.back(&there.back(), false);
    ends.there(&there, true);
    ends.back(&there.back(), true);
    ends.back(&there.back().other(46), false);
}

fn echoes(ends: &Ends<'_>) {
    let ping = ends.base.ping();
    let other = |packet: &Packet| packet.with(|it| it.identifier = 78);
    ends.back(&ping.pong().back(), false);
    ends.there(&ping, true);
    for _ in 0..3 {
        ends.back(&ping.pong().back(), true);
        ends.back(&ping.back(), false);
        ends.back(&other(&ping.pong()).back(), false);
    }
    ends.there(&ping, true);
    ends.back(&ping.pong().back(), true);
}

/// What is said of a packet goes to who sent it.
fn errors(ends: &Ends<'_>) {
    let router = if ends.base.is_v4() { "10.0.0.110" } else { "fd00::110" };
    let router = router.parse().expect("an address");
    let sent = ends.base.udp(3800, 33_434);
    let unreachable = |about: &Packet| about.error(router, (3, 1), 1);
    let by_c = |packet: Packet| packet.with(|it| it.macs[1] = station(3));
    // About what nobody sent.
    ends.back(&unreachable(&sent), false);
    ends.there(&sent, true);
    let counted = ends.arena.counted("out", || {
        for _ in 0..3 {
            ends.back(&unreachable(&sent), true);
            // From the other end itself, and from anywhere else.
            ends.back(&sent.error(sent.to, (3, 1), 3), true);
            ends.back(&sent.error(router, (11, 3), 0), true);
            assert!(ends.arena.passes(C, A, &by_c(unreachable(&sent))));
        }
    });
    assert_eq!(counted.0, 12);
    // To another, and about other ports, and what is no error.
    let elsewhere = if ends.base.is_v4() { "10.0.0.103" } else { "fd00::103" };
    let elsewhere = elsewhere.parse().expect("an address");
    let to_other = unreachable(&sent).with(|it| it.to = elsewhere);
    assert!(!ends.arena.passes(C, B, &by_c(to_other.clone())));
    ends.back(&to_other, false);
    ends.back(&unreachable(&sent.with(|it| it.ports[1] = 33_435)), false);
    ends.back(&unreachable(&sent).with(|it| it.ports[0] = 13), false);
    // About what was denied.
    let denied = ends.base.udp(3801, 9).back();
    ends.back(&denied, false);
    assert!(!ends.arena.passes(C, B, &by_c(unreachable(&denied))));
    // About what the other end replied.
    let reply = sent.back();
    ends.back(&reply, true);
    assert!(ends.arena.passes(C, B, &by_c(unreachable(&reply))));
    // Of a connection.
    let of = ends.connection(3802);
    ends.open(&of);
    ends.back(&unreachable(&of(ACK)), true);
}

/// Then each direction is as the rules say.
fn established_can_be_off(arena: &Arena) {
    arena.set("default: deny\n  established: false", &[OUT]);
    for ends in Ends::both(arena) {
        let of = ends.connection(3900);
        ends.there(&of(SYN), true);
        ends.back(&of(SYN | ACK).back(), false);
        let sent = ends.base.udp(3900, 53);
        ends.there(&sent, true);
        ends.back(&sent.back(), false);
        ends.back(&sent.error(sent.to, (3, 1), 3), false);
    }
}
