//! tc egress of the bridge's port behind an interface: what its namespace receives.

use aya_ebpf::bindings::{TC_ACT_REDIRECT, TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use crate::answer::answer;
use crate::stage::pipeline;
use crate::view::TcPacket;

/// A pass lets the next program decide: `TC_ACT_UNSPEC` under clsact is
/// `TCX_NEXT` under TCX.
#[classifier]
#[inline(always)]
pub fn tc_egress(context: TcContext) -> i32 {
    let packet = TcPacket::new(&context);
    let outcome = pipeline::egress(&packet, packet.ifindex(), packet.ingress_ifindex());
    answer(
        &context,
        packet.ifindex(),
        outcome,
        [TC_ACT_UNSPEC, TC_ACT_SHOT, TC_ACT_UNSPEC, TC_ACT_REDIRECT],
    )
}
