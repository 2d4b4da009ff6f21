//! Parse: what a packet is, found out once and kept where all stages see it.

use nsbpf_common::packet::Packet;
use nsbpf_common::sight::Seen;

use crate::maps::SEEN_PACKETS;

/// Looks at a packet.
#[inline(always)]
pub fn look(packet: &impl Packet) -> Option<&'static mut Seen> {
    let seen = SEEN_PACKETS.get_ptr_mut(0)?;
    // SAFETY: this CPU's own copy, and nothing else runs on this CPU that
    // touches it until the program returns.
    let seen = unsafe { &mut *seen };
    seen.look(packet);
    Some(seen)
}
