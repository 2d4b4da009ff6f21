//! What is sent is what is counted, whichever way it takes, and the way is counted too.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::datapath::{self, PairsReader};
use nsbpf::state::IngressHook;
use nsbpf_common::packet::Cast;
use nsbpf_common::pair::{OUTSIDE, Pair};
use nsbpf_common::stats::{Cell, Direction, Way};

use super::by;
use crate::Test;
use crate::exact::{agrees_with_the_kernel, every_kind, jumbo, wide};
use crate::truth::{
    Ground, LAB, TAG, V4, V6, gso_is_exact, tags_are_exact, tcp_is_exact, udp_is_exact,
};
use crate::world::{mac_of, reaches};

pub(crate) const TESTS: &[Test] = &[
    ("fastpath::exact::every_kind_by_the_bridge", || plain(LAB, Way::Bridge, every_kind)),
    ("fastpath::exact::every_kind_by_redirect", || plain(LAB, Way::Redirect, every_kind)),
    ("fastpath::exact::every_kind_by_peer", || plain(LAB, Way::Peer, every_kind)),
    ("fastpath::exact::every_kind_by_xdp", || plain(LAB, Way::Xdp, every_kind)),
    ("fastpath::exact::jumbo_by_redirect", || plain(&wide(), Way::Redirect, jumbo)),
    ("fastpath::exact::jumbo_by_peer", || plain(&wide(), Way::Peer, jumbo)),
    ("fastpath::exact::udp_ipv4_by_redirect", || plain(LAB, Way::Redirect, udp_ipv4)),
    ("fastpath::exact::udp_ipv4_by_peer", || plain(LAB, Way::Peer, udp_ipv4)),
    ("fastpath::exact::udp_ipv4_by_xdp", || plain(LAB, Way::Xdp, udp_ipv4)),
    ("fastpath::exact::udp_ipv6_by_redirect", || plain(LAB, Way::Redirect, udp_ipv6)),
    ("fastpath::exact::udp_ipv6_by_peer", || plain(LAB, Way::Peer, udp_ipv6)),
    ("fastpath::exact::udp_ipv6_by_xdp", || plain(LAB, Way::Xdp, udp_ipv6)),
    ("fastpath::exact::segments_by_redirect", || on(LAB, Way::Redirect, segments)),
    ("fastpath::exact::segments_by_peer", || on(LAB, Way::Peer, segments)),
    ("fastpath::exact::segments_by_xdp", || on(LAB, Way::Xdp, segments)),
    ("fastpath::exact::tcp_by_redirect", || on(LAB, Way::Redirect, tcp_is_exact)),
    ("fastpath::exact::tcp_by_peer", || on(LAB, Way::Peer, tcp_is_exact)),
    ("fastpath::exact::tcp_by_xdp", || on(LAB, Way::Xdp, tcp_is_exact)),
    ("fastpath::exact::tags_by_the_bridge", || on(LAB, Way::Bridge, tags)),
    ("fastpath::exact::tags_by_redirect", || on(LAB, Way::Redirect, tags)),
    ("fastpath::exact::tags_by_peer", || on(LAB, Way::Peer, tags)),
    ("fastpath::exact::tags_by_xdp", || on(LAB, Way::Xdp, tags)),
    ("fastpath::exact::service_tags_pass_redirect_by", || passed_by(Way::Redirect)),
    ("fastpath::exact::service_tags_pass_peer_by", || passed_by(Way::Peer)),
    ("fastpath::exact::service_tags_pass_xdp_by", || passed_by(Way::Xdp)),
];
/// An IEEE 802.1ad tag, as it stands in a frame.
const SERVICE_TAG: [u8; 4] = [0x88, 0xa8, 0, 9];
const PATIENCE: Duration = Duration::from_secs(5);

/// Has a test happen on a lab whose packets take that way, and looks whether they did.
fn on(
    source: &str,
    way: Way,
    test: impl FnOnce(&Ground) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let ground = Ground::with(source, &by(way));
    test(&ground)?;
    took(&ground, way)?;
    ground.down();
    Ok(())
}

/// The same with frames that the kernel counts as we do: no tags, no segments.
fn plain(
    source: &str,
    way: Way,
    test: impl FnOnce(&Ground) -> Result<(), Failed>,
) -> Result<(), Failed> {
    on(source, way, |ground| {
        test(ground)?;
        // A port that takes XDP polls, and its sender counts as it does.
        let hook = if way == Way::Xdp { IngressHook::Xdp } else { IngressHook::Tc };
        agrees_with_the_kernel(ground, hook)
    })
}

fn udp_ipv4(ground: &Ground) -> Result<(), Failed> {
    udp_is_exact(ground, V4)
}

fn udp_ipv6(ground: &Ground) -> Result<(), Failed> {
    udp_is_exact(ground, V6)
}

/// Few packets: often enough that those by which a path is learned are few.
fn segments(ground: &Ground) -> Result<(), Failed> {
    (0..10).try_for_each(|_| gso_is_exact(ground))
}

fn tags(ground: &Ground) -> Result<(), Failed> {
    let mac = mac_of_b();
    tags_are_exact(ground, mac, &[])?;
    tags_are_exact(ground, mac, &[TAG])
}

/// What has a service tag takes the bridge, although frames without it of the same two
/// stations go that way.
fn passed_by(way: Way) -> Result<(), Failed> {
    let ground = Ground::with(LAB, &by(way));
    let mac = mac_of_b();
    tags_are_exact(&ground, mac, &[])?;
    let before = ground.read()[0].tx;
    // The first beside the frame, the second in it.
    tags_are_exact(&ground, mac, &[SERVICE_TAG, TAG])?;
    let after = ground.read()[0].tx;
    assert!(before.way(way).packets > 90, "{before:?}");
    assert_eq!(after.way(way), before.way(way));
    ground.down();
    Ok(())
}

fn mac_of_b() -> [u8; 6] {
    assert!(reaches("a", "10.0.0.2"));
    mac_of("b", "eth0")
}

/// Fails unless nearly all that could take that way did, none took another, and the
/// receiver's counters and the matrix say so too.
fn took(ground: &Ground, way: Way) -> Result<(), Failed> {
    let (datapath, _) = datapath::observe(&ground.up.store).ok_or("nothing is loaded")?;
    let pairs = PairsReader::open(&ground.up.store, &datapath)?;
    let [a, b] = ground.ports();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let [of_a, of_b] = ground.read();
        let matrix = pairs.read(&[a, b])?;
        let cell = |from, to| {
            let cell = matrix.iter().find(|(pair, _)| *pair == Pair { from, to });
            cell.map_or(Cell::default(), |(_, cell)| *cell)
        };
        let agree = |tx: &Direction, rx: &Direction, from, to| {
            let fast = Way::ALL.into_iter().filter(|fast| *fast != Way::Bridge);
            let mut others = fast.clone().filter(|other| *other != way);
            let mut entered = cell(from, to);
            entered += cell(OUTSIDE, to);
            others.all(|other| tx.way(other) == Cell::default())
                && fast.into_iter().all(|fast| tx.way(fast) == rx.way(fast))
                && [tx, rx].into_iter().all(|direction| sum(direction) == direction.total())
                && entered == rx.total()
        };
        if agree(&of_a.tx, &of_b.rx, a, b) && agree(&of_b.tx, &of_a.rx, b, a) {
            let (unicast, taken) = (of_a.tx.cast(Cast::Unicast), of_a.tx.way(way));
            assert!(
                way == Way::Bridge || taken.packets > unicast.packets * 9 / 10,
                "{taken:?} of {unicast:?} took {}",
                way.name()
            );
            return Ok(());
        }
        assert!(Instant::now() < deadline, "a {of_a:?}, b {of_b:?}, {matrix:?}");
        std::thread::yield_now();
    }
}

fn sum(direction: &Direction) -> Cell {
    Way::ALL.iter().fold(direction.dropped(), |mut sum, way| {
        sum += direction.way(*way);
        sum
    })
}
