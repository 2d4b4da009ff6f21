//! Many flows at a time, or one that is read all the time: nothing is lost between a
//! flow's entry and what a processor keeps of it.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};

use libtest_mimic::Failed;
use nsbpf::datapath::FlowsReader;
use nsbpf::plan::Settings;
use nsbpf::state::IngressHook;

use super::{LAB, PATIENCE, ground, listed, sum};
use crate::engine::settings;
use crate::truth::{Ground, V4, sockets};
use crate::world::udp;

/// More flows than half the places, one packet of each in turn: some meet at a place.
pub(super) fn share_places() -> Result<(), Failed> {
    const SENDERS: usize = 20;
    const RECEIVERS: usize = 30;
    const ROUNDS: u64 = 10;
    const PAYLOAD: u64 = 100;
    let settings = Settings { flows: 1024, ..settings(IngressHook::Tc) };
    let ground = Ground::with(LAB, &settings);
    let of = |namespace, address: &str| udp(namespace, address.parse().unwrap());
    let [a, b] = ground.namespaces();
    let senders: Vec<UdpSocket> = (0..SENDERS).map(|_| of(a, V4.a)).collect();
    let receivers: Vec<UdpSocket> = (0..RECEIVERS).map(|_| of(b, V4.b)).collect();
    for _ in 0..ROUNDS {
        for receiver in &receivers {
            receiver.set_read_timeout(Some(PATIENCE))?;
            for sender in &senders {
                sender.send_to(&[0x6e; PAYLOAD as usize], receiver.local_addr()?)?;
                receiver.recv(&mut [0; 200])?;
            }
        }
    }
    let flows = listed(&["--proto", "udp"]);
    assert_eq!(flows.len(), SENDERS * RECEIVERS);
    for flow in flows {
        assert_eq!(sum(&flow["sent"]), (ROUNDS, ROUNDS * (PAYLOAD + V4.header_bytes)), "{flow:#}");
    }
    drop((senders, receivers));
    ground.down();
    Ok(())
}

/// A count that is read while it grows never gets smaller.
pub(super) fn never_go_back() -> Result<(), Failed> {
    const COUNT: u64 = 200_000;
    let ground = ground(IngressHook::Tc);
    let [a, b] = sockets(&ground, V4);
    let port = a.local_addr()?.port();
    let reader = FlowsReader::open(&ground.up.store)?;
    let count = || {
        let mut count = 0;
        reader.each(|key, flow, _| {
            if key.ports().contains(&port) {
                count = flow.sent(0).packets + flow.sent(1).packets;
            }
        })?;
        Ok::<_, Failed>(count)
    };
    let sent = AtomicBool::new(false);
    let last = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let all = (0..COUNT).try_for_each(|_| a.send(&[0x6e; 10]).map(drop));
            sent.store(true, Ordering::Relaxed);
            all
        });
        let mut before = 0;
        while !sent.load(Ordering::Relaxed) {
            let now = count()?;
            assert!(now >= before, "{now} packets after {before}");
            before = now;
        }
        sender.join().expect("the sender")?;
        Ok::<_, Failed>(before)
    })?;
    assert!(last > COUNT / 10 && count()? >= last, "{last}");
    drop((a, b));
    ground.down();
    Ok(())
}
