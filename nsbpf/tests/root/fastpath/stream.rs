//! Streams arrive as they were sent, both directions at once, and all of what they are
//! made of is counted: whichever way they take, while that changes, and while paths age.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::net::NetNs;
use nsbpf_common::stats::{Class, Way};
use sha2::{Digest, Sha256};

use super::by;
use crate::Test;
use crate::engine::lab;
use crate::truth::{Ground, LAB, dropped_in_queues};

pub(crate) const TESTS: &[Test] = &[
    ("fastpath::stream::by_the_bridge", || whole(Way::Bridge)),
    ("fastpath::stream::by_redirect", || whole(Way::Redirect)),
    ("fastpath::stream::by_peer", || whole(Way::Peer)),
    ("fastpath::stream::by_xdp", || whole(Way::Xdp)),
    ("fastpath::stream::while_the_way_changes", changing),
    ("fastpath::stream::while_paths_age", ageing),
];

/// What each end sends: a gigabyte shows no more.
const BYTES: u64 = 256 << 20;
/// What devices forget, and tell nobody, of what waits for them when they have to poll no
/// more: their rings, four times each (`veth_napi_del`, Linux 6.18). That is before our hooks.
const FORGOTTEN: u64 = 4 * 2 * 256;
const CHUNK: usize = 64 << 10;
/// Longer than the life of a path.
const LONG: Duration = Duration::from_secs(6);
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes that do not repeat, and differ by their seed.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, chunk: &mut [u8]) {
        for word in chunk.chunks_exact_mut(8) {
            // Xorshift, by George Marsaglia.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_ne_bytes());
        }
    }
}

/// What an end has to say of its stream: bytes and their hash.
type Told = (u64, Vec<u8>);

/// Sends noise for as long as it is told to.
fn send(
    mut stream: &TcpStream,
    seed: u64,
    mut goes_on: impl FnMut(u64) -> bool,
) -> io::Result<Told> {
    let (mut noise, mut hash, mut bytes) = (Noise(seed), Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK];
    while goes_on(bytes) {
        noise.fill(&mut chunk);
        hash.update(&chunk);
        stream.write_all(&chunk)?;
        bytes += CHUNK as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    Ok((bytes, hash.finalize().to_vec()))
}

fn receive(mut stream: &TcpStream) -> io::Result<Told> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut chunk = vec![0; CHUNK];
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok((bytes, hash.finalize().to_vec())),
            length => {
                hash.update(&chunk[..length]);
                bytes += length as u64;
            }
        }
    }
}

fn connected([a, b]: [&NetNs; 2]) -> io::Result<[TcpStream; 2]> {
    let listener = b.run(|| TcpListener::bind("10.0.0.2:0"))??;
    let address: SocketAddr = listener.local_addr()?;
    let one = a.run(|| TcpStream::connect(address))??;
    let (other, _) = listener.accept()?;
    for stream in [&one, &other] {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
    }
    Ok([one, other])
}

/// Streams both ways over one connection while something happens, which is told by
/// whether they are to end; and fails unless all arrived and was counted, but for what the
/// kernel dropped and for so much that it does not tell of.
fn arrives(
    ground: &Ground,
    goes_on: impl Fn(u64) -> bool + Sync,
    meanwhile: impl FnOnce(),
    unnamed: u64,
) -> Result<(), Failed> {
    let streams = connected(ground.namespaces())?;
    let [one, other] = &streams;
    let goes_on = &goes_on;
    let told = thread::scope(|scope| {
        let ends = [
            scope.spawn(move || send(one, 1, goes_on)),
            scope.spawn(move || receive(other)),
            scope.spawn(move || send(other, 2, goes_on)),
            scope.spawn(move || receive(one)),
        ];
        meanwhile();
        ends.map(|end| end.join().expect("an end"))
    });
    let [sent_there, heard_there, sent_back, heard_back] = told;
    assert_eq!(sent_there?, heard_there?);
    assert_eq!(sent_back?, heard_back?);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let [a, b] = ground.read();
        let counted = [a, b].map(|stats| stats.tx[Class::Ipv4Tcp].packets);
        let entered = [b, a].map(|stats| stats.rx[Class::Ipv4Tcp].packets);
        let [a, b] = ground.namespaces();
        let segments = [a.run(segments_sent)??, b.run(segments_sent)??];
        let dropped = dropped_in_queues();
        if counted == segments && entered == segments {
            return Ok(());
        }
        // What a queue dropped came to no hook, or left by one and never arrived.
        let missing = |there: [u64; 2]| -> Option<u64> {
            segments.into_iter().zip(there).map(|(sent, there)| sent.checked_sub(there)).sum()
        };
        let all_named = |there| missing(there).is_some_and(|missing| missing <= dropped + unnamed);
        if dropped + unnamed > 0 && all_named(counted) && all_named(entered) {
            return Ok(());
        }
        assert!(
            Instant::now() < deadline,
            "TCP sent {segments:?}, {counted:?} were counted, {entered:?} entered, {dropped} dropped"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// Segments that the TCP of the current namespace sent, with those that no socket has any
/// more to do with. A sum of what `Tcp:` has in `/proc/net/snmp`: what is sent again does
/// not count as sent there.
fn segments_sent() -> io::Result<u64> {
    let snmp = std::fs::read_to_string("/proc/thread-self/net/snmp")?;
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let [names, values] = [lines.next(), lines.next()].map(Option::unwrap_or_default);
    let counts = names.split(' ').zip(values.split(' '));
    let ours = counts.filter(|(name, _)| ["OutSegs", "RetransSegs"].contains(name));
    Ok(ours.map(|(_, value)| value.parse::<u64>().expect("a number")).sum())
}

fn whole(way: Way) -> Result<(), Failed> {
    let ground = Ground::with(LAB, &by(way));
    arrives(&ground, |bytes| bytes < BYTES, || {}, 0)?;
    for direction in ground.read().map(|stats| stats.tx) {
        let (all, took) = (direction[Class::Ipv4Tcp].packets, direction.way(way).packets);
        // A path lives for thousands of segments.
        assert!(took > all * 99 / 100, "{took} of {all}");
    }
    ground.down();
    Ok(())
}

/// Each way takes the place of each other, several times.
fn changing() -> Result<(), Failed> {
    let ground = Ground::with(LAB, &by(Way::Bridge));
    let lab = lab(LAB);
    let done = AtomicBool::new(false);
    let ways = [
        Way::Redirect,
        Way::Peer,
        Way::Xdp,
        Way::Bridge,
        Way::Xdp,
        Way::Peer,
        Way::Redirect,
        Way::Bridge,
    ];
    let change = || {
        for way in ways.iter().cycle().take(2 * ways.len()) {
            let before = taken(&ground, *way);
            ground.up.converge_with(&lab, &by(*way));
            let deadline = Instant::now() + PATIENCE;
            while taken(&ground, *way) < before + 1000 {
                assert!(Instant::now() < deadline, "{} is not taken", way.name());
                thread::sleep(Duration::from_millis(1));
            }
        }
    };
    let change = || {
        let changed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(change));
        // Else the streams would never end.
        done.store(true, Ordering::Relaxed);
        changed.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    };
    arrives(&ground, |_| !done.load(Ordering::Relaxed), change, FORGOTTEN)?;
    ground.down();
    Ok(())
}

fn taken(ground: &Ground, way: Way) -> u64 {
    ground.read().iter().map(|stats| stats.tx.way(way).packets).sum()
}

/// Paths are learned anew under traffic: few packets take the bridge for it.
fn ageing() -> Result<(), Failed> {
    let ground = Ground::with(LAB, &by(Way::Peer));
    let began = Instant::now();
    arrives(&ground, |_| began.elapsed() < LONG, || {}, 0)?;
    for direction in ground.read().map(|stats| stats.tx) {
        let tcp = direction[Class::Ipv4Tcp].packets;
        let bridged = direction.way(Way::Bridge).packets;
        assert!(bridged < tcp / 100, "{bridged} of {tcp} took the bridge");
    }
    ground.down();
    Ok(())
}
