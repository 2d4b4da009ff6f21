//! A path that is up: two namespaces, and what is between them.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use nsbpf_common::generator;

use super::firewall::Firewall;
use super::mode::{Filter, Mode, Stages};
use super::wiring::{INTERFACE, SENDER, Size, Wiring};
use super::{BenchError, io_error, rules};
use crate::apply;
use crate::datapath::StatsReader;
use crate::lab::{Lab, Name};
use crate::net::echo::Echo;
use crate::net::link::{self, Link};
use crate::net::{NetNs, Netlink, sysctl};
use crate::plan::Settings;
use crate::state::{HookPoint, Object, State, Veth};
use crate::store::{LabLock, Store};

/// How long is waited for the sender's answer through a router.
const PATIENCE: Duration = Duration::from_secs(2);

/// A namespace.
pub(super) struct Side {
    pub(super) netns: NetNs,
    pub(super) netlink: Netlink,
    /// Its name.
    pub(super) name: String,
    /// Its interface's index.
    pub(super) ifindex: u32,
    pub(super) mac: [u8; 6],
}

/// A mode's lab, up.
pub(super) struct Testbed {
    pub(super) mode: &'static Mode,
    pub(super) sender: Side,
    pub(super) receiver: Side,
    /// What forwards between them, with its interface towards the sender.
    pub(super) router: Option<Side>,
    /// The datapath's counters, and the sender's port; `None` without a datapath.
    counters: Option<(StatsReader, u16)>,
    /// Hooks that programs are at.
    pub(super) points: Vec<HookPoint>,
    /// Lets the bridge know where the receiver is.
    announcer: UdpSocket,
    /// Let the router know where both are, by IPv4 and IPv6; none without a router.
    echoes: Vec<Echo>,
    /// What nftables looks at on the bridge; `None` if it is not to, or there is none.
    firewall: Option<Firewall>,
    pub(super) store: Store,
    lock: LabLock,
}

/// What a testbed is brought up with, besides its mode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) size: Size,
    pub(super) stages: Stages,
    /// Flows that there has to be room for.
    pub(super) flows: u32,
    /// Rules of a policy on paths that can have one and are not about rules themselves.
    pub(super) policy: Option<u32>,
    /// Rules on those that are about many.
    pub(super) many: u32,
}

impl Testbed {
    /// Brings the lab of a mode up. `number` tells it from the others that are up.
    pub(super) fn new(
        mode: &'static Mode,
        number: usize,
        setup: Setup,
    ) -> Result<Self, BenchError> {
        let Setup { size, stages, flows, policy, many } = setup;
        let text = mode.wiring.lab(number, size);
        let mut lab = Lab::parse(&text, "the benchmark's lab").map_err(Box::new)?;
        let rules = match mode.filter {
            Filter::Policy(amount) => Some(amount.count(many)),
            _ => policy.filter(|_| mode.can_judge()),
        };
        let rules = rules.map(|count| rules::policy(count, 0, number));
        if let Some(text) = &rules {
            let policy = lab.read_policy(text, "the benchmark's policy").map_err(Box::new)?;
            lab.policy = Some(policy);
        }
        let store = Store::new(&lab.name);
        let lock = store.lock()?;
        let never = std::sync::atomic::AtomicBool::new(false);
        let settings = mode.settings(&store, stages, flows)?;
        let settings = Settings { rules_file: rules, ..settings };
        let mut survey = apply::converge(&store, &lab, &settings, &never)?.survey;
        let mut side = |place: usize| {
            let name = &lab.namespaces[place].name;
            let vanished = || BenchError::Vanished(format!("namespace {name}"));
            let opened = survey.namespaces.remove(name).ok_or_else(vanished)?;
            Side::new(name, opened.netns, opened.netlink)
        };
        let (sender, receiver) = (side(0)?, side(1)?);
        let (router, echoes) = match mode.wiring {
            Wiring::Direct | Wiring::Bridge { .. } => (None, Vec::new()),
            Wiring::Router => {
                let identifier = u16::try_from(number).unwrap_or_default();
                let echo = |to: IpAddr| {
                    Echo::new(&receiver.netns, to, identifier)
                        .map_err(io_error("open a socket in the receiving namespace"))
                };
                (Some(side(2)?), vec![echo(SENDER.0.into())?, echo(SENDER.1.into())?])
            }
        };
        let counters = if mode.counts() {
            let port = port(&survey.state, &lab.namespaces[0].name)?;
            Some((StatsReader::open(&store)?, port))
        } else {
            None
        };
        let hooks = survey.state.objects.values().filter_map(|object| match object {
            Object::Hook(hook) => Some(hook.point),
            _ => None,
        });
        let points: BTreeSet<HookPoint> = hooks.collect();
        let points = points.into_iter().collect();
        let announcer = receiver
            .netns
            .run(announcer)
            .and_then(|made| made)
            .map_err(io_error("open a UDP socket in the receiving namespace"))?;
        let firewall = Firewall::load(mode.filter, number, many)?;
        Ok(Self {
            mode,
            sender,
            receiver,
            router,
            counters,
            points,
            announcer,
            echoes,
            firewall,
            store,
            lock,
        })
    }

    /// Whether the mode is there at all on this kernel, once it is its turn: sets
    /// what is not the lab's but the whole network namespace's.
    pub(super) fn prepare(&mut self) -> Result<bool, BenchError> {
        let mode = self.mode;
        let Mode { name, wiring, .. } = *mode;
        let netfilter = match wiring {
            Wiring::Direct => None,
            Wiring::Bridge { netfilter } => Some(netfilter),
            Wiring::Router => Some(false),
        };
        if let Some(netfilter) = netfilter {
            let failed = io_error("set net.bridge.bridge-nf-call-*");
            if sysctl::set_bridge_netfilter(netfilter).map_err(failed)? != netfilter {
                return Ok(false);
            }
        }
        match (mode.filter, &self.firewall) {
            (Filter::Linear(_) | Filter::Set(_), None) => return Ok(false),
            (_, firewall) => firewall.iter().try_for_each(Firewall::wake)?,
        }
        // The bridge floods what is for a MAC that it has not heard from.
        self.announcer
            .send_to(&[0], (wiring.everybody(), generator::FIRST_DESTINATION))
            .map_err(io_error(format!("send a broadcast in mode {name}")))?;
        // Nor does a router ask for a neighbour then.
        for echo in &mut self.echoes {
            let answered = echo.ping(PATIENCE);
            answered
                .map_err(io_error(format!("ping the sender in mode {name}")))?
                .ok_or(BenchError::Unreachable { mode: name })?;
        }
        Ok(true)
    }

    /// Its turn is over: what it has set would be in the way of others.
    pub(super) fn rest(&self) -> Result<(), BenchError> {
        self.firewall.iter().try_for_each(Firewall::sleep)
    }

    /// Frames that the datapath counted at the sender; `None` without a datapath.
    pub(super) fn counted(&self) -> Result<Option<u64>, BenchError> {
        let Some((reader, port)) = &self.counters else { return Ok(None) };
        Ok(Some(reader.read(*port)?.tx.total().packets))
    }

    /// Frames from the sender that the datapath dropped.
    pub(super) fn dropped(&self) -> Result<u64, BenchError> {
        let Some((reader, port)) = &self.counters else { return Ok(0) };
        Ok(reader.read(*port)?.tx.dropped().packets)
    }

    /// Takes the lab down.
    pub(super) fn take_down(self) -> Result<(), BenchError> {
        let Self { store, lock, sender, receiver, router, announcer, echoes, .. } = self;
        // Each keeps a namespace alive.
        drop((sender, receiver, router, announcer, echoes));
        apply::take_down(&store)?;
        lock.retire();
        Ok(())
    }
}

impl Side {
    fn new(name: &Name, netns: NetNs, mut netlink: Netlink) -> Result<Self, BenchError> {
        let links = link::list(&mut netlink)
            .map_err(|source| BenchError::Links { of: format!("namespace {name}"), source })?;
        let link = links.iter().find(|link| link.name == INTERFACE);
        let vanished = || BenchError::Vanished(format!("interface {name}/{INTERFACE}"));
        let Link { ifindex, mac, .. } = link.ok_or_else(vanished)?;
        let mac = mac.as_slice().try_into().map_err(|_| vanished())?;
        Ok(Self { name: name.to_string(), ifindex: *ifindex, netns, netlink, mac })
    }
}

/// The port of a namespace's only interface.
fn port(state: &State, namespace: &Name) -> Result<u16, BenchError> {
    let veths = state.objects.values().filter_map(|object| match object {
        Object::Veth(veth) => Some(veth),
        _ => None,
    });
    let port = veths.flat_map(Veth::ports).find(|(id, _)| id.namespace == *namespace);
    port.map(|(_, number)| number)
        .ok_or_else(|| BenchError::Vanished(format!("interface {namespace}/{INTERFACE}")))
}

fn announcer() -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_broadcast(true)?;
    Ok(socket)
}
