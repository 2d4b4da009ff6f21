//! The same lab once for each way, side by side: what happens to one happens to all,
//! and all have to deliver the same frames to the same receivers.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use nsbpf::apply::survey;
use nsbpf::datapath::StatsReader;
use nsbpf::lab::{Attachment, InterfaceId, InterfaceName};
use nsbpf::net::{NetNs, gro};
use nsbpf::state::{Object, State};
use nsbpf_common::stats::{PortStats, Way};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::by;
use super::tap::{EVERYBODY, Mac, Shape, Tap, frame, station};
use crate::engine::{Up, lab};
use crate::world::netns;

/// For how long a path that was learned is taken.
const PATH_AGE: Duration = Duration::from_secs(5);
/// What a machine with other work to do takes longer.
const LENIENCE: Duration = Duration::from_millis(1500);
/// For how long a mark is waited for: an interface that is down never hears of it.
const PATIENCE: Duration = Duration::from_millis(100);
/// Frames that are sent to see who hears them: all but the first can pass the bridge by.
const FRAMES: usize = 5;
/// How often a mark is sent behind frames: each time, what went before it gets one
/// hop further.
const HOPS: usize = 6;

/// The number of a mark, and whom it is for: bridges keep it to themselves.
const MARK: u32 = 0;
const NEIGHBOUR: Mac = [0x01, 0x80, 0xc2, 0, 0, 0x0e];

/// Who heard each frame, as often as they did.
pub(super) type Hearing = BTreeMap<u32, Vec<String>>;

/// A lab for each of some ways.
pub(super) struct SideBySide {
    labs: Vec<One>,
    /// Of the last frame.
    number: u32,
    /// How often paths were forgotten.
    clocks: u8,
}

struct One {
    way: Way,
    up: Up,
    reader: StatsReader,
    /// By interface.
    ports: BTreeMap<String, u16>,
    /// By namespace, at its `eth0`; at others by interface.
    taps: BTreeMap<String, Tap>,
    /// The other ends of these.
    wires: BTreeMap<String, Tap>,
}

/// What a `%` in the text of a lab or a command stands for: so that names differ.
fn written(text: &str, name: &str) -> String {
    text.replace('%', name)
}

/// The first letter.
fn name(way: Way) -> &'static str {
    &way.name()[..1]
}

/// It handles all frames, one after the other.
fn stay_on_one_processor() {
    let may = sched_getaffinity(None).expect("the processors of this thread");
    let first = (0..CpuSet::MAX_CPU).find(|cpu| may.is_set(*cpu)).expect("a processor");
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).expect("stay on a processor");
}

impl SideBySide {
    /// Brings a lab up that has a `%` in the names of all its parts.
    pub(super) fn up(text: &str, ways: &[Way]) -> Self {
        stay_on_one_processor();
        let labs = ways.iter().map(|way| One::up(text, *way)).collect();
        Self { labs, number: 0, clocks: 0 }
    }

    /// Runs a command in each lab, with that lab's names.
    #[track_caller]
    pub(super) fn shell(&self, command: &str) {
        for one in &self.labs {
            let command = written(command, name(one.way));
            let words: Vec<&str> = command.split(' ').collect();
            let done = Command::new(words[0]).args(&words[1..]).output().expect("start a program");
            let said = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{command}: {said}");
        }
    }

    /// Looks at each lab by itself.
    pub(super) fn each<T>(&self, mut look: impl FnMut(&str, Way) -> T) -> Vec<T> {
        self.labs.iter().map(|one| look(name(one.way), one.way)).collect()
    }

    /// Has a station tell everybody where it is.
    pub(super) fn announce(&mut self, namespace: &str, from: Mac) {
        self.send(namespace, EVERYBODY, from, Shape::Ipv4);
    }

    /// Sends a frame in each lab, and returns its number.
    pub(super) fn send(&mut self, from: &str, to: Mac, sender: Mac, shape: Shape) -> u32 {
        self.number += 1;
        for one in &self.labs {
            one.taps[from].send(&frame(to, sender, shape, self.number));
        }
        self.number
    }

    /// Who heard which frames since it was asked last, in each lab.
    pub(super) fn heard(&self) -> Vec<(Way, Hearing)> {
        self.labs.iter().map(|one| (one.way, one.heard())).collect()
    }

    /// Who hears frames from a namespace to a station: all of some in a row, and the
    /// same in all labs.
    #[track_caller]
    pub(super) fn hearers(&mut self, from: &str, sender: Mac, to: Mac) -> Vec<String> {
        self.hearers_of(from, sender, to, Shape::Ipv4)
    }

    #[track_caller]
    pub(super) fn hearers_of(
        &mut self,
        from: &str,
        sender: Mac,
        to: Mac,
        shape: Shape,
    ) -> Vec<String> {
        self.heard();
        let numbers: Vec<u32> = (0..FRAMES).map(|_| self.send(from, to, sender, shape)).collect();
        let heard = self.heard();
        let (_, first) = &heard[0];
        let hearers = first.get(&numbers[0]).cloned().unwrap_or_default();
        for (way, hearing) in &heard {
            for number in &numbers {
                let others = hearing.get(number).cloned().unwrap_or_default();
                assert_eq!(others, hearers, "{} in {hearing:?}", way.name());
            }
        }
        hearers
    }

    /// Fails unless a change of who hears frames takes hold, in all labs, as soon as
    /// the last path is taken anew.
    #[track_caller]
    pub(super) fn takes_hold(&mut self, from: &str, sender: Mac, to: Mac, hearers: &[&str]) {
        let began = Instant::now();
        self.heard();
        loop {
            let number = self.send(from, to, sender, Shape::Ipv4);
            let heard = self.heard();
            let hold =
                |hearing: &Hearing| hearing.get(&number).map_or(&[][..], |heard| heard) == hearers;
            if heard.iter().all(|(_, hearing)| hold(hearing)) {
                break;
            }
            let waited = began.elapsed();
            assert!(waited < PATH_AGE + LENIENCE, "after {waited:?}: {heard:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.hearers(from, sender, to), hearers);
    }

    /// The counters of an interface in the lab of a way.
    pub(super) fn stats(&self, way: Way, interface: &str) -> PortStats {
        let one = self.labs.iter().find(|one| one.way == way).expect("a lab of that way");
        one.stats(interface)
    }

    /// Frames of an interface that took the way of its lab, in each lab that has another
    /// than the bridge's.
    pub(super) fn fast(&self, interface: &str) -> Vec<(Way, u64)> {
        let labs = self.labs.iter().filter(|one| one.way != Way::Bridge);
        let passed = |one: &One| {
            let tx = one.stats(interface).tx;
            let packets = tx.way(one.way).packets;
            // What is not for the interface's own address is redirected to it.
            let for_others = tx.way(Way::Redirect).packets;
            if one.way == Way::Peer { packets + for_others } else { packets }
        };
        labs.map(|one| (one.way, passed(one))).collect()
    }

    /// Fails unless frames of an interface passed the bridge by in every lab where they
    /// can.
    #[track_caller]
    pub(super) fn went_fast(&self, interface: &str) {
        let fast = self.fast(interface);
        assert!(fast.iter().all(|(_, packets)| *packets > 0), "{interface}: {fast:?}");
    }

    /// Waits until all paths that are known now have to be learned again: until that of
    /// a station nobody heard of before, between two ports that reach each other.
    #[track_caller]
    pub(super) fn forget_paths(&mut self, from: &str, to: &str) {
        self.clocks += 1;
        let (sender, receiver) = (station(100 + self.clocks), station(99));
        let interface = format!("{from}/eth0");
        self.announce(to, receiver);
        let deadline = Instant::now() + PATH_AGE + LENIENCE;
        let first = self.fast(&interface);
        for _ in 0..FRAMES {
            self.send(from, receiver, sender, Shape::Ipv4);
        }
        self.heard();
        let mut before = self.fast(&interface);
        let mut waiting: Vec<Way> = before.iter().map(|(way, _)| *way).collect();
        assert!(first.iter().zip(&before).all(|(old, new)| old != new), "{first:?} {before:?}");
        while !waiting.is_empty() {
            assert!(Instant::now() < deadline, "{waiting:?} do not forget");
            std::thread::sleep(Duration::from_millis(20));
            self.send(from, receiver, sender, Shape::Ipv4);
            self.heard();
            let after = self.fast(&interface);
            let took = |way| before.iter().zip(&after).any(|(old, new)| new.0 == way && old != new);
            waiting.retain(|way| took(*way));
            before = after;
        }
    }

    pub(super) fn down(self) {
        for One { up, reader, taps, wires, .. } in self.labs {
            drop((reader, taps, wires));
            up.down();
        }
    }
}

impl One {
    fn up(text: &str, way: Way) -> Self {
        let lab = lab(&written(text, name(way)));
        let up = Up::new(&lab);
        up.converge_with(&lab, &by(way));
        let state = survey(&up.store).expect("look at the lab").state;
        let reader = StatsReader::open(&up.store).expect("open the counters");
        let ports = ports(&state, name(way));
        let mut one =
            Self { way, up, reader, ports, taps: BTreeMap::new(), wires: BTreeMap::new() };
        let place = |bridge: &InterfaceName| {
            let bridge = lab.bridges.iter().find(|one| one.name == *bridge).expect("a bridge");
            match &bridge.namespace {
                None => NetNs::current().expect("this namespace"),
                Some(name) => netns(name.as_str()),
            }
        };
        for (id, interface) in lab.interfaces() {
            let namespace = short(id.namespace.as_str(), name(way)).to_owned();
            let inside = one.netns(&namespace);
            if way == Way::Xdp {
                // Frames that XDP sends are taken by NAPI only.
                let turn_on = || gro::turn_on(id.interface.as_str());
                inside.run(turn_on).and_then(|done| done).expect("turn GRO on");
            }
            let at = match id.interface.as_str() {
                "eth0" => namespace,
                other => format!("{namespace}/{other}"),
            };
            if let Attachment::Port(port) = &interface.attachment {
                let wire = format!("{}-{}", id.namespace, id.interface);
                one.wires.insert(at.clone(), Tap::new(&place(&port.bridge), &wire));
            } else if at.contains('/') {
                // The near end of a pair within what counts as one place.
                continue;
            }
            one.taps.insert(at, Tap::new(&inside, id.interface.as_str()));
        }
        one
    }

    fn netns(&self, namespace: &str) -> NetNs {
        netns(&format!("{namespace}-{}", name(self.way)))
    }

    fn stats(&self, interface: &str) -> PortStats {
        self.reader.read(self.ports[interface]).expect("read counters")
    }

    /// What was heard once all frames are where they go.
    fn heard(&self) -> Hearing {
        let mark = frame(NEIGHBOUR, station(0), Shape::Ipv4, MARK);
        let mut hearing = Hearing::new();
        let mut wires: Vec<(&String, &Tap)> = self.wires.iter().collect();
        for _ in 0..HOPS {
            wires.retain(|(_, wire)| wire.send(&mark));
            let mut marked: Vec<&String> = wires.iter().map(|(name, _)| *name).collect();
            let deadline = Instant::now() + PATIENCE;
            while !marked.is_empty() && Instant::now() < deadline {
                for (name, tap) in &self.taps {
                    for number in tap.heard() {
                        if number == MARK {
                            marked.retain(|marked| *marked != name);
                        } else {
                            hearing.entry(number).or_default().push(name.clone());
                        }
                    }
                }
            }
            wires.retain(|(name, _)| !marked.contains(name));
        }
        for heard in hearing.values_mut() {
            heard.sort();
        }
        hearing
    }
}

/// All interfaces of a lab, without what tells labs apart.
fn ports(state: &State, lab: &str) -> BTreeMap<String, u16> {
    let ports = state.objects.values().filter_map(|object| match object {
        Object::Veth(veth) => Some(veth.ports()),
        _ => None,
    });
    let plain =
        |id: &InterfaceId| format!("{}/{}", short(id.namespace.as_str(), lab), id.interface);
    ports.flatten().map(|(id, number)| (plain(id), number)).collect()
}

/// The name of a namespace, without what tells labs apart.
fn short<'a>(namespace: &'a str, lab: &str) -> &'a str {
    namespace.strip_suffix(lab).and_then(|name| name.strip_suffix('-')).expect("a name with %")
}
