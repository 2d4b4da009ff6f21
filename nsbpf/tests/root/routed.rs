//! Routers whose stack packets pass by: what it does to the first packet of a flow it
//! does to all, and what it would not forward is not forwarded.

use std::io::Read;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::net::NetNs;
use nsbpf::plan::Settings;
use nsbpf::state::IngressHook;
use nsbpf_common::stats::{Class, Way};

use crate::Test;
use crate::command::ran;
use crate::engine::{Up, lab, settings};
use crate::world::{ip, netns, udp};

pub(crate) const TESTS: &[Test] = &[
    ("routed::the_stack_sees_few_and_the_ports_all", counted),
    ("routed::what_arrives_is_what_the_stack_would_send", same_packet),
    ("routed::packets_that_grow_go_to_the_stack", mtu),
    ("routed::a_route_that_others_change_takes_hold", changed),
    ("routed::who_forbids_forwarding_is_heard", forbidden),
    ("routed::fast_paths_are_shown_and_set", verb),
    ("routed::each_crossing_counts_once_while_the_way_changes", changing),
];

const ROUTER: &str = include_str!("../../../labs/05-router.yaml");
const PACKETS: u64 = 500;
/// What others change holds after this time.
pub(crate) const AGE: Duration = Duration::from_secs(5);

/// A lab of the namespaces `left` and `right` with something between them that forwards,
/// and a socket in each.
pub(crate) struct Ground {
    pub(crate) up: Up,
    pub(crate) left: UdpSocket,
    pub(crate) right: UdpSocket,
}

impl Ground {
    fn new(family: [&str; 2]) -> Self {
        Self::with(ROUTER, &settings(IngressHook::Tc), family)
    }

    pub(crate) fn with(source: &str, settings: &Settings, family: [&str; 2]) -> Self {
        let lab = lab(source);
        let up = Up::new(&lab);
        up.converge_with(&lab, settings);
        let socket = |name: &str, address: &str| {
            let socket = udp(&netns(name), address.parse::<IpAddr>().unwrap());
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            socket
        };
        let [left, right] = [socket("left", family[0]), socket("right", family[1])];
        left.connect(right.local_addr().unwrap()).unwrap();
        right.connect(left.local_addr().unwrap()).unwrap();
        Self { up, left, right }
    }

    /// Sends datagrams one by one, each of which must arrive.
    pub(crate) fn exchange(&self, count: u64, payload: usize) {
        let mut buffer = vec![0; payload + 1];
        for _ in 0..count {
            self.left.send(&vec![0x6e; payload]).expect("send");
            assert_eq!(self.right.recv(&mut buffer).expect("receive"), payload);
        }
    }

    pub(crate) fn down(self) {
        let Self { up, left, right } = self;
        drop((left, right));
        up.down();
    }
}

pub(crate) const V4: [&str; 2] = ["10.1.0.1", "10.2.0.1"];
pub(crate) const V6: [&str; 2] = ["fd01::1", "fd02::1"];

fn forwarded(netns: &NetNs, family: [&str; 2]) -> u64 {
    netns.run(|| forwarded_here(family)).unwrap()
}

/// Packets that the stack of the current namespace forwarded, as it counts itself.
pub(crate) fn forwarded_here(family: [&str; 2]) -> u64 {
    let v6 = family == V6;
    let file = if v6 { "/proc/thread-self/net/snmp6" } else { "/proc/thread-self/net/snmp" };
    let text = std::fs::read_to_string(file).unwrap();
    if v6 {
        let line = text.lines().find(|line| line.starts_with("Ip6OutForwDatagrams")).unwrap();
        return line.split_whitespace().last().unwrap().parse().unwrap();
    }
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Ip: "));
    let [names, values] = [lines.next().unwrap(), lines.next().unwrap()];
    let place = names.split(' ').position(|name| name == "ForwDatagrams").unwrap();
    values.split(' ').nth(place).unwrap().parse().unwrap()
}

fn counted() -> Result<(), Failed> {
    for (family, class) in [(V4, Class::Ipv4Udp), (V6, Class::Ipv6Udp)] {
        let ground = Ground::new(family);
        let router = netns("router");
        ground.exchange(1, 100);
        let (before, by_stack) = (ground.up.stats(), forwarded(&router, family));
        ground.exchange(PACKETS, 100);
        let after = ground.up.stats();
        let grown = |port: &str, tx: bool| {
            let [before, after] = [&before, &after].map(|stats| {
                let stats = &stats[port];
                if tx { stats.tx[class] } else { stats.rx[class] }
            });
            after.packets - before.packets
        };
        for (port, tx) in [
            ("left/eth0", true),
            ("router/left", false),
            ("router/right", true),
            ("right/eth0", false),
        ] {
            assert_eq!(grown(port, tx), PACKETS, "{port}");
        }
        let by_stack = forwarded(&router, family) - by_stack;
        assert!(by_stack < PACKETS / 10, "the stack forwarded {by_stack}");
        drop(router);
        ground.down();
    }
    Ok(())
}

/// Hops, addresses and checksums: of one that the stack forwarded, and of those that it
/// did not see.
fn same_packet() -> Result<(), Failed> {
    for family in [V4, V6] {
        let ground = Ground::new(family);
        arrives_the_same(&ground, family)?;
        ground.down();
    }
    Ok(())
}

pub(crate) fn arrives_the_same(ground: &Ground, family: [&str; 2]) -> Result<(), Failed> {
    let sniffer = netns("right").run(packet_socket)??;
    ground.exchange(20, 300);
    let mut frames = Vec::new();
    while frames.len() < 20 {
        frames.push(next_frame(&sniffer, ground, family)?);
    }
    for frame in &mut frames {
        if family == V4 {
            assert_eq!(frame[22], 63, "hops");
            assert_eq!(checksum(&frame[14..34]), 0, "the header's checksum");
            // Identification, and with it the checksum, are each packet's own.
            frame[18..20].fill(0);
            frame[24..26].fill(0);
        } else {
            assert_eq!(frame[21], 63, "hops");
        }
    }
    assert!(frames.iter().all(|frame| *frame == frames[0]), "{frames:x?}");
    Ok(())
}

/// The next frame for `right` that a raw socket hears.
pub(crate) fn next_frame(
    mut sniffer: &socket2::Socket,
    ground: &Ground,
    family: [&str; 2],
) -> std::io::Result<Vec<u8>> {
    let port = ground.right.local_addr()?.port().to_be_bytes();
    loop {
        let mut frame = vec![0; 2000];
        let length = sniffer.read(&mut frame)?;
        frame.truncate(length);
        let udp = if family == V4 { 34 } else { 54 };
        if frame.get(udp + 2..udp + 4) == Some(&port) {
            return Ok(frame);
        }
    }
}

pub(crate) fn packet_socket() -> std::io::Result<socket2::Socket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let all = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(all))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    Ok(socket)
}

/// Nothing, if a header has the right one.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

/// The next link is narrower: what does not fit is answered by the stack, as ever.
fn mtu() -> Result<(), Failed> {
    let ground = Ground::new(V4);
    ip(&["-netns", "router", "link", "set", "right", "mtu", "1000"]);
    is_told_what_is_too_long(&ground)?;
    ground.down();
    Ok(())
}

/// Where no more than 1,000 bytes go on.
pub(crate) fn is_told_what_is_too_long(ground: &Ground) -> Result<(), Failed> {
    ground.exchange(50, 500);
    // The sender may not cut, and learns from the router's answer that it would have to.
    let probe = socket2::SockRef::from(&ground.left);
    // SAFETY: an integer, as long as told.
    let set = unsafe {
        let always = libc::IP_PMTUDISC_DO;
        libc::setsockopt(
            std::os::fd::AsRawFd::as_raw_fd(&*probe),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const always).cast(),
            size_of::<i32>() as libc::socklen_t,
        )
    };
    assert_eq!(set, 0);
    ground.left.send(&[0; 1200])?;
    let deadline = Instant::now() + Duration::from_secs(2);
    let refused = || match ground.left.send(&[0; 1200]) {
        Err(error) => error.raw_os_error() == Some(libc::EMSGSIZE),
        Ok(_) => false,
    };
    while !refused() {
        assert!(Instant::now() < deadline, "nobody says that it is too long");
    }
    Ok(())
}

/// Another gateway, by somebody else: within five seconds.
fn changed() -> Result<(), Failed> {
    let ground = Ground::new(V4);
    ground.exchange(50, 100);
    ip(&["-netns", "router", "route", "add", "blackhole", "10.2.0.1/32"]);
    let changed = Instant::now();
    ends(&ground, changed);
    ip(&["-netns", "router", "route", "delete", "blackhole", "10.2.0.1/32"]);
    ground.exchange(50, 100);
    ground.down();
    Ok(())
}

/// Forwarding is turned off, and reverse path filtering on with a source that has none.
fn forbidden() -> Result<(), Failed> {
    let ground = Ground::new(V4);
    ground.exchange(50, 100);
    let router = netns("router");
    let write = |name: &'static str, value: &'static str| {
        let path = format!("/proc/sys/net/ipv4/{name}");
        router.run(move || std::fs::write(path, value)).unwrap().unwrap();
    };
    write("conf/left/forwarding", "0");
    ends(&ground, Instant::now());
    write("conf/left/forwarding", "1");
    ground.exchange(50, 100);
    write("conf/left/rp_filter", "1");
    ip(&["-netns", "router", "route", "add", "10.1.0.1/32", "dev", "right"]);
    ends(&ground, Instant::now());
    drop(router);
    ground.down();
    Ok(())
}

/// What is sent arrives no more, after five seconds at the latest.
pub(crate) fn ends(ground: &Ground, since: Instant) {
    ground.right.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut buffer = [0; 200];
    loop {
        // An error is what the router answered to the one before.
        let _ = ground.left.send(&[0; 100]);
        if ground.right.recv(&mut buffer).is_err() {
            break;
        }
        assert!(since.elapsed() < AGE + Duration::from_millis(500), "it still arrives");
    }
    ground.right.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    while ground.left.take_error().unwrap().is_some() {}
}

fn verb() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("lab.yaml");
    std::fs::write(&file, ROUTER)?;
    let file = file.to_str().expect("a path");
    ran(&["up", file]);
    let ways = || -> Result<Vec<(String, String)>, Failed> {
        let shown = ran(&["fastpath", "show", "router", "--format", "json"]);
        let shown: serde_json::Value = serde_json::from_str(&shown)?;
        let interfaces = shown["interfaces"].as_array().expect("interfaces");
        let text = |one: &serde_json::Value, what: &str| one[what].as_str().unwrap().to_owned();
        Ok(interfaces.iter().map(|one| (text(one, "interface"), text(one, "fastpath"))).collect())
    };
    assert!(ways()?.iter().all(|(_, way)| way == "peer"));
    ran(&["fastpath", "set", "router", "redirect", "--interface", "left/eth0"]);
    let wanted = |id: &str| if id == "left/eth0" { "redirect" } else { "peer" };
    assert!(ways()?.iter().all(|(id, way)| way == wanted(id)), "{:?}", ways()?);
    for way in ["bridge", "xdp", "peer"] {
        ran(&["fastpath", "set", "router", way]);
        assert!(ways()?.iter().all(|(_, is)| is == way), "{:?}", ways()?);
        let again = ran(&["fastpath", "set", "router", way]);
        assert!(again.contains("nothing to change"), "{again}");
        ran(&["check", "router"]);
    }
    assert!(ran(&["up", file]).contains("nothing to change"));
    let mut none =
        crate::command::run(&["fastpath", "set", "router", "peer", "--interface", "left/eth1"]);
    assert_eq!(none.code.take(), Some(2), "{}", none.err);
    assert!(none.err.contains("did you mean `left/eth0`?"), "{}", none.err);
    ran(&["down", "router"]);
    Ok(())
}

/// While XDP and tc take over from each other at all ports, what one port's XDP has seen
/// comes to the tc hooks of others: by the router's fast path, and by its stack.
fn changing() -> Result<(), Failed> {
    const CROSSINGS: [[&str; 2]; 4] = [
        ["left/eth0", "router/left"],
        ["router/right", "right/eth0"],
        ["right/eth0", "router/right"],
        ["router/left", "left/eth0"],
    ];
    let ground = Ground::new(V4);
    let lab = lab(ROUTER);
    for socket in [&ground.left, &ground.right] {
        socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A datagram may be lost while a device learns to poll, or forgets it.
        for (from, to) in [(&ground.left, &ground.right), (&ground.right, &ground.left)] {
            let done = &done;
            scope.spawn(move || {
                let mut buffer = [0; 200];
                while !done.load(Ordering::Relaxed) {
                    let _ = from.send(&[0x6e; 100]);
                    let _ = to.recv(&mut buffer);
                }
            });
        }
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for way in [Way::Xdp, Way::Peer].into_iter().cycle().take(8) {
                let settings = Settings { fastpath: Some(way), ..settings(IngressHook::Tc) };
                ground.up.converge_with(&lab, &settings);
            }
        }));
        // Else the others would never end.
        done.store(true, Ordering::Relaxed);
        changed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let deadline = Instant::now() + AGE;
    loop {
        let stats = ground.up.stats();
        let udp = CROSSINGS.map(|[from, to]| {
            [stats[from].tx, stats[to].rx].map(|direction| direction[Class::Ipv4Udp].packets)
        });
        if udp.iter().all(|[left, entered]| left == entered) {
            assert!(udp.iter().all(|[left, _]| *left > PACKETS), "{udp:?}");
            break;
        }
        assert!(Instant::now() < deadline, "left and entered: {udp:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    ground.down();
    Ok(())
}
