//! XDP of the device behind an interface, in place of tc ingress.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::debug;
use nsbpf_common::verdict::Verdict;

use crate::stage::pipeline::{self, Unmanaged};
use crate::view::XdpPacket;

/// A pass goes on to the bridge.
#[xdp]
pub fn xdp_ingress(context: XdpContext) -> u32 {
    let packet = XdpPacket::new(&context);
    match pipeline::ingress(&packet, packet.ifindex()) {
        Ok(Verdict::Pass) => XDP_PASS,
        Ok(Verdict::Drop(reason)) => {
            debug!(&context, "interface {}: dropped, {}", packet.ifindex(), reason.name());
            XDP_DROP
        }
        Err(Unmanaged) => {
            debug!(&context, "interface {} is no port: passed uncounted", packet.ifindex());
            XDP_PASS
        }
    }
}
