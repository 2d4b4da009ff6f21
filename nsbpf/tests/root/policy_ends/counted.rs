//! What rules count is what sockets sent.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::plan::Settings;
use nsbpf_common::stats::Way;

use super::arena::{Arena, by};
use super::sockets::{FAMILIES, address};
use crate::truth::{LAB, dropped_in_queues, sent, set_option};
use crate::world::{netns, udp};

const PATIENCE: Duration = Duration::from_secs(5);
const RULES: [&str; 2] = [
    "{ name: tcp, from: a, to: b, proto: tcp, action: allow }",
    "{ name: udp, from: a, to: b, proto: udp, action: allow }",
];

pub(super) fn exactly(settings: &Settings) -> Result<(), Failed> {
    let arena = Arena::with(LAB, settings);
    arena.set("default: deny", &RULES);
    for [from, to, _] in FAMILIES {
        stream(&arena, to)?;
        datagrams(&arena, from, to)?;
    }
    arena.down();
    Ok(())
}

/// Both directions, by whole segments and by what the kernel cuts later.
fn stream(arena: &Arena, to: &str) -> Result<(), Failed> {
    const BYTES: usize = 4_000_000;
    /// What a SYN has besides: MSS, SACK permitted, window scale.
    const SYN_EXTRA_BYTES: u64 = 8;
    // Ethernet, IP, TCP with timestamps.
    let header_bytes = 14 + 32 + if to.contains(':') { 40 } else { 20 };
    let [a, b] = ["a", "b"].map(netns);
    let dropped = dropped_in_queues();
    let before = arena.counts()["tcp"];
    let listener = b.run(|| TcpListener::bind(SocketAddr::new(address(to), 0)))??;
    let at = listener.local_addr()?;
    let mut near = a.run(|| TcpStream::connect(at))??;
    let (mut far, _) = listener.accept()?;
    for (from, to) in [(0, BYTES), (BYTES / 3, 0)] {
        let (mut one, mut other) = if from == 0 { (&near, &far) } else { (&far, &near) };
        let bytes = from.max(to);
        std::thread::scope(|scope| -> std::io::Result<()> {
            let reader = scope.spawn(move || other.read_exact(&mut vec![0; bytes]));
            one.write_all(&vec![0x6e; bytes])?;
            reader.join().expect("the reader")
        })?;
    }
    // Small ones, to and fro.
    for _ in 0..100 {
        near.write_all(b"ping")?;
        far.read_exact(&mut [0; 4])?;
        far.write_all(b"pong")?;
        near.read_exact(&mut [0; 4])?;
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let after = arena.counts()["tcp"];
        let counted = (after.0 - before.0, after.1 - before.1);
        let (near_segments, near_bytes) = sent(&near)?;
        let (far_segments, far_bytes) = sent(&far)?;
        // Who accepts was not there yet when the kernel agreed to the connection.
        let segments = near_segments + far_segments + 1;
        let bytes = near_bytes + far_bytes + segments * header_bytes + 2 * SYN_EXTRA_BYTES;
        let dropped = dropped_in_queues() - dropped;
        if counted == (segments, bytes) || (dropped > 0 && counted.0 + dropped == segments) {
            return Ok(());
        }
        assert!(
            Instant::now() < deadline,
            "{to}: counted {counted:?}, {segments} segments of {bytes} bytes were sent"
        );
        std::thread::yield_now();
    }
}

/// Datagrams of all sizes, and many that are sent as one.
fn datagrams(arena: &Arena, from: &str, to: &str) -> Result<(), Failed> {
    const SEGMENT: usize = 1000;
    let header_bytes = 14 + 8 + if to.contains(':') { 40 } else { 20 };
    let near = udp(&netns("a"), address(from));
    let far = udp(&netns("b"), address(to));
    for (socket, other) in [(&near, &far), (&far, &near)] {
        socket.connect(other.local_addr()?)?;
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    for (from, to) in [(&near, &far), (&far, &near)] {
        for payload in [1, 18, 512, 1452] {
            let mut said = Ok(());
            let counted = arena.counted("udp", || {
                said = (0..100).try_for_each(|_| {
                    from.send(&vec![0x6e; payload])?;
                    to.recv(&mut [0; 2000]).map(drop)
                });
            });
            said?;
            assert_eq!(counted, (100, 100 * (payload as u64 + header_bytes)), "{payload}");
        }
    }
    for socket in [&near, &far] {
        set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, SEGMENT as i32)?;
    }
    for (from, to) in [(&near, &far), (&far, &near)] {
        for payload in [10_000_usize, 9_500, 1_000, 999, 1_001] {
            let datagrams = payload.div_ceil(SEGMENT);
            let mut said = Ok(());
            let counted = arena.counted("udp", || {
                said = from.send(&vec![0x6e; payload]).map(drop).and_then(|()| {
                    (0..datagrams).try_for_each(|_| to.recv(&mut [0; 2000]).map(drop))
                });
            });
            said?;
            let bytes = payload as u64 + datagrams as u64 * header_bytes;
            assert_eq!(counted, (datagrams as u64, bytes), "{payload}");
        }
    }
    Ok(())
}

/// By whichever way.
pub(super) fn by_way(way: Way) -> Result<(), Failed> {
    exactly(&by(way))
}
