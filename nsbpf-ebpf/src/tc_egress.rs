//! tc egress of a host-side end: what the namespace receives.

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;

use crate::stage::account;
use crate::view::TcPacket;

/// Counts, and lets the next program decide: `TC_ACT_UNSPEC` under clsact is
/// `TCX_NEXT` under TCX.
#[classifier]
pub fn tc_egress(context: TcContext) -> i32 {
    let packet = TcPacket::new(&context);
    account::rx(&packet, packet.ifindex());
    TC_ACT_UNSPEC
}
