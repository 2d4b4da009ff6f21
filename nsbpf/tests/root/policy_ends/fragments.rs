//! Fragments follow the first one of their packet.

use std::net::UdpSocket;
use std::time::Duration;

use libtest_mimic::Failed;
use nsbpf::datapath::{observe, policy_events};
use nsbpf_common::stats::Way;
use nsbpf_common::verdict::Reason;

use super::arena::Arena;
use super::connections::{A, B, C, Ends};
use super::packet::{Packet, Part};
use super::sockets::{FAMILIES, address};
use crate::world::{netns, udp};

/// Where they are cut.
const CUT: u16 = 64;

fn pieces(packet: &Packet, id: u32) -> [Packet; 2] {
    let packet = packet.with(|it| it.id = id);
    [packet.part(Part::Head(CUT)), packet.part(Part::Tail(CUT))]
}

pub(super) fn followed(way: Way) -> Result<(), Failed> {
    let arena = Arena::new(way);
    let out = "{ name: out, from: a, proto: udp, ports: 2000, action: allow }";
    arena.set("default: deny", &[out]);
    for ends in Ends::both(&arena) {
        let (fine, wrong) = (ends.base.udp(1000, 2000), ends.base.udp(1000, 2001));
        let id = if ends.base.is_v4() { 100 } else { 70_000 };
        let dropped = || arena.up.stats()["a/eth0"].tx.drops(Reason::Headless).packets;
        // The first one first.
        let [head, tail] = pieces(&fine, id);
        let counted = arena.counted("out", || {
            ends.there(&head, true);
            ends.there(&tail, true);
            ends.there(&tail, true);
        });
        assert_eq!(counted.0, 3);
        // However many there are of one flow.
        for id in id + 1000..id + 1010 {
            let [head, tail] = pieces(&fine, id);
            ends.there(&tail, false);
            ends.there(&head, true);
            ends.there(&tail, true);
        }
        // Not of another packet, another sender, another protocol, or another VLAN.
        let before = dropped();
        ends.there(&tail.with(|it| it.id += 1), false);
        ends.there(&tail.other(132), false);
        ends.there(&tail.with(|it| it.vlan = Some(7)), false);
        ends.there(&tail.with(|it| it.from = it.to), false);
        assert_eq!(dropped(), before + 4);
        assert!(!arena.passes(C, B, &tail));
        // The last one first.
        let [head, tail] = pieces(&fine, id + 10);
        ends.there(&tail, false);
        ends.there(&head, true);
        ends.there(&tail, true);
        assert_eq!(dropped(), before + 5);
        // A denied one.
        let [head, tail] = pieces(&wrong, id + 20);
        ends.there(&head, false);
        ends.there(&tail, false);
        assert_eq!(dropped(), before + 5, "it was not without its head");
        // Again of the same packet, and now with the right port.
        let [other, _] = pieces(&fine, id + 20);
        ends.there(&other, true);
        ends.there(&tail, true);
        // Replies.
        let [head, tail] = pieces(&fine.back(), id + 30);
        ends.back(&tail, false);
        ends.back(&head, true);
        ends.back(&tail, true);
        let [head, tail] = pieces(&wrong.back(), id + 40);
        ends.back(&head, false);
        ends.back(&tail, false);
    }
    // Where all passes that is not denied.
    let no = "{ name: no, from: a, proto: udp, ports: 2001, action: deny }";
    arena.set("default: allow", &[no]);
    for ends in Ends::both(&arena) {
        let id = if ends.base.is_v4() { 200 } else { 80_000 };
        let [head, tail] = pieces(&ends.base.udp(1000, 2001), id);
        let headless = || {
            let (datapath, _) = observe(&arena.up.store).expect("a datapath");
            policy_events(&arena.up.store, &datapath).expect("counters").headless
        };
        let before = headless();
        ends.there(&tail, true);
        assert_eq!(headless(), before + 1);
        let counted = arena.counted("no", || {
            ends.there(&head, false);
            ends.there(&tail, false);
        });
        assert_eq!((counted.0, headless()), (2, before + 1));
    }
    // A new policy judges the next packet, and what was decided on older ones does not stay.
    arena.set("default: deny", &[out]);
    for ends in Ends::both(&arena) {
        let id = if ends.base.is_v4() { 300 } else { 90_000 };
        let [head, tail] = pieces(&ends.base.udp(1000, 2000), id);
        ends.there(&head, true);
        arena.set("default: deny", &["{ name: none, from: a, proto: tcp, action: allow }"]);
        ends.there(&head, false);
        ends.there(&tail, false);
        arena.set("default: deny", &[out]);
        ends.there(&head, true);
        ends.there(&tail, true);
    }
    whole(&arena)?;
    arena.down();
    Ok(())
}

/// What sockets send arrives as a whole, and so do replies.
fn whole(arena: &Arena) -> Result<(), Failed> {
    const BYTES: usize = 8_000;
    arena.set(
        "default: deny",
        &["{ name: out, from: a, to: b, proto: udp, ports: 53, action: allow }"],
    );
    for [at_a, at_b, _] in FAMILIES {
        let near = udp(&netns("a"), address(at_a));
        let far = netns("b").run(|| UdpSocket::bind((address(at_b), 53)))??;
        near.connect(far.local_addr()?)?;
        for socket in [&near, &far] {
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        }
        for _ in 0..20 {
            near.send(&[0x6e; BYTES])?;
            let (length, asker) = far.recv_from(&mut [0; BYTES])?;
            assert_eq!(length, BYTES);
            far.send_to(&[0x6e; BYTES], asker)?;
            assert_eq!(near.recv(&mut [0; BYTES])?, BYTES);
        }
        let other = udp(&netns("b"), address(at_b));
        other.send_to(&[0x6e; BYTES], near.local_addr()?)?;
        near.set_read_timeout(Some(Duration::from_millis(150)))?;
        assert!(near.recv(&mut [0; BYTES]).is_err(), "from another port");
    }
    Ok(())
}
