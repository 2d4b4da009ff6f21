//! tc ingress of a host-side end: what the namespace sends.

use aya_ebpf::bindings::TC_ACT_UNSPEC;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use aya_log_ebpf::debug;

use crate::stage::account::{self, Uncounted};
use crate::view::TcPacket;

/// Counts, and lets the next program decide: `TC_ACT_UNSPEC` under clsact is
/// `TCX_NEXT` under TCX.
#[classifier]
pub fn tc_ingress(context: TcContext) -> i32 {
    let packet = TcPacket::new(&context);
    if let Err(Uncounted) = account::tx(&packet, packet.ifindex()) {
        debug!(&context, "interface {} is no port: passed uncounted", packet.ifindex());
    }
    TC_ACT_UNSPEC
}
