//! What senders try so that a rule does not see what they send.

use libtest_mimic::Failed;
use nsbpf_common::stats::Way;

use super::arena::Arena;
use super::connections::Ends;
use super::packet::{Part, SYN};

/// Extension headers that are looked behind.
const FOLLOWED: usize = 7;

pub(super) fn seen(way: Way) -> Result<(), Failed> {
    let arena = Arena::new(way);
    let no = "{ name: no, from: a, proto: tcp, ports: 80, action: deny }";
    arena.set("default: allow", &[no]);
    for ends in Ends::both(&arena) {
        let tcp = ends.base.tcp(6000, 80, SYN);
        // Behind options, tags, and both.
        for options in 0..=FOLLOWED {
            for vlan in [None, Some(0), Some(7)] {
                let hidden = tcp.with(|it| (it.options, it.vlan) = (options, vlan));
                ends.there(&hidden, false);
                ends.there(&hidden.with(|it| it.ports[1] = 81), true);
            }
        }
        // In the smallest first fragments that there can be.
        for (cut, id) in [(8, 901), (16, 902)] {
            let tcp = tcp.with(|it| it.id = id);
            ends.there(&tcp.part(Part::Head(cut)), false);
            // What ends before its flags could be anything, so that it is denied whatever it is;
            // what follows has no head then.
            let has_flags = cut > 13;
            ends.there(&tcp.part(Part::Tail(cut)), !has_flags);
            if !has_flags {
                let other = tcp.with(|it| (it.ports[1], it.id) = (81, id + 2));
                ends.there(&other.part(Part::Head(cut)), false);
            }
        }
    }
    arena.down();
    Ok(())
}
