//! How packets of a lab's interfaces travel over bridges: as told, and as they do.

use nsbpf_common::stats::Way;
use serde::Serialize;

use super::stats::Tally;
use crate::datapath::{DatapathError, StatsReader};
use crate::lab::InterfaceId;
use crate::state::{Far, HookPoint, IngressHook, Key, Object, State};
use crate::store::Store;

/// An interface whose packets go over a bridge.
#[derive(Debug, Serialize)]
pub struct FastPathReport {
    /// The interface, as `namespace/interface`.
    pub interface: String,
    /// The bridge.
    pub bridge: String,
    /// The way that its packets take where they can.
    pub fastpath: &'static str,
    /// What it sent that way.
    pub sent: Tally,
    /// What it sent that took the bridge all the same: what nobody knew the path of, or
    /// a bridge has to see.
    pub bridged: Tally,
}

/// Every interface that is on a bridge, in the order of the names.
pub fn report(store: &Store, state: &State) -> Result<Vec<FastPathReport>, DatapathError> {
    let reader = StatsReader::open(store)?;
    let mut reports = Vec::new();
    for (id, bridge, number) in bridged(state) {
        let Some(Object::Port(port)) = state.objects.get(&Key::Port(number)) else { continue };
        let tx = reader.read(number)?.tx;
        let sent = match port.way {
            Way::Bridge => Tally::default(),
            way => tx.way(way).into(),
        };
        reports.push(FastPathReport {
            interface: id.to_string(),
            bridge,
            fastpath: port.way.name(),
            sent,
            bridged: tx.way(Way::Bridge).into(),
        });
    }
    Ok(reports)
}

/// The way of each interface that is on a bridge.
pub fn ways(state: &State) -> impl Iterator<Item = (InterfaceId, Way)> {
    bridged(state).filter_map(|(id, _, number)| match state.objects.get(&Key::Port(number)) {
        Some(Object::Port(port)) => Some((id.clone(), port.way)),
        _ => None,
    })
}

/// Where packets meet the datapath that take the bridge, or have none to take: tc, if
/// there are no such packets.
#[must_use]
pub fn hook(state: &State) -> IngressHook {
    let takes_bridge = |number: u16| match state.objects.get(&Key::Port(number)) {
        Some(Object::Port(port)) => port.way == Way::Bridge,
        _ => false,
    };
    let ports = state.objects.values().filter_map(|object| match object {
        Object::Veth(veth) => Some(veth.ports()),
        _ => None,
    });
    let mut slow = ports.flatten().filter(|(_, number)| takes_bridge(*number));
    let has = |id: &InterfaceId, hook| {
        state.objects.contains_key(&Key::Hook(id.clone(), HookPoint::ingress(hook)))
    };
    let hooks = [IngressHook::Tc, IngressHook::Xdp, IngressHook::XdpGeneric];
    slow.find_map(|(id, _)| hooks.into_iter().find(|hook| has(id, *hook))).unwrap_or_default()
}

fn bridged(state: &State) -> impl Iterator<Item = (&InterfaceId, String, u16)> {
    state.objects.values().filter_map(|object| match object {
        Object::Veth(veth) => match &veth.far {
            Far::Port(port) => {
                let bridge = port.bridge.as_ref().map(ToString::to_string).unwrap_or_default();
                Some((&veth.id, bridge, veth.number))
            }
            Far::Peer(_) => None,
        },
        _ => None,
    })
}
