//! The way out through the host, with real packets, as `nft` and `ip` see it.
//!
//! The test's own namespace is the host.

mod ground;

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::net::NetNs;
use nsbpf::net::echo::Echo;
use nsbpf::net::nftables;
use serde_json::Value;

use crate::Test;
use crate::tables::{FIRST, SECOND, nft, the_only, uplinks};
use crate::world::udp;
use ground::{Ground, words};

pub(crate) const TESTS: &[Test] = &[
    ("uplink::the_way_out_by_ipv4", || way_out(V4)),
    ("uplink::the_way_out_by_ipv6", || way_out(V6)),
    ("uplink::between_bridges", between_bridges),
];

/// For what has to happen.
const PATIENCE: Duration = Duration::from_secs(10);
/// For what must not happen.
const SILENCE: Duration = Duration::from_millis(300);

/// Addresses of one family.
#[derive(Clone, Copy)]
struct Family {
    first: &'static str,
    beside: &'static str,
    second: &'static str,
    host: &'static str,
    outside: &'static str,
}

const V4: Family = Family {
    first: "10.1.0.2",
    beside: "10.1.0.3",
    second: "10.2.0.2",
    host: "10.9.0.1",
    outside: "10.9.0.2",
};
const V6: Family = Family {
    first: "fd01::2",
    beside: "fd01::3",
    second: "fd02::2",
    host: "fd09::1",
    outside: "fd09::2",
};

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// The packets that a table counts, by the interface that they were to leave by.
#[track_caller]
fn dropped(table: &str) -> BTreeMap<String, u64> {
    let shown: Value = serde_json::from_str(&nft(&["-j", "list", "table", "inet", table])).unwrap();
    let rules = shown["nftables"].as_array().unwrap().iter().map(|object| &object["rule"]["expr"]);
    rules
        .filter_map(|rule| {
            let packets = rule.get(1)?["counter"]["packets"].as_u64()?;
            assert!(rule[2].get("drop").is_some(), "{rule}");
            Some((rule[0]["match"]["right"].as_str()?.to_owned(), packets))
        })
        .collect()
}

/// Connects, sends something and has it answered; returns who the server sees.
#[track_caller]
fn talk(client: &NetNs, server: &NetNs, address: IpAddr) -> IpAddr {
    let listener = server.run(|| TcpListener::bind((address, 0))).unwrap().unwrap();
    let at = listener.local_addr().unwrap();
    let mut sent = client.run(|| TcpStream::connect_timeout(&at, PATIENCE)).unwrap().unwrap();
    let (mut received, peer) = listener.accept().unwrap();
    for stream in [&sent, &received] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let mut buffer = [0; 4];
    sent.write_all(b"ping").unwrap();
    received.read_exact(&mut buffer).unwrap();
    received.write_all(b"pong").unwrap();
    sent.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"pong");
    peer.ip()
}

/// Pings until it is answered: neighbours may have to be found first.
#[track_caller]
fn ping(from: &NetNs, to: IpAddr) {
    let mut echo = Echo::new(from, to, 0x6e62).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while echo.ping(SILENCE).unwrap().is_none() {
        assert!(Instant::now() < deadline, "{to} does not answer");
    }
}

/// Datagrams that are sent at once.
const DATAGRAMS: u64 = 3;

/// Sends datagrams; returns the socket that they should come to.
#[track_caller]
fn send(from: (&NetNs, IpAddr), to: (&NetNs, IpAddr)) -> UdpSocket {
    let receiver = udp(to.0, to.1);
    receiver.set_read_timeout(Some(PATIENCE)).unwrap();
    let sender = udp(from.0, from.1);
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    for _ in 0..DATAGRAMS {
        sender.send(b"hello").unwrap();
    }
    receiver
}

#[track_caller]
fn pass(from: (&NetNs, IpAddr), to: (&NetNs, IpAddr)) {
    let receiver = send(from, to);
    for _ in 0..DATAGRAMS {
        receiver.recv(&mut [0; 16]).expect("a datagram");
    }
}

/// Sends datagrams until the table has counted each; then none has come.
#[track_caller]
fn are_dropped(from: (&NetNs, IpAddr), to: (&NetNs, IpAddr), table: &str, bridge: &str) {
    let before = dropped(table)[bridge];
    let receiver = send(from, to);
    let deadline = Instant::now() + PATIENCE;
    while dropped(table)[bridge] < before + DATAGRAMS {
        assert!(Instant::now() < deadline, "{table} counted {:?}", dropped(table));
    }
    assert_eq!(dropped(table)[bridge], before + DATAGRAMS);
    receiver.set_nonblocking(true).unwrap();
    let nothing = receiver.recv(&mut [0; 16]);
    assert_eq!(nothing.expect_err("nothing came").kind(), ErrorKind::WouldBlock);
}

fn way_out(family: Family) -> Result<(), Failed> {
    let ground = Ground::new();
    let [inside, host, outside] = [family.first, family.host, family.outside].map(address);
    let refused = |server: &NetNs, at: SocketAddr| {
        let listener = server.run(|| TcpListener::bind(at)).unwrap().unwrap();
        let at = listener.local_addr().unwrap();
        let connected = ground.outside.run(|| TcpStream::connect_timeout(&at, SILENCE)).unwrap();
        connected.is_err_and(|error| error.kind() == ErrorKind::TimedOut)
    };
    let at = SocketAddr::new(inside, 0);
    // With nothing but forwarding everybody reaches everybody, as they are.
    ping(&ground.first, outside);
    ping(&ground.outside, inside);
    assert_eq!(talk(&ground.first, &ground.outside, outside), inside);
    assert_eq!(talk(&ground.outside, &ground.first, inside), outside);

    let table = uplinks("way", &[FIRST]);
    nftables::set(&table)?;
    assert!(the_only().is(&table), "{:?}", the_only());
    assert_eq!(talk(&ground.first, &ground.outside, outside), host);
    // So the outside needs no way to the inside, only to the host.
    words("-n outside route delete default via 10.9.0.1");
    words("-n outside route delete default via fd09::1");
    ping(&ground.first, outside);
    assert_eq!(talk(&ground.first, &ground.outside, outside), host);
    words("-n outside route add default via 10.9.0.1");
    words("-n outside route add default via fd09::1");
    // Who shares the bridge is no outside.
    let beside = address(family.beside);
    assert_eq!(talk(&ground.beside, &ground.first, inside), beside);
    assert_eq!(talk(&ground.first, &ground.beside, beside), inside);
    // The host's own packets to the bridge are not forwarded ones.
    ping(&NetNs::current()?, inside);

    assert_eq!(dropped("nsbpf-way"), [("br1".to_owned(), 0)].into());
    let [from, to] = [(&ground.outside, outside), (&ground.first, inside)];
    are_dropped(from, to, "nsbpf-way", "br1");
    assert!(refused(&ground.first, at));
    assert!(dropped("nsbpf-way")["br1"] > DATAGRAMS);
    // The other bridge is none of this lab's.
    ping(&ground.outside, address(family.second));

    nftables::delete("nsbpf-way")?;
    assert_eq!(nft(&["list", "ruleset"]), "");
    pass(from, to);
    ground.down();
    Ok(())
}

fn between_bridges() -> Result<(), Failed> {
    let ground = Ground::new();
    // Of one lab: all passes, both ways.
    nftables::set(&uplinks("both", &[FIRST, SECOND]))?;
    for family in [V4, V6] {
        let [first, second] = [family.first, family.second].map(address);
        ping(&ground.first, second);
        ping(&ground.second, first);
        talk(&ground.first, &ground.second, second);
        talk(&ground.second, &ground.first, first);
    }
    assert!(dropped("nsbpf-both").values().all(|packets| *packets == 0));
    // Of two labs: each is the other's outside.
    nftables::delete("nsbpf-both")?;
    nftables::set(&uplinks("one", &[FIRST]))?;
    nftables::set(&uplinks("two", &[SECOND]))?;
    for family in [V4, V6] {
        let [first, second] = [family.first, family.second].map(address);
        let [first, second] = [(&ground.first, first), (&ground.second, second)];
        are_dropped(first, second, "nsbpf-two", "br2");
        are_dropped(second, first, "nsbpf-one", "br1");
    }
    assert_eq!(dropped("nsbpf-one"), [("br1".to_owned(), 6)].into());
    assert_eq!(dropped("nsbpf-two"), [("br2".to_owned(), 6)].into());
    let found = nftables::list()?;
    assert_eq!(
        found.iter().map(|table| &table.name).collect::<Vec<_>>(),
        ["nsbpf-one", "nsbpf-two"]
    );
    nftables::delete("nsbpf-one")?;
    nftables::delete("nsbpf-two")?;
    ground.down();
    Ok(())
}
