//! Frames that a path cannot tell apart by what it is learned by: their length, whether
//! the bridge knows their station, whom they are for.

use std::net::Ipv4Addr;

use libtest_mimic::Failed;
use nsbpf_common::stats::Way;

use super::behaviour::{A, B, THREE, announced};
use super::side_by_side::SideBySide;
use super::tap::{Shape, station};
use crate::Test;
use crate::world::{netns, udp};

pub(crate) const TESTS: &[Test] = &[
    ("fastpath::apart::an_mtu_that_others_lower", lower_mtu),
    ("fastpath::apart::a_station_that_the_bridge_forgot", forgotten),
    ("fastpath::apart::what_is_for_another_address_is_not_taken", other_address),
];

/// A bridge drops what is longer than the port that it would leave by takes.
fn lower_mtu() -> Result<(), Failed> {
    // One that asks iptables makes fragments of it.
    let calls = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    if std::fs::exists(calls)? {
        std::fs::write(calls, "0")?;
    }
    let mut labs = SideBySide::up(THREE, &Way::ALL);
    announced(&mut labs);
    assert_eq!(labs.hearers_of("a", A, B, Shape::Long(1514)), ["b"]);
    labs.went_fast("a/eth0");
    labs.shell("ip link set b-%-eth0 mtu 1000");
    labs.forget_paths("a", "c");
    // By these a path is learned.
    assert_eq!(labs.hearers("a", A, B), ["b"]);
    assert_eq!(labs.hearers_of("a", A, B, Shape::Long(1014)), ["b"]);
    assert!(labs.hearers_of("a", A, B, Shape::Long(1514)).is_empty());
    labs.down();
    Ok(())
}

/// Frames to it go to everybody until it is heard of again.
fn forgotten() -> Result<(), Failed> {
    let mut labs = SideBySide::up(THREE, &Way::ALL);
    announced(&mut labs);
    assert_eq!(labs.hearers("a", A, B), ["b"]);
    labs.shell("bridge fdb flush dev b-%-eth0 master");
    labs.takes_hold("a", A, B, &["b", "c"]);
    labs.down();
    Ok(())
}

/// A namespace takes what is for its own MAC address, not what is for a station behind
/// it.
fn other_address() -> Result<(), Failed> {
    let text = THREE.replacen(
        "b-%: { interfaces: { eth0: { bridge: br-% ",
        "b-%: { interfaces: { eth0: { bridge: br-%, addresses: [192.0.2.2/24] ",
        1,
    );
    let behind = station(20);
    let mut labs = SideBySide::up(&text, &Way::ALL);
    announced(&mut labs);
    labs.announce("b", behind);
    let sockets = labs.each(|lab, way| {
        let socket = udp(&netns(&format!("b-{lab}")), Ipv4Addr::UNSPECIFIED.into());
        socket.set_nonblocking(true).expect("do not block");
        (way, socket)
    });
    for (way, socket) in &sockets {
        let port = socket.local_addr()?.port();
        let shape = Shape::Port([192, 0, 2, 2], port);
        assert_eq!(labs.hearers_of("a", A, behind, shape), ["b"]);
        let taken = socket.recv(&mut [0; 64]);
        assert!(taken.is_err(), "{} was taken by {}", taken?, way.name());
    }
    drop(sockets);
    labs.down();
    Ok(())
}
