//! The way out through the host, with real packets, as `nft` and `ip` see it.
//!
//! The test's own namespace is the host: a bridge with two namespaces behind it,
//! one with one, and a veth to the one outside.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::net::NetNs;
use nsbpf::net::echo::Echo;
use nsbpf::net::nftables::{self, Found, Table, TableError};
use rustix::mount::{UnmountFlags, unmount};
use serde_json::Value;

use crate::Test;
use crate::forwarding::write;
use crate::world::{ip, netns, udp};

pub(crate) const TESTS: &[Test] = &[
    ("uplink::the_way_out_by_ipv4", || way_out(V4)),
    ("uplink::the_way_out_by_ipv6", || way_out(V6)),
    ("uplink::between_bridges", between_bridges),
    ("uplink::a_table_is_what_nft_shows", shown),
    ("uplink::a_table_that_others_changed_is_noticed", drift),
    ("uplink::a_table_of_others_stays", foreign),
    ("uplink::a_busy_rule_set", busy),
    ("uplink::many_subnets", many),
];

/// Why a test of these cannot run here.
pub(crate) fn why_not(name: &str) -> Option<&'static str> {
    let is_ours = TESTS.iter().any(|(ours, _)| *ours == name);
    let has_nft = || Command::new("nft").arg("-V").output().is_ok_and(|nft| nft.status.success());
    (is_ours && !has_nft()).then_some("needs nftables")
}

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

const NAMESPACES: [&str; 4] = ["first", "beside", "second", "outside"];

/// Two bridges on the host, namespaces behind them, and one outside.
struct Ground {
    first: NetNs,
    beside: NetNs,
    second: NetNs,
    outside: NetNs,
}

impl Ground {
    fn new() -> Self {
        for bridge in ["br1", "br2"] {
            words(&format!("link add {bridge} type bridge"));
        }
        for (namespace, host_end, bridge, subnet, host) in [
            ("first", "port1", Some("br1"), "1", "2"),
            ("beside", "port3", Some("br1"), "1", "3"),
            ("second", "port2", Some("br2"), "2", "2"),
            ("outside", "out", None, "9", "2"),
        ] {
            let on_host = bridge.unwrap_or(host_end);
            for command in [
                format!("netns add {namespace}"),
                format!("link add {host_end} type veth peer name eth0 netns {namespace}"),
            ] {
                words(&command);
            }
            if let Some(bridge) = bridge {
                words(&format!("link set {host_end} master {bridge}"));
                words(&format!("link set {host_end} up"));
            }
            for command in [
                format!("link set {on_host} up"),
                format!("address replace 10.{subnet}.0.1/24 dev {on_host}"),
                format!("address replace fd0{subnet}::1/64 dev {on_host} nodad"),
                format!("-n {namespace} link set lo up"),
                format!("-n {namespace} link set eth0 up"),
                format!("-n {namespace} address add 10.{subnet}.0.{host}/24 dev eth0"),
                format!("-n {namespace} address add fd0{subnet}::{host}/64 dev eth0 nodad"),
                format!("-n {namespace} route add default via 10.{subnet}.0.1"),
                format!("-n {namespace} route add default via fd0{subnet}::1"),
            ] {
                words(&command);
            }
        }
        for switch in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            write(switch, "1");
        }
        // Where the kernel has it, frames that are only bridged pass the tables too.
        for switch in ["iptables", "ip6tables"] {
            let file = format!("bridge/bridge-nf-call-{switch}");
            if Path::new("/proc/sys/net").join(&file).exists() {
                write(&file, "1");
            }
        }
        let [first, beside, second, outside] = NAMESPACES.map(netns);
        Self { first, beside, second, outside }
    }

    fn down(self) {
        drop(self);
        for namespace in NAMESPACES {
            words(&format!("netns delete {namespace}"));
        }
        // The other ends go with the namespaces, some time after.
        for link in ["port1", "port2", "port3", "out", "br1", "br2"] {
            let _ = Command::new("ip").args(["link", "delete", link]).output();
        }
        // `ip netns` made it a mount.
        unmount("/run/netns", UnmountFlags::DETACH).expect("unmount /run/netns");
    }
}

#[track_caller]
fn words(command: &str) {
    ip(&command.split(' ').collect::<Vec<_>>());
}

/// Runs `nft` and returns what it prints.
#[track_caller]
fn nft(arguments: &[&str]) -> String {
    let output = Command::new("nft").args(arguments).output().expect("start nft");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "nft {}: {said}", arguments.join(" "));
    String::from_utf8(output.stdout).expect("nft prints UTF-8")
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

fn uplinks<'a>(lab: &str, uplinks: &[(&'a str, &'a [&str])]) -> Table {
    let subnets = |texts: &[&str]| -> Vec<_> {
        texts.iter().map(|text| text.parse().expect("a subnet")).collect()
    };
    Table::new(lab, uplinks.iter().map(|(bridge, texts)| (*bridge, subnets(texts))))
}

const FIRST: (&str, &[&str]) = ("br1", &["10.1.0.0/24", "fd01::/64"]);
const SECOND: (&str, &[&str]) = ("br2", &["10.2.0.0/24", "fd02::/64"]);

#[track_caller]
fn the_only() -> Found {
    let found: [Found; 1] = nftables::list().expect("list tables").try_into().expect("one table");
    let [found] = found;
    found
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

const SHOWN: &str = r#"table inet nsbpf-shown {
	comment "nsbpf:shown"
	chain forward {
		type filter hook forward priority filter; policy accept;
		iifname "br1" accept
		iifname "fifteen-letters" accept
		oifname "br1" ct state established,related accept
		oifname "br1" counter packets 0 bytes 0 drop
		oifname "fifteen-letters" ct state established,related accept
		oifname "fifteen-letters" counter packets 0 bytes 0 drop
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.1.0.0/24 oifname != "br1" masquerade
		ip6 saddr fd01::/64 oifname != "br1" masquerade
		ip saddr 10.5.0.7 oifname != "fifteen-letters" masquerade
		ip saddr 10.6.4.0/22 oifname != "fifteen-letters" masquerade
	}
}
"#;

fn shown() -> Result<(), Failed> {
    assert_eq!(nftables::list()?, []);
    // Addresses of hosts are as good as those of networks.
    let second: (&str, &[&str]) = ("fifteen-letters", &["10.5.0.7/32", "10.6.5.1/22"]);
    let table = uplinks("shown", &[("br1", &["10.1.0.9/24", "fd01::9/64"]), second]);
    for _ in 0..2 {
        nftables::set(&table)?;
        assert_eq!(nft(&["list", "ruleset"]), SHOWN);
        assert!(the_only().is(&table), "{:?}", the_only());
        assert!(the_only().is_ours());
    }
    // Another content takes its place, and nothing of the old one stays.
    let other = uplinks("shown", &[("br2", &["10.2.0.0/24"])]);
    assert!(!the_only().is(&other));
    nftables::set(&other)?;
    assert!(the_only().is(&other) && !the_only().is(&table));
    assert!(!nft(&["list", "ruleset"]).contains("br1"));
    // A table whose bridges have no subnets, and one without bridges.
    for uplinks in [uplinks("shown", &[("br3", &[])]), uplinks("shown", &[])] {
        nftables::set(&uplinks)?;
        assert!(the_only().is(&uplinks), "{:?}", the_only());
    }
    for _ in 0..2 {
        nftables::delete("nsbpf-shown")?;
        assert_eq!(nft(&["list", "ruleset"]), "");
    }
    assert_eq!(nftables::list()?, []);
    Ok(())
}

/// A command of `nft`, and what stands behind the table.
type Change<'a> = (&'a str, Box<dyn Fn() -> Vec<String> + 'a>);

fn drift() -> Result<(), Failed> {
    const OF: [&str; 2] = ["inet", "nsbpf-drift"];
    let table = uplinks("drift", &[FIRST, SECOND]);
    let handle = |rule: &str| {
        let listed = nft(&["-a", "list", "table", OF[0], OF[1]]);
        let line = listed.lines().find(|line| line.contains(rule)).expect("that rule").to_owned();
        line.rsplit(' ').next().expect("a handle").to_owned()
    };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let changes: [Change<'_>; 8] = [
        ("flush chain", Box::new(|| words("forward"))),
        ("flush chain", Box::new(|| words("postrouting"))),
        ("add rule", Box::new(|| words("forward oifname br7 accept"))),
        ("add chain", Box::new(|| words("more"))),
        ("delete rule", Box::new(|| words(&format!("forward handle {}", handle("drop"))))),
        (
            "replace rule",
            Box::new(|| {
                let handle = handle("ip saddr 10.1.0.0/24");
                words(&format!("postrouting handle {handle} ip saddr 10.1.0.0/16 masquerade"))
            }),
        ),
        (
            "replace rule",
            Box::new(|| words(&format!("forward handle {} oifname br1 accept", handle("drop")))),
        ),
        ("add table", Box::new(|| words("{ flags dormant ; }"))),
    ];
    for (verb, what) in changes {
        nftables::set(&table)?;
        assert!(the_only().is(&table));
        let what = what();
        let mut arguments: Vec<&str> = verb.split(' ').chain(OF).collect();
        arguments.extend(what.iter().map(String::as_str));
        nft(&arguments);
        let found = the_only();
        assert!(!found.is(&table), "{}", arguments.join(" "));
        assert!(!found.intact || found.uplinks != table.uplinks);
        assert!(found.is_ours(), "it is still to be taken away");
    }
    nftables::set(&table)?;
    assert!(the_only().is(&table));
    nftables::delete(&table.name)?;
    assert_eq!(nft(&["list", "ruleset"]), "");
    Ok(())
}

fn foreign() -> Result<(), Failed> {
    let table = uplinks("foreign", &[FIRST]);
    // Neither the name alone nor another's comment makes it ours.
    for (add, mark) in [
        ("add table inet nsbpf-foreign", None),
        ("add table inet nsbpf-foreign { comment \"mine\" ; }", Some("mine")),
    ] {
        nft(&[add]);
        let before = nft(&["list", "ruleset"]);
        let found = the_only();
        assert!(!found.is_ours() && found.mark.as_deref() == mark, "{found:?}");
        let taken = |error| matches!(error, TableError::Foreign(name) if name == "nsbpf-foreign");
        assert!(nftables::set(&table).is_err_and(taken));
        assert!(nftables::delete(&table.name).is_err_and(taken));
        assert_eq!(nft(&["list", "ruleset"]), before);
        nft(&["delete", "table", "inet", "nsbpf-foreign"]);
    }
    // One of another family, or of another name, is no matter.
    nft(&["add", "table", "ip", "nsbpf-foreign"]);
    nft(&["add", "table", "inet", "mine"]);
    let before = nft(&["list", "ruleset"]);
    assert_eq!(nftables::list()?, []);
    nftables::set(&table)?;
    assert!(the_only().is(&table));
    nftables::delete(&table.name)?;
    assert_eq!(nft(&["list", "ruleset"]), before);
    // One of ours under another name is seen, so that it can be taken away.
    nft(&["add table inet renamed { comment \"nsbpf:lost\" ; }"]);
    assert!(the_only().is_ours());
    nftables::delete("renamed")?;
    assert_eq!(nft(&["list", "ruleset"]), before);
    Ok(())
}

/// Others change rules all the while.
fn busy() -> Result<(), Failed> {
    let table = uplinks("busy", &[FIRST, SECOND]);
    let others = NetNs::current()?;
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            others.run(|| {
                let mut rounds = 0;
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    nft(&["add table inet other; delete table inet other"]);
                    rounds += 1;
                }
                rounds
            })
        });
        let result = (0..50).try_for_each(|_| {
            nftables::set(&table)?;
            assert!(the_only().is(&table));
            nftables::delete(&table.name)
        });
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        let rounds = other.join().expect("the other thread")?;
        result?;
        assert!(rounds > 1, "nobody else changed anything");
        Ok::<(), Failed>(())
    })?;
    assert_eq!(nft(&["list", "ruleset"]), "");
    Ok(())
}

/// More than one datagram of answers.
fn many() -> Result<(), Failed> {
    let texts: Vec<String> = (0..300).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let table = uplinks("many", &[("br1", &texts)]);
    nftables::set(&table)?;
    assert!(the_only().is(&table));
    assert_eq!(nft(&["list", "ruleset"]).matches("masquerade").count(), 300);
    nftables::delete(&table.name)?;
    Ok(())
}
