//! Random topologies, and what happens to them.

use std::fmt::{self, Write as _};
use std::ops::Range;

use proptest::prelude::*;

use super::super::tap::{Mac, Shape, station};

/// Rounds of changes and frames; the first without changes.
const ROUNDS: usize = 2;

/// Numbers of places and stations are taken modulo how many there are.
const NUMBERS: Range<usize> = 0..1000;

/// One or two bridges and what is on them.
#[derive(Clone)]
pub(super) struct Model {
    /// The second bridge, and a router between both.
    pub(super) routed: bool,
    /// Both bridges have a spanning tree, and are joined twice.
    pub(super) joined: bool,
    pub(super) places: Vec<Place>,
    pub(super) rounds: Vec<Round>,
}

/// A namespace.
#[derive(Clone, Debug)]
pub(super) struct Place {
    second: bool,
    isolated: bool,
    /// It is a bridge of its own, with two namespaces behind it.
    switch: bool,
    /// Stations besides its own.
    guests: u8,
}

#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) changes: Vec<Change>,
    pub(super) frames: Vec<Sent>,
}

/// What somebody changes; numbers are of places or stations.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Move { station: usize, to: usize },
    Isolate { at: usize, on: bool },
    Down { at: usize, inside: bool },
    Up { at: usize },
}

#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) from: usize,
    pub(super) to: To,
    pub(super) shape: Shape,
    pub(super) times: u8,
}

#[derive(Clone, Debug)]
pub(super) enum To {
    Station(usize),
    Unknown,
    Everybody,
    Group,
    /// A place on the other bridge, by the router.
    Routed(usize),
}

/// The router's address on a bridge.
pub(super) const fn router(bridge: usize) -> Mac {
    station(80 + bridge as u8)
}

pub(super) fn models() -> impl Strategy<Value = Model> {
    let place = (any::<bool>(), prop::bool::weighted(0.3), prop::bool::weighted(0.3), 0..3_u8)
        .prop_map(|(second, isolated, switch, guests)| Place { second, isolated, switch, guests });
    let places = prop::collection::vec(place, 3..=6);
    let rounds = (frames(), prop::collection::vec((changes(), frames()), ROUNDS - 1));
    let rounds = rounds.prop_map(|(first, others)| {
        let others = others.into_iter().map(|(changes, frames)| Round { changes, frames });
        std::iter::once(Round { changes: vec![], frames: first }).chain(others).collect()
    });
    let which = (prop::bool::weighted(0.7), prop::bool::weighted(0.5));
    (which, places, rounds).prop_map(|((routed, joined), places, rounds)| Model {
        routed,
        joined: routed && joined,
        places,
        rounds,
    })
}

fn frames() -> impl Strategy<Value = Vec<Sent>> {
    let to = prop_oneof![
        8 => NUMBERS.prop_map(To::Station),
        1 => Just(To::Unknown),
        1 => Just(To::Everybody),
        1 => Just(To::Group),
        2 => NUMBERS.prop_map(To::Routed),
    ];
    let shape = prop_oneof![
        4 => Just(Shape::Ipv4),
        1 => Just(Shape::Ipv6),
        1 => Just(Shape::Fragment),
        1 => (0..4_u8).prop_map(Shape::Tagged),
        1 => (60..1500_u16).prop_map(Shape::Long),
    ];
    let sent = (NUMBERS, to, shape, 1..=4_u8).prop_map(|(from, to, shape, times)| Sent {
        from,
        to,
        shape,
        times,
    });
    prop::collection::vec(sent, 40..120)
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        3 => (NUMBERS, NUMBERS).prop_map(|(station, to)| Change::Move { station, to }),
        2 => (NUMBERS, any::<bool>()).prop_map(|(at, on)| Change::Isolate { at, on }),
        1 => (NUMBERS, any::<bool>()).prop_map(|(at, inside)| Change::Down { at, inside }),
        1 => NUMBERS.prop_map(|at| Change::Up { at }),
    ];
    prop::collection::vec(change, 1..5)
}

impl fmt::Debug for Model {
    /// A line for what is a screenful otherwise.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { routed, joined, places, rounds } = self;
        // Plain, whatever is asked for.
        writeln!(formatter, "routed {routed}, joined {joined}, {places:?}")?;
        for Round { changes, frames } in rounds {
            writeln!(formatter, "{changes:?}\n{frames:?}")?;
        }
        Ok(())
    }
}

impl Model {
    pub(super) fn bridge_of(&self, place: usize) -> usize {
        usize::from(self.routed && self.places[place].second)
    }

    /// `t1` and `t2` are on the first bridge, and nothing happens to them.
    pub(super) fn yaml(&self) -> String {
        let mut text = "name: random-%\nbridges:\n".to_owned();
        for bridge in 0..=usize::from(self.routed) {
            let stp = if self.joined { "stp: true, forward_delay: 2" } else { "" };
            let _ = writeln!(text, "  br{bridge}-%: {{ {stp} }}");
        }
        text.push_str("namespaces:\n");
        for clock in ["t1", "t2"] {
            let _ =
                writeln!(text, "  {clock}-%: {{ interfaces: {{ eth0: {{ bridge: br0-% }} }} }}");
        }
        if self.routed {
            let interface = |bridge: usize| {
                let mac = written(router(bridge));
                format!(
                    "eth{bridge}: {{ bridge: br{bridge}-%, mac: '{mac}', addresses: [10.{bridge}.0.254/24] }}"
                )
            };
            let interfaces = [interface(0), interface(1)].join(", ");
            let _ = writeln!(text, "  r-%: {{ router: true, interfaces: {{ {interfaces} }} }}");
        }
        for (number, place) in self.places.iter().enumerate() {
            let (bridge, isolated) = (self.bridge_of(number), place.isolated);
            let inner = if place.switch {
                format!(
                    ", p1: {{ peer: n{number}in1-%/eth0 }}, p2: {{ peer: n{number}in2-%/eth0 }}"
                )
            } else {
                String::new()
            };
            let _ = writeln!(
                text,
                "  n{number}-%: {{ interfaces: {{ eth0: {{ bridge: br{bridge}-%, isolated: {isolated} }}{inner} }} }}"
            );
            for inner in ["in1", "in2"].into_iter().filter(|_| place.switch) {
                let _ = writeln!(text, "  n{number}{inner}-%: {{ interfaces: {{ eth0: {{}} }} }}");
            }
        }
        text
    }

    /// What no lab says.
    pub(super) fn commands(&self) -> Vec<String> {
        let mut commands = Vec::new();
        for [one, other] in [["j1-%", "k1-%"], ["j2-%", "k2-%"]].into_iter().filter(|_| self.joined)
        {
            commands.push(format!("ip link add {one} type veth peer name {other}"));
            commands.push(format!("ip link set {one} master br0-% up"));
            commands.push(format!("ip link set {other} master br1-% up"));
        }
        for (number, place) in self.places.iter().enumerate() {
            if place.switch {
                commands.push(format!("ip -netns n{number}-% link add inner type bridge"));
                for port in ["eth0", "p1", "p2"] {
                    commands.push(format!("ip -netns n{number}-% link set {port} master inner"));
                }
                commands.push(format!("ip -netns n{number}-% link set inner up"));
            }
            if self.routed {
                let (bridge, host) = (self.bridge_of(number), number + 1);
                let mac = written(own(number));
                commands.push(format!(
                    "ip -netns r-% neighbour add 10.{bridge}.0.{host} lladdr {mac} dev eth{bridge}"
                ));
            }
        }
        if self.routed {
            for name in ["all", "eth0", "eth1"] {
                let switch = format!("net.ipv4.conf.{name}");
                commands.push(format!(
                    "ip netns exec r-% sysctl -qw {switch}.rp_filter=0 {switch}.send_redirects=0"
                ));
            }
        }
        commands
    }

    /// What has to be done before the end.
    pub(super) fn last_commands(&self) -> Vec<String> {
        let joints = ["j1-%", "j2-%"].into_iter().filter(|_| self.joined);
        joints.map(|joint| format!("ip link delete {joint}")).collect()
    }

    /// MAC addresses, and at which namespaces they are.
    pub(super) fn stations(&self) -> Vec<(Mac, String)> {
        let mut stations = Vec::new();
        for (number, place) in self.places.iter().enumerate() {
            if place.switch {
                stations.push((own(number), format!("n{number}in1")));
                stations.push((guest(number, 1), format!("n{number}in2")));
                continue;
            }
            stations.push((own(number), format!("n{number}")));
            for number_of_guest in 1..=place.guests {
                stations.push((guest(number, number_of_guest), format!("n{number}")));
            }
        }
        stations
    }
}

const fn own(place: usize) -> Mac {
    guest(place, 0)
}

const fn guest(place: usize, number: u8) -> Mac {
    station(10 * (1 + place as u8) + number)
}

fn written(mac: Mac) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}
