//! Packets between two bridges of the host, whose stack they pass by: it decides, and
//! what it would not forward is not forwarded.
//!
//! The test's own namespace is the host.

use std::io::ErrorKind;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::datapath::{self, PairsReader, StatsReader};
use nsbpf::plan::Settings;
use nsbpf::state::IngressHook;
use nsbpf_common::pair::{OUTSIDE, Pair};
use nsbpf_common::stats::{Cell, Class, Direction, Size, Way};
use serde_json::Value;

use crate::Test;
use crate::command::ran;
use crate::engine::{port, settings};
use crate::forwarding::write;
use crate::routed::{
    AGE, Ground, V4, V6, arrives_the_same, ends, forwarded_here, is_told_what_is_too_long,
    next_frame, packet_socket,
};
use crate::truth::{self, Wire, grown, gso_is_exact, set_option, tcp_is_exact};
use crate::world::{ip, mac_of, netns, tc};

const RULE: &str = "routed_host::a_rule_that_others_add_takes_hold";

pub(crate) const TESTS: &[Test] = &[
    ("routed_host::the_stack_sees_few_and_the_ports_all", counted),
    ("routed_host::every_way_counts_the_same", same_counts),
    ("routed_host::what_arrives_is_what_the_stack_would_send", same_packet),
    ("routed_host::segments_are_counted_exactly", || exact(5, gso_is_exact)),
    ("routed_host::streams_are_counted_exactly", || exact(1, tcp_is_exact)),
    ("routed_host::packets_that_grow_go_to_the_stack", mtu),
    ("routed_host::a_packet_without_hops_is_answered", no_hops),
    ("routed_host::a_route_that_others_change_takes_hold", changed),
    ("routed_host::who_forbids_forwarding_is_heard", forbidden),
    (RULE, rule),
    ("routed_host::a_queue_that_others_add_takes_hold", queue),
    ("routed_host::each_port_is_asked_about_for_itself", other_port),
    ("routed_host::what_a_bridge_floods_is_not_learned", flooded),
    ("routed_host::a_router_behind_the_host_is_told_apart", one_armed),
    ("routed_host::xdp_leaves_it_to_the_stack", xdp),
];

pub(crate) const LAB: &str = "
name: between
bridges:
  br-left: { addresses: [10.1.0.254/24, 'fd01::fe/64'] }
  br-right: { addresses: [10.2.0.254/24, 'fd02::fe/64'] }
namespaces:
  left:
    interfaces: { eth0: { bridge: br-left, addresses: [10.1.0.1/24, 'fd01::1/64'] } }
    routes: [{ to: default, via: 10.1.0.254 }, { to: default, via: 'fd01::fe' }]
  right:
    interfaces: { eth0: { bridge: br-right, addresses: [10.2.0.1/24, 'fd02::1/64'] } }
    routes: [{ to: default, via: 10.2.0.254 }, { to: default, via: 'fd02::fe' }]
";
const PACKETS: u64 = 500;
const PAYLOAD: usize = 300;
const FAST: [Way; 2] = [Way::Redirect, Way::Peer];

/// What a test takes that is not there.
pub(crate) fn why_not(name: &str) -> Option<&'static str> {
    let has_nft = || Command::new("nft").arg("-V").output().is_ok_and(|it| it.status.success());
    (name == RULE && !has_nft()).then_some("needs nftables")
}

/// On a host that forwards.
fn ground(source: &str, way: Way, family: [&str; 2]) -> Ground {
    write("ipv4/ip_forward", "1");
    write("ipv6/conf/all/forwarding", "1");
    let settings = Settings { fastpath: Some(way), ..settings(IngressHook::Tc) };
    Ground::with(source, &settings, family)
}

/// How many of so many packets the host's stack forwarded.
fn by_the_stack(ground: &Ground, family: [&str; 2], count: u64) -> u64 {
    let before = forwarded_here(family);
    ground.exchange(count, PAYLOAD);
    forwarded_here(family) - before
}

/// Packets pass the stack by.
#[track_caller]
fn is_fast(ground: &Ground, family: [&str; 2]) {
    ground.exchange(1, PAYLOAD);
    let few = by_the_stack(ground, family, 50);
    assert!(few < 10, "the stack forwarded {few} of 50");
}

/// After five seconds at the latest the stack forwards all packets.
#[track_caller]
fn becomes_slow(ground: &Ground, family: [&str; 2]) {
    let start = Instant::now();
    while by_the_stack(ground, family, 50) < 50 {
        let took = start.elapsed();
        assert!(
            took < AGE + Duration::from_millis(500),
            "packets pass the stack by after {took:?}"
        );
    }
    assert_eq!(by_the_stack(ground, family, 200), 200);
}

fn counted() -> Result<(), Failed> {
    for way in FAST {
        for (family, class) in [(V4, Class::Ipv4Udp), (V6, Class::Ipv6Udp)] {
            let ground = ground(LAB, way, family);
            ground.exchange(1, PAYLOAD);
            let before = ground.up.stats();
            let by_stack = by_the_stack(&ground, family, PACKETS);
            let after = ground.up.stats();
            assert!(by_stack < PACKETS / 10, "the stack forwarded {by_stack}");
            for (port, sends) in [("left/eth0", true), ("right/eth0", false)] {
                let [was, is] = [&before, &after].map(|stats| {
                    let stats = &stats[port];
                    if sends { stats.tx } else { stats.rx }
                });
                let what = format!("{port}, {}", way.name());
                assert_eq!(is[class].packets - was[class].packets, PACKETS, "{what}");
                let fast = grown(was.way(way), is.way(way)).packets;
                assert_eq!(fast, PACKETS - by_stack, "{what}");
            }
            ground.down();
        }
    }
    Ok(())
}

/// What counters, matrix and flows say of the same packets.
#[derive(Debug, PartialEq)]
struct Said {
    /// Sent by the left and received by the right, and the other way round.
    classes: [Cell; 4],
    sizes: [u64; 4],
    /// From outside to the left and to the right, without what the host says for itself:
    /// that is not always as much.
    pairs: [Cell; 2],
    /// From the one to the other, as if nothing were between them.
    between: u64,
    flows: Vec<String>,
}

fn same_counts() -> Result<(), Failed> {
    for (family, class) in [(V4, Class::Ipv4Udp), (V6, Class::Ipv6Udp)] {
        let [by_bridge, by_redirect, by_peer] =
            [Way::Bridge, Way::Redirect, Way::Peer].map(|way| said(family, class, way));
        let by_bridge = by_bridge?;
        assert_eq!(by_bridge.classes.map(|cell| cell.packets), [PACKETS; 4]);
        assert_eq!(by_bridge.between, 0);
        assert_eq!(by_bridge.flows.len(), 2, "{:?}", by_bridge.flows);
        assert_eq!(by_redirect?, by_bridge, "by redirect");
        assert_eq!(by_peer?, by_bridge, "by peer");
    }
    Ok(())
}

fn said(family: [&str; 2], class: Class, way: Way) -> Result<Said, Failed> {
    let ground = ground(LAB, way, family);
    for _ in 0..PACKETS {
        ground.exchange(1, PAYLOAD);
        ground.right.send(&[7; PAYLOAD])?;
        assert_eq!(ground.left.recv(&mut [0; PAYLOAD])?, PAYLOAD);
    }
    let seen = nsbpf::apply::survey(&ground.up.store)?.state;
    let ports = ["left/eth0", "right/eth0"].map(|id| port(&seen, id));
    let (loaded, _) = datapath::observe(&ground.up.store).ok_or("nothing is loaded")?;
    let counters = StatsReader::open(&ground.up.store)?;
    let pairs = PairsReader::open(&ground.up.store, &loaded)?;
    let read = || ports.map(|port| counters.read(port).expect("read a counter"));
    let deadline = Instant::now() + Duration::from_secs(5);
    // The host says things for itself (MLD), maybe in between.
    let ([left, right], matrix) = loop {
        let (before, matrix) = (read(), pairs.read(&ports)?);
        if read() == before {
            break (before, matrix);
        }
        assert!(Instant::now() < deadline, "it does not come to rest");
    };
    let pair = |from, to| {
        let found = matrix.iter().find(|(pair, _)| *pair == Pair { from, to });
        found.map(|(_, cell)| *cell).unwrap_or_default()
    };
    let routed = |to, rx: Direction| {
        let others = grown(rx[class], rx.total());
        grown(others, pair(OUTSIDE, to))
    };
    let directions = [left.tx, right.rx, right.tx, left.rx];
    let said = Said {
        classes: directions.map(|direction| direction[class]),
        sizes: directions.map(|direction| direction.size(Size::UpTo511)),
        pairs: [routed(ports[0], left.rx), routed(ports[1], right.rx)],
        between: pair(ports[0], ports[1]).packets + pair(ports[1], ports[0]).packets,
        flows: flows(ground.left.local_addr()?.port())?,
    };
    ground.down();
    Ok(said)
}

/// All that is told of the flows of a UDP port, but for times.
fn flows(of_port: u16) -> Result<Vec<String>, Failed> {
    let number = of_port.to_string();
    let told = ran(&["flows", "between", "--format", "json", "--port", &number]);
    let told: Value = serde_json::from_str(&told)?;
    let line = |flow: &Value| {
        let end = |end: &str| {
            ["address", "namespace", "interface", "via"].map(|what| flow[end][what].to_string())
        };
        let counts = ["domain", "sent", "received", "settled"].map(|what| flow[what].to_string());
        [end("from"), end("to"), counts].concat().join(" ")
    };
    let mut lines: Vec<String> =
        told["flows"].as_array().ok_or("a list")?.iter().map(line).collect();
    lines.sort();
    Ok(lines)
}

fn same_packet() -> Result<(), Failed> {
    for way in FAST {
        for family in [V4, V6] {
            let ground = ground(LAB, way, family);
            arrives_the_same(&ground, family)?;
            is_fast(&ground, family);
            ground.down();
        }
    }
    Ok(())
}

/// What is counted by the bridge, from namespaces that are not on the same.
fn exact(times: u32, test: fn(&truth::Ground) -> Result<(), Failed>) -> Result<(), Failed> {
    let lab = "
name: truth
bridges: { br0: { addresses: [10.0.0.0/31] }, br1: { addresses: [10.0.0.3/31] } }
namespaces:
  a:
    interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/31] } }
    routes: [{ to: default, via: 10.0.0.0 }]
  b:
    interfaces: { eth0: { bridge: br1, addresses: [10.0.0.2/31] } }
    routes: [{ to: default, via: 10.0.0.3 }]
";
    write("ipv4/ip_forward", "1");
    for way in FAST {
        let settings = Settings { fastpath: Some(way), ..settings(IngressHook::Tc) };
        let ground = truth::Ground::with(lab, &settings);
        for _ in 0..times {
            test(&ground)?;
        }
        let [sender, receiver] = ground.read();
        for direction in [sender.tx, receiver.rx] {
            let [all, fast] = [direction.total(), direction.way(way)].map(|cell| cell.packets);
            // The first packets of each flow, and longer ones, are the stack's.
            assert!(fast > all / 2, "{fast} of {all} by {}", way.name());
        }
        ground.down();
    }
    Ok(())
}

fn mtu() -> Result<(), Failed> {
    let ground = ground(LAB, Way::Peer, V4);
    ip(&["link", "set", "br-right", "mtu", "1000"]);
    is_told_what_is_too_long(&ground)?;
    ground.down();
    Ok(())
}

/// The host says that the hops are used up, whatever is known of the flow.
fn no_hops() -> Result<(), Failed> {
    for family in [V4, V6] {
        let ground = ground(LAB, Way::Peer, family);
        is_fast(&ground, family);
        let (level, hears, hops) = if family == V4 {
            (libc::IPPROTO_IP, libc::IP_RECVERR, libc::IP_TTL)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_RECVERR, libc::IPV6_UNICAST_HOPS)
        };
        set_option(&ground.left, level, hears, 1)?;
        set_option(&ground.left, level, hops, 1)?;
        ground.left.send(&[0; PAYLOAD])?;
        let answer = ground.left.recv(&mut [0; PAYLOAD]).expect_err("an answer");
        assert_eq!(answer.kind(), ErrorKind::HostUnreachable, "{answer}");
        // Neither it nor what comes after it makes others slow, or goes on.
        set_option(&ground.left, level, hops, 64)?;
        is_fast(&ground, family);
        ground.down();
    }
    Ok(())
}

/// Within five seconds; at once, if it is `nsbpf` that changes something.
fn changed() -> Result<(), Failed> {
    let ground = ground(LAB, Way::Peer, V4);
    is_fast(&ground, V4);
    ip(&["route", "add", "blackhole", "10.2.0.1/32"]);
    ends(&ground, Instant::now());
    ip(&["route", "delete", "blackhole", "10.2.0.1/32"]);
    is_fast(&ground, V4);
    ip(&["route", "add", "blackhole", "10.2.0.1/32"]);
    datapath::forget_paths(&ground.up.store)?;
    ground.right.set_read_timeout(Some(Duration::from_millis(100)))?;
    ground.left.send(&[0; PAYLOAD])?;
    assert!(ground.right.recv(&mut [0; PAYLOAD]).is_err(), "what was known was not forgotten");
    ip(&["route", "delete", "blackhole", "10.2.0.1/32"]);
    ground.down();
    Ok(())
}

fn forbidden() -> Result<(), Failed> {
    for (family, switch) in [(V4, "ipv4/ip_forward"), (V6, "ipv6/conf/all/forwarding")] {
        let ground = ground(LAB, Way::Peer, family);
        is_fast(&ground, family);
        write(switch, "0");
        ends(&ground, Instant::now());
        ground.down();
    }
    Ok(())
}

#[track_caller]
fn nft(words: &str) -> String {
    let done = Command::new("nft").args(words.split(' ')).output().expect("start nft");
    assert!(done.status.success(), "{words}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// A rule sees every packet, wherever it is; and what it drops ends.
fn rule() -> Result<(), Failed> {
    let ground = ground(LAB, Way::Peer, V4);
    let chain = |hook: &str, policy: &str| {
        nft("add table ip t");
        nft(&format!(
            "add chain ip t c {{ type filter hook {hook} priority 0 ; policy {policy} ; }}"
        ));
    };
    let seen = || -> u64 {
        let shown: Value = serde_json::from_str(&nft("-j list chain ip t c")).expect("JSON");
        let objects = shown["nftables"].as_array().expect("objects").iter();
        let parts = objects.filter_map(|object| object["rule"]["expr"].as_array()).flatten();
        parts.filter_map(|part| part["counter"]["packets"].as_u64()).sum()
    };
    for hook in ["prerouting", "forward", "postrouting"] {
        is_fast(&ground, V4);
        chain(hook, "accept");
        nft("add rule ip t c ip daddr 10.2.0.1 counter");
        becomes_slow(&ground, V4);
        let before = seen();
        ground.exchange(100, PAYLOAD);
        assert_eq!(seen() - before, 100, "{hook}");
        nft("delete table ip t");
    }
    is_fast(&ground, V4);
    chain("forward", "drop");
    ends(&ground, Instant::now());
    nft("delete table ip t");
    ground.down();
    Ok(())
}

fn queue() -> Result<(), Failed> {
    let ground = ground(LAB, Way::Peer, V6);
    is_fast(&ground, V6);
    tc(&["qdisc", "add", "dev", "right-eth0", "root", "pfifo"]);
    becomes_slow(&ground, V6);
    tc(&["qdisc", "delete", "dev", "right-eth0", "root"]);
    is_fast(&ground, V6);
    ground.down();
    Ok(())
}

/// The same frames by another port: the stack is asked about them for itself, and what it
/// then does is known of both.
fn other_port() -> Result<(), Failed> {
    let lab = format!("{LAB}  other: {{ interfaces: {{ eth0: {{ bridge: br-left }} }} }}\n");
    let ground = ground(&lab, Way::Peer, V4);
    is_fast(&ground, V4);
    let sniffer = netns("left").run(packet_socket)??;
    ground.exchange(1, PAYLOAD);
    let mut frame = next_frame(&sniffer, &ground, V4)?;
    drop(sniffer);
    // No checksum: it was left to the device.
    frame[40..42].fill(0);
    let [left, other] = ["left", "other"].map(|name| netns(name).run(Wire::new));
    let (left, other) = (left??, other??);
    let by_stack = |(wire, frame): (&Wire, &[u8])| -> Result<u64, Failed> {
        let before = forwarded_here(V4);
        wire.send(frame)?;
        assert_eq!(ground.right.recv(&mut [0; PAYLOAD])?, PAYLOAD);
        Ok(forwarded_here(V4) - before)
    };
    datapath::forget_paths(&ground.up.store)?;
    let mut others = frame.clone();
    others[6..12].copy_from_slice(&mac_of("other", "eth0"));
    let (of_left, of_other) = ((&left, frame.as_slice()), (&other, others.as_slice()));
    // By its own address; what bears somebody else's is none of the bridge's interfaces'.
    let liar = (&other, frame.as_slice());
    let asked = [of_left, of_left, of_other, of_other, of_left, liar, liar].map(by_stack);
    let asked = asked.into_iter().collect::<Result<Vec<_>, _>>()?;
    assert_eq!(asked, [1, 0, 1, 0, 0, 1, 1]);
    drop((left, other));
    ground.down();
    Ok(())
}

/// The bridge does not know where the receiver is, and sends what is for it to all.
fn flooded() -> Result<(), Failed> {
    let lab = format!("{LAB}  third: {{ interfaces: {{ eth0: {{ bridge: br-right }} }} }}\n");
    let ground = ground(&lab, Way::Peer, V4);
    is_fast(&ground, V4);
    ip(&["link", "set", "right-eth0", "type", "bridge_slave", "learning", "off"]);
    ip(&["link", "set", "br-right", "type", "bridge", "fdb_flush"]);
    becomes_slow(&ground, V4);
    let before = ground.up.stats()["third/eth0"].rx[Class::Ipv4Udp].packets;
    ground.exchange(50, PAYLOAD);
    assert_eq!(ground.up.stats()["third/eth0"].rx[Class::Ipv4Udp].packets - before, 50);
    ip(&["link", "set", "right-eth0", "type", "bridge_slave", "learning", "on"]);
    // Now the bridge may hear where it is.
    ground.right.send(&[0; PAYLOAD])?;
    is_fast(&ground, V4);
    ground.down();
    Ok(())
}

/// A router with one interface gets packets of a flow and sends them to the host, by the
/// same port: what the host does to them is not done in the router.
fn one_armed() -> Result<(), Failed> {
    let lab = LAB.replace("to: default, via: 10.1.0.254", "to: 10.2.0.0/24, via: 10.1.0.9")
        + "  router:
    router: true
    interfaces:
      eth0: { bridge: br-left, addresses: [10.1.0.9/24] }
      eth1: { bridge: br-right, addresses: [10.2.0.9/24] }
    routes: [{ to: 10.2.0.1/32, via: 10.1.0.254 }]
    sysctls: { net.ipv4.conf.all.send_redirects: '0', net.ipv4.conf.eth0.send_redirects: '0' }
";
    let ground = ground(&lab, Way::Peer, V4);
    is_fast(&ground, V4);
    ground.exchange(PACKETS, PAYLOAD);
    ground.down();
    Ok(())
}

fn xdp() -> Result<(), Failed> {
    let ground = ground(LAB, Way::Xdp, V4);
    ground.exchange(1, PAYLOAD);
    assert_eq!(by_the_stack(&ground, V4, 50), 50);
    ground.down();
    Ok(())
}
