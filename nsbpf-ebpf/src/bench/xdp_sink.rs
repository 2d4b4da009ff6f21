//! The sink: what comes in ends here, and the kernel counts it. What is measured
//! with it is the way to the namespace alone.

use aya_ebpf::bindings::xdp_action::XDP_DROP;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// Drops every frame.
#[xdp]
pub fn xdp_sink(_: XdpContext) -> u32 {
    XDP_DROP
}
