//! Who in a lab can reach whom, and how fast: pings between neighbours.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use crate::lab::{Attachment, Lab, LinkId, Name};
use crate::net::NetNs;
use crate::net::echo::Echo;

/// One namespace pings an address of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Who asks.
    pub from: Name,
    /// Who is to answer.
    pub to: Name,
    /// At which address.
    pub target: IpAddr,
}

/// Pairs that should reach each other: neighbours in a ring around each subnet of
/// each bridge, VLAN or veth pair. Two namespaces ping both ways.
#[must_use]
pub fn ring(lab: &Lab) -> Vec<Pair> {
    let mut subnets: BTreeMap<_, Vec<(Name, IpNet)>> = BTreeMap::new();
    for (id, interface) in lab.interfaces() {
        // Isolated ports reach none of their kind.
        let segment = match &interface.attachment {
            Attachment::Port(port) if port.isolated => continue,
            Attachment::Port(port) => {
                let untagged = port.vlans.as_ref().and_then(|vlans| vlans.untagged);
                (LinkId::Bridge(port.bridge.clone()), untagged)
            }
            Attachment::Peer(peer) => (LinkId::Interface((&id).min(peer).clone()), None),
        };
        if !interface.up {
            continue;
        }
        for address in &interface.addresses {
            let subnet = (segment.clone(), address.trunc());
            subnets.entry(subnet).or_default().push((id.namespace.clone(), *address));
        }
    }
    let mut pairs = Vec::new();
    for members in subnets.values().filter(|members| members.len() > 1) {
        let next = members.iter().cycle().skip(1);
        for ((from, _), (to, address)) in members.iter().zip(next) {
            pairs.push(Pair { from: from.clone(), to: to.clone(), target: address.addr() });
        }
    }
    pairs
}

/// What came of the pings of one pair.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PingReport {
    /// Who asked.
    pub from: String,
    /// Who was to answer.
    pub to: String,
    /// At which address.
    pub target: IpAddr,
    /// Requests.
    pub sent: u64,
    /// Replies.
    pub received: u64,
    /// Round-trip time of the last one, in microseconds.
    pub last_us: Option<f64>,
    /// The shortest.
    pub min_us: Option<f64>,
    /// The mean.
    pub mean_us: Option<f64>,
    /// The longest.
    pub max_us: Option<f64>,
}

/// Pings one pair, again and again.
pub struct Pinger {
    pair: Pair,
    echo: Echo,
    sent: u64,
    received: u32,
    total: Duration,
    shortest: Option<Duration>,
    longest: Option<Duration>,
    last: Option<Duration>,
}

impl Pinger {
    /// A pinger inside the namespace of `pair.from`; `number` tells it from the
    /// others of this process.
    pub fn new(pair: Pair, namespace: &NetNs, number: u16) -> io::Result<Self> {
        let echo = Echo::new(namespace, pair.target, number)?;
        Ok(Self {
            pair,
            echo,
            sent: 0,
            received: 0,
            total: Duration::ZERO,
            shortest: None,
            longest: None,
            last: None,
        })
    }

    /// Sends one request and waits for the reply.
    pub fn ping(&mut self, patience: Duration) -> io::Result<()> {
        self.sent += 1;
        self.last = self.echo.ping(patience)?;
        if let Some(time) = self.last {
            self.received += 1;
            self.total += time;
            self.shortest = Some(self.shortest.map_or(time, |shortest| shortest.min(time)));
            self.longest = Some(self.longest.map_or(time, |longest| longest.max(time)));
        }
        Ok(())
    }

    /// What came of it so far.
    #[must_use]
    pub fn report(&self) -> PingReport {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        PingReport {
            from: self.pair.from.to_string(),
            to: self.pair.to.to_string(),
            target: self.pair.target,
            sent: self.sent,
            received: u64::from(self.received),
            last_us: self.last.map(micros),
            min_us: self.shortest.map(micros),
            mean_us: (self.received > 0).then(|| micros(self.total / self.received)),
            max_us: self.longest.map(micros),
        }
    }
}

/// Time from one ping of a pair to the next.
const INTERVAL: Duration = Duration::from_secs(1);

/// Pairs that ping in the background until this is dropped.
pub struct Pingers {
    pairs: Vec<Background>,
}

struct Background {
    report: Arc<Mutex<PingReport>>,
    /// Dropping it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Pingers {
    /// Pings every pair once, all at the same time, then starts to ping them
    /// once a second.
    pub fn start(
        pingers: Vec<Pinger>,
        first_patience: Duration,
        patience: Duration,
    ) -> io::Result<Self> {
        let firsts: Vec<JoinHandle<io::Result<Pinger>>> = pingers
            .into_iter()
            .map(|mut pinger| thread::spawn(move || pinger.ping(first_patience).map(|()| pinger)))
            .collect();
        let mut pairs = Vec::new();
        for first in firsts {
            let pinger = first.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            pairs.push(Background::start(pinger, patience));
        }
        Ok(Self { pairs })
    }

    /// What came of all pings so far.
    #[must_use]
    pub fn reports(&self) -> Vec<PingReport> {
        let lock =
            |pair: &Background| pair.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.pairs.iter().map(lock).collect()
    }
}

impl Background {
    fn start(mut pinger: Pinger, patience: Duration) -> Self {
        let report = Arc::new(Mutex::new(pinger.report()));
        let shared = Arc::clone(&report);
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = pinger.ping(patience) {
                    log::warn!("ping {}: {error}", pinger.pair.target);
                    break;
                }
                *shared.lock().unwrap_or_else(PoisonError::into_inner) = pinger.report();
            }
        });
        Self { report, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Pingers {
    /// Ends the threads, whose sockets keep the namespaces alive.
    fn drop(&mut self) {
        for pair in &mut self.pairs {
            pair.stop = None;
        }
        for pair in &mut self.pairs {
            if let Some(thread) = pair.thread.take() {
                // A thread that panicked has said so.
                let _ = thread.join();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(source: &str) -> Vec<String> {
        ring(&Lab::parse(source, "lab.yaml").unwrap())
            .iter()
            .map(|pair| format!("{} {} {}", pair.from, pair.to, pair.target))
            .collect()
    }

    #[test]
    fn two_namespaces_ping_both_ways() {
        let quickstart = include_str!("../../../labs/quickstart.yaml");
        assert_eq!(pairs(quickstart), ["vnet0 vnet1 10.0.0.2", "vnet1 vnet0 10.0.0.1"]);
    }

    #[test]
    fn only_neighbours_in_one_subnet_are_pairs() {
        let source = "name: a\nbridges: { br0: {}, br1: {} }\nnamespaces:\n  \
            n0: { interfaces: { e: { bridge: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] } } }\n  \
            n1: { interfaces: { e: { bridge: br0, addresses: [10.0.1.1/24, 'fd00::2/64'] } } }\n  \
            n2: { interfaces: { e: { bridge: br1, addresses: [10.0.2.1/24] } } }\n";
        assert_eq!(pairs(source), ["n0 n1 fd00::2", "n1 n0 fd00::1"]);
    }
}
