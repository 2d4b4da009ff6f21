//! A path that is up: two namespaces, and what is between them.

use std::net::{Ipv4Addr, UdpSocket};

use super::frame::{self, Address, FRAME_BYTES, PORT};
use super::mode::{Mode, Wiring};
use super::{BenchError, io_error};
use crate::apply;
use crate::datapath::{Generator, StatsReader};
use crate::lab::{Lab, Name};
use crate::net::link::{self, Link};
use crate::net::{NetNs, Netlink, gro, sysctl};
use crate::state::{Object, State, Veth};
use crate::store::{LabLock, Store};

const SENDER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const RECEIVER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const EVERYBODY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 255);
const INTERFACE: &str = "eth0";

/// One of the two namespaces.
pub(super) struct Side {
    pub(super) netns: NetNs,
    pub(super) netlink: Netlink,
    /// Its interface's index.
    pub(super) ifindex: u32,
    mac: [u8; 6],
}

/// A mode's lab, up, and what sends through it.
pub(super) struct Testbed {
    pub(super) mode: &'static Mode,
    pub(super) sender: Side,
    pub(super) receiver: Side,
    pub(super) generator: Generator,
    pub(super) frame: [u8; FRAME_BYTES],
    /// The datapath's counters, and the sender's port; `None` without a datapath.
    counters: Option<(StatsReader, u16)>,
    /// Takes what arrives, and lets the bridge know where the receiver is.
    socket: UdpSocket,
    store: Store,
    lock: LabLock,
}

impl Testbed {
    /// Brings the lab of a mode up, for frames of that many flows. `number` tells
    /// it from the others that are up.
    pub(super) fn new(mode: &'static Mode, number: usize, flows: u16) -> Result<Self, BenchError> {
        let text = lab(mode, number);
        let lab = Lab::parse(&text, "the benchmark's lab").map_err(Box::new)?;
        let store = Store::new(&lab.name);
        let lock = store.lock()?;
        let never = std::sync::atomic::AtomicBool::new(false);
        let mut survey = apply::converge(&store, &lab, &mode.settings(&store)?, &never)?.survey;
        let mut side = |name: &Name| {
            let vanished = || BenchError::Vanished(format!("namespace {name}"));
            let opened = survey.namespaces.remove(name).ok_or_else(vanished)?;
            Side::new(name, opened.netns, opened.netlink)
        };
        let [sender, receiver] = [&lab.namespaces[0].name, &lab.namespaces[1].name];
        let (sender, receiver) = (side(sender)?, side(receiver)?);
        if matches!(mode.wiring, Wiring::Bridge { .. }) {
            receive_by_napi(sender.ifindex)?;
        }
        let counters = if mode.counts() {
            let port = port(&survey.state, &lab.namespaces[0].name)?;
            Some((StatsReader::open(&store)?, port))
        } else {
            None
        };
        let socket = receiver
            .netns
            .run(sink_socket)
            .and_then(|made| made)
            .map_err(io_error("open a UDP socket in the receiving namespace"))?;
        Ok(Self {
            mode,
            generator: Generator::load(sender.ifindex, flows)?,
            frame: frame::udp(
                Address { mac: sender.mac, ip: SENDER },
                Address { mac: receiver.mac, ip: RECEIVER },
            ),
            sender,
            receiver,
            counters,
            socket,
            store,
            lock,
        })
    }

    /// Whether the mode is there at all on this kernel, once it is its turn: sets
    /// what is not the lab's but the whole network namespace's.
    pub(super) fn prepare(&self) -> Result<bool, BenchError> {
        if let Wiring::Bridge { netfilter } = self.mode.wiring {
            let failed = io_error("set net.bridge.bridge-nf-call-*");
            if sysctl::set_bridge_netfilter(netfilter).map_err(failed)? != netfilter {
                return Ok(false);
            }
        }
        // The bridge floods what is for a MAC that it has not heard from.
        self.socket
            .send_to(&[0], (EVERYBODY, PORT))
            .map_err(io_error(format!("send a broadcast in mode {}", self.mode.name)))?;
        Ok(true)
    }

    /// Frames that the datapath counted at the sender; `None` without a datapath.
    pub(super) fn counted(&self) -> Result<Option<u64>, BenchError> {
        let Some((reader, port)) = &self.counters else { return Ok(None) };
        Ok(Some(reader.read(*port)?.tx.total().packets))
    }

    /// Takes the lab down.
    pub(super) fn take_down(self) -> Result<(), BenchError> {
        let Self { store, lock, sender, receiver, socket, .. } = self;
        // Each keeps a namespace alive.
        drop((sender, receiver, socket));
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
        netns
            .run(|| gro::turn_on(INTERFACE))
            .and_then(|done| done)
            .map_err(io_error(format!("turn GRO of {name}/{INTERFACE} on")))?;
        Ok(Self { ifindex: *ifindex, netns, netlink, mac })
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

/// Has the other end of a bridge's port, on the host, receive by NAPI as well: both
/// ends have one index.
fn receive_by_napi(ifindex: u32) -> Result<(), BenchError> {
    let failed = |source| BenchError::Links { of: "the host".to_owned(), source };
    let links = link::list(&mut Netlink::open().map_err(failed)?).map_err(failed)?;
    let link = links.into_iter().find(|link| link.ifindex == ifindex);
    let link = link.ok_or_else(|| BenchError::Vanished(format!("interface {ifindex}")))?;
    gro::turn_on(&link.name).map_err(io_error(format!("turn GRO of {} on", link.name)))
}

/// Drops all that arrives right where it would be queued: no memory fills, and the
/// kernel does not tell the sender that nobody is there.
fn sink_socket() -> std::io::Result<UdpSocket> {
    /// `BPF_RET | BPF_K`: keep so many bytes, none.
    const RETURN: u16 = 0x06;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT))?;
    socket.set_broadcast(true)?;
    let filter = [socket2::SockFilter::new(RETURN, 0, 0, 0)];
    socket2::SockRef::from(&socket).attach_filter(&filter)?;
    Ok(socket)
}

fn lab(mode: &Mode, number: usize) -> String {
    let (bridges, wires) = match mode.wiring {
        Wiring::Direct => {
            (String::new(), [format!("peer: b{number}/{INTERFACE}, "), String::new()])
        }
        Wiring::Bridge { .. } => {
            let wire = format!("bridge: bench{number}, ");
            (format!("bridges: {{ bench{number}: {{}} }}\n"), [wire.clone(), wire])
        }
    };
    let namespaces = ["a", "b"].into_iter().zip(wires).zip([SENDER, RECEIVER]);
    let namespaces = namespaces.map(|((name, wire), address)| {
        let interface = format!("{{ {wire}addresses: [{address}/24] }}");
        format!("  {name}{number}: {{ interfaces: {{ {INTERFACE}: {interface} }} }}\n")
    });
    format!("name: bench{number}\n{bridges}namespaces:\n{}", namespaces.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::super::mode::MODES;
    use super::*;

    #[test]
    fn every_mode_is_a_lab() {
        for mode in &MODES {
            let lab = Lab::parse(&lab(mode, 7), "test").unwrap();
            assert_eq!(lab.namespaces.len(), 2);
            assert_eq!(lab.bridges.is_empty(), mode.wiring == Wiring::Direct);
        }
    }
}
