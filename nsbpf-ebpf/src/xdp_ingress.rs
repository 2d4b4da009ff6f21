//! XDP of the device behind an interface, in place of tc ingress.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS, XDP_REDIRECT};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::answer::answer;
use crate::stage::pipeline;
use crate::view::XdpPacket;

/// A pass goes on to the bridge, or up the stack.
#[xdp]
#[inline(always)]
pub fn xdp_ingress(context: XdpContext) -> u32 {
    let packet = XdpPacket::new(&context);
    let outcome = pipeline::ingress(&packet, packet.ifindex());
    answer(&context, packet.ifindex(), outcome, [XDP_PASS, XDP_DROP, XDP_REDIRECT, XDP_REDIRECT])
}
