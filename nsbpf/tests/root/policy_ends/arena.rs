//! A lab with a policy, and who hears what in it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nsbpf::datapath::{observe, rule_counts};
use nsbpf::net::{NetNs, gro};
use nsbpf::observe::policy::in_force;
use nsbpf::plan::Settings;
use nsbpf::state::IngressHook;
use nsbpf_common::stats::Way;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use socket2::Socket;

use super::packet::{Packet, has, token};
use crate::engine::{Up, lab, settings};
use crate::truth::{packet_socket, set_option};
use crate::world::{mac_of, netns};

/// Three namespaces, two of them of a group, on one bridge.
pub(super) const LAB: &str = "name: ends
bridges: { br0: {} }
namespaces:
  a: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.1/24, 'fd00::1/64'] } } }
  b: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.2/24, 'fd00::2/64'] } } }
  c: { interfaces: { eth0: { bridge: br0, addresses: [10.0.0.3/24, 'fd00::3/64'] } } }
  g: { count: 2, interfaces: { eth0: { bridge: br0, addresses: [10.0.0.32/27, 'fd00::20/123'] } } }
";
const PATIENCE: Duration = Duration::from_secs(5);
/// The ethertype of what follows others, so that these must have come before
/// (local experimental: IEEE 802).
const MARK: u16 = 0x88b5;
/// A rule that lets it pass.
const MARK_RULE: &str = "{ name: mark, ethertype: 0x88b5, action: allow }";

/// Packets and bytes.
pub(super) type Count = (u64, u64);

/// An interface as its namespace has it.
struct Tap(Socket);

impl Tap {
    fn new(namespace: &NetNs, interface: &str) -> Self {
        let name = CString::new(interface).expect("a name");
        let open = || packet_socket(&name, libc::ETH_P_ALL as u16);
        let socket = namespace.run(open).and_then(|socket| socket).expect("a packet socket");
        set_option(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1).expect("ignore");
        socket.set_nonblocking(true).expect("do not block");
        socket.set_recv_buffer_size(4 << 20).expect("room for frames");
        Self(socket)
    }

    /// What came in since it was asked last.
    fn heard(&self, frames: &mut Vec<Vec<u8>>) {
        let mut buffer = [0; 4096];
        loop {
            match (&self.0).read(&mut buffer) {
                Ok(length) => frames.push(buffer[..length].to_vec()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("hear a frame: {error}"),
            }
        }
    }
}

pub(super) struct Arena {
    pub(super) up: Up,
    source: String,
    settings: Settings,
    /// By `namespace/interface`.
    taps: BTreeMap<String, Tap>,
    number: Cell<u32>,
    /// What was heard while somebody waited for something else.
    kept: RefCell<BTreeMap<String, Vec<Vec<u8>>>>,
    macs: RefCell<BTreeMap<String, [u8; 6]>>,
}

pub(super) fn by(way: Way) -> Settings {
    Settings { fastpath: Some(way), ..settings(IngressHook::Tc) }
}

/// One processor handles all frames, one after the other.
fn stay_on_one_processor() {
    let may = sched_getaffinity(None).expect("the processors of this thread");
    let first = (0..CpuSet::MAX_CPU).find(|cpu| may.is_set(*cpu)).expect("a processor");
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).expect("stay on a processor");
}

impl Arena {
    pub(super) fn new(way: Way) -> Self {
        Self::with(LAB, &by(way))
    }

    /// With another lab.
    pub(super) fn with(source: &str, settings: &Settings) -> Self {
        stay_on_one_processor();
        let first = lab(source);
        let up = Up::new(&first);
        up.converge_with(&first, settings);
        let mut taps = BTreeMap::new();
        for (id, _) in first.interfaces() {
            let (namespace, interface) = (id.namespace.as_str(), id.interface.as_str());
            let inside = netns(namespace);
            if settings.fastpath == Some(Way::Xdp) {
                // Frames that XDP sends are taken by NAPI only.
                let turn_on = || gro::turn_on(interface);
                inside.run(turn_on).and_then(|done| done).expect("turn GRO on");
            }
            taps.insert(format!("{namespace}/{interface}"), Tap::new(&inside, interface));
        }
        let (source, settings) = (source.to_owned(), settings.clone());
        let (number, kept, macs) = (Cell::new(0), RefCell::default(), RefCell::default());
        Self { up, source, settings, taps, number, kept, macs }
    }

    /// Puts a policy in force: `policy` is what there is besides rules, and rules a line each.
    #[track_caller]
    pub(super) fn set(&self, policy: &str, rules: &[&str]) {
        let mut text = format!("{}policy:\n  {policy}\n  rules:\n  - {MARK_RULE}\n", self.source);
        for rule in rules {
            let _ = writeln!(text, "  - {rule}");
        }
        self.up.converge_with(&lab(&text), &self.settings);
    }

    /// Has no policy any more.
    pub(super) fn set_none(&self) {
        self.up.converge_with(&lab(&self.source), &self.settings);
    }

    /// What each rule counted, and the default.
    pub(super) fn counts(&self) -> BTreeMap<String, Count> {
        let (datapath, _) = observe(&self.up.store).expect("a datapath");
        let record = in_force(&self.up.store, &datapath).expect("a record").expect("a policy");
        let slots = record.rules.iter().map(|rule| rule.slot);
        let counted = rule_counts(&self.up.store, &datapath, [0].into_iter().chain(slots));
        let counted = counted.expect("counters").rules;
        let names = record.rules.iter().map(|rule| rule.name.clone());
        let names = ["default".to_owned()].into_iter().chain(names);
        names.zip(counted).map(|(name, it)| (name, (it.packets, it.bytes))).collect()
    }

    /// What a rule counted while something happened.
    pub(super) fn counted(&self, rule: &str, happens: impl FnOnce()) -> Count {
        let before = self.counts()[rule];
        happens();
        let after = self.counts()[rule];
        (after.0 - before.0, after.1 - before.1)
    }

    pub(super) fn send_frame(&self, from: &str, frame: &[u8]) {
        self.taps[from].0.send(frame).expect("send a frame");
    }

    /// Sends a packet, and returns its number.
    pub(super) fn send(&self, from: &str, packet: &Packet) -> u32 {
        self.number.set(self.number.get() + 1);
        self.send_frame(from, &packet.bytes(self.number.get()));
        self.number.get()
    }

    /// Whether a packet that one sends reaches the other.
    #[track_caller]
    pub(super) fn passes(&self, from: &str, to: &str, packet: &Packet) -> bool {
        let number = self.send(from, packet);
        self.follow(from, to);
        self.has_heard(to, &packet.told_by(number))
    }

    /// Whether somebody has heard a packet with such bytes, as far as is known.
    pub(super) fn has_heard(&self, to: &str, bytes: &[u8]) -> bool {
        self.kept.borrow().get(to).is_some_and(|all| all.iter().any(|frame| has(frame, bytes)))
    }

    /// Waits until all that was sent from one to the other is there: a frame behind it is.
    #[track_caller]
    pub(super) fn follow(&self, from: &str, to: &str) {
        self.number.set(self.number.get() + 1);
        let token = token(self.number.get());
        let mac = |at: &str| {
            let (namespace, interface) = at.split_once('/').expect("an interface");
            mac_of(namespace, interface)
        };
        let [source, destination] = [from, to]
            .map(|at| *self.macs.borrow_mut().entry(at.to_owned()).or_insert_with(|| mac(at)));
        let mut frame = [destination, source].concat();
        frame.extend(MARK.to_be_bytes());
        frame.extend(token.repeat(4));
        self.send_frame(from, &frame);
        let deadline = Instant::now() + PATIENCE;
        let mut kept = self.kept.borrow_mut();
        let frames = kept.entry(to.to_owned()).or_default();
        frames.clear();
        loop {
            self.taps[to].heard(frames);
            if frames.iter().any(|frame| has(frame, &token)) {
                return;
            }
            assert!(Instant::now() < deadline, "what follows from {from} does not come to {to}");
        }
    }

    /// Packets of an interface that took the way of the lab.
    pub(super) fn took(&self, interface: &str, way: Way) -> u64 {
        self.up.stats()[interface].tx.way(way).packets
    }

    pub(super) fn down(self) {
        let Self { up, taps, .. } = self;
        drop(taps);
        up.down();
    }
}

/// The packets of a namespace to another: with the MAC addresses of both.
pub(super) fn packet([from, to]: [(&str, &str); 2]) -> Packet {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let mut packet = Packet::new(address(from.1), address(to.1));
    packet.macs = [mac_of(to.0, "eth0"), mac_of(from.0, "eth0")];
    packet
}
