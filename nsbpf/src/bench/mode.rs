//! The paths that are compared. Each is a lab and its settings: another path is
//! another line in [`MODES`].

mod policy;

use nsbpf_common::stats::Way;
use serde::{Deserialize, Serialize};

use super::traffic::{ENDS, End};
use super::wiring::Wiring;
use crate::apply::{self, NoWay, Wish};
use crate::datapath::OBJECT_DIGEST;
use crate::plan::{DEFAULT_FLOWS, Settings};
use crate::state::{Attach, IngressHook};
use crate::store::Store;

pub(super) use policy::POLICY_MODES;

/// The path that frames take without a switch between them.
pub(super) const WIRE: &str = "wire";
/// The path that all others are measured against.
pub(super) const BRIDGE: &str = "bridge";
/// The same with the host's firewall looking on, as it is by default.
pub(super) const BRIDGE_NF: &str = "bridge+nf";
/// The bridge with all that our datapath knows, as it is with a policy.
pub(super) const WITH_FLOWS: &str = "flows";
/// Bytes of a packet that native XDP on a veth takes at most, rounded down (`veth_xdp_set`,
/// Linux 6.18).
const MAX_XDP_MTU: u16 = 3_400;
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
    /// Whether all is measured of it, and not only short frames of one flow.
    pub(super) main: bool,
    /// What decides which frames pass.
    pub(super) filter: Filter,
    pub(super) targets: &'static [Target],
}

/// What decides which frames pass, besides what is between two namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filter {
    /// Nothing, but for a policy that all paths are to have which can.
    None,
    /// A policy of ours.
    Policy(Amount),
    /// Rules of nftables, one after the other.
    Linear(Amount),
    /// One look-up of nftables in a set.
    Set(Amount),
}

/// How many rules there are, or elements of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amount {
    One,
    Few,
    Many,
    /// A tenth of these.
    Tenth,
}

impl Amount {
    const FEW: u32 = 10;

    pub(super) fn count(self, many: u32) -> u32 {
        match self {
            Self::One => 1,
            Self::Few => Self::FEW,
            Self::Many => many,
            Self::Tenth => (many / 10).max(1),
        }
    }
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

/// What a path has to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) goal: Goal,
    /// The path that it is compared to.
    pub(super) of: &'static str,
    pub(super) must: f64,
    pub(super) stretch: Option<f64>,
}

/// What of a path a target is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The rate of [short](Shape::SHORT) frames of so many flows, to an end: so much of
    /// the other's at least.
    Frames(End, u32),
    /// The time that half of all round trips take at most, with both ends on one
    /// processor: so much of the other's at most.
    RoundTrip,
    /// How much one connection carries: so much of the other's at least.
    Bulk,
    /// The rate of short frames, all of a known flow or each of a new one, to an end: so much
    /// of that with fewer rules, or with others', at least.
    Rules { end: End, is_new: bool },
}

/// What is left of our datapath's stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages {
    /// Whether flows are tracked; `None` as each path has it.
    pub flows: Option<bool>,
}

const PLAIN_BRIDGE: Wiring = Wiring::Bridge { netfilter: false };
const COUNTERS: Counting =
    Counting { ingress: IngressHook::Tc, attach: Wish::Any, way: Way::Bridge, flows: false };
const FLOWS: Counting = Counting { flows: true, ..COUNTERS };
const PEER: Counting = Counting { way: Way::Peer, ..FLOWS };
const XDP: Counting = Counting { way: Way::Xdp, ..FLOWS };
const UNCOUNTED: Mode = Mode {
    name: BRIDGE,
    wiring: PLAIN_BRIDGE,
    datapath: None,
    ends: &ENDS,
    main: true,
    filter: Filter::None,
    targets: &[],
};

const fn counted(name: &'static str, datapath: Counting, targets: &'static [Target]) -> Mode {
    Mode { name, datapath: Some(datapath), main: false, targets, ..UNCOUNTED }
}

const fn target(end: End, of: &'static str, must: f64, stretch: f64) -> Target {
    Target { goal: Goal::Frames(end, 1), of, must, stretch: Some(stretch) }
}

const COUNTING: [Target; 2] =
    [target(End::XdpSink, BRIDGE, 0.83, 0.9), target(End::Receiver, BRIDGE, 0.83, 0.9)];

/// All of them, in the order of their turns.
pub(super) const MODES: [Mode; 13] = [
    Mode { name: WIRE, wiring: Wiring::Direct, ..UNCOUNTED },
    UNCOUNTED,
    Mode { name: BRIDGE_NF, wiring: Wiring::Bridge { netfilter: true }, ..UNCOUNTED },
    counted("counters", COUNTERS, &COUNTING),
    counted(
        "counters-clsact",
        Counting { attach: Wish::Only(Attach::Clsact), ..COUNTERS },
        &COUNTING,
    ),
    counted("counters-xdp", Counting { ingress: IngressHook::Xdp, ..COUNTERS }, &COUNTING),
    counted(
        WITH_FLOWS,
        FLOWS,
        &[target(End::XdpSink, BRIDGE, 0.78, 0.85), target(End::Receiver, BRIDGE, 0.78, 0.85)],
    ),
    Mode {
        main: true,
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
        main: true,
        ..counted(
            "peer",
            PEER,
            &[
                target(End::Receiver, BRIDGE, 1.5, 1.7),
                Target { goal: Goal::RoundTrip, of: WIRE, must: 1.08, stretch: Some(1.03) },
                Target { goal: Goal::Bulk, of: WIRE, must: 0.95, stretch: Some(1.0) },
            ],
        )
    },
    Mode {
        main: true,
        ..counted(
            "xdp",
            XDP,
            &[
                target(End::XdpSink, BRIDGE, 3.0, 3.5),
                target(End::XdpSink, WIRE, 0.43, 0.5),
                target(End::Receiver, BRIDGE, 1.6, 1.9),
                Target {
                    goal: Goal::Frames(End::XdpSink, 32_000),
                    ..target(End::XdpSink, BRIDGE, 2.2, 2.8)
                },
            ],
        )
    },
    counted("xdp-generic", Counting { ingress: IngressHook::XdpGeneric, ..XDP }, &[]),
    Mode { name: ROUTER, wiring: Wiring::Router, ends: &[End::Receiver], main: false, ..UNCOUNTED },
    Mode {
        wiring: Wiring::Router,
        ends: &[End::Receiver],
        ..counted("routed", PEER, &[target(End::Receiver, ROUTER, 1.8, 2.5)])
    },
];

/// What the benchmark tests itself with: a bridge three times, which differ in what
/// delays packets on their way.
pub(super) const SELF_TEST: [Mode; 3] = [
    UNCOUNTED,
    Mode { name: "the same again", ..UNCOUNTED },
    Mode { name: "delayed", ..UNCOUNTED },
];

impl Mode {
    /// Whether packets pass all that nsbpf counts with, in both directions.
    pub(super) fn counts(&self) -> bool {
        self.datapath.is_some()
    }

    /// Whether it can have a policy of ours: that needs to know of flows.
    pub(super) fn can_judge(&self) -> bool {
        self.datapath.is_some_and(|counting| counting.flows)
    }

    /// Whether sender and receiver are ports of the same bridge.
    pub(super) fn has_one_bridge(&self) -> bool {
        matches!(self.wiring, Wiring::Bridge { .. })
    }

    /// Whether it can have packets of that size: a program at native XDP sees frames
    /// that are in one page.
    pub(super) fn takes_mtu(&self, mtu: u16) -> bool {
        let native = |counting: Counting| match counting.ingress {
            IngressHook::Tc => counting.way == Way::Xdp,
            IngressHook::Xdp => true,
            IngressHook::XdpGeneric => false,
        };
        mtu <= MAX_XDP_MTU || !self.datapath.is_some_and(native)
    }

    /// What its lab is brought up with, for so many flows.
    pub(super) fn settings(
        &self,
        store: &Store,
        stages: Stages,
        room: u32,
    ) -> Result<Settings, NoWay> {
        let Some(Counting { ingress, attach, way, flows }) = self.datapath else {
            return settings(store, None, Wish::Any);
        };
        let settings = settings(store, Some(ingress), attach)?;
        // Room besides, or flows would be evicted that are still there.
        let room = room.saturating_mul(2).max(DEFAULT_FLOWS);
        let flows = if stages.flows.unwrap_or(flows) { room } else { 0 };
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
        rules_file: None,
    })
}
