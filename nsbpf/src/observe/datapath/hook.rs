//! A hook that a program of the lab is at, and what of others is around it.

use serde::Serialize;

use super::ObserveError;
use crate::datapath;
use crate::lab::InterfaceId;
use crate::net::Netlink;
use crate::net::filter::{self, Filter, TcHook};
use crate::state::{Attach, Far, ForeignProgram, Hook, HookPoint, Object, Place, State, Veth};
use crate::store::Store;

/// A hook that a program of the lab is at.
#[derive(Debug, Serialize)]
pub struct HookReport {
    /// The interface that it counts for, as `namespace/interface`.
    pub interface: String,
    /// The name of the device that has the hook.
    pub device: String,
    /// The namespace that the device is in; `None` for the host's.
    pub namespace: Option<String>,
    /// Which hook: `tc ingress`, `tc egress` or `XDP`.
    pub point: &'static str,
    /// How it is attached: `clsact`, `tcx` or `xdp native`.
    pub way: &'static str,
    /// Id of the program.
    pub program: Option<u32>,
    /// Programs and filters of others that see a packet first, in that order.
    pub before: Vec<OtherReport>,
    /// Those that see it afterwards, if the program lets it go on to them.
    pub after: Vec<OtherReport>,
}

/// A program or a filter that is not the lab's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OtherReport {
    /// How it is attached: `xdp`, `tcx` or `clsact`.
    pub way: &'static str,
    /// What kind of filter it is; `bpf` for a program.
    pub kind: String,
    /// Its name; empty when it has none.
    pub name: String,
    /// Id of the program; `None` for a filter that is none.
    pub program: Option<u32>,
    /// The priority of a filter: lower ones run first.
    pub priority: Option<u16>,
}

impl HookReport {
    /// Looks at a hook of a device in the calling thread's network namespace.
    pub(super) fn new(store: &Store, state: &State, hook: &Hook) -> Result<Self, ObserveError> {
        let Hook { id, device, point, attach, current: _ } = hook;
        let ifindex = state.slot().map_or(0, |slot| slot.ifindex(device.number));
        let mut netlink = Netlink::open()?;
        let linked = datapath::linked_program(store, *point, device.number);
        let mut chain = Chain::default();
        let tc = match point {
            HookPoint::TcIngress | HookPoint::RouteIngress => Some(TcHook::Ingress),
            HookPoint::TcEgress | HookPoint::RouteEgress => Some(TcHook::Egress),
            HookPoint::Xdp | HookPoint::XdpGeneric => None,
        };
        let name = datapath::program_name(*point);
        if *point == HookPoint::TcIngress
            && let Some(ForeignProgram { id, name }) = state.foreign_xdp.get(id)
        {
            chain.push(false, program_of_others("xdp", *id, name.clone()));
        }
        // A kernel without TCX has none there.
        for at in datapath::tcx_programs(ifindex, *point).unwrap_or_default() {
            let ours = *attach == Some(Attach::Tcx) && linked == Some(at.id);
            chain.push(ours, program_of_others("tcx", at.id, at.name));
        }
        let mut program = linked;
        if let Some(tc) = tc {
            for filter in filter::list(&mut netlink, ifindex, tc)? {
                let ours = filter.is_ours(name);
                if ours {
                    program = filter.program;
                }
                chain.push(ours, OtherReport::from(filter));
            }
        }
        let Chain { before, after, .. } = chain;
        Ok(Self {
            interface: id.to_string(),
            device: match point {
                HookPoint::RouteIngress | HookPoint::RouteEgress => id.interface.to_string(),
                _ => device_name(state, id),
            },
            namespace: match &device.place {
                Place::Host => None,
                Place::Netns(name) => Some(name.to_string()),
            },
            point: match point {
                HookPoint::TcIngress => "tc ingress",
                HookPoint::TcEgress => "tc egress",
                HookPoint::Xdp | HookPoint::XdpGeneric => "XDP",
                HookPoint::RouteIngress => "route ingress",
                HookPoint::RouteEgress => "route egress",
            },
            way: match attach {
                Some(Attach::Clsact) => "clsact",
                Some(Attach::Tcx) => "tcx",
                None if *point == HookPoint::XdpGeneric => "xdp generic",
                None => "xdp native",
            },
            program,
            before,
            after,
        })
    }
}

/// What is at a hook, before and after the lab's program.
#[derive(Default)]
struct Chain {
    met_ours: bool,
    before: Vec<OtherReport>,
    after: Vec<OtherReport>,
}

impl Chain {
    fn push(&mut self, ours: bool, one: OtherReport) {
        if ours {
            self.met_ours = true;
        } else if self.met_ours {
            self.after.push(one);
        } else {
            self.before.push(one);
        }
    }
}

fn program_of_others(way: &'static str, id: u32, name: String) -> OtherReport {
    OtherReport { way, kind: "bpf".to_owned(), name, program: Some(id), priority: None }
}

impl From<Filter> for OtherReport {
    fn from(filter: Filter) -> Self {
        let Filter { priority, handle: _, kind, program, name } = filter;
        Self { way: "clsact", kind, name, program, priority: Some(priority) }
    }
}

/// The name of the device where an interface's packets come in.
fn device_name(state: &State, id: &InterfaceId) -> String {
    let name = |object: &Object| match object {
        Object::Veth(Veth { id: near, far, .. }) if near == id => Some(match far {
            Far::Port(port) => port.end.name.clone(),
            Far::Peer(peer) => peer.end.name.clone(),
        }),
        Object::Veth(Veth { near, far: Far::Peer(peer), .. }) if peer.id == *id => {
            near.as_ref().map(|near| near.name.clone())
        }
        _ => None,
    };
    state.objects.values().find_map(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_by_which_side_they_are_on() {
        let other = |name: &str| program_of_others("tcx", 1, name.to_owned());
        let mut chain = Chain::default();
        for (ours, name) in [(false, "first"), (true, "ours"), (false, "last")] {
            chain.push(ours, other(name));
        }
        assert_eq!(chain.before, [other("first")]);
        assert_eq!(chain.after, [other("last")]);
    }
}
