//! Programs that take the place of others, while packets pass: none is lost and
//! none is counted twice or not at all.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::apply::{ApplyError, Oversight, converge};
use nsbpf::datapath::observe;
use nsbpf::plan::{Replacement, Settings, Step};
use nsbpf::state::{Attach, Datapath, IngressHook, Object};

use crate::Test;
use crate::attach::by;
use crate::engine::{Up, lab, settings};
use crate::truth::{Ground, LAB, V4, exchange_is_exact, grown, sockets};

pub(crate) const TESTS: &[Test] = &[
    ("upgrade::under_a_flood_by_clsact", || under_a_flood(Attach::Clsact, IngressHook::Tc)),
    ("upgrade::under_a_flood_by_tcx", || under_a_flood(Attach::Tcx, IngressHook::Tc)),
    ("upgrade::under_a_flood_by_xdp", || under_a_flood(Attach::Clsact, IngressHook::Xdp)),
    ("upgrade::one_that_fails_goes_back", || goes_back(Attach::Clsact, IngressHook::Tc)),
    ("upgrade::one_that_fails_goes_back_by_links", || goes_back(Attach::Tcx, IngressHook::Xdp)),
    ("upgrade::another_hook_keeps_the_counters", another_hook),
    ("upgrade::maps_of_another_layout_are_made_anew", another_layout),
    ("upgrade::maps_that_are_too_small_are_made_anew", too_small),
];

/// Programs of another build, as far as anybody can tell.
fn build(number: usize, settings: &Settings) -> Settings {
    Settings { object: format!("build {number}"), ..settings.clone() }
}

/// Datagrams on their way at most: fewer than a veth's ring holds, and a socket.
const WINDOW: u64 = 48;

/// Sends until it is told to stop; never more than the receiver keeps up with.
/// Returns how many were sent.
fn flood(socket: &UdpSocket, received: &AtomicU64, stop: &AtomicBool) -> u64 {
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        if sent - received.load(Ordering::Relaxed) < WINDOW {
            socket.send(&[0x6e; 100]).expect("send");
            sent += 1;
        } else {
            thread::yield_now();
        }
    }
    sent
}

fn receive(socket: &UdpSocket, received: &AtomicU64) {
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("set a timeout");
    while socket.recv(&mut [0; 128]).is_ok_and(|bytes| bytes > 0) {
        received.fetch_add(1, Ordering::Relaxed);
    }
}

/// Floods the lab while something is done, which is told how many were received so
/// far. Returns how many datagrams were sent, all of which were received, and how many
/// were counted at the sender and at the receiver.
pub(crate) fn flooded(ground: &Ground, work: impl FnOnce(&AtomicU64)) -> (u64, [u64; 2]) {
    let [a, b] = sockets(ground, V4);
    let before = ground.read();
    let (received, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let sent = thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(&b, &received));
        let sending = scope.spawn(|| flood(&a, &received, &stop));
        work(&received);
        stop.store(true, Ordering::Relaxed);
        let sent = sending.join().expect("the sender");
        let deadline = Instant::now() + Duration::from_secs(5);
        while received.load(Ordering::Relaxed) < sent && Instant::now() < deadline {
            thread::yield_now();
        }
        a.send(&[]).expect("send the end");
        receiving.join().expect("the receiver");
        sent
    });
    assert_eq!(received.load(Ordering::Relaxed), sent, "lost");
    let after = ground.read();
    // And the one that ended it.
    let counted = [
        grown(before[0].tx[V4.class], after[0].tx[V4.class]).packets,
        grown(before[1].rx[V4.class], after[1].rx[V4.class]).packets,
    ];
    (sent + 1, counted)
}

fn under_a_flood(attach: Attach, ingress: IngressHook) -> Result<(), Failed> {
    const UPGRADES: usize = 8;
    let settings = by(attach, ingress);
    let ground = Ground::with(LAB, &settings);
    let lab = lab(LAB);
    let mut ids = vec![observe(&ground.up.store).expect("programs").1];
    let (sent, counted) = flooded(&ground, |received| {
        for number in 1..=UPGRADES {
            let so_far = received.load(Ordering::Relaxed);
            let upgraded = ground.up.converge_with(&lab, &build(number, &settings));
            assert_eq!(upgraded.programs, Some(Replacement::InPlace));
            let (_, now) = observe(&ground.up.store).expect("programs");
            assert!(!ids.contains(&now), "the programs are the same");
            ids.push(now);
            assert!(received.load(Ordering::Relaxed) > so_far, "nothing passed meanwhile");
        }
    });
    assert_eq!(counted, [sent, sent]);
    let last = build(UPGRADES, &settings);
    assert_eq!(ground.up.converge_with(&lab, &last).steps, 0);
    ground.down();
    Ok(())
}

/// Stops what is done before the first step of a kind; what comes then is undone.
struct StopAt {
    kind: fn(&Object) -> bool,
    stop: AtomicBool,
}

impl Oversight for StopAt {
    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn progress(&self, _: usize, _: usize, next: &Step) {
        let (Step::Add(object) | Step::Remove(object) | Step::Change { to: object, .. }) = next
        else {
            return;
        };
        if (self.kind)(object) {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

fn goes_back(attach: Attach, ingress: IngressHook) -> Result<(), Failed> {
    let settings = by(attach, ingress);
    let first = build(1, &settings);
    let ground = Ground::with(LAB, &first);
    let lab = lab(LAB);
    let before = observe(&ground.up.store).expect("programs");
    for kind in
        [(|object| matches!(object, Object::Datapath(_))) as fn(&Object) -> bool, |object| {
            matches!(object, Object::Hook(_))
        }]
    {
        // A step after the hooks, to be stopped before.
        let routed = "'fd00::1/64'] } }, routes: [{ to: 10.1.0.0/16, via: 10.0.0.2 }] }";
        let edited = crate::engine::lab(&LAB.replace("'fd00::1/64'] } } }", routed));
        assert_eq!(edited.namespaces[0].routes.len(), 1);
        let stop = StopAt { kind, stop: AtomicBool::new(false) };
        let error = converge(&ground.up.store, &edited, &build(2, &settings), &stop).unwrap_err();
        assert!(matches!(error, ApplyError::Undone { .. }), "{error}");
        assert_eq!(observe(&ground.up.store).expect("programs"), before);
        assert_eq!(ground.up.converge_with(&lab, &first).steps, 0);
        exchange_is_exact(&ground, V4)?;
    }
    ground.down();
    Ok(())
}

fn another_hook() -> Result<(), Failed> {
    let ground = Ground::with(LAB, &settings(IngressHook::Tc));
    for ingress in [IngressHook::Xdp, IngressHook::Tc] {
        exchange_is_exact(&ground, V4)?;
        let before = ground.read();
        let switched = ground.up.converge_with(&lab(LAB), &settings(ingress));
        assert_eq!(switched.programs, Some(Replacement::InPlace));
        let after = ground.read();
        for (before, after) in before.iter().zip(&after) {
            assert!(after.tx[V4.class].packets >= before.tx[V4.class].packets);
        }
    }
    exchange_is_exact(&ground, V4)?;
    ground.down();
    Ok(())
}

/// A record of an older build.
fn another_layout() -> Result<(), Failed> {
    for (attach, ingress) in [(Attach::Clsact, IngressHook::Tc), (Attach::Tcx, IngressHook::Xdp)] {
        let settings = by(attach, ingress);
        let ground = Ground::with(LAB, &settings);
        exchange_is_exact(&ground, V4)?;
        let (loaded, _) = observe(&ground.up.store).expect("programs");
        let older = Datapath { abi: 0, ..loaded };
        std::fs::write(ground.up.store.datapath_record(), serde_json::to_string(&older)?)?;
        let upgraded = ground.up.converge_with(&lab(LAB), &settings);
        let Some(Replacement::Anew(why)) = upgraded.programs else {
            return Err(format!("{:?}", upgraded.programs).into());
        };
        assert!(why.starts_with("the maps' layout was version 0 and is "), "{why}");
        drop(upgraded.survey);
        let ground = ground.renewed();
        let [sender, _] = ground.read();
        assert!(sender.tx[V4.class].packets < 1000, "the counters went on");
        exchange_is_exact(&ground, V4)?;
        ground.down();
    }
    Ok(())
}

fn too_small() -> Result<(), Failed> {
    let many = |count: usize| {
        lab(&format!(
            "name: grows\nbridges: {{ br0: {{}} }}\nnamespaces:\n  \
             n: {{ count: {count}, interfaces: {{ eth0: {{ bridge: br0 }} }} }}\n"
        ))
    };
    let up = Up::new(&many(2));
    up.converge(&many(2), IngressHook::Tc);
    assert_eq!(up.converge(&many(10), IngressHook::Tc).programs, None);
    let grown = up.converge(&many(70), IngressHook::Tc).programs;
    let why = "the maps had room for 64 ports and have it for 128".to_owned();
    assert_eq!(grown, Some(Replacement::Anew(why)));
    up.down();
    Ok(())
}
