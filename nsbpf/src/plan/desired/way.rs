//! How packets travel over bridges, and where they meet the datapath for that.

use std::collections::BTreeSet;

use nsbpf_common::stats::Way;

use crate::lab::{Attachment, Interface, InterfaceName, Lab, Name, SysctlName};
use crate::state::IngressHook;

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

    /// Whether packets pass the stack of a namespace by that forwards them. A packet that
    /// does leaves by tc ingress of the next port, so that all of them have that.
    pub(super) fn replays_routes_of(self, lab: &Lab, namespace: &Name) -> bool {
        let Some(namespace) = lab.namespaces.iter().find(|one| one.name == *namespace) else {
            return false;
        };
        let forwards = |name: &str| {
            let name = SysctlName::new(name);
            name.and_then(|name| namespace.sysctls.get(&name)).is_some_and(|value| value == "1")
        };
        let is_fast =
            |interface: &Interface| matches!(self.way(lab, interface).0, Way::Redirect | Way::Peer);
        (forwards("net/ipv4/ip_forward") || forwards("net/ipv6/conf/all/forwarding"))
            && namespace.interfaces.len() > 1
            && namespace.interfaces.iter().all(is_fast)
    }

    /// Where packets of all interfaces meet the datapath; of a lab without interfaces,
    /// where those of the first one would.
    pub(super) fn hooks(self, lab: &Lab) -> BTreeSet<IngressHook> {
        let hooks: BTreeSet<_> = lab.interfaces().map(|(_, one)| self.way(lab, one).1).collect();
        if hooks.is_empty() { BTreeSet::from([self.hook]) } else { hooks }
    }

    /// Bridges on which XDP sends frames to ports.
    pub(super) fn by_xdp(self, lab: &Lab) -> BTreeSet<&InterfaceName> {
        let sends = |one: &&Interface| self.way(lab, one).0 == Way::Xdp;
        lab.interfaces().map(|(_, one)| one).filter(sends).filter_map(Interface::bridge).collect()
    }
}

/// Where packets of a lab's interfaces meet the datapath: at `hook`, unless the way
/// that they travel says otherwise.
#[must_use]
pub fn ingress_hooks(lab: &Lab, hook: IngressHook, fastpath: Option<Way>) -> BTreeSet<IngressHook> {
    Asked { hook, fastpath }.hooks(lab)
}
