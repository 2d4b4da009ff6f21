//! XDP of a host-side end: what the namespace sends, in place of tc ingress.

use aya_ebpf::bindings::xdp_action::XDP_PASS;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::debug;

use crate::stage::account::{self, Uncounted};
use crate::view::XdpPacket;

/// Counts, and passes the frame on to the bridge.
#[xdp]
pub fn xdp_ingress(context: XdpContext) -> u32 {
    let packet = XdpPacket::new(&context);
    if let Err(Uncounted) = account::tx(&packet, packet.ifindex()) {
        debug!(&context, "interface {} is no port: passed uncounted", packet.ifindex());
    }
    XDP_PASS
}
