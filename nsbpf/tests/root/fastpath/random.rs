//! Any topology delivers the same frames to the same receivers, by every way: random
//! ones, random frames, and what others change meanwhile.

mod model;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libtest_mimic::Failed;
use nsbpf_common::stats::Way;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::side_by_side::{Hearing, SideBySide};
use super::tap::{EVERYBODY, Mac, Shape, station};
use crate::Test;
use crate::world::ip_json;
use model::{Change, Model, Round, Sent, To};

pub(crate) const TESTS: &[Test] =
    &[("fastpath::random::any_topology_delivers_alike", any_delivers_alike)];

/// Topologies that are tried, unless `PROPTEST_CASES` says how many: a change takes 5 s
/// to take hold.
const CASES: u32 = 3;
/// Simpler ones of what failed that are tried.
const SHRINKS: u32 = 12;
/// Set to what a failure told, all is the same once more.
const SEED: &str = "NSBPF_SEED";
/// Ports learn for some time under the spanning tree protocol.
const PATIENCE: Duration = Duration::from_secs(15);
const GROUP: Mac = [0x01, 0, 0x5e, 1, 1, 1];

/// A topology that is up.
struct Trial<'a> {
    model: &'a Model,
    labs: SideBySide,
    /// MAC addresses, and at which namespaces they are.
    stations: Vec<(Mac, String)>,
    /// Frames that are told about: what they were.
    sent: BTreeMap<u32, String>,
}

impl<'a> Trial<'a> {
    fn up(model: &'a Model) -> Self {
        let labs = SideBySide::up(&model.yaml(), &Way::ALL);
        for command in model.commands() {
            labs.shell(&command);
        }
        let stations = model.stations();
        Self { model, labs, stations, sent: BTreeMap::new() }
    }

    /// Waits until every port forwards, or does not for good, and the same do in all labs.
    fn settle(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let states = self.labs.each(port_states);
            let under_way = |state: &String| state == "listening" || state == "learning";
            let moves = states.iter().any(|ports| ports.values().any(under_way));
            if !moves && states.iter().all(|ports| *ports == states[0]) {
                return;
            }
            assert!(Instant::now() < deadline, "{states:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn announce(&mut self) {
        if self.model.routed {
            self.labs.announce("r", model::router(0));
            self.labs.announce("r/eth1", model::router(1));
        }
        for (mac, place) in &self.stations {
            self.labs.announce(place, *mac);
        }
    }

    fn change(&mut self, change: &Change) {
        let Self { model, labs, stations, .. } = self;
        let place = |number: usize| number % model.places.len();
        match *change {
            Change::Move { station, to } => {
                let (station, to) = (station % stations.len(), to % stations.len());
                stations[station].1 = stations[to].1.clone();
            }
            Change::Isolate { at, on } => {
                let on = if on { "on" } else { "off" };
                labs.shell(&format!("bridge link set dev n{}-%-eth0 isolated {on}", place(at)));
            }
            Change::Down { at, inside: false } => {
                labs.shell(&format!("ip link set n{}-%-eth0 down", place(at)));
            }
            Change::Down { at, inside: true } => {
                labs.shell(&format!("ip -netns n{}-% link set eth0 down", place(at)));
            }
            Change::Up { at } => {
                labs.shell(&format!("ip link set n{}-%-eth0 up", place(at)));
                labs.shell(&format!("ip -netns n{}-% link set eth0 up", place(at)));
            }
        }
    }

    fn send(&mut self, sent: &Sent) {
        let (mac, from) = self.stations[sent.from % self.stations.len()].clone();
        let (to, shape) = match sent.to {
            To::Station(number) => (self.stations[number % self.stations.len()].0, sent.shape),
            To::Unknown => (station(90), sent.shape),
            To::Everybody => (EVERYBODY, sent.shape),
            To::Group => (GROUP, sent.shape),
            To::Routed(number) => {
                let place = number % self.model.places.len();
                let bridge = self.model.bridge_of(place);
                let host = [10, bridge as u8, 0, 1 + place as u8];
                (model::router(1 - bridge), Shape::Port(host, 9))
            }
        };
        for _ in 0..sent.times {
            let number = self.labs.send(&from, to, mac, shape);
            self.sent.insert(number, format!("{shape:?} from {mac:x?} at {from} to {to:x?}"));
        }
    }

    fn round(&mut self, round: &Round) -> Result<(), TestCaseError> {
        for change in &round.changes {
            self.change(change);
        }
        if !round.changes.is_empty() {
            self.settle();
            self.announce();
            self.labs.forget_paths("t1", "t2");
            self.settle();
        }
        // A bridge whose ports change forgets stations sooner than they move.
        self.announce();
        self.labs.heard();
        self.sent.clear();
        for sent in &round.frames {
            self.send(sent);
        }
        let heard = self.labs.heard();
        let (_, by_the_bridge) = &heard[0];
        for (way, hearing) in &heard[1..] {
            self.compare(*way, by_the_bridge, hearing)?;
        }
        Ok(())
    }

    fn compare(&self, way: Way, bridge: &Hearing, other: &Hearing) -> Result<(), TestCaseError> {
        let differs = |(number, sent): (&u32, &String)| {
            let (wanted, got) = (bridge.get(number), other.get(number));
            (wanted != got).then(|| format!("{sent}: the bridge {wanted:?}, not {got:?}"))
        };
        let differences: Vec<String> = self.sent.iter().filter_map(differs).collect();
        if differences.is_empty() {
            return Ok(());
        }
        let (yaml, commands) = (self.model.yaml(), self.model.commands());
        let text = format!("{}:\n{}\n{yaml}{commands:#?}", way.name(), differences.join("\n"));
        Err(TestCaseError::fail(text))
    }

    fn down(self) {
        for command in self.model.last_commands() {
            self.labs.shell(&command);
        }
        self.labs.down();
    }
}

/// States of a lab's bridge ports, by their names without what tells labs apart.
fn port_states(lab: &str, _: Way) -> BTreeMap<String, String> {
    let links = ip_json(&["-details", "link", "show", "type", "bridge_slave"]);
    let state = |link: &serde_json::Value| {
        let name = link["ifname"].as_str()?;
        let mut parts = name.split('-');
        let (first, of) = (parts.next()?, parts.next()?);
        let state = link["linkinfo"]["info_slave_data"]["state"].as_str()?;
        (of == lab).then(|| (first.to_owned(), state.to_owned()))
    };
    links.as_array().into_iter().flatten().filter_map(state).collect()
}

fn delivers_alike(model: &Model) -> Result<(), TestCaseError> {
    let mut trial = Trial::up(model);
    trial.settle();
    let outcome = model.rounds.iter().try_for_each(|round| trial.round(round));
    let fast = trial.labs.fast("t1/eth0");
    trial.down();
    outcome?;
    proptest::prop_assert!(fast.iter().all(|(_, packets)| *packets > 0), "{:?}", fast);
    Ok(())
}

fn any_delivers_alike() -> Result<(), Failed> {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    });
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: cases.unwrap_or(CASES),
        max_shrink_iters: SHRINKS,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let outcome =
        TestRunner::new_with_rng(config, rng).run(&model::models(), |model| delivers_alike(&model));
    Ok(outcome.map_err(|error| format!("{SEED}={seed}: {error}"))?)
}
