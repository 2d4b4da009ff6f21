//! What is sent is what is counted, whatever kind it is: as the sockets, the
//! kernel's own counters, our counters and the matrix tell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::datapath::{self, PairsReader};
use nsbpf::plan::Settings;
use nsbpf::state::{Attach, IngressHook};
use nsbpf_common::packet::Cast;
use nsbpf_common::pair::Pair;
use nsbpf_common::stats::{Cell, Class, Direction, Size};

use crate::Test;
use crate::engine::settings;
use crate::truth::{Ground, LAB, grown};
use crate::world::{ip, ip_json, reaches, udp};

pub(crate) const TESTS: &[Test] = &[
    ("exact::by_clsact", || exact(Attach::Clsact, IngressHook::Tc)),
    ("exact::by_tcx", || exact(Attach::Tcx, IngressHook::Tc)),
    ("exact::by_xdp", || exact(Attach::Clsact, IngressHook::Xdp)),
    ("exact::by_generic_xdp", || exact(Attach::Clsact, IngressHook::XdpGeneric)),
    ("exact::jumbo_by_clsact", || exact_jumbo(Attach::Clsact)),
    ("exact::jumbo_by_tcx", || exact_jumbo(Attach::Tcx)),
];

const COUNT: u64 = 50;
const PATIENCE: Duration = Duration::from_secs(5);
const PORT: u16 = 7777;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 1, 1);
const GROUP_6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 7);
const EVERYBODY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 255);
const UDP_V4: u64 = 14 + 20 + 8;
const UDP_V6: u64 = 14 + 40 + 8;

/// What each datagram of a kind becomes.
struct Kind {
    to: SocketAddr,
    payload: u64,
    class: Class,
    cast: Cast,
    /// Frames, and all their bytes.
    frames: Cell,
    /// The size that each of the frames, or all but the last, has.
    size: Size,
}

fn kinds(interface: u32) -> [Kind; 5] {
    let v6 = std::net::SocketAddrV6::new(GROUP_6, PORT, 0, interface);
    let one = |bytes| Cell { packets: 1, bytes };
    // 1,480 bytes behind each IPv4 header; in IPv6 1,448 behind two.
    let (cut_v4, cut_v6) = (4000 + 8 + 3 * (14 + 20), 4000 + 8 + 3 * (14 + 40 + 8));
    let three = |bytes| Cell { packets: 3, bytes };
    [
        Kind {
            to: (GROUP, PORT).into(),
            payload: 100,
            class: Class::Ipv4Udp,
            cast: Cast::Multicast,
            frames: one(100 + UDP_V4),
            size: Size::UpTo255,
        },
        Kind {
            to: v6.into(),
            payload: 300,
            class: Class::Ipv6Udp,
            cast: Cast::Multicast,
            frames: one(300 + UDP_V6),
            size: Size::UpTo511,
        },
        Kind {
            to: (EVERYBODY, PORT).into(),
            payload: 1,
            class: Class::Ipv4Udp,
            cast: Cast::Broadcast,
            frames: one(1 + UDP_V4),
            size: Size::UpTo64,
        },
        Kind {
            to: (Ipv4Addr::new(10, 0, 0, 2), PORT).into(),
            payload: 4000,
            class: Class::Ipv4Udp,
            cast: Cast::Unicast,
            frames: three(cut_v4),
            size: Size::UpTo1518,
        },
        Kind {
            to: (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2), PORT).into(),
            payload: 4000,
            class: Class::Ipv6Udp,
            cast: Cast::Unicast,
            frames: three(cut_v6),
            size: Size::UpTo1518,
        },
    ]
}

fn exact(attach: Attach, ingress: IngressHook) -> Result<(), Failed> {
    let ground = Ground::with(LAB, &Settings { attach, ..settings(ingress) });
    every_kind(&ground)?;
    agrees_with_the_kernel(&ground, ingress)?;
    ground.down();
    Ok(())
}

pub(crate) fn every_kind(ground: &Ground) -> Result<(), Failed> {
    let [a, b] = ground.namespaces();
    assert!(reaches("a", "10.0.0.2") && reaches("a", "fd00::2"));
    let interface = index("a");
    let senders = [udp(a, Ipv4Addr::new(10, 0, 0, 1).into()), udp(a, "fd00::1".parse().unwrap())];
    senders[0].set_broadcast(true)?;
    for kind in kinds(interface) {
        let receiver = b.run(|| bound(kind.to))??;
        let sender = &senders[usize::from(kind.to.is_ipv6())];
        let ([tx, _], [_, rx]) = (ground.read(), ground.read());
        let (tx, rx) = (tx.tx, rx.rx);
        let mut heard = 0;
        let mut buffer = [0; 8192];
        for _ in 0..COUNT {
            sender.send_to(&vec![0x6e; kind.payload.try_into()?], kind.to)?;
            heard += receiver.recv(&mut buffer)? as u64;
        }
        assert_eq!(heard, COUNT * kind.payload);
        let [sent, _] = ground.read();
        let [_, got] = ground.read();
        for (before, after) in [(tx, sent.tx), (rx, got.rx)] {
            assert_grown(&kind, &before, &after);
        }
    }
    arp_and_icmp(ground);
    Ok(())
}

fn assert_grown(kind: &Kind, before: &Direction, after: &Direction) {
    let Kind { to, class, cast, frames, size, .. } = kind;
    let expected = Cell { packets: COUNT * frames.packets, bytes: COUNT * frames.bytes };
    assert_eq!(grown(before[*class], after[*class]), expected, "{to}");
    // Others (listener reports, duplicate address detection) send to groups too.
    let of_cast = grown(before.cast(*cast), after.cast(*cast));
    assert!(of_cast.packets >= expected.packets, "{to}: {of_cast:?}");
    let full = if frames.packets == 1 { 1 } else { frames.packets - 1 };
    let of_size = after.size(*size) - before.size(*size);
    assert!(of_size >= COUNT * full, "{to}: {of_size} of {size:?}");
    assert_eq!(after.dropped(), before.dropped());
}

/// A socket that hears what is sent there.
fn bound(to: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, PORT))?;
    match to.ip() {
        IpAddr::V4(group) if group.is_multicast() => {
            socket.join_multicast_v4(&group, &Ipv4Addr::new(10, 0, 0, 2))?;
        }
        IpAddr::V6(group) if group.is_multicast() => {
            // The only interface besides the loopback.
            let index = rustix::net::netdevice::name_to_index(&socket, "eth0")?;
            socket.join_multicast_v6(&group, index)?;
        }
        _ => {}
    }
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn arp_and_icmp(ground: &Ground) {
    ip(&["-netns", "a", "neigh", "flush", "dev", "eth0"]);
    let [before, _] = ground.read();
    assert!(reaches("a", "10.0.0.2") && reaches("a", "fd00::2"));
    let [after, _] = ground.read();
    for class in [Class::Arp, Class::Ipv4Icmp, Class::Ipv6Icmp] {
        assert!(after.tx[class].packets > before.tx[class].packets, "{class:?}");
        assert!(after.rx[class].packets > before.rx[class].packets, "{class:?}");
    }
}

/// All that ever left or entered: as the interfaces of the namespaces count it, and
/// as the matrix does. Read until nothing comes in between.
pub(crate) fn agrees_with_the_kernel(ground: &Ground, ingress: IngressHook) -> Result<(), Failed> {
    let (datapath, _) = datapath::observe(&ground.up.store).ok_or("nothing is loaded")?;
    let pairs = PairsReader::open(&ground.up.store, &datapath)?;
    let [a, b] = ground.ports();
    let deadline = Instant::now() + PATIENCE;
    loop {
        let [of_a, of_b] = ground.read();
        let ours = [of_a.tx, of_a.rx, of_b.tx, of_b.rx].map(|direction| direction.total());
        let [sent_by_a, got_by_a] = link_statistics("a");
        let [sent_by_b, got_by_b] = link_statistics("b");
        let sent = |cell: Cell| match ingress {
            // A peer that polls (NAPI) counts what it got of a sender, without
            // Ethernet headers (`veth_xdp_rcv`, Linux 6.18).
            IngressHook::Xdp => Cell { bytes: cell.bytes + 14 * cell.packets, ..cell },
            _ => cell,
        };
        let kernels = [sent(sent_by_a), got_by_a, sent(sent_by_b), got_by_b];
        let matrix = pairs.read(&[a, b])?;
        let to = |number| {
            let to = matrix.iter().filter(|(pair, _)| pair.to == number);
            to.fold(Cell::default(), |mut sum, (_, cell)| {
                sum += *cell;
                sum
            })
        };
        let from_a = matrix.iter().find(|(pair, _)| *pair == Pair { from: a, to: b });
        assert!(from_a.is_some_and(|(_, cell)| cell.packets > COUNT), "{matrix:?}");
        if ours == kernels && [to(a), to(b)] == [ours[1], ours[3]] {
            return Ok(());
        }
        assert!(Instant::now() < deadline, "ours {ours:?}, the kernel's {kernels:?}, {matrix:?}");
    }
}

/// What the interface of a namespace sent, and what it received.
fn link_statistics(namespace: &str) -> [Cell; 2] {
    let shown = ip_json(&["-netns", namespace, "-statistics", "link", "show", "eth0"]);
    ["tx", "rx"].map(|direction| {
        let counters = &shown[0]["stats64"][direction];
        let count = |what: &str| counters[what].as_u64().expect(what);
        Cell { packets: count("packets"), bytes: count("bytes") }
    })
}

fn index(namespace: &str) -> u32 {
    let index = ip_json(&["-netns", namespace, "link", "show", "eth0"])[0]["ifindex"].as_u64();
    index.and_then(|index| index.try_into().ok()).expect("an interface index")
}

fn exact_jumbo(attach: Attach) -> Result<(), Failed> {
    let ground = Ground::with(&wide(), &Settings { attach, ..settings(IngressHook::Tc) });
    jumbo(&ground)?;
    ground.down();
    Ok(())
}

/// The lab with an MTU of 9,000.
pub(crate) fn wide() -> String {
    LAB.replace("br0: {}", "br0: { mtu: 9000 }")
}

/// Frames of 9,000 bytes.
pub(crate) fn jumbo(ground: &Ground) -> Result<(), Failed> {
    let [a, b] = ground.namespaces();
    assert!(reaches("a", "10.0.0.2"));
    let sender = udp(a, Ipv4Addr::new(10, 0, 0, 1).into());
    let to: SocketAddr = (Ipv4Addr::new(10, 0, 0, 2), PORT).into();
    let receiver = b.run(|| bound(to))??;
    let [before, _] = ground.read();
    let mut buffer = [0; 9000];
    for _ in 0..COUNT {
        sender.send_to(&[1; 8972], to)?;
        assert_eq!(receiver.recv(&mut buffer)?, 8972);
    }
    let [after, there] = ground.read();
    let expected = Cell { packets: COUNT, bytes: COUNT * (8972 + UDP_V4) };
    assert_eq!(grown(before.tx[Class::Ipv4Udp], after.tx[Class::Ipv4Udp]), expected);
    assert_eq!(after.tx.size(Size::Longer), COUNT);
    assert_eq!(there.rx.size(Size::Longer), COUNT);
    Ok(())
}
