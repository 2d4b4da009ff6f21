//! XDP of a host-side end: what the namespace sends, in place of tc ingress.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

use crate::stage::account;
use crate::view::XdpPacket;

/// Counts, and passes the frame on to the bridge.
#[xdp]
pub fn xdp_ingress(context: XdpContext) -> u32 {
    let packet = XdpPacket::new(&context);
    account::tx(&packet, packet.ifindex());
    XDP_PASS
}
