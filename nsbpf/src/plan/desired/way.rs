//! How packets travel over bridges, and where they meet the datapath for that.

use std::collections::BTreeSet;

use nsbpf_common::stats::Way;

use super::Settings;
use crate::lab::policy::RuleAction;
use crate::lab::{Attachment, Bridge, Interface, InterfaceName, Lab, Name, Namespace, Policy};
use crate::state::{FilterChain, IngressHook, State};

/// What is asked for: where packets meet the datapath, and how they travel where the
/// lab does not say.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) hook: IngressHook,
    pub(super) fastpath: Option<Way>,
}

impl Asked {
    /// The way of an interface's packets, and where they meet the datapath. Only
    /// packets that go over a bridge can pass it by; and a way that is asked for says
    /// where that can be done.
    pub(super) fn way(self, lab: &Lab, interface: &Interface) -> (Way, IngressHook) {
        let Self { hook, fastpath } = self;
        if matches!(interface.attachment, Attachment::Peer(_)) {
            // What XDP of the one end sends back meets XDP of the other end.
            let hook = if self.answers_by_xdp(lab) { IngressHook::Tc } else { hook };
            return (Way::Bridge, hook);
        }
        let default = if hook == IngressHook::Tc { Way::Peer } else { Way::Bridge };
        let asked = interface.fastpath.or(fastpath).or(lab.fastpath);
        match (asked.unwrap_or(default), hook) {
            (way @ (Way::Redirect | Way::Peer), _) => (way, IngressHook::Tc),
            (Way::Xdp, IngressHook::Tc) => (Way::Xdp, IngressHook::Xdp),
            (way, hook) => (way, hook),
        }
    }

    /// Whether packets could pass the stack of a namespace by that forwards them. A packet
    /// that does leaves by tc ingress of the next port, so that all of them have that.
    fn could_replay_routes_of(self, lab: &Lab, namespace: &Namespace) -> bool {
        let is_fast =
            |interface: &Interface| matches!(self.way(lab, interface).0, Way::Redirect | Way::Peer);
        namespace.forwards() && namespace.interfaces.iter().all(is_fast)
    }

    /// Whether packets pass the stack of a namespace by. Where something is filtered they
    /// do not: its rules are to see each of them, and one that follows connections would
    /// find gaps in them.
    pub(super) fn replays_routes_of(self, lab: &Lab, namespace: &Namespace, state: &State) -> bool {
        self.could_replay_routes_of(lab, namespace) && !state.filters.contains_key(&namespace.name)
    }

    /// Whether packets could pass a stack by that routes between bridges: two of them have
    /// addresses in one place, and interfaces whose packets take such a way. Whether the
    /// stack forwards is its own affair, and seen by what it does.
    pub(super) fn replays_routes_between_bridges(self, lab: &Lab) -> bool {
        let has_senders = |bridge: &Bridge| {
            let mut ports = lab.interfaces().map(|(_, one)| one);
            ports.any(|one| {
                let way = self.way(lab, one).0;
                one.bridge() == Some(&bridge.name) && matches!(way, Way::Redirect | Way::Peer)
            })
        };
        let addressed: Vec<&Bridge> =
            lab.bridges.iter().filter(|bridge| !bridge.addresses.is_empty()).collect();
        addressed.iter().any(|from| {
            let is_other = |to: &&Bridge| to.name != from.name && to.namespace == from.namespace;
            has_senders(from) && addressed.iter().any(is_other)
        })
    }

    /// Where packets of all interfaces meet the datapath; of a lab without interfaces,
    /// where those of the first one would.
    pub(super) fn hooks(self, lab: &Lab) -> BTreeSet<IngressHook> {
        let hooks: BTreeSet<_> = lab.interfaces().map(|(_, one)| self.way(lab, one).1).collect();
        if hooks.is_empty() { BTreeSet::from([self.hook]) } else { hooks }
    }

    /// Whether XDP is asked for where senders are told that their packets are rejected.
    fn answers_by_xdp(self, lab: &Lab) -> bool {
        let rejects = |policy: &Policy| {
            policy.rules.iter().any(|rule| matches!(rule.action, RuleAction::Reject))
        };
        self.hook != IngressHook::Tc && lab.policy.as_ref().is_some_and(rejects)
    }

    /// Bridges on which XDP sends frames to ports: to where they go, or back to where they
    /// came from.
    pub(super) fn by_xdp(self, lab: &Lab) -> BTreeSet<&InterfaceName> {
        let answers = self.answers_by_xdp(lab);
        let sends = |one: &&Interface| {
            let (way, hook) = self.way(lab, one);
            way == Way::Xdp || answers && hook != IngressHook::Tc
        };
        lab.interfaces().map(|(_, one)| one).filter(sends).filter_map(Interface::bridge).collect()
    }
}

/// The namespaces whose stack packets could pass by, and do not because of what is
/// filtered there.
pub(in crate::plan) fn filtering_routers<'a>(
    lab: &'a Lab,
    settings: &Settings,
    state: &'a State,
) -> impl Iterator<Item = (&'a Name, &'a [FilterChain])> {
    let asked = settings.asked();
    let could =
        move |one: &&Namespace| asked.is_some_and(|asked| asked.could_replay_routes_of(lab, one));
    lab.namespaces.iter().filter(could).filter_map(|namespace| {
        let chains = state.filters.get(&namespace.name)?;
        Some((&namespace.name, chains.as_slice()))
    })
}

/// Where packets of a lab's interfaces meet the datapath: at `hook`, unless the way
/// that they travel says otherwise.
#[must_use]
pub fn ingress_hooks(lab: &Lab, hook: IngressHook, fastpath: Option<Way>) -> BTreeSet<IngressHook> {
    Asked { hook, fastpath }.hooks(lab)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bridges_with_addresses_are_routed_between() {
        let replays = |bridges: &str, fastpath: &str| {
            let text = format!(
                "name: a\nfastpath: {fastpath}\nbridges: {{ {bridges} }}\nnamespaces:\n  \
                 n: {{ interfaces: {{ e: {{ bridge: br0 }}, f: {{ bridge: br1 }} }} }}\n  s: {{}}\n"
            );
            let lab = Lab::parse(&text, "lab.yaml").unwrap();
            let asked = Asked { hook: IngressHook::Tc, fastpath: None };
            asked.replays_routes_between_bridges(&lab)
        };
        let both = "br0: { addresses: [10.0.0.1/24] }, br1: { addresses: [10.1.0.1/24] }";
        assert!(replays(both, "peer") && replays(both, "redirect"));
        assert!(!replays(both, "bridge") && !replays(both, "xdp"));
        assert!(!replays("br0: { addresses: [10.0.0.1/24] }, br1: {}", "peer"));
        let apart = both.replace("br0: {", "br0: { namespace: s,");
        assert!(!replays(&apart, "peer"));
        assert!(replays(&apart.replace("br1: {", "br1: { namespace: s,"), "peer"));
    }
}
