//! The paths that are compared. Each is a lab and its settings: another path is
//! another line in [`MODES`].

use nsbpf_common::stats::Way;

use super::arrivals::{ENDS, End};
use super::wiring::Wiring;
use crate::apply::{self, NoWay, Wish};
use crate::datapath::OBJECT_DIGEST;
use crate::plan::{DEFAULT_FLOWS, Settings};
use crate::state::{Attach, IngressHook};
use crate::store::Store;

/// The path that frames take without a switch between them.
pub(super) const WIRE: &str = "wire";
/// The path that all others are measured against.
pub(super) const BRIDGE: &str = "bridge";
/// The same with the host's firewall looking on, as it is by default.
pub(super) const BRIDGE_NF: &str = "bridge+nf";
/// Two bridges, and the kernel forwards between them.
pub(super) const ROUTER: &str = "router";

/// A path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    pub(super) name: &'static str,
    pub(super) wiring: Wiring,
    /// `None` for no datapath of ours.
    datapath: Option<Counting>,
    /// Where frames can end: what passes a namespace's XDP by never meets the sink.
    pub(super) ends: &'static [End],
    pub(super) targets: &'static [Target],
    /// `None` where TCP is not measured.
    pub(super) tcp: Option<Tcp>,
}

/// What our datapath does on a path.
#[derive(Clone, Copy, Debug)]
struct Counting {
    /// Where packets from a namespace are counted.
    ingress: IngressHook,
    /// How programs are attached to tc hooks.
    attach: Wish,
    /// How packets travel over the bridge.
    way: Way,
    /// Whether flows are tracked.
    flows: bool,
}

/// What a path has to carry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) end: End,
    /// The path that it is a share of.
    pub(super) of: &'static str,
    /// The number of flows that it is for.
    pub(super) flows: u16,
    pub(super) must: f64,
    pub(super) stretch: Option<f64>,
}

/// What TCP has to do on a path, as a ratio to what it does on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tcp {
    /// How long half of all round trips take at most, with both ends on one processor.
    pub(super) round_trip: Option<Bounds>,
    /// How much a connection carries.
    pub(super) bulk: Option<Bounds>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) must: f64,
    pub(super) stretch: f64,
}

/// TCP is measured, and has to do nothing.
const SOME_TCP: Option<Tcp> = Some(Tcp { round_trip: None, bulk: None });
const PLAIN_BRIDGE: Wiring = Wiring::Bridge { netfilter: false };
const COUNTERS: Counting =
    Counting { ingress: IngressHook::Tc, attach: Wish::Any, way: Way::Bridge, flows: false };
const FLOWS: Counting = Counting { flows: true, ..COUNTERS };
const PEER: Counting = Counting { way: Way::Peer, ..FLOWS };
const UNCOUNTED: Mode = Mode {
    name: BRIDGE,
    wiring: PLAIN_BRIDGE,
    datapath: None,
    ends: &ENDS,
    targets: &[],
    tcp: None,
};

const fn counted(name: &'static str, datapath: Counting, targets: &'static [Target]) -> Mode {
    Mode { name, datapath: Some(datapath), targets, ..UNCOUNTED }
}

const fn target(end: End, of: &'static str, must: f64, stretch: f64) -> Target {
    Target { end, of, flows: 1, must, stretch: Some(stretch) }
}

const COUNTING: [Target; 2] =
    [target(End::XdpSink, BRIDGE, 0.83, 0.9), target(End::Receiver, BRIDGE, 0.83, 0.9)];

/// All of them, in the order of their turns.
pub(super) const MODES: [Mode; 12] = [
    Mode { name: WIRE, wiring: Wiring::Direct, tcp: SOME_TCP, ..UNCOUNTED },
    Mode { tcp: SOME_TCP, ..UNCOUNTED },
    Mode { name: BRIDGE_NF, wiring: Wiring::Bridge { netfilter: true }, ..UNCOUNTED },
    counted("counters", COUNTERS, &COUNTING),
    counted(
        "counters-clsact",
        Counting { attach: Wish::Only(Attach::Clsact), ..COUNTERS },
        &COUNTING,
    ),
    counted("counters-xdp", Counting { ingress: IngressHook::Xdp, ..COUNTERS }, &COUNTING),
    counted(
        "flows",
        FLOWS,
        &[target(End::XdpSink, BRIDGE, 0.78, 0.85), target(End::Receiver, BRIDGE, 0.78, 0.85)],
    ),
    Mode {
        tcp: SOME_TCP,
        ..counted(
            "redirect",
            Counting { way: Way::Redirect, ..FLOWS },
            &[
                target(End::XdpSink, BRIDGE, 1.05, 1.2),
                Target { stretch: None, ..target(End::XdpSink, BRIDGE_NF, 1.5, 0.0) },
            ],
        )
    },
    Mode {
        ends: &[End::Receiver],
        tcp: Some(Tcp {
            round_trip: Some(Bounds { must: 1.08, stretch: 1.03 }),
            bulk: Some(Bounds { must: 0.95, stretch: 1.0 }),
        }),
        ..counted("peer", PEER, &[target(End::Receiver, BRIDGE, 1.5, 1.7)])
    },
    counted(
        "xdp",
        Counting { way: Way::Xdp, ..FLOWS },
        &[
            target(End::XdpSink, BRIDGE, 3.0, 3.5),
            target(End::XdpSink, WIRE, 0.43, 0.5),
            target(End::Receiver, BRIDGE, 1.6, 1.9),
            Target { flows: 32_000, ..target(End::XdpSink, BRIDGE, 2.2, 2.8) },
        ],
    ),
    Mode { name: ROUTER, wiring: Wiring::Router, ends: &[End::Receiver], ..UNCOUNTED },
    Mode {
        wiring: Wiring::Router,
        ends: &[End::Receiver],
        ..counted("routed", PEER, &[target(End::Receiver, ROUTER, 1.8, 2.5)])
    },
];

impl Mode {
    /// Whether packets pass all that nsbpf counts with, in both directions.
    pub(super) fn counts(&self) -> bool {
        self.datapath.is_some()
    }

    /// What its lab is brought up with.
    pub(super) fn settings(&self, store: &Store) -> Result<Settings, NoWay> {
        let Some(Counting { ingress, attach, way, flows }) = self.datapath else {
            return settings(store, None, Wish::Any);
        };
        let settings = settings(store, Some(ingress), attach)?;
        let flows = if flows { DEFAULT_FLOWS } else { 0 };
        Ok(Settings { fastpath: Some(way), flows, ..settings })
    }
}

/// How a lab is brought up whose packets are counted there, if anywhere, and take the
/// bridge.
pub(super) fn settings(
    store: &Store,
    ingress: Option<IngressHook>,
    wish: Wish,
) -> Result<Settings, NoWay> {
    let attach = match ingress {
        Some(_) => apply::choose_way(store, wish)?,
        None => Attach::default(),
    };
    Ok(Settings {
        ingress,
        attach,
        object: OBJECT_DIGEST.to_owned(),
        fastpath: Some(Way::Bridge),
        flows: 0,
        log: false,
    })
}
