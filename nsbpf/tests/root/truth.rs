//! Counters against what sockets say: exact packets, exact bytes.

use std::ffi::CStr;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::datapath::StatsReader;
use nsbpf::net::NetNs;
use nsbpf::plan::Settings;
use nsbpf::state::IngressHook;
use nsbpf_common::stats::{Cell, Class, PortStats};
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

use crate::Test;
use crate::engine::{Up, lab, port, settings};
use crate::world::{ip_json, netns, udp};

pub(crate) const TESTS: &[Test] = &[
    ("truth::udp_ipv4_under_tc", || under(IngressHook::Tc, |ground| udp_is_exact(ground, V4))),
    ("truth::udp_ipv4_under_xdp", || under(IngressHook::Xdp, |ground| udp_is_exact(ground, V4))),
    ("truth::udp_ipv6_under_tc", || under(IngressHook::Tc, |ground| udp_is_exact(ground, V6))),
    ("truth::udp_ipv4_under_generic_xdp", || {
        under(IngressHook::XdpGeneric, |ground| udp_is_exact(ground, V4))
    }),
    ("truth::udp_ipv6_under_generic_xdp", || {
        under(IngressHook::XdpGeneric, |ground| udp_is_exact(ground, V6))
    }),
    ("truth::udp_ipv6_under_xdp", || under(IngressHook::Xdp, |ground| udp_is_exact(ground, V6))),
    ("truth::segmentation_offload_under_tc", || under(IngressHook::Tc, gso_is_exact)),
    ("truth::segmentation_offload_under_xdp", || under(IngressHook::Xdp, gso_is_exact)),
    ("truth::tcp_under_tc", || under(IngressHook::Tc, tcp_is_exact)),
    ("truth::tcp_under_xdp", || under(IngressHook::Xdp, tcp_is_exact)),
    ("truth::vlan_tags_under_tc", || {
        under(IngressHook::Tc, |ground| tags_are_exact(ground, EVERYBODY, &[TAG]))
    }),
    ("truth::vlan_tags_under_xdp", || {
        under(IngressHook::Xdp, |ground| tags_are_exact(ground, EVERYBODY, &[TAG]))
    }),
];

pub(crate) const LAB: &str = "
name: truth
bridges: { br0: {} }
namespaces:
  a: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] } } }
  b: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.2/24, 'fd00::2/64'] } } }
";

/// Addresses of both namespaces, and the class and the bytes of headers of a UDP
/// datagram between them.
#[derive(Clone, Copy)]
pub(crate) struct Family {
    pub(crate) a: &'static str,
    pub(crate) b: &'static str,
    pub(crate) class: Class,
    pub(crate) header_bytes: u64,
}

pub(crate) const V4: Family =
    Family { a: "10.0.0.1", b: "10.0.0.2", class: Class::Ipv4Udp, header_bytes: 14 + 20 + 8 };
pub(crate) const V6: Family =
    Family { a: "fd00::1", b: "fd00::2", class: Class::Ipv6Udp, header_bytes: 14 + 40 + 8 };

/// A lab of two namespaces that is up, and its counters.
pub(crate) struct Ground {
    pub(crate) up: Up,
    reader: StatsReader,
    ports: [u16; 2],
    a: NetNs,
    b: NetNs,
}

/// Has a test happen on a lab of two namespaces.
fn under(
    ingress: IngressHook,
    test: impl FnOnce(&Ground) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let ground = Ground::with(LAB, &settings(ingress));
    test(&ground)?;
    ground.down();
    Ok(())
}

impl Ground {
    /// Another lab of the interfaces `a/eth0` and `b/eth0`, with other settings.
    pub(crate) fn with(source: &str, settings: &Settings) -> Self {
        let lab = lab(source);
        let up = Up::new(&lab);
        let survey = up.converge_with(&lab, settings).survey;
        let ports = ["a/eth0", "b/eth0"].map(|interface| port(&survey.state, interface));
        let reader = StatsReader::open(&up.store).expect("open the counters");
        Self { up, reader, ports, a: netns("a"), b: netns("b") }
    }

    pub(crate) fn ports(&self) -> [u16; 2] {
        self.ports
    }

    pub(crate) fn namespaces(&self) -> [&NetNs; 2] {
        [&self.a, &self.b]
    }

    pub(crate) fn read(&self) -> [PortStats; 2] {
        self.ports.map(|port| self.reader.read(port).expect("read a counter"))
    }

    /// Counters and namespaces opened once more: there are others.
    pub(crate) fn renewed(self) -> Self {
        let Self { up, reader: _, ports: _, a: _, b: _ } = self;
        let state = nsbpf::apply::survey(&up.store).expect("look at the lab").state;
        let ports = ["a/eth0", "b/eth0"].map(|interface| port(&state, interface));
        let reader = StatsReader::open(&up.store).expect("open the counters");
        Self { up, reader, ports, a: netns("a"), b: netns("b") }
    }

    pub(crate) fn down(self) {
        let Self { up, reader, ports: _, a, b } = self;
        drop((reader, a, b));
        up.down();
    }
}

pub(crate) fn grown(before: Cell, after: Cell) -> Cell {
    Cell { packets: after.packets - before.packets, bytes: after.bytes - before.bytes }
}

/// Sockets of both namespaces, each connected to the other; both neighbours
/// resolved.
pub(crate) fn sockets(ground: &Ground, family: Family) -> [UdpSocket; 2] {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let a = udp(&ground.a, address(family.a));
    let b = udp(&ground.b, address(family.b));
    a.connect(b.local_addr().unwrap()).unwrap();
    b.connect(a.local_addr().unwrap()).unwrap();
    for [from, to] in [[&a, &b], [&b, &a]] {
        to.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        from.send(b"first").unwrap();
        to.recv(&mut [0; 16]).expect("the first datagram");
    }
    [a, b]
}

pub(crate) fn udp_is_exact(ground: &Ground, family: Family) -> Result<(), Failed> {
    exchange_is_exact(ground, family)?;
    flood_adds_up(ground, family)
}

/// Datagrams to and fro, of several sizes.
pub(crate) fn exchange_is_exact(ground: &Ground, family: Family) -> Result<(), Failed> {
    const COUNT: u64 = 1000;
    let [a, b] = sockets(ground, family);
    for payload in [1_u64, 18, 512, 1452] {
        for (from, to, sender, receiver) in [(&a, &b, 0, 1), (&b, &a, 1, 0)] {
            let before = ground.read();
            let mut received = 0;
            let mut buffer = [0; 2048];
            for _ in 0..COUNT {
                from.send(&vec![0x6e; payload as usize])?;
                // One at a time: nothing has a reason to be dropped.
                received += to.recv(&mut buffer)? as u64;
            }
            let after = ground.read();
            assert_eq!(received, COUNT * payload);
            let expected = Cell { packets: COUNT, bytes: COUNT * (family.header_bytes + payload) };
            let class = family.class;
            let tx = grown(before[sender].tx[class], after[sender].tx[class]);
            let rx = grown(before[receiver].rx[class], after[receiver].rx[class]);
            assert_eq!(tx, expected, "tx, {payload} bytes");
            assert_eq!(rx, expected, "rx, {payload} bytes");
            let back = grown(before[receiver].tx[class], after[receiver].tx[class]);
            assert_eq!(back, Cell::default(), "nobody answered");
        }
    }
    Ok(())
}

/// More than the receiver takes: what was sent is what was received and what
/// the kernel names as dropped, and we count what came through the hooks.
fn flood_adds_up(ground: &Ground, family: Family) -> Result<(), Failed> {
    const COUNT: u64 = 20_000;
    let [a, b] = sockets(ground, family);
    let before = ground.read();
    let dropped_before = dropped_in_queues();
    for _ in 0..COUNT {
        a.send(&[0; 100])?;
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let [sender, receiver] = ground.read();
        let tx = grown(before[0].tx[family.class], sender.tx[family.class]).packets;
        let rx = grown(before[1].rx[family.class], receiver.rx[family.class]).packets;
        let dropped = dropped_in_queues() - dropped_before;
        if tx + dropped == COUNT && rx == tx {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{COUNT} sent, {tx} counted as sent, {rx} as received, {dropped} dropped"
        );
        std::thread::yield_now();
    }
    drop(b);
    Ok(())
}

/// What the kernel says it dropped between the sender's stack and the bridge.
pub(crate) fn dropped_in_queues() -> u64 {
    let dropped = |link: serde_json::Value| {
        ["rx", "tx"]
            .map(|way| link[0]["stats64"][way]["dropped"].as_u64().unwrap())
            .iter()
            .sum::<u64>()
    };
    dropped(ip_json(&["-netns", "a", "-statistics", "link", "show", "eth0"]))
        + dropped(ip_json(&["-statistics", "link", "show", "a-eth0"]))
}

/// One GSO packet counts as the datagrams that the receiver gets.
pub(crate) fn gso_is_exact(ground: &Ground) -> Result<(), Failed> {
    const SEGMENT: u64 = 1000;
    let [a, b] = sockets(ground, V4);
    set_option(&a, libc::SOL_UDP, libc::UDP_SEGMENT, SEGMENT as i32)?;
    for bytes in [10_000_u64, 9_500, 1_000, 999, 1_001] {
        let datagrams = bytes.div_ceil(SEGMENT);
        let before = ground.read();
        a.send(&vec![0x6e; bytes as usize])?;
        let mut received = 0;
        for _ in 0..datagrams {
            received += b.recv(&mut [0; 2048])? as u64;
        }
        assert_eq!(received, bytes);
        let after = ground.read();
        let expected = Cell { packets: datagrams, bytes: bytes + datagrams * V4.header_bytes };
        assert_eq!(grown(before[0].tx[V4.class], after[0].tx[V4.class]), expected, "tx {bytes}");
        assert_eq!(grown(before[1].rx[V4.class], after[1].rx[V4.class]), expected, "rx {bytes}");
    }
    Ok(())
}

pub(crate) fn set_option(
    socket: &impl AsRawFd,
    level: i32,
    name: i32,
    value: i32,
) -> std::io::Result<()> {
    // SAFETY: the value is as long as told.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// The sender's TCP knows how many segments and bytes it sent.
pub(crate) fn tcp_is_exact(ground: &Ground) -> Result<(), Failed> {
    const BYTES: usize = 8_000_000;
    /// Ethernet, IPv4, TCP with timestamps.
    const HEADER_BYTES: u64 = 14 + 20 + 32;
    /// What a SYN has besides: MSS, SACK permitted, window scale.
    const SYN_EXTRA_BYTES: u64 = 8;
    let listener = ground.b.run(|| TcpListener::bind("10.0.0.2:0"))??;
    let address: SocketAddr = listener.local_addr()?;
    let mut sender = ground.a.run(|| TcpStream::connect(address))??;
    let (mut receiver, _) = listener.accept()?;
    let reading = std::thread::spawn(move || {
        let mut whole = vec![0; BYTES];
        receiver.read_exact(&mut whole).map(|()| receiver)
    });
    sender.write_all(&vec![0x6e; BYTES])?;
    let receiver = reading.join().expect("the reader")?;
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let (segments, bytes) = sent(&sender)?;
        let tx = ground.read()[0].tx[Class::Ipv4Tcp];
        // A busy machine may overrun the veth's ring: then TCP sent it again, and
        // what was dropped never came to the hook.
        let dropped = dropped_in_queues();
        let expected =
            Cell { packets: segments, bytes: bytes + segments * HEADER_BYTES + SYN_EXTRA_BYTES };
        if tx == expected || (dropped > 0 && tx.packets + dropped == expected.packets) {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "counted {tx:?}, TCP sent {expected:?}, {dropped} dropped"
        );
        std::thread::yield_now();
    }
    drop((sender, receiver));
    Ok(())
}

/// Segments and bytes that a TCP socket sent, retransmissions included:
/// `tcpi_segs_out` and `tcpi_bytes_sent` of `struct tcp_info`.
pub(crate) fn sent(socket: &TcpStream) -> std::io::Result<(u64, u64)> {
    let mut info = [0_u8; 256];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the buffer is as long as told.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let segments = u32::from_ne_bytes(info[136..140].try_into().unwrap());
    let bytes = u64::from_ne_bytes(info[200..208].try_into().unwrap());
    Ok((segments.into(), bytes))
}

/// A VLAN tag, as it stands in a frame.
pub(crate) const TAG: [u8; 4] = [0x81, 0, 0, 7];
const EVERYBODY: [u8; 6] = [0xff; 6];

/// Tagged frames count with their tags, whether the kernel keeps the first in the
/// frame (XDP) or beside it (tc).
pub(crate) fn tags_are_exact(ground: &Ground, to: [u8; 6], tags: &[[u8; 4]]) -> Result<(), Failed> {
    const COUNT: u64 = 100;
    const PAYLOAD: usize = 50;
    let mut frame = [to.as_slice(), &[0x02, 0, 0, 0, 0, 1], tags.as_flattened()].concat();
    // IPv4, UDP, nobody listens. Where iptables are asked, the bridge checks the sum.
    frame.extend([0x08, 0x00, 0x45, 0, 0, 28 + PAYLOAD as u8, 0, 0, 0, 0, 64, 17, 0x66, 0x9d]);
    frame.extend([10, 0, 0, 1, 10, 0, 0, 2, 0, 9, 0, 9, 0, 8 + PAYLOAD as u8, 0, 0]);
    frame.extend([0x6e; PAYLOAD]);
    let before = ground.read();
    ground.a.run(|| send_frames(&frame, COUNT))??;
    let expected = Cell { packets: COUNT, bytes: COUNT * frame.len() as u64 };
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let after = ground.read();
        let tx = grown(before[0].tx[Class::Ipv4Udp], after[0].tx[Class::Ipv4Udp]);
        let rx = grown(before[1].rx[Class::Ipv4Udp], after[1].rx[Class::Ipv4Udp]);
        if (tx, rx) == (expected, expected) {
            break;
        }
        assert!(Instant::now() < deadline, "tx {tx:?}, rx {rx:?}, expected {expected:?}");
        std::thread::yield_now();
    }
    Ok(())
}

/// Sends a raw frame so often out of `eth0` of the current namespace.
fn send_frames(frame: &[u8], count: u64) -> std::io::Result<()> {
    let wire = Wire::new()?;
    (0..count).try_for_each(|_| wire.send(frame))
}

/// Where raw frames go out: `eth0` of the namespace that it was made in.
pub(crate) struct Wire(Socket);

impl Wire {
    pub(crate) fn new() -> std::io::Result<Self> {
        // Of no protocol: it hears nothing.
        packet_socket(c"eth0", 0).map(Self)
    }

    pub(crate) fn send(&self, frame: &[u8]) -> std::io::Result<()> {
        self.0.send(frame).map(drop)
    }
}

/// A raw socket at an interface of the current namespace, which hears frames of that
/// protocol.
pub(crate) fn packet_socket(interface: &CStr, protocol: u16) -> std::io::Result<Socket> {
    // Until it is bound, it would hear what comes in anywhere.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    // SAFETY: a plain C string.
    let ifindex = unsafe { libc::if_nametoindex(interface.as_ptr()) };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is a kind of socket address.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = ifindex as i32;
    // SAFETY: initialised above, with that length.
    let address =
        unsafe { SockAddr::new(storage, size_of::<libc::sockaddr_ll>() as libc::socklen_t) };
    socket.bind(&address)?;
    Ok(socket)
}
