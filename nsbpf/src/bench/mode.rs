//! The paths that are compared. Each is a lab and its settings: another path is
//! another line in [`MODES`].

use crate::apply::{self, NoWay, Wish};
use crate::datapath::OBJECT_DIGEST;
use crate::plan::Settings;
use crate::state::{Attach, IngressHook};
use crate::store::Store;

/// The path that frames take without a switch between them.
pub(super) const WIRE: &str = "wire";
/// The path that all others are measured against.
pub(super) const BRIDGE: &str = "bridge";

/// How the two namespaces are wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wiring {
    /// By one veth pair.
    Direct,
    /// By a veth pair each, whose other ends are ports of a bridge.
    Bridge {
        /// Whether the bridge hands packets to the firewall (`br_netfilter`).
        netfilter: bool,
    },
}

/// A path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    pub(super) name: &'static str,
    pub(super) wiring: Wiring,
    /// Where packets from a namespace are counted; `None` for no datapath of ours.
    ingress: Option<IngressHook>,
    /// How programs are attached to tc hooks.
    attach: Wish,
}

const PLAIN_BRIDGE: Wiring = Wiring::Bridge { netfilter: false };

/// All of them, in the order of their turns.
pub(super) const MODES: [Mode; 6] = [
    Mode { name: WIRE, wiring: Wiring::Direct, ingress: None, attach: Wish::Any },
    Mode { name: BRIDGE, wiring: PLAIN_BRIDGE, ingress: None, attach: Wish::Any },
    Mode {
        name: "bridge+nf",
        wiring: Wiring::Bridge { netfilter: true },
        ingress: None,
        attach: Wish::Any,
    },
    Mode {
        name: "counters",
        wiring: PLAIN_BRIDGE,
        ingress: Some(IngressHook::Tc),
        attach: Wish::Any,
    },
    Mode {
        name: "counters-clsact",
        wiring: PLAIN_BRIDGE,
        ingress: Some(IngressHook::Tc),
        attach: Wish::Only(Attach::Clsact),
    },
    Mode {
        name: "counters-xdp",
        wiring: PLAIN_BRIDGE,
        ingress: Some(IngressHook::Xdp),
        attach: Wish::Any,
    },
];

impl Mode {
    /// Whether packets pass all that nsbpf counts with, in both directions.
    pub(super) fn counts(&self) -> bool {
        self.ingress.is_some()
    }

    /// What its lab is brought up with.
    pub(super) fn settings(&self, store: &Store) -> Result<Settings, NoWay> {
        settings(store, self.ingress, self.attach)
    }
}

/// How a lab is brought up whose packets are counted there, if anywhere.
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
        fastpath: None,
        flows: 0,
        log: false,
    })
}
