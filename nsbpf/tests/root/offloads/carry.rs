//! What XDP carries arrives, and arrives as it was sent.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::state::IngressHook;
use nsbpf_common::stats::Way;

use super::{LAB, SENDS_BY_XDP, by};
use crate::engine::{Up, lab, settings};
use crate::world::{ip, netns, reaches, udp};

/// Bytes of a stream: some thousand frames.
const STREAM_BYTES: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes that do not repeat.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

/// Sends a stream from one namespace to another, which must get it as it is.
#[track_caller]
pub(super) fn stream(from: &str, to: &str, address: &str) {
    let address: IpAddr = address.parse().expect("an address");
    let listener = netns(to).run(|| TcpListener::bind(SocketAddr::new(address, 0)));
    let listener = listener.expect("enter a namespace").expect("listen");
    let target = listener.local_addr().expect("an address");
    let connect = || TcpStream::connect_timeout(&target, PATIENCE);
    let mut source = netns(from).run(connect).expect("enter a namespace").expect("connect");
    let (mut sink, _) = listener.accept().expect("accept");
    source.set_write_timeout(Some(PATIENCE)).expect("set a time-out");
    sink.set_read_timeout(Some(PATIENCE)).expect("set a time-out");
    let sent = noise(STREAM_BYTES);
    let received = thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            let mut received = Vec::new();
            sink.read_to_end(&mut received).expect("receive a stream");
            received
        });
        source.write_all(&sent).expect("send a stream");
        source.shutdown(Shutdown::Write).expect("end a stream");
        receiver.join().expect("receive")
    });
    assert!(received == sent, "{from} to {target}: {} bytes, or others", received.len());
}

/// Sends datagrams, one at a time, each of which must arrive as it is.
#[track_caller]
fn datagrams([from, from_address]: [&str; 2], [to, to_address]: [&str; 2]) {
    let [sender, receiver] = [(from, from_address), (to, to_address)]
        .map(|(name, address)| udp(&netns(name), address.parse().expect("an address")));
    receiver.set_read_timeout(Some(PATIENCE)).expect("set a time-out");
    let target = receiver.local_addr().expect("an address");
    for length in [0, 1, 17, 512, 1400] {
        let sent = noise(length);
        sender.send_to(&sent, target).expect("send");
        let mut buffer = [0; 2000];
        let length = receiver.recv(&mut buffer).expect("receive a datagram");
        assert!(buffer[..length] == sent, "{from} to {target}: {length} bytes, or others");
    }
}

/// Packets of an interface by XDP: those it sent, and those it got.
fn by_xdp(up: &Up, interface: &str) -> [u64; 2] {
    let stats = up.stats();
    let stats = &stats[interface];
    [stats.tx.way(Way::Xdp).packets, stats.rx.way(Way::Xdp).packets]
}

pub(super) fn everything() -> Result<(), Failed> {
    let lab = lab(LAB);
    let up = Up::new(&lab);
    up.converge_with(&lab, &by(Way::Xdp));
    everything_arrives(&up, [true, true]);
    // From a lab that is up, and back to it.
    up.converge_with(&lab, &by(Way::Peer));
    everything_arrives(&up, [false, false]);
    up.converge_with(&lab, &by(Way::Xdp));
    everything_arrives(&up, [true, true]);
    up.down();
    Ok(())
}

/// Both ways and both families; `xdp` says who of the two sends by XDP.
#[track_caller]
fn everything_arrives(up: &Up, xdp: [bool; 2]) {
    const A: [&str; 2] = ["10.0.0.1", "fd00::1"];
    const B: [&str; 2] = ["10.0.0.2", "fd00::2"];
    let before = by_xdp(up, "a/eth0");
    for (a, b) in A.into_iter().zip(B) {
        assert!(reaches("a", b) && reaches("b", a), "no ping between {a} and {b}");
        datagrams(["a", a], ["b", b]);
        datagrams(["b", b], ["a", a]);
        stream("a", "b", b);
        stream("b", "a", a);
    }
    let after = by_xdp(up, "a/eth0");
    let frames = (STREAM_BYTES / 1500) as u64;
    for ((before, after), xdp) in before.into_iter().zip(after).zip(xdp) {
        let passed = after - before;
        assert!(if xdp { passed > frames } else { passed == 0 }, "{passed} by XDP, {xdp}");
    }
    let (a, b) = (by_xdp(up, "a/eth0"), by_xdp(up, "b/eth0"));
    assert_eq!([b[1], b[0]], a, "who gets what was sent counts it");
}

pub(super) fn one_sends() -> Result<(), Failed> {
    let one = lab(&LAB.replace("eth0: { bridge: br0, addresses: [10.0.0.1", SENDS_BY_XDP));
    let up = Up::new(&one);
    up.converge_with(&one, &settings(IngressHook::Tc));
    everything_arrives(&up, [true, false]);
    up.down();
    Ok(())
}

pub(super) fn inside() -> Result<(), Failed> {
    let inside = lab(&LAB.replace("br0: {}", "br0: { namespace: switch }"));
    let up = Up::new(&inside);
    up.converge_with(&inside, &by(Way::Xdp));
    everything_arrives(&up, [true, true]);
    assert_eq!(up.converge_with(&inside, &by(Way::Xdp)).steps, 0);
    up.down();
    Ok(())
}

/// The kernel looks when a port comes up whether what is behind takes frames from XDP.
pub(super) fn late() -> Result<(), Failed> {
    let up_late = LAB.replace(
        "bridge: br0, addresses: [10.0.0.2",
        "bridge: br0, up: false, addresses: [10.0.0.2",
    );
    assert_ne!(up_late, LAB);
    let down = lab(&up_late);
    let up = Up::new(&down);
    up.converge_with(&down, &by(Way::Xdp));
    up.converge_with(&lab(LAB), &by(Way::Xdp));
    everything_arrives(&up, [true, true]);
    for change in ["down", "up"] {
        ip(&["-netns", "b", "link", "set", "eth0", change]);
    }
    everything_arrives(&up, [true, true]);
    up.down();
    Ok(())
}

/// A device inside the namespaces tags frames, and the bridge carries them on.
pub(super) fn tagged() -> Result<(), Failed> {
    let lab = lab(LAB);
    let up = Up::new(&lab);
    up.converge_with(&lab, &by(Way::Xdp));
    for (namespace, address) in [("a", "10.1.0.1/24"), ("b", "10.1.0.2/24")] {
        let run = |words: &str| {
            let words: Vec<&str> = words.split(' ').collect();
            ip(&[&["-netns", namespace], &words[..]].concat())
        };
        run("link add link eth0 name tagged type vlan id 7");
        run(&format!("address add {address} dev tagged"));
        run("link set tagged up");
    }
    let deadline = Instant::now() + PATIENCE;
    while !reaches("a", "10.1.0.2") {
        assert!(Instant::now() < deadline, "no tagged frame arrives");
    }
    let before = by_xdp(&up, "a/eth0");
    stream("a", "b", "10.1.0.2");
    stream("b", "a", "10.1.0.1");
    let after = by_xdp(&up, "a/eth0");
    for (before, after) in before.into_iter().zip(after) {
        assert!(after - before > (STREAM_BYTES / 1500) as u64, "{before} and {after} by XDP");
    }
    up.down();
    Ok(())
}
