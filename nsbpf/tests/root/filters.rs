//! Packet filters and fast paths: which rules are passed by, what is said about it, and
//! that rules take hold all the same.
//!
//! The test's own namespace is the host.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Test;
use crate::command::{ended, ran, run};
use crate::world::{Foreign, netns, reaches, udp};

const LEGACY: &str = "filters::legacy_rules_are_named";
const NAMED: &str = "filters::rules_on_a_bridge_are_named";

pub(crate) const TESTS: &[Test] = &[
    (NAMED, named),
    (LEGACY, legacy),
    ("filters::rules_in_an_adopted_namespace_are_named", adopted),
    ("filters::an_uplink_is_no_rule_on_a_bridge", uplink),
    ("filters::rules_on_a_bridge_are_passed_by", passed_by),
    ("filters::a_rule_on_a_bridge_takes_hold_under_traffic", || takes_hold(BRIDGE, None)),
    ("filters::a_rule_in_a_router_takes_hold_under_traffic", || takes_hold(ROUTER, Some("r"))),
    ("filters::a_router_with_rules_forwards_itself", router),
];

const BRIDGE: &str = "
name: fast
bridges: { br0: {} }
namespaces:
  a: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24] } } }
  b: { interfaces: { eth0: { bridge: br0, addresses: [10.0.1.1/24] } } }
";
const ROUTER: &str = "
name: fast
bridges: { br0: {}, br1: {} }
namespaces:
  a:
    interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24] } }
    routes: [{ to: default, via: 10.0.0.254 }]
  b:
    interfaces: { eth0: { bridge: br1, addresses: [10.0.1.1/24] } }
    routes: [{ to: default, via: 10.0.1.254 }]
  r:
    router: true
    interfaces:
      eth0: { bridge: br0, addresses: [10.0.0.254/24] }
      eth1: { bridge: br1, addresses: [10.0.1.254/24] }
";
const A: &str = "10.0.0.1";
const B: &str = "10.0.1.1";
/// How long a path is known (`PATH_TICKS`), and what a machine under load adds.
const STALE: Duration = Duration::from_millis(5500);
const PATIENCE: Duration = Duration::from_secs(10);
const CALLS: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// What a test takes that is not there.
pub(crate) fn why_not(name: &str) -> Option<&'static str> {
    let lacks = |program: &str| {
        !Command::new(program).arg("-V").output().is_ok_and(|done| done.status.success())
    };
    if !TESTS.iter().any(|(ours, _)| *ours == name) {
        return None;
    }
    match name {
        NAMED | LEGACY if !Path::new(CALLS).exists() => Some("needs br_netfilter"),
        LEGACY if lacks("iptables-legacy") => Some("needs iptables"),
        LEGACY if !Path::new("/proc/net/ip_tables_names").exists() => {
            Some("needs a kernel with legacy iptables")
        }
        _ if lacks("nft") => Some("needs nftables"),
        _ => None,
    }
}

/// Runs a program where the test is, or in a namespace of `ip netns`.
#[track_caller]
fn execute(inside: Option<&str>, words: &str) -> String {
    let mut words: Vec<&str> = words.split(' ').collect();
    if let Some(name) = inside {
        words.splice(0..0, ["ip", "netns", "exec", name]);
    }
    let done = Command::new(words[0]).args(&words[1..]).output().expect("start it");
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// A base chain without rules.
#[track_caller]
fn chain(inside: Option<&str>, family: &str) {
    execute(inside, &format!("nft add table {family} t"));
    let hook = "{ type filter hook forward priority filter ; policy accept ; }";
    execute(inside, &format!("nft add chain {family} t c {hook}"));
}

/// Packets that the rules of that chain counted.
#[track_caller]
fn counted(inside: Option<&str>, family: &str) -> u64 {
    let shown = execute(inside, &format!("nft -j list chain {family} t c"));
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let objects = shown["nftables"].as_array().expect("objects").iter();
    let rules = objects.filter_map(|object| object["rule"]["expr"].as_array()).flatten();
    rules.filter_map(|expression| expression["counter"]["packets"].as_u64()).sum()
}

/// A lab in a file.
struct File(tempfile::NamedTempFile);

impl File {
    fn new(text: &str) -> Self {
        let file = tempfile::NamedTempFile::new().expect("make a file");
        fs::write(&file, text).expect("write a lab");
        Self(file)
    }

    /// Brings the lab up; returns what it warns of.
    #[track_caller]
    fn up(&self, arguments: &[&str]) -> String {
        let path = self.0.path().to_str().expect("a path");
        ended(&[&["up", path], arguments].concat(), 0).err
    }
}

/// Both namespaces in one subnet, on a bridge.
fn bridged() -> File {
    File::new(&BRIDGE.replace("/24", "/16"))
}

/// The line of `nsbpf doctor` about fast paths.
#[track_caller]
fn doctor() -> String {
    let findings = run(&["doctor"]).out;
    let line = findings.lines().find(|line| line.contains(" fast paths: "));
    line.expect("a finding about fast paths").to_owned()
}

fn named() -> Result<(), Failed> {
    fs::write(CALLS, "0")?;
    let lab = bridged();
    assert_eq!(lab.up(&[]), "");
    assert!(doctor().starts_with("ok "), "{}", doctor());
    ran(&["down", "--all"]);
    // A chain without rules decides nothing, nor do those of other hooks; and what is
    // routed only is not passed by.
    chain(None, "bridge");
    chain(None, "ip");
    execute(None, "nft add rule ip t c counter");
    execute(None, "nft add chain bridge t i { type filter hook input priority 0 ; }");
    execute(None, "nft add rule bridge t i counter");
    assert_eq!(lab.up(&[]), "");
    assert!(doctor().starts_with("ok "), "{}", doctor());
    ran(&["down", "--all"]);
    execute(None, "nft add rule bridge t c counter");
    execute(None, "nft add rule bridge t c counter");
    let warning = "warning: fast: packets between its ports pass these rules of the host by: \
        nftables bridge t c (2 rules); `fastpath: bridge` has them looked at\n";
    assert_eq!(lab.up(&[]), warning);
    assert_eq!(lab.up(&[]), "", "nothing was changed");
    assert!(doctor().starts_with("warning "), "{}", doctor());
    assert!(doctor().ends_with(": nftables bridge t c (2 rules)"), "{}", doctor());
    assert_eq!(ended(&["fastpath", "set", "fast", "bridge"], 0).err, "");
    assert_eq!(ended(&["fastpath", "set", "fast", "redirect"], 0).err, warning);
    ran(&["down", "--all"]);
    assert_eq!(lab.up(&["--fastpath", "bridge"]), "");
    ran(&["down", "--all"]);
    // As Docker leaves a host, but that it lets the lab's bridge pass.
    fs::write(CALLS, "1")?;
    execute(None, "nft delete table bridge t");
    execute(None, "nft chain ip t c { policy drop ; }");
    let told = lab.up(&[]);
    assert!(told.contains(": nftables ip t c (1 rule, policy drop);"), "{told}");
    assert!(doctor().ends_with(": nftables ip t c (1 rule, policy drop)"), "{}", doctor());
    ran(&["down", "--all"]);
    Ok(())
}

fn legacy() -> Result<(), Failed> {
    fs::write(CALLS, "1")?;
    let lab = bridged();
    execute(None, "iptables-legacy -t nat -L");
    execute(None, "iptables-legacy -t filter -L");
    assert_eq!(lab.up(&[]), "", "tables without rules");
    ran(&["down", "--all"]);
    execute(None, "iptables-legacy -A FORWARD -i br0 -j ACCEPT");
    execute(None, "iptables-legacy -A FORWARD -p tcp --dport 80 -j ACCEPT");
    execute(None, "iptables-legacy -P FORWARD DROP");
    execute(None, "iptables-legacy -t nat -A PREROUTING -p tcp -j ACCEPT");
    // Not one that forwarded packets pass.
    execute(None, "iptables-legacy -A INPUT -j ACCEPT");
    let told = lab.up(&[]);
    for chain in [
        "iptables-legacy filter FORWARD (2 rules, policy drop)",
        "iptables-legacy nat PREROUTING (1 rule)",
    ] {
        assert!(told.contains(chain) && doctor().contains(chain), "{told}{}", doctor());
    }
    assert!(!told.contains("INPUT") && !told.contains("POSTROUTING"), "{told}");
    ran(&["down", "--all"]);
    fs::write(CALLS, "0")?;
    assert_eq!(lab.up(&[]), "");
    ran(&["down", "--all"]);
    Ok(())
}

fn adopted() -> Result<(), Failed> {
    let foreign = Foreign::new("theirs");
    let inside = Some("theirs");
    let text = BRIDGE.replace("br0: {}", "br0: { namespace: switch }").replace("/24", "/16");
    let lab = File::new(&format!("{text}  switch: {{ netns: theirs }}\n"));
    assert_eq!(lab.up(&[]), "");
    ran(&["down", "--all"]);
    chain(inside, "bridge");
    execute(inside, "nft add rule bridge t c counter");
    let told = lab.up(&[]);
    assert!(told.contains("rules of namespace switch by: nftables bridge t c (1 rule);"), "{told}");
    ran(&["down", "--all"]);
    drop(foreign);
    Ok(())
}

/// The table of a lab with a way out sees frames between its ports where bridges call
/// it, and accepts them.
fn uplink() -> Result<(), Failed> {
    let text = BRIDGE.replace("br0: {}", "br0: { uplink: true, addresses: [10.0.255.254/24] }");
    let lab = File::new(&text.replace("/24", "/16"));
    assert_eq!(lab.up(&[]), "");
    assert!(execute(None, "nft list tables").contains("nsbpf-fast"));
    assert!(doctor().starts_with("ok "), "{}", doctor());
    // What others put there is theirs.
    if Path::new(CALLS).exists() {
        execute(None, "nft insert rule inet nsbpf-fast forward counter");
        assert!(doctor().contains("nftables inet nsbpf-fast forward"), "{}", doctor());
    }
    ran(&["down", "--all"]);
    Ok(())
}

/// A sender in `a`, and a receiver in `b`.
fn sockets() -> (UdpSocket, UdpSocket, SocketAddr) {
    let [from, to]: [IpAddr; 2] = [A, B].map(|text| text.parse().expect("an address"));
    let (sender, receiver) = (udp(&netns("a"), from), udp(&netns("b"), to));
    receiver.set_read_timeout(Some(Duration::from_millis(20))).expect("set a time-out");
    let target = receiver.local_addr().expect("an address");
    (sender, receiver, target)
}

/// How many of so many datagrams arrive.
fn arrive(count: u64) -> u64 {
    let (sender, receiver, target) = sockets();
    let arrived = (0..count).filter(|_| {
        sender.send_to(b"hello", target).expect("send");
        receiver.recv(&mut [0; 16]).is_ok()
    });
    arrived.count() as u64
}

/// What is told apart by less than the bridge looks at goes the way of all else between
/// the two stations; what is dropped from the first frame on is never learned.
fn passed_by() -> Result<(), Failed> {
    let lab = bridged();
    chain(None, "bridge");
    execute(None, "nft add rule bridge t c ip protocol udp counter drop");
    lab.up(&[]);
    // Pings are let through, and tell the way for datagrams.
    assert!(reaches("a", B));
    assert!(arrive(20) > 0, "the rule was not passed by");
    lab.up(&["--fastpath", "bridge"]);
    let before = counted(None, "bridge");
    assert!(reaches("a", B));
    assert_eq!(arrive(20), 0);
    assert_eq!(counted(None, "bridge") - before, 20);
    ran(&["down", "--all"]);
    execute(None, "nft flush chain bridge t c");
    execute(None, "nft add rule bridge t c ether type ip counter drop");
    lab.up(&[]);
    assert!(!reaches("a", B));
    let before = counted(None, "bridge");
    assert_eq!(arrive(20), 0);
    assert_eq!(counted(None, "bridge") - before, 20);
    ran(&["down", "--all"]);
    Ok(())
}

/// A rule comes while datagrams travel by a way that is known: it is passed by at first,
/// takes hold when the way has to be asked for again, and none is learned then.
fn takes_hold(lab: &str, inside: Option<&str>) -> Result<(), Failed> {
    let (lab, family) = match inside {
        None => (bridged(), "bridge"),
        Some(_) => (File::new(lab), "ip"),
    };
    lab.up(&[]);
    assert!(reaches("a", B));
    assert!(arrive(5) > 0);
    let (sender, receiver, target) = sockets();
    let deadline = Instant::now() + PATIENCE;
    let send = || {
        sender.send_to(b"hello", target).expect("send");
        receiver.recv(&mut [0; 16]).is_ok()
    };
    while !send() {
        assert!(Instant::now() < deadline, "nothing arrives");
    }
    chain(inside, family);
    execute(inside, &format!("nft add rule {family} t c ip daddr {B} counter drop"));
    let start = Instant::now();
    let mut last = None;
    while start.elapsed() < STALE + Duration::from_secs(3) {
        if send() {
            last = Some(start.elapsed());
        }
    }
    let last = last.expect("the rule was not passed by");
    assert!(last < STALE, "a datagram arrived {last:?} after the rule");
    assert!(counted(inside, family) > 0);
    ran(&["down", "--all"]);
    Ok(())
}

/// Sends a stream from `a` to `b`, which must arrive.
#[track_caller]
fn stream() {
    const BYTES: usize = 1 << 20;
    let target: IpAddr = B.parse().expect("an address");
    let listener = netns("b").run(|| TcpListener::bind(SocketAddr::new(target, 0)));
    let listener = listener.expect("enter a namespace").expect("listen");
    let target = listener.local_addr().expect("an address");
    let connect = || TcpStream::connect_timeout(&target, PATIENCE);
    let mut source = netns("a").run(connect).expect("enter a namespace").expect("connect");
    let (mut sink, _) = listener.accept().expect("accept");
    source.set_write_timeout(Some(PATIENCE)).expect("set a time-out");
    sink.set_read_timeout(Some(PATIENCE)).expect("set a time-out");
    let received = thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            let mut received = Vec::new();
            sink.read_to_end(&mut received).expect("receive a stream");
            received.len()
        });
        source.write_all(&vec![7; BYTES]).expect("send a stream");
        source.shutdown(Shutdown::Write).expect("end a stream");
        receiver.join().expect("receive")
    });
    assert_eq!(received, BYTES);
}

fn router() -> Result<(), Failed> {
    const COUNT: u64 = 50;
    let r = Some("r");
    let lab = File::new(ROUTER);
    let counts = || {
        let before = counted(r, "ip");
        assert_eq!(arrive(COUNT), COUNT);
        counted(r, "ip") - before
    };
    assert_eq!(lab.up(&[]), "");
    assert!(reaches("a", B));
    chain(r, "ip");
    assert_eq!(lab.up(&[]), "", "a chain without rules");
    execute(r, "nft add rule ip t c counter");
    let warning = "warning: fast: router r has rules, and so forwards each packet itself: \
        nftables ip t c (1 rule)\n";
    assert_eq!(lab.up(&[]), warning);
    assert_eq!(lab.up(&[]), "", "nothing was changed");
    assert_eq!(counts(), COUNT);
    // It sees all of a connection, or drops the rest of it.
    execute(r, "nft insert rule ip t c ct state invalid drop");
    stream();
    execute(r, "nft delete table ip t");
    assert_eq!(lab.up(&[]), "");
    ran(&["down", "--all"]);
    Ok(())
}
