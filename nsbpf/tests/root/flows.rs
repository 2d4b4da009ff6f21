//! Flows: what `nsbpf flows` tells against what sockets say.

mod crowd;
mod flood;
mod many;
mod tcp;

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::net::echo::Echo;
use nsbpf::plan::Settings;
use nsbpf::state::IngressHook;
use nsbpf_common::stats::Way;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde_json::{Value, json};

use crate::Test;
use crate::command::{ended, nsbpf, ran};
use crate::engine::settings;
use crate::truth::{Family, Ground, V4, V6, grown, sockets};
use crate::world::{netns, udp};

pub(crate) const TESTS: &[Test] = &[
    ("flows::udp_by_peer", || udp_is_exact(IngressHook::Tc, None)),
    ("flows::udp_by_the_bridge", || udp_is_exact(IngressHook::Tc, Some(Way::Bridge))),
    ("flows::udp_by_redirect", || udp_is_exact(IngressHook::Tc, Some(Way::Redirect))),
    ("flows::udp_under_xdp", || udp_is_exact(IngressHook::Xdp, None)),
    ("flows::an_echo_is_one_flow", echo),
    ("flows::the_host_has_flows_too", host),
    ("flows::a_pair_without_a_bridge", pair),
    ("flows::a_router_is_crossed_twice", router),
    ("flows::two_processors_add_up", two_processors),
    ("flows::who_meet_at_a_place_add_up", crowd::share_places),
    ("flows::counts_never_go_back", crowd::never_go_back),
    ("flows::a_table_is_for_people", table),
    ("flows::rates_are_those_since_the_last_look", rates),
    ("flows::what_cannot_be_shown_says_why", refusals),
    ("flows::a_connection_is_followed", tcp::followed),
    ("flows::a_connection_is_followed_under_xdp", tcp::followed_under_xdp),
    ("flows::a_connection_may_begin_anew", tcp::begins_anew),
    ("flows::a_flood_evicts_nobody", flood::evicts_nobody),
    ("flows::every_way_to_read_tells_the_same", many::ways_to_read),
    ("flows::what_settles_meanwhile_is_told_once", many::settling),
    ("flows::a_million_are_read", many::a_million),
];

/// Two namespaces and a host that has an address.
const LAB: &str = "
name: flows
bridges: { br0: { addresses: [10.0.0.254/24, 'fd00::fe/64'] } }
namespaces:
  a: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] } } }
  b: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.2/24, 'fd00::2/64'] } } }
";
const PATIENCE: Duration = Duration::from_secs(5);

fn ground(ingress: IngressHook) -> Ground {
    Ground::with(LAB, &settings(ingress))
}

/// What `nsbpf flows` tells of the lab, as JSON.
#[track_caller]
fn told(arguments: &[&str]) -> Value {
    let told = ran(&[&["flows", "flows", "--format", "json"], arguments].concat());
    serde_json::from_str(&told).expect("a JSON object")
}

#[track_caller]
fn listed(arguments: &[&str]) -> Vec<Value> {
    told(arguments)["flows"].as_array().expect("a list").clone()
}

/// The flow of that filter, of which there is one.
#[track_caller]
fn only(arguments: &[&str]) -> Value {
    let mut flows = listed(arguments);
    assert_eq!(flows.len(), 1, "{flows:#?}");
    flows.remove(0)
}

/// Packets and bytes of a direction.
#[track_caller]
fn sum(direction: &Value) -> (u64, u64) {
    let number = |name: &str| direction[name].as_u64().expect(name);
    (number("packets"), number("bytes"))
}

fn of_port(socket: SocketAddr) -> [String; 2] {
    ["--port".to_owned(), socket.port().to_string()]
}

#[track_caller]
fn only_of(socket: SocketAddr) -> Value {
    let port = of_port(socket);
    only(&port.each_ref().map(String::as_str))
}

fn udp_is_exact(ingress: IngressHook, fastpath: Option<Way>) -> Result<(), Failed> {
    let ground = Ground::with(LAB, &Settings { fastpath, ..settings(ingress) });
    for family in [V4, V6] {
        udp_both_ways(&ground, family)?;
    }
    ground.down();
    Ok(())
}

fn udp_both_ways(ground: &Ground, family: Family) -> Result<(), Failed> {
    const COUNT: u64 = 100;
    const FIRST: u64 = 5;
    let [a, b] = sockets(ground, family);
    let mut payloads = [FIRST; 2];
    for (number, (from, to)) in [(&a, &b), (&b, &a)].into_iter().enumerate() {
        for payload in 1..=COUNT {
            let payload = payload * (1 + number as u64);
            from.send(&vec![0x6e; payload as usize])?;
            payloads[number] += to.recv(&mut [0; 2048])? as u64;
        }
    }
    let flow = only_of(a.local_addr()?);
    for ((end, socket, address), (of_end, payload)) in
        [("from", &a, family.a), ("to", &b, family.b)]
            .into_iter()
            .zip([("sent", payloads[0]), ("received", payloads[1])])
    {
        let name = if end == "from" { "a" } else { "b" };
        assert_eq!(flow[end]["address"], address);
        assert_eq!(flow[end]["port"], socket.local_addr()?.port());
        assert_eq!(flow[end]["namespace"], name);
        assert_eq!(flow[end]["interface"], format!("{name}/eth0"));
        let packets = COUNT + 1;
        let bytes = payload + packets * family.header_bytes;
        assert_eq!(sum(&flow[of_end]), (packets, bytes), "{flow:#}");
    }
    let told = ["protocol", "domain", "vlan", "icmp", "tcp_state", "handshake_us", "settled"]
        .map(|what| flow[what].clone());
    assert_eq!(json!(told), json!(["udp", "br0", null, null, null, null, true]));
    // Other filters find it too, and those that it is not of do not.
    let (port, host) = (a.local_addr()?.port().to_string(), family.b);
    for (arguments, count) in [
        (["--proto", "udp", "--host", host], 1),
        (["--proto", "17", "--namespace", "b"], 1),
        (["--proto", "tcp", "--host", host], 0),
        (["--host", host, "--host", family.a], 1),
        (["--host", host, "--host", "10.0.0.254"], 0),
        (["--namespace", "a", "--namespace", "b"], 1),
        (["--active", "1h", "--state", "established"], 0),
    ] {
        let filter = [&["--port", &port], arguments.as_slice()].concat();
        assert_eq!(listed(&filter).len(), count, "{filter:?}");
    }
    Ok(())
}

fn echo() -> Result<(), Failed> {
    const COUNT: u64 = 7;
    let ground = ground(IngressHook::Tc);
    for (target, protocol, bytes) in [("10.0.0.2", "icmp", 14 + 20), ("fd00::2", "icmpv6", 14 + 40)]
    {
        let mut echo = Echo::new(&netns("a"), target.parse()?, 7)?;
        for _ in 0..COUNT {
            assert!(echo.ping(PATIENCE)?.is_some());
        }
        let flows = listed(&["--proto", "icmp", "--host", target]);
        let flows: Vec<&Value> =
            flows.iter().filter(|flow| flow["icmp"]["echo_id"].is_u64()).collect();
        let [flow] = flows.as_slice() else { panic!("{flows:#?}") };
        assert_eq!(flow["protocol"], protocol);
        assert_eq!(
            (&flow["from"]["namespace"], &flow["from"]["port"]),
            (&json!("a"), &json!(null))
        );
        assert_eq!(flow["to"]["address"], target);
        let (sent, received) = (sum(&flow["sent"]), sum(&flow["received"]));
        assert_eq!(sent, received);
        assert_eq!(sent.0, COUNT);
        assert!(sent.1 > COUNT * (bytes + 8), "{flow:#}");
    }
    ground.down();
    Ok(())
}

/// Datagrams to and fro. Returns the address of who began.
fn exchange(first: &UdpSocket, second: &UdpSocket, count: u64) -> Result<SocketAddr, Failed> {
    let (from, to) = (first.local_addr()?, second.local_addr()?);
    for socket in [first, second] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    for _ in 0..count {
        first.send_to(&[0x6e; 100], to)?;
        second.recv(&mut [0; 200])?;
        second.send_to(&[0x6e; 50], from)?;
        first.recv(&mut [0; 200])?;
    }
    Ok(from)
}

fn host() -> Result<(), Failed> {
    const COUNT: u64 = 20;
    let ground = ground(IngressHook::Tc);
    for (host, of_b, header_bytes) in
        [("10.0.0.254", "10.0.0.2", V4.header_bytes), ("fd00::fe", "fd00::2", V6.header_bytes)]
    {
        let here = UdpSocket::bind(SocketAddr::new(host.parse()?, 0))?;
        let there = udp(&netns("b"), of_b.parse::<IpAddr>()?);
        let bytes = [100, 50].map(|payload| COUNT * (payload + header_bytes));
        let from = exchange(&here, &there, COUNT)?;
        let flow = only_of(from);
        assert_eq!(
            (&flow["from"]["address"], &flow["to"]["address"]),
            (&json!(host), &json!(of_b))
        );
        assert_eq!(
            (&flow["from"]["interface"], &flow["from"]["namespace"]),
            (&json!("br0"), &json!(null))
        );
        assert_eq!(flow["to"]["namespace"], "b");
        assert_eq!(sum(&flow["sent"]), (COUNT, bytes[0]));
        assert_eq!(sum(&flow["received"]), (COUNT, bytes[1]));
        let again = udp(&netns("b"), of_b.parse::<IpAddr>()?);
        let flow = only_of(exchange(&again, &here, COUNT)?);
        assert_eq!(
            (&flow["from"]["namespace"], &flow["to"]["interface"]),
            (&json!("b"), &json!("br0"))
        );
        assert_eq!(sum(&flow["sent"]), (COUNT, bytes[0]));
        assert_eq!(sum(&flow["received"]), (COUNT, bytes[1]));
    }
    ground.down();
    Ok(())
}

fn pair() -> Result<(), Failed> {
    const COUNT: u64 = 20;
    let ground = Ground::with(
        "name: flows\nnamespaces:\n  \
         a: { interfaces: { eth0: { peer: b/eth0, addresses: [10.0.0.1/24] } } }\n  \
         b: { interfaces: { eth0: { peer: a/eth0, addresses: [10.0.0.2/24] } } }\n",
        &settings(IngressHook::Tc),
    );
    let [a, b] = [("a", "10.0.0.1"), ("b", "10.0.0.2")]
        .map(|(namespace, ip)| udp(&netns(namespace), ip.parse().expect("an address")));
    let flow = only_of(exchange(&b, &a, COUNT)?);
    assert_eq!(flow["domain"], "a/eth0 – b/eth0");
    assert_eq!((&flow["from"]["namespace"], &flow["to"]["namespace"]), (&json!("b"), &json!("a")));
    assert_eq!(sum(&flow["sent"]), (COUNT, COUNT * (100 + V4.header_bytes)));
    assert_eq!(sum(&flow["received"]), (COUNT, COUNT * (50 + V4.header_bytes)));
    drop((a, b));
    ground.down();
    Ok(())
}

/// One flow on each side of the router: each says whose addresses they are, and by which
/// ports the packets come and go.
fn router() -> Result<(), Failed> {
    const COUNT: u64 = 20;
    let ground = Ground::with(
        "name: flows\nbridges: { br1: {}, br2: {} }\nnamespaces:\n  \
         a: { interfaces: { eth0: { bridge: br1, addresses: [10.1.0.1/24] } }, \
         routes: [{ to: default, via: 10.1.0.254 }] }\n  \
         b: { interfaces: { eth0: { bridge: br2, addresses: [10.2.0.1/24] } }, \
         routes: [{ to: default, via: 10.2.0.254 }] }\n  \
         r: { router: true, interfaces: { eth1: { bridge: br1, addresses: [10.1.0.254/24] }, \
         eth2: { bridge: br2, addresses: [10.2.0.254/24] } } }\n",
        &settings(IngressHook::Tc),
    );
    let [a, b] = [("a", "10.1.0.1"), ("b", "10.2.0.1")]
        .map(|(namespace, ip)| udp(&netns(namespace), ip.parse().expect("an address")));
    let from = exchange(&a, &b, COUNT)?;
    for (bridge, vias) in [("br1", ["a/eth0", "r/eth1"]), ("br2", ["r/eth2", "b/eth0"])] {
        let flows = listed(&of_port(from).each_ref().map(String::as_str));
        assert_eq!(flows.len(), 2, "{flows:#?}");
        let flow = flows.iter().find(|flow| flow["domain"] == bridge).ok_or("a flow there")?;
        assert_eq!([&flow["from"]["interface"], &flow["to"]["interface"]], ["a/eth0", "b/eth0"]);
        assert_eq!([&flow["from"]["via"], &flow["to"]["via"]], vias);
        assert_eq!(sum(&flow["sent"]), (COUNT, COUNT * (100 + V4.header_bytes)));
        assert_eq!(sum(&flow["received"]), (COUNT, COUNT * (50 + V4.header_bytes)));
    }
    assert_eq!(listed(&["--namespace", "r", "--proto", "udp"]).len(), 2);
    drop((a, b));
    ground.down();
    Ok(())
}

/// Each from a processor of its own, by one socket.
fn two_processors() -> Result<(), Failed> {
    const COUNT: u64 = 50_000;
    let ground = ground(IngressHook::Tc);
    let [a, b] = sockets(&ground, V4);
    let before = (ground.read()[0].tx[V4.class], sum(&only_of(a.local_addr()?)["sent"]));
    std::thread::scope(|scope| {
        let threads = [0, 1].map(|processor| {
            let a = &a;
            scope.spawn(move || -> std::io::Result<()> {
                let mut processors = CpuSet::new();
                processors.set(processor);
                sched_setaffinity(None, &processors)?;
                (0..COUNT).try_for_each(|_| a.send(&[0x6e; 10]).map(drop))
            })
        });
        threads.into_iter().try_for_each(|thread| thread.join().expect("a sender"))
    })?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        // What the kernel drops before the hook is in neither.
        let counted = grown(before.0, ground.read()[0].tx[V4.class]);
        let (packets, bytes) = sum(&only_of(a.local_addr()?)["sent"]);
        let told = (packets - before.1.0, bytes - before.1.1);
        if told == (counted.packets, counted.bytes) {
            assert!(told.0 > COUNT, "hardly anything came: {told:?}");
            break;
        }
        assert!(Instant::now() < deadline, "{told:?} told, {counted:?} counted");
    }
    drop((a, b));
    ground.down();
    Ok(())
}

fn table() -> Result<(), Failed> {
    let ground = ground(IngressHook::Tc);
    let [a, b] = sockets(&ground, V4);
    let shown = ran(&["flows", "flows", "--proto", "udp"]);
    let line = shown.lines().find(|line| line.starts_with(" udp ")).ok_or("a row")?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let [from, to] = [a.local_addr()?, b.local_addr()?].map(|address| address.to_string());
    assert_eq!(words[..11], ["udp", &from, "a", &to, "b", "br0", "1", "47", "B", "1", "47"]);
    assert!(shown.contains("\nflows: "), "{shown}");
    assert!(shown.contains(" settled flows of 65536 that there is room for, "), "{shown}");
    let more = ran(&["flows", "flows", "--limit", "0"]);
    assert!(more.contains(" more: `--all`, or `--limit`, shows them)"), "{more}");
    drop((a, b));
    ground.down();
    Ok(())
}

fn rates() -> Result<(), Failed> {
    let ground = ground(IngressHook::Tc);
    let [a, b] = sockets(&ground, V4);
    let port = a.local_addr()?.port().to_string();
    let arguments = ["flows", "flows", "--format", "json", "--watch=20ms", "--port", &port];
    let mut child = nsbpf(&arguments).stdout(Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("a pipe")?).lines();
    let mut next = || -> Result<Value, Failed> {
        let line = lines.next().ok_or("a report")??;
        let report: Value = serde_json::from_str(&line)?;
        Ok(report["flows"][0].clone())
    };
    assert_eq!(next()?["sent"]["bits_per_second"], Value::Null);
    assert_eq!(next()?["received"]["packets_per_second"], 0.0);
    for _ in 0..10 {
        a.send(&[0x6e; 100])?;
        b.recv(&mut [0; 200])?;
    }
    let deadline = Instant::now() + PATIENCE;
    while next()?["sent"]["packets_per_second"] == 0.0 {
        assert!(Instant::now() < deadline, "no rate");
    }
    // A reader that has seen enough ends it.
    drop(lines);
    assert!(child.wait()?.success());
    drop((a, b));
    ground.down();
    Ok(())
}

fn refusals() -> Result<(), Failed> {
    assert!(ended(&["flows", "flows"], 1).err.contains("there is no lab `flows`"));
    let ground = Ground::with(LAB, &Settings { flows: 0, ..settings(IngressHook::Tc) });
    let error = ended(&["flows", "flows"], 1).err;
    assert!(error.contains("it was brought up with `--flows 0`; `nsbpf up`"), "{error}");
    let ground = {
        let lab = crate::engine::lab(LAB);
        ground.up.converge_with(&lab, &settings(IngressHook::Tc));
        ground.renewed()
    };
    let error = ended(&["flows", "flows", "--namespace", "c"], 1).err;
    assert!(error.contains("there is no namespace `c` in the lab `flows`"), "{error}");
    for wrong in [["--proto", "tpc"], ["--host", "here"], ["--state", "open"], ["--port", "70000"]]
    {
        ended(&[&["flows", "flows"], wrong.as_slice()].concat(), 2);
    }
    std::fs::remove_file(ground.up.store.pins().join("NEW_FLOWS"))?;
    let error = ended(&["flows", "flows"], 1).err;
    assert!(error.contains("open map NEW_FLOWS: "), "{error}");
    ground.down();
    Ok(())
}
