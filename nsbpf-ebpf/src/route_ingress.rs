//! tc ingress of a router's interface, in the router's namespace: packets whose way is
//! known leave it by another interface at once.

use aya_ebpf::bindings::{TC_ACT_REDIRECT, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use nsbpf_common::stats::Way;

use crate::stage::pipeline::Forward as _;
use crate::stage::route;
use crate::view::TcPacket;

/// What cannot be replayed is the stack's, as everything is without this program.
#[classifier]
#[inline(always)]
pub fn route_ingress(context: TcContext) -> i32 {
    let packet = TcPacket::new(&context);
    if !packet.is_for_this_host() {
        return TC_ACT_UNSPEC;
    }
    let Some(replay) = route::ingress(&packet, packet.ifindex()) else { return TC_ACT_UNSPEC };
    if packet.rewrite(&replay) && packet.forward(Way::Peer, replay.to) {
        TC_ACT_REDIRECT
    } else {
        TC_ACT_UNSPEC
    }
}
