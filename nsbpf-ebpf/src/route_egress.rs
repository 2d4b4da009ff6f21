//! tc egress of a router's interface, in the router's namespace: what the stack did to a
//! packet that it forwards.

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use crate::stage::route;
use crate::view::TcPacket;

/// Looks on.
#[classifier]
#[inline(always)]
pub fn route_egress(context: TcContext) -> i32 {
    let packet = TcPacket::new(&context);
    let _ = route::egress(&packet, packet.ifindex(), packet.ingress_ifindex());
    TC_ACT_UNSPEC
}
