//! Many flows at a time: nothing is lost between a flow's entry and what a processor keeps
//! of it.

use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use nsbpf::datapath::FlowsReader;
use nsbpf_common::flow::FlowKey;

use super::many::{made, open, with_flows};
use super::{PATIENCE, listed, sum};
use crate::truth::{Ground, V4};
use crate::world::udp;

const PAYLOAD: u64 = 100;
/// Longer than a processor keeps a place for a flow that is silent.
const SILENCE: Duration = Duration::from_millis(300);

/// Sockets of both namespaces: each of one sends to each of the other.
struct Crowd {
    senders: Vec<UdpSocket>,
    receivers: Vec<UdpSocket>,
}

impl Crowd {
    fn new(ground: &Ground, senders: usize, receivers: usize) -> Result<Self, Failed> {
        let of = |namespace, address: &str| udp(namespace, address.parse().unwrap());
        let [a, b] = ground.namespaces();
        let crowd = Self {
            senders: (0..senders).map(|_| of(a, V4.a)).collect(),
            receivers: (0..receivers).map(|_| of(b, V4.b)).collect(),
        };
        for receiver in &crowd.receivers {
            receiver.set_read_timeout(Some(PATIENCE))?;
        }
        Ok(crowd)
    }

    /// A packet of each flow of these senders, one after the other.
    fn send(&self, senders: &[UdpSocket]) -> std::io::Result<()> {
        for receiver in &self.receivers {
            for sender in senders {
                sender.send_to(&[0x6e; PAYLOAD as usize], receiver.local_addr()?)?;
                receiver.recv(&mut [0; 200])?;
            }
        }
        Ok(())
    }
}

/// Flows that take places of others which fell silent: some two hundred of the first meet
/// some of the others at theirs.
pub(super) fn share_places() -> Result<(), Failed> {
    const PLACES: u32 = 1024;
    const ROUNDS: u64 = 10;
    let ground = with_flows(PLACES);
    let crowd = Crowd::new(&ground, 20, 30)?;
    let (first, others) = crowd.senders.split_at(10);
    for senders in [first, others] {
        (0..ROUNDS).try_for_each(|_| crowd.send(senders))?;
        std::thread::sleep(SILENCE);
    }
    let flows = listed(&["--proto", "udp"]);
    assert_eq!(flows.len(), 600);
    for flow in flows {
        assert_eq!(sum(&flow["sent"]), (ROUNDS, ROUNDS * (PAYLOAD + V4.header_bytes)), "{flow:#}");
    }
    drop(crowd);
    ground.down();
    Ok(())
}

/// Counts that are read while they grow never get smaller, although processors tell of
/// some flows in the middle of each reading: it takes a while, as there are many others.
pub(super) fn never_go_back() -> Result<(), Failed> {
    const OTHERS: u32 = 200_000;
    const LONG: Duration = Duration::from_secs(4);
    let ground = with_flows(2 * OTHERS);
    let mut settled = open(&ground, "FLOWS")?;
    for number in 1..=OTHERS {
        let (key, flow) = made(number);
        settled.insert(key, flow, 0)?;
    }
    let crowd = Crowd::new(&ground, 20, 20)?;
    let reader = FlowsReader::open(&ground.up.store)?;
    let done = AtomicBool::new(false);
    let ports: Vec<u16> = crowd
        .senders
        .iter()
        .map(|sender| Ok(sender.local_addr()?.port()))
        .collect::<std::io::Result<_>>()?;
    let read = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                crowd.send(&crowd.senders)?;
            }
            Ok::<_, std::io::Error>(())
        });
        let read = (|| {
            let mut before: HashMap<FlowKey, u64> = HashMap::new();
            let start = Instant::now();
            while start.elapsed() < LONG {
                let mut smaller = None;
                reader.each(|key, flow, _| {
                    if !key.ports().iter().any(|port| ports.contains(port)) {
                        return;
                    }
                    let now = flow.directions.iter().map(|it| it.packets).sum::<u64>();
                    let then = before.insert(*key, now).unwrap_or(0);
                    if now < then {
                        smaller = Some((*key, now, then));
                    }
                })?;
                if let Some((key, now, then)) = smaller {
                    return Err(format!("{now} packets after {then}, {key:?}").into());
                }
            }
            Ok::<_, Failed>(before)
        })();
        // Else the other would never end.
        done.store(true, Ordering::Relaxed);
        sender.join().expect("the sender")?;
        read
    })?;
    assert_eq!(read.len(), 400);
    drop((crowd, settled));
    ground.down();
    Ok(())
}
