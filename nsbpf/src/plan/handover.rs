//! From one ingress hook of a port to another, so that each packet is counted and judged
//! once: for a while there are both.

use std::collections::BTreeSet;

use super::Step;
use crate::state::{Far, Hook, HookPoint, Key, Object, Objects, State, Veth};

/// Whether a hook that goes stays until another has taken over from it: tc from XDP, or
/// XDP from tc.
///
/// Not if the same counters do not go on, and not if the device takes longer packets then:
/// XDP bounds that.
pub(super) fn retires(hook: &Hook, wanted: &Objects, state: &State, gone: &BTreeSet<Key>) -> bool {
    let Hook { id, device, point, .. } = hook;
    let others: &[HookPoint] = match point {
        HookPoint::TcIngress => &[HookPoint::Xdp, HookPoint::XdpGeneric],
        HookPoint::Xdp | HookPoint::XdpGeneric => &[HookPoint::TcIngress],
        _ => &[],
    };
    let takes_over = |other: &HookPoint| match wanted.get(&Key::Hook(id.clone(), *other)) {
        Some(Object::Hook(other)) => other.device == *device,
        _ => false,
    };
    let link = Key::from(device.link.clone());
    !gone.contains(&Key::Datapath)
        && others.iter().any(takes_over)
        && (!point.is_xdp() || mtu(wanted, &link) <= mtu(&state.objects, &link))
}

/// What the longer-winded end of a pair takes.
fn mtu(objects: &Objects, link: &Key) -> Option<u32> {
    match objects.get(link)? {
        Object::Veth(Veth { near, far, .. }) => {
            let far = match far {
                Far::Port(port) => &port.end,
                Far::Peer(peer) => &peer.end,
            };
            near.iter().chain([far]).map(|end| end.mtu).max()
        }
        _ => None,
    }
}

/// Numbers of the ports whose packets meet two hooks while the steps are done.
#[must_use]
pub fn handed_over(steps: &[Step]) -> BTreeSet<u16> {
    let retired = steps.iter().filter_map(|step| match step {
        Step::Retire(hook) => Some(hook.device.number),
        _ => None,
    });
    retired.collect()
}
