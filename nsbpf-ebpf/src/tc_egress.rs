//! tc egress of the device behind an interface: mostly what the namespace receives.

use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use aya_log_ebpf::debug;
use nsbpf_common::verdict::Verdict;

use crate::stage::pipeline::{self, Unmanaged};
use crate::view::TcPacket;

/// A pass lets the next program decide: `TC_ACT_UNSPEC` under clsact is
/// `TCX_NEXT` under TCX.
#[classifier]
pub fn tc_egress(context: TcContext) -> i32 {
    let packet = TcPacket::new(&context);
    match pipeline::egress(&packet, packet.ifindex(), packet.ingress_ifindex()) {
        Ok(Verdict::Pass) => TC_ACT_UNSPEC,
        Ok(Verdict::Drop(reason)) => {
            debug!(&context, "interface {}: dropped, {}", packet.ifindex(), reason.name());
            TC_ACT_SHOT
        }
        Err(Unmanaged) => {
            debug!(&context, "interface {} is no port: passed uncounted", packet.ifindex());
            TC_ACT_UNSPEC
        }
    }
}
