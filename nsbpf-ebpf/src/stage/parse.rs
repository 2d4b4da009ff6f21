//! Parse: what the headers of a packet say.

use nsbpf_common::packet::{Headers, Packet};

use crate::maps::PARSED_HEADERS;

/// Up to the transport header; that too where the packet will be cut into
/// segments, each of which gets the headers.
#[inline(always)]
pub fn headers<P: Packet>(packet: &P) -> Option<&'static Headers> {
    let headers = PARSED_HEADERS.get_ptr_mut(0)?;
    // SAFETY: this CPU's own copy, and nothing else runs on this CPU that
    // touches it until the program returns.
    let headers = unsafe { &mut *headers };
    headers.parse_network(packet);
    P::merge(headers);
    if packet.segmentation().is_some() {
        headers.parse_transport(packet);
        P::merge(headers);
    }
    Some(headers)
}
