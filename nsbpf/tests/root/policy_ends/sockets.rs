//! What sockets see of a policy: connections, datagrams, echoes, and what they are told of
//! those that are rejected.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::net::NetNs;
use nsbpf::plan::Settings;
use nsbpf_common::stats::Way;
use nsbpf_common::verdict::Reason;
use socket2::{Domain, Protocol, Socket, Type};

use super::arena::{Arena, LAB, by};
use crate::world::{answers, netns, udp};

/// For what has to happen.
const PATIENCE: Duration = Duration::from_secs(5);
/// For what must not happen.
const SILENCE: Duration = Duration::from_millis(150);

pub(super) const FAMILIES: [[&str; 3]; 2] =
    [["10.0.0.1", "10.0.0.2", "10.0.0.3"], ["fd00::1", "fd00::2", "fd00::3"]];

pub(super) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Connects and talks both ways, or why that cannot be.
pub(super) fn talk(client: &NetNs, server: &NetNs, at: SocketAddr) -> io::Result<()> {
    let listener = server.run(|| TcpListener::bind(at))??;
    let patience = if at.port() == DARK { SILENCE } else { PATIENCE };
    let mut near = client.run(|| TcpStream::connect_timeout(&at, patience))??;
    let (mut far, _) = listener.accept()?;
    for stream in [&near, &far] {
        stream.set_read_timeout(Some(PATIENCE))?;
    }
    let mut buffer = [0; 4];
    near.write_all(b"ping")?;
    far.read_exact(&mut buffer)?;
    far.write_all(b"pong")?;
    near.read_exact(&mut buffer)?;
    assert_eq!(&buffer, b"pong");
    Ok(())
}

/// A port that nothing is heard from.
const DARK: u16 = 82;

const RULES: [&str; 9] = [
    "{ name: web, from: a, to: b, proto: tcp, ports: 80, action: allow }",
    "{ name: old, from: a, to: b, proto: tcp, ports: 81, action: reject }",
    "{ name: dark, from: a, to: b, proto: tcp, ports: 82, action: deny }",
    "{ name: ask, from: a, to: b, proto: udp, ports: 53, action: log }",
    "{ name: no, from: a, to: b, proto: udp, ports: 54, action: reject }",
    "{ name: echo, from: a, to: b, proto: icmp, icmp: echo-request, action: allow }",
    "{ name: echo6, from: a, to: b, proto: icmpv6, icmp: echo-request, action: allow }",
    "{ name: mute, from: a, to: c, proto: icmp, action: reject }",
    "{ name: mute6, from: a, to: c, proto: icmpv6, action: reject }",
];

pub(super) fn actions(way: Way) -> Result<(), Failed> {
    actions_with(&by(way))
}

/// Likewise, with other settings.
pub(super) fn actions_with(settings: &Settings) -> Result<(), Failed> {
    let arena = Arena::with(LAB, settings);
    arena.set("default: deny", &RULES);
    let [a, b] = ["a", "b"].map(netns);
    for [at_a, at_b, at_c] in FAMILIES {
        let [of_a, of_b, of_c] = [at_a, at_b, at_c].map(address);
        // Connections.
        talk(&a, &b, SocketAddr::new(of_b, 80))?;
        let old = arena.counts()["old"].0;
        let refused = talk(&a, &b, SocketAddr::new(of_b, 81)).expect_err("it is refused");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
        assert_eq!(arena.counts()["old"].0, old + 1, "it was told so once, and soon");
        let dark = talk(&a, &b, SocketAddr::new(of_b, DARK)).expect_err("it is denied");
        assert_eq!(dark.kind(), ErrorKind::TimedOut, "{dark}");
        let back = talk(&b, &a, SocketAddr::new(of_a, DARK)).expect_err("nobody may");
        assert_eq!(back.kind(), ErrorKind::TimedOut, "{back}");
        // Datagrams.
        let near = udp(&a, of_a);
        near.set_read_timeout(Some(PATIENCE))?;
        let far = b.run(|| UdpSocket::bind((of_b, 53)))??;
        far.set_read_timeout(Some(PATIENCE))?;
        near.connect((of_b, 53))?;
        for _ in 0..10 {
            near.send(b"who")?;
            let (_, asker) = far.recv_from(&mut [0; 8])?;
            far.send_to(b"me", asker)?;
            near.recv(&mut [0; 8])?;
        }
        // Not from another port, and not to another.
        let (other, third) = (udp(&b, of_b), udp(&a, of_a));
        other.send_to(b"psst", near.local_addr()?)?;
        far.send_to(b"psst", third.local_addr()?)?;
        for (socket, arrived) in [(&near, "from"), (&third, "to")] {
            socket.set_read_timeout(Some(SILENCE))?;
            assert!(socket.recv(&mut [0; 8]).is_err(), "{arrived} another port");
        }
        third.set_read_timeout(Some(PATIENCE))?;
        third.connect((of_b, 54))?;
        third.send(b"who")?;
        let told = third.recv(&mut [0; 8]).expect_err("it is told");
        assert_eq!(told.kind(), ErrorKind::ConnectionRefused, "{told}");
        // Echoes.
        assert!(answers("a", at_b, &[PATIENCE]), "{at_b}");
        assert!(!answers("b", at_a, &[SILENCE]), "{at_a}");
        let told = told_of_an_echo(&a, of_c)?;
        let expected = if of_c.is_ipv4() { libc::EHOSTUNREACH } else { libc::EACCES };
        assert_eq!(told, Some(expected), "{}", io::Error::from_raw_os_error(told.unwrap_or(0)));
    }
    let counts = arena.counts();
    for rule in ["web", "old", "dark", "ask", "no", "echo", "echo6", "mute", "mute6"] {
        assert!(counts[rule].0 > 0, "{rule} in {counts:?}");
    }
    assert_eq!(counts["ask"].0, 2 * 20, "questions and answers");
    assert_eq!((counts["no"].0, counts["mute"].0, counts["mute6"].0), (2, 1, 1));
    let stats = arena.up.stats();
    drop((a, b));
    assert_eq!(stats["a/eth0"].tx.drops(Reason::Rejected).packets, 2 + 2 + 1 + 1);
    assert!(stats["a/eth0"].tx.drops(Reason::Denied).packets >= counts["dark"].0);
    arena.down();
    Ok(())
}

/// What the sender of an echo request is told, if it is.
fn told_of_an_echo(from: &NetNs, to: IpAddr) -> io::Result<Option<i32>> {
    let (domain, protocol, of_type) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128),
    };
    let socket = from.run(|| Socket::new(domain, Type::RAW, Some(protocol)))??;
    socket.connect(&SocketAddr::new(to, 0).into())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let sum = if to.is_ipv4() { [0xf7, 0xf5] } else { [0, 0] };
    socket.send(&[of_type, 0, sum[0], sum[1], 0, 9, 0, 1])?;
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match socket.recv(&mut [MaybeUninit::uninit(); 512]) {
            // Neighbours talk too.
            Ok(_) => {}
            Err(error) => return Ok(error.raw_os_error()),
        }
    }
    Ok(None)
}

/// So many at once and no more, then so many a second; and what a connection does that is
/// rejected while it is there.
pub(super) fn limits(way: Way) -> Result<(), Failed> {
    const BURST: u64 = 20;
    const SENT: u64 = 200;
    let arena = Arena::new(way);
    let [a, b] = ["a", "b"].map(netns);
    for [at_a, at_b, _] in FAMILIES {
        let header_bytes = if at_a.contains(':') { 14 + 40 + 8 } else { 14 + 20 + 8 };
        for (name, limit, payload) in [
            ("packets", "limit: 10/s, burst: 20", 100),
            // Twenty frames of 1,000 bytes, and ten a second.
            ("bits", "limit: 80kbit/s, burst: 160kbit", 1000 - header_bytes),
        ] {
            let rule = format!("{{ name: {name}, from: a, action: limit, {limit} }}");
            arena.set("default: deny", &[&rule]);
            let (near, far) = (udp(&a, address(at_a)), udp(&b, address(at_b)));
            far.set_read_timeout(Some(SILENCE))?;
            near.connect(far.local_addr()?)?;
            let dropped = || arena.up.stats()["a/eth0"].tx.drops(Reason::Limited).packets;
            let before = dropped();
            let start = Instant::now();
            let counted = arena.counted(name, || {
                for _ in 0..SENT {
                    near.send(&vec![0x6e; payload]).expect("send");
                }
            });
            let took = start.elapsed();
            assert_eq!(counted, (SENT, SENT * (payload + header_bytes) as u64), "{limit}");
            let received = std::iter::from_fn(|| far.recv(&mut [0; 2000]).ok());
            let arrived = received.count() as u64;
            let more = took.as_millis() as u64 / 100 + 1;
            assert!((BURST..=BURST + more).contains(&arrived), "{limit}: {arrived} in {took:?}");
            assert_eq!(dropped() - before, SENT - arrived, "{limit}");
            // Replies are not limited.
            for _ in 0..50 {
                far.send_to(b"yes", near.local_addr()?)?;
                near.set_read_timeout(Some(PATIENCE))?;
                near.recv(&mut [0; 8])?;
            }
        }
        // It is there, then it is rejected.
        arena.set("default: allow", &[]);
        let listener = b.run(|| TcpListener::bind((address(at_b), 0)))??;
        let at = listener.local_addr()?;
        let mut near = a.run(|| TcpStream::connect(at))??;
        let (mut far, _) = listener.accept()?;
        near.write_all(b"ping")?;
        far.read_exact(&mut [0; 4])?;
        arena.set("default: allow", &["{ name: out, from: a, proto: tcp, action: reject }"]);
        near.write_all(b"ping")?;
        near.set_read_timeout(Some(PATIENCE))?;
        let reset = near.read(&mut [0; 4]).expect_err("it is broken off");
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset, "{reset}");
    }
    drop((a, b));
    arena.down();
    Ok(())
}
