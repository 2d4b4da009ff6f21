//! Prepare: what a packet is judged by, where all functions find it.

use aya_ebpf::bindings::{__sk_buff, xdp_md};
use nsbpf_common::packet::Packet;

use super::{seen, sender, subject};
use crate::maps::RELATED_FLOWS;
use crate::view::{TcPacket, XdpPacket};

/// Of a packet at a tc hook that came in by a port, in a domain: 1 if it hides what rules ask
/// for, else 0. A function of its own in the program, which the verifier looks at once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn prepare_tc(context: *mut __sk_buff, port: u16, domain: u16) -> u64 {
    prepare(&TcPacket::at(context), port, domain).into()
}

/// Of a frame at an XDP hook. Likewise.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn prepare_xdp(context: *mut xdp_md, port: u16, domain: u16) -> u64 {
    prepare(&XdpPacket::at(context), port, domain).into()
}

#[inline(always)]
fn prepare(packet: &impl Packet, port: u16, domain: u16) -> bool {
    let (Some(seen), Some(subject), Some(related)) =
        (seen(), subject(), RELATED_FLOWS.get_ptr_mut(0))
    else {
        return true;
    };
    // SAFETY: this CPU's own, as the packet's is.
    let related = unsafe { &mut *related };
    subject.fill(packet, seen, sender(port));
    related.forget();
    if subject.is_icmp_error() {
        let [_, transport] = seen.offsets();
        related.look_inside(packet, transport + 8);
        related.settle(domain, seen.tag);
    }
    seen.hides(packet)
}
