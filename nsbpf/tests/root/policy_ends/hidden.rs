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
        // In the smallest first fragments that there can be. What ends before its flags could
        // be anything, so that it is denied whatever it is and whatever is behind it in its
        // frame, of which no receiver knows.
        for (cut, padding) in [(8, 0), (8, 12), (16, 0), (16, 12)] {
            for (port, passes) in [(80, false), (81, cut > 13)] {
                let tcp = tcp.with(|it| {
                    it.id = 1000 * u32::from(cut) + 10 * padding as u32 + u32::from(port);
                    (it.ports[1], it.padding) = (port, padding);
                });
                ends.there(&tcp.part(Part::Head(cut)), passes);
                ends.there(&tcp.part(Part::Tail(cut)), passes);
            }
        }
    }
    arena.down();
    Ok(())
}
