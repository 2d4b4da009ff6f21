//! Where a packet is judged: once for each bridge that it crosses, and by the address that
//! it is from where its port does not tell.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use libtest_mimic::Failed;
use nsbpf::net::NetNs;
use nsbpf::plan::Settings;
use nsbpf::state::IngressHook;
use nsbpf_common::stats::Way;

use super::arena::{Arena, by};
use super::sockets::{address, talk};
use crate::engine::settings;
use crate::forwarding::write;
use crate::routed_host;
use crate::truth::set_option;
use crate::world::{Foreign, answers, ip, netns, udp};

/// For what has to happen.
const PATIENCE: Duration = Duration::from_secs(5);
/// For what must not happen.
const SILENCE: Duration = Duration::from_millis(150);

const ROUTED: &str = "name: ends
bridges: { br-left: {}, br-right: {} }
namespaces:
  left:
    interfaces: { eth0: { bridge: br-left, addresses: [10.1.0.1/24, 'fd01::1/64'] } }
    routes: [{ to: default, via: 10.1.0.254 }, { to: default, via: 'fd01::fe' }]
  right:
    interfaces: { eth0: { bridge: br-right, addresses: [10.2.0.1/24, 'fd02::1/64'] } }
    routes: [{ to: default, via: 10.2.0.254 }, { to: default, via: 'fd02::fe' }]
  router:
    router: true
    interfaces:
      left: { bridge: br-left, addresses: [10.1.0.254/24, 'fd01::fe/64'] }
      right: { bridge: br-right, addresses: [10.2.0.254/24, 'fd02::fe/64'] }
";
const PAIR: &str = "name: ends
namespaces:
  left: { interfaces: { eth0: { peer: right/eth0, addresses: [10.1.0.1/24, 'fd01::1/64'] } } }
  right: { interfaces: { eth0: { peer: left/eth0, addresses: [10.1.0.2/24, 'fd01::2/64'] } } }
";
/// Two bridges with the host between them.
fn between_bridges() -> String {
    routed_host::LAB.replace("name: between", "name: ends")
}

/// Addresses of the left, of the right, and of what is between them, on the right.
const FAMILIES: [[&str; 3]; 2] =
    [["10.1.0.1", "10.2.0.1", "10.2.0.254"], ["fd01::1", "fd02::1", "fd02::fe"]];

/// A socket that waits for so long.
fn socket(namespace: &NetNs, at: (IpAddr, u16), patience: Duration) -> UdpSocket {
    let socket = namespace.run(|| UdpSocket::bind(at)).and_then(|it| it).expect("a UDP socket");
    socket.set_read_timeout(Some(patience)).expect("set a timeout");
    socket
}

/// Questions and answers, so many, between sockets of which the other is at a port.
fn ask(near: &UdpSocket, far: &UdpSocket, count: u64) -> Result<(), Failed> {
    near.connect(far.local_addr()?)?;
    for _ in 0..count {
        near.send(&[0x6e; 100])?;
        let (_, asker) = far.recv_from(&mut [0; 200])?;
        far.send_to(&[0x6e; 100], asker)?;
        near.recv(&mut [0; 200])?;
    }
    Ok(())
}

const RULES: [&str; 4] = [
    "{ name: web, from: left, to: right, proto: tcp, ports: 80, action: allow }",
    "{ name: old, from: left, to: right, proto: tcp, ports: 81, action: reject }",
    "{ name: ask, from: left, to: right, proto: udp, ports: 53, action: allow }",
    "{ name: no, from: left, to: right, proto: udp, ports: 54, action: reject }",
];

/// The same of all places that are between two namespaces: who may begin, what the other
/// end may say, what is told of what is rejected, and that each crossing counts.
fn between(arena: &Arena, families: [[&str; 2]; 2], crossings: u64) -> Result<(), Failed> {
    const COUNT: u64 = 30;
    let [left, right] = ["left", "right"].map(netns);
    for [near, far] in families {
        let [of_left, of_right] = [near, far].map(address);
        arena.set("default: deny", &RULES);
        talk(&left, &right, SocketAddr::new(of_right, 80))?;
        let back = talk(&right, &left, SocketAddr::new(of_left, 82)).expect_err("it may not");
        assert_eq!(back.kind(), ErrorKind::TimedOut, "{back}");
        let refused = talk(&left, &right, SocketAddr::new(of_right, 81)).expect_err("it is told");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
        let asking = udp(&left, of_left);
        asking.set_read_timeout(Some(PATIENCE))?;
        let asked = socket(&right, (of_right, 53), PATIENCE);
        let mut told = Ok(());
        let counted = arena.counted("ask", || told = ask(&asking, &asked, COUNT));
        told?;
        let header_bytes = if of_left.is_ipv4() { 14 + 20 + 8 } else { 14 + 40 + 8 };
        let packets = 2 * crossings * COUNT;
        assert_eq!(counted, (packets, packets * (header_bytes + 100)), "{near} to {far}");
        let other = udp(&left, of_left);
        other.set_read_timeout(Some(PATIENCE))?;
        other.connect((of_right, 54))?;
        other.send(b"who")?;
        let told = other.recv(&mut [0; 8]).expect_err("it is told");
        assert_eq!(told.kind(), ErrorKind::ConnectionRefused, "{told}");
        // From now on it may not, and then it may again.
        arena.set("default: deny", &RULES[..1]);
        asked.set_read_timeout(Some(SILENCE))?;
        for _ in 0..5 {
            asking.send(&[0x6e; 100])?;
        }
        assert!(asked.recv(&mut [0; 200]).is_err(), "it passed once more");
        asked.send_to(b"psst", asking.local_addr()?)?;
        asking.set_read_timeout(Some(SILENCE))?;
        assert!(asking.recv(&mut [0; 200]).is_err(), "a reply to what is denied");
        for socket in [&asking, &asked] {
            socket.set_read_timeout(Some(PATIENCE))?;
        }
        arena.set("default: deny", &RULES);
        ask(&asking, &asked, COUNT)?;
    }
    Ok(())
}

pub(super) fn through_a_router(way: Way) -> Result<(), Failed> {
    let arena = Arena::with(ROUTED, &by(way));
    between(&arena, FAMILIES.map(|[left, right, _]| [left, right]), 2)?;
    for [near, far, gate] in FAMILIES {
        let [of_left, of_right, of_gate] = [near, far, gate].map(address);
        // An address that is none of the sender's: by its port it is the sender's, behind
        // the router it is nobody's.
        let (other, bits) =
            if of_left.is_ipv4() { ("10.1.0.77", "24") } else { ("fd01::77", "64") };
        ip(&["-netns", "left", "address", "add", &format!("{other}/{bits}"), "dev", "eth0"]
            .into_iter()
            .chain((bits == "64").then_some("nodad"))
            .collect::<Vec<_>>());
        let rules = ["{ name: out, from: left, to: right, action: allow }"];
        arena.set("default: deny", &rules);
        let asked = socket(&netns("right"), (of_right, 53), SILENCE);
        let asking = udp(&netns("left"), address(other));
        let counted = arena.counted("out", || {
            for _ in 0..3 {
                asking.send_to(b"who", (of_right, 53)).expect("send");
            }
            assert!(asked.recv(&mut [0; 8]).is_err(), "{other} is let pass behind the router");
        });
        assert_eq!(counted.0, 3, "by its port it is the sender's");
        // The router's own packets are from the router.
        let own = udp(&netns("router"), of_gate);
        own.send_to(b"who", (of_right, 53))?;
        assert!(asked.recv(&mut [0; 8]).is_err());
        arena.set(
            "default: deny",
            &["{ name: own, from: router, to: right, proto: udp, action: allow }"],
        );
        asked.set_read_timeout(Some(PATIENCE))?;
        let mut told = Ok(());
        own.set_read_timeout(Some(PATIENCE))?;
        let counted = arena.counted("own", || told = ask(&own, &asked, 5));
        told?;
        assert_eq!(counted.0, 10);
        let _ = of_left;
    }
    // What a router says of a packet that it does not pass on reaches who sent it.
    arena.set(
        "default: deny",
        &["{ name: out, from: left, ethertype: [ipv4, ipv6], action: allow }"],
    );
    for (near, nowhere) in [("10.1.0.1", "10.77.0.1"), ("fd01::1", "fd77::1")] {
        let asking = udp(&netns("left"), address(near));
        asking.set_read_timeout(Some(PATIENCE))?;
        let (level, option) = if near.contains(':') {
            (libc::SOL_IPV6, libc::IPV6_RECVERR)
        } else {
            (libc::SOL_IP, libc::IP_RECVERR)
        };
        set_option(&asking, level, option, 1)?;
        asking.connect((address(nowhere), 53))?;
        asking.send(b"who")?;
        let told = asking.recv(&mut [0; 8]).expect_err("it is told");
        let kinds = [ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable];
        assert!(kinds.contains(&told.kind()), "{told}");
    }
    arena.down();
    Ok(())
}

pub(super) fn through_the_host(way: Way) -> Result<(), Failed> {
    write("ipv4/ip_forward", "1");
    write("ipv6/conf/all/forwarding", "1");
    let arena = Arena::with(&between_bridges(), &by(way));
    between(&arena, FAMILIES.map(|[left, right, _]| [left, right]), 2)?;
    arena.down();
    Ok(())
}

pub(super) fn without_a_bridge(ingress: IngressHook) -> Result<(), Failed> {
    let arena = Arena::with(PAIR, &Settings { fastpath: None, ..settings(ingress) });
    between(&arena, [["10.1.0.1", "10.1.0.2"], ["fd01::1", "fd01::2"]], 1)?;
    arena.down();
    Ok(())
}

/// The host's own packets, and those of who is beyond it: judged where they leave.
pub(super) fn from_outside(way: Way) -> Result<(), Failed> {
    write("ipv4/ip_forward", "1");
    write("ipv6/conf/all/forwarding", "1");
    let foreign = Foreign::new("outside");
    for command in [
        "link add out type veth peer name eth0 netns outside",
        "link set out up",
        "address add 10.9.0.1/24 dev out",
        "address add fd09::1/64 dev out nodad",
        "-n outside link set eth0 up",
        "-n outside address add 10.9.0.2/24 dev eth0",
        "-n outside address add fd09::2/64 dev eth0 nodad",
        "-n outside route add default via 10.9.0.1",
        "-n outside route add default via fd09::1",
    ] {
        ip(&command.split(' ').collect::<Vec<_>>());
    }
    let arena = Arena::with(&between_bridges(), &by(way));
    let [left, outside] = ["left", "outside"].map(netns);
    let here = NetNs::current()?;
    for [of_host, of_left, beyond] in
        [["10.1.0.254", "10.1.0.1", "10.9.0.2"], ["fd01::fe", "fd01::1", "fd09::2"]]
    {
        let subnet = if beyond.contains(':') { "'fd09::/64'" } else { "10.9.0.0/24" };
        let rules = [
            format!(
                "{{ name: host, from: '{of_host}', to: left, proto: tcp, ports: 80, action: allow }}"
            ),
            format!(
                "{{ name: far, from: {subnet}, to: left, proto: tcp, ports: 81, action: allow }}"
            ),
            "{ name: no, to: left, proto: [tcp, udp], ports: 83, action: reject }".to_owned(),
        ];
        arena.set("default: deny", &rules.each_ref().map(String::as_str));
        let at = |port| SocketAddr::new(address(of_left), port);
        for (client, name, fine, wrong) in [(&here, "host", 80, 82), (&outside, "far", 81, 82)] {
            let mut said = Ok(());
            let counted = arena.counted(name, || said = talk(client, &left, at(fine)));
            said?;
            assert!(counted.0 > 5, "{name}: {counted:?}");
            let denied = talk(client, &left, at(wrong)).expect_err("it is denied");
            assert_eq!(denied.kind(), ErrorKind::TimedOut, "{name}: {denied}");
            let refused = talk(client, &left, at(83)).expect_err("it is told");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{name}: {refused}");
            let asking = client.run(|| {
                let any: IpAddr =
                    if beyond.contains(':') { "::" } else { "0.0.0.0" }.parse().unwrap();
                UdpSocket::bind((any, 0))
            })??;
            asking.set_read_timeout(Some(PATIENCE))?;
            asking.connect(at(83))?;
            asking.send(b"who")?;
            let told = asking.recv(&mut [0; 8]).expect_err("it is told");
            assert_eq!(told.kind(), ErrorKind::ConnectionRefused, "{name}: {told}");
        }
        // From inside nothing was allowed.
        let out = talk(&left, &outside, SocketAddr::new(address(beyond), 82)).expect_err("denied");
        assert_eq!(out.kind(), ErrorKind::TimedOut, "{out}");
        arena.set(
            "default: deny",
            &[&format!("{{ name: out, from: left, to: {subnet}, action: allow }}")],
        );
        assert!(answers("left", beyond, &[PATIENCE; 2]), "{beyond}");
        long_segments(&arena, (&left, &outside), address(beyond))?;
    }
    drop((left, outside));
    arena.down();
    ip(&["link", "delete", "out"]);
    drop(foreign);
    Ok(())
}

/// What is cut into segments later, both ways.
fn long_segments(arena: &Arena, ends: (&NetNs, &NetNs), to: IpAddr) -> Result<(), Failed> {
    const BYTES: usize = 2_000_000;
    let listener = ends.1.run(|| TcpListener::bind((to, 0)))??;
    let at = listener.local_addr()?;
    let mut near = ends.0.run(|| TcpStream::connect_timeout(&at, PATIENCE))??;
    let (mut far, _) = listener.accept()?;
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    let counted = arena.counted("out", || {
        std::thread::scope(|scope| {
            scope.spawn(|| far.write_all(&vec![0x6e; BYTES]).expect("write"));
            near.read_exact(&mut vec![0; BYTES]).expect("read");
        });
        std::thread::scope(|scope| {
            scope.spawn(|| near.write_all(&vec![0x6e; BYTES]).expect("write"));
            far.read_exact(&mut vec![0; BYTES]).expect("read");
        });
    });
    assert!(counted.1 > 2 * BYTES as u64, "{counted:?}");
    Ok(())
}
