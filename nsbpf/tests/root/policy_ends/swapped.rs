//! From one policy to another: at once, for all that a packet is judged by.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf_common::stats::Way;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::arena::{Arena, Count};
use super::connections::{A, B, Ends, OUT};
use super::packet::{ACK, SYN, token};
use super::sockets::{FAMILIES, address};
use crate::world::{netns, udp};

const PATIENCE: Duration = Duration::from_secs(5);
const SILENCE: Duration = Duration::from_millis(150);

/// A rule that comes, changes and goes holds for what is there already.
pub(super) fn at_once(way: Way) -> Result<(), Failed> {
    let arena = Arena::new(way);
    let other = "{ name: other, from: a, ethertype: [ipv4, ipv6], action: allow }";
    for ends in Ends::both(&arena) {
        let of = ends.connection(5000);
        let [there, ping] = [ends.base.udp(5000, 53), ends.base.ping()];
        arena.set("default: deny", &[OUT]);
        ends.open(&of);
        for _ in 0..6 {
            ends.there(&there, true);
            ends.back(&there.back(), true);
        }
        ends.there(&ping, true);
        // The first packets of the next one are replies, and count for it.
        arena.set("default: deny", &[other]);
        let counted = arena.counted("other", || {
            ends.back(&of(ACK).back(), true);
            ends.back(&there.back(), true);
            ends.back(&ping.pong().back(), true);
            ends.there(&of(ACK), true);
        });
        assert_eq!(counted.0, 4);
        // What it replies to is denied now: by a rule, by the default.
        for rules in [
            &["{ name: no, from: a, ports: [80, 53], action: deny }", other][..],
            &["{ name: b, from: b, to: a, action: allow }"],
            &[],
        ] {
            arena.set("default: deny", rules);
            ends.back(&of(ACK).back(), false);
            ends.back(&there.back(), false);
            ends.there(&of(ACK), false);
            ends.there(&there, false);
            // And live again.
            arena.set("default: deny", &[OUT]);
            ends.back(&of(ACK).back(), true);
            ends.back(&there.back(), true);
            ends.there(&of(ACK), true);
        }
        // Connections that are there, and none that begins.
        let begins = "{ name: begins, from: a, proto: tcp, flags: syn, action: deny }";
        arena.set("default: allow", &[begins]);
        let counted = arena.counted("begins", || {
            ends.there(&of(ACK), true);
            ends.there(&of(SYN), false);
            ends.there(&ends.connection(5001)(SYN), false);
            ends.back(&of(ACK).back(), true);
            ends.there(&of(ACK), true);
            ends.there(&of(SYN | ACK), true);
        });
        assert_eq!(counted.0, 2);
        arena.set_none();
        ends.back(&ends.connection(5002)(SYN).back(), true);
    }
    sockets(&arena)?;
    arena.down();
    Ok(())
}

fn sockets(arena: &Arena) -> Result<(), Failed> {
    let [a, b] = ["a", "b"].map(netns);
    for [_, to, _] in FAMILIES {
        arena.set("default: allow", &[]);
        let listener = b.run(|| TcpListener::bind((address(to), 0)))??;
        let at = listener.local_addr()?;
        let mut near = a.run(|| TcpStream::connect(at))??;
        let (mut far, _) = listener.accept()?;
        let mut talk = |patience: Duration| -> std::io::Result<()> {
            near.set_read_timeout(Some(patience))?;
            far.write_all(b"data")?;
            near.read_exact(&mut [0; 4])?;
            near.write_all(b"data")?;
            far.read_exact(&mut [0; 4])
        };
        talk(PATIENCE)?;
        let deny = format!(
            "{{ name: no, from: a, to: b, proto: tcp, ports: {}, action: deny }}",
            at.port()
        );
        arena.set("default: deny", &[&deny, OUT]);
        let dead = talk(SILENCE).expect_err("it is denied, and so its replies are");
        assert_eq!(dead.kind(), ErrorKind::WouldBlock, "{dead}");
        arena.set("default: deny", &[OUT]);
        // The segment is sent again.
        near.set_read_timeout(Some(PATIENCE))?;
        near.read_exact(&mut [0; 4])?;
        near.write_all(b"data")?;
        far.read_exact(&mut [0; 4])?;
    }
    Ok(())
}

/// Rules that nothing fits: a policy of many, and another one of other many.
fn fillers(name: &str, count: usize, ports: u16) -> Vec<String> {
    let rule = |number: usize| {
        let port = ports + number as u16;
        format!("{{ name: {name}-{number}, from: g, proto: udp, ports: {port}, action: deny }}")
    };
    (0..count).map(rule).collect()
}

/// Each of two policies lets one thing pass, and denies what the other does not.
pub(super) fn one_or_the_other(way: Way) -> Result<(), Failed> {
    const SWAPS: usize = 12;
    let arena = Arena::new(way);
    let policy = |name: &str, [x, y]: [&str; 2], fill: usize| -> Vec<String> {
        let mut rules = fillers(name, fill, 7000);
        rules.insert(
            fill / 2,
            format!("{{ name: {name}-x, to: 10.0.0.102, ports: 1001, action: {x} }}"),
        );
        rules.push(format!("{{ name: {name}-y, from: a, ports: [1002, 1003], action: {y} }}"));
        rules
    };
    let policies = [policy("one", ["allow", "deny"], 10), policy("two", ["deny", "allow"], 250)];
    let set = |number: usize| {
        let rules: Vec<&str> = policies[number % 2].iter().map(String::as_str).collect();
        arena.set("default: deny", &rules);
    };
    set(0);
    let ends = &Ends::both(&arena)[0];
    let mut tried = [0; 2];
    let mut passed = [0; 2];
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    let (x, y) = (ends.base.udp(1000, 1001), ends.base.udp(1000, 1002));
    let hear = |number: u32| u64::from(arena.has_heard(B, &token(number)));
    for swap in 1..=SWAPS {
        let before = arena.counts();
        // Between two swaps all that is sent is by one of them.
        for _ in 0..20 {
            for (place, packet) in [&x, &y].into_iter().enumerate() {
                let number = arena.send(A, packet);
                arena.follow(A, B);
                tried[place] += 1;
                passed[place] += hear(number);
                let expected = u64::from(place == (swap + 1) % 2);
                assert_eq!(hear(number), expected, "packet {place} by policy {swap}");
            }
        }
        for (name, (packets, bytes)) in arena.counts() {
            let old = before.get(&name).copied().unwrap_or_default();
            let sum = counts.entry(name).or_default();
            *sum = (sum.0 + packets - old.0, sum.1 + bytes - old.1);
        }
        set(swap);
    }
    let count = |name: &str| counts.get(name).map_or(0, |it| it.0);
    assert_eq!(count("one-x") + count("two-x"), tried[0]);
    assert_eq!(count("one-y") + count("two-y"), tried[1]);
    assert_eq!((count("one-x"), count("two-y")), (passed[0], passed[1]));
    arena.down();
    Ok(())
}

/// Datagrams on their way at most: fewer than a veth's ring holds, and a socket.
const WINDOW: u64 = 16;
/// Ports that somebody listens at.
const PORTS: [u16; 3] = [6001, 6002, 6003];

/// Pairs of sockets, connected, that have talked.
fn pairs() -> Result<Vec<[UdpSocket; 2]>, Failed> {
    let pair = |port| -> Result<[UdpSocket; 2], Failed> {
        let far = netns("b").run(|| UdpSocket::bind((address("10.0.0.2"), port)))??;
        far.set_read_timeout(Some(PATIENCE))?;
        let near = udp(&netns("a"), address("10.0.0.1"));
        near.connect(far.local_addr()?)?;
        near.send(&[1])?;
        far.recv(&mut [0; 8])?;
        Ok([near, far])
    };
    PORTS.into_iter().map(pair).collect()
}

/// Runs on any processor.
fn roam() {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    let _ = sched_setaffinity(None, &all);
}

/// Sends by all pairs while something happens, which is told how much arrived; returns how
/// much was sent, of which nothing is lost.
fn flood(pairs: &[[UdpSocket; 2]], happens: impl FnOnce(&dyn Fn() -> u64)) -> u64 {
    let stop = AtomicBool::new(false);
    let received = PORTS.map(|_| AtomicU64::new(0));
    thread::scope(|scope| {
        for ([_, far], received) in pairs.iter().zip(&received) {
            scope.spawn(move || {
                roam();
                while far.recv(&mut [0; 200]).is_ok_and(|bytes| bytes > 1) {
                    received.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let sender = scope.spawn(|| {
            roam();
            let mut sent = PORTS.map(|_| 0);
            while !stop.load(Ordering::Relaxed) {
                for (([near, _], sent), received) in pairs.iter().zip(&mut sent).zip(&received) {
                    if *sent - received.load(Ordering::Relaxed) < WINDOW {
                        near.send(&[0x6e; 100]).expect("send");
                        *sent += 1;
                    } else {
                        thread::yield_now();
                    }
                }
            }
            sent
        });
        happens(&|| received.iter().map(|it| it.load(Ordering::Relaxed)).sum());
        stop.store(true, Ordering::Relaxed);
        let sent = sender.join().expect("the sender");
        for ([near, _], (sent, received)) in pairs.iter().zip(sent.iter().zip(&received)) {
            let deadline = Instant::now() + PATIENCE;
            while received.load(Ordering::Relaxed) < *sent && Instant::now() < deadline {
                thread::yield_now();
            }
            assert_eq!(received.load(Ordering::Relaxed), *sent, "lost");
            near.send(&[1]).expect("send the end");
        }
        sent.iter().sum()
    })
}

/// What both let pass arrives, all of it, while the one takes the other's place; and each
/// packet counts for a rule of one of them.
pub(super) fn under_a_flood(way: Way) -> Result<(), Failed> {
    const SWAPS: usize = 8;
    let arena = Arena::new(way);
    // Rules of the same names are about other packets, in another order.
    let policy = |fill: usize, rules: [&str; 3]| -> Vec<String> {
        let mut all = fillers("filler", fill, 7000);
        for (place, rule) in [0, fill / 2, fill].into_iter().zip(rules) {
            all.insert(place, format!("{{ {rule}, action: allow }}"));
        }
        all.push("{ name: noise, from: a, proto: icmpv6, action: allow }".to_owned());
        all
    };
    let policies = [
        policy(
            100,
            [
                "name: first, from: a, to: b, proto: udp, ports: 6002",
                "name: second, to: 10.0.0.2, source_ports: 1-65535, ports: 6001",
                "name: third, from: a, proto: udp",
            ],
        ),
        policy(
            5,
            [
                "name: second, from: [a, c], proto: udp, ports: [6003, 6001]",
                "name: third, from: 10.0.0.1, to: g",
                "name: first, from: 10.0.0.0/29, to: { not: g }",
            ],
        ),
        policy(
            1500,
            [
                "name: first, from: a, to: b, proto: udp, ports: 6002",
                "name: second, to: 10.0.0.2, source_ports: 1-65535, ports: 6001",
                "name: third, from: a, proto: udp",
            ],
        ),
    ];
    let set = |number: usize| {
        let rules: Vec<&str> = policies[number].iter().map(String::as_str).collect();
        arena.set("default: deny", &rules);
    };
    set(0);
    roam();
    let pairs = pairs()?;
    let dropped = || arena.up.stats()["a/eth0"].tx.dropped().packets;
    let counted = || {
        let counts = arena.counts();
        assert!(counts.iter().all(|(name, it)| !name.starts_with("filler") || it.0 == 0));
        ["first", "second", "third"].map(|name| counts[name].0).iter().sum::<u64>()
    };
    let swap = |passes: &dyn Fn() -> u64, to: usize| {
        let so_far = passes();
        while passes() < so_far + 500 {
            thread::yield_now();
        }
        set(to);
    };
    let before = (counted(), dropped());
    let flooded = flood(&pairs, |passes| (1..=SWAPS).for_each(|number| swap(passes, number % 2)));
    let ends = PORTS.len() as u64;
    assert_eq!((counted() - before.0, dropped()), (flooded + ends, before.1));
    println!("{flooded} datagrams, {SWAPS} swaps");
    // One that outgrows the maps takes its place with programs of its own.
    flood(&pairs, |passes| [1, 2, 0].into_iter().for_each(|to| swap(passes, to)));
    assert_eq!(dropped(), before.1);
    drop(pairs);
    arena.down();
    Ok(())
}
