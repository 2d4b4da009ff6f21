//! A packet's mark is its namespace's: none comes along into another.

mod marker;

use std::process::Command;

use libtest_mimic::Failed;
use nsbpf_common::stats::{Class, Way};
use serde_json::Value;
use socket2::SockRef;

use super::by;
use crate::Test;
use crate::truth::{Ground, LAB, V4, grown, sockets};

pub(crate) const TESTS: &[Test] = &[
    ("fastpath::mark::by_the_bridge", || stays(Way::Bridge)),
    ("fastpath::mark::by_redirect", || stays(Way::Redirect)),
    ("fastpath::mark::by_peer", || stays(Way::Peer)),
];

const MARK: u32 = 0x6e;
const COUNT: u64 = 50;

/// Runs `nft`, in a namespace or here.
#[track_caller]
fn nft(namespace: Option<&str>, script: &str) -> String {
    let mut command = match namespace {
        Some(name) => {
            let mut inside = Command::new("ip");
            inside.args(["netns", "exec", name, "nft"]);
            inside
        }
        None => Command::new("nft"),
    };
    let done = command.args(["--json", script]).output().expect("start nft");
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("nft prints UTF-8")
}

/// Counts packets that bear the mark, and all, of a hook.
fn witness(namespace: Option<&str>, family: &str, hook: &str) {
    nft(
        namespace,
        &format!(
            "add table {family} marks; \
            add counter {family} marks marked; add counter {family} marks datagrams; \
            add chain {family} marks seen {{ type filter hook {hook} priority 0; }}; \
            add rule {family} marks seen meta mark {MARK} counter name marked; \
            add rule {family} marks seen udp dport 1-65535 counter name datagrams"
        ),
    );
}

/// Packets that the witness saw: those with the mark, and all.
fn seen(namespace: Option<&str>, family: &str) -> [u64; 2] {
    ["marked", "datagrams"].map(|name| {
        let listed = nft(namespace, &format!("list counter {family} marks {name}"));
        let listed: Value = serde_json::from_str(&listed).expect("JSON");
        let counters = listed["nftables"].as_array().expect("a list");
        let packets = counters.iter().find_map(|one| one["counter"]["packets"].as_u64());
        packets.expect("a counter")
    })
}

/// Neither the mark that the sender's socket gave nor the one that somebody gives it on
/// its way is seen by the receiver.
fn stays(way: Way) -> Result<(), Failed> {
    let ground = Ground::with(LAB, &by(way));
    let [a, b] = sockets(&ground, V4);
    witness(Some("a"), "inet", "output");
    witness(Some("b"), "inet", "input");
    witness(None, "bridge", "forward");
    let exchange = || -> Result<(), Failed> {
        let before = ground.read();
        for _ in 0..COUNT {
            a.send(&[0; 100])?;
            b.recv(&mut [0; 128])?;
        }
        let after = ground.read();
        let fast = after[0].tx.way(way).packets - before[0].tx.way(way).packets;
        assert!(way == Way::Bridge || fast >= COUNT - 1, "{fast} took {}", way.name());
        assert_eq!(grown(before[1].rx[Class::Ipv4Udp], after[1].rx[Class::Ipv4Udp]).packets, COUNT);
        Ok(())
    };
    SockRef::from(&a).set_mark(MARK)?;
    exchange()?;
    assert_eq!(seen(Some("a"), "inet"), [COUNT, COUNT]);
    assert_eq!(seen(Some("b"), "inet"), [0, COUNT]);
    assert_eq!(seen(None, "bridge")[0], 0);
    // Before the lab's own program, where the sender's is forgotten already.
    marker::add("a-eth0", MARK)?;
    // Frames to everybody take the bridge: it does mark.
    a.set_broadcast(true)?;
    a.send_to(&[0; 100], "10.0.0.255:9")?;
    assert!(seen(None, "bridge")[0] > 0);
    exchange()?;
    assert_eq!(seen(Some("b"), "inet"), [0, 2 * COUNT + 1]);
    drop((a, b));
    ground.down();
    Ok(())
}
