//! Who hears a frame does not depend on the way that it takes.

use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf_common::stats::{Class, Way};

use super::side_by_side::SideBySide;
use super::tap::{EVERYBODY, Mac, Shape, station};
use crate::Test;
use crate::vlan;
use crate::world::{ip_json, netns, udp};

pub(crate) const TESTS: &[Test] = &[
    ("fastpath::behaviour::isolated_ports", isolated),
    ("fastpath::behaviour::every_shape_of_frame", shapes),
    ("fastpath::behaviour::a_station_that_moves", moves),
    ("fastpath::behaviour::a_namespace_that_is_a_bridge", nested),
    ("fastpath::behaviour::a_router_on_the_same_bridge", router),
    ("fastpath::behaviour::a_loop_that_the_spanning_tree_cuts", spanning_tree),
    ("fastpath::behaviour::a_bridge_in_a_namespace", in_a_namespace),
    ("fastpath::behaviour::a_port_that_others_block", blocked),
    ("fastpath::behaviour::an_entry_of_others_in_the_fdb", forwarding_entry),
    ("fastpath::behaviour::a_port_that_others_set_down", set_down),
    ("fastpath::behaviour::a_station_that_the_bridge_forgot_is_reached", forgotten),
    (VLANS, vlans),
    ("fastpath::behaviour::a_firewall_that_looks_at_addresses", firewall_of_addresses),
];

const VLANS: &str = "fastpath::behaviour::vlans";

/// What a test takes that is not there.
pub(crate) fn why_not(test: &str) -> Option<&'static str> {
    if test == VLANS { vlan::why_not_here() } else { None }
}

pub(super) const A: Mac = station(1);
pub(super) const B: Mac = station(2);
const C: Mac = station(3);
const UNKNOWN: Mac = station(50);

pub(super) const THREE: &str = "
name: three-%
bridges: { br-%: {} }
namespaces:
  a-%: { interfaces: { eth0: { bridge: br-% } } }
  b-%: { interfaces: { eth0: { bridge: br-% } } }
  c-%: { interfaces: { eth0: { bridge: br-% } } }
";

pub(super) fn announced(labs: &mut SideBySide) {
    for (name, station) in [("a", A), ("b", B), ("c", C)] {
        labs.announce(name, station);
    }
}

fn shapes() -> Result<(), Failed> {
    let mut labs = SideBySide::up(THREE, &Way::ALL);
    announced(&mut labs);
    for shape in [
        Shape::Ipv4,
        Shape::Ipv6,
        Shape::Fragment,
        Shape::Tagged(7),
        Shape::Tagged(0),
        Shape::Long(1514),
    ] {
        assert_eq!(labs.hearers_of("a", A, B, shape), ["b"], "{shape:?}");
        assert_eq!(labs.hearers_of("b", B, A, shape), ["a"], "{shape:?}");
        assert_eq!(labs.hearers_of("a", A, EVERYBODY, shape), ["b", "c"], "{shape:?}");
        assert_eq!(labs.hearers_of("a", A, UNKNOWN, shape), ["b", "c"], "{shape:?}");
        assert_eq!(labs.hearers_of("a", A, [0x33, 0x33, 0, 0, 0, 1], shape), ["b", "c"]);
        // Itself, as the bridge sees it.
        assert!(labs.hearers_of("a", A, A, shape).is_empty(), "{shape:?}");
    }
    labs.went_fast("a/eth0");
    labs.went_fast("b/eth0");
    labs.down();
    Ok(())
}

fn isolated() -> Result<(), Failed> {
    let apart = THREE.replace("bridge: br-% } } }\n  b", "bridge: br-%, isolated: true } } }\n  b");
    let mut labs = SideBySide::up(&apart, &Way::ALL);
    announced(&mut labs);
    assert_eq!(labs.hearers("a", A, B), ["b"]);
    assert_eq!(labs.hearers("b", B, A), ["a"]);
    assert_eq!(labs.hearers("a", A, C), ["c"]);
    labs.went_fast("a/eth0");
    // Somebody isolates one more.
    labs.shell("bridge link set dev b-%-eth0 isolated on");
    labs.takes_hold("a", A, B, &[]);
    // That way was learned a little later.
    labs.takes_hold("b", B, A, &[]);
    assert_eq!(labs.hearers("a", A, EVERYBODY), ["c"]);
    assert_eq!(labs.hearers("b", B, C), ["c"]);
    labs.shell("bridge link set dev b-%-eth0 isolated off");
    labs.takes_hold("b", B, A, &["a"]);
    assert_eq!(labs.hearers("a", A, B), ["b"]);
    labs.down();
    Ok(())
}

fn moves() -> Result<(), Failed> {
    let mut labs = SideBySide::up(THREE, &Way::ALL);
    announced(&mut labs);
    assert_eq!(labs.hearers("a", A, B), ["b"]);
    labs.went_fast("a/eth0");
    labs.announce("c", B);
    labs.takes_hold("a", A, B, &["c"]);
    assert_eq!(labs.hearers("c", B, A), ["a"]);
    // And back, without a word to everybody.
    labs.send("b", A, B, Shape::Ipv4);
    labs.takes_hold("a", A, B, &["b"]);
    labs.down();
    Ok(())
}

/// Stations behind a namespace are at its port, and reach each other without it.
fn nested() -> Result<(), Failed> {
    let text = "
name: nested-%
bridges: { br-%: {} }
namespaces:
  a-%: { interfaces: { eth0: { bridge: br-% } } }
  b-%: { interfaces: { eth0: { bridge: br-% } } }
  switch-%:
    interfaces: { eth0: { bridge: br-% }, p1: { peer: in1-%/eth0 }, p2: { peer: in2-%/eth0 } }
  in1-%: { interfaces: { eth0: {} } }
  in2-%: { interfaces: { eth0: {} } }
";
    let (one, two) = (station(11), station(12));
    let mut labs = SideBySide::up(text, &Way::ALL);
    labs.shell("ip -netns switch-% link add inner type bridge");
    for port in ["eth0", "p1", "p2"] {
        labs.shell(&format!("ip -netns switch-% link set {port} master inner"));
    }
    labs.shell("ip -netns switch-% link set inner up");
    for (name, station) in [("a", A), ("b", B), ("in1", one), ("in2", two)] {
        labs.announce(name, station);
    }
    // What arrives at a port of the inner bridge arrives there first.
    assert_eq!(labs.hearers("a", A, one), ["in1", "switch"]);
    assert_eq!(labs.hearers("a", A, two), ["in2", "switch"]);
    assert_eq!(labs.hearers("in1", one, A), ["a"]);
    assert_eq!(labs.hearers("in2", two, B), ["b"]);
    assert_eq!(labs.hearers("in1", one, two), ["in2"]);
    assert_eq!(labs.hearers("a", A, B), ["b"]);
    assert_eq!(labs.hearers("in1", one, EVERYBODY), ["a", "b", "in2"]);
    labs.went_fast("a/eth0");
    labs.went_fast("switch/eth0");
    // One of them moves out.
    labs.announce("b", one);
    labs.takes_hold("a", A, one, &["b"]);
    assert_eq!(labs.hearers("in2", two, one), ["b"]);
    labs.down();
    Ok(())
}

/// What it routes crosses the bridge twice, with the same addresses and ports. Sockets
/// do not hear what XDP sends yet.
fn router() -> Result<(), Failed> {
    const COUNT: u64 = 200;
    let text = "
name: router-%
bridges: { br-%: {} }
namespaces:
  a-%:
    interfaces: { eth0: { bridge: br-%, addresses: [10.0.1.1/24] } }
    routes: [{ to: default, via: 10.0.1.254 }]
  b-%:
    interfaces: { eth0: { bridge: br-%, addresses: [10.0.2.1/24] } }
    routes: [{ to: default, via: 10.0.2.254 }]
  r-%:
    router: true
    interfaces: { eth0: { bridge: br-%, addresses: [10.0.1.254/24, 10.0.2.254/24] } }
";
    let labs = SideBySide::up(text, &[Way::Bridge, Way::Redirect, Way::Peer]);
    let names = ["a/eth0", "b/eth0", "r/eth0"];
    for lab in labs.each(|lab, way| (lab.to_owned(), way)) {
        let (lab, way) = lab;
        let inside = |name| netns(&format!("{name}-{lab}"));
        let (a, b) = (inside("a"), inside("b"));
        // It would tell them to speak to each other.
        for file in ["all", "eth0"] {
            let path = format!("/proc/sys/net/ipv4/conf/{file}/send_redirects");
            inside("r").run(move || std::fs::write(path, "0"))??;
        }
        let a = udp(&a, "10.0.1.1".parse()?);
        let b = udp(&b, "10.0.2.1".parse()?);
        a.connect(b.local_addr()?)?;
        b.connect(a.local_addr()?)?;
        for socket in [&a, &b] {
            socket.set_read_timeout(Some(Duration::from_secs(5)))?;
        }
        let exchange = |count| -> std::io::Result<()> {
            for number in 0..count {
                for [from, to] in [[&a, &b], [&b, &a]] {
                    let mut buffer = [0; 16];
                    from.send(&u64::to_be_bytes(number))?;
                    assert_eq!(to.recv(&mut buffer)?, 8);
                    assert_eq!(buffer[..8], u64::to_be_bytes(number));
                }
            }
            Ok(())
        };
        exchange(5)?;
        let before = names.map(|name| labs.stats(way, name));
        exchange(COUNT)?;
        let after = names.map(|name| labs.stats(way, name));
        for ((name, before), after) in names.into_iter().zip(before).zip(after) {
            // The router has both directions of both.
            let expected = if name == "r/eth0" { 2 * COUNT } else { COUNT };
            for (before, after) in [(before.tx, after.tx), (before.rx, after.rx)] {
                let udp = after[Class::Ipv4Udp].packets - before[Class::Ipv4Udp].packets;
                assert_eq!(udp, expected, "{name} by {}", way.name());
                let fast = after.way(way).packets - before.way(way).packets;
                assert!(way == Way::Bridge || fast == expected, "{name} by {}", way.name());
            }
        }
    }
    labs.down();
    Ok(())
}

/// Two bridges that are joined twice.
fn spanning_tree() -> Result<(), Failed> {
    let text = "
name: tree-%
bridges:
  br-%: { stp: true, forward_delay: 2 }
  other-%: { stp: true, forward_delay: 2 }
namespaces:
  a-%: { interfaces: { eth0: { bridge: br-% } } }
  b-%: { interfaces: { eth0: { bridge: br-% } } }
  c-%: { interfaces: { eth0: { bridge: other-% } } }
";
    let mut labs = SideBySide::up(text, &Way::ALL);
    for [one, other] in [["j1-%", "k1-%"], ["j2-%", "k2-%"]] {
        labs.shell(&format!("ip link add {one} type veth peer name {other}"));
        labs.shell(&format!("ip link set {one} master br-% up"));
        labs.shell(&format!("ip link set {other} master other-% up"));
    }
    let cut = |lab: &str, _| {
        let links = ip_json(&["-details", "link", "show", "type", "bridge_slave"]);
        let states = links.as_array().into_iter().flatten().filter(|link| {
            link["ifname"]
                .as_str()
                .is_some_and(|name| name.ends_with(lab) || name.contains(&format!("-{lab}-")))
        });
        let mut states: Vec<String> = states
            .filter_map(|link| link["linkinfo"]["info_slave_data"]["state"].as_str())
            .map(str::to_owned)
            .collect();
        states.sort();
        states
    };
    let deadline = Instant::now() + Duration::from_secs(15);
    let settled = |states: &Vec<String>| {
        states.iter().filter(|state| *state == "blocking").count() == 1
            && states.iter().filter(|state| *state == "forwarding").count() == 6
    };
    while !labs.each(cut).iter().all(settled) {
        assert!(Instant::now() < deadline, "{:?}", labs.each(cut));
        std::thread::sleep(Duration::from_millis(50));
    }
    announced(&mut labs);
    assert_eq!(labs.hearers("a", A, B), ["b"]);
    assert_eq!(labs.hearers("a", A, C), ["c"]);
    assert_eq!(labs.hearers("c", C, A), ["a"]);
    assert_eq!(labs.hearers("a", A, EVERYBODY), ["b", "c"]);
    labs.went_fast("a/eth0");
    labs.shell("ip link delete j1-%");
    labs.shell("ip link delete j2-%");
    labs.down();
    Ok(())
}

fn in_a_namespace() -> Result<(), Failed> {
    let inside = THREE.replace("br-%: {}", "br-%: { namespace: switch-% }");
    let mut labs = SideBySide::up(&inside, &Way::ALL);
    announced(&mut labs);
    assert_eq!(labs.hearers("a", A, B), ["b"]);
    labs.went_fast("a/eth0");
    labs.shell("bridge -netns switch-% link set dev a-%-eth0 isolated on");
    labs.shell("bridge -netns switch-% link set dev b-%-eth0 isolated on");
    labs.takes_hold("a", A, B, &[]);
    assert_eq!(labs.hearers("a", A, C), ["c"]);
    labs.down();
    Ok(())
}

fn blocked() -> Result<(), Failed> {
    let mut labs = SideBySide::up(THREE, &Way::ALL);
    announced(&mut labs);
    assert_eq!(labs.hearers("a", A, B), ["b"]);
    labs.went_fast("a/eth0");
    // `BR_STATE_DISABLED` of `linux/if_bridge.h`.
    labs.shell("bridge link set dev b-%-eth0 state 0");
    labs.takes_hold("b", B, A, &[]);
    labs.takes_hold("a", A, B, &[]);
    labs.down();
    Ok(())
}

fn forwarding_entry() -> Result<(), Failed> {
    let mut labs = SideBySide::up(THREE, &Way::ALL);
    announced(&mut labs);
    assert_eq!(labs.hearers("a", A, B), ["b"]);
    labs.went_fast("a/eth0");
    labs.shell("bridge fdb replace 02:bb:00:00:00:02 dev c-%-eth0 master static");
    labs.takes_hold("a", A, B, &["c"]);
    labs.down();
    Ok(())
}

fn set_down() -> Result<(), Failed> {
    let mut labs = SideBySide::up(THREE, &Way::ALL);
    announced(&mut labs);
    assert_eq!(labs.hearers("a", A, B), ["b"]);
    labs.went_fast("a/eth0");
    // The bridge forgets who was behind it, and asks everybody.
    labs.shell("ip link set b-%-eth0 down");
    labs.takes_hold("a", A, B, &["c"]);
    labs.shell("ip link set b-%-eth0 up");
    labs.takes_hold("a", A, EVERYBODY, &["b", "c"]);
    labs.announce("b", B);
    labs.takes_hold("a", A, B, &["b"]);
    labs.shell("ip -netns b-% link set eth0 down");
    labs.takes_hold("a", A, B, &["c"]);
    labs.down();
    Ok(())
}

const CHAIN: &str = "add chain bridge % forward { type filter hook forward priority 0; }";

fn firewall_of_addresses() -> Result<(), Failed> {
    let mut labs = SideBySide::up(THREE, &Way::ALL);
    announced(&mut labs);
    assert_eq!(labs.hearers("a", A, B), ["b"]);
    labs.went_fast("a/eth0");
    labs.shell("nft add table bridge %");
    labs.shell(&format!("nft {CHAIN}"));
    labs.shell("nft add rule bridge % forward oifname b-%-eth0 ether saddr 02:bb:00:00:00:01 drop");
    labs.takes_hold("a", A, B, &[]);
    assert_eq!(labs.hearers("c", C, B), ["b"]);
    labs.down();
    Ok(())
}

/// Whoever else hears them, frames to it reach it.
fn forgotten() -> Result<(), Failed> {
    let mut labs = SideBySide::up(THREE, &Way::ALL);
    announced(&mut labs);
    labs.shell("bridge fdb flush dev b-%-eth0 master");
    let numbers: Vec<u32> = (0..5).map(|_| labs.send("a", B, A, Shape::Ipv4)).collect();
    for (way, hearing) in labs.heard() {
        for number in &numbers {
            let heard = hearing.get(number).map_or(&[][..], Vec::as_slice);
            assert!(heard.iter().any(|name| name == "b"), "{}: {hearing:?}", way.name());
        }
    }
    labs.down();
    Ok(())
}

/// Those of one do not hear another's, be a station's address in both.
fn vlans() -> Result<(), Failed> {
    let text = "
name: vlans-%
bridges: { br-%: { vlan_filtering: true } }
namespaces:
  a-%: { interfaces: { eth0: { bridge: br-%, vlan: 10 } } }
  b-%: { interfaces: { eth0: { bridge: br-%, vlan: 10 } } }
  c-%: { interfaces: { eth0: { bridge: br-%, vlan: 20 } } }
  d-%: { interfaces: { eth0: { bridge: br-%, vlan: 20 } } }
  t-%: { interfaces: { eth0: { bridge: br-%, trunk: [10, 20] } } }
  u-%: { interfaces: { eth0: { bridge: br-%, trunk: [10, 20] } } }
";
    let (trunk, other) = (station(4), station(5));
    let mut labs = SideBySide::up(text, &Way::ALL);
    announced(&mut labs);
    for (name, station) in [("t", trunk), ("u", other)] {
        for vlan in [10, 20] {
            labs.send(name, EVERYBODY, station, Shape::Tagged(vlan));
        }
    }
    labs.announce("d", B);
    for _ in 0..2 {
        assert_eq!(labs.hearers("a", A, B), ["b"]);
        assert_eq!(labs.hearers("c", C, B), ["d"]);
        assert_eq!(labs.hearers("a", A, C), ["b", "t", "u"]);
        assert_eq!(labs.hearers("a", A, trunk), ["t"]);
        assert_eq!(labs.hearers_of("t", trunk, B, Shape::Tagged(10)), ["b"]);
        assert_eq!(labs.hearers_of("t", trunk, B, Shape::Tagged(20)), ["d"]);
        assert_eq!(labs.hearers_of("t", trunk, other, Shape::Tagged(10)), ["u"]);
        assert!(labs.hearers_of("t", trunk, other, Shape::Tagged(30)).is_empty());
        assert!(labs.hearers("t", trunk, B).is_empty());
    }
    // Where the other station of that address is, it was seen last.
    labs.went_fast("c/eth0");
    labs.went_fast("t/eth0");
    // A port moves to the other.
    labs.shell("bridge vlan delete dev b-%-eth0 vid 10");
    labs.shell("bridge vlan add dev b-%-eth0 vid 20 pvid untagged");
    labs.forget_paths("c", "d");
    assert_eq!(labs.hearers_of("t", trunk, B, Shape::Tagged(20)), ["d"]);
    labs.down();
    Ok(())
}
